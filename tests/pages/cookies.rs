//! Cookies: ours among those of others, whatever bytes theirs have, how many there are, and whoever shares the host.

use super::{at_home, signs_in};
use crate::support::browser::Browser;
use crate::support::{App, Kind, Person};

on_both_databases!(
    a_foreign_cookie_of_any_bytes_hides_none_of_ours,
    a_browser_with_too_many_cookies_is_told_which_and_led_nowhere,
);

async fn a_foreign_cookie_of_any_bytes_hides_none_of_ours(app: &App) {
    let (person, browser) = at_home(app, "foreign").await;
    let ours = browser.header().into_bytes();
    let beside: [&[u8]; 5] =
        ["city=Z\u{fc}rich; ".as_bytes(), b"city=Z\xfcrich; ", b"\xff=\xfe; ", b"=; ;;", b"a=\"\x80, b\"; "];
    for foreign in beside {
        let first = [foreign, &ours].concat();
        let last = [&ours[..], b"; ", foreign].concat();
        for line in [first, last] {
            let shown = String::from_utf8_lossy(&line).into_owned();
            let page = app.client().get("/account/profile").header("accept", "text/html").octets("cookie", &line);
            let page = page.send().await;
            assert!(page.status == 200 && page.text().contains("Name and username"), "{shown}: {page}");
            // And its forms work.
            let token = page.text().split("name=\"form_token\" value=\"").nth(1).unwrap().to_owned();
            let token = token.split('"').next().unwrap();
            let version = page.text().split("name=\"version\" value=\"").nth(1).unwrap().to_owned();
            let version = version.split('"').next().unwrap();
            let form = app.client().request("POST", "/account/profile").octets("cookie", &line);
            let form = form.header("content-type", "application/x-www-form-urlencoded").header("accept", "text/html");
            let sent = form.body(format!("form_token={token}&version={version}&first_name=Ada")).send().await;
            assert_eq!((sent.status, sent.header("location")), (303, Some("/account?said=profile")), "{shown}: {sent}");
        }
    }
    let export = person.signs_in(app).await;
    let me = app.client().get("/users/me").bearer(&export.access).send().await.expect(200);
    assert_eq!(me["first_name"], "Ada");
}

async fn a_browser_with_too_many_cookies_is_told_which_and_led_nowhere(app: &App) {
    let mut browser = Browser::new();
    browser.set_cookie("shop_basket", &"x".repeat(20_000));
    browser.set_cookie("<b>tracker", &"y".repeat(14_000));
    browser.set_cookie("small", "z");
    let page = browser.open(app, "/login").await;
    page.says(431, "Your browser sends too much along").says(431, "Delete the cookies of 127.0.0.1");
    page.says(431, "shop_basket").says(431, "<b>tracker").says_not("xxxx");
    assert!(!page.html.contains("<b>"), "{}", page.html);
    for leads in ["href=", "src=", "action=", "http-equiv"] {
        assert!(!page.html.contains(leads), "whatever it led to would be refused alike: {}", page.html);
    }
    let told = app.client().get("/auth/config").header("cookie", &browser.header()).send().await;
    let told = told.problem(431, "too-large");
    assert!(told["detail"].as_str().unwrap().contains("shop_basket (20014 octets)"), "{told}");
    // Without them all is well, and where it is not the cookies nobody blames them.
    Browser::new().open(app, "/login").await.says(200, "Sign in");
    let other = app.client().get("/login").header("accept", "text/html").header("x-much", &"x".repeat(33_000));
    let page = other.send().await;
    assert!(page.status == 431 && page.text().contains("An extension or a proxy"), "{page}");
    assert!(!page.text().contains("Delete the cookies"), "{page}");
}

/// Two instances on one host, in one browser.
#[tokio::test]
async fn two_instances_on_one_host_leave_each_others_cookies_alone() {
    let one = App::plan(Kind::Sqlite).named("one").start().await;
    let two = App::plan(Kind::Sqlite).named("two").start().await;
    let (here, there) = (Person::new("here"), Person::new("there"));
    here.joins(&one).await;
    there.joins(&two).await;
    let mut browser = Browser::new();
    signs_in(&mut browser, &one, &here).await.says(200, "Your account");
    signs_in(&mut browser, &two, &there).await.says(200, "Your account");
    browser.open(&one, "/account").await.says(200, &here.email);
    browser.open(&two, "/account").await.says(200, &there.email);
    let form = browser.open(&two, "/account").await.form("logout");
    browser.send(&two, &form).await.says(200, "You are signed out");
    browser.open(&one, "/account").await.says(200, &here.email);
    browser.open(&two, "/account").await.says(200, "Sign in");
}

/// What a release before set without the port in its name.
#[tokio::test]
async fn a_session_under_the_name_from_before_goes_on_under_the_present_one() {
    let app = App::plan(Kind::Sqlite).named("renamed").start().await;
    let other = App::plan(Kind::Sqlite).named("neighbour").start().await;
    let (person, browser) = at_home(&app, "renamed").await;
    let session = browser.cookie("cairn_session").unwrap().to_owned();
    let mut old = Browser::new();
    old.set_cookie("cairn_session", &session);
    old.open(&app, "/account").await.says(200, &person.email);
    assert_eq!(old.header().matches("cairn_session").count(), 1, "it has moved: {}", old.header());
    old.open(&app, "/account/sessions").await.says(200, "Where you are signed in");
    // Of another instance that shares the host it is none, and stays where it is.
    let mut both = Browser::new();
    both.set_cookie("cairn_session", &session);
    both.open(&other, "/account").await.says(200, "Sign in");
    signs_in(&mut both, &other, &{
        let neighbour = Person::new("neighbour");
        neighbour.joins(&other).await;
        neighbour
    })
    .await
    .says(200, "Your account");
    let form = both.open(&other, "/account").await.form("logout");
    both.send(&other, &form).await.says(200, "You are signed out");
    both.open(&app, "/account").await.says(200, &person.email);
    // Signing out takes the one from before away as well.
    let mut old = Browser::new();
    old.set_cookie("cairn_session", &session);
    let form = old.clone().open(&app, "/account").await.form("logout");
    let mut renamed = old.clone();
    renamed.open(&app, "/account").await;
    renamed
        .send(
            &app,
            &form.with("form_token", renamed.clone().open(&app, "/account").await.form("logout").value("form_token")),
        )
        .await
        .says(200, "You are signed out");
    assert!(!renamed.header().contains("cairn_session"), "{}", renamed.header());
}
