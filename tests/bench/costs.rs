//! What a request costs that a hostile client may send as often as the limits let it: processor, memory, rows, octets in
//! the database and letters, each as the median over several batches beside one hash of a password.

use argon2_rust::params::Memory as Kibibytes;
use argon2_rust::{Algorithm, Argon2, Params, Version};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, SqliteConnection};

use super::report::median;
use super::server::resident;
use super::support::audit::outbox_drained;
use super::support::browser::Browser;
use super::support::client::Request;
use super::support::person::flow_id;
use super::support::{App, Kind, Person, json};

/// Requests of a batch: a tick of the processor's clock, 10 ms, is a small part of what they take together.
const BATCH: usize = 40;
/// Batches, of which the middle one counts.
const BATCHES: usize = 3;
/// Hashes of the floor.
const HASHES: u8 = 60;
/// What judging a password finds hardest: every look-alike, as long as it may be.
const LOOK_ALIKES: &str = "4@8({[<369146!|70$5+7%2";

/// What stands in the database, and what the process has used.
#[derive(Clone, Copy, Debug)]
struct Standing {
    processor: f64,
    resident: f64,
    rows: f64,
    octets: f64,
    letters: f64,
}

struct Meter {
    app: App,
    database: SqliteConnection,
}

impl Meter {
    async fn new(app: App) -> Self {
        let file = app.data().join("cairn.db");
        let database = SqliteConnectOptions::new().filename(file).read_only(true).connect().await.unwrap();
        Self { app, database }
    }

    async fn number(&mut self, sql: &'static str) -> f64 {
        let number: i64 = sqlx::query_scalar(sql).fetch_one(&mut self.database).await.unwrap();
        number as f64
    }

    /// Waits until every letter has gone, for what follows a request is part of its price.
    async fn stands(&mut self) -> Standing {
        outbox_drained(&self.app).await;
        let process = self.app.process_id();
        let mut rows = 0.0;
        for count in [
            "SELECT count(*) FROM flows",
            "SELECT count(*) FROM events",
            "SELECT count(*) FROM outbox",
            "SELECT count(*) FROM guards",
            "SELECT count(*) FROM failures",
            "SELECT count(*) FROM users",
            "SELECT count(*) FROM devices",
        ] {
            rows += self.number(count).await;
        }
        let pages = self.number("PRAGMA page_count").await - self.number("PRAGMA freelist_count").await;
        Standing {
            processor: processor(process),
            resident: resident(&process.to_string()),
            rows,
            octets: pages * self.number("PRAGMA page_size").await,
            letters: self.number("SELECT count(*) FROM outbox WHERE kind NOT IN ('signal', 'answer')").await,
        }
    }
}

/// Seconds of a core that a process has used.
fn processor(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let field = |at: usize| fields.split_whitespace().nth(at).unwrap().parse::<f64>().unwrap();
    // The 14th and 15th fields (proc(5)), in ticks of which Linux counts a hundred a second.
    (field(11) + field(12)) / 100.0
}

/// Milliseconds of a core for one hash by the best library's plain call.
fn hash() -> f64 {
    let params = Params::builder().memory(Kibibytes::kib(19_456)).passes(2).lanes(1).build().unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut out = [0; 32];
    let before = processor(std::process::id());
    for number in 0..HASHES {
        argon2.hash_into(b"three random words", &[number; 16], &mut out).unwrap();
    }
    (processor(std::process::id()) - before) * 1_000.0 / f64::from(HASHES)
}

/// One line of the table: a request, what bounds how often it may come, and the figures of one request.
struct CostRow {
    what: &'static str,
    bound: &'static str,
    figures: [f64; 5],
}

struct Table {
    meter: Meter,
    lines: Vec<CostRow>,
}

impl Table {
    /// Sends batches of what is made for each request by its number; only answers of this status count.
    async fn measure(
        &mut self,
        what: &'static str,
        bound: &'static str,
        status: u16,
        request: impl AsyncFn(&App, usize) -> Request,
    ) {
        let mut figures: [Vec<f64>; 5] = Default::default();
        for batch in 0..=BATCHES {
            let mut requests = Vec::with_capacity(BATCH);
            for number in 0..BATCH {
                requests.push(request(&self.meter.app, batch * BATCH + number).await);
            }
            let before = self.meter.stands().await;
            for request in requests {
                let answer = request.send().await;
                assert_eq!(answer.status, status, "{what}: {answer}");
            }
            let after = self.meter.stands().await;
            // The first one warms caches up.
            if batch > 0 {
                let one = |after: f64, before: f64| (after - before) / BATCH as f64;
                figures[0].push(one(after.processor, before.processor) * 1_000.0);
                figures[1].push(one(after.resident, before.resident).max(0.0));
                figures[2].push(one(after.rows, before.rows));
                figures[3].push(one(after.octets, before.octets).max(0.0));
                figures[4].push(one(after.letters, before.letters));
            }
        }
        let figures = figures.map(median);
        eprintln!("   {what}: {figures:?}");
        self.lines.push(CostRow { what, bound, figures });
    }
}

/// The table, in the form of `docs/costs.md`.
pub async fn table() {
    let plan = App::plan(Kind::Sqlite)
        .named("costs")
        .set("RUST_LOG", "warn")
        .set("CAIRN_STEP_UP_AGE", "1d")
        .set("CAIRN_MAX_SESSIONS", 1_000);
    let app = plan.set("CAIRN_RESEND_COOLDOWN", 0).set("CAIRN_ACCESS_TTL", "1d").start().await;
    let owner = Person::new("owner");
    let tokens = owner.arrives(&app).await;
    let mut table = Table { meter: Meter::new(app).await, lines: Vec::new() };
    let t = &mut table;
    let dear = LOOK_ALIKES.repeat(8);

    t.measure("GET of a path that is not there", "connections", 404, async |app, _| app.client().get("/nothing")).await;
    let long = format!("{{\"email\":\"{}\"}}", "x".repeat(60_000));
    t.measure(
        "`POST /auth/register`, 60 KB that are no request",
        "register: 10 a minute, 60 an hour",
        400,
        async |app, _| {
            app.client().request("POST", "/auth/register").header("content-type", "application/json").body(long.clone())
        },
    )
    .await;
    t.measure(
        "`POST /auth/register`, a newcomer",
        "register: 10 a minute, 60 an hour; letters by mailbox and network",
        202,
        async |app, _| app.client().post("/auth/register", &Person::new("newcomer").registration()),
    )
    .await;
    t.measure("`POST /auth/register`, an address with an account", "the same", 202, async |app, _| {
        let known = Person { email: owner.email.clone(), ..Person::new("known") };
        app.client().post("/auth/register", &known.registration())
    })
    .await;
    t.measure("`POST /auth/register`, a password that is dear to judge", "the same", 202, async |app, _| {
        let body = json!({"email": Person::new("dear").email, "password": dear});
        app.client().post("/auth/register", &body)
    })
    .await;
    let mut browser = Browser::new();
    let mut form = browser.open(&t.meter.app, "/register").await.form("register");
    form.action = "/password-strength".to_owned();
    let (cookies, form) = (browser, form.with("password", &dear));
    t.measure("`POST /password-strength`, the same", "advice: 12 a minute", 200, async |app, _| {
        cookies.filled(app, &form)
    })
    .await;
    t.measure("`POST /auth/login`, a wrong password, nothing counted", "the same", 401, async |app, number| {
        let body = json!({"email": format!("nobody.{number}@example.org"), "password": "walrus teapot nimbly"});
        app.client().post("/auth/login", &body)
    })
    .await;
    t.measure(
        "`POST /auth/login`, the right password",
        "login: 30 a minute; 10 by identifier; sessions of one user",
        200,
        async |app, _| app.client().post("/auth/login", &owner.credentials()),
    )
    .await;
    t.measure("`POST /auth/refresh`, garbage", "refresh: 120 a minute", 401, async |app, _| {
        app.client().post("/auth/refresh", &json!({"refresh_token": "cairn_rt_garbage"}))
    })
    .await;
    t.measure(
        "`POST /auth/password-reset/request`, an account's address",
        "reset: 10 a minute, 60 an hour; letters by mailbox and network",
        202,
        async |app, _| app.client().post("/auth/password-reset/request", &json!({"email": owner.email})),
    )
    .await;
    t.measure(
        "`POST /auth/password-reset/request`, nobody's address",
        "reset: 10 a minute, 60 an hour",
        202,
        async |app, number| {
            let body = json!({"email": format!("nobody.{number}@example.org")});
            app.client().post("/auth/password-reset/request", &body)
        },
    )
    .await;
    t.measure("`POST /auth/password-reset/confirm`, garbage for a link", "code: 30 a minute", 410, async |app, _| {
        let body = json!({"token": "cairn_rp_garbage", "new_password": dear});
        app.client().post("/auth/password-reset/confirm", &body)
    })
    .await;
    t.measure("`GET /users/me`", "connections", 200, async |app, _| {
        app.client().get("/users/me").bearer(&tokens.access)
    })
    .await;
    t.measure("`GET /users/me/export`", "export: 10 a minute, 60 an hour", 200, async |app, _| {
        app.client().get("/users/me/export").bearer(&tokens.access)
    })
    .await;
    t.measure(
        "`POST /auth/email-change`, another address",
        "reset: 10 a minute, 60 an hour; letters by mailbox and network",
        202,
        async |app, number| {
            let body = json!({"new_email": format!("new.{number}@example.org"), "password": owner.password});
            app.client().post("/auth/email-change", &body).bearer(&tokens.access)
        },
    )
    .await;

    // What counts failures counts none while limits are off: these come from as many clients as there are requests.
    let plan = App::plan(Kind::Sqlite).named("costs-limited").set("RUST_LOG", "warn").unset("CAIRN_LIMITS");
    t.meter = Meter::new(plan.set("CAIRN_TRUSTED_PROXIES", "127.0.0.0/8").start().await).await;
    t.measure(
        "`POST /auth/login`, a wrong password",
        "login: 30 a minute; 10 by identifier; the slow-down",
        401,
        async |app, number| {
            let body = json!({"email": format!("nobody.{number}@example.org"), "password": "walrus teapot nimbly"});
            from_elsewhere(app.client().post("/auth/login", &body), number)
        },
    )
    .await;
    t.measure(
        "`POST /auth/password-reset/confirm`, a wrong code",
        "code: 30 a minute; five a flow; 20 a day and address",
        422,
        async |app, number| {
            let body = json!({"email": format!("nobody.{number}@example.org")});
            let begun = from_elsewhere(app.client().post("/auth/password-reset/request", &body), number).send().await;
            let body = json!({"flow": flow_id(&begun.expect(202)), "code": "123456", "new_password": dear});
            from_elsewhere(app.client().post("/auth/password-reset/confirm", &body), number)
        },
    )
    .await;
    print(&table.lines);
}

/// A request from a client of its own.
fn from_elsewhere(request: Request, number: usize) -> Request {
    request.header("x-forwarded-for", &format!("10.{}.{}.1", number / 256, number % 256))
}

fn print(lines: &[CostRow]) {
    let hash = hash();
    println!("\nOne hash takes {hash:.1} ms of a core.\n");
    println!(
        "| request | processor, hashes | memory kept, KB | rows | octets in the database | letters | bounded by |"
    );
    println!("|---|---|---|---|---|---|---|");
    for CostRow { what, bound, figures: [processor, memory, rows, octets, letters] } in lines {
        let (hashes, kilobytes) = (processor / hash, memory / 1_024.0);
        println!("| {what} | {hashes:.2} | {kilobytes:.0} | {rows:.1} | {octets:.0} | {letters:.0} | {bound} |");
    }
}
