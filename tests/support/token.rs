//! Access tokens as a resource server sees them: verified against the published keys, with no help from Cairn's code.

use base64ct::{Base64UrlUnpadded, Encoding};
use ring::signature::{ECDSA_P256_SHA256_FIXED, ED25519, UnparsedPublicKey};
use serde_json::Value;

fn decoded(text: &str) -> Vec<u8> {
    Base64UrlUnpadded::decode_vec(text).expect("base64url without padding")
}

fn member(part: &str) -> Value {
    serde_json::from_slice(&decoded(part)).expect("JSON in the token")
}

/// Header and claims, the signature not looked at.
pub fn read(token: &str) -> (Value, Value) {
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3, "not a JWT: {token}");
    (member(parts[0]), member(parts[1]))
}

/// The claims alone.
pub fn claims(token: &str) -> Value {
    read(token).1
}

/// Whether the token's signature is good under the key that its `kid` names in this set (RFC 7517).
pub fn verifies(token: &str, keys: &Value) -> bool {
    let (header, _) = read(token);
    let key =
        keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]).expect("the key is published");
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let signature = decoded(signature);
    let coordinate = |name: &str| decoded(key[name].as_str().unwrap());
    match header["alg"].as_str().unwrap() {
        "EdDSA" | "Ed25519" => {
            UnparsedPublicKey::new(&ED25519, coordinate("x")).verify(signed.as_bytes(), &signature).is_ok()
        }
        "ES256" => {
            let point = [vec![4], coordinate("x"), coordinate("y")].concat();
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed.as_bytes(), &signature).is_ok()
        }
        other => panic!("no way here to verify {other}"),
    }
}
