//! A letter as a mail: its headers, its parts, its signature, and its form on the wire.
//!
//! What must stay true: a repeat is the same mail byte for byte, `Message-ID`, date and boundary included.

use std::time::{Duration, SystemTime};

use cairn_runtime::outbox::{Carrying, Trouble};
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message};

use super::later;
use super::line::Posted;
use super::settings::SmtpSettings;
use crate::effects::{Auth, Letter};
use crate::letters::{LetterFault, message_id, render};
use crate::world::World;

/// The longest line of a mail, without its end (RFC 5322 section 2.1.1).
const LONGEST_LINE: usize = 998;

/// The letter with its envelope, ready for the wire.
pub(super) fn post(
    parcel: &Carrying<Auth>,
    letter: &Letter,
    world: &World,
    settings: &SmtpSettings,
) -> Result<Posted, Trouble> {
    let rendered = render(letter, parcel.flow, world).map_err(|why| {
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
        .from(settings.from.clone())
        .to(Mailbox::new(None, to.clone()))
        .message_id(Some(message_id(parcel.id, world)))
        .subject(rendered.subject)
        .raw_header(header("Auto-Submitted", "auto-generated"))
        .raw_header(header("X-Cairn-Letter", letter.name()))
        .multipart(parts)
        .map_err(|_| never())?;
    let mail = String::from_utf8(message.formatted()).map_err(|_| never())?;
    let signature = match &settings.signer {
        None => String::new(),
        Some(signer) => signer.header(&mail, parcel.created).ok_or_else(|| later("the letter cannot be signed"))?,
    };
    let content = on_the_wire(&format!("{signature}{mail}")).ok_or_else(never)?;
    Ok(Posted { from: settings.from.email.clone(), to, content })
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
pub(super) fn on_the_wire(text: &str) -> Option<String> {
    if !text.is_ascii() {
        return None;
    }
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
