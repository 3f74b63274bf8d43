//! `/register`: an account begins on a page.

use super::registers;
use crate::support::browser::Browser;
use crate::support::{App, Person};

on_both_databases!(
    the_rule_of_the_password_stands_there_before_it_is_broken,
    what_was_typed_is_kept_but_for_the_password,
    a_form_that_is_sent_twice_begins_one_registration,
    who_goes_back_and_changes_the_address_begins_another_one,
    space_and_capitals_are_mended,
    a_known_address_is_told_the_same,
    the_strength_of_a_password_is_told_by_the_one_who_judges_it,
);

async fn the_rule_of_the_password_stands_there_before_it_is_broken(app: &App) {
    let page = Browser::new().open(app, "/register").await;
    page.says(200, "At least 10 characters. Three random words are good.");
    assert_eq!(page.title(), "Create your account – Cairn");
    for attribute in [
        "autocomplete=\"username\"",
        "autocomplete=\"new-password\"",
        "autocomplete=\"given-name\"",
        "autocomplete=\"family-name\"",
        "spellcheck=\"false\" autocapitalize=\"none\"",
    ] {
        page.says(200, attribute);
    }
    assert_eq!(page.html.matches("type=\"password\"").count(), 1, "one field for the new password");
}

async fn what_was_typed_is_kept_but_for_the_password(app: &App) {
    let mut browser = Browser::new();
    let form = browser.open(app, "/register").await.form("register");
    let form = form.with("email", "nobody at all").with("password", "short").with("first_name", "Zoë <b>");
    let page = browser.send(app, &form).await;
    page.says(422, "There is something to mend")
        .says(422, "Enter an email address")
        .says(422, "at least 10 characters");
    page.says_not("short\"");
    assert_eq!(page.title(), "Error: Create your account – Cairn");
    page.says(422, "<a href=\"#email\">").says(422, "id=\"summary\" role=\"alert\" tabindex=\"-1\" autofocus");
    let again = page.form("register");
    assert_eq!((again.value("email"), again.value("first_name")), ("nobody at all", "Zoë <b>"));
    assert_eq!(again.value("password"), "");
    let person = Person::new("mended");
    let page = browser.send(app, &again.with("email", &person.email).with("password", &person.password)).await;
    page.says(200, "Check your mail").says(200, &person.email);
}

async fn a_form_that_is_sent_twice_begins_one_registration(app: &App) {
    let (mut browser, person) = (Browser::new(), Person::new("twice"));
    let form = browser.open(app, "/register").await.form("register");
    let form = form.with("email", &person.email).with("password", &person.password);
    let first = browser.send(app, &form).await;
    let second = browser.send(app, &form).await;
    assert_eq!(first.url, second.url, "the same registration");
    first.says(200, "Check your mail");
    person.verification(app).await;
    assert_eq!(app.mailbox(&person.email).await.len(), 1, "and one letter");
}

async fn who_goes_back_and_changes_the_address_begins_another_one(app: &App) {
    let (mut browser, person, other) = (Browser::new(), Person::new("typo"), Person::new("right"));
    let form = browser.open(app, "/register").await.form("register");
    let form = form.with("email", &person.email).with("password", &person.password);
    let waiting = browser.send(app, &form).await;
    let changed = browser.open(app, &waiting.link("Change the address")).await.form("register");
    assert_eq!(changed.value("email"), person.email, "what was typed need not be typed again");
    // Back to the page that was left, and the address mended there.
    let page = browser.send(app, &form.with("email", &other.email)).await;
    page.says(200, "Check your mail").says(200, &other.email);
    assert_ne!(page.url, waiting.url);
    other.verification(app).await;
}

async fn space_and_capitals_are_mended(app: &App) {
    let (mut browser, person) = (Browser::new(), Person::new("spaced"));
    let form = browser.open(app, "/register").await.form("register");
    let typed = format!("  {} ", person.email.to_uppercase());
    let form = form.with("email", &typed).with("password", &person.password).with("username", " ");
    browser.send(app, &form).await.says(200, "Check your mail");
    person.verification(app).await;
}

async fn a_known_address_is_told_the_same(app: &App) {
    let person = Person::new("known");
    person.joins(app).await;
    let newcomer = Person { email: person.email.clone(), ..Person::new("stranger") };
    let mut browser = Browser::new();
    let page = registers(&mut browser, app, &newcomer).await;
    page.says(200, "Check your mail").says(200, "We sent a code and a link to");
    let code = page.form("verify-code").with("code", "000 000");
    browser.send(app, &code).await.says(422, "This is not the code from the mail");
    let known = app.letter(&person.email, "registration.known").await;
    assert!(known.text.lines().any(|line| line == format!("{}/login", app.public_url())), "{}", known.text);
    assert!(known.text.lines().any(|line| line == format!("{}/forgot-password", app.public_url())), "{}", known.text);
}

async fn the_strength_of_a_password_is_told_by_the_one_who_judges_it(app: &App) {
    let mut browser = Browser::new();
    let mut form = browser.open(app, "/register").await.form("register");
    form.action = "/password-strength".to_owned();
    for (password, expected) in [
        ("short", "at least 10 characters"),
        ("password12", "easy to guess"),
        ("velvet tractor umbrella fjord", "hard to guess"),
    ] {
        let said = browser.post(app, &form.clone().with("password", password)).await.expect(200);
        let text = said["text"].as_str().unwrap();
        assert!(text.contains(expected) || text.contains("stolen"), "{password}: {text}");
    }
    let strange = browser.post(app, &form.without("form_token").with("password", "short")).await.expect(200);
    assert_eq!(strange["text"], "", "advice is for our own pages");
}
