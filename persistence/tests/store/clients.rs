//! Clients and resources as they are registered, change and go, and what the directory reads of them.

use std::time::Duration;

use cairn_actors::acts::clients::Author;
use cairn_actors::directory::Directory;
use cairn_actors::effects::{Auth, ClientWrite, Key, ResourceWrite, StoredClient, Write};
use cairn_actors::oauth::client::{Client, ClientId, ClientSecret, Metadata, Origin, StoredSecret};
use cairn_actors::oauth::resource::Resource;
use cairn_actors::oauth::scope::Scope;
use cairn_actors::oauth::uri::AbsoluteUri;
use cairn_actors::secrets::digest::Digest;
use cairn_actors::services::clients::{By, ClientRefusal, Import, Imported, NewClient, Outcome};
use cairn_runtime::store::{Item, Verdict};
use cairn_runtime::{Clock, Domain, Guard, InputId, Timestamp};
use serde_json::json;

use crate::auth::{Node, Town, id};
use crate::support::{Kind, on_both};

const AT: Timestamp = Timestamp(1_800_000_000_000);
const BY: By<'static> = By { author: Author::Operator, trace: "a test" };
const ODD: &str = "Ünï'\"\\%_\u{1f980}";

/// Items without a flow, one a list of guards and writes, in one batch.
async fn batch(town: &Town, number: u64, items: Vec<(Vec<Guard<Key>>, Vec<Write>)>) -> Vec<Verdict> {
    let items: Vec<Item<Auth>> = items
        .into_iter()
        .enumerate()
        .map(|(place, (guards, writes))| {
            let input = InputId(id(1_000 + number, u64::try_from(place).unwrap()));
            let guards = guards.iter().map(|guard| guard.map(Auth::guard)).collect();
            Item { guards, writes, ..Item::of(input, AT) }
        })
        .collect();
    town.store(0).commit(&items).await.unwrap()
}

async fn written(town: &Town, number: u64, items: Vec<Vec<Write>>) {
    let items = items.into_iter().map(|writes| (Vec::new(), writes)).collect();
    let verdicts = batch(town, number, items).await;
    assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Done), "{verdicts:?}");
}

fn directory(town: &Town) -> Directory {
    town.database(0).directory()
}

fn metadata(name: &str) -> Metadata {
    let redirects = ["https://a.example/cb", "com.example.app:/cb"];
    serde_json::from_value(json!({ "client_name": name, "redirect_uris": redirects, "scope": "openid b a" })).unwrap()
}

fn stored(client_id: &str, name: &str, version: i64) -> StoredClient {
    let secret = |number: u8, expires_at| StoredSecret { digest: Digest([number; 32]), created_at: AT, expires_at };
    StoredClient {
        client_id: client_id.to_owned(),
        metadata: metadata(name),
        secrets: vec![secret(1, Some(Timestamp(AT.0 + 9))), secret(2, None)],
        origin: Origin::Settings,
        version,
        created_at: AT,
        updated_at: Timestamp(AT.0 + version),
    }
}

fn save(client: StoredClient) -> Write {
    Write::Client(ClientWrite::Save(Box::new(client)))
}

async fn a_client_is_read_as_it_was_written_with_the_number_of_its_fence(kind: Kind) {
    let town = Town::new(kind, 1).await;
    let (odd, plain) = ("https://client.example/metadata?a='b'", "cli_plain");
    let clients = || directory(&town).clients;
    let by_id = async |name: &str| clients().by_id(ClientId::of(name)).await.unwrap();
    assert_eq!(by_id(odd).await, None);
    written(&town, 1, vec![vec![save(stored(odd, ODD, 0))], vec![save(stored(plain, "Plain", 0))]]).await;
    assert_eq!(by_id(odd).await, Some(Client::of(stored(odd, ODD, 0), 0)));

    let fence = |name: &str| Key::Client(ClientId::of(name));
    let raised = vec![Guard::Claim(fence(odd)), Guard::Bump(fence(odd), None), Guard::Bump(fence(odd), Some(1))];
    let again = StoredClient { secrets: Vec::new(), origin: Origin::Administrator, ..stored(odd, "Other", 7) };
    let moved = StoredClient { created_at: Timestamp(1), ..again.clone() };
    assert_eq!(batch(&town, 2, vec![(raised, vec![save(moved)])]).await, [Verdict::Done]);
    assert_eq!(by_id(odd).await, Some(Client::of(again, 2)), "but for the instant of the first registration");
    assert_eq!(by_id(plain).await, Some(Client::of(stored(plain, "Plain", 0), 0)));

    let gone = |name: &str| Write::Client(ClientWrite::Delete { client: ClientId::of(name) });
    // What comes last in a batch is so.
    let both = vec![
        vec![gone(plain)],
        vec![gone("cli_nobody"), save(stored("b", "B", 1)), gone("b"), save(stored("b", "C", 2))],
    ];
    written(&town, 3, both).await;
    assert_eq!(by_id(plain).await, None);
    assert_eq!(by_id("b").await.map(|client| client.version), Some(2));
}

async fn clients_are_listed_in_the_order_of_their_names_page_by_page(kind: Kind) {
    let town = Town::new(kind, 1).await;
    let names: Vec<String> = (0..25).map(|number| format!("client-{number:02}")).collect();
    written(&town, 1, names.iter().rev().map(|name| vec![save(stored(name, name, 0))]).collect()).await;
    let (mut seen, mut after) = (Vec::new(), None::<String>);
    loop {
        let page = directory(&town).clients.list(after.as_deref(), 10).await.unwrap();
        assert!(page.len() <= 10);
        let Some(last) = page.last() else { break };
        after = Some(last.client_id.clone());
        seen.extend(page.into_iter().map(|client| client.client_id));
    }
    assert_eq!(seen, names);
}

async fn a_client_with_the_same_name_begins_behind_the_fence_of_the_one_before(kind: Kind) {
    let town = Town::new(kind, 1).await;
    let client = ClientId::of("app");
    let (fence, registration) = (Key::Client(client), Key::Registration(client));
    let begun = || vec![Guard::Claim(registration.clone()), Guard::Claim(fence.clone())];
    let first = vec![(begun(), vec![save(stored("app", "One", 0))]), (begun(), vec![save(stored("app", "Two", 0))])];
    assert_eq!(batch(&town, 1, first).await, [Verdict::Done, Verdict::Lost(0)]);
    let over = vec![Guard::Bump(fence.clone(), None), Guard::Release(registration.clone())];
    let delete = Write::Client(ClientWrite::Delete { client });
    assert_eq!(batch(&town, 2, vec![(over, vec![delete])]).await, [Verdict::Done]);
    assert_eq!(batch(&town, 3, vec![(begun(), Vec::new())]).await, [Verdict::Lost(1)]);
    let again = vec![Guard::Claim(registration), Guard::Bump(fence.clone(), None)];
    assert_eq!(batch(&town, 4, vec![(again, vec![save(stored("app", "Three", 0))])]).await, [Verdict::Done]);
    let read = directory(&town).clients.by_id(client).await.unwrap().unwrap();
    assert_eq!(read.fence, 2);
    let held = |number| (vec![Guard::Hold(fence.clone(), number)], Vec::new());
    assert_eq!(batch(&town, 5, vec![held(0), held(2)]).await, [Verdict::Lost(0), Verdict::Done]);
}

async fn resources_are_saved_changed_and_deleted_by_their_uris(kind: Kind) {
    let town = Town::new(kind, 1).await;
    let uri = |text: &str| AbsoluteUri::parse(text).unwrap();
    let resource = |text: &str, name: Option<&str>, at: i64| Resource {
        uri: uri(text),
        scope: Scope::parse("read write").unwrap(),
        name: name.map(str::to_owned),
        access_token_ttl: name.map(|_| 60),
        origin: Origin::Settings,
        created_at: Timestamp(at),
        updated_at: Timestamp(at),
    };
    let save = |resource: Resource| Write::Resource(ResourceWrite::Save(Box::new(resource)));
    let (api, other) = ("https://api.example/'v1'", "urn:example:other");
    written(&town, 1, vec![vec![save(resource(other, None, 1))], vec![save(resource(api, Some(ODD), 1))]]).await;
    let all = directory(&town).resources.all().await.unwrap();
    assert_eq!(all, [resource(api, Some(ODD), 1), resource(other, None, 1)]);

    let changed = Resource { scope: Scope::default(), origin: Origin::Administrator, ..resource(api, None, 5) };
    let gone = Write::Resource(ResourceWrite::Delete { uri: uri(other) });
    written(&town, 2, vec![vec![save(changed.clone())], vec![gone]]).await;
    let by_uri = async |text: &str| directory(&town).resources.by_uri(&uri(text)).await.unwrap();
    assert_eq!(by_uri(api).await, Some(Resource { created_at: Timestamp(1), ..changed }));
    assert_eq!(by_uri(other).await, None);
}

/// What an item of a list says.
fn item(number: u64) -> serde_json::Value {
    json!({ "client_id": format!("app-{number:02}"), "redirect_uris": ["https://a.example/cb"] })
}

async fn two_nodes_that_bring_in_the_same_list_at_once_do_no_harm(kind: Kind) {
    let town = Town::new(kind, 2).await;
    let one = town.node(0, town.store(0), town.clock.clone()).await;
    let two = town.node(1, town.store(1), town.clock.clone()).await;
    let import = Import { origin: Origin::Administrator, dry_run: false, prune: true };
    let list = |of: std::ops::Range<u64>| of.map(item).collect::<Vec<_>>();
    let brought = async |node: &Node, of| node.services.clients().import(BY, list(of), import).await.unwrap().0;
    let (first, second) = tokio::join!(brought(&one, 0..10), brought(&two, 0..10));
    let count = |report: &[Imported], outcome| report.iter().filter(|client| client.outcome == outcome).count();
    assert_eq!(count(&first, Outcome::Created) + count(&second, Outcome::Created), 10);
    assert_eq!(count(&first, Outcome::Unchanged) + count(&second, Outcome::Unchanged), 10);
    // Each secret that was made is told by the node that made it, and is the one that counts.
    let told: Vec<&Imported> = first.iter().chain(&second).filter(|client| client.secret.is_some()).collect();
    assert_eq!(told.len(), 10);
    for client in told {
        let kept = one.services.clients().get(&client.client_id).await.unwrap();
        assert!(kept.has_secret(client.secret.as_ref().unwrap(), &town.environment, town.clock.now()));
    }
    let (third, fourth) = tokio::join!(brought(&one, 5..10), brought(&two, 5..10));
    assert_eq!(count(&third, Outcome::Removed) + count(&fourth, Outcome::Removed), 5);
    assert_eq!(one.services.clients().list(None, 100).await.unwrap().len(), 5);
    one.end().await;
    two.end().await;
}

async fn a_secret_that_is_replaced_is_good_for_a_while_and_a_deleted_client_comes_back_behind_its_fence(kind: Kind) {
    let town = Town::new(kind, 1).await;
    let node = town.node(0, town.store(0), town.clock.clone()).await;
    let clients = node.services.clients();
    let new = || NewClient::parse(item(1)).unwrap();
    let added = clients.add(BY, Origin::Administrator, new()).await.unwrap();
    let first = added.secret.unwrap();
    let hour = Duration::from_secs(3_600);
    let second = clients.rotate_secret(BY, "app-01", hour).await.unwrap().secret.unwrap();
    let good = async |secret: &ClientSecret| {
        let client = node.services.clients().get("app-01").await.unwrap();
        client.has_secret(secret, &town.environment, town.clock.now())
    };
    assert!(good(&first).await && good(&second).await);
    assert!(!good(&ClientSecret::shown(String::new())).await);
    town.clock.advance(hour);
    assert!(!good(&first).await && good(&second).await);
    let third = clients.rotate_secret(BY, "app-01", Duration::ZERO).await.unwrap().secret.unwrap();
    assert!(!good(&second).await && good(&third).await);

    let public = json!({ "redirect_uris": ["http://127.0.0.1/cb"], "token_endpoint_auth_method": "none" });
    let public = Metadata::parse(public).unwrap();
    let updated = clients.update(BY, "app-01", Some(2), public.clone()).await.unwrap();
    assert!(updated.client.secrets.is_empty() && updated.secret.is_none(), "a public client has no secret");
    assert!(matches!(clients.update(BY, "app-01", Some(2), public).await, Err(ClientRefusal::Changed)));
    assert!(matches!(clients.rotate_secret(BY, "app-01", hour).await, Err(ClientRefusal::Invalid(_))));
    assert!(matches!(clients.add(BY, Origin::Administrator, new()).await, Err(ClientRefusal::Invalid(_))));

    let fence = Key::Client(ClientId::of("app-01"));
    assert_eq!((updated.client.fence, town.guard(&fence).await), (0, Some(0)));
    clients.delete(BY, "app-01").await.unwrap();
    assert!(matches!(clients.delete(BY, "app-01").await, Err(ClientRefusal::NotFound)));
    let again = clients.add(BY, Origin::Administrator, new()).await.unwrap().client;
    assert_eq!((again.version, again.fence, town.guard(&fence).await), (0, 2, Some(2)));
    assert!(!good(&third).await);
    node.end().await;
}

on_both!(
    two_nodes_that_bring_in_the_same_list_at_once_do_no_harm,
    a_secret_that_is_replaced_is_good_for_a_while_and_a_deleted_client_comes_back_behind_its_fence,
    a_client_is_read_as_it_was_written_with_the_number_of_its_fence,
    clients_are_listed_in_the_order_of_their_names_page_by_page,
    a_client_with_the_same_name_begins_behind_the_fence_of_the_one_before,
    resources_are_saved_changed_and_deleted_by_their_uris,
);
