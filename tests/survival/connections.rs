//! A small plan of PostgreSQL: fewer connections than the settings ask for, and nobody notices.

use futures_util::future::join_all;

use crate::support::audit::Audit;
use crate::support::database::Database;
use crate::support::{App, Kind, Person, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_signs_in_with_four_connections() {
    let app = App::plan(Kind::Postgres).named("few").database(Database::limited(4)).start().await;
    let person = Person::new("patient");
    person.joins(&app).await;
    let told = || app.log().lines().filter(|line| line.contains("CAIRN_DATABASE_CONNECTIONS")).count();
    eventually("a word in the log", async || {
        let asked = (0..16).map(|_| {
            let (client, body) = (app.client(), person.credentials());
            async move { client.post("/auth/login", &body).send().await }
        });
        for answer in join_all(asked).await {
            answer.expect(200);
        }
        (told() > 0).then_some(())
    })
    .await;
    assert_eq!(told(), 1, "it is said once");
    let ready = app.operations().get("/health/ready").send().await.expect(200);
    assert!(ready["remark"].as_str().is_some_and(|remark| remark.contains("CAIRN_DATABASE_CONNECTIONS")), "{ready}");
    Audit::of(&app).await.must_be_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_four_connections_by_their_setting() {
    let plan = |name| {
        let plan = App::plan(Kind::Postgres).named(name).set("CAIRN_DATABASE_CONNECTIONS", 2);
        plan.set("CAIRN_PUBLIC_URL", "http://127.0.0.1:8080")
    };
    let one = plan("one").database(Database::limited(4)).start().await;
    let two = plan("two").beside(&one).start().await;
    let person = Person::new("shared");
    person.joins(&one).await;
    let asked = (0..16).map(|number| {
        let (client, body) = (if number % 2 == 0 { &one } else { &two }.client(), person.credentials());
        async move { client.post("/auth/login", &body).send().await }
    });
    for answer in join_all(asked).await {
        answer.expect(200);
    }
}
