//! After a race: the rows, the history and everything that anybody was told must fit one order of events.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cairn_actors::effects::{Auth, Key};
use cairn_actors::flows::session::{Outcome, Session};
use cairn_persistence::entity::{events, flows, guards};
use cairn_runtime::store::{Event, Row};
use cairn_runtime::{Domain, FlowId, InputId};
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, QueryOrder, QueryResult, Statement};

use super::case::{Case, Record, What};
use crate::auth::{Node, Town};

/// How often each thing happened. A race in which one of them never does shows nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub races: u64,
    pub bumps: u64,
    pub refused: u64,
    pub begun: u64,
    pub rotated: u64,
    pub repeated: u64,
    pub fenced: u64,
    pub reused: u64,
    pub signed_out: u64,
    pub told_ended: u64,
    /// Asked on the second node.
    pub afar: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.races += other.races;
        self.bumps += other.bumps;
        self.refused += other.refused;
        self.begun += other.begun;
        self.rotated += other.rotated;
        self.repeated += other.repeated;
        self.fenced += other.fenced;
        self.reused += other.reused;
        self.signed_out += other.signed_out;
        self.told_ended += other.told_ended;
        self.afar += other.afar;
    }
}

/// All rows, events and guards as they are when every race is over.
pub struct Ledger {
    rows: HashMap<FlowId, Row>,
    histories: HashMap<FlowId, Vec<Event>>,
    guards: HashMap<String, i64>,
    /// The order in which events were committed, where it is on record: SQLite numbers its rows, and has one writer.
    order: Option<HashMap<InputId, i64>>,
}

impl Ledger {
    pub async fn read(town: &Town) -> Self {
        let readers = town.database(0).readers();
        let rows = flows::Entity::find().all(readers).await.unwrap();
        let rows = rows.into_iter().map(|row| Row::try_from(row).unwrap()).map(|row| (row.id, row)).collect();
        let mut histories: HashMap<FlowId, Vec<Event>> = HashMap::new();
        let all = events::Entity::find().order_by_asc(events::Column::Version).all(readers).await.unwrap();
        for event in all.into_iter().map(|event| Event::try_from(event).unwrap()) {
            histories.entry(event.flow).or_default().push(event);
        }
        let guards = guards::Entity::find().all(readers).await.unwrap();
        let guards = guards.into_iter().map(|guard| (guard.key, guard.value)).collect();
        let order = match readers.get_database_backend() {
            DbBackend::Sqlite => Some(Self::order(readers).await),
            _ => None,
        };
        Self { rows, histories, guards, order }
    }

    async fn order(readers: &impl ConnectionTrait) -> HashMap<InputId, i64> {
        let numbered = Statement::from_string(DbBackend::Sqlite, "SELECT input, rowid FROM events");
        let read = |row: &QueryResult| {
            let input: Vec<u8> = row.try_get_by_index(0).unwrap();
            (InputId::from_bytes(input.try_into().unwrap()), row.try_get_by_index(1).unwrap())
        };
        readers.query_all_raw(numbered).await.unwrap().iter().map(read).collect()
    }

    fn history(&self, flow: FlowId) -> &[Event] {
        self.histories.get(&flow).map_or(&[], Vec::as_slice)
    }

    fn guard(&self, key: &Key) -> Option<i64> {
        self.guards.get(&Auth::guard(key)).copied()
    }
}

struct Judge<'a> {
    case: &'a Case,
    ledger: &'a Ledger,
    log: Vec<Record>,
    tally: Tally,
}

/// Asks every session that a race has left for new tokens, and ends half of them.
pub async fn ask_again(case: &Case, before: &Ledger, node: &Node) {
    let moved = before.guard(&Key::User(case.user)).expect("a user has a fence");
    for known in case.sessions() {
        let row = before.rows.get(&known.flow).expect("a session that was begun has a row");
        let state: Session = serde_json::from_str(&row.state).unwrap();
        let Some(active) = state.active() else { continue };
        match case.ask(node, 0, &known, What::Refresh { shown: active.issue.n }).await {
            Outcome::Ended => case.must(active.fence < moved, "a session that no fence shut out goes on"),
            Outcome::Tokens { issue, .. } => {
                case.must(active.fence == moved, "I8: nothing outlives a fence");
                if case.seed % 2 == 1 {
                    let said = case.ask(node, 0, &known, What::SignOut { shown: issue.n }).await;
                    case.must(said == Outcome::Ended, "signing out ends");
                }
            }
            said => case.must(false, format!("{said:?} for the present token")),
        }
    }
}

/// Judges a race that is over.
pub fn judge(case: &Case, ledger: &Ledger) -> Tally {
    let mut judge = Judge { case, ledger, log: case.log(), tally: Tally { races: 1, ..Tally::default() } };
    judge.tally.afar = judge.log.iter().filter(|record| record.node == 1).count() as u64;
    judge.bumps();
    for record in judge.log.clone() {
        if let What::SignIn { fence } = record.what {
            judge.session(&record, fence);
        }
    }
    judge.tally
}

impl Judge<'_> {
    /// Each bump counted once, and nothing else did.
    fn bumps(&mut self) {
        let bumps: Vec<&Record> = self.log.iter().filter(|record| record.what == What::Bump).collect();
        for bump in &bumps {
            let inputs: Vec<_> = self.ledger.history(bump.flow).iter().map(|event| event.input).collect();
            self.case.must(inputs == [bump.input], "a bump has its event, and one");
        }
        let moved = self.ledger.guard(&Key::User(self.case.user));
        let right = moved.is_some_and(|moved| usize::try_from(moved) == Ok(bumps.len()));
        self.case.must(right, format!("the fence stands at {moved:?} after {} bumps", bumps.len()));
        self.tally.bumps += bumps.len() as u64;
    }

    /// Bumps that were over before an instant: the fence stood at this number or beyond.
    fn surely(&self, before: u64) -> i64 {
        let over = |record: &&Record| record.what == What::Bump && record.answered < before;
        i64::try_from(self.log.iter().filter(over).count()).unwrap()
    }

    /// Bumps that had begun before an instant: the fence stood at no higher number.
    fn perhaps(&self, before: u64) -> i64 {
        let under_way = |record: &&Record| record.what == What::Bump && record.invoked < before;
        i64::try_from(self.log.iter().filter(under_way).count()).unwrap()
    }

    fn session(&mut self, begun: &Record, fence: i64) {
        let (case, flow) = (self.case, begun.flow);
        let (row, history) = (self.ledger.rows.get(&flow), self.ledger.history(flow));
        let guard = self.ledger.guard(&Key::Session(flow.0));
        if begun.said == Some(Outcome::Refused) {
            self.tally.refused += 1;
            case.must(self.perhaps(begun.answered) > fence, "a sign-in that no bump came before is not refused");
            case.must(row.is_none() && history.is_empty() && guard.is_none(), "who is refused leaves nothing");
            return;
        }
        self.tally.begun += 1;
        case.must(self.surely(begun.invoked) <= fence, "I8: a sign-in under an old fence is refused");
        let row = row.expect("a session that was begun has a row");
        let versions: Vec<u64> = history.iter().map(|event| event.version).collect();
        case.must(
            versions == (1..=row.version).collect::<Vec<_>>(),
            format!("I2: versions without gaps, not {versions:?}"),
        );
        let inputs: BTreeSet<_> = history.iter().map(|event| event.input).collect();
        case.must(inputs.len() == history.len(), "I3: an input counts once");
        self.history(flow, fence, history);
        self.answers(flow, fence, history);

        let state: Session = serde_json::from_str(&row.state).unwrap();
        case.must(
            state.active().map(|_| 0) == guard,
            format!("the fence of a session lives with it: {guard:?}, {}", row.phase),
        );
        if let Some(active) = state.active() {
            case.must(active.fence == fence, "the fence of a session is that of its sign-in");
            let last = history.iter().filter(|event| event.to == "active").count();
            case.must(usize::try_from(active.issue.n) == Ok(last - 1), "exactly one refresh token is the present one");
        }
    }

    /// Every step is what the rules make of its input in the state before it.
    fn history(&mut self, flow: FlowId, fence: i64, history: &[Event]) {
        let case = self.case;
        let mut present = 0;
        for (place, event) in history.iter().enumerate() {
            let asked = self.log.iter().find(|record| record.input == event.input);
            let Some(asked) = asked else {
                case.must(false, format!("nobody asked for {event:?}"));
                continue;
            };
            case.must(asked.flow == flow, "an input counts for the flow it was brought to");
            case.must(place == 0 || history[place - 1].to == event.from, "a step begins where the one before it ended");
            case.must(place == 0 || event.from == "active", "what has ended takes no step");
            let says: Outcome = serde_json::from_str(&event.outcome).unwrap();
            let by = serde_json::from_str::<serde_json::Value>(&event.public).unwrap()["shown"]["by"].clone();
            let right = match (asked.what, &says, by.as_str()) {
                (What::SignIn { .. }, Outcome::Tokens { issue, minted, .. }, None) => {
                    place == 0 && issue.n == 0 && minted.generation == 0
                }
                (What::Refresh { shown }, Outcome::Tokens { issue, minted, .. }, None) => {
                    self.tally.rotated += 1;
                    let was = std::mem::replace(&mut present, issue.n);
                    shown == was && issue.n == was + 1 && minted.generation == issue.n
                }
                (What::Refresh { .. }, Outcome::Ended, Some("fenced")) => {
                    self.tally.fenced += 1;
                    self.perhaps(asked.answered) > fence
                }
                (What::Refresh { shown }, Outcome::Ended, Some("reused")) => {
                    self.tally.reused += 1;
                    shown + u32::from(case.grace) < present
                }
                (What::SignOut { .. }, Outcome::Ended, Some("signed_out")) => {
                    self.tally.signed_out += 1;
                    true
                }
                _ => false,
            };
            if event.to == "active"
                && let Some(order) = &self.ledger.order
            {
                let bumps = self.log.iter().filter(|record| record.what == What::Bump);
                let before = bumps.filter(|bump| order[&bump.input] < order[&event.input]).count();
                let right = i64::try_from(before) == Ok(fence);
                case.must(right, format!("I8: {event:?} under fence {fence} was committed after {before} bumps"));
            }
            case.must(right, format!("the rules do not lead from generation {present} by {asked:?} to {event:?}"));
        }
    }

    /// Everybody was told what history says, and nobody was told of the past.
    fn answers(&mut self, flow: FlowId, fence: i64, history: &[Event]) {
        let case = self.case;
        let by_input: BTreeMap<_, &Event> = history.iter().map(|event| (event.input, event)).collect();
        let told: Vec<Record> = self.log.iter().filter(|record| record.flow == flow).cloned().collect();
        for record in &told {
            let said = record.said.clone().expect("a session says something");
            let Some(at) =
                usize::try_from(record.version).ok().and_then(|version| history.get(version.wrapping_sub(1)))
            else {
                case.must(false, format!("there is no version {} of {record:?}", record.version));
                continue;
            };
            let says: Outcome = serde_json::from_str(&at.outcome).unwrap();
            case.must(says == said, format!("I3: {record:?} was told otherwise than {says:?}"));
            match by_input.get(&record.input) {
                Some(event) => case.must(event.version == record.version, "one winner for each version"),
                None if said == Outcome::Ended => self.tally.told_ended += 1,
                None => {
                    // The same seal and the same minted token, because that is what the event at this version says.
                    self.tally.repeated += 1;
                    let predecessor = match (&said, record.what) {
                        (Outcome::Tokens { issue, .. }, What::Refresh { shown }) => shown + 1 == issue.n,
                        _ => false,
                    };
                    case.must(case.grace && predecessor, format!("{record:?} is no repeat within the grace time"));
                }
            }
            let seen = told.iter().filter(|before| before.answered < record.invoked).map(|before| before.version).max();
            case.must(seen <= Some(record.version), format!("{record:?} was told of the past"));
            if matches!(said, Outcome::Tokens { .. }) {
                case.must(self.surely(record.invoked) <= fence, format!("I8: {record:?} got tokens behind the fence"));
            }
        }
    }
}
