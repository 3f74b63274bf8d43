//! What must be true of rows and guards at any instant, with the ledger beside them.

use std::collections::{BTreeMap, BTreeSet};

use cairn_actors::effects::{Auth, Digest, Key, UserId};
use cairn_actors::flows::authorization::Authorization;
use cairn_actors::flows::recovery::Recovery;
use cairn_actors::flows::registration::Registration;
use cairn_actors::flows::session::Session;
use cairn_actors::username::Username;
use cairn_runtime::store::Row;
use cairn_runtime::testing::store::Tables;
use cairn_runtime::{Domain, Flow, Timestamp};

use super::granting::{NONCE, STATE};
use super::ledger::{Handed, Ledger};
use super::signing_in::{CLIENT_ADDRESS, DEVICE};

/// What must stand in no last state, and in nothing that history shows.
const PERSONAL: [&str; 10] =
    ["Person.", "person.", "@example", "nick", "Givenname", "Familyname", "sealed-hash", DEVICE, CLIENT_ADDRESS, NONCE];

/// All along.
pub(super) fn amiss(tables: &Tables<Auth>, ledger: &Ledger) -> Vec<String> {
    let mut view = View { ledger, guards: BTreeMap::new(), amiss: Vec::new() };
    for (user, account) in &ledger.users {
        view.guards.insert(Auth::guard(&Key::User(*user)), account.fence);
        view.guards.insert(Auth::guard(&Key::Profile(*user)), 0);
        view.guards.insert(Auth::guard(&Key::Address(account.address_key)), 0);
        if let Some(username) = account.username.as_deref().map(|name| Username::parse(name).expect("it was one")) {
            view.guards.insert(Auth::guard(&Key::Username(username)), 0);
        }
    }
    for stored in tables.rows.values() {
        view.row(&stored.row);
    }
    if tables.guards != view.guards {
        let present: BTreeSet<_> = tables.guards.iter().collect();
        let expected: BTreeSet<_> = view.guards.iter().collect();
        let (more, less) = (present.difference(&expected), expected.difference(&present));
        view.amiss.push(format!("guards that nobody has: {more:?}; that somebody lacks: {less:?}"));
    }
    view.amiss
}

/// When nothing is under way.
pub(super) fn amiss_at_rest(tables: &Tables<Auth>, ledger: &Ledger) -> Vec<String> {
    let mut amiss = Vec::new();
    let mut letters: BTreeMap<&str, usize> = BTreeMap::new();
    for delivery in tables.outbox.values() {
        *letters.entry(delivery.kind.as_str()).or_default() += 1;
    }
    let mut sent = |kind, expected: usize| {
        let count = letters.get(kind).copied().unwrap_or(0);
        if count != expected {
            amiss.push(format!("{count} letters {kind} were sent, and {expected} were due"));
        }
    };
    sent("registration.welcome", ledger.users.len());
    sent("password.changed", ledger.changed);
    for event in tables.events.values() {
        for personal in PERSONAL {
            if event.public.contains(personal) {
                amiss.push(format!("history shows {personal}: {}", event.public));
            }
            if event.outcome.contains(personal) && personal != NONCE {
                amiss.push(format!("an outcome of {} holds {personal}: {}", event.kind, event.outcome));
            }
        }
    }
    amiss
}

struct View<'a> {
    ledger: &'a Ledger,
    guards: BTreeMap<String, i64>,
    amiss: Vec<String>,
}

impl View<'_> {
    fn row(&mut self, row: &Row) {
        match row.kind.as_str() {
            Registration::NAME => self.registration(row),
            Recovery::NAME => self.recovery(row),
            Session::NAME => self.session(row),
            Authorization::NAME => self.authorization(row),
            _ => {}
        }
    }

    /// Whether a state's end is its row's, and hides whom it was about.
    fn read<F: Flow>(&mut self, row: &Row, is_over: impl Fn(&F) -> bool) -> F {
        let state: F = serde_json::from_str(&row.state).expect("it was written");
        let (kind, id) = (&row.kind, row.id);
        let is_over = is_over(&state);
        if state.wake_at() != row.wake_at || is_over != row.wake_at.is_none() {
            let what = format!("{kind} {id} is {}, and its row is woken at {:?}", row.phase, row.wake_at);
            self.amiss.push(what);
        }
        if is_over != self.ledger.is_finished(id) {
            self.amiss.push(format!("{kind} {id} is {}, and history says otherwise", row.phase));
        }
        if is_over {
            for personal in PERSONAL.into_iter().chain([STATE]) {
                if row.state.contains(personal) {
                    self.amiss.push(format!("{kind} {id} has ended and holds {personal}: {}", row.state));
                }
            }
        }
        state
    }

    fn registration(&mut self, row: &Row) {
        let is_over = |state: &Registration| {
            matches!(state, Registration::Done { .. } | Registration::Expired | Registration::Ended)
        };
        let user = self.read(row, is_over).user();
        let made = self.ledger.verified.get(&row.id).copied();
        if user != made || user.is_some_and(|user| !self.ledger.users.contains_key(&user)) {
            self.amiss.push(format!("the registration {} has the user {user:?}, and made {made:?}", row.id));
        }
    }

    fn recovery(&mut self, row: &Row) {
        let is_over = |state: &Recovery| {
            matches!(state, Recovery::Done { .. } | Recovery::Expired { .. } | Recovery::Ended { .. })
        };
        let state = self.read(row, is_over);
        let set = self.ledger.resets.get(&row.id).cloned();
        let right = match (&state, &set) {
            (Recovery::Reset(reset), Some((user, hash))) => (&reset.user, &reset.password) == (user, hash),
            (Recovery::Done { user }, Some((of, _))) => user == of,
            (Recovery::AwaitingCode(_) | Recovery::Expired { .. } | Recovery::Ended { .. }, None) => true,
            _ => false,
        };
        if !right {
            self.amiss.push(format!("the recovery {} is {}, and has set {set:?}", row.id, row.phase));
        }
    }

    fn session(&mut self, row: &Row) {
        let is_over = |state: &Session| matches!(state, Session::Ended { .. });
        let Session::Active(active) = self.read(row, is_over) else { return };
        self.guards.insert(Auth::guard(&Key::Session(row.id.0)), 0);
        let handed = Handed { issue: active.issue, minted: active.minted };
        self.chain(row, (active.user, active.fence), &handed, active.expires_at);
    }

    fn authorization(&mut self, row: &Row) {
        let state = self.read(row, |state| matches!(state, Authorization::Ended { .. }));
        if let Some(user_code) = state.public().subject {
            self.guards.insert(Auth::guard(&Key::UserCode(Digest(user_code))), 0);
        }
        if let Authorization::Active(active) = state {
            let grant = active.grant;
            let handed = Handed { issue: grant.issue, minted: active.minted };
            self.chain(row, (active.who.user, active.who.fence), &handed, grant.expires_at);
        }
    }

    /// A chain of tokens stands where history left it, and under no fence that has not come to be.
    fn chain(&mut self, row: &Row, (user, fence): (UserId, i64), present: &Handed, ends: Timestamp) {
        let chain = self.ledger.chains.get(&row.id);
        let stands = chain.is_some_and(|chain| {
            let stands = (chain.user, chain.fence, chain.handed.last()) == (Some(user), fence, Some(present));
            stands && chain.expires_at == Some(ends)
        });
        if !stands {
            self.amiss.push(format!("{} {} has {present:?} of {user:?}, and history {chain:?}", row.kind, row.id));
        }
        if self.ledger.fence(user).is_none_or(|number| number < fence) {
            self.amiss.push(format!("{} {} began under the fence {fence}, which never was", row.kind, row.id));
        }
    }
}
