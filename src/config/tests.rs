//! What the settings take and refuse.

use std::time::Duration;

use cairn_actors::testing::folder::Folder;
use serde::Deserialize;

use super::settings::Setting;
use super::value::{Value, value};
use super::*;

fn config(file: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::of(Some(File { path: Path::new("cairn.toml"), text: file }), &environment)
}

#[test]
fn the_environment_overrules_the_file_and_the_file_the_defaults() {
    let config = config("access_ttl = 90\nlisten = '127.0.0.1:1'", &[("CAIRN_ACCESS_TTL", "10m")]).unwrap();
    assert_eq!(config.flows.access_ttl, Duration::from_secs(600));
    assert_eq!(config.listen.port(), 1);
    assert_eq!(config.flows.session_ttl, Duration::from_secs(30 * 86_400));
}

#[test]
fn what_is_not_a_setting_refuses_to_start_and_names_itself() {
    assert!(config("colour = 'red'", &[]).unwrap_err().contains("colour"));
    assert!(config("", &[("CAIRN_ACCESS_TTL", "soon")]).unwrap_err().contains("CAIRN_ACCESS_TTL"));
    assert!(config("", &[("CAIRN_RESET_TTL", "0")]).unwrap_err().contains("CAIRN_RESET_TTL"));
    assert!(config("", &[("CAIRN_REFRESH_GRACE", "0")]).is_ok());
    assert!(config("", &[("CAIRN_PUBLIC_URL", "id.example.org")]).unwrap_err().contains("CAIRN_PUBLIC_URL"));
}

#[test]
fn connections_to_the_database_are_two_at_least() {
    let asked = |number: &str| config("", &[("CAIRN_DATABASE_CONNECTIONS", number)]);
    assert_eq!(config("", &[]).unwrap().database_connections, 24);
    assert_eq!(asked("2").unwrap().database_connections, 2);
    for odd in ["0", "1", "1001", "many"] {
        assert!(asked(odd).unwrap_err().starts_with("CAIRN_DATABASE_CONNECTIONS"));
    }
}

#[test]
fn letters_are_signed_when_all_that_it_takes_is_said() {
    let all = [("CAIRN_DKIM_DOMAIN", "example.org"), ("CAIRN_DKIM_SELECTOR", "s1"), ("CAIRN_DKIM_KEY_FILE", "k.pem")];
    assert!(config("", &all).unwrap().mail.dkim.is_some());
    assert!(config("", &[]).unwrap().mail.dkim.is_none());
    for missing in 0..3 {
        let mut some = all.to_vec();
        let (name, _) = some.remove(missing);
        assert!(config("", &some).unwrap_err().starts_with(&format!("{name} is missing")));
    }
}

#[test]
fn what_is_for_tests_is_refused_where_strangers_may_come() {
    let public = ("CAIRN_PUBLIC_URL", "https://id.example.org");
    assert!(config("", &[public, ("CAIRN_LIMITS", "off")]).is_err());
    assert!(config("", &[public, ("CAIRN_CLOCK_OFFSET", "5")]).is_err());
    // A listener that stands open, whatever the URL says; and one on loopback to which a proxy leads strangers.
    let home = ("CAIRN_PUBLIC_URL", "http://localhost:8080");
    for test in [("CAIRN_LIMITS", "off"), ("CAIRN_CLOCK_OFFSET", "5")] {
        for listen in ["0.0.0.0:80", "[::]:80", "192.0.2.1:80"] {
            assert!(config("", &[("CAIRN_LISTEN", listen), test]).is_err());
            let why = config("", &[("CAIRN_LISTEN", listen), home, test]).unwrap_err();
            assert!(why.starts_with(test.0) && why.ends_with("public URL and listener on loopback"), "{why}");
        }
        assert!(config("", &[("CAIRN_LISTEN", "[::1]:80"), home, test]).is_ok());
    }
    assert!(config("", &[("CAIRN_LIMITS", "off"), ("CAIRN_CLOCK_OFFSET", "-5")]).is_ok());
}

#[test]
fn an_origin_that_no_browser_writes_is_refused_by_name() {
    let said = |list: &str| config("", &[("CAIRN_CORS_ORIGINS", list)]).map(|config| config.cors_origins);
    let good = [
        "https://app.example.org",
        "http://localhost:3000",
        "https://app.example.org:80",
        "http://127.0.0.1:5173",
        "https://[::1]:8443",
        "https://xn--bcher-kva.example",
        "capacitor://localhost",
    ];
    assert_eq!(said(&good.join(", ")).unwrap(), good);
    assert_eq!(said("").unwrap(), [""; 0]);
    for odd in [
        "*",
        "null",
        "b.example",
        "https://",
        "https://b.example/",
        "https://b.example/app",
        "https://b.example?",
        "https://*.b.example",
        "https://B.example",
        "HTTPS://b.example",
        "https://me@b.example",
        "https://b.example:443",
        "http://b.example:80",
        "https://b.example:",
        "https://b.example:08443",
        "https://b.example:65536",
        "https://b..example",
        "https://bücher.example",
        "https://[::1",
        "https://[::G]",
        "https://[0:0:0:0:0:0:0:1]",
        "https://127.1",
        "://b.example",
    ] {
        let why = said(&format!("https://a.example,{odd}")).unwrap_err();
        assert!(why.starts_with("CAIRN_CORS_ORIGINS takes origins") && why.ends_with(&format!("not {odd}")), "{why}");
    }
    assert!(config("cors_origins = ['*']", &[]).is_err());
}

#[test]
fn a_host_is_a_name_or_an_address_without_a_port() {
    let good = "id.example.org, 192.0.2.1, 2001:db8::1, [::1], localhost";
    let config_of = |list: &str| config("", &[("CAIRN_HOSTS", list), ("CAIRN_OPS_HOSTS", list)]);
    let read = config_of(good).unwrap();
    assert_eq!(read.hosts, ["id.example.org", "192.0.2.1", "2001:db8::1", "::1", "localhost"]);
    assert_eq!(read.ops_hosts, read.hosts);
    assert!(config_of("").unwrap().hosts.is_empty());
    for odd in ["*", "*.example.org", "ID.example.org", "id.example.org:443", "https://id.example.org", "a b", "[::1"] {
        let why = config_of(odd).unwrap_err();
        assert!(why.starts_with("CAIRN_HOSTS takes hosts") && why.ends_with(&format!("not {odd}")), "{why}");
    }
}

#[test]
fn hashes_are_computed_fast_unless_the_reference_is_asked_for() {
    let engine = |value: &str| config("", &[("CAIRN_HASH_ENGINE", value)]).map(|config| config.hash_engine);
    assert_eq!(config("", &[]).unwrap().hash_engine, HashEngine::Fast);
    assert_eq!([engine("fast"), engine("reference")], [Ok(HashEngine::Fast), Ok(HashEngine::Reference)]);
    assert_eq!(engine("argon2").unwrap_err(), "CAIRN_HASH_ENGINE takes fast or reference");
}

#[test]
fn reserved_usernames_are_a_list_that_replaces_the_common_ones_or_adds_to_them() {
    let free = |list: &str, name: &str| {
        let reserved = config("", &[("CAIRN_RESERVED_USERNAMES", list)]).unwrap().flows.reserved_usernames;
        reserved.check(&name.to_owned().try_into().unwrap(), None).is_ok()
    };
    assert_eq!([free("", "admin"), free("acme", "admin"), free("default, acme", "admin")], [false, true, false]);
    assert_eq!([free("", "acme"), free("acme", "acme"), free("none", "admin")], [true, false, true]);
    let why = config("reserved_usernames = ['acme', '1']", &[]).unwrap_err();
    assert!(
        why.starts_with(
            "CAIRN_RESERVED_USERNAMES (reserved_usernames in cairn.toml, line 1) takes a list of usernames: \"1\""
        ),
        "{why}"
    );
}

#[test]
fn a_public_url_is_taken_as_browsers_write_it() {
    for (typed, taken) in [
        ("https://id.example.org", "https://id.example.org"),
        ("https://id.example.org/", "https://id.example.org"),
        ("https://b\u{fc}cher.example", "https://xn--bcher-kva.example"),
        ("https://B\u{dc}CHER.example", "https://xn--bcher-kva.example"),
        ("HTTPS://ID.Example.ORG", "https://id.example.org"),
        ("https://id.example.org:443", "https://id.example.org"),
        ("http://id.example.org:80/", "http://id.example.org"),
        ("https://id.example.org:8443", "https://id.example.org:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://cairn_app:8080", "http://cairn_app:8080"),
    ] {
        let read = config("", &[("CAIRN_PUBLIC_URL", typed)]).unwrap();
        assert_eq!(read.public_url.as_deref(), Some(taken), "{typed}");
        assert_eq!(read.flows.public_url, taken);
        let remarked = read.remarks.iter().any(|remark| remark.contains("CAIRN_PUBLIC_URL is taken as"));
        assert_eq!(remarked, typed.trim_end_matches('/') != taken, "{typed}");
    }
    for bad in [
        "id.example.org",
        "https:id.example.org",
        "ftp://id.example.org",
        "https://",
        "https://me:S3cret@id.example.org",
        "https://@id.example.org",
        "https://id.example.org/path",
        "https://id.example.org//",
        "https://id.example.org?x",
        "https://id.example.org#x",
        "https://id.example.org:0",
        "https://id.example.org:65536",
        "https://id.exa mple.org",
        "https://id.example.org\\x",
        " https://id.example.org",
        "https://id..\u{ad}",
    ] {
        let why = config("", &[("CAIRN_PUBLIC_URL", bad)]).unwrap_err();
        assert!(why.starts_with("CAIRN_PUBLIC_URL takes a URL") && !why.contains("S3cret"), "{bad}: {why}");
    }
}

#[test]
fn a_settings_file_that_cannot_be_read_is_told_by_line_and_column_and_not_quoted() {
    for (file, says) in [
        ("listen = '127.0.0.1:1'\nsmtp_url = \"smtp://u:S3cret@h\n", "line 2, column "),
        (
            "name = 'x'\n\nsmtp_url = 'smtp://u:S3cret@h'\nsmtp_url = 'smtp://u:S3cret@h'\n",
            "line 4, column 1 (SMTP_URL): ",
        ),
        ("smtp_url = smtp://u:S3cret@h", "line 1, column "),
        ("smtp_password = S3cret/x", "line 1, column "),
        ("smtp_password = 'S3cret' S3cret", "line 1, column "),
        ("database_url = 'postgres://u:S3cret'@h/d'", "(DATABASE_URL)"),
        ("= 'S3cret'", "line 1, column 1"),
        ("smtp_password = ['S3cret', 1]", "SMTP_PASSWORD (smtp_password in cairn.toml, line 1) takes a text"),
        ("smtp_password = { S3cret = 1 }", "SMTP_PASSWORD (smtp_password in cairn.toml, line 1) takes a text"),
        (
            "smtp_password_file = ['S3cret']",
            "SMTP_PASSWORD_FILE (smtp_password_file in cairn.toml, line 1) takes a path",
        ),
        (
            "access_ttl = true",
            "CAIRN_ACCESS_TTL (access_ttl in cairn.toml, line 1) takes a duration of more than nothing",
        ),
        ("smtp_pasword = 'S3cret'", "there is no setting smtp_pasword; did you mean smtp_password?"),
        ("acces_ttl = 1", "did you mean access_ttl?"),
        ("[smtp]\nurl = 'S3cret'", "there is no setting smtp"),
    ] {
        let why = config(file, &[]).unwrap_err();
        assert!(why.contains(says) && why.contains("cairn.toml, line ") && !why.contains("S3cret"), "{file}: {why}");
        assert!(!why.contains('\n'), "{why}");
    }
}

#[test]
fn an_unknown_variable_is_refused_with_the_name_that_was_meant() {
    let why = |name: &str| config("", &[(name, "S3cret")]).unwrap_err();
    assert_eq!(why("CAIRN_ACCES_TTL"), "there is no setting CAIRN_ACCES_TTL; did you mean CAIRN_ACCESS_TTL?");
    assert_eq!(why("CAIRN_SMTP_URL"), "there is no setting CAIRN_SMTP_URL; did you mean SMTP_URL?");
    assert_eq!(why("CAIRN_OPS_PORT"), "there is no setting CAIRN_OPS_PORT; did you mean CAIRN_OPS_HOSTS?");
    assert_eq!(why("CAIRN_COLOUR"), "there is no setting CAIRN_COLOUR");
    assert_eq!(
        why("CAIRN_DATABASE_URL_FILE"),
        "there is no setting CAIRN_DATABASE_URL_FILE; did you mean DATABASE_URL_FILE?"
    );
    // What is for others: our command line and tests, mistyped names without our prefix, and Kubernetes, which tells each
    // process of a service that is called `cairn`.
    let others = [
        ("CAIRN_CONFIG", "x"),
        ("CAIRN_TEST_POSTGRES", "x"),
        ("CAIRN_BENCH_ROUNDS", "1"),
        ("SMTP_COLOUR", "x"),
        ("CAIRN_SERVICE_HOST", "10.96.0.7"),
        ("CAIRN_SERVICE_PORT_HTTP", "8080"),
        ("CAIRN_PORT", "tcp://10.96.0.7:8080"),
        ("CAIRN_PORT_8080_TCP_ADDR", "10.96.0.7"),
        ("CAIRN_OPS_SERVICE_HOST", "10.96.0.8"),
        ("CAIRN_OPS_PORT_8081_TCP", "tcp://10.96.0.8:8081"),
    ];
    assert!(config("", &others).unwrap().remarks.is_empty());
}

#[test]
fn lists_and_booleans_of_the_file_are_read_as_such() {
    let read = config(
        "trusted_proxies = ['10.0.0.0/8', '192.0.2.1']\ncors_origins = ['https://a.example', 'https://b.example']\n\
         hosts = []\nhsts_subdomains = true\nlimits = false\nreserved_usernames = ['default', 'acme']\n\
         accent = ['#0b57d0', '#a8c7fa']\nlimit_login = ['5/1m', '100/1h']\nlog = ['info', 'cairn_runtime=debug']\n\
         mail_budget = 7\naccess_ttl = 90\nname = 42",
        &[],
    )
    .unwrap();
    let same = config(
        "",
        &[
            ("CAIRN_TRUSTED_PROXIES", "10.0.0.0/8, 192.0.2.1"),
            ("CAIRN_CORS_ORIGINS", "https://a.example,https://b.example"),
            ("CAIRN_HSTS_SUBDOMAINS", "on"),
            ("CAIRN_LIMITS", "off"),
            ("CAIRN_RESERVED_USERNAMES", "default,acme"),
            ("CAIRN_ACCENT", "#0b57d0,#a8c7fa"),
            ("CAIRN_LIMIT_LOGIN", "5/1m,100/1h"),
            ("CAIRN_LOG", "info,cairn_runtime=debug"),
            ("CAIRN_MAIL_BUDGET", "7"),
            ("CAIRN_ACCESS_TTL", "90"),
            ("CAIRN_NAME", "42"),
        ],
    )
    .unwrap();
    let shown = |config: Config| format!("{:?}", Config { places: Places::default(), ..config });
    assert!(read.hsts_subdomains && !read.flows.limits && read.trusted_proxies.len() == 2 && read.hosts.is_empty());
    assert_eq!(shown(read), shown(same));
    for (file, says) in [
        ("hsts_subdomains = 1", "CAIRN_HSTS_SUBDOMAINS (hsts_subdomains in cairn.toml, line 1) takes on or off"),
        ("registration = true", "CAIRN_REGISTRATION (registration in cairn.toml, line 1) takes open or closed"),
        ("\nlisten = ['127.0.0.1:1']", "CAIRN_LISTEN (listen in cairn.toml, line 2) takes an address and a port"),
        ("mail_budget = 1.5", "CAIRN_MAIL_BUDGET (mail_budget in cairn.toml, line 1) takes a number from 1 to 1000"),
        ("data = 1979-05-27", "CAIRN_DATA (data in cairn.toml, line 1) takes a path"),
        (
            "hosts = [\n  'a.example',\n  'B.example',\n]",
            "CAIRN_HOSTS (hosts in cairn.toml, line 1) takes hosts in lower case without a port, such as id.example.org, and \
             not B.example",
        ),
        (
            "cors_origins = [1]",
            "CAIRN_CORS_ORIGINS (cors_origins in cairn.toml, line 1) takes origins as browsers write them, such as \
             https://app.example.org",
        ),
    ] {
        assert_eq!(config(file, &[]).unwrap_err(), says);
    }
}

#[test]
fn tables_of_the_file_are_read_as_such_and_what_is_wrong_in_one_is_told_by_its_line() {
    #[derive(Debug, Deserialize)]
    struct Root {
        general: General,
    }
    #[derive(Debug, Deserialize)]
    struct General {
        #[serde(deserialize_with = "value")]
        name: String,
        #[serde(default)]
        client: Vec<Client>,
    }
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Client {
        id: String,
        #[serde(default)]
        first_party: bool,
        #[serde(default, deserialize_with = "value")]
        secret: Option<Secret>,
    }
    const fn setting(key: &'static str, default: Option<&'static str>) -> Setting {
        Setting { key, bare: None, default, is_secret: false, takes: <String as Value>::takes, meaning: &[] }
    }
    const CLIENT: &Setting = &setting("client", None);
    const NAME: &Setting = &setting("name", Some(""));
    let read = |text: &str| {
        let file = File { path: Path::new("cairn.toml"), text };
        let layers = Layers::gather(vec![NAME, CLIENT], Some(file), &BTreeMap::new())?;
        reader::read::<Root>(&layers).map(|root| root.general)
    };
    let good =
        read("name = 'x'\n[[client]]\nid = 'one'\nfirst_party = true\n[[client]]\nid = 'two'\nsecret = 'S3cret'")
            .unwrap();
    assert!(!format!("{good:?}").contains("S3cret"));
    assert_eq!(good.name, "x");
    let client = |id: &str, first_party, secret: Option<&str>| Client {
        id: id.to_owned(),
        first_party,
        secret: secret.map(Secret::new),
    };
    assert_eq!(good.client, [client("one", true, None), client("two", false, Some("S3cret"))]);
    assert!(read("name = 'x'").unwrap().client.is_empty());
    for (text, says) in [
        ("[[client]]\nid = 'one'\n[[client]]\nid = 'two'\nfirst_party = 'S3cret'", "(client in cairn.toml, line 5)"),
        ("[[client]]\nid = 'one'\nsecret = ['S3cret']", "(client in cairn.toml, line 3) takes a text"),
        (
            "[[client]]\nid = 'one'\nfirst_part = true",
            "unknown field `first_part`, expected one of `id`, `first_party`",
        ),
        ("[[client]]\nfirst_party = true", "missing field `id`"),
        ("client = 'S3cret'", "CAIRN_CLIENT (client in cairn.toml, line 1): invalid type: string \"…\""),
    ] {
        let why = read(text).unwrap_err();
        assert!(why.starts_with("CAIRN_CLIENT (client in cairn.toml, line "), "{why}");
        assert!(why.contains(says) && !why.contains("S3cret"), "{why}");
    }
}

#[test]
fn what_is_wrong_is_told_with_the_place_where_it_stands() {
    let password = SecretFile::new("place", b"postgres://cairn:pa/S3cret@h/d", 0o600);
    for (file, environment, says) in [
        ("", ("CAIRN_SESSION_TTL", "soon"), "CAIRN_SESSION_TTL takes a duration of more than nothing".to_owned()),
        (
            "session_ttl = 'soon'",
            ("CAIRN_NAME", "x"),
            "CAIRN_SESSION_TTL (session_ttl in cairn.toml, line 1) takes".to_owned(),
        ),
        ("session_ttl = 'soon'", ("CAIRN_SESSION_TTL", "late"), "CAIRN_SESSION_TTL takes".to_owned()),
        (
            "\n\nsession_tll = 1",
            ("CAIRN_NAME", "x"),
            "cairn.toml, line 3: there is no setting session_tll; did you".to_owned(),
        ),
        ("", ("DATABASE_URL_FILE", password.path()), format!("DATABASE_URL (in {}) has a /", password.path())),
        (
            "database_url = 'postgres://cairn:pa/S3cret@h/d'",
            ("CAIRN_NAME", "x"),
            "DATABASE_URL (database_url in cairn.toml, line 1) has a /".to_owned(),
        ),
        (
            "smtp_password_file = '/nowhere'",
            ("CAIRN_NAME", "x"),
            "SMTP_PASSWORD_FILE (smtp_password_file in cairn.toml, line 1): there is no file /nowhere".to_owned(),
        ),
        (
            "listen = '0.0.0.0:1'\nlimits = false",
            ("CAIRN_NAME", "x"),
            "CAIRN_LIMITS (limits in cairn.toml, line 2) is for tests".to_owned(),
        ),
    ] {
        let why = config(file, &[environment]).unwrap_err();
        assert!(why.starts_with(&says) && !why.contains("S3cret"), "{why}");
    }
    let places = config("logo = 'x.svg'", &[]).unwrap().places;
    let located = |message: &str| places.located(message.to_owned());
    assert_eq!(located("CAIRN_LOGO: x.svg: no"), "CAIRN_LOGO (logo in cairn.toml, line 1): x.svg: no");
    assert_eq!(located("CAIRN_LOGO (here): no"), "CAIRN_LOGO (here): no");
    assert_eq!(located("CAIRN_LOG: no"), "CAIRN_LOG: no");
    assert_eq!(located("nothing of ours"), "nothing of ours");
}

/// A file in a folder of its own, gone with the test.
struct SecretFile {
    path: PathBuf,
    _folder: Folder,
}

impl SecretFile {
    fn new(name: &str, text: &[u8], mode: u32) -> Self {
        let folder = Folder::new("config");
        Self { path: folder.file(name, text, mode), _folder: folder }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }
}

#[test]
fn every_secret_may_stand_in_a_file_of_its_own() {
    let url = SecretFile::new("url", b"postgres://cairn:hunter2@db/cairn\n", 0o600);
    let smtp = SecretFile::new("smtp", b"smtp://user@relay.example\r\n", 0o400);
    let password = SecretFile::new("password", b"hun ter2", 0o600);
    let read = config(
        "",
        &[("DATABASE_URL_FILE", url.path()), ("SMTP_URL_FILE", smtp.path()), ("SMTP_PASSWORD_FILE", password.path())],
    )
    .unwrap();
    let exposed = |secret: Option<Secret>| secret.map(|secret| secret.expose().to_owned());
    assert!(!format!("{read:?}").contains("hunter2") && !format!("{read:?}").contains("hun ter2"), "{read:?}");
    assert_eq!(exposed(read.database_url).as_deref(), Some("postgres://cairn:hunter2@db/cairn"));
    assert_eq!(exposed(read.smtp_url).as_deref(), Some("smtp://user@relay.example"));
    assert_eq!(exposed(read.mail.password).as_deref(), Some("hun ter2"));
}

#[test]
fn a_secret_is_given_in_one_way_and_the_environment_overrules_the_file_in_both() {
    let password = SecretFile::new("one-way", b"by-file\n", 0o600);
    let by_file = format!("smtp_password_file = '{}'", password.path());
    let both = [("SMTP_PASSWORD", "direct"), ("SMTP_PASSWORD_FILE", password.path())];
    let why = config("", &both).unwrap_err();
    assert_eq!(why, "SMTP_PASSWORD and SMTP_PASSWORD_FILE are both set; one is enough");
    assert_eq!(config(&format!("{by_file}\nsmtp_password = 'direct'"), &[]).unwrap_err(), format!("cairn.toml: {why}"));
    let read = |file: &str, environment: &[(&str, &str)]| {
        config(file, environment).unwrap().mail.password.unwrap().expose().to_owned()
    };
    assert_eq!(read(&by_file, &[]), "by-file");
    assert_eq!(read(&by_file, &[("SMTP_PASSWORD", "direct")]), "direct");
    assert_eq!(read("smtp_password = 'direct'", &[("SMTP_PASSWORD_FILE", password.path())]), "by-file");
    assert_eq!(read(&by_file, &[("SMTP_PASSWORD", "")]), "by-file", "an empty variable counts as unset");
}

#[test]
fn a_file_of_a_secret_is_refused_by_its_setting_and_its_name_and_not_quoted() {
    for secret in ["DATABASE_URL", "SMTP_URL", "SMTP_PASSWORD"] {
        let setting = format!("{secret}_FILE");
        for (name, text, mode, says) in [
            ("open", &b"S3cret\n"[..], 0o644, "mode 0644"),
            ("empty", b"\n", 0o600, "is empty"),
            ("latin", b"S3cret\xff\n", 0o600, "UTF-8"),
            ("lines", b"S3cret\nS3cret\n", 0o600, "one line"),
        ] {
            let file = SecretFile::new(&format!("{secret}-{name}"), text, mode);
            let why = config("", &[(&setting, file.path())]).unwrap_err();
            assert!(why.starts_with(&format!("{setting}: {}", file.path())), "{why}");
            assert!(why.contains(says) && !why.contains("S3cret"), "{why}");
        }
        let why = config("", &[(&setting, "/nowhere/at/all")]).unwrap_err();
        assert_eq!(why, format!("{setting}: there is no file /nowhere/at/all"));
    }
}

#[test]
fn the_address_of_a_database_is_refused_by_its_part() {
    let why = config("", &[("DATABASE_URL", "postgres://cairn:pa/S3cret@h/d")]).unwrap_err();
    assert!(
        why.starts_with("DATABASE_URL has a / before an @") && why.contains("%2F") && !why.contains("S3cret"),
        "{why}"
    );
}

#[test]
fn a_variable_that_is_no_text_is_refused_by_name_and_others_are_nobodys_business() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    let bytes = || OsString::from_vec(b"S3cret\xff".to_vec());
    let known: Vec<_> = settings::settings().collect();
    for ours in ["DATABASE_URL", "SMTP_PASSWORD", "CAIRN_NAME"] {
        let why = environment([(OsString::from(ours), bytes())].into_iter(), &known).unwrap_err();
        assert_eq!(why, format!("{ours} is not text in UTF-8"));
    }
    let others = [(OsString::from("LESS"), bytes()), (bytes(), bytes()), ("CAIRN_NAME".into(), "x".into())];
    assert_eq!(environment(others.into_iter(), &known).unwrap(), [("CAIRN_NAME".to_owned(), "x".to_owned())].into());
}

#[test]
fn switches_and_delays_are_what_they_say() {
    let read = config("", &[]).unwrap();
    assert_eq!((read.hsts_subdomains, read.flows.registration), (false, true));
    assert_eq!((read.shutdown_delay, read.flows.code_failures), (Duration::from_millis(500), 20));
    let all = [
        ("CAIRN_HSTS_SUBDOMAINS", "on"),
        ("CAIRN_REGISTRATION", "closed"),
        ("CAIRN_SHUTDOWN_DELAY", "15"),
        ("CAIRN_LIMIT_CODE_FAILURES", "48"),
    ];
    let read = config("", &all).unwrap();
    assert_eq!((read.hsts_subdomains, read.flows.registration), (true, false));
    assert_eq!((read.shutdown_delay, read.flows.code_failures), (Duration::from_secs(15), 48));
    for (name, bad) in [
        ("CAIRN_HSTS_SUBDOMAINS", "yes"),
        ("CAIRN_REGISTRATION", "off"),
        ("CAIRN_SHUTDOWN_DELAY", "11m"),
        ("CAIRN_LIMIT_CODE_FAILURES", "49"),
        ("CAIRN_LIMIT_CODE_FAILURES", "0"),
    ] {
        assert!(config("", &[(name, bad)]).unwrap_err().starts_with(name));
    }
}

#[test]
fn a_settings_file_with_a_secret_that_everybody_may_read_is_remarked() {
    for (text, mode, says) in [
        ("smtp_url = 'smtp://u:hunter2@h'", 0o644, true),
        ("smtp_password = 'hunter2'", 0o604, true),
        ("smtp_url = 'smtp://u:hunter2@h'", 0o640, false),
        ("smtp_url = 'smtp://h'\ndatabase_url = 'postgres://u@h/d'", 0o644, false),
        ("database_url = '/var/lib/cairn.db'", 0o644, false),
    ] {
        let file = SecretFile::new("settings", text.as_bytes(), mode);
        let remark = open_to_others(&file.path, text);
        assert_eq!(remark.is_some(), says, "{text} {mode:o}");
        assert!(remark.is_none_or(|remark| remark.starts_with(file.path()) && !remark.contains("hunter2")));
    }
}

#[test]
fn parameters_of_the_database_that_do_nothing_are_remarked_without_their_value() {
    let read = config("", &[("DATABASE_URL", "postgres://u@h/d?pasword=S3cret")]).unwrap();
    assert_eq!(read.remarks, ["DATABASE_URL has a parameter that is not known here and does nothing"]);
}
