//! Named crash points: places where a test's host may stop, kill or panic. In production a host passes them by.

/// A place in the life of a command at which the worst may happen. See [`crate::engine::Host::pass`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Point {
    /// A command has come; no shell has been looked for.
    BeforeRouting,
    /// A shell is there; its row has not been read.
    Activated,
    /// A step has been decided; the committer has not been asked.
    Decided,
    /// The committer has taken a batch; the transaction has not begun.
    Queued,
    /// The transaction is durable; nobody has been told.
    Committed,
    /// The shell has been told; it has not taken the new state.
    Acknowledged,
    /// Deliveries are committed; they have not been handed over in memory.
    HandOff,
    /// A delivery has been claimed; it has not been sent.
    DeliveryClaimed,
    /// A delivery has been sent; that has not been committed.
    DeliverySent,
    /// A due flow has been claimed; it has not been woken.
    DueClaimed,
    /// A shell has been told to stop; it is not gone.
    Passivating,
}

impl Point {
    /// All of them, each with what must hold when the worst happens there.
    pub const ALL: &'static [(Self, &'static str)] = &[
        (Self::BeforeRouting, "nothing durable; a retry works"),
        (Self::Activated, "nothing durable; a retry works"),
        (Self::Decided, "nothing durable; a retry works"),
        (Self::Queued, "the caller sees an error, none of the step is visible"),
        (Self::Committed, "settled by the event: the same answer, no second mail"),
        (Self::Acknowledged, "the next activation has the new version"),
        (Self::HandOff, "the poller delivers it"),
        (Self::DeliveryClaimed, "the claim runs out, the attempt is counted"),
        (Self::DeliverySent, "at most one extra of that letter, with the same id"),
        (Self::DueClaimed, "it is due again"),
        (Self::Passivating, "what comes meanwhile waits in the slot, and the new shell serves it"),
    ];
}
