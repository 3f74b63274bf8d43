//! The mailer against a small mail server of the tests' own, which does as its script says.

mod lines;
mod trouble;
mod words;

use base64ct::{Base64, Encoding};
use cairn_runtime::testing::clock::FixedClock;
use cairn_runtime::{DeliveryId, FlowId, Timestamp};
use futures_util::future::{join, join_all};

use super::posted::on_the_wire;
use super::*;
use crate::effects::{AskedBy, Delivery};
use crate::letters::render;
use crate::letters::tests::environment;
use crate::secrets::credential::Seal;
use crate::secrets::digest::Digest;
use crate::secrets::ring::KeyId;
use crate::testing::mail_server::{MailServer, Script};

const FLOW: FlowId = FlowId::from_bytes([0x5a; 16]);
const DELIVERY: DeliveryId = DeliveryId::from_bytes([7; 16]);

fn to() -> crate::identity::address::Address {
    crate::identity::address::Address::parse("Alice.Jones@b\u{fc}cher.example").unwrap()
}

fn attempt(letter: Letter) -> DeliveryAttempt<Auth> {
    DeliveryAttempt {
        id: DELIVERY,
        flow: FLOW,
        number: 1,
        created: Timestamp(1_793_714_579_250),
        expires: None,
        delivery: Delivery::Letter(letter),
    }
}

fn verify() -> Letter {
    let seal = Seal { key: KeyId(1), n: 3, salt: [9; 16] };
    Letter::RegistrationVerify { to: to(), seal, expires_at: Timestamp(1_793_714_579_999) }
}

/// To somebody at this domain.
fn welcome(domain: &str) -> Letter {
    Letter::RegistrationWelcome { to: crate::identity::address::Address::parse(&format!("bob@{domain}")).unwrap() }
}

fn mailer(url: &str, connections: usize, limit: Duration) -> Mailer {
    mailer_at(url, connections, limit, Arc::default())
}

fn mailer_at(url: &str, connections: usize, limit: Duration, clock: Arc<FixedClock>) -> Mailer {
    let environment = Arc::new(environment("https://id.example.org"));
    let settings = SmtpSettings::parse(url, "Example Ltd <cairn@example.org>").unwrap().bounded(connections, limit);
    Mailer::smtp(settings, Arc::new(move || Arc::clone(&environment)), clock).unwrap()
}

/// Carries one letter to a server with this script.
async fn carried(script: Script<'_>) -> (Result<Answer, Trouble>, MailServer) {
    carried_within(script, Duration::from_secs(10)).await
}

async fn carried_within(script: Script<'_>, limit: Duration) -> (Result<Answer, Trouble>, MailServer) {
    let server = MailServer::start(script);
    let mailer = mailer(&server.url(), 8, limit);
    let result = mailer.carry(attempt(verify())).await;
    (result, server)
}

fn why(result: Result<Answer, Trouble>) -> (bool, String) {
    match result.unwrap_err() {
        Trouble::Never(why) => (true, why),
        Trouble::Later { why, after: None } => (false, why),
        Trouble::Later { .. } => panic!("the usual back-off is right"),
    }
}

fn head(content: &str) -> Vec<&str> {
    content.split("\r\n\r\n").next().unwrap().split("\r\n").collect()
}

#[tokio::test]
async fn a_letter_arrives_with_its_headers_and_both_parts() {
    let (result, server) = carried(&[]).await;
    assert_eq!(result, Ok(Answer::Accepted));
    let commands = server.commands();
    assert_eq!(commands[0], "EHLO id.example.org");
    assert_eq!(commands[1..], ["MAIL FROM:<cairn@example.org>", "RCPT TO:<Alice.Jones@xn--bcher-kva.example>", "DATA"]);

    let [arrival] = &server.arrivals()[..] else { panic!("one letter") };
    let content = &arrival.raw;
    let head = head(content);
    let rendered = render(&verify(), FLOW, &environment("https://id.example.org")).unwrap();
    for line in [
        "From: \"Example Ltd\" <cairn@example.org>",
        "To: Alice.Jones@xn--bcher-kva.example",
        &format!("Message-ID: <{DELIVERY}@id.example.org>"),
        "Date: Tue, 03 Nov 2026 14:02:59 +0000",
        &format!("Subject: {}", rendered.subject),
        "Auto-Submitted: auto-generated",
        "X-Cairn-Letter: registration.verify",
        "MIME-Version: 1.0",
    ] {
        assert!(head.contains(&line), "{line} in {head:#?}");
    }
    assert!(head.iter().any(|line| line.starts_with("Content-Type: multipart/alternative;")));
    for part in ["Content-Type: text/plain; charset=utf-8", "Content-Type: text/html; charset=utf-8"] {
        assert!(content.contains(part), "{part}");
    }
    // In clear, so that code and link stand on their lines for whoever reads the mail as it is.
    assert!(content.contains(&rendered.text.replace('\n', "\r\n")));
    assert!(content.contains(&rendered.html.replace('\n', "\r\n")));
}

#[tokio::test]
async fn what_goes_to_nobody_takes_as_long_as_a_letter_and_no_server_hears_of_it() {
    let server = MailServer::start(&[]);
    let mailer = mailer(&server.url(), 8, Duration::from_secs(10));
    let by = AskedBy { network: Digest([1; 32]), known: false };
    let nobody = || DeliveryAttempt { delivery: Delivery::ToNobody { letter: verify(), by }, ..attempt(verify()) };
    assert_eq!(mailer.carry(nobody()).await, Ok(Answer::Accepted));
    assert!(server.commands().is_empty(), "nothing was connected to");
    assert_eq!(mailer.carry(attempt(verify())).await, Ok(Answer::Accepted));
    let Way::Smtp(smtp) = &mailer.0 else { panic!("it sends by SMTP") };
    let took = smtp.spans.one(DELIVERY);
    assert!(!took.is_zero(), "how long the letter took is known");
    let began = Instant::now();
    assert_eq!(mailer.carry(nobody()).await, Ok(Answer::Accepted));
    assert!(began.elapsed() >= took, "it takes as long");
    assert_eq!(server.commands().iter().filter(|said| said.starts_with("RCPT")).count(), 1);
    // Where letters wait for a server it waits with them, and where there is no server at all.
    let nowhere = Mailer::nowhere().carry(nobody()).await;
    assert_eq!(nowhere, Mailer::nowhere().carry(attempt(verify())).await);
}

#[tokio::test]
async fn while_the_server_is_left_alone_what_goes_to_nobody_waits_as_well() {
    // Nobody listens there.
    let mailer = mailer("smtp://127.0.0.1:1", 8, Duration::from_secs(10));
    let by = AskedBy { network: Digest([1; 32]), known: false };
    let nobody = || DeliveryAttempt { delivery: Delivery::ToNobody { letter: verify(), by }, ..attempt(verify()) };
    let mut tried = 0;
    while mailer.carry(nobody()).await.is_ok() {
        assert!(mailer.carry(attempt(verify())).await.is_err());
        tried += 1;
        assert!(tried < 20, "the server is left alone after a few failures");
    }
}

#[tokio::test]
async fn a_repeat_is_the_same_mail_byte_for_byte() {
    let server = MailServer::start(&[]);
    let mailer = mailer(&server.url(), 8, Duration::from_secs(10));
    for number in [1, 2] {
        let attempt = DeliveryAttempt { number, ..attempt(verify()) };
        assert_eq!(mailer.carry(attempt).await, Ok(Answer::Accepted));
    }
    let arrivals = server.arrivals();
    assert_eq!(arrivals.len(), 2);
    assert_eq!(arrivals[0].raw, arrivals[1].raw);
}

#[tokio::test]
async fn what_the_server_says_of_the_address_for_good_ends_the_letter() {
    for script in [
        &[("RCPT", "550 5.1.1 <alice.jones@b\u{fc}cher.example>: User alice.jones unknown, ask Alice")] as Script<'_>,
        &[("RCPT", "550 5.1.1 Empf\u{e4}nger unbekannt")],
        &[("RCPT", "550 no such user")],
        &[("RCPT", "553")],
        &[("DATA", "550 5.1.1 no valid recipients")],
        &[("CONTENT", "550 5.2.1 mailbox closed")],
    ] {
        let (result, server) = carried(script).await;
        let (never, why) = why(result);
        assert!(never && why.starts_with("the mail server refused "), "{why}");
        assert!(!why.to_lowercase().contains("alice") && !why.contains('@'), "{why}");
        // Its envelope is taken back, so that the next letter does not inherit it.
        assert_eq!(server.commands().last().unwrap(), "RSET");
    }
}

#[tokio::test]
async fn what_the_server_says_for_now_or_of_us_puts_the_letter_off() {
    for script in [
        &[("GREETING", "421 4.3.2 too busy")] as Script<'_>,
        &[("GREETING", "554 go away")],
        &[("EHLO", "500 what?")],
        &[("EHLO", "504 5.5.2 need a full name")],
        &[("MAIL", "451 4.3.0 try again")],
        &[("MAIL", "550 5.7.1 you are not cairn@example.org")],
        &[("MAIL", "553 5.1.8 no such domain")],
        &[("RCPT", "450 4.2.0 greylisted")],
        &[("RCPT", "530 5.7.0 sign in first")],
        &[("RCPT", "504 5.5.2 <afecba3b2e68>: Helo command rejected: need fully-qualified hostname")],
        &[("RCPT", "554 5.7.1 <alice.jones@b\u{fc}cher.example>: Relay access denied")],
        &[("RCPT", "550 relay not permitted")],
        &[("DATA", "451 4.3.0 try again")],
        &[("DATA", "503 5.5.1 what?")],
        &[("CONTENT", "452 4.3.1 no room")],
        &[("CONTENT", "554 5.7.1 this looks like spam")],
        &[("CONTENT", "550 no")],
        &[("GREETING", "\u{1}\u{2} nonsense")],
        &[("MAIL", "354 out of turn")],
        &[("DATA", "250 out of turn")],
    ] {
        let (result, _server) = carried(script).await;
        let (never, why) = why(result);
        assert!(!never && why.contains("the mail server") && !why.contains('@'), "{script:?}: {why}");
        assert!(!why.contains("alice"), "{why}");
    }
}

#[tokio::test]
async fn a_connection_that_breaks_at_any_word_puts_the_letter_off() {
    for word in ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "CONTENT"] {
        let script: Script<'_> = &[(word, "drop")];
        let (result, _server) = carried(script).await;
        assert!(!why(result).0, "{word}");
    }
}

#[tokio::test]
async fn a_goodbye_that_is_never_answered_changes_nothing() {
    for last in ["drop", "421 gone already"] {
        let script: Script<'_> = &[("MAIL", "550 5.7.1 not you"), ("QUIT", last)];
        let (result, server) = carried(script).await;
        assert!(!why(result).0);
        assert_eq!(server.commands().last().unwrap(), "QUIT");
        let script: Script<'_> = &[("RCPT", "550 5.1.1 unknown"), ("RSET", last)];
        assert!(why(carried(script).await.0).0);
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_puts_the_letter_off() {
    for word in ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "CONTENT"] {
        let script: Script<'_> = &[(word, "hang")];
        let (result, _server) = carried_within(script, Duration::from_millis(100)).await;
        let (never, why) = why(result);
        assert!(!never && why.starts_with("the mail server did not answer in time"), "{word}: {why}");
        assert_eq!(why.contains("may have taken the letter"), word == "CONTENT");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_puts_the_letter_off() {
    let server = MailServer::start(&[]);
    let mailer = mailer(&server.url(), 8, Duration::from_secs(10));
    drop(server);
    let (never, why) = why(mailer.carry(attempt(verify())).await);
    assert!(!never && why.contains("could not be reached"), "{why}");
}

#[tokio::test]
async fn no_more_connections_are_open_than_allowed() {
    let server = MailServer::start(&[]);
    let mailer = mailer(&server.url(), 2, Duration::from_secs(10));
    let letters = (0..12).map(|number| mailer.carry(attempt(welcome(&format!("d{number}.example")))));
    let results = join_all(letters).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!((server.letters(), server.connections_at_once()), (12, 2));
}

#[tokio::test]
async fn a_letter_that_finds_every_connection_busy_is_put_off() {
    let server = MailServer::start(&[("RCPT", "hang")]);
    let mailer = mailer(&server.url(), 1, Duration::from_millis(100));
    let both = join(mailer.carry(attempt(verify())), mailer.carry(attempt(verify())));
    let (first, second) = both.await;
    assert!(!why(first).0 && !why(second).0);
    let senders = server.commands().iter().filter(|command| command.starts_with("MAIL")).count();
    assert!((1..=2).contains(&senders));
}

#[tokio::test]
async fn encryption_that_is_offered_is_taken() {
    let (result, server) = carried(&[("EHLO", "250-sink.example\r\n250 STARTTLS")]).await;
    assert!(!why(result).0);
    // 22 is a TLS handshake (RFC 8446 section 5.1).
    assert_eq!(server.commands()[1..], ["STARTTLS", "(record type 22)"]);
}

#[tokio::test]
async fn encryption_that_is_required_and_not_offered_sends_nothing() {
    let server = MailServer::start(&[]);
    let mailer = mailer(&format!("{}?tls=required", server.url()), 8, Duration::from_secs(10));
    let result = mailer.carry(attempt(verify())).await;
    let (never, why) = why(result);
    assert!(!never && why.contains("offers no encryption"), "{why}");
    assert_eq!(server.commands()[1..], ["QUIT"]);
}

#[tokio::test]
async fn user_and_password_are_given_when_there_are_some() {
    for (answer, accepted) in [("235 welcome", true), ("535 5.7.8 wrong", false)] {
        let script: Script<'_> = &[("EHLO", "250-sink.example\r\n250 AUTH PLAIN LOGIN"), ("AUTH", answer)];
        let server = MailServer::start(script);
        let url = server.url().replace("smtp://", "smtp://cairn:p%40ss@");
        let mailer = mailer(&url, 8, Duration::from_secs(10));
        let result = mailer.carry(attempt(verify())).await;
        assert_eq!(server.commands()[1], format!("AUTH PLAIN {}", Base64::encode_string(b"\0cairn\0p@ss")));
        if accepted {
            assert_eq!(result, Ok(Answer::Accepted));
        } else {
            let (never, why) = why(result);
            assert!(!never && why.starts_with("the mail server refused user or password: 535"), "{why}");
        }
    }
}

#[tokio::test]
async fn the_older_way_to_sign_in_is_taken_where_there_is_no_other() {
    let answers = [
        ("EHLO", "250-sink.example\r\n250 AUTH=CRAM-MD5 login"),
        ("AUTH", "334 VXNlcm5hbWU6"),
        ("Y2Fpcm4=", "334 UGFzc3dvcmQ6"),
        ("cEBzcw==", "235 welcome"),
    ];
    let server = MailServer::start(&answers);
    let mailer = mailer(&server.url().replace("smtp://", "smtp://cairn:p%40ss@"), 8, Duration::from_secs(10));
    assert_eq!(mailer.carry(attempt(verify())).await, Ok(Answer::Accepted));
    assert_eq!(server.commands()[1..4], ["AUTH LOGIN", "Y2Fpcm4=", "cEBzcw=="]);
}

#[tokio::test]
async fn a_server_without_a_way_to_sign_in_that_is_known_gets_no_letter() {
    let server = MailServer::start(&[("EHLO", "250-sink.example\r\n250 AUTH XOAUTH2")]);
    let mailer = mailer(&server.url().replace("smtp://", "smtp://cairn:p%40ss@"), 8, Duration::from_secs(10));
    let (never, why) = why(mailer.carry(attempt(verify())).await);
    assert!(!never && why.contains("PLAIN and LOGIN"), "{why}");
    assert_eq!(server.commands()[1..], ["QUIT"]);
}

#[tokio::test]
async fn without_a_mail_server_every_letter_is_taken_at_once() {
    assert_eq!(Mailer::mailbox().carry(attempt(verify())).await, Ok(Answer::Accepted));
}

#[test]
fn no_address_that_the_parser_lets_through_makes_a_second_header_or_recipient() {
    let mailer = mailer("smtp://relay.example", 8, Duration::from_secs(10));
    let Way::Smtp(smtp) = &mailer.0 else { panic!("it sends by SMTP") };
    let mut posted = 0;
    for typed in [
        "a!#$%&'*+-/=?^_`{|}~z@example.net",
        "a@example.net\r\nBcc: b@example.net",
        "a\r\nBcc: b@example.net",
        "a@example.net, b@example.net",
        "<a@example.net>",
        "a@example.net>\nRCPT TO:<b@example.net",
        "=?utf-8?q?a=0d=0aBcc?=@example.net",
        "\"a b\"@example.net",
        "a@example.net\u{2028}Bcc: b@example.net",
    ] {
        let Ok(to) = crate::identity::address::Address::parse(typed) else { continue };
        let letter = Letter::RegistrationKnown { to };
        let ready =
            posted::post(&attempt(letter.clone()), &letter, &(smtp.environments)(), &smtp.settings).ok().unwrap();
        let head = head(&ready.content);
        assert_eq!(head.iter().filter(|line| line.starts_with("To: ")).count(), 1);
        assert!(head.contains(&format!("To: {typed}").as_str()), "{head:#?}");
        assert!(!ready.content.to_lowercase().contains("bcc: ") && !ready.to.to_string().contains(['\r', '\n', '>']));
        posted += 1;
    }
    assert_eq!(posted, 2, "two of them are addresses");
}

#[test]
fn a_line_that_begins_with_a_dot_does_not_end_the_letter() {
    assert_eq!(on_the_wire("a\r\n.\r\n..b\r\n").unwrap(), "a\r\n..\r\n...b\r\n.\r\n");
    assert_eq!(on_the_wire(".a").unwrap(), "..a\r\n.\r\n");
    assert_eq!(on_the_wire("\u{e4}"), None);
}

#[test]
fn a_mailer_prints_no_password() {
    let shown = format!("{:?}", mailer("smtp://cairn:hunter2@relay.example", 8, Duration::from_secs(10)));
    assert_eq!(shown, "Mailer(SmtpSettings(relay.example:587, IfOffered, with a password))");
}
