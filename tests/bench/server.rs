//! The release binary as a process, timed from its exec, and people's sessions in it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::support::app::{App, addresses};
use super::support::{Person, folder};

/// A running server. Dropping it kills it.
pub struct Server {
    child: Child,
    /// When it was executed.
    pub began: Instant,
}

impl Server {
    /// Executes it and does not wait.
    pub fn launch(app: &App) -> Self {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(app.data().join("bench.log")).unwrap();
        let mut command = app.command();
        command.stdout(Stdio::piped()).stderr(log);
        let began = Instant::now();
        let child = command.spawn().unwrap();
        folder::process_begun(child.id());
        Self { child, began }
    }

    /// Waits for the line that says ready; answers the public address. Blocks: nothing else is to be done meanwhile.
    pub fn ready(&mut self) -> SocketAddr {
        self.both_ready().0
    }

    /// The same with the address of the operations listener.
    pub fn both_ready(&mut self) -> (SocketAddr, SocketAddr) {
        let output = BufReader::new(self.child.stdout.take().unwrap());
        let line = output.lines().map_while(Result::ok).find_map(|line| addresses(&line));
        line.expect("the server says that it is ready")
    }

    pub fn kill9(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        folder::process_ended(self.child.id());
    }

    /// Bytes of memory that it has.
    pub fn resident(&self) -> f64 {
        resident(&self.child.id().to_string())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.end();
        }
    }
}

/// `VmRSS` of a process, in bytes.
pub fn resident(process: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() * 1024.0
}

/// What became of a request.
#[derive(Debug)]
pub struct Broken;

/// A connection that is kept.
pub struct HttpConnection {
    server: SocketAddr,
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl HttpConnection {
    pub async fn new(server: SocketAddr) -> Result<Self, Broken> {
        let stream = TcpStream::connect(server).await.map_err(|_| Broken)?;
        stream.set_nodelay(true).map_err(|_| Broken)?;
        Ok(Self { server, stream, buffer: Vec::with_capacity(4096) })
    }

    pub async fn get(&mut self, target: &str, bearer: Option<&str>) -> Result<String, Broken> {
        let bearer = bearer.map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"));
        self.ask(&format!("GET {target} HTTP/1.1\r\nhost: {}\r\n{bearer}\r\n", self.server)).await
    }

    pub async fn post(&mut self, target: &str, body: &str) -> Result<String, Broken> {
        let (host, length) = (self.server, body.len());
        let head = format!("POST {target} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n");
        self.ask(&format!("{head}content-length: {length}\r\n\r\n{body}")).await
    }

    async fn ask(&mut self, request: &str) -> Result<String, Broken> {
        self.stream.write_all(request.as_bytes()).await.map_err(|_| Broken)?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await.map_err(|_| Broken)? == 0 {
                return Err(Broken);
            }
            let text = std::str::from_utf8(&self.buffer).unwrap();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
            });
            if body.len() >= length.expect("a length") {
                return Ok(text.to_owned());
            }
        }
    }
}

/// A connection that is kept, and the refresh token of one session.
pub struct Visitor {
    line: HttpConnection,
    pub refresh: String,
}

impl Visitor {
    pub async fn new(server: SocketAddr, refresh: String) -> Result<Self, Broken> {
        Ok(Self { line: HttpConnection::new(server).await?, refresh })
    }

    /// Refreshes once; what is not a 200 with a new refresh token is a failure of the measurement.
    pub async fn refreshes(&mut self) -> Result<(), Broken> {
        let body = format!("{{\"refresh_token\":\"{}\"}}", self.refresh);
        let answer = self.line.post("/auth/refresh", &body).await?;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let token = answer.split_once("\"refresh_token\":\"").and_then(|(_, rest)| rest.split_once('"'));
        let next = token.unwrap_or_else(|| panic!("no token in {answer}")).0.to_owned();
        assert_ne!(next, self.refresh);
        self.refresh = next;
        Ok(())
    }
}

/// Registers, verifies and signs in so many people; answers their refresh tokens.
pub async fn sessions(app: &App, count: usize) -> Vec<String> {
    let mut tokens = Vec::with_capacity(count);
    for _ in 0..count {
        let person = Person::new("visitor");
        person.joins(app).await;
        tokens.push(person.signs_in(app).await.refresh);
    }
    tokens
}

/// All visitors refresh for so long, each as soon as it has its answer; gives them back and their refreshes a second.
pub async fn visit(visitors: Vec<Visitor>, span: Duration) -> (Vec<Visitor>, f64) {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for mut visitor in visitors {
        tasks.spawn(async move {
            let mut count = 0_u64;
            while began.elapsed() < span {
                visitor.refreshes().await.expect("the server answers");
                count += 1;
            }
            (visitor, count)
        });
    }
    let (mut back, mut all) = (Vec::new(), 0);
    for (visitor, count) in tasks.join_all().await {
        back.push(visitor);
        all += count;
    }
    (back, all as f64 / began.elapsed().as_secs_f64())
}
