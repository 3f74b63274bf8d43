//! `/oauth/authorize` and `/consent`: a client sends a browser here, the person signs in and consents, and the browser goes
//! back with the answer.
//!
//! No cookie holds an authorization: its id stands in the URL, and who may decide it follows from who is signed in. So a
//! restart, a second tab, cookies that are gone and the way through registration or a reset all come back to where it
//! stands.

use cairn_actors::flows::authorization::{ResponseMode, Return};
use cairn_actors::oauth::client::Client;
use cairn_actors::oauth::error::OAuthError;
use cairn_actors::oauth::parameters::Parameters;
use cairn_actors::services::provider::{Answer as ClientAnswer, NextStep, NotForClient, Question, Standing};
use cairn_actors::services::session::SignedIn;
use http::StatusCode;
use minijinja::Value;
use minijinja::value::Serde;
use serde::Serialize;

use super::page_request::{PageRequest, Sent, with_query};
use crate::request;
use crate::route::Answer;
use crate::theme::Page;

/// Where the page that asks for consent stands.
const CONSENT: &str = "/consent";
/// Characters of a `login_hint` that is filled in.
const LONGEST_HINT: usize = 120;

/// `GET /oauth/authorize`.
pub(super) async fn begin(request: PageRequest) -> Answer {
    let parameters = Parameters::new(request.query_pairs());
    go_on(&request, &parameters, true).await
}

/// `POST /oauth/authorize`: the same in a form, which another site sends (OpenID Connect Core section 3.1.2.1). It comes
/// without cookies, so that who is signed in is found out by the page that it leads to.
pub(super) async fn begin_by_form(request: PageRequest, form: request::Form) -> Answer {
    let parameters = Parameters::new(form.into_pairs());
    go_on(&request, &parameters, false).await
}

async fn go_on(request: &PageRequest, parameters: &Parameters, knows_browser: bool) -> Answer {
    let somebody = request.signed_in().await?;
    let provider = request.services().provider();
    let next = match provider.authorize(&request.caller(), parameters, somebody.as_ref()).await {
        Ok(next) => next,
        Err(NotForClient::UnknownClient) => return refuse(request, "consent/unknown_client", ""),
        Err(NotForClient::Request(OAuthError { description, .. })) => {
            return refuse(request, "consent/bad_request", &description);
        }
        Err(NotForClient::Ours(why)) => return Err(why.into()),
    };
    match next {
        NextStep::Return(answer) => back(request, &answer),
        NextStep::Consent { flow } => request.go(&with_query(CONSENT, &[("flow", &flow)])),
        NextStep::SignIn { flow, create, .. } if create => {
            let registers = request.services().engine.environment().settings.registration;
            request.go(&sign_in(if registers { "/register" } else { "/login" }, &flow, &[]))
        }
        NextStep::SignIn { flow, .. } if !knows_browser => request.go(&with_query(CONSENT, &[("flow", &flow)])),
        NextStep::SignIn { flow, login_hint, .. } => {
            // A longer one, or one in another script, is typed: no URL of ours grows long by it.
            let short = |hint: &String| hint.len() <= LONGEST_HINT && hint.is_ascii();
            let hint = login_hint.filter(short).unwrap_or_default();
            let again = if somebody.is_some() { "yes" } else { "" };
            request.go(&sign_in("/login", &flow, &[("login_hint", &hint), ("again", again)]))
        }
    }
}

/// The page that signs in, and leads back to an authorization.
fn sign_in(page: &str, flow: &str, more: &[(&str, &str)]) -> String {
    let next = with_query(CONSENT, &[("flow", flow)]);
    let pairs: Vec<(&str, &str)> = more.iter().copied().chain([("next", next.as_str())]).collect();
    with_query(page, &pairs)
}

/// The authorization that a path leads on to, if it is the page that asks for consent.
pub(super) fn flow_of(next: &str) -> Option<&str> {
    next.strip_prefix(CONSENT)?.strip_prefix("?flow=")
}

/// `GET /consent`: what is left to be asked.
pub(super) async fn show(request: PageRequest) -> Answer {
    let flow = request.query("flow").unwrap_or_default();
    let somebody = request.signed_in().await?;
    let standing = request.services().provider().standing(&request.caller(), &flow, somebody.as_ref()).await?;
    show_standing(&request, &flow, somebody.as_ref(), standing)
}

/// `POST /consent`: the person decides.
pub(super) async fn decide(request: PageRequest, sent: Sent) -> Answer {
    let flow = sent.typed().text("flow");
    let somebody = request.signed_in().await?;
    let provider = request.services().provider();
    let (Sent::Good(form), Some(somebody)) = (&sent, &somebody) else {
        // Signed out meanwhile, another account, an old tab: from where it really stands.
        let standing = provider.standing(&request.caller(), &flow, somebody.as_ref()).await?;
        return match (standing, &somebody) {
            (Standing::Ask(question), Some(somebody)) => {
                request.allow(question.back.as_ref());
                request.stale(page(&request, &flow, somebody, &question))
            }
            (standing, _) => show_standing(&request, &flow, somebody.as_ref(), standing),
        };
    };
    let allows = match form.typed().get("decision") {
        Some("allow") => true,
        Some("deny") => false,
        _ => return request.go(&with_query(CONSENT, &[("flow", &flow)])),
    };
    let standing = provider.decide(form.caller(), &flow, somebody, allows).await?;
    show_standing(&request, &flow, Some(somebody), standing)
}

fn show_standing(request: &PageRequest, flow: &str, somebody: Option<&SignedIn>, standing: Standing) -> Answer {
    match (standing, somebody) {
        (Standing::Ask(question), Some(somebody)) => {
            request.allow(question.back.as_ref());
            request.draw(page(request, flow, somebody, &question))
        }
        (Standing::SignIn { again }, _) => {
            request.go(&sign_in("/login", flow, &[("again", if again { "yes" } else { "" })]))
        }
        (Standing::Ask(_), None) => request.go(&sign_in("/login", flow, &[])),
        (Standing::Return(answer), _) => back(request, &answer),
        (Standing::Over(client), _) => over(request, client.as_deref()),
    }
}

#[derive(Serialize)]
struct ShownClient {
    name: String,
    logo: String,
    home: String,
    policy: String,
    terms: String,
    verified: bool,
}

fn shown(client: &Client) -> ShownClient {
    let text = |uri: &Option<cairn_actors::oauth::uri::AbsoluteUri>| {
        uri.as_ref().map(|uri| uri.as_str().to_owned()).filter(|uri| uri.starts_with("https://")).unwrap_or_default()
    };
    let metadata = &client.metadata;
    ShownClient {
        name: client.name().to_owned(),
        logo: text(&metadata.logo_uri),
        home: text(&metadata.client_uri),
        policy: text(&metadata.policy_uri),
        terms: text(&metadata.tos_uri),
        verified: client.origin != cairn_actors::oauth::client::Origin::Registration,
    }
}

/// What people are told that a word of a scope lets a client do; words that are not ours stand as they are.
pub(super) fn in_words(request: &PageRequest, words: impl Iterator<Item = impl AsRef<str>>) -> Vec<String> {
    let known = &request.state.theme.words.scopes;
    let told = words.filter(|word| word.as_ref() != "openid").map(|word| {
        let text = known.get(word.as_ref());
        text.cloned().unwrap_or_else(|| word.as_ref().to_owned())
    });
    told.collect()
}

/// The page that asks.
fn page(request: &PageRequest, flow: &str, somebody: &SignedIn, question: &Question) -> Page {
    let next = with_query(CONSENT, &[("flow", flow)]);
    let resources: Vec<&str> = question.access.resource.iter().map(|uri| uri.as_str()).collect();
    Page::new("consent/form.html")
        .say("client", question.client.name())
        .say("address", somebody.user.address.typed())
        .put("flow", flow)
        .put("client", Value::from(Serde(shown(&question.client))))
        .put("scopes", Value::from(Serde(in_words(request, question.access.scope.words()))))
        .put("resources", Value::from(Serde(resources)))
        .put("leave", with_query("/login", &[("next", &next)]))
}

/// Nothing is left to be decided: the person is led back to the client, as far as anybody knows where that is.
fn over(request: &PageRequest, client: Option<&Client>) -> Answer {
    let Some(client) = client else { return refuse(request, "consent/unknown", "") };
    let home = shown(client).home;
    let page = Page::message("consent/over", "").say("client", client.name()).put("second", "/account");
    request.draw(if home.is_empty() { page } else { page.put("lead", home) }.status(StatusCode::GONE))
}

/// What cannot be told to a client, because nobody knows that the redirect URI is its own.
fn refuse(request: &PageRequest, words: &'static str, detail: &str) -> Answer {
    request.draw(Page::message(words, "/account").say("detail", detail).status(StatusCode::BAD_REQUEST))
}

/// Back to the client.
pub(super) fn back(request: &PageRequest, answer: &ClientAnswer) -> Answer {
    let Return { redirect_uri, state, response_mode } = &answer.back;
    let issuer = request.services().engine.environment().settings.public_url.clone();
    let mut pairs: Vec<(&str, &str)> = answer.parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
    if let Some(state) = state {
        pairs.push(("state", state));
    }
    // RFC 9207: whose answer it is.
    pairs.push(("iss", &issuer));
    if *response_mode == ResponseMode::FormPost {
        #[derive(Serialize)]
        struct Field<'a> {
            name: &'a str,
            value: &'a str,
        }
        let fields: Vec<Field<'_>> = pairs.iter().map(|(name, value)| Field { name, value }).collect();
        request.allow(Some(&answer.back));
        let page = Page::new("consent/form_post.html")
            .put("action", redirect_uri.as_str())
            .put("fields", Value::from(Serde(serde_json::to_value(&fields).unwrap_or_default())));
        return request.draw(page);
    }
    let mut encoded = form_urlencoded(&pairs);
    let location = match response_mode {
        ResponseMode::Fragment => format!("{redirect_uri}#{encoded}"),
        ResponseMode::Query | ResponseMode::FormPost => {
            let text = redirect_uri.as_str();
            let joint = if !text.contains('?') {
                "?"
            } else if text.ends_with(['?', '&']) {
                ""
            } else {
                "&"
            };
            encoded.insert_str(0, joint);
            format!("{text}{encoded}")
        }
    };
    // RFC 9700 section 4.12: 303, so that a form which was posted here is not posted on.
    request.away(&location)
}

/// Pairs as `application/x-www-form-urlencoded` (RFC 6749 appendix B).
fn form_urlencoded(pairs: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push('&');
        }
        for (place, part) in [name, value].into_iter().enumerate() {
            if place == 1 {
                text.push('=');
            }
            for byte in part.bytes() {
                if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                    text.push(char::from(byte));
                } else {
                    text.push_str(&format!("%{byte:02X}"));
                }
            }
        }
    }
    text
}
