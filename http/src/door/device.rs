//! The proof by which a device is known to somebody who has signed in with it before: a browser shows it as a cookie, a
//! program in a header. It signs nobody in.

use cairn_actors::device::KNOWN_FOR;
use http::HeaderValue;

use crate::problem::Problem;
use crate::request::Request;

/// Its name where there is TLS; on loopback without, the same without the prefix, which browsers would refuse there.
const NAME: &str = "__Host-cairn_device";

/// The header in which a program without cookies shows the proof of its device.
pub(crate) const HEADER: &str = "cairn-device";

fn is_secure(public_url: &str) -> bool {
    public_url.starts_with("https://")
}

fn name(public_url: &str) -> &'static str {
    if is_secure(public_url) { NAME } else { NAME.trim_start_matches("__Host-") }
}

/// What the client shows as the proof of its device: the cookie by either name, else the header. It proves itself, and
/// all that it does is to have a count of failures of its own.
pub(crate) fn presented(request: &Request) -> Option<&str> {
    let cookie = [NAME, name("")].into_iter().find_map(|name| request.cookie(name));
    cookie.or_else(|| request.header(HEADER))
}

/// The `Set-Cookie` that makes the browser unknown.
pub(crate) fn clear(public_url: &str) -> Option<HeaderValue> {
    let secure = if is_secure(public_url) { "; Secure" } else { "" };
    let name = name(public_url);
    HeaderValue::try_from(format!("{name}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax{secure}")).ok()
}

/// The `Set-Cookie` that makes the browser known for a year.
///
/// # Errors
/// A fault when the value cannot stand in a header: it was not made by us.
pub(crate) fn set(value: &str, public_url: &str) -> Result<HeaderValue, Problem> {
    let secure = if is_secure(public_url) { "; Secure" } else { "" };
    let name = name(public_url);
    let line = format!("{name}={value}; Path=/; Max-Age={KNOWN_FOR}; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::try_from(line).map_err(|why| Problem::fault(format!("device cookie: {why}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn with_tls_the_cookie_belongs_to_this_host_alone() {
        let line = set("v", "https://id.example.org").unwrap();
        assert_eq!(line, "__Host-cairn_device=v; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax; Secure");
        let line = set("v", "http://127.0.0.1:8080").unwrap();
        assert_eq!(line, "cairn_device=v; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax");
        assert!(set("v\r\nx: y", "http://127.0.0.1:8080").is_err());
    }
}
