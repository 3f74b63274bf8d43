//! The database goes and comes back: an honest 503 meanwhile, no restart storm, and nothing lost.

use cairn_persistence::testing::{Postgres, Server};

use crate::support::audit::{Audit, outbox_drained};
use crate::support::database::Database;
use crate::support::{App, Kind, Person, eventually, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_outlives_its_database() {
    let server = Server::start("outage");
    let database = Database::Postgres(Postgres::on(server.url()));
    let app = App::plan(Kind::Postgres).named("outage").database(database).start().await;
    let person = Person::new("survivor");
    let flow = person.registers(&app).await;
    let letter = person.verification(&app).await;
    let started = app.operations().get("/runtime/status").send().await.expect(200)["started_at"].clone();

    server.halt();
    let answer = app.client().post("/auth/register", &Person::new("unlucky").registration()).send().await;
    answer.problem(503, "unavailable");
    let wait: u64 = answer.header("retry-after").expect("Retry-After").parse().unwrap();
    assert!(wait > 0, "{answer}");
    let verify = json!({"flow": flow, "code": letter.code()});
    app.client().post("/auth/verify-email", &verify).send().await.problem(503, "unavailable");
    eventually("a red readiness", async || {
        (app.operations().get("/health/ready").send().await.status == 503).then_some(())
    })
    .await;
    assert_eq!(app.operations().get("/health/live").send().await.status, 200, "it lives, and needs no restart");
    assert_eq!(app.operations().get("/health/db").send().await.status, 503);

    server.start_again();
    eventually("a green readiness", async || {
        (app.operations().get("/health/ready").send().await.status == 200).then_some(())
    })
    .await;
    let answer = eventually("an answer to the same command", async || {
        let answer = app.client().post("/auth/verify-email", &verify).send().await;
        (answer.status != 503).then_some(answer)
    });
    answer.await.expect(200);
    person.signs_in(&app).await;
    outbox_drained(&app).await;
    Audit::of(&app).await.must_be_clean();
    let status = app.operations().get("/runtime/status").send().await.expect(200);
    assert_eq!(status["started_at"], started, "the same process went on");
}
