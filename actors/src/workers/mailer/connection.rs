//! A line to the mail server: connected, encrypted, signed in, and kept for the next letter.
//!
//! What must stay true: each word of the server is waited for, but not for ever; what ends a conversation says how far it
//! had come, because a letter whose content was not sent yet may safely be tried on another line.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64ct::{Base64, Encoding};
use cairn_runtime::Timestamp;
use lettre::Address;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::reply::Reply;
use super::settings::{Credentials, Encryption, SmtpSettings};
use super::wire::Wire;
use super::{hello, trust};

/// How long the goodbye may take, or a word between two letters; nothing depends on either.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);
/// Letters on one line; many servers close theirs after a hundred.
const LETTERS: u32 = 100;
/// The longest that a line is kept without a letter: less than the 5 minutes that a server has to wait (RFC 5321
/// section 4.5.3.2.7), because some do not.
pub(super) const IDLE: Duration = Duration::from_secs(30);

/// How far a conversation with the mail server has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Greeting,
    Hello,
    Encryption,
    SigningIn,
    Sender,
    Recipient,
    /// Nothing of the letter is sent yet.
    Permission,
    /// From here on the server may have the letter, whatever it says or does not say.
    Content,
}

/// What ended a conversation.
#[derive(Debug)]
pub(super) enum Broken {
    /// The server's own word.
    Refused(Stage, Reply),
    /// The connection ended, or what came over it was no answer.
    Lost(Stage, String),
    /// Nobody is there.
    Unreachable(io::Error),
    /// The server was silent for too long.
    Silent(Stage),
    /// The server offers no encryption, and without it nothing may be sent.
    NotEncrypted,
    /// The server offers no way to sign in that we know.
    NoWayIn,
}

impl Broken {
    /// How far it had come.
    pub(super) const fn stage(&self) -> Stage {
        match self {
            Self::Refused(stage, _) | Self::Lost(stage, _) | Self::Silent(stage) => *stage,
            Self::Unreachable(_) => Stage::Greeting,
            Self::NotEncrypted => Stage::Encryption,
            Self::NoWayIn => Stage::SigningIn,
        }
    }

    /// Whether the server has answered, in a word it could go on after: the line is still good.
    pub(super) const fn is_spoken(&self) -> bool {
        // 421 says that the line is closed (RFC 5321 section 3.8).
        matches!(self, Self::Refused(_, reply) if reply.code != 421)
    }

    /// Whether the connection is gone, by the server's word or without one.
    pub(super) const fn has_hung_up(&self) -> bool {
        matches!(self, Self::Lost(..) | Self::Refused(_, Reply { code: 421, .. }))
    }
}

/// What it takes to connect.
pub(super) struct Dial {
    tls: Arc<ClientConfig>,
    /// As certificates have it. `None` where no certificate can have such a name.
    host: Option<ServerName<'static>>,
    /// `None`: our address, as the server sees it.
    hello: Option<String>,
}

impl Dial {
    /// The public URL's host and the machine's name are what we may greet the server with.
    ///
    /// # Errors
    /// A sentence for the operator when TLS cannot be set up.
    pub(super) fn new(settings: &SmtpSettings, public_host: &str, machine: &str) -> Result<Self, String> {
        // Where a stranger in the middle could just as well have taken the offer of STARTTLS away, to check the
        // certificate protects nothing and loses letters to servers with one of their own making. A password is
        // worth a check; to this very machine it does not travel. Whoever names an authority wants it asked.
        let trusting = settings.encryption == Encryption::IfOffered
            && (settings.credentials.is_none() || settings.is_local())
            && settings.authorities.is_empty();
        let tls = trust::client(&settings.authorities, trusting)
            .map_err(|why| format!("TLS to the mail server cannot be set up: {why}"))?;
        let hello = settings.ehlo_name.clone().or_else(|| hello::name(public_host, machine));
        Ok(Self { tls, host: ServerName::try_from(settings.host.clone()).ok(), hello })
    }
}

/// A line, open until it is dropped.
pub(super) struct Connection {
    wire: Wire,
    letters: u32,
    /// When its last letter was done.
    pub(super) since: Timestamp,
    _open: Open,
}

/// Counts in the gauge while it lives.
struct Open;

impl Open {
    fn new() -> Self {
        metrics::gauge!(super::MAIL_CONNECTIONS).increment(1.0);
        Self
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        metrics::gauge!(super::MAIL_CONNECTIONS).decrement(1.0);
    }
}

/// A letter ready to be sent.
pub(super) struct Posted {
    pub(super) from: Address,
    pub(super) to: Address,
    /// As it goes after `DATA`, its end included.
    pub(super) content: String,
}

/// Waits for something for its share of the time. `stage` is noted first, for whoever cuts the whole conversation off.
async fn within<T>(
    noted: &mut Stage,
    stage: Stage,
    share: Duration,
    something: impl Future<Output = io::Result<T>>,
) -> Result<T, Broken> {
    *noted = stage;
    match timeout(share, something).await {
        Err(_) => Err(Broken::Silent(stage)),
        Ok(done) => done.map_err(|why| Broken::Lost(stage, trust::explain(&why))),
    }
}

/// Says something, unless it is nothing, and hears the answer. `agreed` is the first digit of the answer with which it
/// goes on (RFC 5321 section 4.2.1).
async fn word(
    wire: &mut Wire,
    noted: &mut Stage,
    stage: Stage,
    share: Duration,
    said: &[u8],
    agreed: u16,
) -> Result<Reply, Broken> {
    let speaking = async {
        if !said.is_empty() {
            wire.say(said).await?;
        }
        wire.hear().await
    };
    let reply = within(noted, stage, share, speaking).await?;
    if reply.code / 100 == agreed {
        Ok(reply)
    } else if reply.is_positive() {
        Err(Broken::Lost(stage, format!("the server answers out of turn: {}", reply.code)))
    } else {
        Err(Broken::Refused(stage, reply))
    }
}

impl Connection {
    /// Connects, encrypts and signs in.
    pub(super) async fn open(settings: &SmtpSettings, dial: &Dial, noted: &mut Stage) -> Result<Self, Broken> {
        let SmtpSettings { host, port, encryption, credentials, limit, .. } = settings;
        let half = *limit / 2;
        let open = Open::new();
        // A share for each address of the host, so that one that answers nothing leaves time for the next.
        let share = *limit / 4;
        *noted = Stage::Greeting;
        let mut wire = match timeout(half, Wire::connect(host, *port, share)).await {
            Ok(connected) => connected.map_err(Broken::Unreachable)?,
            Err(_) => return Err(Broken::Silent(Stage::Greeting)),
        };
        if *encryption == Encryption::FromTheStart {
            dial.encrypt(&mut wire, noted, half).await?;
        }
        // Some hold their greeting back for six seconds, because spammers do not wait.
        word(&mut wire, noted, Stage::Greeting, *limit, b"", 2).await?;
        let name = dial.hello.clone().unwrap_or_else(|| hello::literal(wire.local()));
        let hello = format!("EHLO {name}\r\n");
        let mut offers = word(&mut wire, noted, Stage::Hello, half, hello.as_bytes(), 2).await?;
        if !wire.is_encrypted() && offers.extension("STARTTLS").is_some() {
            word(&mut wire, noted, Stage::Encryption, half, b"STARTTLS\r\n", 2).await?;
            dial.encrypt(&mut wire, noted, half).await?;
            // What was offered in clear may have been anybody's offer (RFC 3207 section 4.2).
            offers = word(&mut wire, noted, Stage::Hello, half, hello.as_bytes(), 2).await?;
        }
        let mut line = Self { wire, letters: 0, since: Timestamp(0), _open: open };
        let needed = *encryption == Encryption::Required
            || (credentials.is_some() && !settings.is_local())
            || !settings.authorities.is_empty();
        if needed && !line.wire.is_encrypted() {
            line.part().await;
            return Err(Broken::NotEncrypted);
        }
        if let Some(credentials) = credentials
            && let Err(refused) = line.sign_in(credentials, &offers, half, noted).await
        {
            if refused.is_spoken() || matches!(refused, Broken::NoWayIn) {
                line.part().await;
            }
            return Err(refused);
        }
        Ok(line)
    }

    /// Says who we are, in the first way that the server knows (RFC 4954).
    async fn sign_in(
        &mut self,
        credentials: &Credentials,
        offers: &Reply,
        share: Duration,
        noted: &mut Stage,
    ) -> Result<(), Broken> {
        let ways = offers.extension("AUTH").unwrap_or_default();
        let knows = |way: &str| ways.iter().any(|known| known.eq_ignore_ascii_case(way));
        let Credentials { user, password } = credentials;
        let (user, password) = (user.as_str(), password.as_str());
        let encoded = |text: &str| Zeroizing::new(Base64::encode_string(text.as_bytes()));
        let stage = Stage::SigningIn;
        if knows("PLAIN") {
            // RFC 4616.
            let both = encoded(&Zeroizing::new(format!("\0{user}\0{password}")));
            let said = Zeroizing::new(format!("AUTH PLAIN {}\r\n", both.as_str()));
            word(&mut self.wire, noted, stage, share, said.as_bytes(), 2).await?;
        } else if knows("LOGIN") {
            word(&mut self.wire, noted, stage, share, b"AUTH LOGIN\r\n", 3).await?;
            for (said, agreed) in [(user, 3), (password, 2)] {
                let said = Zeroizing::new(format!("{}\r\n", encoded(said).as_str()));
                word(&mut self.wire, noted, stage, share, said.as_bytes(), agreed).await?;
            }
        } else {
            *noted = stage;
            return Err(Broken::NoWayIn);
        }
        Ok(())
    }

    /// Gives the server one letter.
    ///
    /// Text and final dot go in one write. In two, with Nagle's algorithm at this end and delayed acknowledgements at
    /// the other, each letter would take 40 ms longer.
    pub(super) async fn send(&mut self, posted: &Posted, limit: Duration, noted: &mut Stage) -> Result<(), Broken> {
        let half = limit / 2;
        self.letters += 1;
        let wire = &mut self.wire;
        let sender = format!("MAIL FROM:<{}>\r\n", posted.from);
        word(wire, noted, Stage::Sender, half, sender.as_bytes(), 2).await?;
        let recipient = format!("RCPT TO:<{}>\r\n", posted.to);
        word(wire, noted, Stage::Recipient, half, recipient.as_bytes(), 2).await?;
        word(wire, noted, Stage::Permission, half, b"DATA\r\n", 3).await?;
        // To ask again what the server may have taken makes two letters of one: here it has all the time there is.
        word(wire, noted, Stage::Content, limit, posted.content.as_bytes(), 2).await?;
        Ok(())
    }

    /// Whether it may carry another.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        self.letters < LETTERS && now.since(self.since) < IDLE
    }

    /// Has the server forget a letter that it did not take, so that the line can be used for the next.
    pub(super) async fn reset(&mut self) -> bool {
        let mut unnoted = Stage::Content;
        word(&mut self.wire, &mut unnoted, Stage::Content, FAREWELL, b"RSET\r\n", 2).await.is_ok()
    }

    /// Says goodbye.
    pub(super) async fn part(mut self) {
        let goodbye = async {
            if self.wire.say(b"QUIT\r\n").await.is_ok() {
                let _ = self.wire.hear().await;
            }
            self.wire.close().await;
        };
        let _ = timeout(FAREWELL, goodbye).await;
    }
}

impl Dial {
    async fn encrypt(&self, wire: &mut Wire, noted: &mut Stage, share: Duration) -> Result<(), Broken> {
        let stage = Stage::Encryption;
        let host = self
            .host
            .clone()
            .ok_or_else(|| Broken::Lost(stage, "no certificate can be for the name in SMTP_URL".to_owned()))?;
        within(noted, stage, share, wire.encrypt(&self.tls, host)).await
    }
}
