//! Every page drawn once with values that it may meet: how templates and words are checked, ours in a test and an
//! operator's at the start.

use minijinja::Value;
use minijinja::value::Serde;
use serde_json::json;

use super::page::{Page, Wrong};
use super::{TEMPLATES, Theme};

/// The template of a page's words: its own, else the one for a button, for a new password or for a message.
fn template(words: &str) -> &'static str {
    let own = format!("{words}.html");
    match TEMPLATES.iter().find(|(name, _)| *name == own) {
        Some((name, _)) => name,
        None if words.ends_with("/link") => "confirm.html",
        None if words.ends_with("/new_password") => "new_password.html",
        None => "message.html",
    }
}

/// Where a page's forms go whose address it is given: its own, and the one for another letter.
fn addresses(words: &str) -> (&'static str, &'static str) {
    match words {
        "verify_email/waiting" => ("/verify-email", "/verify-email/resend"),
        "reset_password/waiting" => ("/reset-password", "/reset-password/resend"),
        "magic_link/waiting" => ("/magic-link/code", "/magic-link/resend"),
        "magic_link/link" => ("/magic-link/link", ""),
        "magic_link/elsewhere" => ("/magic-link/code", ""),
        "account/email_waiting" => ("/account/email/code", "/account/email/resend"),
        "verify_email/link" => ("/verify-email", ""),
        "sign_out/link" => ("/logout", ""),
        "email_change/link" => ("/email-change", ""),
        "undo/link" | "undo/new_password" => ("/undo-email-change", ""),
        "end_session/link" | "end_session/new_password" => ("/end-session", ""),
        _ => ("", ""),
    }
}

/// A page with a value for every name that any template may use.
fn sample(words: &'static str, full: bool) -> Page {
    let text = |text: &str| Value::from(if full { text } else { "" });
    let or_none = |text: &str| if full { Value::from(text) } else { Value::from(()) };
    let at = json!({ "iso": "2026-11-21T12:00:00.000Z", "said": "12:00 UTC" });
    let page = Page::new(template(words))
        .in_words(words)
        .say("address", "ada@example.org")
        .say("account", "a***@e***.org")
        .say("time", "12:00 UTC")
        .say("host", "id.example.org")
        .say("client", "Notes")
        .say("detail", "Send the parameter redirect_uri.")
        .note(full.then(|| "A note.".to_owned()));
    let texts = [
        "email",
        "username",
        "first_name",
        "last_name",
        "next",
        "once",
        "login",
        "identifier",
        "register",
        "letter",
        "flow",
        "code",
        "new_email",
        "address",
        "link_token",
        "form_id",
        "here",
        "events",
        "mail",
        "change",
        "title",
        "request_id",
        "name",
        "client_id",
        "post_logout_redirect_uri",
        "state",
    ];
    let page = texts.into_iter().fold(page, |page, name| page.put(name, text("value")));
    let (action, again) = addresses(words);
    let page = page.put("action", action).put("again", again);
    let flags =
        ["codes", "resend", "danger", "unfinished", "others", "forgot", "ask_disposable", "accept_disposable", "stay"];
    let page = flags.into_iter().fold(page, |page, name| page.put(name, full));
    let list =
        |items: serde_json::Value| if full { Value::from(Serde(items)) } else { Value::from(Vec::<Value>::new()) };
    let session = json!({ "id": "ses_x", "device": "Firefox on Linux", "client_address": "192.0.2.1", "since": at, "used": at, "current": true });
    let device = json!({ "id": "dev_x", "device": "Firefox on Linux", "client_address": "192.0.2.1", "since": at, "seen": at, "current": true });
    let part = |text: &str| if full { text } else { "" }.to_owned();
    let client = json!({ "name": "Notes", "logo": "", "home": part("https://notes.example/"), "policy": part("https://notes.example/p"), "terms": part("https://notes.example/t"), "verified": !full });
    let application = json!({ "id": "x", "name": "Notes", "scopes": ["Your name"], "given": at, "used": at });
    let mail = json!({ "subject": "s", "to": "t", "at": "a", "letter": "l", "text": "t", "link": "http://localhost/" });
    page.put("lead", or_none("/login"))
        .put("second", or_none("/register"))
        .put("leave", or_none("/login"))
        .put("wait", 42)
        .put("version", 1)
        .put("since", Value::from(Serde(at.clone())))
        .put("sessions", list(json!([session])))
        .put("devices", list(json!([device])))
        .put("client", Value::from(Serde(client)))
        .put("scopes", list(json!(["Your name"])))
        .put("resources", list(json!(["https://api.example/"])))
        .put("fields", list(json!([{ "name": "code", "value": "x" }])))
        .put("applications", list(json!([application])))
        .put(
            "events",
            if words == "account/history" { list(json!([{ "what": "w", "at": at }])) } else { text("/events") },
        )
        .put("older", or_none("/account/history?before=1"))
        .put("mails", list(json!([mail])))
        .put("cookies", list(json!([{ "name": "theirs", "octets": 30_000 }])))
        .wrong(if full { wrong() } else { Vec::new() })
}

fn wrong() -> Vec<Wrong> {
    let fields = [None, Some("email"), Some("password"), Some("code"), Some("new_password")];
    fields.into_iter().map(|field| Wrong { field, text: "Do this.".to_owned() }).collect()
}

/// Draws every page that there are words for, full and bare, each with its name.
pub(super) fn drawn(theme: &Theme) -> impl Iterator<Item = Result<(&'static str, String), String>> {
    NAMES.iter().flat_map(|words| [true, false].map(|full| (*words, full))).map(|(words, full)| {
        let page = sample(words, full).draw(theme, "token").map_err(|why| format!("the page {words}: {why:#}"))?;
        Ok((words, page))
    })
}

/// The words of all pages.
const NAMES: &[&str] = &[
    "problem",
    "too_large",
    "mailbox",
    "register/form",
    "register/closed",
    "verify_email/waiting",
    "verify_email/link",
    "verify_email/password",
    "verify_email/verified",
    "verify_email/already",
    "verify_email/expired",
    "verify_email/taken",
    "verify_email/garbage",
    "verify_email/nothing",
    "login/form",
    "login/already",
    "login/signed_out",
    "sign_out/link",
    "sign_out/client",
    "forgot_password/form",
    "reset_password/waiting",
    "reset_password/link",
    "reset_password/done",
    "reset_password/used",
    "reset_password/expired",
    "reset_password/overtaken",
    "reset_password/garbage",
    "reset_password/nothing",
    "magic_link/form",
    "magic_link/waiting",
    "magic_link/link",
    "magic_link/elsewhere",
    "magic_link/used",
    "magic_link/spent",
    "magic_link/expired",
    "magic_link/overtaken",
    "magic_link/garbage",
    "magic_link/nothing",
    "account/overview",
    "account/profile",
    "account/password",
    "account/email",
    "account/email_waiting",
    "account/email_anothers",
    "account/sessions",
    "account/devices",
    "account/history",
    "account/export",
    "account/delete",
    "account/deleted",
    "account/applications",
    "consent/form",
    "consent/form_post",
    "consent/over",
    "consent/unknown",
    "consent/unknown_client",
    "consent/bad_request",
    "email_change/link",
    "email_change/password",
    "email_change/done",
    "email_change/expired",
    "email_change/overtaken",
    "email_change/taken",
    "email_change/garbage",
    "undo/link",
    "undo/new_password",
    "undo/set",
    "undo/done",
    "undo/expired",
    "undo/overtaken",
    "undo/garbage",
    "end_session/link",
    "end_session/new_password",
    "end_session/set",
    "end_session/done",
    "end_session/already",
    "end_session/garbage",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may stop where it stands")]

    use std::collections::BTreeSet;

    use super::super::Brand;
    use super::*;

    fn theme() -> Theme {
        Theme::read(Brand::default(), None).unwrap()
    }

    fn between<'a>(page: &'a str, before: &str, after: &str) -> &'a str {
        page.split(before).nth(1).and_then(|rest| rest.split(after).next()).unwrap_or_default()
    }

    #[test]
    fn every_page_has_words_and_all_words_have_a_page() {
        let words: BTreeSet<String> = theme().words.pages.keys().cloned().collect();
        let named: BTreeSet<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(words, named);
        let used: BTreeSet<&str> = NAMES.iter().map(|name| template(name)).collect();
        let idle: Vec<&str> = TEMPLATES.iter().map(|(name, _)| *name).filter(|name| !used.contains(name)).collect();
        assert_eq!(idle, ["layout.html", "parts.html", "waiting.html"], "nothing is drawn with these");
    }

    #[test]
    fn titles_differ_and_begin_with_the_error_where_there_is_one() {
        let theme = theme();
        let mut seen = BTreeSet::new();
        for name in NAMES.iter().filter(|name| **name != "problem") {
            let bare = sample(name, false).draw(&theme, "t").unwrap();
            let title = between(&bare, "<title>", "</title>").to_owned();
            assert!(title.ends_with(" – Cairn") && !title.starts_with("Error"), "{name}: {title}");
            assert!(seen.insert(title.clone()), "{title} stands on two pages");
            let full = sample(name, true).draw(&theme, "t").unwrap();
            assert!(between(&full, "<title>", "</title>").starts_with("Error: "), "{name}");
        }
    }

    #[test]
    fn pages_have_one_heading_nothing_inline_and_labels_for_all_fields() {
        let theme = theme();
        for name in NAMES {
            let page = sample(name, true).draw(&theme, "t").unwrap();
            assert!(page.starts_with("<!doctype html>\n<html lang=\"en\">"), "{name}");
            assert_eq!(page.matches("<h1>").count(), 1, "{name}");
            assert!(!page.contains(" style=") && !page.contains("<style") && !page.contains(" onclick"), "{name}");
            assert_eq!(page.matches("<script").count(), page.matches("<script src=\"/assets/cairn-").count(), "{name}");
            let mut ids = BTreeSet::new();
            for id in page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                assert!(ids.insert(id), "{name}: two elements are called {id}");
            }
            for input in page.split("<input ").skip(1).filter_map(|rest| rest.split('>').next()) {
                let seen = !input.contains("type=\"hidden\"") && !input.contains(" hidden");
                let id = between(input, "id=\"", "\"");
                assert!(!seen || page.contains(&format!("<label for=\"{id}\">")), "{name}: {input}");
                assert!(!input.contains("placeholder"), "{name}: {input}");
                for described in between(input, "aria-describedby=\"", "\"").split(' ').filter(|id| !id.is_empty()) {
                    assert!(ids.contains(described), "{name}: nothing is called {described}");
                }
            }
            for form in page.split("<form ").skip(1).filter_map(|rest| rest.split("</form>").next()) {
                assert!(
                    form.contains("method=\"post\"")
                        && form.contains(" id=\"")
                        // What goes to an application is no business of ours any more.
                        && (*name == "consent/form_post") != form.contains("name=\"form_token\""),
                    "{name}: {form}"
                );
            }
        }
    }

    #[test]
    fn what_people_type_is_text_on_a_page() {
        let page = sample("login/form", false).put("identifier", "\"><script>alert('&')</script>");
        let page = page.draw(&theme(), "t").unwrap();
        assert!(page.contains("value=\"&quot;&gt;&lt;script&gt;alert(&#39;&amp;&#39;)&lt;/script&gt;\""), "{page}");
    }

    #[test]
    fn the_stylesheet_is_small() {
        assert!(include_str!("../templates/cairn.css").len() <= 12 * 1024);
    }
}
