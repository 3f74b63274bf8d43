//! HEAD wherever GET is, OPTIONS everywhere, and 405 with all that a path allows.

use std::collections::BTreeSet;

use crate::support::App;

on_both_databases!(
    every_path_tells_what_it_allows,
    head_is_get_without_a_body,
    a_wrong_method_is_refused_with_what_is_allowed,
);

const PATHS: [(&str, &[&str]); 25] = [
    ("/auth/config", &["GET", "HEAD"]),
    ("/auth/register", &["POST"]),
    ("/auth/register/reg_00000000000000000000000000", &["GET", "HEAD"]),
    ("/auth/register/reg_00000000000000000000000000/resend", &["POST"]),
    ("/auth/verify-email", &["POST"]),
    ("/auth/login", &["POST"]),
    ("/auth/refresh", &["POST"]),
    ("/auth/logout", &["POST"]),
    ("/auth/logout-all", &["POST"]),
    ("/auth/sessions", &["GET", "HEAD"]),
    ("/auth/sessions/ses_00000000000000000000000000", &["DELETE"]),
    ("/auth/sessions/end", &["POST"]),
    ("/auth/status", &["GET", "HEAD"]),
    ("/auth/step-up", &["POST"]),
    ("/auth/password-reset/request", &["POST"]),
    ("/auth/password-reset/confirm", &["POST"]),
    ("/auth/password-change", &["POST"]),
    ("/auth/email-change", &["POST"]),
    ("/auth/email-change/confirm", &["POST"]),
    ("/auth/email-change/undo", &["POST"]),
    ("/users/me", &["GET", "HEAD", "PUT", "DELETE"]),
    ("/users/me/export", &["GET", "HEAD"]),
    ("/.well-known/jwks.json", &["GET", "HEAD"]),
    ("/openapi.json", &["GET", "HEAD"]),
    ("/health", &["GET", "HEAD"]),
];

fn allowed(answer: &crate::support::Answer) -> BTreeSet<String> {
    answer.list("allow").into_iter().collect()
}

async fn every_path_tells_what_it_allows(app: &App) {
    for (path, methods) in PATHS {
        let answer = app.client().request("OPTIONS", path).send().await;
        answer.expect(204);
        let told = allowed(&answer);
        for method in methods {
            assert!(told.contains(*method), "{path}: {told:?}");
        }
        assert!(told.contains("OPTIONS"), "{path}: {told:?}");
    }
    app.client().request("OPTIONS", "/nowhere").send().await.problem(404, "not-found");
}

async fn head_is_get_without_a_body(app: &App) {
    for path in ["/health", "/.well-known/jwks.json", "/users/me", "/nowhere"] {
        let get = app.client().get(path).send().await;
        let head = app.client().request("HEAD", path).send().await;
        assert_eq!(head.status, get.status, "{path}");
        assert!(head.body.is_empty(), "{head}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
}

async fn a_wrong_method_is_refused_with_what_is_allowed(app: &App) {
    for (path, methods) in PATHS {
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"] {
            if methods.contains(&method) {
                continue;
            }
            let answer = app.client().request(method, path).send().await;
            answer.problem(405, "method");
            let told = allowed(&answer);
            assert!(methods.iter().all(|method| told.contains(*method)), "{path}: {told:?}");
            assert!(!told.contains(method), "{path}: {told:?}");
        }
    }
}
