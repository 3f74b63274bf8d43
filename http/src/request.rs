//! One request as a handler sees it: its head, who sent it, its id, and its body counted and whole.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE};
use http::{Extensions, HeaderMap, Method};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::access::client_address::is_local;
use crate::access::cookie::Names;
use crate::limits::Limits;
use crate::load::Held;
use crate::problem::Problem;
use crate::{decode, json};

/// A body as it comes in.
pub(crate) type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, warp::Error>> + Send>>;

/// The address of the socket's other end, put beside each request by the accept loop.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// The head of a request as it came.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) peer: SocketAddr,
    /// Through trusted proxies.
    pub(crate) client: IpAddr,
}

impl Head {
    /// Refuses what is over our bounds, which lie below those of the HTTP library.
    pub(crate) fn check(&self, limits: &Limits) -> Result<(), Problem> {
        let query = if self.query.is_empty() { 0 } else { self.query.len() + 1 };
        if self.path.len() + query > limits.target {
            return Err(Problem::target_too_long());
        }
        // Name, colon, space, value and line end.
        let octets: usize = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if self.headers.len() > limits.header_count || octets > limits.header_bytes {
            return Err(Problem::headers_too_large(self.largest_cookies(octets)));
        }
        Ok(())
    }

    /// The names of the cookies that make up more than half of so many octets of headers, the largest first, with what each
    /// takes. None where it is something else.
    fn largest_cookies(&self, octets: usize) -> Vec<(String, usize)> {
        /// So many are named, each by so many characters at most.
        const NAMED: (usize, usize) = (8, 64);
        let mut named: BTreeMap<&[u8], usize> = BTreeMap::new();
        for (name, value) in cookies(&self.headers) {
            *named.entry(name).or_default() += name.len() + value.len() + 3;
        }
        if named.values().sum::<usize>() * 2 < octets {
            return Vec::new();
        }
        let mut named: Vec<_> = named.into_iter().collect();
        named.sort_by_key(|(_, octets)| std::cmp::Reverse(*octets));
        let shown = |name: &[u8]| String::from_utf8_lossy(name).chars().take(NAMED.1).collect::<String>();
        named.into_iter().take(NAMED.0).map(|(name, octets)| (shown(name), octets)).collect()
    }

    /// The inbound `X-Request-Id` when it is one, alone, and of 1 to 128 of `A-Za-z0-9._-`.
    pub(crate) fn given_id(&self) -> Option<String> {
        let mut given = self.headers.get_all("x-request-id").iter();
        let (Some(id), None) = (given.next(), given.next()) else { return None };
        let octets = id.as_bytes();
        let fits = (1..=128).contains(&octets.len())
            && octets.iter().all(|octet| octet.is_ascii_alphanumeric() || b"._-".contains(octet));
        if fits { id.to_str().ok().map(str::to_owned) } else { None }
    }
}

/// One request. The body is empty until it is metered and admitted.
#[derive(Debug)]
pub struct Request {
    pub(crate) head: Arc<Head>,
    /// With escapes of unreserved characters undone.
    pub(crate) path: String,
    pub(crate) id: String,
    pub(crate) route: &'static str,
    pub(crate) params: Vec<(String, String)>,
    pub(crate) body: Bytes,
    pub(crate) nesting: usize,
    pub(crate) extensions: Extensions,
    pub(crate) names: Names,
}

impl Request {
    /// The method as the client wrote it; HEAD where a GET handler runs for a HEAD.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.head.method
    }

    /// The path, with escapes of unreserved characters undone and all others as they came.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The pattern of the table that matched: what logs and metrics may show instead of the path.
    #[must_use]
    pub fn route(&self) -> &'static str {
        self.route
    }

    /// The headers as they came.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// One header as text; `None` when it is absent or not visible ASCII.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The request's id, to be named in logs.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The other end of the socket, which may be a proxy.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.head.peer
    }

    /// The client's address, through trusted proxies.
    #[must_use]
    pub fn client(&self) -> IpAddr {
        self.head.client
    }

    /// Whether the peer itself sits on this machine and nobody forwards for it.
    #[must_use]
    pub fn is_local(&self) -> bool {
        is_local(self.head.peer, &self.head.headers)
    }

    /// A parameter of the path by its name in the pattern, decoded. Empty when the pattern has no such name.
    #[must_use]
    pub fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The query string without its question mark, as it came.
    #[must_use]
    pub fn raw_query(&self) -> &str {
        &self.head.query
    }

    /// All query parameters, decoded, in their order.
    #[must_use]
    pub(crate) fn query_pairs(&self) -> Vec<(String, String)> {
        decode::query(&self.head.query)
    }

    /// The first query parameter of this name, decoded; what was broken in it is U+FFFD.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<String> {
        decode::query(&self.head.query).into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// The token of `Authorization: Bearer …` (RFC 6750, section 2.1), never from anywhere else.
    ///
    /// `None`: no bearer token at all. An empty text: something that can be no token, such as two headers.
    #[must_use]
    pub fn bearer(&self) -> Option<&str> {
        let mut given = self.head.headers.get_all(AUTHORIZATION).iter();
        let first = given.next()?;
        if given.next().is_some() {
            return Some("");
        }
        let (scheme, token) = match first.as_bytes().iter().position(|octet| *octet == b' ') {
            Some(space) => first.as_bytes().split_at(space),
            None => (first.as_bytes(), &b""[..]),
        };
        if !scheme.eq_ignore_ascii_case(b"bearer") {
            return None;
        }
        Some(std::str::from_utf8(token).map_or("", str::trim))
    }

    /// What is said by a header that others fill in, with U+FFFD for the bytes that are no UTF-8. `None` when it is absent.
    #[must_use]
    pub fn words_of(&self, name: &str) -> Option<Cow<'_, str>> {
        self.head.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()))
    }

    /// The value of a cookie (RFC 6265, section 5.4): the first of this name that is text. What bytes another site's
    /// cookie on the same line has does not matter.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        cookies(&self.head.headers).find_map(|(known, value)| {
            let ours = known == name.as_bytes() && value.is_ascii();
            std::str::from_utf8(value).ok().filter(|_| ours)
        })
    }

    /// What the cookies of this instance are called.
    pub(crate) fn names(&self) -> Names {
        self.names
    }

    /// Whether the client asks for a page rather than for data.
    #[must_use]
    pub fn wants_html(&self) -> bool {
        wants_html(&self.head.headers)
    }

    /// The body as it came.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// What the admission leaves for handlers.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// What the admission leaves for handlers, to be written.
    pub fn extensions_mut(&mut self) -> &mut Extensions {
        &mut self.extensions
    }

    /// The body as JSON.
    ///
    /// The type should say `#[serde(deny_unknown_fields)]`; doubled members and arrays in the place of objects are
    /// refused whatever it says.
    ///
    /// # Errors
    /// 400 when it is missing or not what the type says. Its media type was checked by the table's line.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        json::read(&self.body, self.nesting)
    }

    /// Sees to it that a body that has nothing to say says nothing: it is missing, or an object without members.
    ///
    /// # Errors
    /// As [`Request::json`].
    pub fn no_members(&self) -> Result<(), Problem> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct NoMembers {}
        if self.body.is_empty() { Ok(()) } else { self.json::<NoMembers>().map(|_| ()) }
    }

    /// The body as a form of a page. A missing body is an empty form.
    ///
    /// # Errors
    /// 400 when it is badly encoded. Its media type was checked by the table's line.
    pub fn form(&self) -> Result<Form, Problem> {
        let pairs =
            decode::form(&self.body).ok_or_else(|| Problem::unreadable("Send the form percent-encoded in UTF-8."))?;
        Ok(Form { pairs })
    }

    /// Refuses a body of another type than a route takes, if it takes one. Neither a body nor a type is no offence: what is missing is said
    /// by who reads.
    pub(crate) fn check_media_type(&self, wanted: Option<&str>) -> Result<(), Problem> {
        let Some(wanted) = wanted else { return Ok(()) };
        let refused = || Problem::media_type(format!("Send the body as {wanted} in UTF-8."));
        let plain = |encoding: &http::HeaderValue| encoding.as_bytes().eq_ignore_ascii_case(b"identity");
        if self.head.headers.get_all(CONTENT_ENCODING).iter().any(|encoding| !plain(encoding)) {
            return Err(refused().detail("Send the body without compressing it."));
        }
        let mut given = self.head.headers.get_all(CONTENT_TYPE).iter();
        match (given.next(), given.next()) {
            (None, _) if self.body.is_empty() => Ok(()),
            (Some(kind), None) if is_media_type(&String::from_utf8_lossy(kind.as_bytes()), wanted) => Ok(()),
            _ => Err(refused()),
        }
    }
}

#[cfg(test)]
impl Request {
    /// A request of no listener.
    pub(crate) fn of_test(headers: HeaderMap, query: &str, body: &'static [u8]) -> Self {
        let peer = SocketAddr::from(([127, 0, 0, 1], 1));
        let (path, query) = ("/".to_owned(), query.to_owned());
        let head = Head { method: Method::POST, path: path.clone(), query, headers, peer, client: peer.ip() };
        Self {
            head: Arc::new(head),
            path,
            id: "r".to_owned(),
            route: "/",
            params: Vec::new(),
            body: Bytes::from_static(body),
            nesting: 64,
            extensions: Extensions::new(),
            names: Names::of("http://127.0.0.1:8080"),
        }
    }
}

/// Whether `given` is `wanted` with a charset of UTF-8 or none.
fn is_media_type(given: &str, wanted: &str) -> bool {
    let mut parts = given.split(';');
    let essence = parts.next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case(wanted)
        && parts.map(str::trim).filter(|part| !part.is_empty()).all(|part| match part.split_once('=') {
            Some((name, value)) => !name.eq_ignore_ascii_case("charset") || is_utf8(value),
            None => false,
        })
}

fn is_utf8(charset: &str) -> bool {
    let bare = charset.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(charset);
    bare.eq_ignore_ascii_case("utf-8")
}

pub(crate) fn wants_html(headers: &HeaderMap) -> bool {
    let html = accepts(headers, "text/html").unwrap_or_default();
    let json = ["application/json", "application/*", "*/*"].iter().find_map(|range| accepts(headers, range));
    html > 0.0 && html >= json.unwrap_or_default()
}

/// How welcome what fits this very range is, if `Accept` names it (RFC 9110, section 12.5.1).
fn accepts(headers: &HeaderMap, range: &str) -> Option<f32> {
    let lines = headers.get_all(http::header::ACCEPT).iter().map(http::HeaderValue::as_bytes);
    let weights = lines.flat_map(|line| line.split(|octet| *octet == b',')).filter_map(|named| {
        let named = String::from_utf8_lossy(named);
        let mut parts = named.split(';').map(str::trim);
        let weight = |part: &str| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="))?.parse().ok();
        parts.next()?.eq_ignore_ascii_case(range).then(|| parts.find_map(weight).unwrap_or(1.0))
    });
    weights.reduce(f32::max)
}

/// The cookies of a request, as bytes: name and value.
pub(crate) fn cookies(headers: &HeaderMap) -> impl Iterator<Item = (&[u8], &[u8])> {
    let lines = headers.get_all(COOKIE).iter().map(http::HeaderValue::as_bytes);
    lines.flat_map(|line| line.split(|octet| *octet == b';')).filter_map(|pair| {
        let pair = pair.trim_ascii();
        let equals = pair.iter().position(|octet| *octet == b'=')?;
        let (name, value) = pair.split_at(equals);
        Some((name, value.get(1..)?))
    })
}

/// A form that a page sent.
#[derive(Debug)]
pub struct Form {
    pairs: Vec<(String, String)>,
}

impl Form {
    /// Its fields in their order.
    pub(crate) fn into_pairs(self) -> Vec<(String, String)> {
        self.pairs
    }

    /// The first field of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Every field of this name, in order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The form in two: the fields whose names fit, and all others.
    #[must_use]
    pub fn parted(self, fits: impl Fn(&str) -> bool) -> (Self, Self) {
        let (fitting, others) = self.pairs.into_iter().partition(|(name, _)| fits(name));
        (Self { pairs: fitting }, Self { pairs: others })
    }

    /// A name that stands more than once, which OAuth forbids (RFC 6749, section 3.2).
    #[must_use]
    pub fn doubled(&self) -> Option<&str> {
        let mut seen = std::collections::HashSet::new();
        self.pairs.iter().find(|(name, _)| !seen.insert(name)).map(|(name, _)| name.as_str())
    }
}

/// Reads a body whole, counting what comes whatever the head declared. `held` grows with it.
///
/// # Errors
/// 413 as soon as it is known to be over `limits.body`; 408 after `limits.body_time`, or `limits.body_pause` without an
/// octet; 400 when it breaks off; 503 when too much of other bodies is held.
pub(crate) async fn collect(
    headers: &HeaderMap,
    mut body: BodyStream,
    limits: &Limits,
    held: &mut Held,
) -> Result<Bytes, Problem> {
    if declared(headers).is_some_and(|length| length > limits.body as u64) {
        return Err(Problem::body_too_large());
    }
    let mut whole = BytesMut::new();
    let began = Instant::now();
    let mut progress = began;
    loop {
        let deadline = (began + limits.body_time).min(progress + limits.body_pause);
        let chunk = tokio::time::timeout_at(deadline, body.next()).await.map_err(|_| Problem::timeout())?;
        let Some(chunk) = chunk else { return Ok(whole.freeze()) };
        let chunk =
            chunk.map_err(|_| Problem::unreadable("Send the request again with its whole body: it broke off."))?;
        if whole.len() + chunk.len() > limits.body {
            return Err(Problem::body_too_large());
        }
        if !held.grow(chunk.len()) {
            return Err(crowded());
        }
        if !chunk.is_empty() {
            progress = Instant::now();
        }
        whole.extend_from_slice(&chunk);
    }
}

/// The refusal of a request for which there is no room among those in flight.
pub(crate) fn crowded() -> Problem {
    Problem::unavailable(Duration::from_secs(1))
        .detail("Too many requests are being served at once. Send the same request again in a moment.")
}

/// Reads a small body of a refused request and throws it away, so that the connection can serve the next one.
pub(crate) async fn discard(headers: &HeaderMap, mut body: BodyStream, limits: &Limits) {
    // Who waits for a 100 has not sent it yet, and should not.
    if headers.contains_key(http::header::EXPECT) || declared(headers).is_some_and(|length| length > limits.body as u64)
    {
        return;
    }
    let reading = async {
        let mut count = 0;
        while let Some(Ok(chunk)) = body.next().await {
            count += chunk.len();
            if count > limits.body {
                return;
            }
        }
    };
    let patience = limits.linger_time.min(Duration::from_secs(1));
    let _ = tokio::time::timeout(patience, reading).await;
}

fn declared(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()).and_then(|length| length.parse().ok())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const JSON: Option<&str> = Some("application/json");

    fn request(headers: &[(&'static str, &'static str)], body: &'static [u8]) -> Request {
        let pairs = headers.iter().map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap_or(HeaderValue::from(0)))
        });
        let mut map = HeaderMap::new();
        pairs.for_each(|(name, value)| {
            map.append(name, value);
        });
        Request::of_test(map, "a=1&b=%41&a=2", body)
    }

    fn status_of_json(kind: &[&'static str], body: &'static [u8]) -> u16 {
        let headers: Vec<_> = kind.iter().map(|kind| ("content-type", *kind)).collect();
        let request = request(&headers, body);
        let read = request.check_media_type(JSON).and_then(|()| request.json::<serde_json::Value>());
        read.map_or_else(|problem| problem.status().as_u16(), |_| 200)
    }

    #[test]
    fn json_is_taken_in_utf8_only() {
        for kind in [
            "application/json",
            "Application/JSON",
            "application/json; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
        ] {
            assert_eq!(status_of_json(&[kind], b"{}"), 200, "{kind}");
        }
        for kind in [
            "application/json; charset=latin1",
            "application/json; charset",
            "application/json, text/plain",
            "application/problem+json",
            "application/jsonp",
            "text/plain",
            "text/json",
            "",
            "application/jsön",
        ] {
            assert_eq!(status_of_json(&[kind], b"{}"), 415, "{kind}");
        }
        assert_eq!(status_of_json(&["application/json", "application/json"], b"{}"), 415);
        assert_eq!(status_of_json(&[], b"{}"), 415);
        assert_eq!(status_of_json(&[], b""), 400);
        assert_eq!(status_of_json(&["application/json"], b""), 400);
        let compressed = request(&[("content-type", "application/json"), ("content-encoding", "gzip")], b"{}");
        assert!(compressed.check_media_type(JSON).is_err_and(|problem| problem.status() == 415));
    }

    #[test]
    fn a_bearer_token_is_read_from_its_header_only() {
        let bearer = |values: &[&'static str]| {
            let headers: Vec<_> = values.iter().map(|value| ("authorization", *value)).collect();
            request(&headers, b"").bearer().map(str::to_owned)
        };
        assert_eq!(bearer(&[]), None);
        assert_eq!(bearer(&["Basic YTpi"]), None);
        assert_eq!(bearer(&["Bearers abc"]), None);
        assert_eq!(bearer(&["bearer  abc"]).as_deref(), Some("abc"));
        assert_eq!(bearer(&["Bearer"]).as_deref(), Some(""));
        assert_eq!(bearer(&["Bearer abc", "Bearer abd"]).as_deref(), Some(""));
    }

    #[test]
    fn cookies_and_query_parameters_are_found_by_name() {
        let found = request(&[("cookie", "a=1; bb=2=3"), ("cookie", "c=4; a=5")], b"");
        assert_eq!(found.cookie("a"), Some("1"));
        assert_eq!(found.cookie("bb"), Some("2=3"));
        assert_eq!(found.cookie("c"), Some("4"));
        assert_eq!(found.cookie("b"), None);
        assert_eq!(found.query("a").as_deref(), Some("1"));
        assert_eq!(found.query("b").as_deref(), Some("A"));
        assert_eq!(found.query("c"), None);
    }

    #[test]
    fn what_others_fill_in_hides_nothing_of_ours() {
        let found = request(&[("cookie", "city=Zürich; a=1; ü=2"), ("accept", "text/html, x/ü;q=0.1")], b"");
        let latin = |text: &[u8]| HeaderValue::from_bytes(text).unwrap_or(HeaderValue::from(0));
        let mut headers = found.headers().clone();
        headers.append("cookie", latin(b"\xfc=\xe4; b=3; c=M\xf6we"));
        headers.insert("user-agent", latin(b"M\xf6we/1"));
        headers.insert("content-type", latin(b"application/json; name=M\xf6we"));
        let found = Request::of_test(headers, "", b"");
        assert_eq!([found.cookie("a"), found.cookie("b"), found.cookie("c")], [Some("1"), Some("3"), None]);
        assert_eq!(found.words_of("user-agent").as_deref(), Some("M\u{fffd}we/1"));
        assert!(found.wants_html());
        assert!(found.check_media_type(JSON).is_ok());
    }

    #[test]
    fn cookies_are_named_where_they_are_what_is_too_much() {
        let head = |headers: &[(&'static str, &'static str)]| {
            let headers = request(headers, b"").headers().clone();
            let Request { head, .. } = Request::of_test(headers, "", b"");
            head
        };
        let limits = Limits { header_bytes: 60, ..Limits::default() };
        let refused =
            head(&[("cookie", "a=1; b=22222222222222222222222222; a=333"), ("cookie", "=x;c")]).check(&limits);
        let named = refused.err().map(|problem| problem.cookies().to_vec()).unwrap_or_default();
        assert_eq!(named, [("b".to_owned(), 30), ("a".to_owned(), 12), (String::new(), 4)]);
        let refused = head(&[("cookie", "a=1"), ("x", &"y".repeat(60).leak()[..])]).check(&limits);
        assert!(refused.is_err_and(|problem| problem.cookies().is_empty()), "the cookies are not to blame");
    }

    #[test]
    fn a_form_has_its_own_type_and_tells_doubled_names() {
        let form = request(&[("content-type", "application/x-www-form-urlencoded")], b"code=123+456&x=1&x=2").form();
        let form = form.unwrap_or(Form { pairs: Vec::new() });
        assert_eq!(form.get("code"), Some("123 456"));
        assert_eq!(form.all("x").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(form.doubled(), Some("x"));
        let json = request(&[("content-type", "application/json")], b"{}");
        assert!(
            json.check_media_type(Some("application/x-www-form-urlencoded"))
                .is_err_and(|problem| problem.status() == 415)
        );
    }

    #[test]
    fn a_page_is_wanted_only_by_who_names_it() {
        let wants = |accept: &'static str| request(&[("accept", accept)], b"").wants_html();
        assert!(wants("text/html,application/xhtml+xml,*/*;q=0.8"));
        assert!(!wants("*/*"));
        assert!(!wants("application/json, text/html;q=0"));
        assert!(!wants("text/html; Q=0"));
    }

    #[test]
    fn a_page_is_not_for_who_would_rather_have_json() {
        let wants = |accept: &'static str| request(&[("accept", accept)], b"").wants_html();
        assert!(!wants("text/html;q=0.5, application/json"));
        assert!(!wants("text/html;q=0.5, */*"));
        assert!(!wants("application/json;q=0.9, text/html;q=0.8, */*;q=0.1"));
        assert!(wants("text/html, application/json"));
        assert!(wants("application/json;q=0.5, text/html;q=0.8"));
        assert!(wants("text/html;q=0.5, application/json;q=0.4, */*"), "what is named counts before what is not");
        assert!(wants("text/html;q=0.5, application/json;q=0"));
    }
}
