//! Clients that are registered, deleted and registered again, and people who take back what they consented to: acts of
//! the test's own, of which the flow of an authorization knows nothing but the fences that they raise.

use cairn_actors::effects::{Auth, ConsentWrite, Key, Write};
use cairn_actors::flows::authorization::{Authorization, Signal};
use cairn_actors::identity::user_id::UserId;
use cairn_actors::oauth::client::ClientId;
use cairn_runtime::testing::simulation::{Desk, Heard, Order, Told};
use cairn_runtime::{ActStep, Effects, Engine, FlowId, Guard, Id};
use serde_json::json;

use super::flow::{Plan, SimulatedFlow, Step};
use super::ledger::Ledger;
use super::people::Common;
use super::rows::View;

/// How many clients there are.
pub(super) const CLIENTS: u8 = 3;

/// One of the clients that may be registered.
pub(super) fn client(number: u8) -> ClientId {
    ClientId(Id::v7(2, [number; 10]))
}

fn telling(flows: &[FlowId], signal: &Signal) -> Effects<Auth> {
    flows.iter().fold(Effects::none(), |effects, flow| effects.tell::<Authorization>(*flow, signal))
}

/// The first time a client is registered; later it is deleted and registered again under the same name.
fn registering(client: ClientId, told: &[FlowId], lost: Option<&Key>) -> ActStep<(), Auth> {
    let effects = match lost {
        None => Effects::none().guard(Guard::Claim(Key::Client(client))),
        Some(_) => telling(told, &Signal::ClientDeleted).guard(Guard::Bump(Key::Client(client), None)),
    };
    ActStep { says: (), effects, user: None, public: json!({ "client": client.text() }) }
}

/// A person takes a consent back; nothing happens where there is none.
fn taking_back(user: UserId, client: ClientId, told: &[FlowId], lost: Option<&Key>) -> ActStep<bool, Auth> {
    let effects = match lost {
        None => telling(told, &Signal::ConsentRevoked)
            .guard(Guard::Bump(Key::Consent(user, client), None))
            .write(ConsentWrite::TakeBack { user, client }),
        Some(_) => Effects::none(),
    };
    ActStep { says: lost.is_none(), effects, user: Some(user.0), public: json!({ "client": client.text() }) }
}

#[derive(Default)]
pub(super) struct Clients;

/// That what a client was granted be over.
#[derive(Debug)]
pub(super) struct Registers {
    client: ClientId,
    before: Option<i64>,
}

impl SimulatedFlow for Clients {
    const NAME: &'static str = "client";
    const WAYS: &'static [&'static str] = &["told"];
    type Asked = Registers;

    fn plan(&mut self, common: &mut Common, desk: &mut Desk<'_, Auth>) -> Option<Plan<Registers>> {
        let new = (1..=CLIENTS).map(client).find(|client| common.ledger.client(*client).is_none());
        let lot = u8::try_from(desk.rng.below(u64::from(CLIENTS))).expect("there are few");
        let client = new.unwrap_or(client(1 + lot));
        if new.is_none() && !desk.rng.chance(150) {
            return None;
        }
        let before = common.ledger.client(client);
        let told = common.some_grants(|_, of| of == client, desk.rng);
        let order = Order::new("register", move |engine: Engine<Auth>, asker| {
            let told = told.clone();
            async move { Told::of(engine.act(Self::NAME, asker, |lost, _| registering(client, &told, lost)).await) }
        });
        Some(Plan::at_once(Registers { client, before }, order))
    }

    fn doom(&self, _common: &Common, _asked: &Registers) -> Option<String> {
        None
    }

    fn hear(
        &mut self,
        common: &mut Common,
        asked: &Registers,
        told: &Told,
        _doom: Option<String>,
    ) -> Result<Heard, String> {
        told.says::<()>().ok_or("these are not its words")?;
        common.ledger.count(Self::NAME, &());
        let present = common.ledger.client(asked.client);
        if present > asked.before { Ok(Heard::Moved) } else { Err(format!("its fence is {present:?} still")) }
    }

    fn committed(&mut self, ledger: &mut Ledger, step: &Step<'_>) {
        let public = step.public();
        let client = public.pointer("/client").and_then(serde_json::Value::as_str).and_then(ClientId::parse);
        ledger.client_moved(step, client.expect("it names its client"));
        if !step.writes.is_empty() {
            ledger.complain(format!("a client wrote {:?}", step.writes));
        }
    }

    fn keys(&self, view: &mut View<'_>) {
        let ledger = view.ledger;
        for (client, number) in &ledger.clients {
            view.has(&Key::Client(*client), *number);
        }
        for ((user, client), consent) in &ledger.consents {
            view.has(&Key::Consent(*user, *client), consent.number);
        }
    }
}

#[derive(Default)]
pub(super) struct TakeBacks;

/// That a consent be no more.
#[derive(Debug)]
pub(super) struct TakesBack {
    user: UserId,
    client: ClientId,
    before: Option<i64>,
}

impl SimulatedFlow for TakeBacks {
    const NAME: &'static str = "take_back";
    const WAYS: &'static [&'static str] = &["told true", "told false"];
    type Asked = TakesBack;

    fn plan(&mut self, common: &mut Common, desk: &mut Desk<'_, Auth>) -> Option<Plan<TakesBack>> {
        let given: Vec<_> = common.ledger.consents.keys().copied().collect();
        let (user, client) =
            if desk.rng.chance(900) { *desk.rng.pick(&given)? } else { (common.somebody(desk.rng)?, client(1)) };
        let before = common.ledger.consent(user, client).map(|consent| consent.number);
        let told = common.some_grants(|by, of| by == Some(user) && of == client, desk.rng);
        let order = Order::new("take back", move |engine: Engine<Auth>, asker| {
            let told = told.clone();
            let act = move |lost: Option<&Key>| taking_back(user, client, &told, lost);
            async move { Told::of(engine.act(Self::NAME, asker, |lost, _| act(lost)).await) }
        });
        Some(Plan::at_once(TakesBack { user, client, before }, order))
    }

    fn doom(&self, _common: &Common, _asked: &TakesBack) -> Option<String> {
        None
    }

    fn hear(
        &mut self,
        common: &mut Common,
        asked: &TakesBack,
        told: &Told,
        _doom: Option<String>,
    ) -> Result<Heard, String> {
        let done: bool = told.says().ok_or("these are not its words")?;
        common.ledger.count(Self::NAME, &done);
        let present = common.ledger.consent(asked.user, asked.client).map(|consent| consent.number);
        match (done, present > asked.before, asked.before) {
            (true, true, _) => Ok(Heard::Moved),
            (false, _, None) => Ok(Heard::Anything),
            _ => Err(format!("its fence is {present:?}, and was {:?}", asked.before)),
        }
    }

    fn committed(&mut self, ledger: &mut Ledger, step: &Step<'_>) {
        match step.writes {
            [(_, Write::Consent(ConsentWrite::TakeBack { user, client }))] => {
                ledger.took_back(step, (*user, *client));
            }
            writes => ledger.complain(format!("a consent was taken back by {writes:?}")),
        }
    }
}
