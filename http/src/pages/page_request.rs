//! A request to a page with the browser that it came from, and how pages go back to it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cairn_actors::flows::authorization::Return;
use cairn_actors::secrets::password::Password;
use cairn_actors::services::proof::FLOWS_A_COOKIE;
use cairn_actors::services::session::{Identifier, SignedIn};
use cairn_actors::services::{Caller, Refusal, Services};
use cairn_runtime::Timestamp;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, LOCATION};
use http::{HeaderValue, Method, StatusCode};

use crate::access::browser::Browser;
use crate::access::cookie::Cookie;
use crate::access::{Limited, caller, csrf};
use crate::problem::Problem;
use crate::reply::{Reply, page_policy_to};
use crate::request::Request;
use crate::route::Answer;
use crate::sign_in;
use crate::state::AppState;
use crate::theme::{Page, Wrong, fill, wrongs};

mod form;

use super::authorize;

pub(super) use self::form::{Form, Sent, Typed};

/// A request to a page.
pub(super) struct PageRequest {
    pub(super) state: Arc<AppState>,
    request: Request,
    pub(super) browser: Browser,
    /// The session was carried on: its cookie is set anew, to live as long.
    carried_on: AtomicBool,
    /// Until when forms from this client do nothing.
    limited: Option<Timestamp>,
    /// A form's token came, whatever it is worth.
    brought_token: bool,
    /// The origin of a client to which forms of this page may lead in the end.
    leads_to: OnceLock<String>,
}

impl PageRequest {
    pub(super) fn new(state: Arc<AppState>, request: Request) -> Self {
        let engine = &state.services.engine;
        let ours = |cookie: &str| state.services.is_session_cookie(cookie);
        let browser = Browser::of(&request, request.names(), engine.seed(), ours);
        let limited = request.extensions().get::<Limited>();
        let limited = limited.map(|limited| engine.now().after(Duration::from_secs(limited.seconds)));
        Self {
            state,
            request,
            browser,
            carried_on: AtomicBool::new(false),
            limited,
            brought_token: false,
            leads_to: OnceLock::new(),
        }
    }

    /// A request with the form that came.
    ///
    /// # Errors
    /// 400 when the form is badly encoded; ours never are.
    pub(super) fn with_form(state: Arc<AppState>, request: Request) -> Result<(Self, Sent), Problem> {
        let form = request.form()?;
        let brought_token = form.get(csrf::FIELD).is_some();
        let request = Self { brought_token, ..Self::new(state, request) };
        let sent = Sent::check(&request, form);
        Ok((request, sent))
    }

    /// Signs in with what a form says.
    ///
    /// # Errors
    /// As [`sign_in::sign_in`].
    pub(super) async fn sign_in(
        &self,
        form: &Form,
        identifier: Identifier<'_>,
        password: &Password,
    ) -> Result<sign_in::SignedIn, Refusal> {
        sign_in::sign_in(&self.state, &self.request, form.caller(), identifier, password).await
    }

    /// A query parameter, decoded.
    pub(super) fn query(&self, name: &str) -> Option<String> {
        self.request.query(name)
    }

    /// All query parameters, decoded, in their order.
    pub(super) fn query_pairs(&self) -> Vec<(String, String)> {
        self.request.query_pairs()
    }

    /// Lets the forms of this page lead back to a client: browsers hold all redirects that follow a form against the policy
    /// of the page that had it.
    pub(super) fn allow(&self, back: Option<&Return>) {
        if let Some(back) = back {
            self.allow_uri(back.redirect_uri.as_str());
        }
    }

    /// The same, of any address.
    pub(super) fn allow_uri(&self, uri: &str) {
        if let Some(source) = form_source(uri) {
            let _ = self.leads_to.set(source);
        }
    }

    /// The same, where a page leads on to an authorization in the end.
    ///
    /// # Errors
    /// The database is away.
    pub(super) async fn allow_next(&self, next: &str) -> Result<(), Problem> {
        if let Some(flow) = authorize::flow_of(next) {
            self.allow(self.services().provider().leads_to(flow).await?.as_ref());
        }
        Ok(())
    }

    /// A header as text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.request.header(name)
    }

    /// The method.
    pub(super) fn method(&self) -> &Method {
        self.request.method()
    }

    /// The path.
    pub(super) fn path(&self) -> &str {
        self.request.path()
    }

    /// The table's pattern of the path.
    pub(super) fn route(&self) -> &'static str {
        self.request.route()
    }

    /// The request's id, to be named in logs.
    pub(super) fn id(&self) -> &str {
        self.request.id()
    }

    pub(super) fn services(&self) -> &Services {
        &self.state.services
    }

    pub(super) fn now(&self) -> Timestamp {
        self.services().engine.now()
    }

    /// Who asks. Only a form that was checked gives it to a handler, for opening a page does nothing; but for the pages of an
    /// authorization, which goes on by being opened.
    pub(super) fn caller(&self) -> Caller {
        caller::of(&self.request)
    }

    /// A key for a form that is given out now.
    pub(super) fn once(&self) -> String {
        self.services().engine.input().0.crockford()
    }

    /// Whether too many forms come from there.
    pub(super) fn is_limited(&self) -> bool {
        self.limited.is_some()
    }

    /// Why the form that came has done nothing: see [`Sent::HeldUp`].
    pub(super) fn held_up(&self) -> Vec<Wrong> {
        let text = match self.limited {
            Some(until) => {
                fill(&self.error("limited"), &[("time", &self.state.theme.words.instant(until, self.now()))])
            }
            None if self.keeps_no_cookies() => self.error("cookies"),
            None => self.error("stale"),
        };
        vec![Wrong { field: None, text }]
    }

    /// Whether the form that came is one of ours, from a browser that has kept none of the cookies that came with it:
    /// pressing once more would help nobody.
    fn keeps_no_cookies(&self) -> bool {
        !self.request.headers().contains_key(http::header::COOKIE) && self.brought_token
    }

    /// Who is signed in. The database away is told; whatever else is wrong with the cookie, nobody is.
    pub(super) async fn signed_in(&self) -> Result<Option<SignedIn>, Problem> {
        let Some(cookie) = &self.browser.session else { return Ok(None) };
        let browsing = self.services().browsing(&self.caller(), cookie).await?;
        Ok(browsing.map(|browsing| {
            self.carried_on.fetch_or(browsing.carried_on || self.browser.is_renamed, Ordering::Relaxed);
            browsing.who
        }))
    }

    /// A note for a page that acts on another account than the one that is signed in here.
    pub(super) fn stays_signed_in(&self, somebody: &SignedIn) -> Option<String> {
        Some(fill(&self.error("signed_in"), &[("address", somebody.user.address.typed())]))
    }

    /// The page again with what a refusal says, or the problem that it is.
    pub(super) fn again(&self, page: Page, why: Refusal) -> Answer {
        match wrongs(&self.state.theme, &why, self.now()) {
            Some(errors) => self.refused(page, errors, &why),
            None => Err(why.into()),
        }
    }

    /// The page with what is wrong; a slow-down says to programs, too, when to come back.
    pub(super) fn refused(&self, page: Page, errors: Vec<Wrong>, why: &Refusal) -> Answer {
        let Refusal::SlowDown(until) = why else { return self.draw(page.wrong(errors)) };
        let mut reply = self.draw(page.status(StatusCode::TOO_MANY_REQUESTS).wrong(errors))?;
        let seconds = until.since(self.now()).as_millis().div_ceil(1_000).max(1);
        let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
        reply.headers.insert(http::header::RETRY_AFTER, HeaderValue::from(seconds));
        Ok(reply)
    }

    /// The page again, because its form was held up. It is given to this browser now: the next try goes through.
    pub(super) fn stale(&self, page: Page) -> Answer {
        self.draw(page.wrong(self.held_up()))
    }

    /// A text of the file of words.
    pub(super) fn error(&self, code: &str) -> String {
        self.state.theme.words.errors.get(code).cloned().unwrap_or_default()
    }

    /// Draws a page for this browser, which has a name from then on.
    pub(super) fn draw(&self, page: Page) -> Answer {
        if let Some(until) = self.limited
            && !page.is_wrong()
        {
            // No form that could be sent again: the plain refusal says more.
            return Err(Problem::slow_down(until.since(self.now())));
        }
        let token = csrf::token(&self.services().engine.environment(), &self.browser);
        let drawn = page.draw(&self.state.theme, &token);
        let html = drawn.map_err(|why| Problem::fault(format!("the template {}: {why:#}", page.template)))?;
        let mut reply = Reply::html(page.status, html);
        if let Some(policy) = self.leads_to.get().and_then(|source| page_policy_to(source)) {
            reply = reply.header(CONTENT_SECURITY_POLICY, policy);
        }
        if self.method() == Method::POST {
            // What a form was answered with is where "back" leads to. Not stored, a browser could only ask the person
            // whether to send the form again.
            reply = reply.header(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        }
        Ok(self.named(reply))
    }

    /// 303 to a path of ours.
    pub(super) fn go(&self, location: &str) -> Answer {
        Ok(self.named(Reply::see_other(location)?))
    }

    /// 303 to an address of a client's, which the caller has found registered.
    pub(super) fn away(&self, location: &str) -> Answer {
        let location = HeaderValue::try_from(location).map_err(|why| Problem::fault(format!("a redirect: {why}")))?;
        let reply = Reply::empty(StatusCode::SEE_OTHER).header(LOCATION, location);
        Ok(self.named(reply.header(CACHE_CONTROL, HeaderValue::from_static("no-store"))))
    }

    /// An answer of any kind, with the cookies of this request.
    pub(super) fn named(&self, reply: Reply) -> Reply {
        let reply = match (&self.browser.session, self.carried_on.load(Ordering::Relaxed)) {
            (Some(cookie), true) => self.without_older(self.with_session(reply, cookie, self.browser.stays)),
            _ => reply,
        };
        let name = self.browser.is_new.then(|| self.browser.names.set(Cookie::Browser, &self.browser.id, None));
        match name.flatten() {
            Some(name) => reply.cookie(name),
            None => reply,
        }
    }

    /// Keeps that this browser began a flow.
    pub(super) async fn with_flow(&self, reply: Reply, flow: &str) -> Reply {
        // Without the cookie the link asks for the password: no reason to fail what has been done.
        let Ok(credential) = self.services().flow_cookie(flow).await else { return reply };
        match self.browser.with_flow(credential.expose(), FLOWS_A_COOKIE) {
            Some(cookie) => reply.cookie(cookie),
            None => reply,
        }
    }

    /// Keeps where whoever began a flow in this browser wants to go. No letter carries it: its link is opened anywhere.
    pub(super) fn with_destination(&self, reply: Reply, flow: &str, next: &str) -> Reply {
        match self.browser.with_destination(flow, next).filter(|_| !next.is_empty()) {
            Some(cookie) => reply.cookie(cookie),
            None => reply,
        }
    }

    /// Forgets where anybody wanted to go: they are led there now.
    pub(super) fn without_destinations(&self, reply: Reply) -> Reply {
        match self.browser.names.clear(Cookie::Next).filter(|_| !self.browser.destinations.is_empty()) {
            Some(cookie) => reply.cookie(cookie),
            None => reply,
        }
    }

    /// Forgets where whoever began this flow wanted to go: they are led there now.
    pub(super) fn without_destination(&self, reply: Reply, flow: &str) -> Reply {
        match self.browser.without_destination(flow) {
            Some(cookie) => reply.cookie(cookie),
            None => reply,
        }
    }

    /// Where whoever began this flow wanted to go. The caller has shown that this browser began it.
    pub(super) fn destination(&self, flow: &str) -> String {
        let kept = self.browser.destinations.iter().find(|(known, _)| known == flow);
        kept.map(|(_, next)| next.clone()).filter(|next| is_local(next)).unwrap_or_default()
    }

    /// Keeps that this browser is signed in: until it ends, or for as long as the session lasts where the person wants to
    /// stay signed in.
    pub(super) fn with_session(&self, reply: Reply, cookie: &str, stays: bool) -> Reply {
        let lasts: Duration = self.services().engine.environment().settings.session_ttl;
        match self.browser.with_session(cookie, stays.then_some(lasts)) {
            Some(cookie) => reply.cookie(cookie),
            None => reply,
        }
    }

    /// Keeps that this browser is not signed in any more.
    pub(super) fn without_session(&self, reply: Reply) -> Reply {
        let reply = self.without_older(reply);
        match self.browser.names.clear(Cookie::Session) {
            Some(cookie) => reply.cookie(cookie),
            None => reply,
        }
    }

    /// Takes the session's cookie away that came under the name from before.
    fn without_older(&self, reply: Reply) -> Reply {
        match self.browser.names.clear_older(Cookie::Session).filter(|_| self.browser.is_renamed) {
            Some(cookie) => reply.cookie(cookie),
            None => reply,
        }
    }

    /// Where the query says that the person wanted to go: a path of ours and nothing else.
    pub(super) fn next(&self) -> String {
        self.query("next").filter(|next| is_local(next)).unwrap_or_default()
    }
}

/// What the policy of a page says of a redirect URI: its origin, or its scheme where it has none.
fn form_source(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.split_once(':')?;
    let source = match rest.strip_prefix("//") {
        Some(rest) if matches!(scheme, "http" | "https") => {
            let authority = rest.split(['/', '?']).next().unwrap_or_default();
            format!("{scheme}://{}", authority.rsplit('@').next().unwrap_or_default())
        }
        _ => format!("{scheme}:"),
    };
    source.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b';' | b',' | b'\'')).then_some(source)
}

/// Whether a text is a path of this host: browsers take `//x` and `/\x` for another one, and drop tabs and line breaks
/// before they look.
pub(super) fn is_local(next: &str) -> bool {
    let mut bytes = next.bytes();
    next.len() <= 2_048
        && bytes.next() == Some(b'/')
        && !matches!(next.as_bytes().get(1), Some(b'/' | b'\\'))
        && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
}

/// A path with a query parameter.
pub(super) fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    let mut out = path.to_owned();
    let mut before = '?';
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        out.push(before);
        out.push_str(name);
        out.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
                out.push(char::from(byte));
            } else {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
        before = '&';
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_of_ours_is_led_on_to() {
        for good in ["/", "/account", "/authorize?client_id=a&redirect_uri=https%3A%2F%2Fa.example", "/a//b"] {
            assert!(is_local(good), "{good}");
        }
        for bad in [
            "",
            "account",
            "//evil.example",
            "/\\evil.example",
            "\\/evil",
            "https://evil.example",
            "/a\r\nset-cookie: x",
            "/\t/evil.example",
            "/a b",
            "javascript:alert(1)",
            "/a\\b",
            "/ä",
        ] {
            assert!(!is_local(bad), "{bad}");
        }
    }

    #[test]
    fn a_query_is_encoded() {
        assert_eq!(with_query("/login", &[("next", "/a?b=c&d"), ("x", "")]), "/login?next=/a%3Fb%3Dc%26d");
    }
}
