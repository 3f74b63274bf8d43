//! Flows in the operator's hands, of another release, or past a deadline that nobody has acted on: what a reader is told.

use serde_json::json;

use crate::support::app::App;
use crate::support::browser::Browser;
use crate::support::database::sql;
use crate::support::person::{Person, flow_id};
use crate::support::{Kind, eventually};

/// What an operator, an older release or a wake-up that did not come leaves in a row.
const CONDITIONS: [(&str, &str); 4] = [
    ("set aside", "quarantined_at = 1, quarantine_why = 'a test'"),
    ("ended by the operator", "quarantined_at = 1, quarantine_why = 'a test', phase = 'ended', wake_at = NULL"),
    ("of a shape that nobody reads", "schema = 0"),
    ("overdue", "wake_at = 1"),
];

fn leave(app: &App, kind: &str, what: &str) {
    let url = app.database().url().expect("PostgreSQL");
    sql(url, &format!("UPDATE flows SET {what} WHERE kind = '{kind}'"));
}

#[tokio::test]
async fn no_session_that_cannot_be_read_opens_anything() {
    let app = App::plan(Kind::Postgres).named("set-aside").start().await;
    for (condition, what) in CONDITIONS {
        let person = Person::new("aside");
        let tokens = person.arrives(&app).await;
        let mut browser = Browser::new();
        let form = browser.open(&app, "/login").await.form("login");
        let filled = form.with("identifier", &person.email).with("password", &person.password);
        browser.send(&app, &filled).await;
        browser.open(&app, "/account").await.says(200, &person.email);
        let user = app.client().get("/users/me").bearer(&tokens.access).send().await;
        assert_eq!(user.status, 200, "{condition}");
        leave(&app, "session", what);
        let user = app.client().get("/users/me").bearer(&tokens.access).send().await;
        assert_eq!(user.status, 401, "{condition}: {user}");
        let page = browser.open(&app, "/account").await;
        assert!(page.has_form("login"), "{condition}: {}", page.title());
        // A new sign-in is none of it.
        let again = person.signs_in(&app).await;
        let sessions = app.client().get("/auth/sessions").bearer(&again.access).send().await.expect(200);
        assert_eq!(sessions["sessions"].as_array().map(Vec::len), Some(1), "{condition}: {sessions}");
        sql(app.database().url().unwrap(), "DELETE FROM flows WHERE kind = 'session'");
    }
}

#[tokio::test]
async fn a_registration_is_shown_as_a_command_would_find_it() {
    let app = App::plan(Kind::Postgres).named("set-aside-registration").start().await;
    let url = app.database().url().unwrap();
    for (condition, what) in CONDITIONS {
        let person = Person::new("waits");
        let answer = app.client().post("/auth/register", &person.registration()).send().await.expect(202);
        let flow = flow_id(&answer);
        let code = person.verification(&app).await.code().unwrap();
        eventually("the letter's end", async || {
            let open = sql(url, "SELECT count(*) FROM outbox WHERE settled IS NULL");
            (open.trim() == "0").then_some(())
        })
        .await;
        leave(&app, "registration", what);
        // No shell remembers the row as it was.
        app.crash_and_restart().await;
        let shown = app.client().get(&format!("/auth/register/{flow}")).send().await;
        let entered = app.client().post("/auth/verify-email", &json!({ "flow": flow, "code": code })).send().await;
        match condition {
            "overdue" => {
                assert_eq!(shown.expect(200)["flow"]["phase"], "expired");
                assert_eq!(entered.status, 410, "{entered}");
            }
            "ended by the operator" => {
                assert_eq!((shown.status, entered.status), (410, 410), "{shown} {entered}");
            }
            _ => assert_eq!((shown.status, entered.status), (503, 503), "{condition}: {shown} {entered}"),
        }
        sql(url, "DELETE FROM flows WHERE kind = 'registration'");
    }
}
