//! Echoes: what follows an answer tells strangers as little as the answer. Whoever has the address, the same steps, rows
//! and deliveries come of a request, so that the next one waits for as much.

use super::enumeration::Askers;
use crate::support::audit::{Audit, outbox_drained};
use crate::support::client::Request;
use crate::support::{App, Kind, Person, json};

of_each_kind!(whoever_has_the_address_a_request_leaves_as_much_behind,);

/// What a request has left behind once all that it set off is over.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    flows: u64,
    events: u64,
    deliveries: u64,
    /// What was committed: steps, acts, ends of deliveries.
    committed: u64,
    /// Deliveries that reached their end.
    carried: u64,
}

impl Left {
    async fn now(app: &App) -> Self {
        assert_eq!(outbox_drained(app).await, 0, "no letter is refused here");
        let audit = Audit::of(app).await;
        let text = app.operations().get("/metrics").send().await.text();
        let sum = |name: &str| {
            let lines = text.lines().filter(|line| line.starts_with(name) && !line.starts_with('#'));
            let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
            values.sum::<f64>() as u64
        };
        Self {
            flows: audit.flows,
            events: audit.events,
            deliveries: audit.deliveries,
            committed: sum("cairn_commit_batch_size_sum"),
            carried: sum("cairn_deliveries_total"),
        }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            flows: self.flows - before.flows,
            events: self.events - before.events,
            deliveries: self.deliveries - before.deliveries,
            committed: self.committed - before.committed,
            carried: self.carried - before.carried,
        }
    }
}

/// Asks the same of everybody, one after the other, and holds what each leaves behind to one.
async fn alike(app: &App, emails: &[String], what: &str, status: u16, ask: impl Fn(usize) -> Request) -> Left {
    let mut first: Option<Left> = None;
    for (asker, email) in emails.iter().enumerate() {
        let before = Left::now(app).await;
        let answer = ask(asker).send().await;
        assert_eq!(answer.status, status, "{answer}");
        let left = Left::now(app).await.since(&before);
        let first = first.get_or_insert(Left { ..left });
        assert_eq!(*first, left, "{what}: {email} is told apart from {}", emails[0]);
    }
    first.unwrap()
}

async fn whoever_has_the_address_a_request_leaves_as_much_behind(kind: Kind) {
    let plan = App::plan(kind).named("echo").unset("CAIRN_LIMITS").set("CAIRN_RESEND_COOLDOWN", 0);
    let app = plan.set("CAIRN_ACCESS_TTL", "4h").set("CAIRN_STEP_UP_AGE", "4h").start().await;
    let (askers, _, _) = Askers::about_everybody(&app).await;
    let emails = &askers.emails;
    let client = |asker: usize| askers.client(asker);

    let left = alike(&app, emails, "a reset", 202, |asker| {
        client(asker).post("/auth/password-reset/request", &json!({"email": emails[asker]}))
    })
    .await;
    assert!(left.deliveries == 1 && left.carried == 1 && left.committed >= 2, "{left:?}");
    // Once more: by now some letters of one asker are many to one mailbox.
    for _ in 0..2 {
        alike(&app, emails, "a reset once more", 202, |asker| {
            client(asker).post("/auth/password-reset/request", &json!({"email": emails[asker]}))
        })
        .await;
    }
    let registering = |asker: usize| {
        let body = json!({"email": emails[asker], "password": "velvet tractor umbrella fjord"});
        client(asker).post("/auth/register", &body)
    };
    let left = alike(&app, emails, "a registration", 202, registering).await;
    assert!(left.deliveries == 1 && left.carried == 1, "{left:?}");

    let failing = |asker: usize| {
        let body = json!({"email": emails[asker], "password": "velvet tractor wrong umbrella"});
        client(asker).post("/auth/login", &body)
    };
    let left = alike(&app, emails, "a sign-in that fails", 401, failing).await;
    assert_eq!((left.deliveries, left.events, left.committed), (0, 1, 1), "{left:?}");

    let mut movers = Vec::new();
    for _ in emails {
        let mover = Person::new("mover");
        let tokens = mover.arrives(&app).await;
        movers.push((mover, tokens));
    }
    let moving = |asker: usize| {
        let (mover, tokens) = &movers[asker];
        let body = json!({"new_email": emails[asker], "password": mover.password});
        client(asker).post("/auth/email-change", &body).bearer(&tokens.access)
    };
    alike(&app, emails, "another address", 202, moving).await;
}

/// What a letter over the budget costs: where there is nobody as where there is an owner, it waits.
#[tokio::test]
async fn a_letter_to_nobody_waits_for_room_as_an_owners_does() {
    let plan = App::plan(Kind::Sqlite).named("room").unset("CAIRN_LIMITS").set("CAIRN_MAIL_BUDGET", 1);
    let app = plan.start().await;
    let owner = Person::new("owner");
    owner.joins(&app).await;
    let nobody = Person::new("nobody");
    let pending = async || {
        let status = app.operations().get("/runtime/status").send().await.expect(200);
        status["outbox"]["pending"].as_u64().unwrap()
    };
    outbox_drained(&app).await;
    for (number, person) in (0_u8..).zip([&owner, &nobody]) {
        let ask = || {
            app.client().at_loopback(10 + number).post("/auth/password-reset/request", &json!({"email": person.email}))
        };
        ask().send().await.expect(202);
        crate::support::eventually("the first to be carried", async || {
            (pending().await == u64::from(number)).then_some(())
        })
        .await;
        ask().send().await.expect(202);
        crate::support::eventually("the second to wait", async || {
            (pending().await == u64::from(number) + 1).then_some(())
        })
        .await;
    }
    assert!(app.mailbox(&nobody.email).await.is_empty(), "nobody is written to");
    let all = app.client().get("/dev/mail").header("accept", "application/json").send().await.expect(200);
    assert!(!all.to_string().contains(&nobody.email), "{all}");
    // Their registration is another budget_class: what was asked for before they came keeps no letter of theirs away.
    nobody.joins(&app).await;
    app.client()
        .at_loopback(60)
        .post("/auth/password-reset/request", &json!({"email": nobody.email}))
        .send()
        .await
        .expect(202);
    app.letter(&nobody.email, "recovery.reset").await;
}
