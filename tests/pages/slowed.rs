//! Forms from a client whose bucket is empty: they come again with what was typed, and nothing is done.

use super::{at_home, registers};
use crate::support::browser::{Browser, Form};
use crate::support::client::encoded;
use crate::support::{App, Kind, Person};

of_each_kind!(
    a_limited_form_comes_again_with_what_was_typed_and_does_nothing,
    what_is_no_form_of_a_page_is_refused_as_ever,
);

const NEW: &str = "marble cactus seven trumpets";
/// Fields that no page may show.
const SECRETS: [&str; 3] = ["password", "current_password", "new_password"];

/// Has one client use all buckets up.
async fn exhausts(app: &App) {
    for path in ["/register", "/login", "/verify-email", "/forgot-password", "/verify-email/resend", "/logout"] {
        let mut tries = 0;
        while app.client().request("POST", path).body("x").send().await.status != 429 {
            tries += 1;
            assert!(tries < 130, "{path} is not limited");
        }
    }
}

/// A form that somebody has filled in: in which browser, and as what it stands on its page.
struct Filled {
    browser: Browser,
    id: &'static str,
    form: Form,
}

fn filled(browser: &Browser, id: &'static str, form: Form) -> Filled {
    Filled { browser: browser.clone(), id, form }
}

/// A form of every limited route, as it would go through.
async fn forms(app: &App, member: &Person, home: &mut Browser, newcomer: &Person, to: &str) -> Vec<Filled> {
    let mut all = Vec::new();
    let mut fresh = Browser::new();
    let form = fresh.open(app, "/register?next=%2Faccount%2Fhistory").await.form("register");
    let form = form.with("email", "typed@example.org").with("username", "typed").with("first_name", "Ada");
    all.push(filled(&fresh, "register", form.with("password", NEW)));
    let form = fresh.open(app, "/login?next=%2Faccount%2Fhistory").await.form("login");
    all.push(filled(&fresh, "login", form.with("identifier", &member.email).with("password", &member.password)));
    let form = fresh.open(app, "/forgot-password").await.form("forgot-password").with("email", &newcomer.email);
    all.push(filled(&fresh, "forgot-password", form));

    let mut young = Browser::new();
    let page = registers(&mut young, app, newcomer).await;
    let letter = newcomer.verification(app).await;
    all.push(filled(&young, "verify-code", page.form("verify-code").with("code", &letter.code().unwrap())));
    all.push(filled(&young, "resend", page.form("resend")));
    let link = letter.link().unwrap();
    let form = young.open(app, &link).await.form("verify-link");
    all.push(filled(&young, "verify-link", form));
    let form = fresh.open(app, &link).await.form("verify-link").with("password", &newcomer.password);
    all.push(filled(&fresh, "verify-link", form));

    let mut forgetful = Browser::new();
    let form = forgetful.open(app, "/forgot-password").await.form("forgot-password").with("email", &member.email);
    let page = forgetful.send(app, &form).await;
    let letter = app.letter(&member.email, "recovery.reset").await;
    let form = page.form("reset-code").with("code", &letter.code().unwrap()).with("new_password", NEW);
    all.push(filled(&forgetful, "reset-code", form));
    all.push(filled(&forgetful, "resend", page.form("resend")));
    let form = fresh.open(app, &letter.link().unwrap()).await.form("reset-link").with("new_password", NEW);
    all.push(filled(&fresh, "reset-link", form));

    let form = home.open(app, "/account/email").await.form("change-email").with("new_email", to);
    let page = home.send(app, &form.with("password", &member.password)).await;
    let letter = app.letter(to, "email.confirm").await;
    all.push(filled(home, "email-code", page.form("email-code").with("code", &letter.code().unwrap())));
    all.push(filled(home, "resend", page.form("resend")));
    let form = fresh.open(app, &letter.link().unwrap()).await.form("email-change-link");
    all.push(filled(&fresh, "email-change-link", form.with("password", &member.password)));
    let form = home.open(app, "/account/email").await.form("change-email").with("new_email", "typed@example.org");
    all.push(filled(home, "change-email", form.with("password", &member.password)));
    let form = home.open(app, "/account/password").await.form("change-password");
    let form = form.with("current_password", &member.password).with("new_password", NEW);
    all.push(filled(home, "change-password", form));
    let form = home.open(app, "/account/profile").await.form("profile").with("first_name", "Grace");
    all.push(filled(home, "profile", form));
    let form = home.open(app, "/account").await.form("logout");
    all.push(filled(home, "logout", form));
    for (path, id) in [("/account/export", "export"), ("/account/delete", "delete-account")] {
        let form = home.open(app, path).await.form(id).with("password", &member.password);
        all.push(filled(home, id, form));
    }
    all
}

async fn a_limited_form_comes_again_with_what_was_typed_and_does_nothing(kind: Kind) {
    let app = App::plan(kind).named("slowed").set("CAIRN_LIMITS", "on").start().await;
    let (member, mut home) = at_home(&app, "member").await;
    let newcomer = Person::new("newcomer");
    let to = Person::new("moved").email;
    let all = forms(&app, &member, &mut home, &newcomer, &to).await;
    exhausts(&app).await;
    let mut shown = Vec::new();
    for Filled { mut browser, id, form } in all {
        let page = browser.send(&app, &form).await;
        page.says(429, "too many tries from your network").says(429, "Try again at").says(429, "UTC");
        assert!(page.title().starts_with("Error: "), "{}", page.title());
        let wait: u64 = page.answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=3_600).contains(&wait), "{}", page.answer);
        assert!(page.answer.header("ratelimit").is_some(), "{}", page.answer);
        assert_eq!(page.answer.header("content-disposition"), None, "{}", page.answer);
        let again = page.form(id);
        assert_eq!(again.action, form.action, "{id}");
        for (name, value) in &form.fields {
            if SECRETS.contains(&name.as_str()) {
                assert_eq!(again.value(name), "", "{id} {name}");
                page.says_not(value);
            } else {
                assert_eq!(again.value(name), value, "{id} {name}");
            }
        }
        let typed: Vec<_> = form.fields.into_iter().filter(|(name, _)| SECRETS.contains(&name.as_str())).collect();
        let again = typed.iter().fold(again, |form, (name, value)| form.with(name, value));
        shown.push(filled(&browser, id, again));
    }

    // Nothing was begun, sent, changed or ended.
    let elsewhere = |person: &Person| app.client().at_loopback(9).post("/auth/login", &person.credentials());
    elsewhere(&newcomer).send().await.problem(401, "credentials");
    elsewhere(&member).send().await.expect(200);
    assert!(app.mailbox("typed@example.org").await.is_empty());
    for (address, kind) in
        [(&newcomer.email, "registration.verify"), (&member.email, "recovery.reset"), (&to, "email.confirm")]
    {
        let letters = app.mailbox(address).await.into_iter().filter(|letter| letter.kind == kind).count();
        assert_eq!(letters, 1, "{kind}");
    }
    home.open(&app, "/account").await.says(200, &member.email);

    // Later the same forms go through, as they stand there. The counts are in memory: a restart is later enough.
    app.crash_and_restart().await;
    for (id, text) in [
        ("register", "Check your mail"),
        ("verify-code", "Your address is confirmed"),
        ("login", "What happened to your account"),
        ("export", "\"profile\""),
        ("reset-code", "Your password is set"),
    ] {
        let Filled { browser, form, .. } = shown.iter_mut().find(|filled| filled.id == id).unwrap();
        browser.send(&app, form).await.says(200, text);
    }
}

async fn what_is_no_form_of_a_page_is_refused_as_ever(kind: Kind) {
    let app = App::plan(kind).named("refused").set("CAIRN_LIMITS", "on").start().await;
    let mut browser = Browser::new();
    let form = browser.open(&app, "/login").await.form("login").with("identifier", "typed@example.org");
    exhausts(&app).await;
    let body: Vec<String> =
        form.fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    let post = || {
        let post = app.client().request("POST", "/login").header("content-type", "application/x-www-form-urlencoded");
        post.body(body.join("&"))
    };
    post().send().await.problem(429, "slow-down");
    let foreign = post().header("accept", "text/html").header("sec-fetch-site", "cross-site").send().await;
    assert_eq!(foreign.status, 429, "{foreign}");
    assert!(foreign.text().contains("Too many tries") && !foreign.text().contains("typed@example.org"), "{foreign}");
    // A form without its page: a broken link, a flow of another browser, nobody who is signed in.
    for (path, field, value) in [
        ("/verify-email", "token", "cairn_ve_AAAA"),
        ("/verify-email", "flow", "reg_00000000000000000000000000"),
        ("/reset-password", "token", "cairn_pr_AAAA"),
        ("/undo-email-change", "token", "garbage"),
        ("/account/password", "current_password", "velvet"),
        ("/account/export", "password", "velvet"),
    ] {
        let form = Form { action: path.to_owned(), fields: vec![(field.to_owned(), value.to_owned())] };
        let page = browser.send(&app, &form).await;
        page.says(429, "Too many tries").says(429, "Try again at").says_not("velvet");
        assert!(page.answer.header("retry-after").is_some(), "{}", page.answer);
    }
}
