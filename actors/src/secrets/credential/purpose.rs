//! What credentials are for: as a word, and as a type, so that the compiler keeps one from being checked as another.

/// A purpose known when the program is compiled: the types of [`of`], and no others.
///
/// [`Presented`](super::Presented) carries it, so that a link that was read as a reset's cannot reach the check of a
/// refresh token, though both were written by the same salt.
pub trait OfPurpose: sealed::Sealed + Copy + Send + Sync + 'static {
    /// The same as a word.
    const PURPOSE: Purpose;
    /// Its only value.
    const VALUE: Self;
}

mod sealed {
    pub trait Sealed {}
}

/// Writes each purpose once, for the word, its prefix and its type.
macro_rules! purposes {
    ($($(#[$meaning:meta])+ $name:ident $prefix:literal)+) => {
        /// What a credential is for. Its prefix is part of what is signed, so none can be used as another.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Purpose {
            $($(#[$meaning])+ $name,)+
        }

        impl Purpose {
            /// All of them, for documents and secret scanners.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// What its text begins with. Fixed for ever.
            pub const fn prefix(self) -> &'static str {
                match self {
                    $(Self::$name => $prefix,)+
                }
            }
        }

        /// The purposes as types: `Presented<of::RefreshToken>`, read by `Presented::parse(ring, of::RefreshToken, text)`.
        pub mod of {
            $(
                $(#[$meaning])+
                #[derive(Clone, Copy, Debug)]
                pub struct $name;

                impl super::sealed::Sealed for $name {}

                impl super::OfPurpose for $name {
                    const PURPOSE: super::Purpose = super::Purpose::$name;
                    const VALUE: Self = Self;
                }
            )+
        }
    };
}

purposes! {
    /// The link that proves a newcomer's address.
    VerifyEmail "cairn_ve_"
    /// The link that allows a new password.
    ResetPassword "cairn_rp_"
    /// The link that signs in.
    MagicLink "cairn_ml_"
    /// The refresh token of a session.
    RefreshToken "cairn_rt_"
    /// An authorization code (RFC 6749 section 4.1.2).
    AuthorizationCode "cairn_ac_"
    /// A device code (RFC 8628 section 3.2).
    DeviceCode "cairn_dc_"
    /// The cookie of a signed-in browser.
    SessionCookie "cairn_sc_"
    /// The link that proves a new address of an account.
    EmailChange "cairn_ec_"
    /// The link that takes a change of address back.
    UndoEmailChange "cairn_eu_"
    /// The link in a new-device letter that ends the session.
    EndSession "cairn_es_"
    /// The cookie that ties a flow to the browser that began it.
    FlowCookie "cairn_fc_"
}
