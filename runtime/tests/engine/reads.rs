//! Reading a flow: a reader sees what a command would find, and nothing is written by it.

use std::time::Duration;

use cairn_runtime::store::{Quarantine, Row, Store};
use cairn_runtime::testing::suite::given;
use cairn_runtime::testing::toy::{Gate, Ticket};
use cairn_runtime::{Fault, FlowId, Timestamp};

use crate::support::flows::{Elder, Metronome, Renamed};
use crate::support::{Fixture, HOUR, MINUTE};

/// A row as an older release or an operator left it.
async fn given_row(fixture: &Fixture, number: u64, change: impl FnOnce(&mut Row)) -> FlowId {
    Store::commit(&*fixture.sim, &[given::start(number).with_row(change).item]).await.unwrap();
    given::flow(number)
}

#[tokio::test(start_paused = true)]
async fn an_overdue_flow_is_seen_as_its_wake_up_will_leave_it() {
    let fixture = Fixture::new().await;
    let flow = fixture.ticket("ada").await;
    fixture.is_at_rest().await;
    fixture.clock.advance(2 * HOUR);
    let before = fixture.row(flow);
    let seen = fixture.engine.look::<Ticket>(flow).await.unwrap();
    assert_eq!(fixture.row(flow), before, "looking writes nothing");
    assert_eq!(fixture.tick().await, 1);
    let after = fixture.row(flow);
    assert_eq!((seen.phase.as_str(), seen.version), (after.phase.as_str(), after.version));
    assert_eq!((seen.wake_at, seen.user), (after.wake_at, after.user));
    assert_eq!(serde_json::to_string(&seen.state).unwrap(), after.state);
    assert_eq!(fixture.engine.look::<Ticket>(flow).await.unwrap().version, after.version);
    fixture.is_at_rest().await;
}

#[tokio::test(start_paused = true)]
async fn every_deadline_that_was_missed_counts() {
    let fixture = Fixture::new().await;
    let flow = fixture.engine.start::<Metronome>(fixture.engine.asker("test"), ()).await.unwrap().flow;
    let seen = fixture.engine.look::<Metronome>(flow).await.unwrap();
    assert_eq!((seen.state.beats, seen.version), (0, 1));
    fixture.clock.advance(3 * MINUTE + Duration::from_secs(1));
    let seen = fixture.engine.look::<Metronome>(flow).await.unwrap();
    assert_eq!((seen.state.beats, seen.version), (3, 4));
    assert!(seen.wake_at > Some(seen.touched_at));
    assert_eq!(fixture.row(flow).version, 1);
}

#[tokio::test(start_paused = true)]
async fn a_state_of_an_older_release_is_brought_up_to_date() {
    let fixture = Fixture::new().await;
    let flow = given_row(&fixture, 1, |row| {
        (row.kind, row.schema) = ("renamed".to_owned(), 1);
        r#"{"count":7}"#.clone_into(&mut row.state);
    })
    .await;
    let before = fixture.row(flow);
    assert_eq!(fixture.engine.look::<Renamed>(flow).await.unwrap().state, Renamed { number: 7 });
    assert_eq!(fixture.engine.read_all::<Renamed>(vec![before.clone()]).unwrap().len(), 1);
    assert_eq!(fixture.row(flow), before);
}

#[tokio::test(start_paused = true)]
async fn nobody_sees_what_is_set_aside_ended_by_an_operator_or_unreadable() {
    let fixture = Fixture::new().await;
    let aside = || Some(Quarantine { at: Timestamp(0), why: "a test".to_owned() });
    let renamed = |row: &mut Row| {
        (row.kind, row.schema) = ("renamed".to_owned(), 2);
        r#"{"number":7}"#.clone_into(&mut row.state);
    };
    let good = given_row(&fixture, 1, renamed).await;
    let set_aside = given_row(&fixture, 2, |row| {
        renamed(row);
        row.quarantined = aside();
    })
    .await;
    let ended = given_row(&fixture, 3, |row| {
        renamed(row);
        row.quarantined = aside();
        row.wake_at = None;
        "ended".clone_into(&mut row.phase);
    })
    .await;
    let over = given_row(&fixture, 6, |row| {
        renamed(row);
        row.quarantined = aside();
        row.wake_at = Some(Timestamp(1));
        "ended".clone_into(&mut row.phase);
    })
    .await;
    let garbled = given_row(&fixture, 4, |row| {
        renamed(row);
        "{".clone_into(&mut row.state);
    })
    .await;
    for (flow, fault) in [
        (set_aside, Fault::Quarantined),
        (ended, Fault::Ended),
        // In quarantine in a phase of its own that has this name: it waits for the operator like any other.
        (over, Fault::Quarantined),
        (garbled, Fault::Quarantined),
        (given::flow(5), Fault::NotFound),
    ] {
        assert_eq!(fixture.engine.look::<Renamed>(flow).await.unwrap_err(), fault);
    }
    assert_eq!(fixture.engine.look::<Gate>(good).await.unwrap_err(), Fault::NotFound, "another kind");
    let rows = [good, set_aside, ended, garbled].map(|flow| fixture.row(flow)).to_vec();
    let seen = fixture.engine.read_all::<Renamed>(rows).unwrap();
    assert_eq!(seen.iter().map(|seen| seen.id).collect::<Vec<_>>(), [good]);
}

#[tokio::test(start_paused = true)]
async fn an_upcast_that_panics_or_refuses_harms_no_reader() {
    let fixture = Fixture::new().await;
    for schema in [1, 2] {
        let flow = given_row(&fixture, u64::from(schema), |row| {
            (row.kind, row.schema) = ("elder".to_owned(), schema);
            "\"old\"".clone_into(&mut row.state);
        })
        .await;
        assert_eq!(fixture.engine.look::<Elder>(flow).await.unwrap_err(), Fault::Quarantined);
        assert_eq!(fixture.row(flow).quarantined, None, "to set a flow aside is for who commands it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_to_what_an_operator_ended_is_told_so() {
    let fixture = Fixture::new().await;
    let flow = given_row(&fixture, 1, |row| {
        (row.kind, row.schema) = ("elder".to_owned(), 3);
        row.quarantined = Some(Quarantine { at: Timestamp(0), why: "a test".to_owned() });
        row.wake_at = None;
        "ended".clone_into(&mut row.phase);
    })
    .await;
    assert_eq!(fixture.call::<Elder>(flow, ()).await.unwrap_err(), Fault::Ended);
    fixture.is_at_rest().await;
}
