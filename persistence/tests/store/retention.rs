//! What goes sooner than the rest, by the domain's rules, and histories, which stay readable beside it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use cairn_actors::directory::HistoryPlace;
use cairn_actors::flows::session::{Arrival, Command, Session, Start};
use cairn_actors::identity::user_id::UserId;
use cairn_actors::services::{Caller, Refusal};
use cairn_persistence::Database;
use cairn_persistence::entity::{events, flows, outbox};
use cairn_runtime::store::Retention;
use cairn_runtime::{Flow, FlowId, Id};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter};

use crate::auth::{Node, Town, founding, id, is_sound};
use crate::support::{Kind, Place, on_both};

const DAY: Duration = Duration::from_secs(86_400);

fn caller() -> Caller {
    let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    Caller { trace: "a request".to_owned(), address, device: None, device_proof: None, repeat: None }
}

fn user(number: u64) -> UserId {
    UserId(id(1, number))
}

/// Forgets as the janitor does.
async fn forget(town: &Town, node: &Node) {
    let now = node.engine.now();
    let (payloads_before, rows_before) = (now.before(DAY), now.before(DAY * 30));
    let retention = Retention { now, payloads_before, rows_before, limit: 3 };
    while town.store(0).retain(retention).await.unwrap() > 0 {}
    is_sound(&town.store(0), now).await;
}

async fn resets_that_nobody_used_leave_nothing_after_a_day_whoever_has_the_address(kind: Kind) {
    let town = Town::new(kind, 1).await;
    let node = town.node(0, town.store(0), town.clock.clone()).await;
    let found = founding(&town.environment, user(1), "owner@example.org");
    node.engine.act("found", node.engine.asker("test"), found).await.unwrap();
    let mut begun = Vec::new();
    for address in ["owner@example.org", "nobody@example.org", "owner@example.org", "nobody@example.org"] {
        begun.push(node.services.request_reset(&caller(), address).await.unwrap().flow.id);
    }
    node.rests().await;
    let left = async || {
        let of = |flow: &String| Id::parse("rec", flow).unwrap().bytes().to_vec();
        let ids: Vec<Vec<u8>> = begun.iter().map(of).collect();
        let db = town.database(0).readers();
        let rows = flows::Entity::find().filter(flows::Column::Id.is_in(ids.clone())).count(db).await.unwrap();
        let told = events::Entity::find().filter(events::Column::Flow.is_in(ids.clone())).count(db).await.unwrap();
        let sent = outbox::Entity::find().filter(outbox::Column::Flow.is_in(ids)).count(db).await.unwrap();
        [rows, told, sent]
    };
    assert_eq!(left().await, [4, 4, 4], "a letter where there is an account, and elsewhere one to nobody");
    town.clock.advance(Duration::from_secs(3_601));
    for flow in &begun {
        let late = node.services.resend_reset(&caller(), flow).await.map(|_| ());
        assert_eq!(late, Err(Refusal::NOTHING_AWAITED), "it has expired");
    }
    node.rests().await;
    town.clock.advance(DAY - Duration::from_secs(60));
    forget(&town, &node).await;
    assert_eq!(left().await, [4, 8, 4], "for a day it is told that they expired");
    town.clock.advance(Duration::from_secs(120));
    forget(&town, &node).await;
    assert_eq!(left().await, [0, 0, 0]);
    for flow in &begun {
        let gone = node.services.resend_reset(&caller(), flow).await.map(|_| ());
        assert_eq!(gone, Err(Refusal::NotFound), "alike for all");
    }
    node.end().await;
}

async fn what_carries_a_session_on_is_kept_for_a_week_and_is_no_part_of_a_history(kind: Kind) {
    let town = Town::new(kind, 1).await;
    let node = town.node(0, town.store(0), town.clock.clone()).await;
    let engine = &node.engine;
    engine.act("found", engine.asker("test"), founding(&town.environment, user(1), "a@example.org")).await.unwrap();
    let fence = town.database(0).directory().users.by_id(user(1)).await.unwrap().unwrap().fence;
    let start = Start {
        user: user(1),
        fence,
        devices: 0,
        amr: vec!["pwd".to_owned()],
        device: None,
        client_address: None,
        arrival: Arrival::default(),
        forgets: None,
    };
    let session: FlowId = engine.start::<Session>(engine.asker("test"), start).await.unwrap().flow;
    let step_up = async || {
        engine.call::<Session>(session, engine.asker("test"), Command::StepUp { fence, devices: 0 }).await.unwrap();
    };
    town.clock.advance(Duration::from_secs(1));
    step_up().await;
    let cookie = node.services.session_cookie(&session.0.text(Session::PREFIX)).await.unwrap();
    let directory = town.database(0).directory();
    let history = async |before, limit| {
        let told = directory.history.of(user(1), before, limit).await.unwrap();
        told.iter().map(|event| (event.name.clone(), event.at, event.input)).collect::<Vec<_>>()
    };
    let names = |told: &[(String, _, _)]| told.iter().map(|(name, ..)| name.clone()).collect::<Vec<_>>();
    for _ in 0..3 {
        town.clock.advance(DAY * 8);
        let browsing = node.services.browsing(&caller(), cookie.expose()).await.unwrap().unwrap();
        assert!(browsing.carried_on);
    }
    step_up().await;
    let told = history(None, 10).await;
    assert_eq!(names(&told), ["step_up", "step_up", "sign_in"], "newest first, and what merely goes on is left out");
    // Page by page it is the same.
    let mut before = None;
    for expected in &told {
        let page = history(before, 1).await;
        assert_eq!(page, std::slice::from_ref(expected));
        before = Some(HistoryPlace { at: expected.1, input: expected.2 });
    }
    assert_eq!(history(before, 1).await, []);

    let seen = async || {
        let seen = events::Entity::find().filter(events::Column::Name.eq("seen"));
        seen.count(town.database(0).readers()).await.unwrap()
    };
    assert_eq!(seen().await, 3);
    forget(&town, &node).await;
    assert_eq!(seen().await, 1, "the others are older than a week");
    assert_eq!(history(None, 10).await, told);
    node.end().await;
}

/// A database as the release before the migration left it: no event knows its user.
async fn brought_back(place: &Place) -> Database {
    let database = place.open().await;
    for statement in [
        "DROP INDEX events_user",
        "DROP INDEX events_routine",
        "DROP INDEX flows_unused_resets",
        "ALTER TABLE events DROP COLUMN user_id",
        "DELETE FROM seaql_migrations WHERE version = 'm20261130_000009_events_user'",
    ] {
        database.writer().execute_unprepared(statement).await.unwrap();
    }
    database
}

async fn events_of_an_earlier_release_belong_to_the_user_of_their_flow(kind: Kind) {
    let place = Place::new(kind).await;
    let database = brought_back(&place).await;
    let bytes = |id: Id| {
        let hex: String = id.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        match kind {
            Kind::Sqlite => format!("x'{hex}'"),
            Kind::Postgres => format!("'\\x{hex}'::bytea"),
        }
    };
    // Two flows of two people, one of nobody, and an act.
    for (number, owner) in [(1, Some(user(1))), (2, Some(user(2))), (3, None)] {
        let owner = owner.map_or_else(|| "NULL".to_owned(), |owner| bytes(owner.0));
        let row = format!(
            "INSERT INTO flows (id, kind, schema, version, phase, state, salt, attempts, user_id, touched_at)
             VALUES ({}, 'recovery', 1, 1, 'done', '{{}}', {}, 0, {owner}, 5)",
            bytes(id(2, number)),
            bytes(id(3, number)),
        );
        database.writer().execute_unprepared(&row).await.unwrap();
    }
    for (number, flow) in [(1, 1), (2, 2), (3, 3), (4, 4)] {
        let event = format!(
            r#"INSERT INTO events (flow, version, input, kind, name, "from", "to", public, outcome, node, trace, at)
               VALUES ({}, 1, {}, 'recovery', 'recover', '', 'done', '{{}}', '{{}}', 'one', '', 5)"#,
            bytes(id(2, flow)),
            bytes(id(4, number)),
        );
        database.writer().execute_unprepared(&event).await.unwrap();
    }
    database.close().await.unwrap();
    drop(database);

    let database = place.open().await;
    let directory = database.directory();
    for number in [1, 2] {
        let told = directory.history.of(user(number), None, 10).await.unwrap();
        assert_eq!(told.iter().map(|event| event.flow.0).collect::<Vec<_>>(), [id(2, number)]);
    }
    let nobodys = events::Entity::find().filter(events::Column::UserId.is_null()).count(database.readers()).await;
    assert_eq!(nobodys.unwrap(), 2);
}

on_both!(
    resets_that_nobody_used_leave_nothing_after_a_day_whoever_has_the_address,
    what_carries_a_session_on_is_kept_for_a_week_and_is_no_part_of_a_history,
    events_of_an_earlier_release_belong_to_the_user_of_their_flow,
);
