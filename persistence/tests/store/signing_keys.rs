//! The table of signing keys: made at the start and when they are wanted, by one node of several; rotated, and deleted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cairn_actors::environment::{Environment, Settings};
use cairn_actors::secrets::master_key::MasterKey;
use cairn_actors::secrets::signing::schedule::{KeyState, LEAD};
use cairn_actors::secrets::signing::{ACCESS_TOKEN, TokenError};
use cairn_actors::secrets::signing_algorithm::SigningAlgorithm::{EdDsa, Es256, Rs256};
use cairn_actors::services::signing_keys::Rotation;
use cairn_persistence::entity::signing_keys;
use cairn_persistence::keys;
use cairn_runtime::Clock;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};

use crate::auth::{Node, Town};
use crate::support::{Kind, on_both};

on_both!(
    the_first_keys_are_made_at_the_start_also_for_a_database_that_has_one_of_ed25519_alone,
    two_nodes_that_want_the_first_key_at_once_have_the_same,
    a_key_is_rotated_by_one_of_two_nodes_signs_after_its_lead_and_its_predecessor_goes,
    a_token_by_a_key_of_another_node_is_known_after_one_reading,
    a_rotation_at_once_retires_what_signed,
);

const DAY: Duration = Duration::from_secs(86_400);
const MONTHS: Option<Duration> = Some(Duration::from_secs(90 * 86_400));

/// A town whose keys are those of its database.
async fn town(kind: Kind) -> Town {
    let mut town = Town::new(kind, 2).await;
    town.environment = environment(&town).await;
    town
}

async fn environment(town: &Town) -> Arc<Environment> {
    let master = MasterKey::pretended(1);
    let (ring, signing) = keys::open(town.database(0), &master, town.clock.now()).await.unwrap();
    Arc::new(Environment { ring: Arc::new(ring), signing: Arc::new(signing), settings: Settings::default() })
}

async fn nodes(town: &Town) -> [Node; 2] {
    let node = async |number| town.node(number, town.store(number), Arc::clone(&town.clock)).await;
    [node(0).await, node(1).await]
}

async fn kids(town: &Town, alg: &str) -> BTreeSet<String> {
    let of = signing_keys::Entity::find().filter(signing_keys::Column::Alg.eq(alg));
    of.all(town.database(0).readers()).await.unwrap().into_iter().map(|row| row.kid).collect()
}

fn current(node: &Node) -> String {
    let environment = node.services.engine.environment();
    environment.signing.current(EdDsa, node.services.engine.now()).unwrap().to_owned()
}

/// An access token of this node, good for five minutes.
fn token(node: &Node) -> String {
    let (environment, now) = (node.services.engine.environment(), node.services.engine.now());
    let url = environment.settings.public_url.clone();
    let seconds = now.seconds();
    let claims = json!({
        "iss": url, "aud": url, "client_id": "cairn", "sub": "usr_1", "sid": "ses_1", "jti": "1", "iat": seconds,
        "exp": seconds + 300, "auth_time": seconds, "email": "ada@example.org", "roles": [],
    });
    environment.signing.sign_with(&current(node), now, ACCESS_TOKEN, &claims).unwrap()
}

/// What a node knows of a token, without reading the table.
fn known(node: &Node, token: &str) -> Result<Value, TokenError> {
    let (environment, now) = (node.services.engine.environment(), node.services.engine.now());
    let url = environment.settings.public_url.clone();
    environment.signing.verify(token, ACCESS_TOKEN, &url, &url, now.seconds())
}

async fn the_first_keys_are_made_at_the_start_also_for_a_database_that_has_one_of_ed25519_alone(kind: Kind) {
    let town = town(kind).await;
    let (ed25519, p256) = (kids(&town, "EdDSA").await, kids(&town, "ES256").await);
    assert_eq!((ed25519.len(), p256.len(), kids(&town, "RS256").await.len()), (1, 1, 0));
    // As a release before this one has left it.
    let of = signing_keys::Column::Alg.eq("ES256");
    signing_keys::Entity::delete_many().filter(of).exec(town.database(0).writer()).await.unwrap();
    let now = town.clock.now();
    let both = tokio::join!(environment(&town), environment(&town));
    assert_eq!(kids(&town, "EdDSA").await, ed25519);
    let made = kids(&town, "ES256").await;
    assert_eq!(made.len(), 1, "by one of two that start at once");
    assert!(made.is_disjoint(&p256));
    for environment in [both.0, both.1] {
        assert_eq!(environment.signing.current(EdDsa, now), ed25519.first().map(String::as_str));
        assert_eq!(environment.signing.current(Es256, now), made.first().map(String::as_str));
    }
}

async fn two_nodes_that_want_the_first_key_at_once_have_the_same(kind: Kind) {
    let town = town(kind).await;
    let [one, other] = nodes(&town).await;
    assert_eq!(one.services.engine.environment().signing.current(Rs256, town.clock.now()), None);
    let wanted = tokio::join!(
        one.services.signing_key(Rs256),
        other.services.signing_key(Rs256),
        one.services.signing_key(Rs256)
    );
    let kid = wanted.0.unwrap();
    assert_eq!((wanted.1.unwrap(), wanted.2.unwrap()), (kid.clone(), kid.clone()));
    assert_eq!(kids(&town, "RS256").await, BTreeSet::from([kid.clone()]));
    for node in [&one, &other] {
        assert_eq!(node.services.signing_key(Rs256).await.unwrap(), kid);
        let environment = node.services.engine.environment();
        assert!(environment.signing.sign(&kid, "JWT", &json!({"sub": "ada"})).is_ok());
        assert!(environment.signing.jwks().to_string().contains(&kid));
    }
}

async fn a_key_is_rotated_by_one_of_two_nodes_signs_after_its_lead_and_its_predecessor_goes(kind: Kind) {
    let town = town(kind).await;
    let [one, other] = nodes(&town).await;
    let old = current(&one);
    let tended = async || {
        let tended = tokio::join!(one.services.tend_signing_keys(MONTHS), other.services.tend_signing_keys(MONTHS));
        (tended.0.unwrap(), tended.1.unwrap())
    };
    town.clock.advance(DAY * 89);
    tended().await;
    assert_eq!(kids(&town, "EdDSA").await.len(), 1);

    town.clock.advance(DAY);
    one.services.tend_signing_keys(None).await.unwrap();
    assert_eq!(kids(&town, "EdDSA").await.len(), 1, "the setting is 0");
    tended().await;
    assert_eq!((kids(&town, "EdDSA").await.len(), kids(&town, "ES256").await.len()), (2, 2), "one node was faster");
    assert_eq!(current(&one), old, "it is published before it signs");
    tended().await;
    town.clock.advance(LEAD);
    tended().await;
    let new = current(&one);
    assert_ne!(new, old);
    assert_eq!(current(&other), new);
    let states = |views: Vec<cairn_actors::services::signing_keys::KeyView>| {
        views.into_iter().filter(|view| view.algorithm == "EdDSA").map(|view| view.state).collect::<Vec<_>>()
    };
    assert_eq!(states(one.services.signing_keys().await.unwrap()), [KeyState::Verifying, KeyState::Signing]);
    // The clock is set back: what is there goes on.
    town.clock.set_back(LEAD);
    tended().await;
    assert_eq!(current(&one), old);

    town.clock.advance(LEAD + DAY);
    tended().await;
    assert_eq!(kids(&town, "EdDSA").await, BTreeSet::from([new.clone()]), "nothing that the old one signed lives");
    for node in [&one, &other] {
        node.services.tend_signing_keys(MONTHS).await.unwrap();
        assert!(!node.services.engine.environment().signing.jwks().to_string().contains(&old));
    }
}

async fn a_token_by_a_key_of_another_node_is_known_after_one_reading(kind: Kind) {
    let town = town(kind).await;
    let [one, other] = nodes(&town).await;
    let at_once = Rotation { algorithm: Some(EdDsa), at_once: true };
    one.services.rotate_signing_keys(at_once).await.unwrap();
    let first = token(&one);
    assert_eq!(known(&other, &first), Err(TokenError::UnknownKey));
    assert!(other.services.is_ours(&first).await.unwrap());

    one.services.rotate_signing_keys(at_once).await.unwrap();
    let second = token(&one);
    assert!(!other.services.is_ours(&second).await.unwrap(), "the table was read a moment ago");
    town.clock.advance(Duration::from_secs(10));
    assert!(other.services.is_ours(&second).await.unwrap());
    assert!(known(&other, &first).is_ok(), "what the retired key signed is verified");
}

async fn a_rotation_at_once_retires_what_signed(kind: Kind) {
    let town = town(kind).await;
    let [one, other] = nodes(&town).await;
    let old = current(&one);
    let rotated = one.services.rotate_signing_keys(Rotation { algorithm: None, at_once: false }).await.unwrap();
    assert_eq!(rotated.iter().filter(|view| view.state == KeyState::Next).count(), 2, "{rotated:?}");
    let again = one.services.rotate_signing_keys(Rotation { algorithm: None, at_once: false }).await.unwrap();
    assert_eq!(again, rotated, "a successor is on its way");
    assert_eq!(current(&one), old);
    let rotated = one.services.rotate_signing_keys(Rotation { algorithm: Some(EdDsa), at_once: true }).await.unwrap();
    let states: Vec<_> = rotated.iter().map(|view| (view.algorithm.as_str(), view.state)).collect();
    let expected = [
        ("ES256", KeyState::Signing),
        ("ES256", KeyState::Next),
        ("EdDSA", KeyState::Verifying),
        ("EdDSA", KeyState::Verifying),
        ("EdDSA", KeyState::Signing),
    ];
    assert_eq!(states, expected);
    assert_ne!(current(&one), old);
    let first = other.services.rotate_signing_keys(Rotation { algorithm: Some(Rs256), at_once: false }).await.unwrap();
    assert!(first.iter().any(|view| view.algorithm == "RS256" && view.state == KeyState::Signing), "{first:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_database_a_node_signs_and_verifies_as_before() {
    let town = town(Kind::Sqlite).await;
    let [one, _] = nodes(&town).await;
    let (kid, token) = (current(&one), token(&one));
    town.database(0).close().await.unwrap();
    town.clock.advance(Duration::from_secs(60));
    assert!(one.services.tend_signing_keys(MONTHS).await.is_err());
    assert!(one.services.signing_key(Rs256).await.is_err());
    assert_eq!(one.services.signing_key(EdDsa).await.unwrap(), kid);
    assert!(known(&one, &token).is_ok());
}
