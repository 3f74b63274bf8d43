//! What a decision may know besides state, input and time: the key ring and the settings.

use std::sync::Arc;
use std::time::Duration;

use crate::acts::guesses::CODES_A_DAY;
use crate::identity::address::Address;
use crate::identity::disposable::Disposable;
use crate::identity::reserved::Reserved;
use crate::identity::username::Username;
use crate::secrets::digest::Digest;
use crate::secrets::ring::Ring;
use crate::secrets::signing::SigningKeys;

/// Spans and bounds that flows decide by. The defaults are those of the documentation.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long the predecessor of a refresh token gets the same answer (`CAIRN_REFRESH_GRACE`).
    pub refresh_grace: Duration,
    /// How long an access token is good (`CAIRN_ACCESS_TTL`).
    pub access_ttl: Duration,
    /// How long an authorization code is good (`CAIRN_CODE_TTL`).
    pub code_ttl: Duration,
    /// How long a session lives after its last refresh (`CAIRN_SESSION_TTL`).
    pub session_ttl: Duration,
    /// How long a session lives at most, from the last proof of who its user is (`CAIRN_SESSION_MAX`).
    pub session_max: Duration,
    /// How long a registration waits for its proof (`CAIRN_REGISTRATION_TTL`).
    pub registration_ttl: Duration,
    /// How long a reset link is good (`CAIRN_RESET_TTL`).
    pub reset_ttl: Duration,
    /// Between two letters of one flow (`CAIRN_RESEND_COOLDOWN`).
    pub resend_cooldown: Duration,
    /// The public URL without a final slash: what links begin with, `iss` and `aud`.
    pub public_url: String,
    /// What becomes of disposable addresses (`CAIRN_DISPOSABLE`).
    pub disposable: Disposable,
    /// How old the last proof of who one is may be for what is sensitive (`CAIRN_STEP_UP_AGE`).
    pub step_up_age: Duration,
    /// Sessions of one user; one more ends the one that was idle for longest (`CAIRN_MAX_SESSIONS`).
    pub max_sessions: u32,
    /// Whom letters come from (`MAIL_FROM`), as it is said.
    pub mail_from: String,
    /// Letters an hour and address for what strangers can cause, and the same again for each other kind of letter
    /// (`CAIRN_MAIL_BUDGET`).
    pub mail_budget: u32,
    /// Usernames that nobody may choose (`CAIRN_RESERVED_USERNAMES`).
    pub reserved_usernames: Reserved,
    /// Whether anybody may register (`CAIRN_REGISTRATION`). What waits already may still be proved.
    pub registration: bool,
    /// Whether anybody may sign in by a letter instead of the password (`CAIRN_MAGIC_LINK`).
    pub magic_link: bool,
    /// Wrong codes of one address within a day (`CAIRN_LIMIT_CODE_FAILURES`).
    pub code_failures: usize,
    /// Whether slow-downs and daily caps hold (`CAIRN_LIMITS`).
    pub limits: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            refresh_grace: Duration::from_secs(30),
            access_ttl: Duration::from_secs(300),
            code_ttl: Duration::from_secs(60),
            session_ttl: Duration::from_secs(30 * 86_400),
            session_max: Duration::from_secs(365 * 86_400),
            registration_ttl: Duration::from_secs(86_400),
            reset_ttl: Duration::from_secs(3_600),
            resend_cooldown: Duration::from_secs(60),
            public_url: "http://127.0.0.1:8080".to_owned(),
            disposable: Disposable::Allow,
            step_up_age: Duration::from_secs(600),
            max_sessions: 50,
            mail_from: "Cairn <cairn@localhost>".to_owned(),
            mail_budget: 10,
            reserved_usernames: Reserved::default(),
            registration: true,
            magic_link: false,
            code_failures: CODES_A_DAY,
            limits: true,
        }
    }
}

/// Key ring, signing keys and settings, as one value that never changes: a rotation makes a new one.
#[derive(Debug)]
pub struct Environment {
    /// The ring: MACs, seals, keyed hashes.
    pub ring: Arc<Ring>,
    /// The keys that sign access tokens.
    pub signing: Arc<SigningKeys>,
    /// The settings.
    pub settings: Settings,
}

impl Environment {
    /// The same with other signing keys.
    #[must_use]
    pub fn with_signing(&self, signing: Arc<SigningKeys>) -> Self {
        Self { ring: Arc::clone(&self.ring), signing, settings: self.settings.clone() }
    }

    /// The keyed hash of an address in its canonical form.
    pub fn address_key(&self, address: &Address) -> Digest {
        self.digest("address", address.canonical().as_bytes())
    }

    /// The keyed hash of a username.
    pub fn username_key(&self, username: &Username) -> Digest {
        self.digest("username", username.as_str().as_bytes())
    }

    /// The keyed hash of something under a label. Its key never rotates.
    pub fn digest(&self, label: &str, bytes: &[u8]) -> Digest {
        Digest(self.ring.digest(label, bytes))
    }

    /// Seals bytes, with the nonce taken from a random seed.
    pub fn seal(&self, label: &str, context: &[u8], plain: &[u8], seed: [u8; 32]) -> Vec<u8> {
        let mut nonce = [0; 12];
        for (to, from) in nonce.iter_mut().zip(seed) {
            *to = from;
        }
        self.ring.seal(label, context, plain, nonce)
    }
}
