//! The provider, end to end: as programs that are its clients, and as the people whom they send along.

use crate::support::browser::{Browser, Page};
use crate::support::client::{Answer, encoded};
use crate::support::{App, Person, Value, json};

mod code_flow;
mod endpoints;
mod pages;
mod survival;

// RFC 7636 appendix B.
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub const REDIRECT: &str = "https://client.example/cb";

/// A client of the provider.
pub struct Client {
    pub id: String,
    pub secret: Option<String>,
}

impl Client {
    /// Registers one; `more` overrules what is usual.
    pub async fn registered(app: &App, name: &str, more: Value) -> Self {
        let mut metadata = json!({
            "client_id": name,
            "client_name": name,
            "grant_types": ["authorization_code", "refresh_token"],
            "redirect_uris": [REDIRECT],
        });
        for (member, value) in more.as_object().expect("an object") {
            metadata[member] = value.clone();
        }
        let told = app.operations().post("/clients", &metadata).send().await.expect(201);
        Self { id: name.to_owned(), secret: told["client_secret"].as_str().map(str::to_owned) }
    }

    /// One that proves nothing of itself.
    pub async fn public(app: &App, name: &str) -> Self {
        Self::registered(app, name, json!({"token_endpoint_auth_method": "none"})).await
    }

    /// One with a secret.
    pub async fn confidential(app: &App, name: &str) -> Self {
        Self::registered(app, name, json!({"token_endpoint_auth_method": "client_secret_post"})).await
    }

    /// The address to which it sends a browser; `more` is added, or replaces what is usual.
    pub fn request(&self, more: &[(&str, &str)]) -> String {
        let mut pairs = vec![
            ("client_id", self.id.as_str()),
            ("redirect_uri", REDIRECT),
            ("response_type", "code"),
            ("scope", "openid profile email"),
            ("state", "the state & more"),
            ("nonce", "the nonce"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        for (name, value) in more {
            pairs.retain(|(known, _)| known != name);
            pairs.push((name, value));
        }
        let pairs: Vec<String> = pairs
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{name}={}", encoded(value)))
            .collect();
        format!("/oauth/authorize?{}", pairs.join("&"))
    }

    /// Asks an endpoint, as itself.
    pub async fn ask(&self, app: &App, path: &str, fields: &[(&str, &str)]) -> Answer {
        let mut all = vec![("client_id", self.id.as_str())];
        all.extend(self.secret.as_deref().map(|secret| ("client_secret", secret)));
        all.extend(fields);
        app.client().form(path, &all).send().await
    }

    pub async fn redeem(&self, app: &App, code: &str) -> Answer {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
        ];
        self.ask(app, "/oauth/token", &fields).await
    }

    pub async fn refresh(&self, app: &App, token: &str) -> Answer {
        self.ask(app, "/oauth/token", &[("grant_type", "refresh_token"), ("refresh_token", token)]).await
    }

    /// The tokens of somebody who is signed in in a browser and lets it in.
    pub async fn let_in(&self, app: &App, browser: &mut Browser, more: &[(&str, &str)]) -> Value {
        let back = allowed(app, browser, &self.request(more)).await;
        self.redeem(app, &back.parameter("code")).await.expect(200)
    }
}

/// Somebody who is signed in in a browser.
pub async fn somebody(app: &App, name: &str) -> (Person, Browser) {
    let person = Person::new(name);
    person.joins(app).await;
    let mut browser = Browser::new();
    let form = browser.open(app, "/login").await.form("login");
    browser.send(app, &form.with("identifier", &person.email).with("password", &person.password)).await;
    (person, browser)
}

/// Follows a request to its answer, consenting where that is asked.
pub async fn allowed(app: &App, browser: &mut Browser, request: &str) -> Page {
    let page = browser.open(app, request).await;
    if page.url.starts_with("https://client.example/") {
        return page;
    }
    browser.send(app, &page.form("consent").pressed("decision", "allow")).await
}

/// What a JWT says. Nothing of it is verified.
pub fn said(token: &Value) -> Value {
    use base64ct::{Base64UrlUnpadded, Encoding};
    let payload = token.as_str().and_then(|token| token.split('.').nth(1)).expect("a JWT");
    serde_json::from_slice(&Base64UrlUnpadded::decode_vec(payload).expect("base64url")).expect("JSON")
}

/// Holds an answer to an error of the protocol.
#[track_caller]
pub fn refused(answer: &Answer, status: u16, error: &str) {
    let body = answer.expect(status);
    assert_eq!(body["error"], error, "{answer}");
    assert!(body["error_description"].as_str().is_some_and(|text| !text.is_empty()), "{answer}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer}");
}
