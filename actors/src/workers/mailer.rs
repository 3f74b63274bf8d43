//! The mailer carries letters: over SMTP, or nowhere, when the outbox itself is the development mailbox.
//!
//! What must stay true: a repeat carries the same `Message-ID` and the same words; what the server says of the letter
//! ends it, what it says of us puts it off; no address and no body gets into a log or a note.

mod settings;

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cairn_runtime::outbox::{Carrying, Courier, Trouble};
use futures_util::future::BoxFuture;
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::Mechanism;
use lettre::transport::smtp::client::{AsyncSmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, Message};
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub use self::settings::{Encryption, SmtpSettings};
use crate::effects::{Answer, Auth, Delivery, Letter};
use crate::letters::{LetterFault, message_id, render};
use crate::world::World;

/// How long a letter waits for a free connection before it is put off. With [`SmtpSettings::LIMIT`] and
/// [`FAREWELL`] it stays below the 20 s for which a delivery is claimed.
const QUEUE: Duration = Duration::from_secs(5);
/// How long the goodbye may take; nothing depends on it.
const FAREWELL: Duration = Duration::from_secs(1);
/// The longest line of a mail, without its end (RFC 5322 section 2.1.1).
const LONGEST_LINE: usize = 998;
/// The longest part of a server's reply that is kept.
const LONGEST_REPLY: usize = 200;

/// Gives the world as it is now: letters are written with the ring that is current when they are sent.
pub type Worlds = Arc<dyn Fn() -> Arc<World> + Send + Sync>;

/// Carries letters.
pub struct Mailer(Way);

enum Way {
    Mailbox,
    Nowhere,
    Smtp(Box<Smtp>),
}

impl Mailer {
    /// Takes every letter at once and sends it nowhere: it is read where it lies, by [`crate::letters::mailbox::view`].
    pub const fn mailbox() -> Self {
        Self(Way::Mailbox)
    }

    /// Holds every letter until there is a mail server, or until the letter is of no use any more.
    pub const fn nowhere() -> Self {
        Self(Way::Nowhere)
    }

    /// Sends letters through a mail server. Nothing is sent or connected to before the first letter.
    ///
    /// # Errors
    /// A sentence for the operator when TLS cannot be set up.
    pub fn smtp(settings: SmtpSettings, worlds: Worlds) -> Result<Self, String> {
        // Where a stranger in the middle could just as well have taken the offer of STARTTLS away, to check the
        // certificate protects nothing and loses letters to servers with one of their own making. A password is
        // worth a check; to this very machine it does not travel.
        let trusting =
            settings.encryption == Encryption::IfOffered && (settings.credentials.is_none() || settings.is_local());
        let tls = TlsParameters::builder(settings.host.clone())
            .dangerous_accept_invalid_certs(trusting)
            .dangerous_accept_invalid_hostnames(trusting)
            .build()
            .map_err(|why| format!("TLS to the mail server cannot be set up: {why}"))?;
        let free = Semaphore::new(settings.connections);
        Ok(Self(Way::Smtp(Box::new(Smtp { settings, worlds, tls, hello: ClientId::default(), free }))))
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
    fn carry(&self, parcel: Carrying<Auth>) -> BoxFuture<'_, Result<Answer, Trouble>> {
        Box::pin(async move {
            match &self.0 {
                Way::Mailbox => Ok(Answer::Accepted),
                Way::Nowhere => Err(Trouble::Later { why: "no mail server is set".to_owned(), after: None }),
                Way::Smtp(smtp) => smtp.carry(&parcel).await.map(|()| Answer::Accepted),
            }
        })
    }
}

struct Smtp {
    settings: SmtpSettings,
    worlds: Worlds,
    tls: TlsParameters,
    hello: ClientId,
    free: Semaphore,
}

/// How far a conversation with the mail server has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Greeting,
    Encryption,
    SigningIn,
    Sender,
    Recipient,
    Content,
}

/// What ended a conversation.
enum Broken {
    /// The server or the network.
    Smtp(Stage, Error),
    /// The server offers no encryption, and without it nothing may be sent.
    NotEncrypted,
}

impl Smtp {
    async fn carry(&self, parcel: &Carrying<Auth>) -> Result<(), Trouble> {
        let Delivery::Letter(letter) = &parcel.delivery;
        let posted = self.post(parcel, letter)?;
        let Ok(Ok(_place)) = timeout(QUEUE.min(self.settings.limit), self.free.acquire()).await else {
            return Err(later("all connections to the mail server are busy"));
        };
        let mut connection = None;
        // Bounded as a whole and from outside: a server that takes the connection and then says nothing, or says it
        // byte by byte, holds a place for no longer than this.
        let sent = timeout(self.settings.limit, self.converse(&mut connection, &posted)).await;
        let result = match sent {
            // Cut off in the middle of a sentence; the connection is of no use any more.
            Err(_) => return Err(later("the mail server did not answer in time")),
            Ok(sent) => sent,
        };
        // After a handshake that failed there is nobody left to take leave of (and lettre panics when one tries).
        let parted = matches!(result, Err(Broken::Smtp(Stage::Encryption, _)));
        if let Some(mut connection) = connection.filter(|_| !parted) {
            let _ = timeout(FAREWELL, connection.abort()).await;
        }
        let result = result.map_err(|broken| self.trouble(&broken, letter));
        if let Err(Trouble::Never(why)) = &result {
            tracing::warn!(delivery = %parcel.id, letter = letter.name(), to = letter.to().masked(), why, "refused");
        }
        result
    }

    /// The letter with its envelope, ready for the wire.
    fn post(&self, parcel: &Carrying<Auth>, letter: &Letter) -> Result<Posted, Trouble> {
        let world = (self.worlds)();
        let rendered = render(letter, parcel.flow, &world).map_err(|why| {
            if let LetterFault::Template(_) | LetterFault::Instant = why {
                tracing::error!(delivery = %parcel.id, letter = letter.name(), %why, "a letter cannot be written");
            }
            later(format!("the letter cannot be written: {why}"))
        })?;
        let never = || Trouble::Never("the address or the letter cannot be put into a mail".to_owned());
        let to: Address = letter.to().mailed().parse().map_err(|_| never())?;
        let since = Duration::from_millis(parcel.created.0.max(0).unsigned_abs());
        let date = SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH);
        let header = |name, value: &str| HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned());
        // By default the boundary is drawn by lot, and a repeat would differ. No line of a letter begins like this one.
        let parts = MultiPart::alternative()
            .boundary(format!("cairn-{}", parcel.id))
            .singlepart(part(ContentType::TEXT_PLAIN, rendered.text))
            .singlepart(part(ContentType::TEXT_HTML, rendered.html));
        let message = Message::builder()
            .date(date)
            .from(self.settings.from.clone())
            .to(Mailbox::new(None, to.clone()))
            .message_id(Some(message_id(parcel.id, &world)))
            .subject(rendered.subject)
            .raw_header(header("Auto-Submitted", "auto-generated"))
            .raw_header(header("X-Cairn-Letter", letter.name()))
            .multipart(parts)
            .map_err(|_| never())?;
        let content = on_the_wire(&message.formatted()).ok_or_else(never)?;
        Ok(Posted { from: self.settings.from.email.clone(), to, content })
    }

    /// One connection for one letter, as most relays like it; a pool would have to notice connections that died idle.
    ///
    /// Text and final dot go in one write. In two, with Nagle's algorithm at this end and delayed acknowledgements at
    /// the other, each letter would take 40 ms longer.
    async fn converse(&self, kept: &mut Option<AsyncSmtpConnection>, posted: &Posted) -> Result<(), Broken> {
        let SmtpSettings { host, port, encryption, credentials, .. } = &self.settings;
        let at = |stage| move |why| Broken::Smtp(stage, why);
        let wrapped = (*encryption == Encryption::FromTheStart).then(|| self.tls.clone());
        // A share for each address of the host, so that one that answers nothing leaves time for the next.
        let share = Some(self.settings.limit / 4);
        let connected =
            AsyncSmtpConnection::connect_tokio1((host.as_str(), *port), share, &self.hello, wrapped, None).await;
        let connection = kept.insert(connected.map_err(at(Stage::Greeting))?);
        if connection.can_starttls() {
            connection.starttls(self.tls.clone(), &self.hello).await.map_err(at(Stage::Encryption))?;
        }
        let needed = *encryption == Encryption::Required || (credentials.is_some() && !self.settings.is_local());
        if needed && !connection.is_encrypted() {
            return Err(Broken::NotEncrypted);
        }
        if let Some(credentials) = credentials {
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            connection.auth(&mechanisms, credentials).await.map_err(at(Stage::SigningIn))?;
        }
        let sender = Mail::new(Some(posted.from.clone()), Vec::new());
        connection.command(sender).await.map_err(at(Stage::Sender))?;
        let recipient = Rcpt::new(posted.to.clone(), Vec::new());
        connection.command(recipient).await.map_err(at(Stage::Recipient))?;
        connection.command(Data).await.map_err(at(Stage::Content))?;
        connection.command(&posted.content).await.map_err(at(Stage::Content))?;
        Ok(())
    }

    /// What a broken conversation means for the letter.
    fn trouble(&self, broken: &Broken, letter: &Letter) -> Trouble {
        let (stage, error) = match broken {
            Broken::Smtp(stage, error) => (*stage, error),
            Broken::NotEncrypted => {
                return later(format!("the mail server {} offers no encryption, which is demanded", self.settings));
            }
        };
        let said = error.source().map(ToString::to_string).unwrap_or_default();
        let said = without_addresses(&said, letter);
        let Some(status) = error.status() else {
            return later(match stage {
                Stage::Greeting => format!("the mail server {} could not be reached: {said}", self.settings),
                Stage::Encryption => format!("no encryption could be agreed on with the mail server: {said}"),
                _ => format!("the connection to the mail server broke: {said}"),
            });
        };
        let status = u16::from(status);
        // 530, 535 and 538 ask us to sign in or to encrypt (RFC 4954 section 6), whenever they come.
        let ours = matches!(stage, Stage::Greeting | Stage::Encryption | Stage::SigningIn | Stage::Sender)
            || matches!(status, 530 | 535 | 538);
        let subject = match stage {
            Stage::Greeting | Stage::Encryption => "the connection",
            Stage::SigningIn => "user or password",
            Stage::Sender => "the sender",
            Stage::Recipient => "the address",
            Stage::Content => "the letter",
        };
        let verb = if error.is_permanent() { "refused" } else { "does not take for now" };
        let why = format!("the mail server {verb} {subject}: {status} {said}");
        let why = why.trim_end().to_owned();
        if error.is_permanent() && !ours { Trouble::Never(why) } else { later(why) }
    }
}

/// A letter ready to be sent.
struct Posted {
    from: Address,
    to: Address,
    content: String,
}

fn later(why: impl Into<String>) -> Trouble {
    Trouble::Later { why: why.into(), after: None }
}

/// A part that stands in the mail as it is where it can: quoted-printable breaks long links for whoever reads the raw
/// mail.
fn part(kind: ContentType, text: String) -> SinglePart {
    let plain = text.is_ascii() && text.lines().all(|line| line.len() <= LONGEST_LINE);
    let body = if plain {
        let lines: String = text.lines().flat_map(|line| [line, "\r\n"]).collect();
        Body::dangerous_pre_encoded(lines.into_bytes(), ContentTransferEncoding::SevenBit)
    } else {
        Body::new(text)
    };
    SinglePart::builder().header(kind).body(body)
}

/// A message as it is sent after `DATA`, its end included: a dot in front of every line that begins with one (RFC 5321
/// section 4.5.2). `None` if it is not ASCII, which no encoding of ours produces.
fn on_the_wire(message: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(message).ok().filter(|text| text.is_ascii())?;
    let mut wire = String::with_capacity(text.len() + 64);
    for line in text.strip_suffix("\r\n").unwrap_or(text).split("\r\n") {
        if line.starts_with('.') {
            wire.push('.');
        }
        wire.push_str(line);
        wire.push_str("\r\n");
    }
    wire.push_str(".\r\n");
    Some(wire)
}

/// What a server said, short, on one line, with everything that could be the person's address left out.
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
            if personal || (named && !bare.is_empty()) { "…" } else { word }
        })
        .collect();
    words.join(" ").chars().take(LONGEST_REPLY).collect()
}

#[cfg(test)]
mod tests;
