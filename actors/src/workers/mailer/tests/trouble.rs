//! Servers and destinations in trouble: they are left alone for a while, and do not hold up the others.

use futures_util::future::{Either, select};

use super::*;

#[tokio::test]
async fn a_destination_that_hangs_does_not_hold_up_the_others() {
    let server = MailServer::start(&[("RCPT@slow.example", "wait")]);
    let mailer = mailer(&server.url(), 8, Duration::from_secs(600));
    let slow = join_all((0..40).map(|_| mailer.carry(attempt(welcome("slow.example")))));
    let others = async {
        for _ in 0..4 {
            server.waits().await;
        }
        for number in 0..20 {
            assert!(mailer.carry(attempt(welcome(&format!("d{}.example", number % 3)))).await.is_ok());
        }
    };
    match select(std::pin::pin!(others), std::pin::pin!(slow)).await {
        Either::Left(_) => {}
        Either::Right(_) => panic!("the slow ones were to wait"),
    }
    assert_eq!(server.heard("RCPT TO:<bob@slow.example>"), 4);
    assert!(server.letters() == 20 && server.connections_at_once() <= 8, "{}", server.connections_at_once());
}

#[tokio::test]
async fn a_server_in_trouble_is_left_alone_and_then_one_letter_goes_to_see() {
    const BUSY: &str = "421 4.3.2 too busy";
    let script = [
        ("GREETING#1", BUSY),
        ("GREETING#2", "drop"),
        ("GREETING#3", "554 go away"),
        ("GREETING#4", BUSY),
        ("MAIL#1", "451 4.3.0 not now"),
        ("GREETING#6", BUSY),
        ("GREETING#7", "wait"),
    ];
    let server = MailServer::start(&script);
    let clock = Arc::new(FixedClock::default());
    let mailer = mailer_at(&server.url(), 8, Duration::from_secs(10), Arc::clone(&clock));
    let connections = || server.connections();
    // Each to another domain: it is the server that is in trouble.
    let letter = |number: usize| mailer.carry(attempt(welcome(&format!("d{number}.example"))));
    let left_alone = async |number| {
        let (never, why) = why(letter(number).await);
        assert!(!never && why.contains("left alone"), "{why}");
    };
    for number in 1..=5 {
        let (never, why) = why(letter(number).await);
        assert!(!never && !why.contains("left alone"), "{why}");
        assert_eq!(connections(), number);
    }
    left_alone(6).await;
    clock.advance(Duration::from_millis(4_999));
    left_alone(7).await;
    assert_eq!(connections(), 5);

    clock.advance(Duration::from_millis(1));
    assert!(!why(letter(8).await).1.contains("left alone"));
    assert_eq!(connections(), 6);
    clock.advance(Duration::from_millis(9_999));
    left_alone(9).await;

    clock.advance(Duration::from_millis(1));
    let while_one_sees = async {
        server.waits().await;
        left_alone(10).await;
        server.go_on();
    };
    let (seen, ()) = join(letter(11), while_one_sees).await;
    assert_eq!(seen, Ok(Answer::Accepted));
    for number in 12..20 {
        assert_eq!(letter(number).await, Ok(Answer::Accepted));
    }
    assert_eq!(connections(), 7);
}

#[tokio::test]
async fn a_wrong_password_is_not_tried_for_ever() {
    let server = MailServer::start(&[("EHLO", "250-sink.example\r\n250 AUTH PLAIN"), ("AUTH", "535 5.7.8 wrong")]);
    let url = server.url().replace("smtp://", "smtp://cairn:wrong@");
    let mailer = mailer(&url, 8, Duration::from_secs(10));
    for _ in 0..20 {
        assert!(!why(mailer.carry(attempt(verify())).await).0);
    }
    assert_eq!(server.heard("AUTH"), 5);
}

#[tokio::test]
async fn a_destination_in_trouble_is_left_alone_while_the_others_get_theirs() {
    let script =
        [("RCPT#1", "drop"), ("RCPT#2", "drop"), ("RCPT#3", "hang"), ("DATA#1", "drop"), ("CONTENT#1", "drop")];
    let server = MailServer::start(&script);
    let clock = Arc::new(FixedClock::default());
    let mailer = mailer_at(&server.url(), 8, Duration::from_secs(1), Arc::clone(&clock));
    let sick = || mailer.carry(attempt(welcome("sick.example")));
    let held = async || {
        let (never, why) = why(sick().await);
        assert!(!never && why.contains("this domain"), "{why}");
    };
    for _ in 0..5 {
        assert!(!why(sick().await).1.contains("this domain"));
    }
    held().await;
    assert_eq!(server.heard("RCPT"), 5);
    assert_eq!(mailer.carry(attempt(welcome("well.example"))).await, Ok(Answer::Accepted));
    clock.advance(Duration::from_secs(4));
    mailer.tend().await;
    held().await;
    clock.advance(Duration::from_secs(1));
    assert_eq!(sick().await, Ok(Answer::Accepted));
    assert_eq!(sick().await, Ok(Answer::Accepted));
}

#[tokio::test]
async fn a_server_that_asks_to_come_again_is_in_no_trouble() {
    let server = MailServer::start(&[("RCPT@grey.example", "450 4.2.0 greylisted, come again")]);
    let mailer = mailer(&server.url(), 8, Duration::from_secs(10));
    for _ in 0..20 {
        let (never, why) = why(mailer.carry(attempt(welcome("grey.example"))).await);
        assert!(!never && why.contains("450 4.2.0 greylisted"), "{why}");
    }
    assert_eq!(mailer.carry(attempt(welcome("well.example"))).await, Ok(Answer::Accepted));
    assert_eq!((server.heard("RCPT"), server.heard("EHLO")), (21, 1));
}
