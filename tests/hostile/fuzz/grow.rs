//! Growing a request out of a seed: values bent, members doubled, bytes flipped, headers of every kind put beside.

use serde_json::Value;

use super::cast::{Cast, Place};
use super::seeds::{Body, SEEDS, Seed};
use crate::support::Dice;
use crate::support::client::encoded;

/// A request as it goes over the wire.
pub struct Grown {
    pub bytes: Vec<u8>,
    /// Line ends and length are still whole, so that an answer is owed.
    pub framed: bool,
    pub operations: bool,
}

/// Pieces on which parsers have stumbled before.
const PIECES: [&[u8]; 38] = [
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
    b";",
    b".",
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

/// Values of JSON members that no handler hopes for.
const ODD_JSON: [&str; 20] = [
    "null",
    "true",
    "0",
    "-1",
    "1e308",
    "123456",
    "18446744073709551616",
    "[]",
    "{}",
    "[[]]",
    "{\"a\":{\"b\":[null]}}",
    "\"\"",
    "\" \"",
    "\"\\u0000\"",
    "\"\\ud83d\\ude00\"",
    "\"\\ud800\"",
    "\"\u{202e}\u{feff}\"",
    "\"a\\r\\nb: c\"",
    "\"0\"",
    "\"reg_00000000000000000000000000\"",
];

/// Values of fields, parameters and cookies that no handler hopes for, as they go over the wire.
const ODD_TEXT: [&str; 18] = [
    "",
    "0",
    "-1",
    "9223372036854775808",
    "%00",
    "%ff",
    "%c3%28",
    "%",
    "+",
    "%0d%0aset-cookie:a=b",
    "%2f%2fevil.example",
    "/%5cevil.example",
    "reg_00000000000000000000000000",
    "rec_zzzzzzzzzzzzzzzzzzzzzzzzzz",
    "cairn_rt_",
    "cairn_ve_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "%f0%9f%aa%a8",
    "1%2e2",
];

/// Header lines that carry meaning somewhere below.
const HEADERS: [&str; 34] = [
    "idempotency-key: one",
    "idempotency-key: two",
    "idempotency-key: three",
    "idempotency-key: \u{e9}",
    "idempotency-key:",
    "authorization: Bearer x",
    "authorization: Bearer",
    "authorization: Basic Og==",
    "authorization: Bearer eyJhbGciOiJub25lIn0.e30.",
    "authorization: DPoP x",
    "content-encoding: gzip",
    "content-encoding: identity",
    "content-type: text/plain",
    "content-type: application/json; charset=utf-7",
    "expect: 100-continue",
    "x-request-id: é",
    "x-request-id: 0123456789.abc_DEF-",
    "origin: null",
    "origin: https://evil.example",
    "sec-fetch-site: cross-site",
    "sec-fetch-site: same-origin",
    "cookie: cairn_device=%00; =; a",
    "cookie: cairn_session=a.b.c; cairn_flows=...; cairn_next=a.b.c",
    "if-match: *",
    "if-match: \"1\"",
    "if-match: W/\"",
    "if-match: \"1\", \"",
    "if-none-match: *",
    "accept: */*;q=9, ;;",
    "accept: text/html",
    "accept-language: \u{fc}, *;q=-1",
    "last-event-id: \u{e9}",
    "range: bytes=9-1",
    "transfer-encoding: identity",
];

/// What forwarding headers are made of.
const FORWARDING: [&str; 30] = [
    "for=",
    "For=",
    "by=",
    "host=",
    "proto=https",
    ";",
    ",",
    ", ",
    " ",
    "\t",
    "\"",
    "\\",
    "[",
    "]",
    ":",
    ":80",
    ":_x",
    "=",
    "unknown",
    "_hidden",
    "10.1.1.1",
    "203.0.113.9",
    "203.0.113.9, 198.51.100.7",
    "127.0.0.1",
    "2001:db8::1",
    "[2001:db8::1]",
    "\"[2001:db8::1]:443\"",
    "::ffff:1.2.3.4",
    "999.1.1.1",
    "\u{e9}",
];

/// A seed as it is: the request that a well-behaved client sends.
pub fn plain(seed: &Seed, cast: &Cast) -> Grown {
    with_token(seed, cast, "form_token=<form_token>&")
}

/// The same with another token of the form, or none.
pub fn with_token(seed: &Seed, cast: &Cast, token: &str) -> Grown {
    let (kind, body) = match seed.body {
        Body::Json(template) => ("application/json", cast.plain(template, Place::Json)),
        Body::Form(fields) => {
            ("application/x-www-form-urlencoded", cast.plain(&format!("{token}{fields}"), Place::Form))
        }
        Body::None => ("", String::new()),
    };
    let mut head = format!("{} {} HTTP/1.1\r\nhost: localhost\r\n", seed.method, cast.plain(seed.target, Place::Query));
    if !kind.is_empty() {
        head.push_str(&format!("content-type: {kind}\r\n"));
    }
    head.push_str(&format!("connection: close\r\ncontent-length: {}\r\n", body.len()));
    let of_a_browser = format!("cookie: {}\r\naccept: text/html\r\n", COOKIES.join("; "));
    let of_a_program = "authorization: Bearer <access>\r\nif-match: \"1\"\r\n";
    let headers = if is_page(seed) { &of_a_browser } else { of_a_program };
    head.push_str(&cast.plain(headers, Place::Header));
    Grown { bytes: format!("{head}\r\n{body}").into_bytes(), framed: true, operations: seed.operations }
}

/// Whether it is for a browser rather than for a program.
fn is_page(seed: &Seed) -> bool {
    let is_call = ["/auth", "/users"].iter().any(|group| seed.route.starts_with(group));
    !is_call && !matches!(seed.body, Body::Json(_))
}

/// The cookies of a browser that is signed in and amid things.
const COOKIES: [&str; 4] = [
    "cairn_browser_<port>=<browser>",
    "cairn_flows_<port>=<flows>",
    "cairn_session_<port>=<signed>",
    "cairn_device_<port>=<device>",
];

/// One request.
pub fn request(dice: &mut Dice, cast: &Cast) -> Grown {
    let seed = dice.pick(SEEDS);
    let body = body(dice, cast, seed);
    let target = target(dice, cast, seed);
    let method = if dice.one_in(8) {
        *dice.pick(&["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "POST", "X"])
    } else {
        seed.method
    };
    let mut framed = true;
    let mut head = format!("{method} ").into_bytes();
    head.extend(&target);
    head.extend(
        format!(" HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n", body.len()).bytes(),
    );
    for line in headers(dice, cast, seed) {
        framed &= !line.starts_with(b"transfer-encoding") && !line.starts_with(b"expect");
        head.extend(&line);
        head.extend(b"\r\n");
    }
    head.extend(b"\r\n");
    head.extend(&body);
    if dice.one_in(12) {
        framed = false;
        for _ in 0..=dice.below(3) {
            mutate(dice, &mut head);
        }
    }
    // Bytes beyond a target that the library takes as one are answered by it, or cut; both are its right.
    framed &= target.iter().all(|byte| (0x21..0x7f).contains(byte) && !b"\"<>\\^`{|}#".contains(byte));
    Grown { bytes: head, framed, operations: seed.operations }
}

fn target(dice: &mut Dice, cast: &Cast, seed: &Seed) -> Vec<u8> {
    let mut target = cast.fill(seed.target, Place::Query, dice);
    if let Some((path, query)) = target.clone().split_once('?')
        && dice.one_in(3)
    {
        target = format!("{path}?{}", odd_pairs(dice, query));
    }
    let mut target = target.into_bytes();
    if dice.one_in(5) {
        mutate(dice, &mut target);
        // Within the frame: a target has no blanks and no line ends.
        target.retain(|byte| !byte.is_ascii_whitespace());
        if target.first() != Some(&b'/') {
            target.insert(0, b'/');
        }
    }
    target
}

fn body(dice: &mut Dice, cast: &Cast, seed: &Seed) -> Vec<u8> {
    let (mut text, json) = match seed.body {
        Body::Json(template) => (cast.fill(template, Place::Json, dice), true),
        Body::Form(fields) => {
            let token = cast.fill("form_token=<form_token>", Place::Form, dice);
            (format!("{token}&{}", cast.fill(fields, Place::Form, dice)), false)
        }
        Body::None if dice.one_in(6) => ("{}".to_owned(), true),
        Body::None => return Vec::new(),
    };
    match dice.below(4) {
        0 => {}
        1 => text = if json { odd_members(dice, &text) } else { odd_pairs(dice, &text) },
        _ => {
            let mut bytes = text.into_bytes();
            for _ in 0..dice.below(4) {
                mutate(dice, &mut bytes);
            }
            return bytes;
        }
    }
    text.into_bytes()
}

/// Members left out, doubled, renamed, of another type, too many, too deep or too long.
fn odd_members(dice: &mut Dice, text: &str) -> String {
    let Ok(Value::Object(object)) = serde_json::from_str(text) else { return "[]".to_owned() };
    let mut members: Vec<(String, String)> =
        object.into_iter().map(|(name, value)| (name, value.to_string())).collect();
    for _ in 0..=dice.below(2) {
        let place = dice.index(members.len().max(1));
        let Some((name, value)) = members.get(place).cloned() else { break };
        let odd = match dice.below(8) {
            0 => format!("{}{}", "[".repeat(63), "]".repeat(63)),
            1 => format!("{}1{}", "{\"a\":".repeat(70), "}".repeat(70)),
            2 => format!("\"{}\"", "long ".repeat(dice.index(12_000))),
            3 => {
                serde_json::from_str::<String>(&value).map_or(value, |text| Value::from(bent(dice, &text)).to_string())
            }
            _ => (*dice.pick(&ODD_JSON)).to_owned(),
        };
        match dice.below(6) {
            0 => {
                members.remove(place);
            }
            1 => members.push((name, odd)),
            2 => members[place].0 = name.to_uppercase(),
            3 => members.extend((0..dice.below(400)).map(|number| (format!("m{number}"), "0".to_owned()))),
            _ => members[place].1 = odd,
        }
    }
    let members: Vec<String> =
        members.iter().map(|(name, value)| format!("{}:{value}", Value::from(&**name))).collect();
    let object = format!("{{{}}}", members.join(","));
    if dice.one_in(10) { format!("[{object}]") } else { object }
}

/// Fields left out, doubled, emptied, replaced or made long.
fn odd_pairs(dice: &mut Dice, text: &str) -> String {
    let mut pairs: Vec<String> = text.split('&').map(str::to_owned).collect();
    for _ in 0..=dice.below(2) {
        let place = dice.index(pairs.len().max(1));
        let Some(pair) = pairs.get(place).cloned() else { break };
        let name = pair.split('=').next().unwrap_or_default().to_owned();
        match dice.below(6) {
            0 => {
                pairs.remove(place);
            }
            1 => pairs.push(pair),
            2 => pairs.insert(0, format!("{name}={}", dice.pick(&ODD_TEXT))),
            3 => pairs[place] = format!("{name}={}", "long%20".repeat(dice.index(700))),
            4 => pairs.extend((0..dice.below(300)).map(|number| format!("m{number}"))),
            _ => pairs[place] = format!("{name}={}{}", dice.pick(&ODD_TEXT), dice.pick(&ODD_TEXT)),
        }
    }
    pairs.join("&")
}

fn headers(dice: &mut Dice, cast: &Cast, seed: &Seed) -> Vec<Vec<u8>> {
    let mut lines: Vec<String> = Vec::new();
    let is_page = is_page(seed);
    if !dice.one_in(10) {
        match seed.body {
            Body::Json(_) => lines.push("content-type: application/json".to_owned()),
            Body::Form(_) => lines.push("content-type: application/x-www-form-urlencoded".to_owned()),
            Body::None => {}
        }
    }
    if !is_page || dice.one_in(3) {
        let line = cast.fill("authorization: Bearer <access>", Place::Header, dice);
        lines.push(if dice.one_in(12) { line.to_uppercase() } else { line });
    }
    if seed.method == "PUT" && !dice.one_in(3) {
        lines.push(format!("if-match: \"{}\"", dice.below(4)));
    }
    if is_page && !dice.one_in(4) {
        lines.push("accept: text/html".to_owned());
    }
    if is_page || dice.one_in(4) {
        lines.extend(cookies(dice, cast));
    }
    if dice.one_in(3) {
        for name in ["forwarded", "x-forwarded-for"] {
            for _ in 0..dice.below(3) {
                let words: Vec<&str> = (0..dice.below(12)).map(|_| *dice.pick(&FORWARDING)).collect();
                lines.push(format!("{name}: {}", words.concat()));
            }
        }
    }
    for _ in 0..dice.below(3) {
        lines.push((*dice.pick(&HEADERS)).to_owned());
    }
    let mut lines: Vec<Vec<u8>> = lines.into_iter().map(String::into_bytes).collect();
    if dice.one_in(5) && !lines.is_empty() {
        // Any byte that may stand in a header's value (RFC 9110, section 5.5), within the frame.
        let place = dice.index(lines.len());
        let line = &mut lines[place];
        let value = line.iter().position(|byte| *byte == b':').map_or(0, |colon| colon + 1);
        let mut changed = line.split_off(value);
        mutate(dice, &mut changed);
        changed.retain(|byte| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f));
        line.extend(changed);
    }
    lines
}

/// The cookies, some of them bent, odd, missing or there twice.
fn cookies(dice: &mut Dice, cast: &Cast) -> Vec<String> {
    let mut pairs = Vec::new();
    for pair in COOKIES {
        let name = pair.split('=').next().unwrap_or_default();
        match dice.below(14) {
            0 => {}
            1 => pairs.push(format!("{name}={}", dice.pick(&ODD_TEXT))),
            2 => pairs.extend([format!("{name}={}", dice.pick(&ODD_TEXT)), cast.fill(pair, Place::Header, dice)]),
            3 => {
                // One kind of credential where another belongs.
                let other = *dice.pick(&["refresh", "verify", "access", "flows", "signed"]);
                pairs.push(format!("{name}={}", cast.value(other)));
            }
            4 => pairs.push(format!("{name}={}", "a.".repeat(dice.index(2_000)))),
            _ => pairs.push(cast.fill(pair, Place::Header, dice)),
        }
    }
    if pairs.is_empty() {
        return Vec::new();
    }
    if dice.one_in(8) {
        return pairs.into_iter().map(|pair| format!("cookie: {pair}")).collect();
    }
    vec![format!("cookie: {}", pairs.join(if dice.one_in(8) { ";" } else { "; " }))]
}

/// A value almost as it was: what a copier, a scanner or a forger makes of a credential.
pub fn bent(dice: &mut Dice, value: &str) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = value.as_bytes().to_vec();
    if !value.is_ascii() || bytes.is_empty() {
        return encoded(value);
    }
    let place = dice.index(bytes.len());
    match dice.below(8) {
        // One bit of what base64url says.
        0..=2 => {
            if let Some(letter) = LETTERS.iter().position(|letter| *letter == bytes[place]) {
                bytes[place] = LETTERS[letter ^ (1 << dice.below(6))];
            }
        }
        3 => bytes.truncate(place),
        4 => bytes.push(*dice.pick(LETTERS)),
        5 => bytes[place] = *dice.pick(b".=_-~@ +"),
        6 if value.starts_with("cairn_") => {
            let other = *dice.pick(&["rt", "ve", "rp", "ac", "sc", "fc", "ec", "eu", "es", "zz"]);
            bytes.splice(6..8, other.bytes());
        }
        _ => bytes.swap(place, 0),
    }
    String::from_utf8(bytes).expect("ASCII stays ASCII")
}

/// Flips, cuts, doubles, swaps or inserts.
fn mutate(dice: &mut Dice, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        bytes.extend(*dice.pick(&PIECES));
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
            let piece = dice.pick(&PIECES).to_vec();
            bytes.splice(place..place, piece);
        }
    }
}

#[test]
fn a_bent_value_is_text_of_the_same_kind() {
    let mut dice = Dice::new(1);
    let mut others = 0;
    for _ in 0..500 {
        let value = bent(&mut dice, "cairn_rt_AbCd-_09");
        assert!(value.is_ascii() && !value.contains(['\r', '\n', '\0']), "{value}");
        others += usize::from(value != "cairn_rt_AbCd-_09");
    }
    assert!(others > 400, "{others}");
}
