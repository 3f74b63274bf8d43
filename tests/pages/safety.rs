//! What must hold of every page: policies, cookies, form tokens, and no bytes that cause a fault.

use super::at_home;
use crate::support::browser::Browser;
use crate::support::{App, Dice, Kind, Person, announce};

on_both_databases!(
    nothing_on_a_page_is_inline_and_no_policy_allows_it,
    assets_are_kept_for_ever_under_a_name_of_their_content,
    a_form_without_its_token_shows_the_step_again,
    a_token_is_no_other_browsers_and_no_other_sessions,
    every_problem_is_a_page_that_leads_on,
    no_bytes_of_a_form_a_cookie_or_a_query_cause_a_fault,
);
of_each_kind!(with_tls_cookies_are_of_this_host_alone);

const PAGES: [&str; 8] = [
    "/register",
    "/login",
    "/forgot-password",
    "/verify-email",
    "/reset-password",
    "/signed-out",
    "/nowhere",
    "/end-session",
];

async fn nothing_on_a_page_is_inline_and_no_policy_allows_it(app: &App) {
    for path in PAGES {
        let page = Browser::new().open(app, path).await;
        let policy = page.answer.header("content-security-policy").unwrap().to_owned();
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{path}: {policy}");
        for inline in [" style=", "<style", "onclick", "onload", "javascript:"] {
            page.says_not(inline);
        }
        assert_eq!(page.html.matches("<script").count(), page.html.matches("<script src=\"/assets/").count(), "{path}");
    }
}

async fn assets_are_kept_for_ever_under_a_name_of_their_content(app: &App) {
    let page = Browser::new().open(app, "/login").await;
    for (before, kind) in [("<link rel=\"stylesheet\" href=\"", "text/css"), ("<script src=\"", "text/javascript")] {
        let url = page.html.split(before).nth(1).unwrap().split('"').next().unwrap();
        let asset = app.client().get(url).send().await;
        assert_eq!(asset.status, 200, "{asset}");
        assert!(asset.header("content-type").unwrap().starts_with(kind), "{asset}");
        assert_eq!(asset.header("cache-control"), Some("public, max-age=31536000, immutable"));
        assert_eq!(asset.header("set-cookie"), None, "what is shared holds no cookie");
    }
}

async fn a_form_without_its_token_shows_the_step_again(app: &App) {
    for (path, id, field) in [
        ("/register", "register", "email"),
        ("/login", "login", "identifier"),
        ("/forgot-password", "forgot-password", "email"),
    ] {
        let mut browser = Browser::new();
        let form = browser
            .open(app, path)
            .await
            .form(id)
            .with(field, "typed@example.org")
            .with("password", "a secret of mine");
        for bad in [
            form.clone().without("form_token"),
            form.clone().with("form_token", ""),
            form.clone().with("form_token", "AAAAAAAAAAAAAAAAAAAAAA"),
        ] {
            let page = browser.send(app, &bad).await;
            page.says(422, "Press the button once more").says_not("a secret of mine");
            assert_eq!(page.form(id).value(field), "typed@example.org");
            assert_eq!(page.form(id).value("form_token"), form.value("form_token"), "the next try goes through");
        }
        // To a browser that keeps no cookies the button is no help.
        let page = Browser::new().send(app, &form).await;
        page.says(422, "allow cookies for this site").says_not("open for a while").says_not("a secret of mine");
    }
    assert!(app.mailbox("typed@example.org").await.is_empty(), "nothing was begun");
}

async fn a_token_is_no_other_browsers_and_no_other_sessions(app: &App) {
    let (_, mut mine) = at_home(app, "mine").await;
    let (_, mut theirs) = at_home(app, "theirs").await;
    let form = mine.open(app, "/account/profile").await.form("profile").with("first_name", "Mallory");
    theirs.send(app, &form).await.says(422, "Press the button once more");
    // The same browser, signed in as somebody else meanwhile.
    mine.set_cookie(&app.cookie("cairn_session"), theirs.cookie("cairn_session").unwrap());
    mine.send(app, &form).await.says(422, "Press the button once more");
    theirs.open(app, "/account").await.says_not("Mallory");
}

async fn every_problem_is_a_page_that_leads_on(app: &App) {
    for (method, path, status) in
        [("GET", "/nowhere", 404), ("DELETE", "/login", 405), ("DELETE", "/logout", 405), ("POST", "/login", 415)]
    {
        let answer = app
            .client()
            .request(method, path)
            .header("accept", "text/html")
            .header("content-type", "text/plain")
            .body("x")
            .send()
            .await;
        assert_eq!(answer.status, status, "{answer}");
        let html = answer.text();
        assert!(html.contains("<a class=\"button\" href=\"/\">Go on</a>") && html.contains("<h1>"), "{answer}");
        assert!(html.contains(answer.header("x-request-id").unwrap()), "{answer}");
    }
}

async fn no_bytes_of_a_form_a_cookie_or_a_query_cause_a_fault(app: &App) {
    let seed = Dice::seed();
    announce(&format!("fuzzing the forms, CAIRN_SEED={seed}"));
    let mut dice = Dice::new(seed);
    let (_, home) = at_home(app, "fuzzed").await;
    let forms = [
        ("/register", "email password username first_name last_name once next accept_disposable"),
        ("/password-strength", "password email username"),
        ("/verify-email", "token password flow code next"),
        ("/verify-email/resend", "flow next"),
        ("/login", "identifier password next"),
        ("/forgot-password", "email once"),
        ("/reset-password", "token flow code new_password"),
        ("/reset-password/resend", "flow"),
        ("/account/profile", "version username first_name last_name"),
        ("/account/password", "current_password new_password"),
        ("/account/email", "new_email password once"),
        ("/account/email/code", "flow code"),
        ("/account/email/resend", "flow"),
        ("/account/sessions/end", "session"),
        ("/account/export", "password"),
        ("/account/delete", "password"),
        ("/email-change", "token"),
        ("/undo-email-change", "token"),
        ("/end-session", "token"),
    ];
    let pieces = [
        "",
        "a",
        "\0",
        "\u{202e}",
        "🪨",
        "%",
        "'",
        "\"><b>",
        "{{7*7}}",
        "-1",
        "9999999999999999999999",
        "reg_00000000000000000000000000",
        "rec_00000000000000000000000000",
        "ech_00000000000000000000000000",
        "ses_00000000000000000000000000",
        "cairn_ve_",
        "a@b.example",
        "/account",
        "//x",
        "\r\nset-cookie: a=b",
        "velvet tractor umbrella fjord",
    ];
    let mut token = home.clone();
    let token = token.open(app, "/account").await.form("logout").value("form_token").to_owned();
    for _ in 0..400 {
        let (path, names) = dice.pick(&forms);
        let mut browser = home.clone();
        for name in ["cairn_browser", "cairn_flows", "cairn_next", "cairn_session", "cairn_device"] {
            if dice.one_in(6) {
                let junk = [
                    "",
                    "x",
                    "a.b.c",
                    "cairn_fc_AAAA.cairn_fc_",
                    "reg_00000000000000000000000000.Ly94.",
                    "%00",
                    "cairn_sc_AAAA.usr_00000000000000000000000000",
                    "~",
                ];
                browser.set_cookie(&app.cookie(name), junk[dice.index(junk.len())]);
            }
        }
        let mut fields: Vec<(String, String)> = vec![("form_token".to_owned(), token.clone())];
        for name in names.split(' ') {
            if !dice.one_in(5) {
                let value = format!("{}{}", dice.pick(&pieces), dice.pick(&pieces)).repeat(if dice.one_in(12) {
                    500
                } else {
                    1
                });
                fields.push((name.to_owned(), value));
            }
        }
        let form = crate::support::browser::Form { action: (*path).to_owned(), fields };
        let answer = browser.post(app, &form).await;
        assert!(answer.status < 500, "{form:?} {answer}");
        let query: Vec<String> = form
            .fields
            .iter()
            .skip(1)
            .map(|(name, value)| {
                format!("{name}={}", crate::support::client::encoded(&value.chars().take(300).collect::<String>()))
            })
            .collect();
        let page = browser.open(app, &format!("{path}?{}", query.join("&"))).await;
        assert!(page.status < 500, "{query:?} {}", page.answer);
    }
}

async fn with_tls_cookies_are_of_this_host_alone(kind: Kind) {
    let app = App::plan(kind)
        .named("tls")
        .unset("CAIRN_LIMITS")
        .set("CAIRN_PUBLIC_URL", "https://id.example.org")
        .start()
        .await;
    let page = Browser::new().open(&app, "/login").await;
    let cookie = page.answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-cairn_browser="), "{cookie}");
    for part in ["; Path=/", "; HttpOnly", "; SameSite=Lax", "; Secure"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
    let mut browser = Browser::new();
    let form = browser.open(&app, "/register").await.form("register");
    let person = Person::new("secure");
    let answer = browser.post(&app, &form.with("email", &person.email).with("password", &person.password)).await;
    assert_eq!(answer.status, 303, "{answer}");
    assert!(answer.header("set-cookie").unwrap().starts_with("__Host-cairn_flows=cairn_fc_"), "{answer}");
}
