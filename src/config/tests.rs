//! What the settings take and refuse.

use std::time::Duration;

use super::*;

fn config(file: &str, environment: &[(&str, &str)]) -> Result<Config, String> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::of(file, &environment)
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
    assert!(why.starts_with("CAIRN_RESERVED_USERNAMES takes a list of usernames"), "{why}");
}
