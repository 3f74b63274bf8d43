//! Mutated requests to every route of every table: whatever the bytes, there is never a 500, never a panic, never a
//! client left without an answer; memory stays bounded, and the server goes on.
//!
//! The dice's seed is printed; `CAIRN_SEED` asks for the same dice again.

mod cast;
mod forms;
mod grow;
mod hang_ups;
mod seeds;

use std::sync::Arc;
use std::time::Duration;

use cairn_http::{RouteSpec, Said};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use self::cast::Cast;
use self::grow::Grown;
use self::seeds::Seed;
use crate::support::{App, Dice, Kind, Person, announce, eventually, proving, raw};

of_each_kind!(no_bytes_of_a_client_cause_a_fault);

/// Requests at a time.
const HANDS: u64 = 3;
/// Requests with one cast; then its sessions are ended, its links used up, and another one takes the stage.
const SCENE: u64 = 600;
/// What the process may grow by after the first scene, in KiB. A hundredth of what is sent to it in a long run.
const GROWTH: u64 = 96 * 1024;

async fn no_bytes_of_a_client_cause_a_fault(kind: Kind) {
    let seed = Dice::seed();
    let scenes = if proving() { 100 } else { 5 };
    announce(&format!("fuzz on {kind:?}: {scenes} scenes of {SCENE} requests, CAIRN_SEED={seed}"));
    // The tests' own address is taken for a proxy, so that what forwarding headers say is read and believed.
    let plan = App::plan(kind)
        .named("fuzz")
        .set("CAIRN_TRUSTED_PROXIES", "127.0.0.1")
        .set("CAIRN_MAGIC_LINK", "on")
        .set("CAIRN_CODE_TTL", "1h");
    let app = plan.start().await;
    let (public, operations) = (app.client().server(), app.operations().server());
    each_seed_is_understood(&app).await;
    let mut settled = 0;
    for scene in 0..scenes {
        let cast = Arc::new(Cast::of(&app).await);
        let mut hands = JoinSet::new();
        for hand in 0..HANDS {
            let (cast, mut dice) = (Arc::clone(&cast), Dice::of(seed, scene * HANDS + hand));
            hands.spawn(async move {
                for case in 0..SCENE / HANDS {
                    let grown = grow::request(&mut dice, &cast);
                    let server = if grown.operations { operations } else { public };
                    let answer = exchange(server, &grown).await;
                    judge(&grown, &answer, &format!("scene {scene}, hand {hand}, case {case}"));
                }
            });
        }
        while let Some(ended) = hands.join_next().await {
            if let Err(failed) = ended {
                // The failure stands above this one; what the server said of it stays in its folder.
                crate::support::folder::keep_evidence();
                panic!("{failed}");
            }
        }
        if scene == 0 {
            settled = resident(&app);
        }
    }
    let now = resident(&app);
    announce(&format!("fuzz on {kind:?}: {settled} KiB resident after the first scene, {now} KiB after the last"));
    assert!(now < settled + GROWTH, "from {settled} KiB after the first scene to {now} KiB after the last");

    let metrics = async || app.operations().get("/metrics").send().await.text();
    let text = metrics().await;
    let faults: Vec<&str> = text.lines().filter(|line| line.contains("status=\"5")).collect();
    assert!(faults.is_empty(), "{faults:?}");
    assert!(!app.log().contains("panicked"), "{}", app.tail());
    eventually("the end of every connection but the one that asks", async || {
        let text = metrics().await;
        let open = text
            .lines()
            .filter(|line| line.starts_with("cairn_http_connections{") || line.starts_with("cairn_http_connections "));
        let open: f64 = open.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
        (open <= 1.0).then_some(())
    })
    .await;
    Person::new("after").arrives(&app).await;
    crate::support::audit::Audit::of(&app).await.must_be_clean();
}

/// What grows out of a request that nobody understands would not get past the first check.
async fn each_seed_is_understood(app: &App) {
    let cast = Cast::of(app).await;
    for seed in seeds::in_order() {
        let grown = grow::plain(seed, &cast);
        let server = if grown.operations { app.operations() } else { app.client() }.server();
        let answer = exchange(server, &grown).await;
        let status = raw::status(&answer).unwrap_or_default();
        // Those that come after the end of their session or link are told so.
        let fits = matches!(status, 200..=399 | 401 | 409 | 410 | 412 | 422 | 429);
        assert!(fits, "{seed:?} is not understood:\n{}", String::from_utf8_lossy(&answer));
        says_what_its_line_says(seed, &answer);
    }
}

/// An answer that is no problem is one of those that the line of the table names.
fn says_what_its_line_says(seed: &Seed, answer: &[u8]) {
    let text = String::from_utf8_lossy(answer);
    let head = text.split("\r\n\r\n").next().unwrap_or_default().to_ascii_lowercase();
    let status = raw::status(answer).unwrap_or_default();
    let is = |kind: &str| head.contains(&format!("\r\ncontent-type: {kind}"));
    let line = seed.line();
    if is("application/problem+json") {
        return;
    }
    let fits = line.answers.iter().any(|said| match said {
        Said::Json(wanted, _) => status == wanted.as_u16() && is("application/json"),
        Said::Nothing => status == 204,
        Said::Protocol => is("application/json") || status == 200 && head.contains("content-length: 0"),
        Said::Page => is("text/html") || status == 303,
        Said::Events => status == 200 && is("text/event-stream"),
        Said::File => status == 200,
        Said::Unchanged => status == 304,
    });
    let refused = status >= 400 && is("text/html") && !is_data(line);
    assert!(fits || refused, "{line:?} was answered with\n{head}");
}

/// Whether a line says nothing but data, to programs.
fn is_data(spec: &RouteSpec) -> bool {
    spec.answers.iter().all(|said| matches!(said, Said::Json(..) | Said::Nothing))
}

fn judge(grown: &Grown, answer: &[u8], case: &str) {
    let status = raw::status(answer);
    let shown = || {
        let short = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(6_000)]).into_owned();
        format!("{case}:\n{}\n→\n{}", short(&grown.bytes), short(answer))
    };
    assert!(status.is_none_or(|status| status < 500), "{}", shown());
    assert!(!grown.framed || status.is_some(), "no answer to a whole request, {}", shown());
}

/// Sends a request and reads its answer: all of a framed one, and of another what comes at once.
async fn exchange(server: std::net::SocketAddr, grown: &Grown) -> Vec<u8> {
    // What is not framed may leave the server waiting for more; then there is no answer to wait for.
    let patience = if grown.framed { Duration::from_secs(60) } else { Duration::from_millis(30) };
    let mut stream = TcpStream::connect(server).await.expect("the server accepts");
    let (mut reader, mut writer) = stream.split();
    let mut answer = Vec::new();
    let mut buffer = [0; 8192];
    // Both at once: a server may answer, and close, before it has read all.
    let sending = async {
        let _ = writer.write_all(&grown.bytes).await;
        std::future::pending::<()>().await;
    };
    let reading = async {
        while let Ok(Ok(read)) = tokio::time::timeout(patience, reader.read(&mut buffer)).await {
            if read == 0 {
                break;
            }
            answer.extend_from_slice(&buffer[..read]);
        }
    };
    tokio::select! {
        () = sending => {}
        () = reading => {}
    }
    answer
}

/// What the server's process holds in memory, in KiB.
fn resident(app: &App) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", app.process_id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux tells it");
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
