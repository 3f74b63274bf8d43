//! Rows, events and acts: what a step leaves, and what a stale one does not.

use super::Bench;
use super::given::{act, at, delivery, flow, input, nothing, row, start, start_of, step};
use crate::clock::Timestamp;
use crate::id::Id;
use crate::store::{Row, Verdict};

/// Reads of unknown ids find nothing, and that is no error.
pub async fn what_is_not_there_is_not_found(bench: Bench) {
    assert_eq!(bench.load(flow(1)).await, None);
    assert_eq!(bench.store.event(input(1)).await, Ok(None));
    assert_eq!(bench.history(flow(1)).await, []);
    assert_eq!(bench.deliveries(flow(1)).await, []);
    assert_eq!(bench.figures().await, [0, 0, 0]);
}

/// A start is a row at version 1 and an event that its input finds.
pub async fn a_start_makes_a_row_and_its_event(bench: Bench) {
    let draft = start(1);
    let (row, event) = (draft.row(), draft.event());
    bench.done(draft).await;
    assert_eq!(bench.load(flow(1)).await, Some(row));
    assert_eq!(bench.store.event(event.input).await, Ok(Some(event.clone())));
    assert_eq!(bench.history(flow(1)).await, [event]);
    assert_eq!(bench.figures().await, [1, 1, 0]);
}

/// A step replaces the whole row and adds its event.
pub async fn a_step_moves_the_row_by_one_version(bench: Bench) {
    bench.done(start(1)).await;
    let draft = step(&row(1), 1).wakes(None).with_row(|row| {
        row.phase = "closed".to_owned();
        row.touched_at = at(5);
    });
    let (row, event) = (draft.row(), draft.event());
    assert_eq!(row.version, 2);
    bench.done(draft).await;
    assert_eq!(bench.load(flow(1)).await, Some(row));
    assert_eq!(bench.history(flow(1)).await.last(), Some(&event));
    assert_eq!(bench.figures().await, [1, 2, 0]);
    bench.is_sound().await;
}

/// Every column of row, event and delivery reads back as it was written, whatever its type.
pub async fn every_column_is_kept_as_written(bench: Bench) {
    let full = Row {
        kind: "kind".to_owned(),
        schema: 7,
        phase: "awaiting_code".to_owned(),
        salt: [0, 255, 0, 1, 127, 128, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0],
        wake_at: Some(Timestamp(253_402_300_799_999)),
        user: Some(Id::from_bytes([0; 16])),
        client: Some(Id::from_bytes([255; 16])),
        parent: Some(flow(99)),
        subject: Some([128; 32]),
        touched_at: Timestamp(BEFORE_1970),
        ..row(1)
    };
    let mut sent = delivery(1, full.id);
    sent.tag = Some("tag".to_owned());
    sent.target = Some(flow(98));
    sent.expires = Some(at(99));
    sent.due = Timestamp(BEFORE_1970);
    sent.once = true;
    let draft = start_of(full.clone()).sends(sent.clone()).with_event(|event| {
        event.from = "from 'quoted' \"twice\"".to_owned();
        event.public = r#"{"shown":"Grüße, 世界 \u0000"}"#.to_owned();
        event.outcome = "[1.0,1e3,null]".to_owned();
        event.fingerprint = Some([0; 16]);
        event.trace = String::new();
    });
    let event = draft.event();
    bench.done(draft).await;
    assert_eq!(bench.load(full.id).await, Some(full.clone()));
    assert_eq!(bench.history(full.id).await, [event]);
    assert_eq!(bench.deliveries(full.id).await, [sent]);
    let bare = Row { user: None, client: None, parent: None, subject: None, wake_at: None, ..full.clone() };
    bench.done(step(&full, 1).with_row(|row| *row = Row { version: 2, ..bare.clone() })).await;
    assert_eq!(bench.load(full.id).await, Some(Row { version: 2, ..bare }));
}

const BEFORE_1970: i64 = -1;

/// A state is a text of JSON, kept as written: order of keys, forms of numbers, white space, escapes, length.
pub async fn the_bytes_of_a_state_are_kept_exactly(bench: Bench) {
    let states = [
        r#"{"b":1,"a":2,"a":3}"#.to_owned(),
        "{ \"n\" : [ 1.0, 1e3, -0, 12345678901234567890 ] }\n".to_owned(),
        r#""\u0000\u00e9é\ud83e\udea8🪨 \\ ' \" % _ $1 ?1 :name""#.to_owned(),
        "null".to_owned(),
        format!(r#"{{"long":"{}"}}"#, "ß7 ".repeat(16_384)),
    ];
    for (number, state) in (1..).zip(&states) {
        assert!(state.len() < 66_000);
        bench.done(start(number).with_row(|row| row.state.clone_from(state))).await;
    }
    for (number, state) in (1..).zip(&states) {
        let kept = bench.row(flow(number)).await.state;
        assert!(kept == *state, "state {number} came back with {} bytes of {}", kept.len(), state.len());
    }
}

/// A payload is sealed: any bytes, none among them.
pub async fn the_bytes_of_a_payload_are_kept_exactly(bench: Bench) {
    let payloads: [Vec<u8>; 3] = [(0..=255).rev().collect(), vec![0; 70_000], Vec::new()];
    let mut draft = start(1);
    for (number, payload) in (1..).zip(&payloads) {
        let mut sent = delivery(number, flow(1));
        sent.payload.clone_from(payload);
        sent.created = at(i64::try_from(number).expect("a small number"));
        draft = draft.sends(sent);
    }
    bench.done(draft).await;
    let kept: Vec<Vec<u8>> = bench.deliveries(flow(1)).await.into_iter().map(|delivery| delivery.payload).collect();
    assert!(kept == payloads, "payloads came back changed");
}

/// A step counts from the version that stands there, and from no other.
pub async fn a_gap_between_versions_is_refused(bench: Bench) {
    bench.done(start(1)).await;
    let one = row(1);
    assert_eq!(bench.verdict(start(1).caused_by(1)).await, Verdict::Stale);
    assert_eq!(bench.verdict(step(&Row { version: 2, ..one.clone() }, 2)).await, Verdict::Stale, "ahead");
    bench.done(step(&one, 3)).await;
    assert_eq!(bench.verdict(step(&one, 4)).await, Verdict::Stale, "behind");
    assert_eq!(bench.verdict(step(&row(2), 5)).await, Verdict::Stale, "there is no such flow");
    assert_eq!(bench.row(flow(1)).await.version, 2);
    assert_eq!(bench.load(flow(2)).await, None, "a step never makes a row");
    assert_eq!(bench.figures().await, [1, 2, 0]);
}

/// Nothing of a stale item is to be found anywhere.
pub async fn what_is_stale_leaves_nothing_behind(bench: Bench) {
    bench.done(start(1).claim("fence:1").sends(delivery(1, flow(1)))).await;
    bench.done(step(&row(1), 1)).await;
    let before = bench.row(flow(1)).await;
    let late = step(&row(1), 2).with_everything(1).settles(1);
    assert_eq!(bench.verdict(late).await, Verdict::Stale);
    assert_eq!(bench.row(flow(1)).await, before);
    assert_eq!(bench.figures().await, [1, 2, 1]);
    assert_eq!(bench.probe.guard("name:1").await, None);
    assert_eq!(bench.probe.guard("fence:1").await, Some(0));
    assert_eq!(bench.probe.counter("everything").await, 0);
    assert_eq!(bench.deliveries(flow(1)).await[0].settled, None);
    assert_eq!(bench.store.event(input(2)).await, Ok(None));
}

/// An item may depend on another flow's version without changing that flow.
pub async fn a_version_that_an_item_only_expects_must_stand(bench: Bench) {
    bench.done(start(1)).await;
    bench.done(act(1).expects(flow(1), 1).add("acts", 1)).await;
    assert_eq!(bench.verdict(act(2).expects(flow(1), 2).add("acts", 1)).await, Verdict::Stale);
    assert_eq!(bench.verdict(act(3).expects(flow(2), 1).add("acts", 1)).await, Verdict::Stale);
    let both = [nothing(4).expects(flow(1), 1), nothing(5).expects(flow(1), 1)];
    assert_eq!(bench.commit(both).await, [Verdict::Done, Verdict::Done], "two that only expect do not disturb");
    assert_eq!(bench.probe.counter("acts").await, 1);
    assert_eq!(bench.figures().await, [1, 2, 0]);
}

/// An act is remembered under its own id, at version 1.
pub async fn an_act_has_an_event_and_no_row(bench: Bench) {
    let draft = act(1).add("acts", 1).claim("name:a").sends(delivery(1, input(1).starts()));
    let event = draft.event();
    bench.done(draft).await;
    assert_eq!(bench.load(input(1).starts()).await, None);
    assert_eq!(bench.history(input(1).starts()).await, [event]);
    assert_eq!(bench.deliveries(input(1).starts()).await.len(), 1);
    assert_eq!(bench.probe.counter("acts").await, 1);
    assert_eq!(bench.figures().await, [0, 1, 1]);
    bench.is_sound().await;
}

/// An opened flow has its row and its event from the same instant as the step that opened it.
pub async fn a_flow_opened_within_a_step_begins_with_it(bench: Bench) {
    bench.done(start(1).opens(2).opens(3)).await;
    for number in [2, 3] {
        assert_eq!(bench.load(flow(number)).await, Some(row(number)));
        assert_eq!(bench.history(flow(number)).await.len(), 1);
        assert!(matches!(bench.store.event(flow(number).started_by()).await, Ok(Some(_))));
    }
    bench.done(step(&row(2), 1)).await;
    assert_eq!(bench.figures().await, [3, 4, 0]);
    bench.is_sound().await;
}

/// All or nothing goes for opened flows as well.
pub async fn an_opened_flow_whose_id_is_taken_undoes_the_step(bench: Bench) {
    bench.done(start(2)).await;
    let taken = start(1).opens(3).opens(2).claim("name:a").add("opened", 1);
    assert_eq!(bench.verdict(taken).await, Verdict::Stale);
    assert_eq!(bench.load(flow(1)).await, None);
    assert_eq!(bench.load(flow(3)).await, None);
    assert_eq!(bench.probe.guard("name:a").await, None);
    assert_eq!(bench.probe.counter("opened").await, 0);
    assert_eq!(bench.figures().await, [1, 1, 0]);
}

/// Version 10 comes after version 9, whatever the ids of their inputs.
pub async fn history_is_in_order_of_versions(bench: Bench) {
    let mut row = row(1);
    bench.commit([start(1), start(2)]).await;
    for number in 1..=11 {
        let draft = step(&row, number);
        row = draft.row();
        bench.done(draft).await;
    }
    let versions: Vec<u64> = bench.history(flow(1)).await.iter().map(|event| event.version).collect();
    assert_eq!(versions, (1..=12).collect::<Vec<u64>>());
}

/// Oldest first, and only those of the flow.
pub async fn deliveries_are_listed_oldest_first(bench: Bench) {
    let sent = |number: u64, from: u64, second: i64| {
        let mut sent = delivery(number, flow(from));
        sent.created = at(second);
        sent
    };
    bench.done(start(1).sends(sent(1, 1, 3)).sends(sent(2, 1, 1)).sends(sent(3, 1, 4))).await;
    bench.done(start(2).sends(sent(4, 2, 2))).await;
    bench.done(step(&row(1), 1).sends(sent(5, 1, 2))).await;
    let order: Vec<Timestamp> = bench.deliveries(flow(1)).await.iter().map(|delivery| delivery.created).collect();
    assert_eq!(order, [at(1), at(2), at(3), at(4)]);
}
