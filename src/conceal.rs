//! The last filter over what the process says: secrets that the settings hold, and whatever looks like a user and password
//! in a URL, are replaced by dots.
//!
//! Our own messages quote no secret. This is for those of libraries, whose errors may contain the text that they could not
//! read. It is no reason to hand them a secret.

use std::borrow::Cow;
use std::sync::RwLock;

/// What stands in a secret's place.
const DOTS: &str = "…";
/// Parts of a secret that are shorter are left: every text contains them.
const SHORTEST: usize = 4;
/// Passwords of a development machine that are the program's own name would blacken every line of the log.
const OUR_WORDS: [&str; 3] = ["cairn", "postgres", "postgresql"];

/// All that is known to be secret, the longest first.
static KNOWN: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Has the value of a secret setting concealed from now on.
pub(crate) fn remember(value: &str) {
    let Ok(mut known) = KNOWN.write() else { return };
    known.extend(secrets_of(value));
    known.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
    known.dedup();
}

/// Whether there is anything to conceal in the value of a secret setting.
pub(crate) fn has_secret(value: &str) -> bool {
    !secrets_of(value).is_empty()
}

/// The text as it may be shown.
pub(crate) fn conceal(text: &str) -> Cow<'_, str> {
    match KNOWN.read() {
        Ok(known) => concealed(text, &known),
        // Somebody panicked while secrets were added: nothing is certain then.
        Err(_) => Cow::Borrowed(DOTS),
    }
}

fn concealed<'a>(text: &'a str, known: &[String]) -> Cow<'a, str> {
    let mut out = without_users(text);
    for secret in known {
        if out.contains(secret.as_str()) {
            out = Cow::Owned(out.replace(secret.as_str(), DOTS));
        }
    }
    out
}

/// Leaves out what stands between `://` and the last `@` of the same word.
fn without_users(text: &str) -> Cow<'_, str> {
    const MARK: &str = "://";
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(MARK) {
        let end =
            after.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>')).unwrap_or(after.len());
        let (word, behind) = after.split_at(end);
        let Some((_, host)) = word.rsplit_once('@') else {
            out.push_str(before);
            out.push_str(MARK);
            rest = after;
            continue;
        };
        for part in [before, MARK, DOTS, "@", host] {
            out.push_str(part);
        }
        rest = behind;
    }
    if out.is_empty() {
        return Cow::Borrowed(text);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The secrets in the value of a setting: of a URL its password, however badly the URL is written; else all of it.
fn secrets_of(value: &str) -> Vec<String> {
    let mut secrets = Vec::new();
    let mut add = |text: &str| {
        let decoded = percent_decoded(text);
        let pieces = text.split(['/', '#', '?', '@', ':', '&', '=']).filter(|piece| *piece != text);
        for plain in pieces.chain([text, decoded.as_str()]) {
            if plain.chars().count() >= SHORTEST && !OUR_WORDS.contains(&plain) {
                // As it is, and as it stands between quotes in JSON and in debugging output.
                secrets.push(plain.to_owned());
                secrets.push(plain.replace('\\', "\\\\").replace('"', "\\\""));
            }
        }
    };
    let rest = value.split_once("://").map(|(_, rest)| rest);
    match (rest.unwrap_or(value), rest.is_some()) {
        // Up to the last @ stand user and password: a slash or question mark in a password is a mistake, but no less secret.
        (text, is_url) if text.contains('@') => {
            let (before, after) = text.rsplit_once('@').unwrap_or((text, ""));
            add(before.split_once(':').map_or(if is_url { "" } else { before }, |(_, password)| password));
            parameters(after).for_each(&mut add);
        }
        // A URL without an @: what follows the colon is a port, or a password whose @ was forgotten.
        (text, true) => {
            let after = text.split_once(':').map_or("", |(_, after)| after);
            let port = after.split(['/', '?']).next().unwrap_or_default();
            if !port.bytes().all(|byte| byte.is_ascii_digit()) {
                add(after);
            }
            parameters(text).for_each(&mut add);
        }
        (text, false) => add(text),
    }
    secrets
}

/// The values of parameters behind a `?`, but for those that are known to be harmless: a password may stand there, under a
/// name that is mistyped as well.
fn parameters(text: &str) -> impl Iterator<Item = &str> {
    const HARMLESS: [&str; 12] = [
        "sslmode",
        "ssl-mode",
        "sslrootcert",
        "sslcert",
        "host",
        "hostaddr",
        "port",
        "dbname",
        "user",
        "application_name",
        "statement-cache-capacity",
        "tls",
    ];
    let query = text.split_once('?').map_or("", |(_, query)| query);
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| !HARMLESS.contains(name)).map(|(_, value)| value)
}

/// Undoes percent-encoding where there is any.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match digits.filter(|_| byte == b'%').and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(value) => {
                bytes.push(value);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(byte);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(value: &str, text: &str) -> String {
        let mut known = secrets_of(value);
        known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        concealed(text, &known).into_owned()
    }

    #[test]
    fn a_password_is_concealed_raw_and_decoded_whole_and_in_pieces() {
        let url = "postgres://cairn:pa%2FS3cret%40x@db.example/cairn";
        for text in ["pa%2FS3cret%40x", "pa/S3cret@x", "invalid port: pa/S3cret@x", url] {
            let shown = seen(url, text);
            assert!(!shown.contains("S3cret"), "{shown}");
        }
        assert_eq!(seen(url, "cannot reach db.example as cairn"), "cannot reach db.example as cairn");
        for bad in [
            "postgres://cairn:pa/S3cret@h/d",
            "postgres://cairn:pa#S3cret@h/d",
            "postgres://cairn:pa?S3cret@h/d",
            "postgres://cairn:pa@S3cret@h/d",
            "postgres://cairn:S3cret/d",
            "cairn:S3cret@h/d",
            "smtp://cairn:S3cret",
            "postgres://h/d?user=cairn&password=S3cret",
            "postgres://h:1/d?pasword=S3cret",
            "postgres://cairn@h/d?sslmode=require&password=S3cret",
            "S3cret",
        ] {
            for text in ["the host S3cret is not known", bad, "S3cret/d"] {
                let shown = seen(bad, text);
                assert!(!shown.contains("S3cret"), "{bad}: {shown}");
            }
        }
    }

    #[test]
    fn what_is_no_secret_is_left() {
        assert!(secrets_of("postgres://db.example:5432/cairn").is_empty());
        assert!(secrets_of("postgres://cairn@db.example:5432/cairn").is_empty());
        assert!(secrets_of("postgres://cairn:cairn@localhost/cairn").is_empty());
        assert!(secrets_of("postgres://cairn:abc@localhost/cairn").is_empty(), "every text contains it");
        assert_eq!(seen("p@x", "http://127.0.0.1:8080 and more"), "http://127.0.0.1:8080 and more");
    }

    #[test]
    fn a_user_in_any_url_is_left_out_whosever_it_is() {
        for (text, shown) in [
            ("see https://me:pw@h.example/x and https://h.example", "see https://…@h.example/x and https://h.example"),
            ("\"postgres://u:p/w@h\" failed", "\"postgres://…@h\" failed"),
            ("http://a http://u@b", "http://a http://…@b"),
            ("mail to ada@example.org", "mail to ada@example.org"),
            ("://", "://"),
            ("", ""),
        ] {
            assert_eq!(without_users(text), shown);
        }
    }

    #[test]
    fn a_secret_with_quotes_is_concealed_where_quotes_are_escaped() {
        let shown = seen("S3\"c\\ret", "{\"why\":\"bad S3\\\"c\\\\ret here\"}");
        assert_eq!(shown, "{\"why\":\"bad … here\"}");
    }
}
