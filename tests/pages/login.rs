//! `/login` and `/logout`: in, back to where one wanted to go, and out.

use super::{at_home, registers, signs_in};
use crate::support::browser::Browser;
use crate::support::{Answer, App, Kind, Person};

on_both_databases!(
    an_address_or_a_username_signs_in_and_leads_to_where_one_wanted_to_go,
    a_redirect_stays_in_the_house,
    a_wrong_password_keeps_the_name_and_offers_the_way_by_mail,
    an_unfinished_account_is_pointed_out,
    who_is_signed_in_is_told_and_may_change,
    the_second_tab_and_the_back_button_lead_on,
    signing_out_ends_the_session_and_another_sites_form_does_not,
    an_api_sign_out_everywhere_ends_the_browser_too,
    the_page_that_signs_out_has_a_button_and_does_nothing_by_itself,
    one_stays_signed_in_only_where_one_asks_for_it,
    a_shared_computer_is_forgotten_at_the_sign_out,
);
of_each_kind!(
    too_many_tries_say_when_and_leave_the_mail,
    a_session_is_carried_on_by_use_and_ends_without,
    a_session_is_carried_on_to_its_absolute_end,
);

async fn an_address_or_a_username_signs_in_and_leads_to_where_one_wanted_to_go(app: &App) {
    let person = Person::new("member");
    person.joins(app).await;
    for identifier in [person.email.to_uppercase(), format!(" {} ", person.username), person.username.to_uppercase()] {
        let mut browser = Browser::new();
        let page = browser.open(app, "/account/sessions").await;
        page.says(200, "Sign in").says(200, "autocomplete=\"current-password\"").says(200, "autocomplete=\"username\"");
        let form = page.form("login").with("identifier", &identifier).with("password", &person.password);
        let there = browser.send(app, &form).await;
        assert_eq!(there.url, "/account/sessions");
        there.says(200, "Where you are signed in").says(200, "This browser");
        browser.open(app, "/").await.says(200, "Your account").says(200, &person.email);
    }
}

async fn a_redirect_stays_in_the_house(app: &App) {
    let person = Person::new("phished");
    person.joins(app).await;
    for next in [
        "//evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "/%5Cevil.example",
        "javascript:alert(1)",
        "/%0d%0aset-cookie: a=b",
    ] {
        let mut browser = Browser::new();
        let page = browser.open(app, &format!("/login?next={}", crate::support::client::encoded(next))).await;
        let form = page.form("login").with("identifier", &person.email).with("password", &person.password);
        // Whether the page has kept it, or a script puts it back.
        for form in [form.clone(), form.with("next", next)] {
            let answer = browser.clone().post(app, &form).await;
            let location = answer.header("location").unwrap_or_else(|| panic!("{answer}"));
            assert!(location == "/account" || location == "/%5Cevil.example", "{next} led to {location}");
        }
    }
}

async fn a_wrong_password_keeps_the_name_and_offers_the_way_by_mail(app: &App) {
    let (mut browser, person) = (Browser::new(), Person::new("forgetful"));
    person.joins(app).await;
    let form = browser.open(app, "/login").await.form("login").with("password", "not the velvet umbrella");
    let mut told = Vec::new();
    for identifier in [person.email.as_str(), "nobody@example.org", "nobody"] {
        let page = browser.send(app, &form.clone().with("identifier", identifier)).await;
        page.says(422, "do not go together").says_not("not the velvet umbrella");
        assert_eq!(page.title(), "Error: Sign in – Cairn");
        assert_eq!(page.form("login").value("identifier"), identifier);
        assert_eq!(page.link("Forgot your password?"), "/forgot-password");
        told.push(page.html.replace(identifier, "…"));
    }
    assert!(told.windows(2).all(|two| two[0] == two[1]), "who has an account shows: {told:#?}");
    let page = browser.send(app, &form.with("identifier", "").with("password", "")).await;
    page.says(422, "Enter your email address or your username.").says(422, "Enter your password.");
}

/// Signs in and wants to stay so.
async fn stays(browser: &mut Browser, app: &App, person: &Person) {
    let form = browser.open(app, "/login").await.form("login").with("stay", "yes");
    let form = form.with("identifier", &person.email).with("password", &person.password);
    browser.send(app, &form).await.says(200, "Your account");
}

/// The line that sets a cookie.
fn set(answer: &Answer, name: &str) -> String {
    let lines = answer.list("set-cookie");
    let found = lines.iter().find(|line| line.starts_with(&format!("{name}_")));
    found.unwrap_or_else(|| panic!("{name} is not set: {lines:?}")).clone()
}

async fn one_stays_signed_in_only_where_one_asks_for_it(app: &App) {
    let person = Person::new("guest");
    person.joins(app).await;
    let mut browser = Browser::new();
    let page = browser.open(app, "/login").await;
    page.says(200, "Stay signed in");
    let form = page.form("login").with("identifier", &person.email).with("password", &person.password);
    let answer = browser.clone().post(app, &form.clone().without("stay")).await;
    let line = set(&answer, "cairn_session");
    assert!(!line.contains("Max-Age") && !line.contains("Expires"), "it ends with the browser: {line}");
    browser.send(app, &form.clone().without("stay")).await.says(200, &person.email);
    let mut staying = Browser::new();
    let page = staying.open(app, "/login").await;
    let form = page.form("login").with("identifier", &person.email).with("password", "wrong");
    let again = staying.send(app, &form.with("stay", "yes")).await;
    again.says(422, "do not go together").says(422, "name=\"stay\" value=\"yes\" checked");
    let form = again.form("login").with("password", &person.password).with("stay", "yes");
    let answer = staying.clone().post(app, &form).await;
    assert!(set(&answer, "cairn_session").contains("; Max-Age=2592000"), "{answer}");
    // A change of the password makes the cookie anew, of the same kind.
    let form = browser.open(app, "/account/password").await.form("change-password");
    let form = form.with("current_password", &person.password).with("new_password", "granite lantern 47 marmalade");
    let before = browser.cookie("cairn_session").unwrap().to_owned();
    let answer = browser.clone().post(app, &form).await;
    let line = set(&answer, "cairn_session");
    assert!(!line.contains("Max-Age") && !line.contains(&before), "{line}");
    // Whoever has a copy of the one from before is out.
    let mut thief = browser.clone();
    thief.set_cookie(&app.cookie("cairn_session"), &before);
    browser.send(app, &form).await.says(200, "Your password is changed.");
    thief.open(app, "/account").await.says(200, "Sign in").says_not(&person.email);
    browser.open(app, "/account").await.says(200, &person.email);
}

async fn a_shared_computer_is_forgotten_at_the_sign_out(app: &App) {
    let (person, mut browser) = at_home(app, "library").await;
    let known = browser.cookie("cairn_device").unwrap().to_owned();
    let devices = browser.open(app, "/account/devices").await;
    devices.says(200, "This browser");
    let overview = browser.open(app, "/account").await;
    overview.says(200, "This is a shared computer: forget it");
    browser.send(app, &overview.form("logout").without("forget")).await.says(200, "You are signed out");
    assert_eq!(browser.cookie("cairn_device"), Some(known.as_str()), "it stays known unless one says so");
    signs_in(&mut browser, app, &person).await.says(200, &person.email);
    let overview = browser.open(app, "/account").await;
    browser.send(app, &overview.form("logout").with("forget", "yes")).await.says(200, "You are signed out");
    assert_eq!(browser.cookie("cairn_device"), None);
    let mut other = Browser::new();
    signs_in(&mut other, app, &person).await.says(200, &person.email);
    let listed = other.open(app, "/account/devices").await;
    assert_eq!(listed.html.matches("name=\"device\"").count(), 1, "the row is gone, too: {}", listed.html);
    // Forgotten from afar, and signed out with it.
    let form = listed.html.split("id=\"forget-").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
    let form = listed.form(&format!("forget-{form}"));
    other.send(app, &form.clone().without("end")).await.says(200, "That device is forgotten.");
    other.open(app, "/account/devices").await.says(200, "No device is known.");
}

async fn an_unfinished_account_is_pointed_out(app: &App) {
    let (mut browser, person) = (Browser::new(), Person::new("unfinished"));
    registers(&mut browser, app, &person).await;
    let page = signs_in(&mut browser, app, &person).await;
    page.says(422, "waits for its address to be confirmed");
    browser.open(app, &page.link("Go on with it")).await.says(200, "Check your mail").says(200, &person.email);
}

async fn who_is_signed_in_is_told_and_may_change(app: &App) {
    let (person, mut browser) = at_home(app, "first").await;
    for path in ["/login?next=%2Faccount%2Fhistory", "/register"] {
        browser.open(app, path).await.says(200, "You are signed in").says(200, &person.email);
    }
    let page = browser.open(app, "/login?next=%2Faccount%2Fhistory").await;
    assert_eq!(page.link("Go on"), "/account/history");
    let register = browser.open(app, "/register?next=%2Faccount%2Fhistory").await;
    assert_eq!(register.link("Go on"), "/account/history");
    assert_eq!(register.form("logout").value("next"), "/register?next=/account/history");
    let page = browser.send(app, &page.form("logout")).await;
    assert_eq!(page.url, "/login?next=/account/history");
    let other = Person::new("second");
    other.joins(app).await;
    let form = page.form("login").with("identifier", &other.email).with("password", &other.password);
    browser.send(app, &form).await.says(200, "What happened to your account");
}

async fn the_second_tab_and_the_back_button_lead_on(app: &App) {
    let person = Person::new("tabs");
    person.joins(app).await;
    let mut browser = Browser::new();
    let (one, two) = (browser.open(app, "/login").await, browser.open(app, "/login").await);
    let filled =
        |form: crate::support::browser::Form| form.with("identifier", &person.email).with("password", &person.password);
    browser.send(app, &filled(one.form("login"))).await.says(200, "Your account");
    // The other tab's form was given to nobody who was signed in; now somebody is.
    browser.send(app, &filled(two.form("login"))).await.says(200, "Your account");
    // A browser that has lost its cookies meanwhile: the step again, with what was typed, and then it goes through.
    let mut fresh = Browser::new();
    let page = fresh.send(app, &filled(one.form("login"))).await;
    page.says(422, "Press the button once more").says_not(&person.password);
    assert_eq!(page.form("login").value("identifier"), person.email);
    fresh.send(app, &page.form("login").with("password", &person.password)).await.says(200, "Your account");
}

async fn signing_out_ends_the_session_and_another_sites_form_does_not(app: &App) {
    let (person, mut browser) = at_home(app, "leaver").await;
    let kept = browser.clone();
    let form = browser.open(app, "/account").await.form("logout");
    // A tab from before another sign-in: its button does nothing, and the one that it is answered with works.
    let held = browser.clone().send(app, &form.clone().with("form_token", "AAAAAAAAAAAAAAAAAAAAAA")).await;
    held.says(422, &person.email).says(422, "Press the button once more");
    assert!(held.title().starts_with("Error: Sign out"), "{}", held.title());
    assert_eq!(held.form("logout").value("form_token"), form.value("form_token"));
    let mut forged = app.client().request("POST", "/logout").header("sec-fetch-site", "cross-site");
    forged = forged.header("content-type", "application/x-www-form-urlencoded").header("accept", "text/html");
    forged = forged
        .header("cookie", &format!("{}={}", app.cookie("cairn_session"), browser.cookie("cairn_session").unwrap()));
    let refused = forged.body(format!("form_token={}", form.value("form_token"))).send().await;
    assert_eq!(refused.status, 403, "{refused}");
    assert!(refused.text().contains("another site sent this") && refused.text().contains("href=\"/\""), "{refused}");
    browser.open(app, "/account").await.says(200, "Your account");
    browser.send(app, &form).await.says(200, "You are signed out");
    assert_eq!(browser.cookie("cairn_session"), None);
    // Whoever has kept the cookie has nothing.
    kept.clone().open(app, "/account").await.says(200, "Sign in");
}

async fn an_api_sign_out_everywhere_ends_the_browser_too(app: &App) {
    let (person, mut browser) = at_home(app, "everywhere").await;
    let tokens = person.signs_in(app).await;
    app.client().request("POST", "/auth/logout-all").bearer(&tokens.access).send().await.expect(204);
    let page = browser.open(app, "/account").await;
    page.says(200, "Sign in");
    assert_eq!(page.url, "/login?next=/account");
}

async fn too_many_tries_say_when_and_leave_the_mail(kind: Kind) {
    let app = App::plan(kind).named("slow").set("CAIRN_LIMITS", "on").start().await;
    let person = Person::new("slow");
    person.joins(&app).await;
    let mut browser = Browser::new();
    let form = browser.open(&app, "/login").await.form("login").with("identifier", &person.email);
    let mut slowed = None;
    for _ in 0..12 {
        let page = browser.send(&app, &form.clone().with("password", "not the velvet umbrella")).await;
        if page.status == 429 {
            slowed = Some(page);
            break;
        }
    }
    let page = slowed.expect("a slow-down");
    page.says(429, "Try again at").says(429, "UTC");
    assert!(page.answer.header("retry-after").is_some(), "{}", page.answer);
    let page = browser.open(&app, "/forgot-password").await;
    browser
        .send(&app, &page.form("forgot-password").with("email", &person.email))
        .await
        .says(200, "Choose a new password");
}

async fn a_session_is_carried_on_by_use_and_ends_without(kind: Kind) {
    let app = App::plan(kind).named("lasting").set("CAIRN_SESSION_TTL", "10d").start().await;
    let person = Person::new("lasting");
    person.joins(&app).await;
    let mut browser = Browser::new();
    stays(&mut browser, &app, &person).await;
    const DAY: i64 = 86_400;
    for day in [2, 6, 12, 20, 29] {
        app.restart_at(day * DAY).await;
        let page = browser.open(&app, "/account").await;
        page.says(200, "Your account");
        // The cookie must not die before its session.
        let set = page.answer.header("set-cookie").unwrap_or_default();
        let renewed = set.starts_with("cairn_session_") && set.contains("Max-Age=864000");
        assert_eq!(renewed, day != 2, "day {day}: {set}");
    }
    app.restart_at(40 * DAY).await;
    browser.open(&app, "/account").await.says(200, "Sign in");
}

async fn a_session_is_carried_on_to_its_absolute_end(kind: Kind) {
    const DAY: i64 = 86_400;
    let plan = App::plan(kind).named("limited").set("CAIRN_SESSION_TTL", "10d").set("CAIRN_SESSION_MAX", "12d");
    let app = plan.start().await;
    let person = Person::new("limited");
    person.joins(&app).await;
    let mut browser = Browser::new();
    stays(&mut browser, &app, &person).await;
    for day in [9, 11] {
        app.restart_at(day * DAY).await;
        let page = browser.open(&app, "/account").await;
        page.says(200, "Your account");
        let set = page.answer.header("set-cookie").unwrap_or_default();
        assert_eq!(set.starts_with("cairn_session_"), day == 9, "two days were left to be gained, then none: {set}");
    }
    app.restart_at(12 * DAY + 60).await;
    browser.open(&app, "/account").await.says(200, "Sign in");
}

async fn the_page_that_signs_out_has_a_button_and_does_nothing_by_itself(app: &App) {
    let (person, mut browser) = at_home(app, "leaver").await;
    for _ in 0..2 {
        let page = browser.open(app, "/logout").await;
        page.says(200, "Sign out").says(200, &person.email);
    }
    let form = browser.open(app, "/logout").await.form("logout");
    browser.send(app, &form).await.says(200, "You are signed out");
    browser.open(app, "/logout").await.says(200, "You are signed out");
    browser.open(app, "/account").await.says(200, "Sign in");
}
