//! The development mailbox: letters as a view of the outbox, for who has no mail server yet.
//!
//! It stores nothing: a letter is written anew from its sealed row whenever somebody looks.

use std::fmt;

use cairn_runtime::Payload;
use cairn_runtime::store;
use serde::Serialize;

use super::{message_id, render};
use crate::effects::Auth;
use crate::environment::Environment;
use crate::flows;
use crate::identity::address::Address;
use crate::instant;

/// One letter as `/dev/mail` shows it. Holds its code and links, so it prints as dots.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Mail {
    /// The delivery's id.
    pub id: String,
    /// The `Message-ID`, in angle brackets.
    pub message_id: String,
    /// To whom, as it would stand in the envelope (A-labels).
    pub to: String,
    /// From whom: a stand-in, since there is no mail server to send through.
    pub from: String,
    /// The subject.
    pub subject: String,
    /// The plain part.
    pub text: String,
    /// The HTML part.
    pub html: String,
    /// When it was committed (RFC 3339, UTC).
    pub at: String,
    /// How often it was carried.
    pub attempts: u32,
    /// The value of `X-Cairn-Letter`.
    pub letter: &'static str,
    /// The flow that sent it, `reg_…`.
    pub flow: String,
}

impl Mail {
    /// Whether it goes to this address, compared as addresses are. For `?to=`.
    pub fn is_to(&self, asked: &str) -> bool {
        match (Address::parse_forgiving(asked), Address::parse(&self.to)) {
            (Ok(asked), Ok(to)) => asked == to,
            _ => false,
        }
    }
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mail({}, {})", self.id, self.letter)
    }
}

/// The letter of a row of the outbox. `None` for what is no letter, goes to nobody, was wiped, or is sealed or written under a key that
/// this ring has not got.
pub fn view(delivery: &store::OutboxRow, environment: &Environment) -> Option<Mail> {
    if delivery.payload.is_empty() {
        return None;
    }
    let Ok(Payload::External(carried)) = Payload::<Auth>::open(environment, delivery) else { return None };
    let letter = carried.mailed()?;
    let rendered = render(letter, delivery.flow, environment).ok()?;
    Some(Mail {
        id: delivery.id.to_string(),
        message_id: message_id(delivery.id, environment),
        to: letter.to().mailed().to_owned(),
        from: environment.settings.mail_from.clone(),
        subject: rendered.subject,
        text: rendered.text,
        html: rendered.html,
        at: instant::text(delivery.created)?,
        attempts: delivery.attempts,
        letter: letter.name(),
        flow: flows::id_text(&delivery.flow_kind, delivery.flow),
    })
}
