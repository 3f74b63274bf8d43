//! What becomes of accounts: addresses that are changed and taken back, names that are edited, deletions that wait, are
//! called off or delete; and which addresses are claimed for whom meanwhile.

use cairn_actors::acts::profile::Edited;
use cairn_actors::effects::{Auth, DeviceWrite, Key, NewUser, UserWrite, Write};
use cairn_actors::flows::{deletion, email_change};
use cairn_actors::identity::address::Address;
use cairn_actors::identity::user_id::UserId;
use cairn_actors::secrets::digest::Digest;
use cairn_actors::secrets::hasher::SealedHash;
use cairn_runtime::store::Event;
use cairn_runtime::testing::store::Logged;
use cairn_runtime::{Domain, FlowId, Guard, InputId, Timestamp};

use super::{Ledger, says};

/// A user, as the writes left them.
#[derive(Debug)]
pub(in super::super) struct Account {
    pub(in super::super) address: Address,
    pub(in super::super) address_key: Digest,
    /// How often the claim on the address has counted on since somebody had it anew.
    pub(in super::super) number: i64,
    pub(in super::super) username: Option<String>,
    pub(in super::super) password: SealedHash,
    pub(in super::super) fence: i64,
    pub(in super::super) profile: i64,
    /// The number of what is known from before: devices, places, proofs of the password that are on their way.
    pub(in super::super) devices: i64,
    pub(in super::super) signed_in: bool,
    /// The deletion that waits.
    pub(in super::super) deletion: Option<FlowId>,
}

/// How a change of address stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Stage {
    /// It can be taken back: the address from before is kept for that.
    Standing,
    /// It was taken back, and keeps what it had taken for a while.
    Undone,
    /// An earlier one was taken back, and this with it: whether or not it has heard of that, it keeps what it had taken
    /// for a while.
    Overtaken,
    /// It keeps nothing.
    Over,
}

/// A change of address that was proved.
#[derive(Debug)]
pub(in super::super) struct Move {
    pub(in super::super) user: UserId,
    pub(in super::super) before: Address,
    pub(in super::super) after: Address,
    /// The number of the claim on the address from before.
    pub(in super::super) number: i64,
    pub(in super::super) until: Timestamp,
    pub(in super::super) stage: Stage,
    /// Its place among all commits.
    place: usize,
}

type Writes<'a> = &'a [(InputId, Write)];

impl Ledger {
    pub(super) fn created(&mut self, new: &NewUser) {
        let NewUser { id, address, address_key, username, password, .. } = new;
        let username = username.as_ref().map(ToString::to_string);
        self.gets_address(*id, address, *address_key);
        self.gets_username(*id, username.as_deref());
        let account = Account {
            address: address.clone(),
            address_key: *address_key,
            number: 0,
            username,
            password: password.clone(),
            fence: 0,
            profile: 0,
            devices: 0,
            signed_in: false,
            deletion: None,
        };
        if self.users.insert(*id, account).is_some() || self.gone.contains_key(id) {
            self.complain(format!("{id:?} came to be twice"));
        }
        self.fences.insert(Auth::guard(&Key::User(*id)), *id);
        self.numbers.insert(Auth::guard(&Key::Devices(*id)), *id);
    }

    fn gets_address(&mut self, user: UserId, address: &Address, address_key: Digest) {
        if address_key != self.environment.address_key(address) {
            self.complain(format!("{user:?} is found by another address than theirs"));
        }
        if let Some(other) = self.by_address.insert(address_key, user) {
            self.complain(format!("{other:?} and {user:?} have one verified address"));
        }
        self.had.entry(address_key).or_default().insert(user);
    }

    fn gets_username(&mut self, user: UserId, username: Option<&str>) {
        if let Some(name) = username
            && let Some(other) = self.by_username.insert(name.to_owned(), user)
        {
            self.complain(format!("{other:?} and {user:?} are both called {name}"));
        }
    }

    /// A step raised the fence of a user: whatever was begun before is over.
    pub(super) fn fenced(&mut self, event: &Event, line: &Logged, user: UserId) {
        self.raised(event, line, &Key::User(user), "fence");
        if let Some(account) = self.users.get_mut(&user) {
            account.fence += 1;
        }
    }

    /// A step raised the number of what was known of a user from before.
    pub(super) fn forgot_devices(&mut self, event: &Event, line: &Logged, user: UserId) {
        self.raised(event, line, &Key::Devices(user), "number of the devices");
        if let Some(account) = self.users.get_mut(&user) {
            account.devices += 1;
        }
    }

    /// A step changed what is kept about a user.
    pub(super) fn profiled(&mut self, event: &Event, line: &Logged, user: UserId) {
        self.raised(event, line, &Key::Profile(user), "profile");
        if let Some(account) = self.users.get_mut(&user) {
            account.profile += 1;
        }
    }

    fn raised(&mut self, event: &Event, line: &Logged, key: &Key, what: &str) {
        let guard = Auth::guard(key);
        if !line.guards.iter().any(|raised| matches!(raised, Guard::Bump(key, _) if *key == guard)) {
            let Event { kind, flow, name, .. } = event;
            self.complain(format!("{kind} {flow} took {name} and left the {what} {guard} where it was"));
        }
    }

    /// Somebody's address is another from now on; `None`: nobody's is.
    fn moves_to(&mut self, user: UserId, address: &Address, address_key: Digest, number: i64) -> Option<Address> {
        let account = self.users.get(&user)?;
        if self.by_address.get(&account.address_key) == Some(&user) {
            let left = account.address_key;
            self.by_address.remove(&left);
        }
        self.gets_address(user, address, address_key);
        let account = self.users.get_mut(&user)?;
        account.address_key = address_key;
        account.number = number;
        Some(std::mem::replace(&mut account.address, address.clone()))
    }

    /// One change a flow, under the fence it was asked for under; taken back, it and all that came after it are over.
    pub(super) fn email_change(&mut self, event: &Event, line: &Logged, writes: Writes<'_>) {
        use email_change::Outcome;
        let outcome: Outcome = says(event);
        let held = self.held(event, line);
        let flow = event.flow;
        let is_over = line.rows.first().is_some_and(|row| row.wake_at.is_none());
        match (event.name.as_str(), &outcome, writes) {
            ("change_email" | "resend", Outcome::Awaiting { .. }, []) => {
                self.asked_for.insert(flow);
                self.wrote(event);
            }
            ("enter", Outcome::WrongCode { .. }, counted) => self.missed(event, counted, 1),
            ("enter" | "open", Outcome::AddressTaken, []) => {}
            (
                "enter" | "open",
                Outcome::Changed { user, until },
                [(_, Write::User(UserWrite::SetAddress { user: of, address, address_key, .. }))],
            ) if user == of => {
                if held.user.map(|(user, _)| user) != Some(*user) {
                    self.complain(format!("email_change {flow} changed the address of {user:?} without their fence"));
                }
                self.changed_address(event, line, (*user, *until), (address, *address_key));
            }
            (
                "undo",
                Outcome::Undone { user, until },
                [
                    // The password from before may be the thief's.
                    (_, Write::User(UserWrite::SuspendPassword { user: suspended, .. })),
                    (_, Write::Device(DeviceWrite::ForgetAll { user: whose })),
                    (_, Write::User(UserWrite::SetDeletion { user: for_whom, flow: None, .. })),
                    (_, Write::User(UserWrite::SetAddress { user: of, address_key, .. })),
                ],
            ) if [of, for_whom, whose, suspended].iter().all(|one| *one == user) => {
                self.took_back(event, line, (*user, *until), *address_key)
            }
            ("enter" | "open", Outcome::Over, []) => {}
            ("undo", Outcome::Over, []) => {
                let owed = self
                    .moves
                    .get(&flow)
                    .is_some_and(|change| change.stage == Stage::Standing && self.users.contains_key(&change.user));
                if owed {
                    self.complain(format!("email_change {flow} could be taken back, and was not"));
                }
            }
            ("undone", Outcome::Over, []) => {
                if self.moves.get(&flow).is_none_or(|change| change.stage == Stage::Standing) {
                    self.complain(format!("email_change {flow} was told that an earlier one was taken back"));
                }
            }
            ("replaced", Outcome::Over, []) if !self.moves.contains_key(&flow) => {
                self.tally.count("a change of address replaced one that waited");
            }
            ("woken", Outcome::Over, []) => {}
            (name, ..) => {
                self.complain(format!("email_change {flow} took {name}, said {outcome:?} and wrote {writes:?}"));
            }
        }
        if is_over {
            self.gives_back(flow);
        }
    }

    fn changed_address(
        &mut self,
        event: &Event,
        line: &Logged,
        (user, until): (UserId, Timestamp),
        (after, after_key): (&Address, Digest),
    ) {
        let number = self.users.get(&user).map_or(0, |account| account.number);
        let Some(before) = self.moves_to(user, after, after_key, 0) else {
            return self.complain(format!("email_change {} changed the address of nobody", event.flow));
        };
        let (stage, place) = (Stage::Standing, self.lines);
        let change = Move { user, before, after: after.clone(), number: number + 1, until, stage, place };
        if self.moves.insert(event.flow, change).is_some() {
            self.complain(format!("email_change {} changed the address a second time", event.flow));
        }
        self.profiled(event, line, user);
    }

    fn took_back(&mut self, event: &Event, line: &Logged, (user, until): (UserId, Timestamp), to: Digest) {
        let flow = event.flow;
        let Some(change) = self.moves.get_mut(&flow).filter(|change| change.user == user) else {
            return self.complain(format!("email_change {flow} took back what it had not changed"));
        };
        let stage = std::mem::replace(&mut change.stage, Stage::Undone);
        change.until = until;
        let (before, number, place) = (change.before.clone(), change.number, change.place);
        if stage != Stage::Standing {
            self.complain(format!("email_change {flow} took a change back that was {stage:?} by then"));
        }
        if to != self.environment.address_key(&before) {
            self.complain(format!("email_change {flow} took back to another address than the one from before"));
        }
        let mut later = 0;
        for change in self.moves.values_mut() {
            if change.user == user && change.place > place && change.stage == Stage::Standing {
                change.stage = Stage::Overtaken;
                later += 1;
            }
        }
        if later > 0 {
            self.tally.count("an undo took later changes back with it");
        }
        if self.moves_to(user, &before, to, number + 1).is_none() {
            self.complain(format!("email_change {flow} took back the address of nobody"));
        }
        self.fenced(event, line, user);
        self.forgot_devices(event, line, user);
        self.profiled(event, line, user);
        let deletion = self.users.get_mut(&user).and_then(|account| account.deletion.take());
        if let Some(deletion) = deletion {
            self.tally.count("an undo called a deletion off");
            self.called_off.insert(deletion);
        }
    }

    /// A change of address is over, and what it kept goes to whoever may want it.
    fn gives_back(&mut self, flow: FlowId) {
        let Some(change) = self.moves.get_mut(&flow) else { return };
        let freed = match std::mem::replace(&mut change.stage, Stage::Over) {
            Stage::Standing => change.before.clone(),
            Stage::Undone | Stage::Overtaken => change.after.clone(),
            Stage::Over => return,
        };
        self.freed.push(freed);
    }

    /// It waits, and then it deletes, unless it was called off.
    pub(super) fn deletion(&mut self, event: &Event, line: &Logged, writes: Writes<'_>) {
        use deletion::Outcome;
        let outcome: Outcome = says(event);
        let flow = event.flow;
        match (event.name.as_str(), &outcome, writes) {
            (
                "delete",
                Outcome::Waiting { .. },
                [(_, Write::User(UserWrite::SetDeletion { user, flow: Some(of), .. }))],
            ) if *of == flow => {
                self.deletions.insert(flow, *user);
                let before = self.users.get_mut(user).map(|account| account.deletion.replace(flow));
                if before != Some(None) {
                    self.complain(format!("deletion {flow} of {user:?} began where {before:?} waited"));
                }
                self.fenced(event, line, *user);
                self.profiled(event, line, *user);
            }
            // A sign-in has called it off, or a change of address that was taken back.
            ("restored" | "woken", Outcome::Restored, []) => {
                if !self.called_off.contains(&flow) {
                    self.complain(format!("deletion {flow} ended at {}, and nobody called it off", event.name));
                }
            }
            ("woken", Outcome::Over, [(_, Write::User(UserWrite::Delete { user }))]) => {
                self.profiled(event, line, *user);
                self.deleted(flow, *user);
            }
            (name, ..) => {
                self.complain(format!("deletion {flow} took {name}, said {outcome:?} and wrote {writes:?}"));
            }
        }
    }

    fn deleted(&mut self, flow: FlowId, user: UserId) {
        if self.deletions.get(&flow) != Some(&user) || self.called_off.contains(&flow) {
            self.complain(format!("deletion {flow} deleted {user:?}, who was to stay"));
        }
        let Some(account) = self.users.remove(&user) else {
            return self.complain(format!("deletion {flow} deleted {user:?}, who was nobody"));
        };
        if account.deletion != Some(flow) {
            self.complain(format!("deletion {flow} deleted {user:?}, for whom {:?} waited", account.deletion));
        }
        self.by_address.remove(&account.address_key);
        if let Some(name) = &account.username {
            self.by_username.remove(name);
        }
        self.freed.push(account.address.clone());
        self.gone.insert(user, account);
    }

    /// Names become others, on the profile that somebody had read, under their fence.
    pub(super) fn edited(&mut self, event: &Event, line: &Logged, writes: Writes<'_>) {
        let held = self.held(event, line);
        let outcome: Edited = says(event);
        let (Edited::Done, [(_, Write::User(UserWrite::SetProfile { user, username, .. }))]) = (outcome, writes) else {
            return self.complain(format!("an edit said {outcome:?} and wrote {writes:?}"));
        };
        if held.user.map(|(user, _)| user) != Some(*user) {
            self.complain(format!("the names of {user:?} were edited without their fence"));
        }
        let username = username.as_ref().map(ToString::to_string);
        let Some(account) = self.users.get_mut(user) else {
            return self.complain(format!("the names of {user:?} were edited, who is nobody"));
        };
        let before = std::mem::replace(&mut account.username, username.clone());
        if let Some(before) = before {
            self.by_username.remove(&before);
        }
        self.gets_username(*user, username.as_deref());
        self.profiled(event, line, *user);
    }

    /// All sessions of a user end by their fence.
    pub(super) fn signed_out_everywhere(&mut self, event: &Event, line: &Logged, writes: Writes<'_>) {
        let raised = line.guards.iter().find_map(|guard| match guard {
            Guard::Bump(key, _) => self.fences.get(key).copied(),
            _ => None,
        });
        match (raised, writes) {
            (Some(user), [(_, Write::Device(DeviceWrite::ForgetAll { user: whose }))]) if user == *whose => {
                self.fenced(event, line, user);
                self.forgot_devices(event, line, user);
            }
            _ => self.complain(format!("{} raised no fence and wrote {writes:?}", event.kind)),
        }
    }

    /// Whether a change can be taken back, and nobody has changed the address since.
    pub(in super::super) fn is_last(&self, flow: FlowId) -> bool {
        self.moves.get(&flow).is_some_and(|change| {
            let mut others = self.moves.values().filter(|other| other.user == change.user);
            change.stage == Stage::Standing && others.all(|other| other.place <= change.place)
        })
    }

    /// How often what is kept about a user was changed; of one who is gone, how often it had been.
    pub(in super::super) fn profile(&self, user: UserId) -> Option<i64> {
        self.users.get(&user).or_else(|| self.gone.get(&user)).map(|account| account.profile)
    }

    /// How many addresses anybody ever had.
    pub(in super::super) fn addresses(&self) -> u64 {
        self.had.len() as u64
    }
}
