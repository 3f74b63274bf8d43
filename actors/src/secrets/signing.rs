//! The keys that sign JWTs, the set of them that others may verify with, and jsonwebtoken's cryptography over ring.
//!
//! Signing is done here and not by jsonwebtoken, which parses the private key again for each token. Verifying is done
//! by jsonwebtoken, but never by its clock: who verifies says what time it is.

use std::fmt;

use ::ring::rand::{SecureRandom, SystemRandom};
use ::ring::signature::{Ed25519KeyPair, KeyPair};
use ::ring::{digest, signature};
use base64ct::{Base64UrlUnpadded, Encoding};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error as JwtError, ErrorKind, new_error};
use jsonwebtoken::jwk::ThumbprintHash;
use jsonwebtoken::signature::{Error as SignatureError, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey, Validation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

use crate::secrets::ring::{Ring, SealError};
use crate::secrets::verified::Verified;

/// The type of access tokens (RFC 9068 section 2.1).
pub const ACCESS_TOKEN: &str = "at+jwt";

const LABEL: &str = "signing key";
const ALGORITHM: &str = "EdDSA";
/// How many keys a set holds at most: the newest.
const MOST_KEYS: usize = 16;

/// One row of the table of signing keys. The private key is sealed by the ring; all else is public.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedSigningKey {
    /// Its name in token headers: the key's own thumbprint (RFC 7638), so no two keys have one.
    pub kid: String,
    /// Its algorithm, as in token headers. So far always `EdDSA`, on Ed25519 (RFC 8037).
    pub alg: String,
    /// The private key (PKCS#8), sealed, in base64url.
    pub sealed: String,
    /// The public key: the member `x` of its JWK (RFC 8037 section 2).
    pub public: String,
    /// When it was made, in milliseconds since 1970.
    pub created_at: i64,
    /// Since when it signs nothing any more, in milliseconds since 1970. What it signed is verified as before.
    pub retired_at: Option<i64>,
}

/// Why there is no signing key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SigningError {
    /// There is none that is not retired.
    #[error("there is no signing key that is not retired")]
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
}

struct SigningKey {
    kid: String,
    x: String,
    pair: Ed25519KeyPair,
    verifying: DecodingKey,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'a str,
    typ: &'a str,
    kid: &'a str,
}

impl SealedSigningKey {
    /// Makes a new key, which signs as soon as it is stored and opened with the others.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn generate(ring: &Ring, now: i64) -> Result<Self, SigningError> {
        let random = SystemRandom::new();
        let mut nonce = [0; 12];
        random.fill(&mut nonce).map_err(|_| SigningError::NoRandomness)?;
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).map_err(|_| SigningError::NoRandomness)?;
        Self::seal(ring, pkcs8.as_ref(), nonce, now).ok_or_else(|| SigningError::Damaged("just made".into()))
    }

    fn seal(ring: &Ring, pkcs8: &[u8], nonce: [u8; 12], now: i64) -> Option<Self> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).ok()?;
        let public = Base64UrlUnpadded::encode_string(pair.public_key().as_ref());
        let kid = thumbprint(&public);
        let sealed = Base64UrlUnpadded::encode_string(&ring.seal(LABEL, kid.as_bytes(), pkcs8, nonce));
        Some(Self { kid, alg: ALGORITHM.to_owned(), sealed, public, created_at: now, retired_at: None })
    }

    fn open(&self, ring: &Ring) -> Result<SigningKey, SigningError> {
        let damaged = || SigningError::Damaged(self.kid.clone());
        let sealed = Base64UrlUnpadded::decode_vec(&self.sealed).map_err(|_| damaged())?;
        let pkcs8 = ring.open(LABEL, self.kid.as_bytes(), &sealed);
        let pkcs8 = pkcs8.map_err(|source| SigningError::Sealed { kid: self.kid.clone(), source })?;
        let pair = Ed25519KeyPair::from_pkcs8(&Zeroizing::new(pkcs8)).map_err(|_| damaged())?;
        // The public half is taken from what was sealed. Beside it, somebody who can write to the table but has no key
        // could have put their own.
        let x = Base64UrlUnpadded::encode_string(pair.public_key().as_ref());
        if x != self.public || thumbprint(&x) != self.kid || self.alg != ALGORITHM {
            return Err(damaged());
        }
        let verifying = DecodingKey::from_ed_der(pair.public_key().as_ref());
        Ok(SigningKey { kid: self.kid.clone(), x, pair, verifying })
    }
}

/// RFC 7638, of a key as RFC 8037 section 2 writes it: SHA-256 over its required members in the order of their names.
fn thumbprint(x: &str) -> String {
    let members = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    Base64UrlUnpadded::encode_string(digest::digest(&digest::SHA256, members.as_bytes()).as_ref())
}

impl SigningKey {
    fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, TokenError> {
        let header = Header { alg: ALGORITHM, typ, kid: &self.kid };
        let header = serde_json::to_vec(&header).map_err(|_| TokenError::Claims)?;
        let claims = serde_json::to_vec(claims).map_err(|_| TokenError::Claims)?;
        let mut token = Base64UrlUnpadded::encode_string(&header);
        token.push('.');
        token.push_str(&Base64UrlUnpadded::encode_string(&claims));
        let signature = self.pair.sign(token.as_bytes());
        token.push('.');
        token.push_str(&Base64UrlUnpadded::encode_string(signature.as_ref()));
        Ok(token)
    }
}

/// The opened keys: the newest that is not retired signs, all of them verify. A value that never changes: after a
/// rotation a new set is opened and takes its place.
pub struct SigningKeys {
    current: SigningKey,
    older: Vec<SigningKey>,
    verified: Verified<serde_json::Value>,
}

impl SigningKeys {
    /// Opens the rows of the database, in whatever order. Of more than 16 the newest count.
    ///
    /// # Errors
    /// See [`SigningError`].
    pub fn unseal(ring: &Ring, rows: &[SealedSigningKey]) -> Result<Self, SigningError> {
        install();
        let mut newest: Vec<&SealedSigningKey> = rows.iter().collect();
        newest.sort_by(|one, other| (other.created_at, &other.kid).cmp(&(one.created_at, &one.kid)));
        let at = newest.iter().position(|row| row.retired_at.is_none()).ok_or(SigningError::NoKey)?;
        let current = newest.remove(at).open(ring)?;
        let older = newest.into_iter().take(MOST_KEYS - 1).map(|row| row.open(ring)).collect::<Result<_, _>>()?;
        Ok(Self { current, older, verified: Verified::default() })
    }

    /// The name of the key that signs.
    pub fn current(&self) -> &str {
        &self.current.kid
    }

    /// Signs claims as a JWT of this type, such as [`ACCESS_TOKEN`], with the current key.
    ///
    /// # Errors
    /// [`TokenError::Claims`] when the claims cannot be written as JSON, for instance a map with keys that are no text.
    pub fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, TokenError> {
        self.current.sign(typ, claims)
    }

    /// Signs with the key of this name, so that a repeated answer carries the very same token though the keys have
    /// rotated meanwhile (Ed25519 rolls no dice). A key that is gone gives way to the current one.
    ///
    /// # Errors
    /// As [`SigningKeys::sign`].
    pub fn sign_with(&self, kid: &str, typ: &str, claims: &impl Serialize) -> Result<String, TokenError> {
        self.all().find(|key| key.kid == kid).unwrap_or(&self.current).sign(typ, claims)
    }

    /// The public keys as a JWK set (RFC 7517 section 5), the signing one first.
    pub fn jwks(&self) -> serde_json::Value {
        let keys: Vec<_> = self
            .all()
            .map(|key| {
                json!({"kty": "OKP", "crv": "Ed25519", "x": key.x, "kid": key.kid, "alg": ALGORITHM, "use": "sig"})
            })
            .collect();
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
        if header.alg != Algorithm::EdDSA {
            return Err(TokenError::Algorithm);
        }
        if header.typ.as_deref() != Some(typ) {
            return Err(TokenError::Type);
        }
        // RFC 7515 section 4.1.11: what a critical member means must be understood, and we understand none.
        if header.crit.is_some() {
            return Err(TokenError::Malformed);
        }
        let kid = header.kid.ok_or(TokenError::UnknownKey)?;
        let key = self.all().find(|key| key.kid == kid).ok_or(TokenError::UnknownKey)?;

        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.validate_exp = false;
        rules.set_required_spec_claims(&["exp", "iss", "aud"]);
        rules.set_issuer(&[iss]);
        rules.set_audience(&[aud]);
        Ok(jsonwebtoken::decode(token, &key.verifying, &rules).map_err(refusal)?.claims)
    }

    fn all(&self) -> impl Iterator<Item = &SigningKey> {
        std::iter::once(&self.current).chain(&self.older)
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKeys(current {}, {} older)", self.current.kid, self.older.len())
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

/// Gives jsonwebtoken its cryptography: ring, and verifying only. It may be called any number of times; whoever uses
/// jsonwebtoken in another way than through [`SigningKeys`] calls it first.
pub fn install() {
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: no_signer,
        verifier_factory: verifier,
        key_utils: KeyUtils {
            rsa_pub_components_from_private_key: |_| Err(unsupported()),
            rsa_pub_components_from_public_key: |_| Err(unsupported()),
            ec_pub_components_from_private_key: |_, _| Err(unsupported()),
            ed_pub_components_from_private_key: |_, _| Err(unsupported()),
            compute_digest,
        },
    };
    // The second call finds the first one's work, which is what it wants.
    let _ = PROVIDER.install_default();
}

fn unsupported() -> JwtError {
    new_error(ErrorKind::UnsupportedAlgorithm)
}

fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>, JwtError> {
    Err(unsupported())
}

fn compute_digest(bytes: &[u8], hash: ThumbprintHash) -> Result<Vec<u8>, JwtError> {
    let algorithm = match hash {
        ThumbprintHash::SHA256 => &digest::SHA256,
        ThumbprintHash::SHA384 => &digest::SHA384,
        ThumbprintHash::SHA512 => &digest::SHA512,
        _ => return Err(unsupported()),
    };
    Ok(digest::digest(algorithm, bytes).as_ref().to_vec())
}

/// What other houses sign with: EdDSA, ES256, RS256. Nothing symmetric, so that no public key is ever taken for a secret.
fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, JwtError> {
    let family = match algorithm {
        Algorithm::EdDSA => AlgorithmFamily::Ed,
        Algorithm::ES256 => AlgorithmFamily::Ec,
        Algorithm::RS256 => AlgorithmFamily::Rsa,
        _ => return Err(unsupported()),
    };
    if key.family() != family {
        return Err(new_error(ErrorKind::InvalidKeyFormat));
    }
    Ok(Box::new(RingVerifier { algorithm: *algorithm, key: key.kind().clone() }))
}

struct RingVerifier {
    algorithm: Algorithm,
    key: DecodingKeyKind,
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signed: &Vec<u8>) -> Result<(), SignatureError> {
        let unparsed = |rules| match &self.key {
            DecodingKeyKind::SecretOrDer(key) => signature::UnparsedPublicKey::new(rules, key).verify(message, signed),
            DecodingKeyKind::RsaModulusExponent { .. } => Err(::ring::error::Unspecified),
        };
        let verified = match (self.algorithm, &self.key) {
            (Algorithm::EdDSA, _) => unparsed(&signature::ED25519),
            (Algorithm::ES256, _) => unparsed(&signature::ECDSA_P256_SHA256_FIXED),
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                let key = signature::RsaPublicKeyComponents { n, e };
                key.verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signed)
            }
            (Algorithm::RS256, _) => unparsed(&signature::RSA_PKCS1_2048_8192_SHA256),
            _ => Err(::ring::error::Unspecified),
        };
        verified.map_err(|_| SignatureError::new())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const ISS: &str = "https://id.example.org";

    fn ring() -> Ring {
        Ring::pretended(1)
    }

    fn row(now: i64) -> SealedSigningKey {
        SealedSigningKey::generate(&ring(), now).unwrap()
    }

    fn keys() -> SigningKeys {
        SigningKeys::unseal(&ring(), &[row(0)]).unwrap()
    }

    fn claims() -> Value {
        json!({"iss": ISS, "aud": ISS, "sub": "usr_1", "iat": 1_000, "exp": 1_300})
    }

    fn verify(keys: &SigningKeys, token: &str, now: i64) -> Result<Value, TokenError> {
        keys.verify(token, ACCESS_TOKEN, ISS, ISS, now)
    }

    /// A token with whatever header, honestly signed by the current key.
    fn signed(keys: &SigningKeys, header: &Value, payload: &[u8]) -> String {
        let encode = Base64UrlUnpadded::encode_string;
        let message = format!("{}.{}", encode(header.to_string().as_bytes()), encode(payload));
        let signature = encode(keys.current.pair.sign(message.as_bytes()).as_ref());
        format!("{message}.{signature}")
    }

    #[test]
    fn a_signed_token_is_verified_and_gives_its_claims_back() {
        let keys = keys();
        let token = keys.sign(ACCESS_TOKEN, &claims()).unwrap();
        assert_eq!(verify(&keys, &token, 1_299), Ok(claims()));
        assert_eq!(token, keys.sign(ACCESS_TOKEN, &claims()).unwrap());

        #[derive(Deserialize, PartialEq, Debug)]
        struct Subject {
            sub: String,
        }
        let subject: Subject = keys.verify(&token, ACCESS_TOKEN, ISS, ISS, 0).unwrap();
        assert_eq!(subject.sub, "usr_1");
        assert_eq!(keys.verify::<Vec<u8>>(&token, ACCESS_TOKEN, ISS, ISS, 0), Err(TokenError::Claims));
    }

    #[test]
    fn the_thumbprint_is_the_one_of_the_rfc() {
        // RFC 8037 appendix A.3.
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        assert_eq!(thumbprint(x), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn jsonwebtoken_reads_our_key_set_and_verifies_by_it() {
        let keys = keys();
        let set: jsonwebtoken::jwk::JwkSet = serde_json::from_value(keys.jwks()).unwrap();
        let key = DecodingKey::from_jwk(set.find(keys.current()).unwrap()).unwrap();
        let token = keys.sign(ACCESS_TOKEN, &claims()).unwrap();
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.validate_exp = false;
        rules.set_audience(&[ISS]);
        assert_eq!(jsonwebtoken::decode::<Value>(&token, &key, &rules).unwrap().claims, claims());
        assert!(!keys.jwks().to_string().contains("\"d\""));
    }

    #[test]
    fn time_is_what_the_caller_says() {
        let keys = keys();
        let token = keys.sign(ACCESS_TOKEN, &claims()).unwrap();
        assert_eq!(verify(&keys, &token, 1_300), Err(TokenError::Expired));
        assert!(verify(&keys, &token, 0).is_ok(), "an iat in the future is not refused");
        for exp in [json!("1300"), json!(-5), json!(1e30), json!(null)] {
            let mut odd = claims();
            odd["exp"] = exp;
            let token = keys.sign(ACCESS_TOKEN, &odd).unwrap();
            assert_eq!(verify(&keys, &token, 0), Err(TokenError::Expired), "{odd}");
        }
    }

    #[test]
    fn each_thing_that_is_wrong_has_its_own_error() {
        let keys = keys();
        let token = |changed: &[(&str, Value)]| {
            let mut claims = claims();
            changed.iter().for_each(|(name, value)| claims[*name] = value.clone());
            keys.sign(ACCESS_TOKEN, &claims).unwrap()
        };
        assert_eq!(verify(&keys, &token(&[("iss", json!("https://other.example"))]), 0), Err(TokenError::Issuer));
        assert_eq!(verify(&keys, &token(&[("iss", Value::Null)]), 0), Err(TokenError::Issuer));
        assert_eq!(verify(&keys, &token(&[("aud", json!("https://other.example"))]), 0), Err(TokenError::Audience));
        assert_eq!(verify(&keys, &token(&[("aud", Value::Null)]), 0), Err(TokenError::Audience));
        assert!(verify(&keys, &token(&[("aud", json!(["https://other.example", ISS]))]), 0).is_ok());

        let good = token(&[]);
        assert_eq!(keys.verify::<Value>(&good, "JWT", ISS, ISS, 0), Err(TokenError::Type));
        assert_eq!(verify(&keys, &keys.sign("AT+JWT", &claims()).unwrap(), 0), Err(TokenError::Type));
        assert_eq!(verify(&self::keys(), &good, 0), Err(TokenError::UnknownKey));

        let payload = claims().to_string();
        let kid = keys.current();
        for (header, error) in [
            (json!({"alg": "EdDSA", "typ": "at+jwt"}), TokenError::UnknownKey),
            (json!({"alg": "EdDSA", "kid": kid}), TokenError::Type),
            (json!({"alg": "none", "typ": "at+jwt", "kid": kid}), TokenError::Malformed),
            (json!({"alg": "HS256", "typ": "at+jwt", "kid": kid}), TokenError::Algorithm),
            (json!({"alg": "RS256", "typ": "at+jwt", "kid": kid}), TokenError::Algorithm),
            (
                json!({"alg": "EdDSA", "typ": "at+jwt", "kid": kid, "crit": ["b64"], "b64": false}),
                TokenError::Malformed,
            ),
        ] {
            assert_eq!(verify(&keys, &signed(&keys, &header, payload.as_bytes()), 0), Err(error), "{header}");
        }
        let header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": kid});
        for payload in ["", "[]", "\"x\"", "{", "\u{0}"] {
            assert!(verify(&keys, &signed(&keys, &header, payload.as_bytes()), 0).is_err(), "{payload}");
        }
        assert_eq!(keys.sign(ACCESS_TOKEN, &std::collections::BTreeMap::from([([1_u8], 1)])), Err(TokenError::Claims));
    }

    #[test]
    fn after_a_rotation_the_newest_signs_and_the_older_ones_verify() {
        let (old, new) = (row(1), row(2));
        let before = SigningKeys::unseal(&ring(), std::slice::from_ref(&old)).unwrap();
        let token = before.sign(ACCESS_TOKEN, &claims()).unwrap();
        let after = SigningKeys::unseal(&ring(), &[new.clone(), old.clone()]).unwrap();
        assert_eq!(after.current(), new.kid);
        assert!(verify(&after, &token, 0).is_ok());
        assert_eq!(after.jwks()["keys"][0]["kid"], json!(new.kid));
        assert_eq!(after.jwks()["keys"][1]["kid"], json!(old.kid));

        let retired = SealedSigningKey { retired_at: Some(3), ..new };
        let again = SigningKeys::unseal(&ring(), &[retired.clone(), old.clone()]).unwrap();
        assert_eq!(again.current(), old.kid);
        assert!(verify(&again, &after.sign(ACCESS_TOKEN, &claims()).unwrap(), 0).is_ok());
        assert_eq!(SigningKeys::unseal(&ring(), &[retired]).unwrap_err(), SigningError::NoKey);
        assert_eq!(SigningKeys::unseal(&ring(), &[]).unwrap_err(), SigningError::NoKey);
    }

    #[test]
    fn a_set_is_bounded_and_keeps_the_newest() {
        let rows: Vec<_> = (0..20).map(row).collect();
        let keys = SigningKeys::unseal(&ring(), &rows).unwrap();
        assert_eq!(keys.jwks()["keys"].as_array().unwrap().len(), MOST_KEYS);
        assert_eq!(keys.current(), rows[19].kid);
        assert!(keys.all().all(|key| key.kid != rows[3].kid));
    }

    #[test]
    fn a_row_that_was_tampered_with_is_refused() {
        let (one, other) = (row(1), row(2));
        let stored: SealedSigningKey = serde_json::from_str(&serde_json::to_string(&one).unwrap()).unwrap();
        assert_eq!(stored, one);
        let refused = |row: SealedSigningKey| SigningKeys::unseal(&ring(), &[row]).unwrap_err();
        let damaged = SigningError::Damaged(one.kid.clone());
        assert_eq!(refused(SealedSigningKey { public: other.public.clone(), ..one.clone() }), damaged);
        assert_eq!(refused(SealedSigningKey { alg: "ES256".into(), ..one.clone() }), damaged);
        assert_eq!(refused(SealedSigningKey { sealed: "!".into(), ..one.clone() }), damaged);
        let sealed = |kid: &str, source| SigningError::Sealed { kid: kid.into(), source };
        let swapped = SealedSigningKey { sealed: other.sealed.clone(), ..one.clone() };
        assert_eq!(refused(swapped), sealed(&one.kid, SealError::Tampered));
        let renamed = SealedSigningKey { kid: other.kid.clone(), ..one.clone() };
        assert_eq!(refused(renamed), sealed(&other.kid, SealError::Tampered));
        let error = SigningKeys::unseal(&Ring::pretended(2), std::slice::from_ref(&one)).unwrap_err();
        assert_eq!(error, sealed(&one.kid, SealError::Tampered));
    }

    #[test]
    fn an_rs256_signature_of_openssl_is_verified() {
        install();
        install();
        let message = b"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZGEifQ";
        let n = "s4bioPIKJxhF3MALV_r7KbsEPnNBzVUB3XBr-GtsYo6Y92kGh5UWlG-W9xouUqJv7sPmdDHIRbMaHWzujIOPDYXKOmi6EeVmyyKW8udo5h9_Y5NTn8dpxKIb2jHJgJzSfargLGH5Wrhh7F8HboL2100GXeUMVxwk3sNIGqBse1f_7ayf9Jy6CAPNm-vpzX8n_rLcr5rfryMcEm_ZJNOTh-TCxmDjcSVMWKl9s2qZUVOdb3A7SnuEgMo6v1C4CrrKaMBIiXl8887Hjyl7tSMRZwWI29MM3KPx4Hy641vxC0WM-DVZ01Q20hInlOhGgANXXjaWdVK_RvmLyDUme-SgjQ";
        let signature = "Dp8FUeI0xzcL25_NIL0arYd7l1zV_utjNbpbY25UaBpS6y3KFZh7ugxqjTbx5VO6_D5fM7Vsg9OWNXgW-E4xM70vvXlnH8BDlRwB9OYi9kOK65WeJ-Y1nSSHNX7Cbih19CC4OTGJ2214hx27QYi6i7P1iiuXvPKMwTRBcdBctqYbluRStu_k3ZVLkdFp9AC5FvOp7cwz24wipxUzNq6yJc692Yk2Su4mw34tbJDElnaao9Fr50CgnNhOTh_GDSCFVuKJsgx2IP0E8SRQHmoCJqoDC9AJ2693BSXtL8n5k-54sA3kXmy9JAVcoVDehguVGsZbdMOiG9prNh-3HM77VQ";
        let key = DecodingKey::from_rsa_components(n, "AQAB").unwrap();
        let verify = |message: &[u8], algorithm| jsonwebtoken::crypto::verify(signature, message, &key, algorithm);
        assert_eq!(verify(message, Algorithm::RS256), Ok(true));
        assert_eq!(verify(b"another message", Algorithm::RS256), Ok(false));
        assert!(verify(message, Algorithm::RS512).is_err());
        assert!(verify(message, Algorithm::EdDSA).is_err());
        assert!(verify(message, Algorithm::HS256).is_err());
    }

    #[test]
    fn an_es256_signature_is_verified_and_a_public_key_is_never_a_secret() {
        install();
        let random = SystemRandom::new();
        let rules = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = signature::EcdsaKeyPair::generate_pkcs8(rules, &random).unwrap();
        let pair = signature::EcdsaKeyPair::from_pkcs8(rules, pkcs8.as_ref(), &random).unwrap();
        let point = pair.public_key().as_ref();
        let signature = Base64UrlUnpadded::encode_string(pair.sign(&random, b"message").unwrap().as_ref());
        let encode = Base64UrlUnpadded::encode_string;
        let key = DecodingKey::from_ec_components(&encode(&point[1..33]), &encode(&point[33..])).unwrap();
        let verify = |message: &[u8], algorithm| jsonwebtoken::crypto::verify(&signature, message, &key, algorithm);
        assert_eq!(verify(b"message", Algorithm::ES256), Ok(true));
        assert_eq!(verify(b"massage", Algorithm::ES256), Ok(false));
        assert!(verify(b"message", Algorithm::EdDSA).is_err());
        let secret = DecodingKey::from_secret(point).unwrap();
        assert!(jsonwebtoken::crypto::verify(&signature, b"message", &secret, Algorithm::HS256).is_err());
    }

    proptest! {
        #[test]
        fn a_changed_token_is_never_accepted(flip: prop::sample::Index, letter in "[A-Za-z0-9_.-]") {
            let keys = keys();
            let good = keys.sign(ACCESS_TOKEN, &claims()).unwrap();
            let at = flip.index(good.len());
            let mut changed = good.clone();
            changed.replace_range(at..=at, &letter);
            prop_assert_eq!(verify(&keys, &changed, 0).is_ok(), changed == good);
        }

        #[test]
        fn no_text_makes_verifying_panic(any in "\\PC{0,80}", parts in "[A-Za-z0-9_-]{0,40}(\\.[A-Za-z0-9_-]{0,40}){0,4}", payload: Vec<u8>) {
            let keys = keys();
            prop_assert!(verify(&keys, &any, 0).is_err());
            prop_assert!(verify(&keys, &parts, 0).is_err());
            let header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": keys.current()});
            prop_assert!(verify(&keys, &signed(&keys, &header, &payload), 0).is_err());
        }
    }
}
