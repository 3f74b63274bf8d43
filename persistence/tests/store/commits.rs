//! What the contract leaves to each store: races between nodes, whoever comes second at an insert, and bytes.

use std::collections::BTreeMap;

use cairn_runtime::Guard;
use cairn_runtime::store::{Event, Item, Store, Verdict};
use cairn_runtime::testing::suite::Probe;
use cairn_runtime::testing::suite::given::{Draft, act, delivery, flow, input, nothing, row, start, step};
use cairn_runtime::testing::toy::Toy;
use futures_util::future::join_all;

use crate::support::{Counted, Kind, Place};

const BOTH: [Kind; 2] = [Kind::Sqlite, Kind::Postgres];

/// Commits what nothing is wrong with. Not even a conflict is called for: every transaction locks in the same order.
async fn commit(counted: &Counted, drafts: Vec<Draft>) -> Vec<Verdict> {
    let batch: Vec<Item<Toy>> = drafts.into_iter().map(|draft| draft.item).collect();
    counted.store.commit(&batch).await.unwrap()
}

async fn one(counted: &Counted, draft: Draft) -> Verdict {
    commit(counted, vec![draft]).await.remove(0)
}

fn with(mut draft: Draft, guards: &[Guard<String>]) -> Draft {
    draft.item.guards.extend_from_slice(guards);
    draft
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_given_back_and_taken_in_one_item_begins_anew() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let counted = place.store().await;
        let key = || "name:a".to_owned();
        let again = [Guard::Release(key()), Guard::Claim(key())];
        assert_eq!(one(&counted, with(act(1), &again)).await, Verdict::Done);
        assert_eq!(one(&counted, with(act(2), &[Guard::Bump(key(), Some(0))])).await, Verdict::Done);
        assert_eq!(counted.guard("name:a").await, Some(1));
        assert_eq!(one(&counted, with(act(3), &again)).await, Verdict::Done);
        assert_eq!(counted.guard("name:a").await, Some(0));
        let other_way = [Guard::Claim(key()), Guard::Release(key())];
        assert_eq!(one(&counted, with(act(4), &other_way)).await, Verdict::Lost(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_input_that_has_an_event_is_told_so_and_leaves_nothing() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let counted = place.store().await;
        let first = act(1);
        let event = first.event();
        assert_eq!(one(&counted, first).await, Verdict::Done);
        // Nobody said that it may have been seen: only the insertion of its event finds out, after claims and rows.
        let mut repeat = start(5).claim("name:a").claim("name:b").add("a", 1).sends(delivery(1, flow(5))).opens(6);
        repeat.item.input = input(1);
        let repeat = repeat.with_event(|event| event.input = input(1));
        let verdicts = commit(&counted, vec![repeat, start(7).claim("name:c").add("a", 10)]).await;
        assert_eq!(verdicts, [Verdict::Before(Box::new(event)), Verdict::Done]);
        assert_eq!(counted.bench().figures().await, [1, 2, 0]);
        for (key, number) in [("name:a", None), ("name:b", None), ("name:c", Some(0))] {
            assert_eq!(counted.guard(key).await, number, "{key}");
        }
        assert_eq!(counted.counter("a").await, 10);
        counted.bench().is_sound().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_whose_input_has_an_event_undoes_its_parent_alone() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let counted = place.store().await;
        // An act has used the very input that the child would begin with.
        let mut squatter = act(1);
        squatter.item.input = flow(6).started_by();
        let squatter = squatter.with_event(|event| event.input = flow(6).started_by());
        assert_eq!(one(&counted, squatter).await, Verdict::Done);
        let parent = start(5).claim("name:a").add("a", 1).opens(6).opens(8);
        let verdicts = commit(&counted, vec![parent, start(7).add("a", 10)]).await;
        assert_eq!(verdicts, [Verdict::Stale, Verdict::Done]);
        assert_eq!(counted.bench().figures().await, [1, 2, 0]);
        assert_eq!((counted.guard("name:a").await, counted.counter("a").await), (None, 10));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_and_bytes_are_kept_as_written() {
    let wild =
        "\"quoted\" \\back\\ \u{1}\u{7f}\t\r\n ünï 漢字 🪨 \u{2028} '; DROP TABLE flows; -- $1 ?1 {\"a\":\\u0000}";
    for kind in BOTH {
        let place = Place::new(kind).await;
        let counted = place.store().await;
        let state = format!(r#"{{ "b" : 1.0 ,"a":[ ],  "wild": {} }}"#, serde_json::to_string(wild).unwrap());
        let mut parcel = delivery(1, flow(1));
        parcel.payload = (0..=255).cycle().take(5_000).collect();
        parcel.tag = Some(wild.to_owned());
        let draft = start(1).claim(&format!("name:{wild}")).sends(parcel.clone()).sends(delivery(2, flow(1)));
        let draft = draft.with_row(|row| {
            row.state.clone_from(&state);
            row.phase = wild.to_owned();
            row.subject = Some([0xff; 32]);
            row.user = Some(flow(9).0);
            row.client = Some(flow(10).0);
            row.parent = Some(flow(11));
        });
        let draft = draft.with_event(|event| {
            event.outcome.clone_from(&state);
            event.public = wild.to_owned();
            event.fingerprint = Some([0; 16]);
        });
        let (kept, event) = (draft.row(), draft.event());
        assert_eq!(one(&counted, draft).await, Verdict::Done);
        assert_eq!(counted.store.load(flow(1)).await.unwrap().unwrap(), kept);
        assert_eq!(counted.store.event(event.input).await.unwrap().unwrap(), event);
        let deliveries = counted.store.deliveries(flow(1)).await.unwrap();
        assert!(deliveries.contains(&parcel), "{deliveries:?}");
        assert_eq!(counted.guard(&format!("name:{wild}")).await, Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_note_from_anywhere_is_written_down_even_with_a_nul_in_it() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let counted = place.store().await;
        assert_eq!(one(&counted, start(1).sends(delivery(1, flow(1)))).await, Verdict::Done);
        assert_eq!(one(&counted, nothing(1).buries(1, "550 no\0such user")).await, Verdict::Done);
        counted.store.quarantine(flow(1), 1, cairn_runtime::Timestamp(0), "a\0b").await.unwrap();
        assert_eq!(counted.store.deliveries(flow(1)).await.unwrap()[0].note, "550 no\u{fffd}such user");
        let row = counted.store.load(flow(1)).await.unwrap().unwrap();
        assert_eq!(row.quarantined.unwrap().why, "a\u{fffd}b");
    }
}

/// What one node brings in the race below: the same names, flows, inputs and deliveries as every other node.
fn racing(node: u64, round: u64) -> Vec<Draft> {
    let base = round * 100;
    let mut drafts = vec![
        // A repeat of one act, which nobody has seen yet.
        act(base + 1).claim(&format!("act:{round}")).add("act", 1),
        // One start on every node, under the same id.
        start(base + 2).claim(&format!("start:{round}")).sends(delivery(base + 2, flow(base + 2))).add("start", 1),
        // Acts of each node's own that want the same two names.
        act(10_000 + base + node).claim(&format!("own:{round}:{node}")).claim(&format!("a:{round}")).add("name", 1),
        act(20_000 + base + node).claim(&format!("b:{round}")).claim(&format!("own:{round}:b{node}")).add("name", 1),
        // Steps of each node's own from the same row, which hold, bump and settle the same.
        step(&row(1_000_000 + round), 30_000 + base + node).bump_from(&format!("fence:{round}"), 0).add("step", 1),
        act(40_000 + base + node).hold("fence:shared", 0).add("held", 1),
        nothing(50_000 + base + node).settles(60_000 + round),
    ];
    let turn = usize::try_from(node).unwrap() % drafts.len();
    drafts.rotate_left(turn);
    drafts
}

async fn nodes_race(kind: Kind, nodes: u64, rounds: u64) {
    let place = Place::new(kind).await;
    let first = place.store().await;
    let mut stores = vec![first.clone()];
    while kind == Kind::Postgres && stores.len() < 2 {
        stores.push(place.store().await);
    }
    let begun = (0..rounds).map(|round| {
        let number = 1_000_000 + round;
        start(number).claim(&format!("fence:{round}")).sends(delivery(60_000 + round, flow(number)))
    });
    let mut begun: Vec<Draft> = begun.collect();
    begun.push(act(9_999_999).claim("fence:shared"));
    commit(&first, begun).await;

    for round in 0..rounds {
        let race = join_all((0..nodes).map(|node| {
            let counted = stores[usize::try_from(node).unwrap() % stores.len()].clone();
            tokio::task::spawn(async move {
                let drafts = racing(node, round);
                let inputs: Vec<_> = drafts.iter().map(|draft| draft.item.input).collect();
                inputs.into_iter().zip(commit(&counted, drafts).await).collect::<Vec<_>>()
            })
        }));
        let mut tally: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        let (act_input, start_input) = (act(round * 100 + 1).item.input, start(round * 100 + 2).item.input);
        for (input, verdict) in race.await.into_iter().flat_map(|told| told.unwrap()) {
            let what = if input == act_input {
                "act"
            } else if input == start_input {
                "start"
            } else {
                "other"
            };
            let count = tally.entry(what).or_default();
            match verdict {
                Verdict::Done => count.0 += 1,
                Verdict::Before(event) if what != "other" => {
                    assert_eq!(event.input, input);
                    count.1 += 1;
                }
                Verdict::Lost(_) | Verdict::Stale | Verdict::Settled if what == "other" => count.1 += 1,
                other => panic!("{what}: {other:?}"),
            }
        }
        let all = usize::try_from(nodes).unwrap();
        assert_eq!(tally["act"], (1, all - 1), "round {round}");
        assert_eq!(tally["start"], (1, all - 1), "round {round}");
        // Two names, one step, one settlement; whoever only holds is never out.
        assert_eq!(tally["other"], (4 + all, 4 * (all - 1)), "round {round}");
    }
    let rounds = i64::try_from(rounds).unwrap();
    let held = rounds * i64::try_from(nodes).unwrap();
    for (counter, sum) in [("act", rounds), ("start", rounds), ("name", 2 * rounds), ("step", rounds), ("held", held)] {
        assert_eq!(first.counter(counter).await, sum, "{counter}");
    }
    let mut own = 0;
    for round in 0..rounds {
        for node in 0..nodes {
            own += usize::from(first.guard(&format!("own:{round}:{node}")).await.is_some());
            own += usize::from(first.guard(&format!("own:{round}:b{node}")).await.is_some());
        }
        assert_eq!(first.guard(&format!("fence:{round}")).await, Some(1));
    }
    assert_eq!(i64::try_from(own).unwrap(), 2 * rounds, "whoever lost one name keeps no other");
    first.bench().is_sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_racing_nodes_one_wins_each_and_the_others_leave_nothing_on_postgresql() {
    nodes_race(Kind::Postgres, 8, 12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_racing_tasks_one_wins_each_and_the_others_leave_nothing_on_sqlite() {
    nodes_race(Kind::Sqlite, 8, 12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_of_many_pages_is_audited_to_its_end() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let counted = place.store().await;
        for hundred in 0..25 {
            let batch = (0..100).map(|number| start(hundred * 100 + number)).collect();
            commit(&counted, batch).await;
        }
        counted.bench().is_sound().await;
        counted.write("UPDATE flows SET version = 2 WHERE id = (SELECT id FROM flows ORDER BY id DESC LIMIT 1)").await;
        let audit = counted.store.audit(cairn_runtime::Timestamp(0)).await.unwrap();
        assert_eq!((audit.flows, audit.events, audit.findings.len()), (2_500, 2_500, 1), "{:?}", audit.findings);
        assert_eq!(audit.findings[0].invariant, "I2");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_found_by_its_input_after_it_won_in_another_batch() {
    for kind in BOTH {
        let place = Place::new(kind).await;
        let counted = place.store().await;
        assert_eq!(one(&counted, start(1)).await, Verdict::Done);
        let winner = step(&row(1), 1);
        let event: Event = winner.event();
        assert_eq!(one(&counted, winner).await, Verdict::Done);
        // The version has moved, by this very input: stale, but told what it led to.
        assert_eq!(one(&counted, step(&row(1), 1)).await, Verdict::Before(Box::new(event)));
        assert_eq!(one(&counted, step(&row(1), 2)).await, Verdict::Stale);
    }
}
