//! The mailer carries letters: over SMTP, or nowhere, when the outbox itself is the development mailbox.
//!
//! What must stay true: a repeat carries the same `Message-ID` and the same words; what the server says of the address
//! ends a letter, what it says of us puts it off; no address and no body gets into a log or a note.

mod breaker;
mod connection;
mod dkim;
mod headers;
mod hello;
mod lanes;
mod posted;
mod reply;
mod settings;
mod trust;
mod verdict;
mod wire;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cairn_runtime::outbox::{Courier, DeliveryAttempt, Trouble};
use cairn_runtime::{Clock, DeliveryId};
use futures_util::future::{BoxFuture, join_all};
use tokio::time::{Instant, timeout};

use self::connection::{Broken, Connection, Dial, Posted, Stage};
use self::lanes::{Held, Lanes, Shown};
pub use self::settings::{Dkim, Encryption, Said, SmtpSettings};
use self::verdict::{Verdict, is_of_our_standing, judge};
use crate::effects::{Answer, Auth};
use crate::environment::Environment;
use crate::letters::Letter;
use crate::letters::host;

/// How long a letter waits for a place before it is put off. With [`SmtpSettings::LIMIT`] and the time for a last word it
/// stays below the 20 s for which a delivery is claimed.
const QUEUE: Duration = Duration::from_secs(5);
/// The longest part of a server's reply that is kept.
const LONGEST_REPLY: usize = 200;

/// Connections to the mail server.
const MAIL_CONNECTIONS: &str = "cairn_mail_connections";
/// From the first word of a letter to the last.
const MAIL_SECONDS: &str = "cairn_mail_seconds";
/// Letters put off without a try. Label: `why` (`busy`, `server`, `destination`).
const MAIL_HELD: &str = "cairn_mail_held_total";
/// 1 while the mail server is tried.
const MAIL_SERVER_AVAILABLE: &str = "cairn_mail_server_available";

/// Tells the recorder of metrics what is recorded here, and makes the counters at 0.
pub(crate) fn describe_metrics() {
    metrics::describe_gauge!(MAIL_CONNECTIONS, "Connections to the mail server, idle ones included");
    metrics::describe_histogram!(
        MAIL_SECONDS,
        metrics::Unit::Seconds,
        "One conversation with the mail server about one letter, connecting included"
    );
    metrics::describe_counter!(MAIL_HELD, "Letters put off without asking the mail server, by reason");
    metrics::describe_gauge!(
        MAIL_SERVER_AVAILABLE,
        "1 while letters are given to the mail server, 0 while it is left alone"
    );
    metrics::gauge!(MAIL_CONNECTIONS).set(0.0);
    metrics::gauge!(MAIL_SERVER_AVAILABLE).set(1.0);
    for held in [Held::Busy, Held::Server, Held::Destination] {
        metrics::counter!(MAIL_HELD, "why" => held.word()).increment(0);
    }
}

/// Gives the world as it is now: letters are written with the ring that is current when they are sent.
pub type EnvironmentSource = Arc<dyn Fn() -> Arc<Environment> + Send + Sync>;

/// Carries letters.
pub struct Mailer(Way);

enum Way {
    Mailbox,
    Nowhere,
    Smtp(Box<Smtp>),
}

impl Mailer {
    /// How often [`Mailer::tend`] is worth its while.
    pub const TENDED: Duration = Duration::from_secs(10);

    /// Takes every letter at once and sends it nowhere: it is read where it lies, by [`crate::letters::mailbox::view`].
    pub const fn mailbox() -> Self {
        Self(Way::Mailbox)
    }

    /// Holds every letter until there is a mail server, or until the letter is of no use any more.
    pub const fn nowhere() -> Self {
        Self(Way::Nowhere)
    }

    /// Sends letters through a mail server. Nothing is sent or connected to before the first letter. The clock says how
    /// long connections were idle and how long a server in trouble is left alone.
    ///
    /// # Errors
    /// A sentence for the operator when TLS cannot be set up.
    pub fn smtp(
        settings: SmtpSettings,
        environments: EnvironmentSource,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, String> {
        let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let dial = Dial::new(&settings, &host(&environments()), &machine)?;
        let lanes = Arc::new(Lanes::new(settings.connections, Arc::clone(&clock)));
        Ok(Self(Way::Smtp(Box::new(Smtp {
            settings,
            environments,
            clock,
            dial,
            lanes,
            idle: Mutex::default(),
            spans: Spans::default(),
        }))))
    }

    /// Closes connections that were idle for long, and forgets what is not worth remembering. To be called now and then.
    pub async fn tend(&self) {
        if let Way::Smtp(smtp) = &self.0 {
            smtp.tend().await;
        }
    }
}

impl fmt::Debug for Mailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Way::Mailbox => f.write_str("Mailer(mailbox)"),
            Way::Nowhere => f.write_str("Mailer(nowhere)"),
            Way::Smtp(smtp) => write!(f, "Mailer({:?})", smtp.settings),
        }
    }
}

impl Courier<Auth> for Mailer {
    fn carry(&self, attempt: DeliveryAttempt<Auth>) -> BoxFuture<'_, Result<Answer, Trouble>> {
        Box::pin(async move {
            match &self.0 {
                Way::Mailbox => Ok(Answer::Accepted),
                Way::Nowhere => Err(Trouble::Later { why: "no mail server is set".to_owned(), after: None }),
                Way::Smtp(smtp) => smtp.carry(&attempt).await.map(|()| Answer::Accepted),
            }
        })
    }

    fn is_read_later(&self, _lane: &str) -> bool {
        matches!(self.0, Way::Mailbox)
    }
}

struct Smtp {
    settings: SmtpSettings,
    environments: EnvironmentSource,
    clock: Arc<dyn Clock>,
    dial: Dial,
    lanes: Arc<Lanes>,
    /// Lines between two letters, the one that was used last on top.
    idle: Mutex<Vec<Connection>>,
    /// How long the last conversations took.
    spans: Spans,
}

impl Smtp {
    async fn carry(&self, attempt: &DeliveryAttempt<Auth>) -> Result<(), Trouble> {
        let letter = attempt.delivery.letter();
        let posted = posted::post(attempt, letter, &(self.environments)(), &self.settings)?;
        if attempt.delivery.mailed().is_none() {
            return self.keep(attempt).await;
        }
        let SmtpSettings { limit, .. } = self.settings;
        let place = match self.lanes.enter(posted.to.domain(), QUEUE.min(limit)).await {
            Ok(place) => place,
            Err(held) => return Err(self.held(held)),
        };
        let began = Instant::now();
        let (mut line, mut stage) = (None, Stage::Greeting);
        // Bounded as a whole and from outside, too: a server that says its words byte by byte holds a place for no longer
        // than this.
        let sent = timeout(limit, self.converse(&mut line, &posted, &mut stage)).await;
        let sent = sent.unwrap_or(Err(Broken::Silent(stage)));
        let took = began.elapsed();
        metrics::histogram!(MAIL_SECONDS).record(took.as_secs_f64());
        if sent.is_ok() {
            self.spans.note(took);
        }
        if let Some(line) = line {
            self.put_by(line, &sent).await;
        }
        place.ended(shown(&sent));
        let Err(broken) = sent else { return Ok(()) };
        let (delivery, name, to) = (attempt.id, letter.name(), letter.to().masked());
        let trouble = self.trouble(&broken, letter);
        match (&trouble, broken.verdict()) {
            (Trouble::Never(why), _) => tracing::warn!(%delivery, letter = name, to, why, "refused"),
            // Nothing but the operator mends this, and the letter has not got for ever.
            (Trouble::Later { why, .. }, Some(Verdict::OfUs)) => {
                tracing::warn!(%delivery, letter = name, to, why, "put off: the mail server has something against us");
            }
            (Trouble::Later { .. }, _) => {}
        }
        Err(trouble)
    }

    /// Keeps a letter that goes to nobody, written and signed like any other: for as long as a letter took lately, and not
    /// at all while letters wait for the server. It takes no place from one that goes to somebody.
    async fn keep(&self, attempt: &DeliveryAttempt<Auth>) -> Result<(), Trouble> {
        if self.lanes.server_is_left_alone() {
            return Err(later("the mail server is left alone for a while"));
        }
        tokio::time::sleep(self.spans.one(attempt.id)).await;
        Ok(())
    }

    /// Gives the letter to the server, over a line that is open already if there is one.
    async fn converse(&self, used: &mut Option<Connection>, posted: &Posted, noted: &mut Stage) -> Result<(), Broken> {
        let limit = self.settings.limit;
        *used = self.kept();
        if let Some(line) = used {
            match line.send(posted, limit, noted).await {
                // The server had closed it, as it may between two letters. Nothing of this one has gone out yet.
                Err(broken) if broken.stage() < Stage::Content && broken.has_hung_up() => {}
                other => return other,
            }
        }
        *used = None;
        let line = used.insert(Connection::open(&self.settings, &self.dial, noted).await?);
        line.send(posted, limit, noted).await
    }

    /// The line that was used last, if it is still likely to be open.
    fn kept(&self) -> Option<Connection> {
        let now = self.clock.now();
        let mut idle = self.idle();
        if idle.last()?.is_fresh(now) { idle.pop() } else { None }
    }

    /// Keeps a line for the next letter, if it can carry one.
    async fn put_by(&self, mut line: Connection, sent: &Result<(), Broken>) {
        let good = match sent {
            Ok(()) => true,
            // In the middle of a sentence: it is of no use any more.
            Err(broken) if !broken.is_spoken() => return,
            // What it has against us it may have against this line. Otherwise the server forgets our half of the envelope;
            // one that refused in the middle of the content and took the rest for commands has answers left to give, and
            // the first of them is no agreement.
            Err(broken) => broken.stage() > Stage::Sender && line.reset().await,
        };
        line.since = self.clock.now();
        if good && line.is_fresh(line.since) {
            self.idle().push(line);
        } else {
            line.part().await;
        }
    }

    async fn tend(&self) {
        let now = self.clock.now();
        let stale: Vec<Connection> = self.idle().extract_if(.., |line| !line.is_fresh(now)).collect();
        join_all(stale.into_iter().map(Connection::part)).await;
        self.lanes.tidy();
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self, held: Held) -> Trouble {
        metrics::counter!(MAIL_HELD, "why" => held.word()).increment(1);
        let why = match held {
            Held::Busy => "all connections to the mail server are busy".to_owned(),
            Held::Server => format!("the mail server {} is in trouble and left alone for a while", self.settings),
            Held::Destination => "letters to this domain are in trouble at the mail server".to_owned(),
        };
        later(why)
    }

    /// What a broken conversation means for the letter.
    fn trouble(&self, broken: &Broken, letter: &Letter) -> Trouble {
        let (stage, reply) = match broken {
            Broken::Refused(stage, reply) => (*stage, reply),
            Broken::Lost(stage, said) => {
                let said = without_addresses(said, letter);
                return later(match stage {
                    Stage::Greeting => format!("the mail server {} could not be reached: {said}", self.settings),
                    Stage::Encryption => format!("no encryption could be agreed on with the mail server: {said}"),
                    _ => format!("the connection to the mail server broke: {said}"),
                });
            }
            Broken::Silent(stage) => {
                return later(format!("the mail server did not answer in time{}", silent_at(*stage)));
            }
            Broken::Unreachable(why) => {
                return later(format!("the mail server {} could not be reached: {why}", self.settings));
            }
            Broken::NotEncrypted => {
                return later(format!("the mail server {} offers no encryption, which is demanded", self.settings));
            }
            Broken::NoWayIn => {
                return later(format!(
                    "the mail server {} offers neither of the ways to sign in that are known here, PLAIN and LOGIN",
                    self.settings
                ));
            }
        };
        let subject = match stage {
            Stage::Greeting | Stage::Encryption => "the connection",
            Stage::Hello => "the name it is greeted with (SMTP_EHLO_NAME)",
            Stage::SigningIn => "user or password",
            Stage::Sender => "the sender",
            Stage::Recipient => "the recipient",
            Stage::Permission | Stage::Content => "the letter",
        };
        let verdict = judge(stage, reply);
        let verb = if verdict == Verdict::ForNow { "does not take for now" } else { "refused" };
        let said = match stage {
            // A server that quotes what it does not understand quotes the password here.
            Stage::SigningIn => reply.enhanced().map(|code| code.to_string()).unwrap_or_default(),
            _ => without_addresses(&reply.text(), letter),
        };
        let why = format!("the mail server {verb} {subject}: {} {said}", reply.code);
        let why = why.trim_end().to_owned();
        if verdict == Verdict::OfAddress { Trouble::Never(why) } else { later(why) }
    }
}

/// How long the last letters took that the server accepted.
#[derive(Default)]
struct Spans(Mutex<VecDeque<Duration>>);

impl Spans {
    /// So many are remembered.
    const KEPT: usize = 32;

    fn note(&self, took: Duration) {
        let mut spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spans.len() == Self::KEPT {
            spans.pop_front();
        }
        spans.push_back(took);
    }

    /// One of them, by the delivery's id, so that they are met as often as they happened. Zero before the first.
    fn one(&self, delivery: DeliveryId) -> Duration {
        let spans = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let drawn = delivery.bytes().iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31) ^ usize::from(*byte));
        drawn.checked_rem(spans.len()).and_then(|place| spans.get(place)).copied().unwrap_or_default()
    }
}

fn later(why: impl Into<String>) -> Trouble {
    Trouble::Later { why: why.into(), after: None }
}

impl Broken {
    /// What the server's own word means; `None` where it had none.
    fn verdict(&self) -> Option<Verdict> {
        match self {
            Self::Refused(stage, reply) => Some(judge(*stage, reply)),
            Self::NotEncrypted | Self::NoWayIn => Some(Verdict::OfUs),
            Self::Lost(..) | Self::Unreachable(_) | Self::Silent(_) => None,
        }
    }
}

/// What a conversation has shown of the server and of this letter's destination.
fn shown(sent: &Result<(), Broken>) -> Shown {
    match sent {
        Ok(()) => Shown::Sound,
        Err(broken) if broken.stage() <= Stage::Sender => Shown::ServerFailed,
        Err(Broken::Refused(_, reply)) if is_of_our_standing(reply) => Shown::ServerFailed,
        // Whatever it was about: no letter to others has to wait because of it.
        Err(broken) if broken.is_spoken() => Shown::Sound,
        Err(_) => Shown::DestinationFailed,
    }
}

fn silent_at(stage: Stage) -> &'static str {
    match stage {
        Stage::Greeting | Stage::Hello | Stage::Encryption | Stage::SigningIn => ", not even in greeting",
        Stage::Sender | Stage::Recipient | Stage::Permission => "",
        Stage::Content => "; it may have taken the letter",
    }
}

/// What a server said, short, on one line, with everything left out that could be the person's address or a link, which a
/// filter may quote from the letter.
fn without_addresses(said: &str, letter: &Letter) -> String {
    let (local, _) = letter.to().canonical().rsplit_once('@').unwrap_or_default();
    let words: Vec<&str> = said
        .split(|character: char| character.is_whitespace() || character.is_control())
        .filter(|word| !word.is_empty())
        .map(|word| {
            let bare = word.trim_matches(|character: char| !character.is_alphanumeric()).to_ascii_lowercase();
            let named = bare == local || local.split(['.', '+', '-', '_']).any(|part| part == bare);
            // Also `alice=example.org@relay`, and `=40`-quoted forms of it.
            let personal = word.contains('@') || (local.len() > 2 && bare.contains(local));
            let link = ["://", "token=", "cairn_"].iter().any(|part| bare.contains(part) || word.contains(part));
            if personal || link || (named && !bare.is_empty()) { "…" } else { word }
        })
        .collect();
    words.join(" ").chars().take(LONGEST_REPLY).collect()
}

#[cfg(test)]
mod tests;
