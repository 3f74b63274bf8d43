//! The token of a form: it shows that the form was given by us to the browser that sends it.
//!
//! It is a MAC over the browser's name (a cookie that other sites can neither read nor set) and the session that it was
//! signed in to when the form was given: a form that somebody else's sign-in has left in another tab does not act for
//! them. Nothing is stored, so a restart between form and answer changes nothing.

use base64ct::{Base64UrlUnpadded, Encoding};
use cairn_actors::environment::Environment;

use super::browser::Browser;

/// The name of the hidden field.
pub(crate) const FIELD: &str = "form_token";

/// The token for every form that this browser is given now.
pub(crate) fn token(environment: &Environment, browser: &Browser) -> String {
    let session = browser.session.as_deref().unwrap_or_default();
    // No cookie value of either kind has a blank in it.
    let mac = environment.digest("form token", format!("{} {session}", browser.id).as_bytes()).0;
    Base64UrlUnpadded::encode_string(mac.first_chunk::<16>().map_or(&[][..], |half| half.as_slice()))
}

/// Whether what a form brought is this browser's token. A browser that had no name cannot have been given one.
pub(crate) fn holds(environment: &Environment, browser: &Browser, brought: Option<&str>) -> bool {
    let Some(brought) = brought else { return false };
    // Compared as MACs, so that the time it takes tells nothing of the token.
    let mac = |text: &str| environment.digest("form token, compared", text.as_bytes());
    !browser.is_new && mac(brought) == mac(&token(environment, browser))
}
