//! Access: what must hold before a handler runs.

use std::sync::{Arc, Mutex, PoisonError};

use cairn_actors::services::session::SignedIn;
use cairn_runtime::Timestamp;
use futures_util::future::BoxFuture;
use http::HeaderMap;

use crate::problem::Problem;
use crate::request::Request;

pub(crate) mod browser;
pub(crate) mod caller;
pub mod client_address;
pub(crate) mod cookie;
pub(crate) mod csrf;
pub(crate) mod device;
mod forwarded;
pub mod host;
pub mod rate;

/// What a route asks of its caller.
///
/// Where a request comes from is judged by the front itself, access tokens by the group's [`Admission`], and the session of
/// a browser by the pages, which lead everybody else to sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Anybody.
    Open,
    /// A form of our own pages: a browser must not say that another site sends it.
    OwnForm,
    /// The peer itself on loopback, without a forwarding header, by an address or as `localhost`, and not sent by a page of
    /// another site; for everybody else the path does not exist.
    Loopback,
    /// A registered client, which authenticates as its registration says (RFC 6749 section 2.3). The handler asks: what a
    /// client shows may stand in the body.
    Client,
    /// An access token of anybody's: a person's own, or one that a client was granted. The handler asks, for the token may
    /// stand in the body.
    Token,
    /// A live session, shown by an access token in `Authorization`.
    Bearer,
    /// As `Bearer`, and its sign-in is fresh enough for a sensitive act.
    FreshBearer,
    /// As `Bearer`, or the repeat of a request that has ended its session: the same token under the same
    /// `Idempotency-Key`.
    BearerOrRepeat,
    /// A page of somebody who is signed in, by the session's cookie; everybody else is led to sign in, and back.
    Session,
    /// As `OwnForm`, from somebody who is signed in.
    SessionForm,
    /// As `SessionForm`, or sent twice where the first has ended the session: the handler knows.
    SessionFormOrRepeat,
}

impl Access {
    /// Whether scripts of other origins may come through, when their origin is listed.
    pub(crate) const fn is_for_other_origins(self) -> bool {
        match self {
            Self::Open | Self::Client | Self::Token | Self::Bearer | Self::FreshBearer | Self::BearerOrRepeat => true,
            Self::OwnForm | Self::Loopback | Self::Session | Self::SessionForm | Self::SessionFormOrRepeat => false,
        }
    }

    /// Whether it is a form of our own pages.
    pub(crate) const fn is_own_form(self) -> bool {
        match self {
            Self::OwnForm | Self::SessionForm | Self::SessionFormOrRepeat => true,
            Self::Open
            | Self::Client
            | Self::Token
            | Self::Loopback
            | Self::Bearer
            | Self::FreshBearer
            | Self::BearerOrRepeat
            | Self::Session => false,
        }
    }
}

/// What a limited route answers with, whether or not it lets the request through.
#[derive(Debug)]
pub struct Metered {
    /// `RateLimit-Policy` and `RateLimit`, put on every answer of the route.
    pub headers: HeaderMap,
    /// The refusal when the bucket is empty.
    pub verdict: Result<(), Problem>,
}

impl Default for Metered {
    fn default() -> Self {
        Self { headers: HeaderMap::new(), verdict: Ok(()) }
    }
}

/// Left by the front for a page's handler whose client's bucket is empty: it shows its form again with what was typed, and
/// does nothing else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limited {
    /// Until there is room again.
    pub(crate) seconds: u64,
}

/// Headers that the answer to one request will carry, however it ends. Every request has one among its extensions, so
/// that a handler which finds out more than the meter could know may tell it on its refusals too.
#[derive(Clone, Debug, Default)]
pub struct AnswerHeaders(Arc<Mutex<HeaderMap>>);

impl AnswerHeaders {
    /// Adds headers to those that are there.
    pub fn add(&self, headers: HeaderMap) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(headers);
    }

    pub(crate) fn take(&self) -> HeaderMap {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Who was admitted by an access token. It is the handler's from now on.
///
/// # Errors
/// 401 where the route asks for no token.
pub(crate) fn admitted(request: &mut Request) -> Result<SignedIn, Problem> {
    request.extensions_mut().remove::<SignedIn>().ok_or_else(Problem::no_token)
}

/// What the handlers of a group share: it admits and meters their requests.
///
/// Both are asked before the body is read: first the meter, then access.
pub trait Admission: Send + Sync + 'static {
    /// Checks the access token of a route that asks for one. Who it is goes into [`Request::extensions_mut`], where the
    /// handler takes it from.
    fn admit<'a>(&'a self, access: Access, request: &'a mut Request) -> BoxFuture<'a, Result<(), Problem>>;

    /// The present instant, from which refusals count the time to wait.
    fn now(&self) -> Timestamp;

    /// Takes one from the bucket for this client.
    fn meter(&self, bucket: &'static str, request: &Request) -> Metered {
        let _ = (bucket, request);
        Metered::default()
    }
}

/// Whether a browser says that a page of another site sends this (Fetch metadata, else the `Origin`).
///
/// `Origin: null` alone proves nothing, because our own pages send it under `no-referrer` where the connection is
/// neither TLS nor loopback; a form's own token is checked after this.
pub(crate) fn sent_by_another_site(headers: &HeaderMap, own_origin: &str) -> bool {
    match headers.get("sec-fetch-site").map(http::HeaderValue::as_bytes) {
        Some(site) => !matches!(site, b"same-origin" | b"none"),
        None => headers
            .get(http::header::ORIGIN)
            .is_some_and(|origin| origin != "null" && !origin.as_bytes().eq_ignore_ascii_case(own_origin.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn refused(headers: &[(&'static str, &'static str)]) -> bool {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        sent_by_another_site(&headers, "https://id.example")
    }

    #[test]
    fn another_sites_form_is_known_by_what_the_browser_says() {
        assert!(refused(&[("sec-fetch-site", "cross-site")]));
        assert!(refused(&[("sec-fetch-site", "same-site"), ("origin", "https://id.example")]));
        assert!(refused(&[("origin", "https://evil.example")]));
        assert!(!refused(&[("sec-fetch-site", "same-origin"), ("origin", "null")]));
        assert!(!refused(&[("origin", "https://id.example")]));
        assert!(!refused(&[]));
    }
}
