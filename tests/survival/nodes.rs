//! Two processes over one PostgreSQL: any node serves any flow, and what one did the other knows at once.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::support::audit::Audit;
use crate::support::person::{Tokens, flow_id};
use crate::support::smtp::{Moment, Sink};
use crate::support::{Answer, App, Kind, Person, eventually, json};

of_each_kind!(what_a_killed_process_had_in_hand_goes_out_again);

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

/// A letter is at the mail server when its process is killed: nobody knows whether it was taken, so it goes out again,
/// as the same mail. On SQLite the lock of the file proves that the process is dead, on PostgreSQL its claim runs out.
async fn what_a_killed_process_had_in_hand_goes_out_again(kind: Kind) {
    let sink = Sink::start();
    let app = App::plan(kind).named("inhand").set("SMTP_URL", sink.url()).set("MAIL_FROM", "cairn@example.org");
    let app = app.start().await;
    let at_the_server = sink.trap(Moment::Received);
    let person = Person::new("inhand");
    let flow = person.registers(&app).await;
    let held = at_the_server.await.unwrap();
    app.kill9();
    drop(held);
    sink.next_epoch().await;
    if kind == Kind::Postgres {
        app.change("CAIRN_CLOCK_OFFSET", 25); // past the claim
    }
    app.launch();
    app.ready().await;
    let copies = eventually("the letter once more", async || {
        let copies = sink.letters(&person.email, "registration.verify");
        (copies.len() > 1).then_some(copies)
    });
    let copies = copies.await;
    assert!(copies.iter().all(|copy| copy.message_id == copies[0].message_id && copy.code() == copies[0].code()));
    let body = json!({"flow": flow, "code": copies[0].code()});
    app.client().post("/auth/verify-email", &body).send().await.expect(200);
    Audit::of(&app).await.must_be_clean();
}

/// Two machines from one template have one host name and one listening address. Here the second begins on the very
/// address of the first, whose port is closed while it still finishes a request and has a letter at the mail server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_leaves_alone_what_one_of_its_name_has_in_hand() {
    // The first may finish for ten seconds; a machine that was too slow for that once is asked again.
    for _ in 0..5 {
        if beside_one_of_its_name().await {
            return;
        }
    }
    panic!("the second process never began while the first one finished");
}

async fn beside_one_of_its_name() -> bool {
    let sink = Sink::start();
    let plan = |name| {
        let plan = App::plan(Kind::Postgres).named(name).set("SMTP_URL", sink.url());
        plan.set("MAIL_FROM", "cairn@example.org").set("CAIRN_PUBLIC_URL", "http://127.0.0.1:8080")
    };
    let one = plan("one").start().await;
    let at_the_server = sink.trap(Moment::Received);
    let first = Person::new("first");
    first.registers(&one).await;
    let held = at_the_server.await.unwrap();
    let since = Instant::now();

    let mut unfinished = TcpStream::connect(one.client().server()).await.unwrap();
    let head = "POST /auth/login HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{";
    unfinished.write_all(head.as_bytes()).await.unwrap();
    one.ask_to_end();
    eventually("a closed port", async || TcpStream::connect(one.client().server()).await.err()).await;
    let two = plan("two").set("CAIRN_LISTEN", one.client().server()).beside(&one).start().await;
    // Its letters go out in the order in which they fell due: the first person's would be before this one.
    let second = Person::new("second");
    second.registers(&two).await;
    sink.letter(&second.email, "registration.verify").await;
    let copies = sink.letters(&first.email, "registration.verify").len();
    if since.elapsed() > Duration::from_secs(8) {
        return false; // the first may have given the letter up by then, for the second to take
    }
    assert_eq!(copies, 1, "the second process sent what the first one was sending");
    drop(held);
    assert!(one.ended().await.success());
    true
}
