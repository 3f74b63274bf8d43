//! A letter as its reader gets it: from the development mailbox, or from the bytes that came over SMTP.

use std::collections::BTreeMap;

use base64ct::{Base64, Encoding};
use serde_json::Value;

/// What the tests read in a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    pub message_id: String,
    /// `X-Cairn-Letter`, as `registration.verify`.
    pub kind: String,
    /// The flow that sent it; empty for a mail.
    pub flow: String,
    pub to: String,
    pub from: String,
    pub subject: String,
    /// The text part.
    pub text: String,
    pub html: String,
    /// The mail's headers by lower-case name; empty for the mailbox.
    pub headers: BTreeMap<String, String>,
}

impl Letter {
    pub fn from_mailbox(mail: &Value) -> Self {
        let of = |name: &str| match &mail[name] {
            Value::String(text) => text.clone(),
            Value::Array(several) => several.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
            other => panic!("{name} is {other} in {mail}"),
        };
        Self {
            message_id: of("message_id"),
            kind: of("letter"),
            flow: of("flow"),
            to: of("to"),
            from: of("from"),
            subject: of("subject"),
            text: of("text"),
            html: of("html"),
            headers: BTreeMap::new(),
        }
    }

    /// Reads a mail as it came after DATA (dots unstuffed).
    pub fn from_mail(raw: &str) -> Self {
        let (headers, body) = part(raw);
        let mut texts = BTreeMap::new();
        collect(&headers, body, &mut texts);
        let of = |name: &str| headers.get(name).cloned().unwrap_or_default();
        Self {
            message_id: of("message-id"),
            kind: of("x-cairn-letter"),
            flow: String::new(),
            to: bare(&of("to")).to_owned(),
            from: of("from"),
            subject: of("subject"),
            text: texts.remove("text/plain").unwrap_or_default(),
            html: texts.remove("text/html").unwrap_or_default(),
            headers,
        }
    }

    /// The six digits that stand alone on a line.
    pub fn code(&self) -> Option<String> {
        self.text
            .lines()
            .map(str::trim)
            .find(|line| line.len() == 6 && line.bytes().all(|b| b.is_ascii_digit()))
            .map(str::to_owned)
    }

    /// The link that stands alone on a line.
    pub fn link(&self) -> Option<String> {
        self.text
            .lines()
            .map(str::trim)
            .find(|line| line.starts_with("http") && line.contains("?token="))
            .map(str::to_owned)
    }

    /// What the link carries.
    pub fn token(&self) -> Option<String> {
        self.link().and_then(|link| link.split_once("?token=").map(|(_, token)| token.to_owned()))
    }
}

/// Headers (unfolded, by lower-case name) and body of a mail or of a part of one.
fn part(raw: &str) -> (BTreeMap<String, String>, &str) {
    let (head, body) = raw.split_once("\r\n\r\n").unwrap_or((raw, ""));
    let mut headers = BTreeMap::new();
    let mut last = String::new();
    for line in head.split("\r\n") {
        if line.starts_with([' ', '\t']) {
            let value: &mut String = headers.entry(last.clone()).or_default();
            value.push(' ');
            value.push_str(line.trim());
        } else if let Some((name, value)) = line.split_once(':') {
            last = name.to_ascii_lowercase();
            headers.insert(last.clone(), value.trim().to_owned());
        }
    }
    (headers, body)
}

/// Gathers the decoded texts of all parts by media type.
fn collect(headers: &BTreeMap<String, String>, body: &str, into: &mut BTreeMap<String, String>) {
    let content = headers.get("content-type").map_or("text/plain", String::as_str);
    let media = content.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media.starts_with("multipart/") {
        let boundary = content.split("boundary=").nth(1).expect("a multipart has a boundary");
        let boundary = boundary.trim_start_matches('"').split(['"', ';']).next().unwrap_or_default();
        for piece in body.split(&format!("--{boundary}")).skip(1) {
            if piece.starts_with("--") {
                break;
            }
            let (headers, body) = part(piece.strip_prefix("\r\n").unwrap_or(piece));
            collect(&headers, body, into);
        }
        return;
    }
    let decoded =
        match headers.get("content-transfer-encoding").map(|encoding| encoding.to_ascii_lowercase()).as_deref() {
            Some("base64") => {
                let text: String = body.split_whitespace().collect();
                Base64::decode_vec(&text).expect("base64 as announced")
            }
            Some("quoted-printable") => quoted_printable(body),
            _ => body.as_bytes().to_vec(),
        };
    into.insert(media, String::from_utf8(decoded).expect("letters are UTF-8"));
}

fn quoted_printable(body: &str) -> Vec<u8> {
    let joined = body.replace("=\r\n", "");
    let mut bytes = joined.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'=' {
            let digits = [bytes.next().unwrap_or(b'?'), bytes.next().unwrap_or(b'?')];
            let text = std::str::from_utf8(&digits).expect("hexadecimal digits");
            decoded.push(u8::from_str_radix(text, 16).expect("hexadecimal digits"));
        } else {
            decoded.push(byte);
        }
    }
    decoded
}

/// The address alone, of `Name <address>`.
fn bare(field: &str) -> &str {
    field.rsplit_once('<').map_or(field, |(_, rest)| rest.trim_end_matches('>')).trim()
}

#[test]
fn a_letter_is_read_as_its_reader_sees_it() {
    let raw = "Message-ID: <m1@cairn>\r\nX-Cairn-Letter: registration.verify\r\nTo: Ada <ada@example.org>\r\nFrom: c@example.org\r\n\
        Subject: Your\r\n code\r\nContent-Type: multipart/alternative;\r\n boundary=\"b/1\"\r\n\r\n--b/1\r\nContent-Type: text/plain; charset=utf-8\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\r\nHall=C3=B3\r\n\r\n  123456\r\n\r\nhttp://127.0.0.1:1/verify-email?tok=\r\nen=3Dcairn_ve_x\r\n\
        --b/1\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: base64\r\n\r\nPGI+\r\nPC9iPg==\r\n--b/1--\r\n";
    let letter = Letter::from_mail(raw);
    assert_eq!((letter.message_id.as_str(), letter.kind.as_str()), ("<m1@cairn>", "registration.verify"));
    assert_eq!((letter.to.as_str(), letter.subject.as_str()), ("ada@example.org", "Your code"));
    assert_eq!(letter.code().as_deref(), Some("123456"));
    assert_eq!(letter.token().as_deref(), Some("cairn_ve_x"));
    assert!(letter.text.starts_with("Halló"));
    assert_eq!(letter.html, "<b></b>");
}
