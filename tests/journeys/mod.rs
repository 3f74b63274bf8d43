//! Whole journeys in a real browser (Chromium without a window): every click by a person, and the server killed between
//! every two of them.
//!
//! Pictures of every page are kept in `target/pictures`, to be looked at.

mod account;
mod back;
mod eyes;

use std::path::PathBuf;

use crate::support::chrome::{Chrome, axe};
use crate::support::{App, Person};

/// A person at a screen.
struct BrowserSession<'a> {
    app: &'a App,
    chrome: Chrome,
    /// What the pictures are called.
    name: String,
    seen: usize,
    /// The server dies between every two clicks.
    deadly: bool,
}

impl<'a> BrowserSession<'a> {
    async fn take(app: &'a App, name: &str, width: u32, dark: bool, deadly: bool) -> Self {
        let light = if dark { "dark" } else { "light" };
        let height = if width < 600 { 844 } else { 900 };
        let chrome = Chrome::start(width, height, dark).await;
        Self { app, chrome, name: format!("{name}-{width}-{light}"), seen: 0, deadly }
    }

    /// The server dies and comes back: nothing to see.
    async fn between_two_clicks(&self) {
        if self.deadly {
            self.app.crash_and_restart().await;
        }
    }

    async fn opens(&mut self, target: &str, title: &str) {
        self.between_two_clicks().await;
        let url =
            if target.starts_with('/') { format!("{}{target}", self.app.public_url()) } else { target.to_owned() };
        self.chrome.open(&url).await;
        self.is_at(title).await;
    }

    async fn clicks(&mut self, css: &str, title: &str) {
        self.between_two_clicks().await;
        self.chrome.click(css).await;
        self.is_at(title).await;
    }

    async fn types(&self, css: &str, text: &str) {
        self.chrome.types(css, text).await;
    }

    /// Arrived: the page is held against what must be so of every page, and its picture is kept.
    async fn is_at(&mut self, title: &str) {
        self.chrome.reaches(title).await;
        self.seen += 1;
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/pictures");
        std::fs::create_dir_all(&folder).unwrap();
        self.chrome.picture(&folder.join(format!("{}-{:02}.png", self.name, self.seen))).await;
        eyes::look(&self.chrome, title).await;
    }

    /// Makes an account, and is signed in to it.
    async fn joins(&mut self, person: &Person) {
        self.opens("/register", "Create your account").await;
        self.types("#email", &person.email).await;
        self.types("#password", &person.password).await;
        self.clicks("#register button[type=submit]", "Check your mail").await;
        let code = person.verification(self.app).await.code().unwrap();
        self.types("#code", &code).await;
        self.clicks("#verify-code button[type=submit]", "Your account").await;
    }
}

/// Says once whether axe looks too.
fn announce_axe() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        if axe().is_none() {
            crate::support::announce(
                "axe-core is not there (scripts/install.sh test fetches it): our own checks alone look at the pages",
            );
        }
    });
}
