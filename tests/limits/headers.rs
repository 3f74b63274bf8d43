//! Security headers and other origins, on the real routes and on what goes wrong.

use crate::support::{App, Kind, shared};

const EVERYWHERE: [(&str, &str); 6] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("strict-transport-security", ""),
];

#[tokio::test]
async fn every_answer_carries_them_whatever_it_says() {
    let app = shared(Kind::Sqlite).await;
    let long = format!("/{}", "x".repeat(9_000));
    for (method, target) in [
        ("GET", "/health"),
        ("GET", "/.well-known/jwks.json"),
        ("GET", "/assets/cairn.css"),
        ("GET", "/verify-email"),
        ("GET", "/nowhere"),
        ("GET", "/auth/nowhere"),
        ("GET", "/users/me"),
        ("GET", "/auth/login"),
        ("POST", "/auth/login"),
        ("OPTIONS", "/auth/login"),
        ("GET", "/%zz"),
        ("GET", &long),
    ] {
        for accept in ["*/*", "text/html"] {
            let answer = app.client().request(method, target).header("accept", accept).send().await;
            for (name, value) in EVERYWHERE {
                assert_eq!(answer.header(name).unwrap_or_default(), value, "{name}: {answer}");
            }
            let policy = answer.header("content-security-policy").unwrap_or_default();
            assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{answer}");
            assert!(!policy.contains("unsafe"), "{answer}");
            assert!(answer.header("permissions-policy").unwrap_or_default().contains("geolocation=()"), "{answer}");
        }
    }
    let answer = app.operations().get("/health/live").send().await;
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{answer}");
}

#[tokio::test]
async fn only_listed_origins_read_the_interface_and_none_reads_the_pages() {
    let plan = App::plan(Kind::Sqlite).named("origins");
    let app = plan.set("CAIRN_CORS_ORIGINS", "https://app.example.org").start().await;
    let welcome = async |origin: &str, target: &str| {
        let answer = app.client().get(target).header("origin", origin).send().await;
        assert_eq!(answer.header("access-control-allow-credentials"), None, "{answer}");
        answer.header("access-control-allow-origin").map(str::to_owned)
    };
    let listed = "https://app.example.org";
    for target in ["/users/me", "/auth/nowhere"] {
        assert_eq!(welcome(listed, target).await.as_deref(), Some(listed), "{target}");
        for other in ["https://evil.example", "null", "https://app.example.org.evil.example", "http://app.example.org"]
        {
            assert_eq!(welcome(other, target).await, None, "{other} {target}");
        }
    }
    // What is the same for everybody.
    for origin in [listed, "https://evil.example"] {
        for target in ["/.well-known/jwks.json", "/.well-known/openid-configuration"] {
            assert_eq!(welcome(origin, target).await.as_deref(), Some("*"), "{origin} {target}");
        }
    }
    for target in ["/health", "/verify-email", "/dev/mail", "/nowhere"] {
        assert_eq!(welcome(listed, target).await, None, "{target}");
    }
}
