//! A client that hangs up: every route that writes, dropped at each of its awaits, leaves the database as it does when
//! it is not.
//!
//! The front runs within the test, on a copy of a database in which everything has been prepared by a server.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use cairn_actors::effects::Auth;
use cairn_actors::environment::{Environment, Settings};
use cairn_actors::flows;
use cairn_actors::secrets::hasher::{self, Hasher};
use cairn_actors::secrets::master_key::MasterKey;
use cairn_actors::secrets::ring::SharedRing;
use cairn_actors::services::Services;
use cairn_actors::services::signing_keys::KeyManager;
use cairn_actors::workers::mailer::Mailer;
use cairn_http::request::Peer;
use cairn_http::theme::{Brand, Theme};
use cairn_http::{AppState, Router};
use cairn_persistence::keys::SigningKeyTable;
use cairn_persistence::{AuthWrites, Database, Options};
use cairn_runtime::clock::{SystemClock, SystemDice};
use cairn_runtime::nursery::{ActorHost, supervise};
use cairn_runtime::{Clock, Engine, Parts, Tuning};
use http_body_util::Full;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use super::cast::Cast;
use super::grow;
use super::seeds::{self, Seed};
use crate::support::folder::Folder;
use crate::support::{App, Kind, eventually};

/// What a request leaves: how it was answered, and how many rows there are.
#[derive(Debug, PartialEq)]
struct Left {
    answered: String,
    flows: u64,
    events: u64,
    deliveries: u64,
}

/// Polls a future as often as it is woken, and drops it after so many times. Whether it came to its end before.
async fn dropped_after<T>(polls: usize, future: impl Future<Output = T>) -> bool {
    let mut future = Box::pin(future);
    let mut polled = 0;
    std::future::poll_fn(|cx| {
        polled += 1;
        match Pin::as_mut(&mut future).poll(cx) {
            std::task::Poll::Ready(_) => std::task::Poll::Ready(true),
            std::task::Poll::Pending if polled >= polls => std::task::Poll::Ready(false),
            std::task::Poll::Pending => std::task::Poll::Pending,
        }
    })
    .await
}

/// The answers counted for a route, by status.
fn answered(metrics: &PrometheusHandle, seed: &Seed) -> Option<String> {
    let rendered = metrics.render();
    let of_route = |line: &&str| {
        line.starts_with("cairn_http_requests_total{")
            && line.contains(&format!("route=\"{}\"", seed.route))
            && line.contains(&format!("method=\"{}\"", seed.method))
    };
    let lines: Vec<&str> = rendered.lines().filter(of_route).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// Sends one good request to a copy of the database and drops it after so many polls.
async fn leaves(prepared: &Path, url: &str, seed: &Seed, cast: &Cast, polls: usize) -> (bool, Left) {
    let folder = Folder::new("hang-up");
    for file in ["cairn.db", "cairn.db-wal", "master.key"] {
        let _ = std::fs::copy(prepared.join(file), folder.path().join(file));
    }
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _installed = metrics::set_default_local_recorder(&recorder);

    let clock = Arc::new(SystemClock::ahead(0));
    let database =
        Database::open(&folder.path().join("cairn.db").to_string_lossy(), &Options::default()).await.unwrap();
    let master = MasterKey::load(&folder.path().join("master.key")).unwrap();
    let (ring, signing) = cairn_persistence::keys::open(&database, &master, clock.now()).await.unwrap();
    let ring = Arc::new(ring);
    let hasher = Hasher::new(SharedRing::shared(Arc::clone(&ring)), hasher::Settings::default()).unwrap();
    let settings = Settings {
        public_url: url.to_owned(),
        resend_cooldown: std::time::Duration::ZERO,
        magic_link: true,
        ..Settings::default()
    };
    let environment = Arc::new(Environment { ring, signing: Arc::new(signing), settings });
    let host = ActorHost::new(Arc::new(|_| panic!("the supervisor gave up")));
    let builder = Engine::<Auth>::builder(Parts {
        store: Arc::new(database.store::<Auth, _>(AuthWrites)),
        courier: Arc::new(Mailer::nowhere()),
        host: Arc::clone(&host) as Arc<dyn cairn_runtime::Host>,
        clock,
        dice: Arc::new(SystemDice::new()),
        environment,
        node: "hang-ups".to_owned(),
        tuning: Tuning::default(),
    });
    let engine = flows::register(builder).build();
    let _supervision = supervise(host, engine.tasks()).await.unwrap();
    let keys = KeyManager::new(Arc::new(SigningKeyTable::new(&database)));
    let services = Services { engine: engine.clone(), directory: database.directory(), hasher, keys };
    let state = AppState::new(services, false, Theme::read(Brand::default(), None).unwrap());
    let filter = Router::new(cairn_http::Settings::new(|| "id".to_owned(), url))
        .with(cairn_http::api::group(&state).unwrap())
        .and_then(|router| router.with(cairn_http::oauth::group(&state)?))
        .and_then(|router| router.with(cairn_http::pages::group(&state)?))
        .unwrap()
        .filter();

    let mut request = request(&grow::plain(seed, cast).bytes);
    request.extensions_mut().insert(Peer(([127, 0, 0, 1], 1).into()));
    let whole = dropped_after(polls, TowerToHyperService::new(warp::service(filter)).call(request)).await;
    let what = format!("the end of {} {}", seed.method, seed.route);
    let answered = eventually(&what, async || answered(&metrics, seed)).await;
    // What follows of it by signals is awaited, too: nothing moves any more.
    let mut seen = None;
    let (flows, events, deliveries) = eventually("quiet", async || {
        assert!(engine.flushes().await);
        let audit = engine.store().audit(engine.now()).await.unwrap();
        assert!(audit.findings.is_empty(), "{:?}", audit.findings.len());
        let now = (audit.flows, audit.events, audit.deliveries);
        (seen.replace(now) == Some(now)).then_some(now)
    })
    .await;
    engine.drain();
    engine.drained().await;
    database.close().await.unwrap();
    (whole, Left { answered, flows, events, deliveries })
}

/// Reads a request from its octets.
fn request(octets: &[u8]) -> http::Request<Full<Bytes>> {
    let text = String::from_utf8(octets.to_vec()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines();
    let mut words = lines.next().unwrap().split(' ');
    let mut request = http::Request::builder().method(words.next().unwrap()).uri(words.next().unwrap());
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    request.body(Full::new(Bytes::from(body.to_owned()))).unwrap()
}

#[tokio::test]
async fn every_route_that_writes_ends_as_it_does_though_its_client_hangs_up_at_any_await() {
    let plan = App::plan(Kind::Sqlite).named("prepared").set("CAIRN_RESEND_COOLDOWN", "0");
    let app = plan.set("CAIRN_MAGIC_LINK", "on").set("CAIRN_CODE_TTL", "1h").start().await;
    let cast = Cast::of(&app).await;
    let url = app.public_url();
    assert!(app.terminate().await.success());
    let mut writing = 0;
    for seed in seeds::in_order().filter(|seed| seed.method != "GET" && !seed.operations) {
        writing += 1;
        let (whole, undisturbed) = leaves(app.data(), &url, seed, &cast, usize::MAX).await;
        assert!(whole);
        for polls in 1.. {
            let (whole, left) = leaves(app.data(), &url, seed, &cast, polls).await;
            assert_eq!(left, undisturbed, "{seed:?} was dropped after {polls} polls");
            if whole {
                break;
            }
        }
    }
    assert!(writing > 30, "{writing} routes that write");
}
