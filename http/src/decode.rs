//! Percent-encoding undone: paths, query strings and form bodies become text without any byte being able to harm.

use std::borrow::Cow;

/// Undoes percent-encoding (RFC 3986, section 2.1). `None` when a `%` is not followed by two hexadecimal digits.
pub(crate) fn percent(text: &[u8], plus_is_space: bool) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(octet) = rest.next() {
        match octet {
            b'%' => out.push(hex(rest.next()?)? << 4 | hex(rest.next()?)?),
            b'+' if plus_is_space => out.push(b' '),
            other => out.push(other),
        }
    }
    Some(out)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// The path with every escape of an unreserved character undone (RFC 3986, section 6.2.2.2), so that
/// `/%61uth` is `/auth` while `%2F` never becomes a separator. `None` for a broken escape.
pub(crate) fn normal_path(path: &str) -> Option<Cow<'_, str>> {
    if !path.contains('%') {
        return Some(Cow::Borrowed(path));
    }
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let digits = after.get(..2)?;
        let octet = *percent(format!("%{digits}").as_bytes(), false)?.first()?;
        if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) {
            out.push(char::from(octet));
        } else {
            out.push('%');
            out.push_str(digits);
        }
        rest = after.get(2..)?;
    }
    out.push_str(rest);
    Some(Cow::Owned(out))
}

/// One segment of a path as text. `None` for broken escapes, for what is not UTF-8, and for control characters, which
/// name nothing of ours and which a database may refuse.
pub(crate) fn segment(raw: &str) -> Option<String> {
    let text = String::from_utf8(percent(raw.as_bytes(), false)?).ok()?;
    (!text.chars().any(char::is_control)).then_some(text)
}

/// The pairs of a query string. What is broken in it becomes U+FFFD: such a value equals nothing that exists, and
/// parameters nobody asked for must not disturb.
pub(crate) fn query(raw: &str) -> Vec<(String, String)> {
    raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| both(pair.as_bytes(), lenient)).collect()
}

/// The pairs of an `application/x-www-form-urlencoded` body. `None` when an escape is broken or the text is not UTF-8.
pub(crate) fn form(raw: &[u8]) -> Option<Vec<(String, String)>> {
    raw.split(|octet| *octet == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = both(pair, strict);
            Some((name?, value?))
        })
        .collect()
}

fn both<T>(pair: &[u8], read: impl Fn(&[u8]) -> T) -> (T, T) {
    let mut halves = pair.splitn(2, |octet| *octet == b'=');
    (read(halves.next().unwrap_or_default()), read(halves.next().unwrap_or_default()))
}

fn strict(raw: &[u8]) -> Option<String> {
    String::from_utf8(percent(raw, true)?).ok()
}

fn lenient(raw: &[u8]) -> String {
    let octets = percent(raw, true).unwrap_or_else(|| raw.to_vec());
    String::from_utf8_lossy(&octets).replace('\0', "\u{FFFD}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unreserved_characters_are_undone_before_a_path_is_matched() {
        assert_eq!(normal_path("/%61uth/%6Cogin").as_deref(), Some("/auth/login"));
        assert_eq!(normal_path("/auth%2Flogin").as_deref(), Some("/auth%2Flogin"));
        assert_eq!(normal_path("/%2561").as_deref(), Some("/%2561"));
        for broken in ["/%", "/%4", "/%zz", "/%+1", "/%é"] {
            assert_eq!(normal_path(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_segment_is_text_or_nothing() {
        assert_eq!(segment("a%20b%2Fc").as_deref(), Some("a b/c"));
        assert_eq!(segment("%C3%A9").as_deref(), Some("é"));
        assert_eq!(segment("a+b").as_deref(), Some("a+b"));
        for broken in ["%ff", "%00", "a%0ab", "%C3"] {
            assert_eq!(segment(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_query_never_fails_and_a_form_is_read_strictly() {
        assert_eq!(query("to=a%40b&&x&to=c+d"), pairs(&[("to", "a@b"), ("x", ""), ("to", "c d")]));
        assert_eq!(query("a=%zz&b=%ff&c=%00"), pairs(&[("a", "%zz"), ("b", "\u{FFFD}"), ("c", "\u{FFFD}")]));
        assert_eq!(form(b"code=123+456&x=%26=").unwrap_or_default(), pairs(&[("code", "123 456"), ("x", "&=")]));
        assert_eq!(form(b"a=%zz"), None);
        assert_eq!(form(b"a=\xff"), None);
    }

    fn pairs(these: &[(&str, &str)]) -> Vec<(String, String)> {
        these.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }
}
