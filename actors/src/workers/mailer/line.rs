//! A line to the mail server: connected, encrypted, signed in, and kept for the next letter.
//!
//! What must stay true: each word of the server is waited for, but not for ever; what ends a conversation says how far it
//! had come, because a letter whose content was not sent yet may safely be tried on another line.

use std::io;
use std::time::Duration;

use cairn_runtime::Timestamp;
use lettre::Address;
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::Mechanism;
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use lettre::transport::smtp::extension::ClientId;
use tokio::time::timeout;

use super::settings::{Encryption, SmtpSettings};
use super::wire::Wire;

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
    /// The server or the network.
    Smtp(Stage, Error),
    /// Nobody is there.
    Unreachable(io::Error),
    /// The server was silent for too long.
    Silent(Stage),
    /// The server offers no encryption, and without it nothing may be sent.
    NotEncrypted,
}

impl Broken {
    /// How far it had come.
    pub(super) const fn stage(&self) -> Stage {
        match self {
            Self::Smtp(stage, _) | Self::Silent(stage) => *stage,
            Self::Unreachable(_) => Stage::Greeting,
            Self::NotEncrypted => Stage::Encryption,
        }
    }

    /// Whether the server has answered, in a word it could go on after: the line is still good.
    pub(super) fn is_spoken(&self) -> bool {
        // 421 says that the line is closed (RFC 5321 section 3.8).
        matches!(self, Self::Smtp(_, error) if error.status().is_some_and(|status| u16::from(status) != 421))
    }
}

/// What it takes to connect.
pub(super) struct Dial {
    tls: TlsParameters,
    hello: ClientId,
}

impl Dial {
    /// # Errors
    /// A sentence for the operator when TLS cannot be set up.
    pub(super) fn new(settings: &SmtpSettings) -> Result<Self, String> {
        let failed = |why: Error| format!("TLS to the mail server cannot be set up: {why}");
        // Where a stranger in the middle could just as well have taken the offer of STARTTLS away, to check the
        // certificate protects nothing and loses letters to servers with one of their own making. A password is
        // worth a check; to this very machine it does not travel. Whoever names an authority wants it asked.
        let trusting = settings.encryption == Encryption::IfOffered
            && (settings.credentials.is_none() || settings.is_local())
            && settings.authority.is_none();
        let mut tls = TlsParameters::builder(settings.host.clone())
            .dangerous_accept_invalid_certs(trusting)
            .dangerous_accept_invalid_hostnames(trusting);
        if let Some(pem) = &settings.authority {
            tls = tls.add_root_certificate(Certificate::from_pem(pem).map_err(failed)?);
        }
        Ok(Self { tls: tls.build().map_err(failed)?, hello: ClientId::default() })
    }
}

/// A line, open until it is dropped.
pub(super) struct Line {
    connection: AsyncSmtpConnection,
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

/// Waits for a word of the server, for half the time that a letter has at most. `stage` is noted first, for whoever cuts
/// the whole conversation off.
async fn word<T>(
    noted: &mut Stage,
    stage: Stage,
    share: Duration,
    speaking: impl Future<Output = Result<T, Error>>,
) -> Result<T, Broken> {
    *noted = stage;
    match timeout(share, speaking).await {
        Err(_) => Err(Broken::Silent(stage)),
        Ok(said) => said.map_err(|why| Broken::Smtp(stage, why)),
    }
}

impl Line {
    /// Connects, encrypts and signs in.
    pub(super) async fn open(settings: &SmtpSettings, dial: &Dial, noted: &mut Stage) -> Result<Self, Broken> {
        let SmtpSettings { host, port, encryption, credentials, limit, .. } = settings;
        let half = *limit / 2;
        let open = Open::new();
        // A share for each address of the host, so that one that answers nothing leaves time for the next.
        let share = *limit / 4;
        let mut connection = if *encryption == Encryption::FromTheStart {
            let tls = Some(dial.tls.clone());
            let connecting =
                AsyncSmtpConnection::connect_tokio1((host.as_str(), *port), Some(share), &dial.hello, tls, None);
            word(noted, Stage::Greeting, half, connecting).await?
        } else {
            *noted = Stage::Greeting;
            let (wire, careful) = match timeout(half, Wire::connect(host, *port, share)).await {
                Ok(connected) => connected.map_err(Broken::Unreachable)?,
                Err(_) => return Err(Broken::Silent(Stage::Greeting)),
            };
            let greeting = AsyncSmtpConnection::connect_with_transport(Box::new(wire), &dial.hello);
            let connection = word(noted, Stage::Greeting, half, greeting).await?;
            if !connection.can_starttls() {
                careful.end();
            }
            connection
        };
        if connection.can_starttls() {
            // After a handshake that failed there is nobody left to take leave of (and lettre panics when one tries).
            let shaking_hands = connection.starttls(dial.tls.clone(), &dial.hello);
            word(noted, Stage::Encryption, half, shaking_hands).await?;
        }
        let mut line = Self { connection, letters: 0, since: Timestamp(0), _open: open };
        let needed = *encryption == Encryption::Required || (credentials.is_some() && !settings.is_local());
        if needed && !line.connection.is_encrypted() {
            line.part().await;
            return Err(Broken::NotEncrypted);
        }
        if let Some(credentials) = credentials {
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            let signing_in = line.connection.auth(&mechanisms, credentials);
            if let Err(refused) = word(noted, Stage::SigningIn, half, signing_in).await {
                if refused.is_spoken() {
                    line.part().await;
                }
                return Err(refused);
            }
        }
        Ok(line)
    }

    /// Gives the server one letter.
    ///
    /// Text and final dot go in one write. In two, with Nagle's algorithm at this end and delayed acknowledgements at
    /// the other, each letter would take 40 ms longer.
    pub(super) async fn send(&mut self, posted: &Posted, limit: Duration, noted: &mut Stage) -> Result<(), Broken> {
        let half = limit / 2;
        self.letters += 1;
        let connection = &mut self.connection;
        let sender = Mail::new(Some(posted.from.clone()), Vec::new());
        word(noted, Stage::Sender, half, connection.command(sender)).await?;
        let recipient = Rcpt::new(posted.to.clone(), Vec::new());
        word(noted, Stage::Recipient, half, connection.command(recipient)).await?;
        word(noted, Stage::Permission, half, connection.command(Data)).await?;
        // To ask again what the server may have taken makes two letters of one: here it has all the time there is.
        word(noted, Stage::Content, limit, connection.command(&posted.content)).await?;
        Ok(())
    }

    /// Whether it may carry another.
    pub(super) fn is_fresh(&self, now: Timestamp) -> bool {
        self.letters < LETTERS && now.since(self.since) < IDLE
    }

    /// Has the server forget a letter that it did not take, so that the line can be used for the next.
    pub(super) async fn reset(&mut self) -> bool {
        matches!(timeout(FAREWELL, self.connection.command(Rset)).await, Ok(Ok(_)))
    }

    /// Says goodbye.
    pub(super) async fn part(mut self) {
        let _ = timeout(FAREWELL, self.connection.abort()).await;
    }
}
