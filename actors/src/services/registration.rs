//! Registering, and proving the address.

use cairn_runtime::{FlowId, Reply};

use super::proof::Mail;
use super::typed::{self, Names};
use super::{Caller, FlowReply, FlowView, Refusal, Services};
use crate::acts::guesses::Target;
use crate::directory::User;
use crate::environment::Settings;
use crate::flows::challenge::LetterProof as _;
use crate::flows::registration::{Command, Outcome, Registration, Shown, Start};
use crate::identity::address::Address;
use crate::secrets::credential::{Presented, of};
use crate::secrets::hasher::Lane;
use crate::secrets::password::Password;
use crate::secrets::strength::OwnWords;

/// A registration as it was typed.
#[derive(Debug)]
pub struct Typed {
    /// The address.
    pub email: String,
    /// The password.
    pub password: Password,
    /// The username.
    pub username: Option<String>,
    /// The first name.
    pub first_name: Option<String>,
    /// The last name.
    pub last_name: Option<String>,
    /// They know that the address is a disposable one, and mean it.
    pub accept_disposable: bool,
}

/// Parses all members, so that one answer names all that must be mended.
fn parse(typed: &Typed, settings: &Settings) -> Result<(Address, Names), Refusal> {
    let mut members = typed::Typed::default();
    let address = members.address("/email", &typed.email, settings.disposable, typed.accept_disposable);
    members.take("/password", typed.password.check_length());
    let text = Option::as_deref;
    let reserved = &settings.reserved_usernames;
    let names = members.names(text(&typed.username), text(&typed.first_name), text(&typed.last_name), reserved, None);
    members.check()?;
    let address = address.ok_or_else(|| Refusal::Values(Vec::new()))?;
    Ok((address, names))
}

impl Services {
    /// Begins a registration. The answer is the same whether or not the address has an account, and takes as long.
    ///
    /// # Errors
    /// [`Refusal::RegistrationClosed`], [`Refusal::Values`], [`Refusal::UsernameTaken`], [`Refusal::Mismatch`], or the
    /// engine's.
    pub async fn register(&self, caller: &Caller, typed: Typed) -> Result<FlowReply, Refusal> {
        if !self.engine.environment().settings.registration {
            return Err(Refusal::RegistrationClosed);
        }
        let (address, names) = parse(&typed, &self.engine.environment().settings)?;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (username, first, last) = (text(&typed.username), text(&typed.first_name), text(&typed.last_name));
        let fingerprint = self.fingerprint(caller, None, &[&typed.password], Lane::Registration).await?;
        let asker = self.asker(caller, &[&typed.email, &username, &first, &last, &fingerprint]).await?;
        let target = Target::flow(asker.input.starts());
        if let Some(before) = self.recall_guarded(caller, &asker, target, None).await? {
            return Ok(begun(before));
        }
        if let Some(username) = &names.username
            && self.directory.users.by_username(username).await?.is_some()
        {
            return Err(Refusal::UsernameTaken);
        }
        let own = OwnWords::of([typed.email.as_str(), &username, &first, &last]);
        let password = self.worthy_hash(typed.password, own, "/password", Lane::Registration).await?;
        let owner = self.directory.users.by_address(self.engine.environment().address_key(&address)).await?;
        let by = self.asked_by(caller, owner.as_ref()).await?;
        let Names { username, first_name, last_name } = names;
        let start = Start { address, username, first_name, last_name, password, known: owner.is_some(), by };
        Ok(begun(self.engine.start::<Registration>(asker, start).await?))
    }

    /// Where a registration stands, and where its letter is.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], or the database is away.
    pub async fn registration(&self, flow: &str) -> Result<(FlowView, Mail), Refusal> {
        let seen = self.look::<Registration>(flow).await?;
        let mail = self.mail(&seen).await?;
        Ok((FlowView::of(&seen), mail))
    }

    /// Sends the letter once more, with the same code and link.
    ///
    /// # Errors
    /// [`Refusal::SlowDown`] within the cool-down, [`Refusal::FlowEnded`] after the fifth or when nothing is awaited.
    pub async fn resend_registration(&self, caller: &Caller, flow: &str) -> Result<FlowReply, Refusal> {
        let asker = self.asker(caller, &[flow]).await?;
        let seen = self.look::<Registration>(flow).await?;
        let owner = match seen.state.awaits() {
            Some((address, _)) => {
                self.directory.users.by_address(self.engine.environment().address_key(address)).await?
            }
            None => None,
        };
        let by = self.asked_by(caller, owner.as_ref()).await?;
        let reply = self.engine.call::<Registration>(seen.id, asker, Command::Resend(by)).await?;
        FlowReply::awaiting::<Registration>(&reply, reply.outcome.of_challenge())
    }

    /// Proves the address by the code of the letter.
    ///
    /// # Errors
    /// [`Refusal::Values`] for what is not six digits, [`Refusal::WrongCode`], [`Refusal::AddressTaken`],
    /// [`Refusal::FlowEnded`].
    pub async fn verify_by_code(&self, caller: &Caller, flow: &str, code: &str) -> Result<(FlowReply, User), Refusal> {
        let reply = self.enter_code::<Registration>(caller, flow, code, Command::Enter, Outcome::of_challenge).await?;
        self.verified(reply).await
    }

    /// Proves the address by the link of the letter and the password typed at registration.
    ///
    /// # Errors
    /// As [`Services::verify_by_code`]; [`Refusal::Credentials`] when the password is wrong, and [`Refusal::SlowDown`]
    /// after too many such: the link stays good.
    pub async fn verify_by_link(
        &self,
        caller: &Caller,
        token: &str,
        password: &Password,
    ) -> Result<(FlowReply, User), Refusal> {
        let environment = self.engine.environment();
        let link = Presented::parse(&environment.ring, of::VerifyEmail, token).map_err(|_| Refusal::GARBAGE)?;
        let flow = FlowId::from_bytes(link.flow());
        let state = self.linked::<Registration>(flow).await?.state;
        let mut proved = None;
        if state.knows_link(&link, &environment) {
            let users = match state.user() {
                Some(user) => self.directory.users.by_id(user).await?.and_then(|user| user.password),
                None => None,
            };
            let hash = state.password().or(users.as_ref());
            proved = Some(self.verify_guarded(caller, Target::flow(flow), state.user(), password, hash).await?);
        }
        let asker = self.asker(caller, &[token]).await?;
        let command = Command::Open { link, password: proved };
        let reply = self.engine.call::<Registration>(flow, asker, command).await?;
        self.verified(reply).await
    }

    /// Proves the address by the link of the letter, in the browser that began the registration.
    ///
    /// # Errors
    /// As [`Services::verify_by_code`]; [`Refusal::Credentials`] when none of the cookies is the one of this registration.
    pub async fn verify_here(
        &self,
        caller: &Caller,
        token: &str,
        cookies: &[&str],
    ) -> Result<(FlowReply, User), Refusal> {
        let ring = &self.engine.environment().ring;
        let link = Presented::parse(ring, of::VerifyEmail, token).map_err(|_| Refusal::GARBAGE)?;
        let cookie = self.cookie_of_flow(FlowId::from_bytes(link.flow()), cookies).ok_or(Refusal::Credentials)?;
        let flow = FlowId::from_bytes(link.flow());
        let asker = self.asker(caller, &[token]).await?;
        let reply = self.engine.call::<Registration>(flow, asker, Command::OpenHere { link, cookie }).await;
        match reply.map_err(Refusal::from) {
            Ok(reply) => self.verified(reply).await,
            Err(Refusal::NotFound) => Err(Refusal::GARBAGE),
            Err(other) => Err(other),
        }
    }

    async fn verified(&self, reply: Reply<Outcome>) -> Result<(FlowReply, User), Refusal> {
        let (user, until) = match reply.outcome {
            Outcome::Verified { user, until } => (user, until),
            Outcome::AddressTaken => return Err(Refusal::AddressTaken),
            Outcome::PasswordNeeded => return Err(Refusal::Credentials),
            other => return Err(other.of_challenge().map_or(Refusal::OVER, Refusal::from)),
        };
        let moved = FlowReply::after::<Registration>(&reply, Some(until));
        let (user, seen) = tokio::join!(self.directory.users.by_id(user), self.find::<Registration>(reply.flow));
        let (user, seen) = (user?, seen?);
        let user = user.ok_or(Refusal::FlowEnded("The account that this made is no more. Register again."))?;
        // A repeat says what the first answer said: not to everybody who has the code where the account is by now.
        let shown = seen.and_then(|seen| seen.state.shown().cloned());
        let user = match shown {
            Some(Shown { address, username }) => User { address, username, ..user },
            None => user,
        };
        Ok((moved, user))
    }
}

fn begun(reply: Reply<Outcome>) -> FlowReply {
    let expires_at = match reply.outcome {
        Outcome::Awaiting { expires_at } => Some(expires_at),
        _ => None,
    };
    FlowReply::after::<Registration>(&reply, expires_at)
}
