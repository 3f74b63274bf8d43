//! Clients and resources: over the operations listener, by command line beside a server and without one, and by the settings
//! file.

mod command;
mod listener;
mod settings;

use crate::support::App;

/// What a command has said.
struct Said {
    good: bool,
    out: String,
    err: String,
}

impl Said {
    /// What it said on standard output, when it went well.
    #[track_caller]
    fn fine(self) -> String {
        assert!(self.good, "{}{}", self.out, self.err);
        self.out
    }

    /// What it said on standard error, when it did not.
    #[track_caller]
    fn refused(self) -> String {
        assert!(!self.good, "{}", self.out);
        self.err
    }
}

/// Runs a command of the program with a server's environment, off the test's own thread.
async fn cairn(app: &App, arguments: &[&str]) -> Said {
    let mut command = app.subcommand(arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { good: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
}

/// The word after a label in what a command has said.
fn word<'a>(said: &'a str, label: &str) -> &'a str {
    let line = said.lines().find_map(|line| line.strip_prefix(label));
    line.unwrap_or_else(|| panic!("no {label} in {said}")).trim()
}
