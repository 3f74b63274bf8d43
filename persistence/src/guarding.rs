//! What an item's guards come to, foreseen from the numbers that were read and locked: a pure function.

use cairn_runtime::Guard;

/// What is left to be written of all that an item does to one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Net<'a> {
    /// Take it, if nobody was faster since it was read. `place` is that of the claim among the item's guards.
    Take { key: &'a str, value: i64, place: usize },
    /// Give its number another value.
    Set { key: &'a str, value: i64 },
    /// Give it back.
    Free { key: &'a str },
}

/// One key as an item goes through its guards.
struct Seen<'a> {
    key: &'a str,
    before: Option<i64>,
    now: Option<i64>,
    claimed: usize,
}

/// Goes through an item's guards in their order; what one does the next one sees.
///
/// # Errors
/// The place of the first guard that is lost.
pub(crate) fn foresee<'a>(
    guards: &'a [Guard<String>],
    number: impl Fn(&str) -> Option<i64>,
) -> Result<Vec<Net<'a>>, usize> {
    let mut keys: Vec<Seen<'a>> = Vec::with_capacity(guards.len());
    for (place, guard) in guards.iter().enumerate() {
        let key = guard.key().as_str();
        let mut seen = match keys.iter().position(|seen| seen.key == key) {
            Some(known) => keys.swap_remove(known),
            None => {
                let before = number(key);
                Seen { key, before, now: before, claimed: place }
            }
        };
        seen.now = match (guard, seen.now) {
            (Guard::Claim(_), None) => {
                seen.claimed = place;
                Some(0)
            }
            (Guard::Release(_), _) => None,
            (Guard::Hold(_, expected), Some(found)) if *expected == found => Some(found),
            (Guard::Bump(_, None), Some(found)) => Some(found.saturating_add(1)),
            (Guard::Bump(_, Some(expected)), Some(found)) if *expected == found => Some(found.saturating_add(1)),
            _ => return Err(place),
        };
        keys.push(seen);
    }
    let net = |seen: Seen<'a>| match (seen.before, seen.now) {
        (None, Some(value)) => Some(Net::Take { key: seen.key, value, place: seen.claimed }),
        (Some(before), Some(value)) if before != value => Some(Net::Set { key: seen.key, value }),
        (Some(_), None) => Some(Net::Free { key: seen.key }),
        _ => None,
    };
    Ok(keys.into_iter().filter_map(net).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> String {
        "k".to_owned()
    }

    fn foreseen(guards: &[Guard<String>], number: Option<i64>) -> Result<Vec<Net<'_>>, usize> {
        foresee(guards, |_| number)
    }

    #[test]
    fn each_guard_sees_what_the_one_before_it_did() {
        let again = [Guard::Release(key()), Guard::Claim(key())];
        assert_eq!(foreseen(&again, Some(4)), Ok(vec![Net::Set { key: "k", value: 0 }]));
        assert_eq!(foreseen(&again, None), Ok(vec![Net::Take { key: "k", value: 0, place: 1 }]));

        let raised = [Guard::Claim(key()), Guard::Bump(key(), Some(0)), Guard::Hold(key(), 1)];
        assert_eq!(foreseen(&raised, None), Ok(vec![Net::Take { key: "k", value: 1, place: 0 }]));
        assert_eq!(foreseen(&raised, Some(0)), Err(0));
    }

    #[test]
    fn the_first_lost_guard_is_named_by_its_place() {
        let guards = [Guard::Hold("a".to_owned(), 3), Guard::Bump("b".to_owned(), None), Guard::Claim("c".to_owned())];
        let at = |a, b, c| {
            foresee(&guards, move |key| match key {
                "a" => a,
                "b" => b,
                _ => c,
            })
            .map(|nets| nets.len())
        };
        assert_eq!(at(Some(2), None, None), Err(0));
        assert_eq!(at(None, Some(1), None), Err(0));
        assert_eq!(at(Some(3), None, None), Err(1));
        assert_eq!(at(Some(3), Some(1), Some(0)), Err(2));
        assert_eq!(at(Some(3), Some(1), None), Ok(2));
    }

    #[test]
    fn giving_back_what_is_not_there_is_no_loss_and_no_write() {
        assert_eq!(foreseen(&[Guard::Release(key())], None), Ok(vec![]));
        assert_eq!(foreseen(&[Guard::Release(key())], Some(1)), Ok(vec![Net::Free { key: "k" }]));
        assert_eq!(foreseen(&[Guard::Claim(key()), Guard::Release(key())], None), Ok(vec![]));
    }
}
