//! Who follows a user's fence: the flows that are over when it moves, and are told so that they tidy up after themselves.
//!
//! Nothing rests on their being told: what was begun before a fence moved is refused by the number that it holds.

use cairn_runtime::{Effects, FlowId};

use crate::effects::Auth;
use crate::flows::authorization::{self, Authorization};
use crate::flows::session::{self, Session};

/// A flow that follows the fence of its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follower {
    /// A session.
    Session(FlowId),
    /// A client's authorization.
    Authorization(FlowId),
}

/// Those of one user that have not ended, read before the step that moves the fence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Followers(Vec<Follower>);

impl Followers {
    /// All but one session: the one in which the fence is moved, and which goes on.
    #[must_use]
    pub fn without(mut self, session: FlowId) -> Self {
        self.0.retain(|follower| *follower != Follower::Session(session));
        self
    }

    /// Tells each that the fence has moved.
    pub fn fenced(&self) -> Effects<Auth> {
        self.0.iter().fold(Effects::none(), |effects, follower| match follower {
            Follower::Session(flow) => effects.tell::<Session>(*flow, &session::Signal::Fenced),
            Follower::Authorization(flow) => effects.tell::<Authorization>(*flow, &authorization::Signal::Fenced),
        })
    }
}

impl FromIterator<Follower> for Followers {
    fn from_iter<T: IntoIterator<Item = Follower>>(followers: T) -> Self {
        Self(followers.into_iter().collect())
    }
}
