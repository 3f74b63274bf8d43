//! People who edit their names, several at once and on what they read a while ago.

use cairn_actors::acts::profile::{self, EDIT_PROFILE, Edit, Edited};
use cairn_actors::effects::{Auth, Key, UserWrite, Write};
use cairn_actors::identity::user_id::UserId;
use cairn_actors::testing;
use cairn_runtime::Engine;
use cairn_runtime::testing::simulation::{Desk, Heard, Order, Told};

use super::flow::{Plan, SimulatedFlow, Step};
use super::ledger::Ledger;
use super::people::{Common, number};

#[derive(Default)]
pub(super) struct ProfileEdits;

/// That the names of somebody be others.
#[derive(Debug)]
pub(super) struct Asked {
    user: UserId,
    fence: i64,
    version: i64,
    username: Option<String>,
}

impl SimulatedFlow for ProfileEdits {
    const NAME: &'static str = EDIT_PROFILE;
    const WAYS: &'static [&'static str] = &["told Done", "told Changed", "told UsernameTaken", "told SessionEnded"];
    type Asked = Asked;

    fn plan(&mut self, common: &mut Common, desk: &mut Desk<'_, Auth>) -> Option<Plan<Asked>> {
        let (user, fence) = common.signed_in(desk)?;
        let version = desk.store.inspect(|tables| number(tables, &Key::Profile(user)))?;
        let ledger = &common.ledger;
        let before = ledger.users.get(&user)?.username.clone();
        let username = match desk.rng.below(100) {
            0..25 => before.clone(),
            25..35 => None,
            // Mostly one that nobody has, and always one that others try for as well.
            _ => Some(format!("nick.{}", ledger.by_username.len() as u64 + desk.rng.below(3))),
        };
        let asked = Asked { user, fence, version, username: username.clone() };
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
        Some(Plan::hashed(asked, order, desk.rng))
    }

    fn doom(&self, common: &Common, asked: &Asked) -> Option<String> {
        let Asked { user, fence, version, .. } = asked;
        let present = (common.ledger.fence(*user), common.ledger.profile(*user));
        let moved = present != (Some(*fence), Some(*version));
        moved.then(|| format!("fence and profile were read at {fence} and {version}, and were at {present:?}"))
    }

    fn hear(&mut self, common: &mut Common, asked: &Asked, told: &Told, doom: Option<String>) -> Result<Heard, String> {
        let Asked { user, version, username, .. } = asked;
        let outcome: Edited = told.says().ok_or("these are not its words")?;
        common.ledger.count(Self::NAME, &outcome);
        let account = common.ledger.users.get(user);
        match (outcome, doom) {
            (Edited::Done, Some(why)) => Err(why),
            // Nobody has edited since: it must be so.
            (Edited::Done, None)
                if account.is_some_and(|account| account.profile == version + 1 && account.username != *username) =>
            {
                Err(format!("it is {account:?}"))
            }
            (Edited::Done, None) => Ok(Heard::Moved),
            (Edited::Changed | Edited::UsernameTaken | Edited::SessionEnded, _) => Ok(Heard::Anything),
        }
    }

    /// Names become others, on the profile that somebody had read, under their fence.
    fn committed(&mut self, ledger: &mut Ledger, step: &Step<'_>) {
        let held = ledger.held(step);
        let outcome: Edited = step.says();
        let (Edited::Done, [(_, Write::User(UserWrite::SetProfile { user, username, .. }))]) = (outcome, step.writes)
        else {
            return ledger.complain(format!("an edit said {outcome:?} and wrote {:?}", step.writes));
        };
        if held.user.map(|(user, _)| user) != Some(*user) {
            ledger.complain(format!("the names of {user:?} were edited without their fence"));
        }
        let username = username.as_ref().map(ToString::to_string);
        let Some(account) = ledger.users.get_mut(user) else {
            return ledger.complain(format!("the names of {user:?} were edited, who is nobody"));
        };
        let before = std::mem::replace(&mut account.username, username.clone());
        if let Some(before) = before {
            ledger.by_username.remove(&before);
        }
        ledger.gets_username(*user, username.as_deref());
        ledger.profiled(step, *user);
    }
}
