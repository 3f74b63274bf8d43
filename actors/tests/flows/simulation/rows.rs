//! What must be true of rows and guards at any instant, with the ledger beside them.

use std::collections::{BTreeMap, BTreeSet};

use cairn_actors::effects::{Auth, Key};
use cairn_actors::environment::Environment;
use cairn_actors::flows::authorization::Authorization;
use cairn_actors::flows::deletion::Deletion;
use cairn_actors::flows::email_change::EmailChange;
use cairn_actors::flows::recovery::Recovery;
use cairn_actors::flows::registration::Registration;
use cairn_actors::flows::session::Session;
use cairn_actors::identity::address::Address;
use cairn_actors::identity::user_id::UserId;
use cairn_actors::identity::username::Username;
use cairn_actors::secrets::digest::Digest;
use cairn_runtime::store::Row;
use cairn_runtime::testing::store::Tables;
use cairn_runtime::{Domain, Flow, Timestamp};

use super::granting::{NONCE, STATE};
use super::ledger::{IssuedTokens, Ledger, Stage};
use super::signing_in::{CLIENT_ADDRESS, DEVICE};

/// What must stand in no last state, and in nothing that history shows.
const PERSONAL: [&str; 10] = [
    "Person.",
    "person.",
    "@example",
    "nick.",
    "Givenname",
    "Familyname",
    "sealed-hash",
    DEVICE,
    CLIENT_ADDRESS,
    NONCE,
];

/// All along.
pub(super) fn amiss(tables: &Tables<Auth>, ledger: &Ledger, environment: &Environment) -> Vec<String> {
    let mut view = View { ledger, environment, guards: BTreeMap::new(), amiss: Vec::new() };
    for (user, account) in &ledger.users {
        view.has(&Key::User(*user), account.fence);
        view.has(&Key::Profile(*user), account.profile);
        view.has(&Key::Devices(*user), account.devices);
        view.has(&Key::Address(account.address_key), account.number);
        if let Some(username) = account.username.as_deref().map(|name| Username::parse(name).expect("it was one")) {
            view.has(&Key::Username(username), 0);
        }
        if account.deletion.is_some_and(|deletion| ledger.is_finished(deletion)) {
            view.amiss.push(format!("{:?} waits for {user:?}, and is over", account.deletion));
        }
    }
    for (user, account) in &ledger.gone {
        // Whatever was begun with the account loses by this number.
        view.has(&Key::Profile(*user), account.profile);
    }
    for change in ledger.moves.values() {
        match change.stage {
            Stage::Standing => view.has(&view.address(&change.before), change.number),
            Stage::Undone | Stage::Overtaken => {
                // How often it was raised after it had been lost is nobody's business.
                let key = view.address(&change.after);
                let present = tables.guards.get(&Auth::guard(&key)).copied();
                view.has(&key, present.unwrap_or_default().max(1));
            }
            Stage::Over => {}
        }
    }
    for stored in tables.rows.values() {
        view.row(&stored.row);
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
    sent("registration.welcome", ledger.verified.len());
    sent("email.changed", ledger.moves.len());
    sent("deletion.asked", ledger.deletions.len());
    sent("deletion.called-off", ledger.came_back);
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
    environment: &'a Environment,
    guards: BTreeMap<String, i64>,
    amiss: Vec<String>,
}

impl View<'_> {
    /// Somebody has this key at this number, and nobody else has.
    fn has(&mut self, key: &Key, number: i64) {
        if self.guards.insert(Auth::guard(key), number).is_some() {
            self.amiss.push(format!("two have {}", Auth::guard(key)));
        }
    }

    fn address(&self, address: &Address) -> Key {
        Key::Address(self.environment.address_key(address))
    }

    fn row(&mut self, row: &Row) {
        match row.kind.as_str() {
            Registration::NAME => self.registration(row),
            Recovery::NAME => self.recovery(row),
            Session::NAME => self.session(row),
            Authorization::NAME => self.authorization(row),
            EmailChange::NAME => self.email_change(row),
            Deletion::NAME => self.deletion(row),
            _ => {}
        }
    }

    /// Whether a state's end is its row's, and hides whom it was about.
    fn read<F: Flow>(&mut self, row: &Row, is_over: impl Fn(&F) -> bool) -> F {
        let state: F = serde_json::from_str(&row.state).expect("it was written");
        let (kind, id) = (&row.kind, row.id);
        let is_over = is_over(&state);
        // What is kept of a session after its end, because of the link in a letter, has its time.
        let has_link = is_over && row.kind == Session::NAME && row.wake_at.is_some();
        if state.wake_at() != row.wake_at || is_over != (row.wake_at.is_none() || has_link) {
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
        let was = |user| self.ledger.users.contains_key(&user) || self.ledger.gone.contains_key(&user);
        if user != made || user.is_some_and(|user| !was(user)) {
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

    fn email_change(&mut self, row: &Row) {
        let is_over = |state: &EmailChange| {
            matches!(state, EmailChange::Done { .. } | EmailChange::Expired { .. } | EmailChange::Ended { .. })
        };
        let state = self.read(row, is_over);
        let known = self.ledger.moves.get(&row.id);
        let right = match (&state, known.map(|change| change.stage)) {
            (EmailChange::Changed(changed), Some(Stage::Standing | Stage::Overtaken)) => known.is_some_and(|change| {
                (&changed.before, &changed.address, changed.number) == (&change.before, &change.after, change.number)
                    && (changed.user, changed.until) == (change.user, change.until)
            }),
            (EmailChange::Undone(undone), Some(Stage::Overtaken)) if undone.overtaken => {
                known.is_some_and(|change| (undone.user, &undone.address) == (change.user, &change.after))
            }
            (EmailChange::Undone(undone), Some(Stage::Undone)) if !undone.overtaken => known.is_some_and(|change| {
                (undone.user, &undone.address, undone.until) == (change.user, &change.after, change.until)
            }),
            (EmailChange::Done { user } | EmailChange::Ended { user }, Some(Stage::Over)) => {
                known.is_some_and(|change| change.user == *user)
            }
            (EmailChange::AwaitingCode(_) | EmailChange::Expired { .. } | EmailChange::Ended { .. }, None) => true,
            _ => false,
        };
        if !right {
            self.amiss.push(format!("the change {} is {}, and is known as {known:?}", row.id, row.phase));
        }
    }

    fn deletion(&mut self, row: &Row) {
        let state = self.read(row, |state: &Deletion| !matches!(state, Deletion::Waiting(_)));
        let user = state.user();
        let waits = self.ledger.users.get(&user).is_some_and(|account| account.deletion == Some(row.id));
        let by = self.ledger.gone.get(&user).and_then(|account| account.deletion);
        let off = self.ledger.called_off.contains(&row.id);
        let right = match &state {
            Deletion::Waiting(_) => waits || off,
            Deletion::Restored { .. } => off,
            Deletion::Done { .. } => by == Some(row.id),
        };
        if !right || self.ledger.deletions.get(&row.id) != Some(&user) {
            self.amiss.push(format!("the deletion {} of {user:?} is {}, off {off}, by {by:?}", row.id, row.phase));
        }
    }

    fn session(&mut self, row: &Row) {
        let is_over = |state: &Session| state.active().is_none();
        let Session::Active(active) = self.read(row, is_over) else { return };
        self.has(&Key::Session(row.id.0), 0);
        let handed = IssuedTokens { issue: active.issue, minted: active.minted };
        self.chain(row, (active.user, active.fence), &handed, active.expires_at);
    }

    fn authorization(&mut self, row: &Row) {
        let state = self.read(row, |state| matches!(state, Authorization::Ended { .. }));
        if let Some(user_code) = state.public().subject {
            self.has(&Key::UserCode(Digest(user_code)), 0);
        }
        if let Authorization::Active(active) = state {
            let grant = active.grant;
            let handed = IssuedTokens { issue: grant.issue, minted: active.minted };
            self.chain(row, (active.who.user, active.who.fence), &handed, grant.expires_at);
        }
    }

    /// A chain of tokens stands where history left it, and under no fence that has not come to be.
    fn chain(&mut self, row: &Row, (user, fence): (UserId, i64), present: &IssuedTokens, ends: Timestamp) {
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
            self.amiss.push(format!("{} {} began under the fence {fence}, which never was", row.kind, row.id));
        }
    }
}
