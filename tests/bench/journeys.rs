//! What one person waits for on PostgreSQL, beside a handler that does the same in one plain transaction; reads there;
//! and what a registration takes that waits for its code.

use std::time::Instant;

use serde_json::json;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Row};

use super::accounts::gets;
use super::report::{Aim, Report, Rounds, median};
use super::rounds;
use super::server::{HttpConnection, Server, Visitor};
use super::sqlite::SPAN;
use super::support::app::Plan;
use super::support::{App, Kind, Person};

/// Steps of each kind in one round.
const STEPS: usize = 24;
/// Connections that read.
const READERS: usize = 16;

fn plan(name: &str, kind: Kind) -> Plan {
    App::plan(kind).named(name).set("CAIRN_LOG", "warn").set("CAIRN_LIMITS", "off").set("CAIRN_MAX_SESSIONS", 1_000)
}

/// The same rows as a step's, by a handler without an engine: read and lock the row that waits, write the account, move
/// the row, note what happened, ask for a letter.
struct Plain {
    connection: PgConnection,
    made: u64,
}

impl Plain {
    async fn open(url: &str) -> Self {
        let mut connection = PgConnection::connect(url).await.unwrap();
        for table in [
            "CREATE TABLE plain_waiting (id bigint PRIMARY KEY, state text NOT NULL, phase text NOT NULL)",
            "CREATE TABLE plain_users (id bigint PRIMARY KEY, email text UNIQUE NOT NULL, username text UNIQUE NOT NULL, \
             password text NOT NULL, at bigint NOT NULL)",
            "CREATE TABLE plain_events (id bigint PRIMARY KEY, waiting bigint NOT NULL, what text NOT NULL, at bigint NOT NULL)",
            "CREATE TABLE plain_letters (id bigint PRIMARY KEY, payload text NOT NULL, due bigint NOT NULL)",
        ] {
            sqlx::query(table).execute(&mut connection).await.unwrap();
        }
        Self { connection, made: 0 }
    }

    async fn begins(&mut self) -> i64 {
        self.made += 1;
        let id = i64::try_from(self.made).unwrap();
        let begin = sqlx::query("INSERT INTO plain_waiting VALUES ($1, $2, 'awaiting_code')");
        begin.bind(id).bind("s".repeat(700)).execute(&mut self.connection).await.unwrap();
        id
    }

    async fn verifies(&mut self, id: i64) {
        let mut transaction = self.connection.begin().await.unwrap();
        let lock = sqlx::query("SELECT state FROM plain_waiting WHERE id = $1 AND phase = 'awaiting_code' FOR UPDATE");
        let state: String = lock.bind(id).fetch_one(&mut *transaction).await.unwrap().get(0);
        let user = sqlx::query("INSERT INTO plain_users VALUES ($1, $2, $3, $4, 0)");
        let user = user.bind(id).bind(format!("p{id}@example.org")).bind(format!("p{id}")).bind(&state[..120]);
        user.execute(&mut *transaction).await.unwrap();
        let moved = sqlx::query("UPDATE plain_waiting SET phase = 'verified', state = '' WHERE id = $1");
        moved.bind(id).execute(&mut *transaction).await.unwrap();
        let event = sqlx::query("INSERT INTO plain_events VALUES ($1, $1, $2, 0)");
        event.bind(id).bind("e".repeat(200)).execute(&mut *transaction).await.unwrap();
        let letter = sqlx::query("INSERT INTO plain_letters VALUES ($1, $2, 0)");
        letter.bind(id).bind("l".repeat(400)).execute(&mut *transaction).await.unwrap();
        transaction.commit().await.unwrap();
    }
}

fn millis(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1_000.0
}

/// People who have the letter with their code.
async fn waiting(app: &App) -> Vec<(Person, String, String)> {
    let mut people = Vec::with_capacity(STEPS);
    for _ in 0..STEPS {
        let person = Person::new("waiting");
        let flow = person.registers(app).await;
        let code = person.verification(app).await.code().expect("a code in the letter");
        people.push((person, flow, code));
    }
    people
}

pub async fn steps(report: &mut Report) {
    eprintln!("steps of one client over HTTP, PostgreSQL");
    let app = plan("bench-journeys", Kind::Postgres).prepare();
    let mut server = Server::launch(&app);
    let (public, operations) = server.both_ready();
    let mut plain = Plain::open(app.database().url().unwrap()).await;
    let (mut verified, mut refreshed) = (Rounds::default(), Rounds::default());
    let (mut line, mut idle) =
        (HttpConnection::new(public).await.unwrap(), HttpConnection::new(operations).await.unwrap());
    for round in 0..=rounds() {
        let people = waiting(&app).await;
        let mut floor = Vec::with_capacity(STEPS);
        for _ in 0..STEPS {
            let id = plain.begins().await;
            let began = Instant::now();
            idle.get("/health/live", None).await.unwrap();
            plain.verifies(id).await;
            floor.push(millis(began));
        }
        let mut spans = Vec::with_capacity(STEPS);
        for (_, flow, code) in &people {
            let body = json!({"flow": flow, "code": code}).to_string();
            let began = Instant::now();
            let answer = line.post("/auth/verify-email", &body).await.unwrap();
            spans.push(millis(began));
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        let tokens = people[0].0.signs_in(&app).await;
        let mut visitor = Visitor::new(public, tokens.refresh).await.unwrap();
        let mut turns = Vec::with_capacity(STEPS);
        for _ in 0..STEPS {
            let began = Instant::now();
            visitor.refreshes().await.unwrap();
            turns.push(millis(began));
        }
        if round > 0 {
            let floor = median(floor);
            verified.add(median(spans), floor);
            refreshed.add(median(turns), floor);
        }
    }
    report.ratio(
        "verify-email by one client, PostgreSQL, ms (floor: a plain transaction and a request)",
        &verified,
        Aim::AtMost(1.5),
    );
    report.ratio("refresh by one client, PostgreSQL, ms (floor: the same)", &refreshed, Aim::AtMost(1.5));
}

pub async fn reads(report: &mut Report) {
    eprintln!("reads of an account, {READERS} connections, PostgreSQL");
    let app = plan("bench-journeys-reads", Kind::Postgres).prepare();
    let mut server = Server::launch(&app);
    let (public, operations) = server.both_ready();
    let access = Person::new("visitor").arrives(&app).await.access;
    let mut measured = Rounds::default();
    gets(public, "/users/me", Some(access.clone()), READERS, SPAN / 4).await;
    for _ in 0..rounds() {
        let floor = gets(operations, "/health/live", None, READERS, SPAN / 2).await;
        measured.add(gets(public, "/users/me", Some(access.clone()), READERS, SPAN / 2).await, floor);
    }
    report.ratio(
        "GET /users/me, requests/s, 16 connections, PostgreSQL (floor: GET /health/live)",
        &measured,
        Aim::AtLeast(0.2),
    );
}
