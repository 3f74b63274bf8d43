//! The keys that sign JWTs, the set of them that others may verify with, and jsonwebtoken's cryptography over ring.
//!
//! Signing is done here and not by jsonwebtoken, which parses the private key again for each token. Verifying is done
//! by jsonwebtoken, but never by its clock: the caller says what time it is.

use std::fmt;

use cairn_runtime::Timestamp;
use jsonwebtoken::Validation;
use jsonwebtoken::errors::{Error as JwtError, ErrorKind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

mod key;
mod provider;
mod rsa;
pub mod schedule;
pub mod store;

pub use self::key::SealedSigningKey;
use self::key::SigningKey;
pub use self::provider::install;
use crate::secrets::ring::{Ring, SealError};
use crate::secrets::signing_algorithm::SigningAlgorithm;
use crate::secrets::verified::Verified;

/// The type of access tokens (RFC 9068 section 2.1).
pub const ACCESS_TOKEN: &str = "at+jwt";

/// How many keys of one algorithm a set holds at most: the one that signs, and the newest of the others.
const MOST_KEYS: usize = 16;

/// Why there is no signing key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// There is none for access tokens that is not retired.
    #[error("there is no signing key for EdDSA that is not retired")]
    NoKey,
    /// The ring does not open it.
    #[error("the signing key {kid} cannot be opened: {source}")]
    Sealed {
        /// Its name.
        kid: String,
        /// Why the ring does not open it.
        source: SealError,
    },
    /// What is sealed does not fit what stands beside it, or is no key.
    #[error("the signing key {0} is damaged")]
    Damaged(String),
    /// The operating system gives no random bytes.
    #[error("no random bytes can be had from the operating system")]
    NoRandomness,
}

/// Why a token is not accepted. For the log: whoever sent it is told "invalid token" and no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no JWT, or demands an extension by `crit`.
    #[error("it is no signed JWT")]
    Malformed,
    /// Its `alg` is not its key's.
    #[error("it names another algorithm than its key's")]
    Algorithm,
    /// Its `typ` is another than the one asked for.
    #[error("it is a token of another type")]
    Type,
    /// Its `kid` is missing or not in the set.
    #[error("it was signed by an unknown key")]
    UnknownKey,
    /// Its signature is wrong.
    #[error("its signature is wrong")]
    Signature,
    /// Its `iss` is missing or another.
    #[error("it is of another issuer")]
    Issuer,
    /// Its `aud` is missing or another.
    #[error("it is for another audience")]
    Audience,
    /// Its `exp` is missing, or not after the present.
    #[error("it has expired")]
    Expired,
    /// Its claims are not those that were asked for, or cannot be written as JSON.
    #[error("its claims have another shape")]
    Claims,
    /// It could not be signed: no random bytes can be had from the operating system.
    #[error("no random bytes can be had from the operating system")]
    Unsigned,
}

/// The opened keys: of each algorithm one signs, all of them verify. A value that never changes: when the table has
/// changed, a new set is opened and takes its place.
pub struct SigningKeys {
    /// All rows of the table.
    rows: Vec<SealedSigningKey>,
    /// Grouped by algorithm, the signing one first.
    keys: Vec<SigningKey>,
    verified: Verified<serde_json::Value>,
}

impl SigningKeys {
    /// Opens the rows of the database, in whatever order. Of more than 16 of one algorithm, the one that signs at `now`
    /// and the newest count.
    ///
    /// # Errors
    /// See [`SigningError`].
    pub fn unseal(ring: &Ring, rows: &[SealedSigningKey], now: Timestamp) -> Result<Self, SigningError> {
        install();
        schedule::signing(rows, SigningAlgorithm::EdDsa, now).ok_or(SigningError::NoKey)?;
        if let Some(unknown) = rows.iter().find(|row| row.algorithm().is_none()) {
            return Err(SigningError::Damaged(unknown.kid.clone()));
        }
        let mut keys = Vec::new();
        for algorithm in SigningAlgorithm::ALL {
            let current = schedule::signing(rows, algorithm, now);
            let mut newest: Vec<_> = rows.iter().filter(|row| row.algorithm() == Some(algorithm)).collect();
            newest.sort_by_key(|row| (Some(*row) != current, -row.created_at, row.kid.as_str()));
            for row in newest.into_iter().take(MOST_KEYS) {
                keys.push(row.open(ring)?);
            }
        }
        let mut rows = rows.to_vec();
        rows.sort_by(|one, other| one.kid.cmp(&other.kid));
        Ok(Self { rows, keys, verified: Verified::default() })
    }

    /// Whether these are the rows that the set was opened from.
    pub fn are_of(&self, rows: &[SealedSigningKey]) -> bool {
        rows.len() == self.rows.len() && rows.iter().all(|row| self.rows.contains(row))
    }

    /// All rows of the table, by their names.
    pub fn rows(&self) -> &[SealedSigningKey] {
        &self.rows
    }

    /// The name of the key of an algorithm that signs at this instant. There is always one for EdDSA.
    pub fn current(&self, algorithm: SigningAlgorithm, now: Timestamp) -> Option<&str> {
        let opened = self.keys.iter().map(|key| &key.row);
        schedule::signing(opened, algorithm, now).map(|row| row.kid.as_str())
    }

    /// Signs claims as a JWT of this type, such as [`ACCESS_TOKEN`], with the key of this name.
    ///
    /// # Errors
    /// [`TokenError::UnknownKey`] when the set has none of this name, [`TokenError::Claims`] when the claims cannot be
    /// written as JSON, for instance a map with keys that are no text.
    pub fn sign(&self, kid: &str, typ: &str, claims: &impl Serialize) -> Result<String, TokenError> {
        self.named(kid).ok_or(TokenError::UnknownKey)?.sign(typ, claims)
    }

    /// The same for a token of ours that is rendered again, so that a repeated answer carries the very same token though
    /// the keys have rotated meanwhile (Ed25519 rolls no dice). A key that is gone gives way to the one of EdDSA that
    /// signs at `now`.
    ///
    /// # Errors
    /// As [`SigningKeys::sign`].
    pub fn sign_with(
        &self,
        kid: &str,
        now: Timestamp,
        typ: &str,
        claims: &impl Serialize,
    ) -> Result<String, TokenError> {
        let current = || self.current(SigningAlgorithm::EdDsa, now).and_then(|kid| self.named(kid));
        self.named(kid).or_else(current).ok_or(TokenError::UnknownKey)?.sign(typ, claims)
    }

    /// The public keys as a JWK set (RFC 7517 section 5).
    pub fn jwks(&self) -> serde_json::Value {
        let keys: Vec<_> = self.keys.iter().map(SigningKey::jwk).collect();
        json!({ "keys": keys })
    }

    /// Verifies a token that one of these keys signed: `alg`, `typ`, `kid` and signature, `iss` and `aud`, and that
    /// `exp` lies after `now` (both in seconds since 1970). An `iat` in the future is not refused: the clock may have
    /// been set back.
    ///
    /// # Errors
    /// The first of [`TokenError`] that is wrong with it.
    pub fn verify<C: DeserializeOwned>(
        &self,
        token: &str,
        typ: &str,
        iss: &str,
        aud: &str,
        now: i64,
    ) -> Result<C, TokenError> {
        let claims = self.verified.claims([token, typ, iss, aud], || self.check(token, typ, iss, aud))?;
        // RFC 7519 section 4.1.4: the present must be *before* it.
        if claims.get("exp").and_then(serde_json::Value::as_i64).is_none_or(|exp| exp <= now) {
            return Err(TokenError::Expired);
        }
        C::deserialize(&*claims).map_err(|_| TokenError::Claims)
    }

    /// All of a verification that is the same whenever it is done.
    fn check(&self, token: &str, typ: &str, iss: &str, aud: &str) -> Result<serde_json::Value, TokenError> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        if header.typ.as_deref() != Some(typ) {
            return Err(TokenError::Type);
        }
        // RFC 7515 section 4.1.11: what a critical member means must be understood, and we understand none.
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let key = header.kid.as_deref().and_then(|kid| self.named(kid)).ok_or(TokenError::UnknownKey)?;
        // The key says by which algorithm its tokens are verified, and the token has to agree.
        if header.alg != key::named(key.algorithm) {
            return Err(TokenError::Algorithm);
        }
        let mut rules = Validation::new(header.alg);
        rules.validate_exp = false;
        rules.set_required_spec_claims(&["exp", "iss", "aud"]);
        rules.set_issuer(&[iss]);
        rules.set_audience(&[aud]);
        Ok(jsonwebtoken::decode(token, &key.verifying, &rules).map_err(refusal)?.claims)
    }

    fn named(&self, kid: &str) -> Option<&SigningKey> {
        self.keys.iter().find(|key| key.row.kid == kid)
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kids = self.keys.iter().map(|key| &key.row.kid);
        f.debug_list().entries(kids).finish()
    }
}

fn refusal(error: JwtError) -> TokenError {
    match error.kind() {
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidIssuer => TokenError::Issuer,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
        ErrorKind::MissingRequiredClaim(claim) => match claim.as_str() {
            "iss" => TokenError::Issuer,
            "aud" => TokenError::Audience,
            _ => TokenError::Expired,
        },
        _ => TokenError::Malformed,
    }
}

#[cfg(test)]
mod tests;
