//! What a client is told when something is refused (RFC 9457).

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use cairn_runtime::Timestamp;
use http::header::{ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

use crate::reply::Reply;
use crate::schema;

mod kind;

pub use self::kind::Kind;

/// One value that was readable but is not acceptable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Unacceptable {
    /// JSON pointer (RFC 6901) of the member.
    pub pointer: String,
    /// A word that programs may rely on.
    pub code: Cow<'static, str>,
    /// A sentence for people that says what to do.
    pub detail: Cow<'static, str>,
}

impl Unacceptable {
    /// One entry of `errors`.
    pub fn new(
        pointer: impl Into<String>,
        code: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { pointer: pointer.into(), code: code.into(), detail: detail.into() }
    }
}

/// How long a client is to wait before it tries again.
#[derive(Clone, Copy, Debug)]
enum Wait {
    /// Whole seconds.
    For(u64),
    /// Not before this instant: what that is in seconds depends on when it is told.
    Until(Timestamp),
}

#[derive(Clone, Debug, Default)]
struct Members {
    detail: Option<Cow<'static, str>>,
    pointer: Option<String>,
    place: Option<(usize, usize)>,
    errors: Vec<Unacceptable>,
    tries_left: Option<u32>,
    wait: Option<Wait>,
    cookies: Vec<(String, usize)>,
    challenge: Option<HeaderValue>,
    allow: Option<HeaderValue>,
    log: Option<String>,
}

/// A refusal: what the outside is told, and apart from it what only the log keeps.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: Kind,
    members: Box<Members>,
}

impl Problem {
    fn of(kind: Kind) -> Self {
        Self { kind, members: Box::default() }
    }

    /// 400: the request cannot be read.
    #[must_use]
    pub fn unreadable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::of(Kind::Unreadable).detail(detail)
    }

    /// 400: one member of the body is of the wrong type, unknown, doubled or missing.
    #[must_use]
    pub fn unreadable_at(pointer: impl Into<String>, detail: impl Into<Cow<'static, str>>) -> Self {
        let mut problem = Self::unreadable(detail);
        problem.members.pointer = Some(pointer.into());
        problem
    }

    /// 400: the body is not JSON; `line` and `column` say where reading stopped, both counted from 1.
    #[must_use]
    pub fn not_json(line: usize, column: usize, detail: impl Into<Cow<'static, str>>) -> Self {
        let mut problem = Self::unreadable(detail);
        problem.members.place = Some((line, column));
        problem
    }

    /// 401: a sign-in is refused, or there is no token at all. Challenges with a bare `Bearer` (RFC 6750, section 3.1).
    #[must_use]
    pub fn credentials() -> Self {
        Self::of(Kind::Credentials).challenge(HeaderValue::from_static("Bearer"))
    }

    /// 401: a refresh or access token that is not, or no longer, good, whatever the reason.
    #[must_use]
    pub fn session_ended() -> Self {
        Self::of(Kind::SessionEnded).challenge(HeaderValue::from_static("Bearer error=\"invalid_token\""))
    }

    /// 401: the sign-in is older than `max_age` (RFC 9470, section 3).
    #[must_use]
    pub fn step_up(max_age: Duration) -> Self {
        let text = format!("Bearer error=\"insufficient_user_authentication\", max_age={}", max_age.as_secs());
        let challenge = HeaderValue::try_from(text);
        Self::of(Kind::StepUp).challenge(challenge.unwrap_or(HeaderValue::from_static("Bearer")))
    }

    /// 401: there is no access token at all.
    #[must_use]
    pub fn no_token() -> Self {
        Self::credentials().detail("Send an access token in the header `Authorization: Bearer`; signing in gives one.")
    }

    /// 403: the role is missing.
    #[must_use]
    pub fn forbidden() -> Self {
        Self::of(Kind::Forbidden)
    }

    /// 403: a page of another site sends this.
    #[must_use]
    pub fn another_site() -> Self {
        Self::forbidden().detail("A page of another site sent this. Send it from a page of this site.")
    }

    /// 404: no such path, flow or session, a stranger's too.
    #[must_use]
    pub fn not_found() -> Self {
        Self::of(Kind::NotFound)
    }

    /// 405: the path knows other methods, which `allow` lists.
    #[must_use]
    pub fn method(allow: HeaderValue) -> Self {
        let mut problem = Self::of(Kind::Method);
        problem.members.allow = Some(allow);
        problem
    }

    /// 408: the body did not come in time.
    #[must_use]
    pub fn timeout() -> Self {
        Self::of(Kind::Timeout)
    }

    /// 409: the user name belongs to somebody.
    #[must_use]
    pub fn username_taken() -> Self {
        Self::of(Kind::UsernameTaken)
    }

    /// 409: the address belongs to somebody; only for who proved it.
    #[must_use]
    pub fn address_taken() -> Self {
        Self::of(Kind::AddressTaken)
    }

    /// 410: a link or code that no longer counts.
    #[must_use]
    pub fn flow_ended() -> Self {
        Self::of(Kind::FlowEnded)
    }

    /// 412: `If-Match` names another version.
    #[must_use]
    pub fn changed() -> Self {
        Self::of(Kind::Changed)
    }

    /// 413: the body is over its bound.
    #[must_use]
    pub fn body_too_large() -> Self {
        Self::of(Kind::BodyTooLarge)
    }

    /// 414: the target is over its bound.
    #[must_use]
    pub fn target_too_long() -> Self {
        Self::of(Kind::TargetTooLong)
    }

    /// 415: the body is of another type than the path takes.
    #[must_use]
    pub fn media_type(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::of(Kind::MediaType).detail(detail)
    }

    /// 421: a `Host` that this listener does not answer to.
    #[must_use]
    pub fn misdirected() -> Self {
        Self::of(Kind::Misdirected)
    }

    /// 422: readable but not acceptable, with everything that is wrong at once.
    #[must_use]
    pub fn value(errors: Vec<Unacceptable>) -> Self {
        let mut problem = Self::of(Kind::Value);
        problem.members.errors = errors;
        problem
    }

    /// 422: a wrong code; so many tries are left in its flow.
    #[must_use]
    pub fn wrong_code(pointer: impl Into<String>, tries_left: u32) -> Self {
        let wrong = Unacceptable::new(pointer, "wrong_code", "Enter the six digits that stand in the letter.");
        let mut problem = Self::value(vec![wrong]);
        problem.members.tries_left = Some(tries_left);
        problem.detail("Look at the letter once more and enter its code; `tries_left` says how often it may be wrong.")
    }

    /// 422: the same idempotency key with another body.
    #[must_use]
    pub fn idempotency_mismatch() -> Self {
        Self::of(Kind::IdempotencyMismatch)
    }

    /// 428: `If-Match` is required.
    #[must_use]
    pub fn condition_required() -> Self {
        Self::of(Kind::ConditionRequired)
    }

    /// 429: `retry_after` is told in whole seconds, rounded up, at least one.
    #[must_use]
    pub fn slow_down(retry_after: Duration) -> Self {
        Self::of(Kind::SlowDown).retry_after(retry_after)
    }

    /// 429: not before an instant. [`Problem::told_at`] makes a span of it.
    #[must_use]
    pub fn slow_down_until(until: Timestamp) -> Self {
        let mut problem = Self::of(Kind::SlowDown);
        problem.members.wait = Some(Wait::Until(until));
        problem
    }

    /// 431: the headers are over their bound. `cookies`: the names of those that make up most of them, the largest first,
    /// each with its octets; none where it is not the cookies.
    #[must_use]
    pub fn headers_too_large(cookies: Vec<(String, usize)>) -> Self {
        let mut problem = Self::of(Kind::HeadersTooLarge);
        if !cookies.is_empty() {
            let named: Vec<String> = cookies.iter().map(|(name, octets)| format!("{name} ({octets} octets)")).collect();
            let named = named.join(", ");
            problem = problem.detail(format!(
                "Delete cookies of this host: at most 32 KiB of headers in 100 lines are taken, and most of it are \
                 cookies. The largest are {named}."
            ));
        }
        problem.members.cookies = cookies;
        problem
    }

    /// 500: a defect of ours. `log` goes to the log with the request's id and never to the client.
    #[must_use]
    pub fn fault(log: impl fmt::Display) -> Self {
        Self::of(Kind::Fault).log(log)
    }

    /// 503: overload, or the database is away.
    #[must_use]
    pub fn unavailable(retry_after: Duration) -> Self {
        Self::of(Kind::Unavailable).retry_after(retry_after)
    }

    /// 507: no room to write.
    #[must_use]
    pub fn storage() -> Self {
        Self::of(Kind::Storage)
    }

    /// Says what to do next, more particularly than [`Kind::detail`].
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.members.detail = Some(detail.into());
        self
    }

    /// Adds what only the log keeps.
    #[must_use]
    pub fn log(mut self, text: impl fmt::Display) -> Self {
        self.members.log = Some(text.to_string());
        self
    }

    fn challenge(mut self, challenge: HeaderValue) -> Self {
        self.members.challenge = Some(challenge);
        self
    }

    fn retry_after(mut self, wait: Duration) -> Self {
        let whole = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.members.wait = Some(Wait::For(whole.max(1)));
        self
    }

    /// The same as it is told now: an instant until which to wait becomes a span.
    #[must_use]
    pub fn told_at(self, now: Timestamp) -> Self {
        match self.members.wait {
            Some(Wait::Until(until)) => self.retry_after(until.since(now)),
            Some(Wait::For(_)) | None => self,
        }
    }

    /// Which refusal it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The status it is answered with.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// What the client is told to do next.
    #[must_use]
    pub fn told(&self) -> &str {
        self.members.detail.as_deref().unwrap_or(self.kind.detail())
    }

    /// The cookies that are too many: see [`Problem::headers_too_large`].
    #[must_use]
    pub fn cookies(&self) -> &[(String, usize)] {
        &self.members.cookies
    }

    /// What is not acceptable, for pages that show it beside the fields.
    #[must_use]
    pub fn errors(&self) -> &[Unacceptable] {
        &self.members.errors
    }

    /// Tries that are left after a wrong code.
    #[must_use]
    pub fn tries_left(&self) -> Option<u32> {
        self.members.tries_left
    }

    /// Whole seconds after which it may be tried again. `None` also before [`Problem::told_at`].
    #[must_use]
    pub fn seconds_to_wait(&self) -> Option<u64> {
        match self.members.wait {
            Some(Wait::For(seconds)) => Some(seconds),
            Some(Wait::Until(_)) | None => None,
        }
    }

    /// What only the log keeps.
    #[must_use]
    pub fn logged(&self) -> Option<&str> {
        self.members.log.as_deref()
    }

    /// The answer as `application/problem+json`.
    #[must_use]
    pub fn to_reply(&self, request_id: &str) -> Reply {
        let members = &*self.members;
        let document = Document {
            kind: self.kind.path(),
            title: self.kind.title(),
            status: self.status().as_u16(),
            detail: self.told(),
            request_id,
            pointer: members.pointer.as_deref(),
            line: members.place.map(|(line, _)| line),
            column: members.place.map(|(_, column)| column),
            errors: &members.errors,
            tries_left: members.tries_left,
        };
        let text = serde_json::to_vec(&document).unwrap_or_default();
        self.dress(Reply::bytes(self.status(), HeaderValue::from_static("application/problem+json"), text))
    }

    /// Gives `reply` (a page that says the same to a person) the status and the headers that belong to the problem.
    #[must_use]
    pub fn dress(&self, mut reply: Reply) -> Reply {
        reply.status = self.status();
        let members = &*self.members;
        // A stored refusal would outlive its reason.
        reply.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(challenge) = &members.challenge {
            reply.headers.insert(WWW_AUTHENTICATE, challenge.clone());
        }
        if let Some(allow) = &members.allow {
            reply.headers.insert(ALLOW, allow.clone());
        }
        if let Some(seconds) = self.seconds_to_wait() {
            reply.headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.kind == Kind::Timeout {
            // RFC 9110, section 15.5.9.
            reply.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        debug_assert!(reply.headers.contains_key(CONTENT_TYPE), "a problem has a body");
        reply
    }
}

/// The schema of a problem document, a reference to it.
pub(crate) fn schema(schemas: &mut SchemaGenerator) -> Schema {
    schemas.subschema_for::<Document<'static>>()
}

/// Why a request was refused (RFC 9457).
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
struct Document<'a> {
    /// The kind of problem: a path below the public URL.
    #[serde(rename = "type")]
    #[schemars(with = "schema::ProblemType")]
    kind: &'static str,
    /// The same for each `type`.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// A sentence that says what to do next.
    detail: &'a str,
    /// The answer's `X-Request-Id`, which stands in the log.
    request_id: &'a str,
    /// The member that cannot be read (RFC 6901).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pointer: Option<&'a str>,
    /// Where the body ceases to be JSON, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32")]
    line: Option<usize>,
    /// In that line, counted from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32")]
    column: Option<usize>,
    /// Everything that is not acceptable, at once.
    #[serde(skip_serializing_if = "<[Unacceptable]>::is_empty")]
    errors: &'a [Unacceptable],
    /// How often the code of this flow may still be wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u32")]
    tries_left: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_one_row_for_each_kind() {
        let rows: std::collections::HashSet<_> = Kind::ALL.iter().map(|kind| (kind.status(), kind.path())).collect();
        assert_eq!(rows.len(), Kind::ALL.len());
        assert!(Kind::ALL.iter().all(|kind| kind.path().starts_with("/problems/")));
    }

    #[test]
    fn every_kind_says_what_to_do_next_and_not_its_title_again() {
        let mut seen = std::collections::HashSet::new();
        for kind in Kind::ALL {
            let reply = Problem::of(kind).to_reply("r");
            let document: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
            let told = document.get("detail").and_then(serde_json::Value::as_str).unwrap_or_default();
            assert!(told.ends_with('.') && told.split(' ').count() > 2, "{kind:?}: {told}");
            assert!(!told.to_lowercase().contains(&kind.title().to_lowercase()), "{kind:?}: {told}");
            assert!(seen.insert(told.to_owned()), "{kind:?} says the same as another: {told}");
        }
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds_and_never_as_nothing() {
        assert_eq!(Problem::slow_down(Duration::ZERO).seconds_to_wait(), Some(1));
        assert_eq!(Problem::slow_down(Duration::from_millis(1001)).seconds_to_wait(), Some(2));
        let reply = Problem::unavailable(Duration::from_secs(5)).to_reply("r");
        assert_eq!(reply.headers.get(RETRY_AFTER), Some(&HeaderValue::from_static("5")));
        for (now, seconds) in [(0, 90), (500, 90), (89_001, 1), (90_000, 1), (200_000, 1)] {
            let told = Problem::slow_down_until(Timestamp(90_000)).told_at(Timestamp(now));
            assert_eq!(told.seconds_to_wait(), Some(seconds), "at {now}");
        }
    }

    #[test]
    fn what_the_log_keeps_is_not_told() {
        let reply = Problem::fault("the ring is empty").to_reply("r-1");
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(text.contains("\"request_id\":\"r-1\""), "{text}");
        assert!(!text.contains("ring"), "{text}");
    }

    #[test]
    fn a_wrong_code_says_how_many_tries_are_left() {
        let reply = Problem::wrong_code("/code", 3).to_reply("r");
        let document: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        assert_eq!(document.get("tries_left"), Some(&serde_json::json!(3)));
        assert_eq!(document.pointer("/errors/0/pointer"), Some(&serde_json::json!("/code")));
        assert_eq!(reply.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
}
