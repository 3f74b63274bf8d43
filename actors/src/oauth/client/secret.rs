//! Client secrets.
//!
//! They are random, 256 bits, and so a keyed hash of one is all that need be kept: there is nothing to be guessed that a
//! slow hash would make dear, and checking one takes a microsecond. Somebody who has the database without the master key
//! has neither the secrets nor anything to try guesses on, which also holds for secrets of less than that which were
//! imported from elsewhere.

use std::fmt;

use base64ct::{Base64UrlUnpadded, Encoding};
use cairn_runtime::Timestamp;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::environment::Environment;
use crate::secrets::digest::Digest;

/// A secret as a client shows it. Printed as dots, wiped when dropped.
pub struct ClientSecret(Zeroizing<String>);

impl ClientSecret {
    /// What each secret that is made here begins with, so that scanners find leaked ones.
    pub const PREFIX: &'static str = "cairn_cs_";

    /// A new one out of 32 random bytes.
    pub fn from_seed(seed: [u8; 32]) -> Self {
        Self(Zeroizing::new(format!("{}{}", Self::PREFIX, Base64UrlUnpadded::encode_string(&seed))))
    }

    /// One that came.
    pub fn shown(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// Its text, to be told once.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// By which it is kept. The key of the hash never rotates.
    pub fn digest(&self, environment: &Environment) -> Digest {
        environment.digest("client secret", self.0.as_bytes())
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientSecret(…)")
    }
}

/// A secret as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredSecret {
    /// Its keyed hash.
    pub digest: Digest,
    /// When it was made.
    pub created_at: Timestamp,
    /// Until when it is good; `None`: until it is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl StoredSecret {
    /// Whether it counts at an instant.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }

    /// Whether it is this one, in constant time.
    pub fn is(&self, digest: &Digest) -> bool {
        self.digest.0.ct_eq(&digest.0).into()
    }
}
