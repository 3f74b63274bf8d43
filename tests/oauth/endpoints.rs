//! The endpoints that clients call: errors as the protocol wants them, tokens in a client's own name, introspection,
//! revocation, discovery.

use super::{Client, REDIRECT, refused, said, somebody};
use crate::support::App;
use crate::support::browser::Browser;
use crate::support::json;

on_both_databases!(
    clients_show_who_they_are_or_are_refused_alike,
    a_client_asks_in_its_own_name,
    tokens_are_told_of_to_those_who_may_know,
    a_token_that_is_given_back_is_worth_nothing,
    opaque_tokens_are_known_here_only,
    what_is_wrong_with_a_request_is_told_to_the_client,
    what_cannot_be_trusted_is_told_to_the_person,
    discovery_says_where_everything_is,
    scripts_of_any_origin_may_call_what_reads_no_cookie,
);

async fn clients_show_who_they_are_or_are_refused_alike(app: &App) {
    let client = Client::registered(
        app,
        "basic",
        json!({"token_endpoint_auth_method": "client_secret_basic", "grant_types": ["client_credentials"], "scope": "a b"}),
    )
    .await;
    let secret = client.secret.clone().expect("a secret");
    let basic = |id: &str, secret: &str| {
        use base64ct::{Base64, Encoding};
        format!("Basic {}", Base64::encode_string(format!("{id}:{secret}").as_bytes()))
    };
    let ask = |header: Option<String>, fields: Vec<(&'static str, String)>| {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let request = app.client().form("/oauth/token", &fields);
        match header {
            Some(header) => request.header("authorization", &header),
            None => request,
        }
        .send()
    };
    let grant = || ("grant_type", "client_credentials".to_owned());
    ask(Some(basic("basic", &secret)), vec![grant()]).await.expect(200);
    ask(None, vec![grant(), ("client_id", "basic".into()), ("client_secret", secret.clone())]).await.expect(200);
    let mut told = Vec::new();
    for (header, fields) in [
        (Some(basic("basic", "cairn_cs_wrong")), vec![grant()]),
        (Some(basic("nobody", &secret)), vec![grant()]),
        (Some("Basic %%%".to_owned()), vec![grant()]),
        (Some("Bearer x".to_owned()), vec![grant()]),
        (None, vec![grant(), ("client_id", "basic".into())]),
        (None, vec![grant(), ("client_id", "nobody".into())]),
        (None, vec![grant()]),
        (None, vec![("grant_type", "nonsense".into()), ("client_id", "nobody".into())]),
    ] {
        let answer = ask(header, fields).await;
        refused(&answer, 401, "invalid_client");
        assert!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("Basic ")), "{answer}");
        told.push(answer.text());
    }
    assert!(told.iter().all(|one| *one == told[0]), "{told:?}");
    let twice = vec![grant(), ("client_id", "basic".into()), ("client_secret", secret.clone())];
    refused(&ask(Some(basic("basic", &secret)), twice).await, 400, "invalid_request");
    let doubled = vec![grant(), grant()];
    refused(&ask(Some(basic("basic", &secret)), doubled).await, 400, "invalid_request");
    let unknown = vec![("grant_type", "password".to_owned())];
    refused(&ask(Some(basic("basic", &secret)), unknown).await, 400, "unsupported_grant_type");
    let code = vec![("grant_type", "authorization_code".to_owned()), ("code", "x".to_owned())];
    refused(&ask(Some(basic("basic", &secret)), code).await, 400, "unauthorized_client");
    refused(&app.client().post("/oauth/token", &json!({})).send().await, 400, "invalid_request");
    assert_eq!(app.client().get("/oauth/token").send().await.status, 405);
}

async fn a_client_asks_in_its_own_name(app: &App) {
    let client = Client::registered(
        app,
        "service",
        json!({
            "token_endpoint_auth_method": "client_secret_post",
            "grant_types": ["client_credentials"],
            "scope": "openid read write",
            "default_scope": "read",
            "resources": ["https://api.example/", "https://other.example/"],
        }),
    )
    .await;
    let grant = ("grant_type", "client_credentials");
    let tokens = client.ask(app, "/oauth/token", &[grant]).await.expect(200);
    assert_eq!((&tokens["scope"], tokens.get("refresh_token"), tokens.get("id_token")), (&json!("read"), None, None));
    let claims = said(&tokens["access_token"]);
    assert_eq!((&claims["sub"], &claims["aud"]), (&json!("service"), &json!("https://api.example/")));
    let fields = [grant, ("scope", "read write"), ("resource", "https://other.example/")];
    let tokens = client.ask(app, "/oauth/token", &fields).await.expect(200);
    assert_eq!(said(&tokens["access_token"])["aud"], "https://other.example/");
    refused(&client.ask(app, "/oauth/token", &[grant, ("scope", "admin")]).await, 400, "invalid_scope");
    refused(&client.ask(app, "/oauth/token", &[grant, ("scope", "openid")]).await, 400, "invalid_scope");
    refused(
        &client.ask(app, "/oauth/token", &[grant, ("resource", "https://evil.example/")]).await,
        400,
        "invalid_target",
    );
    let told = app.client().get("/oauth/userinfo").bearer(tokens["access_token"].as_str().unwrap()).send().await;
    assert_eq!(told.status, 401, "it is about nobody: {told}");
}

async fn tokens_are_told_of_to_those_who_may_know(app: &App) {
    let client = Client::confidential(app, "asks").await;
    let other = Client::confidential(app, "stranger").await;
    let may = json!({"token_endpoint_auth_method": "client_secret_post", "may_introspect": true});
    let gateway = Client::registered(app, "gateway", may).await;
    let (person, mut browser) = somebody(app, "asked").await;
    let tokens = client.let_in(app, &mut browser, &[]).await;
    for name in ["access_token", "refresh_token"] {
        let token = tokens[name].as_str().unwrap();
        let told = client.ask(app, "/oauth/introspect", &[("token", token)]).await.expect(200);
        assert_eq!((&told["active"], &told["client_id"]), (&json!(true), &json!("asks")), "{name}");
        let told = other.ask(app, "/oauth/introspect", &[("token", token)]).await.expect(200);
        assert_eq!(told, json!({"active": false}), "{name}");
    }
    let access = tokens["access_token"].as_str().unwrap();
    let told = gateway.ask(app, "/oauth/introspect", &[("token", access)]).await.expect(200);
    assert_eq!((&told["username"], &told["scope"]), (&json!(person.username), &json!("email openid profile")));
    for token in ["", "garbage", "cairn_rt_garbage", "cairn_at_garbage", "a.b.c", &format!("{access}x")] {
        let answer = gateway.ask(app, "/oauth/introspect", &[("token", token)]).await;
        if token.is_empty() {
            refused(&answer, 400, "invalid_request");
        } else {
            assert_eq!(answer.expect(200), json!({"active": false}), "{token}");
        }
    }
    // A person's own session is nobody's but theirs.
    let own = person.signs_in(app).await;
    let told = gateway.ask(app, "/oauth/introspect", &[("token", &own.access)]).await.expect(200);
    assert_eq!(told, json!({"active": false}));
    let public = Client::public(app, "public-asks").await;
    refused(&public.ask(app, "/oauth/introspect", &[("token", access)]).await, 401, "invalid_client");
}

async fn a_token_that_is_given_back_is_worth_nothing(app: &App) {
    let client = Client::confidential(app, "gives-back").await;
    let other = Client::confidential(app, "takes-away").await;
    let (_, mut browser) = somebody(app, "gives-back").await;
    for name in ["access_token", "refresh_token"] {
        let tokens = client.let_in(app, &mut browser, &[]).await;
        let token = tokens[name].as_str().unwrap();
        other.ask(app, "/oauth/revoke", &[("token", token)]).await.expect(200);
        client.refresh(app, tokens["refresh_token"].as_str().unwrap()).await.expect(200);
        client.ask(app, "/oauth/revoke", &[("token", token)]).await.expect(200);
        client.ask(app, "/oauth/revoke", &[("token", token)]).await.expect(200);
        refused(&client.refresh(app, tokens["refresh_token"].as_str().unwrap()).await, 400, "invalid_grant");
        let access = tokens["access_token"].as_str().unwrap();
        let told = client.ask(app, "/oauth/introspect", &[("token", access)]).await.expect(200);
        assert_eq!(told, json!({"active": false}));
    }
    client.ask(app, "/oauth/revoke", &[("token", "garbage")]).await.expect(200);
}

async fn opaque_tokens_are_known_here_only(app: &App) {
    let more = json!({"token_endpoint_auth_method": "client_secret_post", "access_token": "opaque"});
    let client = Client::registered(app, "opaque", more).await;
    let (person, mut browser) = somebody(app, "opaque").await;
    let tokens = client.let_in(app, &mut browser, &[]).await;
    let access = tokens["access_token"].as_str().unwrap();
    assert!(access.starts_with("cairn_at_") && !access.contains('.'), "{access}");
    let told = app.client().get("/oauth/userinfo").bearer(access).send().await.expect(200);
    assert_eq!(told["email"], person.email);
    let told = client.ask(app, "/oauth/introspect", &[("token", access)]).await.expect(200);
    assert_eq!(told["active"], true);
    client.ask(app, "/oauth/revoke", &[("token", access)]).await.expect(200);
    assert_eq!(app.client().get("/oauth/userinfo").bearer(access).send().await.status, 401);
}

async fn what_is_wrong_with_a_request_is_told_to_the_client(app: &App) {
    let client = Client::public(app, "wrong").await;
    let (_, mut browser) = somebody(app, "wrong").await;
    for (more, error) in [
        (vec![("response_type", "token")], "unsupported_response_type"),
        (vec![("response_type", "")], "invalid_request"),
        (vec![("code_challenge", "")], "invalid_request"),
        (vec![("code_challenge_method", "plain")], "invalid_request"),
        (vec![("code_challenge_method", "")], "invalid_request"),
        (vec![("code_challenge", "short")], "invalid_request"),
        (vec![("scope", "nothing of it")], "invalid_scope"),
        (vec![("scope", "a  b")], "invalid_scope"),
        (vec![("resource", "https://evil.example/")], "invalid_target"),
        (vec![("prompt", "dance")], "invalid_request"),
        (vec![("max_age", "-1")], "invalid_request"),
        (vec![("claims", "{")], "invalid_request"),
        (vec![("response_mode", "pigeon")], "invalid_request"),
        (vec![("request", "x.y.z")], "request_not_supported"),
        (vec![("request_uri", "https://evil.example/r")], "request_uri_not_supported"),
        (vec![("registration", "{}")], "registration_not_supported"),
    ] {
        let back = browser.open(app, &client.request(&more)).await;
        assert!(back.url.starts_with(REDIRECT), "{more:?}: {}", back.url);
        assert_eq!(back.parameter("error"), error, "{more:?}");
        assert_eq!((back.parameter("state").as_str(), back.parameter("iss")), ("the state & more", app.public_url()));
        assert!(!back.parameter("error_description").is_empty());
    }
    let doubled = format!("{}&nonce=another", client.request(&[]));
    assert_eq!(browser.open(app, &doubled).await.parameter("error"), "invalid_request");
    // What nobody knows is ignored.
    let page = browser.open(app, &client.request(&[("whatever", "x"), ("display", "touch")])).await;
    page.says(200, "Allow wrong?");
    let fragment = browser.open(app, &client.request(&[("response_mode", "fragment"), ("scope", "none")])).await;
    assert!(fragment.url.starts_with(&format!("{REDIRECT}#error=")), "{}", fragment.url);
}

async fn what_cannot_be_trusted_is_told_to_the_person(app: &App) {
    let client = Client::public(app, "trusted").await;
    let mut browser = Browser::new();
    for more in [
        vec![("client_id", "nobody")],
        vec![("client_id", "")],
        vec![("redirect_uri", "https://client.example/cb/")],
        vec![("redirect_uri", "https://client.example.evil.example/cb")],
        vec![("redirect_uri", "https://client.example/cb#x")],
        vec![("redirect_uri", "javascript:alert(1)")],
    ] {
        let page = browser.open(app, &client.request(&more)).await;
        assert_eq!((page.status, page.answer.header("location")), (400, None), "{more:?}");
        page.says(400, "was sent to");
    }
    let doubled = format!("{}&redirect_uri=https%3A%2F%2Fevil.example", client.request(&[]));
    assert_eq!(browser.open(app, &doubled).await.status, 400);
}

async fn discovery_says_where_everything_is(app: &App) {
    let told = app.client().get("/.well-known/openid-configuration").send().await.expect(200);
    let same = app.client().get("/.well-known/oauth-authorization-server").send().await.expect(200);
    assert_eq!(told, same);
    assert_eq!(told["issuer"], app.public_url());
    for (member, value) in told.as_object().expect("an object") {
        let Some(path) = value.as_str().and_then(|url| url.strip_prefix(&app.public_url())) else { continue };
        if !path.is_empty() {
            let answer = app.client().request("OPTIONS", path).send().await;
            assert_eq!(answer.status, 204, "{member}: {answer}");
        }
    }
    let keys = app.client().get("/.well-known/jwks.json").send().await.expect(200);
    let algorithms: Vec<_> = keys["keys"].as_array().unwrap().iter().map(|key| key["alg"].clone()).collect();
    assert!(algorithms.contains(&json!("ES256")) && algorithms.contains(&json!("EdDSA")), "{algorithms:?}");
}

async fn scripts_of_any_origin_may_call_what_reads_no_cookie(app: &App) {
    let origin = "https://spa.example";
    for path in ["/oauth/token", "/oauth/revoke", "/oauth/introspect", "/oauth/userinfo"] {
        let asked = app.client().request("OPTIONS", path).header("origin", origin);
        let asked = asked.header("access-control-request-method", "POST");
        let asked = asked.header("access-control-request-headers", "authorization, mcp-protocol-version").send().await;
        assert_eq!(asked.header("access-control-allow-origin"), Some("*"), "{path}: {asked}");
        assert_eq!(
            asked.header("access-control-allow-headers"),
            Some("authorization, mcp-protocol-version"),
            "{asked}"
        );
        assert_eq!(asked.header("access-control-allow-credentials"), None);
        let answer = app.client().request("POST", path).header("origin", origin).send().await;
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{path}: {answer}");
    }
    for path in ["/oauth/authorize", "/consent", "/oauth/logout"] {
        let answer = app.client().get(path).header("origin", origin).send().await;
        assert_eq!(answer.header("access-control-allow-origin"), None, "{path}: {answer}");
    }
}
