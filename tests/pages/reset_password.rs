//! `/forgot-password` and `/reset-password`: a new password by mail.

use super::{at_home, signs_in};
use crate::support::browser::Browser;
use crate::support::{App, Kind, Person};

on_both_databases!(
    the_code_sets_a_new_password_and_signs_everybody_out,
    the_link_sets_it_in_any_browser_and_is_used_then,
    an_unknown_address_is_told_the_same,
    a_password_that_is_too_easy_keeps_the_code,
    a_broken_link_leads_to_a_new_mail,
);
of_each_kind!(an_old_link_says_so_and_leads_to_a_new_mail);

const NEW: &str = "marble cactus seven trumpets";

async fn asks(browser: &mut Browser, app: &App, email: &str) -> crate::support::browser::Page {
    let form = browser.open(app, "/forgot-password").await.form("forgot-password");
    browser.send(app, &form.with("email", email)).await
}

async fn the_code_sets_a_new_password_and_signs_everybody_out(app: &App) {
    let (person, mut browser) = at_home(app, "forgetful").await;
    let page = browser.open(app, "/forgot-password").await;
    assert_eq!(page.form("forgot-password").value("email"), person.email, "what is known need not be typed");
    let page = browser.send(app, &page.form("forgot-password")).await;
    page.says(200, &person.email).says(200, "one-time-code").says(200, "autocomplete=\"new-password\"");
    page.says(200, "or there is no account with this address.");
    let code = app.letter(&person.email, "recovery.reset").await.code().unwrap();
    let form = page.form("reset-code").with("code", &code).with("new_password", NEW);
    browser.send(app, &form).await.says(200, "Your password is set");
    browser.send(app, &form).await.says(200, "Your password is set");
    browser.open(app, "/account").await.says(200, "Sign in");
    signs_in(&mut browser, app, &person).await.says(422, "do not go together");
    let person = Person { password: NEW.to_owned(), ..person };
    signs_in(&mut browser, app, &person).await.says(200, "Your account");
}

async fn the_link_sets_it_in_any_browser_and_is_used_then(app: &App) {
    let person = Person::new("linked");
    person.joins(app).await;
    asks(&mut Browser::new(), app, &person.email).await;
    let link = app.letter(&person.email, "recovery.reset").await.link().unwrap();
    let mut phone = Browser::new();
    for _ in 0..2 {
        phone.open(app, &link).await.says(200, "Choose a new password").says(200, &person.email);
    }
    let (other, mut signed_in) = at_home(app, "other").await;
    signed_in.open(app, &link).await.says(200, &format!("you are signed in as {}", other.email));
    let form = phone.open(app, &link).await.form("reset-link");
    let short = phone.send(app, &form.clone().with("new_password", "short")).await;
    short.says(422, "at least 10 characters").says_not("short\"");
    phone.send(app, &form.clone().with("new_password", NEW)).await.says(200, "Your password is set");
    phone.open(app, &link).await.says(410, "This link was used");
    let other = phone.send(app, &form.with("new_password", "another marble cactus trumpet")).await;
    other.says(410, "This link was used");
    let page = phone.open(app, &link).await;
    assert_eq!(page.link("Send a new mail"), "/forgot-password");
}

async fn an_unknown_address_is_told_the_same(app: &App) {
    let person = Person::new("owner");
    person.joins(app).await;
    let mut told = Vec::new();
    for email in [person.email.clone(), Person::new("nobody").email] {
        let mut browser = Browser::new();
        let page = asks(&mut browser, app, &format!(" {email}")).await;
        page.says(200, &email);
        if email == person.email {
            app.letter(&email, "recovery.reset").await;
        }
        // Whether there is a letter, and where it is, does not show afterwards either, nor to who listens.
        let events = page.html.split("data-events=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
        let heard = browser.open(app, &events).await;
        assert!(!heard.html.contains("event:"), "{}", heard.html);
        let tokens = ["form_token", "flow"].map(|name| page.form("reset-code").value(name).to_owned());
        let bare =
            |html: String| tokens.iter().fold(html.replace(&email, "…"), |html, token| html.replace(token, "…"));
        let bare = |html: &str| {
            let html = bare(html.to_owned());
            assert!(!html.contains("seen="), "{html}");
            // The seconds until the next one.
            let wait = html.split("data-wait=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
            html.replace(&format!("data-wait={wait}"), "…")
        };
        let later = browser.open(app, &page.url).await;
        told.push((bare(&page.html), bare(&later.html)));
    }
    assert_eq!(told[0], told[1]);
}

async fn a_password_that_is_too_easy_keeps_the_code(app: &App) {
    let (mut browser, person) = (Browser::new(), Person::new("easy"));
    person.joins(app).await;
    let page = asks(&mut browser, app, &person.email).await;
    let code = app.letter(&person.email, "recovery.reset").await.code().unwrap();
    let form = page.form("reset-code").with("code", &code);
    let again = browser.send(app, &form.with("new_password", "password12")).await;
    assert_eq!(again.status, 422);
    let form = again.form("reset-code");
    assert_eq!(form.value("code"), code, "it is still good");
    browser.send(app, &form.with("new_password", NEW)).await.says(200, "Your password is set");
}

async fn a_broken_link_leads_to_a_new_mail(app: &App) {
    for target in ["/reset-password?token=x", "/reset-password?token=", "/reset-password?token=%ff%00"] {
        let page = Browser::new().open(app, target).await;
        page.says(410, "does not work");
        assert_eq!(page.link("Send a new mail"), "/forgot-password");
    }
    Browser::new().open(app, "/reset-password").await.says(200, "Nothing is waiting here");
}

async fn an_old_link_says_so_and_leads_to_a_new_mail(kind: Kind) {
    let app = App::plan(kind).named("old-link").start().await;
    let (mut browser, person) = (Browser::new(), Person::new("late"));
    person.joins(&app).await;
    let page = asks(&mut browser, &app, &person.email).await;
    let link = app.letter(&person.email, "recovery.reset").await.link().unwrap();
    app.restart_at(2 * 3_600).await;
    browser.open(&app, &link).await.says(410, "This link is too old");
    browser.open(&app, &page.url).await.says(410, "This link is too old");
    let form = page.form("reset-code").with("code", "123456").with("new_password", NEW);
    let over = browser.send(&app, &form).await;
    over.says(410, "This link is too old");
    asks(&mut browser, &app, &person.email).await.says(200, "Choose a new password");
}
