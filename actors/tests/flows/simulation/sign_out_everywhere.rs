//! People who end all their sessions at once.

use cairn_actors::acts::sessions::{self, SIGN_OUT_EVERYWHERE};
use cairn_actors::effects::{Auth, DeviceWrite, Key, Write};
use cairn_actors::followers::{Follower, Followers};
use cairn_actors::identity::user_id::UserId;
use cairn_runtime::testing::simulation::{Desk, Heard, Order, Told};
use cairn_runtime::{Engine, Guard};

use super::flow::{Plan, SimulatedFlow, Step};
use super::ledger::Ledger;
use super::people::Common;

#[derive(Default)]
pub(super) struct SignOuts;

/// That all sessions of somebody end.
#[derive(Debug)]
pub(super) struct Asked {
    user: UserId,
    fence: i64,
}

impl SimulatedFlow for SignOuts {
    const NAME: &'static str = SIGN_OUT_EVERYWHERE;
    const WAYS: &'static [&'static str] = &["told"];
    type Asked = Asked;

    fn plan(&mut self, common: &mut Common, desk: &mut Desk<'_, Auth>) -> Option<Plan<Asked>> {
        let (user, fence) = common.signed_in(desk)?;
        let sessions = common.some_sessions_of(user, desk.rng).into_iter().map(Follower::Session);
        let grants = common.some_grants(|by, _| by == Some(user), desk.rng).into_iter().map(Follower::Authorization);
        let told: Followers = sessions.chain(grants).collect();
        let order = Order::new("sign out everywhere", move |engine: Engine<Auth>, asker| {
            let told = told.clone();
            async move {
                let act = |lost: Option<&Key>| sessions::sign_out_everywhere(user, &told, lost);
                Told::of(engine.act(SIGN_OUT_EVERYWHERE, asker, |lost, _| act(lost)).await)
            }
        });
        Some(Plan::at_once(Asked { user, fence }, order))
    }

    fn doom(&self, _common: &Common, _asked: &Asked) -> Option<String> {
        None
    }

    fn hear(
        &mut self,
        common: &mut Common,
        asked: &Asked,
        told: &Told,
        _doom: Option<String>,
    ) -> Result<Heard, String> {
        told.says::<()>().ok_or("these are not its words")?;
        common.ledger.count(Self::NAME, &());
        match common.ledger.fence(asked.user) {
            Some(present) if present <= asked.fence => Err(format!("the fence is {present} still")),
            _ => Ok(Heard::Anything),
        }
    }

    /// All sessions of a user end by their fence.
    fn committed(&mut self, ledger: &mut Ledger, step: &Step<'_>) {
        let raised = step.line.guards.iter().find_map(|guard| match guard {
            Guard::Bump(key, _) => ledger.fenced_by(key),
            _ => None,
        });
        match (raised, step.writes) {
            (Some(user), [(_, Write::Device(DeviceWrite::ForgetAll { user: whose }))]) if user == *whose => {
                ledger.fenced(step, user);
                ledger.forgot_devices(step, user);
            }
            (_, writes) => ledger.complain(format!("{} raised no fence and wrote {writes:?}", step.event.kind)),
        }
    }
}
