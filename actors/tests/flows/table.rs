//! The printed table of a flow: every representative state with every input, and what becomes of it.

use std::fmt::Write as _;

use cairn_actors::effects::{
    Auth, ClientWrite, ConsentWrite, DeviceWrite, FailureWrite, Key, ResourceWrite, UserWrite, Write,
};
use cairn_actors::secrets::digest::Digest;
use cairn_runtime::Payload;
use cairn_runtime::effects::Effects;
use cairn_runtime::{Failure, Guard, Input, Lost, Step, Timestamp};
use serde_json::Value;

use crate::driver::{Driver, Known, T0, at};

/// A state that a flow has come to, by its own steps.
pub(crate) struct Place<F: Known> {
    pub(crate) name: &'static str,
    pub(crate) driver: Driver<F>,
}

/// What comes to it, and so many seconds after the state was written.
pub(crate) struct Ask<F: Known> {
    name: &'static str,
    after: i64,
    input: Maker<F>,
}

/// Makes an input for a state; `None` where there is no such thing (the token before the first one).
type Maker<F> = Box<dyn Fn(&Driver<F>) -> Option<Input<F>>>;
type Answered = <Auth as cairn_runtime::Domain>::Answer;

/// An input, some seconds after the state was written.
pub(crate) fn after<F: Known>(
    name: &'static str,
    after: i64,
    input: impl Fn(&Driver<F>) -> Input<F> + 'static,
) -> Ask<F> {
    Ask { name, after, input: Box::new(move |driver| Some(input(driver))) }
}

/// A command, one second after the state was written.
pub(crate) fn asked<F: Known>(name: &'static str, command: impl Fn(&Driver<F>) -> F::Command + 'static) -> Ask<F> {
    after(name, 1, move |driver| Input::Asked(command(driver)))
}

/// A command, some seconds after the state was written, where there is such a thing.
pub(crate) fn if_any<F: Known>(
    name: &'static str,
    after: i64,
    command: impl Fn(&Driver<F>) -> Option<F::Command> + 'static,
) -> Ask<F> {
    Ask { name, after, input: Box::new(move |driver| command(driver).map(Input::Asked)) }
}

/// What comes to every flow.
pub(crate) fn common<F: Known>() -> Vec<Ask<F>> {
    let tag = || "tag".to_owned();
    vec![
        after("woken", 0, |_| Input::Woken),
        after("answered", 1, move |_| Input::Answered { tag: tag(), result: Ok(Answered::default()) }),
        after("answered, failed", 1, move |_| Input::Answered { tag: tag(), result: Err(Failure::Expired) }),
    ]
}

/// The whole table: a line for what moves or holds, and one for all that stays and says the same.
pub(crate) fn print<F: Known>(places: &[Place<F>], asks: &[Ask<F>]) -> String {
    let mut table = format!(
        "# {}: what becomes of every input in every phase. Printed from the code; see {}.rs beside the test's main.rs.\n",
        F::NAME,
        F::NAME
    );
    for place in places {
        let driver = &place.driver;
        let _ = writeln!(table, "\n{}, {}", driver.phase(), place.name);
        let mut stays: Vec<(String, Vec<&str>)> = Vec::new();
        for ask in asks {
            let Some(input) = (ask.input)(driver) else { continue };
            let now = match (driver.state().wake_at(), ask.name) {
                (Some(due), "woken") => due,
                _ => Timestamp(driver.touched.0 + ask.after * 1_000),
            };
            let decide = |lost: Option<&Lost<F>>| driver.state().on(&input, lost, &driver.cx(now));
            let step = decide(None);
            let line = line(&step);
            if step.to.is_none() && step.effects.is_empty() {
                match stays.iter_mut().find(|(says, _)| *says == line) {
                    Some((_, names)) => names.push(ask.name),
                    None => stays.push((line, vec![ask.name])),
                }
                continue;
            }
            let _ = writeln!(table, "  {:<36} {line}", ask.name);
            table.push_str(&losses(&step, decide));
        }
        for (line, names) in stays {
            let _ = writeln!(table, "  {line}\n    {}", names.join(" · "));
        }
    }
    table
}

/// What becomes of a step for each guard that it may lose, a line each.
pub(crate) fn losses<F: Known>(step: &Step<F>, decide: impl Fn(Option<&Lost<F>>) -> Step<F>) -> String {
    let mut lines = String::new();
    for guard in &step.effects.guards {
        if !matches!(guard, Guard::Release(_)) {
            let lost = decide(Some(&Lost(guard.key().clone())));
            let _ = writeln!(lines, "    {:<34} {}", format!("lost {}", key(guard.key())), line(&lost));
        }
    }
    lines
}

/// A step in one line.
pub(crate) fn line<F: Known>(step: &Step<F>) -> String {
    let to = match &step.to {
        None => "stays".to_owned(),
        Some(to) => {
            let how = match (to.wake_at(), serde_json::to_value(to).unwrap()) {
                (Some(due), _) => format!("until {}", instant(due.0)),
                (None, Value::Object(mut last)) => {
                    last.remove("phase");
                    last.iter().map(|(name, value)| format!("{name} {}", said(value))).collect::<Vec<_>>().join(", ")
                }
                (None, _) => String::new(),
            };
            format!("{} {how}", to.tag()).trim_end().to_owned()
        }
    };
    let effects = effects(&step.effects);
    let says = said(&serde_json::to_value(&step.says).unwrap());
    let effects = if effects.is_empty() { String::new() } else { format!(" | {effects}") };
    format!("-> {to}{effects} | says {}", says.trim_end())
}

fn effects(effects: &Effects<Auth>) -> String {
    let mut parts = Vec::new();
    for guard in &effects.guards {
        parts.push(match guard {
            Guard::Claim(k) => format!("claim {}", key(k)),
            Guard::ClaimUntil(k, _) => format!("claim {} for a while", key(k)),
            Guard::Release(k) => format!("release {}", key(k)),
            Guard::Hold(k, number) => format!("hold {} at {number}", key(k)),
            Guard::Bump(k, None) => format!("bump {}", key(k)),
            Guard::Bump(k, Some(number)) => format!("bump {} from {number}", key(k)),
        });
    }
    for write in &effects.writes {
        parts.push(match write {
            Write::User(UserWrite::Create(user)) => {
                format!("create user {}", user.username.as_ref().map_or("without a username", |_| "with a username"))
            }
            Write::Failure(FailureWrite::Count { .. }) => "count a failure".to_owned(),
            Write::Failure(FailureWrite::Clear { .. }) => "clear failures".to_owned(),
            Write::User(UserWrite::SetPassword { .. }) => "set password".to_owned(),
            Write::User(UserWrite::Rehash { .. }) => "rehash password".to_owned(),
            Write::User(UserWrite::SetAddress { .. }) => "set address".to_owned(),
            Write::User(UserWrite::SetProfile { .. }) => "set profile".to_owned(),
            Write::User(UserWrite::SetDeletion { flow: Some(_), .. }) => "set deletion".to_owned(),
            Write::User(UserWrite::SetDeletion { flow: None, .. }) => "clear deletion".to_owned(),
            Write::User(UserWrite::FirstSignIn { .. }) => "first sign-in".to_owned(),
            Write::User(UserWrite::SuspendPassword { .. }) => "suspend password".to_owned(),
            Write::Device(DeviceWrite::Add { .. }) => "add device".to_owned(),
            Write::Device(DeviceWrite::See { .. }) => "see device".to_owned(),
            Write::Device(DeviceWrite::Forget { .. }) => "forget device".to_owned(),
            Write::Device(DeviceWrite::ForgetAll { .. }) => "forget devices".to_owned(),
            Write::User(UserWrite::Delete { .. }) => "delete user".to_owned(),
            Write::Client(ClientWrite::Save(_)) => "save client".to_owned(),
            Write::Client(ClientWrite::Delete { .. }) => "delete client".to_owned(),
            Write::Resource(ResourceWrite::Save(_)) => "save resource".to_owned(),
            Write::Resource(ResourceWrite::Delete { .. }) => "delete resource".to_owned(),
            Write::Consent(ConsentWrite::Give { scope, .. }) => format!("give consent to {scope}"),
            Write::Consent(ConsentWrite::TakeBack { .. }) => "take consent back".to_owned(),
        });
    }
    for outgoing in &effects.outgoing {
        let what = match &outgoing.payload {
            Payload::Signal { kind, signal, .. } => format!("{} to {kind}", said(signal)),
            other => other.kind().to_owned(),
        };
        let until = outgoing.expires.map(|until| format!(" until {}", instant(until.0))).unwrap_or_default();
        let once = if outgoing.once { " once" } else { "" };
        let tag = outgoing.tag.as_ref().map(|tag| format!(" as {tag}")).unwrap_or_default();
        parts.push(format!("deliver {what}{until}{once}{tag}"));
    }
    for opened in &effects.opened {
        parts.push(format!("open {}", opened.kind));
    }
    parts.join(", ")
}

fn key(key: &Key) -> &'static str {
    match key {
        Key::Address(_) => "address",
        Key::Username(_) => "username",
        Key::User(_) => "user",
        Key::Profile(_) => "profile",
        Key::Devices(_) => "devices",
        Key::Session(_) => "session",
        Key::UserCode(_) => "user code",
        Key::Client(_) => "client",
        Key::Registration(_) => "registration",
        Key::Consent(..) => "consent",
    }
}

/// Seconds after the beginning.
fn instant(millis: i64) -> String {
    let (whole, rest) = ((millis - T0.0).div_euclid(1_000), (millis - T0.0).rem_euclid(1_000));
    if rest == 0 { format!("{whole} s") } else { format!("{whole}.{rest:03} s") }
}

/// An outcome in short: instants as seconds after the beginning, ids as dots.
fn said(value: &Value) -> String {
    match value {
        Value::String(text) if cairn_runtime::Id::parse_crockford(text).is_some() => "…".to_owned(),
        // A keyed hash.
        Value::String(text) if text.len() == 43 && serde_json::from_value::<Digest>(value.clone()).is_ok() => {
            "…".to_owned()
        }
        Value::String(text) => text.clone(),
        Value::Number(number) if number.as_i64().is_some_and(|number| number >= at(-1_000_000).0) => {
            instant(number.as_i64().unwrap())
        }
        Value::Array(items) => format!("[{}]", items.iter().map(said).collect::<Vec<_>>().join(" ")),
        Value::Object(members) if members.contains_key("salt") => format!("seal {}", members["n"]),
        Value::Object(members) => {
            let shown = |(name, value): (&String, &Value)| match value {
                Value::Null => None,
                _ if name == "key" => None,
                _ => Some(format!("{name} {}", said(value))),
            };
            let shown: Vec<_> = members.iter().filter_map(shown).collect();
            if members.len() == 1 { shown.join("") } else { format!("({})", shown.join(", ")) }
        }
        other => other.to_string(),
    }
}
