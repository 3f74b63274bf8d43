//! The server's own audit of its rows (`GET /runtime/audit`) and what it says of its state (`GET /runtime/status`).

use std::fmt;

use serde_json::Value;

use super::app::App;
use super::eventually;

/// What the audit found and how much it looked at.
pub struct Audit {
    pub findings: Vec<Value>,
    pub flows: u64,
    pub events: u64,
    pub deliveries: u64,
}

impl Audit {
    pub async fn of(app: &App) -> Self {
        let answer = app.operations().get("/runtime/audit").send().await.expect(200);
        let findings = answer["findings"].as_array().expect("findings").clone();
        assert_eq!(answer["ok"], findings.is_empty(), "{answer}");
        let counted = |name: &str| answer["counted"][name].as_u64().unwrap_or_else(|| panic!("no {name} in {answer}"));
        Self { findings, flows: counted("flows"), events: counted("events"), deliveries: counted("deliveries") }
    }

    /// Holds I1 to I8, as far as rows show them.
    #[track_caller]
    pub fn must_be_clean(&self) {
        assert!(self.findings.is_empty(), "the audit found:\n{self}");
    }
}

impl fmt::Display for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} flows, {} events, {} deliveries", self.flows, self.events, self.deliveries)?;
        for finding in &self.findings {
            write!(f, "\n  {finding}")?;
        }
        Ok(())
    }
}

/// Waits until every delivery has ended; answers how many ended dead.
pub async fn outbox_drained(app: &App) -> u64 {
    eventually("an empty outbox", async || {
        let status = app.operations().get("/runtime/status").send().await.expect(200);
        let outbox = &status["outbox"];
        (outbox["pending"] == 0).then(|| outbox["dead"].as_u64().unwrap_or_else(|| panic!("no dead in {status}")))
    })
    .await
}
