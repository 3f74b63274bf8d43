//! The operations listener: health, metrics, the runtime's state, a ping through a real flow, the audit.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::audit::Audit;
use crate::support::{App, Kind, PATIENCE, Person, eventually, json, raw};

on_both_databases!(
    health_is_answered_in_parts,
    nothing_but_health_is_public,
    the_status_counts,
    a_ping_goes_through_a_real_flow,
    no_page_of_another_site_reads_or_writes_here,
    the_audit_finds_nothing,
    every_metric_is_described,
    the_promised_metrics_are_there,
    what_alerts_look_at_is_there_from_the_start,
);

async fn health_is_answered_in_parts(app: &App) {
    for part in ["/health/live", "/health/ready", "/health/db", "/health/runtime"] {
        let answer = app.operations().get(part).send().await;
        assert_eq!(answer.status, 200, "{answer}");
    }
    for client in [app.operations(), app.client()] {
        assert_eq!(client.get("/health").send().await.expect(200), serde_json::json!({"status": "ok"}));
    }
}

async fn nothing_but_health_is_public(app: &App) {
    for path in
        ["/health/live", "/health/ready", "/health/db", "/metrics", "/runtime/status", "/runtime/audit", "/keys"]
    {
        app.client().get(path).send().await.problem(404, "not-found");
    }
    let answer = app.client().request("POST", "/runtime/ping").send().await;
    answer.problem(404, "not-found");
}

async fn the_status_counts(app: &App) {
    let status = app.operations().get("/runtime/status").send().await.expect(200);
    assert!(status["node"].is_string(), "{status}");
    assert!(status["started_at"].as_str().unwrap().ends_with('Z'), "{status}");
    let numbers = [
        ("flows", "active"),
        ("flows", "idle"),
        ("flows", "quarantined"),
        ("outbox", "pending"),
        ("outbox", "dead"),
        ("committer", "queued"),
    ];
    for (group, number) in numbers {
        assert!(status[group][number].is_u64(), "no {group}.{number}: {status}");
    }
    assert_eq!(status["flows"]["quarantined"], 0, "{status}");
}

/// DNS rebinding, and forms of other sites.
async fn no_page_of_another_site_reads_or_writes_here(app: &App) {
    let ask = async |head: &str| {
        let request = format!("{head}\r\nconnection: close\r\n\r\n");
        raw::status(&raw::exchange(app.operations().server(), request.as_bytes(), PATIENCE).await)
    };
    for path in ["/health", "/health/live", "/metrics", "/runtime/status", "/runtime/audit", "/keys", "/nowhere"] {
        assert_eq!(ask(&format!("GET {path} HTTP/1.1\r\nhost: evil.example:8081")).await, Some(421), "{path}");
        let other = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nsec-fetch-site: cross-site");
        assert_eq!(ask(&other).await, Some(403), "{path}");
    }
    let ping = "POST /runtime/ping HTTP/1.1\r\nhost: evil.example\r\ncontent-type: application/json";
    assert_eq!(ask(ping).await, Some(421));
    for (kind, status) in [
        ("", 415),
        ("content-type: text/plain\r\ncontent-length: 2\r\n\r\n{}", 415),
        ("content-type: application/x-www-form-urlencoded\r\n", 415),
        ("content-type: application/json\r\n", 200),
        ("content-type: application/json\r\ncontent-length: 2\r\n\r\n{}", 200),
        ("content-type: application/json\r\ncontent-length: 7\r\n\r\n{\"a\":1}", 400),
    ] {
        let (head, body) = kind.split_once("\r\n\r\n").unwrap_or((kind.trim_end(), ""));
        let line = if head.is_empty() { String::new() } else { format!("{head}\r\n") };
        let request =
            format!("POST /runtime/ping HTTP/1.1\r\nhost: localhost\r\n{line}connection: close\r\n\r\n{body}");
        let answer = raw::exchange(app.operations().server(), request.as_bytes(), PATIENCE).await;
        assert_eq!(raw::status(&answer), Some(status), "{request}");
    }
}

#[tokio::test]
async fn operations_answer_to_the_names_that_they_are_given() {
    let app = App::plan(Kind::Sqlite).named("names").set("CAIRN_OPS_HOSTS", "cairn, ops.example.org").start().await;
    for (host, status) in [("cairn:8081", 200), ("ops.example.org", 200), ("10.0.0.7:8081", 200), ("evil.example", 421)]
    {
        let request = format!("GET /metrics HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let answer = raw::exchange(app.operations().server(), request.as_bytes(), PATIENCE).await;
        assert_eq!(raw::status(&answer), Some(status), "{host}");
    }
}

#[tokio::test]
async fn the_public_answers_to_a_list_of_hosts_where_there_is_one() {
    let plan = App::plan(Kind::Sqlite).named("hosts").set("CAIRN_PUBLIC_URL", "http://id.localhost:8080");
    let app = plan.set("CAIRN_HOSTS", "192.0.2.1").start().await;
    for (host, status) in [("id.localhost:8080", 200), ("192.0.2.1", 200), ("evil.example", 421), ("localhost", 421)] {
        let request = format!("GET /health HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let answer = raw::exchange(app.client().server(), request.as_bytes(), PATIENCE).await;
        assert_eq!(raw::status(&answer), Some(status), "{host}");
    }
}

async fn a_ping_goes_through_a_real_flow(app: &App) {
    let before = Audit::of(app).await;
    let answer = app.operations().post("/runtime/ping", &serde_json::json!({})).send().await.expect(200);
    assert!(answer["flow"].is_string(), "{answer}");
    assert_eq!(answer["method"], "actor", "{answer}");
    assert!(answer["total_ms"].is_number(), "{answer}");
    assert!(answer["parts"].is_object() || answer["parts"].is_array(), "{answer}");
    assert!(Audit::of(app).await.events >= before.events + 2, "a ping is two commits");
}

async fn the_audit_finds_nothing(app: &App) {
    Person::new("audited").joins(app).await;
    let audit = Audit::of(app).await;
    audit.must_be_clean();
    assert!(audit.flows > 0 && audit.events > 1 && audit.deliveries > 1, "{audit}");
}

#[tokio::test]
async fn a_hash_that_one_implementation_made_is_read_by_the_other_and_metrics_name_the_one_in_use() {
    let app = App::plan(Kind::Sqlite).named("hashes").start().await;
    let (person, later) = (Person::new("hashed"), Person::new("hashed"));
    let in_use = async |engine: &str| {
        let line = format!("cairn_password_hash_engine{{engine=\"{engine}\"}} 1");
        eventually(&line, async || {
            let metrics = app.operations().get("/metrics").send().await.text();
            metrics.lines().any(|read| read == line).then_some(())
        })
        .await;
    };
    in_use("argon2-rust").await;
    person.arrives(&app).await;
    app.change("CAIRN_HASH_ENGINE", "reference");
    app.crash_and_restart().await;
    in_use("argon2").await;
    person.signs_in(&app).await;
    later.arrives(&app).await;
    app.change("CAIRN_HASH_ENGINE", "fast");
    app.crash_and_restart().await;
    for known in [&person, &later] {
        known.signs_in(&app).await;
        let wrong = json!({"email": known.email, "password": "of somebody else"});
        app.client().post("/auth/login", &wrong).send().await.problem(401, "credentials");
    }
    in_use("argon2-rust").await;
}

async fn every_metric_is_described(app: &App) {
    let person = Person::new("measured");
    person.joins(app).await;
    person.signs_in(app).await;
    let text = app.operations().get("/metrics").send().await.text();
    let named = |mark: &str| -> BTreeMap<String, String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(mark));
        lines.filter_map(|line| line.split_once(' ')).map(|(name, rest)| (name.to_owned(), rest.to_owned())).collect()
    };
    let (types, helps) = (named("# TYPE "), named("# HELP "));
    assert!(!types.is_empty(), "{text}");
    for name in types.keys() {
        assert!(name.starts_with("cairn_"), "{name} is not of this house");
        let help = helps.get(name).unwrap_or_else(|| panic!("{name} has no help"));
        assert!(help.len() > 10, "{name}: {help:?} helps nobody");
    }
    let counters: BTreeSet<&String> =
        types.iter().filter(|(_, kind)| *kind == "counter").map(|(name, _)| name).collect();
    assert!(counters.iter().all(|name| name.ends_with("_total")), "{counters:?}");
}

async fn the_promised_metrics_are_there(app: &App) {
    let person = Person::new("counted");
    person.joins(app).await;
    let sample = |text: &str, parts: &[&str]| {
        text.lines()
            .filter(|line| parts.iter().all(|part| line.contains(part)))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum::<f64>()
    };
    let read = async || app.operations().get("/metrics").send().await.text();
    let before = read().await;
    Person::new("counted").joins(app).await;
    app.client().get("/nowhere/at/all").send().await.problem(404, "not-found");
    let after = read().await;
    let grew = |parts: &[&str]| {
        let (was, is) = (sample(&before, parts), sample(&after, parts));
        assert!(is > was, "{parts:?} stayed at {was}");
    };
    grew(&["cairn_http_requests_total{", "route=\"/auth/register\"", "method=\"POST\"", "status=\"202\""]);
    grew(&["cairn_flow_steps_total{", "flow=\"registration\"", "to=\"awaiting_code\""]);
    grew(&["cairn_flow_steps_total{", "flow=\"registration\"", "from=\"awaiting_code\"", "to=\"verified\""]);
    grew(&["cairn_deliveries_total{", "kind=", "result="]);
    assert!(!after.contains("/nowhere/at/all"), "a path that strangers choose is no label");
    assert!(!after.contains(&person.email), "no address in a label");
}

/// A counter that appears with its first increment shows no increase, and no alert sees the first incident.
async fn what_alerts_look_at_is_there_from_the_start(app: &App) {
    let text = app.operations().get("/metrics").send().await.text();
    let series = |line: &str| text.lines().find_map(|there| there.strip_prefix(line)?.trim().parse::<f64>().ok());
    for flow in ["registration", "session", "recovery", "email_change", "deletion", "ping"] {
        for name in ["cairn_flow_quarantined_total", "cairn_flow_stale_total", "cairn_flow_direct_total"] {
            let line = format!("{name}{{flow=\"{flow}\"}}");
            assert!(series(&line).is_some(), "no {line}");
        }
    }
    for kind in ["registration.verify", "deletion.called-off", "signal", "answer"] {
        for result in ["accepted", "retrying", "dead", "unknown"] {
            let line = format!("cairn_deliveries_total{{kind=\"{kind}\",result=\"{result}\"}}");
            assert!(series(&line).is_some(), "no {line}");
        }
    }
    for line in [
        "cairn_defects_total",
        "cairn_commit_ambiguous_total",
        "cairn_restarts_total{task=\"committer\"}",
        "cairn_commands_refused_total{where=\"committer\"}",
        "cairn_http_limited_total{bucket=\"login\"}",
        "cairn_http_connections_cut_total{reason=\"crowded\"}",
        "cairn_guesses_failed_total{of=\"identifier\"}",
        "cairn_mail_held_total{why=\"server\"}",
        "cairn_mail_over_budget_total{letter=\"recovery.reset\"}",
    ] {
        assert!(series(line).is_some(), "no {line} in\n{text}");
    }
}

/// What waits is told right after a restart, by whoever reads the metrics first.
#[tokio::test]
async fn what_waits_is_told_right_after_a_restart() {
    let plan = App::plan(Kind::Sqlite).named("backlog").set("SMTP_URL", "smtp://127.0.0.1:1");
    let app = plan.start().await; // no mail server there: letters wait
    let answer = app
        .client()
        .post(
            "/auth/register",
            &serde_json::json!({
                "email": "waits@example.org", "password": "correct horse battery"
            }),
        )
        .send()
        .await;
    assert_eq!(answer.status, 202, "{answer}");
    app.crash_and_restart().await;
    let text = app.operations().get("/metrics").send().await.text();
    let gauge = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    assert_eq!(gauge("cairn_outbox_pending "), Some(1.0), "{text}");
    assert_eq!(gauge("cairn_outbox_dead "), Some(0.0), "{text}");
    assert_eq!(gauge("cairn_flows_quarantined "), Some(0.0), "{text}");
    assert!(gauge("cairn_outbox_oldest_seconds ").is_some_and(|age| age > 0.0), "{text}");
    assert!(gauge("cairn_committer_queued ").is_some(), "{text}");
    assert_eq!(gauge("cairn_database_connections_most{use=\"write\"} "), Some(1.0), "{text}");
    assert!(gauge("cairn_database_connections{use=\"write\",state=\"idle\"} ").is_some(), "{text}");
    assert_eq!(gauge("cairn_database_connections_waiting{use=\"read\"} "), Some(0.0), "{text}");
}
