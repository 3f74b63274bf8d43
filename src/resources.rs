//! `cairn resource`: the services that access tokens are for, managed by the server that runs, or in its database while none
//! does.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use crate::clients::{encoded, said};
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
    /// Registers a resource, or registers it anew where it is registered.
    Add {
        /// Its URI, which requests name as `resource` and tokens as `aud`.
        uri: String,
        /// A scope that tokens for it may have, or several with spaces between them; may be said several times.
        #[arg(long)]
        scope: Vec<String>,
        /// Its name, as people are shown it.
        #[arg(long)]
        name: Option<String>,
        /// How long access tokens for it are good at most (90, 10m, 24h).
        #[arg(long)]
        access_token_ttl: Option<String>,
    },
    /// Lists the resources.
    List {
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Deletes a resource. Tokens for it that are out stay good until they end.
    Delete {
        /// Its URI.
        uri: String,
    },
}

/// Runs a command.
///
/// # Errors
/// What the server or the database says.
pub(crate) fn run(config: &Config, command: Command) -> Result<(), String> {
    match command {
        Command::Add { uri, scope, name, access_token_ttl } => {
            let seconds =
                |text: &str| duration(text).ok_or("--access-token-ttl takes a duration such as 90, 10m or 24h");
            let life = access_token_ttl.as_deref().map(seconds).transpose()?.map(|life| life.as_secs());
            let resource = json!({ "uri": uri, "scope": scope.join(" "), "name": name, "access_token_ttl": life });
            let resource = ask(config, &Method::POST, "/resources", Some(&resource))?;
            say(&format!("uri    {}", said(&resource, "uri")));
            say(&format!("scope  {}", said(&resource, "scope")));
            Ok(())
        }
        Command::List { json } => {
            let resources = ask(config, &Method::GET, "/resources", None)?;
            show(&resources, json);
            Ok(())
        }
        Command::Delete { uri } => {
            ask(config, &Method::DELETE, &format!("/resources?uri={}", encoded(&uri)), None).map(drop)
        }
    }
}

fn show(resources: &Value, json: bool) {
    let all = resources.get("items").and_then(Value::as_array).cloned().unwrap_or_default();
    if json {
        return say(&format!("{:#}", Value::Array(all)));
    }
    say(&format!("{:<48}  {:<13}  SCOPE", "RESOURCE", "ORIGIN"));
    for resource in &all {
        let [uri, origin, scope] = ["uri", "origin", "scope"].map(|member| said(resource, member));
        say(&format!("{uri:<48}  {origin:<13}  {scope}"));
    }
}
