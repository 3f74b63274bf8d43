//! `/verify-email`: the page that waits for the mail, and the page behind the link in it.

use super::registers;
use crate::support::browser::{Browser, Page};
use crate::support::client::encoded;
use crate::support::{App, Kind, Person};

on_both_databases!(
    the_page_that_waits_takes_the_code,
    opening_the_link_consumes_nothing_and_one_click_confirms_in_the_browser_that_began,
    another_browser_is_asked_for_the_password_and_told_why,
    a_page_that_answers_a_form_loads_the_page_of_its_flow,
    a_used_link_says_so_and_leads_to_signing_in,
    five_wrong_codes_leave_the_link,
    a_broken_link_is_told_kindly_and_leads_on,
    the_page_moves_on_when_the_link_is_opened_elsewhere,
    another_mail_can_be_had_but_not_at_once,
    a_link_leads_nobody_to_where_a_stranger_wanted_to_go,
    whoever_registers_in_a_browser_is_signed_in_there_and_nowhere_else,
    a_registration_signs_in_once_and_not_after_a_reset,
);
of_each_kind!(
    a_mail_that_is_sent_again_leaves_the_first_one_good,
    an_expired_registration_says_so_and_begins_again,
    the_page_says_where_the_letter_is,
    where_one_wanted_to_go_is_kept_for_the_link_though_the_server_dies_in_between,
    a_form_that_is_sent_again_after_a_crash_signs_in_all_the_same,
    a_letter_over_the_budget_is_not_blamed_on_the_address,
);

async fn the_page_that_waits_takes_the_code(app: &App) {
    let (mut browser, person) = (Browser::new(), Person::new("coder"));
    let page = registers(&mut browser, app, &person).await;
    assert!(page.url.starts_with("/verify-email?flow=reg_"), "{}", page.url);
    page.says(200, "inputmode=\"numeric\"").says(200, "autocomplete=\"one-time-code\"").says(200, &person.email);
    let form = page.form("verify-code");
    browser.send(app, &form.clone().with("code", "12345")).await.says(422, "Enter the six digits from the mail.");
    browser.send(app, &form.clone().with("code", "")).await.says(422, "Enter the six digits from the mail.");
    let code = person.verification(app).await.code().unwrap();
    let spaced = format!(" {}-{} ", &code[..3], &code[3..]);
    let done = browser.send(app, &form.clone().with("code", &spaced)).await;
    done.says(200, "Your address is confirmed, and you are signed in.").says(200, &person.email);
    assert_eq!(done.url, "/account?said=verified");
    // Sent twice, loaded again, and begun again from the address bar: all lead on.
    browser.send(app, &form.with("code", &code)).await.says(200, "Your address is confirmed");
    browser.open(app, "/verify-email").await.says(200, "Your address is confirmed");
    person.signs_in(app).await;
}

async fn opening_the_link_consumes_nothing_and_one_click_confirms_in_the_browser_that_began(app: &App) {
    let (mut browser, person) = (Browser::new(), Person::new("clicker"));
    let waiting = registers(&mut browser, app, &person).await;
    let link = person.verification(app).await.link().unwrap();
    // Mail scanners open links, with cookies of nobody.
    for _ in 0..3 {
        let scanned = Browser::new().open(app, &link).await;
        scanned.says(200, "password");
        assert_eq!(scanned.answer.header("cache-control"), Some("no-store"), "{}", scanned.answer);
        assert_eq!(scanned.answer.header("referrer-policy"), Some("no-referrer"), "the link must not leak");
    }
    browser.open(app, &waiting.url).await.says(200, "Check your mail");
    let page = browser.open(app, &link).await;
    page.says(200, "One more click").says_not("type=\"password\"");
    browser.open(app, &waiting.url).await.says(200, "Check your mail");
    browser.send(app, &page.form("verify-link")).await.says(200, "Your address is confirmed");
    browser.send(app, &page.form("verify-link")).await.says(200, "Your address is confirmed");
    browser.open(app, &waiting.url).await.says(200, "Your address is confirmed");
    person.signs_in(app).await;
}

async fn another_browser_is_asked_for_the_password_and_told_why(app: &App) {
    let (mut browser, mut phone, person) = (Browser::new(), Browser::new(), Person::new("phone"));
    registers(&mut browser, app, &person).await;
    let link = person.verification(app).await.link().unwrap();
    let page = phone.open(app, &link).await;
    page.says(200, "This is another browser than the one in which you began");
    let form = page.form("verify-link");
    let wrong = phone.send(app, &form.clone().with("password", "not the velvet umbrella")).await;
    wrong.says(422, "This is not the password").says_not("not the velvet umbrella").says_not("by mail");
    assert_eq!(wrong.link("Begin again with another password"), "/register");
    wrong.says(422, "autocomplete=\"username\"").says(422, &person.email);
    phone.send(app, &form).await.says(422, "Enter your password.").says(422, "<a href=\"#password\">");
    app.client().post("/auth/login", &person.credentials()).send().await.problem(401, "credentials");
    // The button without the password, as a page of the other browser has it: the password is asked for.
    phone.send(app, &form.clone().without("password")).await.says(200, "another browser");
    phone.send(app, &form.with("password", &person.password)).await.says(200, "Your address is confirmed");
    person.signs_in(app).await;
}

async fn a_page_that_answers_a_form_loads_the_page_of_its_flow(app: &App) {
    let (mut browser, person) = (Browser::new(), Person::new("reloader"));
    let page = registers(&mut browser, app, &person).await;
    let flow = page.form("verify-code").value("flow").to_owned();
    for form in [page.form("resend"), page.form("verify-code").with("code", "1")] {
        let answer = browser.send(app, &form).await;
        answer.says(422, &format!("<meta http-equiv=\"refresh\" content=\"30;url=/verify-email?flow={flow}\">"));
    }
    for (form, page) in [
        ("/verify-email/resend", "/verify-email"),
        ("/reset-password/resend", "/reset-password"),
        ("/account/email/code", "/account/email"),
        ("/account/email/resend", "/account/email"),
    ] {
        let answer = app.client().get(form).send().await;
        assert_eq!((answer.status, answer.header("location")), (303, Some(page)), "{answer}");
    }
    browser.open(app, "/verify-email/resend").await.says(200, "Check your mail").says(200, &person.email);
}

async fn a_letter_over_the_budget_is_not_blamed_on_the_address(kind: Kind) {
    let plan = App::plan(kind).named("budget").set("CAIRN_LIMITS", "on").set("CAIRN_MAIL_BUDGET", 1);
    let app = plan.set("CAIRN_RESEND_COOLDOWN", 0).start().await;
    let (mut browser, person) = (Browser::new(), Person::new("flooded"));
    let page = registers(&mut browser, &app, &person).await;
    person.verification(&app).await;
    let url = browser.send(&app, &page.form("resend")).await.url;
    crate::support::eventually("word of the budget", async || {
        let page = browser.open(&app, &url).await;
        assert!(!page.html.contains("whether the address is right"), "{}", page.html);
        page.html.contains("Too many mails were sent to this address").then_some(())
    })
    .await;
}

async fn a_used_link_says_so_and_leads_to_signing_in(app: &App) {
    let (mut browser, person) = (Browser::new(), Person::new("again"));
    registers(&mut browser, app, &person).await;
    let link = person.verification(app).await.link().unwrap();
    let page = browser.open(app, &link).await;
    browser.send(app, &page.form("verify-link")).await.says(200, "Your address is confirmed");
    let page = Browser::new().open(app, &link).await;
    page.says(200, "Your address was confirmed before");
    assert_eq!(page.link("Sign in"), "/login");
    browser.open(app, &link).await.says(200, "Your account").says(200, &person.email);
    // In the browser that began it, once it is signed out there.
    let form = browser.open(app, "/account").await.form("logout");
    browser.send(app, &form).await.says(200, "You are signed out");
    browser.open(app, &link).await.says(200, "Your address was confirmed before");
}

async fn a_mail_that_is_sent_again_leaves_the_first_one_good(kind: Kind) {
    let own = App::plan(kind).named("again").set("CAIRN_RESEND_COOLDOWN", 0).start().await;
    let (mut browser, person) = (Browser::new(), Person::new("again"));
    let page = registers(&mut browser, &own, &person).await;
    let first = person.verification(&own).await;
    let page = browser.send(&own, &page.form("resend")).await;
    page.says(200, "Check your mail");
    let page = browser.open(&own, &first.link().unwrap()).await;
    browser.send(&own, &page.form("verify-link")).await.says(200, "Your address is confirmed");
}

async fn five_wrong_codes_leave_the_link(app: &App) {
    let (mut browser, person) = (Browser::new(), Person::new("guesser"));
    let form = registers(&mut browser, app, &person).await.form("verify-code");
    let letter = person.verification(app).await;
    let right = letter.code().unwrap();
    let wrong = if right == "000000" { "000001" } else { "000000" };
    let texts = ["4 more tries", "3 more tries", "2 more tries", "one more try", "Codes do not work any more"];
    for text in texts {
        browser.send(app, &form.clone().with("code", wrong)).await.says(422, text);
    }
    let late = browser.send(app, &form.with("code", &right)).await;
    late.says(422, "Codes do not work any more after five wrong ones.");
    assert!(!late.has_form("verify-code"), "a field that takes nothing is no help");
    let page = browser.open(app, &letter.link().unwrap()).await;
    browser.send(app, &page.form("verify-link")).await.says(200, "Your address is confirmed");
}

async fn a_broken_link_is_told_kindly_and_leads_on(app: &App) {
    for target in ["token=garbage", "token=%00%ff", "token=%3Cscript%3E", "token=", "token=cairn_ve_AAAA"] {
        let mut browser = Browser::new();
        let page = browser.open(app, &format!("/verify-email?{target}")).await;
        page.says(410, "This link does not work").says_not("<script>");
        browser.open(app, &page.link("Begin again")).await.says(200, "Create your account");
    }
    for target in ["/verify-email", "/verify-email?flow=reg_00000000000000000000000000", "/verify-email?flow=%00"] {
        let page = Browser::new().open(app, target).await;
        page.says(200, "Open the link in your mail");
        assert_eq!(page.link("Create an account"), "/register");
    }
}

async fn the_page_moves_on_when_the_link_is_opened_elsewhere(app: &App) {
    let (mut browser, mut phone, person) = (Browser::new(), Browser::new(), Person::new("elsewhere"));
    let page = registers(&mut browser, app, &person).await;
    page.says(200, "<noscript><meta http-equiv=\"refresh\"");
    let events = page.html.split("data-events=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    let flow = page.form("verify-code").value("flow").to_owned();
    let stranger = Browser::new().open(app, &events).await;
    assert_eq!(stranger.status, 404, "who did not begin it hears nothing: {}", stranger.answer);
    let link = person.verification(app).await.link().unwrap();
    let form = phone.open(app, &link).await.form("verify-link").with("password", &person.password);
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
    page.says(200, "Your address is confirmed");
    browser.open(app, &format!("/verify-email?flow={flow}")).await.says(200, "Your address is confirmed");
}

async fn another_mail_can_be_had_but_not_at_once(app: &App) {
    let (mut browser, person) = (Browser::new(), Person::new("impatient"));
    let page = registers(&mut browser, app, &person).await;
    page.says(200, "data-wait=\"");
    let page = browser.send(app, &page.form("resend")).await;
    page.says(422, "You can ask for another mail at").says(422, "UTC").says(422, &person.email);
}

async fn an_expired_registration_says_so_and_begins_again(kind: Kind) {
    let app = App::plan(kind).named("expired").start().await;
    let (mut browser, person) = (Browser::new(), Person::new("late"));
    let page = registers(&mut browser, &app, &person).await;
    let link = person.verification(&app).await.link().unwrap();
    app.restart_at(25 * 3_600).await;
    let form = page.form("verify-code").with("code", "123456");
    browser.send(&app, &form).await.says(410, "This took too long");
    for target in [link.as_str(), page.url.as_str()] {
        let over = browser.open(&app, target).await;
        over.says(410, "This took too long");
        browser.open(&app, &over.link("Begin again")).await.says(200, "Create your account");
    }
}

async fn the_page_says_where_the_letter_is(kind: Kind) {
    use crate::support::app::free_port;
    // Nobody takes mail at this port.
    let app =
        App::plan(kind).named("letterless").set("SMTP_URL", format!("smtp://127.0.0.1:{}", free_port())).start().await;
    let (mut browser, person) = (Browser::new(), Person::new("letterless"));
    let page = registers(&mut browser, &app, &person).await;
    let url = page.url.clone();
    crate::support::eventually("word of the next try", async || {
        let page = browser.open(&app, &url).await;
        page.html.contains("The next try is at").then_some(())
    })
    .await;
}

/// Registers on the way to somewhere.
async fn registers_on_the_way(browser: &mut Browser, app: &App, person: &Person, next: &str) -> Page {
    let page = browser.open(app, &format!("/register?next={}", encoded(next))).await;
    let form = page.form("register").with("email", &person.email).with("password", &person.password);
    browser.send(app, &form).await
}

async fn where_one_wanted_to_go_is_kept_for_the_link_though_the_server_dies_in_between(kind: Kind) {
    let app = App::plan(kind).named("destination").start().await;
    let (mut browser, person) = (Browser::new(), Person::new("traveller"));
    let next = "/account/history?from=a&to=b%2Fc";
    registers_on_the_way(&mut browser, &app, &person, next).await.says(200, "Check your mail");
    // Another account begun in the same browser meanwhile is on its own way.
    let other = Person::new("companion");
    registers_on_the_way(&mut browser, &app, &other, "/account/profile").await.says(200, "Check your mail");
    app.crash_and_restart().await;
    let link = person.verification(&app).await.link().unwrap();
    let page = browser.open(&app, &link).await;
    page.says(200, "One more click");
    app.crash_and_restart().await;
    let there = browser.send(&app, &page.form("verify-link")).await;
    assert_eq!(there.url, next);
    there.says(200, "What happened to your account");
    // What the page that waits leads to, when it moves on by itself.
    let waiting = browser.open(&app, "/verify-email").await;
    let here = waiting.says(200, &other.email).html.split("data-next=\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(here.ends_with("&amp;next=/account/profile"), "{here}");
    app.crash_and_restart().await;
    browser.open(&app, next).await.says(200, "What happened to your account");
    // Signed in as somebody else there, the other account's way is by its own sign-in.
    let page = waiting.form("verify-code").with("code", &other.verification(&app).await.code().unwrap());
    let page = browser.send(&app, &page.with("form_token", waiting.form("verify-code").value("form_token"))).await;
    page.says(200, "Your address is confirmed").says(200, &format!("you are signed in as {}", person.email));
    assert_eq!(page.link("Sign in"), "/login?next=/account/profile");
    browser.open(&app, "/account").await.says(200, &person.email).says_not(&other.email);
}

async fn a_link_leads_nobody_to_where_a_stranger_wanted_to_go(app: &App) {
    let (mut browser, mut phone, person) = (Browser::new(), Browser::new(), Person::new("led"));
    let page = registers_on_the_way(&mut browser, app, &person, "/account/delete").await;
    let flow = page.form("verify-code").value("flow").to_owned();
    let link = person.verification(app).await.link().unwrap();
    assert!(!link.contains("next") && !link.contains("delete"), "{link}");
    // Neither what is added to the link nor a cookie without the flow's own is heard.
    phone.set_cookie(&app.cookie("cairn_next"), &format!("{flow}.L2FjY291bnQvZGVsZXRl"));
    let page = phone.open(app, &format!("{link}&next=%2Faccount%2Fdelete")).await;
    let form = page.says(200, "another browser").form("verify-link");
    let form = form.with("password", &person.password).with("next", "/account/delete");
    assert_eq!(phone.send(app, &form).await.says(200, "Your address is confirmed").link("Sign in"), "/login");
    assert_eq!(phone.open(app, &link).await.link("Sign in"), "/login");
    // In the browser that began it, only a path of this host leads on.
    assert_eq!(browser.open(app, &link).await.link("Sign in"), "/login?next=/account/delete");
    for (there, why) in [
        ("Ly9ldmlsLmV4YW1wbGU", "//evil.example"),
        ("aHR0cHM6Ly9ldmlsLmV4YW1wbGU", "https://evil.example"),
        ("L1xldmlsLmV4YW1wbGU", "/\\evil.example"),
        ("Lw0KYTogYg", "/ and a header"),
        ("", "nothing"),
        ("_w", "no text"),
    ] {
        browser.set_cookie(&app.cookie("cairn_next"), &format!("{flow}.{there}"));
        assert_eq!(browser.open(app, &link).await.link("Sign in"), "/login", "{why}");
    }
    for next in ["//evil.example", "https://evil.example/", "/\\evil.example"] {
        let mut browser = Browser::new();
        registers_on_the_way(&mut browser, app, &Person::new("lured"), next).await.says(200, "Check your mail");
        assert_eq!(browser.cookie("cairn_next"), None, "{next}");
    }
}

/// What the account's own history says of its sign-ins.
async fn sign_ins(browser: &mut Browser, app: &App, person: &Person) -> Vec<crate::support::Value> {
    let form = browser.open(app, "/account/export").await.form("export").with("password", &person.password);
    let export = browser.post(app, &form).await.expect(200);
    let all = export["history"].as_array().unwrap().iter();
    all.filter(|entry| entry["kind"] == "session" && entry["name"] == "sign_in").cloned().collect()
}

async fn whoever_registers_in_a_browser_is_signed_in_there_and_nowhere_else(app: &App) {
    for by_link in [false, true] {
        let (mut browser, person) = (Browser::new(), Person::new("newcomer"));
        let page = registers(&mut browser, app, &person).await;
        let letter = person.verification(app).await;
        // Whoever learns the code without the cookies proves the address, and is nobody.
        let form = if by_link {
            browser.open(app, &letter.link().unwrap()).await.form("verify-link")
        } else {
            page.form("verify-code").with("code", &letter.code().unwrap())
        };
        // Pressed twice at once: both are answered alike, with one session.
        let mut twin = browser.clone();
        let (one, two) = tokio::join!(browser.send(app, &form), twin.send(app, &form));
        for page in [&one, &two] {
            page.says(200, "Your address is confirmed, and you are signed in.").says(200, &person.email);
        }
        assert_eq!(browser.cookie("cairn_session"), twin.cookie("cairn_session"), "it is one session");
        assert!(browser.cookie("cairn_session").unwrap().ends_with(".ends"), "it ends with the browser");
        let entries = sign_ins(&mut browser, app, &person).await;
        assert_eq!(entries.len(), 1, "{entries:?}");
        assert_eq!(entries[0]["details"]["shown"]["amr"], crate::support::json!(["pwd", "email"]), "{entries:?}");
        // This browser is known from now on, and nobody is told of a first sign-in.
        browser.open(app, "/account/devices").await.says(200, "This browser");
        let mail = app.mailbox(&person.email).await;
        assert!(mail.iter().all(|letter| letter.kind != "session.new-device"), "{mail:?}");
    }
    let (mut browser, mut other, person) = (Browser::new(), Browser::new(), Person::new("elsewhere"));
    let page = registers(&mut browser, app, &person).await;
    // A browser of its own, with the code that somebody was talked into telling.
    let stranger = Person::new("stranger");
    let theirs = registers(&mut other, app, &stranger).await.form("verify-code");
    let flow = page.form("verify-code").value("flow").to_owned();
    let code = person.verification(app).await.code().unwrap();
    let page = other.send(app, &theirs.with("flow", &flow).with("code", &code)).await;
    page.says(200, "Your address is confirmed");
    assert_eq!(page.link("Sign in"), "/login");
    assert_eq!(other.cookie("cairn_session"), None, "who did not begin it is not signed in");
}

async fn a_registration_signs_in_once_and_not_after_a_reset(app: &App) {
    // Signed out again: what was sent before signs nobody in once more.
    let (mut browser, person) = (Browser::new(), Person::new("once"));
    let page = registers(&mut browser, app, &person).await;
    let form = page.form("verify-code").with("code", &person.verification(app).await.code().unwrap());
    let before = browser.clone();
    browser.send(app, &form).await.says(200, "you are signed in.");
    let leave = browser.open(app, "/account").await.form("logout");
    browser.send(app, &leave).await.says(200, "You are signed out");
    let mut again = before.clone();
    again.send(app, &form).await.says(200, "Your address is confirmed");
    assert_eq!(again.cookie("cairn_session"), None);

    // Verified elsewhere, and the password set anew since: the browser that knows the one from before is out.
    let (mut browser, person) = (Browser::new(), Person::new("late"));
    let page = registers(&mut browser, app, &person).await;
    let flow = page.form("verify-code").value("flow").to_owned();
    let code = person.verification(app).await.code().unwrap();
    person.verifies(app, &flow).await;
    let ask = crate::support::json!({"email": person.email});
    app.client().post("/auth/password-reset/request", &ask).send().await.expect(202);
    let token = app.letter(&person.email, "recovery.reset").await.token();
    let set = crate::support::json!({"token": token, "new_password": "granite lantern 47 marmalade"});
    app.client().post("/auth/password-reset/confirm", &set).send().await.expect(200);
    browser.send(app, &page.form("verify-code").with("code", &code)).await.says(200, "Your address is confirmed");
    assert_eq!(browser.cookie("cairn_session"), None);
}

async fn a_form_that_is_sent_again_after_a_crash_signs_in_all_the_same(kind: Kind) {
    let app = App::plan(kind).named("again").start().await;
    let (mut browser, person) = (Browser::new(), Person::new("again"));
    let page = registers(&mut browser, &app, &person).await;
    let form = page.form("verify-code").with("code", &person.verification(&app).await.code().unwrap());
    // The address is proved, and the server dies before it says so, or before it has begun the session.
    let flow = form.value("flow").to_owned();
    person.verifies(&app, &flow).await;
    app.crash_and_restart().await;
    let before = browser.clone();
    browser.send(&app, &form).await.says(200, "you are signed in.").says(200, &person.email);
    // The session was begun, and the server dies before it has answered.
    app.crash_and_restart().await;
    let mut again = before.clone();
    again.send(&app, &form).await.says(200, "you are signed in.").says(200, &person.email);
    assert_eq!(again.cookie("cairn_session"), browser.cookie("cairn_session"), "it is one session");
}
