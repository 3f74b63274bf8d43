//! What every use case asks of a password before it may be somebody's.

use cairn_runtime::Fault;

use super::Refusal;
use super::typed::bad;
use crate::password::Password;
use crate::strength::{self, OwnWords};

/// Refuses a password that is too short, too long, known from a breach or easily guessed, the person's own words
/// considered; `pointer` is the member that it came in. Gives it back when it is good.
///
/// The estimate takes milliseconds of a core, so it has a thread of its own.
///
/// # Errors
/// [`Refusal::Values`] with one entry.
pub async fn worthy(password: Password, own: OwnWords, pointer: &'static str) -> Result<Password, Refusal> {
    password.check_length().map_err(|why| bad(pointer, &why))?;
    let judged = tokio::task::spawn_blocking(move || {
        let verdict = strength::check(&password, &own);
        (password, verdict)
    });
    let (password, verdict) =
        judged.await.map_err(|why| Refusal::Fault(Fault::Defect(format!("a password was not judged: {why}"))))?;
    verdict.map_err(|why| bad(pointer, &why))?;
    Ok(password)
}
