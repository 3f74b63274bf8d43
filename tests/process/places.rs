//! Where a server keeps things and what it calls itself: the data folder, every address of the machine, names of domains
//! that are not ASCII.

use super::run;
use crate::support::app::free_port;
use crate::support::{App, Kind, Person, token};

#[tokio::test]
async fn with_postgres_no_data_folder_is_made() {
    let app = App::plan(Kind::Postgres).named("no-folder").prepare();
    let folder = app.data().join("not-needed");
    app.change("CAIRN_DATA", folder.display());
    app.launch();
    app.ready().await;
    Person::new("folderless").joins(&app).await;
    assert!(!folder.exists());
    assert!(app.terminate().await.success());
    // And none is asked for: on a file system that cannot be written to there may be none.
    app.change("CAIRN_DATA", "/dev/null/nowhere");
    app.launch();
    app.ready().await;
}

#[tokio::test]
async fn on_every_address_links_and_tokens_say_one_that_opens() {
    let plan = App::plan(Kind::Sqlite).named("every-address").unset("CAIRN_LIMITS");
    let app = plan.set("CAIRN_LISTEN", "0.0.0.0:0").start().await;
    let here = format!("http://127.0.0.1:{}", app.client().server().port());
    assert!(app.log().contains("CAIRN_PUBLIC_URL is not set") && app.log().contains(&here), "{}", app.tail());
    let person = Person::new("everywhere");
    person.registers(&app).await;
    let letter = app.letter(&person.email, "registration.verify").await;
    let link = letter.link().expect("a letter with a link");
    assert!(link.starts_with(&format!("{here}/verify-email?token=")), "{link}");
    let flow = serde_json::json!({"token": link.split_once("token=").unwrap().1, "password": person.password});
    app.client().post("/auth/verify-email", &flow).send().await.expect(200);
    let tokens = person.signs_in(&app).await;
    let claims = token::claims(&tokens.access);
    assert_eq!(claims["iss"], here);
}

#[tokio::test]
async fn a_public_url_with_letters_beyond_ascii_is_taken_as_browsers_send_it() {
    let plan = App::plan(Kind::Sqlite).named("idn").unset("CAIRN_LIMITS");
    let app = plan.set("CAIRN_PUBLIC_URL", "https://B\u{fc}cher.example:443/").start().await;
    assert!(app.log().contains("CAIRN_PUBLIC_URL is taken as https://xn--bcher-kva.example"), "{}", app.tail());
    // Browsers write the name so in the Origin of our own forms.
    let own = app.client().request("POST", "/login").header("origin", "https://xn--bcher-kva.example");
    let own = own.header("content-type", "application/x-www-form-urlencoded").body("identifier=x").send().await;
    assert_ne!(own.status, 403, "{own}");
    let other = app.client().request("POST", "/login").header("origin", "https://b.example");
    let other = other.header("content-type", "application/x-www-form-urlencoded").body("identifier=x").send().await;
    assert_eq!(other.status, 403, "{other}");
}

#[tokio::test]
async fn an_address_that_is_taken_is_told_with_its_setting() {
    let app = App::plan(Kind::Sqlite).named("taken").prepare();
    let taken = std::net::TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    for setting in ["CAIRN_LISTEN", "CAIRN_OPS_LISTEN"] {
        let mut command = app.command();
        command.env(setting, taken.local_addr().unwrap().to_string());
        let output = run(command).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains(&format!("cairn: {setting}: cannot listen on {}", taken.local_addr().unwrap())),
            "{said}"
        );
    }
}

#[tokio::test]
async fn hosts_below_ours_are_promised_tls_only_where_a_setting_says_so() {
    for (setting, says) in [("off", "max-age=31536000"), ("on", "max-age=31536000; includeSubDomains")] {
        let plan = App::plan(Kind::Sqlite).named("hsts").unset("CAIRN_LIMITS");
        let plan = plan.set("CAIRN_PUBLIC_URL", "https://id.example.org").set("CAIRN_HSTS_SUBDOMAINS", setting);
        let app = plan.start().await;
        let answer = app.client().get("/login").send().await;
        assert_eq!(answer.header("strict-transport-security"), Some(says), "{answer}");
    }
}
