//! Mutated requests to every route: whatever the bytes, there is never a 500, never a panic, and the server goes on.
//!
//! The dice's seed is printed; `CAIRN_SEED` asks for the same requests again.

use std::time::Duration;

use crate::support::{App, Dice, Kind, Person, announce, proving, raw};

of_each_kind!(no_bytes_of_a_client_cause_a_fault);

/// What a request is grown from: method, path and body.
const SEEDS: [(&str, &str, &str); 15] = [
    (
        "POST",
        "/auth/register",
        r#"{"email":"fuzz@example.org","password":"velvet tractor umbrella","username":"fuzz","first_name":"F","last_name":"Z"}"#,
    ),
    ("GET", "/auth/register/reg_00000000000000000000000000", ""),
    ("POST", "/auth/register/reg_00000000000000000000000000/resend", "{}"),
    ("POST", "/auth/verify-email", r#"{"flow":"reg_00000000000000000000000000","code":"123456"}"#),
    ("POST", "/auth/verify-email", r#"{"token":"cairn_ve_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","password":"velvet"}"#),
    ("POST", "/auth/login", r#"{"email":"fuzz@example.org","password":"velvet tractor umbrella"}"#),
    ("POST", "/auth/login", r#"{"username":"fuzz","password":"velvet tractor umbrella"}"#),
    ("POST", "/auth/refresh", r#"{"refresh_token":"cairn_rt_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#),
    ("POST", "/auth/logout", r#"{"refresh_token":"cairn_rt_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#),
    ("GET", "/users/me", ""),
    ("GET", "/dev/mail?to=fuzz@example.org", ""),
    ("GET", "/.well-known/jwks.json", ""),
    ("GET", "/health", ""),
    ("GET", "/verify-email?token=cairn_ve_AAAA", ""),
    ("POST", "/verify-email", "token=cairn_ve_AAAA&password=velvet"),
];

/// Pieces on which parsers have stumbled before.
const PIECES: [&[u8]; 36] = [
    b"\0",
    b"\xff\xfe",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\\ud800",
    b"\\u0000",
    b"%00",
    b"%",
    b"%zz",
    b"%2f",
    b"..",
    b"//",
    b"?",
    b"#",
    b"&&=",
    b"\"",
    b"{}",
    b"[]",
    b"[[[[[[[[",
    b"null",
    b"true",
    b"-0",
    b"1e999",
    b"9999999999999999999999",
    b"0x10",
    b",",
    b":",
    b"'",
    b"' OR 1=1 --",
    b"{{7*7}}",
    b"<script>",
    b"\r\n",
    b"\t",
    "\u{202e}".as_bytes(),
    "é".as_bytes(),
    "🪨".as_bytes(),
];

/// Header lines that carry meaning somewhere below.
const HEADERS: [&str; 18] = [
    "idempotency-key: k",
    "idempotency-key: \u{e9}",
    "authorization: Bearer x",
    "authorization: Bearer",
    "authorization: Basic Og==",
    "authorization: Bearer eyJhbGciOiJub25lIn0.e30.",
    "content-encoding: gzip",
    "expect: 100-continue",
    "x-request-id: é",
    "x-forwarded-for: 1,2,,::",
    "forwarded: for=\"[::1\"",
    "origin: null",
    "cookie: cairn_device=%00; =; a",
    "if-match: *",
    "if-match: W/\"",
    "accept: */*;q=9, ;;",
    "range: bytes=9-1",
    "transfer-encoding: identity",
];

async fn no_bytes_of_a_client_cause_a_fault(kind: Kind) {
    let seed = Dice::seed();
    let cases = if proving() { 60_000 } else { 2_500 };
    announce(&format!("fuzz on {kind:?}: {cases} requests, CAIRN_SEED={seed}"));
    let app = App::plan(kind).named("fuzz").start().await;
    let person = Person::new("fuzzed");
    person.joins(&app).await;
    let tokens = person.signs_in(&app).await;
    let server = app.client().server();
    let mut dice = Dice::new(seed);
    for case in 0..cases {
        let (bytes, framed) = request(&mut dice, &tokens.access, &tokens.refresh);
        // What is not framed may leave the server waiting for more; then there is no answer to wait for.
        let patience = if framed { Duration::from_secs(60) } else { Duration::from_millis(30) };
        let answer = raw::exchange(server, &bytes, patience).await;
        let status = raw::status(&answer);
        let shown =
            || format!("case {case}:\n{}\n→\n{}", String::from_utf8_lossy(&bytes), String::from_utf8_lossy(&answer));
        assert!(status.is_none_or(|status| status < 500), "{}", shown());
        assert!(!framed || status.is_some(), "no answer to a whole request, {}", shown());
    }
    let metrics = app.operations().get("/metrics").send().await.text();
    let faults: Vec<&str> = metrics.lines().filter(|line| line.contains("status=\"5")).collect();
    assert!(faults.is_empty(), "{faults:?}");
    assert!(!app.log().contains("panicked"), "{}", app.tail());
    person.signs_in(&app).await;
    crate::support::audit::Audit::of(&app).await.must_be_clean();
}

/// One request, and whether its frame (line ends, length) is still whole.
fn request(dice: &mut Dice, access: &str, refresh: &str) -> (Vec<u8>, bool) {
    let (method, path, body) = *dice.pick(&SEEDS);
    let body = if dice.one_in(3) {
        body.replace("cairn_rt_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", refresh)
    } else {
        body.to_owned()
    };
    let mut body = body.into_bytes();
    for _ in 0..dice.below(4) {
        mutate(dice, &mut body, &PIECES);
    }
    let mut target = path.as_bytes().to_vec();
    if dice.one_in(3) {
        mutate(dice, &mut target, &PIECES);
        // Within the frame: a target has no blanks and no line ends.
        target.retain(|byte| !byte.is_ascii_whitespace());
        if target.first() != Some(&b'/') {
            target.insert(0, b'/');
        }
    }
    let method =
        if dice.one_in(8) { dice.pick(&["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "X"]) } else { method };
    let media = if path == "/verify-email" { "application/x-www-form-urlencoded" } else { "application/json" };
    let mut head = format!("{method} ").into_bytes();
    head.extend(&target);
    head.extend(format!(" HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n", body.len()).bytes());
    if !dice.one_in(8) {
        head.extend(format!("content-type: {media}\r\n").bytes());
    }
    let mut framed = true;
    if dice.one_in(3) {
        head.extend(format!("authorization: Bearer {access}\r\n").bytes());
    }
    for _ in 0..dice.below(3) {
        let line = *dice.pick(&HEADERS);
        framed &= !line.starts_with("transfer-encoding") && !line.starts_with("expect");
        head.extend(format!("{line}\r\n").bytes());
    }
    head.extend(b"\r\n");
    head.extend(&body);
    if dice.one_in(10) {
        framed = false;
        for _ in 0..=dice.below(3) {
            mutate(dice, &mut head, &PIECES);
        }
    }
    // Bytes beyond a target that the library takes as one are answered by it, or cut; both are its right.
    framed &= target.iter().all(|byte| (0x21..0x7f).contains(byte) && !b"\"<>\\^`{|}#".contains(byte));
    (head, framed)
}

/// Flips, cuts, doubles, swaps or inserts.
fn mutate(dice: &mut Dice, bytes: &mut Vec<u8>, pieces: &[&[u8]]) {
    if bytes.is_empty() {
        bytes.extend(*dice.pick(pieces));
        return;
    }
    let place = dice.index(bytes.len());
    match dice.below(7) {
        0 => bytes[place] ^= 1 << dice.below(8),
        1 => bytes.truncate(place),
        2 => {
            let end = place + dice.index(bytes.len() - place);
            let piece = bytes[place..end].to_vec();
            bytes.splice(place..place, piece);
        }
        3 => {
            bytes.remove(place);
        }
        4 => {
            let other = dice.index(bytes.len());
            bytes.swap(place, other);
        }
        5 => {
            let long = vec![bytes[place]; dice.index(3_000)];
            bytes.splice(place..place, long);
        }
        _ => {
            let piece = dice.pick(pieces).to_vec();
            bytes.splice(place..place, piece);
        }
    }
}
