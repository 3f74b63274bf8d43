//! What a handler gives back: a status, headers and a body, which the front completes with what every answer carries.

use bytes::Bytes;
use cairn_runtime::Timestamp;
use http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, SET_COOKIE,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Serialize;

use crate::problem::Problem;

/// The policy of our pages: nothing but our own files, forms to ourselves, no frames.
pub const PAGE_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; \
     form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);
/// The same, with forms that may lead to one other source besides (CSP 3, section 2.3.1).
pub(crate) fn page_policy_to(source: &str) -> Option<HeaderValue> {
    let policy = PAGE_POLICY.to_str().ok()?.replace("form-action 'self'", &format!("form-action 'self' {source}"));
    HeaderValue::try_from(policy).ok()
}

/// The policy of what is no page: it loads nothing.
pub(crate) const DATA_POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A year (RFC 6797; ASVS 5.0, 3.4.1).
const TRANSPORT: HeaderValue = HeaderValue::from_static("max-age=31536000");
/// A year, for what lies below our host too.
const TRANSPORT_BELOW: HeaderValue = HeaderValue::from_static("max-age=31536000; includeSubDomains");
/// Our pages ask for none of it, and nothing that somebody might smuggle into one shall.
const PERMISSIONS: HeaderValue = HeaderValue::from_static(
    "accelerometer=(), browsing-topics=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), hid=(), \
     magnetometer=(), microphone=(), midi=(), payment=(), serial=(), usb=()",
);
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// What browsers are told of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Nothing: the public URL is without it.
    Any,
    /// To come to this host with TLS only.
    Tls,
    /// To come to this host, and to all below it, with TLS only. Whoever runs this host need not run those.
    TlsBelow,
}

/// An answer before it is completed. Headers set here win over the defaults that [`Reply::completed`] adds.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status line.
    pub status: StatusCode,
    /// Headers beyond the ones that every answer has.
    pub headers: HeaderMap,
    /// The body, whole.
    pub body: Bytes,
}

impl Reply {
    /// An answer without a body.
    #[must_use]
    pub fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new() }
    }

    /// An answer of any type.
    #[must_use]
    pub fn bytes(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Self {
        let mut reply = Self { status, headers: HeaderMap::new(), body: body.into() };
        reply.headers.insert(CONTENT_TYPE, content_type);
        reply
    }

    /// `value` as `application/json`.
    ///
    /// # Errors
    /// A fault when the value has no JSON form (a map whose keys are not text): a defect of ours.
    pub fn json(status: StatusCode, value: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_vec(value).map_err(|error| Problem::fault(format!("reply: {error}")))?;
        Ok(Self::bytes(status, HeaderValue::from_static("application/json"), body))
    }

    /// A page. It is not stored anywhere, since it may show what belongs to one person.
    #[must_use]
    pub fn html(status: StatusCode, page: impl Into<Bytes>) -> Self {
        Self::bytes(status, HTML, page).header(CACHE_CONTROL, HeaderValue::from_static("no-store"))
    }

    /// 303 to a path of ours, after a form was taken.
    ///
    /// # Errors
    /// A fault when the location cannot stand in a header: it was built from text that nobody encoded.
    pub fn see_other(location: &str) -> Result<Self, Problem> {
        let location = HeaderValue::try_from(location).map_err(|error| Problem::fault(format!("location: {error}")))?;
        Ok(Self::empty(StatusCode::SEE_OTHER).header(LOCATION, location))
    }

    /// Sets a header, replacing one of the same name.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Adds a `Set-Cookie`.
    #[must_use]
    pub fn cookie(mut self, cookie: HeaderValue) -> Self {
        self.headers.append(SET_COOKIE, cookie);
        self
    }

    /// A page gets the policy of its group. What is no page loads nothing at all.
    #[must_use]
    pub(crate) fn with_page_policy(mut self, policy: &HeaderValue) -> Self {
        if self.is_html() {
            self.headers.entry(CONTENT_SECURITY_POLICY).or_insert_with(|| policy.clone());
        }
        self
    }

    pub(crate) fn is_html(&self) -> bool {
        self.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
    }

    /// Adds what every answer carries: the request's id, the length of the body (to a HEAD as to a GET), and the
    /// headers that keep browsers from guessing, framing, telling others and, where the public URL says `https`, from
    /// coming without TLS.
    #[must_use]
    pub(crate) fn completed(mut self, method: &Method, request_id: &str, no_store: bool, transport: Transport) -> Self {
        let headers = &mut self.headers;
        if let Ok(id) = HeaderValue::try_from(request_id) {
            headers.insert(REQUEST_ID, id);
        }
        if no_store {
            headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        }
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers.entry(REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
        headers.entry(CONTENT_SECURITY_POLICY).or_insert(DATA_POLICY);
        headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
        headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
        headers.insert(PERMISSIONS_POLICY, PERMISSIONS);
        let transport = match transport {
            Transport::Any => None,
            Transport::Tls => Some(TRANSPORT),
            Transport::TlsBelow => Some(TRANSPORT_BELOW),
        };
        if let Some(transport) = transport {
            headers.insert(STRICT_TRANSPORT_SECURITY, transport);
        }
        // RFC 9110, section 8.6: no length with 204 and 304.
        if self.status != StatusCode::NO_CONTENT && self.status != StatusCode::NOT_MODIFIED {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        } else {
            self.body = Bytes::new();
        }
        if method == Method::HEAD {
            self.body = Bytes::new();
        }
        self
    }

    pub(crate) fn into_response(self) -> warp::reply::Response {
        let mut response = http::Response::new(self.body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        warp::Reply::into_response(response)
    }
}

/// An instant as RFC 3339 in UTC, to the millisecond; empty beyond the year 9999, which no clock of ours shows.
pub(crate) fn instant(at: Timestamp) -> String {
    cairn_actors::instant::text(at).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_told_the_length_of_what_a_get_would_carry() {
        let page = Reply::html(StatusCode::OK, "<p>hello").completed(&Method::HEAD, "r", false, Transport::Any);
        assert_eq!(page.headers.get(CONTENT_LENGTH), Some(&HeaderValue::from_static("8")));
        assert!(page.body.is_empty());
    }

    #[test]
    fn a_page_may_load_nothing_of_others_and_data_nothing_at_all() {
        let page = Reply::html(StatusCode::OK, "").with_page_policy(&PAGE_POLICY);
        let page = page.completed(&Method::GET, "r", false, Transport::Any);
        let policy = page.headers.get(CONTENT_SECURITY_POLICY).and_then(|value| value.to_str().ok()).unwrap_or("");
        assert!(policy.starts_with("default-src 'none';"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        let data = Reply::empty(StatusCode::NO_CONTENT).with_page_policy(&PAGE_POLICY);
        let data = data.completed(&Method::GET, "r", true, Transport::Tls);
        assert_eq!(data.headers.get(CONTENT_SECURITY_POLICY), Some(&DATA_POLICY));
        assert_eq!(data.headers.get(CACHE_CONTROL), Some(&HeaderValue::from_static("no-store")));
        assert_eq!(data.headers.get(CONTENT_LENGTH), None);
    }

    #[test]
    fn every_answer_tells_browsers_to_keep_others_out_and_over_tls_to_stay_there() {
        for (transport, says_of_it) in [
            (Transport::Any, ""),
            (Transport::Tls, "max-age=31536000"),
            (Transport::TlsBelow, "max-age=31536000; includeSubDomains"),
        ] {
            for reply in [Reply::html(StatusCode::OK, ""), Reply::empty(StatusCode::NO_CONTENT)] {
                let told = reply.completed(&Method::GET, "r", false, transport).headers;
                let says = |name: &str| told.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
                assert_eq!(says("cross-origin-opener-policy"), "same-origin");
                assert_eq!(says("cross-origin-resource-policy"), "same-origin");
                assert!(says("permissions-policy").contains("camera=()"));
                assert!(says("content-security-policy").contains("frame-ancestors 'none'"));
                assert_eq!(says("strict-transport-security"), says_of_it);
            }
        }
    }

    #[test]
    fn a_line_break_cannot_be_smuggled_into_a_location() {
        assert!(Reply::see_other("/a\r\nset-cookie: b=c").is_err());
    }
}
