//! People who have their accounts deleted, and some who come back before it is too late.

use cairn_actors::effects::{Auth, Key};
use cairn_actors::flows::deletion::{Deletion, Outcome, Start};
use cairn_actors::identity::user_id::UserId;
use cairn_actors::testing;
use cairn_runtime::testing::simulation::{Desk, Heard, Order, Told};

use super::people::{Asked as Any, People, Plan, number};

#[derive(Clone, Debug)]
pub(super) enum Asked {
    Delete { user: UserId, fence: i64, profile: i64 },
}

impl People {
    pub(super) fn plan_deletion(&mut self, desk: &mut Desk<'_, Auth>) -> Option<Plan> {
        if desk.rng.chance(300) {
            let ledger = self.ledger.borrow();
            let waiting = ledger.users.iter().filter(|(_, account)| account.deletion.is_some());
            let waiting: Vec<UserId> = waiting.map(|(user, _)| *user).collect();
            drop(ledger);
            // They come back by signing in.
            let user = *desk.rng.pick(&waiting)?;
            return self.sign_in_of(user, desk);
        }
        let (user, fence) = self.signed_in(desk)?;
        let profile = desk.store.inspect(|tables| number(tables, &Key::Profile(user)))?;
        let devices = desk.store.inspect(|tables| number(tables, &Key::Devices(user)))?;
        let ledger = self.ledger.borrow();
        let account = ledger.users.get(&user)?;
        let (address, username) = (account.address.clone(), account.username.as_deref().map(testing::username));
        let mut sessions = self.sessions_of(user);
        sessions.retain(|_| desk.rng.chance(600));
        let order = Order::start::<Deletion>("delete", move || Start {
            user,
            fence,
            devices,
            profile,
            address: address.clone(),
            username: username.clone(),
            followers: testing::following(sessions.clone()),
        });
        Some(Plan::hashed(Any::Deletion(Asked::Delete { user, fence, profile }), order, desk.rng))
    }

    /// Why what is asked now must not be granted.
    pub(super) fn deletion_doom(&self, asked: &Asked) -> Option<String> {
        let ledger = self.ledger.borrow();
        match asked {
            Asked::Delete { user, fence, profile } => {
                let present = (ledger.fence(*user), ledger.profile(*user));
                let moved = present != (Some(*fence), Some(*profile));
                moved.then(|| format!("fence and profile were read at {fence} and {profile}, and were at {present:?}"))
            }
        }
    }

    pub(super) fn hear_deletion(&mut self, asked: &Asked, told: &Told, doom: Option<String>) -> Result<Heard, String> {
        let outcome: Outcome = told.says().ok_or("these are not its words")?;
        let ledger = self.ledger.borrow();
        ledger.count("deletion", &outcome);
        match (asked, outcome) {
            (Asked::Delete { user, .. }, Outcome::Waiting { .. }) => match doom {
                Some(why) => Err(why),
                None if ledger.deletions.get(&told.flow) == Some(user) => Ok(Heard::Moved),
                None => Err("nothing waits".to_owned()),
            },
            (Asked::Delete { .. }, Outcome::Moved) => Ok(Heard::Anything),
            _ => Err("that answers another question".to_owned()),
        }
    }
}
