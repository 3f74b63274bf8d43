//! How fast somebody may guess: pure rules over the instants at which guesses have failed.
//!
//! What is counted is what is guessed at, whether or not it exists: an unknown identifier is slowed down as a known one.
//! An address and a username are two, though they may be one person's: a count that they shared would tell strangers
//! whose address it is. So who knows both has twice the guesses.

use std::time::Duration;

use cairn_runtime::{ActStep, Cx, Effects, Timestamp};
use serde_json::json;

use crate::effects::{Auth, FailureWrite};
use crate::environment::{Environment, Settings};
use crate::identity::user_id::UserId;
use crate::secrets::digest::Digest;

/// Failures within the hour that cost nothing.
pub const FREE: usize = 9;
/// Failures within the hour, over all devices that one account knows, that cost nothing: one device alone does not come
/// that far, because it is slowed down by itself.
pub const FREE_OF_ALL_DEVICES: usize = 29;
/// Wrong codes of one address within a day, over all its flows, unless the settings say otherwise.
pub const CODES_A_DAY: usize = 20;
/// Wrong codes that would have set a password, from one network within a day, over all addresses.
pub const RESET_CODES_A_DAY: usize = 30;
/// How many failures are read at most: more change nothing.
pub const MOST: u32 = 48;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const LONGEST_WAIT: u64 = 900;

/// The name of the act that counts a failure, and so the kind of its event.
pub const FAILED: &str = "guess_failed";
/// The name of the act that forgets failures after a success.
pub const CLEARED: &str = "guesses_cleared";

/// By which rule failures slow down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A password: from the 10th failure within an hour on, 2ⁿ seconds, at most a quarter of an hour.
    Secret,
    /// A password, from all devices that one account knows: from the 30th failure within an hour on, 2ⁿ seconds, at most
    /// a quarter of an hour.
    Devices,
    /// Six digits: so many failures a day, twenty unless the settings say otherwise.
    Code(usize),
    /// Six digits that set a password, from one network: thirty failures a day.
    ResetCode,
}

/// What is guessed at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// An identifier, by its keyed hash, by somebody whom nothing proves to have been here before.
    Identifier(Digest),
    /// The account of a browser that is known to its person, by the browser's own key.
    Device(Digest),
    /// The password of an account, by all devices that it knows together.
    Devices(UserId),
    /// The password of somebody who is signed in, asked for once more.
    User(UserId),
    /// The password of one flow, such as a registration whose link is shown.
    Flow([u8; 16]),
    /// The codes that were mailed to an address, by the address's keyed hash, over all flows.
    Codes(Digest),
    /// The codes that set a password, by the keyed hash of the network that tries them, over all addresses: whoever has a
    /// list of addresses has no more guesses than whoever has one.
    ResetCodes(Digest),
}

impl Target {
    /// Every value of [`Target::word`].
    pub const WORDS: [&'static str; 7] = ["identifier", "device", "devices", "user", "flow", "codes", "reset_codes"];

    /// Its rule.
    pub const fn rule(self, settings: &Settings) -> Rule {
        match self {
            Self::Identifier(_) | Self::Device(_) | Self::User(_) | Self::Flow(_) => Rule::Secret,
            Self::Devices(_) => Rule::Devices,
            Self::Codes(_) => Rule::Code(settings.code_failures),
            Self::ResetCodes(_) => Rule::ResetCode,
        }
    }

    /// What kind of target, in a word for history.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Identifier(_) => "identifier",
            Self::Device(_) => "device",
            Self::Devices(_) => "devices",
            Self::User(_) => "user",
            Self::Flow(_) => "flow",
            Self::Codes(_) => "codes",
            Self::ResetCodes(_) => "reset_codes",
        }
    }

    /// The bytes that tell it apart within its kind.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Identifier(digest) | Self::Device(digest) | Self::Codes(digest) | Self::ResetCodes(digest) => {
                &digest.0
            }
            Self::User(user) | Self::Devices(user) => user.0.bytes(),
            Self::Flow(flow) => flow,
        }
    }
}

impl Rule {
    /// How far back failures count.
    pub const fn window(self) -> Duration {
        match self {
            Self::Secret | Self::Devices => HOUR,
            Self::Code(_) | Self::ResetCode => DAY,
        }
    }

    /// Until when nobody may guess, given the failures within the window, newest first; `None`: go on.
    pub fn blocked_until(self, failures: &[Timestamp], now: Timestamp) -> Option<Timestamp> {
        let until = match self {
            Self::Secret | Self::Devices => {
                let free = if self == Self::Devices { FREE_OF_ALL_DEVICES } else { FREE };
                let over = failures.len().checked_sub(free).filter(|over| *over > 0)?;
                let seconds = u32::try_from(over).ok().and_then(|over| 2_u64.checked_pow(over));
                let wait = seconds.map_or(LONGEST_WAIT, |seconds| seconds.min(LONGEST_WAIT));
                failures.first()?.after(Duration::from_secs(wait))
            }
            // When the twentieth is a day old, there are nineteen.
            Self::Code(most) => failures.get(most.saturating_sub(1))?.after(DAY),
            Self::ResetCode => failures.get(RESET_CODES_A_DAY - 1)?.after(DAY),
        };
        (until > now).then_some(until)
    }
}

impl Target {
    /// By what its failures are found. It is not the hash by which users are found: a reader of this table learns of
    /// nobody.
    pub fn key(&self, environment: &Environment) -> Digest {
        environment.digest("guesses", &[self.word().as_bytes(), &[0], self.bytes()].concat())
    }
}

/// The write that counts a failure, for the step or act that judges the guess. `by`: the network that it came from.
pub fn failure(target: Target, by: Digest, cx: &Cx<'_, Auth>) -> FailureWrite {
    FailureWrite::Count { id: cx.id(target.word()), of: target.key(cx.environment), by, at: cx.now }
}

/// The write that forgets the failures of one network at what was guessed at, because the guess was right now. Those of
/// other networks stay: that they were gone would tell their guessers that somebody has the account.
pub fn forgotten(target: Target, by: Digest, cx: &Cx<'_, Auth>) -> FailureWrite {
    FailureWrite::Clear { of: target.key(cx.environment), by, at: cx.now }
}

/// Counts a failure, of a device also for all devices of its account together (`also`). `user`: whose account it was, for
/// their history, when there is one.
pub fn failed(
    target: Target,
    also: Option<Target>,
    by: Digest,
    user: Option<UserId>,
    cx: &Cx<'_, Auth>,
) -> ActStep<(), Auth> {
    let mut effects = Effects::none().write(failure(target, by, cx));
    if let Some(also) = also {
        effects = effects.write(failure(also, by, cx));
    }
    ActStep {
        says: (),
        effects,
        user: user.map(|user| user.0),
        public: json!({ "of": target.word(), "user": user.map(UserId::text) }),
    }
}

/// Forgets the failures of one network at what was guessed at, because it was right now.
pub fn cleared(target: Target, by: Digest, cx: &Cx<'_, Auth>) -> ActStep<(), Auth> {
    ActStep {
        says: (),
        effects: Effects::none().write(forgotten(target, by, cx)),
        user: None,
        public: json!({ "of": target.word() }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    /// So many failures, a second apart, the newest just now.
    fn failures(count: usize) -> Vec<Timestamp> {
        (0..count).map(|place| Timestamp(NOW.0 - i64::try_from(place).unwrap_or(i64::MAX) * 1_000)).collect()
    }

    fn wait(rule: Rule, count: usize) -> Option<i64> {
        rule.blocked_until(&failures(count), NOW).map(|until| (until.0 - NOW.0) / 1_000)
    }

    #[test]
    fn every_target_has_its_word_in_the_list() {
        let (digest, user) = (Digest([0; 32]), UserId(cairn_runtime::Id::from_bytes([0; 16])));
        let targets = [
            Target::Identifier(digest),
            Target::Device(digest),
            Target::Devices(user),
            Target::User(user),
            Target::Flow([0; 16]),
            Target::Codes(digest),
            Target::ResetCodes(digest),
        ];
        assert_eq!(targets.map(Target::word), Target::WORDS);
    }

    #[test]
    fn the_tenth_failure_slows_down_and_each_further_one_twice_as_much() {
        let waits: Vec<_> = (8..=20).map(|count| wait(Rule::Secret, count)).collect();
        let powers = [2, 4, 8, 16, 32, 64, 128, 256, 512].map(Some);
        assert_eq!(waits, [&[None, None][..], &powers, &[Some(900), Some(900)]].concat());
        assert_eq!(wait(Rule::Secret, 1_000), Some(900));
    }

    #[test]
    fn the_thirtieth_failure_of_all_devices_slows_down_which_one_device_never_comes_to() {
        let waits: Vec<_> = (28..=32).map(|count| wait(Rule::Devices, count)).collect();
        assert_eq!(waits, [None, None, Some(2), Some(4), Some(8)]);
        assert_eq!(wait(Rule::Devices, usize::try_from(MOST).unwrap()), Some(900));
        // One device as fast as it may: each failure as soon as the wait before it is over.
        let (mut failed, mut now) = (Vec::new(), NOW);
        while now < NOW.after(HOUR) {
            now = Rule::Secret.blocked_until(&failed, now).unwrap_or(now);
            failed.insert(0, now);
        }
        assert!(failed.len() <= FREE_OF_ALL_DEVICES, "{}", failed.len());
    }

    #[test]
    fn a_wait_is_over_when_it_is_over() {
        let ten = failures(10);
        let after = |millis: i64| Rule::Secret.blocked_until(&ten, Timestamp(NOW.0 + millis)).is_some();
        assert_eq!([after(0), after(1_999), after(2_000), after(900_000)], [true, true, false, false]);
    }

    #[test]
    fn twenty_codes_a_day_and_not_one_more() {
        let code = Target::Codes(Digest([7; 32])).rule(&Settings::default());
        assert_eq!(wait(code, 19), None);
        assert_eq!(wait(code, 20), Some(86_400 - 19));
        assert_eq!(wait(code, 21), Some(86_400 - 19));
        let fewer = Settings { code_failures: 5, ..Settings::default() };
        let fewer = Target::Codes(Digest([7; 32])).rule(&fewer);
        assert_eq!((wait(fewer, 4), wait(fewer, 5)), (None, Some(86_400 - 4)));
        assert_eq!(wait(Rule::ResetCode, 29), None);
        assert_eq!(wait(Rule::ResetCode, 30), Some(86_400 - 29));
    }

    #[test]
    fn targets_of_two_kinds_are_two_though_their_bytes_are_the_same() {
        let digest = Digest([7; 32]);
        let all =
            [Target::Identifier(digest), Target::Device(digest), Target::Codes(digest), Target::ResetCodes(digest)];
        let words: std::collections::BTreeSet<_> = all.iter().map(|target| target.word()).collect();
        assert_eq!(words.len(), all.len());
        assert!(all.iter().all(|target| target.bytes() == digest.0));
    }

    proptest! {
        #[test]
        fn more_failures_never_shorten_the_wait(
            count in 0_usize..200, rule in prop_oneof![Just(Rule::Secret), Just(Rule::Devices), Just(Rule::Code(20))]
        ) {
            prop_assert!(wait(rule, count) <= wait(rule, count + 1));
            prop_assert!(wait(rule, count).is_none_or(|wait| wait <= 86_400));
        }
    }
}
