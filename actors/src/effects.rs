//! The closed vocabularies of auth: what may be written, claimed, delivered and answered. A new word breaks every place
//! that must answer it, on purpose.

use std::sync::LazyLock;
use std::time::Duration;

use cairn_runtime::store::{RetentionRule, RuledRows};
use cairn_runtime::{Charge, Domain, FlowId, Id, Lane, Timestamp};
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use crate::acts::guesses::FAILED;
use crate::address::Address;
use crate::credential::Seal;
use crate::environment::Environment;
use crate::flows;
use crate::hasher::SealedHash;
use crate::name::PersonName;
use crate::username::Username;

/// The domain of auth.
#[derive(Clone, Copy, Debug)]
pub enum Auth {}

/// Names one user; `usr_…` in text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub Id);

impl UserId {
    /// The prefix of its text.
    pub const PREFIX: &'static str = "usr";

    /// Its text.
    pub fn text(self) -> String {
        self.0.text(Self::PREFIX)
    }

    /// Reads its text.
    pub fn parse(text: &str) -> Option<Self> {
        Id::parse(Self::PREFIX, text).map(Self)
    }
}

/// A keyed hash by which something personal is found again without standing there in clear. Made by
/// [`Environment::digest`]; its key never rotates.
///
/// As JSON it is a text of 43 characters. What was written before as a list of numbers, three times as long, is read, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "Written")]
pub struct Digest(pub [u8; 32]);

/// A digest as it may have been written.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Numbers([u8; 32]),
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        BASE64URL_NOPAD.encode(&digest.0)
    }
}

impl TryFrom<Written> for Digest {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, &'static str> {
        let bytes = match written {
            Written::Text(text) => BASE64URL_NOPAD.decode(text.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok()),
            Written::Numbers(bytes) => Some(bytes),
        };
        bytes.map(Self).ok_or("not a digest of 43 characters")
    }
}

/// A user as a registration makes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewUser {
    /// Its id.
    pub id: UserId,
    /// The address that was proved.
    pub address: Address,
    /// By which the address is found.
    pub address_key: Digest,
    /// Unique, when there is one.
    pub username: Option<Username>,
    /// As typed.
    pub first_name: Option<PersonName>,
    /// As typed.
    pub last_name: Option<PersonName>,
    /// The password's hash, sealed.
    pub password: SealedHash,
    /// When.
    pub at: Timestamp,
}

/// What a step may write besides its own row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Write {
    /// A user comes to be.
    CreateUser(Box<NewUser>),
    /// A guess at a secret has failed.
    CountFailure {
        /// Names the failure.
        id: Id,
        /// What was guessed at, by a keyed hash.
        of: Digest,
        /// The network that it came from, by a keyed hash.
        by: Digest,
        /// When.
        at: Timestamp,
    },
    /// The failures at what was guessed at that came from one network are forgotten.
    ClearFailures {
        /// What was guessed at, by a keyed hash.
        of: Digest,
        /// The network, by a keyed hash.
        by: Digest,
        /// Those up to this instant.
        at: Timestamp,
    },
    /// A user's password becomes another, which is in force from now on.
    SetPassword {
        /// Whose.
        user: UserId,
        /// The new hash, sealed.
        password: SealedHash,
        /// When.
        at: Timestamp,
    },
    /// A user's password is out of force: whatever is typed is wrong, until the next [`Write::SetPassword`].
    SuspendPassword {
        /// Whose.
        user: UserId,
        /// When.
        at: Timestamp,
    },
    /// A user's password stays, and its hash is made anew.
    Rehash {
        /// Whose.
        user: UserId,
        /// The new hash, sealed.
        password: SealedHash,
        /// When.
        at: Timestamp,
    },
    /// A user's address becomes another. Whoever writes this raises [`Key::Profile`] as well.
    SetAddress {
        /// Whose.
        user: UserId,
        /// The address that was proved.
        address: Address,
        /// By which it is found.
        address_key: Digest,
        /// When.
        at: Timestamp,
    },
    /// A user's names become others. Whoever writes this raises [`Key::Profile`] as well.
    SetProfile {
        /// Whose.
        user: UserId,
        /// Unique, when there is one.
        username: Option<Username>,
        /// As typed.
        first_name: Option<PersonName>,
        /// As typed.
        last_name: Option<PersonName>,
        /// When.
        at: Timestamp,
    },
    /// A deletion waits for a user, or does so no longer. Whoever writes this raises [`Key::Profile`] as well.
    SetDeletion {
        /// Whose.
        user: UserId,
        /// The flow that will delete them.
        flow: Option<FlowId>,
        /// When.
        at: Timestamp,
    },
    /// A user signs in for the first time.
    FirstSignIn {
        /// Who.
        user: UserId,
        /// When.
        at: Timestamp,
    },
    /// A user has signed in with a device that the account did not know.
    AddDevice {
        /// Names the device.
        id: Id,
        /// Whose.
        user: UserId,
        /// The user agent, as the browser or program says it, at most [`crate::device::AGENT`] characters of it.
        user_agent: Option<String>,
        /// The address that the sign-in came from.
        client_address: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// A user has signed in with a device that the account knows. One that was forgotten meanwhile stays forgotten.
    SeeDevice {
        /// Names the device.
        id: Id,
        /// Whose.
        user: UserId,
        /// The user agent, as the browser or program says it, at most [`crate::device::AGENT`] characters of it.
        user_agent: Option<String>,
        /// The address that the sign-in came from.
        client_address: Option<String>,
        /// When.
        at: Timestamp,
    },
    /// A device is not known to an account any more.
    ForgetDevice {
        /// Names the device.
        id: Id,
        /// Whose.
        user: UserId,
    },
    /// No device is known to an account any more. Whoever writes this raises [`Key::Devices`] as well.
    ForgetDevices {
        /// Whose.
        user: UserId,
    },
    /// A user is no more, nor are their devices.
    DeleteUser {
        /// Who.
        user: UserId,
    },
}

/// What a step may claim, release, hold or bump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// A verified address, by its keyed hash.
    Address(Digest),
    /// A username. Usernames are public.
    Username(Username),
    /// A user's fence: what began before it was bumped is over.
    User(UserId),
    /// The number of a user's profile (address, names, deletion): what `If-Match` holds against.
    Profile(UserId),
    /// The number of what is known of a user from before: their devices, the places that they signed in from, proofs of
    /// the password that are on their way. Raised where somebody who is not the user may have signed in: none of that
    /// counts any more.
    Devices(UserId),
    /// A session's fence: there for as long as the session lives.
    Session(Id),
    /// A device grant's user code, by its keyed hash.
    UserCode(Digest),
}

/// A letter, with all that is needed to write it again in the same words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "letter")]
pub enum Letter {
    /// Proves an address: a code and a link.
    RegistrationVerify {
        /// To whom.
        to: Address,
        /// What both are rendered from.
        seal: Seal,
        /// Until when they are good.
        expires_at: Timestamp,
    },
    /// Somebody registered with an address that has an account.
    RegistrationKnown {
        /// To whom.
        to: Address,
    },
    /// The account is there.
    RegistrationWelcome {
        /// To whom.
        to: Address,
    },
    /// Sets a new password: a code and a link.
    RecoveryReset {
        /// To whom.
        to: Address,
        /// What both are rendered from.
        seal: Seal,
        /// Until when they are good.
        expires_at: Timestamp,
    },
    /// The password is another now.
    PasswordChanged {
        /// To whom.
        to: Address,
        /// Since when.
        at: Timestamp,
    },
    /// Proves the new address of an account: a code and a link.
    EmailConfirm {
        /// To the new address.
        to: Address,
        /// What both are rendered from.
        seal: Seal,
        /// Until when they are good.
        expires_at: Timestamp,
    },
    /// Somebody wanted to change to an address that has an account.
    EmailKnown {
        /// To the account's owner.
        to: Address,
    },
    /// The address is another now; a link takes that back.
    EmailChanged {
        /// To the address from before.
        to: Address,
        /// What the link is rendered from.
        seal: Seal,
        /// Since when.
        at: Timestamp,
        /// Until when the link is good.
        expires_at: Timestamp,
    },
    /// Somebody signed in from a device or place that was not seen before; a link ends that session.
    SessionNewDevice {
        /// To whom.
        to: Address,
        /// What the link is rendered from.
        seal: Seal,
        /// With what, in words of ours: "Firefox on Linux".
        device: String,
        /// The address of the network that it came from.
        client_address: String,
        /// When.
        at: Timestamp,
    },
    /// The account will be deleted.
    DeletionAsked {
        /// To whom.
        to: Address,
        /// When.
        until: Timestamp,
    },
    /// The account will not be deleted: somebody has signed in to it.
    DeletionCalledOff {
        /// To whom.
        to: Address,
        /// When.
        at: Timestamp,
    },
}

impl Letter {
    /// Every value of [`Letter::name`].
    pub const NAMES: &'static [&'static str] = &[
        "registration.verify",
        "registration.known",
        "registration.welcome",
        "recovery.reset",
        "password.changed",
        "email.confirm",
        "email.known",
        "email.changed",
        "session.new-device",
        "deletion.asked",
        "deletion.called-off",
    ];

    /// The value of `X-Cairn-Letter`, the kind in the outbox and in metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::RegistrationVerify { .. } => "registration.verify",
            Self::RegistrationKnown { .. } => "registration.known",
            Self::RegistrationWelcome { .. } => "registration.welcome",
            Self::RecoveryReset { .. } => "recovery.reset",
            Self::PasswordChanged { .. } => "password.changed",
            Self::EmailConfirm { .. } => "email.confirm",
            Self::EmailKnown { .. } => "email.known",
            Self::EmailChanged { .. } => "email.changed",
            Self::SessionNewDevice { .. } => "session.new-device",
            Self::DeletionAsked { .. } => "deletion.asked",
            Self::DeletionCalledOff { .. } => "deletion.called-off",
        }
    }

    /// The budget_class that it is paid from, each with the same budget: what strangers can cause must not use up what its
    /// owner needs, what a forgotten password can cause (by anybody) must not keep a notice of a theft away, and no
    /// number of notices, which a thief can cause, the two letters that tell how to undo a theft.
    pub const fn budget_class(&self) -> &'static str {
        match self {
            Self::RegistrationVerify { .. }
            | Self::RegistrationKnown { .. }
            | Self::EmailConfirm { .. }
            | Self::EmailKnown { .. } => "strangers",
            Self::RecoveryReset { .. } => "recovery",
            // The welcome as well: beside the strangers' letters it would tell them, by the one that no longer goes out,
            // whether the address was proved within the hour.
            Self::RegistrationWelcome { .. }
            | Self::PasswordChanged { .. }
            | Self::SessionNewDevice { .. }
            | Self::DeletionCalledOff { .. } => "notices",
            Self::EmailChanged { .. } => "changed",
            Self::DeletionAsked { .. } => "deletion",
        }
    }

    /// To whom it goes.
    pub const fn to(&self) -> &Address {
        match self {
            Self::RegistrationVerify { to, .. }
            | Self::RegistrationKnown { to }
            | Self::RegistrationWelcome { to }
            | Self::RecoveryReset { to, .. }
            | Self::PasswordChanged { to, .. }
            | Self::EmailConfirm { to, .. }
            | Self::EmailKnown { to }
            | Self::EmailChanged { to, .. }
            | Self::SessionNewDevice { to, .. }
            | Self::DeletionAsked { to, .. }
            | Self::DeletionCalledOff { to, .. } => to,
        }
    }
}

/// Who has a letter sent that a stranger may ask for: it is charged to them as well as to the mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AskedBy {
    /// The network that asked, by a keyed hash.
    pub network: Digest,
    /// The browser that asked is known to the account that has the address: its letters have a budget of their own.
    pub known: bool,
}

/// What is carried out of the house.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// By mail.
    Letter(Letter),
    /// By mail, and somebody asked for it who may be a stranger.
    AskedLetter {
        /// The letter.
        letter: Letter,
        /// Who asked.
        by: AskedBy,
    },
    /// To nobody: it stands where [`Delivery::AskedLetter`] would stand if somebody had the address, and costs the same
    /// rows, commits and time, so that nothing which follows the answer tells what the answer hid. No mail server and no
    /// mailbox ever has it.
    ToNobody {
        /// The letter that nobody gets.
        letter: Letter,
        /// Who asked.
        by: AskedBy,
    },
}

impl Delivery {
    /// The kind of what goes to nobody, in the outbox and in metrics.
    pub const NOBODY: &'static str = "nobody";
    /// Every kind of a delivery: the letters, and what goes to nobody.
    pub const KINDS: &'static [&'static str] = &[
        "registration.verify",
        "registration.known",
        "registration.welcome",
        "recovery.reset",
        "password.changed",
        "email.confirm",
        "email.known",
        "email.changed",
        "session.new-device",
        "deletion.asked",
        "deletion.called-off",
        Self::NOBODY,
    ];

    /// The letter that is carried, or would be.
    pub const fn letter(&self) -> &Letter {
        match self {
            Self::Letter(letter) | Self::AskedLetter { letter, .. } | Self::ToNobody { letter, .. } => letter,
        }
    }

    /// The letter that somebody gets.
    pub const fn mailed(&self) -> Option<&Letter> {
        match self {
            Self::Letter(letter) | Self::AskedLetter { letter, .. } => Some(letter),
            Self::ToNobody { .. } => None,
        }
    }
}

/// What the world answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It was taken.
    #[default]
    Accepted,
}

/// What is not kept for as long as all the rest: what the flows say of their own rows, and failed guesses.
static RETENTION: LazyLock<Vec<RetentionRule>> = LazyLock::new(|| {
    let keep = Duration::from_secs(86_400);
    // Strangers cause these at will.
    let failed = RetentionRule { rows: RuledRows::Events { kind: FAILED, name: FAILED, to: "" }, keep };
    flows::ALL.iter().flat_map(|kind| (kind.retention)()).chain([failed]).collect()
});

/// Letters. The lane has no breaker: the mailer has its own, which tells a server in trouble from one address in trouble.
pub const MAIL: Lane = Lane::named("mail");

impl Domain for Auth {
    type Write = Write;
    type Key = Key;
    type Delivery = Delivery;
    type Answer = Answer;
    type Environment = Environment;

    const KINDS: &'static [&'static str] = Delivery::KINDS;
    const LANES: &'static [Lane] = &[MAIL];

    fn guard(key: &Key) -> String {
        let hex = |digest: &Digest| data_encoding::HEXLOWER.encode(&digest.0);
        match key {
            Key::Address(digest) => format!("address/{}", hex(digest)),
            Key::Username(username) => format!("username/{username}"),
            // In hexadecimal, because a query makes the same text out of the column of the id.
            Key::User(user) => format!("user/{}", data_encoding::HEXLOWER.encode(user.0.bytes())),
            Key::Profile(user) => format!("profile/{}", data_encoding::HEXLOWER.encode(user.0.bytes())),
            Key::Devices(user) => format!("devices/{}", data_encoding::HEXLOWER.encode(user.0.bytes())),
            Key::Session(session) => format!("session/{}", session.text("ses")),
            Key::UserCode(digest) => format!("user_code/{}", hex(digest)),
        }
    }

    fn retention() -> &'static [RetentionRule] {
        &RETENTION
    }

    fn kind(delivery: &Delivery) -> &'static str {
        delivery.mailed().map_or(Delivery::NOBODY, Letter::name)
    }

    fn lane(delivery: &Delivery) -> &'static Lane {
        match delivery {
            Delivery::Letter(_) | Delivery::AskedLetter { .. } | Delivery::ToNobody { .. } => &MAIL,
        }
    }

    /// Letters to one mailbox are counted by their purses, and within that by the network that asked for them. What goes
    /// to nobody waits for room as often and as long, in a budget_class that no letter is paid from.
    fn charge(environment: &Environment, delivery: &Delivery) -> Option<Charge> {
        let (letter, by, nobody) = match delivery {
            Delivery::Letter(letter) => (letter, None, ""),
            Delivery::AskedLetter { letter, by } => (letter, Some(by), ""),
            Delivery::ToNobody { letter, by } => (letter, Some(by), " of nobody"),
        };
        let known = if by.is_some_and(|by| by.known) { " of known browsers" } else { "" };
        let of = [letter.budget_class(), nobody, known, " ", &letter.to().mailbox()].concat();
        let budget = environment.digest("mail budget", of.as_bytes()).0;
        Some(Charge { budget, asked_by: by.map(|by| by.network.0) })
    }

    fn seal(environment: &Environment, context: &[u8], plain: &[u8], seed: [u8; 32]) -> Vec<u8> {
        environment.seal("outbox", context, plain, seed)
    }

    fn open(environment: &Environment, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, String> {
        environment.ring.open("outbox", context, sealed).map_err(|why| why.to_string())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_digest_is_written_as_text_and_read_as_numbers_too() {
        let digest = Digest([7; 32]);
        let text = serde_json::to_string(&digest).unwrap();
        assert_eq!(text, r#""BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc""#);
        assert_eq!(serde_json::from_str::<Digest>(&text).unwrap(), digest);
        let numbers = serde_json::to_string(&[7; 32]).unwrap();
        assert_eq!(serde_json::from_str::<Digest>(&numbers).unwrap(), digest);
        for other in [r#""BwcH""#, "[7,7]", r#""not base 64""#, "7"] {
            assert!(serde_json::from_str::<Digest>(other).is_err(), "{other}");
        }
    }
}
