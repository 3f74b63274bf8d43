//! `cairn serve`: opens the database, brings the engine to life, listens, and ends in order.

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cairn_actors::effects::Auth;
use cairn_actors::environment::Environment;
use cairn_actors::flows;
use cairn_actors::secrets::hasher::{self, Hasher};
use cairn_actors::secrets::master_key::MasterKey;
use cairn_actors::secrets::ring::{Ring, RingError, SharedRing};
use cairn_actors::secrets::secret::Secret;
use cairn_actors::secrets::signing::SigningKeys;
use cairn_actors::services::Services;
use cairn_actors::services::signing_keys::KeyManager;
use cairn_actors::workers::budget::Budgeted;
use cairn_actors::workers::courier::Workers;
use cairn_actors::workers::mailer::{EnvironmentSource, Mailer, SmtpSettings};
use cairn_http::operations::{Operations, Readiness};
use cairn_http::{AppState, Hosts, Limits, Port, Router, TableFault};
use cairn_persistence::address::is_postgres;
use cairn_persistence::keys::{KeysError, SigningKeyTable};
use cairn_persistence::{AuthWrites, Database, Options};
use cairn_runtime::clock::{BRIDGED, SystemClock, SystemDice};
use cairn_runtime::engine::Task;
use cairn_runtime::nursery::{ActorHost, supervise};
use cairn_runtime::outbox::Courier;
use cairn_runtime::store::{Retention, Store};
use cairn_runtime::{Clock, Dice, Engine, Id, Parts, Tuning};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::config::{Config, is_on_loopback};
use crate::{operations_client, output, process, registered, telemetry, theme};

/// What settling may take after the last request of the public, and at the same time the last one of operations.
const SETTLING: Duration = Duration::from_secs(1);
/// How long finished things are remembered.
const REMEMBERED: Duration = Duration::from_secs(30 * 86_400);
/// How many rows of a table are forgotten in one transaction.
const SWEPT: u32 = 500;
/// How often the signing keys are read again, for what other nodes did, and rotated where that is due.
const KEYS_TENDED: Duration = Duration::from_secs(300);
/// How long the content of a letter stays readable after it was sent.
const READABLE: Duration = Duration::from_secs(86_400);

/// Serves until a signal comes.
pub(crate) fn run(config: Config) -> Result<(), String> {
    telemetry::log(&config)?;
    process::close_memory();
    for remark in &config.remarks {
        tracing::warn!("{remark}");
    }
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|why| why.to_string())?
        .block_on(serve(config))
}

async fn serve(config: Config) -> Result<(), String> {
    let said = |why: &dyn std::fmt::Display| why.to_string();
    // One provider of cryptography for the process; a second `Err` would say that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let metrics = telemetry::metrics()?;
    let theme = theme::read(&config)?;
    for warning in theme::warnings(&theme) {
        tracing::warn!("{warning}");
    }
    let clock = Arc::new(SystemClock::ahead(config.clock_offset));
    let started_at = clock.now();

    let Opened { database, ring, signing } = open(&config, &clock).await?;

    let public = bind("CAIRN_LISTEN", config.listen).await?;
    let operations = bind("CAIRN_OPS_LISTEN", config.ops_listen).await?;
    let (public_at, operations_at) = (public.address(), operations.address());
    let public_url = config.public_url.clone().unwrap_or_else(|| listening_url(public_at));
    if config.public_url.is_none() && public_at.ip().is_unspecified() {
        tracing::warn!(
            "CAIRN_PUBLIC_URL is not set, and CAIRN_LISTEN is every address of this machine: links and tokens say \
             {public_url}, which opens on this machine only"
        );
    }
    let own_origin = public_url.clone();
    let has_mailbox = config.smtp_url.is_none() && config.public_url.as_deref().is_none_or(is_on_loopback);

    let ring = Arc::new(ring);
    let hashing = hasher::Settings { engine: config.hash_engine, ..hasher::Settings::default() };
    let hasher = Hasher::new(SharedRing::shared(Arc::clone(&ring)), hashing).map_err(|why| said(&why))?;
    hasher.prove_engine();
    let flows = cairn_actors::environment::Settings { public_url, ..config.flows.clone() };
    let environment = Arc::new(Environment { ring, signing: Arc::new(signing), settings: flows });
    let mailer = match &config.smtp_url {
        None if has_mailbox => Mailer::mailbox(),
        None => {
            tracing::warn!("SMTP_URL is not set: letters wait until it is, or until they expire");
            Mailer::nowhere()
        }
        Some(url) => {
            let present = Arc::clone(&environment);
            let environments: EnvironmentSource = Arc::new(move || Arc::clone(&present));
            let settings = SmtpSettings::read(url.expose(), &config.mail)?;
            if let Some(remark) = settings.remark() {
                tracing::warn!("{remark}");
            }
            Mailer::smtp(settings, environments, Arc::clone(&clock) as Arc<dyn Clock>)?
        }
    };
    let mailer = Arc::new(mailer);
    let (stop_public, public_stops) = watch::channel(false);
    let (stop_operations, operations_stop) = watch::channel(false);
    // A start that fails takes its tasks down with it. That is told by what failed, and must not end the process first.
    let failed = Arc::new(AtomicBool::new(false));
    let failing = Arc::clone(&failed);
    let exit: cairn_runtime::nursery::Exit = Arc::new(move |_| {
        if !failing.load(Ordering::Relaxed) {
            std::process::exit(1);
        }
    });
    let host = ActorHost::new(exit);
    let store = Arc::new(database.store::<Auth, _>(AuthWrites));
    let node = process::node_name(&hostname(), public_at);
    if database.has_one_process() {
        store.release_claims().await.map_err(|why| said(&why))?;
    }
    let directory = database.directory();
    let builder = Engine::<Auth>::builder(Parts {
        store,
        courier: Arc::new(Workers {
            mail: Arc::new(Budgeted::new(
                Arc::clone(&mailer) as Arc<dyn Courier<Auth>>,
                database.sent_letters(),
                Arc::clone(&environment),
                Arc::clone(&clock) as Arc<dyn Clock>,
            )),
        }),
        host: Arc::clone(&host) as Arc<dyn cairn_runtime::Host>,
        clock,
        dice: Arc::new(SystemDice::new()),
        environment,
        node,
        tuning: Tuning::default(),
    });
    let engine = flows::register(builder).build();

    let services = Services {
        engine: engine.clone(),
        directory,
        hasher,
        keys: KeyManager::new(Arc::new(SigningKeyTable::new(&database))),
    };
    let registering = services.clone();
    let state = AppState::limited(services.clone(), has_mailbox, theme, config.quotas.clone());
    let readiness = Readiness::default();
    let (rendering, measured, remarked) = (metrics.clone(), database.clone(), database.clone());
    let desk = Operations {
        services: services.clone(),
        readiness: readiness.clone(),
        metrics: Box::new(move || {
            telemetry::connections(&measured);
            rendering.render()
        }),
        remark: Box::new(move || remarked.is_short_of_connections().then_some(SHORT)),
        started_at,
    };
    let mut settings = cairn_http::Settings::new(request_id, own_origin);
    settings.cors_origins.clone_from(&config.cors_origins);
    settings.tls_below = config.hsts_subdomains;
    settings.trusted_proxies.clone_from(&config.trusted_proxies);
    settings.hosts = match &config.hosts[..] {
        [] => Hosts::Any,
        listed => Hosts::These(listed.iter().cloned().chain(own_host(&settings.own_origin)).collect()),
    };
    let descriptors = process::raise_descriptors();
    let shares = process::shares(descriptors, config.database_connections);
    tracing::info!(descriptors, connections = shares.public, "descriptors are shared out");
    settings.limits.connections = shares.public;
    settings.limits.connections_each = (shares.public / 4).max(8);
    settings.limits.proxies.clone_from(&settings.trusted_proxies);
    let limits = settings.limits.clone();
    let front = public_routes(settings, &state).map_err(|why| said(&why))?;
    let back = Router::new(cairn_http::Settings::for_operations(request_id, config.ops_hosts.clone()))
        .with(cairn_http::operations::group(desk).map_err(|why| said(&why))?)
        .map_err(|why| said(&why))?
        .filter();

    let (ended, mut ends) = tokio::sync::mpsc::channel(2);
    let mut tasks = engine.tasks();
    let shorter = Limits {
        drain_time: SETTLING,
        connections: shares.operations,
        connections_each: shares.operations,
        ..limits.clone()
    };
    tasks.push(listener("http", public, front, limits, public_stops, ended.clone()));
    tasks.push(listener("operations", operations, back, shorter, operations_stop, ended));
    tasks.push(janitor(engine.clone()));
    tasks.push(tending(mailer));
    tasks.push(key_worker(services, config.key_rotation));
    let upkeep = metrics.clone();
    tasks.push(Task {
        name: "upkeep",
        begin: Arc::new(move || {
            let metrics = upkeep.clone();
            Box::pin(async move {
                loop {
                    tokio::time::sleep(Duration::from_secs(5)).await;
                    metrics.run_upkeep();
                }
            })
        }),
    });
    let _supervision = supervise(host, tasks).await.map_err(|why| said(&why))?;
    if let Some(tables) = &config.tables {
        let brought = registered::bring(&registering, tables).await;
        brought.inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
    }
    let mut signals = Signals::listen()?;
    readiness.set(true);
    output::say(&format!("cairn ready public=http://{public_at} operations=http://{operations_at}"));
    tracing::info!(public = %public_at, operations = %operations_at, database = ?database.backend(), "ready");

    signals.next().await;
    tracing::info!(delay = ?config.shutdown_delay, "stopping: not ready any more, and serving until the delay is over");
    readiness.set(false);
    // Load balancers need this long to look away; whoever cannot wait for it asks once more.
    tokio::select! {
        () = tokio::time::sleep(config.shutdown_delay) => {}
        () = signals.next() => tracing::info!("a second signal ends the delay"),
    }
    tracing::info!("stopping: finishing what is in flight");
    // While the public's requests are finished, operations can be asked how that goes.
    let _ = stop_public.send(true);
    let _ = ends.recv().await;
    let _ = stop_operations.send(true);
    engine.drain();
    let settled = async { tokio::join!(engine.drained(), ends.recv()) };
    if tokio::time::timeout(SETTLING, settled).await.is_err() {
        tracing::warn!("not everything settled in time; nothing acknowledged is lost");
    }
    let _ = tokio::time::timeout(SETTLING / 2, database.close()).await;
    Ok(())
}

/// The database of the settings, with its keys.
pub(crate) struct Opened {
    pub(crate) database: Database,
    pub(crate) ring: Ring,
    pub(crate) signing: SigningKeys,
}

/// Opens the database of the settings, migrated, and its keys. The clock goes on from the last event.
pub(crate) async fn open(config: &Config, clock: &SystemClock) -> Result<Opened, String> {
    let given = given_master_key(config)?;
    let (setting, address) = database_address(config, given.is_some())?;
    let of_database = |why: &dyn std::fmt::Display| format!("{setting}: {why}");
    let options = Options { connections: config.database_connections, ..Options::default() };
    let database = Database::open(address.expose(), &options).await.map_err(|why| of_database(&why))?;
    if let Some(latest) = cairn_persistence::latest_event(&database).await.map_err(|why| of_database(&why))? {
        let ahead = clock.bridge(latest);
        if ahead > Duration::from_secs(1) {
            tracing::warn!(seconds = ahead.as_secs(), bridged = ahead <= BRIDGED, "the clock is behind the last event");
        }
    }
    let master = match given {
        Some(key) => key,
        None => own_master_key(config, &database).await?,
    };
    let (ring, signing) =
        cairn_persistence::keys::open(&database, &master, clock.now()).await.map_err(|why| match why {
            KeysError::Ring(RingError::WrongMasterKey) if config.master_key_file.is_some() => {
                format!("CAIRN_MASTER_KEY_FILE: {why}")
            }
            KeysError::Ring(RingError::WrongMasterKey) => format!("CAIRN_DATA: {why}"),
            why => of_database(&why),
        })?;
    Ok(Opened { database, ring, signing })
}

/// The key of the file that the settings name. Asked before anything is opened: PostgreSQL needs one.
fn given_master_key(config: &Config) -> Result<Option<MasterKey>, String> {
    match &config.master_key_file {
        Some(path) => MasterKey::load(path).map(Some).map_err(|why| format!("CAIRN_MASTER_KEY_FILE: {why}")),
        None if config.database_url.as_ref().is_some_and(|url| is_postgres(url.expose())) => {
            Err("PostgreSQL needs CAIRN_MASTER_KEY_FILE: every process of one database must have the same key. \
                 Make one with: openssl rand -base64 32 > master.key && chmod 600 master.key"
                .to_owned())
        }
        None => Ok(None),
    }
}

/// What readiness says beside "ok" when the database's connections are few.
const SHORT: &str = "the database gives fewer connections than CAIRN_DATABASE_CONNECTIONS asks for";

/// The key in the data folder, made at the first start. A database that has keys already was sealed with one that is
/// not there: to make another would only hide that.
async fn own_master_key(config: &Config, database: &Database) -> Result<MasterKey, String> {
    let path = config.data.join("master.key");
    if !path.exists() && cairn_persistence::keys::exist(database).await.map_err(|why| why.to_string())? {
        return Err(format!(
            "CAIRN_DATA: {} is not there, and without it nothing in the database can be opened: put it back, from where you keep it",
            path.display()
        ));
    }
    MasterKey::create_or_load(&path).map_err(|why| format!("CAIRN_DATA: {why}"))
}

/// The database's address with the setting it comes from. The data folder is made where something is to be in it.
fn database_address(config: &Config, has_key: bool) -> Result<(&'static str, Secret), String> {
    if config.database_url.is_none() || !has_key {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&config.data)
            .map_err(|why| format!("CAIRN_DATA: {}: {why}", config.data.display()))?;
    }
    Ok(match &config.database_url {
        Some(address) => ("DATABASE_URL", address.clone()),
        None => ("CAIRN_DATA", Secret::new(config.data.join("cairn.db").to_string_lossy())),
    })
}

async fn bind(setting: &str, address: SocketAddr) -> Result<Port, String> {
    Port::bind(address).await.map_err(|why| format!("{setting}: cannot listen on {address}: {why}"))
}

/// The public URL where none is set.
fn listening_url(at: SocketAddr) -> String {
    format!("http://{}", operations_client::reachable(at))
}

/// The host of the public URL.
fn own_host(origin: &str) -> Option<String> {
    cairn_http::access::host::host_of(origin.split_once("://")?.1)
}

fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "localhost".to_owned(), |name| name.trim().to_owned())
}

/// The id of a request that brought none.
pub(crate) fn request_id() -> String {
    let seed = SystemDice::new().seed();
    Id::from_bytes(cairn_runtime::clock::derive_bytes(&seed, "request", 0)).crockford()
}

/// All that the public listener answers.
fn public_routes(
    settings: cairn_http::Settings,
    state: &Arc<AppState>,
) -> Result<BoxedFilter<(Response,)>, TableFault> {
    let router = Router::new(settings)
        .with(cairn_http::api::group(state)?)?
        .with(cairn_http::well_known::group(state)?)?
        .with(cairn_http::oauth::group(state)?)?
        .with(cairn_http::openapi::group(state)?)?
        .with(cairn_http::pages::group(state)?)?;
    Ok(router.filter())
}

/// A port was bound in `serve`. It survives the task that accepts on it, and is closed by the stop.
fn listener(
    name: &'static str,
    port: Port,
    filter: BoxedFilter<(Response,)>,
    limits: Limits,
    stopping: watch::Receiver<bool>,
    ended: tokio::sync::mpsc::Sender<()>,
) -> Task {
    let begin = move || {
        let (port, filter, limits) = (port.clone(), filter.clone(), limits.clone());
        let (mut stopping, ended) = (stopping.clone(), ended.clone());
        let serving: futures_util::future::BoxFuture<'static, ()> = Box::pin(async move {
            let stop = async move {
                let _ = stopping.wait_for(|stop| *stop).await;
            };
            let how = cairn_http::serve(port, filter, limits, stop).await;
            if how.cut > 0 {
                tracing::warn!(name, cut = how.cut, "connections were cut at the end");
            }
            let _ = ended.send(()).await;
            std::future::pending::<()>().await;
        });
        serving
    };
    Task { name, begin: Arc::new(begin) }
}

/// Forgets what may be forgotten, a little every minute.
fn janitor(engine: Engine<Auth>) -> Task {
    let begin = move || {
        let engine = engine.clone();
        let tidying: futures_util::future::BoxFuture<'static, ()> = Box::pin(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(60)).await;
                let now = engine.now();
                let retention = Retention {
                    now,
                    payloads_before: now.before(READABLE),
                    rows_before: now.before(REMEMBERED),
                    limit: SWEPT,
                };
                // A little at a time, with room for steps in between, until there is no more.
                loop {
                    match engine.chore(move |store| Box::pin(async move { store.retain(retention).await })).await {
                        Ok(rows) if rows >= u64::from(SWEPT) => tokio::time::sleep(Duration::from_millis(50)).await,
                        Ok(_) => break,
                        Err(why) => {
                            tracing::warn!(%why, "what may be forgotten could not be");
                            break;
                        }
                    }
                }
            }
        });
        tidying
    };
    Task { name: "janitor", begin: Arc::new(begin) }
}

/// Keeps the signing keys in order. Without the database, those that are there go on.
fn key_worker(services: Services, most: Option<Duration>) -> Task {
    let begin = move || {
        let services = services.clone();
        let tending: futures_util::future::BoxFuture<'static, ()> = Box::pin(async move {
            loop {
                if let Err(why) = services.tend_signing_keys(most).await {
                    tracing::warn!(?why, "the signing keys could not be tended");
                }
                tokio::time::sleep(KEYS_TENDED).await;
            }
        });
        tending
    };
    Task { name: "keys", begin: Arc::new(begin) }
}

/// Closes what the mailer has not used for long.
fn tending(mailer: Arc<Mailer>) -> Task {
    let begin = move || {
        let mailer = Arc::clone(&mailer);
        let tending: futures_util::future::BoxFuture<'static, ()> = Box::pin(async move {
            loop {
                tokio::time::sleep(Mailer::TENDED).await;
                mailer.tend().await;
            }
        });
        tending
    };
    Task { name: "mail", begin: Arc::new(begin) }
}

/// The signals that ask the process to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Listens from now on: whoever has read that we are ready may send one at once.
    fn listen() -> Result<Self, String> {
        let of = |kind| signal(kind).map_err(|why| why.to_string());
        Ok(Self { terminate: of(SignalKind::terminate())?, interrupt: of(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
