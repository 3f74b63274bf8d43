//! Reading flows: every state that anybody is shown was read here.
//!
//! A row is as old as its last step. What is shown of it is what a command would find: brought up to the present shape,
//! refused where the operator has the flow, and past a deadline that nobody has acted on yet.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::clock::{Timestamp, derive};
use crate::engine::{Engine, Fault};
use crate::flow::{Cx, Flow, Input, Shown};
use crate::id::{FlowId, Id};
use crate::store::Row;
use crate::turn::{caught, said};

/// How many deadlines in a row are acted on for a reader.
const DEADLINES: usize = 8;

/// A flow as it stands at an instant.
#[derive(Clone, Debug)]
pub struct Snapshot<F> {
    /// Its state.
    pub state: F,
    /// Its id.
    pub id: FlowId,
    /// Its version. Deadlines that nobody has acted on are counted in: that is the version once somebody has.
    pub version: u64,
    /// The word for where it stands.
    pub phase: String,
    /// When it must be woken; `None`: it is finished.
    pub wake_at: Option<Timestamp>,
    /// Whose it is.
    pub user: Option<Id>,
    /// When its row was last written.
    pub touched_at: Timestamp,
}

impl<F: Flow> Snapshot<F> {
    /// Its id with the prefix of its kind.
    pub fn text(&self) -> String {
        self.id.0.text(F::PREFIX)
    }
}

impl<D: crate::Domain> Engine<D> {
    /// A flow as it stands. Nothing is written, and no shell is asked.
    ///
    /// # Errors
    /// [`Fault::NotFound`] where no flow of this kind has the id; as [`Engine::read`]; or the database is away.
    pub async fn look<F: Flow<Domain = D>>(&self, flow: FlowId) -> Result<Snapshot<F>, Fault> {
        self.read(self.0.store.load(flow).await?.ok_or(Fault::NotFound)?)
    }

    /// The same of a row that a query has found.
    ///
    /// # Errors
    /// [`Fault::NotFound`] when the row is one of another kind; [`Fault::Ended`] when an operator has ended the flow;
    /// [`Fault::Quarantined`] when it is set aside or has a state that cannot be read; [`Fault::Defect`] when a decision
    /// about a deadline panics.
    pub fn read<F: Flow<Domain = D>>(&self, row: Row) -> Result<Snapshot<F>, Fault> {
        if row.kind != F::NAME {
            return Err(Fault::NotFound);
        }
        at_large(&row)?;
        let state = decode::<F>(&row).map_err(|why| {
            tracing::error!(flow = F::NAME, id = %row.id.0.crockford(), why, "a state cannot be read");
            Fault::Quarantined
        })?;
        let Row { id, version, phase, wake_at, user, touched_at, salt, .. } = row;
        let mut seen = Snapshot { state, id, version, phase, wake_at, user, touched_at };
        for _ in 0..DEADLINES {
            if !self.act_on_deadline(&mut seen, salt)? {
                break;
            }
        }
        Ok(seen)
    }

    /// Those of the rows that can be read: what is set aside or was ended by an operator is nobody's to see, and what
    /// panics at its deadline will be set aside.
    ///
    /// # Errors
    /// [`Fault::NotFound`] when a row is one of another kind.
    pub fn read_all<F: Flow<Domain = D>>(&self, rows: Vec<Row>) -> Result<Vec<Snapshot<F>>, Fault> {
        let read = rows.into_iter().map(|row| self.read(row));
        read.filter(|seen| !matches!(seen, Err(Fault::Quarantined | Fault::Ended | Fault::Defect(_)))).collect()
    }

    /// Does to what is seen what its wake-up will do to the row; whether that led anywhere.
    fn act_on_deadline<F: Flow<Domain = D>>(&self, seen: &mut Snapshot<F>, salt: [u8; 16]) -> Result<bool, Fault> {
        let Some(due) = seen.wake_at.filter(|due| *due <= self.now()) else { return Ok(false) };
        let (environment, now) = (self.environment(), self.now().max(seen.touched_at).max(due));
        // What the step sends and makes is thrown away, so it need not be unforeseeable.
        let seed = derive(&[0; 32], "reading", seen.version);
        let cx = Cx::<D>::new(now, seen.id, seen.version, salt, seed, &environment);
        let woken = caught(self, F::NAME, || {
            seen.state.on(&Input::Woken, None, &cx).to.map(|to| (Shown::of(&to), to.wake_at(), to))
        })?;
        let Some((Shown { phase, public }, wake_at, state)) = woken else { return Ok(false) };
        seen.version += 1;
        (seen.state, seen.phase, seen.wake_at) = (state, phase.to_owned(), wake_at);
        (seen.user, seen.touched_at) = (public.user, now);
        Ok(true)
    }
}

/// Refuses what is in the operator's hands.
pub(crate) fn at_large(row: &Row) -> Result<(), Fault> {
    match &row.quarantined {
        None => Ok(()),
        Some(_) if row.was_ended_by_operator() => Err(Fault::Ended),
        Some(_) => Err(Fault::Quarantined),
    }
}

/// Reads a state back. An upcast that panics is as good as one that refuses: the flow is set aside, nobody is hurt.
pub(crate) fn decode<F: Flow>(row: &Row) -> Result<F, String> {
    let read = || {
        if row.schema == F::SCHEMA {
            return serde_json::from_str(&row.state).map_err(|why| why.to_string());
        }
        let older = serde_json::from_str(&row.state).map_err(|why| why.to_string())?;
        serde_json::from_value(F::upcast(row.schema, older)?).map_err(|why| why.to_string())
    };
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| Err(format!("reading it panicked: {}", said(&*panic))))
}
