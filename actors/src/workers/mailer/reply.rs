//! What a mail server answers: three digits that decide, and text for people.
//!
//! What must stay true: nothing is decoded before it is judged. The text may be in any encoding or in none; it goes into
//! notes and the log, and decides nothing but what an enhanced status code (RFC 3463) or an extension's name says.

use std::fmt;

/// The longest part of a line that is kept. Words have at most 512 octets (RFC 5321 section 4.5.3.1.5).
const LONGEST_LINE: usize = 1_024;
/// Octets of one answer, kept or not, after which the server is taken for one that talks without end.
const LONGEST: usize = 64 * 1_024;

/// An answer of one line or several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reply {
    /// The three digits, 200 to 599.
    pub(super) code: u16,
    /// The text of each line, with U+FFFD for what is not UTF-8.
    pub(super) lines: Vec<String>,
}

/// A code of RFC 3463 such as 5.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Enhanced {
    pub(super) class: u16,
    pub(super) subject: u16,
    pub(super) detail: u16,
}

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// Why bytes are no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nonsense {
    /// A line does not begin with a code.
    NoCode,
    /// It has no end.
    Endless,
}

impl Reply {
    /// Whether the server goes on with us: 2xx, or 3xx where more is to be sent.
    pub(super) const fn is_positive(&self) -> bool {
        self.code < 400
    }

    /// Whether it says the same tomorrow.
    pub(super) const fn is_permanent(&self) -> bool {
        self.code >= 500
    }

    /// The enhanced status code that the text begins with, if its class is that of the three digits (RFC 2034 section 4).
    pub(super) fn enhanced(&self) -> Option<Enhanced> {
        self.lines.iter().find_map(|line| {
            let word =
                line.split(|character: char| character.is_whitespace() || character == ':').find(|w| !w.is_empty());
            // What only looks like one, such as a version, hides none that comes later.
            Enhanced::parse(word?).filter(|enhanced| enhanced.class == self.code / 100)
        })
    }

    /// The text on one line; a status code that is repeated on each is said once.
    pub(super) fn text(&self) -> String {
        let code =
            self.lines.first().and_then(|line| line.split(' ').next()).filter(|word| Enhanced::parse(word).is_some());
        let mut text = String::new();
        for (number, line) in self.lines.iter().enumerate() {
            let repeated = code.filter(|_| number > 0).and_then(|code| line.strip_prefix(code));
            let line = repeated.filter(|rest| rest.starts_with(' ')).unwrap_or(line).trim();
            if !text.is_empty() && !line.is_empty() {
                text.push(' ');
            }
            text.push_str(line);
        }
        text
    }

    /// What an extension of this name (RFC 5321 section 4.1.1.1) is announced with, in an answer to EHLO, on however many
    /// lines: `AUTH=PLAIN` is how it was written before RFC 2554, and stands beside the present form.
    pub(super) fn extension(&self, name: &str) -> Option<Vec<&str>> {
        let announced = self.lines.iter().skip(1).filter_map(|line| {
            let mut words = line.split([' ', '\t', '=']).filter(|word| !word.is_empty());
            words.next()?.eq_ignore_ascii_case(name).then_some(words)
        });
        announced.fold(None, |all, words| {
            let mut all: Vec<&str> = all.unwrap_or_default();
            all.extend(words);
            Some(all)
        })
    }
}

impl Enhanced {
    fn parse(word: &str) -> Option<Self> {
        let mut parts = word.split('.');
        let mut number = || {
            let part = parts.next()?;
            let fits = (1..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse::<u16>().ok().filter(|_| fits)
        };
        let code = Self { class: number()?, subject: number()?, detail: number()? };
        (parts.next().is_none() && matches!(code.class, 2 | 4 | 5)).then_some(code)
    }
}

/// Puts an answer together from bytes as they come.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    reply: Reply,
    line: Vec<u8>,
    octets: usize,
}

impl Hearing {
    /// Takes bytes up to the end of the answer, and gives it with the number of those that belong to it. `None` while
    /// more are to come.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<Option<(Reply, usize)>, Nonsense> {
        for (place, byte) in bytes.iter().enumerate() {
            self.octets += 1;
            if self.octets > LONGEST {
                return Err(Nonsense::Endless);
            }
            if *byte != b'\n' {
                if self.line.len() < LONGEST_LINE {
                    self.line.push(*byte);
                }
                continue;
            }
            if self.end_line()? {
                return Ok(Some((std::mem::take(self).reply, place + 1)));
            }
        }
        Ok(None)
    }

    /// What was meant, when the connection ended in the middle of a line. A word of agreement is not made out of half a
    /// line: what the rest was nobody knows.
    pub(super) fn cut(mut self) -> Option<Reply> {
        (self.end_line() == Ok(true) && !self.reply.is_positive()).then_some(self.reply)
    }

    /// Whether the line that ends here is the last.
    fn end_line(&mut self) -> Result<bool, Nonsense> {
        let line = std::mem::take(&mut self.line);
        // The carriage return may be missing, or be there twice.
        let line = line.trim_ascii_end();
        let (digits, rest) = line.split_at_checked(3).ok_or(Nonsense::NoCode)?;
        let code = digits.iter().try_fold(0, |code, digit| {
            char::from(*digit).to_digit(10).and_then(|digit| u16::try_from(digit).ok()).map(|digit| code * 10 + digit)
        });
        self.reply.code = code.filter(|code| (200..600).contains(code)).ok_or(Nonsense::NoCode)?;
        let (last, text) = match rest {
            [b'-', text @ ..] => (false, text),
            [b' ' | b'\t', text @ ..] | text @ [] => (true, text),
            // Four digits are no code; anything else is text behind a blank that was forgotten.
            [b'0'..=b'9', ..] => return Err(Nonsense::NoCode),
            text => (true, text),
        };
        self.reply.lines.push(String::from_utf8_lossy(text).into_owned());
        Ok(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(bytes: &[u8]) -> Result<Option<(Reply, usize)>, Nonsense> {
        let whole = Hearing::default().take(bytes);
        // However it is cut into pieces.
        let (mut hearing, mut taken) = (Hearing::default(), Ok(None));
        for (place, byte) in bytes.iter().enumerate() {
            taken = hearing.take(&[*byte]).map(|found| found.map(|(reply, used)| (reply, place + used)));
            if taken != Ok(None) {
                break;
            }
        }
        assert_eq!(whole, taken);
        whole
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_heard_differently_when_they_come_in_pieces(
            lines in proptest::collection::vec((200_u16..600, "[ -]", proptest::collection::vec(0_u8.., 0..8)), 0..6),
            rest in proptest::collection::vec(0_u8.., 0..20),
        ) {
            let mut bytes = Vec::new();
            for (code, blank, text) in lines {
                bytes.extend(format!("{code}{blank}").bytes().chain(text).chain(*b"\r\n"));
            }
            bytes.extend(rest);
            if let Ok(Some((reply, used))) = heard(&bytes) {
                assert!((200..600).contains(&reply.code) && bytes[used - 1] == b'\n');
                assert!(!reply.text().contains('\n'));
            }
        }
    }

    fn reply(bytes: &[u8]) -> (u16, String) {
        let (reply, used) = heard(bytes).unwrap().unwrap();
        assert_eq!(used, bytes.len());
        (reply.code, reply.text())
    }

    #[test]
    fn three_digits_decide_whatever_the_text_is_written_in() {
        for (bytes, code, text) in [
            (b"250 fine\r\n" as &[u8], 250, "fine"),
            (b"550 5.1.1 Empf\xe4nger unbekannt\r\n", 550, "5.1.1 Empf\u{fffd}nger unbekannt"),
            (
                b"550 \xd3\xc3\xbb\xa7\xb2\xbb\xb4\xe6\xd4\xda\r\n",
                550,
                "\u{fffd}\u{fb}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}",
            ),
            (b"220 \xff\xfe\0\x01\r\n", 220, "\u{fffd}\u{fffd}\0\u{1}"),
            (b"250\r\n", 250, ""),
            (b"250 \r\n", 250, ""),
            (b"250-\r\n250\r\n", 250, ""),
            (b"250 bare\n", 250, "bare"),
            (b"250-one\n250 two\n", 250, "one two"),
            (b"250 twice\r\r\n", 250, "twice"),
            (b"250\ttab\r\n", 250, "tab"),
            (b"554No blank\r\n", 554, "No blank"),
            (b"550-5.1.1 no\r\n550-5.1.1 such\r\n550 5.1.1 user\r\n", 550, "5.1.1 no such user"),
            (b"451-4.3.0 one\r\n550 5.1.1 two\r\n", 550, "4.3.0 one 5.1.1 two"),
        ] {
            assert_eq!(reply(bytes), (code, text.to_owned()), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_does_not_begin_with_a_code_is_no_answer() {
        for bytes in [
            b"\r\n" as &[u8],
            b"2\r\n",
            b"25\r\n",
            b"hello\r\n",
            b"\x16\x03\x01\r\n",
            b"2501 x\r\n",
            b"150 x\r\n",
            b"600 x\r\n",
            b"250-a\r\nb\r\n",
            b" 250 a\r\n",
            "\u{664}\u{665}\u{660} a\r\n".as_bytes(),
        ] {
            assert_eq!(heard(bytes), Err(Nonsense::NoCode), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_stands_behind_an_answer_is_left() {
        let (reply, used) = heard(b"220 go on\r\n250 words of a stranger\r\n").unwrap().unwrap();
        assert_eq!((reply.code, used), (220, 11));
        assert_eq!(heard(b"250-and\r\n250-so on\r\n"), Ok(None));
    }

    #[test]
    fn a_long_line_is_cut_and_one_without_end_given_up() {
        let line = [b"550 5.1.1 ".as_slice(), &[b'x'; 50_000], b"\r\n"].concat();
        let (reply, used) = heard(&line).unwrap().unwrap();
        assert_eq!((reply.code, used), (550, line.len()));
        assert!(reply.text().len() <= LONGEST_LINE);
        assert_eq!(heard(&[b'2'; LONGEST + 1]), Err(Nonsense::Endless));
        assert_eq!(heard(&b"250-more\r\n".repeat(LONGEST / 10 + 1)), Err(Nonsense::Endless));
    }

    #[test]
    fn a_refusal_that_is_cut_short_counts_and_an_agreement_does_not() {
        for (bytes, code) in [
            (b"554 go away" as &[u8], Some(554)),
            (b"421", Some(421)),
            (b"250 fine", None),
            (b"55", None),
            (b"554-more", None),
            (b"", None),
        ] {
            let mut hearing = Hearing::default();
            assert_eq!(hearing.take(bytes), Ok(None));
            assert_eq!(hearing.cut().map(|reply| reply.code), code, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn an_enhanced_code_counts_where_it_agrees_with_the_digits() {
        let of = |text: &str| {
            let (reply, _) = heard(format!("{text}\r\n").as_bytes()).unwrap().unwrap();
            reply.enhanced().map(|Enhanced { class, subject, detail }| (class, subject, detail))
        };
        assert_eq!(of("550 5.1.1 unknown"), Some((5, 1, 1)));
        assert_eq!(of("550 5.1.10: null MX"), Some((5, 1, 10)));
        assert_eq!(of("550-What follows\r\n550 5.7.26 is a policy"), Some((5, 7, 26)));
        for text in [
            "550 4.1.1 unknown",
            "550 unknown",
            "550 5.1 x",
            "550 5.1.1.1 x",
            "550 127.0.0.1 x",
            "550 5.1.1000 x",
            "550",
            "354 3.0.0",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn extensions_are_read_in_every_spelling() {
        let (reply, _) = heard(b"250-mx.example says starttls\r\n250-SIZE 100\r\n250-StartTLS\r\n250-AUTH=LOGIN\tPLAIN\r\n250 8BITMIME\r\n").unwrap().unwrap();
        assert_eq!(reply.extension("STARTTLS"), Some(vec![]));
        assert_eq!(reply.extension("AUTH"), Some(vec!["LOGIN", "PLAIN"]));
        assert_eq!(reply.extension("CHUNKING"), None);
        assert_eq!(reply.extension("mx.example"), None);
    }
}
