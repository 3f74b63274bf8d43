//! Signatures under letters, by which a receiver sees that the sender's domain stands behind them (RFC 6376, RFC 8463).
//!
//! Made with ring, in a hundred lines: what the crates for it bring along is an RSA with a timing side channel.
//! Deterministic: the same letter gets the same signature at every attempt.

use std::fmt;
use std::fmt::Write as _;

use ::ring::digest::{SHA256, digest};
use ::ring::rand::SystemRandom;
use ::ring::signature::{Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64ct::{Base64, Encoding};
use cairn_runtime::Timestamp;
use zeroize::Zeroizing;

/// The headers that are signed, from the bottom of the mail up. Where one is named more often than it is there, nobody
/// can add another without breaking the signature (RFC 6376 section 8.15).
const SIGNED: [&str; 16] = [
    "from",
    "from",
    "to",
    "to",
    "cc",
    "reply-to",
    "subject",
    "subject",
    "date",
    "date",
    "message-id",
    "message-id",
    "mime-version",
    "content-type",
    "content-type",
    "auto-submitted",
];

/// The longest line of base64 in the header.
const LINE: usize = 72;

/// Signs letters for one domain with one key.
pub(super) struct Signer {
    domain: String,
    selector: String,
    key: Key,
}

enum Key {
    Ed25519(Ed25519KeyPair),
    Rsa(Box<RsaKeyPair>),
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({}._domainkey.{})", self.selector, self.domain)
    }
}

impl Signer {
    /// With the private key of the record at `selector._domainkey.domain`, in PEM: RSA of 2048 to 4096 bits, or Ed25519.
    ///
    /// # Errors
    /// The end of a sentence that begins with the name of the key's file; nothing of the key is in it.
    pub(super) fn new(domain: String, selector: String, pem: &str) -> Result<Self, String> {
        Ok(Self { domain, selector, key: Key::read(pem)? })
    }

    /// The domain that stands behind the letters.
    pub(super) fn domain(&self) -> &str {
        &self.domain
    }

    /// The whole header, its line's end included, to be put in front of a mail.
    pub(super) fn header(&self, mail: &str, at: Timestamp) -> Option<String> {
        let (head, body) = mail.split_once("\r\n\r\n")?;
        let algorithm = match self.key {
            Key::Ed25519(_) => "ed25519-sha256",
            Key::Rsa(_) => "rsa-sha256",
        };
        let body_hash = Base64::encode_string(digest(&SHA256, relaxed_body(body).as_bytes()).as_ref());
        let mut header = format!(
            "DKIM-Signature: v=1; a={algorithm}; c=relaxed/relaxed; d={};\r\n s={}; t={};\r\n h={};\r\n bh={body_hash};\r\n b=",
            self.domain,
            self.selector,
            at.seconds(),
            SIGNED
                .join(":")
                .replace(":reply-to", ":\r\n  reply-to")
                .replace(":message-id:mime", ":\r\n  message-id:mime"),
        );
        let mut signed = String::new();
        let fields = fields(head);
        for (place, name) in SIGNED.iter().enumerate() {
            let earlier = SIGNED.iter().take(place).filter(|before| *before == name).count();
            let of_that_name = fields.iter().rev().filter(|field| is_named(field, name));
            if let Some(field) = of_that_name.into_iter().nth(earlier) {
                signed.push_str(&relaxed_field(field)?);
                signed.push_str("\r\n");
            }
        }
        signed.push_str(&relaxed_field(&header)?);
        let mut rest = Base64::encode_string(&self.key.sign(signed.as_bytes())?);
        while !rest.is_empty() {
            let after = rest.split_off(rest.len().min(LINE));
            let _ = write!(header, "{rest}\r\n{}", if after.is_empty() { "" } else { "  " });
            rest = after;
        }
        Some(header)
    }
}

impl Key {
    fn read(pem: &str) -> Result<Self, String> {
        let wrong = || {
            "is not a private key in PEM as `openssl genrsa 2048` or `openssl genpkey -algorithm ed25519` writes it"
                .to_owned()
        };
        let mut lines = pem.lines().map(str::trim).skip_while(|line| !line.starts_with("-----BEGIN "));
        let label = lines.next().ok_or_else(wrong)?;
        if label.contains("ENCRYPTED") {
            return Err("is encrypted; the key has to lie in it as it is".to_owned());
        }
        let mut text = Zeroizing::new(String::with_capacity(pem.len()));
        for line in lines.take_while(|line| !line.starts_with("-----END ")) {
            if line.starts_with("Proc-Type:") {
                return Err("is encrypted; the key has to lie in it as it is".to_owned());
            }
            text.push_str(line);
        }
        let der = Zeroizing::new(Base64::decode_vec(&text).map_err(|_| wrong())?);
        let rsa = match label {
            "-----BEGIN RSA PRIVATE KEY-----" => RsaKeyPair::from_der(&der),
            "-----BEGIN PRIVATE KEY-----" => {
                if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der) {
                    return Ok(Self::Ed25519(key));
                }
                RsaKeyPair::from_pkcs8(&der)
            }
            _ => return Err(wrong()),
        };
        rsa.map(|key| Self::Rsa(Box::new(key)))
            .map_err(|why| format!("has a key that cannot be used ({why}); RSA of 2048 to 4096 bits can, and Ed25519"))
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match self {
            // What is signed is the hash, not the message (RFC 8463 section 3).
            Self::Ed25519(key) => Some(key.sign(digest(&SHA256, message).as_ref()).as_ref().to_vec()),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).ok()?;
                Some(signature)
            }
        }
    }
}

/// The header fields of a head, each with its folded lines.
fn fields(head: &str) -> Vec<String> {
    let mut fields: Vec<String> = Vec::new();
    for line in head.split("\r\n") {
        match fields.last_mut() {
            Some(field) if line.starts_with([' ', '\t']) => {
                field.push_str("\r\n");
                field.push_str(line);
            }
            _ => fields.push(line.to_owned()),
        }
    }
    fields
}

fn is_named(field: &str, name: &str) -> bool {
    field.split_once(':').is_some_and(|(own, _)| own.trim_end().eq_ignore_ascii_case(name))
}

/// A header field in its relaxed form (RFC 6376 section 3.4.2), without an end of line.
fn relaxed_field(field: &str) -> Option<String> {
    let (name, value) = field.split_once(':')?;
    let value = value.replace("\r\n", "");
    Some(format!("{}:{}", name.trim_end().to_ascii_lowercase(), one_space(&value).trim_start()))
}

/// A body in its relaxed form (RFC 6376 section 3.4.4).
fn relaxed_body(body: &str) -> String {
    let mut relaxed = String::with_capacity(body.len());
    for line in body.split("\r\n") {
        relaxed.push_str(&one_space(line));
        relaxed.push_str("\r\n");
    }
    while relaxed.ends_with("\r\n\r\n") {
        relaxed.truncate(relaxed.len() - 2);
    }
    if relaxed == "\r\n" { String::new() } else { relaxed }
}

/// A line with one space for each run of spaces and tabs, and none at its end.
fn one_space(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    for character in line.trim_end_matches([' ', '\t']).chars() {
        match character {
            ' ' | '\t' if out.ends_with(' ') => {}
            ' ' | '\t' => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
pub(super) mod tests;
