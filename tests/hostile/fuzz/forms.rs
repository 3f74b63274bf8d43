//! Forms without their token: every form of the tables, as it would act, does nothing for whoever cannot show it.

use cairn_http::{Access, Body, pages};

use super::cast::Cast;
use super::seeds::{self, Seed};
use super::{exchange, grow};
use crate::support::audit::{Audit, outbox_drained};
use crate::support::{App, Kind, raw};

/// What an account and its letters come to.
async fn counted(app: &App) -> (u64, u64, u64) {
    outbox_drained(app).await;
    let audit = Audit::of(app).await;
    audit.must_be_clean();
    (audit.flows, audit.events, audit.deliveries)
}

fn forms() -> impl Iterator<Item = &'static Seed> {
    // What another site may send is no form of ours, and does no more than opening the page does.
    let of_tables: Vec<&str> = pages::specs()
        .filter(|line| matches!(line.body, Body::Form) && line.access != Access::Open)
        .map(|line| line.path)
        .collect();
    assert!(of_tables.len() > 15, "the tables were not read: {of_tables:?}");
    let found = move |seed: &&Seed| seed.method == "POST" && of_tables.contains(&seed.route);
    seeds::in_order().filter(found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_form_of_any_table_does_anything_without_its_token() {
    let plan = App::plan(Kind::Sqlite).named("tokens").set("CAIRN_RESEND_COOLDOWN", "0");
    let app = plan.set("CAIRN_MAGIC_LINK", "on").set("CAIRN_CODE_TTL", "1h").start().await;
    let cast = Cast::of(&app).await;
    let before = counted(&app).await;
    let mut tried = 0;
    for seed in forms() {
        for token in ["", "form_token=&", "form_token=AAAAAAAAAAAAAAAAAAAAAA&"] {
            let grown = grow::with_token(seed, &cast, token);
            let answer = exchange(app.client().server(), &grown).await;
            let shown = String::from_utf8_lossy(&answer);
            assert!(raw::status(&answer).is_some_and(|status| status < 500), "{seed:?}:\n{shown}");
            assert_eq!(counted(&app).await, before, "{seed:?} with {token:?} has acted:\n{shown}");
            tried += 1;
        }
    }
    assert!(tried > 45, "{tried} forms were tried");
    // With their token the same forms act, as far as those before them have left something to do.
    let mut acted = Vec::new();
    let mut so_far = before;
    for seed in forms() {
        exchange(app.client().server(), &grow::plain(seed, &cast)).await;
        let now = counted(&app).await;
        if now != so_far {
            acted.push(seed.route);
        }
        so_far = now;
    }
    assert!(acted.len() > 8, "{acted:?}");
}
