//! Lines are kept for the next letter, and nobody notices when one was cut meanwhile.

use super::*;

async fn two_letters(script: Script<'_>) -> (Result<Answer, Trouble>, MailServer) {
    let server = MailServer::start(script);
    let mailer = mailer(&server.url(), 8, Duration::from_secs(10));
    assert!(mailer.carry(attempt(verify())).await.is_ok());
    (mailer.carry(attempt(verify())).await, server)
}

#[tokio::test]
async fn letters_go_one_after_the_other_over_one_line() {
    let (result, server) = two_letters(&[]).await;
    assert_eq!(result, Ok(Answer::Accepted));
    let words: Vec<String> = server.commands().iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(words, ["EHLO", "MAIL", "RCPT", "DATA", "MAIL", "RCPT", "DATA"]);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_refused_letter_does_not_spoil_the_line_for_the_next() {
    let server = MailServer::start(&[("RCPT#1", "550 5.1.1 unknown"), ("CONTENT#1", "554 5.7.1 spam")]);
    let mailer = mailer(&server.url(), 8, Duration::from_secs(10));
    assert!(why(mailer.carry(attempt(verify())).await).0);
    assert!(!why(mailer.carry(attempt(verify())).await).0);
    assert_eq!(mailer.carry(attempt(verify())).await, Ok(Answer::Accepted));
    let words: Vec<String> = server.commands().iter().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(words, ["EHLO", "MAIL", "RCPT", "RSET", "MAIL", "RCPT", "DATA", "RSET", "MAIL", "RCPT", "DATA"]);
}

#[tokio::test]
async fn a_line_that_was_cut_before_the_content_costs_the_next_letter_nothing() {
    for script in [
        &[("CONTENT#1", "last")] as Script<'_>,
        &[("MAIL#2", "drop")],
        &[("MAIL#2", "421 4.4.2 idle for too long")],
        &[("RCPT#2", "drop")],
        &[("DATA#2", "drop")],
    ] {
        let (result, server) = two_letters(script).await;
        assert_eq!(result, Ok(Answer::Accepted), "{script:?}");
        assert_eq!((server.connections(), server.letters()), (2, 2), "{script:?}");
    }
}

#[tokio::test]
async fn what_the_server_may_have_is_not_sent_again_at_once() {
    let (result, server) = two_letters(&[("CONTENT#2", "drop")]).await;
    assert!(!why(result).0);
    assert_eq!((server.connections(), server.letters()), (1, 2));
}

#[tokio::test]
async fn a_letter_gets_one_other_line_and_not_a_third() {
    let (result, server) = two_letters(&[("MAIL#2", "drop"), ("MAIL#3", "drop")]).await;
    assert!(!why(result).0);
    assert_eq!((server.heard("MAIL"), server.connections()), (3, 2));
}

#[tokio::test]
async fn a_server_that_has_something_against_us_may_have_it_against_the_line() {
    let (result, server) = two_letters(&[("MAIL#2", "452 4.3.1 enough for one connection")]).await;
    assert!(!why(result).0);
    assert_eq!(server.commands().last().unwrap(), "QUIT");
}

#[tokio::test]
async fn an_idle_line_is_closed_in_time_and_not_before() {
    let server = MailServer::start(&[]);
    let clock = Arc::new(FixedClock::default());
    let mailer = mailer_at(&server.url(), 8, Duration::from_secs(10), Arc::clone(&clock));
    assert!(mailer.carry(attempt(verify())).await.is_ok());
    clock.advance(connection::IDLE - Duration::from_millis(1));
    mailer.tend().await;
    assert_eq!(server.heard("QUIT"), 0);
    assert!(mailer.carry(attempt(verify())).await.is_ok());
    assert_eq!(server.heard("EHLO"), 1);

    clock.advance(connection::IDLE);
    mailer.tend().await;
    assert_eq!(server.heard("QUIT"), 1);
    assert!(mailer.carry(attempt(verify())).await.is_ok());
    assert_eq!(server.heard("EHLO"), 2);

    // Nobody has tended it: it is left alone all the same.
    clock.advance(connection::IDLE);
    assert!(mailer.carry(attempt(verify())).await.is_ok());
    assert_eq!(server.heard("EHLO"), 3);
}

#[tokio::test]
async fn after_a_hundred_letters_the_line_is_another() {
    let server = MailServer::start(&[]);
    let mailer = mailer(&server.url(), 8, Duration::from_secs(10));
    for _ in 0..101 {
        assert!(mailer.carry(attempt(welcome("a.example"))).await.is_ok());
    }
    assert_eq!((server.letters(), server.connections()), (101, 2));
    assert_eq!(server.heard("QUIT"), 1);
}
