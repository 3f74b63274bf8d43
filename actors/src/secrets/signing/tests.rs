//! The set of keys: what it signs, publishes and verifies.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use jsonwebtoken::{Algorithm, DecodingKey};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use super::*;

const ISS: &str = "https://id.example.org";
const LATE: Timestamp = Timestamp(1 << 40);

fn ring() -> Ring {
    Ring::pretended(1)
}

fn row(now: i64) -> SealedSigningKey {
    row_of(SigningAlgorithm::EdDsa, now)
}

fn row_of(algorithm: SigningAlgorithm, now: i64) -> SealedSigningKey {
    SealedSigningKey::generate(&ring(), algorithm, now).unwrap()
}

/// Opened long after all of them have become ready to sign.
fn opened(rows: &[SealedSigningKey]) -> Result<SigningKeys, SigningError> {
    SigningKeys::unseal(&ring(), rows, LATE)
}

fn keys() -> SigningKeys {
    opened(&[row(0)]).unwrap()
}

fn of_all_algorithms() -> SigningKeys {
    opened(&SigningAlgorithm::ALL.map(|algorithm| row_of(algorithm, 0))).unwrap()
}

fn kid(keys: &SigningKeys) -> &str {
    keys.current(SigningAlgorithm::EdDsa, LATE).unwrap()
}

fn sign(keys: &SigningKeys, typ: &str, claims: &impl Serialize) -> Result<String, TokenError> {
    keys.sign(kid(keys), typ, claims)
}

fn claims() -> Value {
    json!({"iss": ISS, "aud": ISS, "sub": "usr_1", "iat": 1_000, "exp": 1_300})
}

fn verify(keys: &SigningKeys, token: &str, now: i64) -> Result<Value, TokenError> {
    keys.verify(token, ACCESS_TOKEN, ISS, ISS, now)
}

/// A token with whatever header, honestly signed by the current key.
fn signed(keys: &SigningKeys, header: &Value, payload: &[u8]) -> String {
    let key = keys.named(kid(keys)).unwrap();
    key.sign_parts(header.to_string().as_bytes(), payload).unwrap()
}

#[test]
fn a_signed_token_is_verified_and_gives_its_claims_back() {
    let keys = keys();
    let token = sign(&keys, ACCESS_TOKEN, &claims()).unwrap();
    assert_eq!(verify(&keys, &token, 1_299), Ok(claims()));
    assert_eq!(token, sign(&keys, ACCESS_TOKEN, &claims()).unwrap());

    #[derive(Deserialize, PartialEq, Debug)]
    struct Subject {
        sub: String,
    }
    let subject: Subject = keys.verify(&token, ACCESS_TOKEN, ISS, ISS, 0).unwrap();
    assert_eq!(subject.sub, "usr_1");
    assert_eq!(keys.verify::<Vec<u8>>(&token, ACCESS_TOKEN, ISS, ISS, 0), Err(TokenError::Claims));
}

#[test]
fn jsonwebtoken_reads_our_key_set_and_verifies_by_it() {
    let keys = keys();
    let set: jsonwebtoken::jwk::JwkSet = serde_json::from_value(keys.jwks()).unwrap();
    let key = DecodingKey::from_jwk(set.find(kid(&keys)).unwrap()).unwrap();
    let token = sign(&keys, ACCESS_TOKEN, &claims()).unwrap();
    let mut rules = Validation::new(Algorithm::EdDSA);
    rules.validate_exp = false;
    rules.set_audience(&[ISS]);
    assert_eq!(jsonwebtoken::decode::<Value>(&token, &key, &rules).unwrap().claims, claims());
    assert!(!keys.jwks().to_string().contains("\"d\""));
}

#[test]
fn time_is_what_the_caller_says() {
    let keys = keys();
    let token = sign(&keys, ACCESS_TOKEN, &claims()).unwrap();
    assert_eq!(verify(&keys, &token, 1_300), Err(TokenError::Expired));
    assert!(verify(&keys, &token, 0).is_ok(), "an iat in the future is not refused");
    for exp in [json!("1300"), json!(-5), json!(1e30), json!(null)] {
        let mut odd = claims();
        odd["exp"] = exp;
        let token = sign(&keys, ACCESS_TOKEN, &odd).unwrap();
        assert_eq!(verify(&keys, &token, 0), Err(TokenError::Expired), "{odd}");
    }
}

#[test]
fn each_thing_that_is_wrong_has_its_own_error() {
    let keys = keys();
    let token = |changed: &[(&str, Value)]| {
        let mut claims = claims();
        changed.iter().for_each(|(name, value)| claims[*name] = value.clone());
        sign(&keys, ACCESS_TOKEN, &claims).unwrap()
    };
    assert_eq!(verify(&keys, &token(&[("iss", json!("https://other.example"))]), 0), Err(TokenError::Issuer));
    assert_eq!(verify(&keys, &token(&[("iss", Value::Null)]), 0), Err(TokenError::Issuer));
    assert_eq!(verify(&keys, &token(&[("aud", json!("https://other.example"))]), 0), Err(TokenError::Audience));
    assert_eq!(verify(&keys, &token(&[("aud", Value::Null)]), 0), Err(TokenError::Audience));
    assert!(verify(&keys, &token(&[("aud", json!(["https://other.example", ISS]))]), 0).is_ok());

    let good = token(&[]);
    assert_eq!(keys.verify::<Value>(&good, "JWT", ISS, ISS, 0), Err(TokenError::Type));
    assert_eq!(verify(&keys, &sign(&keys, "AT+JWT", &claims()).unwrap(), 0), Err(TokenError::Type));
    assert_eq!(verify(&self::keys(), &good, 0), Err(TokenError::UnknownKey));

    let payload = claims().to_string();
    let kid = kid(&keys);
    for (header, error) in [
        (json!({"alg": "EdDSA", "typ": "at+jwt"}), TokenError::UnknownKey),
        (json!({"alg": "EdDSA", "kid": kid}), TokenError::Type),
        (json!({"alg": "none", "typ": "at+jwt", "kid": kid}), TokenError::Malformed),
        (json!({"alg": "HS256", "typ": "at+jwt", "kid": kid}), TokenError::Algorithm),
        (json!({"alg": "RS256", "typ": "at+jwt", "kid": kid}), TokenError::Algorithm),
        (json!({"alg": "EdDSA", "typ": "at+jwt", "kid": kid, "crit": ["b64"], "b64": false}), TokenError::Malformed),
    ] {
        assert_eq!(verify(&keys, &signed(&keys, &header, payload.as_bytes()), 0), Err(error), "{header}");
    }
    let header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": kid});
    for payload in ["", "[]", "\"x\"", "{", "\u{0}"] {
        assert!(verify(&keys, &signed(&keys, &header, payload.as_bytes()), 0).is_err(), "{payload}");
    }
    assert_eq!(sign(&keys, ACCESS_TOKEN, &std::collections::BTreeMap::from([([1_u8], 1)])), Err(TokenError::Claims));
}

#[test]
fn each_algorithm_signs_and_is_verified_by_what_is_published() {
    let keys = of_all_algorithms();
    let set: jsonwebtoken::jwk::JwkSet = serde_json::from_value(keys.jwks()).unwrap();
    assert_eq!(set.keys.len(), 3);
    for algorithm in SigningAlgorithm::ALL {
        let kid = keys.current(algorithm, LATE).unwrap();
        let token = keys.sign(kid, ACCESS_TOKEN, &claims()).unwrap();
        assert_eq!(verify(&keys, &token, 0), Ok(claims()), "{algorithm}");
        let published = set.find(kid).unwrap();
        assert_eq!(serde_json::to_value(published.common.key_algorithm).unwrap(), algorithm.name());
        let mut rules = Validation::new(key::named(algorithm));
        rules.validate_exp = false;
        rules.set_audience(&[ISS]);
        let key = DecodingKey::from_jwk(published).unwrap();
        assert_eq!(jsonwebtoken::decode::<Value>(&token, &key, &rules).unwrap().claims, claims(), "{algorithm}");
    }
    let text = keys.jwks().to_string();
    for member in ["\"d\"", "\"p\"", "\"q\""] {
        assert!(!text.contains(member), "{member} is private");
    }
    assert_eq!(keys.sign("unknown", ACCESS_TOKEN, &claims()), Err(TokenError::UnknownKey));
}

#[test]
fn a_token_is_only_verified_by_the_algorithm_of_its_key() {
    let keys = of_all_algorithms();
    for of in SigningAlgorithm::ALL {
        let kid = keys.current(of, LATE).unwrap();
        for named in SigningAlgorithm::ALL {
            let header = json!({"alg": named.name(), "typ": "at+jwt", "kid": kid}).to_string();
            let signed_by = keys.named(kid).unwrap();
            let token = signed_by.sign_parts(header.as_bytes(), claims().to_string().as_bytes()).unwrap();
            let expected = if of == named { Ok(claims()) } else { Err(TokenError::Algorithm) };
            assert_eq!(verify(&keys, &token, 0), expected, "{named} under a key of {of}");
            // Signed by another key than the one that is named.
            let other = keys.current(named, LATE).unwrap();
            let header = json!({"alg": named.name(), "typ": "at+jwt", "kid": other}).to_string();
            let token = signed_by.sign_parts(header.as_bytes(), claims().to_string().as_bytes()).unwrap();
            assert_eq!(verify(&keys, &token, 0).is_ok(), of == named, "{named} by a key of {of}");
        }
    }
}

#[test]
fn after_a_rotation_the_newest_signs_once_its_lead_is_over_and_the_older_ones_verify() {
    let (old, new) = (row(1), row(2));
    let before = opened(std::slice::from_ref(&old)).unwrap();
    let token = sign(&before, ACCESS_TOKEN, &claims()).unwrap();
    let after = opened(&[new.clone(), old.clone()]).unwrap();
    assert_eq!(kid(&after), new.kid);
    let signed = |now| after.current(SigningAlgorithm::EdDsa, now).unwrap();
    assert_eq!(signed(Timestamp(2)), old.kid);
    assert_eq!(signed(Timestamp(2).after(schedule::LEAD)), new.kid);
    assert!(verify(&after, &token, 0).is_ok());
    assert_eq!(after.jwks()["keys"][0]["kid"], json!(new.kid));
    assert_eq!(after.jwks()["keys"][1]["kid"], json!(old.kid));
    let again = after.sign_with(&old.kid, LATE, ACCESS_TOKEN, &claims()).unwrap();
    assert_eq!(again, token, "a repeat is the very same");
    let replaced = after.sign_with("gone", LATE, ACCESS_TOKEN, &claims()).unwrap();
    assert_eq!(replaced, sign(&after, ACCESS_TOKEN, &claims()).unwrap());

    let retired = SealedSigningKey { retired_at: Some(3), ..new };
    let again = opened(&[retired.clone(), old.clone()]).unwrap();
    assert_eq!(kid(&again), old.kid);
    assert!(verify(&again, &sign(&after, ACCESS_TOKEN, &claims()).unwrap(), 0).is_ok());
    assert_eq!(opened(&[retired]).unwrap_err(), SigningError::NoKey);
    assert_eq!(opened(&[]).unwrap_err(), SigningError::NoKey);
    assert_eq!(opened(&[row_of(SigningAlgorithm::Es256, 0)]).unwrap_err(), SigningError::NoKey);
}

#[test]
fn a_set_is_bounded_by_algorithm_and_keeps_the_signing_one_and_the_newest() {
    let mut rows: Vec<_> = (0..20).map(row).collect();
    rows.push(row_of(SigningAlgorithm::Es256, 0));
    let keys = opened(&rows).unwrap();
    assert_eq!(keys.keys.len(), MOST_KEYS + 1);
    assert_eq!(kid(&keys), rows[19].kid);
    assert!(keys.named(&rows[3].kid).is_none());
    assert_eq!(keys.current(SigningAlgorithm::Es256, LATE), Some(rows[20].kid.as_str()));

    let early = SigningKeys::unseal(&ring(), &rows, Timestamp(0)).unwrap();
    assert_eq!(early.current(SigningAlgorithm::EdDsa, Timestamp(0)), Some(rows[0].kid.as_str()));
    assert!(early.named(&rows[0].kid).is_some() && early.named(&rows[4].kid).is_none());
}

#[test]
fn a_set_tells_whether_the_table_has_changed() {
    let rows = [row(0), row(1)];
    let keys = opened(&rows).unwrap();
    let [one, other] = rows.clone();
    assert!(keys.are_of(&[other.clone(), one.clone()]));
    assert!(!keys.are_of(std::slice::from_ref(&one)));
    assert!(!keys.are_of(&[SealedSigningKey { retired_at: Some(1), ..one.clone() }, other]));
    assert!(!keys.are_of(&[one, row(2)]));
}

#[test]
fn a_row_that_was_tampered_with_is_refused() {
    let (one, other) = (row(1), row(2));
    let stored: SealedSigningKey = serde_json::from_str(&serde_json::to_string(&one).unwrap()).unwrap();
    assert_eq!(stored, one);
    let refused = |row: SealedSigningKey| opened(&[self::row(0), row]).unwrap_err();
    let damaged = SigningError::Damaged(one.kid.clone());
    assert_eq!(refused(SealedSigningKey { public: other.public.clone(), ..one.clone() }), damaged);
    for alg in ["ES256", "RS256", "HS256"] {
        assert_eq!(refused(SealedSigningKey { alg: alg.into(), ..one.clone() }), damaged);
    }
    assert_eq!(refused(SealedSigningKey { sealed: "!".into(), ..one.clone() }), damaged);
    let sealed = |kid: &str, source| SigningError::Sealed { kid: kid.into(), source };
    let swapped = SealedSigningKey { sealed: other.sealed.clone(), ..one.clone() };
    assert_eq!(refused(swapped), sealed(&one.kid, SealError::Tampered));
    let renamed = SealedSigningKey { kid: other.kid.clone(), ..one.clone() };
    assert_eq!(refused(renamed), sealed(&other.kid, SealError::Tampered));
    let error = SigningKeys::unseal(&Ring::pretended(2), std::slice::from_ref(&one), LATE).unwrap_err();
    assert_eq!(error, sealed(&one.kid, SealError::Tampered));
}

proptest! {
    #[test]
    fn a_changed_token_is_never_accepted(flip: prop::sample::Index, letter in "[A-Za-z0-9_.-]") {
        let keys = keys();
        let good = sign(&keys, ACCESS_TOKEN, &claims()).unwrap();
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
        let header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": kid(&keys)});
        prop_assert!(verify(&keys, &signed(&keys, &header, &payload), 0).is_err());
    }
}
