//! The authorization code flow: signing in, consent, the code, its tokens, and how they are carried on.

use super::{CHALLENGE, Client, REDIRECT, VERIFIER, allowed, refused, said, somebody};
use crate::support::browser::Browser;
use crate::support::{App, Kind, Person, Value, json};

on_both_databases!(
    somebody_signs_in_consents_and_comes_back_with_a_code,
    a_code_is_answered_once_and_its_repeat_alike,
    wrong_exchanges_use_nothing_up,
    refresh_tokens_rotate_and_a_lost_reply_is_told_again,
    many_that_refresh_at_once_all_live_on,
    a_confidential_client_keeps_its_refresh_token,
    consent_is_remembered_asked_for_more_and_taken_back,
    a_consent_for_one_resource_is_none_for_another,
    what_ends_a_session_ends_what_rests_on_it,
    whoever_is_signed_in_is_not_asked_again_but_for_a_reason,
    a_clients_token_is_no_session,
    a_deleted_client_is_unknown_and_so_is_what_it_had,
);

async fn somebody_signs_in_consents_and_comes_back_with_a_code(app: &App) {
    let client = Client::public(app, "notes").await;
    let person = Person::new("notes");
    person.joins(app).await;
    let mut browser = Browser::new();
    let login = browser.open(app, &client.request(&[("login_hint", &person.email)])).await;
    assert!(login.url.starts_with("/login?") && login.url.len() < 500, "{}", login.url);
    let form = login.form("login");
    assert!(form.fields.contains(&("identifier".to_owned(), person.email.clone())), "{form:?}");
    let asked = browser.send(app, &form.with("password", &person.password)).await;
    asked.says(200, "Allow notes?").says(200, "Your email address").says(200, &person.email);
    // A second look changes nothing.
    browser.open(app, &asked.url).await.says(200, "Allow notes?");
    let back = browser.send(app, &asked.form("consent").pressed("decision", "allow")).await;
    assert!(back.url.starts_with(REDIRECT), "{}", back.url);
    assert_eq!(back.parameter("state"), "the state & more");
    assert_eq!(back.parameter("iss"), app.public_url());
    // Opened again before the code was used, the page goes where its answer went.
    assert_eq!(browser.open(app, &asked.url).await.url, back.url);

    let answer = client.redeem(app, &back.parameter("code")).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let tokens = answer.expect(200);
    assert_eq!((&tokens["token_type"], &tokens["scope"]), (&json!("Bearer"), &json!("email openid profile")));
    let id = said(&tokens["id_token"]);
    assert_eq!((&id["aud"], &id["nonce"], &id["amr"]), (&json!("notes"), &json!("the nonce"), &json!(["pwd"])));
    assert_eq!((&id["iss"], &id["email"]), (&json!(app.public_url()), &json!(person.email)));
    let access = said(&tokens["access_token"]);
    assert_eq!((&access["sub"], &access["client_id"]), (&id["sub"], &json!("notes")));
    let told = app.client().get("/oauth/userinfo").bearer(tokens["access_token"].as_str().unwrap()).send().await;
    assert_eq!(told.expect(200)["sub"], id["sub"]);
    // And afterwards it says that it is over.
    browser.open(app, &asked.url).await.says(410, "This sign-in is over");
}

async fn a_code_is_answered_once_and_its_repeat_alike(app: &App) {
    let client = Client::public(app, "repeats").await;
    let (_, mut browser) = somebody(app, "repeats").await;
    let code = allowed(app, &mut browser, &client.request(&[])).await.parameter("code");
    let first = client.redeem(app, &code).await.expect(200);
    let again = client.redeem(app, &code).await.expect(200);
    assert_eq!(again["refresh_token"], first["refresh_token"]);
    for name in ["jti", "iat", "exp", "sub"] {
        assert_eq!(said(&again["access_token"])[name], said(&first["access_token"])[name], "{name}");
    }
    assert_eq!(said(&again["id_token"])["nonce"], "the nonce");
    // Once the tokens are in use, whoever comes with the code has a copy of it.
    let next = client.refresh(app, first["refresh_token"].as_str().unwrap()).await.expect(200);
    refused(&client.redeem(app, &code).await, 400, "invalid_grant");
    refused(&client.refresh(app, next["refresh_token"].as_str().unwrap()).await, 400, "invalid_grant");
}

async fn wrong_exchanges_use_nothing_up(app: &App) {
    let client = Client::public(app, "careful").await;
    let other = Client::public(app, "other").await;
    let (_, mut browser) = somebody(app, "careful").await;
    let code = allowed(app, &mut browser, &client.request(&[])).await.parameter("code");
    refused(&other.redeem(app, &code).await, 400, "invalid_grant");
    let with = |verifier: &'static str, redirect: &'static str| {
        vec![
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("code_verifier", verifier),
            ("redirect_uri", redirect),
        ]
    };
    for (verifier, redirect) in
        [(CHALLENGE, REDIRECT), ("", REDIRECT), ("short", REDIRECT), (VERIFIER, "https://client.example/other")]
    {
        refused(&client.ask(app, "/oauth/token", &with(verifier, redirect)).await, 400, "invalid_grant");
    }
    client.redeem(app, &code).await.expect(200);
}

async fn refresh_tokens_rotate_and_a_lost_reply_is_told_again(app: &App) {
    let client = Client::public(app, "rotates").await;
    let (_, mut browser) = somebody(app, "rotates").await;
    let first = client.let_in(app, &mut browser, &[]).await;
    let shown = first["refresh_token"].as_str().unwrap();
    let next = client.refresh(app, shown).await.expect(200);
    assert_ne!(next["refresh_token"], first["refresh_token"]);
    assert_eq!(said(&next["id_token"])["sub"], said(&first["id_token"])["sub"]);
    assert_eq!(
        client.refresh(app, shown).await.expect(200)["refresh_token"],
        next["refresh_token"],
        "the reply was lost"
    );
    // Narrowed for once.
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", next["refresh_token"].as_str().unwrap()),
        ("scope", "openid"),
    ];
    let narrow = client.ask(app, "/oauth/token", &fields).await.expect(200);
    assert_eq!(narrow["scope"], "openid");
    let wide = client.refresh(app, narrow["refresh_token"].as_str().unwrap()).await.expect(200);
    assert_eq!(wide["scope"], "email openid profile");
    // What was replaced long ago shows that somebody has a copy.
    refused(&client.refresh(app, shown).await, 400, "invalid_grant");
    refused(&client.refresh(app, wide["refresh_token"].as_str().unwrap()).await, 400, "invalid_grant");
}

async fn many_that_refresh_at_once_all_live_on(app: &App) {
    let client = Client::public(app, "fleet").await;
    let (_, mut browser) = somebody(app, "fleet").await;
    let first = client.let_in(app, &mut browser, &[]).await;
    let shown = first["refresh_token"].as_str().unwrap();
    let all = futures_util::future::join_all((0..6).map(|_| client.refresh(app, shown))).await;
    let next: Vec<_> = all.iter().map(|answer| answer.expect(200)["refresh_token"].clone()).collect();
    assert!(next.iter().all(|token| *token == next[0]), "{next:?}");
    client.refresh(app, next[0].as_str().unwrap()).await.expect(200);
}

async fn a_confidential_client_keeps_its_refresh_token(app: &App) {
    let client = Client::confidential(app, "keeps").await;
    let (_, mut browser) = somebody(app, "keeps").await;
    let first = client.let_in(app, &mut browser, &[]).await;
    let token = first["refresh_token"].as_str().unwrap();
    for _ in 0..3 {
        let next = client.refresh(app, token).await.expect(200);
        assert_eq!(next["refresh_token"], first["refresh_token"]);
        assert_ne!(said(&next["access_token"])["jti"], said(&first["access_token"])["jti"]);
    }
    // Its refresh token is nothing without its secret.
    let bare = Client { id: client.id.clone(), secret: None };
    refused(&bare.refresh(app, token).await, 401, "invalid_client");
    let wrong = Client { id: client.id.clone(), secret: Some("cairn_cs_wrong".to_owned()) };
    refused(&wrong.refresh(app, token).await, 401, "invalid_client");
}

async fn consent_is_remembered_asked_for_more_and_taken_back(app: &App) {
    let client = Client::public(app, "remembered").await;
    let (_, mut browser) = somebody(app, "remembered").await;
    let tokens = client.let_in(app, &mut browser, &[("scope", "openid profile")]).await;
    // The same, and less.
    for scope in ["openid profile", "openid"] {
        let page = browser.open(app, &client.request(&[("scope", scope)])).await;
        assert!(page.url.starts_with(REDIRECT), "{}", page.url);
    }
    let more = browser.open(app, &client.request(&[])).await;
    more.says(200, "Your email address");
    let denied = browser.send(app, &more.form("consent").pressed("decision", "deny")).await;
    assert_eq!(
        (denied.parameter("error").as_str(), denied.parameter("state").as_str()),
        ("access_denied", "the state & more")
    );
    browser.open(app, &more.url).await.says(410, "This sign-in is over");

    let page = browser.open(app, "/account/applications").await;
    page.says(200, "remembered");
    let page = browser.send(app, &page.form("end-1")).await;
    page.says(200, "That application can do nothing for you any more.").says(200, "No application may do anything");
    refused(&client.refresh(app, tokens["refresh_token"].as_str().unwrap()).await, 400, "invalid_grant");
    let told = app.client().get("/oauth/userinfo").bearer(tokens["access_token"].as_str().unwrap()).send().await;
    assert_eq!(told.status, 401, "{told}");
    assert!(told.header("www-authenticate").is_some_and(|value| value.contains("invalid_token")), "{told}");
    // Given once more, it opens nothing from before.
    let anew = client.let_in(app, &mut browser, &[("scope", "openid profile")]).await;
    refused(&client.refresh(app, tokens["refresh_token"].as_str().unwrap()).await, 400, "invalid_grant");
    client.refresh(app, anew["refresh_token"].as_str().unwrap()).await.expect(200);
}

async fn a_consent_for_one_resource_is_none_for_another(app: &App) {
    let resources = json!(["https://one.example/", "https://two.example/"]);
    let more = json!({"token_endpoint_auth_method": "none", "scope": "openid read", "resources": resources});
    let client = Client::registered(app, "resources", more).await;
    let (_, mut browser) = somebody(app, "resources").await;
    let request = |resource| client.request(&[("scope", "read"), ("resource", resource)]);
    for resource in ["https://one.example/", "https://two.example/"] {
        let asked = browser.open(app, &request(resource)).await;
        asked.says(200, resource);
        let back = browser.send(app, &asked.form("consent").pressed("decision", "allow")).await;
        let tokens = client.redeem(app, &back.parameter("code")).await.expect(200);
        assert_eq!(said(&tokens["access_token"])["aud"], resource);
        assert!(tokens.get("id_token").is_none(), "nobody asked for openid");
    }
    // Both are remembered.
    assert!(browser.open(app, &request("https://one.example/")).await.url.starts_with(REDIRECT));
}

async fn what_ends_a_session_ends_what_rests_on_it(app: &App) {
    let client = Client::public(app, "rests").await;
    let (person, mut browser) = somebody(app, "rests").await;
    let bound = client.let_in(app, &mut browser, &[]).await;
    let offline = client.let_in(app, &mut browser, &[("scope", "openid offline_access")]).await;
    let form = browser.open(app, "/logout").await.form("logout");
    browser.send(app, &form).await;
    refused(&client.refresh(app, bound["refresh_token"].as_str().unwrap()).await, 400, "invalid_grant");
    let next = client.refresh(app, offline["refresh_token"].as_str().unwrap()).await.expect(200);
    // Nothing outlives the person's own fence.
    let tokens = person.signs_in(app).await;
    app.client().request("POST", "/auth/logout-all").bearer(&tokens.access).send().await.expect(204);
    refused(&client.refresh(app, next["refresh_token"].as_str().unwrap()).await, 400, "invalid_grant");
    let told = app.client().get("/oauth/userinfo").bearer(next["access_token"].as_str().unwrap()).send().await;
    assert_eq!(told.status, 401, "{told}");
}

async fn whoever_is_signed_in_is_not_asked_again_but_for_a_reason(app: &App) {
    let client =
        Client::registered(app, "own", json!({"token_endpoint_auth_method": "none", "first_party": true})).await;
    let mut nobody = Browser::new();
    let back = nobody.open(app, &client.request(&[("prompt", "none")])).await;
    assert_eq!(back.parameter("error"), "login_required");
    let (person, mut browser) = somebody(app, "own").await;
    for more in [vec![], vec![("prompt", "none")], vec![("max_age", "1000")]] {
        let page = browser.open(app, &client.request(&more)).await;
        assert!(page.url.starts_with(REDIRECT) && page.url.contains("code="), "{more:?}: {}", page.url);
    }
    let others = Client::public(app, "others").await;
    let back = browser.open(app, &others.request(&[("prompt", "none")])).await;
    assert_eq!(back.parameter("error"), "consent_required");
    for prompt in ["consent", "select_account"] {
        browser.open(app, &client.request(&[("prompt", prompt)])).await.says(200, "Allow own?");
    }
    for more in [("prompt", "login"), ("max_age", "0")] {
        let login = browser.open(app, &client.request(&[more])).await;
        login.says(200, "asks you to sign in again");
        let wrong = browser.send(app, &login.form("login").with("password", "not the password")).await;
        wrong.says(422, "do not go together");
        let back = browser.send(app, &wrong.form("login").with("password", &person.password)).await;
        let tokens = client.redeem(app, &back.parameter("code")).await.expect(200);
        assert!(said(&tokens["id_token"])["auth_time"].as_i64().is_some());
    }
    // The client expects somebody: who is signed in is that person, or nobody answers for them.
    let (_, mut stranger) = somebody(app, "stranger").await;
    let strangers = client.let_in(app, &mut stranger, &[]).await;
    let own = client.let_in(app, &mut browser, &[]).await;
    let back = async |browser: &mut Browser, hint: &Value| {
        let hint = [("prompt", "none"), ("id_token_hint", hint["id_token"].as_str().unwrap())];
        browser.open(app, &client.request(&hint)).await.parameters().into_iter().map(|(name, _)| name).next().unwrap()
    };
    assert_eq!(back(&mut browser, &own).await, "code");
    assert_eq!(back(&mut browser, &strangers).await, "error");
    // Somebody else may sign in instead; who was signed in before is so no more.
    let other = Person::new("instead");
    other.joins(app).await;
    let login = browser.open(app, &client.request(&[("prompt", "login")])).await;
    let form = login.form("login").with("identifier", &other.email).with("password", &other.password);
    let back = browser.send(app, &form).await;
    let tokens = client.redeem(app, &back.parameter("code")).await.expect(200);
    assert_eq!(said(&tokens["id_token"])["email"], other.email);
    let mine = person.signs_in(app).await;
    let sessions = app.client().get("/auth/sessions").bearer(&mine.access).send().await.expect(200);
    assert_eq!(sessions["sessions"].as_array().map(Vec::len), Some(1), "{sessions}");
    let back = browser.open(app, &client.request(&[("prompt", "none login")])).await;
    assert_eq!(back.parameter("error"), "invalid_request");
}

async fn a_clients_token_is_no_session(app: &App) {
    let client = Client::public(app, "client-only").await;
    let (person, mut browser) = somebody(app, "client-only").await;
    let tokens = client.let_in(app, &mut browser, &[]).await;
    let access = tokens["access_token"].as_str().unwrap();
    for path in ["/users/me", "/auth/sessions", "/auth/status"] {
        app.client().get(path).bearer(access).send().await.problem(401, "session-ended");
    }
    // And a refresh token of the one is none of the other.
    let refresh = json!({"refresh_token": tokens["refresh_token"]});
    app.client().post("/auth/refresh", &refresh).send().await.problem(401, "session-ended");
    let own = person.signs_in(app).await;
    refused(&client.refresh(app, &own.refresh).await, 400, "invalid_grant");
    // A person's own token tells of them.
    let told = app.client().get("/oauth/userinfo").bearer(&own.access).send().await.expect(200);
    assert_eq!(told["email"], person.email);
}

async fn a_deleted_client_is_unknown_and_so_is_what_it_had(app: &App) {
    let client = Client::public(app, "gone").await;
    let (_, mut browser) = somebody(app, "gone").await;
    let tokens = client.let_in(app, &mut browser, &[]).await;
    let refresh = tokens["refresh_token"].as_str().unwrap();
    app.operations().request("DELETE", "/clients/gone").send().await.expect(204);
    refused(&client.refresh(app, refresh).await, 401, "invalid_client");
    browser.open(app, &client.request(&[])).await.says(400, "not known");
    // One of the same name that is registered later has nothing of it.
    Client::public(app, "gone").await;
    refused(&client.refresh(app, refresh).await, 400, "invalid_grant");
    let told = app.client().get("/oauth/userinfo").bearer(tokens["access_token"].as_str().unwrap()).send().await;
    assert_eq!(told.status, 401, "{told}");
}

#[tokio::test]
async fn without_a_grace_time_a_repeat_is_reuse() {
    let app = App::plan(Kind::Sqlite).named("no-grace").set("CAIRN_REFRESH_GRACE", "0").start().await;
    let client = Client::public(&app, "strict").await;
    let (_, mut browser) = somebody(&app, "strict").await;
    let code = allowed(&app, &mut browser, &client.request(&[])).await.parameter("code");
    let tokens = client.redeem(&app, &code).await.expect(200);
    refused(&client.redeem(&app, &code).await, 400, "invalid_grant");
    refused(&client.refresh(&app, tokens["refresh_token"].as_str().unwrap()).await, 400, "invalid_grant");
}
