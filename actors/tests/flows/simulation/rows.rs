//! What must be true of rows and guards at any instant, with the ledger beside them.

use std::collections::{BTreeMap, BTreeSet};

use cairn_actors::effects::{Auth, Key};
use cairn_actors::identity::user_id::UserId;
use cairn_actors::identity::username::Username;
use cairn_runtime::store::Row;
use cairn_runtime::testing::store::Tables;
use cairn_runtime::{Domain, Flow, Timestamp};

use super::flow::Weighted;
use super::ledger::{IssuedTokens, Ledger};

/// What is personal in whatever flow; each names more of its own.
const PERSONAL: [&str; 7] = ["Person.", "person.", "@example", "nick.", "Givenname", "Familyname", "sealed-hash"];

fn personal(flows: &[Weighted]) -> Vec<&'static str> {
    PERSONAL.into_iter().chain(flows.iter().flat_map(|flow| flow.actor.personal()).copied()).collect()
}

/// All along.
pub(super) fn amiss(tables: &Tables<Auth>, ledger: &Ledger, flows: &[Weighted]) -> Vec<String> {
    let personal = personal(flows);
    let mut view = View { tables, ledger, personal, guards: BTreeMap::new(), amiss: Vec::new() };
    for (user, account) in &ledger.users {
        view.has(&Key::User(*user), account.fence);
        view.has(&Key::Profile(*user), account.profile);
        view.has(&Key::Devices(*user), account.devices);
        view.has(&Key::Address(account.address_key), account.number);
        if let Some(username) = account.username.as_deref().map(|name| Username::parse(name).expect("it was one")) {
            view.has(&Key::Username(username), 0);
        }
        if account.deletion.is_some_and(|deletion| ledger.is_finished(deletion)) {
            view.complain(format!("{:?} waits for {user:?}, and is over", account.deletion));
        }
    }
    for (user, account) in &ledger.gone {
        // Whatever was begun with the account loses by this number.
        view.has(&Key::Profile(*user), account.profile);
    }
    for flow in flows {
        flow.actor.keys(&mut view);
    }
    for stored in tables.rows.values() {
        // A kind that nobody knows is found by its events.
        if let Some(flow) = flows.iter().find(|flow| flow.actor.name() == stored.row.kind) {
            flow.actor.row(&mut view, &stored.row);
        }
    }
    if tables.guards != view.guards {
        let present: BTreeSet<_> = tables.guards.iter().collect();
        let expected: BTreeSet<_> = view.guards.iter().collect();
        let more: Vec<_> = present.difference(&expected).collect();
        let less: Vec<_> = expected.difference(&present).collect();
        view.amiss.push(format!("guards that nobody has: {more:?}; that somebody lacks: {less:?}"));
    }
    view.amiss
}

/// When nothing is under way.
pub(super) fn amiss_at_rest(tables: &Tables<Auth>, ledger: &Ledger, flows: &[Weighted]) -> Vec<String> {
    let mut amiss = Vec::new();
    let mut letters: BTreeMap<&str, usize> = BTreeMap::new();
    for delivery in tables.outbox.values() {
        *letters.entry(delivery.kind.as_str()).or_default() += 1;
    }
    let due = flows.iter().flat_map(|flow| flow.actor.letters_due()).chain([("password.changed", ledger.changed)]);
    for (kind, expected) in due {
        let count = letters.get(kind).copied().unwrap_or(0);
        if count != expected {
            amiss.push(format!("{count} letters {kind} were sent, and {expected} were due"));
        }
    }
    let may_tell: BTreeSet<&str> = flows.iter().flat_map(|flow| flow.actor.may_tell()).copied().collect();
    let personal = personal(flows);
    for event in tables.events.values() {
        for personal in &personal {
            if event.public.contains(personal) {
                amiss.push(format!("history shows {personal}: {}", event.public));
            }
            if event.outcome.contains(personal) && !may_tell.contains(personal) {
                amiss.push(format!("an outcome of {} holds {personal}: {}", event.kind, event.outcome));
            }
        }
    }
    amiss
}

/// The tables beside the ledger, while rows and keys are compared.
pub(super) struct View<'a> {
    pub(super) tables: &'a Tables<Auth>,
    pub(super) ledger: &'a Ledger,
    personal: Vec<&'static str>,
    guards: BTreeMap<String, i64>,
    amiss: Vec<String>,
}

impl View<'_> {
    pub(super) fn complain(&mut self, what: String) {
        self.amiss.push(what);
    }

    /// Somebody has this key at this number, and nobody else has.
    pub(super) fn has(&mut self, key: &Key, number: i64) {
        if self.guards.insert(Auth::guard(key), number).is_some() {
            self.complain(format!("two have {}", Auth::guard(key)));
        }
    }

    /// A row's state; whether its end is its row's, and hides whom it was about.
    pub(super) fn read<F: Flow>(&mut self, row: &Row, is_over: impl Fn(&F) -> bool) -> F {
        self.read_lingering(row, is_over, false)
    }

    /// The same of a flow of which something is kept after its end, and has its time.
    pub(super) fn read_lingering<F: Flow>(&mut self, row: &Row, is_over: impl Fn(&F) -> bool, lingers: bool) -> F {
        let state: F = serde_json::from_str(&row.state).expect("it was written");
        let (kind, id) = (&row.kind, row.id);
        let is_over = is_over(&state);
        let is_kept = is_over && lingers && row.wake_at.is_some();
        if state.wake_at() != row.wake_at || is_over != (row.wake_at.is_none() || is_kept) {
            self.complain(format!("{kind} {id} is {}, and its row is woken at {:?}", row.phase, row.wake_at));
        }
        if is_over != self.ledger.is_finished(id) {
            self.complain(format!("{kind} {id} is {}, and history says otherwise", row.phase));
        }
        if is_over {
            let held: Vec<_> = self.personal.iter().copied().filter(|personal| row.state.contains(personal)).collect();
            for personal in held {
                self.complain(format!("{kind} {id} has ended and holds {personal}: {}", row.state));
            }
        }
        state
    }

    /// What is nobody's yet, or any more, names nobody.
    pub(super) fn knows_nobody(&mut self, row: &Row) {
        if row.user.is_some() || row.state.contains("\"who\"") || row.state.contains("\"amr\"") {
            self.complain(format!("{} {} is {} and knows somebody: {}", row.kind, row.id, row.phase, row.state));
        }
    }

    /// A chain of tokens stands where history left it, and under no fence that has not come to be.
    pub(super) fn chain(&mut self, row: &Row, (user, fence): (UserId, i64), present: &IssuedTokens, ends: Timestamp) {
        let chain = self.ledger.chains.get(&row.id);
        let stands = chain.is_some_and(|chain| {
            let stands = (chain.user, chain.fence, chain.handed.last()) == (Some(user), fence, Some(present));
            stands && chain.expires_at == Some(ends)
        });
        if !stands {
            self.amiss.push(format!("{} {} has {present:?} of {user:?}, and history {chain:?}", row.kind, row.id));
        }
        let account = self.ledger.users.get(&user).or_else(|| self.ledger.gone.get(&user));
        if account.is_none_or(|account| account.fence < fence) {
            self.complain(format!("{} {} began under the fence {fence}, which never was", row.kind, row.id));
        }
    }
}
