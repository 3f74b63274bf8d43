//! Which key signs when, and when one is over: pure functions over the rows of the table and an instant.
//!
//! A key is published as soon as it is stored, and signs an hour later: by then every node has read it, and whoever
//! verifies has fetched it. The first key of an algorithm has nobody to wait for. A key that was replaced stays published
//! for as long as what it signed lives, and is then deleted.

use std::time::Duration;

use cairn_runtime::Timestamp;

use super::SealedSigningKey;
use crate::secrets::signing_algorithm::SigningAlgorithm;

/// How long a key is published before it signs. Longer than caches keep the published keys (`max-age`), and than nodes
/// go without reading the table.
pub const LEAD: Duration = Duration::from_secs(3_600);
/// How long an ID token is good.
pub const ID_TOKEN_TTL: Duration = Duration::from_secs(600);
/// How much longer than what it signed a key is kept: clocks differ, and answers travel.
const SLACK: Duration = Duration::from_secs(3_600);

/// What a key is for at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Published, and signs after its lead.
    Next,
    /// Signs.
    Signing,
    /// Was replaced. What it signed is verified.
    Verifying,
    /// Nothing that it signed lives any more: it will be deleted.
    Retired,
}

impl KeyState {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Signing => "signing",
            Self::Verifying => "verifying",
            Self::Retired => "retired",
        }
    }
}

/// How long a replaced key is kept, where access tokens live this long.
pub fn kept_for(access_ttl: Duration) -> Duration {
    access_ttl.max(ID_TOKEN_TTL).saturating_add(SLACK)
}

/// The key of an algorithm that signs: of those that are not retired, the newest whose lead is over; if there is none,
/// the oldest, also when the clock was set back to before it was made.
pub fn signing<'a>(
    rows: impl IntoIterator<Item = &'a SealedSigningKey>,
    algorithm: SigningAlgorithm,
    now: Timestamp,
) -> Option<&'a SealedSigningKey> {
    let all = living(rows, algorithm);
    let ready = all.iter().rev().copied().find(|row| begins(row) <= now);
    ready.or_else(|| all.first().copied())
}

/// The keys of an algorithm that are not retired, oldest first.
fn living<'a>(
    rows: impl IntoIterator<Item = &'a SealedSigningKey>,
    algorithm: SigningAlgorithm,
) -> Vec<&'a SealedSigningKey> {
    let of = |row: &&SealedSigningKey| row.alg == algorithm.name() && row.retired_at.is_none();
    let mut all: Vec<_> = rows.into_iter().filter(of).collect();
    all.sort_by(|one, other| age(one).cmp(&age(other)));
    all
}

/// The order of keys: two of one millisecond are told apart by their names.
fn age(row: &SealedSigningKey) -> (i64, &str) {
    (row.created_at, &row.kid)
}

/// When a key's lead is over.
pub fn begins(row: &SealedSigningKey) -> Timestamp {
    Timestamp(row.created_at).after(LEAD)
}

/// What a key of the table is for. `kept`: how long a replaced one is kept, see [`kept_for`].
pub fn state(rows: &[SealedSigningKey], row: &SealedSigningKey, now: Timestamp, kept: Duration) -> KeyState {
    let current = row.algorithm().and_then(|algorithm| signing(rows, algorithm, now));
    if current == Some(row) {
        return KeyState::Signing;
    }
    if row.retired_at.is_none() && current.is_some_and(|current| age(current) < age(row)) {
        return KeyState::Next;
    }
    let successors = rows.iter().filter(|other| {
        other.alg == row.alg
            && age(other) > age(row)
            && other.retired_at.is_none_or(|retired_at| Timestamp(retired_at) > begins(other))
    });
    let replaced_at = successors.map(begins).chain(row.retired_at.map(Timestamp)).min();
    match replaced_at {
        Some(at) if at.after(kept) <= now => KeyState::Retired,
        _ => KeyState::Verifying,
    }
}

/// Whether the newest key of an algorithm is older than keys are to become. Not where the algorithm has none.
pub fn is_due(rows: &[SealedSigningKey], algorithm: SigningAlgorithm, now: Timestamp, most: Duration) -> bool {
    living(rows, algorithm).last().is_some_and(|newest| Timestamp(newest.created_at).after(most) <= now)
}

/// Whether a successor of the key that signs is on its way.
pub fn is_coming(rows: &[SealedSigningKey], algorithm: SigningAlgorithm, now: Timestamp) -> bool {
    living(rows, algorithm).last().copied() != signing(rows, algorithm, now)
}

/// What is to be changed in the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyChange {
    /// A row to insert.
    pub add: Option<SealedSigningKey>,
    /// The names of those that sign nothing from this instant on.
    pub retire: Option<(Timestamp, Vec<String>)>,
    /// The names of those to delete.
    pub delete: Vec<String>,
}

/// Adds the first key of its algorithm, unless there is one already.
pub fn ensure(rows: &[SealedSigningKey], key: SealedSigningKey) -> KeyChange {
    let there = key.algorithm().is_some_and(|algorithm| !living(rows, algorithm).is_empty());
    KeyChange { add: (!there).then_some(key), ..KeyChange::default() }
}

/// Adds the successor of the key that signs, unless one is on its way. `at_once`: it signs from now on, and all others of
/// its algorithm are retired.
pub fn rotate(rows: &[SealedSigningKey], mut key: SealedSigningKey, now: Timestamp, at_once: bool) -> KeyChange {
    let Some(algorithm) = key.algorithm() else { return KeyChange::default() };
    // Of two from one millisecond the older could be either.
    while rows.iter().any(|row| row.alg == key.alg && row.created_at == key.created_at) {
        key.created_at += 1;
    }
    let living = living(rows, algorithm);
    if at_once {
        let others = living.iter().map(|row| row.kid.clone()).collect();
        return KeyChange { add: Some(key), retire: Some((now, others)), delete: Vec::new() };
    }
    let is_coming = is_coming(rows, algorithm, now);
    KeyChange { add: (!is_coming).then_some(key), ..KeyChange::default() }
}

/// Deletes the keys that are over.
pub fn tidy(rows: &[SealedSigningKey], now: Timestamp, kept: Duration) -> KeyChange {
    let over = rows.iter().filter(|row| state(rows, row, now, kept) == KeyState::Retired);
    KeyChange { delete: over.map(|row| row.kid.clone()).collect(), ..KeyChange::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    const KEPT: Duration = Duration::from_secs(2 * 3_600);

    fn row(kid: &str, alg: &str, made: i64, retired: Option<i64>) -> SealedSigningKey {
        SealedSigningKey {
            kid: kid.to_owned(),
            alg: alg.to_owned(),
            sealed: String::new(),
            public: String::new(),
            created_at: made * HOUR,
            retired_at: retired.map(|at| at * HOUR),
        }
    }

    fn at(hours: i64) -> Timestamp {
        Timestamp(hours * HOUR)
    }

    #[test]
    fn what_each_key_is_for_at_each_hour() {
        let one = row("a", "EdDSA", 10, None);
        let two = [one.clone(), row("b", "EdDSA", 20, None)];
        let retired = [row("a", "EdDSA", 10, Some(20)), row("b", "EdDSA", 20, None)];
        let skipped = [row("a", "EdDSA", 10, Some(20)), row("b", "EdDSA", 20, Some(20)), row("c", "EdDSA", 20, None)];
        let gone = [row("a", "EdDSA", 10, Some(20))];
        let twins = [row("b", "EdDSA", 10, None), row("a", "EdDSA", 10, None)];
        let mixed = [row("a", "EdDSA", 10, None), row("r", "RS256", 20, None)];
        let unknown = [row("x", "XS999", 10, None), row("a", "EdDSA", 10, None)];
        let table: [(&str, &[SealedSigningKey], i64, &str); 20] = [
            ("the first signs at once", std::slice::from_ref(&one), 10, "signing"),
            ("and for ever", std::slice::from_ref(&one), 99_999, "signing"),
            ("the clock was set back to before it", std::slice::from_ref(&one), 0, "signing"),
            ("a successor waits for its lead", &two, 20, "signing next"),
            ("its lead is over", &two, 21, "verifying signing"),
            ("what the first signed lives", &two, 22, "verifying signing"),
            ("and is over", &two, 23, "retired signing"),
            ("the clock was set back: the first signs again", &two, 19, "signing next"),
            ("to before either", &two, 0, "signing next"),
            ("the first was retired: the second signs at once", &retired, 20, "verifying signing"),
            ("counted from when it was retired", &retired, 21, "verifying signing"),
            ("over", &retired, 22, "retired signing"),
            ("the clock was set back to before that", &retired, 10, "verifying signing"),
            ("one that never signed is no successor", &skipped, 21, "verifying verifying signing"),
            ("and is over with the others", &skipped, 22, "retired retired signing"),
            ("the last was retired: nothing signs", &gone, 21, "verifying"),
            ("and it is over as any", &gone, 22, "retired"),
            ("of two from one instant the second name follows", &twins, 10, "next signing"),
            ("an algorithm's keys do not replace another's", &mixed, 30, "signing signing"),
            ("of another release's algorithm nothing is said", &unknown, 30, "verifying signing"),
        ];
        for (what, rows, hour, expected) in table {
            let states: Vec<_> = rows.iter().map(|row| state(rows, row, at(hour), KEPT).name()).collect();
            assert_eq!(states.join(" "), expected, "{what}");
        }
    }

    #[test]
    fn a_key_is_kept_for_longer_than_any_token_that_it_signed() {
        let hours = |span: Duration| span.as_secs_f64() / 3_600.0;
        assert!(kept_for(Duration::from_secs(60)) > ID_TOKEN_TTL);
        assert!(hours(kept_for(Duration::from_secs(86_400))) > 24.0);
    }

    #[test]
    fn the_first_key_is_made_once() {
        let key = row("new", "RS256", 30, None);
        assert_eq!(ensure(&[row("a", "EdDSA", 10, None)], key.clone()).add, Some(key.clone()));
        assert_eq!(ensure(&[row("a", "RS256", 10, Some(20))], key.clone()).add, Some(key.clone()), "it was retired");
        assert_eq!(ensure(&[row("a", "RS256", 10, None)], key), KeyChange::default(), "another node was faster");
    }

    #[test]
    fn a_rotation_adds_one_successor_and_one_at_once_retires_the_others() {
        let key = row("new", "EdDSA", 30, None);
        let old = [row("a", "EdDSA", 10, None), row("r", "RS256", 10, None)];
        let added = KeyChange { add: Some(key.clone()), ..KeyChange::default() };
        assert_eq!(rotate(&old, key.clone(), at(30), false), added);
        let two = [old[0].clone(), key.clone()];
        let another = row("another", "EdDSA", 30, None);
        assert_eq!(rotate(&two, another.clone(), at(30), false), KeyChange::default(), "one is on its way");
        assert!(rotate(&two, another.clone(), at(31), false).add.is_some(), "it has arrived");
        let change = rotate(&two, another.clone(), at(30), true);
        let after_its_twin = SealedSigningKey { created_at: another.created_at + 1, ..another };
        assert_eq!(change.add, Some(after_its_twin));
        assert_eq!(change.retire, Some((at(30), vec!["a".to_owned(), "new".to_owned()])));
        assert_eq!(rotate(&[], key.clone(), at(30), false), added, "the first");
        let twin = rotate(&old, row("twin", "EdDSA", 10, None), at(10), false).add.unwrap();
        assert_eq!(twin.created_at, 10 * HOUR + 1, "it follows the one from the same instant");
    }

    #[test]
    fn an_algorithm_is_due_when_its_newest_key_is_old() {
        let day = Duration::from_secs(86_400);
        let rows = [row("a", "EdDSA", 0, None), row("b", "EdDSA", 10, None), row("r", "RS256", 30, Some(31))];
        let due = |hour, algorithm| is_due(&rows, algorithm, at(hour), day);
        assert!(!due(33, SigningAlgorithm::EdDsa));
        assert!(due(34, SigningAlgorithm::EdDsa));
        assert!(!due(0, SigningAlgorithm::EdDsa), "the clock was set back");
        assert!(!due(99, SigningAlgorithm::Es256), "it has none");
        assert!(!due(99, SigningAlgorithm::Rs256), "none that is not retired");
    }

    #[test]
    fn what_is_over_is_deleted_and_nothing_else() {
        let rows = [row("a", "EdDSA", 0, None), row("b", "EdDSA", 10, None), row("c", "EdDSA", 30, None)];
        assert_eq!(tidy(&rows, at(12), KEPT), KeyChange::default());
        assert_eq!(tidy(&rows, at(13), KEPT).delete, ["a"]);
        assert_eq!(tidy(&rows, at(99), KEPT).delete, ["a", "b"]);
    }
}
