//! Letters: what is mailed to people, written from templates and one file of words a language.
//!
//! What must stay true: a letter is written again in the same words at every attempt; it holds nothing that the asker
//! chose (else anybody mails anybody through us); code and links each stand alone on a line of the text part.

mod letter;
pub mod mailbox;
mod theme;
mod words;

use std::collections::BTreeMap;
use std::fmt;

use cairn_runtime::{DeliveryId, FlowId};
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use minijinja::Value;
use minijinja::value::Serde;
use serde::Serialize;

pub use self::letter::Letter;
use self::theme::{LetterTheme, theme};
pub use self::theme::{escaped, install, warnings};
pub use self::words::fill;
use self::words::{Texts, fill_all};
use crate::environment::Environment;
use crate::secrets::credential::{self, Purpose, Seal};
use crate::secrets::ring::KeyId;

/// A letter in words. Holds its code and links, so it prints as dots.
#[derive(Clone, PartialEq, Eq)]
pub struct Rendered {
    /// One line, ASCII as long as the words are.
    pub subject: String,
    /// The plain part, lines ended by `\n`. Nothing in it is escaped.
    pub text: String,
    /// The HTML part: one column, one button, nothing from elsewhere.
    pub html: String,
}

impl fmt::Debug for Rendered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rendered(…)")
    }
}

/// Why a letter cannot be written.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LetterFault {
    /// Its credential was issued under a key that the ring has not got: it is newer than the ring this process has
    /// read, so that later it may be written.
    #[error("the ring has no key {0}")]
    UnknownKey(KeyId),
    /// It says until when, and that is past the end of the calendar.
    #[error("it names an instant that no calendar has")]
    Instant,
    /// Words or template are missing, or do not fit each other: a defect of this release.
    #[error("its template is broken: {0}")]
    Template(String),
}

/// Writes a letter of a flow: the same words for the same letter, flow and world.
///
/// # Errors
/// See [`LetterFault`].
pub fn render(letter: &Letter, flow: FlowId, environment: &Environment) -> Result<Rendered, LetterFault> {
    let public = &environment.settings.public_url;
    let page = |path: &str| format!("{public}/{path}");
    let instant = |at| theme().language.instant(at).ok_or(LetterFault::Instant);
    let host = host(environment);

    // What goes into the words, and what the template places by itself.
    let mut said: Vec<(&str, String)> = vec![("host", host)];
    let mut placed: BTreeMap<&'static str, String> = BTreeMap::new();
    match letter {
        Letter::RegistrationVerify { to: _, seal, expires_at } => {
            let (code, link) = proof(Purpose::VerifyEmail, "verify-email", seal, flow, environment)?;
            said.extend([("spoken", spoken(&code)), ("until", instant(*expires_at)?)]);
            placed.extend([("code", code), ("link", link)]);
        }
        Letter::RecoveryReset { to: _, seal, expires_at } => {
            let (code, link) = proof(Purpose::ResetPassword, "reset-password", seal, flow, environment)?;
            said.extend([("spoken", spoken(&code)), ("until", instant(*expires_at)?)]);
            placed.extend([("code", code), ("link", link)]);
        }
        Letter::MagicLinkSignIn { to: _, seal, expires_at } => {
            let (code, link) = proof(Purpose::MagicLink, "magic-link", seal, flow, environment)?;
            said.extend([("spoken", spoken(&code)), ("until", instant(*expires_at)?)]);
            placed.extend([("code", code), ("link", link)]);
        }
        Letter::RegistrationKnown { to: _ } => {
            placed.extend([("login", page("login")), ("forgot_password", page("forgot-password"))]);
        }
        Letter::RegistrationWelcome { to: _ } => {
            placed.insert("login", page("login"));
        }
        Letter::PasswordChanged { to: _, at } => {
            said.push(("at", instant(*at)?));
            placed.insert("forgot_password", page("forgot-password"));
        }
        Letter::EmailConfirm { to: _, seal, expires_at } => {
            let (code, link) = proof(Purpose::EmailChange, "email-change", seal, flow, environment)?;
            said.extend([("spoken", spoken(&code)), ("until", instant(*expires_at)?)]);
            placed.extend([("code", code), ("link", link)]);
        }
        Letter::EmailKnown { to: _ } => {}
        Letter::EmailChanged { to: _, seal, at, expires_at } => {
            said.extend([("at", instant(*at)?), ("until", instant(*expires_at)?)]);
            placed.insert("link", link(Purpose::UndoEmailChange, "undo-email-change", seal, flow, environment)?);
        }
        Letter::SessionNewDevice { to: _, seal, device, client_address, at } => {
            said.extend([
                ("at", instant(*at)?),
                ("device", device.clone()),
                ("client_address", client_address.clone()),
            ]);
            placed.insert("link", link(Purpose::EndSession, "end-session", seal, flow, environment)?);
        }
        Letter::DeletionCalledOff { to: _, at } => {
            said.push(("at", instant(*at)?));
            placed.insert("forgot_password", page("forgot-password"));
        }
        Letter::DeletionAsked { to: _, until } => {
            said.push(("until", instant(*until)?));
            placed.insert("login", page("login"));
        }
    }
    let said: Vec<(&str, &str)> = said.iter().map(|(place, value)| (*place, value.as_str())).collect();
    write_on(theme(), letter.name(), &said, placed)
}

/// The `Message-ID` of a delivery, the same at every attempt (RFC 5322 section 3.6.4), angle brackets included.
pub fn message_id(delivery: DeliveryId, environment: &Environment) -> String {
    format!("<{delivery}@{}>", host(environment))
}

/// The host of the public URL, in a form that can stand in any header: A-labels, or an address in figures.
pub(crate) fn host(environment: &Environment) -> String {
    let url = &environment.settings.public_url;
    let behind = url.split_once("://").map_or(url.as_str(), |(_, behind)| behind);
    let authority = behind.split(['/', '?', '#']).next().unwrap_or_default();
    let named = match authority.split_once(']') {
        Some((literal, _)) => format!("{literal}]"),
        None => authority.split(':').next().unwrap_or_default().to_owned(),
    };
    let literal = named.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if literal.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()) {
        return named;
    }
    Uts46::new()
        .to_ascii(named.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify)
        .map_or_else(|_| "localhost".to_owned(), std::borrow::Cow::into_owned)
}

/// The code and the link of one issue.
fn proof(
    purpose: Purpose,
    path: &str,
    seal: &Seal,
    flow: FlowId,
    environment: &Environment,
) -> Result<(String, String), LetterFault> {
    let unknown = || LetterFault::UnknownKey(seal.key);
    let code = credential::code(&environment.ring, purpose, *flow.bytes(), seal).ok_or_else(unknown)?;
    Ok((code.expose().to_string(), link(purpose, path, seal, flow, environment)?))
}

/// The link of one issue.
fn link(
    purpose: Purpose,
    path: &str,
    seal: &Seal,
    flow: FlowId,
    environment: &Environment,
) -> Result<String, LetterFault> {
    let unknown = || LetterFault::UnknownKey(seal.key);
    let token = credential::render(&environment.ring, purpose, *flow.bytes(), seal).ok_or_else(unknown)?;
    // A token is base64url and underscores: nothing in it needs escaping in a URL.
    Ok(format!("{}/{path}?token={}", environment.settings.public_url, token.expose()))
}

/// A code as it is read aloud: `123 456`.
fn spoken(code: &str) -> String {
    let (first, second) = code.split_at_checked(3).unwrap_or((code, ""));
    format!("{first} {second}")
}

/// What a template is given.
#[derive(Serialize)]
struct Given<'a> {
    language: &'a str,
    words: Texts,
    shared: Texts,
    #[serde(flatten)]
    placed: BTreeMap<&'static str, String>,
}

fn write_on(
    theme: &LetterTheme,
    name: &str,
    said: &[(&str, &str)],
    placed: BTreeMap<&'static str, String>,
) -> Result<Rendered, LetterFault> {
    let LetterTheme { templates, language } = theme;
    let broken = |why: minijinja::Error| LetterFault::Template(why.to_string());
    let missing = || LetterFault::Template(format!("there are no words for {name}"));
    let words = language.letters.get(name).ok_or_else(missing)?;
    let subject = words.get("subject").map(|subject| fill(subject, said)).ok_or_else(missing)?;
    let given = Value::from(Serde(Given {
        language: &language.language,
        words: fill_all(words, said),
        shared: fill_all(&language.shared, said),
        placed,
    }));
    let part = |ending: &str| -> Result<String, LetterFault> {
        templates.get_template(&format!("{name}.{ending}")).and_then(|template| template.render(&given)).map_err(broken)
    };
    Ok(Rendered { subject, text: part("txt")?, html: part("html")? })
}

/// Name and text of a template that is compiled in.
macro_rules! files {
    ($($name:literal),+ $(,)?) => { [$(($name, include_str!($name))),+] };
}

static FILES: [(&str, &str); 30] = files![
    "layout.html",
    "parts.html",
    "proof.txt",
    "proof.html",
    "notice.txt",
    "notice.html",
    "registration.verify.txt",
    "registration.verify.html",
    "registration.known.txt",
    "registration.known.html",
    "registration.welcome.txt",
    "registration.welcome.html",
    "recovery.reset.txt",
    "recovery.reset.html",
    "magic-link.sign-in.txt",
    "magic-link.sign-in.html",
    "password.changed.txt",
    "password.changed.html",
    "email.confirm.txt",
    "email.confirm.html",
    "email.known.txt",
    "email.known.html",
    "email.changed.txt",
    "email.changed.html",
    "session.new-device.txt",
    "session.new-device.html",
    "deletion.asked.txt",
    "deletion.asked.html",
    "deletion.called-off.txt",
    "deletion.called-off.html",
];

#[cfg(test)]
pub(crate) mod tests;
