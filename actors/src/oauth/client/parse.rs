//! Metadata as it comes, from a registration, a file or the command line: what no client can have is refused by the name of
//! its member.

use serde_json::{Map, Value};
use url::{Host, Url};

use super::metadata::{Authentication, GrantType, InvalidMetadata, Metadata, Pkce, ResponseType};
use crate::oauth::uri::AbsoluteUri;

/// The longest metadata, in bytes of JSON.
const LONGEST: usize = 64 * 1024;
/// The most redirect URIs, and URIs to return to after a sign-out.
const MOST_REDIRECTS: usize = 100;
/// The most resources and audiences.
const MOST_RESOURCES: usize = 50;
/// The most contacts.
const MOST_CONTACTS: usize = 10;
/// The longest contact, in bytes.
const LONGEST_CONTACT: usize = 320;
/// The longest name, in characters.
const LONGEST_NAME: usize = 200;
/// The longest scope, in bytes.
const LONGEST_SCOPE: usize = 4_096;
/// The most keys of a set.
const MOST_KEYS: usize = 20;
/// The longest life of an access token that may be asked for, in seconds.
const LONGEST_LIFE: u64 = 86_400;
/// The greatest age of a sign-in that may be asked for, in seconds: ten years.
const GREATEST_AGE: u64 = 315_360_000;

/// Members of a key that are private (RFC 7518 sections 6.2.2, 6.3.2 and 6.4.1, RFC 8037 section 2).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

const URIS: &str = "send a list of absolute URIs without fragments";
const URI: &str = "send an absolute URI without a fragment";
const SCOPE: &str = "send words of visible ASCII without quotes and backslashes, with one space between two";
const SWITCH: &str = "send true or false";
const SECONDS: &str = "send a whole number of seconds";
const ALGORITHM: &str = "send EdDSA, ES256 or RS256";

/// Every member that is known, with what it takes.
const MEMBERS: [(&str, &str); 29] = [
    ("redirect_uris", URIS),
    ("token_endpoint_auth_method", "send none, client_secret_basic, client_secret_post or private_key_jwt"),
    (
        "grant_types",
        "send a list of authorization_code, refresh_token, client_credentials, \
         urn:ietf:params:oauth:grant-type:device_code and urn:ietf:params:oauth:grant-type:token-exchange",
    ),
    ("response_types", "send a list: code is the only response type here"),
    ("client_name", "send a text"),
    ("client_uri", URI),
    ("logo_uri", URI),
    ("scope", SCOPE),
    ("default_scope", SCOPE),
    ("contacts", "send a list of texts"),
    ("tos_uri", URI),
    ("policy_uri", URI),
    ("jwks_uri", URI),
    ("jwks", "send a JSON Web Key Set"),
    ("id_token_signed_response_alg", ALGORITHM),
    ("userinfo_signed_response_alg", ALGORITHM),
    ("default_max_age", SECONDS),
    ("post_logout_redirect_uris", URIS),
    ("backchannel_logout_uri", URI),
    ("backchannel_logout_session_required", SWITCH),
    ("frontchannel_logout_uri", URI),
    ("first_party", SWITCH),
    ("pkce", "send required or optional"),
    ("refresh", "send rotate or stable"),
    ("access_token", "send jwt or opaque"),
    ("access_token_ttl", SECONDS),
    ("may_introspect", SWITCH),
    ("exchange", "send an object with audiences, impersonate and delegate"),
    ("resources", URIS),
];

impl Metadata {
    /// The member that is named where the whole is wrong.
    pub const WHOLE: &'static str = "client_metadata";

    /// Reads metadata as it came. Members that are not known are ignored, and `null` is as good as nothing (RFC 7591
    /// section 2).
    ///
    /// # Errors
    /// The first member that no client can have, with what to do about it.
    pub fn parse(value: Value) -> Result<Self, InvalidMetadata> {
        let Value::Object(mut members) = value else {
            return Err(invalid(Self::WHOLE, "send a JSON object"));
        };
        if Value::Object(members.clone()).to_string().len() > LONGEST {
            return Err(invalid(Self::WHOLE, format!("send at most {LONGEST} bytes")));
        }
        members.retain(|_, value| !value.is_null());
        if members.contains_key("software_statement") {
            return Err(invalid("software_statement", "software statements are not read here: leave it out"));
        }
        let metadata = read(&members)?;
        let metadata = match members.contains_key("response_types") {
            // The default is what the grant types make it (RFC 7591 section 2.1).
            false if !metadata.grant_types.contains(&GrantType::AuthorizationCode) => {
                Self { response_types: Default::default(), ..metadata }
            }
            _ => metadata,
        };
        metadata.check()?;
        Ok(metadata)
    }

    /// Checks what the types do not say, and the members against each other.
    fn check(&self) -> Result<(), InvalidMetadata> {
        self.check_grants()?;
        self.check_authentication()?;
        self.check_texts()?;
        self.check_uris()
    }

    fn check_grants(&self) -> Result<(), InvalidMetadata> {
        let uses_code = self.grant_types.contains(&GrantType::AuthorizationCode);
        if self.grant_types.is_empty() {
            return Err(invalid("grant_types", "name at least one grant type"));
        }
        if uses_code != self.response_types.contains(&ResponseType::Code) {
            let detail =
                "the response type code and the grant type authorization_code go together: name both or neither";
            return Err(invalid("response_types", detail));
        }
        if uses_code && self.redirect_uris.is_empty() {
            return Err(invalid("redirect_uris", "name at least one for the grant type authorization_code"));
        }
        let has_grant = uses_code || self.grant_types.contains(&GrantType::DeviceCode);
        if !has_grant && self.grant_types.contains(&GrantType::RefreshToken) {
            return Err(invalid("grant_types", "refresh_token needs authorization_code or the device code beside it"));
        }
        if self.exchange.is_some() && !self.grant_types.contains(&GrantType::TokenExchange) {
            let detail = "name the grant type urn:ietf:params:oauth:grant-type:token-exchange, or leave this out";
            return Err(invalid("exchange", detail));
        }
        Ok(())
    }

    fn check_authentication(&self) -> Result<(), InvalidMetadata> {
        if self.jwks.is_some() && self.jwks_uri.is_some() {
            return Err(invalid("jwks", "send jwks or jwks_uri, not both"));
        }
        match self.token_endpoint_auth_method {
            Authentication::PrivateKeyJwt if self.jwks.is_none() && self.jwks_uri.is_none() => {
                Err(invalid("jwks", "private_key_jwt needs the client's public keys: send jwks or jwks_uri"))
            }
            Authentication::None => {
                let confidential_only = [
                    ("grant_types", self.grant_types.contains(&GrantType::ClientCredentials), "client_credentials"),
                    ("grant_types", self.grant_types.contains(&GrantType::TokenExchange), "token exchange"),
                    ("pkce", self.pkce == Pkce::Optional, "pkce optional"),
                    ("may_introspect", self.may_introspect, "may_introspect"),
                ];
                match confidential_only.into_iter().find(|(_, is_asked, _)| *is_asked) {
                    Some((member, _, what)) => {
                        let detail =
                            format!("{what} is for clients that authenticate, and token_endpoint_auth_method is none");
                        Err(invalid(member, detail))
                    }
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn check_texts(&self) -> Result<(), InvalidMetadata> {
        if let Some(name) = &self.client_name
            && (name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control))
        {
            return Err(invalid("client_name", format!("send at most {LONGEST_NAME} characters on one line")));
        }
        let is_contact = |contact: &String| contact.len() <= LONGEST_CONTACT && !contact.chars().any(char::is_control);
        if self.contacts.len() > MOST_CONTACTS || !self.contacts.iter().all(is_contact) {
            let detail = format!("send at most {MOST_CONTACTS} of at most {LONGEST_CONTACT} bytes, each on one line");
            return Err(invalid("contacts", detail));
        }
        if self.scope.to_string().len() > LONGEST_SCOPE {
            return Err(invalid("scope", format!("send at most {LONGEST_SCOPE} bytes")));
        }
        if !self.default_scope.is_within(&self.scope) {
            return Err(invalid("default_scope", "name words of scope only"));
        }
        if self.access_token_ttl.is_some_and(|seconds| !(1..=LONGEST_LIFE).contains(&seconds)) {
            return Err(invalid("access_token_ttl", format!("send 1 to {LONGEST_LIFE} seconds")));
        }
        if self.default_max_age.is_some_and(|seconds| seconds > GREATEST_AGE) {
            return Err(invalid("default_max_age", format!("send at most {GREATEST_AGE} seconds")));
        }
        self.jwks.as_ref().map_or(Ok(()), check_keys)
    }

    fn check_uris(&self) -> Result<(), InvalidMetadata> {
        for (member, uris) in
            [("redirect_uris", &self.redirect_uris), ("post_logout_redirect_uris", &self.post_logout_redirect_uris)]
        {
            if uris.len() > MOST_REDIRECTS {
                return Err(invalid(member, format!("send at most {MOST_REDIRECTS}")));
            }
            for uri in uris {
                check_redirect(uri).map_err(|why| invalid(member, format!("{uri}: {why}")))?;
            }
        }
        for (member, uri) in [
            ("client_uri", &self.client_uri),
            ("logo_uri", &self.logo_uri),
            ("tos_uri", &self.tos_uri),
            ("policy_uri", &self.policy_uri),
            ("jwks_uri", &self.jwks_uri),
            ("backchannel_logout_uri", &self.backchannel_logout_uri),
            ("frontchannel_logout_uri", &self.frontchannel_logout_uri),
        ] {
            if let Some(uri) = uri {
                check_web(uri).map_err(|why| invalid(member, why))?;
            }
        }
        if let Some(uri) = &self.frontchannel_logout_uri {
            // OpenID Connect Front-Channel Logout, section 2.
            let own = self.redirect_uris.iter().any(|redirect| origin(redirect) == origin(uri));
            if !own {
                let detail = "scheme, host and port must be those of one of the redirect URIs";
                return Err(invalid("frontchannel_logout_uri", detail));
            }
        }
        if self.resources.len() > MOST_RESOURCES {
            return Err(invalid("resources", format!("send at most {MOST_RESOURCES}")));
        }
        if self.exchange.as_ref().is_some_and(|exchange| exchange.audiences.len() > MOST_RESOURCES) {
            return Err(invalid("exchange", format!("send at most {MOST_RESOURCES} audiences")));
        }
        Ok(())
    }
}

/// Reads the members, each by itself, so that the one that cannot be read is named.
fn read(members: &Map<String, Value>) -> Result<Metadata, InvalidMetadata> {
    for (member, takes) in MEMBERS {
        if let Some(value) = members.get(member) {
            let alone = Map::from_iter([(member.to_owned(), value.clone())]);
            serde_json::from_value::<Metadata>(Value::Object(alone)).map_err(|_| invalid(member, takes))?;
        }
    }
    serde_json::from_value(Value::Object(members.clone()))
        .map_err(|why| invalid(Metadata::WHOLE, format!("it cannot be read: {why}")))
}

fn invalid(member: &'static str, detail: impl Into<String>) -> InvalidMetadata {
    InvalidMetadata { member, detail: detail.into() }
}

/// Where a browser may be sent back to: `https`, `http` on the machine itself (RFC 8252 section 7.3), or a private-use
/// scheme, which has a period in it (RFC 8252 sections 7.1 and 8.4). So what browsers would run or show themselves
/// (`javascript:`, `data:`, `file:`) is none.
fn check_redirect(uri: &AbsoluteUri) -> Result<(), &'static str> {
    let scheme = scheme(uri);
    if scheme == "https" || scheme == "http" {
        return check_web(uri);
    }
    if scheme.contains('.') {
        return Ok(());
    }
    Err(
        "use https, http on the machine itself (127.0.0.1, [::1], localhost), or a scheme of the application's own with a \
         period in it, such as com.example.app",
    )
}

/// `https`, or `http` on the machine itself, with a host and without user and password.
fn check_web(uri: &AbsoluteUri) -> Result<(), &'static str> {
    let url = Url::parse(uri.as_str()).map_err(|_| "this is no URL")?;
    if !url.username().is_empty() || url.password().is_some() || uri_authority(uri).contains('@') {
        return Err("leave user and password out of it");
    }
    match (url.scheme(), url.host()) {
        (_, None) => Err("it has no host"),
        // What is read leniently, such as `https:host`, is compared and shown as it stands.
        _ if uri_authority(uri).is_empty() => Err("it has no host"),
        ("https", _) => Ok(()),
        ("http", Some(host)) if is_loopback(&host) => Ok(()),
        ("http", _) => Err("use https: http is for the machine itself (127.0.0.1, [::1], localhost)"),
        _ => Err("use https"),
    }
}

/// What stands between `//` and the path, as it is written.
fn uri_authority(uri: &AbsoluteUri) -> &str {
    let after = uri.as_str().split_once("://").map(|(_, after)| after).unwrap_or_default();
    after.split(['/', '?']).next().unwrap_or_default()
}

fn scheme(uri: &AbsoluteUri) -> String {
    uri.as_str().split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase()).unwrap_or_default()
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost" || name.ends_with(".localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

fn origin(uri: &AbsoluteUri) -> Option<String> {
    let origin = Url::parse(uri.as_str()).ok()?.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

/// A set of public keys (RFC 7517 section 5).
fn check_keys(set: &Value) -> Result<(), InvalidMetadata> {
    let keys = set.get("keys").and_then(Value::as_array).filter(|keys| !keys.is_empty() && keys.len() <= MOST_KEYS);
    let Some(keys) = keys else {
        return Err(invalid("jwks", format!("send an object whose member keys is a list of 1 to {MOST_KEYS} keys")));
    };
    for key in keys {
        let Some(key) = key.as_object().filter(|key| key.get("kty").is_some_and(Value::is_string)) else {
            return Err(invalid("jwks", "each key is an object with a kty"));
        };
        if PRIVATE.iter().any(|member| key.contains_key(*member)) {
            return Err(invalid("jwks", "send public keys only: this one has a private member"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;
    use crate::oauth::client::AccessTokenFormat;
    use crate::oauth::scope::Scope;
    use crate::secrets::signing_algorithm::SigningAlgorithm;

    /// The least that a client must say, with other members.
    fn with(members: Value) -> Value {
        let mut all = json!({ "redirect_uris": ["https://a.example/cb"] });
        for (name, value) in members.as_object().unwrap() {
            all[name] = value.clone();
        }
        all
    }

    fn refused(members: Value) -> Option<&'static str> {
        Metadata::parse(with(members)).err().map(|why| why.member)
    }

    #[test]
    fn what_is_not_said_is_as_the_rfcs_say() {
        let metadata = Metadata::parse(with(json!({ "client_name": null, "surprise": [1] }))).unwrap();
        assert_eq!(metadata.token_endpoint_auth_method, Authentication::ClientSecretBasic);
        assert_eq!(metadata.grant_types.iter().copied().collect::<Vec<_>>(), [GrantType::AuthorizationCode]);
        assert_eq!(metadata.response_types.iter().copied().collect::<Vec<_>>(), [ResponseType::Code]);
        assert_eq!(metadata.id_token_signed_response_alg, SigningAlgorithm::Rs256);
        assert_eq!((metadata.pkce, metadata.access_token), (Pkce::Required, AccessTokenFormat::Jwt));
        assert_eq!((metadata.scope, metadata.client_name), (Scope::usual(), None));
        let machine = json!({ "grant_types": ["client_credentials"] });
        assert!(Metadata::parse(machine).unwrap().response_types.is_empty());
    }

    #[test]
    fn what_is_written_is_read_again_alike() {
        let all = with(json!({
            "token_endpoint_auth_method": "private_key_jwt",
            "jwks": { "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }] },
            "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:token-exchange"],
            "response_types": ["code"], "client_name": "Ünï", "client_uri": "https://a.example",
            "logo_uri": "https://a.example/logo.png", "scope": "openid read", "default_scope": "read",
            "contacts": ["ops@a.example"], "tos_uri": "https://a.example/tos", "policy_uri": "http://localhost:1/policy",
            "id_token_signed_response_alg": "ES256", "userinfo_signed_response_alg": "EdDSA", "default_max_age": 0,
            "post_logout_redirect_uris": ["https://a.example/out"], "backchannel_logout_uri": "https://a.example/bc",
            "backchannel_logout_session_required": true, "frontchannel_logout_uri": "https://a.example/fc",
            "first_party": true, "pkce": "optional", "refresh": "rotate", "access_token": "opaque",
            "access_token_ttl": 60, "may_introspect": true, "resources": ["urn:example:api"],
            "exchange": { "audiences": ["https://b.example"], "impersonate": true, "delegate": true },
        }));
        let parsed = Metadata::parse(all.clone()).unwrap();
        let written = serde_json::to_value(&parsed).unwrap();
        assert_eq!(Metadata::parse(written.clone()).unwrap(), parsed);
        assert_eq!(written.as_object().unwrap().len(), all.as_object().unwrap().len(), "nothing is lost");
        let known = |name: &String| MEMBERS.iter().any(|(member, _)| member == name);
        assert!(written.as_object().unwrap().keys().all(known), "each member is named when it cannot be read");
    }

    #[test]
    fn each_member_that_cannot_be_read_is_named() {
        for (member, _) in MEMBERS {
            if member == "jwks" {
                continue; // any JSON is read, and checked afterwards
            }
            let odd = if member.ends_with("uris") || member == "resources" { json!([7]) } else { json!([{}]) };
            assert_eq!(refused(json!({ member: odd })), Some(member));
        }
        assert_eq!(refused(json!({ "software_statement": "eyJ" })), Some("software_statement"));
        for (member, value) in [
            ("grant_types", json!(["implicit"])),
            ("grant_types", json!(["password"])),
            ("response_types", json!(["code", "token"])),
            ("token_endpoint_auth_method", json!("client_secret_jwt")),
            ("id_token_signed_response_alg", json!("none")),
            ("id_token_signed_response_alg", json!("HS256")),
            ("scope", json!("a  b")),
            ("redirect_uris", json!(["/cb"])),
            ("redirect_uris", json!(["https://a.example/#x"])),
            ("access_token_ttl", json!(-1)),
        ] {
            assert_eq!(refused(json!({ member: value })), Some(member), "{value}");
        }
        assert_eq!(Metadata::parse(json!([])).unwrap_err().member, "client_metadata");
        assert_eq!(Metadata::parse(json!({ "x": "y".repeat(LONGEST) })).unwrap_err().member, "client_metadata");
    }

    #[test]
    fn members_are_held_against_each_other() {
        let key = json!({ "keys": [{ "kty": "RSA" }] });
        let exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
        for (members, member) in [
            (json!({ "redirect_uris": [] }), "redirect_uris"),
            (json!({ "grant_types": [] }), "grant_types"),
            (json!({ "grant_types": ["client_credentials"], "response_types": ["code"] }), "response_types"),
            (json!({ "response_types": [] }), "response_types"),
            (json!({ "grant_types": ["client_credentials", "refresh_token"] }), "grant_types"),
            (json!({ "exchange": {} }), "exchange"),
            (json!({ "token_endpoint_auth_method": "private_key_jwt" }), "jwks"),
            (json!({ "jwks": key, "jwks_uri": "https://a.example/jwks" }), "jwks"),
            (json!({ "jwks": [] }), "jwks"),
            (json!({ "jwks": { "keys": [] } }), "jwks"),
            (json!({ "jwks": { "keys": [{ "kty": "OKP", "d": "x" }] } }), "jwks"),
            (json!({ "jwks": { "keys": [{ "kty": "oct", "k": "x" }] } }), "jwks"),
            (json!({ "scope": "openid", "default_scope": "email" }), "default_scope"),
            (json!({ "access_token_ttl": 0 }), "access_token_ttl"),
            (json!({ "access_token_ttl": LONGEST_LIFE + 1 }), "access_token_ttl"),
            (json!({ "default_max_age": GREATEST_AGE + 1 }), "default_max_age"),
            (json!({ "client_name": "a\nb" }), "client_name"),
            (json!({ "client_name": "a".repeat(LONGEST_NAME + 1) }), "client_name"),
            (json!({ "contacts": vec!["a"; MOST_CONTACTS + 1] }), "contacts"),
            (json!({ "frontchannel_logout_uri": "https://b.example/out" }), "frontchannel_logout_uri"),
            (json!({ "redirect_uris": vec!["https://a.example/cb"; MOST_REDIRECTS + 1] }), "redirect_uris"),
        ] {
            assert_eq!(refused(members.clone()), Some(member), "{members}");
        }
        for (members, member) in [
            (json!({ "grant_types": ["client_credentials"] }), "grant_types"),
            (json!({ "grant_types": ["authorization_code", exchange] }), "grant_types"),
            (json!({ "pkce": "optional" }), "pkce"),
            (json!({ "may_introspect": true }), "may_introspect"),
        ] {
            assert_eq!(refused(members.clone()), None, "{members} is for a client that authenticates");
            let mut public = members.clone();
            public["token_endpoint_auth_method"] = json!("none");
            assert_eq!(refused(public), Some(member), "{members}");
        }
    }

    #[test]
    fn browsers_are_sent_where_only_the_client_listens() {
        for good in [
            "https://a.example/cb?x=1",
            "https://a.example:8443",
            "http://127.0.0.1/cb",
            "http://127.0.0.1:5123/cb",
            "http://[::1]:1/cb",
            "http://localhost/cb",
            "http://app.localhost:3000/cb",
            "com.example.app:/cb",
            "com.example.app://cb",
        ] {
            assert_eq!(refused(json!({ "redirect_uris": [good] })), None, "{good}");
            assert_eq!(refused(json!({ "post_logout_redirect_uris": [good] })), None, "{good}");
        }
        for bad in [
            "http://a.example/cb",
            "http://127.0.0.1.evil.example/cb",
            "http://localhost.evil.example/cb",
            "http://user@localhost/cb",
            "https://user:secret@a.example/cb",
            "https://@a.example/cb",
            "https:a.example/cb",
            "https:///cb",
            "https://",
            "javascript:alert(1)",
            "JAVASCRIPT:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "about:blank",
            "myapp:/cb",
            "urn:ietf:wg:oauth:2.0:oob",
        ] {
            assert_eq!(refused(json!({ "redirect_uris": [bad] })), Some("redirect_uris"), "{bad}");
            let member = "post_logout_redirect_uris";
            assert_eq!(refused(json!({ member: [bad] })), Some(member), "{bad}");
        }
    }

    #[test]
    fn what_people_are_shown_is_on_the_web() {
        let members = ["client_uri", "logo_uri", "tos_uri", "policy_uri", "jwks_uri", "backchannel_logout_uri"];
        for member in members {
            for bad in ["http://a.example", "javascript:alert(1)", "com.example.app:/x", "https://a@b.example/"] {
                assert_eq!(refused(json!({ member: bad })), Some(member), "{bad}");
            }
            assert_eq!(refused(json!({ member: "https://a.example/x" })), None, "{member}");
            assert_eq!(refused(json!({ member: "http://127.0.0.1:9/x" })), None, "{member}");
        }
    }
}
