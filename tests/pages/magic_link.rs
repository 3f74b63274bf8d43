//! `/magic-link`: signing in by mail. In the browser that asked by code or link, in any other by the code alone.

use tokio::sync::OnceCell;

use super::at_home;
use crate::support::app::Plan;
use crate::support::browser::{Browser, Form, Page};
use crate::support::client::encoded;
use crate::support::letter::Letter;
use crate::support::{App, Kind, Person, eventually, json};

on_both_databases!(where_it_is_off_there_is_no_page_and_no_way_to_it);
of_each_kind!(
    the_code_signs_in_and_leads_to_where_one_wanted_to_go,
    opening_the_link_signs_nobody_in_and_one_click_does_in_the_browser_that_asked,
    another_browser_is_signed_in_by_the_code_and_by_nothing_else,
    a_code_that_is_sent_twice_from_another_browser_leads_on,
    what_cannot_be_typed_any_more_in_another_browser_is_not_asked_for,
    pressed_twice_at_once_it_is_one_session,
    a_click_that_comes_twice_ends_no_session,
    a_form_from_before_the_sign_out_signs_nobody_in,
    five_wrong_codes_leave_the_link,
    whoever_is_signed_in_is_told_so_and_may_change,
    a_page_from_before_another_sign_in_changes_nothing_about_it,
    the_page_that_waits_says_who_is_signed_in,
    an_unknown_address_is_told_the_same,
    what_is_used_up_or_broken_leads_to_another_letter,
    what_was_overtaken_says_so,
    a_redirect_stays_in_the_house,
    a_deletion_that_waits_is_called_off,
    the_page_moves_on_when_the_letter_is_used_elsewhere,
    another_mail_can_be_had_but_not_at_once,
    a_mail_that_is_sent_again_carries_the_same,
    an_old_letter_says_so_and_leads_to_another_one,
    the_way_goes_on_though_the_server_dies_in_between,
);

fn plan(kind: Kind) -> Plan {
    App::plan(kind).named("magic-pages").set("CAIRN_MAGIC_LINK", "on")
}

/// One server a database where one may sign in so, for what neither kills it nor drives its clock.
async fn server(kind: Kind) -> &'static App {
    static SQLITE: OnceCell<App> = OnceCell::const_new();
    static POSTGRES: OnceCell<App> = OnceCell::const_new();
    let cell = match kind {
        Kind::Sqlite => &SQLITE,
        Kind::Postgres => &POSTGRES,
    };
    cell.get_or_init(|| plan(kind).start()).await
}

/// Asks for a letter on the way to somewhere.
async fn asks(browser: &mut Browser, app: &App, email: &str, next: &str) -> Page {
    let form = browser.open(app, &format!("/magic-link?next={}", encoded(next))).await.form("magic-link");
    browser.send(app, &form.with("email", email)).await
}

/// Somebody with an account who has asked for a letter in a browser of theirs, and where that browser is now.
async fn asked(app: &App, name: &str, next: &str) -> (Person, Browser, Page) {
    let (person, mut browser) = (Person::new(name), Browser::new());
    person.joins(app).await;
    let page = asks(&mut browser, app, &person.email, next).await;
    (person, browser, page)
}

async fn mailed(app: &App, person: &Person) -> Letter {
    app.letter(&person.email, "magic-link.sign-in").await
}

/// Six digits that are not these.
fn wrong(code: &str) -> &'static str {
    if code == "111111" { "222222" } else { "111111" }
}

async fn where_it_is_off_there_is_no_page_and_no_way_to_it(app: &App) {
    let (mut browser, person) = (Browser::new(), Person::new("owner"));
    person.joins(app).await;
    let login = browser.open(app, "/login").await;
    login.says(200, "Sign in").says_not("/magic-link");
    for path in ["", "?token=cairn_ml_AAAA", "?flow=mag_00000000000000000000000000", "/code", "/events?flow=x"] {
        let page = browser.open(app, &format!("/magic-link{path}")).await;
        assert_eq!(page.status, 404, "{path}: {}", page.answer);
    }
    let token = login.form("login").value("form_token").to_owned();
    for path in ["", "/code", "/link", "/resend"] {
        let fields = vec![("form_token".to_owned(), token.clone()), ("email".to_owned(), person.email.clone())];
        let answer = browser.post(app, &Form { action: format!("/magic-link{path}"), fields }).await;
        assert_eq!(answer.status, 404, "{answer}");
    }
    assert!(app.mailbox(&person.email).await.iter().all(|letter| letter.kind != "magic-link.sign-in"));
}

async fn the_code_signs_in_and_leads_to_where_one_wanted_to_go(kind: Kind) {
    let app = server(kind).await;
    let (mut browser, person) = (Browser::new(), Person::new("coder"));
    person.joins(app).await;
    let next = "/account/history?from=a&to=b%2Fc";
    let login = browser.open(app, &format!("/login?next={}", encoded(next))).await;
    let form = browser.open(app, &login.link("Sign in with a code by mail")).await.form("magic-link");
    assert_eq!(form.value("next"), next);
    browser.send(app, &form.clone().with("email", "nobody at all")).await.says(422, "Enter an email address");
    let page = browser.send(app, &form.with("email", &format!(" {} ", person.email))).await;
    assert!(page.url.starts_with("/magic-link?flow=mag_"), "{}", page.url);
    page.says(200, "inputmode=\"numeric\"").says(200, "autocomplete=\"one-time-code\"").says(200, &person.email);
    page.says(200, "or there is no account with this address.").says_not("type=\"password\"");

    let form = page.form("magic-link-code");
    for code in ["12345", ""] {
        let again = browser.send(app, &form.clone().with("code", code)).await;
        again.says(422, "Enter the six digits from the mail.").form("magic-link-code");
    }
    let code = mailed(app, &person).await.code().unwrap();
    let again = browser.send(app, &form.clone().with("code", wrong(&code))).await;
    assert_eq!(again.says(422, "4 more tries").form("magic-link-code").value("code"), "");
    assert_eq!(browser.cookie("cairn_session"), None);
    let spaced = format!(" {}-{} ", &code[..3], &code[3..]);
    let there = browser.send(app, &again.form("magic-link-code").with("code", &spaced)).await;
    assert_eq!(there.url, next);
    there.says(200, "What happened to your account");
    browser.open(app, "/account").await.says(200, &person.email);
    assert!(browser.cookie("cairn_session").unwrap().ends_with(".ends"), "it ends with the browser");
    // Sent twice, and loaded again: both lead on.
    assert_eq!(browser.send(app, &form.with("code", &code)).await.url, next);
    assert_eq!(browser.open(app, &page.url).await.url, next);
}

async fn opening_the_link_signs_nobody_in_and_one_click_does_in_the_browser_that_asked(kind: Kind) {
    let app = server(kind).await;
    let (person, mut browser, waiting) = asked(app, "clicker", "/account/history").await;
    let letter = mailed(app, &person).await;
    let link = letter.link().unwrap();
    assert!(!link.contains("next") && !link.contains("account"), "{link}");
    let mut shown = None;
    for _ in 0..3 {
        let page = browser.open(app, &link).await;
        page.says(200, "One more click").says_not("type=\"password\"");
        assert_eq!(page.html.matches("<button").count(), 1, "{}", page.html);
        assert_eq!(page.answer.header("cache-control"), Some("no-store"), "{}", page.answer);
        assert_eq!(page.answer.header("referrer-policy"), Some("no-referrer"), "the link must not leak");
        assert_eq!(browser.cookie("cairn_session"), None);
        shown = Some(page);
    }
    browser.open(app, &waiting.url).await.says(200, "Sign in with the code");
    let form = shown.unwrap().form("magic-link");
    assert_eq!((form.action.as_str(), form.value("token")), ("/magic-link/link", letter.token().unwrap().as_str()));
    let there = browser.send(app, &form).await;
    assert_eq!(there.url, "/account/history");
    there.says(200, "What happened to your account");
    browser.open(app, "/account").await.says(200, &person.email);
    // Pressed again, opened again, and the tab that waited: all lead on.
    assert_eq!(browser.send(app, &form).await.url, "/account");
    assert_eq!(browser.open(app, &link).await.url, "/account");
    assert_eq!(browser.open(app, &waiting.url).await.url, "/account/history");
}

async fn another_browser_is_signed_in_by_the_code_and_by_nothing_else(kind: Kind) {
    let app = server(kind).await;
    let (person, mut browser, waiting) = asked(app, "phone", "/account/delete").await;
    let letter = mailed(app, &person).await;
    let (link, code) = (letter.link().unwrap(), letter.code().unwrap());
    let mut phone = Browser::new();
    // What is added to the link is not heard.
    for target in [link.clone(), link.clone(), format!("{link}&next=%2Faccount%2Fdelete")] {
        let page = phone.open(app, &target).await;
        page.says(200, "Enter the code from the mail").says_not("One more click").says_not("/account/delete");
        assert!(!page.has_form("magic-link"), "{}", page.html);
    }
    let form = phone.open(app, &link).await.form("magic-link-code");
    // The button, as the page of the other browser has it; also in a browser that has asked for a letter of its own.
    let token = ("token".to_owned(), letter.token().unwrap());
    let fields = vec![("form_token".to_owned(), form.value("form_token").to_owned()), token];
    let button = Form { action: "/magic-link/link".to_owned(), fields };
    for own in [false, true] {
        if own {
            asks(&mut phone, app, &Person::new("stranger").email, "/account/delete").await;
            assert!(phone.cookie("cairn_flows").is_some());
        }
        let refused = phone.send(app, &button).await;
        refused.says(200, "Enter the code from the mail");
        assert_eq!(phone.cookie("cairn_session"), None);
    }
    let again = phone.send(app, &form.clone().with("code", wrong(&code))).await;
    again.says(422, "4 more tries").says(422, "Enter the code from the mail");
    let there = phone.send(app, &again.form("magic-link-code").with("code", &code)).await;
    assert_eq!(there.url, "/account", "where somebody else wanted to go is nobody's way");
    there.says(200, &person.email);
    // Who asked is not signed in by that, nor by opening the link, which is used up.
    browser.open(app, &waiting.url).await.says(410, "This mail was used");
    browser.open(app, &link).await.says(410, "This mail was used");
    assert_eq!(browser.cookie("cairn_session"), None);
}

async fn a_code_that_is_sent_twice_from_another_browser_leads_on(kind: Kind) {
    let app = server(kind).await;
    let (person, _, _) = asked(app, "twice", "").await;
    let letter = mailed(app, &person).await;
    let mut phone = Browser::new();
    let form = phone.open(app, &letter.link().unwrap()).await.form("magic-link-code");
    let form = form.with("code", &letter.code().unwrap());
    phone.send(app, &form).await.says(200, &person.email);
    let there = phone.send(app, &form).await;
    assert_eq!(there.url, "/account", "{}", there.html);
    there.says(200, &person.email);
}

/// A field that takes nothing any more is no help.
async fn what_cannot_be_typed_any_more_in_another_browser_is_not_asked_for(kind: Kind) {
    let app = server(kind).await;
    // Used up meanwhile.
    let (person, mut browser, waiting) = asked(app, "used", "").await;
    let letter = mailed(app, &person).await;
    let mut phone = Browser::new();
    let form = phone.open(app, &letter.link().unwrap()).await.form("magic-link-code");
    let form = form.with("code", &letter.code().unwrap());
    let done = waiting.form("magic-link-code").with("code", &letter.code().unwrap());
    browser.send(app, &done).await.says(200, &person.email);
    let late = phone.send(app, &form).await;
    assert!(!late.has_form("magic-link-code"), "{}", late.html);
    assert_eq!(late.link("Send a new mail"), "/magic-link");
    assert_eq!(phone.cookie("cairn_session"), None);

    // Five wrong ones: what is left is the link, and not here.
    let (person, _, _) = asked(app, "fumbling", "").await;
    let letter = mailed(app, &person).await;
    let mut phone = Browser::new();
    let form = phone.open(app, &letter.link().unwrap()).await.form("magic-link-code");
    let code = letter.code().unwrap();
    for left in (0..5).rev() {
        let status = if left > 0 { 422 } else { 410 };
        assert_eq!(phone.send(app, &form.clone().with("code", wrong(&code))).await.status, status);
    }
    let late = phone.send(app, &form.with("code", &code)).await;
    assert!(!late.has_form("magic-link-code"), "{}", late.html);
    assert_eq!(phone.cookie("cairn_session"), None);
    let page = phone.open(app, &letter.link().unwrap()).await;
    assert!(!page.has_form("magic-link-code"), "{}", page.html);
}

async fn pressed_twice_at_once_it_is_one_session(kind: Kind) {
    let app = server(kind).await;
    for by_link in [false, true] {
        let (person, mut browser, waiting) = asked(app, "hasty", "/account/history").await;
        let letter = mailed(app, &person).await;
        let form = if by_link {
            browser.open(app, &letter.link().unwrap()).await.form("magic-link")
        } else {
            waiting.form("magic-link-code").with("code", &letter.code().unwrap())
        };
        let mut twin = browser.clone();
        let (one, two) = tokio::join!(browser.send(app, &form), twin.send(app, &form));
        for page in [&one, &two] {
            page.says(200, "What happened to your account");
        }
        assert!(browser.cookie("cairn_session").is_some());
        assert_eq!(browser.cookie("cairn_session"), twin.cookie("cairn_session"));
        browser.open(app, "/account/sessions").await.says(200, "This browser");
    }
}

/// There is room for one session, and the second click begins none.
async fn a_click_that_comes_twice_ends_no_session(kind: Kind) {
    let app = plan(kind).set("CAIRN_MAX_SESSIONS", 1).set("CAIRN_REFRESH_GRACE", 600).start().await;
    for by_link in [false, true] {
        let (person, mut browser, waiting) = asked(&app, "alone", "").await;
        let letter = mailed(&app, &person).await;
        let form = if by_link {
            browser.open(&app, &letter.link().unwrap()).await.form("magic-link")
        } else {
            waiting.form("magic-link-code").with("code", &letter.code().unwrap())
        };
        // The answer to the first click is lost, and what it set.
        let mut again = browser.clone();
        browser.send(&app, &form).await.says(200, &person.email);
        again.send(&app, &form).await.says(200, &person.email);
        for browser in [&mut browser, &mut again] {
            browser.open(&app, "/account").await.says(200, &person.email);
        }
    }
}

async fn a_form_from_before_the_sign_out_signs_nobody_in(kind: Kind) {
    let app = server(kind).await;
    for by_link in [false, true] {
        let (person, mut browser, waiting) = asked(app, "leaver", "").await;
        let letter = mailed(app, &person).await;
        let form = if by_link {
            browser.open(app, &letter.link().unwrap()).await.form("magic-link")
        } else {
            waiting.form("magic-link-code").with("code", &letter.code().unwrap())
        };
        browser.send(app, &form).await.says(200, &person.email);
        let leave = browser.open(app, "/account").await.form("logout");
        browser.send(app, &leave).await.says(200, "You are signed out");
        let late = browser.send(app, &form).await;
        late.says(410, "This mail was used");
        assert_eq!(late.link("Send a new mail"), "/magic-link");
        assert_eq!(browser.cookie("cairn_session"), None);
        browser.open(app, "/account").await.says(200, "Sign in");
    }
}

async fn five_wrong_codes_leave_the_link(kind: Kind) {
    let app = server(kind).await;
    let (person, mut browser, waiting) = asked(app, "fumbling", "/account/history").await;
    let letter = mailed(app, &person).await;
    let (form, right) = (waiting.form("magic-link-code"), letter.code().unwrap());
    let texts = ["4 more tries", "3 more tries", "2 more tries", "one more try", "Codes do not work any more"];
    for text in texts {
        browser.send(app, &form.clone().with("code", wrong(&right))).await.says(422, text);
    }
    let late = browser.send(app, &form.with("code", &right)).await;
    late.says(422, "Codes do not work any more after five wrong ones.");
    assert!(!late.has_form("magic-link-code"), "a field that takes nothing is no help");
    assert_eq!(browser.cookie("cairn_session"), None);
    let page = browser.open(app, &letter.link().unwrap()).await;
    let there = browser.send(app, &page.form("magic-link")).await;
    assert_eq!(there.url, "/account/history");
}

async fn whoever_is_signed_in_is_told_so_and_may_change(kind: Kind) {
    let app = server(kind).await;
    let (member, mut theirs) = at_home(app, "member").await;
    let (person, _, _) = asked(app, "guest", "").await;
    let letter = mailed(app, &person).await;
    let page = theirs.open(app, &letter.link().unwrap()).await;
    page.says(200, "You are signed in").says(200, &member.email).says_not(&person.email);
    assert!(!page.has_form("magic-link") && !page.has_form("magic-link-code"), "{}", page.html);
    theirs.open(app, "/account").await.says(200, &member.email);
    let there = theirs.send(app, &page.form("logout")).await;
    let form = there.says(200, "Enter the code from the mail").form("magic-link-code");
    let done = theirs.send(app, &form.with("code", &letter.code().unwrap())).await;
    done.says(200, &person.email).says_not(&member.email);

    let page = theirs.open(app, "/magic-link?next=%2Faccount%2Fhistory").await;
    page.says(200, "You are signed in").says(200, &person.email);
    assert_eq!(page.link("Go on"), "/account/history");
    assert_eq!(page.form("logout").value("next"), "/magic-link?next=/account/history");
}

/// Two tabs: what was begun in one of them signs nobody in over whoever has signed in in the other, however often the
/// button is pressed.
async fn a_page_from_before_another_sign_in_changes_nothing_about_it(kind: Kind) {
    let app = server(kind).await;
    let member = Person::new("member");
    member.joins(app).await;
    let (person, mut browser, waiting) = asked(app, "other", "").await;
    let letter = mailed(app, &person).await;
    let (link, code) = (letter.link().unwrap(), letter.code().unwrap());
    let mut phone = Browser::new();
    let button = browser.open(app, &link).await.form("magic-link");
    let elsewhere = phone.open(app, &link).await.form("magic-link-code").with("code", &code);
    for (browser, forms) in [
        (&mut browser, vec![waiting.form("magic-link-code").with("code", &code), button]),
        (&mut phone, vec![elsewhere]),
    ] {
        super::signs_in(browser, app, &member).await.says(200, &member.email);
        let session = browser.cookie("cairn_session").unwrap().to_owned();
        for form in forms {
            let held = browser.send(app, &form).await;
            for id in ["magic-link-code", "magic-link"] {
                if held.has_form(id) {
                    browser.send(app, &held.form(id).with("code", &code)).await;
                }
            }
            assert_eq!(browser.cookie("cairn_session"), Some(session.as_str()), "{form:?} led to {}", held.title());
            browser.open(app, "/account").await.says(200, &member.email).says_not(&person.email);
        }
    }
}

/// As the page to sign in does: nobody is signed in over somebody else, whose session would go on unseen.
async fn the_page_that_waits_says_who_is_signed_in(kind: Kind) {
    let app = server(kind).await;
    let member = Person::new("member");
    member.joins(app).await;
    let (_, mut browser, waiting) = asked(app, "other", "").await;
    super::signs_in(&mut browser, app, &member).await.says(200, &member.email);
    let opened = browser.open(app, &waiting.url).await;
    opened.says(200, "You are signed in").says(200, &member.email);
    assert!(!opened.has_form("magic-link-code"), "{}", opened.html);
}

async fn an_unknown_address_is_told_the_same(kind: Kind) {
    let app = server(kind).await;
    let person = Person::new("owner");
    person.joins(app).await;
    let mut told = Vec::new();
    for email in [person.email.clone(), Person::new("nobody").email] {
        let mut browser = Browser::new();
        let page = asks(&mut browser, app, &format!(" {email}"), "/account/history").await;
        page.says(200, &email);
        let mut code = "123456".to_owned();
        if email == person.email {
            code = mailed(app, &person).await.code().unwrap();
        }
        // Whether there is a letter, and where it is, does not show afterwards either, nor to who listens.
        let events = page.html.split("data-events=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
        let heard = browser.open(app, &events).await;
        assert!(!heard.html.contains("event:"), "{}", heard.html);
        let tokens = ["form_token", "flow"].map(|name| page.form("magic-link-code").value(name).to_owned());
        let bare = |page: &Page| {
            let html = page.html.replace(&email, "…");
            let html = tokens.iter().fold(html, |html, token| html.replace(token, "…"));
            assert!(!html.contains("seen="), "{html}");
            // The seconds until the next one.
            let wait = html.split("data-wait=").nth(1).unwrap().split(' ').next().unwrap().to_owned();
            (page.status, html.replace(&format!("data-wait={wait}"), "…"))
        };
        let later = browser.open(app, &page.url).await;
        let form = page.form("magic-link-code").with("code", wrong(&code));
        let mut faces = vec![bare(&page), bare(&later)];
        for _ in 0..6 {
            faces.push(bare(&browser.send(app, &form).await));
        }
        told.push(faces);
    }
    assert_eq!(told[0], told[1]);
}

async fn what_is_used_up_or_broken_leads_to_another_letter(kind: Kind) {
    let app = server(kind).await;
    for token in ["x", "", "%ff%00", "cairn_ml_AAAA", "%3Cscript%3E"] {
        let page = Browser::new().open(app, &format!("/magic-link?token={token}")).await;
        page.says(410, "This link to sign in does not work").says_not("<script>");
        assert_eq!((page.link("Send a new mail").as_str(), page.link("Sign in with the password").as_str()), over());
    }
    for flow in ["mag_00000000000000000000000000", "%00", "reg_00000000000000000000000000"] {
        let page = Browser::new().open(app, &format!("/magic-link?flow={flow}")).await;
        page.says(200, "No mail to sign in is awaited here");
        assert_eq!(page.link("Send a new mail"), "/magic-link");
    }
    let (person, mut browser, waiting) = asked(app, "used", "").await;
    let letter = mailed(app, &person).await;
    // Of somebody else's flow this browser is shown nothing.
    Browser::new().open(app, &waiting.url).await.says(200, "No mail to sign in is awaited here");
    let form = waiting.form("magic-link-code").with("code", &letter.code().unwrap());
    browser.send(app, &form).await.says(200, &person.email);
    let page = Browser::new().open(app, &letter.link().unwrap()).await;
    page.says(410, "This mail was used");
    assert_eq!((page.link("Send a new mail").as_str(), page.link("Sign in with the password").as_str()), over());
    for path in ["/magic-link/code", "/magic-link/link", "/magic-link/resend"] {
        let answer = app.client().get(path).send().await;
        assert_eq!((answer.status, answer.header("location")), (303, Some("/magic-link?flow=")), "{answer}");
    }
}

/// Where a page leads that is over.
fn over() -> (&'static str, &'static str) {
    ("/magic-link", "/login")
}

async fn what_was_overtaken_says_so(kind: Kind) {
    let app = server(kind).await;
    let (person, mut browser, waiting) = asked(app, "overtaken", "/account/history").await;
    let letter = mailed(app, &person).await;
    let form = browser.open(app, &letter.link().unwrap()).await.form("magic-link");
    let ask = json!({"email": person.email});
    app.client().post("/auth/password-reset/request", &ask).send().await.expect(202);
    let token = app.letter(&person.email, "recovery.reset").await.token();
    let set = json!({"token": token, "new_password": "granite lantern 47 marmalade"});
    app.client().post("/auth/password-reset/confirm", &set).send().await.expect(200);
    let page = browser.send(app, &form).await;
    page.says(410, "This mail counts no more");
    // Whatever way is taken from here, it ends where one wanted to go.
    let on = ["Send a new mail", "Sign in with the password"].map(|way| page.link(way));
    assert_eq!(on, ["/magic-link?next=/account/history", "/login?next=/account/history"]);
    browser.open(app, &waiting.url).await.says(410, "This mail counts no more");
    let late = browser.send(app, &waiting.form("magic-link-code").with("code", &letter.code().unwrap())).await;
    late.says(410, "This mail counts no more");
    assert_eq!(browser.cookie("cairn_session"), None);
}

async fn a_redirect_stays_in_the_house(kind: Kind) {
    let app = server(kind).await;
    for next in ["//evil.example", "https://evil.example/", "/\\evil.example", "/%0d%0aset-cookie: a=b"] {
        let (mut browser, person) = (Browser::new(), Person::new("lured"));
        person.joins(app).await;
        let form = browser.open(app, &format!("/magic-link?next={}", encoded(next))).await.form("magic-link");
        assert_eq!(form.value("next"), "", "{next}");
        // A script puts it back.
        let page = browser.send(app, &form.with("email", &person.email).with("next", next)).await;
        assert_eq!(browser.cookie("cairn_next"), None, "{next}");
        browser.open(app, &format!("{}&next={}", page.url, encoded(next))).await.says(200, &person.email);
        let form = page.form("magic-link-code").with("code", &mailed(app, &person).await.code().unwrap());
        let answer = browser.post(app, &form.with("next", next)).await;
        assert_eq!((answer.status, answer.header("location")), (303, Some("/account")), "{next}: {answer}");
    }
}

async fn a_deletion_that_waits_is_called_off(kind: Kind) {
    let app = server(kind).await;
    let person = Person::new("hesitant");
    let tokens = person.arrives(app).await;
    let farewell = app.client().request("DELETE", "/users/me").json(&json!({"password": person.password}));
    farewell.bearer(&tokens.access).send().await.expect(202);
    let mut browser = Browser::new();
    let page = asks(&mut browser, app, &person.email, "/account/history").await;
    let form = page.form("magic-link-code").with("code", &mailed(app, &person).await.code().unwrap());
    browser.send(app, &form).await.says(200, "Welcome back. Your account will not be deleted.");
}

async fn the_page_moves_on_when_the_letter_is_used_elsewhere(kind: Kind) {
    let app = server(kind).await;
    let (person, mut browser, waiting) = asked(app, "elsewhere", "").await;
    waiting.says(200, "<noscript><meta http-equiv=\"refresh\"");
    let events = waiting.html.split("data-events=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    let stranger = Browser::new().open(app, &events).await;
    assert_eq!(stranger.status, 404, "who did not begin it hears nothing: {}", stranger.answer);
    let letter = mailed(app, &person).await;
    let mut phone = Browser::new();
    let form = phone.open(app, &letter.link().unwrap()).await.form("magic-link-code");
    let form = form.with("code", &letter.code().unwrap());
    let listening = async {
        loop {
            let heard = browser.clone().open(app, &events).await;
            assert_eq!(heard.answer.header("content-type"), Some("text/event-stream"), "{}", heard.answer);
            if heard.html.contains("event: moved") {
                return;
            }
        }
    };
    let ((), page) = tokio::join!(listening, phone.send(app, &form));
    page.says(200, &person.email);
    browser.open(app, &waiting.url).await.says(410, "This mail was used");
}

async fn another_mail_can_be_had_but_not_at_once(kind: Kind) {
    let app = server(kind).await;
    let (person, mut browser, waiting) = asked(app, "impatient", "").await;
    waiting.says(200, "data-wait=\"");
    let page = browser.send(app, &waiting.form("resend")).await;
    page.says(422, "You can ask for another mail at").says(422, "UTC").says(422, &person.email);
    let flow = waiting.form("magic-link-code").value("flow").to_owned();
    page.says(422, &format!("<meta http-equiv=\"refresh\" content=\"60;url=/magic-link?flow={flow}\">"));
    mailed(app, &person).await;
    let letters = app.mailbox(&person.email).await.into_iter().filter(|letter| letter.kind == "magic-link.sign-in");
    assert_eq!(letters.count(), 1);
}

async fn a_mail_that_is_sent_again_carries_the_same(kind: Kind) {
    let app = plan(kind).set("CAIRN_RESEND_COOLDOWN", 0).start().await;
    let (person, mut browser, waiting) = asked(&app, "forgetful", "/account/history").await;
    let page = browser.send(&app, &waiting.form("resend")).await;
    assert_eq!(page.url, waiting.url);
    page.says(200, &person.email);
    let letters = eventually("two letters", async || {
        let all = app.mailbox(&person.email).await.into_iter().filter(|letter| letter.kind == "magic-link.sign-in");
        <[Letter; 2]>::try_from(all.collect::<Vec<_>>()).ok()
    })
    .await;
    assert_ne!(letters[0].message_id, letters[1].message_id, "it is another letter");
    assert_eq!((letters[0].code(), letters[0].link()), (letters[1].code(), letters[1].link()));
    // One try is one try, whatever letter it was read in.
    let form = page.form("magic-link-code");
    browser.send(&app, &form.clone().with("code", wrong(&letters[0].code().unwrap()))).await.says(422, "4 more tries");
    for _ in 0..4 {
        assert_eq!(browser.send(&app, &waiting.form("resend")).await.status, 200);
    }
    browser.send(&app, &waiting.form("resend")).await.says(422, "Five more mails were sent; there are no more.");
    browser.send(&app, &form.clone().with("code", wrong(&letters[0].code().unwrap()))).await.says(422, "3 more tries");
    let there = browser.send(&app, &form.with("code", &letters[0].code().unwrap())).await;
    assert_eq!(there.url, "/account/history");
}

async fn an_old_letter_says_so_and_leads_to_another_one(kind: Kind) {
    let app = plan(kind).start().await;
    let (person, mut browser, waiting) = asked(&app, "late", "").await;
    let letter = mailed(&app, &person).await;
    let button = browser.open(&app, &letter.link().unwrap()).await.form("magic-link");
    app.restart_at(1_000).await;
    browser.open(&app, &letter.link().unwrap()).await.says(410, "This mail is too old");
    browser.open(&app, &waiting.url).await.says(410, "This mail is too old");
    Browser::new().open(&app, &letter.link().unwrap()).await.says(410, "This mail is too old");
    browser.send(&app, &button).await.says(410, "This mail is too old");
    let form = waiting.form("magic-link-code").with("code", &letter.code().unwrap());
    let over = browser.send(&app, &form).await;
    over.says(410, "This mail is too old");
    assert_eq!(browser.cookie("cairn_session"), None);
    let form = browser.open(&app, &over.link("Send a new mail")).await.form("magic-link");
    browser.send(&app, &form.with("email", &person.email)).await.says(200, "Sign in with the code");
}

async fn the_way_goes_on_though_the_server_dies_in_between(kind: Kind) {
    let app = plan(kind).set("CAIRN_REFRESH_GRACE", 600).start().await;
    for by_link in [false, true] {
        let (person, mut browser, waiting) = asked(&app, "traveller", "/account/history").await;
        app.crash_and_restart().await;
        let letter = mailed(&app, &person).await;
        let form = if by_link {
            browser.open(&app, &letter.link().unwrap()).await.form("magic-link")
        } else {
            waiting.form("magic-link-code").with("code", &letter.code().unwrap())
        };
        app.crash_and_restart().await;
        let before = browser.clone();
        assert_eq!(browser.send(&app, &form).await.url, "/account/history");
        // The session was begun, and the server died before it answered: the same browser gets the same one.
        app.crash_and_restart().await;
        let mut again = before.clone();
        assert_eq!(again.send(&app, &form).await.url, "/account/history");
        assert!(browser.cookie("cairn_session").is_some());
        assert_eq!(again.cookie("cairn_session"), browser.cookie("cairn_session"), "it is one session");
        // Whoever has but the letter and a browser of their own does not.
        let mut stranger = Browser::new();
        stranger.open(&app, &letter.link().unwrap()).await.says(410, "This mail was used");
        assert_eq!(stranger.cookie("cairn_session"), None);
    }
}
