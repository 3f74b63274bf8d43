//! The composition root of Cairn: the only place that knows every crate.

use std::path::Path;
use std::process::ExitCode;

use cairn_http::openapi;
use clap::{Parser, Subcommand};

mod conceal;
mod config;
mod health;
mod keys;
mod operations_client;
mod output;
mod process;
mod serve;
mod telemetry;
mod theme;

use config::Config;

// Memory comes back after a hundred thousand shells have ended; with glibc's allocator it does not.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An identity server whose every registration, reset and session is a durable actor.
#[derive(Parser)]
#[command(name = "cairn", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves until SIGTERM or SIGINT.
    Serve {
        /// A TOML file of settings; environment variables overrule it.
        #[arg(long, env = "CAIRN_CONFIG")]
        config: Option<std::path::PathBuf>,
    },
    /// Asks the operations listener whether the server should be sent requests: status 0 if so, else 1.
    Health {
        /// A TOML file of settings; environment variables overrule it.
        #[arg(long, env = "CAIRN_CONFIG")]
        config: Option<std::path::PathBuf>,
    },
    /// The keys that tokens are signed with. Beside a running server these go through its operations listener, else they open
    /// the database.
    Keys {
        #[command(subcommand)]
        command: Keys,
    },
    /// Prints the interface in OpenAPI 3.1, which `GET /openapi.json` serves.
    Openapi {
        /// The interface of the operations listener instead.
        #[arg(long)]
        operations: bool,
    },
    /// The templates of pages and letters.
    Templates {
        #[command(subcommand)]
        command: Templates,
    },
}

#[derive(Subcommand)]
enum Templates {
    /// Draws every page and every letter once, with the settings' templates, logo and colour, and says what is wrong.
    Check {
        /// A TOML file of settings; environment variables overrule it.
        #[arg(long, env = "CAIRN_CONFIG")]
        config: Option<std::path::PathBuf>,
    },
}

#[derive(Subcommand)]
enum Keys {
    /// Lists them: the name, the algorithm, since when it is published, and what it is for.
    List {
        /// Prints JSON.
        #[arg(long)]
        json: bool,
        /// A TOML file of settings; environment variables overrule it.
        #[arg(long, env = "CAIRN_CONFIG")]
        config: Option<std::path::PathBuf>,
    },
    /// Makes the successors of the keys that sign. They are published at once and sign an hour later.
    Rotate {
        /// This algorithm alone (EdDSA, ES256, RS256), also where it has no key as yet.
        #[arg(long)]
        algorithm: Option<String>,
        /// The new key signs at once, and the others of its algorithm no more: for a key that others may have.
        #[arg(long)]
        now: bool,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
        /// A TOML file of settings; environment variables overrule it.
        #[arg(long, env = "CAIRN_CONFIG")]
        config: Option<std::path::PathBuf>,
    },
}

fn main() -> ExitCode {
    output::conceal_panics();
    let command = match Arguments::try_parse() {
        Ok(Arguments { command }) => command,
        Err(why) => {
            let text = why.render().to_string();
            if why.use_stderr() {
                output::complain(text.trim_end());
                return ExitCode::from(2);
            }
            output::say(text.trim_end());
            return ExitCode::SUCCESS;
        }
    };
    let done = match command {
        Command::Serve { config } => with(config.as_deref(), serve::run),
        Command::Health { config } => with(config.as_deref(), |config| health::check(&config)),
        Command::Keys { command: Keys::List { json, config } } => {
            with(config.as_deref(), |config| keys::list(&config, json))
        }
        Command::Keys { command: Keys::Rotate { algorithm, now, json, config } } => {
            with(config.as_deref(), |config| keys::rotate(&config, algorithm.as_deref(), now, json))
        }
        Command::Openapi { operations } => {
            let document = if operations { openapi::operations_document() } else { openapi::document("/") };
            output::say(&format!("{document:#}"));
            Ok(())
        }
        Command::Templates { command: Templates::Check { config } } => {
            with(config.as_deref(), |config| theme::check(&config))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            output::complain(&format!("cairn: {why}"));
            ExitCode::FAILURE
        }
    }
}

/// Reads the settings and runs a command with them. What the command finds wrong with a setting is said with the place that
/// its value came from.
fn with(file: Option<&Path>, command: impl FnOnce(Config) -> Result<(), String>) -> Result<(), String> {
    let config = Config::read(file)?;
    let places = config.places.clone();
    command(config).map_err(|why| places.located(why))
}
