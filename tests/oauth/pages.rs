//! The pages that people meet on the way: each leads on from where the authorization really stands.

use super::{Client, REDIRECT, somebody};
use crate::support::browser::Browser;
use crate::support::{App, Person, json};

on_both_databases!(
    the_way_through_registration_ends_at_the_client,
    the_way_through_a_reset_ends_at_the_client,
    a_consent_in_an_old_tab_leads_on_from_where_it_stands,
    nobody_else_decides_for_somebody,
    forty_requests_that_are_left_leave_nothing_in_the_browser,
    forms_may_lead_back_to_the_client_and_nowhere_else,
    an_answer_is_posted_where_the_client_wants_it_so,
    another_site_may_send_the_request_as_a_form,
    a_client_signs_somebody_out_who_is_asked,
);

async fn the_way_through_registration_ends_at_the_client(app: &App) {
    let client = Client::public(app, "newcomers").await;
    let person = Person::new("newcomer");
    let mut browser = Browser::new();
    let form = browser.open(app, &client.request(&[("prompt", "create")])).await.form("register");
    let waiting = browser.send(app, &form.with("email", &person.email).with("password", &person.password)).await;
    let letter = person.verification(app).await;
    // A client that asks nobody is led back to from the form of the code, or from the button behind the link.
    for page in [&waiting, &browser.open(app, &letter.link().expect("a link")).await] {
        let policy = page.answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.contains("form-action 'self' https://client.example;"), "{}: {policy}", page.url);
    }
    let asked = browser.send(app, &waiting.form("verify-code").with("code", &letter.code().expect("a code"))).await;
    asked.says(200, "Allow newcomers?");
    let back = browser.send(app, &asked.form("consent").pressed("decision", "allow")).await;
    client.redeem(app, &back.parameter("code")).await.expect(200);
}

async fn the_way_through_a_reset_ends_at_the_client(app: &App) {
    let client = Client::public(app, "forgetful").await;
    let person = Person::new("forgetful");
    person.joins(app).await;
    let mut browser = Browser::new();
    let login = browser.open(app, &client.request(&[])).await;
    // The page that signs in is the one that a reset comes back to, in whatever tab.
    let form = browser.open(app, "/forgot-password").await.form("forgot-password");
    browser.send(app, &form.with("email", &person.email)).await;
    let letter = app.letter(&person.email, "recovery.reset").await;
    let new = "marble cactus seven trumpets";
    let reset = browser.open(app, &letter.link().expect("a link")).await.form("reset-link");
    browser.send(app, &reset.with("new_password", new)).await;
    let form = login.form("login").with("identifier", &person.email).with("password", new);
    let asked = browser.send(app, &form).await;
    asked.says(200, "Allow forgetful?");
}

async fn a_consent_in_an_old_tab_leads_on_from_where_it_stands(app: &App) {
    let client = Client::public(app, "tabs").await;
    let (person, mut browser) = somebody(app, "tabs").await;
    let asked = browser.open(app, &client.request(&[])).await;
    let form = asked.form("consent").pressed("decision", "allow");
    // Signed out and in again meanwhile: the form of the old tab does nothing, and its page asks once more.
    let out = browser.open(app, "/logout").await.form("logout");
    browser.send(app, &out).await;
    let login = browser.send(app, &form).await;
    let again = login.form("login").with("identifier", &person.email).with("password", &person.password);
    let asked = browser.send(app, &again).await;
    asked.says(200, "Allow tabs?");
    // A double press gets the same answer.
    let form = asked.form("consent").pressed("decision", "allow");
    let (first, second) = (browser.send(app, &form).await, browser.send(app, &form).await);
    assert_eq!(first.url, second.url);
    // What is unknown says so, and leads on.
    for flow in ["", "aut_00000000000000000000000000", "ses_00000000000000000000000000", "%00"] {
        browser.open(app, &format!("/consent?flow={flow}")).await.says(400, "There is no such sign-in");
    }
}

async fn nobody_else_decides_for_somebody(app: &App) {
    let client = Client::public(app, "mine").await;
    let (_, mut browser) = somebody(app, "mine").await;
    let asked = browser.open(app, &client.request(&[])).await;
    let answered = browser.send(app, &asked.form("consent").pressed("decision", "allow")).await;
    assert!(answered.url.starts_with(REDIRECT));
    // Somebody else who opens the page gets no code that is not theirs.
    let (_, mut other) = somebody(app, "theirs").await;
    other.open(app, &asked.url).await.says(410, "This sign-in is over");
    let mut nobody = Browser::new();
    let page = nobody.open(app, &asked.url).await;
    assert!(page.has_form("login"), "{}", page.html);
}

async fn forty_requests_that_are_left_leave_nothing_in_the_browser(app: &App) {
    let client = Client::public(app, "abandoned").await;
    let mut browser = Browser::new();
    browser.open(app, &client.request(&[])).await;
    let before = browser.header();
    for _ in 0..40 {
        browser.open(app, &client.request(&[])).await;
    }
    assert_eq!(browser.header(), before);
}

async fn forms_may_lead_back_to_the_client_and_nowhere_else(app: &App) {
    let client = Client::public(app, "policy").await;
    let (_, mut browser) = somebody(app, "policy").await;
    let policy = |page: &crate::support::browser::Page| {
        page.answer.header("content-security-policy").unwrap_or_default().to_owned()
    };
    let asked = browser.open(app, &client.request(&[])).await;
    assert!(policy(&asked).contains("form-action 'self' https://client.example;"), "{}", policy(&asked));
    let mut nobody = Browser::new();
    let login = nobody.open(app, &client.request(&[])).await;
    assert!(policy(&login).contains("form-action 'self' https://client.example;"), "{}", policy(&login));
    let login = nobody.open(app, "/login?next=/consent%3Fflow%3Daut_none").await;
    assert!(policy(&login).contains("form-action 'self';"), "{}", policy(&login));
}

async fn an_answer_is_posted_where_the_client_wants_it_so(app: &App) {
    let client = Client::public(app, "posted").await;
    let (_, mut browser) = somebody(app, "posted").await;
    let asked = browser.open(app, &client.request(&[("response_mode", "form_post")])).await;
    let page = browser.send(app, &asked.form("consent").pressed("decision", "allow")).await;
    let form = page.form("form_post");
    assert_eq!(form.action, REDIRECT);
    let names: Vec<&str> = form.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["code", "state", "iss"]);
    assert!(!page.html.contains("form_token"), "our own token is nobody's business");
    let code = &form.fields[0].1;
    client.redeem(app, code).await.expect(200);
}

async fn another_site_may_send_the_request_as_a_form(app: &App) {
    let client = Client::public(app, "by-form").await;
    let request = client.request(&[]);
    let fields = request.split_once('?').expect("a query").1.to_owned();
    let answer = app
        .client()
        .request("POST", "/oauth/authorize")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("accept", "text/html")
        .header("origin", "https://client.example")
        .header("sec-fetch-site", "cross-site")
        .body(fields)
        .send()
        .await;
    assert_eq!(answer.status, 303, "{answer}");
    let (_, mut browser) = somebody(app, "by-form").await;
    browser.open(app, answer.header("location").expect("a page")).await.says(200, "Allow by-form?");
}

async fn a_client_signs_somebody_out_who_is_asked(app: &App) {
    let bye = "https://client.example/bye";
    let more = json!({"token_endpoint_auth_method": "none", "post_logout_redirect_uris": [bye]});
    let client = Client::registered(app, "signs-out", more).await;
    let (_, mut browser) = somebody(app, "signs-out").await;
    let tokens = client.let_in(app, &mut browser, &[]).await;
    let hint = tokens["id_token"].as_str().unwrap();
    let ask = format!(
        "/oauth/logout?id_token_hint={hint}&post_logout_redirect_uri=https%3A%2F%2Fclient.example%2Fbye&state=s"
    );
    let page = browser.open(app, &ask).await;
    page.says(200, "Sign out here as well?");
    browser.open(app, "/account").await.says(200, "Your account");
    let gone = browser.send(app, &page.form("logout")).await;
    assert_eq!(gone.url, format!("{bye}?state=s"));
    assert!(browser.open(app, "/account").await.has_form("login"));
    // Nobody is signed in any more: straight back.
    assert_eq!(browser.open(app, &ask).await.url, format!("{bye}?state=s"));
    // An address that is not the client's own is gone to by nobody.
    let evil = ask.replace("client.example%2Fbye", "evil.example%2F");
    browser.open(app, &evil).await.says(200, "You are signed out");
}
