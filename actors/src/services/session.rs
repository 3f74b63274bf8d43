//! Signing in, carrying a session on, ending it, and who a token stands for.

use cairn_runtime::{Fault, Flow, FlowId, Id, Method, Reply, Timestamp};
use serde::{Deserialize, Serialize};

use super::entry::{Entered, Entry};
use super::{Caller, Refusal, Services};
use crate::acts::guesses::Target;
use crate::acts::password;
use crate::directory::User;
use crate::environment::Environment;
use crate::flows::session::{Command, Minted, Outcome, Session};
use crate::identity::address::Address;
use crate::identity::device::Device;
use crate::identity::user_id::UserId;
use crate::identity::username::Username;
use crate::secrets::credential::{self, Presented, Purpose, Token, of};
use crate::secrets::digest::Digest;
use crate::secrets::hasher::{Lane, Verdict};
use crate::secrets::password::Password;
use crate::secrets::signing::{ACCESS_TOKEN, TokenError};

/// By what somebody signs in.
#[derive(Clone, Copy, Debug)]
pub enum Identifier<'a> {
    /// An address, as typed.
    Email(&'a str),
    /// A username, as typed.
    Username(&'a str),
}

/// Somebody at the door: the account that they name, if there is one, and the browser, if that account knows it.
#[derive(Debug)]
pub struct SignInAttempt<'a> {
    identifier: Identifier<'a>,
    user: Option<User>,
    device: Option<Device>,
    target: Target,
}

impl SignInAttempt<'_> {
    /// What their failures are counted by: the device that is known, else the identifier.
    pub fn target(&self) -> Target {
        self.target
    }

    /// Whether the account that they name was signed in to from this browser before.
    pub fn is_from_known_device(&self) -> bool {
        self.device.is_some()
    }
}

/// A session's tokens.
#[derive(Debug)]
pub struct Tokens {
    /// A JWT (RFC 9068).
    pub access_token: String,
    /// Seconds until the access token ends.
    pub expires_in: i64,
    /// The refresh token.
    pub refresh_token: Token,
    /// The session's id, `ses_…`.
    pub session: String,
    /// The account was to be deleted, and this sign-in has called that off.
    pub restored: bool,
    /// The proof by which the device that signed in is known from now on; only a sign-in gives one.
    pub device: Option<String>,
    /// Through its shell or directly.
    pub method: Method,
}

/// The `client_id` of the tokens of people's own sessions. No client is registered by it.
pub const OWN_CLIENT: &str = "cairn";

/// The claims of an access token (RFC 9068, section 2.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued it: the public URL.
    pub iss: String,
    /// For whom: the same.
    pub aud: String,
    /// Through which client: `cairn` itself.
    pub client_id: String,
    /// The user.
    pub sub: String,
    /// The session.
    pub sid: String,
    /// Its own id.
    pub jti: String,
    /// Since when, in Unix seconds.
    pub iat: i64,
    /// Until when, in Unix seconds.
    pub exp: i64,
    /// When the person last proved who they are, in Unix seconds.
    pub auth_time: i64,
    /// The username.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_username: Option<String>,
    /// The address, as typed.
    pub email: String,
    /// First and last name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What they may do.
    pub roles: Vec<String>,
}

/// Somebody who showed a good access token.
#[derive(Clone, Debug)]
pub struct SignedIn {
    /// Who.
    pub user: User,
    /// In which session.
    pub session: FlowId,
    /// The device that the session was begun with.
    pub device: Option<Id>,
    /// What the token says.
    pub claims: Claims,
    /// How they proved who they are (RFC 8176).
    pub amr: Vec<String>,
    /// When they last did.
    pub proved_at: Timestamp,
}

impl Services {
    /// Who stands at the door. `proof` is what the browser or program shows as the proof of its device.
    ///
    /// # Errors
    /// The database is away.
    pub async fn sign_in_attempt<'a>(
        &self,
        identifier: Identifier<'a>,
        proof: Option<&str>,
    ) -> Result<SignInAttempt<'a>, Refusal> {
        let environment = self.engine.environment();
        let user = self.user_by(identifier).await?;
        let device = match &user {
            Some(user) => self.known_device(proof, user).await?,
            None => None,
        };
        let target = match &device {
            Some(device) => Target::Device(device.key(&environment)),
            None => Target::Identifier(self.credential(identifier)),
        };
        Ok(SignInAttempt { identifier, user, device, target })
    }

    /// The device of a proof, if this account knows it, and no other: with a proof of their own nobody passes for somebody
    /// else's device.
    ///
    /// # Errors
    /// The database is away.
    pub(super) async fn known_device(&self, proof: Option<&str>, user: &User) -> Result<Option<Device>, Refusal> {
        let device = proof.and_then(|proof| Device::parse(&self.engine.environment(), proof, self.engine.now()));
        let ours = device.filter(|device| device.user() == user.id && device.number() == user.devices);
        match ours {
            Some(device) if self.directory.devices.knows(user.id, device.id()).await? => Ok(Some(device)),
            _ => Ok(None),
        }
    }

    /// Signs in from anywhere. Unknown, wrong and unverified are one refusal, and cost the same.
    ///
    /// # Errors
    /// As [`Services::sign_in_from`].
    pub async fn sign_in(
        &self,
        caller: &Caller,
        identifier: Identifier<'_>,
        password: &Password,
    ) -> Result<Tokens, Refusal> {
        let approach = self.sign_in_attempt(identifier, None).await?;
        self.sign_in_from(caller, approach, password).await
    }

    /// Signs in whoever has approached. Unknown, wrong and unverified are one refusal, and cost the same. With the tokens
    /// comes the proof by which this device is known from now on.
    ///
    /// # Errors
    /// [`Refusal::Credentials`]; [`Refusal::SlowDown`] after too many failures, whether or not the password is right and
    /// the account exists; or the engine's.
    pub async fn sign_in_from(
        &self,
        caller: &Caller,
        approach: SignInAttempt<'_>,
        password: &Password,
    ) -> Result<Tokens, Refusal> {
        let SignInAttempt { identifier, mut user, device: known_device, target } = approach;
        let attempt = self.attempt_at(target, user.as_ref().map(|user| user.id)).await?;
        // Twice: when the user's fence moves between the check and the commit, the password may be another now.
        for _ in 0..2 {
            let hash = user.as_ref().and_then(|user| user.password.as_ref());
            let verdict = self.verify_in(&attempt, password, hash).await?;
            let (known, proved) = match (user, verdict) {
                (Some(known), Verdict::Right(proved)) => (known, proved),
                (known, _) => {
                    self.failed(caller, attempt, known.map(|known| known.id)).await?;
                    return Err(Refusal::Credentials);
                }
            };
            // A number that has moved since the device was recognised has made it unknown.
            let recognised = known_device.filter(|device| device.number() == known.devices);
            let entry = Entry {
                user: &known,
                amr: &["pwd"],
                device: recognised.unwrap_or_else(|| Device::new(known.id, known.devices, self.engine.seed())),
                is_known: recognised.is_some(),
                forgets: attempt.to_forget().map(|target| (target, self.network_of(caller))),
            };
            match self.enter(caller, entry, self.engine.asker(&caller.trace)).await? {
                Entered::Begun { reply, restored, device, crowded } => {
                    drop(attempt);
                    self.make_room(caller, &crowded).await;
                    if proved.needs_rehash() {
                        self.rehash(caller, &known, password).await?;
                    }
                    let tokens = self.tokens(*reply, Some(known)).await?;
                    return Ok(Tokens { restored, device: Some(device), ..tokens });
                }
                Entered::Moved => user = self.user_by(identifier).await?,
                Entered::Gone => {
                    self.failed(caller, attempt, Some(known.id)).await?;
                    return Err(Refusal::Credentials);
                }
            }
        }
        Err(Refusal::Credentials)
    }

    /// Stores the same password at the present cost. Nothing ends by it, and a reset that came meanwhile wins.
    async fn rehash(&self, caller: &Caller, user: &User, typed: &Password) -> Result<(), Refusal> {
        let hash = self.hasher.hash(typed, Lane::SignIn).await?;
        let asker = self.engine.asker(&caller.trace);
        self.engine.act(password::REHASH, asker, |lost, cx| password::rehash(user, &hash, lost, cx)).await?;
        Ok(())
    }

    async fn user_by(&self, identifier: Identifier<'_>) -> Result<Option<User>, Refusal> {
        let found = match identifier {
            Identifier::Email(typed) => match Address::parse(typed) {
                Ok(address) => self.directory.users.by_address(self.engine.environment().address_key(&address)).await?,
                Err(_) => None,
            },
            Identifier::Username(typed) => match Username::parse(typed) {
                Ok(username) => self.directory.users.by_username(&username).await?,
                Err(_) => None,
            },
        };
        Ok(found)
    }

    /// What the guesses at one identifier are lined up and counted by, whether or not anybody has it.
    fn credential(&self, identifier: Identifier<'_>) -> Digest {
        let environment = self.engine.environment();
        match identifier {
            Identifier::Email(typed) => match Address::parse(typed) {
                Ok(address) => environment.address_key(&address),
                Err(_) => environment.digest("identifier", typed.as_bytes()),
            },
            Identifier::Username(typed) => match Username::parse(typed) {
                Ok(username) => environment.username_key(&username),
                Err(_) => environment.digest("identifier", typed.as_bytes()),
            },
        }
    }

    /// Carries a session on.
    ///
    /// # Errors
    /// [`Refusal::SessionEnded`] for every token that is not good, whatever the reason.
    pub async fn refresh(&self, caller: &Caller, token: &str) -> Result<Tokens, Refusal> {
        let Some(token) = self.presented(token) else { return Err(Refusal::SessionEnded) };
        let flow = FlowId::from_bytes(token.flow());
        let asker = self.engine.asker(&caller.trace);
        match self.engine.call::<Session>(flow, asker, Command::Refresh(token)).await {
            Ok(reply) => self.tokens(reply, None).await,
            Err(Fault::NotFound | Fault::Ended) => Err(Refusal::SessionEnded),
            Err(other) => Err(other.into()),
        }
    }

    /// Ends the session of a refresh token of any generation. Anything else ends nothing, and is told the same.
    ///
    /// # Errors
    /// Only the engine's.
    pub async fn sign_out(&self, caller: &Caller, token: &str) -> Result<(), Refusal> {
        let Some(token) = self.presented(token) else { return Ok(()) };
        let flow = FlowId::from_bytes(token.flow());
        let asker = self.engine.asker(&caller.trace);
        match self.engine.call::<Session>(flow, asker, Command::SignOut(token)).await {
            Ok(_) | Err(Fault::NotFound | Fault::Ended) => Ok(()),
            Err(other) => Err(other.into()),
        }
    }

    fn presented(&self, token: &str) -> Option<Presented<of::RefreshToken>> {
        Presented::parse(&self.engine.environment().ring, of::RefreshToken, token).ok()
    }

    pub(super) async fn tokens(&self, reply: Reply<Outcome>, user: Option<User>) -> Result<Tokens, Refusal> {
        let Outcome::Tokens { user: id, issue, minted, auth_time, .. } = reply.outcome else {
            return Err(Refusal::SessionEnded);
        };
        let user = match user {
            Some(user) => user,
            None => self.directory.users.by_id(id).await?.ok_or(Refusal::SessionEnded)?,
        };
        let environment = self.engine.environment();
        let session = reply.flow.0.text(Session::PREFIX);
        let lost = |what: &str| Refusal::Fault(cairn_runtime::Fault::Defect(what.to_owned()));
        let refresh_token = credential::render(&environment.ring, Purpose::RefreshToken, *reply.flow.bytes(), &issue)
            .ok_or_else(|| lost("the ring has lost the key of a refresh token"))?;
        let claims = claims(&environment, reply.flow, &user, &minted, auth_time);
        let access_token = environment
            .signing
            .sign_with(&minted.key, self.engine.now(), ACCESS_TOKEN, &claims)
            .map_err(|why| lost(&format!("an access token could not be signed: {why}")))?;
        // Rounded up: a token that was signed a moment ago lasts as long as the setting says.
        let left = minted.until.0.saturating_sub(self.engine.now().0).max(0);
        let expires_in = left.saturating_add(999) / 1_000;
        Ok(Tokens {
            access_token,
            expires_in,
            refresh_token,
            session,
            restored: false,
            device: None,
            method: reply.method,
        })
    }

    /// What an access token says, if it is one of ours and its time is not over. Whether its session lives is not asked.
    /// A key that this node does not know yet may be another node's: then the table is read again.
    pub(super) async fn claims_of(&self, token: &str) -> Result<Claims, Refusal> {
        match self.verify(token) {
            Err(TokenError::UnknownKey) if self.reread_for_unknown_key().await? => self.verify(token),
            verified => verified,
        }
        .map_err(|_| Refusal::SessionEnded)
    }

    fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        let environment = self.engine.environment();
        let (iss, now) = (environment.settings.public_url.as_str(), self.engine.now().seconds());
        let claims: Claims = environment.signing.verify(token, ACCESS_TOKEN, iss, iss, now)?;
        // What a client was granted is no session of a person's own.
        if claims.client_id == OWN_CLIENT { Ok(claims) } else { Err(TokenError::Claims) }
    }

    /// Whether an access token is one of ours and its time is not over. Whether its session lives is not asked.
    ///
    /// # Errors
    /// The database is away, and the token names a key that this node does not know.
    pub async fn is_ours(&self, token: &str) -> Result<bool, Refusal> {
        match self.claims_of(token).await {
            Ok(_) => Ok(true),
            Err(Refusal::SessionEnded) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// Who a Bearer token stands for: the token is good, its session lives, and the fence of its user is where it was at the
    /// sign-in.
    ///
    /// # Errors
    /// [`Refusal::SessionEnded`] when any of that is not so.
    pub async fn signed_in(&self, token: &str) -> Result<SignedIn, Refusal> {
        let claims = self.claims_of(token).await?;
        let subject = UserId::parse(&claims.sub).ok_or(Refusal::SessionEnded)?;
        let session = FlowId(Id::parse(Session::PREFIX, &claims.sid).ok_or(Refusal::SessionEnded)?);
        let (seen, user) = self.session_with_user(session).await?.ok_or(Refusal::SessionEnded)?;
        match seen.state.active() {
            Some(active) if subject == user.id && active.user == user.id && active.fence == user.fence => {
                Ok(SignedIn {
                    user,
                    session,
                    device: active.device_id,
                    claims,
                    amr: active.amr.clone(),
                    proved_at: active.auth_time,
                })
            }
            _ => Err(Refusal::SessionEnded),
        }
    }
}

pub(super) fn claims(
    environment: &Environment,
    session: FlowId,
    user: &User,
    minted: &Minted,
    auth_time: Timestamp,
) -> Claims {
    let url = environment.settings.public_url.clone();
    let mut of = session.bytes().to_vec();
    of.extend_from_slice(&minted.generation.to_be_bytes());
    let jti = environment.digest("jti", &of);
    Claims {
        iss: url.clone(),
        aud: url,
        client_id: OWN_CLIENT.to_owned(),
        sub: user.id.text(),
        sid: session.0.text(Session::PREFIX),
        jti: Id::from_bytes(super::first(&jti.0)).crockford(),
        iat: minted.at.seconds(),
        exp: minted.until.seconds(),
        auth_time: auth_time.seconds(),
        preferred_username: user.username.as_ref().map(ToString::to_string),
        email: user.address.typed().to_owned(),
        name: user.name(),
        roles: user.roles.clone(),
    }
}
