//! What a step asks to have committed with it, as values: guards, writes, opened flows and deliveries.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::flow::{Cx, Domain, Flow, Named, Shown, Step};
use crate::id::{FlowId, Id};
use crate::payload::Payload;

/// One condition on, or change of, a key in the table of guards. There is one way to lose: the step is undone.
///
/// Guards are judged in their order: where a step names a key twice, the second guard sees what the first has left
/// (release, then claim: the key begins anew), and a step sees what those committed before it have left.
#[derive(Clone, Debug, PartialEq)]
pub enum Guard<K> {
    /// Take a key that nobody has; its number begins at 0. Lost when somebody has it.
    Claim(K),
    /// The same for a while: from this instant on the key counts as free for every guard, and its row is removed some
    /// time later. The instant must be later than the last at which what the key stands for (a `jti`, a one-time code)
    /// would be accepted, by as much as the clocks of two nodes may differ.
    ClaimUntil(K, Timestamp),
    /// Give a key back. Giving back what is not there is no loss.
    Release(K),
    /// The key's number is still this one. Lost when it moved, or when the key is gone.
    Hold(K, i64),
    /// Raise the key's number by one; with an expectation, lost when it is another. Lost when the key is gone.
    Bump(K, Option<i64>),
}

impl<K> Guard<K> {
    /// The key.
    pub const fn key(&self) -> &K {
        match self {
            Self::Claim(key)
            | Self::ClaimUntil(key, _)
            | Self::Release(key)
            | Self::Hold(key, _)
            | Self::Bump(key, _) => key,
        }
    }

    /// The same condition on what `f` makes of the key.
    pub fn map<T>(&self, f: impl FnOnce(&K) -> T) -> Guard<T> {
        match self {
            Self::Claim(key) => Guard::Claim(f(key)),
            Self::ClaimUntil(key, expires) => Guard::ClaimUntil(f(key), *expires),
            Self::Release(key) => Guard::Release(f(key)),
            Self::Hold(key, number) => Guard::Hold(f(key), *number),
            Self::Bump(key, expected) => Guard::Bump(f(key), *expected),
        }
    }
}

/// One delivery that a step asks for.
#[derive(Clone, Debug)]
pub struct Outgoing<D: Domain> {
    /// What is carried.
    pub payload: Payload<D>,
    /// When set, the end of the delivery comes back as [`crate::Input::Answered`] with this tag.
    pub tag: Option<String>,
    /// Not before this instant; at once when `None`.
    pub due: Option<Timestamp>,
    /// Not after this instant.
    pub expires: Option<Timestamp>,
    /// At most once: interrupted, it is not repeated but answered [`crate::Failure::Unknown`].
    pub once: bool,
}

/// Another flow's first step, merged into this one.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its id.
    pub flow: FlowId,
    /// Its [`Flow::NAME`].
    pub kind: &'static str,
    /// The shape of its state.
    pub schema: u32,
    /// Its state, as it will stand in its row.
    pub state: String,
    /// Its salt.
    pub salt: [u8; 16],
    /// When it must be woken.
    pub wake_at: Option<Timestamp>,
    /// What it shows.
    pub shown: Shown,
    /// The name of what started it.
    pub input: &'static str,
    /// What the start said, as JSON.
    pub outcome: String,
}

/// All that is committed with a step besides its row and its event.
#[derive(Clone, Debug)]
pub struct Effects<D: Domain> {
    /// Conditions and claims.
    pub guards: Vec<Guard<D::Key>>,
    /// Writes, exactly once.
    pub writes: Vec<D::Write>,
    /// Deliveries, at least once (or at most once each).
    pub outgoing: Vec<Outgoing<D>>,
    /// Flows that begin with this step.
    pub opened: Vec<Opened>,
}

impl<D: Domain> Default for Effects<D> {
    fn default() -> Self {
        Self { guards: Vec::new(), writes: Vec::new(), outgoing: Vec::new(), opened: Vec::new() }
    }
}

impl<D: Domain> Effects<D> {
    /// No effects yet.
    pub fn none() -> Self {
        Self::default()
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.guards.is_empty() && self.writes.is_empty() && self.outgoing.is_empty() && self.opened.is_empty()
    }

    /// Whether all there is are conditions.
    pub fn only_holds(&self) -> bool {
        self.writes.is_empty()
            && self.outgoing.is_empty()
            && self.opened.is_empty()
            && self.guards.iter().all(|guard| matches!(guard, Guard::Hold(..)))
    }

    /// These, and then the others.
    #[must_use]
    pub fn with(mut self, others: Self) -> Self {
        self.merge(others);
        self
    }

    fn merge(&mut self, other: Self) {
        self.guards.extend(other.guards);
        self.writes.extend(other.writes);
        self.outgoing.extend(other.outgoing);
        self.opened.extend(other.opened);
    }

    /// Adds a condition or claim.
    #[must_use]
    pub fn guard(mut self, guard: Guard<D::Key>) -> Self {
        self.guards.push(guard);
        self
    }

    /// Adds a write.
    #[must_use]
    pub fn write(mut self, write: impl Into<D::Write>) -> Self {
        self.writes.push(write.into());
        self
    }

    /// Adds a delivery that is made at once and whose end nobody waits for.
    #[must_use]
    pub fn deliver(mut self, delivery: D::Delivery) -> Self {
        self.outgoing.push(Outgoing::external(delivery));
        self
    }

    /// Adds a signal to another flow.
    #[must_use]
    pub fn tell<G: Flow<Domain = D>>(mut self, to: FlowId, signal: &G::Signal) -> Self {
        self.outgoing.push(Outgoing::signal::<G>(to, signal));
        self
    }
}

impl<D: Domain> Outgoing<D> {
    pub(crate) fn new(payload: Payload<D>) -> Self {
        Self { payload, tag: None, due: None, expires: None, once: false }
    }

    /// A delivery to somebody outside, at once, without a tag.
    pub fn external(delivery: D::Delivery) -> Self {
        Self::new(Payload::External(delivery))
    }

    /// A signal to another flow.
    pub fn signal<G: Flow<Domain = D>>(to: FlowId, signal: &G::Signal) -> Self {
        let signal = serde_json::to_value(signal).unwrap_or(serde_json::Value::Null);
        Self::new(Payload::Signal { to, kind: G::NAME.to_owned(), signal })
    }

    /// Its end comes back with this tag.
    #[must_use]
    pub fn tagged(mut self, tag: &str) -> Self {
        self.tag = Some(tag.to_owned());
        self
    }

    /// It is given up after this instant.
    #[must_use]
    pub fn until(mut self, expires: Timestamp) -> Self {
        self.expires = Some(expires);
        self
    }

    /// It is made no sooner than this long after `now`.
    #[must_use]
    pub fn after(mut self, now: Timestamp, span: Duration) -> Self {
        self.due = Some(now.after(span));
        self
    }

    /// It is never repeated.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.once = true;
        self
    }
}

/// A step that goes to a state (the same one, if need be), on the way to being said.
#[must_use = "a step begins to exist when it says something"]
pub struct Going<F: Flow> {
    to: F,
    effects: Effects<F::Domain>,
}

/// The flow goes to this state.
pub fn go<F: Flow>(to: F) -> Going<F> {
    Going { to, effects: Effects::none() }
}

impl<F: Flow> Going<F> {
    /// Takes a key that nobody may have.
    pub fn claim(mut self, key: <F::Domain as Domain>::Key) -> Self {
        self.effects.guards.push(Guard::Claim(key));
        self
    }

    /// Takes a key that nobody may have before this instant; see [`Guard::ClaimUntil`].
    pub fn claim_until(mut self, key: <F::Domain as Domain>::Key, expires: Timestamp) -> Self {
        self.effects.guards.push(Guard::ClaimUntil(key, expires));
        self
    }

    /// Gives a key back.
    pub fn release(mut self, key: <F::Domain as Domain>::Key) -> Self {
        self.effects.guards.push(Guard::Release(key));
        self
    }

    /// On condition that the key's number is still this one.
    pub fn hold(mut self, key: <F::Domain as Domain>::Key, number: i64) -> Self {
        self.effects.guards.push(Guard::Hold(key, number));
        self
    }

    /// Raises the key's number.
    pub fn bump(mut self, key: <F::Domain as Domain>::Key) -> Self {
        self.effects.guards.push(Guard::Bump(key, None));
        self
    }

    /// Raises the key's number, on condition that it is still this one.
    pub fn bump_from(mut self, key: <F::Domain as Domain>::Key, number: i64) -> Self {
        self.effects.guards.push(Guard::Bump(key, Some(number)));
        self
    }

    /// Writes, in the step's own transaction.
    pub fn write(mut self, write: impl Into<<F::Domain as Domain>::Write>) -> Self {
        self.effects.writes.push(write.into());
        self
    }

    /// Has something carried out after the commit.
    pub fn deliver(self, delivery: <F::Domain as Domain>::Delivery) -> Self {
        self.send(Outgoing::external(delivery))
    }

    /// Has something carried out at most once, whose end comes back with this tag.
    pub fn deliver_once(self, delivery: <F::Domain as Domain>::Delivery, tag: &str) -> Self {
        self.send(Outgoing::external(delivery).tagged(tag).once())
    }

    /// A delivery with all its settings.
    pub fn send(mut self, outgoing: Outgoing<F::Domain>) -> Self {
        self.effects.outgoing.push(outgoing);
        self
    }

    /// Tells another flow.
    pub fn tell<G: Flow<Domain = F::Domain>>(self, to: FlowId, signal: &G::Signal) -> Self {
        self.send(Outgoing::signal::<G>(to, signal))
    }

    /// Opens another flow within this step; see [`open`].
    pub fn with(mut self, effects: Effects<F::Domain>) -> Self {
        self.effects.merge(effects);
        self
    }

    /// What the asker is told; completes the step.
    pub fn says(self, says: F::Outcome) -> Step<F> {
        Step { to: Some(self.to), says, effects: self.effects }
    }
}

/// A step that stays, on the way to being said. It may only hold.
#[must_use = "a step begins to exist when it says something"]
pub struct Staying<F: Flow> {
    effects: Effects<F::Domain>,
}

/// The flow stays where it is; without holds this costs nothing. At a start: refused, no row comes to be.
pub fn stay<F: Flow>() -> Staying<F> {
    Staying { effects: Effects::none() }
}

impl<F: Flow> Staying<F> {
    /// On condition that the key's number is still this one.
    pub fn hold(mut self, key: <F::Domain as Domain>::Key, number: i64) -> Self {
        self.effects.guards.push(Guard::Hold(key, number));
        self
    }

    /// What the asker is told; completes the step.
    pub fn says(self, says: F::Outcome) -> Step<F> {
        Step { to: None, says, effects: self.effects }
    }
}

/// Runs another flow's first step within this decision: its id, what it said, and effects that contain it.
///
/// `number` tells apart several flows that one decision opens. When the other flow refuses, the effects are empty.
pub fn open<G: Flow>(
    asked: &G::Start,
    number: u64,
    cx: &Cx<'_, G::Domain>,
) -> (FlowId, G::Outcome, Effects<G::Domain>) {
    let flow = FlowId(Id::v7(cx.now.0, crate::clock::derive_bytes(&cx.seed, "child's id", number)));
    let inner = cx.child(flow, number);
    let step = G::start(asked, None, &inner);
    let Some(to) = step.to else { return (flow, step.says, Effects::none()) };
    let opened = Opened {
        flow,
        kind: G::NAME,
        schema: G::SCHEMA,
        state: serde_json::to_string(&to).unwrap_or_default(),
        salt: inner.salt,
        wake_at: to.wake_at(),
        shown: Shown::of(&to),
        input: asked.name(),
        outcome: serde_json::to_string(&step.says).unwrap_or_default(),
    };
    let mut effects = step.effects;
    effects.opened.push(opened);
    (flow, step.says, effects)
}
