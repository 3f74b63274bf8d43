//! People who edit their names, several at once and on what they read a while ago, and people who end all their
//! sessions.

use cairn_actors::acts::profile::{self, EDIT_PROFILE, Edit, Edited};
use cairn_actors::acts::sessions::{self, SIGN_OUT_EVERYWHERE};
use cairn_actors::effects::{Auth, Key};
use cairn_actors::identity::user_id::UserId;
use cairn_actors::testing;
use cairn_runtime::Engine;
use cairn_runtime::testing::simulation::{Desk, Heard, Order, Told};

use super::people::{Asked as Any, People, Plan, number};

#[derive(Clone, Debug)]
pub(super) enum Asked {
    Edit { user: UserId, fence: i64, version: i64, username: Option<String> },
    SignOutEverywhere { user: UserId, fence: i64 },
}

impl People {
    pub(super) fn plan_act(&mut self, desk: &mut Desk<'_, Auth>) -> Option<Plan> {
        if desk.rng.chance(300) { self.sign_out_everywhere(desk) } else { self.edit(desk) }
    }

    fn edit(&self, desk: &mut Desk<'_, Auth>) -> Option<Plan> {
        let (user, fence) = self.signed_in(desk)?;
        let version = desk.store.inspect(|tables| number(tables, &Key::Profile(user)))?;
        let ledger = self.ledger.borrow();
        let before = ledger.users.get(&user)?.username.clone();
        let username = match desk.rng.below(100) {
            0..25 => before.clone(),
            25..35 => None,
            // Mostly one that nobody has, and always one that others try for as well.
            _ => Some(format!("nick.{}", ledger.by_username.len() as u64 + desk.rng.below(3))),
        };
        let asked = Asked::Edit { user, fence, version, username: username.clone() };
        let name = |name: Option<String>| name.map(|name| testing::username(&name));
        let edit = Edit {
            user,
            fence,
            version,
            before: name(before),
            username: name(username),
            first_name: Some(testing::person_name("Givenname")),
            last_name: None,
        };
        let order = Order::new("edit", move |engine: Engine<Auth>, asker| {
            let edit = edit.clone();
            async move { Told::of(engine.act(EDIT_PROFILE, asker, |lost, cx| profile::edit(&edit, lost, cx)).await) }
        });
        Some(Plan::hashed(Any::Act(asked), order, desk.rng))
    }

    fn sign_out_everywhere(&self, desk: &mut Desk<'_, Auth>) -> Option<Plan> {
        let (user, fence) = self.signed_in(desk)?;
        let mut told = self.sessions_of(user);
        told.retain(|_| desk.rng.chance(600));
        let order = Order::new("sign out everywhere", move |engine: Engine<Auth>, asker| {
            let told = testing::following(told.clone());
            async move {
                let act = |lost: Option<&Key>| sessions::sign_out_everywhere(user, &told, lost);
                Told::of(engine.act(SIGN_OUT_EVERYWHERE, asker, |lost, _| act(lost)).await)
            }
        });
        Some(Plan::at_once(Any::Act(Asked::SignOutEverywhere { user, fence }), order))
    }

    /// Why what is asked now must not be granted.
    pub(super) fn act_doom(&self, asked: &Asked) -> Option<String> {
        let Asked::Edit { user, fence, version, .. } = asked else { return None };
        let ledger = self.ledger.borrow();
        let present = (ledger.fence(*user), ledger.profile(*user));
        let moved = present != (Some(*fence), Some(*version));
        moved.then(|| format!("fence and profile were read at {fence} and {version}, and were at {present:?}"))
    }

    pub(super) fn hear_act(&mut self, asked: &Asked, told: &Told, doom: Option<String>) -> Result<Heard, String> {
        let ledger = self.ledger.borrow();
        match asked {
            Asked::Edit { user, version, username, .. } => {
                let outcome: Edited = told.says().ok_or("these are not its words")?;
                ledger.count("edit_profile", &outcome);
                let account = ledger.users.get(user);
                match (outcome, doom) {
                    (Edited::Done, Some(why)) => Err(why),
                    // Nobody has edited since: it must be so.
                    (Edited::Done, None)
                        if account
                            .is_some_and(|account| account.profile == version + 1 && account.username != *username) =>
                    {
                        Err(format!("it is {account:?}"))
                    }
                    (Edited::Done, None) => Ok(Heard::Moved),
                    (Edited::Changed | Edited::UsernameTaken | Edited::SessionEnded, _) => Ok(Heard::Anything),
                }
            }
            Asked::SignOutEverywhere { user, fence } => {
                told.says::<()>().ok_or("these are not its words")?;
                ledger.count("sign_out_everywhere", &());
                match ledger.fence(*user) {
                    Some(present) if present <= *fence => Err(format!("the fence is {present} still")),
                    _ => Ok(Heard::Anything),
                }
            }
        }
    }
}
