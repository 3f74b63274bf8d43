//! Clients and resources as they are registered, change and go, and what the directory reads of them.

use cairn_actors::directory::Directory;
use cairn_actors::effects::{Auth, ClientWrite, Key, ResourceWrite, StoredClient, Write};
use cairn_actors::oauth::client::{Client, ClientId, Metadata, Origin, StoredSecret};
use cairn_actors::oauth::resource::Resource;
use cairn_actors::oauth::scope::Scope;
use cairn_actors::oauth::uri::AbsoluteUri;
use cairn_actors::secrets::digest::Digest;
use cairn_runtime::store::{Item, Verdict};
use cairn_runtime::{Domain, Guard, InputId, Timestamp};
use serde_json::json;

use crate::auth::{Town, id};
use crate::support::{Kind, on_both};

const AT: Timestamp = Timestamp(1_800_000_000_000);
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

fn as_client(stored: StoredClient, fence: i64) -> Client {
    let StoredClient { client_id, metadata, secrets, origin, version, created_at, updated_at } = stored;
    let id = ClientId::of(&client_id);
    Client { id, client_id, metadata, secrets, origin, fence, version, created_at, updated_at }
}

async fn a_client_is_read_as_it_was_written_with_the_number_of_its_fence(kind: Kind) {
    let town = Town::new(kind, 1).await;
    let (odd, plain) = ("https://client.example/metadata?a='b'", "cli_plain");
    let clients = || directory(&town).clients;
    let by_id = async |name: &str| clients().by_id(ClientId::of(name)).await.unwrap();
    assert_eq!(by_id(odd).await, None);
    written(&town, 1, vec![vec![save(stored(odd, ODD, 0))], vec![save(stored(plain, "Plain", 0))]]).await;
    assert_eq!(by_id(odd).await, Some(as_client(stored(odd, ODD, 0), 0)));

    let fence = |name: &str| Key::Client(ClientId::of(name));
    let raised = vec![Guard::Claim(fence(odd)), Guard::Bump(fence(odd), None), Guard::Bump(fence(odd), Some(1))];
    let again = StoredClient { secrets: Vec::new(), origin: Origin::Administrator, ..stored(odd, "Other", 7) };
    let moved = StoredClient { created_at: Timestamp(1), ..again.clone() };
    assert_eq!(batch(&town, 2, vec![(raised, vec![save(moved)])]).await, [Verdict::Done]);
    assert_eq!(by_id(odd).await, Some(as_client(again, 2)), "but for the instant of the first registration");
    assert_eq!(by_id(plain).await, Some(as_client(stored(plain, "Plain", 0), 0)));

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

on_both!(
    a_client_is_read_as_it_was_written_with_the_number_of_its_fence,
    clients_are_listed_in_the_order_of_their_names_page_by_page,
    a_client_with_the_same_name_begins_behind_the_fence_of_the_one_before,
    resources_are_saved_changed_and_deleted_by_their_uris,
);
