//! What the process asks of the operating system for itself: descriptors, and that nobody reads its memory; and its
//! name among the processes of one database.

use std::net::SocketAddr;

use cairn_runtime::clock::{SystemDice, derive_bytes};
use cairn_runtime::{Dice, Id};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The name of this process among all that share a database, which no other ever has: two machines made from one template
/// have the same host name and the same listening address, and a claim must tell one from the other.
pub(crate) fn node_name(host: &str, listening: SocketAddr) -> String {
    let chance = Id::from_bytes(derive_bytes(&SystemDice::new().seed(), "node", 0)).crockford();
    format!("{host}/{listening}/{}", chance.get(18..).unwrap_or(&chance))
}

/// Raises the limit of open descriptors to the hard limit.
///
/// Gives how many there may be.
pub(crate) fn raise_descriptors() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // No hard limit at all is a number that no system takes; the soft one is left then.
    if let Some(most) = maximum
        && current.is_some_and(|current| current < most)
        && let Err(why) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%why, "the limit of descriptors could not be raised");
    }
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX))
}

/// Keeps other processes of the same user out of our memory: no debugger without root, and no core dump, in which keys
/// and passwords would stand.
pub(crate) fn close_memory() {
    #[cfg(target_os = "linux")]
    if let Err(why) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
        tracing::warn!(%why, "the process's memory can be read by other processes of its user");
    }
}

/// How the descriptors are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Connections of the public listener.
    pub(crate) public: usize,
    /// Connections of the operations listener.
    pub(crate) operations: usize,
}

/// Kept for the mail server, files and the runtime, besides the connections to PostgreSQL.
const KEPT: usize = 40;
/// Connections of the public listener, however many descriptors there are.
const MOST: usize = 10_000;

/// Shares `descriptors` out. What is kept for operations and the database is never the public's, so that liveness and
/// readiness answer while the public listener is full.
pub(crate) fn shares(descriptors: usize, database: u32) -> Shares {
    let operations = (descriptors / 8).clamp(8, 64);
    let kept = KEPT.saturating_add(usize::try_from(database).unwrap_or(usize::MAX));
    let public = descriptors.saturating_sub(kept.saturating_add(operations)).clamp(16, MOST);
    Shares { public, operations }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_processes_of_one_host_name_and_address_have_two_names() {
        let name = || node_name("template", "0.0.0.0:8080".parse().unwrap());
        let (one, two) = (name(), name());
        assert!(one.starts_with("template/0.0.0.0:8080/") && one.len() == "template/0.0.0.0:8080/".len() + 8, "{one}");
        assert_ne!(one, two);
    }

    #[test]
    fn the_public_never_has_the_last_descriptors() {
        assert_eq!(shares(usize::MAX, 24), Shares { public: 10_000, operations: 64 });
        assert_eq!(shares(1_024, 24), Shares { public: 896, operations: 64 });
        assert_eq!(shares(160, 24), Shares { public: 76, operations: 20 });
        for descriptors in 96..20_000 {
            for database in [2, 24, 200] {
                let Shares { public, operations } = shares(descriptors, database);
                let kept = KEPT + usize::try_from(database).unwrap();
                assert!(public + operations + kept <= descriptors || public == 16, "{descriptors}, {database}");
            }
        }
    }

    #[test]
    fn the_limit_of_descriptors_is_raised_and_the_memory_is_closed() {
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(200), maximum: before.maximum }).unwrap();
        let descriptors = raise_descriptors();
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
        assert!(descriptors > 200);
        close_memory();
        #[cfg(target_os = "linux")]
        assert_eq!(rustix::process::dumpable_behavior().unwrap(), rustix::process::DumpableBehavior::NotDumpable);
    }
}
