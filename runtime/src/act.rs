//! Acts: what belongs to no flow, through the same committer, with an event and no row.

use crate::clock::{derive, derive_bytes};
use crate::draft::{Draft, Writer};
use crate::effects::Effects;
use crate::engine::{Asker, Engine, Fault, Method, Reply};
use crate::flow::{Cx, Domain};
use crate::id::Id;
use crate::store::{Event, Verdict};
use crate::turn::{ROUNDS, caught, remembered};

/// What an act decides: what the asker is told, what is committed, and what history may show.
#[must_use = "an act that is not committed never happened"]
#[derive(Debug)]
pub struct ActStep<O, D: Domain> {
    /// What the asker is told.
    pub says: O,
    /// What is committed. Without effects nothing happened, and nothing is remembered.
    pub effects: Effects<D>,
    /// Whose history it belongs to.
    pub user: Option<Id>,
    /// What history shows.
    pub public: serde_json::Value,
}

impl<D: Domain> Engine<D> {
    /// Commits what belongs to no flow: a pure function of command and facts, with an event and no row.
    ///
    /// `decide` is called again with the guard that was lost.
    ///
    /// # Errors
    /// As [`Engine::call`].
    pub async fn act<O>(
        &self,
        name: &'static str,
        asker: Asker,
        mut decide: impl FnMut(Option<&D::Key>, &Cx<'_, D>) -> ActStep<O, D> + Send,
    ) -> Result<Reply<O>, Fault>
    where
        O: serde::Serialize + serde::de::DeserializeOwned + Send,
    {
        let _admitted = self.admit()?;
        if let Some(before) = self.recall(&asker).await? {
            return Ok(before);
        }
        let flow = asker.input.starts();
        let mut lost: Option<D::Key> = None;
        for _ in 0..ROUNDS {
            let (draft, says) = {
                let environment = self.environment();
                let seed = self.0.dice.seed();
                let now = self.now();
                let cx = Cx::<D>::new(
                    now,
                    flow,
                    0,
                    derive_bytes(&seed, "salt", 0),
                    derive(&seed, "decision", 0),
                    &environment,
                );
                let step = caught(self, name, || decide(lost.as_ref(), &cx))?;
                if step.effects.is_empty() {
                    let phase = String::new();
                    return Ok(Reply {
                        flow,
                        outcome: step.says,
                        version: 0,
                        phase,
                        method: Method::Direct,
                        repeated: false,
                    });
                }
                let writer = Writer { engine: self, environment: &environment, seed: &seed, now, flow, kind: name };
                let mut item = writer.item(&asker, None);
                item.seen = true; // nothing but its event tells a repeated act from a new one
                item.event = Some(Event {
                    user: step.user,
                    flow,
                    version: 1,
                    input: asker.input,
                    kind: name.to_owned(),
                    name: name.to_owned(),
                    from: String::new(),
                    to: String::new(),
                    public: step.public.to_string(),
                    outcome: serde_json::to_string(&step.says).map_err(|why| Fault::Defect(why.to_string()))?,
                    fingerprint: asker.fingerprint,
                    node: self.node().to_owned(),
                    trace: asker.trace.to_string(),
                    at: now,
                });
                (writer.finish(item, &step.effects, None), step.says)
            };
            let Draft { item, keys, hand_offs } = draft;
            match self.commit(item, hand_offs).await? {
                Verdict::Done => {
                    let phase = String::new();
                    return Ok(Reply {
                        flow,
                        outcome: says,
                        version: 1,
                        phase,
                        method: Method::Direct,
                        repeated: false,
                    });
                }
                Verdict::Before(event) => return remembered(*event, &asker),
                Verdict::Lost(place) => lost = keys.into_iter().nth(place),
                Verdict::Stale | Verdict::Settled => {}
            }
        }
        Err(Fault::Contended)
    }
}
