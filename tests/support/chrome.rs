//! Chromium without a window, driven by the WebDriver protocol (W3C) through Debian's chromedriver.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64ct::{Base64, Encoding};
use serde_json::{Value, json};

use super::client::Client;
use super::folder::{self, Folder};
use super::{PATIENCE, eventually};

/// The driver and the browser that it has started.
pub struct Chrome {
    driver: Child,
    client: Client,
    session: String,
    _profile: Folder,
}

/// The key under which WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

impl Chrome {
    /// Starts a browser with a window of this size, in light or dark.
    pub async fn start(width: u32, height: u32, dark: bool) -> Self {
        let profile = Folder::new("chrome");
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // The browser's own processes are ended with the driver.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|why| panic!("chromedriver: {why}; scripts/install.sh test installs it"));
        folder::process_begun(driver.id());
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split("successfully on port ").nth(1)?.trim_end_matches('.').parse::<u16>().ok())
            .expect("chromedriver says where it listens");
        // Whatever it says later is read, lest it waits for a reader.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let client = Client::new(SocketAddr::from(([127, 0, 0, 1], port)));
        let mut chrome = Self { driver, client, session: String::new(), _profile: profile };
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--no-sandbox".to_owned(),
            "--disable-gpu".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--hide-scrollbars".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--password-store=basic".to_owned(),
            format!("--window-size={width},{height}"),
            format!("--user-data-dir={}", chrome._profile.path().display()),
        ];
        if dark {
            arguments.push("--force-dark-mode".to_owned());
            arguments.push("--blink-settings=preferredColorScheme=0".to_owned());
        }
        let wanted = json!({ "capabilities": { "alwaysMatch": { "browserName": "chrome", "goog:chromeOptions": { "args": arguments } } } });
        let begun = chrome.ask("POST", "/session", Some(wanted)).await.expect("a browser");
        begun["sessionId"].as_str().unwrap().clone_into(&mut chrome.session);
        if dark {
            chrome.prefers("prefers-color-scheme", "dark").await;
        }
        // A window has a least width; a phone has none.
        let size = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": { "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false } });
        chrome.command("POST", "goog/cdp/execute", Some(size)).await;
        chrome
    }

    /// Has the page believe a preference of its reader: `forced-colors` is `active`.
    pub async fn prefers(&self, feature: &str, value: &str) {
        let media = json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": [{ "name": feature, "value": value }] } });
        self.command("POST", "goog/cdp/execute", Some(media)).await;
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, Value> {
        let mut request = self.client.request(method, path);
        if let Some(body) = &body {
            request = request.json(body);
        }
        let answer = request.send().await;
        let value = answer.json()["value"].clone();
        if answer.status == 200 { Ok(value) } else { Err(value) }
    }

    async fn attempt(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, Value> {
        self.ask(method, &format!("/session/{}/{path}", self.session), body).await
    }

    async fn command(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        match self.attempt(method, path, body).await {
            Ok(value) => value,
            Err(why) => panic!("{path}: {why}\n{}", self.attempt("GET", "source", None).await.unwrap_or_default()),
        }
    }

    /// Opens a URL.
    pub async fn open(&self, url: &str) {
        self.command("POST", "url", Some(json!({ "url": url }))).await;
    }

    /// Where it is.
    pub async fn url(&self) -> String {
        self.command("GET", "url", None).await.as_str().unwrap_or_default().to_owned()
    }

    pub async fn title(&self) -> String {
        self.command("GET", "title", None).await.as_str().unwrap_or_default().to_owned()
    }

    /// Goes back, as its button does.
    pub async fn back(&self) {
        self.command("POST", "back", Some(json!({}))).await;
    }

    /// Waits until the title begins like this.
    pub async fn reaches(&self, title: &str) {
        let what = format!("a page called {title}");
        let reached = eventually(&what, async || self.title().await.starts_with(title).then_some(()));
        if tokio::time::timeout(PATIENCE / 2, reached).await.is_err() {
            panic!("not at {title} but at {} {}", self.title().await, self.url().await);
        }
    }

    /// Whether the page has an element now.
    pub async fn has(&self, css: &str) -> bool {
        self.element(css).await.is_some()
    }

    async fn element(&self, css: &str) -> Option<String> {
        let wanted = json!({ "using": "css selector", "value": css });
        let found = self.attempt("POST", "element", Some(wanted)).await.ok()?;
        found[ELEMENT].as_str().map(str::to_owned)
    }

    async fn must(&self, css: &str) -> String {
        match self.element(css).await {
            Some(element) => element,
            None => panic!("nothing is {css} at {}: {}", self.url().await, self.command("GET", "source", None).await),
        }
    }

    /// Clicks on an element.
    pub async fn click(&self, css: &str) {
        let element = self.must(css).await;
        self.command("POST", &format!("element/{element}/click"), Some(json!({}))).await;
    }

    /// Types into a field, which is emptied before.
    pub async fn types(&self, css: &str, text: &str) {
        let element = self.must(css).await;
        self.command("POST", &format!("element/{element}/clear"), Some(json!({}))).await;
        self.command("POST", &format!("element/{element}/value"), Some(json!({ "text": text }))).await;
    }

    /// The text of an element, as people see it.
    pub async fn text(&self, css: &str) -> String {
        let element = self.must(css).await;
        self.command("GET", &format!("element/{element}/text"), None).await.as_str().unwrap_or_default().to_owned()
    }

    /// Runs a script that may `return` something.
    pub async fn run(&self, script: &str) -> Value {
        self.command("POST", "execute/sync", Some(json!({ "script": script, "args": [] }))).await
    }

    /// Runs a script that hands its result to `arguments[0]`.
    pub async fn run_async(&self, script: &str) -> Value {
        self.command("POST", "execute/async", Some(json!({ "script": script, "args": [] }))).await
    }

    /// Keeps a picture of the whole page.
    pub async fn picture(&self, path: &Path) {
        let whole = json!({ "cmd": "Page.captureScreenshot", "params": { "captureBeyondViewport": true } });
        let taken = self.command("POST", "goog/cdp/execute", Some(whole)).await;
        std::fs::write(path, Base64::decode_vec(taken["data"].as_str().unwrap()).unwrap()).unwrap();
    }

    /// Closes the browser. A driver that is dropped without leaves it to be cleaned up.
    pub async fn quit(self) {
        let _ = self.ask("DELETE", &format!("/session/{}", self.session), None).await;
    }
}

impl Drop for Chrome {
    fn drop(&mut self) {
        let _ =
            Command::new("sh").args(["-c", &format!("kill -9 -{}", self.driver.id())]).stderr(Stdio::null()).status();
        let _ = self.driver.wait();
        folder::process_ended(self.driver.id());
    }
}

/// axe-core as `scripts/install.sh test` fetched it, if it did.
pub fn axe() -> Option<String> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/axe/axe.min.js");
    std::fs::read_to_string(file).ok()
}
