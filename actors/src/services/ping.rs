//! Pinging: one real flow from its start to its end, with the time that each commit took.

use std::time::Duration;

use cairn_runtime::{Flow, Method};

use super::{Refusal, Services};
use crate::flows::ping::{Ping, Pong, Start};

/// What became of a ping.
#[derive(Debug)]
pub struct Pinged {
    /// The flow, `png_…`.
    pub flow: String,
    /// The way the second input went.
    pub method: Method,
    /// From asking to the first commit's acknowledgement.
    pub start: Duration,
    /// The same for the second.
    pub step: Duration,
}

impl Services {
    /// Sends a ping through a shell and the committer, twice.
    ///
    /// # Errors
    /// The engine's.
    #[allow(clippy::disallowed_methods, reason = "this measures the time that passes, whatever the clock says")]
    pub async fn ping(&self, trace: &str) -> Result<Pinged, Refusal> {
        let began = std::time::Instant::now();
        let started = self.engine.start::<Ping>(self.engine.asker(trace), Start).await?;
        let between = std::time::Instant::now();
        let reply = self.engine.call::<Ping>(started.flow, self.engine.asker(trace), Pong).await?;
        let step = between.elapsed();
        let flow = started.flow.0.text(Ping::PREFIX);
        Ok(Pinged { flow, method: reply.method, start: between.duration_since(began), step })
    }
}
