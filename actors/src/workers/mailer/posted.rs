//! A letter as a mail: its headers, its parts, its signature, and its form on the wire.
//!
//! What must stay true: a repeat is the same mail byte for byte, `Message-ID`, date and boundary included.

use std::time::{Duration, SystemTime};

use cairn_runtime::outbox::{DeliveryAttempt, Trouble};
use lettre::message::header::{ContentTransferEncoding, ContentType, HeaderName, HeaderValue};
use lettre::message::{Body, Mailbox, MultiPart, SinglePart};
use lettre::{Address, Message};

use super::connection::Posted;
use super::headers;
use super::later;
use super::settings::SmtpSettings;
use crate::effects::Auth;
use crate::environment::Environment;
use crate::letters::Letter;
use crate::letters::{LetterFault, Rendered, message_id, render};

/// The longest line of a mail, without its end (RFC 5322 section 2.1.1).
const LONGEST_LINE: usize = 998;

/// The letter with its envelope, ready for the wire.
pub(super) fn post(
    attempt: &DeliveryAttempt<Auth>,
    letter: &Letter,
    environment: &Environment,
    settings: &SmtpSettings,
) -> Result<Posted, Trouble> {
    let rendered = render(letter, attempt.flow, environment).map_err(|why| {
        if let LetterFault::Template(_) | LetterFault::Instant = why {
            tracing::error!(delivery = %attempt.id, letter = letter.name(), %why, "a letter cannot be written");
        }
        later(format!("the letter cannot be written: {why}"))
    })?;
    compose(attempt, letter, rendered, environment, settings)
}

/// The same for a letter that is written already.
pub(super) fn compose(
    attempt: &DeliveryAttempt<Auth>,
    letter: &Letter,
    rendered: Rendered,
    environment: &Environment,
    settings: &SmtpSettings,
) -> Result<Posted, Trouble> {
    let never = || Trouble::Never("the address or the letter cannot be put into a mail".to_owned());
    let to: Address = letter.to().mailed().parse().map_err(|_| never())?;
    let since = Duration::from_millis(attempt.created.0.max(0).unsigned_abs());
    let date = SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH);
    let header = |name, value: &str| HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned());
    // By default the boundary is drawn by lot, and a repeat would differ. No line of a letter begins like this one.
    let parts = MultiPart::alternative()
        .boundary(format!("cairn-{}", attempt.id))
        .singlepart(part(ContentType::TEXT_PLAIN, rendered.text))
        .singlepart(part(ContentType::TEXT_HTML, rendered.html));
    let message = Message::builder()
        .date(date)
        .from(settings.from.clone())
        .raw_header(headers::from(&settings.from))
        .to(Mailbox::new(None, to.clone()))
        .message_id(Some(message_id(attempt.id, environment)))
        .raw_header(headers::subject(&rendered.subject))
        .raw_header(header("Auto-Submitted", "auto-generated"))
        .raw_header(header("X-Cairn-Letter", letter.name()))
        .multipart(parts)
        .map_err(|_| never())?;
    let mail = String::from_utf8(message.formatted()).map_err(|_| never())?;
    let signature = match &settings.signer {
        None => String::new(),
        Some(signer) => signer.header(&mail, attempt.created).ok_or_else(|| later("the letter cannot be signed"))?,
    };
    let content = on_the_wire(&format!("{signature}{mail}")).ok_or_else(never)?;
    Ok(Posted { from: settings.from.email.clone(), to, content })
}

/// A part that stands in the mail as it is where it can, for whoever reads the raw mail, else in base64: quoted-printable
/// breaks a long link in two, and some programs show it broken.
fn part(kind: ContentType, text: String) -> SinglePart {
    let is_plain = |byte: u8| byte == b'\t' || (b' '..=b'~').contains(&byte);
    let plain = text.lines().all(|line| line.len() <= LONGEST_LINE && line.bytes().all(is_plain));
    let body = if plain {
        let lines: String = text.lines().flat_map(|line| [line, "\r\n"]).collect();
        Body::dangerous_pre_encoded(lines.into_bytes(), ContentTransferEncoding::SevenBit)
    } else {
        Body::new_with_encoding(text, ContentTransferEncoding::Base64).unwrap_or_else(Body::new)
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

#[cfg(test)]
mod tests {
    use base64ct::{Base64, Encoding};
    use cairn_runtime::{DeliveryId, FlowId, Timestamp};

    use super::super::dkim::tests::{ED25519_KEY, signer, verify};
    use super::super::settings::Said;
    use super::*;
    use crate::effects::Delivery;
    use crate::letters::tests::environment;

    const LINK: &str = "https://id.example.org/verify-email?token=cairn_ve_0123456789abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrstuvwxyz";

    /// The whole mail, dots unstuffed.
    fn mail(from: &str, rendered: Rendered) -> String {
        let letter =
            Letter::RegistrationWelcome { to: crate::identity::address::Address::parse("alice@example.net").unwrap() };
        let attempt = DeliveryAttempt {
            id: DeliveryId::from_bytes([7; 16]),
            flow: FlowId::from_bytes([9; 16]),
            number: 1,
            created: Timestamp(1_793_714_579_250),
            expires: None,
            delivery: Delivery::Letter(letter.clone()),
        };
        let said = Said { from: from.to_owned(), ..Said::default() };
        let mut settings = SmtpSettings::read("smtp://relay.example", &said).unwrap();
        settings.signer = Some(std::sync::Arc::new(signer(ED25519_KEY).0));
        let posted =
            compose(&attempt, &letter, rendered, &environment("https://id.example.org"), &settings).ok().unwrap();
        let lines = posted.content.strip_suffix("\r\n.\r\n").unwrap().split("\r\n");
        lines.map(|line| line.strip_prefix('.').unwrap_or(line)).collect::<Vec<_>>().join("\r\n") + "\r\n"
    }

    /// The parts as their reader sees them.
    fn parts(mail: &str) -> Vec<String> {
        let body = mail.split_once("\r\n\r\n").unwrap().1;
        let pieces = body.split("--cairn-").skip(1).filter_map(|piece| piece.split_once("\r\n\r\n"));
        let read = |(head, body): (&str, &str)| {
            if head.contains("Content-Transfer-Encoding: base64") {
                let joined: String = body.split_whitespace().collect();
                String::from_utf8(Base64::decode_vec(&joined).unwrap()).unwrap().replace("\r\n", "\n")
            } else {
                assert!(head.contains("Content-Transfer-Encoding: 7bit"), "{head}");
                body.replace("\r\n", "\n")
            }
        };
        pieces.map(read).collect()
    }

    #[test]
    fn a_letter_in_any_language_has_its_link_whole_and_its_signature_good() {
        let key = signer(ED25519_KEY).1;
        for (subject, greeting) in [
            ("Your code", "Hello"),
            (
                "Ihr Best\u{e4}tigungscode f\u{fc}r die Stadtb\u{fc}cherei und alles, was dazugeh\u{f6}rt",
                "Sch\u{f6}nen Tag",
            ),
            ("\u{78ba}\u{8a8d}\u{30b3}\u{30fc}\u{30c9}", "\u{3053}\u{3093}\u{306b}\u{3061}\u{306f}"),
            ("\u{1f4da}", "\u{1f4da}\u{200d}"),
        ] {
            let text = format!("{greeting}\n\n123456\n\n{LINK}\n\n.\n.. bye\n");
            let html = format!("<p>{greeting}</p>\n<a href=\"{LINK}\">{LINK}</a>\n");
            let rendered = Rendered { subject: subject.to_owned(), text: text.clone(), html: html.clone() };
            let mail =
                mail("Stadtb\u{fc}cherei M\u{fc}hlhausen an der Gro\u{df}en Laber <cairn@mail.example.org>", rendered);
            assert!(mail.is_ascii() && mail.split("\r\n").all(|line| line.len() <= LONGEST_LINE), "{mail}");
            assert!(!mail.contains("quoted-printable"), "{mail}");
            let shown = parts(&mail);
            for (shown, meant) in shown.iter().zip([&text, &html]) {
                assert_eq!(shown.trim_end(), meant.trim_end());
            }
            assert_eq!(shown.len(), 2);
            assert!(verify(&mail, &key).is_ok(), "{mail}");
            assert!(verify(&mail.replacen("cairn@mail", "other@mail", 1), &key).is_err());
        }
    }

    #[test]
    fn a_line_too_long_for_a_mail_or_with_controls_is_encoded() {
        let long = format!("{LINK}{}", "0".repeat(1_000));
        for line in [long.as_str(), "a\rb", "a\0b", "\u{1b}[2J"] {
            let rendered =
                Rendered { subject: "s".to_owned(), text: format!("{line}\n"), html: "<p></p>\n".to_owned() };
            let mail = mail("cairn@example.org", rendered);
            assert!(
                mail.split("\r\n").all(|line| line.len() <= LONGEST_LINE && !line.contains(['\r', '\0', '\u{1b}']))
            );
            if !line.contains('\r') {
                assert_eq!(parts(&mail)[0], format!("{line}\n"));
            }
        }
    }
}
