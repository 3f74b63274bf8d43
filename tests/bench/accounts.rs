//! Sign-ins beside the bare library's hashes, reads of an account beside a read of nothing, and what a large table of
//! users costs.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use argon2_rust::params::Memory as Kibibytes;
use futures_util::future::join_all;
use tokio::task::JoinSet;

use super::report::{Aim, Report, Rounds, median};
use super::rounds;
use super::server::{HttpConnection, Server};
use super::sqlite::{CLIENTS, SPAN};
use super::support::smtp::Sink;
use super::support::{App, Kind, Person, json};

/// People who sign in over and over; more than there are cores, so that no core waits for a client.
const PEOPLE: usize = 16;

/// Who registers at the same time: more than sign in, because a client waits for letters meanwhile.
const NEWCOMERS: usize = 32;

/// Whose hashes are a floor, with memory that is made once for each thread: the most that can be had of it.
#[derive(Clone, Copy)]
enum Bare {
    /// The best implementation that is known.
    Best,
    /// The one that it is held to.
    Reference,
}

/// Hashes a second with the parameters that DESIGN names, one thread a core.
fn bare(library: Bare, span: Duration) -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let began = Instant::now();
    let hash = || {
        let reference = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(19_456, 2, 1, None).unwrap());
        let params = argon2_rust::Params::builder().memory(Kibibytes::kib(19_456)).passes(2).lanes(1).build().unwrap();
        let best = argon2_rust::Argon2::new(argon2_rust::Algorithm::Argon2id, argon2_rust::Version::V0x13, params);
        let (mut best, mut memory, mut tag, mut count) = (best.hasher(), Vec::new(), [0; 32], 0_u64);
        if let Bare::Reference = library {
            memory = vec![Block::new(); 19_456];
        }
        while began.elapsed() < span {
            let (password, salt) = (b"three random words", count.to_be_bytes());
            match library {
                Bare::Best => best.hash_into(password, &salt, &mut tag).unwrap(),
                Bare::Reference => {
                    reference.hash_password_into_with_memory(password, &salt, &mut tag, &mut memory).unwrap();
                }
            }
            count += 1;
        }
        count
    };
    let all: u64 = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(hash)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    all as f64 / began.elapsed().as_secs_f64()
}

async fn floor(library: Bare) -> f64 {
    tokio::task::spawn_blocking(move || bare(library, SPAN)).await.unwrap()
}

fn credentials(person: &Person) -> String {
    person.credentials().to_string()
}

/// Sign-ins a second of all people at once.
async fn sign_ins(server: SocketAddr, people: &[String], span: Duration) -> f64 {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for body in people {
        let body = body.clone();
        tasks.spawn(async move {
            let mut line = HttpConnection::new(server).await.unwrap();
            let mut count = 0_u64;
            while began.elapsed() < span {
                let answer = line.post("/auth/login", &body).await.unwrap();
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                count += 1;
            }
            count
        });
    }
    let all: u64 = tasks.join_all().await.into_iter().sum();
    all as f64 / began.elapsed().as_secs_f64()
}

/// Milliseconds that reads of an account take meanwhile, one every few milliseconds, until the flag falls.
async fn reads(server: SocketAddr, access: String, going: &AtomicBool) -> Vec<f64> {
    let mut line = HttpConnection::new(server).await.unwrap();
    let (mut spans, mut beat) = (Vec::new(), tokio::time::interval(Duration::from_millis(10)));
    while going.load(Ordering::Relaxed) {
        beat.tick().await;
        let began = Instant::now();
        let answer = line.get("/users/me", Some(&access)).await.unwrap();
        spans.push(began.elapsed().as_secs_f64() * 1_000.0);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    spans
}

pub async fn hashing(report: &mut Report) {
    eprintln!("sign-ins beside bare hashes, {PEOPLE} people");
    let app = plan("bench-accounts").prepare();
    let mut server = Server::launch(&app);
    let address = server.ready();
    let mut people = Vec::new();
    let mut access = String::new();
    for _ in 0..PEOPLE {
        let person = Person::new("visitor");
        person.joins(&app).await;
        access = person.signs_in(&app).await.access;
        people.push(credentials(&person));
    }
    sign_ins(address, &people, SPAN / 2).await;
    let (mut measured, mut libraries, mut slowest) = (Rounds::default(), Rounds::default(), Vec::new());
    for _ in 0..rounds() {
        let best = floor(Bare::Best).await;
        let going = AtomicBool::new(true);
        let signing_in = async {
            let pace = sign_ins(address, &people, SPAN).await;
            going.store(false, Ordering::Relaxed);
            pace
        };
        let (mut spans, pace) = tokio::join!(reads(address, access.clone(), &going), signing_in);
        spans.sort_by(f64::total_cmp);
        slowest.push(spans[spans.len() * 99 / 100]);
        measured.add(pace, best);
        libraries.add(best, floor(Bare::Reference).await);
    }
    report.aside("hashes/s by argon2-rust beside those by argon2", &libraries);
    report.ratio("sign-ins/s on all cores (floor: the best library's hashes/s)", &measured, Aim::AtLeast(0.85));
    report.plain("GET /users/me meanwhile, 99th percentile (ms)", &slowest, Aim::AtMost(5.0));
}

/// Registrations a second, each from the request to the welcome in the mailbox.
async fn registrations(server: SocketAddr, sink: &Sink, span: Duration) -> f64 {
    let began = Instant::now();
    let newcomers = (0..NEWCOMERS).map(|_| async {
        let mut line = HttpConnection::new(server).await.unwrap();
        let mut count = 0_u64;
        while began.elapsed() < span {
            let person = Person::new("newcomer");
            let answer = line.post("/auth/register", &person.registration().to_string()).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
            let (_, flow) = answer.split_once("\"id\":\"").unwrap();
            let flow = flow.split_once('"').unwrap().0;
            let code = sink.letter(&person.email, "registration.verify").await.code().unwrap();
            let answer =
                line.post("/auth/verify-email", &json!({"flow": flow, "code": code}).to_string()).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            sink.letter(&person.email, "registration.welcome").await;
            count += 1;
        }
        count
    });
    let all: u64 = join_all(newcomers).await.into_iter().sum();
    all as f64 / began.elapsed().as_secs_f64()
}

pub async fn registering(report: &mut Report) {
    eprintln!("registrations beside bare hashes, {NEWCOMERS} newcomers");
    let sink = Sink::start();
    let app = plan("bench-newcomers").set("SMTP_URL", sink.url()).prepare();
    let mut server = Server::launch(&app);
    let address = server.ready();
    registrations(address, &sink, SPAN / 2).await;
    let mut measured = Rounds::default();
    for _ in 0..rounds() {
        let best = floor(Bare::Best).await;
        measured.add(registrations(address, &sink, SPAN).await, best);
    }
    let what = "registrations/s with verification and two letters (floor: the best library's hashes/s)";
    report.ratio(what, &measured, Aim::AtLeast(0.7));
}

/// Reads a second over many kept connections.
pub async fn gets(
    server: SocketAddr,
    target: &'static str,
    access: Option<String>,
    connections: usize,
    span: Duration,
) -> f64 {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..connections {
        let access = access.clone();
        tasks.spawn(async move {
            let mut line = HttpConnection::new(server).await.unwrap();
            let mut count = 0_u64;
            while began.elapsed() < span {
                let answer = line.get(target, access.as_deref()).await.unwrap();
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                count += 1;
            }
            count
        });
    }
    let all: u64 = tasks.join_all().await.into_iter().sum();
    all as f64 / began.elapsed().as_secs_f64()
}

pub async fn reading(report: &mut Report) {
    eprintln!("reads of an account, {CLIENTS} connections");
    let app = plan("bench-reads").prepare();
    let mut server = Server::launch(&app);
    let (public, operations) = server.both_ready();
    let person = Person::new("visitor");
    person.joins(&app).await;
    let access = person.signs_in(&app).await.access;
    let mut measured = Rounds::default();
    for _ in 0..rounds() {
        let floor = gets(operations, "/health/live", None, CLIENTS, SPAN / 2).await;
        measured.add(gets(public, "/users/me", Some(access.clone()), CLIENTS, SPAN / 2).await, floor);
    }
    report.ratio("GET /users/me, requests/s (floor: GET /health/live)", &measured, Aim::AtLeast(0.2));
}

/// A server with so many users besides the one that is measured.
struct Town {
    _server: Server,
    address: SocketAddr,
    credentials: String,
    access: String,
}

impl Town {
    async fn of(users: u64) -> Self {
        let app = plan("bench-town").prepare();
        let mut first = Server::launch(&app);
        first.ready();
        let person = Person::new("visitor");
        person.joins(&app).await;
        first.kill9();
        settle(&app.data().join("cairn.db"), users).await;
        let mut server = Server::launch(&app);
        let address = server.ready();
        let access = person.signs_in(&app).await.access;
        Self { _server: server, address, credentials: credentials(&person), access }
    }

    /// Milliseconds of a sign-in, a refresh and a read: medians of so many, one after the other.
    async fn costs(&self, times: usize) -> [f64; 3] {
        let mut line = HttpConnection::new(self.address).await.unwrap();
        let (mut sign_ins, mut refreshes, mut reads) = (Vec::new(), Vec::new(), Vec::new());
        let member = |answer: &str, name: &str| {
            let found = answer.split_once(&format!("\"{name}\":\"")).and_then(|(_, rest)| rest.split_once('"'));
            found.unwrap_or_else(|| panic!("no {name} in {answer}")).0.to_owned()
        };
        for _ in 0..times {
            let began = Instant::now();
            let mut answer = line.post("/auth/login", &self.credentials).await.unwrap();
            sign_ins.push(began.elapsed().as_secs_f64() * 1_000.0);
            for _ in 0..8 {
                let body = format!("{{\"refresh_token\":\"{}\"}}", member(&answer, "refresh_token"));
                let began = Instant::now();
                answer = line.post("/auth/refresh", &body).await.unwrap();
                refreshes.push(began.elapsed().as_secs_f64() * 1_000.0);
                let began = Instant::now();
                line.get("/users/me", Some(&self.access)).await.unwrap();
                reads.push(began.elapsed().as_secs_f64() * 1_000.0);
            }
        }
        [sign_ins, refreshes, reads].map(median)
    }
}

/// Fills the tables as so many registrations would have: users, and the claims on what is theirs.
async fn settle(database: &std::path::Path, users: u64) {
    use sqlx::Connection;
    let mut connection = sqlx::SqliteConnection::connect(&format!("sqlite://{}", database.display())).await.unwrap();
    let numbers = format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {users})");
    let taken = |key: &str| {
        format!(r#"INSERT INTO guards ("key", "value") SELECT {key}, 0 FROM users WHERE email LIKE '%@town.example'"#)
    };
    let fill = [
        "PRAGMA synchronous = OFF".to_owned(),
        "BEGIN".to_owned(),
        format!(
            "INSERT INTO users (id, email, email_mail, email_key, username, password, roles, email_verified_at, \
             created_at, updated_at, version) {numbers} SELECT randomblob(16), 'u' || i || '@town.example', \
             'u' || i || '@town.example', randomblob(32), 'citizen' || i, (SELECT password FROM users LIMIT 1), '[]', \
             0, 0, 0, 0 FROM n"
        ),
        taken("'user/' || lower(hex(id))"),
        taken("'profile/' || lower(hex(id))"),
        taken("'address/' || lower(hex(email_key))"),
        taken("'username/' || username"),
        "COMMIT".to_owned(),
        "PRAGMA wal_checkpoint(TRUNCATE)".to_owned(),
    ];
    for statement in fill {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

pub async fn sizes(report: &mut Report) {
    const FEW: u64 = 10_000;
    const MANY: u64 = 1_000_000;
    eprintln!("{FEW} users beside {MANY}");
    let (few, many) = (Town::of(FEW).await, Town::of(MANY).await);
    few.costs(4).await;
    many.costs(4).await;
    let mut measured: [Rounds; 3] = Default::default();
    for _ in 0..rounds() {
        let (small, large) = (few.costs(8).await, many.costs(8).await);
        for (rounds, (large, small)) in measured.iter_mut().zip(large.into_iter().zip(small)) {
            rounds.add(large, small);
        }
    }
    let names = [
        "a sign-in with 1 000 000 users, ms (floor: with 10 000)",
        "a refresh with 1 000 000 users, ms (floor: with 10 000)",
        "GET /users/me with 1 000 000 users, ms (floor: with 10 000)",
    ];
    for (name, rounds) in names.into_iter().zip(&measured) {
        report.ratio(name, rounds, Aim::AtMost(1.2));
    }
}

fn plan(name: &str) -> super::support::app::Plan {
    App::plan(Kind::Sqlite)
        .named(name)
        .set("CAIRN_LOG", "warn")
        .set("CAIRN_LIMITS", "off")
        .set("CAIRN_MAX_SESSIONS", 1_000)
}
