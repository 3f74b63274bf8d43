//! What every use case asks of a password before it may be somebody's.

use super::typed::bad;
use super::{Refusal, Services};
use crate::secrets::hasher::{Lane, SealedHash};
use crate::secrets::password::Password;
use crate::secrets::strength::OwnWords;

impl Services {
    /// Refuses a password that is too short, too long, known from a breach or easily guessed, the person's own words
    /// considered; `pointer` is the member that it came in. Gives it back when it is good.
    ///
    /// The estimate runs on the hasher's pool, in the lane of whoever asks.
    ///
    /// # Errors
    /// [`Refusal::Values`] with one entry; the engine's when too many wait in the lane.
    pub async fn worthy(
        &self,
        password: Password,
        own: OwnWords,
        pointer: &'static str,
        lane: Lane,
    ) -> Result<Password, Refusal> {
        password.check_length().map_err(|why| bad(pointer, &why))?;
        let (password, verdict) = self.hasher.judge(password, own, lane).await?;
        verdict.map_err(|why| bad(pointer, &why))?;
        Ok(password)
    }

    /// The hash of a password that may be chosen, where nothing is to be asked between the two.
    ///
    /// # Errors
    /// As [`Services::worthy`].
    pub(super) async fn worthy_hash(
        &self,
        password: Password,
        own: OwnWords,
        pointer: &'static str,
        lane: Lane,
    ) -> Result<SealedHash, Refusal> {
        password.check_length().map_err(|why| bad(pointer, &why))?;
        self.hasher.hash_if_worthy(password, own, lane).await?.map_err(|why| bad(pointer, &why))
    }
}
