//! The flows: one file each, an enum of phases and one `match` that is the whole rule book. Flows never do I/O.

use cairn_runtime::engine::Builder;
use cairn_runtime::store::RetentionRule;
use cairn_runtime::{Flow, FlowId, Phase};

use crate::effects::Auth;

pub mod authorization;
pub mod challenge;
pub mod deletion;
pub mod email_change;
pub mod magic_link;
pub mod ping;
pub mod recovery;
pub mod registration;
pub mod rotation;
pub mod session;

/// What is known of one kind of flow by its name.
#[derive(Clone, Copy, Debug)]
pub struct FlowKind {
    /// Its name in the database, in metrics and in answers.
    pub name: &'static str,
    /// What the text of an id begins with.
    pub prefix: &'static str,
    /// Its phases: of each its own word and the public one.
    pub phases: fn() -> Vec<(&'static str, &'static str)>,
    /// Rows of it that are kept for less time than all others.
    pub retention: fn() -> Vec<RetentionRule>,
}

impl FlowKind {
    const fn of<F: Flow>() -> Self {
        Self {
            name: F::NAME,
            prefix: F::PREFIX,
            phases: || F::Phase::ALL.iter().map(|phase| (phase.name(), phase.word())).collect(),
            retention: cairn_runtime::flow::retention::<F>,
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|kind| kind.name == name)
    }
}

/// The one list of flows, from which all others follow.
macro_rules! flows {
    ($($module:ident::$Flow:ident,)+) => {
        /// Every kind of flow.
        pub const ALL: &[FlowKind] = &[$(FlowKind::of::<$module::$Flow>(),)+];

        /// Makes every kind of flow known to an engine.
        #[must_use]
        pub fn register(builder: Builder<Auth>) -> Builder<Auth> {
            builder$(.flow::<$module::$Flow>())+
        }
    };
}

flows! {
    authorization::Authorization,
    deletion::Deletion,
    email_change::EmailChange,
    magic_link::MagicLink,
    ping::Ping,
    recovery::Recovery,
    registration::Registration,
    session::Session,
}

/// The text of a flow's id with the prefix of its kind; without one for a kind that is none of ours.
pub fn id_text(kind: &str, flow: FlowId) -> String {
    FlowKind::named(kind).map_or_else(|| flow.to_string(), |kind| flow.0.text(kind.prefix))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_flows_share_a_name_or_a_prefix() {
        let names: BTreeSet<_> = ALL.iter().map(|kind| kind.name).collect();
        let prefixes: BTreeSet<_> = ALL.iter().map(|kind| kind.prefix).collect();
        assert_eq!((names.len(), prefixes.len()), (ALL.len(), ALL.len()));
        assert!(prefixes.iter().all(|prefix| prefix.len() == 3), "{prefixes:?}");
    }

    #[test]
    fn no_flow_writes_two_phases_alike() {
        for kind in ALL {
            let phases = (kind.phases)();
            let names: BTreeSet<_> = phases.iter().map(|(name, _)| name).collect();
            assert_eq!(names.len(), phases.len(), "{}", kind.name);
        }
    }

    #[test]
    fn an_id_has_the_prefix_of_its_kind() {
        let flow = FlowId::from_bytes([7; 16]);
        assert!(id_text("recovery", flow).starts_with("rec_"));
        assert_eq!(id_text("none of ours", flow), flow.to_string());
    }
}
