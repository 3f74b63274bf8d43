//! jsonwebtoken's cryptography over ring, for verifying only.

use ::ring::{digest, signature};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error as JwtError, ErrorKind, new_error};
use jsonwebtoken::jwk::ThumbprintHash;
use jsonwebtoken::signature::{Error as SignatureError, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, EncodingKey};

/// Gives jsonwebtoken its cryptography: ring, and verifying only. It may be called any number of times; whoever uses
/// jsonwebtoken in another way than through [`super::SigningKeys`] calls it first.
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

/// What others sign with: EdDSA, ES256, RS256. Nothing symmetric, so that no public key is ever taken for a secret.
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
    use ::ring::rand::SystemRandom;
    use ::ring::signature::KeyPair;
    use base64ct::{Base64UrlUnpadded, Encoding};

    use super::*;

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
}
