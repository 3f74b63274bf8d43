//! The back button, and the page that moves on by itself.

use super::BrowserSession;
use crate::support::browser::Browser;
use crate::support::{App, Kind, Person, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_moves_on_when_the_link_is_opened_on_another_device() {
    let app = App::plan(Kind::Sqlite).named("elsewhere").start().await;
    let person = Person::new("elsewhere");
    let mut seat = BrowserSession::take(&app, "elsewhere", 1280, false, false).await;
    seat.opens("/register", "Create your account").await;
    seat.types("#email", &person.email).await;
    seat.types("#password", &person.password).await;
    // What is typed is judged by the server's own function.
    eventually("advice on the password", async || {
        let said = seat.chrome.text("[data-strength-of=password]").await;
        said.contains("hard to guess").then_some(())
    })
    .await;
    seat.clicks("#register button[type=submit]", "Check your mail").await;
    let waiting = seat.chrome.text("#resend button").await;
    assert!(waiting.contains(" s"), "the seconds left: {waiting}");
    let mut phone = Browser::new();
    let link = person.verification(&app).await.link().unwrap();
    let page = phone.open(&app, &link).await;
    phone.send(&app, &page.form("verify-link").with("password", &person.password)).await;
    seat.is_at("Your address is confirmed").await;
    seat.chrome.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_back_button_leads_on_from_every_page() {
    let app = App::plan(Kind::Sqlite).named("back").start().await;
    let person = Person::new("back");
    let mut seat = BrowserSession::take(&app, "back", 390, false, false).await;
    seat.opens("/register", "Create your account").await;
    seat.types("#email", "nobody").await;
    seat.clicks("#register button[type=submit]", "Error: Create your account").await;
    seat.types("#email", &person.email).await;
    seat.types("#password", &person.password).await;
    seat.clicks("#register button[type=submit]", "Check your mail").await;
    // Back to the answer of a form, and on with it.
    seat.chrome.back().await;
    seat.chrome.reaches("Error: Create your account").await;
    seat.types("#email", &person.email).await;
    seat.types("#password", &person.password).await;
    seat.clicks("#register button[type=submit]", "Check your mail").await;
    person.verification(&app).await;
    assert_eq!(app.mailbox(&person.email).await.len(), 1, "sent twice, begun once");

    let code = person.verification(&app).await.code().unwrap();
    seat.types("#code", &code).await;
    seat.clicks("#verify-code button[type=submit]", "Your account").await;
    // The page that waited leads on as well; behind it stands the form, which says that one is signed in by now.
    seat.chrome.back().await;
    seat.chrome.reaches("Your account").await;
    seat.chrome.back().await;
    seat.chrome.reaches("Error: Create your account").await;
    seat.types("#email", &person.email).await;
    seat.types("#password", &person.password).await;
    seat.clicks("#register button[type=submit]", "You are signed in").await;
    seat.opens("/account", "Your account").await;
    seat.clicks("#logout button", "You are signed out").await;
    seat.opens("/login", "Sign in").await;
    seat.types("#identifier", &person.email).await;
    seat.types("#password", &person.password).await;
    seat.clicks("#login button[type=submit]", "Your account").await;
    seat.chrome.back().await;
    seat.chrome.reaches("You are signed in").await;
    seat.chrome.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_reached_at_four_hundred_percent() {
    let app = App::plan(Kind::Sqlite).named("zoomed").start().await;
    let person = Person::new("zoomed");
    // 1280 pixels at 400 % are 320.
    let mut seat = BrowserSession::take(&app, "zoomed", 320, true, false).await;
    seat.joins(&person).await;
    for (path, title) in [("sessions", "Where you are signed in"), ("password", "Change your password")] {
        seat.opens(&format!("/account/{path}"), title).await;
    }
    seat.chrome.quit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_preferences_are_kept() {
    let app = App::plan(Kind::Sqlite).named("preferences").start().await;
    let mut seat = BrowserSession::take(&app, "preferences", 390, false, false).await;
    seat.chrome.prefers("forced-colors", "active").await;
    seat.opens("/login", "Sign in").await;
    let border = "return getComputedStyle(document.querySelector('#login button[type=submit]')).borderTopWidth";
    assert_eq!(seat.chrome.run(border).await, "2px", "a button without its colour is a button still");
    let moving = "return getComputedStyle(document.querySelector('#login button[type=submit]')).transitionDuration";
    seat.chrome.prefers("prefers-reduced-motion", "reduce").await;
    assert_eq!(seat.chrome.run(moving).await, "0s");
    seat.chrome.prefers("prefers-reduced-motion", "no-preference").await;
    assert_ne!(seat.chrome.run(moving).await, "0s", "else the line before shows nothing");
    seat.chrome.quit().await;
}
