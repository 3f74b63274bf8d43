//! A proxy before PostgreSQL that can fall silent, as a network does that swallows packets: nobody is told anything, and
//! both ends believe that they are connected.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

/// What becomes of the words at which a connection falls silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Falls {
    /// They are the first that the server does not hear.
    Before,
    /// They are the last that the server hears; its answer is lost.
    Behind,
}

#[derive(Debug, Default)]
struct Shared {
    traps: Mutex<VecDeque<(&'static str, Falls)>>,
    lines: Mutex<Vec<Arc<ProxiedConnection>>>,
    hung_up: Notify,
    journeys: AtomicUsize,
}

/// One connection through the proxy.
#[derive(Debug, Default)]
struct ProxiedConnection(Mutex<bool>);

impl ProxiedConnection {
    fn fall_silent(&self) {
        *self.0.lock().unwrap() = true;
    }

    fn is_silent(&self) -> bool {
        *self.0.lock().unwrap()
    }
}

/// The proxy. It ends, and all its connections with it, when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    pub address: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A proxy before the server of this address.
    pub async fn before(address: &str) -> Self {
        let (head, tail) = address.rsplit_once('@').unwrap();
        let (server, name) = tail.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("{head}@{}/{name}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        let task = tokio::spawn(accept(listener, server.to_owned(), Arc::clone(&shared)));
        Self { address, shared, task }
    }

    /// The first connection on which a client says this falls silent by it. New connections are as good as ever.
    pub fn falls_silent_at(&self, words: &'static str, falls: Falls) {
        self.shared.traps.lock().unwrap().push_back((words, falls));
    }

    /// All connections that there are fall silent.
    pub fn falls_silent(&self) {
        self.shared.lines.lock().unwrap().iter().for_each(|line| line.fall_silent());
    }

    /// How often clients have asked for something so far and had to wait for its answer; trying a connection does not count.
    pub fn journeys(&self) -> usize {
        self.shared.journeys.load(Ordering::SeqCst)
    }

    /// Waits until a client has hung up a connection that had fallen silent, which tells that it will not use it again.
    pub async fn is_given_up(&self) {
        self.shared.hung_up.notified().await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: String, shared: Arc<Shared>) {
    let mut lines = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let Ok(upstream) = TcpStream::connect(&server).await else { continue };
        let line = Arc::new(ProxiedConnection::default());
        shared.lines.lock().unwrap().push(Arc::clone(&line));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = upstream.into_split();
        lines.spawn(answer(from_server, to_client, Arc::clone(&line)));
        lines.spawn(ask(from_client, to_server, line, Arc::clone(&shared)));
    }
}

/// Carries what the client says. When the client hangs up, so does the proxy: the server ends the session.
async fn ask(mut client: OwnedReadHalf, mut server: OwnedWriteHalf, line: Arc<ProxiedConnection>, shared: Arc<Shared>) {
    let mut buffer = vec![0; 65_536];
    while let Ok(count) = client.read(&mut buffer).await
        && count > 0
    {
        let said = &buffer[..count];
        let falls = {
            let mut traps = shared.traps.lock().unwrap();
            let is_said = |words: &str| said.windows(words.len()).any(|window| window == words.as_bytes());
            if traps.front().is_some_and(|(words, _)| is_said(words)) { traps.pop_front() } else { None }
        };
        // A query, a statement to be prepared, or the values of one that is.
        if matches!(said.first(), Some(b'Q' | b'P' | b'B')) {
            shared.journeys.fetch_add(1, Ordering::SeqCst);
        }
        let was_silent = line.is_silent();
        if falls.is_some() {
            line.fall_silent();
        }
        let is_heard = matches!(falls, Some((_, Falls::Behind))) || !line.is_silent();
        if is_heard && !was_silent && server.write_all(said).await.is_err() {
            break;
        }
    }
    if line.is_silent() {
        shared.hung_up.notify_one();
    }
}

/// Carries what the server says.
async fn answer(mut server: OwnedReadHalf, mut client: OwnedWriteHalf, line: Arc<ProxiedConnection>) {
    let mut buffer = vec![0; 65_536];
    while let Ok(count) = server.read(&mut buffer).await
        && count > 0
    {
        if !line.is_silent() && client.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
    if line.is_silent() {
        // The client is not told of the server's end either.
        std::future::pending::<()>().await;
    }
}
