//! Enumeration: whoever has an account, strangers are told the same, byte for byte but for ids, instants and tokens.
//!
//! Everything here runs with limits on, and each asker has a client address of its own, so that the headers of the
//! limits must be the same as well.

use std::cell::Cell;
use std::collections::BTreeMap;

use crate::support::audit::outbox_drained;
use crate::support::browser::Browser;
use crate::support::client::{Client, Request};
use crate::support::person::flow_id;
use crate::support::{Answer, App, Kind, Person, Value, eventually, json};

of_each_kind!(
    a_registration_tells_nobody_who_has_an_account,
    a_sign_in_tells_nobody_who_has_an_account,
    a_reset_tells_nobody_who_has_an_account,
    a_sign_in_by_letter_tells_nobody_who_has_an_account,
    a_change_of_address_tells_nobody_who_has_an_account,
    a_page_tells_nobody_who_has_an_account,
);

const PASSWORD: &str = "velvet tractor umbrella fjord";

async fn server(kind: Kind) -> App {
    let plan = App::plan(kind).named("enumeration").unset("CAIRN_LIMITS").set("CAIRN_RESEND_COOLDOWN", 0);
    plan.set("CAIRN_MAGIC_LINK", "on").start().await
}

/// One asker for each address that is asked about.
pub(super) struct Askers<'a> {
    app: &'a App,
    pub(super) emails: Vec<String>,
}

impl<'a> Askers<'a> {
    /// An owner, somebody who has not verified yet, somebody whose account is to be deleted, and nobody at all: twice,
    /// first and last.
    pub(super) async fn about_everybody(app: &'a App) -> (Self, Person, Person) {
        let (owner, waiting, leaving) = (Person::new("owner"), Person::new("waiting"), Person::new("leaving"));
        owner.joins(app).await;
        waiting.registers(app).await;
        waiting.verification(app).await;
        let tokens = leaving.arrives(app).await;
        let farewell = app.client().request("DELETE", "/users/me").json(&json!({"password": leaving.password}));
        farewell.bearer(&tokens.access).send().await.expect(202);
        let nobody = || Person::new("nobody").email;
        let emails = vec![nobody(), owner.email.clone(), waiting.email.clone(), leaving.email, nobody()];
        (Self { app, emails }, owner, waiting)
    }

    pub(super) fn client(&self, asker: usize) -> Client {
        self.app.client().at_loopback(10 + u8::try_from(asker).unwrap())
    }

    /// Asks the same of all and holds the answers to one face. What is asked is made from the asker's number.
    async fn ask(&self, status: u16, what: impl Fn(usize) -> Request) -> Vec<Answer> {
        let mut answers = Vec::new();
        for asker in 0..self.emails.len() {
            let answer = what(asker).header("x-request-id", "the-same").send().await;
            assert_eq!(answer.status, status, "of {}: {answer}", self.emails[asker]);
            answers.push(answer);
        }
        for (answer, email) in answers.iter().zip(&self.emails).skip(1) {
            same(&face(&answers[0]), &face(answer), email);
        }
        answers
    }

    async fn post(&self, status: u16, path: &str, body: impl Fn(usize) -> Value) -> Vec<Answer> {
        self.ask(status, |asker| self.client(asker).post(path, &body(asker))).await
    }

    /// Begins a flow for each; answers their ids. The flows end one after the other, as they were begun.
    async fn begin(&self, path: &str, what: impl Fn(usize) -> Request) -> Vec<String> {
        let answers = self.ask(202, what).await;
        // The texts of instants sort as the instants do, so one that ended otherwise would stand out of the row.
        let ends: Vec<Value> = answers.iter().map(|answer| answer.json()["flow"]["expires_at"].clone()).collect();
        let in_order = ends.windows(2).all(|pair| pair[0].as_str().unwrap() <= pair[1].as_str().unwrap());
        assert!(in_order, "{path}: {ends:?} for {:?}", self.emails);
        answers.iter().map(|answer| flow_id(&answer.json())).collect()
    }

    /// Guesses at codes until they are not looked at any more, and once again: `left` guesses are.
    async fn guess(&self, path: &str, flows: &[String], with: &Value, left: usize) {
        // Nobody's code, by a chance of one in a hundred thousand; and then the test says so.
        for round in 0..=left {
            let status = if round < left { 422 } else { 410 };
            let answers = self.post(status, path, |asker| {
                let mut body = with.clone();
                body["flow"] = json!(flows[asker]);
                body["code"] = json!(format!("{round}9{round}9{round}7"));
                body
            });
            let answers = answers.await;
            if round < left {
                assert_eq!(answers[0].json()["tries_left"], left - 1 - round, "{}", answers[0]);
            }
        }
    }
}

/// An answer without what differs from one request to the next.
fn face(answer: &Answer) -> String {
    let mut lines = vec![answer.status.to_string()];
    for (name, value) in &answer.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let value = match name.as_str() {
            "date" => "…".to_owned(),
            // Seconds until a quota is whole again pass while one asks.
            "ratelimit" => numbers_after(&value, ";t="),
            "retry-after" => numbers_after(&value, ""),
            _ => value,
        };
        lines.push(format!("{name}: {}", masked(&value)));
    }
    lines.push(masked(&answer.text()));
    lines.join("\n")
}

/// Holds two faces to be one, and shows the first line where they are not.
#[track_caller]
fn same(first: &str, other: &str, whose: &str) {
    let mut lines = first.lines().zip(other.lines());
    let apart = lines.find(|(one, other)| one != other);
    assert!(first == other, "{whose} is told apart: {apart:#?}");
}

/// Replaces what stands in the place of ids and instants, letter by letter, so that lengths count.
fn masked(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let fits = |at: usize, pattern: &[u8]| {
        bytes.get(at..at + pattern.len()).is_some_and(|piece| {
            piece.iter().zip(pattern).all(|(byte, wanted)| match wanted {
                b'0' => byte.is_ascii_digit(),
                b'a' => byte.is_ascii_lowercase(),
                b'x' => byte.is_ascii_lowercase() || byte.is_ascii_digit(),
                other => byte == other,
            })
        })
    };
    let id = [&b"aaa_"[..], &[b'x'; 26]].concat();
    let instant = b"0000-00-00T00:00:00.000Z";
    for at in 0..bytes.len() {
        if fits(at, &id) {
            out[at + 4..at + id.len()].fill(b'x');
        } else if fits(at, instant) {
            out[at..at + instant.len()].copy_from_slice(instant);
        }
    }
    String::from_utf8(out).expect("letters for letters")
}

/// Replaces the number behind each `mark`, whatever its length.
fn numbers_after(text: &str, mark: &str) -> String {
    if mark.is_empty() {
        return text.chars().map(|c| if c.is_ascii_digit() { 'n' } else { c }).collect::<String>().replace("nn", "n");
    }
    let mut parts = text.split(mark);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| format!("{all}{mark}n{}", part.trim_start_matches(|c: char| c.is_ascii_digit())))
}

#[test]
fn a_face_hides_ids_and_instants_and_nothing_else() {
    let text = "{\"id\":\"reg_01jd7s4v8w2q3r5t7y9abcdefg\",\"at\":\"2026-11-21T19:28:26.123Z\",\"n\":17}";
    let other = "{\"id\":\"reg_zzzzzzzzzzzzzzzzzzzzzzzzzz\",\"at\":\"2000-01-01T00:00:00.000Z\",\"n\":17}";
    assert_eq!(masked(text), masked(other));
    assert_ne!(masked(text), masked(&other.replace("reg_", "rec_")));
    assert_ne!(masked(text), masked(&other.replace("17", "18")));
    assert_ne!(masked(text), masked(&other.replace(".000Z", "Z")));
    assert_eq!(numbers_after("\"login\";r=29;t=60, \"x\";r=9;t=7", ";t="), "\"login\";r=29;t=n, \"x\";r=9;t=n");
    assert_eq!(numbers_after("60", ""), numbers_after("7", ""));
}

async fn a_registration_tells_nobody_who_has_an_account(kind: Kind) {
    let app = server(kind).await;
    let (askers, owner, _) = Askers::about_everybody(&app).await;
    let register = |asker: usize| {
        let body = json!({"email": askers.emails[asker], "password": PASSWORD});
        askers.client(asker).post("/auth/register", &body)
    };
    let flows = askers.begin("/auth/register", register).await;

    // Where the letter is, once all are out: the owners have got another one, which is told of in the same words.
    app.letter(&owner.email, "registration.known").await;
    // Somebody else looks, as often as it takes: what is left of the askers' limits is compared as well.
    let out = async || {
        for flow in &flows {
            eventually("a letter that is out", async || {
                let answer = app.client().get(&format!("/auth/register/{flow}")).send().await;
                (answer.json()["mail"]["state"] == "accepted").then_some(())
            })
            .await;
        }
    };
    out().await;
    askers.ask(200, |asker| askers.client(asker).get(&format!("/auth/register/{}", flows[asker]))).await;

    askers
        .ask(202, |asker| askers.client(asker).request("POST", &format!("/auth/register/{}/resend", flows[asker])))
        .await;
    askers.guess("/auth/verify-email", &flows, &json!({}), 5).await;
    out().await;
    askers.ask(200, |asker| askers.client(asker).get(&format!("/auth/register/{}", flows[asker]))).await;
    for status in [202, 202, 202, 202, 410] {
        let again =
            |asker: usize| askers.client(asker).request("POST", &format!("/auth/register/{}/resend", flows[asker]));
        askers.ask(status, again).await;
    }
    // A repeat is known by its key, and nothing else about it differs.
    for _ in 0..2 {
        askers.ask(202, |asker| register(asker).key("again")).await;
    }
}

async fn a_sign_in_tells_nobody_who_has_an_account(kind: Kind) {
    let app = server(kind).await;
    let (owner, waiting, nobody) = (Person::new("owner"), Person::new("waiting"), Person::new("nobody"));
    owner.joins(&app).await;
    waiting.registers(&app).await;
    let guest = Person::new("guest");
    guest.joins(&app).await;
    let login = app.client().post("/auth/login", &guest.credentials()).send().await;
    let device = login.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();

    let by_email = |email: &str, password: &str| json!({"email": email, "password": password});
    let by_name = |name: &str, password: &str| json!({"username": name, "password": password});
    let wrong = "marble cactus seven trumpets";
    let tries = [
        ("nobody's address", by_email(&nobody.email, wrong)),
        ("an owner's address", by_email(&owner.email, wrong)),
        ("the same in capitals", by_email(&owner.email.to_uppercase(), "x")),
        ("an unverified address, with its password", by_email(&waiting.email, &waiting.password)),
        ("an unverified address", by_email(&waiting.email, wrong)),
        ("no address at all", by_email("neither this nor that", wrong)),
        ("nobody's username", by_name(&nobody.username, wrong)),
        ("an owner's username", by_name(&owner.username, wrong)),
        ("the username of a registration, with its password", by_name(&waiting.username, &waiting.password)),
        ("no username at all", by_name("---", wrong)),
        ("an address for a username", by_name(&owner.email, &owner.password)),
    ];
    for round in 0..2 {
        let mut first: Option<String> = None;
        for (number, (what, body)) in tries.iter().enumerate() {
            for cookie in [None, Some(&device)] {
                let last = 10 + u8::try_from(number).unwrap() * 2 + u8::from(cookie.is_some()) + 100 * round;
                let mut request = app.client().at_loopback(last).post("/auth/login", body);
                if let Some(cookie) = cookie {
                    request = request.header("cookie", cookie);
                }
                let answer = request.header("x-request-id", "the-same").send().await;
                answer.problem(401, "credentials");
                // What is left for one identifier goes down by itself, and alike for all of them.
                let seen = without_identifier(&face(&answer));
                same(first.get_or_insert_with(|| seen.clone()), &seen, what);
            }
        }
    }
}

/// A face without how many tries the identifier has left: several tries here are of one.
fn without_identifier(face: &str) -> String {
    let mark = "\"login-identifier\";r=";
    let mut parts = face.split(mark);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| format!("{all}{mark}n{}", part.trim_start_matches(|c: char| c.is_ascii_digit())))
}

async fn a_reset_tells_nobody_who_has_an_account(kind: Kind) {
    let app = server(kind).await;
    let (askers, owner, waiting) = Askers::about_everybody(&app).await;
    let path = "/auth/password-reset/request";
    let ask = |asker: usize| askers.client(asker).post(path, &json!({"email": askers.emails[asker]}));
    let flows = askers.begin(path, ask).await;
    app.letter(&owner.email, "recovery.reset").await;

    let confirm = "/auth/password-reset/confirm";
    let with = |flow: &str, code: &str, password: &str| json!({"flow": flow, "code": code, "new_password": password});
    askers.post(422, confirm, |asker| with(&flows[asker], "12345", PASSWORD)).await;
    askers.post(422, confirm, |asker| with(&flows[asker], "192939", "password123")).await;
    askers.post(422, confirm, |asker| with(&flows[asker], "192939", "short")).await;
    // A wrong code beside a guessable password was a guess; beside a password that is too short no code is looked at.
    askers.guess(confirm, &flows, &json!({"new_password": PASSWORD}), 4).await;

    for _ in 0..2 {
        askers.ask(202, |asker| ask(asker).key("again")).await;
    }
    assert!(app.mailbox(&waiting.email).await.iter().all(|letter| letter.kind != "recovery.reset"));
}

async fn a_sign_in_by_letter_tells_nobody_who_has_an_account(kind: Kind) {
    let app = server(kind).await;
    let (askers, owner, waiting) = Askers::about_everybody(&app).await;
    let path = "/auth/magic-link";
    let ask = |asker: usize| askers.client(asker).post(path, &json!({"email": askers.emails[asker]}));
    let flows = askers.begin(path, ask).await;
    let letter = app.letter(&owner.email, "magic-link.sign-in").await;

    let confirm = "/auth/magic-link/confirm";
    askers.post(422, confirm, |asker| json!({"flow": flows[asker], "code": "12345"})).await;
    askers.guess(confirm, &flows, &json!({}), 5).await;
    askers.post(410, confirm, |_| json!({"token": "cairn_ml_AAAA"})).await;

    for _ in 0..2 {
        askers.ask(202, |asker| ask(asker).key("again")).await;
    }
    assert!(app.mailbox(&waiting.email).await.iter().all(|letter| letter.kind != "magic-link.sign-in"));
    // Whoever has the letter signs in all the same.
    app.client().post(confirm, &json!({"token": letter.token()})).send().await.expect(200);
}

async fn a_change_of_address_tells_nobody_who_has_an_account(kind: Kind) {
    let app = server(kind).await;
    let (askers, owner, _) = Askers::about_everybody(&app).await;
    // Each asks with an account of its own: of one account's changes only the last waits.
    let mut movers = Vec::new();
    for _ in &askers.emails {
        let mover = Person::new("mover");
        let tokens = mover.arrives(&app).await;
        movers.push((mover, tokens));
    }
    let path = "/auth/email-change";
    let ask = |asker: usize| {
        let (mover, tokens) = &movers[asker];
        let body = json!({"new_email": askers.emails[asker], "password": mover.password});
        askers.client(asker).post(path, &body).bearer(&tokens.access)
    };
    let flows = askers.begin(path, ask).await;
    app.letter(&owner.email, "email.known").await;
    askers.guess("/auth/email-change/confirm", &flows, &json!({}), 5).await;
    askers.ask(202, |asker| ask(asker).key(&format!("key-{asker}"))).await;

    // Nor do the movers' own histories: whatever is in one is in each, as soon as all have heard what was replaced.
    let from = Cell::new(20_u8); // each time from somewhere else, because exports are limited by the client's address
    eventually("five histories alike", async || {
        let mut counted: BTreeMap<String, usize> = BTreeMap::new();
        for (_, tokens) in &movers {
            from.set(if from.get() == 250 { 20 } else { from.get() + 1 });
            let client = app.client().at_loopback(from.get());
            let export = client.get("/users/me/export").bearer(&tokens.access).send().await.expect(200);
            for list in ["flows", "history"] {
                let all = export[list].as_array().unwrap().iter();
                for mut entry in all.filter(|entry| entry["kind"] == "email_change").cloned() {
                    for member in ["id", "at", "updated_at"] {
                        entry[member] = Value::Null;
                    }
                    entry["details"]["shown"]["address"] = Value::Null;
                    entry["details"]["user"] = Value::Null;
                    *counted.entry(entry.to_string()).or_default() += 1;
                }
            }
        }
        let replaced = counted.keys().any(|entry| entry.contains("\"replaced\""));
        (replaced && counted.len() > 6 && counted.values().all(|count| count % 5 == 0)).then_some(())
    })
    .await;
}

/// A page without what differs from one visit to the next: addresses, tokens, ids, numbers.
fn page_face(html: &str, emails: &[String]) -> String {
    let hide = |html: String, email: &String| html.replace(email, "…").replace(&email.replace('@', "%40"), "…");
    let plain = emails.iter().fold(html.to_owned(), hide);
    let mut out = String::new();
    let mut word = String::new();
    for c in plain.chars().chain([' ']) {
        if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
            word.push(c);
            continue;
        }
        // Tokens and ids are long and no words; numbers are instants.
        let is_token = word.len() >= 20 && word.bytes().any(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
        let is_number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        out.push_str(if is_token {
            "token"
        } else if is_number {
            "n"
        } else {
            &word
        });
        word.clear();
        out.push(c);
    }
    out
}

async fn a_page_tells_nobody_who_has_an_account(kind: Kind) {
    let app = server(kind).await;
    let (askers, owner, _) = Askers::about_everybody(&app).await;
    let emails = &askers.emails;
    let letters =
        async |kind: &str| app.mailbox(&owner.email).await.iter().filter(|letter| letter.kind == kind).count();
    let starts = [("/register", "register"), ("/forgot-password", "forgot-password"), ("/magic-link", "magic-link")];
    for (start, id) in starts {
        let mut seen: Option<String> = None;
        for email in emails {
            let mut browser = Browser::new();
            let form = browser.open(&app, start).await.form(id).with("email", email);
            let form = if id == "register" { form.with("password", PASSWORD) } else { form };
            let sent = browser.post(&app, &form).await;
            assert_eq!(sent.status, 303, "{email}: {sent}");
            let there = sent.header("location").unwrap().to_owned();
            // Once every letter is out, where there are any: the page must not tell of them where some have none.
            outbox_drained(&app).await;
            let page = browser.open(&app, &there).await;
            page.says(200, email);
            let events = page.html.split("data-events=\"").nth(1).unwrap().split('"').next().unwrap();
            let events = events.replace("&amp;", "&").replace("seen=", "was=");
            let told = browser.open(&app, &events).await;
            assert_eq!(told.status, 200, "{}", told.answer);
            let headers = |answer: &Answer| {
                let lines = answer.headers.iter().filter(|(name, _)| *name != "x-request-id" && *name != "date");
                lines.map(|(name, value)| format!("{name}: {value:?}\n")).collect::<String>()
            };
            let page = format!("{}{}", headers(&page.answer), page.html);
            let told = format!("{}{}", headers(&told.answer), told.html);
            let this = page_face(&[headers(&sent), page, told].concat(), emails);
            same(seen.get_or_insert_with(|| this.clone()), &this, &format!("{email}, at {start},"));
        }
    }
    for kind in ["registration.known", "recovery.reset", "magic-link.sign-in"] {
        assert_eq!(letters(kind).await, 1, "the owner is told: {kind}");
    }
}
