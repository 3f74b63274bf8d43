//! Registering, and proving the address.

use cairn_runtime::{FlowId, Reply, Snapshot, Timestamp};

use super::typed::{self, Names};
use super::{Caller, FlowReply, FlowView, Refusal, Services};
use crate::acts::guesses::Target;
use crate::address::Address;
use crate::credential::{Presented, of};
use crate::directory::User;
use crate::environment::Settings;
use crate::flows::registration::{Command, Outcome, Registration, Shown, Start};
use crate::hasher::Lane;
use crate::password::Password;
use crate::strength::OwnWords;
use crate::workers::budget;

/// The letters of a registration that is awaited.
pub(super) const LETTERS: &[&str] = &["registration.verify", "registration.known"];

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

/// Where the letter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailState {
    /// It waits to be sent.
    Queued,
    /// The next mail server has taken it.
    Accepted,
    /// It did not go out yet and will be tried again.
    Retrying,
    /// It will not go out.
    Failed,
}

impl MailState {
    /// The word of the interface.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Accepted => "accepted",
            Self::Retrying => "retrying",
            Self::Failed => "failed",
        }
    }
}

/// The letter that is awaited: where it is, and since when (or, retrying, until when).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Where.
    pub state: MailState,
    /// When.
    pub at: Timestamp,
    /// It waits because too many letters to the mailbox were sent within the hour.
    pub over_budget: bool,
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
            && self.directory.by_username(username).await?.is_some()
        {
            return Err(Refusal::UsernameTaken);
        }
        let own = OwnWords::of([typed.email.as_str(), &username, &first, &last]);
        let password = self.worthy_hash(typed.password, own, "/password", Lane::Registration).await?;
        let owner = self.directory.by_address(self.engine.environment().address_key(&address)).await?;
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
        let mail = self.mail(&seen, LETTERS).await?;
        Ok((FlowView::of(&seen), mail))
    }

    /// Where the last letter of these kinds is that a flow has sent.
    pub(super) async fn mail<F>(&self, seen: &Snapshot<F>, kinds: &[&str]) -> Result<Mail, Refusal> {
        let deliveries = self.engine.store().deliveries(seen.id).await?;
        let letter = deliveries.iter().rev().find(|delivery| kinds.contains(&delivery.kind.as_str()));
        let (state, at) = match letter {
            None => (MailState::Queued, seen.touched_at),
            Some(letter) => match letter.settled {
                Some(at) if letter.dead => (MailState::Failed, at),
                Some(at) => (MailState::Accepted, at),
                None if letter.note.is_empty() => (MailState::Queued, letter.created),
                None => (MailState::Retrying, letter.due),
            },
        };
        let over_budget = letter.is_some_and(|letter| letter.settled.is_none() && letter.note == budget::OVER);
        Ok(Mail { state, at, over_budget })
    }

    /// Sends the letter once more, with the same code and link.
    ///
    /// # Errors
    /// [`Refusal::SlowDown`] within the cool-down, [`Refusal::FlowEnded`] after the fifth or when nothing is awaited.
    pub async fn resend_registration(&self, caller: &Caller, flow: &str) -> Result<FlowReply, Refusal> {
        let asker = self.asker(caller, &[flow]).await?;
        let seen = self.look::<Registration>(flow).await?;
        let owner = match &seen.state {
            Registration::AwaitingCode(a) => {
                self.directory.by_address(self.engine.environment().address_key(&a.address)).await?
            }
            _ => None,
        };
        let by = self.asked_by(caller, owner.as_ref()).await?;
        let reply = self.engine.call::<Registration>(seen.id, asker, Command::Resend(by)).await?;
        match reply.outcome {
            Outcome::Awaiting { expires_at } => {
                let flow = FlowView::after::<Registration>(&reply, Some(expires_at));
                Ok(FlowReply { flow, method: reply.method })
            }
            Outcome::TooSoon { at } => Err(Refusal::SlowDown(at)),
            Outcome::NoMoreLetters => Err(Refusal::NO_MORE_LETTERS),
            _ => Err(Refusal::NOTHING_AWAITED),
        }
    }

    /// Proves the address by the code of the letter.
    ///
    /// # Errors
    /// [`Refusal::Values`] for what is not six digits, [`Refusal::WrongCode`], [`Refusal::AddressTaken`],
    /// [`Refusal::FlowEnded`].
    pub async fn verify_by_code(&self, caller: &Caller, flow: &str, code: &str) -> Result<(FlowReply, User), Refusal> {
        let typed = typed::code(code)?;
        let id = Self::id_of::<Registration>(flow)?;
        let asker = self.asker(caller, &[flow, code]).await?;
        let (seen, typed) = tokio::join!(self.look::<Registration>(flow), self.typed_code(caller, id, typed, LETTERS));
        let (seen, typed) = (seen?, typed?);
        // Over all flows of one address so many codes may be wrong a day; five of each is what a flow counts by itself.
        let attempt = match &seen.state {
            Registration::AwaitingCode(awaiting) => Some(self.attempt_code(&awaiting.address).await?),
            _ => None,
        };
        let reply = self.engine.call::<Registration>(id, asker, Command::Enter(typed)).await?;
        let wrong = matches!(reply.outcome, Outcome::WrongCode { .. });
        if let Some(attempt) = attempt.filter(|_| wrong && !reply.repeated) {
            self.has_failed(attempt);
        }
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
                Some(user) => self.directory.by_id(user).await?.and_then(|user| user.password),
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
        let cookie = cookies
            .iter()
            .filter_map(|cookie| Presented::parse(ring, of::FlowCookie, cookie).ok())
            .find(|cookie| cookie.flow() == link.flow())
            .ok_or(Refusal::Credentials)?;
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
            Outcome::WrongCode { tries_left } => return Err(Refusal::WrongCode { tries_left }),
            Outcome::AddressTaken => return Err(Refusal::AddressTaken),
            Outcome::PasswordNeeded => return Err(Refusal::Credentials),
            Outcome::OnlyTheLink => return Err(Refusal::ONLY_THE_LINK),
            Outcome::Garbage
            | Outcome::Over
            | Outcome::Awaiting { .. }
            | Outcome::TooSoon { .. }
            | Outcome::NoMoreLetters => return Err(Refusal::OVER),
        };
        let flow = FlowView::after::<Registration>(&reply, Some(until));
        let (user, seen) = tokio::join!(self.directory.by_id(user), self.find::<Registration>(reply.flow));
        let (user, seen) = (user?, seen?);
        let user = user.ok_or(Refusal::FlowEnded("The account that this made is no more. Register again."))?;
        // A repeat says what the first answer said: not to everybody who has the code where the account is by now.
        let shown = seen.and_then(|seen| seen.state.shown().cloned());
        let user = match shown {
            Some(Shown { address, username }) => User { address, username, ..user },
            None => user,
        };
        Ok((FlowReply { flow, method: reply.method }, user))
    }
}

fn begun(reply: Reply<Outcome>) -> FlowReply {
    let expires_at = match reply.outcome {
        Outcome::Awaiting { expires_at } => Some(expires_at),
        _ => None,
    };
    let flow = FlowView::after::<Registration>(&reply, expires_at);
    FlowReply { flow, method: reply.method }
}
