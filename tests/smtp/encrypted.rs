//! Encryption and passwords on the way to the mail server: what is checked, and when nothing is sent.

use super::server::{Begin, Certificate, Server, sign_in};
use super::state;
use crate::support::app::write_secret;
use crate::support::letter::Letter;
use crate::support::{App, Kind, Person, eventually};

/// The names by which the tests reach the server.
const HERE: &str = "DNS:localhost,IP:127.0.0.1";

/// A server that is not started yet: its folder is there for the certificate.
fn prepare(name: &str) -> App {
    App::plan(Kind::Sqlite).named(name).set("MAIL_FROM", "Cairn <cairn@example.org>").prepare()
}

async fn launch(app: &App, settings: &[(&str, String)]) {
    for (name, value) in settings {
        app.change(name, value);
    }
    app.launch();
    app.ready().await;
}

async fn retrying(app: &App, flow: &str) {
    eventually("a letter that is put off", async || (state(app, flow).await == "retrying").then_some(())).await;
}

#[tokio::test]
async fn encryption_that_is_offered_is_taken_whoever_signed_the_certificate() {
    let app = prepare("offered");
    let server = Server::start(Begin::WhenAsked, &Certificate::make(app.data(), "DNS:elsewhere.example"), None);
    launch(&app, &[("SMTP_URL", format!("smtp://{}", server.address()))]).await;
    let person = Person::new("overheard");
    person.registers(&app).await;
    let arrival = server.arrival().await;
    assert!(arrival.is_encrypted);
    assert_eq!(Letter::from_mail(&arrival.raw).to, person.email);
}

#[tokio::test]
async fn where_encryption_is_demanded_the_certificate_has_to_be_known() {
    for (name, begin, url) in [
        ("required", Begin::WhenAsked, "smtp://HOST?tls=required"),
        ("wrapped", Begin::WithTheConnection, "smtps://HOST"),
    ] {
        let app = prepare(name);
        let certificate = Certificate::make(app.data(), HERE);
        let server = Server::start(begin, &certificate, None);
        launch(&app, &[("SMTP_URL", url.replace("HOST", &server.address().to_string()))]).await;
        let flow = Person::new("careful").registers(&app).await;
        server.handshake_failed().await;
        retrying(&app, &flow).await;
        assert!(server.arrivals().is_empty());

        app.change("SMTP_CA_FILE", certificate.certificate.display());
        app.restart_at(3600).await;
        assert!(server.arrival().await.is_encrypted);
        eventually("an accepted letter", async || (state(&app, &flow).await == "accepted").then_some(())).await;
    }
}

#[tokio::test]
async fn a_server_s_own_certificate_is_believed_as_openssl_makes_it() {
    for (name, names) in [("self-made", Some(HERE)), ("nameless", None)] {
        for (begin, url) in [(Begin::WhenAsked, "smtp://HOST?tls=required"), (Begin::WithTheConnection, "smtps://HOST")]
        {
            let app = prepare(name);
            let certificate = Certificate::as_made(app.data(), names);
            let server = Server::start(begin, &certificate, None);
            let authority = certificate.certificate.display().to_string();
            let url = url.replace("HOST", &server.address().to_string());
            launch(&app, &[("SMTP_URL", url), ("SMTP_CA_FILE", authority)]).await;
            let flow = Person::new("private").registers(&app).await;
            assert!(server.arrival().await.is_encrypted);
            eventually("an accepted letter", async || (state(&app, &flow).await == "accepted").then_some(())).await;
        }
    }
}

#[tokio::test]
async fn another_certificate_than_the_one_that_was_named_is_none() {
    let app = prepare("impostor");
    let real = Certificate::as_made(app.data(), Some(HERE));
    let named = app.data().join("test-named.pem");
    std::fs::copy(&real.certificate, &named).unwrap();
    // Same names, same subject, another key.
    let server = Server::start(Begin::WhenAsked, &Certificate::as_made(app.data(), Some(HERE)), None);
    let url = format!("smtp://{}?tls=required", server.address());
    launch(&app, &[("SMTP_URL", url), ("SMTP_CA_FILE", named.display().to_string())]).await;
    let flow = Person::new("deceived").registers(&app).await;
    server.handshake_failed().await;
    retrying(&app, &flow).await;
    assert!(server.arrivals().is_empty());
}

#[tokio::test]
async fn a_certificate_for_another_name_is_none() {
    let app = prepare("misnamed");
    let certificate = Certificate::make(app.data(), "DNS:elsewhere.example");
    let server = Server::start(Begin::WhenAsked, &certificate, None);
    // Whoever names an authority wants it asked, also where encryption is only taken when it is offered.
    let authority = certificate.certificate.display().to_string();
    launch(&app, &[("SMTP_URL", format!("smtp://{}", server.address())), ("SMTP_CA_FILE", authority)]).await;
    let flow = Person::new("deceived").registers(&app).await;
    server.handshake_failed().await;
    retrying(&app, &flow).await;
    assert!(server.arrivals().is_empty());
}

#[tokio::test]
async fn the_password_may_lie_in_a_file_and_a_wrong_one_loses_no_letter() {
    let account = "post@example.org:a/b%c d";
    let app = prepare("password");
    let certificate = Certificate::make(app.data(), HERE);
    let server = Server::start(Begin::WhenAsked, &certificate, Some(account));
    let file = app.data().join("test-mail-password");
    write_secret(&file, "something else\n");
    let settings = [
        ("SMTP_URL", format!("smtp://post%40example.org@{}?tls=required", server.address())),
        ("SMTP_PASSWORD_FILE", file.display().to_string()),
        ("SMTP_CA_FILE", certificate.certificate.display().to_string()),
    ];
    launch(&app, &settings).await;
    let flow = Person::new("locked-out").registers(&app).await;
    server.password_refused().await;
    retrying(&app, &flow).await;

    write_secret(&file, "a/b%c d\n");
    app.restart_at(3600).await;
    let arrival = server.arrival().await;
    assert_eq!((arrival.is_encrypted, arrival.signed_in_by), (true, Some(sign_in(account))));
    assert!(!app.log().contains("a/b%c d") && !app.log().contains("something else"), "{}", app.log());
}

#[tokio::test]
async fn what_was_said_in_clear_never_counts_as_said_under_encryption() {
    let app = prepare("overheard");
    let certificate = Certificate::make(app.data(), HERE);
    let server = Server::start(Begin::WhenAskedAndOverheard, &certificate, None);
    let authority = certificate.certificate.display().to_string();
    let url = format!("smtp://{}?tls=required", server.address());
    launch(&app, &[("SMTP_URL", url), ("SMTP_CA_FILE", authority)]).await;
    let flow = Person::new("overheard").registers(&app).await;
    server.handshake_failed().await;
    retrying(&app, &flow).await;
    assert!(server.arrivals().is_empty());
}
