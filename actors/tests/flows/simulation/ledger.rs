//! The history of the house as the store's log tells it, in the order of the commits, held against what auth promises.
//!
//! It knows nothing of how flows decide: who has which address, how often whose password was set and how far each chain
//! of tokens has come follow from writes, conditions and outcomes alone. A user's fence is the number of times that
//! their password was set, all their sessions ended, a change of their address taken back or a deletion asked for,
//! whatever the table of guards says.

mod accounts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cairn_actors::acts::profile::EDIT_PROFILE;
use cairn_actors::acts::sessions::SIGN_OUT_EVERYWHERE;
use cairn_actors::effects::{Auth, DeviceWrite, FailureWrite, Key, UserWrite, Write};
use cairn_actors::environment::Environment;
use cairn_actors::flows::{authorization, recovery, registration, session};
use cairn_actors::identity::address::Address;
use cairn_actors::identity::user_id::UserId;
use cairn_actors::oauth::scope::OFFLINE_ACCESS;
use cairn_actors::secrets::credential::Seal;
use cairn_actors::secrets::digest::Digest;
use cairn_actors::secrets::hasher::SealedHash;
use cairn_runtime::store::{Event, Row};
use cairn_runtime::testing::store::{Logged, Tables};
use cairn_runtime::{Domain, FlowId, Guard, Id, InputId, Timestamp};
use serde::de::DeserializeOwned;

pub(super) use self::accounts::{Account, Move, Stage};
use super::tally::{Tally, word};

/// Complaints after which nobody reads on.
const ENOUGH: usize = 12;
/// Wrong codes that a flow takes.
const TRIES: u32 = 5;

/// What came with one generation of a chain of tokens: refresh token, and `jti`, `iat`, `exp` and key of the access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IssuedTokens {
    pub(super) issue: Seal,
    pub(super) minted: session::Minted,
}

/// A session, or a grant: whose it is, under which fences, and what was handed out.
#[derive(Debug, Default)]
pub(super) struct Chain {
    pub(super) user: Option<UserId>,
    pub(super) fence: i64,
    /// The session in which a grant was made, while its end would end the grant.
    pub(super) session: Option<FlowId>,
    pub(super) handed: Vec<IssuedTokens>,
    /// Which of them came of a proof of the password: what they replaced gets no repeat.
    pub(super) proved: BTreeSet<u32>,
    /// The first refresh token of the present salt: those before it are of no use.
    pub(super) salted: u32,
    /// When it ends unless it is used before.
    pub(super) expires_at: Option<Timestamp>,
}

/// The letters and wrong codes of a registration or recovery.
#[derive(Debug, Default)]
pub(super) struct Letters {
    /// Letters that were asked for after the first.
    pub(super) again: u32,
    /// Wrong codes while the proof was awaited and after.
    pub(super) missed: u32,
}

pub(super) struct Ledger {
    environment: Arc<Environment>,
    tally: Tally,
    lines: usize,
    writes: usize,
    pub(super) users: BTreeMap<UserId, Account>,
    /// Users that were deleted, as they were then, with the number that stays behind.
    pub(super) gone: BTreeMap<UserId, Account>,
    /// Who has had which address.
    pub(super) had: BTreeMap<Digest, BTreeSet<UserId>>,
    /// Addresses that were had and given back, the last one last.
    pub(super) freed: Vec<Address>,
    /// All changes of address that were asked for, and those that were proved.
    pub(super) asked_for: BTreeSet<FlowId>,
    pub(super) moves: BTreeMap<FlowId, Move>,
    /// Whose deletion it is.
    pub(super) deletions: BTreeMap<FlowId, UserId>,
    /// Deletions that delete nobody any more.
    pub(super) called_off: BTreeSet<FlowId>,
    pub(super) by_address: BTreeMap<Digest, UserId>,
    pub(super) by_username: BTreeMap<String, UserId>,
    /// Who came of which registration.
    pub(super) verified: BTreeMap<FlowId, UserId>,
    /// Which recovery set which password.
    pub(super) resets: BTreeMap<FlowId, (UserId, SealedHash)>,
    /// Which flow set whose password, and how often that was.
    pub(super) changes: BTreeSet<(FlowId, UserId)>,
    pub(super) changed: usize,
    /// By which flow each password was set.
    pub(super) passwords: BTreeMap<String, FlowId>,
    pub(super) letters: BTreeMap<FlowId, Letters>,
    pub(super) chains: BTreeMap<FlowId, Chain>,
    finished: BTreeSet<FlowId>,
    fences: BTreeMap<String, UserId>,
    /// Whose number of devices it is.
    numbers: BTreeMap<String, UserId>,
    /// Links of new-device letters that were used, and the number of devices that they left, while they may set a password.
    disowned: BTreeMap<FlowId, Option<i64>>,
    /// Sign-ins that called a deletion off.
    pub(super) came_back: usize,
    wrong: Vec<String>,
    /// How many complaints somebody has heard of.
    heard: usize,
}

/// The fences on whose numbers a step was conditional.
#[derive(Debug, PartialEq)]
struct Held {
    user: Option<(UserId, i64)>,
    session: Option<FlowId>,
    /// Of whose devices the number was held, as far as that matters: where a password was proved.
    devices: Option<UserId>,
}

impl Chain {
    fn own(&self) -> Held {
        Held { user: self.user.map(|user| (user, self.fence)), session: self.session, devices: None }
    }

    /// Whether what it was begun under has moved.
    fn is_fenced(&self, ledger: &Ledger) -> bool {
        let user = self.user.is_some_and(|user| ledger.fence(user) != Some(self.fence));
        user || self.session.is_some_and(|session| ledger.is_finished(session))
    }
}

fn says<O: DeserializeOwned>(event: &Event) -> O {
    serde_json::from_str(&event.outcome).expect("an outcome decodes")
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
            asked_for: BTreeSet::new(),
            moves: BTreeMap::new(),
            deletions: BTreeMap::new(),
            called_off: BTreeSet::new(),
            by_address: BTreeMap::new(),
            by_username: BTreeMap::new(),
            verified: BTreeMap::new(),
            resets: BTreeMap::new(),
            changes: BTreeSet::new(),
            changed: 0,
            passwords: BTreeMap::new(),
            letters: BTreeMap::new(),
            chains: BTreeMap::new(),
            finished: BTreeSet::new(),
            fences: BTreeMap::new(),
            numbers: BTreeMap::new(),
            disowned: BTreeMap::new(),
            came_back: 0,
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

    /// The present number of a user's fence.
    pub(super) fn fence(&self, user: UserId) -> Option<i64> {
        self.users.get(&user).map(|account| account.fence)
    }

    /// The present number of what is known of a user from before.
    pub(super) fn devices(&self, user: UserId) -> Option<i64> {
        self.users.get(&user).map(|account| account.devices)
    }

    /// Whether the refresh token after this one came of a proof of the password.
    pub(super) fn was_proved_after(&self, flow: FlowId, shown: u32) -> bool {
        self.chains.get(&flow).is_some_and(|chain| chain.proved.contains(&(shown + 1)))
    }

    /// Reads what was committed since it last looked.
    pub(super) fn read(&mut self, tables: &Tables<Auth>) {
        while let Some(line) = tables.log.get(self.lines) {
            self.lines += 1;
            let writes = tables.written.get(self.writes..).unwrap_or_default();
            let (writes, _) = writes.split_at_checked(line.writes).expect("the log counts the writes");
            self.writes += line.writes;
            if let Some(event) = tables.events.get(&line.input).filter(|_| line.has_event) {
                self.weigh(event, line, writes);
            }
        }
    }

    fn weigh(&mut self, event: &Event, line: &Logged, writes: &[(InputId, Write)]) {
        // The link of a letter is good for longer than the session that it tells of.
        let is_of_link = event.kind == "session" && matches!(event.name.as_str(), "disown" | "woken");
        if self.finished.contains(&event.flow) && !is_of_link {
            self.complain(format!("{} {} took {} after its end", event.kind, event.flow, event.name));
        }
        match event.kind.as_str() {
            "registration" => self.registration(event, writes),
            "recovery" => self.recovery(event, line, writes),
            "session" => self.session(event, line, writes),
            "authorization" => self.authorization(event, line),
            "email_change" => self.email_change(event, line, writes),
            "deletion" => self.deletion(event, line, writes),
            EDIT_PROFILE => self.edited(event, line, writes),
            SIGN_OUT_EVERYWHERE => self.signed_out_everywhere(event, line, writes),
            other => self.complain(format!("nobody knows the flow {other}")),
        }
        let over = |row: &&Row| row.wake_at.is_none() || row.kind == "session" && row.phase == "ended";
        if let Some(row) = line.rows.first().filter(over) {
            self.finished.insert(row.id);
            let public: serde_json::Value = serde_json::from_str(&event.public).expect("what is public is JSON");
            let by = public.pointer("/shown/by").and_then(serde_json::Value::as_str).unwrap_or_default();
            self.tally.count(&format!("{} came to be {} {by}", event.kind, event.to));
            if by == "fenced" && !self.chains.get(&event.flow).is_some_and(|chain| chain.is_fenced(self)) {
                self.complain(format!("{} {} ended by a fence that stands, at {}", event.kind, event.flow, event.name));
            }
        }
    }

    /// One user a registration, and none that is not proved.
    fn registration(&mut self, event: &Event, writes: &[(InputId, Write)]) {
        use registration::Outcome;
        let outcome: Outcome = says(event);
        match (&outcome, writes) {
            (Outcome::Verified { user, .. }, [(_, Write::User(UserWrite::Create(new)))]) if new.id == *user => {
                if self.verified.insert(event.flow, *user).is_some() {
                    self.complain(format!("the registration {} made a second user", event.flow));
                }
                self.created(new);
            }
            (Outcome::WrongCode { .. }, counted) => self.missed(event, counted, 1),
            (Outcome::Verified { .. }, _) | (_, [_, ..]) => {
                self.complain(format!("the registration {} said {outcome:?} and wrote {writes:?}", event.flow));
            }
            (Outcome::Awaiting { .. }, []) => self.wrote(event),
            _ => {}
        }
    }

    /// One password a recovery, with the fence moved in the same commit.
    fn recovery(&mut self, event: &Event, line: &Logged, writes: &[(InputId, Write)]) {
        use recovery::Outcome;
        let outcome: Outcome = says(event);
        match (&outcome, writes) {
            (
                Outcome::Done { user, .. },
                [
                    (_, Write::User(UserWrite::SetPassword { user: of, password, .. })),
                    (_, Write::Device(DeviceWrite::ForgetAll { user: whose })),
                ],
            ) if of == user && whose == user => {
                if self.resets.insert(event.flow, (*user, password.clone())).is_some() {
                    self.complain(format!("the recovery {} set a second password", event.flow));
                }
                self.letters_end(event, line, *user);
                self.set(event, line, *user, password);
                self.forgot_devices(event, line, *user);
            }
            // For the address, and for the network that tries to set passwords.
            (Outcome::WrongCode { .. }, counted) => self.missed(event, counted, 2),
            (Outcome::Done { .. }, _) | (_, [_, ..]) => {
                self.complain(format!("the recovery {} said {outcome:?} and wrote {writes:?}", event.flow));
            }
            (Outcome::Awaiting { .. }, []) => self.wrote(event),
            _ => {}
        }
    }

    /// A letter was used up, and with it every other that was sent before to the address that the account has: by the
    /// number of the claim on it.
    fn letters_end(&mut self, event: &Event, line: &Logged, user: UserId) {
        let has = self.users.get(&user).map(|account| Auth::guard(&Key::Address(account.address_key)));
        let by = line.guards.iter().find_map(|guard| match guard {
            Guard::Bump(key, Some(_)) if key.starts_with("address/") => Some(key),
            _ => None,
        });
        if by != has.as_ref() {
            self.complain(format!("the recovery {} counted on {by:?}, and {user:?} has {has:?}", event.flow));
        }
        if let Some(account) = self.users.get_mut(&user) {
            account.number += 1;
        }
    }

    /// A password was set, which moves the fence in the same commit.
    fn set(&mut self, event: &Event, line: &Logged, user: UserId, password: &SealedHash) {
        self.set_password(event, user, password);
        self.fenced(event, line, user);
    }

    fn set_password(&mut self, event: &Event, user: UserId, password: &SealedHash) {
        let (kind, flow) = (&event.kind, event.flow);
        self.changes.insert((flow, user));
        self.changed += 1;
        if let Some(other) = self.passwords.insert(password.as_text().to_owned(), flow) {
            self.complain(format!("{other} and {flow} set one password, typed once"));
        }
        match self.users.get_mut(&user) {
            Some(account) => account.password = password.clone(),
            None => self.complain(format!("{kind} {flow} set the password of nobody")),
        }
    }

    /// Another letter.
    fn wrote(&mut self, event: &Event) {
        if event.name == "resend" {
            self.letters.entry(event.flow).or_default().again += 1;
        } else {
            self.letters.insert(event.flow, Letters::default());
        }
    }

    /// A wrong code costs a try, and while the proof is awaited it is counted in the same commit, so often.
    fn missed(&mut self, event: &Event, writes: &[(InputId, Write)], counts: usize) {
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

    /// The fences that a step held: each at its present number, or the step outlived it.
    fn held(&mut self, event: &Event, line: &Logged) -> Held {
        let mut held = Held { user: None, session: None, devices: None };
        for guard in &line.guards {
            let Guard::Hold(key, number) = guard else { continue };
            if let Some(user) = self.fences.get(key).copied() {
                held.user = Some((user, *number));
                if self.fence(user) != Some(*number) {
                    let present = self.fence(user);
                    self.complain(format!(
                        "{} {} took {} under the fence {number} of {user:?}, which is at {present:?}",
                        event.kind, event.flow, event.name
                    ));
                }
            } else if let Some(user) = self.numbers.get(key).copied() {
                held.devices = Some(user);
                if self.devices(user) != Some(*number) {
                    let present = self.devices(user);
                    self.complain(format!(
                        "{} {} took {} under the number {number} of the devices of {user:?}, which is at {present:?}",
                        event.kind, event.flow, event.name
                    ));
                }
            } else if let Some(session) = key.strip_prefix("session/").and_then(|text| Id::parse("ses", text)) {
                let session = FlowId(session);
                held.session = Some(session);
                if self.finished.contains(&session) || !self.chains.contains_key(&session) {
                    let what = format!("{} {} took {}", event.kind, event.flow, event.name);
                    self.complain(format!("{what} in the session {session}, which is over"));
                }
            }
        }
        held
    }

    fn session(&mut self, event: &Event, line: &Logged, writes: &[(InputId, Write)]) {
        let outcome: session::Outcome = says(event);
        match (&outcome, writes) {
            (
                session::Outcome::PasswordChanged { tokens: Some(tokens), .. },
                [(_, Write::User(UserWrite::SetPassword { user, password, .. }))],
            ) => {
                return self.password_changed(event, line, *user, password, tokens);
            }
            (session::Outcome::Disowned { .. }, [_, ..]) => return self.disowned(event, line, &outcome, writes),
            (session::Outcome::Tokens { user, .. }, writes) if event.name == "sign_in" => {
                self.arrived(event, line, *user, writes);
            }
            (session::Outcome::PasswordChanged { .. }, _) | (_, [_, ..]) => {
                self.complain(format!("the session {} said {outcome:?} and wrote {writes:?}", event.flow));
            }
            _ => {}
        }
        let mut held = self.held(event, line);
        // Where a password was proved, it must be in force still.
        let proves = matches!(event.name.as_str(), "sign_in" | "step_up");
        if held.devices.take().is_some() != (proves && matches!(outcome, session::Outcome::Tokens { .. })) {
            self.complain(format!("the session {} took {} and held {:?}", event.flow, event.name, line.guards));
        }
        match outcome {
            session::Outcome::Tokens { user, issue, minted, expires_at, .. } => {
                let handed = IssuedTokens { issue, minted };
                if event.name == "step_up"
                    && let Some(chain) = self.chains.get_mut(&event.flow)
                {
                    chain.proved.insert(handed.issue.n);
                }
                if event.name == "sign_in" {
                    let fence = held.user.map_or(-1, |(_, number)| number);
                    let chain = Chain { user: Some(user), fence, ..Chain::default() };
                    self.chains.insert(event.flow, chain);
                }
                self.hand(event, &held, user, handed, expires_at);
            }
            session::Outcome::Seen { expires_at } => match self.chains.get_mut(&event.flow) {
                Some(chain) if held == chain.own() => chain.expires_at = Some(expires_at),
                chain => {
                    let what = format!("{chain:?} of {} was carried on under {held:?}", event.flow);
                    self.complain(what);
                }
            },
            session::Outcome::Ended | session::Outcome::PasswordChanged { .. } | session::Outcome::Disowned { .. } => {}
            session::Outcome::Refused
            | session::Outcome::Garbage
            | session::Outcome::Moved
            | session::Outcome::UsedUp => {
                self.complain(format!("the session {} moved, and said {outcome:?}", event.flow));
            }
        }
    }

    /// What a sign-in writes: that it is the first, with which device it was, and that a deletion is called off.
    fn arrived(&mut self, event: &Event, line: &Logged, user: UserId, writes: &[(InputId, Write)]) {
        for (_, write) in writes {
            match write {
                Write::User(UserWrite::FirstSignIn { user: of, .. }) if *of == user => {
                    if let Some(account) = self.users.get_mut(&user) {
                        account.signed_in = true;
                    }
                }
                Write::Device(DeviceWrite::Add { user: of, .. }) | Write::Device(DeviceWrite::See { user: of, .. })
                    if *of == user => {}
                Write::User(UserWrite::SetDeletion { user: of, flow: None, .. }) if *of == user => {
                    self.tally.count("a sign-in called a deletion off");
                    self.came_back += 1;
                    match self.users.get_mut(&user).and_then(|account| account.deletion.take()) {
                        Some(deletion) => drop(self.called_off.insert(deletion)),
                        None => self.complain(format!("{} called off what does not wait for {user:?}", event.flow)),
                    }
                    self.profiled(event, line, user);
                }
                other => self.complain(format!("the session {} began and wrote {other:?}", event.flow)),
            }
        }
    }

    /// The link of a new-device letter was used: the password is out of force, or a new one is set, by this link once.
    fn disowned(&mut self, event: &Event, line: &Logged, outcome: &session::Outcome, writes: &[(InputId, Write)]) {
        let used = self.disowned.get(&event.flow).copied();
        let (user, sets) = match writes {
            [
                (_, Write::Device(DeviceWrite::ForgetAll { user })),
                (_, Write::User(UserWrite::SuspendPassword { user: of, .. })),
            ] if user == of => (*user, false),
            [
                (_, Write::Device(DeviceWrite::ForgetAll { user })),
                (_, Write::User(UserWrite::SetPassword { user: of, password, .. })),
            ] if user == of => {
                self.set_password(event, *user, password);
                (*user, true)
            }
            _ => return self.complain(format!("{} was disowned and wrote {writes:?}", event.flow)),
        };
        let right = match used {
            None => true,
            Some(left) => sets && left.is_some() && left == self.devices(user),
        };
        if !right || *outcome != (session::Outcome::Disowned { password_set: sets }) {
            self.complain(format!("{} was disowned after {used:?}, said {outcome:?} and wrote {writes:?}", event.flow));
        }
        self.forgot_devices(event, line, user);
        let left = self.devices(user).filter(|_| !sets);
        self.disowned.insert(event.flow, left);
    }

    /// A new password by a session that stays: it takes the fence's new number, and nothing else does. What came before
    /// is worthless to it.
    fn password_changed(
        &mut self,
        event: &Event,
        line: &Logged,
        user: UserId,
        password: &SealedHash,
        tokens: &session::Outcome,
    ) {
        let mut held = self.held(event, line);
        if held.devices.take() != Some(user) {
            self.complain(format!("{} set a password that was proved, and held {:?}", event.flow, line.guards));
        }
        let before = self.fence(user);
        self.set(event, line, user, password);
        let after = self.fence(user);
        match self.chains.get_mut(&event.flow) {
            Some(chain) if chain.user == Some(user) && Some(chain.fence) == before => {
                chain.fence = after.unwrap_or(chain.fence);
            }
            chain => {
                let what = format!("{chain:?} of {} set a password under the fence {before:?}", event.flow);
                self.complain(what);
            }
        }
        let session::Outcome::Tokens { user: of, issue, minted, expires_at, .. } = tokens else {
            return self.complain(format!("{} set a password and gave {tokens:?}", event.flow));
        };
        let handed = IssuedTokens { issue: issue.clone(), minted: minted.clone() };
        if let Some(chain) = self.chains.get_mut(&event.flow) {
            let same_salt = chain.handed.last().is_some_and(|last| last.issue.salt == handed.issue.salt);
            chain.salted = handed.issue.n;
            let own = chain.own();
            if same_salt {
                self.complain(format!("{} set a password and kept its salt", event.flow));
            }
            self.hand(event, &own, *of, handed, *expires_at);
        }
    }

    fn authorization(&mut self, event: &Event, line: &Logged) {
        use authorization::Outcome;
        let outcome: Outcome = says(event);
        let held = self.held(event, line);
        let public: serde_json::Value = serde_json::from_str(&event.public).expect("what is public is JSON");
        let scope = public.pointer("/shown/scope").and_then(serde_json::Value::as_str).unwrap_or_default();
        let offline = scope.split(' ').any(|word| word == OFFLINE_ACCESS);
        match outcome {
            Outcome::Requested { .. } | Outcome::DeviceRequested { .. } => {
                self.chains.insert(event.flow, Chain::default());
            }
            Outcome::SignedIn { .. } => {
                let (Some((user, fence)), Some(session)) = (held.user, held.session) else {
                    return self.complain(format!("the grant {} took a sign-in without its fences", event.flow));
                };
                let of_session = self.chains.get(&session).map(|chain| (chain.user, chain.fence));
                if of_session != Some((Some(user), fence)) {
                    self.complain(format!("the grant {} is {user:?}'s, in the session of another", event.flow));
                }
                let chain = Chain { user: Some(user), fence, session: Some(session), ..Chain::default() };
                self.chains.insert(event.flow, chain);
            }
            Outcome::CodeIssued { .. } | Outcome::DeviceApproved => {
                let chain = self.chains.entry(event.flow).or_default();
                let own = chain.own();
                if offline {
                    chain.session = None;
                }
                if held != own {
                    self.complain(format!("the grant {} was consented to under {held:?}, not {own:?}", event.flow));
                }
            }
            Outcome::Tokens(tokens) => {
                let first = matches!(event.name.as_str(), "exchange" | "poll");
                let known = self.chains.get(&event.flow).map_or(0, |chain| chain.handed.len());
                if first != (known == 0) {
                    self.complain(format!("the grant {} gave tokens for {} after {known}", event.flow, event.name));
                }
                let authorization::Tokens { user, issue, minted, expires_at, .. } = *tokens;
                self.hand(event, &held, user, IssuedTokens { issue, minted }, expires_at);
            }
            Outcome::Ended { .. } | Outcome::Denied { .. } | Outcome::SlowDown { .. } => {}
            other => self.complain(format!("the grant {} moved, and said {other:?}", event.flow)),
        }
    }

    /// Tokens were handed out: by the right fences, of the next generation, from one chain that never forks.
    fn hand(&mut self, event: &Event, held: &Held, user: UserId, handed: IssuedTokens, expires_at: Timestamp) {
        let must_rotate = event.kind == "session";
        let what = format!("{} {}", event.kind, event.flow);
        let mut wrong = Vec::new();
        match self.chains.get_mut(&event.flow) {
            None => wrong.push(format!("{what} gave tokens and was never begun")),
            Some(chain) => {
                if chain.user != Some(user) || *held != chain.own() {
                    wrong.push(format!("{what} gave {user:?} tokens under {held:?}, and began under {chain:?}"));
                }
                let next = u32::try_from(chain.handed.len()).unwrap_or(u32::MAX);
                if handed.minted.generation != next {
                    wrong.push(format!("{what} gave generation {} where {next} follows", handed.minted.generation));
                }
                let rotated = chain.handed.last().is_some_and(|before| before.issue.n != handed.issue.n);
                let steps = handed.issue.n == if must_rotate || rotated { next } else { 0 };
                if !steps {
                    wrong.push(format!("{what} gave {:?} as number {next}", handed.issue));
                }
                chain.handed.push(handed);
                chain.expires_at = Some(expires_at);
            }
        }
        wrong.into_iter().for_each(|what| self.complain(what));
    }

    /// Why whoever asks this flow from now on must get no tokens; `presented` is the generation of the refresh token shown.
    pub(super) fn doom(&self, flow: FlowId, presented: Option<u32>) -> Option<String> {
        let chain = self.chains.get(&flow)?;
        let present = chain.user.and_then(|user| self.fence(user));
        if self.is_finished(flow) {
            return Some("it had ended".to_owned());
        }
        if chain.user.is_some() && present != Some(chain.fence) {
            return Some(format!("it began under the fence {}, which was at {present:?}", chain.fence));
        }
        if chain.session.is_some_and(|session| self.is_finished(session)) {
            return Some("its session had ended".to_owned());
        }
        let last = chain.handed.last().map_or(0, |handed| handed.issue.n);
        let wrong = |n: u32| n + 1 < last || n + 1 == last && chain.proved.contains(&last) || n < chain.salted;
        presented.filter(|n| wrong(*n)).map(|n| format!("{n} was shown when {last} was the present one"))
    }

    /// What is wrong with tokens that somebody was told: whoever gets them gets what history says of their generation.
    pub(super) fn contradicts(&self, flow: FlowId, told: &IssuedTokens) -> Option<String> {
        let generation = usize::try_from(told.minted.generation).unwrap_or(usize::MAX);
        let known = self.chains.get(&flow).and_then(|chain| chain.handed.get(generation));
        (known != Some(told)).then(|| format!("{flow} told {told:?}, and gave {known:?} before"))
    }

    pub(super) fn count(&self, kind: &str, outcome: &dyn std::fmt::Debug) {
        self.tally.count(&format!("{kind} told {}", word(outcome)));
    }
}
