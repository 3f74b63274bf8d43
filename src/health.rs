//! `cairn health`: asks the operations listener whether the server is ready, for containers without an HTTP client.

use std::time::Duration;

use crate::config::Config;
use crate::operations_client::{OperationsClient, Unanswered};
use crate::output::say;

/// How long the answer may take in all.
const PATIENCE: Duration = Duration::from_secs(5);

/// Asks and says in one line what was answered.
///
/// # Errors
/// Why the server is not to be sent requests, or could not be asked.
pub(crate) fn check(config: &Config) -> Result<(), String> {
    let client = OperationsClient::of(config, PATIENCE)?;
    let answer = client.send("GET", "/health/ready", None).map_err(Unanswered::why)?;
    let body = answer.accepted().map_err(|why| format!("not ready: {why}"))?;
    let remark = body.get("remark").and_then(|remark| remark.as_str());
    say(&format!("ready{}", remark.map(|remark| format!(" ({remark})")).unwrap_or_default()));
    Ok(())
}
