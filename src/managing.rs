//! Commands that manage what is in the database: through the server that runs on this machine, or, while none does, by the
//! same routes within this process.

use std::sync::Arc;
use std::time::Duration;

use cairn_actors::effects::Auth;
use cairn_actors::environment::Environment;
use cairn_actors::flows;
use cairn_actors::secrets::hasher::{self, Hasher};
use cairn_actors::secrets::ring::SharedRing;
use cairn_actors::services::Services;
use cairn_actors::services::signing_keys::KeyManager;
use cairn_actors::workers::courier::Workers;
use cairn_actors::workers::mailer::Mailer;
use cairn_http::operations::{Operations, Readiness};
use cairn_http::{Router, Settings};
use cairn_persistence::AuthWrites;
use cairn_persistence::keys::SigningKeyTable;
use cairn_runtime::clock::{SystemClock, SystemDice};
use cairn_runtime::nursery::{ActorHost, supervise};
use cairn_runtime::{Clock, Engine, Parts, Tuning};
use http::Method;
use serde_json::Value;

use crate::config::Config;
use crate::operations_client::{OperationsClient, Unanswered};
use crate::{process, serve};

/// How long the server's answer may take: a list of clients may be long.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long the end may take.
const SETTLING: Duration = Duration::from_secs(5);

/// Asks a route of the operations listener, and gives what it answers when it refuses nothing.
///
/// # Errors
/// The reason for refusing it, or why nobody could be asked.
pub(crate) fn ask(config: &Config, method: &Method, target: &str, body: Option<&Value>) -> Result<Value, String> {
    // With port 0 nobody knows where a server would be. If one has the SQLite file, opening it says so.
    let (status, body) = if config.ops_listen.port() == 0 {
        ask_here(config, method, target, body)?
    } else {
        match OperationsClient::of(config, PATIENCE)?.send(method.as_str(), target, body) {
            Ok(answer) => answer.into_parts(),
            Err(Unanswered::NotListening(_)) => ask_here(config, method, target, body).map_err(|why| {
                // Where a server has the database all the same, it was looked for at the wrong address.
                format!(
                    "{why}\nNo server answers at {}. If one runs, give this command its settings (CAIRN_OPS_LISTEN).",
                    config.ops_listen
                )
            })?,
            Err(Unanswered::Failed(why)) => return Err(why),
        }
    };
    if (200..300).contains(&status) { Ok(body) } else { Err(reason(status, &body)) }
}

/// Why a request was refused, with each value that is not acceptable on a line of its own.
fn reason(status: u16, problem: &Value) -> String {
    let text = |of: &Value, member: &str| of.get(member).and_then(Value::as_str).unwrap_or_default().to_owned();
    let errors = problem.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let lines: Vec<String> =
        errors.iter().map(|error| format!("{}: {}", text(error, "pointer"), text(error, "detail"))).collect();
    let said = [text(problem, "detail"), text(problem, "title")].into_iter().find(|said| !said.is_empty());
    match said {
        _ if status == 404 => "there is none".to_owned(),
        _ if !lines.is_empty() => lines.join("\n"),
        Some(said) => said,
        None => format!("the answer is {status}"),
    }
}

fn ask_here(config: &Config, method: &Method, target: &str, body: Option<&Value>) -> Result<(u16, Value), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|why| why.to_string())?.block_on(answer_here(config, method, target, body))
}

/// Opens the database of the settings as a server does, has the route answer, and closes it. No letter goes out meanwhile.
async fn answer_here(
    config: &Config,
    method: &Method,
    target: &str,
    body: Option<&Value>,
) -> Result<(u16, Value), String> {
    let said = |why: &dyn std::fmt::Display| why.to_string();
    // One provider of cryptography for the process; a second `Err` would say that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let clock = Arc::new(SystemClock::ahead(config.clock_offset));
    let serve::Opened { database, ring, signing } = serve::open(config, &clock).await?;
    let ring = Arc::new(ring);
    let hasher =
        Hasher::new(SharedRing::shared(Arc::clone(&ring)), hasher::Settings::default()).map_err(|why| said(&why))?;
    let environment = Arc::new(Environment { ring, signing: Arc::new(signing), settings: config.flows.clone() });
    let exit: cairn_runtime::nursery::Exit = Arc::new(|_| std::process::exit(1));
    let host = ActorHost::new(exit);
    let builder = Engine::<Auth>::builder(Parts {
        store: Arc::new(database.store::<Auth, _>(AuthWrites)),
        courier: Arc::new(Workers { mail: Arc::new(Mailer::nowhere()) }),
        host: Arc::clone(&host) as Arc<dyn cairn_runtime::Host>,
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        dice: Arc::new(SystemDice::new()),
        environment,
        node: process::node_name("command", config.listen),
        tuning: Tuning::default(),
    });
    let engine = flows::register(builder).build();
    let keys = KeyManager::new(Arc::new(SigningKeyTable::new(&database)));
    let services = Services { engine: engine.clone(), directory: database.directory(), hasher, keys };
    let operations = Operations {
        services,
        readiness: Readiness::default(),
        metrics: Box::new(String::new),
        remark: Box::new(|| None),
        started_at: clock.now(),
    };
    let router = Router::new(Settings::for_operations(serve::request_id, Vec::new()))
        .with(cairn_http::operations::group(operations).map_err(|why| said(&why))?)
        .map_err(|why| said(&why))?;
    // What is due and what is to be sent is the servers' business.
    let committer = engine.tasks().into_iter().filter(|task| task.name == "committer").collect();
    let _supervision = supervise(host, committer).await.map_err(|why| said(&why))?;
    let asked = cairn_http::in_process::ask(router.filter(), method.clone(), target, body.map(Value::to_string)).await;
    engine.drain();
    let _ = tokio::time::timeout(SETTLING, engine.drained()).await;
    let _ = tokio::time::timeout(SETTLING, database.close()).await;
    let (status, body) = asked?;
    Ok((status.as_u16(), serde_json::from_slice(&body).unwrap_or_default()))
}
