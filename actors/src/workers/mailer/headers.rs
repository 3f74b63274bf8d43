//! Headers of a mail that hold text: as they are where they can be, else in encoded words (RFC 2047).
//!
//! What must stay true: an encoded word has at most 75 characters, a line with one in it at most 76 (RFC 2047 section 2);
//! no text, whoever wrote it, ends a header.

use base64ct::{Base64, Encoding};
use lettre::message::Mailbox;
use lettre::message::header::{HeaderName, HeaderValue};

/// The longest line that has an encoded word in it, and the longest that we write where we can choose (RFC 5322 section
/// 2.1.1 recommends 78).
const LINE: usize = 76;
/// What an encoded word begins with, and what it ends with.
const BEGIN: &str = "=?utf-8?B?";
const END: &str = "?=";

/// The header `From`: a name, if there is one, and the address.
pub(super) fn from(mailbox: &Mailbox) -> HeaderValue {
    let name = HeaderName::new_from_ascii_str("From");
    let address = mailbox.email.to_string();
    // Not for the wire. (The mailbox as a whole cannot be printed with every name.)
    let raw = address.clone();
    let value = match mailbox.name.as_deref().map(str::trim).filter(|name| !name.is_empty()) {
        None => address,
        Some(shown) => {
            let quoted = format!("\"{}\"", shown.replace('\\', "\\\\").replace('"', "\\\""));
            let prefix = name.len() + ": ".len();
            let shown = if is_plain(shown) && prefix + quoted.len() <= LINE { quoted } else { words(shown, prefix) };
            let written = shown.rsplit("\r\n").next().map_or(0, str::len);
            let written = if shown.contains("\r\n") { written } else { written + prefix };
            let gap = if written + address.len() + " <>".len() > LINE { "\r\n " } else { " " };
            format!("{shown}{gap}<{address}>")
        }
    };
    HeaderValue::dangerous_new_pre_encoded(name, raw, value)
}

/// The header `Subject`.
pub(super) fn subject(text: &str) -> HeaderValue {
    let name = HeaderName::new_from_ascii_str("Subject");
    if is_plain(text) {
        // Folded where there are spaces, and not encoded.
        return HeaderValue::new(name, text.to_owned());
    }
    let value = words(text, name.len() + ": ".len());
    HeaderValue::dangerous_new_pre_encoded(name, text.to_owned(), value)
}

/// Whether it may stand in a header as it is, and is read back as it was written.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && !text.contains("=?")
}

/// Encoded words, a line each, behind `used` characters on the first one. What stands between two of them is not part of
/// the text (RFC 2047 section 6.2), and no character is cut in two (section 5).
fn words(text: &str, used: usize) -> String {
    let mut out = String::new();
    let mut rest = text;
    let mut used = used;
    while !rest.is_empty() {
        let room = LINE.saturating_sub(used + BEGIN.len() + END.len()) / 4 * 3;
        let (word, after) = rest.split_at(rest.floor_char_boundary(room));
        if !out.is_empty() {
            out.push_str("\r\n ");
        }
        out.push_str(BEGIN);
        out.push_str(&Base64::encode_string(word.as_bytes()));
        out.push_str(END);
        rest = after;
        used = " ".len();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a reader makes of a header: folds and the gaps between encoded words are gone.
    fn read(value: &str) -> String {
        let unfolded = value.replace("\r\n ", " ");
        let (mut out, mut after_word) = (String::new(), false);
        for piece in unfolded.split(' ') {
            let word = piece.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
            let between_words = after_word && word.is_some();
            if !out.is_empty() && !between_words {
                out.push(' ');
            }
            match word {
                Some(word) => out.push_str(&String::from_utf8(Base64::decode_vec(word).unwrap()).unwrap()),
                None => out.push_str(piece),
            }
            after_word = word.is_some();
        }
        out
    }

    fn lines(name: &str, value: &HeaderValue) -> Vec<String> {
        let mut headers = lettre::message::header::Headers::new();
        headers.insert_raw(value.clone());
        let all = headers.to_string();
        assert!(all.starts_with(&format!("{name}: ")), "{all}");
        all.trim_end().split("\r\n").map(str::to_owned).collect()
    }

    fn assert_folded(name: &str, value: &HeaderValue, read_as: &str) {
        let lines = lines(name, value);
        for line in &lines {
            assert!(line.is_ascii() && line.len() <= LINE, "{} in {line}", line.len());
            for word in line.split(' ').filter(|word| word.starts_with(BEGIN)) {
                assert!(word.len() <= 75 && word.ends_with(END), "{word}");
            }
        }
        assert!(lines.iter().skip(1).all(|line| line.starts_with(' ') && line.trim() == &line[1..]), "{lines:?}");
        assert_eq!(read(lines.join("\r\n").split_once(": ").unwrap().1), read_as);
    }

    #[test]
    fn a_sender_s_name_of_any_length_and_script_is_folded_where_it_may_be() {
        for unit in ["\u{e4}", "B\u{fc}cher ", "\u{6f22}\u{5b57}", "\u{1f4da}x", "a", "long ", "say \"hi\" \\ "] {
            for count in 1..60 {
                let name = unit.repeat(count).trim().to_owned();
                let mailbox = Mailbox::new(Some(name.clone()), "cairn@mail.example.org".parse().unwrap());
                let value = from(&mailbox);
                let whole = lines("From", &value).join("\r\n");
                let shown = if whole.contains(BEGIN) {
                    name
                } else {
                    format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""))
                };
                assert_folded("From", &value, &format!("{shown} <cairn@mail.example.org>"));
            }
        }
    }

    #[test]
    fn a_sender_without_a_name_is_the_address_alone() {
        let mailbox = Mailbox::new(Some("  ".to_owned()), "cairn@example.org".parse().unwrap());
        assert_eq!(lines("From", &from(&mailbox)), ["From: cairn@example.org"]);
        assert_eq!(lines("From", &from(&"cairn@example.org".parse().unwrap())), ["From: cairn@example.org"]);
    }

    #[test]
    fn a_subject_is_as_it_is_or_in_encoded_words() {
        assert_eq!(lines("Subject", &subject("Your code: 123456")), ["Subject: Your code: 123456"]);
        for text in [
            "Ihr Best\u{e4}tigungscode f\u{fc}r id.b\u{fc}cher.example ist 123456 und gilt bis morgen",
            "\u{78ba}\u{8a8d}\u{30b3}\u{30fc}\u{30c9}",
        ] {
            assert_folded("Subject", &subject(text), text);
            assert_folded("Subject", &subject(&text.repeat(20)), &text.repeat(20));
        }
    }

    #[test]
    fn no_text_ends_a_header_or_passes_for_an_encoded_word() {
        for text in ["a\r\nBcc: b@example.org", "a\nb", "a\0b", "=?utf-8?B?QUJD?=", "a\u{85}\u{2028}b"] {
            assert_eq!(lines("Subject", &subject(text)).len(), 1, "{text:?}");
            assert_folded("Subject", &subject(text), text);
            let mailbox = Mailbox::new(Some(text.to_owned()), "cairn@example.org".parse().unwrap());
            assert_folded("From", &from(&mailbox), &format!("{} <cairn@example.org>", text.trim()));
        }
    }
}
