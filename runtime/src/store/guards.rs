//! What an item's guards come to: the one meaning of guards, as a pure function that every store uses.

use crate::clock::Timestamp;
use crate::effects::Guard;

/// A key's row in the table of guards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardState {
    /// 0 when claimed, one more after each bump.
    pub number: i64,
    /// From this instant on the key counts as free; `None`: only a release frees it.
    pub expires: Option<Timestamp>,
}

impl GuardState {
    /// Whether somebody has the key at an instant.
    pub fn is_held(&self, at: Timestamp) -> bool {
        self.expires.is_none_or(|expires| expires > at)
    }
}

/// What is left to be written of all that an item does to one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuardChange<'a> {
    /// There is no row: one is inserted, unless another node was faster since the key was read.
    Insert {
        /// The key.
        key: &'a str,
        /// Its row.
        state: GuardState,
        /// The place of the claim among the item's guards: the guard that is lost when another node was faster.
        place: usize,
    },
    /// There is a row, perhaps of a claim that has expired: it becomes this one.
    Update {
        /// The key.
        key: &'a str,
        /// Its row.
        state: GuardState,
    },
    /// There is a row: it goes.
    Delete {
        /// The key.
        key: &'a str,
    },
}

/// One key while an item's guards are gone through.
struct Seen<'a> {
    key: &'a str,
    before: Option<GuardState>,
    now: Option<GuardState>,
    claimed: usize,
}

/// Goes through an item's guards in their order, each against what the guard before it has left. `found` reads a key's
/// row; one that has expired at the instant `at` counts as absent.
///
/// # Errors
/// The place of the first guard that is lost.
pub fn guard_changes<'a>(
    guards: &'a [Guard<String>],
    at: Timestamp,
    found: impl Fn(&str) -> Option<GuardState>,
) -> Result<Vec<GuardChange<'a>>, usize> {
    let mut keys: Vec<Seen<'a>> = Vec::with_capacity(guards.len());
    for (place, guard) in guards.iter().enumerate() {
        let key = guard.key().as_str();
        let mut seen = match keys.iter().position(|seen| seen.key == key) {
            Some(known) => keys.swap_remove(known),
            None => {
                let before = found(key);
                Seen { key, before, now: before.filter(|state| state.is_held(at)), claimed: place }
            }
        };
        let raised = |state: GuardState| GuardState { number: state.number.saturating_add(1), ..state };
        seen.now = match (guard, seen.now) {
            (Guard::Claim(_), None) => {
                seen.claimed = place;
                Some(GuardState { number: 0, expires: None })
            }
            (Guard::ClaimUntil(_, expires), None) => {
                seen.claimed = place;
                Some(GuardState { number: 0, expires: Some(*expires) })
            }
            (Guard::Release(_), _) => None,
            (Guard::Hold(_, expected), Some(state)) if *expected == state.number => Some(state),
            (Guard::Bump(_, None), Some(state)) => Some(raised(state)),
            (Guard::Bump(_, Some(expected)), Some(state)) if *expected == state.number => Some(raised(state)),
            _ => return Err(place),
        };
        keys.push(seen);
    }
    let change = |seen: Seen<'a>| match (seen.before, seen.now) {
        (None, Some(state)) => Some(GuardChange::Insert { key: seen.key, state, place: seen.claimed }),
        (Some(before), Some(state)) if before != state => Some(GuardChange::Update { key: seen.key, state }),
        (Some(_), None) => Some(GuardChange::Delete { key: seen.key }),
        _ => None,
    };
    Ok(keys.into_iter().filter_map(change).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000);

    fn key() -> String {
        "k".to_owned()
    }

    fn at(number: i64) -> Option<GuardState> {
        Some(GuardState { number, expires: None })
    }

    fn changes(guards: &[Guard<String>], found: Option<GuardState>) -> Result<Vec<GuardChange<'_>>, usize> {
        guard_changes(guards, NOW, |_| found)
    }

    fn state(number: i64) -> GuardState {
        GuardState { number, expires: None }
    }

    #[test]
    fn each_guard_sees_what_the_one_before_it_did() {
        let again = [Guard::Release(key()), Guard::Claim(key())];
        assert_eq!(changes(&again, at(4)), Ok(vec![GuardChange::Update { key: "k", state: state(0) }]));
        assert_eq!(changes(&again, None), Ok(vec![GuardChange::Insert { key: "k", state: state(0), place: 1 }]));

        let raised = [Guard::Claim(key()), Guard::Bump(key(), Some(0)), Guard::Hold(key(), 1)];
        assert_eq!(changes(&raised, None), Ok(vec![GuardChange::Insert { key: "k", state: state(1), place: 0 }]));
        assert_eq!(changes(&raised, at(0)), Err(0));
        assert_eq!(changes(&[Guard::Claim(key()), Guard::Claim(key())], None), Err(1));
    }

    #[test]
    fn the_first_lost_guard_is_named_by_its_place() {
        let guards = [Guard::Hold("a".to_owned(), 3), Guard::Bump("b".to_owned(), None), Guard::Claim("c".to_owned())];
        let found = |a, b, c| {
            guard_changes(&guards, NOW, move |key| match key {
                "a" => a,
                "b" => b,
                _ => c,
            })
            .map(|changes| changes.len())
        };
        assert_eq!(found(at(2), None, None), Err(0));
        assert_eq!(found(None, at(1), None), Err(0));
        assert_eq!(found(at(3), None, None), Err(1));
        assert_eq!(found(at(3), at(1), at(0)), Err(2));
        assert_eq!(found(at(3), at(1), None), Ok(2));
    }

    #[test]
    fn giving_back_what_is_not_there_is_no_loss_and_no_write() {
        assert_eq!(changes(&[Guard::Release(key())], None), Ok(vec![]));
        assert_eq!(changes(&[Guard::Release(key())], at(1)), Ok(vec![GuardChange::Delete { key: "k" }]));
        assert_eq!(changes(&[Guard::Claim(key()), Guard::Release(key())], None), Ok(vec![]));
    }

    #[test]
    fn what_has_expired_is_absent_for_every_guard() {
        let until = |instant: i64| Some(GuardState { number: 2, expires: Some(Timestamp(instant)) });
        for over in [until(999), until(1_000)] {
            assert_eq!(changes(&[Guard::Hold(key(), 2)], over), Err(0));
            assert_eq!(changes(&[Guard::Bump(key(), None)], over), Err(0));
            let anew = GuardChange::Update { key: "k", state: state(0) };
            assert_eq!(changes(&[Guard::Claim(key())], over), Ok(vec![anew]));
            let longer = GuardState { number: 0, expires: Some(Timestamp(9_000)) };
            let claim = [Guard::ClaimUntil(key(), Timestamp(9_000))];
            assert_eq!(changes(&claim, over), Ok(vec![GuardChange::Update { key: "k", state: longer }]));
        }
        assert_eq!(changes(&[Guard::Claim(key())], until(1_001)), Err(0));
        assert_eq!(changes(&[Guard::Hold(key(), 2)], until(1_001)), Ok(vec![]));
        let raised = GuardState { number: 3, expires: Some(Timestamp(1_001)) };
        let bump = [Guard::Bump(key(), Some(2))];
        assert_eq!(changes(&bump, until(1_001)), Ok(vec![GuardChange::Update { key: "k", state: raised }]));
    }
}
