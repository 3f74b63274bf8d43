//! Mail as it leaves the house: encrypted, signed in, signed, and through a mail server as Debian has it.

mod board;
mod encrypted;
mod postfix;
mod server;
mod settings;

use crate::support::App;

/// What becomes of the letter of a registration, as the waiting page is told.
async fn state(app: &App, flow: &str) -> String {
    let status = app.client().get(&format!("/auth/register/{flow}")).send().await.expect(200);
    status["mail"]["state"].as_str().unwrap().to_owned()
}
