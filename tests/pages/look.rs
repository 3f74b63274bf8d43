//! An operator's name, logo, colour and templates, checked before anything is served.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::registers;
use crate::support::app::binary;
use crate::support::browser::Browser;
use crate::support::folder::Folder;
use crate::support::{App, Kind, Person};

of_each_kind!(
    name_logo_colour_and_templates_are_the_operators,
    pages_that_wait_are_changed_together_one_by_one_and_as_a_whole,
);

async fn name_logo_colour_and_templates_are_the_operators(kind: Kind) {
    let folder = Folder::new("look");
    let path = |name: &str| folder.path().join(name).display().to_string();
    fs::write(folder.path().join("logo.svg"), "<svg xmlns=\"http://www.w3.org/2000/svg\"/>").unwrap();
    fs::create_dir_all(folder.path().join("own/pages/login")).unwrap();
    fs::write(
        folder.path().join("own/pages/login/form.html"),
        "{% extends \"layout.html\" %}{% block main %}<h1>Ours</h1>{% endblock %}",
    )
    .unwrap();
    let app = App::plan(kind)
        .named("look")
        .set("CAIRN_NAME", "Tor & Türe")
        .set("CAIRN_LOGO", path("logo.svg"))
        .set("CAIRN_ACCENT", "#7a0019")
        .set("CAIRN_TEMPLATES", path("own"))
        .start()
        .await;
    let page = Browser::new().open(&app, "/login").await;
    page.says(200, "<h1>Ours</h1>").says(200, "alt=\"Tor & Türe\"");
    assert_eq!(page.title(), "Sign in – Tor & Türe");
    assert!(app.log().contains("the page login/form has no form that posts to /login"), "{}", app.tail());
    let of = |before: &str| page.html.split(before).nth(1).unwrap().split('"').next().unwrap().to_owned();
    let logo = app.client().get(&of("<img src=\"")).send().await;
    assert_eq!((logo.status, logo.header("content-type")), (200, Some("image/svg+xml")), "{logo}");
    let css = app.client().get(&of("<link rel=\"stylesheet\" href=\"")).send().await;
    assert!(css.text().contains("--accent: #7a0019"), "{css}");
}

async fn pages_that_wait_are_changed_together_one_by_one_and_as_a_whole(kind: Kind) {
    let folder = Folder::new("waiting-look");
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("http/src/templates/waiting.html");
    let base = fs::read_to_string(base).unwrap();
    write(folder.path(), "pages/waiting.html", &base.replace("</h1>", "</h1><p>Ours</p>"));
    // One of them stands for itself, as it did before there was a file for all.
    let alone = "{% extends \"layout.html\" %}{% from \"parts.html\" import token, field %}{% block main %}<h1>Alone</h1>\
                 <form method=\"post\" action=\"/verify-email\" id=\"verify-code\">{{ token(form_token) }}\
                 <input type=\"hidden\" name=\"flow\" value=\"{{ flow }}\"><input type=\"hidden\" name=\"next\" value=\"{{ next }}\">\
                 {{ field(errors, \"code\", words.code, code) }}<button>{{ words.button }}</button></form>\
                 <form method=\"post\" action=\"/verify-email/resend\" id=\"resend\">{{ token(form_token) }}\
                 <input type=\"hidden\" name=\"flow\" value=\"{{ flow }}\"><input type=\"hidden\" name=\"next\" value=\"{{ next }}\">\
                 <button>{{ words.again }}</button></form>\
                 <p>{{ mail }} {{ events }} {{ here }} {{ change }} {{ wait }} {{ resend }} {{ codes }}</p>{% endblock %}";
    write(folder.path(), "pages/verify_email/waiting.html", alone);
    let own = folder.path().display().to_string();
    let (good, said) = check(&[("CAIRN_TEMPLATES", &own)]);
    assert!(good, "{said}");
    let app = App::plan(kind).named("waiting-look").set("CAIRN_TEMPLATES", own).start().await;
    let (mut browser, person) = (Browser::new(), Person::new("looker"));
    let page = registers(&mut browser, &app, &person).await;
    page.says(200, "<h1>Alone</h1>").says_not("Ours");
    let code = person.verification(&app).await.code().unwrap();
    let form = page.form("verify-code").with("code", &code);
    browser.send(&app, &form).await.says(200, "Your address is confirmed");
    let form = browser.open(&app, "/forgot-password").await.form("forgot-password").with("email", &person.email);
    let page = browser.send(&app, &form).await;
    page.says(200, "<p>Ours</p>").says(200, "Choose a new password with the code").says(200, "new-password");
}

fn check(settings: &[(&str, &str)]) -> (bool, String) {
    let mut command = Command::new(binary());
    command.args(["templates", "check"]).env_clear().envs(settings.iter().copied());
    let output = command.output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn what_does_not_fit_is_named_before_anything_is_served() {
    let (good, said) = check(&[]);
    assert!(good, "{said}");
    let (good, said) = check(&[("CAIRN_ACCENT", "#7a0019")]);
    assert!(good && said.contains("#7a0019 has a contrast of 1"), "{said}");
    let (good, said) = check(&[("CAIRN_ACCENT", "#ffcc00")]);
    assert!(!good && said.contains("CAIRN_ACCENT") && said.contains("contrast of 1.5"), "{said}");
    let (good, said) = check(&[("CAIRN_LOGO", "/nowhere/logo.svg")]);
    assert!(!good && said.contains("CAIRN_LOGO"), "{said}");
    for (name, text, word) in [
        (
            "pages/login/form.html",
            "{% extends \"layout.html\" %}{% block main %}{{ nothing }}{% endblock %}",
            "login/form",
        ),
        ("pages/login/form.html", "{% if %}", "login/form.html"),
        (
            "pages/waiting.html",
            "{% extends \"layout.html\" %}{% block main %}{{ nothing }}{% endblock %}",
            "verify_email/waiting",
        ),
        ("pages/waiting.html", "{% endblock %}", "waiting.html"),
        ("pages/verify_email/waiting.html", "{% extends \"wating.html\" %}", "verify_email/waiting"),
        ("pages/login/from.html", "", "login/from.html"),
        ("pages/en.json", "{}", "en.json"),
        ("letters/registration.welcome.txt", "{{ words.nothing }}", "registration.welcome"),
        ("letters/unknown.txt", "", "unknown.txt"),
        ("login/form.html", "", "login"),
    ] {
        let folder = Folder::new("broken-look");
        write(folder.path(), name, text);
        let (good, said) = check(&[("CAIRN_TEMPLATES", &folder.path().display().to_string())]);
        assert!(!good && said.contains("CAIRN_TEMPLATES") && said.contains(word), "{name}: {said}");
    }
    // What can be drawn and does not work is said by the check; the server starts with it, and writes it to its log.
    for (name, text, word) in [
        (
            "pages/login/form.html",
            "{% extends \"layout.html\" %}{% block main %}<h1>Ours</h1>{% endblock %}",
            "no form",
        ),
        ("pages/cairn.css", ":root { --paper: #fff; --ink: #aaa; }", "contrast of 2.3"),
        ("letters/recovery.reset.txt", "Somebody forgot something.\n", "recovery.reset.txt has its link not alone"),
    ] {
        let folder = Folder::new("doubtful-look");
        write(folder.path(), name, text);
        let (good, said) = check(&[("CAIRN_TEMPLATES", &folder.path().display().to_string())]);
        assert!(!good && said.contains("CAIRN_TEMPLATES") && said.contains(word), "{name}: {said}");
    }
    let folder = Folder::new("good-look");
    write(folder.path(), "letters/registration.welcome.txt", "Welcome to {{ words.title }}\n\n{{ login }}\n");
    let (good, said) = check(&[("CAIRN_TEMPLATES", &folder.path().display().to_string())]);
    assert!(good, "{said}");
}
