//! Two processes over one PostgreSQL: any node serves any flow, and what one did the other knows at once.

use crate::support::audit::Audit;
use crate::support::person::{Tokens, flow_id};
use crate::support::{Answer, App, Kind, Person, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_walks_between_two_nodes() {
    let one = App::plan(Kind::Postgres).named("one").set("CAIRN_PUBLIC_URL", "http://127.0.0.1:8080").start().await;
    let two = App::plan(Kind::Postgres)
        .named("two")
        .set("CAIRN_PUBLIC_URL", "http://127.0.0.1:8080")
        .beside(&one)
        .start()
        .await;
    let person = Person::new("walker");
    let flow = person.registers(&one).await;
    let status = two.client().get(&format!("/auth/register/{flow}")).send().await.expect(200);
    assert_eq!(status["flow"]["phase"], "awaiting_code");
    person.verifies(&two, &flow).await;
    let mut tokens = person.signs_in(&one).await;
    for turn in 0..6 {
        let node = if turn % 2 == 0 { &two } else { &one };
        let answer = node.client().post("/auth/refresh", &json!({"refresh_token": tokens.refresh})).send().await;
        let next = Tokens::of(&answer.expect(200));
        assert_eq!(next.session, tokens.session);
        node.client().get("/users/me").bearer(&next.access).send().await.expect(200);
        tokens = next;
    }
    two.client().post("/auth/logout", &json!({"refresh_token": tokens.refresh})).send().await.expect(204);
    one.client().get("/users/me").bearer(&tokens.access).send().await.problem(401, "session-ended");
    Audit::of(&one).await.must_be_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_decide_at_once_agree() {
    let one = App::plan(Kind::Postgres).named("one").set("CAIRN_PUBLIC_URL", "http://127.0.0.1:8080").start().await;
    let two = App::plan(Kind::Postgres)
        .named("two")
        .set("CAIRN_PUBLIC_URL", "http://127.0.0.1:8080")
        .beside(&one)
        .start()
        .await;
    for _ in 0..10 {
        let person = Person::new("both");
        let body = person.registration();
        let post = |app: &App| app.client().post("/auth/register", &body).key(&person.username).send();
        let (a, b) = tokio::join!(post(&one), post(&two));
        let flow = flow_id(&a.expect(202));
        assert_eq!(flow, flow_id(&b.expect(202)), "one key, one flow");
        let code = person.verification(&one).await.code();
        let body = json!({"flow": flow, "code": code});
        let verify = |app: &App| app.client().post("/auth/verify-email", &body).send();
        let (a, b) = tokio::join!(verify(&one), verify(&two));
        assert_eq!(a.expect(200)["user"], b.expect(200)["user"]);

        let tokens = person.signs_in(&two).await;
        let body = json!({"refresh_token": tokens.refresh});
        let refresh = |app: &App| app.client().post("/auth/refresh", &body).send();
        let answers = tokio::join!(refresh(&one), refresh(&two), refresh(&one), refresh(&two));
        let answers = <[Answer; 4]>::from(answers).map(|answer| Tokens::of(&answer.expect(200)).refresh);
        assert!(answers.iter().all(|refresh| *refresh == answers[0]), "two nodes rotated the same token apart");
    }
    Audit::of(&two).await.must_be_clean();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_goes_on_where_another_died() {
    let one = App::plan(Kind::Postgres).named("one").set("CAIRN_PUBLIC_URL", "http://127.0.0.1:8080").start().await;
    let two = App::plan(Kind::Postgres)
        .named("two")
        .set("CAIRN_PUBLIC_URL", "http://127.0.0.1:8080")
        .beside(&one)
        .start()
        .await;
    let person = Person::new("heir");
    let flow = person.registers(&one).await;
    one.kill9();
    person.verifies(&two, &flow).await;
    two.letter(&person.email, "registration.welcome").await;
    person.signs_in(&two).await;
    one.launch();
    one.ready().await;
    person.signs_in(&one).await;
    Audit::of(&two).await.must_be_clean();
}
