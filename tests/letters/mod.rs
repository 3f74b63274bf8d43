//! Letters over SMTP: what is in them, and what becomes of them when the mail server refuses, hangs or cuts.

use std::fs;

use crate::support::audit::outbox_drained;
use crate::support::folder::Folder;
use crate::support::smtp::Sink;
use crate::support::{App, Kind, Person, eventually};

of_each_kind!(
    a_letter_says_what_a_letter_of_ours_must,
    a_letter_outlives_a_mail_server_in_trouble,
    only_what_a_mail_server_says_of_the_address_is_the_address_s_fault,
);

async fn a_letter_says_what_a_letter_of_ours_must(kind: Kind) {
    let sink = Sink::start();
    let plan = App::plan(kind).named("post").set("SMTP_URL", sink.url());
    let app = plan.set("MAIL_FROM", "Cairn <cairn@example.org>").start().await;
    let person = Person::new("addressee");
    let flow = person.registers(&app).await;
    let letter = sink.letter(&person.email, "registration.verify").await;
    assert_eq!(letter.headers.get("auto-submitted").map(String::as_str), Some("auto-generated"));
    assert!(letter.message_id.starts_with('<') && letter.message_id.ends_with('>'), "{}", letter.message_id);
    assert!(letter.from.contains("cairn@example.org"), "{}", letter.from);
    assert!(letter.headers.contains_key("date") && letter.headers.contains_key("mime-version"), "{:?}", letter.headers);
    // No text of the asker's choice while the address is unproved: else anybody mails anybody through us.
    for chosen in ["Nora", "Quist", &person.username] {
        let said = format!("{}{}{}", letter.subject, letter.text, letter.html);
        assert!(!said.replace(&person.email, "").contains(chosen), "{chosen} in\n{said}");
    }
    let link = letter.link().unwrap();
    assert!(link.starts_with(&format!("{}/verify-email?token=", app.public_url())), "{link}");
    assert!(letter.html.contains(letter.token().unwrap().as_str()), "the same link in both parts");
    assert!(letter.html.contains(&letter.code().unwrap()), "the same code in both parts");

    let body = crate::support::json!({"flow": flow, "code": letter.code()});
    app.client().post("/auth/verify-email", &body).send().await.expect(200);
    let welcome = sink.letter(&person.email, "registration.welcome").await;
    assert_ne!(welcome.message_id, letter.message_id);
    assert_eq!(welcome.code(), None);
    outbox_drained(&app).await;
    assert_eq!(sink.copies().len(), 2, "each once");
}

async fn a_letter_outlives_a_mail_server_in_trouble(kind: Kind) {
    let sink = Sink::start();
    let app = App::plan(kind).named("trouble").set("SMTP_URL", sink.url()).start().await;
    let state = async |flow: &str| {
        let status = app.client().get(&format!("/auth/register/{flow}")).send().await.expect(200);
        status["mail"]["state"].as_str().unwrap().to_owned()
    };

    // Not now: it is tried again, with the same id.
    let scripts = [("RCPT", "450 not here"), ("CONTENT", "451 not this one"), ("CONTENT", "drop")];
    for (hour, script) in (1..).zip(scripts) {
        sink.follow(&[script]);
        let person = Person::new("patient");
        let before = sink.attempts();
        let flow = person.registers(&app).await;
        eventually("a first attempt", async || (sink.attempts() > before).then_some(())).await;
        eventually("a letter that is to be tried again", async || (state(&flow).await == "retrying").then_some(()))
            .await;
        sink.follow(&[]);
        // The back-off is the clock's affair, and the clock is driven.
        app.restart_at(hour * 3600).await;
        let letter = sink.letter(&person.email, "registration.verify").await;
        eventually("an accepted letter", async || (state(&flow).await == "accepted").then_some(())).await;
        let copies = sink.letters(&person.email, "registration.verify");
        assert!(copies.iter().all(|copy| *copy == letter || copy.message_id == letter.message_id), "{script:?}");
        assert!(copies.iter().all(|copy| copy.code() == letter.code() && copy.link() == letter.link()), "{script:?}");
    }

    // A server that says nothing holds up neither the answer nor, for ever, the letter.
    sink.follow(&[("*", "hang")]);
    let person = Person::new("patient");
    person.registers(&app).await;
    app.client().get("/health").send().await.expect(200);
    sink.follow(&[]);
    app.restart_at(4 * 3600).await;
    sink.letter(&person.email, "registration.verify").await;

    // Never: it ends visibly, and is not tried for ever.
    sink.follow(&[("RCPT", "550 not here")]);
    let flow = Person::new("bounced").registers(&app).await;
    eventually("a letter that failed", async || (state(&flow).await == "failed").then_some(())).await;
    assert!(outbox_drained(&app).await >= 1, "a dead letter is counted");
}

async fn only_what_a_mail_server_says_of_the_address_is_the_address_s_fault(kind: Kind) {
    let sink = Sink::start();
    let app = App::plan(kind).named("blame").set("SMTP_URL", sink.url()).start().await;
    let state = async |flow: &str| {
        let status = app.client().get(&format!("/auth/register/{flow}")).send().await.expect(200);
        status["mail"]["state"].as_str().unwrap().to_owned()
    };
    // Of us: it goes out as soon as somebody has mended that, and the log says what.
    let refusal = "504 5.5.2 <afecba3b2e68>: Helo command rejected: need fully-qualified hostname";
    sink.follow(&[("RCPT", refusal)]);
    let person = Person::new("blameless");
    let flow = person.registers(&app).await;
    eventually("a letter that is put off", async || (state(&flow).await == "retrying").then_some(())).await;
    assert!(app.log().contains("504 5.5.2 <afecba3b2e68>: Helo command rejected"), "{}", app.tail());
    sink.follow(&[]);
    app.restart_at(3600).await;
    sink.letter(&person.email, "registration.verify").await;
    eventually("an accepted letter", async || (state(&flow).await == "accepted").then_some(())).await;

    // Of the address, whatever the words are written in.
    for refusal in
        ["550 5.1.1 Empf\u{e4}nger unbekannt", "550 \u{d3}\u{c3}\u{bb}\u{a7}\u{b2}\u{bb}\u{b4}\u{e6}\u{d4}\u{da}"]
    {
        sink.follow(&[("RCPT", refusal)]);
        let flow = Person::new("mistyped").registers(&app).await;
        eventually("a letter that failed", async || (state(&flow).await == "failed").then_some(())).await;
        sink.follow(&[]);
        let person = Person::new("neighbour");
        person.registers(&app).await;
        sink.letter(&person.email, "registration.verify").await;
    }
}

#[tokio::test]
async fn a_letter_in_another_language_keeps_its_link_whole() {
    let folder = Folder::new("umlauts");
    fs::create_dir_all(folder.path().join("letters")).unwrap();
    let text = "Sch\u{f6}nen Tag,\n\n{{ code }}\n\n{{ link }}\n\nIhre B\u{fc}cherei\n";
    fs::write(folder.path().join("letters/registration.verify.txt"), text).unwrap();
    let sink = Sink::start();
    let plan = App::plan(Kind::Sqlite).named("umlauts").set("SMTP_URL", sink.url());
    let plan = plan.set("CAIRN_TEMPLATES", folder.path().display());
    let from = "Stadtb\u{fc}cherei M\u{fc}hlhausen an der Gro\u{df}en Laber <cairn@mail.example.org>";
    let app = plan.set("MAIL_FROM", from).start().await;
    let person = Person::new("reader");
    let flow = person.registers(&app).await;
    let letter = sink.letter(&person.email, "registration.verify").await;
    assert!(letter.text.contains("Sch\u{f6}nen Tag") && letter.text.contains("B\u{fc}cherei"), "{}", letter.text);
    let raw = sink.copies().remove(0).raw;
    assert!(!raw.contains("quoted-printable"), "{raw}");
    let (head, _) = raw.split_once("\r\n\r\n").unwrap();
    for line in head.split("\r\n").filter(|line| line.contains("=?")) {
        assert!(line.len() <= 76 && line.split(' ').all(|word| word.len() <= 75), "{line}");
    }
    assert!(letter.from.ends_with(" <cairn@mail.example.org>"), "{}", letter.from);
    assert!(letter.link().unwrap().starts_with(&format!("{}/verify-email?token=", app.public_url())));
    let body = crate::support::json!({"flow": flow, "code": letter.code()});
    app.client().post("/auth/verify-email", &body).send().await.expect(200);
}
