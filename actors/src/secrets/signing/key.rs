//! One signing key: made, sealed, opened, published, and signing.

use ::ring::digest;
use ::ring::rand::{SecureRandom, SystemRandom};
use ::ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64ct::{Base64UrlUnpadded, Encoding};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

use super::{SigningError, TokenError, rsa};
use crate::secrets::ring::Ring;
use crate::secrets::signing_algorithm::SigningAlgorithm;

const LABEL: &str = "signing key";

/// One row of the table of signing keys. The private key is sealed by the ring; all else is public.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedSigningKey {
    /// Its name in token headers: the key's own thumbprint (RFC 7638), so no two keys have one.
    pub kid: String,
    /// Its algorithm, as in token headers: see [`SigningAlgorithm`].
    pub alg: String,
    /// The private key, sealed, in base64url: PKCS#8, of RSA as RFC 8017 appendix A.1.2 has it.
    pub sealed: String,
    /// The public key: the members of its JWK that are numbers, in base64url, with a dot between two. `x` (RFC 8037
    /// section 2), `x` and `y`, or `n` and `e` (RFC 7518 section 6).
    pub public: String,
    /// When it was made, in milliseconds since 1970.
    pub created_at: i64,
    /// Since when it signs nothing any more, in milliseconds since 1970, whatever its successor does. What it signed is
    /// verified as before.
    pub retired_at: Option<i64>,
}

impl SealedSigningKey {
    /// Makes a new key. It serves once it is stored and opened with the others; since when it signs,
    /// [`super::schedule`] says. An RSA key takes a moment: call this where it blocks nobody.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn generate(ring: &Ring, algorithm: SigningAlgorithm, now: i64) -> Result<Self, SigningError> {
        let random = SystemRandom::new();
        let failed = |_| SigningError::NoRandomness;
        let (mut nonce, mut seed) = ([0; 12], Zeroizing::new([0; 32]));
        random.fill(&mut nonce).map_err(failed)?;
        random.fill(&mut *seed).map_err(failed)?;
        let damaged = || SigningError::Damaged("just made".into());
        let private = match algorithm {
            SigningAlgorithm::EdDsa => Ed25519KeyPair::generate_pkcs8(&random).map_err(failed)?.as_ref().to_vec(),
            SigningAlgorithm::Es256 => {
                let rules = &ECDSA_P256_SHA256_FIXED_SIGNING;
                EcdsaKeyPair::generate_pkcs8(rules, &random).map_err(failed)?.as_ref().to_vec()
            }
            SigningAlgorithm::Rs256 => rsa::generate(&seed).ok_or_else(damaged)?.to_vec(),
        };
        Self::seal(ring, algorithm, &Zeroizing::new(private), nonce, now).ok_or_else(damaged)
    }

    pub(crate) fn seal(
        ring: &Ring,
        algorithm: SigningAlgorithm,
        private: &[u8],
        nonce: [u8; 12],
        now: i64,
    ) -> Option<Self> {
        let public = PublicKey::of(&Pair::read(algorithm, private)?)?;
        let kid = public.thumbprint();
        let sealed = Base64UrlUnpadded::encode_string(&ring.seal(LABEL, kid.as_bytes(), private, nonce));
        let (alg, public) = (algorithm.name().to_owned(), public.column());
        Some(Self { kid, alg, sealed, public, created_at: now, retired_at: None })
    }

    pub(super) fn open(&self, ring: &Ring) -> Result<SigningKey, SigningError> {
        let damaged = || SigningError::Damaged(self.kid.clone());
        let algorithm = self.algorithm().ok_or_else(damaged)?;
        let sealed = Base64UrlUnpadded::decode_vec(&self.sealed).map_err(|_| damaged())?;
        let private = ring.open(LABEL, self.kid.as_bytes(), &sealed);
        let private = private.map_err(|source| SigningError::Sealed { kid: self.kid.clone(), source })?;
        let pair = Pair::read(algorithm, &Zeroizing::new(private)).ok_or_else(damaged)?;
        // The public half is taken from what was sealed. Beside it, somebody who can write to the table but has no key
        // could have put their own.
        let public = PublicKey::of(&pair).ok_or_else(damaged)?;
        if public.column() != self.public || public.thumbprint() != self.kid {
            return Err(damaged());
        }
        let verifying = public.decoding_key().ok_or_else(damaged)?;
        Ok(SigningKey { row: self.clone(), algorithm, public, pair, verifying })
    }

    /// Its algorithm; `None` if this release does not know it.
    pub fn algorithm(&self) -> Option<SigningAlgorithm> {
        SigningAlgorithm::parse(&self.alg)
    }
}

/// An opened key.
pub(super) struct SigningKey {
    pub(super) row: SealedSigningKey,
    pub(super) algorithm: SigningAlgorithm,
    pub(super) verifying: DecodingKey,
    public: PublicKey,
    pair: Pair,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    typ: &'a str,
    kid: &'a str,
}

impl SigningKey {
    pub(super) fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, TokenError> {
        let header = Header { alg: self.algorithm.name(), typ, kid: &self.row.kid };
        let header = serde_json::to_vec(&header).map_err(|_| TokenError::Claims)?;
        let claims = serde_json::to_vec(claims).map_err(|_| TokenError::Claims)?;
        self.sign_parts(&header, &claims)
    }

    /// The compact serialization (RFC 7515 section 7.1).
    pub(super) fn sign_parts(&self, header: &[u8], payload: &[u8]) -> Result<String, TokenError> {
        let mut token = Base64UrlUnpadded::encode_string(header);
        token.push('.');
        token.push_str(&Base64UrlUnpadded::encode_string(payload));
        let signature = self.pair.sign(token.as_bytes()).ok_or(TokenError::Unsigned)?;
        token.push('.');
        token.push_str(&Base64UrlUnpadded::encode_string(&signature));
        Ok(token)
    }

    /// The public key as a JWK.
    pub(super) fn jwk(&self) -> serde_json::Value {
        let mut jwk = self.public.members();
        if let Some(members) = jwk.as_object_mut() {
            members.insert("kid".to_owned(), self.row.kid.as_str().into());
            members.insert("alg".to_owned(), self.algorithm.name().into());
            members.insert("use".to_owned(), "sig".into());
        }
        jwk
    }
}

/// The name of an algorithm for jsonwebtoken.
pub(super) const fn named(algorithm: SigningAlgorithm) -> Algorithm {
    match algorithm {
        SigningAlgorithm::EdDsa => Algorithm::EdDSA,
        SigningAlgorithm::Es256 => Algorithm::ES256,
        SigningAlgorithm::Rs256 => Algorithm::RS256,
    }
}

/// A key pair, read once and kept.
enum Pair {
    EdDsa(Ed25519KeyPair),
    Es256(EcdsaKeyPair),
    Rs256(Box<RsaKeyPair>),
}

impl Pair {
    fn read(algorithm: SigningAlgorithm, private: &[u8]) -> Option<Self> {
        Some(match algorithm {
            SigningAlgorithm::EdDsa => Self::EdDsa(Ed25519KeyPair::from_pkcs8(private).ok()?),
            SigningAlgorithm::Es256 => {
                let rules = &ECDSA_P256_SHA256_FIXED_SIGNING;
                Self::Es256(EcdsaKeyPair::from_pkcs8(rules, private, &SystemRandom::new()).ok()?)
            }
            SigningAlgorithm::Rs256 => Self::Rs256(Box::new(RsaKeyPair::from_der(private).ok()?)),
        })
    }

    /// `None` only where random bytes are needed (ES256; RS256 blinds) and cannot be had.
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        match self {
            Self::EdDsa(pair) => Some(pair.sign(message).as_ref().to_vec()),
            Self::Es256(pair) => Some(pair.sign(&SystemRandom::new(), message).ok()?.as_ref().to_vec()),
            Self::Rs256(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).ok()?;
                Some(signature)
            }
        }
    }
}

/// A public key by the members of its JWK, in base64url.
enum PublicKey {
    /// RFC 8037 section 2.
    Ed25519 { x: String },
    /// RFC 7518 section 6.2.
    P256 { x: String, y: String },
    /// RFC 7518 section 6.3.
    Rsa { n: String, e: String },
}

impl PublicKey {
    fn of(pair: &Pair) -> Option<Self> {
        let encode = Base64UrlUnpadded::encode_string;
        Some(match pair {
            Pair::EdDsa(pair) => Self::Ed25519 { x: encode(pair.public_key().as_ref()) },
            Pair::Es256(pair) => {
                // SEC 1 section 2.3.3: 4 for an uncompressed point, then both coordinates.
                let (_, point) = pair.public_key().as_ref().split_first()?;
                let (x, y) = point.split_at_checked(32)?;
                Self::P256 { x: encode(x), y: encode(y) }
            }
            Pair::Rs256(pair) => {
                let public: ::ring::signature::RsaPublicKeyComponents<Vec<u8>> = pair.public().into();
                Self::Rsa { n: encode(&public.n), e: encode(&public.e) }
            }
        })
    }

    fn column(&self) -> String {
        match self {
            Self::Ed25519 { x } => x.clone(),
            Self::P256 { x, y } => format!("{x}.{y}"),
            Self::Rsa { n, e } => format!("{n}.{e}"),
        }
    }

    fn members(&self) -> serde_json::Value {
        match self {
            Self::Ed25519 { x } => json!({"kty": "OKP", "crv": "Ed25519", "x": x}),
            Self::P256 { x, y } => json!({"kty": "EC", "crv": "P-256", "x": x, "y": y}),
            Self::Rsa { n, e } => json!({"kty": "RSA", "n": n, "e": e}),
        }
    }

    /// RFC 7638: SHA-256 over the required members in the order of their names.
    fn thumbprint(&self) -> String {
        let members = match self {
            Self::Ed25519 { x } => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#),
            Self::P256 { x, y } => format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#),
            Self::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
        };
        Base64UrlUnpadded::encode_string(digest::digest(&digest::SHA256, members.as_bytes()).as_ref())
    }

    fn decoding_key(&self) -> Option<DecodingKey> {
        match self {
            Self::Ed25519 { x } => DecodingKey::from_ed_components(x).ok(),
            Self::P256 { x, y } => DecodingKey::from_ec_components(x, y).ok(),
            Self::Rsa { n, e } => DecodingKey::from_rsa_components(n, e).ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprints_are_those_of_the_rfcs() {
        // RFC 8037 appendix A.3.
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".to_owned();
        assert_eq!(PublicKey::Ed25519 { x }.thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        // RFC 7638 section 3.1.
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCi\
                 FV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9\
                 c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1j\
                 F44-csFCur-kEgU8awapJzKnqDKgw"
            .to_owned();
        let key = PublicKey::Rsa { n, e: "AQAB".to_owned() };
        assert_eq!(key.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn jsonwebtoken_finds_the_same_thumbprints() {
        for algorithm in SigningAlgorithm::ALL {
            let ring = Ring::pretended(1);
            super::super::install();
            let key = SealedSigningKey::generate(&ring, algorithm, 0).unwrap().open(&ring).unwrap();
            let jwk: jsonwebtoken::jwk::Jwk = serde_json::from_value(key.jwk()).unwrap();
            assert_eq!(jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256).unwrap(), key.row.kid, "{algorithm}");
        }
    }
}
