//! Guesses over a real database: every failure is on record before the next guess, on every node and after a restart, and
//! who is slowed down learns nothing by it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use cairn_actors::acts::guesses::FAILED;
use cairn_actors::effects::{Key, NewUser, UserWrite};
use cairn_actors::identity::user_id::UserId;
use cairn_actors::secrets::hasher::Lane;
use cairn_actors::secrets::password::Password;
use cairn_actors::services::registration::Typed;
use cairn_actors::services::session::Identifier;
use cairn_actors::services::{Caller, Refusal};
use cairn_actors::testing;
use cairn_persistence::entity::{events, failures};
use cairn_runtime::store::Retention;
use cairn_runtime::{ActStep, Effects, Guard, Timestamp};
use futures_util::future::join_all;
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter};

use crate::auth::{Node, Town, id};
use crate::support::{Kind, on_both};

const RIGHT: &str = "walrus teapot nimbly";
const WRONG: &str = "walrus teapot clumsy";
const ADA: Identifier<'_> = Identifier::Email("ada@example.org");
const NOBODY: Identifier<'_> = Identifier::Email("nobody@example.org");

struct Scene {
    town: Town,
    /// Two processes over one database; on SQLite both are one process's.
    nodes: [Node; 2],
}

fn caller() -> Caller {
    let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    Caller { trace: "a guess".to_owned(), address, device: None, device_proof: None, repeat: None }
}

fn typed(text: &str) -> Password {
    Password::typed(text.to_owned())
}

impl Scene {
    /// A town in which Ada and Grace have accounts.
    async fn new(kind: Kind) -> Self {
        let town = Town::new(kind, 2).await;
        let node = async |at| town.node(at, town.store(at), Arc::clone(&town.clock)).await;
        let nodes = [node(0).await, node(1).await];
        let scene = Self { town, nodes };
        scene.settles(1, "ada").await;
        scene.settles(2, "grace").await;
        scene
    }

    async fn settles(&self, number: u64, name: &str) {
        let node = &self.nodes[0];
        let (user, address) = (UserId(id(700, number)), testing::address(&format!("{name}@example.org")));
        let address_key = self.town.environment.address_key(&address);
        let username = testing::username(name);
        let password = node.services.hasher.hash(&typed(RIGHT), Lane::SignIn).await.unwrap();
        let found = node.engine.act("found", node.engine.asker("a test"), |_, cx| {
            let new = NewUser {
                id: user,
                address: address.clone(),
                address_key,
                username: Some(username.clone()),
                first_name: None,
                last_name: None,
                password: password.clone(),
                at: cx.now,
            };
            let effects = Effects::none()
                .guard(Guard::Claim(Key::Address(address_key)))
                .guard(Guard::Claim(Key::User(user)))
                .guard(Guard::Claim(Key::Devices(user)))
                .guard(Guard::Claim(Key::Username(username.clone())))
                .write(UserWrite::Create(Box::new(new)));
            ActStep { says: (), effects, user: None, public: serde_json::Value::Null }
        });
        found.await.unwrap();
    }

    /// One guess on one node, from a browser with this cookie. A sign-in gives the cookie that comes with it.
    async fn guess(
        &self,
        at: usize,
        who: Identifier<'_>,
        cookie: Option<&str>,
        password: &str,
    ) -> Result<String, Refusal> {
        let services = &self.nodes[at].services;
        let attempt = services.sign_in_attempt(who, cookie).await?;
        services.sign_in_from(&caller(), attempt, &typed(password)).await.map(|tokens| tokens.device.unwrap())
    }

    /// So many wrong guesses, each of which is looked at.
    async fn fail(&self, times: usize, who: Identifier<'_>, cookie: Option<&str>) {
        for number in 0..times {
            let refused = self.guess(number % 2, who, cookie, WRONG).await;
            assert_eq!(refused, Err(Refusal::Credentials), "guess {number} at {who:?}");
        }
    }

    /// For how many seconds a guess is put off; `None` when it is looked at.
    async fn wait(&self, at: usize, who: Identifier<'_>, cookie: Option<&str>, password: &str) -> Option<u64> {
        match self.guess(at, who, cookie, password).await {
            Err(Refusal::SlowDown(until)) => Some(until.since(self.now()).as_secs()),
            _ => None,
        }
    }

    fn now(&self) -> Timestamp {
        self.nodes[0].engine.now()
    }

    fn pass(&self, seconds: u64) {
        self.town.clock.advance(Duration::from_secs(seconds));
    }

    async fn failures(&self) -> u64 {
        failures::Entity::find().count(self.town.database(0).readers()).await.unwrap()
    }

    async fn told(&self) -> u64 {
        let told = events::Entity::find().filter(events::Column::Kind.eq(FAILED));
        told.count(self.town.database(0).readers()).await.unwrap()
    }

    async fn end(self) {
        for node in self.nodes {
            node.end().await;
        }
    }
}

on_both!(
    the_right_password_waits_as_long_as_a_wrong_one_and_an_owner_as_nobody,
    guesses_that_come_at_once_are_one_after_another,
    a_known_browser_is_let_through_and_clears_nothing_for_strangers,
    a_success_forgets_the_failures_before_it,
    wrong_codes_are_counted_over_all_flows_of_an_address,
    failures_are_forgotten_after_a_day,
);

async fn the_right_password_waits_as_long_as_a_wrong_one_and_an_owner_as_nobody(kind: Kind) {
    let scene = Scene::new(kind).await;
    for who in [ADA, NOBODY] {
        scene.fail(10, who, None).await;
    }
    for wait in [2, 4, 8, 16] {
        for who in [ADA, NOBODY] {
            for at in [0, 1] {
                assert_eq!(scene.wait(at, who, None, RIGHT).await, Some(wait), "{who:?} on node {at}");
                assert_eq!(scene.wait(at, who, None, WRONG).await, Some(wait), "{who:?} on node {at}");
            }
        }
        scene.pass(wait);
        for who in [ADA, NOBODY] {
            scene.fail(1, who, None).await;
        }
    }
    for variant in ["ADA@example.org", "Ada@EXAMPLE.ORG", "ada@\u{ff45}xample.org"] {
        assert_eq!(scene.wait(0, Identifier::Email(variant), None, RIGHT).await, Some(32), "{variant}");
    }
    // What is put off is not looked at, so it is no failure either.
    assert_eq!((scene.failures().await, scene.told().await), (28, 28));
    // A shared count would tell whose address it is.
    assert!(scene.guess(0, Identifier::Username("ada"), None, RIGHT).await.is_ok());
    assert!(scene.guess(0, Identifier::Email("grace@example.org"), None, RIGHT).await.is_ok());
    scene.end().await;
}

async fn guesses_that_come_at_once_are_one_after_another(kind: Kind) {
    let scene = Scene::new(kind).await;
    for who in [ADA, NOBODY] {
        let all = join_all((0..64).map(|_| scene.guess(0, who, None, WRONG))).await;
        let looked_at = all.iter().filter(|guess| **guess == Err(Refusal::Credentials)).count();
        let put_off = all.iter().filter(|guess| matches!(guess, Err(Refusal::SlowDown(_)))).count();
        assert_eq!((looked_at, put_off), (10, 54), "{who:?}");
    }
    scene.end().await;
}

async fn a_known_browser_is_let_through_and_clears_nothing_for_strangers(kind: Kind) {
    let scene = Scene::new(kind).await;
    let own = scene.guess(0, ADA, None, RIGHT).await.unwrap();
    let foreign = scene.guess(0, Identifier::Email("grace@example.org"), None, RIGHT).await.unwrap();
    scene.fail(10, ADA, None).await;
    let mut forged = own.clone();
    forged.replace_range(20..21, if &own[20..21] == "A" { "B" } else { "A" });
    for cookie in [None, Some(""), Some(forged.as_str()), Some(foreign.as_str())] {
        assert_eq!(scene.wait(0, ADA, cookie, RIGHT).await, Some(2), "{cookie:?}");
    }
    assert!(scene.guess(1, ADA, Some(&own), RIGHT).await.is_ok());
    assert!(scene.guess(0, Identifier::Username("ada"), Some(&own), RIGHT).await.is_ok());
    assert_eq!(scene.wait(0, ADA, None, RIGHT).await, Some(2), "strangers still wait");

    // Whoever has stolen the cookie guesses no faster than anybody, and slows nobody else down.
    scene.pass(2);
    scene.fail(10, ADA, Some(&own)).await;
    assert_eq!(scene.wait(0, ADA, Some(&own), RIGHT).await, Some(2));
    assert_eq!(scene.wait(1, Identifier::Username("ada"), Some(&own), RIGHT).await, Some(2));
    assert!(scene.guess(0, ADA, None, RIGHT).await.is_ok());
    scene.end().await;
}

async fn a_success_forgets_the_failures_before_it(kind: Kind) {
    let scene = Scene::new(kind).await;
    for _ in 0..3 {
        scene.fail(9, ADA, None).await;
        scene.guess(0, ADA, None, RIGHT).await.unwrap();
        assert_eq!(scene.failures().await, 0);
    }
    // Nor do failures of an hour ago count.
    scene.fail(9, NOBODY, None).await;
    scene.pass(3_601);
    scene.fail(9, NOBODY, None).await;
    assert_eq!(scene.wait(0, NOBODY, None, WRONG).await, None);
    assert_eq!(scene.wait(0, NOBODY, None, WRONG).await, Some(2));
    scene.end().await;
}

async fn wrong_codes_are_counted_over_all_flows_of_an_address(kind: Kind) {
    let scene = Scene::new(kind).await;
    let services = &scene.nodes[0].services;
    let register = async |email: &str| {
        let typed = Typed {
            email: email.to_owned(),
            password: typed(RIGHT),
            username: None,
            first_name: None,
            last_name: None,
            accept_disposable: false,
        };
        services.register(&caller(), typed).await.unwrap().flow.id
    };
    // An address with an account, and one without.
    for email in ["ada@example.org", "newcomer@example.org"] {
        for round in 0..4 {
            let flow = register(email).await;
            for code in 0..5 {
                let refused = services.verify_by_code(&caller(), &flow, &format!("{round}{code}4321")).await;
                assert!(matches!(refused, Err(Refusal::WrongCode { .. })), "{email} {round} {code}");
            }
        }
        let flow = register(&email.to_uppercase()).await;
        let refused = services.verify_by_code(&caller(), &flow, "123456").await.map(|_| ());
        let Err(Refusal::SlowDown(until)) = refused else { panic!("the twenty-first, for {email}: {refused:?}") };
        assert_eq!(until.since(scene.now()).as_secs(), 86_400);
    }
    scene.end().await;
}

async fn failures_are_forgotten_after_a_day(kind: Kind) {
    let scene = Scene::new(kind).await;
    scene.fail(9, ADA, None).await;
    let sweep = async || {
        let retention = Retention {
            now: scene.now(),
            payloads_before: Timestamp(scene.now().0 - 86_400_000),
            rows_before: Timestamp(scene.now().0 - 30 * 86_400_000),
            limit: 500,
        };
        scene.town.store(0).retain(retention).await.unwrap()
    };
    scene.pass(86_000);
    scene.fail(1, ADA, None).await;
    assert_eq!(sweep().await, 0);
    scene.pass(401);
    assert_eq!(sweep().await, 18, "nine failures and what history said of them");
    assert_eq!((scene.failures().await, scene.told().await), (1, 1));
    scene.end().await;
}
