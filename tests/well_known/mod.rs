//! `/.well-known`: the keys under which tokens verify.

use crate::support::{App, Kind, Person, token};

on_both_databases!(the_key_set_holds_public_keys_only);
of_each_kind!(the_key_is_the_same_after_a_crash);

async fn the_key_set_holds_public_keys_only(app: &App) {
    let answer = app.client().get("/.well-known/jwks.json").send().await;
    let keys = answer.expect(200);
    let keys = keys["keys"].as_array().unwrap();
    assert!(!keys.is_empty());
    for key in keys {
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(key.get(private).is_none(), "{private} is not for the public");
        }
        for member in ["kid", "kty", "alg"] {
            assert!(key[member].is_string(), "no {member}: {answer}");
        }
        assert_eq!(key["use"], "sig", "{answer}");
    }
}

async fn the_key_is_the_same_after_a_crash(kind: Kind) {
    let app = App::plan(kind).named("ring").start().await;
    let person = Person::new("signed");
    person.joins(&app).await;
    let tokens = person.signs_in(&app).await;
    app.crash_and_restart().await;
    let keys = app.client().get("/.well-known/jwks.json").send().await.expect(200);
    assert!(token::verifies(&tokens.access, &keys));
    assert!(token::verifies(&person.signs_in(&app).await.access, &keys));
}
