//! Every letter in both parts, held to what programs and people may rely on.

use std::sync::Arc;

use cairn_runtime::Payload;
use cairn_runtime::{Domain, Timestamp, store};

use super::mailbox::view;
use super::*;
use crate::effects::{Auth, Delivery};
use crate::environment::Settings;
use crate::identity::address::Address;
use crate::secrets::ring::Ring;

const PUBLIC: &str = "https://id.example.org";
const FLOW: FlowId = FlowId::from_bytes([0x5a; 16]);
const DELIVERY: DeliveryId = DeliveryId::from_bytes([7; 16]);
/// 3 November 2026, 14:02:59.
const UNTIL: Timestamp = Timestamp(1_793_714_579_999);

pub(crate) fn environment(public: &str) -> Environment {
    let ring = Ring::pretended(1);
    let signing = Arc::new(crate::testing::signing_keys(&ring, 1));
    let settings = Settings { public_url: public.to_owned(), ..Settings::default() };
    Environment { ring: Arc::new(ring), signing, settings }
}

fn seal() -> Seal {
    Seal { key: KeyId(1), n: 3, salt: [9; 16] }
}

fn letters() -> Vec<Letter> {
    let to = Address::parse("Mallory.Chosen@example.net").unwrap();
    vec![
        Letter::RegistrationVerify { to: to.clone(), seal: seal(), expires_at: UNTIL },
        Letter::RegistrationKnown { to: to.clone() },
        Letter::RegistrationWelcome { to: to.clone() },
        Letter::RecoveryReset { to: to.clone(), seal: seal(), expires_at: UNTIL },
        Letter::MagicLinkSignIn { to: to.clone(), seal: seal(), expires_at: UNTIL },
        Letter::PasswordChanged { to: to.clone(), at: UNTIL },
        Letter::EmailConfirm { to: to.clone(), seal: seal(), expires_at: UNTIL },
        Letter::EmailKnown { to: to.clone() },
        Letter::EmailChanged { to: to.clone(), seal: seal(), at: UNTIL, expires_at: UNTIL },
        Letter::SessionNewDevice {
            to: to.clone(),
            seal: seal(),
            device: "Firefox on Linux".to_owned(),
            client_address: "192.0.2.7".to_owned(),
            at: UNTIL,
        },
        Letter::DeletionAsked { to: to.clone(), until: UNTIL },
        Letter::DeletionCalledOff { to, at: UNTIL },
    ]
}

fn expected_links(letter: &Letter, environment: &Environment) -> Vec<String> {
    let with_token = |purpose, path: &str| {
        let token = credential::render(&environment.ring, purpose, *FLOW.bytes(), &seal()).unwrap();
        vec![format!("{PUBLIC}/{path}?token={}", token.expose())]
    };
    let forgotten = format!("{PUBLIC}/forgot-password");
    match letter {
        Letter::RegistrationVerify { .. } => with_token(Purpose::VerifyEmail, "verify-email"),
        Letter::RecoveryReset { .. } => with_token(Purpose::ResetPassword, "reset-password"),
        Letter::MagicLinkSignIn { .. } => with_token(Purpose::MagicLink, "magic-link"),
        Letter::RegistrationKnown { .. } => vec![format!("{PUBLIC}/login"), forgotten],
        Letter::RegistrationWelcome { .. } => vec![format!("{PUBLIC}/login")],
        Letter::PasswordChanged { .. } => vec![forgotten],
        Letter::EmailConfirm { .. } => with_token(Purpose::EmailChange, "email-change"),
        Letter::EmailKnown { .. } => Vec::new(),
        Letter::EmailChanged { .. } => with_token(Purpose::UndoEmailChange, "undo-email-change"),
        Letter::SessionNewDevice { .. } => with_token(Purpose::EndSession, "end-session"),
        Letter::DeletionAsked { .. } => vec![format!("{PUBLIC}/login")],
        Letter::DeletionCalledOff { .. } => vec![format!("{PUBLIC}/forgot-password")],
    }
}

fn purpose(letter: &Letter) -> Option<Purpose> {
    match letter {
        Letter::RegistrationVerify { .. } => Some(Purpose::VerifyEmail),
        Letter::RecoveryReset { .. } => Some(Purpose::ResetPassword),
        Letter::EmailConfirm { .. } => Some(Purpose::EmailChange),
        Letter::MagicLinkSignIn { .. } => Some(Purpose::MagicLink),
        _ => None,
    }
}

fn hrefs(html: &str) -> Vec<&str> {
    html.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn every_link_stands_alone_on_its_line_and_there_is_no_other() {
    let environment = environment(PUBLIC);
    for letter in letters() {
        let rendered = render(&letter, FLOW, &environment).unwrap();
        let links: Vec<&str> = rendered.text.lines().filter(|line| line.contains("://")).collect();
        assert_eq!(links, expected_links(&letter, &environment), "{}", letter.name());
    }
}

#[test]
fn the_code_stands_alone_on_its_line_as_six_plain_digits_and_grouped_in_the_subject() {
    let environment = environment(PUBLIC);
    for letter in letters() {
        let rendered = render(&letter, FLOW, &environment).unwrap();
        let codes: Vec<&str> =
            rendered.text.lines().filter(|line| line.len() == 6 && line.bytes().all(|b| b.is_ascii_digit())).collect();
        let Some(purpose) = purpose(&letter) else {
            assert!(codes.is_empty(), "{}", letter.name());
            continue;
        };
        let right = credential::code(&environment.ring, purpose, *FLOW.bytes(), &seal()).unwrap().expose().to_string();
        assert_eq!(codes, [right.as_str()]);
        assert!(rendered.html.contains(&format!(">{right}</p>")));
        assert!(rendered.subject.starts_with(&format!("{} {} is your code", &right[..3], &right[3..])));
    }
}

#[test]
fn letters_with_a_code_say_until_when_in_utc() {
    let environment = environment(PUBLIC);
    for letter in letters().into_iter().filter(|letter| purpose(letter).is_some()) {
        let rendered = render(&letter, FLOW, &environment).unwrap();
        for part in [&rendered.text, &rendered.html] {
            assert!(part.contains("work until 3 November 2026, 14:02 UTC."), "{part}");
        }
    }
    let rendered = render(&letters()[5], FLOW, &environment).unwrap();
    assert!(rendered.text.contains("was changed on 3 November 2026, 14:02 UTC."));
}

#[test]
fn every_letter_has_its_name_in_the_list() {
    let names: Vec<_> = letters().iter().map(Letter::name).collect();
    assert_eq!(names, Letter::NAMES);
    assert_eq!(Delivery::KINDS, [names.as_slice(), &[Delivery::NOBODY]].concat());
}

#[test]
fn every_letter_says_what_to_do_if_one_did_not_ask() {
    let environment = environment(PUBLIC);
    for letter in letters() {
        let rendered = render(&letter, FLOW, &environment).unwrap();
        let unasked = fill(&theme().language.letters[letter.name()]["unasked"], &[("host", "id.example.org")]);
        assert!(rendered.text.lines().any(|line| line == unasked), "{}", letter.name());
    }
}

#[test]
fn nothing_that_the_asker_chose_is_in_a_letter() {
    let environment = environment(PUBLIC);
    for letter in letters() {
        let Rendered { subject, text, html } = render(&letter, FLOW, &environment).unwrap();
        for part in [subject, text, html] {
            let part = part.to_ascii_lowercase();
            assert!(!part.contains("mallory") && !part.contains("example.net"), "{}", letter.name());
        }
    }
}

#[test]
fn the_html_part_fetches_nothing_and_links_to_nobody_else() {
    let environment = environment(PUBLIC);
    for letter in letters() {
        let html = render(&letter, FLOW, &environment).unwrap().html;
        let expected = expected_links(&letter, &environment);
        let hrefs = hrefs(&html);
        assert_eq!(hrefs.is_empty(), expected.is_empty(), "{}", letter.name());
        for href in hrefs {
            assert!(expected.iter().any(|link| link == href), "{href}");
        }
        for fetched in ["<img", "src=", "url(", "<link", "<script", "@import", "<iframe"] {
            assert!(!html.contains(fetched), "{} has {fetched}", letter.name());
        }
        assert!(html.contains("prefers-color-scheme: dark") && html.contains("<html lang=\"en\">"));
        let outside: usize = html.matches("://").count();
        assert_eq!(outside, html.matches(&format!("{PUBLIC}/")).count());
    }
}

#[test]
fn no_place_is_left_open_and_every_line_fits_a_mail() {
    let environment = environment(PUBLIC);
    for letter in letters() {
        let Rendered { subject, text, html } = render(&letter, FLOW, &environment).unwrap();
        assert!(subject.is_ascii() && subject.len() < 78 && !subject.chars().any(char::is_control), "{subject}");
        assert!(text.is_ascii() && html.is_ascii());
        assert!(text.lines().chain(html.lines()).all(|line| line.len() < 998));
        for part in [&subject, &text] {
            assert!(!part.contains(['{', '}']), "{part}");
        }
        for place in ["{host}", "{until}", "{at}", "{spoken}", "{{", "{%"] {
            assert!(!html.contains(place), "{place} in {html}");
        }
        assert!(text.ends_with("answers to it.\n") && !text.contains("\n\n\n"));
    }
}

#[test]
fn the_file_of_words_has_exactly_the_letters_that_are_written() {
    let named: Vec<&str> = theme().language.letters.keys().map(String::as_str).collect();
    let mut written: Vec<&str> = letters().iter().map(Letter::name).collect();
    written.sort_unstable();
    assert_eq!(named, written);
    for (name, words) in &theme().language.letters {
        // A letter's own files, and those that they extend.
        let text_of = |wanted: &str| FILES.iter().find(|(file, _)| *file == wanted).map(|(_, text)| *text);
        let own = ["txt", "html"].map(|ending| text_of(&format!("{name}.{ending}")).unwrap());
        let extended = own.iter().filter_map(|text| text_of(text.strip_prefix("{% extends \"")?.split('"').next()?));
        let templates: Vec<&str> = own.into_iter().chain(extended).collect();
        for word in words.keys().filter(|word| !["subject", "title"].contains(&word.as_str())) {
            assert!(templates.iter().any(|text| text.contains(&format!("words.{word}"))), "{name}: {word} is unused");
        }
    }
}

#[test]
fn a_repeat_is_the_same_letter_word_for_word() {
    let (environment, again) = (environment(PUBLIC), environment(PUBLIC));
    for letter in letters() {
        let kept: Letter = serde_json::from_str(&serde_json::to_string(&letter).unwrap()).unwrap();
        let (first, second) = (render(&letter, FLOW, &environment).unwrap(), render(&kept, FLOW, &again).unwrap());
        assert!(first == second, "{}", letter.name());
    }
    assert_eq!(message_id(DELIVERY, &environment), message_id(DELIVERY, &again));
}

#[test]
fn a_letter_whose_key_is_not_in_the_ring_yet_says_so() {
    let to = Address::parse("a@example.net").unwrap();
    let letter = Letter::RecoveryReset { to, seal: Seal { key: KeyId(9), ..seal() }, expires_at: UNTIL };
    assert_eq!(render(&letter, FLOW, &environment(PUBLIC)), Err(LetterFault::UnknownKey(KeyId(9))));
}

#[test]
fn the_message_id_ends_in_the_host_of_the_public_url() {
    for (public, host) in [
        ("https://id.example.org", "id.example.org"),
        ("http://127.0.0.1:8080", "127.0.0.1"),
        ("http://localhost:8080/auth", "localhost"),
        ("http://[::1]:8080", "[::1]"),
        ("https://konto.m\u{fc}ller.example", "konto.xn--mller-kva.example"),
        ("https://bad host\r\nBcc: x@y", "localhost"),
        ("http://[::1\r\nBcc: x]", "localhost"),
        ("", "localhost"),
    ] {
        assert_eq!(message_id(DELIVERY, &environment(public)), format!("<{DELIVERY}@{host}>"), "{public}");
    }
}

#[test]
fn what_goes_into_html_is_escaped_and_into_text_it_is_not() {
    let environment = environment("https://id.example.org/a&b\"<script>");
    let rendered = render(&letters()[0], FLOW, &environment).unwrap();
    assert!(rendered.text.contains("\nhttps://id.example.org/a&b\"<script>/verify-email?token="));
    assert!(rendered.html.contains("href=\"https://id.example.org/a&amp;b&quot;&lt;script&gt;/verify-email?token="));
    assert!(!rendered.html.contains("<script>"));
}

fn row(carried: &Payload<Auth>, environment: &Environment) -> store::OutboxRow {
    let plain = serde_json::to_vec(carried).unwrap();
    store::OutboxRow {
        id: DELIVERY,
        flow: FLOW,
        flow_kind: "registration".to_owned(),
        tag: None,
        kind: carried.kind().to_owned(),
        lane: carried.lane().name.to_owned(),
        target: carried.target(),
        budget: carried.charge(environment).map(|charge| charge.budget),
        asked_by: None,
        payload: Auth::seal(environment, DELIVERY.bytes(), &plain, [3; 32]),
        due: Timestamp(0),
        expires: None,
        once: false,
        attempts: 2,
        claimed_until: None,
        claimed_by: None,
        settled: None,
        note: String::new(),
        dead: false,
        created: Timestamp(1_793_714_579_250),
    }
}

#[test]
fn the_mailbox_shows_a_row_of_the_outbox_as_the_letter_it_is() {
    let environment = environment(PUBLIC);
    for letter in letters() {
        let mail =
            view(&row(&Payload::External(Delivery::Letter(letter.clone())), &environment), &environment).unwrap();
        let rendered = render(&letter, FLOW, &environment).unwrap();
        let shown = serde_json::to_value(&mail).unwrap();
        assert_eq!(
            shown,
            serde_json::json!({
                "id": DELIVERY.to_string(),
                "message_id": format!("<{DELIVERY}@id.example.org>"),
                "to": "Mallory.Chosen@example.net",
                "from": "Cairn <cairn@localhost>",
                "subject": rendered.subject,
                "text": rendered.text,
                "html": rendered.html,
                "at": "2026-11-03T14:02:59.250Z",
                "attempts": 2,
                "letter": letter.name(),
                "flow": FLOW.0.text("reg"),
            })
        );
        assert!(mail.is_to("mallory.chosen@EXAMPLE.net") && !mail.is_to("mallory@example.net") && !mail.is_to(""));
    }
}

#[test]
fn the_mailbox_shows_no_signals_nothing_wiped_and_nothing_of_another_house() {
    let environment = environment(PUBLIC);
    let signal = Payload::Signal { to: FLOW, kind: "session".to_owned(), signal: serde_json::Value::Null };
    assert_eq!(view(&row(&signal, &environment), &environment), None);
    let letter = Payload::External(Delivery::Letter(letters().remove(0)));
    let good = row(&letter, &environment);
    assert_eq!(view(&store::OutboxRow { payload: Vec::new(), ..good.clone() }, &environment), None);
    assert_eq!(view(&store::OutboxRow { id: DeliveryId::from_bytes([8; 16]), ..good }, &environment), None);
}
