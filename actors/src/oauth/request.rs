//! Authorization requests (RFC 6749 section 4.1.1, OpenID Connect Core section 3.1.2.1): the checks in their order.
//!
//! Client and redirect URI come first. Until both are known, what is wrong is told to the person, for nobody else can be
//! trusted with it; from then on it is told to the client.

use std::time::Duration;

use cairn_runtime::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::access::Access;
use super::client::{Client, GrantType, ResponseType};
use super::error::{ErrorCode, OAuthError};
use super::parameters::Parameters;
use super::pkce::Challenge;
use super::scope::{OFFLINE_ACCESS, OPENID, Scope};
use super::uri::AbsoluteUri;
use crate::flows::authorization::{Browser, Claims, ResponseMode, Return};

/// Bytes of a `state` or `nonce`.
const LONGEST_TEXT: usize = 4_096;
/// Claims that may be asked for one by one.
const MOST_CLAIMS: usize = 64;

/// What a client asks of the person who is sent along (OpenID Connect Core section 3.1.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// Nobody may be asked anything.
    pub none: bool,
    /// They must sign in anew.
    pub login: bool,
    /// They must consent anew.
    pub consent: bool,
    /// They must say which account it is.
    pub select_account: bool,
    /// They want a new account (Initiating User Registration via OpenID Connect).
    pub create: bool,
}

/// A request that may be answered.
#[derive(Clone, Debug)]
pub struct AuthorizationRequest {
    /// For what access.
    pub access: Access,
    /// What is needed later of it.
    pub browser: Browser,
    /// What is asked of the person.
    pub prompt: Prompt,
    /// Whom the client expects, as they would type it.
    pub login_hint: Option<String>,
    /// An ID token of whom the client expects.
    pub id_token_hint: Option<String>,
}

/// Where an answer goes, errors too: the redirect URI is the client's own.
///
/// # Errors
/// What to tell the person.
pub fn destination(client: &Client, parameters: &Parameters) -> Result<Return, OAuthError> {
    let redirect_uri = match parameters.one("redirect_uri")? {
        Some(text) => AbsoluteUri::parse(text)
            .ok()
            .filter(|uri| client.has_redirect_uri(uri))
            .ok_or_else(|| OAuthError::invalid_request("The redirect URI is not registered for this client."))?,
        // RFC 6749 section 3.1.2.3: it may be left out where there is one only.
        None => match client.metadata.redirect_uris.as_slice() {
            [only] => only.clone(),
            _ => return Err(OAuthError::invalid_request("Send the parameter redirect_uri.")),
        },
    };
    let state = parameters.one("state").ok().flatten().map(str::to_owned);
    let response_mode = match parameters.one("response_mode") {
        Ok(Some("form_post")) => ResponseMode::FormPost,
        Ok(Some("fragment")) => ResponseMode::Fragment,
        _ => ResponseMode::Query,
    };
    Ok(Return { redirect_uri, state, response_mode })
}

/// Checks a request whose client and redirect URI are known.
///
/// # Errors
/// What to tell the client.
pub fn check(
    client: &Client,
    parameters: &Parameters,
    back: &Return,
    now: Timestamp,
) -> Result<AuthorizationRequest, OAuthError> {
    if let Some(name) = parameters.doubled() {
        return Err(OAuthError::invalid_request(format!("Send the parameter {} once.", visible(name))));
    }
    unsupported(parameters)?;
    response(client, parameters)?;
    let scope = scope(client, parameters)?;
    let resource = resources(client, parameters)?;
    let challenge = challenge(client, parameters)?;
    let prompt = prompt(parameters)?;
    let text = |name| match parameters.one(name)? {
        Some(text) if text.len() > LONGEST_TEXT => {
            Err(OAuthError::invalid_request(format!("The parameter {name} has {LONGEST_TEXT} bytes at most.")))
        }
        text => Ok(text.map(str::to_owned)),
    };
    let (nonce, state) = (text("nonce")?, text("state")?);
    let browser = Browser {
        redirect_uri: back.redirect_uri.clone(),
        challenge,
        nonce,
        state,
        response_mode: back.response_mode,
        not_before: not_before(client, parameters, prompt, now)?,
        asks: prompt.consent || prompt.select_account,
        claims: claims(parameters)?,
    };
    Ok(AuthorizationRequest {
        access: Access { scope, resource },
        browser,
        prompt,
        login_hint: parameters.one("login_hint")?.map(str::to_owned),
        id_token_hint: parameters.one("id_token_hint")?.map(str::to_owned),
    })
}

/// What is refused by name: RFC 9101 section 5, OpenID Connect Core section 6 and section 7.2.1.
fn unsupported(parameters: &Parameters) -> Result<(), OAuthError> {
    for (name, code) in [
        ("request", ErrorCode::RequestNotSupported),
        ("request_uri", ErrorCode::RequestUriNotSupported),
        ("registration", ErrorCode::RegistrationNotSupported),
    ] {
        if parameters.first(name).is_some() {
            return Err(OAuthError::new(code, format!("The parameter {name} is not taken here.")));
        }
    }
    Ok(())
}

/// RFC 6749 section 3.1.1; OAuth 2.0 Multiple Response Types, section 2.1.
fn response(client: &Client, parameters: &Parameters) -> Result<(), OAuthError> {
    if parameters.needed("response_type")? != "code" {
        return Err(OAuthError::new(ErrorCode::UnsupportedResponseType, "The response type is code."));
    }
    let registered =
        client.may_use(GrantType::AuthorizationCode) && client.metadata.response_types.contains(&ResponseType::Code);
    if !registered {
        return Err(OAuthError::new(ErrorCode::UnauthorizedClient, "The client is not registered for codes."));
    }
    match parameters.one("response_mode")? {
        None | Some("query" | "fragment" | "form_post") => Ok(()),
        Some(_) => Err(OAuthError::invalid_request("The response mode is query, fragment or form_post.")),
    }
}

/// RFC 6749 section 3.3: words that the client may not have are left out; a request that is left with none is refused.
fn scope(client: &Client, parameters: &Parameters) -> Result<Scope, OAuthError> {
    let bad = |what| OAuthError::new(ErrorCode::InvalidScope, what);
    let Some(asked) = parameters.one("scope")? else {
        let usual = &client.metadata.default_scope;
        let usual = if usual.is_empty() { Scope::from_iter([OPENID]) } else { usual.clone() };
        return Ok(client.admitted(&usual));
    };
    let asked = Scope::parse(asked).map_err(|_| bad("The scope is words with one space between two."))?;
    let mut granted = client.admitted(&asked);
    if granted.is_empty() {
        return Err(bad("The client may have none of these scopes."));
    }
    // OpenID Connect Core section 11: without refresh tokens it means nothing.
    if granted.has(OFFLINE_ACCESS) && !client.may_use(GrantType::RefreshToken) {
        granted = granted.without(OFFLINE_ACCESS);
    }
    Ok(granted)
}

/// RFC 8707 section 2. Without the parameter it is the client's first resource, where it has any.
fn resources(client: &Client, parameters: &Parameters) -> Result<Vec<AbsoluteUri>, OAuthError> {
    let mut found = Vec::new();
    for text in parameters.resources() {
        let uri = AbsoluteUri::parse(text).ok().filter(|uri| client.metadata.resources.contains(uri));
        let refused = || OAuthError::new(ErrorCode::InvalidTarget, "The client may have no token for this resource.");
        let uri = uri.ok_or_else(refused)?;
        if !found.contains(&uri) {
            found.push(uri);
        }
    }
    if found.is_empty() {
        found.extend(client.metadata.resources.first().cloned());
    }
    Ok(found)
}

/// RFC 7636 section 4.3, RFC 9700 section 2.1.1.
fn challenge(client: &Client, parameters: &Parameters) -> Result<Option<Challenge>, OAuthError> {
    let method = parameters.one("code_challenge_method")?;
    match parameters.one("code_challenge")? {
        None if client.needs_pkce() || method.is_some() => {
            Err(OAuthError::invalid_request("Send a code_challenge of the method S256 (PKCE, RFC 7636)."))
        }
        None => Ok(None),
        Some(_) if method != Some("S256") => {
            Err(OAuthError::invalid_request("The code_challenge_method must be S256; plain is not taken."))
        }
        Some(text) => match Challenge::parse(text) {
            Ok(challenge) => Ok(Some(challenge)),
            Err(why) => Err(OAuthError::invalid_request(format!("{why}."))),
        },
    }
}

/// OpenID Connect Core section 3.1.2.1.
fn prompt(parameters: &Parameters) -> Result<Prompt, OAuthError> {
    let mut prompt = Prompt::default();
    let words = parameters.one("prompt")?.unwrap_or_default();
    for word in words.split(' ').filter(|word| !word.is_empty()) {
        match word {
            "none" => prompt.none = true,
            "login" => prompt.login = true,
            "consent" => prompt.consent = true,
            "select_account" => prompt.select_account = true,
            "create" => prompt.create = true,
            _ => return Err(OAuthError::invalid_request("The prompt has a word that is not known here.")),
        }
    }
    if prompt.none && words.trim() != "none" {
        return Err(OAuthError::invalid_request("The prompt none stands alone."));
    }
    Ok(prompt)
}

/// Since when the person must have proved who they are.
fn not_before(
    client: &Client,
    parameters: &Parameters,
    prompt: Prompt,
    now: Timestamp,
) -> Result<Option<Timestamp>, OAuthError> {
    let asked = match parameters.one("max_age")? {
        Some(text) => match text.parse::<u32>() {
            Ok(seconds) => Some(u64::from(seconds)),
            Err(_) => return Err(OAuthError::invalid_request("The max_age is a number of seconds.")),
        },
        None => client.metadata.default_max_age,
    };
    if prompt.login {
        return Ok(Some(now));
    }
    Ok(asked.map(|seconds| now.before(Duration::from_secs(seconds))))
}

/// OpenID Connect Core section 5.5. Values that are asked for are not compared: who needs another person is told who it is.
fn claims(parameters: &Parameters) -> Result<Claims, OAuthError> {
    #[derive(Deserialize, Default)]
    #[serde(default)]
    struct Asked {
        id_token: Option<Map<String, Value>>,
        userinfo: Option<Map<String, Value>>,
    }
    let Some(text) = parameters.one("claims")? else { return Ok(Claims::default()) };
    let bad = || {
        OAuthError::invalid_request(
            "The parameter claims is a JSON object of objects (OpenID Connect Core, section 5.5).",
        )
    };
    let Asked { id_token, userinfo } = serde_json::from_str(text).map_err(|_| bad())?;
    let names = |asked: Option<Map<String, Value>>| -> Vec<String> {
        asked.unwrap_or_default().into_iter().map(|(name, _)| name).take(MOST_CLAIMS).collect()
    };
    Ok(Claims { id_token: names(id_token), userinfo: names(userinfo) })
}

/// A text of a client as it may stand in a description.
fn visible(text: &str) -> String {
    text.chars().filter(|letter| letter.is_ascii_graphic() && !matches!(letter, '"' | '\\')).take(40).collect()
}
