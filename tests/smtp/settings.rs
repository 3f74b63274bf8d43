//! Settings of mail that cannot be right end the process before it listens, in one line that names the setting.

use super::server::{Begin, Certificate, Server};
use crate::support::letter::Letter;
use crate::support::{App, Kind, Person};

#[tokio::test]
async fn what_cannot_be_right_is_said_at_the_start() {
    let relay = ("SMTP_URL", "smtp://user@relay.example");
    let dkim = [("CAIRN_DKIM_DOMAIN", "example.org"), ("CAIRN_DKIM_SELECTOR", "s1")];
    for (settings, named) in [
        (vec![relay], "SMTP_PASSWORD_FILE"),
        (vec![relay, ("SMTP_PASSWORD_FILE", "nowhere")], "SMTP_PASSWORD_FILE: there is no file nowhere"),
        (vec![("SMTP_URL", "smtps://relay.example"), ("SMTP_CA_FILE", "nowhere")], "SMTP_CA_FILE: nowhere"),
        (vec![("SMTP_URL", "smtp://relay.example"), dkim[0]], "CAIRN_DKIM_SELECTOR is missing"),
        (vec![("SMTP_URL", "smtp://relay.example"), dkim[0], dkim[1]], "CAIRN_DKIM_KEY_FILE is missing"),
        (
            vec![("SMTP_URL", "smtp://relay.example"), dkim[0], dkim[1], ("CAIRN_DKIM_KEY_FILE", "nowhere")],
            "CAIRN_DKIM_KEY_FILE: there is no file nowhere",
        ),
    ] {
        let plan = App::plan(Kind::Sqlite).named("mistaken").set("CAIRN_LOG", "off");
        let app = settings.iter().fold(plan, |plan, (name, value)| plan.set(name, value)).prepare();
        let mut command = app.command();
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert_eq!(output.status.code(), Some(1), "{settings:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(named) && said.trim_end().lines().count() == 1, "{settings:?}: {said}");
    }
}

#[tokio::test]
async fn letters_are_signed_for_the_domain_of_the_operator() {
    let app = App::plan(Kind::Sqlite).named("signed").set("MAIL_FROM", "Cairn <cairn@example.org>").prepare();
    let certificate = Certificate::make(app.data(), "DNS:localhost");
    let server = Server::start(Begin::WhenAsked, &certificate, None);
    app.change("SMTP_URL", format!("smtp://{}", server.address()));
    app.change("CAIRN_DKIM_DOMAIN", "example.org");
    app.change("CAIRN_DKIM_SELECTOR", "s2026");
    let key = app.data().join("test-dkim.pem");
    let output = std::process::Command::new("openssl").args(["genrsa", "-out"]).arg(&key).arg("2048").output();
    assert!(output.expect("openssl; `make test` installs it").status.success());
    app.change("CAIRN_DKIM_KEY_FILE", key.display());
    app.launch();
    app.ready().await;
    Person::new("signed").registers(&app).await;
    let raw = server.arrival().await.raw;
    let letter = Letter::from_mail(&raw);
    let signature = letter.headers.get("dkim-signature").unwrap_or_else(|| panic!("no signature in\n{raw}"));
    for tag in ["v=1;", "a=rsa-sha256;", "c=relaxed/relaxed;", "d=example.org;", "s=s2026;", "bh=", " b="] {
        assert!(signature.contains(tag), "{tag} in {signature}");
    }
    assert!(raw.starts_with("DKIM-Signature: "), "in front, as RFC 6376 section 5.6 would have it");
    assert!(letter.link().is_some() && letter.code().is_some());
}
