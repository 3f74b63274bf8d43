//! The place of one flow's shell, as a pure function: who waits, who is sent, when a shell is hatched or stopped.
//!
//! What must stay true: no message is lost, none is sent twice, and at most one shell of a generation is in a slot.

use std::collections::VecDeque;

/// The state of one slot. `S` is a handle of a shell, `W` a message that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot<S, W> {
    /// No shell and nobody waiting; it takes no memory.
    Vacant,
    /// A shell is being hatched.
    Activating {
        /// Which hatching this is.
        generation: u64,
        /// Who waits for it.
        waiting: VecDeque<W>,
    },
    /// A shell is there.
    Active {
        /// Which hatching it came from.
        generation: u64,
        /// Its handle.
        shell: S,
        /// How many messages it has and has not answered.
        inflight: usize,
        /// When it last answered, in whatever unit the caller counts.
        used: i64,
    },
    /// The shell was told to stop and is not yet gone.
    Passivating {
        /// Which hatching it came from.
        generation: u64,
        /// Who came meanwhile.
        waiting: VecDeque<W>,
    },
}

/// What happens to a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<S, W> {
    /// A message comes.
    Call(W),
    /// A shell has been hatched.
    Hatched(u64, S),
    /// No shell could be hatched.
    NotHatched(u64),
    /// The shell is done with a message (or dropped it when it died).
    Answered {
        /// Which shell.
        generation: u64,
        /// When.
        at: i64,
        /// Its flow has come to its end: there is no reason to stay.
        finished: bool,
    },
    /// Somebody looks for shells that have had nothing to do since before this instant.
    Idle {
        /// The instant.
        before: i64,
    },
    /// The shell is gone, whatever the way.
    Gone(u64),
}

/// What the caller must do after an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<S, W> {
    /// Nothing.
    Nothing,
    /// Hatch a shell of this generation.
    Hatch(u64),
    /// Send these messages to this shell, in order.
    Send(u64, S, Vec<W>),
    /// Stop this shell.
    Stop(S),
    /// This message cannot be taken: too many are waiting.
    Refuse(W),
    /// These messages will have no shell; their callers must go another way.
    Fail(Vec<W>),
}

impl<S: Clone, W> Slot<S, W> {
    /// The one transition function. `next` is a generation never used before; `cap` bounds who waits or is in flight.
    pub fn step(self, event: Event<S, W>, next: u64, cap: usize) -> (Self, Action<S, W>) {
        match (self, event) {
            (Self::Vacant, Event::Call(message)) => {
                (Self::Activating { generation: next, waiting: VecDeque::from([message]) }, Action::Hatch(next))
            }

            (Self::Activating { generation, waiting }, Event::Call(message)) if waiting.len() >= cap => {
                (Self::Activating { generation, waiting }, Action::Refuse(message))
            }
            (Self::Activating { generation, mut waiting }, Event::Call(message)) => {
                waiting.push_back(message);
                (Self::Activating { generation, waiting }, Action::Nothing)
            }
            (Self::Activating { generation, waiting }, Event::Hatched(hatched, shell)) if hatched == generation => (
                Self::Active { generation, shell: shell.clone(), inflight: waiting.len(), used: i64::MIN },
                Action::Send(generation, shell, waiting.into()),
            ),
            (Self::Activating { generation, waiting }, Event::NotHatched(failed) | Event::Gone(failed))
                if failed == generation =>
            {
                (Self::Vacant, Action::Fail(waiting.into()))
            }

            (Self::Active { generation, shell, inflight, used }, Event::Call(message)) if inflight >= cap => {
                (Self::Active { generation, shell, inflight, used }, Action::Refuse(message))
            }
            (Self::Active { generation, shell, inflight, used }, Event::Call(message)) => (
                Self::Active { generation, shell: shell.clone(), inflight: inflight + 1, used },
                Action::Send(generation, shell, vec![message]),
            ),
            (Self::Active { generation, shell, inflight, used }, Event::Answered { generation: of, at, finished })
                if of == generation =>
            {
                let inflight = inflight.saturating_sub(1);
                if finished && inflight == 0 {
                    (Self::Passivating { generation, waiting: VecDeque::new() }, Action::Stop(shell))
                } else {
                    (Self::Active { generation, shell, inflight, used: at.max(used) }, Action::Nothing)
                }
            }
            (Self::Active { generation, shell, inflight: 0, used }, Event::Idle { before }) if used < before => {
                (Self::Passivating { generation, waiting: VecDeque::new() }, Action::Stop(shell))
            }
            (Self::Active { generation, .. }, Event::Gone(gone)) if gone == generation => {
                (Self::Vacant, Action::Nothing) // its mailbox went with it, and each caller in there is told by that
            }

            (Self::Passivating { generation, waiting }, Event::Call(message)) if waiting.len() >= cap => {
                (Self::Passivating { generation, waiting }, Action::Refuse(message))
            }
            (Self::Passivating { generation, mut waiting }, Event::Call(message)) => {
                waiting.push_back(message);
                (Self::Passivating { generation, waiting }, Action::Nothing)
            }
            (Self::Passivating { generation, waiting }, Event::Gone(gone)) if gone == generation => {
                if waiting.is_empty() {
                    (Self::Vacant, Action::Nothing)
                } else {
                    (Self::Activating { generation: next, waiting }, Action::Hatch(next))
                }
            }

            // A shell that came too late finds nobody: it is told to go.
            (slot, Event::Hatched(_, shell)) => (slot, Action::Stop(shell)),
            (slot, Event::NotHatched(_) | Event::Answered { .. } | Event::Idle { .. } | Event::Gone(_)) => {
                (slot, Action::Nothing)
            }
        }
    }

    /// Whether the slot may be forgotten.
    pub const fn is_vacant(&self) -> bool {
        matches!(self, Self::Vacant)
    }
}

#[cfg(test)]
mod tests;
