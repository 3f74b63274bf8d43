//! The history of all flows as the store's log tells it, in the order of the commits, held against what auth promises:
//! here what flows have in common, accounts, chains of tokens and letters. What one flow alone knows is in its file.
//!
//! The ledger knows nothing of how flows decide: who has which address, how often whose password was set and how far each
//! chain of tokens has come follow from writes, conditions and outcomes alone. A user's fence is the number of times that
//! their password was set, all their sessions ended, a change of their address taken back or a deletion asked for,
//! whatever the table of guards says; a client's is how often it was deleted, a consent's how often it was taken back.

mod accounts;
mod chains;
mod clients;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use cairn_actors::effects::{Auth, FailureWrite, Write};
use cairn_actors::environment::Environment;
use cairn_actors::identity::address::Address;
use cairn_actors::identity::user_id::UserId;
use cairn_actors::oauth::client::ClientId;
use cairn_actors::secrets::digest::Digest;
use cairn_runtime::FlowId;
use cairn_runtime::store::Event;
use cairn_runtime::testing::store::Tables;

pub(super) use self::accounts::Account;
pub(super) use self::chains::{Chain, Held, IssuedTokens};
use self::clients::{Consent, Pair};
use super::flow::{Step, Weighted};
use super::tally::{Tally, word};

/// Complaints after which nobody reads on.
const ENOUGH: usize = 12;
/// Wrong codes that a flow takes.
const TRIES: u32 = 5;

/// The letters and wrong codes of a flow that proves an address.
#[derive(Debug, Default)]
pub(super) struct Letters {
    /// Letters that were asked for after the first.
    pub(super) again: u32,
    /// Wrong codes while the proof was awaited and after.
    pub(super) missed: u32,
}

pub(super) struct Ledger {
    pub(super) environment: Arc<Environment>,
    tally: Tally,
    lines: usize,
    writes: usize,
    pub(super) users: BTreeMap<UserId, Account>,
    /// Users that were deleted, as they were then, with the number that stays behind.
    pub(super) gone: BTreeMap<UserId, Account>,
    /// Who has had which address.
    had: BTreeMap<Digest, BTreeSet<UserId>>,
    /// Addresses that were had and given back, the last one last.
    pub(super) freed: Vec<Address>,
    /// Deletions that delete nobody any more.
    pub(super) called_off: BTreeSet<FlowId>,
    pub(super) by_address: BTreeMap<Digest, UserId>,
    pub(super) by_username: BTreeMap<String, UserId>,
    /// Which flow set whose password, and how often that was.
    changes: BTreeSet<(FlowId, UserId)>,
    pub(super) changed: usize,
    /// By which flow each password was set.
    pub(super) passwords: BTreeMap<String, FlowId>,
    pub(super) letters: BTreeMap<FlowId, Letters>,
    pub(super) chains: BTreeMap<FlowId, Chain>,
    /// The fence of every client that was ever registered.
    pub(super) clients: BTreeMap<ClientId, i64>,
    /// Whose fence it is.
    client_keys: BTreeMap<String, ClientId>,
    /// What was ever consented to.
    pub(super) consents: BTreeMap<Pair, Consent>,
    /// The fence of which consent it is.
    consent_keys: BTreeMap<String, Pair>,
    /// The kind of every flow that history knows.
    kinds: BTreeMap<FlowId, String>,
    finished: BTreeSet<FlowId>,
    fences: BTreeMap<String, UserId>,
    /// Whose number of devices it is.
    numbers: BTreeMap<String, UserId>,
    wrong: Vec<String>,
    /// How many complaints somebody has heard of.
    heard: usize,
}

impl Ledger {
    pub(super) fn new(environment: Arc<Environment>, tally: Tally) -> Self {
        Self {
            environment,
            tally,
            lines: 0,
            writes: 0,
            users: BTreeMap::new(),
            gone: BTreeMap::new(),
            had: BTreeMap::new(),
            freed: Vec::new(),
            called_off: BTreeSet::new(),
            by_address: BTreeMap::new(),
            by_username: BTreeMap::new(),
            changes: BTreeSet::new(),
            changed: 0,
            passwords: BTreeMap::new(),
            letters: BTreeMap::new(),
            chains: BTreeMap::new(),
            clients: BTreeMap::new(),
            client_keys: BTreeMap::new(),
            consents: BTreeMap::new(),
            consent_keys: BTreeMap::new(),
            kinds: BTreeMap::new(),
            finished: BTreeSet::new(),
            fences: BTreeMap::new(),
            numbers: BTreeMap::new(),
            wrong: Vec::new(),
            heard: 0,
        }
    }

    /// What did not hold, so far.
    pub(super) fn wrong(&self) -> &[String] {
        &self.wrong
    }

    /// The first complaint that nobody has heard of.
    pub(super) fn news(&mut self) -> Option<String> {
        let news = self.wrong.get(self.heard).cloned();
        self.heard = self.wrong.len();
        news
    }

    pub(super) fn complain(&mut self, what: String) {
        if self.wrong.len() < ENOUGH {
            self.wrong.push(what);
        }
    }

    /// Whether a flow has come to its end.
    pub(super) fn is_finished(&self, flow: FlowId) -> bool {
        self.finished.contains(&flow)
    }

    /// The kind of a flow, or an act's name.
    pub(super) fn kind(&self, flow: FlowId) -> Option<&str> {
        self.kinds.get(&flow).map(String::as_str)
    }

    /// The place of the last commit that was read among all commits.
    pub(super) fn place(&self) -> usize {
        self.lines
    }

    /// Reads what was committed since it last looked: each flow takes its own events.
    pub(super) fn read(&mut self, tables: &Tables<Auth>, flows: &mut [Weighted]) {
        while let Some(line) = tables.log.get(self.lines) {
            self.lines += 1;
            let writes = tables.written.get(self.writes..).unwrap_or_default();
            let (writes, _) = writes.split_at_checked(line.writes).expect("the log counts the writes");
            self.writes += line.writes;
            if let Some(event) = tables.events.get(&line.input).filter(|_| line.has_event) {
                self.weigh(&Step { event, line, writes }, flows);
            }
            // Flows that the step opened: each row beside its own has its first event there.
            for row in line.rows.iter().skip(1) {
                if let Some(event) = tables.first_event(row.id) {
                    self.weigh(&Step { event, line, writes }, flows);
                }
            }
        }
    }

    fn weigh(&mut self, step: &Step<'_>, flows: &mut [Weighted]) {
        let Step { event, line, .. } = step;
        let Event { kind, flow, name, .. } = event;
        let Some(actor) = flows.iter_mut().map(|weighted| &mut weighted.actor).find(|actor| actor.name() == kind)
        else {
            return self.complain(format!("nobody knows the flow {kind}"));
        };
        self.kinds.entry(*flow).or_insert_with(|| kind.clone());
        if self.finished.contains(flow) && !actor.may_follow_the_end(name) {
            self.complain(format!("{kind} {flow} took {name} after its end"));
        }
        actor.committed(self, step);
        if let Some(row) = line.rows.iter().find(|row| row.id == *flow).filter(|row| actor.is_over(row)) {
            self.finished.insert(row.id);
            let public = step.public();
            let by = public.pointer("/shown/by").and_then(serde_json::Value::as_str).unwrap_or_default();
            self.note(&format!("{kind} came to be {} {by}", event.to));
            if self.chains.get(flow).is_some_and(|chain| !chain.may_end(by, self)) {
                self.complain(format!("{kind} {flow} ended as {by} by a fence that stands, at {name}"));
            }
        }
    }

    /// Another letter that proves an address.
    pub(super) fn wrote(&mut self, event: &Event) {
        if event.name == "resend" {
            self.letters.entry(event.flow).or_default().again += 1;
        } else {
            self.letters.insert(event.flow, Letters::default());
        }
    }

    /// A wrong code costs a try, and while the proof is awaited it is counted in the same commit, so often.
    pub(super) fn missed(&mut self, step: &Step<'_>, counts: usize) {
        let Step { event, writes, .. } = step;
        let counts = if event.from == "awaiting_code" { counts } else { 0 };
        let counted =
            writes.iter().filter(|(_, write)| matches!(write, Write::Failure(FailureWrite::Count { .. }))).count();
        if (counted, writes.len()) != (counts, counts) {
            self.complain(format!("{} {} judged a code and counted it {counted} times", event.kind, event.flow));
        }
        let letters = self.letters.entry(event.flow).or_default();
        letters.missed += 1;
        if letters.missed > TRIES {
            self.complain(format!("{} {} looked at a sixth wrong code", event.kind, event.flow));
        }
    }

    /// Five codes were wrong, and this is one more.
    pub(super) fn spent(&self, flow: FlowId) -> Option<String> {
        let missed = self.letters.get(&flow)?.missed;
        (missed >= TRIES).then(|| format!("{missed} codes had been wrong"))
    }

    /// Counts an outcome that a client was told.
    pub(super) fn count(&self, kind: &str, outcome: &dyn fmt::Debug) {
        self.note(&format!("{kind} told {}", word(outcome)));
    }

    /// Counts what happened.
    pub(super) fn note(&self, what: &str) {
        self.tally.count(what);
    }
}
