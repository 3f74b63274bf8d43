//! The proof by which a device is known to somebody who has signed in with it before: a browser shows it as a cookie, a
//! program in a header. It signs nobody in.

use std::time::Duration;

use cairn_actors::identity::device::KNOWN_FOR;
use http::HeaderValue;

use super::cookie::{Cookie, Names};
use crate::problem::Problem;
use crate::request::Request;

/// The header in which a program without cookies shows the proof of its device.
pub(crate) const HEADER: &str = "cairn-device";

/// What the client shows as the proof of its device: the cookie, else the header. It proves itself, and all that it does
/// is to have a count of failures of its own.
pub(crate) fn presented(request: &Request) -> Option<&str> {
    let names = request.names();
    let cookie = names.read(Cookie::Device, request).or_else(|| names.read_older(Cookie::Device, request));
    cookie.or_else(|| request.header(HEADER))
}

/// The `Set-Cookie` that makes the browser known for a year.
///
/// # Errors
/// A fault when the value cannot stand in a header: it was not made by us.
pub(crate) fn set(value: &str, names: Names) -> Result<HeaderValue, Problem> {
    let lasts = Duration::from_secs(KNOWN_FOR.unsigned_abs());
    names.set(Cookie::Device, value, Some(lasts)).ok_or_else(|| Problem::fault("a device cookie that is no value"))
}
