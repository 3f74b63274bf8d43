//! From registering to a new password, with a kill between every two clicks, on a phone and a desk, in light and dark, on both
//! databases.

use super::BrowserSession;
use crate::support::{App, Kind, Person};

/// One journey in each look, each database twice.
macro_rules! in_this_look {
    ($name:ident, $kind:ident, $width:literal, dark: $dark:literal) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            a_person_comes_all_the_way_though_the_server_dies_between_every_two_clicks(Kind::$kind, $width, $dark)
                .await;
        }
    };
}

in_this_look!(phone_in_light_on_sqlite, Sqlite, 390, dark: false);
in_this_look!(desk_in_dark_on_sqlite, Sqlite, 1280, dark: true);
in_this_look!(phone_in_dark_on_postgres, Postgres, 390, dark: true);
in_this_look!(desk_in_light_on_postgres, Postgres, 1280, dark: false);

async fn a_person_comes_all_the_way_though_the_server_dies_between_every_two_clicks(
    kind: Kind,
    width: u32,
    dark: bool,
) {
    let app = App::plan(kind).named("journey").set("CAIRN_RESEND_COOLDOWN", 0).start().await;
    let person = Person::new("traveller");
    let mut seat = BrowserSession::take(&app, "journey", width, dark, true).await;

    // An error first: it takes the focus, and what was typed is kept, with where it shall lead in the end.
    seat.opens("/register?next=%2Faccount%2Fprofile", "Create your account").await;
    seat.types("#email", "nobody").await;
    seat.types("#password", "short").await;
    seat.clicks("#register button[type=submit]", "Error: Create your account").await;
    assert_eq!(seat.chrome.run("return document.getElementById('email').value").await, "nobody");
    seat.types("#email", &person.email).await;
    seat.types("#password", &person.password).await;
    seat.clicks("[data-shows=password]", "Error: Create your account").await;
    assert_eq!(seat.chrome.run("return document.getElementById('password').type").await, "text");
    assert_eq!(seat.chrome.text("[data-shows=password]").await, "Hide");
    seat.clicks("#register button[type=submit]", "Check your mail").await;
    assert_eq!(seat.chrome.text(".address").await, person.email);

    // The link in the same browser: one click.
    let link = person.verification(&app).await.link().unwrap();
    seat.opens(&link, "Confirm your address").await;
    assert!(!seat.chrome.has("input[type=password]").await);
    // Signed in at once, and led to where one wanted to go.
    seat.clicks("#verify-link button", "Name and username").await;
    seat.clicks(".ways li:last-child a", "Your account").await;
    seat.clicks("#logout button", "You are signed out").await;
    seat.opens("/login?next=%2Faccount%2Fprofile", "Sign in").await;
    seat.types("#identifier", &person.email).await;
    seat.types("#password", "not the velvet umbrella").await;
    seat.clicks("#login button[type=submit]", "Error: Sign in").await;
    seat.types("#password", &person.password).await;
    seat.clicks("#login button[type=submit]", "Name and username").await;
    seat.clicks(".ways li:last-child a", "Your account").await;

    for (path, title) in [
        ("profile", "Name and username"),
        ("email", "Change your email address"),
        ("password", "Change your password"),
        ("sessions", "Where you are signed in"),
        ("history", "What happened to your account"),
        ("export", "Your data"),
        ("delete", "Delete your account"),
    ] {
        seat.clicks(&format!("a[href='/account/{path}']"), title).await;
        seat.clicks(".ways li:last-child a", "Your account").await;
    }
    seat.clicks("#logout button", "You are signed out").await;
    seat.clicks("a.button", "Sign in").await;

    // The password is forgotten.
    seat.clicks("a[href='/forgot-password']", "Set a new password by mail").await;
    seat.types("#email", &person.email).await;
    seat.clicks("#forgot-password button", "Choose a new password with the code").await;
    let code = app.letter(&person.email, "recovery.reset").await.code().unwrap();
    seat.types("#code", &code).await;
    seat.types("#new_password", "marble cactus seven trumpets").await;
    seat.clicks("#reset-code button[type=submit]", "Your password is set").await;
    seat.clicks("a.button", "Sign in").await;
    seat.types("#identifier", &person.email).await;
    seat.types("#password", "marble cactus seven trumpets").await;
    seat.clicks("#login button[type=submit]", "Your account").await;
    seat.opens(&link, "Your account").await;
    seat.opens("/nowhere", "There is nothing here").await;
    seat.chrome.quit().await;
}
