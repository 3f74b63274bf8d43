//! Words of mail servers in every form in which they come: the digits decide.

use super::*;

const LATIN: Script<'static> = &[
    ("GREETING", "220-Gr\u{fc}\u{df}e\r\n220 M\u{fc}nchen"),
    ("EHLO", "250-Gr\u{fc}\u{df}e, M\u{fc}ller\r\n250-AUTH PLAIN\r\n250 \u{dc}BRIGES"),
    ("AUTH", "235 2.7.0 angenommen, M\u{fc}ller"),
    ("MAIL", "250 2.1.0 Absender m\u{f6}glich"),
    ("RCPT", "250 2.1.5 Empf\u{e4}nger m\u{f6}glich"),
    ("DATA", "354 Text f\u{fc}r M\u{fc}ller"),
    ("CONTENT", "250 2.0.0 \u{fc}bernommen"),
];

#[tokio::test]
async fn a_server_that_writes_latin_1_is_understood_at_every_word() {
    let server = MailServer::start(LATIN);
    let mailer = mailer(&server.url().replace("smtp://", "smtp://cairn:p%40ss@"), 8, Duration::from_secs(10));
    for _ in 0..2 {
        assert_eq!(mailer.carry(attempt(verify())).await, Ok(Answer::Accepted));
    }
    assert_eq!((server.letters(), server.connections()), (2, 1));
}

#[tokio::test]
async fn encryption_begins_whatever_the_agreement_is_written_in() {
    let script: Script<'_> = &[("EHLO", "250-sink.example\r\n250 STARTTLS"), ("STARTTLS", "220 los, M\u{fc}ller")];
    let (_, server) = carried(script).await;
    assert_eq!(server.commands()[1..], ["STARTTLS", "(record type 22)"]);
}

#[tokio::test]
async fn a_refusal_in_any_encoding_is_a_refusal_at_every_word() {
    for (word, answer, never, noted) in [
        ("GREETING", "554 Zugriff verweigert, \u{fc}berlastet", false, "554 Zugriff verweigert, \u{fffd}berlastet"),
        ("EHLO", "504 5.5.2 kein g\u{fc}ltiger Name", false, "504 5.5.2 kein g\u{fffd}ltiger Name"),
        ("MAIL", "550 5.1.8 Absender ung\u{fc}ltig", false, "550 5.1.8 Absender ung\u{fffd}ltig"),
        ("RCPT", "550 5.1.1 Empf\u{e4}nger unbekannt", true, "550 5.1.1 Empf\u{fffd}nger unbekannt"),
        // The same in GBK.
        ("RCPT", "550 \u{d3}\u{c3}\u{bb}\u{a7}\u{b2}\u{bb}\u{b4}\u{e6}\u{d4}\u{da}", true, "550 "),
        ("RCPT", "450 4.2.0 sp\u{e4}ter", false, "450 4.2.0 sp\u{fffd}ter"),
        ("DATA", "554 5.5.1 unm\u{f6}glich", false, "554 5.5.1 unm\u{fffd}glich"),
        ("CONTENT", "554 5.7.1 Werbung f\u{fc}r nichts", false, "554 5.7.1 Werbung f\u{fffd}r nichts"),
    ] {
        let script: Script<'_> = &[(word, answer)];
        let (result, _server) = carried(script).await;
        let (ended, why) = why(result);
        assert_eq!(ended, never, "{word}: {why}");
        assert!(why.contains(noted) && !why.contains("broke"), "{word}: {why}");
    }
}

#[tokio::test]
async fn a_refusal_in_any_encoding_holds_up_no_letter_to_others_at_that_domain() {
    let server = MailServer::start(&[("RCPT#1", "550 5.1.1 unbekannter Empf\u{e4}nger")]);
    let mailer = mailer(&server.url(), 8, Duration::from_secs(10));
    assert!(why(mailer.carry(attempt(welcome("d.example"))).await).0);
    assert_eq!(mailer.carry(attempt(welcome("d.example"))).await, Ok(Answer::Accepted));
    assert_eq!(server.connections(), 1, "over the same line");
}

#[tokio::test]
async fn answers_of_odd_form_are_understood() {
    let long = &*format!("250 {}", "x".repeat(20_000));
    for answers in [
        ["220 a\n", "250-a\n250 b\n", "250 a\n", "250 a\n", "354 a\n", "250 a\n"],
        ["220", "250", "250", "250", "354", "250"],
        ["220-\r\n220", "250-\r\n250-\r\n250", "250-\r\n250 ", "250 ", "354 ", "250-\r\n250"],
        ["220 a\r\r\n", "250 \u{1b}[31m\0\u{7}", "250 \u{85}\u{ad}", "250 \0", "354 \u{7f}", "250 \u{ff}\u{fe}\0"],
        ["220\ta", "250\ta", "250 a", "250a", "354go on", "250OK"],
        [long, long, long, long, "354", long],
    ] {
        let mut script = Vec::new();
        for (word, answer) in ["GREETING", "EHLO", "MAIL", "RCPT", "DATA", "CONTENT"].into_iter().zip(answers) {
            script.push((word, answer));
        }
        let (result, _server) = carried(&script).await;
        assert_eq!(result, Ok(Answer::Accepted), "{:?}", &answers.map(|answer| &answer[..answer.len().min(20)]));
    }
}

#[tokio::test]
async fn a_note_of_what_was_said_is_short_and_of_one_line() {
    let long = format!("550-5.1.1 \u{1b}[2J\r\n550 5.1.1 {}", "\u{e4} ".repeat(5_000));
    let (result, _server) = carried(&[("RCPT", &*long)]).await;
    let (never, why) = why(result);
    assert!(never && why.chars().count() < 300 && !why.chars().any(char::is_control), "{why}");
}

#[tokio::test]
async fn a_server_that_talks_without_end_is_given_up() {
    let endless = "250-more\r\n".repeat(10_000);
    let (result, _server) = carried(&[("EHLO", &*endless)]).await;
    let (never, why) = why(result);
    assert!(!never && why.contains("talks without end"), "{why}");
}

#[tokio::test]
async fn a_server_is_greeted_by_the_name_that_the_operator_wants() {
    for (public_url, said, greeting) in [
        ("https://id.example.org/auth", None, "EHLO id.example.org"),
        ("https://b\u{fc}cher.example", None, "EHLO xn--bcher-kva.example"),
        ("https://192.0.2.7:8443", None, "EHLO [192.0.2.7]"),
        ("https://id.example.org", Some("Mail.example.net"), "EHLO mail.example.net"),
        ("http://localhost:8080", Some("[192.0.2.9]"), "EHLO [192.0.2.9]"),
    ] {
        let server = MailServer::start(&[]);
        let said = Said { from: "cairn@example.org".to_owned(), ehlo_name: said.map(str::to_owned), ..Said::default() };
        let settings = SmtpSettings::read(&server.url(), &said).unwrap();
        let environment = Arc::new(environment(public_url));
        let mailer =
            Mailer::smtp(settings, Arc::new(move || Arc::clone(&environment)), Arc::<FixedClock>::default()).unwrap();
        assert_eq!(mailer.carry(attempt(verify())).await, Ok(Answer::Accepted));
        assert_eq!(server.commands()[0], greeting);
    }
}

#[tokio::test]
async fn without_any_name_a_server_is_greeted_by_the_address_that_it_sees() {
    let server = MailServer::start(&[]);
    let settings = SmtpSettings::parse(&server.url(), "cairn@example.org").unwrap();
    let dial = Dial::new(&settings, "localhost", "afecba3b2e68").unwrap();
    let mut noted = Stage::Greeting;
    let opened = Connection::open(&settings, &dial, &mut noted).await;
    assert!(opened.is_ok());
    assert_eq!(server.commands()[0], "EHLO [127.0.0.1]");
}
