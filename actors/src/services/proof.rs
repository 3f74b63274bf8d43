//! Proof by letter: what all flows have in common that wait for a code or link, for their own browser and for who has the
//! link.
//!
//! What must stay true: a cookie opens nothing that its own flow did not give; looking at a link changes nothing, however
//! often it is done.

use cairn_runtime::store::Row;
use cairn_runtime::{Engine, Fault, Flow, FlowId, Id, Reply, Snapshot, Timestamp};

use super::{Caller, FlowReply, FlowView, Refusal, Services};
use crate::effects::Auth;
use crate::flows::challenge::{Challenge, LetterProof, LinkState, Told};
use crate::flows::email_change::EmailChange;
use crate::flows::magic_link::MagicLink;
use crate::flows::recovery::Recovery;
use crate::flows::registration::Registration;
use crate::identity::address::Address;
use crate::secrets::credential::{self, OfPurpose as _, Presented, Purpose, Seal, Token, of};
use crate::workers::budget;

/// A flow as its own browser may see it.
#[derive(Clone, Debug)]
pub struct OpenFlow {
    /// The flow.
    pub flow: FlowView,
    /// What a link of its letter finds, or found: where its page leads on.
    pub stands: LinkState,
    /// To which address the letters go, while one is awaited.
    pub address: Option<Address>,
    /// Where the last letter is; always as if it were on its way where that would tell who has an account.
    pub mail: Mail,
    /// Whether a page may say where the letter is.
    pub tells_of_mail: bool,
    /// How many wrong codes it still takes; with none, only the link works.
    pub tries_left: u8,
    /// From when on another letter may be asked for; `None`: there are no more.
    pub next_letter: Option<Timestamp>,
    /// When the last letter was asked for.
    pub issued_at: Option<Timestamp>,
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

/// Credentials of one cookie, at most: several flows may be on their way in one browser.
pub const FLOWS_A_COOKIE: usize = 4;

/// A kind of flow that waits for a letter, by the prefix of its ids.
struct LetterFlow {
    name: &'static str,
    prefix: &'static str,
    letters: &'static [&'static str],
    tells_of_mail: bool,
    read: ReadRow,
}

/// Reads a row of such a flow.
type ReadRow = fn(&Engine<Auth>, Row) -> Result<Box<dyn Waiting>, Fault>;

impl LetterFlow {
    const fn of<F: LetterProof>() -> Self {
        Self {
            name: F::NAME,
            prefix: F::PREFIX,
            letters: F::LETTERS,
            tells_of_mail: F::TELLS_OF_MAIL,
            read: |engine, row| Ok(Box::new(engine.read::<F>(row)?)),
        }
    }
}

/// Every kind of flow that waits for a letter.
const LETTER_FLOWS: &[LetterFlow] = &[
    LetterFlow::of::<Registration>(),
    LetterFlow::of::<Recovery>(),
    LetterFlow::of::<EmailChange>(),
    LetterFlow::of::<MagicLink>(),
];

/// A flow that waits for a letter, as it stands, whatever its kind.
trait Waiting: Send + Sync {
    fn awaits(&self) -> Option<(&Address, &Challenge)>;
    fn cookie(&self) -> Option<Seal>;
    fn link_state(&self) -> LinkState;
    fn view(&self) -> FlowView;
    fn id(&self) -> FlowId;
    fn touched_at(&self) -> Timestamp;
}

impl<F: LetterProof> Waiting for Snapshot<F> {
    fn awaits(&self) -> Option<(&Address, &Challenge)> {
        self.state.awaits()
    }

    fn cookie(&self) -> Option<Seal> {
        self.state.cookie()
    }

    fn link_state(&self) -> LinkState {
        self.state.link_state()
    }

    fn view(&self) -> FlowView {
        FlowView::of(self)
    }

    fn id(&self) -> FlowId {
        self.id
    }

    fn touched_at(&self) -> Timestamp {
        self.touched_at
    }
}

impl Services {
    /// The cookie for the browser that has just begun a flow. Only the handler that began it may ask.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], or the database is away.
    pub async fn flow_cookie(&self, flow: &str) -> Result<Token, Refusal> {
        let parsed = LETTER_FLOWS.iter().find_map(|kind| Some((kind, Id::parse(kind.prefix, flow)?)));
        let (kind, id) = parsed.ok_or(Refusal::NotFound)?;
        let id = FlowId(id);
        let seal = self.waiting(kind, id).await?.and_then(|flow| flow.cookie()).ok_or(Refusal::NotFound)?;
        let ring = &self.engine.environment().ring;
        credential::render(ring, Purpose::FlowCookie, *id.bytes(), &seal).ok_or(Refusal::NotFound)
    }

    /// The flow that one of these cookies began: the one that is named, else the newest of the kind that the prefix says.
    /// `None` when no cookie is good for it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn begun(&self, cookies: &[&str], prefix: &str, flow: Option<&str>) -> Result<Option<OpenFlow>, Refusal> {
        let environment = self.engine.environment();
        let Some(kind) = LETTER_FLOWS.iter().find(|kind| kind.prefix == prefix) else { return Ok(None) };
        let wanted = match flow {
            Some(text) => match Id::parse(prefix, text) {
                Some(id) => Some(id),
                None => return Ok(None),
            },
            None => None,
        };
        let presented =
            cookies.iter().filter_map(|cookie| Presented::parse(&environment.ring, of::FlowCookie, cookie).ok());
        for cookie in presented.take(FLOWS_A_COOKIE) {
            let id = FlowId::from_bytes(cookie.flow());
            if wanted.is_some_and(|wanted| wanted != id.0) {
                continue;
            }
            let flow = match self.waiting(kind, id).await {
                // What the operator has set aside keeps nobody from the other flows of their browser.
                Err(Refusal::Fault(Fault::Quarantined | Fault::Defect(_))) if wanted.is_none() => continue,
                found => found?,
            };
            let Some(flow) = flow else { continue };
            // Where a flow has ended there is no salt to hold the cookie against, and nothing to be shown but the end.
            let genuine = match flow.cookie() {
                Some(seal) => cookie.is_genuine(&environment.ring, &seal.salt),
                None => flow.view().expires_at.is_none(),
            };
            if genuine {
                return self.open(kind, flow.as_ref()).await.map(Some);
            }
        }
        Ok(None)
    }

    /// The flow of this link, where one of the cookies is the one of the browser that began it.
    ///
    /// # Errors
    /// The database is away.
    pub async fn began_here<F: LetterProof>(&self, token: &str, cookies: &[&str]) -> Result<Option<OpenFlow>, Refusal> {
        let ring = &self.engine.environment().ring;
        let Ok(link) = Presented::parse(ring, F::Link::VALUE, token) else { return Ok(None) };
        let flow = Id::from_bytes(link.flow()).text(F::PREFIX);
        self.begun(cookies, F::PREFIX, Some(&flow)).await
    }

    /// The text of the id of the flow that a link names, whatever the link is worth.
    pub fn flow_of_link<F: LetterProof>(&self, token: &str) -> Option<String> {
        let link = Presented::parse(&self.engine.environment().ring, F::Link::VALUE, token).ok()?;
        Some(Id::from_bytes(link.flow()).text(F::PREFIX))
    }

    /// Where a flow stands as its links find it, and how many wrong codes it still takes; `None`: there is none.
    ///
    /// # Errors
    /// The database is away.
    pub async fn stands<F: LetterProof>(&self, flow: &str) -> Result<Option<(LinkState, u8)>, Refusal> {
        let Ok(id) = Self::id_of::<F>(flow) else { return Ok(None) };
        let Some(Snapshot { state, .. }) = self.find::<F>(id).await? else { return Ok(None) };
        let tries_left = state.awaits().map_or(0, |(_, challenge)| challenge.tries_left());
        Ok(Some((state.link_state(), tries_left)))
    }

    /// What the link of a letter would find.
    ///
    /// # Errors
    /// The database is away.
    pub async fn link_state<F: LetterProof>(&self, token: &str) -> Result<LinkState, Refusal> {
        let environment = self.engine.environment();
        let Ok(link) = Presented::parse(&environment.ring, F::Link::VALUE, token) else {
            return Ok(LinkState::Garbage);
        };
        let Some(Snapshot { state, .. }) = self.find::<F>(FlowId::from_bytes(link.flow())).await? else {
            return Ok(LinkState::Garbage);
        };
        // What is over keeps no salt: the tag has shown that the link was ours.
        let is_held_against = state.awaits().is_some() || state.proved_by().is_some();
        let is_garbage = is_held_against && !state.knows_link(&link, &environment);
        Ok(if is_garbage { LinkState::Garbage } else { state.link_state() })
    }

    /// Which address a link proves, told to who has the link while it is good: it came to that address.
    ///
    /// # Errors
    /// The database is away.
    pub async fn link_address<F: LetterProof>(&self, token: &str) -> Result<Option<Address>, Refusal> {
        let environment = self.engine.environment();
        let Ok(link) = Presented::parse(&environment.ring, F::Link::VALUE, token) else { return Ok(None) };
        let Some(Snapshot { state, .. }) = self.find::<F>(FlowId::from_bytes(link.flow())).await? else {
            return Ok(None);
        };
        let is_known = state.knows_link(&link, &environment);
        Ok(state.awaits().filter(|_| is_known).map(|(address, _)| address.clone()))
    }

    /// The cookie of a flow among those that a browser shows. Whether it is genuine, the flow says.
    pub(super) fn cookie_of_flow(&self, flow: FlowId, cookies: &[&str]) -> Option<Presented<of::FlowCookie>> {
        let environment = self.engine.environment();
        let mut parsed =
            cookies.iter().filter_map(|cookie| Presented::parse(&environment.ring, of::FlowCookie, cookie).ok());
        parsed.find(|cookie| cookie.flow() == *flow.bytes())
    }

    /// Where the last letter is that a flow has sent of the kind that it waits for.
    pub(super) async fn mail<F: LetterProof>(&self, seen: &Snapshot<F>) -> Result<Mail, Refusal> {
        self.mail_of(seen.id, seen.touched_at, F::LETTERS).await
    }

    async fn mail_of(&self, flow: FlowId, touched_at: Timestamp, letters: &[&str]) -> Result<Mail, Refusal> {
        let deliveries = self.engine.store().deliveries(flow).await?;
        let letter = deliveries.iter().rev().find(|delivery| letters.contains(&delivery.kind.as_str()));
        let (state, at) = match letter {
            None => (MailState::Queued, touched_at),
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

    /// The flow of a kind that waits for a letter, by its id; `None` where none is, or an operator has ended it.
    async fn waiting(&self, kind: &LetterFlow, flow: FlowId) -> Result<Option<Box<dyn Waiting>>, Refusal> {
        let Some(row) = self.engine.store().load(flow).await? else { return Ok(None) };
        if row.kind != kind.name {
            return Ok(None);
        }
        match (kind.read)(&self.engine, row) {
            Ok(waiting) => Ok(Some(waiting)),
            Err(Fault::Ended) => Ok(None),
            Err(other) => Err(other.into()),
        }
    }

    async fn open(&self, kind: &LetterFlow, flow: &dyn Waiting) -> Result<OpenFlow, Refusal> {
        let cooldown = self.engine.environment().settings.resend_cooldown;
        let awaited = flow.awaits();
        let mail = if kind.tells_of_mail {
            self.mail_of(flow.id(), flow.touched_at(), kind.letters).await?
        } else {
            let at = awaited.map_or(flow.touched_at(), |(_, challenge)| challenge.issued_at);
            Mail { state: MailState::Queued, at, over_budget: false }
        };
        Ok(OpenFlow {
            flow: flow.view(),
            stands: flow.link_state(),
            address: awaited.map(|(address, _)| address.clone()),
            mail,
            tells_of_mail: kind.tells_of_mail,
            tries_left: awaited.map_or(0, |(_, challenge)| challenge.tries_left()),
            next_letter: awaited
                .filter(|(_, challenge)| challenge.may_send_another())
                .map(|(_, challenge)| challenge.issued_at.after(cooldown)),
            issued_at: awaited.map(|(_, challenge)| challenge.issued_at),
        })
    }

    /// Asks a flow with a typed code: the guess is lined up with all others at the same address, and where the code was
    /// wrong, the step that said so has counted it.
    ///
    /// # Errors
    /// [`Refusal::SlowDown`] after too many wrong codes, or the engine's.
    pub(super) async fn enter_code<F: LetterProof>(
        &self,
        caller: &Caller,
        flow: &str,
        code: &str,
        command: impl FnOnce(crate::flows::challenge::TypedCode) -> F::Command,
        told: impl Fn(&F::Outcome) -> Option<Told>,
    ) -> Result<Reply<F::Outcome>, Refusal> {
        let typed = super::typed::code(code)?;
        let id = Self::id_of::<F>(flow)?;
        let asker = self.asker(caller, &[flow, code]).await?;
        let (seen, typed) = tokio::join!(self.look::<F>(flow), self.typed_code(caller, id, typed, F::LETTERS));
        let (seen, typed) = (seen?, typed?);
        // Over all flows of one address so many codes may be wrong a day; five of each is what a flow counts by itself.
        let attempt = match seen.state.awaits() {
            Some((address, _)) => Some(self.attempt_code(address).await?),
            None => None,
        };
        let reply = self.engine.call::<F>(id, asker, command(typed)).await?;
        let wrong = matches!(told(&reply.outcome), Some(Told::WrongCode { .. }));
        if let Some(attempt) = attempt.filter(|_| wrong && !reply.repeated) {
            self.has_failed(attempt);
        }
        Ok(reply)
    }
}

impl From<Told> for Refusal {
    /// What is told of a challenge where the proof itself was hoped for.
    fn from(told: Told) -> Self {
        match told {
            Told::WrongCode { tries_left } => Self::WrongCode { tries_left },
            Told::OnlyTheLink => Self::ONLY_THE_LINK,
            Told::TooSoon { at } => Self::SlowDown(at),
            Told::NoMoreLetters => Self::NO_MORE_LETTERS,
            Told::Awaiting { .. } => Self::OVER,
        }
    }
}

impl FlowReply {
    /// A flow that waits for its letter, just begun or sent once more.
    ///
    /// # Errors
    /// [`Refusal::SlowDown`] within the cool-down, [`Refusal::FlowEnded`] after the fifth or when nothing is awaited.
    pub(super) fn awaiting<F: Flow>(reply: &Reply<F::Outcome>, told: Option<Told>) -> Result<Self, Refusal> {
        match told {
            Some(Told::Awaiting { expires_at }) => Ok(Self::after::<F>(reply, Some(expires_at))),
            Some(other) => Err(other.into()),
            None => Err(Refusal::NOTHING_AWAITED),
        }
    }

    /// A flow after a step, and the way that its input went.
    pub(super) fn after<F: Flow>(reply: &Reply<F::Outcome>, expires_at: Option<Timestamp>) -> Self {
        Self { flow: FlowView::after::<F>(reply, expires_at), method: reply.method }
    }
}
