//! SQLite and the disk: no acknowledgement before the sync, the end after a failed one, an answer when there is no room.

use std::task::Poll;

use crate::support::audit::Audit;
use crate::support::shim::Shim;
use crate::support::{App, Kind, Person, eventually};

async fn over(shim: &Shim, name: &str) -> App {
    shim.under(App::plan(Kind::Sqlite).named(name)).start().await
}

#[tokio::test]
async fn an_acknowledged_registration_was_synced() {
    let shim = Shim::new();
    let app = over(&shim, "synced").await;
    for number in 0..20 {
        let before = shim.database_syncs();
        Person::new("synced").registers(&app).await;
        assert!(shim.database_syncs() > before, "registration {number} was acknowledged without a sync");
    }
}

#[tokio::test]
async fn while_the_sync_lasts_nothing_is_acknowledged() {
    let shim = Shim::new();
    let app = over(&shim, "held").await;
    let person = Person::new("held");
    shim.hold();
    let mut answer = Box::pin(app.client().post("/auth/register", &person.registration()).send());
    eventually("a sync that waits", async || {
        let early = std::future::poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx).is_ready())).await;
        assert!(!early, "acknowledged while its sync was waiting");
        shim.holds_one().then_some(())
    })
    .await;
    for _ in 0..1_000 {
        let early = std::future::poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx).is_ready())).await;
        assert!(!early, "acknowledged while its sync was waiting");
        tokio::task::yield_now().await;
    }
    shim.release();
    answer.await.expect(202);
}

#[tokio::test]
async fn a_failed_sync_ends_the_process_without_an_acknowledgement() {
    let shim = Shim::new();
    let app = over(&shim, "eio").await;
    let before = Person::new("before");
    let flow = before.registers(&app).await;
    shim.fail(true);
    let after = Person::new("after");
    let answer = app.client().post("/auth/register", &after.registration()).attempt().await;
    assert!(!answer.is_ok_and(|answer| answer.status < 500), "acknowledged over a disk that failed");
    assert!(!app.ended().await.success(), "what it would read back may not be on the disk");
    shim.fail(false);
    app.launch();
    app.ready().await;
    before.verifies(&app, &flow).await;
    after.joins(&app).await;
    Audit::of(&app).await.must_be_clean();
}

#[tokio::test]
async fn a_full_disk_is_answered_and_outlived() {
    let shim = Shim::new();
    let app = over(&shim, "full").await;
    let person = Person::new("reader");
    person.joins(&app).await;
    let tokens = person.signs_in(&app).await;
    shim.full(true);
    let late = Person::new("late");
    app.client().post("/auth/register", &late.registration()).send().await.problem(507, "storage");
    app.client().get("/users/me").bearer(&tokens.access).send().await.expect(200);
    shim.full(false);
    let answer = eventually("writes to go on by themselves", async || {
        let answer = app.client().post("/auth/register", &late.registration()).send().await;
        (answer.status == 202).then_some(answer)
    });
    answer.await;
    Audit::of(&app).await.must_be_clean();
}
