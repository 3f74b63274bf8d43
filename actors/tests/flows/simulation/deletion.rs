//! People who have their accounts deleted. Some come back before it is too late, by a sign-in or by taking a change of
//! address back.

use std::collections::BTreeMap;

use cairn_actors::effects::{Auth, Key, UserWrite, Write};
use cairn_actors::flows::deletion::{Deletion, Outcome, Start};
use cairn_actors::identity::user_id::UserId;
use cairn_actors::letters::Letter;
use cairn_actors::testing;
use cairn_runtime::store::Row;
use cairn_runtime::testing::simulation::{Desk, Heard, Order, Told};
use cairn_runtime::{Flow, FlowId};

use super::flow::{Plan, Reading, SimulatedFlow, Step};
use super::ledger::Ledger;
use super::people::{Common, number};
use super::rows::View;

#[derive(Default)]
pub(super) struct Deletions {
    /// Whose deletion it is.
    of: BTreeMap<FlowId, UserId>,
}

/// That an account be deleted.
#[derive(Debug)]
pub(super) struct Asked {
    user: UserId,
    fence: i64,
    profile: i64,
}

impl SimulatedFlow for Deletions {
    const NAME: &'static str = Deletion::NAME;
    const WAYS: &'static [&'static str] = &["told Waiting", "told Moved", "came to be done", "came to be ended"];
    type Asked = Asked;

    fn plan(&mut self, common: &mut Common, desk: &mut Desk<'_, Auth>) -> Option<Plan<Asked>> {
        let (user, fence) = common.signed_in(desk)?;
        let profile = desk.store.inspect(|tables| number(tables, &Key::Profile(user)))?;
        let devices = desk.store.inspect(|tables| number(tables, &Key::Devices(user)))?;
        let account = common.ledger.users.get(&user)?;
        let (address, username) = (account.address.clone(), account.username.as_deref().map(testing::username));
        let sessions = common.some_sessions_of(user, desk.rng);
        let order = Order::start::<Deletion>("delete", move || Start {
            user,
            fence,
            devices,
            profile,
            address: address.clone(),
            username: username.clone(),
            followers: testing::following(sessions.clone()),
        });
        Some(Plan::hashed(Asked { user, fence, profile }, order, desk.rng))
    }

    fn doom(&self, common: &Common, asked: &Asked) -> Option<String> {
        let Asked { user, fence, profile } = asked;
        let present = (common.ledger.fence(*user), common.ledger.profile(*user));
        let moved = present != (Some(*fence), Some(*profile));
        moved.then(|| format!("fence and profile were read at {fence} and {profile}, and were at {present:?}"))
    }

    fn hear(&mut self, common: &mut Common, asked: &Asked, told: &Told, doom: Option<String>) -> Result<Heard, String> {
        let outcome: Outcome = told.says().ok_or("these are not its words")?;
        common.ledger.count(Self::NAME, &outcome);
        match (outcome, doom) {
            (Outcome::Waiting { .. }, Some(why)) => Err(why),
            (Outcome::Waiting { .. }, None) if self.of.get(&told.flow) == Some(&asked.user) => Ok(Heard::Moved),
            (Outcome::Waiting { .. }, None) => Err("nothing waits".to_owned()),
            (Outcome::Moved, _) => Ok(Heard::Anything),
            _ => Err("that answers another question".to_owned()),
        }
    }

    /// It waits, and then it deletes, unless it was called off.
    fn committed(&mut self, ledger: &mut Ledger, step: &Step<'_>) {
        let (flow, name) = (step.event.flow, step.event.name.as_str());
        let outcome: Outcome = step.says();
        match (name, &outcome, step.writes) {
            (
                "delete",
                Outcome::Waiting { .. },
                [(_, Write::User(UserWrite::SetDeletion { user, flow: Some(of), .. }))],
            ) if *of == flow => {
                self.of.insert(flow, *user);
                let before = ledger.users.get_mut(user).map(|account| account.deletion.replace(flow));
                if before != Some(None) {
                    ledger.complain(format!("deletion {flow} of {user:?} began where {before:?} waited"));
                }
                ledger.fenced(step, *user);
                ledger.profiled(step, *user);
            }
            // A sign-in has called it off, or a change of address that was taken back.
            ("restored" | "woken", Outcome::Restored, []) => {
                if !ledger.called_off.contains(&flow) {
                    ledger.complain(format!("deletion {flow} ended at {name}, and nobody called it off"));
                }
            }
            ("woken", Outcome::Over, [(_, Write::User(UserWrite::Delete { user }))]) => {
                ledger.profiled(step, *user);
                self.deleted(ledger, flow, *user);
            }
            (name, _, writes) => {
                ledger.complain(format!("deletion {flow} took {name}, said {outcome:?} and wrote {writes:?}"));
            }
        }
    }

    fn letter(&self, ledger: &Ledger, letter: &Letter, flow: FlowId) -> Option<Reading> {
        let Letter::DeletionAsked { to, .. } = letter else { return None };
        Some(Reading::plain(self.of.get(&flow).is_some_and(|user| ledger.owners(to).contains(user))))
    }

    fn letters_due(&self) -> Vec<(&'static str, usize)> {
        vec![("deletion.asked", self.of.len())]
    }

    fn row(&self, view: &mut View<'_>, row: &Row) {
        let state = view.read(row, |state: &Deletion| !matches!(state, Deletion::Waiting(_)));
        let user = state.user();
        let ledger = view.ledger;
        let waits = ledger.users.get(&user).is_some_and(|account| account.deletion == Some(row.id));
        let by = ledger.gone.get(&user).and_then(|account| account.deletion);
        let off = ledger.called_off.contains(&row.id);
        let right = match &state {
            Deletion::Waiting(_) => waits || off,
            Deletion::Restored { .. } => off,
            Deletion::Done { .. } => by == Some(row.id),
        };
        if !right || self.of.get(&row.id) != Some(&user) {
            view.complain(format!("the deletion {} of {user:?} is {}, off {off}, by {by:?}", row.id, row.phase));
        }
    }
}

impl Deletions {
    fn deleted(&self, ledger: &mut Ledger, flow: FlowId, user: UserId) {
        if self.of.get(&flow) != Some(&user) || ledger.called_off.contains(&flow) {
            ledger.complain(format!("deletion {flow} deleted {user:?}, who was to stay"));
        }
        let Some(account) = ledger.users.remove(&user) else {
            return ledger.complain(format!("deletion {flow} deleted {user:?}, who was nobody"));
        };
        if account.deletion != Some(flow) {
            ledger.complain(format!("deletion {flow} deleted {user:?}, for whom {:?} waited", account.deletion));
        }
        ledger.by_address.remove(&account.address_key);
        if let Some(name) = &account.username {
            ledger.by_username.remove(name);
        }
        ledger.freed.push(account.address.clone());
        ledger.gone.insert(user, account);
    }
}
