//! What a failed start says: the setting's name, the part that is wrong, the way out, and never a secret.

use std::path::Path;

use super::run;
use crate::documents::tables::settings;
use crate::support::app::write_secret;
use crate::support::{App, Kind};

/// What must not be printed.
const MARK: &str = "S3cret";

/// A value that the setting must refuse, with the mark in it.
fn garbage(name: &str, folder: &Path) -> String {
    match name {
        "data" => format!("/dev/null/{MARK}"),
        "database_url" => format!("postgres://cairn:pa/{MARK}@h/d"),
        "smtp_url" => format!("smtp://cairn:pa/{MARK}@h"),
        "logo" => format!("/nowhere/{MARK}.png"),
        "log" => format!("info,cairn={MARK}"),
        name if name.ends_with("_file") => {
            // A file that others may read, with the mark in it and not in its name.
            let path = folder.join(format!("test-{name}"));
            std::fs::write(&path, MARK).unwrap();
            path.display().to_string()
        }
        // No list, number, duration, word, address, name of a folder or of anything else.
        _ => format!("{MARK} garbage\u{7f}"),
    }
}

/// What must stand beside a setting for it to be looked at.
fn beside(name: &str) -> &'static [(&'static str, &'static str)] {
    const DKIM: [(&str, &str); 3] =
        [("CAIRN_DKIM_KEY_FILE", "nowhere"), ("CAIRN_DKIM_SELECTOR", "s1"), ("CAIRN_DKIM_DOMAIN", "example.org")];
    match name {
        "dkim_domain" => &[DKIM[0], DKIM[1]],
        "dkim_selector" => &[DKIM[0], DKIM[2]],
        "dkim_key_file" => &[DKIM[1], DKIM[2]],
        _ => &[],
    }
}

#[tokio::test]
async fn every_setting_refuses_what_it_cannot_use_by_its_name_and_shows_no_secret() {
    for (name, variable) in settings() {
        let plan = App::plan(Kind::Sqlite).named("garbage").unset("CAIRN_LIMITS").set("SMTP_URL", "smtp://127.0.0.1:1");
        let app = beside(&name).iter().fold(plan, |plan, (name, value)| plan.set(name, value)).prepare();
        let mut command = app.command();
        if name == "smtp_url_file" {
            command.env_remove("SMTP_URL");
        }
        command.env(&variable, garbage(&name, app.data()));
        let output = run(command).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{variable}: {said}");
        assert!(output.stdout.is_empty(), "{variable}: it was never ready");
        let last = said.lines().last().unwrap_or_default();
        assert!(last.starts_with("cairn: ") && last.contains(&variable), "{variable}: {said}");
        let secret = matches!(&*name, "database_url" | "smtp_url" | "smtp_password") || name.ends_with("_file");
        assert!(!secret || !said.contains(MARK), "{variable}: {said}");
    }
}

/// Secrets as people mistype them, in each of the ways to give them.
#[tokio::test]
async fn no_mistyped_secret_is_printed_however_it_was_given() {
    let database = [
        "postgres://cairn:pa/S3cret@h/d",
        "postgres://cairn:pa#S3cret@h/d",
        "postgres://cairn:pa?S3cret@h/d",
        "postgres://cairn:S3cret%@h/d",
        "postgres://cairn:p@h:S3cret/d",
        "postgres://cairn:S3cret/d",
        "postgres://cairn:S3cret@127.0.0.1:1/d",
        "postgres://cairn:p%2FS3cret@127.0.0.1:1/d?sslmode=S3cret",
        "postgres://127.0.0.1:1/d?user=cairn&password=S3cret",
        "postgres://127.0.0.1:1/d?pasword=S3cret",
        "mysql://cairn:S3cret@h/d",
        "cairn:S3cret@h/d",
    ];
    let smtp = ["smtp://cairn:pa/S3cret@h", "smtp://cairn:S3cret", "http://cairn:S3cret@h", "S3cret"];
    let all = database.map(|value| ("database_url", value)).into_iter().chain(smtp.map(|value| ("smtp_url", value)));
    for (name, value) in all {
        let app = App::plan(Kind::Sqlite).named("mistyped").prepare();
        let key = app.data().join("test-key");
        crate::support::app::write_master_key(&key);
        let by_file = app.data().join("test-secret");
        write_secret(&by_file, &format!("{value}\n"));
        let settings = app.data().join("test-settings.toml");
        write_secret(&settings, &format!("{name} = '{value}'\n"));
        let variable = name.to_uppercase();
        for way in ["environment", "file of its own", "settings file"] {
            let mut command = app.command();
            command.env("CAIRN_MASTER_KEY_FILE", &key).env("CAIRN_LOG", "trace").env("CAIRN_LOG_FORMAT", "json");
            match way {
                "environment" => command.env(&variable, value),
                "settings file" => command.arg("--config").arg(&settings),
                _ => command.env(format!("{variable}_FILE"), &by_file),
            };
            let output = run(command).await;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{value} by {way}: {said}");
            assert!(said.lines().last().unwrap_or_default().contains(&variable), "{value} by {way}: {said}");
            assert!(!said.contains(MARK), "{value} by {way}: {said}");
        }
    }
}

#[tokio::test]
async fn a_settings_file_with_an_open_quote_is_told_by_its_line() {
    let app = App::plan(Kind::Sqlite).named("quotes").prepare();
    let settings = app.data().join("test-settings.toml");
    for (text, says) in [
        ("name = 'x'\nsmtp_url = \"smtp://u:S3cret@h\n", "line 2, column "),
        ("smtp_password = 'S3cret'\nsmtp_password = 'S3cret'\n", "line 2, column 1 (SMTP_PASSWORD)"),
        ("smtp_password = S3cret\n", "line 1, column "),
    ] {
        std::fs::write(&settings, text).unwrap();
        let mut command = app.command();
        command.arg("--config").arg(&settings);
        let output = run(command).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(says) && said.contains("test-settings.toml") && !said.contains(MARK), "{said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    }
}

/// What is found wrong only when the setting is used is told with its place, too.
#[tokio::test]
async fn a_value_of_the_settings_file_is_refused_with_its_line() {
    let app = App::plan(Kind::Sqlite).named("lines").unset("CAIRN_LIMITS").prepare();
    let settings = app.data().join("test-settings.toml");
    for (text, says) in [
        ("\naccess_ttl = 'soon'\n", "CAIRN_ACCESS_TTL (access_ttl in {}, line 2) takes a duration"),
        ("logo = '/nowhere/logo.svg'\n", "CAIRN_LOGO (logo in {}, line 1): /nowhere/logo.svg: "),
        ("\n\nlog = 'info,cairn=loud'\n", "CAIRN_LOG (log in {}, line 3): "),
        ("smtp_url = 'smtp://h?tls=maybe'\n", "SMTP_URL (smtp_url in {}, line 1)"),
        ("master_key_file = '/nowhere'\n", "CAIRN_MASTER_KEY_FILE (master_key_file in {}, line 1): "),
        ("hsts_subdomain = true\n", "{}, line 1: there is no setting hsts_subdomain; did you mean hsts_subdomains?"),
    ] {
        write_secret(&settings, text);
        let mut command = app.command();
        command.arg("--config").arg(&settings);
        let output = run(command).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}: {said}");
        let says = format!("cairn: {}", says.replace("{}", &settings.display().to_string()));
        assert!(said.lines().last().unwrap_or_default().starts_with(&says), "{text}: {said}");
    }
}

#[tokio::test]
async fn a_command_line_with_a_url_in_it_is_not_shown_with_its_password() {
    let app = App::plan(Kind::Sqlite).named("arguments").prepare();
    let mut command = app.command();
    command.arg("postgres://cairn:S3cret@h/d");
    let output = run(command).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("postgres://…@h/d") && !said.contains(MARK), "{said}");
}

#[tokio::test]
async fn a_line_of_the_drivers_own_password_file_is_not_printed() {
    let app = App::plan(Kind::Sqlite).named("pgpass").prepare();
    let (key, passwords) = (app.data().join("test-key"), app.data().join("test-pgpass"));
    crate::support::app::write_master_key(&key);
    write_secret(&passwords, "127.0.0.1:S3cret\n");
    let mut command = app.command();
    command.env("CAIRN_MASTER_KEY_FILE", &key).env("DATABASE_URL", "postgres://cairn@127.0.0.1:1/cairn");
    command.env("CAIRN_LOG", "trace").env("PGPASSFILE", &passwords);
    let output = run(command).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cairn: DATABASE_URL: ") && !said.contains(MARK), "{said}");
}
