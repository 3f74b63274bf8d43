//! Where a flow stands: a closed set for each kind of flow.

use std::fmt::Debug;

/// Where a flow stands.
///
/// A phase has two words: its own, as the state is written, and the public one, which people and clients see and which
/// stands in the column `phase` and in metrics. Several phases may show as one.
pub trait Phase: Copy + Debug + PartialEq + Eq + Send + Sync + 'static {
    /// All of them.
    const ALL: &'static [Self];

    /// Its own word: how the state names it.
    fn name(self) -> &'static str;

    /// The public word.
    fn word(self) -> &'static str;
}

/// Declares the phases of a flow: each with its own word and, where people see another, the public one.
///
/// ```
/// use cairn_runtime::{Phase as _, phases};
///
/// phases! {
///     /// Where a loan stands.
///     pub enum Phase {
///         /// The copy is out.
///         Lent = "lent",
///         /// The reader was reminded, which is nobody else's business.
///         Overdue = "overdue" as "lent",
///     }
/// }
///
/// assert_eq!((Phase::Overdue.name(), Phase::Overdue.word()), ("overdue", "lent"));
/// assert_eq!(Phase::ALL, [Phase::Lent, Phase::Overdue]);
/// ```
#[macro_export]
macro_rules! phases {
    (
        $(#[$about:meta])*
        $visible:vis enum $Phase:ident {
            $($(#[$meaning:meta])* $Variant:ident = $name:literal $(as $word:literal)?,)+
        }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $visible enum $Phase {
            $($(#[$meaning])* #[doc = concat!("As it is written: `", $name, "`.")] $Variant,)+
        }

        impl $crate::Phase for $Phase {
            const ALL: &'static [Self] = &[$(Self::$Variant,)+];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$Variant => $name,)+
                }
            }

            fn word(self) -> &'static str {
                match self {
                    $(Self::$Variant => $crate::phases!(@word $name $($word)?),)+
                }
            }
        }
    };
    (@word $name:literal) => { $name };
    (@word $name:literal $word:literal) => { $word };
}
