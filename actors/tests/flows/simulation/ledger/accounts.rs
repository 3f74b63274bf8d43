//! Accounts as the writes left them: who has which address and name, and how far each of their numbers has come.

use std::collections::BTreeSet;

use cairn_actors::effects::{Auth, Key, NewUser};
use cairn_actors::identity::address::Address;
use cairn_actors::identity::user_id::UserId;
use cairn_actors::secrets::digest::Digest;
use cairn_actors::secrets::hasher::SealedHash;
use cairn_runtime::store::Event;
use cairn_runtime::{Domain, FlowId, Guard};

use super::Ledger;
use crate::simulation::flow::Step;

/// A user, as the writes left them.
#[derive(Debug)]
pub(in crate::simulation) struct Account {
    pub(in crate::simulation) address: Address,
    pub(in crate::simulation) address_key: Digest,
    /// How often the claim on the address has counted on since somebody had it anew.
    pub(in crate::simulation) number: i64,
    pub(in crate::simulation) username: Option<String>,
    pub(in crate::simulation) password: SealedHash,
    pub(in crate::simulation) fence: i64,
    pub(in crate::simulation) profile: i64,
    /// The number of what is known from before: devices, places, proofs of the password that are on their way.
    pub(in crate::simulation) devices: i64,
    pub(in crate::simulation) signed_in: bool,
    /// The deletion that waits.
    pub(in crate::simulation) deletion: Option<FlowId>,
}

impl Ledger {
    /// The present number of a user's fence.
    pub(in crate::simulation) fn fence(&self, user: UserId) -> Option<i64> {
        self.users.get(&user).map(|account| account.fence)
    }

    /// The present number of what is known of a user from before.
    pub(in crate::simulation) fn devices(&self, user: UserId) -> Option<i64> {
        self.users.get(&user).map(|account| account.devices)
    }

    /// How often what is kept about a user was changed; of one who is gone, how often it had been.
    pub(in crate::simulation) fn profile(&self, user: UserId) -> Option<i64> {
        self.users.get(&user).or_else(|| self.gone.get(&user)).map(|account| account.profile)
    }

    /// How many addresses anybody ever had.
    pub(in crate::simulation) fn addresses(&self) -> u64 {
        self.had.len() as u64
    }

    pub(in crate::simulation) fn created(&mut self, new: &NewUser) {
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

    pub(in crate::simulation) fn gets_address(&mut self, user: UserId, address: &Address, address_key: Digest) {
        if address_key != self.environment.address_key(address) {
            self.complain(format!("{user:?} is found by another address than theirs"));
        }
        if let Some(other) = self.by_address.insert(address_key, user) {
            self.complain(format!("{other:?} and {user:?} have one verified address"));
        }
        self.had.entry(address_key).or_default().insert(user);
    }

    pub(in crate::simulation) fn gets_username(&mut self, user: UserId, username: Option<&str>) {
        if let Some(name) = username
            && let Some(other) = self.by_username.insert(name.to_owned(), user)
        {
            self.complain(format!("{other:?} and {user:?} are both called {name}"));
        }
    }

    /// A password was set, which moves the fence in the same commit.
    pub(in crate::simulation) fn set_password(&mut self, step: &Step<'_>, user: UserId, password: &SealedHash) {
        self.set_password_alone(step, user, password);
        self.fenced(step, user);
    }

    pub(in crate::simulation) fn set_password_alone(&mut self, step: &Step<'_>, user: UserId, password: &SealedHash) {
        let (kind, flow) = (&step.event.kind, step.event.flow);
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

    /// A step raised the fence of a user: whatever was begun before is over.
    pub(in crate::simulation) fn fenced(&mut self, step: &Step<'_>, user: UserId) {
        self.raised(step, &Key::User(user), "fence");
        if let Some(account) = self.users.get_mut(&user) {
            account.fence += 1;
        }
    }

    /// A step raised the number of what was known of a user from before.
    pub(in crate::simulation) fn forgot_devices(&mut self, step: &Step<'_>, user: UserId) {
        self.raised(step, &Key::Devices(user), "number of the devices");
        if let Some(account) = self.users.get_mut(&user) {
            account.devices += 1;
        }
    }

    /// A step changed what is kept about a user.
    pub(in crate::simulation) fn profiled(&mut self, step: &Step<'_>, user: UserId) {
        self.raised(step, &Key::Profile(user), "profile");
        if let Some(account) = self.users.get_mut(&user) {
            account.profile += 1;
        }
    }

    pub(in crate::simulation) fn raised(&mut self, step: &Step<'_>, key: &Key, what: &str) {
        let guard = Auth::guard(key);
        if !step.line.guards.iter().any(|raised| matches!(raised, Guard::Bump(key, _) if *key == guard)) {
            let Event { kind, flow, name, .. } = step.event;
            self.complain(format!("{kind} {flow} took {name} and left the {what} {guard} where it was"));
        }
    }

    /// Somebody's address is another from now on; `None`: nobody's is.
    pub(in crate::simulation) fn moves_to(
        &mut self,
        user: UserId,
        address: &Address,
        address_key: Digest,
        number: i64,
    ) -> Option<Address> {
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

    /// Whose fence this is.
    pub(in crate::simulation) fn fenced_by(&self, guard: &str) -> Option<UserId> {
        self.fences.get(guard).copied()
    }

    /// Whose address this is or has been.
    pub(in crate::simulation) fn owners(&self, address: &Address) -> BTreeSet<UserId> {
        self.had.get(&self.environment.address_key(address)).cloned().unwrap_or_default()
    }

    /// Whether a step of this flow set the password of somebody who has or had this address.
    pub(in crate::simulation) fn set_password_of(&self, flow: FlowId, address: &Address) -> bool {
        self.owners(address).into_iter().any(|owner| self.changes.contains(&(flow, owner)))
    }
}
