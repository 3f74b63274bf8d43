//! Whole lives of the toy flows, which any one fault of the database must leave as they are: the crash sweep.
//!
//! Every store that the contract suite knows can be put below.

#![allow(
    clippy::missing_panics_doc,
    clippy::indexing_slicing,
    reason = "scenarios are tests that other crates run: they assert, and a panic is their verdict"
)]

pub mod hang;
pub mod host;
pub mod stage;
pub mod town;

use std::time::Duration;

use self::stage::Stage;
use self::town::Mood;
use super::sweep::Scenario;
use super::toy::{Child, Errand, Gate, Parent, Ticket, Trip, child, errand, gate, parent, ticket, trip};
use crate::id::FlowId;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// All scenarios.
pub const ALL: [Scenario<Stage>; 9] = [
    Scenario {
        name: "a ticket is issued, stamped, renamed and closed",
        calls: 6,
        run: |stage| Box::pin(ticket_life(stage)),
    },
    Scenario { name: "a ticket runs out", calls: 6, run: |stage| Box::pin(ticket_expires(stage)) },
    Scenario { name: "a raised fence voids a ticket", calls: 6, run: |stage| Box::pin(fence(stage)) },
    Scenario { name: "children come home", calls: 6, run: |stage| Box::pin(children_come_home(stage)) },
    Scenario { name: "children are called off", calls: 6, run: |stage| Box::pin(children_are_called_off(stage)) },
    Scenario { name: "a trip is booked and paid", calls: 6, run: |stage| Box::pin(trip_stands(stage)) },
    Scenario { name: "a trip that cannot be paid is undone", calls: 6, run: |stage| Box::pin(trip_is_undone(stage)) },
    Scenario { name: "an errand happens at most once", calls: 6, run: |stage| Box::pin(errand_once(stage)) },
    Scenario {
        name: "an interrupted errand asks a person",
        calls: 6,
        run: |stage| Box::pin(errand_interrupted(stage)),
    },
];

async fn ticket_life(stage: &Stage) {
    stage.count_from_here(&["issued", "stamps", "expired"]).await;
    let (first, second) = (stage.name("ada"), stage.name("eve"));
    let issue = |name: &String| ticket::Issue { name: name.clone(), fence: None, lasts: DAY };
    let ticket = stage.start::<Ticket>(issue(&first)).await;
    assert_eq!(ticket.outcome, ticket::Says::Good { stamps: 0 });
    assert_eq!(stage.start::<Ticket>(issue(&first)).await.outcome, ticket::Says::NameTaken);
    for stamps in 1..=2 {
        let says = stage.call::<Ticket>(ticket.flow, ticket::Ask::Stamp).await;
        assert_eq!((says.outcome, says.version), (ticket::Says::Good { stamps }, u64::from(stamps) + 1));
    }
    let renamed = stage.call::<Ticket>(ticket.flow, ticket::Ask::Rename(second.clone())).await;
    assert_eq!(renamed.outcome, ticket::Says::Good { stamps: 2 });
    assert_eq!(stage.call::<Ticket>(ticket.flow, ticket::Ask::Look).await.version, 4);
    assert_eq!(stage.guard(&format!("name:{first}")).await, None, "the old name is free");
    assert_eq!(stage.guard(&format!("name:{second}")).await, Some(0));
    assert_eq!(stage.call::<Ticket>(ticket.flow, ticket::Ask::Close).await.outcome, ticket::Says::Over);
    assert_eq!(stage.guard(&format!("name:{second}")).await, None);
    assert_eq!((stage.counted("issued").await, stage.counted("stamps").await), (1, 2), "I3: each counts once");
    assert_eq!(stage.counted("expired").await, 0);
}

async fn ticket_expires(stage: &Stage) {
    stage.count_from_here(&["expired"]).await;
    let name = stage.name("ada");
    let issue = ticket::Issue { name: name.clone(), fence: None, lasts: HOUR };
    let ticket = stage.start::<Ticket>(issue).await;
    stage.pass(2 * HOUR).await;
    let says = stage.call::<Ticket>(ticket.flow, ticket::Ask::Stamp).await;
    assert_eq!((says.outcome, says.phase.as_str()), (ticket::Says::Over, "expired"));
    assert_eq!(stage.counted("expired").await, 1, "I7: woken, and once");
    assert_eq!(stage.guard(&format!("name:{name}")).await, None);
}

async fn fence(stage: &Stage) {
    stage.count_from_here(&["stamps"]).await;
    let fence = stage.name("north");
    let gate = stage.start::<Gate>(gate::Build { fence: fence.clone() }).await;
    let under = |name: &str, number| ticket::Issue {
        name: stage.name(name),
        fence: Some(ticket::Fence { name: fence.clone(), number }),
        lasts: 2 * DAY,
    };
    let old = stage.start::<Ticket>(under("ada", 0)).await;
    stage.call::<Ticket>(old.flow, ticket::Ask::Stamp).await;
    let raised = stage.call::<Gate>(gate.flow, gate::Ask::Raise).await;
    assert_eq!(raised.outcome, gate::Says::Stands { number: 1 });
    let new = stage.start::<Ticket>(under("eve", 1)).await;
    assert_eq!(stage.call::<Ticket>(old.flow, ticket::Ask::Stamp).await.outcome, ticket::Says::Void);
    assert_eq!(stage.call::<Ticket>(new.flow, ticket::Ask::Stamp).await.outcome, ticket::Says::Good { stamps: 1 });
    assert_eq!(stage.counted("stamps").await, 2, "I8: nothing outlives a fence");
    assert_eq!(stage.guard(&format!("fence:{fence}")).await, Some(1), "raised once");
    assert_eq!(stage.call::<Gate>(gate.flow, gate::Ask::TearDown).await.outcome, gate::Says::Gone);
    assert_eq!(stage.call::<Ticket>(new.flow, ticket::Ask::Stamp).await.outcome, ticket::Says::Void);
}

/// Sends out two; gives the parent and them.
async fn family(stage: &Stage) -> (FlowId, [FlowId; 2]) {
    let sent = stage.start::<Parent>(parent::SendOut { children: 2, patience: DAY }).await;
    let parent::Says::Out { out } = sent.outcome else { panic!("two are out, not {:?}", sent.outcome) };
    out.iter().for_each(|child| stage.watch(*child));
    (sent.flow, [out[0], out[1]])
}

async fn children_come_home(stage: &Stage) {
    stage.count_from_here(&["sent out", "came home", "work"]).await;
    let (parent, [one, other]) = family(stage).await;
    assert_eq!(stage.call::<Child>(one, child::Ask::Work).await.outcome, child::Says::Working { done: 1 });
    for child in [one, other] {
        assert_eq!(stage.call::<Child>(child, child::Ask::Finish).await.outcome, child::Says::Done);
    }
    stage.settle().await;
    let parent = stage.call::<Parent>(parent, parent::Ask::Look).await;
    assert_eq!((parent.outcome, parent.version), (parent::Says::Complete, 3), "a signal takes effect once");
    assert_eq!((stage.counted("sent out").await, stage.counted("came home").await), (2, 2));
    assert_eq!(stage.counted("work").await, 1);
}

async fn children_are_called_off(stage: &Stage) {
    stage.count_from_here(&["called off", "came home"]).await;
    let (parent, [one, other]) = family(stage).await;
    assert_eq!(stage.call::<Child>(one, child::Ask::Finish).await.outcome, child::Says::Done);
    stage.settle().await;
    assert_eq!(stage.call::<Parent>(parent, parent::Ask::CallOff).await.outcome, parent::Says::CalledOff);
    stage.settle().await;
    assert_eq!(stage.call::<Child>(other, child::Ask::Work).await.outcome, child::Says::CalledOff);
    assert_eq!((stage.counted("called off").await, stage.counted("came home").await), (1, 1));
}

fn plan() -> trip::Plan {
    trip::Plan { hotel: "Ritz".to_owned(), card: "4242".to_owned(), cents: 9_900 }
}

async fn trip_stands(stage: &Stage) {
    stage.count_from_here(&["trips", "undone"]).await;
    let trip = stage.start::<Trip>(plan()).await;
    stage.settle().await;
    let end = stage.call::<Trip>(trip.flow, trip::Ask::Look).await;
    let (booked, undone) = (stage.counted("trips").await, stage.counted("undone").await);
    match end.outcome {
        trip::Says::Booked { .. } => {
            assert_eq!((stage.town.rooms().len(), stage.town.charged().len()), (1, 1));
            assert_eq!((booked, undone), (1, 0));
        }
        // The charge may not be repeated; interrupted, it is a matter for the clerk, and the room is given back.
        trip::Says::Ended => {
            assert_eq!((stage.town.rooms().len(), booked, undone), (0, 0, 1));
            assert!(stage.town.charged().len() <= 1 && !stage.town.notes().is_empty());
        }
        trip::Says::Underway => panic!("a saga that hangs"),
    }
}

async fn trip_is_undone(stage: &Stage) {
    stage.count_from_here(&["trips", "undone"]).await;
    stage.town.next("charge", Mood::Refuse);
    stage.town.next("cancel", Mood::Later(None));
    let trip = stage.start::<Trip>(plan()).await;
    stage.settle().await;
    let end = stage.call::<Trip>(trip.flow, trip::Ask::Look).await;
    assert_eq!(end.outcome, trip::Says::Ended);
    assert_eq!((stage.town.rooms().len(), stage.town.charged().len()), (0, 0), "what was done is undone");
    assert_eq!((stage.counted("trips").await, stage.counted("undone").await), (0, 1));
}

async fn errand_once(stage: &Stage) {
    stage.count_from_here(&["charged"]).await;
    let errand = stage.start::<Errand>(errand::Go { card: "4242".to_owned(), cents: 500 }).await;
    stage.settle().await;
    let end = stage.call::<Errand>(errand.flow, errand::Ask::Look).await;
    let charged = stage.town.charged().len();
    match end.outcome {
        errand::Says::Done => assert_eq!((charged, stage.counted("charged").await), (1, 500)),
        errand::Says::Unsure => {
            assert!(charged <= 1, "at most once");
            assert_eq!(stage.counted("charged").await, 0);
            let found = errand::Ask::Found { done: charged == 1 };
            stage.call::<Errand>(errand.flow, found).await;
            assert_eq!(stage.counted("charged").await, 500 * charged as i64);
        }
        other => panic!("neither done nor unsure: {other:?}"),
    }
}

async fn errand_interrupted(stage: &Stage) {
    stage.count_from_here(&["charged"]).await;
    stage.town.next("charge", Mood::StrikeAfter);
    let errand = stage.start::<Errand>(errand::Go { card: "4242".to_owned(), cents: 500 }).await;
    stage.settle().await;
    let end = stage.call::<Errand>(errand.flow, errand::Ask::Look).await;
    assert_eq!(end.outcome, errand::Says::Unsure, "nobody can know whether it was done");
    assert!(stage.town.charged().len() <= 1, "and nobody tries again to find out");
    let mut notes = stage.town.notes();
    notes.dedup();
    assert_eq!(notes, [format!("{}: was it done?", errand.flow.0.text("errand"))], "one question, perhaps repeated");
    let found = stage.call::<Errand>(errand.flow, errand::Ask::Found { done: true }).await;
    assert_eq!((found.outcome, stage.counted("charged").await), (errand::Says::Done, 500));
}
