//! Signatures under letters, checked by a verifier of the tests' own that first proves itself on the example of RFC 8463.

use std::collections::BTreeMap;

use ::ring::signature::{ED25519, KeyPair, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

use super::*;

/// The private keys are made for these tests and are of no use elsewhere.
const RSA: &str = include_str!("rsa.pem");
const RSA_OLD_FORM: &str = include_str!("rsa-pkcs1.pem");
pub(in super::super) const ED25519_KEY: &str = include_str!("ed25519.pem");

/// RFC 8463 appendix A, without its second signature, which has a key of 1024 bits.
const EXAMPLE: &str = "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;\r\n d=football.example.com; \
    i=@football.example.com;\r\n q=dns/txt; s=brisbane; t=1528637909; h=from : to :\r\n subject : date : message-id : \
    from : subject : date;\r\n bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\r\n \
    b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus\r\n Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==\r\nFrom: Joe SixPack \
    <joe@football.example.com>\r\nTo: Suzie Q <suzie@shopping.example.net>\r\nSubject: Is dinner ready?\r\nDate: Fri, 11 Jul \
    2003 21:00:37 -0700 (PDT)\r\nMessage-ID: <20030712040037.46341.5F8J@football.example.com>\r\n\r\nHi.\r\n\r\nWe lost the \
    game.  Are you hungry yet?\r\n\r\nJoe.\r\n";
const EXAMPLE_KEY: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

const MAIL: &str = "From: \"Example Ltd\" <cairn@example.org>\r\nTo: alice@example.net\r\nMessage-ID: <1@id.example.org>\r\n\
    Subject: A  code,\r\n\tfolded \r\nDate: Tue, 03 Nov 2026 14:02:59 +0000\r\nMIME-Version: 1.0\r\nContent-Type: \
    text/plain\r\n\r\nHello \t there. \r\n\r\n123456\r\n\r\n\r\n";

/// Checks the first signature of a mail as a receiver does; says what is wrong with it.
pub(in super::super) fn verify(
    mail: &str,
    key: &UnparsedPublicKey<Vec<u8>>,
) -> Result<BTreeMap<String, String>, String> {
    let (head, body) = mail.split_once("\r\n\r\n").ok_or("no body")?;
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in head.split("\r\n") {
        if line.starts_with([' ', '\t']) {
            fields.last_mut().unwrap().1.push_str(line);
        } else {
            let (name, value) = line.split_once(':').ok_or("no colon")?;
            fields.push((name.trim().to_lowercase(), value.to_owned()));
        }
    }
    let signature = fields.iter().position(|(name, _)| name == "dkim-signature").ok_or("no signature")?;
    let (_, signature) = fields.remove(signature);
    let tags: BTreeMap<String, String> = signature
        .split(';')
        .filter_map(|tag| tag.split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), value.split_whitespace().collect()))
        .collect();
    let words = |text: &str| text.split([' ', '\t']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let leading = |line: &str| if line.starts_with([' ', '\t']) { format!(" {}", words(line)) } else { words(line) };
    let body = body.split("\r\n").map(leading).map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\r\n");
    let body = format!("{}\r\n", body.trim_end_matches("\r\n"));
    if Base64::encode_string(digest(&SHA256, body.as_bytes()).as_ref()) != tags["bh"] {
        return Err("another body".to_owned());
    }
    let mut signed = String::new();
    for name in tags["h"].split(':') {
        if let Some(place) = fields.iter().rposition(|(own, _)| own == name) {
            let (name, value) = fields.remove(place);
            signed.push_str(&format!("{name}:{}\r\n", words(&value)));
        }
    }
    let (before, _) = signature.rsplit_once("b=").unwrap();
    signed.push_str(&format!("dkim-signature:{}", words(&format!("{before}b="))));
    let signed = match tags["a"].as_str() {
        "ed25519-sha256" => digest(&SHA256, signed.as_bytes()).as_ref().to_vec(),
        _ => signed.into_bytes(),
    };
    let given = Base64::decode_vec(&tags["b"]).map_err(|why| why.to_string())?;
    key.verify(&signed, &given).map_err(|_| "another signature".to_owned())?;
    Ok(tags)
}

pub(in super::super) fn signer(pem: &str) -> (Signer, UnparsedPublicKey<Vec<u8>>) {
    let signer = Signer::new("example.org".to_owned(), "s1".to_owned(), pem).unwrap();
    let key = match &signer.key {
        Key::Ed25519(key) => UnparsedPublicKey::new(
            &ED25519 as &dyn ::ring::signature::VerificationAlgorithm,
            key.public_key().as_ref().to_vec(),
        ),
        Key::Rsa(key) => UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public().as_ref().to_vec()),
    };
    (signer, key)
}

#[test]
fn the_verifier_of_these_tests_agrees_with_the_example_of_the_rfc() {
    let key = UnparsedPublicKey::new(
        &ED25519 as &dyn ::ring::signature::VerificationAlgorithm,
        Base64::decode_vec(EXAMPLE_KEY).unwrap(),
    );
    let tags = verify(EXAMPLE, &key).unwrap();
    assert_eq!(tags["d"], "football.example.com");
    assert!(verify(&EXAMPLE.replace("dinner", "supper"), &key).is_err());
    assert!(verify(&EXAMPLE.replace("hungry", "thirsty"), &key).is_err());
}

#[test]
fn a_receiver_finds_the_signature_good_whatever_the_key() {
    for (pem, algorithm) in [(RSA, "rsa-sha256"), (RSA_OLD_FORM, "rsa-sha256"), (ED25519_KEY, "ed25519-sha256")] {
        let (signer, key) = signer(pem);
        let header = signer.header(MAIL, Timestamp(1_793_714_579_250)).unwrap();
        assert!(header.starts_with("DKIM-Signature: v=1; ") && header.ends_with("\r\n"));
        assert!(header.split("\r\n").all(|line| line.len() < 100 && !line.ends_with(' ')), "{header}");
        let tags = verify(&format!("{header}{MAIL}"), &key).unwrap();
        let of = |tag: &str| tags[tag].as_str();
        assert_eq!((of("a"), of("d"), of("s"), of("t")), (algorithm, "example.org", "s1", "1793714579"));
        assert_eq!(signer.header(MAIL, Timestamp(1_793_714_579_250)).unwrap(), header, "a repeat is the same");
    }
}

#[test]
fn what_a_relay_may_do_leaves_it_good_and_what_a_forger_does_breaks_it() {
    let (signer, key) = signer(ED25519_KEY);
    let mail = format!("{}{MAIL}", signer.header(MAIL, Timestamp(0)).unwrap());
    for (from, to) in [
        ("Subject: A  code,\r\n\tfolded \r\n", "subject:A code, folded\r\n"),
        ("Hello \t there. \r\n", "Hello there.\r\n"),
        ("123456\r\n\r\n\r\n", "123456\r\n"),
        ("To: alice", "Received: by relay\r\nTo: alice"),
    ] {
        assert!(mail.contains(from), "{from}");
        assert!(verify(&mail.replace(from, to), &key).is_ok(), "{to}");
    }
    for (from, to) in [
        ("123456", "123457"),
        ("cairn@example.org", "cairn@example.com"),
        ("From: ", "From: other@example.org\r\nFrom: "),
        ("MIME-Version", "Subject: Something else\r\nMIME-Version"),
        ("MIME-Version", "Reply-To: other@example.org\r\nMIME-Version"),
        ("MIME-Version", "Cc: other@example.org\r\nMIME-Version"),
        ("d=example.org", "d=example.com"),
    ] {
        assert!(verify(&mail.replacen(from, to, 1), &key).is_err(), "{to}");
    }
}

#[test]
fn what_is_no_key_is_refused_in_words_without_it() {
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let small = include_str!("rsa-1024.pem");
    for (pem, part) in [
        ("", "is not a private key in PEM"),
        ("hunter2", "is not a private key in PEM"),
        ("-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----", "is not a private key in PEM"),
        ("-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----", "is not a private key in PEM"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "cannot be used"),
        (encrypted, "is encrypted"),
        (small, "RSA of 2048 to 4096 bits"),
    ] {
        let why = Signer::new("example.org".to_owned(), "s1".to_owned(), pem).unwrap_err();
        assert!(why.contains(part) && !why.contains("hunter2"), "{why}");
    }
    assert_eq!(format!("{:?}", signer(RSA).0), "Signer(s1._domainkey.example.org)");
}

#[test]
fn an_empty_body_and_blank_lines_have_the_forms_of_the_rfc() {
    assert_eq!(relaxed_body(""), "");
    assert_eq!(relaxed_body("\r\n\r\n"), "");
    assert_eq!(relaxed_body(" C \r\nD \t E\r\n\r\n\r\n"), " C\r\nD E\r\n");
    assert_eq!(relaxed_field("SubJect : B \t\r\n\tD ").unwrap(), "subject:B D");
}
