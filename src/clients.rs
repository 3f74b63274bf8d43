//! `cairn client`: the OAuth clients, managed by the server that runs, or in its database while none does.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};

use crate::config::{Config, duration};
use crate::managing::ask;
use crate::output::say;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
    /// A TOML file of settings; environment variables overrule it.
    #[arg(long, env = "CAIRN_CONFIG", global = true)]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Registers a client and prints its id and its secret, this once.
    Add {
        /// The id that it is to have; otherwise one is made.
        #[arg(long)]
        id: Option<String>,
        #[command(flatten)]
        members: Members,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Lists the clients.
    List {
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows a client.
    Show {
        /// Its id.
        client: String,
        /// Prints JSON, as `cairn client import` reads it.
        #[arg(long)]
        json: bool,
    },
    /// Changes what is said of a client, and leaves the rest.
    Update {
        /// Its id.
        client: String,
        #[command(flatten)]
        members: Members,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Gives a client another secret and prints it, this once.
    RotateSecret {
        /// Its id.
        client: String,
        /// How long the secret before is good besides (90, 10m, 24h): a day unless said, 0 not at all.
        #[arg(long)]
        overlap: Option<String>,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Deletes a client. All that it was granted is over.
    Delete {
        /// Its id.
        client: String,
    },
    /// Brings the clients to what a file says: one object, an array, or an object a line. The same file twice changes
    /// nothing.
    Import {
        /// The file; `-` is standard input.
        file: PathBuf,
        /// Changes nothing and says what would be.
        #[arg(long)]
        dry_run: bool,
        /// Deletes clients that operators have registered and that are not in the file.
        #[arg(long)]
        prune: bool,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
}

/// What is said of a client. Other members of its metadata come from a file.
#[derive(Args)]
pub(crate) struct Members {
    /// Its name, as people are shown it.
    #[arg(long)]
    name: Option<String>,
    /// Where browsers may be sent back to; may be said several times.
    #[arg(long = "redirect-uri")]
    redirect_uris: Vec<String>,
    /// It cannot keep a secret: an application on people's devices or in their browsers.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    public: Option<bool>,
    /// It is our own: nobody is asked for consent.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    first_party: Option<bool>,
    /// The scopes that it may be granted, with a space between two.
    #[arg(long)]
    scope: Option<String>,
    /// A grant type, such as client_credentials; may be said several times. `device_code` and `token-exchange` are short for
    /// their URNs.
    #[arg(long = "grant")]
    grants: Vec<String>,
    /// A resource that its tokens may be for; may be said several times, the usual one first.
    #[arg(long = "resource")]
    resources: Vec<String>,
    /// A JSON file with members of its metadata (RFC 7591); the options overrule it.
    #[arg(long)]
    metadata: Option<PathBuf>,
}

impl Members {
    /// Puts what is said over what there is.
    fn over(self, metadata: &mut Map<String, Value>) -> Result<(), String> {
        if let Some(path) = &self.metadata {
            match items(&text(path)?, path)?.as_slice() {
                [Value::Object(members)] => metadata.extend(members.clone()),
                _ => return Err(format!("{} is not one JSON object", path.display())),
            }
        }
        let mut set = |member: &str, value: Value| drop(metadata.insert(member.to_owned(), value));
        if let Some(name) = self.name {
            set("client_name", name.into());
        }
        if !self.redirect_uris.is_empty() {
            set("redirect_uris", self.redirect_uris.into());
        }
        match self.public {
            Some(true) => set("token_endpoint_auth_method", "none".into()),
            Some(false) => set("token_endpoint_auth_method", "client_secret_basic".into()),
            None => {}
        }
        if let Some(first_party) = self.first_party {
            set("first_party", first_party.into());
        }
        if let Some(scope) = self.scope {
            set("scope", scope.into());
        }
        if !self.grants.is_empty() {
            let uses_code = self.grants.iter().any(|grant| grant == "authorization_code");
            set("grant_types", self.grants.iter().map(|grant| grant_type(grant)).collect());
            set("response_types", if uses_code { json!(["code"]) } else { json!([]) });
        }
        if !self.resources.is_empty() {
            set("resources", self.resources.into());
        }
        Ok(())
    }
}

fn grant_type(short: &str) -> &str {
    match short {
        "device_code" => "urn:ietf:params:oauth:grant-type:device_code",
        "token-exchange" => "urn:ietf:params:oauth:grant-type:token-exchange",
        other => other,
    }
}

/// Runs a command.
///
/// # Errors
/// What the server or the database says, or what is wrong with a file.
pub(crate) fn run(config: &Config, command: Command) -> Result<(), String> {
    match command {
        Command::Add { id, members, json } => add(config, id, members, json),
        Command::List { json } => list(config, json),
        Command::Show { client, json } => {
            let client = ask(config, &Method::GET, &path(&client), None)?;
            show(&client, json);
            Ok(())
        }
        Command::Update { client, members, json } => update(config, &client, members, json),
        Command::RotateSecret { client, overlap, json } => rotate(config, &client, overlap.as_deref(), json),
        Command::Delete { client } => ask(config, &Method::DELETE, &path(&client), None).map(drop),
        Command::Import { file, dry_run, prune, json } => import(config, &file, (dry_run, prune), json),
    }
}

fn add(config: &Config, id: Option<String>, members: Members, json: bool) -> Result<(), String> {
    let mut metadata = Map::new();
    members.over(&mut metadata)?;
    if let Some(id) = id {
        metadata.insert("client_id".to_owned(), id.into());
    }
    // What an application that signs people in needs, unless it is said otherwise.
    if metadata.contains_key("redirect_uris") && !metadata.contains_key("grant_types") {
        metadata.insert("grant_types".to_owned(), json!(["authorization_code", "refresh_token"]));
    }
    let client = ask(config, &Method::POST, "/clients", Some(&Value::Object(metadata)))?;
    tell(&client, json);
    Ok(())
}

fn update(config: &Config, client: &str, members: Members, json: bool) -> Result<(), String> {
    let Value::Object(mut metadata) = ask(config, &Method::GET, &path(client), None)? else {
        return Err("the server does not answer as it should".to_owned());
    };
    members.over(&mut metadata)?;
    let client = ask(config, &Method::PUT, &path(client), Some(&Value::Object(metadata)))?;
    tell(&client, json);
    Ok(())
}

fn rotate(config: &Config, client: &str, overlap: Option<&str>, json: bool) -> Result<(), String> {
    let seconds = |text| duration(text).ok_or("--overlap takes a duration such as 90, 10m or 24h");
    let overlap = overlap.map(seconds).transpose()?.map(|overlap| overlap.as_secs());
    let target = format!("{}/secret", path(client));
    let client = ask(config, &Method::POST, &target, Some(&json!({ "overlap": overlap })))?;
    tell(&client, json);
    Ok(())
}

fn list(config: &Config, json: bool) -> Result<(), String> {
    let (mut all, mut after) = (Vec::new(), None::<String>);
    loop {
        let more = after.as_deref().map(|after| format!("&after={}", encoded(after))).unwrap_or_default();
        let page = ask(config, &Method::GET, &format!("/clients?limit=500{more}"), None)?;
        all.extend(page.get("items").and_then(Value::as_array).into_iter().flatten().cloned());
        match page.get("next").and_then(Value::as_str) {
            Some(next) => after = Some(next.to_owned()),
            None => break,
        }
    }
    if json {
        say(&format!("{:#}", Value::Array(all)));
        return Ok(());
    }
    let row = |client: &Value| {
        let kind = if said(client, "token_endpoint_auth_method") == "none" { "public" } else { "confidential" };
        let cells = ["client_id", "client_name", "origin", "updated_at"].map(|member| said(client, member));
        let [id, name, origin, updated] = cells;
        format!("{id:<30}  {kind:<12}  {origin:<13}  {updated:<24}  {name}")
    };
    say(&format!("{:<30}  {:<12}  {:<13}  {:<24}  NAME", "CLIENT", "KIND", "ORIGIN", "CHANGED"));
    all.iter().for_each(|client| say(&row(client)));
    Ok(())
}

fn import(config: &Config, file: &Path, (dry_run, prune): (bool, bool), json: bool) -> Result<(), String> {
    let clients = items(&text(file)?, file)?;
    let list = json!({ "clients": clients, "dry_run": dry_run, "prune": prune });
    let report = ask(config, &Method::POST, "/clients/import", Some(&list))?;
    if json {
        say(&format!("{report:#}"));
        return Ok(());
    }
    let clients = report.get("clients").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let count = |outcome: &str| clients.iter().filter(|client| said(client, "outcome") == outcome).count();
    for client in clients.iter().filter(|client| said(client, "outcome") != "unchanged") {
        let secret = said(client, "client_secret");
        let secret = if secret.is_empty() { secret } else { format!("  secret {secret}") };
        say(&format!("{:<9}  {}{secret}", said(client, "outcome"), said(client, "client_id")));
    }
    let counts = ["created", "changed", "unchanged", "removed"].map(|outcome| format!("{} {outcome}", count(outcome)));
    let would = if dry_run { "nothing was changed; it would be: " } else { "" };
    say(&format!("{would}{}", counts.join(", ")));
    Ok(())
}

/// The clients of a file: one object, an array, or an object a line.
fn items(text: &str, file: &Path) -> Result<Vec<Value>, String> {
    let wrong = |line: usize, why: &serde_json::Error| format!("{}, line {line}: {why}", file.display());
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Array(items)) => Ok(items),
        Ok(one) => Ok(vec![one]),
        Err(whole) => {
            let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            let read = |(at, line): (usize, &str)| serde_json::from_str(line).map_err(|why| wrong(at + 1, &why));
            // Where not even the first line stands for itself, the file was meant as one whole.
            let is_by_line = text.lines().next().is_some_and(|line| serde_json::from_str::<Value>(line).is_ok());
            if is_by_line { lines.map(read).collect() } else { Err(wrong(whole.line(), &whole)) }
        }
    }
}

fn text(file: &Path) -> Result<String, String> {
    let wrong = |why: std::io::Error| format!("{} cannot be read: {why}", file.display());
    if file == Path::new("-") {
        let mut text = String::new();
        return std::io::stdin().read_to_string(&mut text).map(|_| text).map_err(wrong);
    }
    std::fs::read_to_string(file).map_err(wrong)
}

/// The path of a client.
fn path(client: &str) -> String {
    format!("/clients/{}", encoded(client))
}

/// A text percent-encoded for a path or a query.
pub(crate) fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// A member of an answer that is a text.
pub(crate) fn said(answer: &Value, member: &str) -> String {
    answer.get(member).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Tells a client's id, and its secret if it has a new one.
fn tell(client: &Value, json: bool) {
    if json {
        return say(&format!("{client:#}"));
    }
    say(&format!("client_id      {}", said(client, "client_id")));
    let secret = said(client, "client_secret");
    if !secret.is_empty() {
        say(&format!("client_secret  {secret}"));
    }
}

/// Shows all of a client.
fn show(client: &Value, json: bool) {
    if json {
        return say(&format!("{client:#}"));
    }
    for (member, value) in client.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        say(&format!("{member:<36}  {value}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_one_object_a_list_or_an_object_a_line() {
        let read = |text: &str| items(text, Path::new("clients.json"));
        let (one, two) = (json!({ "client_id": "a" }), json!({ "client_id": "b" }));
        assert_eq!(read("{\n \"client_id\": \"a\"\n}\n").unwrap(), std::slice::from_ref(&one));
        assert_eq!(read(&json!([one, two]).to_string()).unwrap(), [one.clone(), two.clone()]);
        assert_eq!(read(&format!("{one}\n\n{two}\n")).unwrap(), [one.clone(), two]);
        assert_eq!(read("[]").unwrap(), Vec::<Value>::new());
        for (text, line) in [("{\n \"a\": }", "line 2"), (&*format!("{one}\n{{"), "line 2"), ("", "line 1")] {
            let why = read(text).unwrap_err();
            assert!(why.starts_with("clients.json, ") && why.contains(line), "{why}");
        }
    }

    #[test]
    fn an_id_of_any_kind_is_one_segment_of_a_path() {
        assert_eq!(path("https://a.example/x?y z"), "/clients/https%3A%2F%2Fa.example%2Fx%3Fy%20z");
        assert_eq!(path("cli_1"), "/clients/cli_1");
    }
}
