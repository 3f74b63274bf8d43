//! The smallest engine there is: one flow, a table of guards (which several may share), and a check of every step that
//! the flow decides.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use cairn_actors::effects::{Auth, FailureWrite, Key, Write};
use cairn_actors::environment::{Environment, Settings};
use cairn_actors::letters::Letter;
use cairn_actors::secrets::credential::Seal;
use cairn_actors::testing;
use cairn_runtime::Payload;
use cairn_runtime::clock::{derive, derive_bytes};
use cairn_runtime::flow::Shown;
use cairn_runtime::{Cx, Domain, Flow, FlowId, Guard, Id, Input, Lost, Phase as _, Step, Timestamp};
use proptest::prelude::ProptestConfig;

/// The instant at which every test begins.
pub(crate) const T0: Timestamp = Timestamp(1_800_000_000_000);

/// So many seconds after the beginning.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp(T0.0 + seconds * 1_000)
}

/// What a driver must know of a flow that the contract does not say.
pub(crate) trait Known: Flow<Domain = Auth> {
    /// The phases that are the end.
    const OVER: &'static [Self::Phase];

    /// The phase as it is written.
    fn tag(&self) -> &'static str {
        self.phase().name()
    }

    fn is_over(&self) -> bool {
        Self::OVER.contains(&self.phase())
    }
}

/// A letter that was handed to the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) at: Timestamp,
    pub(crate) letter: Letter,
    pub(crate) expires: Option<Timestamp>,
}

/// A signal that was handed to the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) to: FlowId,
    pub(crate) kind: String,
    pub(crate) signal: serde_json::Value,
}

/// One flow and the world around it.
#[derive(Clone)]
pub(crate) struct Driver<F: Known> {
    pub(crate) environment: Arc<Environment>,
    pub(crate) flow: FlowId,
    pub(crate) state: Option<F>,
    pub(crate) version: u64,
    /// When the row was last written: no decision sees an earlier instant.
    pub(crate) touched: Timestamp,
    pub(crate) guards: BTreeMap<String, i64>,
    pub(crate) writes: Vec<Write>,
    /// Wrong guesses that were counted, in order.
    pub(crate) counted: Vec<Write>,
    pub(crate) sent: Vec<Sent>,
    pub(crate) to_nobody: Vec<Sent>,
    pub(crate) told: Vec<Told>,
    /// What must stand in no outcome, nothing public and no last state.
    pub(crate) personal: Vec<&'static str>,
    salt: [u8; 16],
    seed: [u8; 32],
    decisions: u64,
}

impl<F: Known> Driver<F> {
    pub(crate) fn new(seed: u8) -> Self {
        static ENVIRONMENT: LazyLock<Arc<Environment>> = LazyLock::new(|| Arc::new(testing::environment(1)));
        Self::in_environment(seed, Arc::clone(&ENVIRONMENT))
    }

    pub(crate) fn with(seed: u8, settings: Settings) -> Self {
        Self::in_environment(seed, Arc::new(testing::environment_with(1, settings)))
    }

    fn in_environment(seed: u8, environment: Arc<Environment>) -> Self {
        let seed = [seed; 32];
        Self {
            environment,
            flow: FlowId(Id::v7(T0.0, derive_bytes(&seed, "flow", 0))),
            state: None,
            version: 0,
            touched: Timestamp(i64::MIN),
            guards: BTreeMap::new(),
            writes: Vec::new(),
            counted: Vec::new(),
            sent: Vec::new(),
            to_nobody: Vec::new(),
            told: Vec::new(),
            personal: Vec::new(),
            salt: derive_bytes(&seed, "salt", 0),
            seed,
            decisions: 0,
        }
    }

    pub(crate) fn state(&self) -> &F {
        self.state.as_ref().expect("the flow has been started")
    }

    pub(crate) fn phase(&self) -> &'static str {
        self.state().tag()
    }

    /// What a decision at this instant knows.
    pub(crate) fn cx(&self, now: Timestamp) -> Cx<'_, Auth> {
        let seed = derive(&self.seed, "decision", self.decisions);
        Cx::new(now.max(self.touched), self.flow, self.version, self.salt, seed, self.environment.as_ref())
    }

    pub(crate) fn start(&mut self, now: Timestamp, asked: &F::Start) -> F::Outcome {
        self.turn(now, |_, lost, cx| F::start(asked, lost, cx))
    }

    /// Brings an input to the flow, and wakes it before if it is overdue, as the engine does.
    pub(crate) fn input(&mut self, now: Timestamp, input: &Input<F>) -> F::Outcome {
        self.wake(now);
        self.turn(now, |state, lost, cx| state.unwrap().on(input, lost, cx))
    }

    pub(crate) fn ask(&mut self, now: Timestamp, command: F::Command) -> F::Outcome {
        self.input(now, &Input::Asked(command))
    }

    /// Wakes the flow if its instant has come. Woken, it must not stay: it would be woken for ever.
    pub(crate) fn wake(&mut self, now: Timestamp) -> bool {
        let is_due = self.state().wake_at().is_some_and(|due| due <= now.max(self.touched));
        if is_due {
            let before = self.version;
            self.turn(now, |state, lost, cx| state.unwrap().on(&Input::Woken, lost, cx));
            assert_eq!(self.version, before + 1, "a flow that is woken goes somewhere");
        }
        is_due
    }

    /// Takes what another flow's driver was told to bring.
    pub(crate) fn bring(&mut self, now: Timestamp, told: &Told) -> F::Outcome {
        assert_eq!((told.to, told.kind.as_str()), (self.flow, F::NAME), "a signal is for whom it names");
        self.input(now, &Input::Told(serde_json::from_value(told.signal.clone()).unwrap()))
    }

    /// Does something in a table of guards that other drivers share.
    pub(crate) fn among<T>(&mut self, guards: &mut BTreeMap<String, i64>, act: impl FnOnce(&mut Self) -> T) -> T {
        std::mem::swap(&mut self.guards, guards);
        let done = act(self);
        std::mem::swap(&mut self.guards, guards);
        done
    }

    /// Moves a fence, as another flow or act would; a key that is not there stays away.
    pub(crate) fn bump(&mut self, key: &Key) {
        if let Some(number) = self.guards.get_mut(&Auth::guard(key)) {
            *number += 1;
        }
    }

    pub(crate) fn put(&mut self, key: &Key, number: i64) {
        self.guards.insert(Auth::guard(key), number);
    }

    pub(crate) fn take_away(&mut self, key: &Key) {
        self.guards.remove(&Auth::guard(key));
    }

    pub(crate) fn number(&self, key: &Key) -> Option<i64> {
        self.guards.get(&Auth::guard(key)).copied()
    }

    fn turn(
        &mut self,
        now: Timestamp,
        decide: impl Fn(Option<&F>, Option<&Lost<F>>, &Cx<'_, Auth>) -> Step<F>,
    ) -> F::Outcome {
        let mut lost = None;
        for _ in 0..8 {
            self.decisions += 1;
            if self.state.is_none() {
                self.salt = derive_bytes(&self.seed, "salt", self.decisions);
            }
            let step = decide(self.state.as_ref(), lost.as_ref(), &self.cx(now));
            match self.guarded(&step) {
                Ok(guards) => return self.commit(now.max(self.touched), step, guards),
                Err(key) => lost = Some(Lost(key)),
            }
        }
        panic!("the flow asks for a guard again that it has lost");
    }

    /// The table of guards after a step, or the key for which the step is undone.
    fn guarded(&self, step: &Step<F>) -> Result<BTreeMap<String, i64>, Key> {
        let mut after = self.guards.clone();
        for guard in &step.effects.guards {
            let key = Auth::guard(guard.key());
            let holds = match guard {
                Guard::Claim(_) | Guard::ClaimUntil(..) => after.insert(key, 0).is_none(),
                Guard::Release(_) => {
                    after.remove(&key);
                    true
                }
                Guard::Hold(_, number) => after.get(&key) == Some(number),
                Guard::Bump(_, expected) => match after.get_mut(&key) {
                    Some(number) if expected.is_none_or(|expected| expected == *number) => {
                        *number += 1;
                        true
                    }
                    _ => false,
                },
            };
            if !holds {
                return Err(guard.key().clone());
            }
        }
        Ok(after)
    }

    fn commit(&mut self, now: Timestamp, step: Step<F>, guards: BTreeMap<String, i64>) -> F::Outcome {
        self.hides(&serde_json::to_string(&step.says).unwrap(), "an outcome");
        let Some(to) = step.to else {
            assert!(step.effects.only_holds(), "a step that stays only holds");
            return step.says;
        };
        assert!(!self.state.as_ref().is_some_and(Known::is_over), "what is over stays over");
        self.sound(&to, now);
        for outgoing in &step.effects.outgoing {
            match &outgoing.payload {
                Payload::External(delivery) => {
                    let letter = delivery.letter();
                    assert!(outgoing.expires.is_none_or(|until| until > now), "no letter is dead when it is written");
                    let sent = Sent { at: now, letter: letter.clone(), expires: outgoing.expires };
                    if delivery.mailed().is_some() { self.sent.push(sent) } else { self.to_nobody.push(sent) }
                }
                Payload::Signal { to, kind, signal } => {
                    self.told.push(Told { to: *to, kind: kind.clone(), signal: signal.clone() });
                }
                Payload::Answer { .. } => panic!("an answer is the engine's to write"),
            }
        }
        let (counted, writes) = step
            .effects
            .writes
            .into_iter()
            .partition(|write| matches!(write, Write::Failure(FailureWrite::Count { .. })));
        self.counted.extend::<Vec<_>>(counted);
        self.writes.extend::<Vec<_>>(writes);
        self.guards = guards;
        self.state = Some(to);
        self.version += 1;
        self.touched = now;
        step.says
    }

    /// What must be so with every state.
    fn sound(&self, state: &F, now: Timestamp) {
        let json = serde_json::to_string(state).unwrap();
        let back: F = serde_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), json, "a state survives its row");
        assert!(json.starts_with(&format!(r#"{{"phase":"{}""#, state.tag())), "{json}");
        match state.wake_at() {
            Some(due) => assert!(!state.is_over() && due > now, "{} is alive and has a next event", state.tag()),
            None => assert!(state.is_over(), "{} is alive and would never be woken", state.tag()),
        }
        let public = Shown::of(state);
        self.hides(&serde_json::to_string(&public).unwrap(), "what is public");
        if state.is_over() {
            self.hides(&json, "a last state");
        }
    }

    fn hides(&self, text: &str, what: &str) {
        for secret in &self.personal {
            assert!(!text.contains(secret), "{what} shows {secret}: {text}");
        }
        let salt =
            serde_json::to_value(Seal { key: cairn_actors::secrets::ring::KeyId(1), n: 0, salt: self.salt }).unwrap();
        let salt = salt["salt"].as_str().unwrap().to_owned();
        assert!(what != "what is public" || !text.contains(&salt), "{what} shows a salt: {text}");
    }
}

/// An outcome as JSON, for comparing across two flows.
pub(crate) fn json(says: &impl serde::Serialize) -> String {
    serde_json::to_string(says).unwrap()
}

/// So many cases for proptest, and many more when `CAIRN_PROVE` is set.
pub(crate) fn cases(quick: u32) -> ProptestConfig {
    let factor = if std::env::var_os("CAIRN_PROVE").is_some() { 50 } else { 1 };
    ProptestConfig::with_cases(quick * factor)
}

/// Seconds as a span.
pub(crate) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
