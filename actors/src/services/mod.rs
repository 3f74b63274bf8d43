//! The use cases: read facts, hash, build the command, ask the flow. HTTP and the command line both call these.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use cairn_runtime::store::StoreFault;
use cairn_runtime::{Asker, Engine, Fault, Flow, FlowId, Id, InputId, Method, Reply, Snapshot, Timestamp};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::acts::guesses::Target;
use crate::directory::{Directory, InSession, User};
use crate::effects::{AskedBy, Auth};
use crate::flows::session::Session;
use crate::identity::user_id::UserId;
use crate::secrets::digest::Digest;
use crate::secrets::hasher::{HashFault, Hasher, Lane};
use crate::secrets::password::Password;
use crate::services::signing_keys::KeyManager;

pub mod arrival;
pub mod browser;
pub mod clients;
pub mod deletion;
pub mod devices;
pub mod email_change;
mod entry;
pub mod guesses;
pub mod magic_link;
pub mod newcomer;
pub mod password;
pub mod passwords;
pub mod ping;
pub mod profile;
pub mod proof;
pub mod provider;
pub mod recovery;
pub mod registration;
pub mod resources;
pub mod session;
pub mod sessions;
pub mod signing_keys;
mod typed;

/// Who asks, as far as the door knows.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The request's id, for history and logs.
    pub trace: String,
    /// The client's address.
    pub address: IpAddr,
    /// The user agent, as it says it.
    pub device: Option<String>,
    /// The proof of a device that the browser shows as a cookie or the program in a header, whatever it is worth.
    pub device_proof: Option<String>,
    /// The route (method and path) and the `Idempotency-Key` that came with it.
    pub repeat: Option<Repeat>,
}

/// What makes a request the repeat of another.
#[derive(Clone, Debug)]
pub struct Repeat {
    /// Method and path.
    pub route: String,
    /// The value of `Idempotency-Key`.
    pub key: String,
}

/// One member of a request that is readable but not acceptable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BadValue {
    /// Which member (RFC 6901).
    pub pointer: &'static str,
    /// One word of a fixed set.
    pub code: &'static str,
    /// What to do.
    pub detail: String,
}

/// Why a use case ended otherwise than hoped. What status that is, HTTP says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Values that are not acceptable.
    Values(Vec<BadValue>),
    /// A code that is wrong.
    WrongCode {
        /// How many tries are left.
        tries_left: u8,
    },
    /// Sign-in refused, or a password that is wrong.
    Credentials,
    /// A token that is not, or no longer, good.
    SessionEnded,
    /// A profile that was changed by somebody else since it was read.
    Changed,
    /// The username is taken.
    UsernameTaken,
    /// Nobody may register here (`CAIRN_REGISTRATION`).
    RegistrationClosed,
    /// The address is taken, told to who proved it.
    AddressTaken,
    /// A link or code that is used up, called off, expired or garbage.
    FlowEnded(&'static str),
    /// No such flow.
    NotFound,
    /// Not before this instant.
    SlowDown(Timestamp),
    /// The idempotency key came with another body.
    Mismatch,
    /// The engine's own.
    Fault(Fault),
}

impl Refusal {
    /// A link that was never sent, or whose flow is forgotten.
    pub const GARBAGE: Self = Self::FlowEnded(
        "Begin anew to be sent another letter: this link is used up, its time is over, or it never was one.",
    );
    /// A code or link of a flow that has ended.
    pub const OVER: Self =
        Self::FlowEnded("Begin anew to be sent another letter: this code or link is used up, or its time is over.");
    /// A code after the last try.
    pub const ONLY_THE_LINK: Self =
        Self::FlowEnded("Use the link in the letter: five codes were wrong, and only the link works now.");
    /// A new password by the link of a new-device letter that sets none.
    pub const SETS_NO_PASSWORD: Self =
        Self::FlowEnded("This link sets no password (any more). Ask for a letter to set a new one.");
    /// Another letter after the last.
    pub const NO_MORE_LETTERS: Self =
        Self::FlowEnded("Five letters were sent. Look for them in the mailbox, or begin anew.");
    /// A letter for a flow that awaits none.
    pub const NOTHING_AWAITED: Self = Self::FlowEnded("Begin anew: nothing waits for a letter here.");
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::NotFound => Self::NotFound,
            Fault::Mismatch => Self::Mismatch,
            Fault::Ended => Self::OVER,
            other => Self::Fault(other),
        }
    }
}

impl From<StoreFault> for Refusal {
    fn from(fault: StoreFault) -> Self {
        Self::Fault(Fault::from(fault))
    }
}

impl From<HashFault> for Refusal {
    fn from(fault: HashFault) -> Self {
        match fault {
            HashFault::Overloaded => Self::Fault(Fault::Overloaded),
            other => Self::Fault(Fault::Defect(other.to_string())),
        }
    }
}

/// What a client is shown of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowView {
    /// Its id with its prefix.
    pub id: String,
    /// Its kind.
    pub kind: &'static str,
    /// Its phase.
    pub phase: String,
    /// Its version.
    pub version: u64,
    /// When the phase ends by itself; `None` at the end.
    pub expires_at: Option<Timestamp>,
}

impl FlowView {
    /// As a step has left it.
    fn after<F: Flow>(reply: &Reply<F::Outcome>, expires_at: Option<Timestamp>) -> Self {
        let id = reply.flow.0.text(F::PREFIX);
        Self { id, kind: F::NAME, phase: reply.phase.clone(), version: reply.version, expires_at }
    }

    /// As it stands.
    fn of<F: Flow>(seen: &Snapshot<F>) -> Self {
        let (id, phase) = (seen.text(), seen.phase.clone());
        Self { id, kind: F::NAME, phase, version: seen.version, expires_at: seen.wake_at }
    }
}

/// A flow's view and the way its input went.
#[derive(Clone, Debug)]
pub struct FlowReply {
    /// The flow after it.
    pub flow: FlowView,
    /// Through its shell or directly.
    pub method: Method,
}

/// How long an idempotency key is kept.
const KEPT: Duration = Duration::from_secs(86_400);

/// How often a step is asked for anew when the account moved under it: more often than somebody edits who does nothing
/// else meanwhile.
const TRIES: usize = 8;

/// All use cases, with what they need.
#[derive(Clone)]
pub struct Services {
    /// The engine.
    pub engine: Engine<Auth>,
    /// Reads.
    pub directory: Directory,
    /// Hashes.
    pub hasher: Hasher,
    /// Changes the signing keys.
    pub keys: KeyManager,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Services")
    }
}

impl Services {
    /// The asker of a request: with an idempotency key the input's id is a MAC over route, caller and key, so that a
    /// repeat finds what the first did. `body` is all that makes the request this one and no other: of its passwords their
    /// [`Services::fingerprint`].
    async fn asker(&self, caller: &Caller, body: &[&str]) -> Result<Asker, Refusal> {
        self.asker_of(caller, None, body).await
    }

    /// The same for somebody who is signed in: then the user is the caller, wherever they are.
    async fn asker_of(&self, caller: &Caller, user: Option<UserId>, body: &[&str]) -> Result<Asker, Refusal> {
        let Some(repeat) = &caller.repeat else { return Ok(self.engine.asker(&caller.trace)) };
        let (environment, now) = (self.engine.environment(), self.engine.now());
        let asked = unambiguous(&[&repeat.route, &who(caller, user), &repeat.key]);
        let mut id = environment.digest("idempotency key", &asked);
        // What was asked under it longer ago than it is kept is another request, and so is the next one: it goes by when
        // the one before was.
        while let Some(event) = self.engine.store().event(InputId::from_bytes(first(&id.0))).await?
            && event.at.after(KEPT) <= now
        {
            id = environment.digest("idempotency key again", &[&id.0[..], &event.at.0.to_be_bytes()].concat());
        }
        let print = environment.digest("idempotent body", &unambiguous(body));
        Ok(Asker {
            input: InputId::from_bytes(first(&id.0)),
            repeatable: true,
            fingerprint: Some(first(&print.0)),
            trace: Arc::from(caller.trace.as_str()),
        })
    }

    /// What its passwords add to what tells a request from another under the same key. It is as dear to guess at as the
    /// hash of a password that is kept, and made only where there is a key.
    async fn fingerprint(
        &self,
        caller: &Caller,
        user: Option<UserId>,
        passwords: &[&Password],
        lane: Lane,
    ) -> Result<String, Refusal> {
        let Some(repeat) = &caller.repeat else { return Ok(String::new()) };
        let asked = unambiguous(&[&repeat.route, &who(caller, user), &repeat.key]);
        let salt = self.engine.environment().digest("idempotent passwords", &asked);
        let fingerprint = self.hasher.fingerprint(passwords, first(&salt.0), lane).await?;
        Ok(fingerprint.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// What was told under this key before, of a request with passwords. They are guarded as anywhere: whoever finds
    /// them right here has guessed as well.
    async fn recall_guarded<O: DeserializeOwned>(
        &self,
        caller: &Caller,
        asker: &Asker,
        target: Target,
        user: Option<UserId>,
    ) -> Result<Option<Reply<O>>, Refusal> {
        if !asker.repeatable {
            return Ok(None);
        }
        let attempt = self.attempt_at(target, user).await?;
        match self.engine.recall::<O>(asker).await {
            Err(Fault::Mismatch) => {
                self.failed(caller, attempt, user).await?;
                Err(Refusal::Mismatch)
            }
            told => Ok(told?),
        }
    }

    /// The network that a caller comes from, by a keyed hash: what letters that strangers ask for are charged to, and
    /// failed guesses are told apart by.
    pub(crate) fn network_of(&self, caller: &Caller) -> Digest {
        self.engine.environment().digest("asking network", site(caller.address).as_bytes())
    }

    /// Who has a letter sent to an address. `owner`: who has the address, if anybody.
    ///
    /// # Errors
    /// The database is away.
    async fn asked_by(&self, caller: &Caller, owner: Option<&User>) -> Result<AskedBy, Refusal> {
        let known = match owner {
            Some(owner) => self.known_device(caller.device_proof.as_deref(), owner).await?.is_some(),
            None => false,
        };
        Ok(AskedBy { network: self.network_of(caller), known })
    }

    /// The id of a flow, from its text.
    fn id_of<F: Flow>(text: &str) -> Result<FlowId, Refusal> {
        Id::parse(F::PREFIX, text).map(FlowId).ok_or(Refusal::NotFound)
    }

    /// A flow as it stands, by the text of its id. A wrong prefix is refused without a read.
    async fn look<F: Flow<Domain = Auth>>(&self, text: &str) -> Result<Snapshot<F>, Refusal> {
        Ok(self.engine.look(Self::id_of::<F>(text)?).await?)
    }

    /// A flow as it stands; `None` where none of the kind has the id, or an operator has ended it.
    async fn find<F: Flow<Domain = Auth>>(&self, flow: FlowId) -> Result<Option<Snapshot<F>>, Refusal> {
        match self.engine.look(flow).await {
            Ok(seen) => Ok(Some(seen)),
            Err(Fault::NotFound | Fault::Ended) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }

    /// The flow that a link names, as it stands.
    async fn linked<F: Flow<Domain = Auth>>(&self, flow: FlowId) -> Result<Snapshot<F>, Refusal> {
        self.find(flow).await?.ok_or(Refusal::GARBAGE)
    }

    /// The session of a cookie or token with its user; `None` where there is none that anybody may see.
    async fn session_with_user(&self, session: FlowId) -> Result<Option<(Snapshot<Session>, User)>, Refusal> {
        let Some(InSession { user, session }) = self.directory.sessions.with_user(session).await? else {
            return Ok(None);
        };
        match self.engine.read::<Session>(session) {
            Ok(session) => Ok(Some((session, user))),
            Err(Fault::NotFound | Fault::Ended | Fault::Quarantined) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }
}

/// The network that counts as one caller: an IPv4 address, or the /64 of an IPv6 address.
pub fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

/// The network that has one share of a mailbox's letters: an IPv4 address, or the /48 of an IPv6 address, which is what
/// one customer may be given whole.
fn site(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}::/48")
        }
    }
}

/// To whom an idempotency key belongs.
fn who(caller: &Caller, user: Option<UserId>) -> String {
    user.map_or_else(|| network(caller.address), UserId::text)
}

/// Texts one after the other, each with its length before it, so that no two lists read the same.
fn unambiguous(parts: &[&str]) -> Vec<u8> {
    let mut all = Vec::new();
    for part in parts {
        all.extend_from_slice(&(part.len() as u64).to_be_bytes());
        all.extend_from_slice(part.as_bytes());
    }
    all
}

fn first(digest: &[u8; 32]) -> [u8; 16] {
    let mut out = [0; 16];
    for (to, from) in out.iter_mut().zip(digest) {
        *to = *from;
    }
    out
}
