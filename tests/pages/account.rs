//! `/account`: what is known of oneself, and what one may do about it.

use super::{at_home, signs_in};
use crate::support::browser::{Browser, Form};
use crate::support::client::encoded;
use crate::support::{App, Kind, Person, Value, json};

on_both_databases!(
    who_is_not_signed_in_is_led_to_sign_in_and_back,
    names_are_changed_once_and_another_windows_change_is_not_lost,
    a_new_password_signs_out_everywhere_else,
    another_address_is_proved_by_its_mail,
    sessions_are_listed_and_ended,
    history_is_told_in_words,
    a_long_history_is_read_page_by_page_and_none_of_it_twice,
    what_is_kept_about_oneself_is_downloaded_with_the_password,
    nobody_downloads_what_is_kept_without_the_password,
    an_account_is_deleted_and_had_back,
    forms_of_the_account_that_are_sent_twice_lead_to_where_the_first_one_did,
    an_empty_password_is_asked_for_beside_its_field,
    anothers_change_of_address_is_neither_shown_nor_gone_on_with,
    password_managers_find_the_page,
);
of_each_kind!(
    who_guesses_at_a_session_left_open_is_slowed_down,
    a_change_of_address_that_nobody_confirmed_says_that_it_took_too_long,
);

async fn who_is_not_signed_in_is_led_to_sign_in_and_back(app: &App) {
    for path in ["", "/profile", "/password", "/email", "/sessions", "/history", "/export", "/delete"] {
        let page = Browser::new().open(app, &format!("/account{path}")).await;
        page.says(200, "Sign in");
        assert_eq!(page.form("login").value("next"), format!("/account{path}"));
    }
    // The flow that is waited for is found again, and nothing else of a query is kept.
    let page = Browser::new().open(app, "/account/email?said=x&flow=emc_1%26next=%2F%2Fevil.example").await;
    assert_eq!(page.form("login").value("next"), "/account/email?flow=emc_1%26next%3D//evil.example");
}

async fn names_are_changed_once_and_another_windows_change_is_not_lost(app: &App) {
    let (person, mut browser) = at_home(app, "named").await;
    let page = browser.open(app, "/account/profile").await;
    let form = page.form("profile");
    assert_eq!((form.value("username"), form.value("first_name")), (person.username.as_str(), "Nora"));
    let bad = browser.send(app, &form.clone().with("username", "1stname")).await;
    bad.says(422, "begins with a letter");
    assert_eq!(bad.form("profile").value("username"), "1stname");
    let saved = form.clone().with("first_name", "Ada").with("last_name", "");
    browser.send(app, &saved).await.says(200, "Your profile is saved.").says(200, "Ada");
    browser.send(app, &saved).await.says(200, "Your profile is saved.");
    // Another window, opened before.
    let other = browser.send(app, &form.with("first_name", "Grace")).await;
    other.says(422, "changed in another window");
    let again = other.form("profile");
    assert_eq!(again.value("first_name"), "Grace");
    browser.send(app, &again).await.says(200, "Your profile is saved.").says(200, "Grace");
    let taken = Person::new("taken");
    taken.joins(app).await;
    let form = browser.open(app, "/account/profile").await.form("profile").with("username", &taken.username);
    browser.send(app, &form).await.says(422, "Somebody has this username already");
}

async fn a_new_password_signs_out_everywhere_else(app: &App) {
    let (person, mut browser) = at_home(app, "changer").await;
    let mut other = Browser::new();
    signs_in(&mut other, app, &person).await.says(200, "Your account");
    let form = browser.open(app, "/account/password").await.form("change-password");
    let new = "marble cactus seven trumpets";
    let wrong = form.clone().with("current_password", "not the velvet umbrella").with("new_password", new);
    browser.send(app, &wrong).await.says(422, "<a href=\"#current_password\">").says_not(new);
    let easy = form.clone().with("current_password", &person.password).with("new_password", "password12");
    browser.send(app, &easy).await.says(422, "<a href=\"#new_password\">");
    let right = form.with("current_password", &person.password).with("new_password", new);
    browser.send(app, &right).await.says(200, "Your password is changed.");
    browser.open(app, "/account").await.says(200, "Your account");
    other.open(app, "/account").await.says(200, "Sign in");
    let person = Person { password: new.to_owned(), ..person };
    signs_in(&mut other, app, &person).await.says(200, "Your account");
}

async fn another_address_is_proved_by_its_mail(app: &App) {
    let (person, mut browser) = at_home(app, "mover").await;
    let new = Person::new("moved").email;
    let form = browser.open(app, "/account/email").await.form("change-email").with("new_email", &format!(" {new} "));
    let wrong = browser.send(app, &form.clone().with("password", "not the velvet umbrella")).await;
    wrong.says(422, "This is not the password");
    assert_eq!(wrong.form("change-email").value("new_email").trim(), new);
    let form = form.with("password", &person.password);
    let page = browser.send(app, &form).await;
    page.says(200, "Confirm your new email address").says(200, &new);
    let code = app.letter(&new, "email.confirm").await.code().unwrap();
    browser.send(app, &page.form("email-code").with("code", "")).await.says(422, "six digits");
    browser.send(app, &page.form("email-code").with("code", &code)).await.says(200, "Your email address is changed.");
    browser.open(app, "/account").await.says(200, &new);
}

async fn sessions_are_listed_and_ended(app: &App) {
    let (person, mut browser) = at_home(app, "many").await;
    let (mut one, mut two) = (Browser::new(), Browser::new());
    signs_in(&mut one, app, &person).await;
    signs_in(&mut two, app, &person).await;
    let page = browser.open(app, "/account/sessions").await;
    assert_eq!(page.html.matches("name=\"session\"").count(), 3);
    assert_eq!(page.html.matches("This browser").count(), 1);
    let others: Vec<_> = page
        .html
        .split("<li>")
        .filter(|item| item.contains("name=\"session\"") && !item.contains("This browser"))
        .map(|item| format!("end-{}", item.split("id=\"end-").nth(1).unwrap().split('"').next().unwrap()))
        .collect();
    browser.send(app, &page.form(&others[0])).await.says(200, "That session has ended.");
    let page = browser.open(app, "/account/sessions").await;
    assert_eq!(page.html.matches("name=\"session\"").count(), 2);
    let page = browser.send(app, &page.form("end-others")).await;
    assert_eq!(page.html.matches("name=\"session\"").count(), 1);
    assert!(!page.has_form("end-others"));
    for other in [&mut one, &mut two] {
        other.open(app, "/account").await.says(200, "Sign in");
    }
    browser.open(app, "/account").await.says(200, "Your account");
    // Another's session is nobody's business.
    let (_, mut stranger) = at_home(app, "stranger").await;
    let form = stranger.open(app, "/account/sessions").await;
    let own = page.html.split("name=\"session\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let theirs = form.html.split("id=\"end-").nth(1).unwrap().split('"').next().unwrap().to_owned();
    stranger.send(app, &form.form(&format!("end-{theirs}")).with("session", own)).await;
    browser.open(app, "/account").await.says(200, "Your account");
}

async fn history_is_told_in_words(app: &App) {
    let (_, mut browser) = at_home(app, "historian").await;
    let page = browser.open(app, "/account/history").await;
    page.says(200, "You signed in").says(200, "You proved your address with a code").says(200, "<time datetime=\"");
    assert!(!page.html.contains("Older activity"), "{}", page.html);
}

async fn a_long_history_is_read_page_by_page_and_none_of_it_twice(app: &App) {
    let (person, mut browser) = at_home(app, "chronicler").await;
    let tokens = person.signs_in(app).await;
    let (mut version, mut refresh) = (0, tokens.refresh.clone());
    for number in 0..110 {
        let profile = json!({"first_name": format!("Number {number}")});
        let edit = app.client().request("PUT", "/users/me").json(&profile).bearer(&tokens.access);
        edit.header("if-match", &format!("\"{version}\"")).send().await.expect(200);
        version += 1;
        // Carries the session on, which is no news.
        let body = json!({"refresh_token": refresh});
        let fresh = app.client().post("/auth/refresh", &body).send().await.expect(200);
        refresh = fresh["refresh_token"].as_str().unwrap().to_owned();
    }
    let mut next = "/account/history".to_owned();
    let mut pages = Vec::new();
    loop {
        let page = browser.open(app, &next).await;
        page.says(200, "What happened to your account");
        let told = page.html.matches("<li><p>").count();
        assert!(told <= 50, "{told} entries on a page");
        pages.push(told);
        if !page.html.contains("Older activity") {
            break;
        }
        next = page.link("Older activity").replace("&amp;", "&");
    }
    // Signed in twice and proved the address.
    assert_eq!((pages.len(), pages.iter().sum::<usize>()), (3, 113), "{pages:?}");
    browser.open(app, "/account/history?before=nothing").await.says(200, "Older activity");
    let export = app.client().get("/users/me/export").bearer(&tokens.access).send().await.expect(200);
    assert_eq!(export["complete"], true);
    let history = export["history"].as_array().unwrap();
    assert!(history.iter().all(|event| event["name"] != "refresh"), "{history:?}");
    assert_eq!(history.iter().filter(|event| event["kind"] == "edit_profile").count(), 110);
}

async fn an_account_is_deleted_and_had_back(app: &App) {
    let (person, mut browser) = at_home(app, "goer").await;
    let form = browser.open(app, "/account/delete").await.form("delete-account");
    browser.send(app, &form.clone().with("password", "wrong")).await.says(422, "This is not the password");
    let gone = browser.send(app, &form.with("password", &person.password)).await;
    gone.says(200, "Your account will be deleted").says(200, "UTC");
    browser.open(app, "/account").await.says(200, "Sign in");
    signs_in(&mut browser, app, &person).await.says(200, "Welcome back. Your account will not be deleted.");
}

async fn forms_of_the_account_that_are_sent_twice_lead_to_where_the_first_one_did(app: &App) {
    let (person, mut browser) = at_home(app, "twice").await;
    let form = browser.open(app, "/account/password").await.form("change-password");
    let new = "marble cactus seven trumpets";
    let form = form.with("current_password", &person.password).with("new_password", new);
    let mut second = browser.clone();
    let (one, two) = tokio::join!(browser.send(app, &form), second.send(app, &form));
    one.says(200, "Your password is changed.");
    two.says(200, "Your password is changed.");
    // By now the form is of a session whose cookie is another: it comes again, and acts no second time either.
    let page = browser.send(app, &form).await;
    page.says(422, "Press the button once more");
    let form = page.form("change-password").with("current_password", &person.password).with("new_password", new);
    browser.send(app, &form).await.says(200, "Your password is changed.");
    browser.send(app, &form.with("new_password", "velvet umbrella nine")).await.says(422, "This is not the password");

    let form = browser.open(app, "/account/delete").await.form("delete-account").with("password", new);
    let mut second = browser.clone();
    let mut late = browser.clone();
    let (one, two) = tokio::join!(browser.send(app, &form), second.send(app, &form));
    let three = late.send(app, &form).await;
    for page in [one, two, three] {
        page.says(200, "Your account will be deleted").says(200, "UTC");
        assert_eq!(page.link("Sign in"), "/login");
    }
    assert_eq!(late.cookie("cairn_session"), None);
}

async fn an_empty_password_is_asked_for_beside_its_field(app: &App) {
    let (_, mut browser) = at_home(app, "hasty").await;
    for (path, id, field) in [
        ("/account/password", "change-password", "current_password"),
        ("/account/email", "change-email", "password"),
        ("/account/delete", "delete-account", "password"),
        ("/account/export", "export", "password"),
    ] {
        let form = browser.open(app, path).await.form(id);
        let page = browser.send(app, &form).await;
        page.says(422, "Enter your password.")
            .says(422, &format!("<a href=\"#{field}\">"))
            .says_not("not the password");
    }
}

async fn anothers_change_of_address_is_neither_shown_nor_gone_on_with(app: &App) {
    let (person, mut browser) = at_home(app, "owner").await;
    let new = Person::new("wanted").email;
    let form = browser.open(app, "/account/email").await.form("change-email");
    let waiting = browser.send(app, &form.with("new_email", &new).with("password", &person.password)).await;
    waiting.says(200, &new);
    let code = app.letter(&new, "email.confirm").await.code().unwrap();
    // Somebody else signs in, in the same browser.
    let other = Person::new("successor");
    other.joins(app).await;
    let leave = browser.open(app, "/account").await.form("logout");
    browser.send(app, &leave).await;
    signs_in(&mut browser, app, &other).await.says(200, &other.email);
    let token = browser.open(app, "/account").await.form("logout").value("form_token").to_owned();
    let shown = browser.open(app, &waiting.url).await;
    shown.says(409, "Somebody else asked for this").says(409, &other.email).says_not(&new);
    for id in ["email-code", "resend"] {
        let form = waiting.form(id).with("form_token", &token).with("code", &code);
        browser.send(app, &form).await.says(409, "Somebody else asked for this").says_not(&new);
    }
    browser.open(app, "/account").await.says(200, &other.email);
    // In a browser that began nothing, a form that does nothing says so.
    let (_, mut stranger) = at_home(app, "stranger").await;
    let form = stranger.open(app, "/account").await.form("logout");
    let form =
        Form { action: "/account/email/resend".to_owned(), ..form }.with("flow", "emc_00000000000000000000000000");
    stranger.send(app, &form).await.says(422, "so nothing was done");
    // The way on leads to the owner, and back to what waits.
    let login = browser.send(app, &shown.form("logout")).await;
    let form = login.form("login").with("identifier", &person.email).with("password", &person.password);
    let back = browser.send(app, &form).await;
    back.says(200, "Confirm your new email address");
    browser.send(app, &back.form("email-code").with("code", &code)).await.says(200, "Your email address is changed.");
}

async fn a_change_of_address_that_nobody_confirmed_says_that_it_took_too_long(kind: Kind) {
    let app = App::plan(kind).named("unconfirmed").start().await;
    let (person, mut browser) = at_home(&app, "slow").await;
    let form = browser.open(&app, "/account/email").await.form("change-email");
    let form = form.with("new_email", &Person::new("late").email).with("password", &person.password);
    let waiting = browser.send(&app, &form).await;
    app.restart_at(25 * 3_600).await;
    let over = browser.open(&app, &waiting.url).await;
    over.says(410, "Confirming the address took too long");
    browser.open(&app, &over.link("Go to your account")).await.says(200, &person.email);
}

async fn password_managers_find_the_page(app: &App) {
    let answer = app.client().get("/.well-known/change-password").send().await;
    assert_eq!((answer.status, answer.header("location")), (303, Some("/account/password")), "{answer}");
    let (_, mut browser) = at_home(app, "managed").await;
    let page = browser.open(app, "/.well-known/change-password").await;
    page.says(200, "Change your password")
        .says(200, "autocomplete=\"username\"")
        .says(200, "autocomplete=\"new-password\"");
}

async fn what_is_kept_about_oneself_is_downloaded_with_the_password(app: &App) {
    let (person, mut browser) = at_home(app, "collector").await;
    let page = browser.open(app, "/account").await;
    let page = browser.open(app, &page.link("Your data")).await;
    page.says(200, "Your data").says(200, "Download").says(200, "autocomplete=\"current-password\"");
    let answer = browser.post(app, &page.form("export").with("password", &person.password)).await;
    let export = answer.expect(200);
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer}");
    assert_eq!(answer.header("content-disposition"), Some("attachment; filename=\"account.json\""), "{answer}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer}");
    assert_eq!(export["profile"]["email"], person.email.as_str());
    // To a program the interface says the same; it has a session of its own.
    let tokens = person.signs_in(app).await;
    let same = app.client().get("/users/me/export").bearer(&tokens.access).send().await.expect(200);
    let members = |export: &Value| export.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(members(&export), members(&same));
    assert_eq!(export["profile"], same["profile"]);
    assert_eq!(export["sessions"].as_array().unwrap().len() + 1, same["sessions"].as_array().unwrap().len());
    for secret in [person.password.as_str(), browser.cookie("cairn_session").unwrap(), "argon2", "cairn_"] {
        assert!(!answer.text().contains(secret), "{secret} in {answer}");
    }
}

async fn nobody_downloads_what_is_kept_without_the_password(app: &App) {
    let (person, mut browser) = at_home(app, "guarded").await;
    let form = browser.open(app, "/account/export").await.form("export").with("password", &person.password);
    for (bad, text) in [("not the velvet umbrella", "This is not the password"), ("", "Enter your password.")] {
        let page = browser.send(app, &form.clone().with("password", bad)).await;
        page.says(422, text).says(422, "<a href=\"#password\">").says_not("\"profile\"");
        assert_eq!(page.answer.header("content-disposition"), None, "{}", page.answer);
        page.says_not("not the velvet umbrella");
    }
    for bad in [form.clone().without("form_token"), form.clone().with("form_token", "AAAAAAAAAAAAAAAAAAAAAA")] {
        browser.send(app, &bad).await.says(422, "Press the button once more").says_not("\"profile\"");
    }
    // Not by a link, not from another site, and not for who is signed in as nobody.
    let loaded = browser.open(app, &format!("/account/export?password={}", encoded(&person.password))).await;
    loaded.says(200, "Download").says_not("\"profile\"");
    let mut forged = app.client().request("POST", "/account/export").header("sec-fetch-site", "cross-site");
    forged = forged.header("content-type", "application/x-www-form-urlencoded");
    forged = forged
        .header("cookie", &format!("{}={}", app.cookie("cairn_session"), browser.cookie("cairn_session").unwrap()));
    let refused = forged.body(format!("password={}", encoded(&person.password))).send().await;
    assert_eq!(refused.status, 403, "{refused}");
    let (_, mut other) = at_home(app, "onlooker").await;
    other.send(app, &form).await.says(422, "Press the button once more").says_not(&person.email);
    let mut nobody = Browser::new();
    assert_eq!(nobody.send(app, &form).await.url, "/login?next=/account/export");
    browser.send(app, &form).await.says(200, "\"profile\"");
}

async fn who_guesses_at_a_session_left_open_is_slowed_down(kind: Kind) {
    let app = App::plan(kind).named("left-open").set("CAIRN_LIMITS", "on").start().await;
    for (path, id, field) in [
        ("/account/export", "export", "password"),
        ("/account/password", "change-password", "current_password"),
        ("/account/delete", "delete-account", "password"),
    ] {
        let (person, mut browser) = at_home(&app, "absent").await;
        let form = browser.open(&app, path).await.form(id).with("new_password", "marble cactus seven trumpets");
        let mut slowed = None;
        for _ in 0..14 {
            let page = browser.send(&app, &form.clone().with(field, "not the velvet umbrella")).await;
            if page.status == 429 {
                slowed = Some(page);
                break;
            }
        }
        let page = slowed.expect("a slow-down");
        page.says(429, "Try again at").says_not("\"profile\"");
        assert!(page.answer.header("retry-after").is_some(), "{}", page.answer);
        assert_eq!(page.answer.header("content-disposition"), None, "{}", page.answer);
        browser.open(&app, "/account").await.says(200, &person.email);
        // Counts of clients are in memory, those of people are not: the next is another person.
        app.crash_and_restart().await;
    }
}
