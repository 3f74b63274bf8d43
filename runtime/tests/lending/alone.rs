//! The flow as a pure function: no engine, no store, no clock but the one that is handed in.

use cairn_runtime::testing::clock::BEGINNING;
use cairn_runtime::testing::toy::{Toy, ToyKey, ToyWrite};
use cairn_runtime::{Cx, Flow, FlowId, Guard, Input, Lost, Outgoing, Step, Timestamp};

use crate::lending::{Ask, Borrow, Hear, LOAN, Lending, Phase, REMINDERS, Says, WEEK};

// begin: desk
fn cx(now: Timestamp) -> Cx<'static, Toy> {
    Cx::new(now, FlowId::from_bytes([1; 16]), 1, [2; 16], [3; 32], &())
}

fn lent() -> Lending {
    let asked = Borrow { copy: "Persuasion".to_owned(), reader: "ada".to_owned() };
    Lending::start(&asked, None, &cx(BEGINNING)).to.unwrap()
}

/// One input, and the state as its row will have it.
fn on(flow: &Lending, input: Input<Lending>, now: Timestamp) -> (Lending, Step<Lending>) {
    let step = flow.on(&input, None, &cx(now));
    let state = serde_json::to_string(step.to.as_ref().unwrap_or(flow)).unwrap();
    (serde_json::from_str(&state).unwrap(), step)
}
// end: desk

fn copy() -> ToyKey {
    ToyKey::Name("Persuasion".to_owned())
}

// begin: pure
#[test]
fn a_copy_that_is_lent_is_lent_to_nobody_else() {
    let asked = Borrow { copy: "Persuasion".to_owned(), reader: "eve".to_owned() };
    let refused = Lending::start(&asked, Some(&Lost(copy())), &cx(BEGINNING));
    assert_eq!((refused.to, refused.says), (None, Says::LentAlready));
    assert!(refused.effects.is_empty());
}

#[test]
fn a_reader_is_reminded_each_week_and_then_given_up() {
    let mut flow = lent();
    for reminder in 1..=REMINDERS {
        let now = flow.wake_at().unwrap();
        let (next, step) = on(&flow, Input::Woken, now);
        assert_eq!(next.phase(), Phase::Overdue);
        assert_eq!(next.wake_at(), Some(now.after(WEEK)), "reminder {reminder}");
        let [letter] = step.effects.outgoing.as_slice() else { panic!("one letter") };
        assert_eq!(letter.expires, next.wake_at(), "the next letter says the same");
        flow = next;
    }
    let (flow, step) = on(&flow, Input::Woken, flow.wake_at().unwrap());
    assert_eq!((flow.wake_at(), flow), (None, Lending::Missing));
    assert_eq!(step.effects.writes, [ToyWrite::add("missing", 1)]);
    assert!(step.effects.guards.is_empty(), "nobody may borrow what is not there");
}
// end: pure

#[test]
fn a_loan_can_be_renewed_until_somebody_waits() {
    let later = BEGINNING.after(WEEK);
    let (flow, step) = on(&lent(), Input::Asked(Ask::Renew), later);
    assert_eq!(step.says, Says::Out { due: later.after(LOAN) });
    let by = FlowId::from_bytes([7; 16]);
    let (flow, _) = on(&flow, Input::Told(Hear::Wanted { by }), later);
    let (flow, step) = on(&flow, Input::Asked(Ask::Renew), later);
    assert_eq!((step.to, step.says), (None, Says::SomebodyWaits));
    let (_, step) = on(&flow, Input::Told(Hear::Wanted { by: FlowId::from_bytes([8; 16]) }), later);
    assert_eq!(step.to, Some(flow), "who waits already goes first");
}

#[test]
fn a_returned_copy_is_free_and_whoever_waits_is_told_once() {
    let by = FlowId::from_bytes([7; 16]);
    let (flow, _) = on(&lent(), Input::Told(Hear::Wanted { by }), BEGINNING);
    let (flow, step) = on(&flow, Input::Asked(Ask::Return), BEGINNING);
    assert_eq!(step.effects.guards, [Guard::Release(copy())]);
    assert!(matches!(step.effects.outgoing.as_slice(), [Outgoing { once: false, .. }]));
    let (flow, step) = on(&flow, Input::Asked(Ask::Return), BEGINNING);
    assert!(step.to.is_none() && step.effects.is_empty());
    assert_eq!((flow, step.says), (Lending::Returned, Says::Back));
}

#[test]
fn a_row_of_an_older_release_is_read() {
    let old = r#"{"phase":"lent","copy":"Persuasion","reader":"ada","due":1701209600000,"reminders":0}"#;
    assert_eq!(serde_json::from_str::<Lending>(old).unwrap(), lent());
}
