//! The toy flows under simulation: clients that ask everything of them, a world that answers, and what must be true.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cairn_runtime::engine::Builder;
use cairn_runtime::outbox::DeliveryAttempt;
use cairn_runtime::store::{Row, Verb};
use cairn_runtime::testing::clock::Rng;
use cairn_runtime::testing::simulation::{Desk, Heard, Next, Order, Told, Workload};
use cairn_runtime::testing::store::{SimStore, Tables};
use cairn_runtime::testing::toy::{
    Child, Errand, Faulty, Gate, Parent, Ticket, Toy, ToyAnswer, ToyDelivery, ToyWrite, Trip, child, errand, faulty,
    gate, parent, ticket, trip,
};
use cairn_runtime::{ActStep, Effects, Engine, Fault, Flow, FlowId, Method, Timestamp};
use serde_json::json;

const NAMES: [&str; 8] = ["ada", "ben", "cleo", "dora", "eve", "finn", "gus", "hana"];
const FENCES: [&str; 3] = ["north", "south", "west"];

/// What a client waits to hear.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Issued,
    Stamped,
    Looked { under: Option<Moved> },
    Renamed,
    Closed,
    Built,
    Raised,
    TornDown,
    SentOut,
    Worked,
    OfFamily,
    Planned,
    Sent,
    Anything,
    Faulty,
}

/// A fence that had moved on before a ticket was looked at that had been issued under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Moved {
    fence: &'static str,
    to: i64,
}

/// The clients, and what they and the world remember.
#[derive(Default)]
pub(super) struct Toys {
    asked: BTreeMap<usize, Asked>,
    tickets: Vec<FlowId>,
    gates: Vec<FlowId>,
    parents: Vec<FlowId>,
    children: Vec<FlowId>,
    trips: Vec<FlowId>,
    errands: Vec<FlowId>,
    faulty: Vec<FlowId>,
    charges: BTreeMap<FlowId, u32>,
    store: Option<Arc<SimStore<Toy>>>,
}

/// One of the last, so that many ask the same flow.
fn recent(of: &[FlowId], rng: &mut Rng) -> Option<FlowId> {
    let last = &of[of.len().saturating_sub(6)..];
    rng.pick(last).copied()
}

fn state<F: Flow>(row: &Row) -> Option<F> {
    (row.kind == F::NAME && row.phase != "unreadable")
        .then(|| serde_json::from_str(&row.state).expect("it was written"))
}

fn states<F: Flow>(tables: &Tables<Toy>) -> Vec<(FlowId, F)> {
    tables.rows.values().filter_map(|stored| Some((stored.row.id, state::<F>(&stored.row)?))).collect()
}

impl Toys {
    fn order(&mut self, desk: &mut Desk<'_, Toy>) -> Option<(Asked, Order<Toy>)> {
        let lot = desk.rng.below(100);
        Some(match lot {
            0..12 => (Asked::Issued, issue(desk)),
            12..42 => self.ask_ticket(desk)?,
            42..46 => {
                let fence = (*desk.rng.pick(&FENCES)?).to_owned();
                (Asked::Built, Order::start::<Gate>("build", move || gate::Build { fence: fence.clone() }))
            }
            46..51 => {
                let gate = recent(&self.gates, desk.rng)?;
                if desk.rng.chance(150) {
                    (Asked::TornDown, Order::call::<Gate>("tear down", gate, || gate::Ask::TearDown))
                } else {
                    (Asked::Raised, Order::call::<Gate>("raise", gate, || gate::Ask::Raise))
                }
            }
            51..56 => {
                let children = u32::try_from(desk.rng.between(0, 4)).expect("four at most");
                let patience = Duration::from_millis(desk.rng.between(2_000, 120_000));
                let send = move || parent::SendOut { children, patience };
                (if children > 0 { Asked::SentOut } else { Asked::OfFamily }, Order::start::<Parent>("send out", send))
            }
            56..70 => {
                let child = recent(&self.children, desk.rng)?;
                if desk.rng.chance(300) {
                    (Asked::OfFamily, Order::call::<Child>("finish", child, || child::Ask::Finish))
                } else {
                    (Asked::Worked, Order::call::<Child>("work", child, || child::Ask::Work))
                }
            }
            70..74 => {
                let (parent, call_off) = (recent(&self.parents, desk.rng)?, desk.rng.chance(300));
                let ask = move || if call_off { parent::Ask::CallOff } else { parent::Ask::Look };
                (Asked::OfFamily, Order::call::<Parent>("parent", parent, ask))
            }
            74..80 => {
                let plan = || trip::Plan { hotel: "Ritz".to_owned(), card: "4242".to_owned(), cents: 9_900 };
                (Asked::Planned, Order::start::<Trip>("plan", plan))
            }
            80 => (Asked::Anything, wait(recent(&self.trips, desk.rng)?, desk.rng)),
            81 => (Asked::Anything, Order::call::<Trip>("look", recent(&self.trips, desk.rng)?, || trip::Ask::Look)),
            82..87 => {
                (Asked::Sent, Order::start::<Errand>("go", || errand::Go { card: "4242".to_owned(), cents: 100 }))
            }
            87..90 => {
                let errand = recent(&self.errands, desk.rng)?;
                // A person looks at the card's statement. What is not there may still come: then he does not say.
                let found = self.charges.contains_key(&errand);
                let ask = move || if found { errand::Ask::Found { done: true } } else { errand::Ask::Look };
                (Asked::Anything, Order::call::<Errand>("errand", errand, ask))
            }
            90..94 => (Asked::Sent, act()),
            _ => (Asked::Faulty, self.ask_faulty(desk)?),
        })
    }

    fn ask_ticket(&self, desk: &mut Desk<'_, Toy>) -> Option<(Asked, Order<Toy>)> {
        let flow = recent(&self.tickets, desk.rng)?;
        Some(match desk.rng.below(10) {
            0..6 => (Asked::Stamped, Order::call::<Ticket>("stamp", flow, || ticket::Ask::Stamp)),
            6 | 7 => {
                let under = desk.store.inspect(|tables| {
                    let ticket = tables.rows.get(&flow).and_then(|stored| state::<Ticket>(&stored.row));
                    let Some(Ticket::Open(ticket::Open { fence: Some(fence), .. })) = ticket else { return None };
                    let to = *tables.guards.get(&format!("fence:{}", fence.name))?;
                    let name = FENCES.into_iter().find(|name| *name == fence.name)?;
                    (to > fence.number).then_some(Moved { fence: name, to })
                });
                (Asked::Looked { under }, Order::call::<Ticket>("look", flow, || ticket::Ask::Look))
            }
            8 => {
                let name = (*desk.rng.pick(&NAMES)?).to_owned();
                (Asked::Renamed, Order::call::<Ticket>("rename", flow, move || ticket::Ask::Rename(name.clone())))
            }
            _ => (Asked::Closed, Order::call::<Ticket>("close", flow, || ticket::Ask::Close)),
        })
    }

    fn ask_faulty(&self, desk: &mut Desk<'_, Toy>) -> Option<Order<Toy>> {
        if desk.rng.chance(350) {
            let rng = &mut *desk.rng;
            let mended_at = rng.chance(500).then(|| desk.now.after(Duration::from_millis(rng.below(200_000))));
            let defects =
                faulty::Defects { woken: rng.chance(500), told: rng.chance(500), answered: rng.chance(500), mended_at };
            let (stillborn, asks_the_world) = (rng.chance(100), rng.chance(500));
            return Some(Order::start::<Faulty>("begin", move || faulty::Begin { defects, stillborn, asks_the_world }));
        }
        let flow = recent(&self.faulty, desk.rng)?;
        Some(match desk.rng.below(10) {
            0..4 => Order::call::<Faulty>("work", flow, || faulty::Ask::Work),
            4 | 5 => Order::call::<Faulty>("panic", flow, || faulty::Ask::Panic),
            6 => Order::call::<Faulty>("become unreadable", flow, || faulty::Ask::BecomeUnreadable),
            7 => Order::call::<Faulty>("write while staying", flow, || faulty::Ask::WriteWhileStaying),
            _ => tell(flow),
        })
    }

    /// Whether a fence has only moved on since. One that was torn down and built anew counts from 0 again.
    fn stands(&self, moved: Moved) -> bool {
        let number = |tables: &Tables<Toy>| tables.guards.get(&format!("fence:{}", moved.fence)).copied();
        self.store.as_ref().and_then(|store| store.inspect(number)).is_some_and(|number| number >= moved.to)
    }

    fn judge(&mut self, asked: Asked, told: &Told) -> Heard {
        let flow = told.flow;
        let moved = match asked {
            Asked::Issued => {
                let issued = told.says() == Some(ticket::Says::Good { stamps: 0 });
                self.tickets.extend(issued.then_some(flow));
                issued
            }
            Asked::Stamped => matches!(told.says(), Some(ticket::Says::Good { .. })),
            Asked::Looked { under: Some(moved) }
                if self.stands(moved) && matches!(told.says(), Some(ticket::Says::Good { .. })) =>
            {
                return Heard::Wrong(format!(
                    "the ticket {flow} is good though its fence had moved before it was asked"
                ));
            }
            Asked::Built => {
                let built = told.says() == Some(gate::Says::Stands { number: 0 });
                self.gates.extend(built.then_some(flow));
                built
            }
            Asked::Raised => matches!(told.says(), Some(gate::Says::Stands { .. })),
            Asked::SentOut => {
                let Some(parent::Says::Out { out }) = told.says() else {
                    return Heard::Wrong(format!("nobody was sent out: {told:?}"));
                };
                self.parents.push(flow);
                self.children.extend(out);
                true
            }
            Asked::Worked => matches!(told.says(), Some(child::Says::Working { .. })),
            Asked::Planned => {
                self.trips.push(flow);
                true
            }
            Asked::Sent => {
                if told.says() == Some(errand::Says::Out) {
                    self.errands.push(flow);
                }
                true
            }
            Asked::Faulty => {
                if told.phase == "alive" && !self.faulty.contains(&flow) {
                    self.faulty.push(flow);
                }
                false
            }
            Asked::Looked { .. } | Asked::Renamed | Asked::Closed | Asked::TornDown => false,
            Asked::OfFamily | Asked::Anything => false,
        };
        if moved { Heard::Moved } else { Heard::Anything }
    }
}

fn issue(desk: &mut Desk<'_, Toy>) -> Order<Toy> {
    let name = (*desk.rng.pick(&NAMES).expect("there are names")).to_owned();
    let fences: Vec<ticket::Fence> = desk.store.inspect(|tables| {
        let fences = tables.guards.iter().filter_map(|(key, number)| Some((key.strip_prefix("fence:")?, *number)));
        fences.map(|(name, number)| ticket::Fence { name: name.to_owned(), number }).collect()
    });
    let fence = if desk.rng.chance(600) { desk.rng.pick(&fences).cloned() } else { None };
    let lasts = Duration::from_millis(desk.rng.between(1_000, 90_000));
    Order::start::<Ticket>("issue", move || ticket::Issue { name: name.clone(), fence: fence.clone(), lasts })
}

/// Waits, as a page does that shows a later state.
fn wait(flow: FlowId, rng: &mut Rng) -> Order<Toy> {
    let (version, at_most) = (rng.between(1, 4), Duration::from_millis(rng.below(3_000)));
    Order::new(&format!("wait for {flow}"), move |engine: Engine<Toy>, _| async move {
        let Row { version, phase, .. } = engine.wait(flow, version, at_most).await?;
        Ok(Told { flow, version, phase, outcome: json!({}), repeated: false, method: Method::Direct })
    })
}

/// An act: it counts, and sends a note.
fn act() -> Order<Toy> {
    Order::new("act", |engine: Engine<Toy>, asker| async move {
        let note = ToyDelivery::Note { to: "everybody".to_owned(), text: asker.input.to_string() };
        let reply = engine.act("toy_act", asker, |_, _| ActStep {
            says: "counted".to_owned(),
            effects: Effects::none().write(ToyWrite::add("acts", 1)).deliver(note.clone()),
            user: None,
            public: json!({}),
        });
        Told::of(reply.await)
    })
}

/// An act that tells a faulty flow something.
fn tell(flow: FlowId) -> Order<Toy> {
    Order::new(&format!("tell {flow}"), move |engine: Engine<Toy>, asker| async move {
        let reply = engine.act("toy_tell", asker, |_, _| ActStep {
            says: "told".to_owned(),
            effects: Effects::none().tell::<Faulty>(flow, &faulty::Told),
            user: None,
            public: json!({}),
        });
        Told::of(reply.await)
    })
}

impl Workload<Toy> for Toys {
    fn register(&self, builder: Builder<Toy>) -> Builder<Toy> {
        builder
            .flow::<Ticket>()
            .flow::<Gate>()
            .flow::<Parent>()
            .flow::<Child>()
            .flow::<Trip>()
            .flow::<Errand>()
            .flow::<Faulty>()
    }

    fn environment(&self) -> Arc<()> {
        Arc::new(())
    }

    fn next(&mut self, client: usize, desk: &mut Desk<'_, Toy>) -> Next<Toy> {
        self.store.get_or_insert_with(|| Arc::clone(desk.store));
        match self.order(desk) {
            Some((asked, order)) => {
                self.asked.insert(client, asked);
                Next::Ask(order)
            }
            None => Next::Rest(Duration::from_millis(5)),
        }
    }

    fn told(&mut self, client: usize, answer: &Result<Told, Fault>) -> Heard {
        let asked = self.asked.remove(&client).expect("whoever hears has asked");
        match answer {
            Ok(told) => self.judge(asked, told),
            Err(Fault::Defect(_) | Fault::Quarantined) if matches!(asked, Asked::Faulty) => Heard::Anything,
            Err(fault) => Heard::Wrong(format!("{asked:?} met {fault}")),
        }
    }

    fn carried(&mut self, carried: &DeliveryAttempt<Toy>, _rng: &mut Rng) -> ToyAnswer {
        match &carried.delivery {
            ToyDelivery::Note { .. } | ToyDelivery::Cancel { .. } => ToyAnswer::Taken,
            ToyDelivery::Book { reference, .. } => ToyAnswer::Booked { room: format!("room of {reference}") },
            ToyDelivery::Charge { .. } => {
                *self.charges.entry(carried.flow).or_default() += 1;
                ToyAnswer::Charged { receipt: carried.id.to_string() }
            }
        }
    }

    fn may_be_set_aside(&self, row: &Row) -> bool {
        row.kind == Faulty::NAME
    }

    fn operate(&mut self, row: &Row, now: Timestamp) -> Option<Verb> {
        let mended = match state::<Faulty>(row) {
            Some(Faulty::Alive { defects, .. }) => defects.mended_at.is_some_and(|mended_at| mended_at <= now),
            _ => false,
        };
        Some(if mended { Verb::Retry } else { Verb::End })
    }

    fn amiss(&mut self, tables: &Tables<Toy>) -> Vec<String> {
        let mut amiss = names(tables);
        amiss.extend(fences(tables));
        amiss.extend(sums(tables));
        amiss
    }

    fn amiss_at_rest(&mut self, tables: &Tables<Toy>) -> Vec<String> {
        let mut amiss = self.amiss(tables);
        amiss.extend(families(tables));
        amiss.extend(self.money(tables));
        amiss
    }
}

/// Each name that is claimed belongs to one open ticket.
fn names(tables: &Tables<Toy>) -> Vec<String> {
    let mut amiss = Vec::new();
    let mut open = BTreeSet::new();
    for (flow, ticket) in states::<Ticket>(tables) {
        if let Ticket::Open(ticket) = ticket
            && !open.insert(format!("name:{}", ticket.name))
        {
            amiss.push(format!("two open tickets are called {}, one of them {flow}", ticket.name));
        }
    }
    let claimed: BTreeSet<String> = tables.guards.keys().filter(|key| key.starts_with("name:")).cloned().collect();
    if claimed != open {
        amiss.push(format!("claimed are {claimed:?}, open tickets have {open:?}"));
    }
    amiss
}

/// Each fence belongs to one gate that stands, and has the number that the gate believes.
fn fences(tables: &Tables<Toy>) -> Vec<String> {
    let mut believed = BTreeMap::new();
    for (_, gate) in states::<Gate>(tables) {
        if let Gate::Standing { fence, number, .. } = gate {
            believed.insert(format!("fence:{fence}"), number);
        }
    }
    let fences: BTreeMap<String, i64> =
        tables.guards.iter().filter(|(key, _)| key.starts_with("fence:")).map(|(key, at)| (key.clone(), *at)).collect();
    if fences == believed { Vec::new() } else { vec![format!("fences are {fences:?}, gates believe {believed:?}")] }
}

/// What was added to the counters is what the flows' states and histories say.
fn sums(tables: &Tables<Toy>) -> Vec<String> {
    let mut counted: BTreeMap<&str, i64> = BTreeMap::new();
    for (_, ToyWrite::Add { counter, by }) in &tables.written {
        *counted.entry(counter).or_default() += by;
    }
    let mut told: BTreeMap<&str, i64> = BTreeMap::new();
    let mut add = |counter, by: i64| {
        if by != 0 {
            *told.entry(counter).or_default() += by;
        }
    };
    for event in tables.events.values() {
        match (event.kind.as_str(), event.name.as_str(), event.to.as_str()) {
            ("ticket", "issue", _) => add("issued", 1),
            ("ticket", "stamp", "open") => add("stamps", 1),
            ("ticket", "woken", _) => add("expired", 1),
            ("child", "work", "working") => add("work", 1),
            ("child", "call_off", "called_off") => add("called off", 1),
            ("trip", "answered", "booked") => add("trips", 1),
            ("errand", _, "done") => add("charged", 100),
            ("toy_act", _, _) => add("acts", 1),
            _ => {}
        }
    }
    for (_, parent) in states::<Parent>(tables) {
        let (out, home) = match parent {
            Parent::Waiting { home, .. } | Parent::Complete { home } | Parent::CalledOff { home } => (0, home),
        };
        add("came home", i64::from(home) + out);
    }
    for (counter, by) in &told {
        if counted.get(counter) != Some(by) {
            return vec![format!("{counter}: {by} by the flows, {:?} by the counters", counted.get(counter))];
        }
    }
    let unknown = |counter: &&&str| {
        !told.contains_key(**counter) && !["sent out", "no room", "undone", "faulty"].contains(*counter)
    };
    counted.keys().filter(unknown).map(|counter| format!("{counter} was counted, and no flow did that")).collect()
}

/// A child that is done is at home: its parent has heard of it.
fn families(tables: &Tables<Toy>) -> Vec<String> {
    let children: BTreeMap<FlowId, Child> = states::<Child>(tables).into_iter().collect();
    let mut amiss = Vec::new();
    for (flow, parent) in states::<Parent>(tables) {
        if let Parent::Waiting { out, .. } = &parent {
            for child in out {
                match children.get(child) {
                    Some(Child::Working { .. }) => {}
                    other => amiss.push(format!("the parent {flow} waits for {child}, which is {other:?}")),
                }
            }
        }
    }
    for (flow, child) in &children {
        if let Child::Working { parent, .. } = child
            && tables.rows.get(parent).is_none_or(|stored| stored.row.phase == "called_off")
        {
            amiss.push(format!("the child {flow} works on though its parent called it off"));
        }
    }
    amiss
}

impl Toys {
    /// Nobody is charged twice, nor without the flow knowing, or knowing that nobody knows.
    fn money(&self, tables: &Tables<Toy>) -> Vec<String> {
        let mut amiss = Vec::new();
        for (flow, errand) in states::<Errand>(tables) {
            let charges = self.charges.get(&flow).copied().unwrap_or(0);
            let right = match errand {
                Errand::Done => charges == 1,
                Errand::NotDone => charges == 0,
                Errand::Unsure { .. } => charges <= 1,
                Errand::Out { .. } => false,
            };
            if !right {
                amiss.push(format!("the errand {flow} is {errand:?}, and its card was charged {charges} times"));
            }
        }
        let told: BTreeSet<FlowId> =
            tables.outbox.values().filter(|delivery| delivery.kind == "note").map(|delivery| delivery.flow).collect();
        for (flow, trip) in states::<Trip>(tables) {
            let charges = self.charges.get(&flow).copied().unwrap_or(0);
            let right = match trip {
                Trip::Booked { .. } => charges == 1,
                Trip::Ended => charges == 0 || (charges == 1 && told.contains(&flow)),
                Trip::Booking { .. } | Trip::Charging { .. } | Trip::Cancelling { .. } => false,
            };
            if !right {
                let clerk = told.contains(&flow);
                amiss.push(format!("the trip {flow} is {trip:?}, charged {charges} times, clerk told: {clerk}"));
            }
        }
        amiss
    }
}
