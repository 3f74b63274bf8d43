//! A mail server for tests: it says what its script says, keeps what it hears, and stops at a word until a test lets it go on.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustls::ServerConfig;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// What the server answers in place of "fine", by what it hears: the first word of a command, `GREETING` for the beginning of
/// a connection, `CONTENT` for a letter's text, `*` for all of them.
///
/// More than a word is looked for first: `MAIL#2` is the second `MAIL` that the server hears at all, `RCPT@a.example` goes to
/// that domain, `EHLO/tls` comes over an encrypted connection, and `AUTH PLAIN …` is the command as a whole.
///
/// The answer `hang` says nothing any more, `drop` closes the connection, `last` says that all is well and then closes it,
/// `wait` says so when the test lets it ([`MailServer::go_on`]). Anything else is said in Latin-1, with an end of line unless
/// it has one.
pub type Script<'a> = &'a [(&'a str, &'a str)];

/// When the connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// From its beginning.
    AtOnce,
    /// After `STARTTLS`, which the script has to offer.
    WhenAsked,
}

/// A moment in the life of a letter at which a test wants to be told, and have the server wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// All of it is here, and that is not said yet: the sender cannot know.
    Received,
    /// It is said: the sender may know, and may not have noted it down.
    Answered,
}

/// Told when the moment has come; dropping the inner sender lets the server go on.
pub type Reached = oneshot::Receiver<oneshot::Sender<()>>;

/// A letter that arrived whole and was not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// As it came, dots unstuffed.
    pub raw: String,
    /// The life of the sending process over whose connection it came (see [`MailServer::next_epoch`]).
    pub epoch: u32,
    /// Whether the connection was encrypted.
    pub is_encrypted: bool,
    /// The command by which the sender had signed in.
    pub signed_in_by: Option<String>,
}

#[derive(Default)]
struct Seen {
    commands: Vec<String>,
    arrivals: Vec<Arrival>,
    connections: usize,
    now: usize,
    at_once: usize,
    failed_handshakes: usize,
    /// How often each word was heard.
    heard: HashMap<String, usize>,
    epoch: u32,
    /// The connection that begins the next epoch, and whom to tell.
    barrier: Option<(SocketAddr, oneshot::Sender<()>)>,
    trap: Option<(Moment, oneshot::Sender<oneshot::Sender<()>>)>,
}

struct Shared {
    script: Mutex<Vec<(String, String)>>,
    encryption: Option<(Encryption, TlsAcceptor)>,
    seen: Mutex<Seen>,
    waiting: Semaphore,
    let_go: Semaphore,
}

/// The server. It has a thread of its own, so that it answers while a test blocks; it ends when dropped.
pub struct MailServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl MailServer {
    /// Starts a server with this script on a free port.
    ///
    /// # Panics
    /// When the machine has no port, or no thread.
    pub fn start(script: Script<'_>) -> Self {
        Self::begin(script, None)
    }

    /// Starts a server that can encrypt.
    ///
    /// # Panics
    /// When the machine has no port, or no thread.
    pub fn encrypting(script: Script<'_>, encryption: Encryption, tls: Arc<ServerConfig>) -> Self {
        Self::begin(script, Some((encryption, TlsAcceptor::from(tls))))
    }

    fn begin(script: Script<'_>, encryption: Option<(Encryption, TlsAcceptor)>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a socket that does not block");
        let address = listener.local_addr().expect("a socket has an address");
        let shared = Arc::new(Shared {
            script: Mutex::new(owned(script)),
            encryption,
            seen: Mutex::default(),
            waiting: Semaphore::new(0),
            let_go: Semaphore::new(0),
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listener");
                tokio::select! {
                    () = accept(&listener, &of_thread) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What `SMTP_URL` says, without encryption.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    /// Has it follow another script from the next word on, on connections that are there as well.
    pub fn follow(&self, script: Script<'_>) {
        *lock(&self.shared.script) = owned(script);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.shared.seen)
    }

    /// All commands that it heard, in order.
    pub fn commands(&self) -> Vec<String> {
        self.seen().commands.clone()
    }

    /// How many of the commands begin with this word.
    pub fn heard(&self, word: &str) -> usize {
        self.seen().commands.iter().filter(|command| command.starts_with(word)).count()
    }

    /// All letters that arrived whole and were not refused, in order.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.arrivals_from(0)
    }

    /// The same without those that the caller knows already.
    pub fn arrivals_from(&self, known: usize) -> Vec<Arrival> {
        self.seen().arrivals.get(known..).unwrap_or_default().to_vec()
    }

    /// How many letters arrived.
    pub fn letters(&self) -> usize {
        self.seen().arrivals.len()
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.seen().connections
    }

    /// How many connections there were at once, at most.
    pub fn connections_at_once(&self) -> usize {
        self.seen().at_once
    }

    /// How many clients did not go on when they had seen the certificate.
    pub fn failed_handshakes(&self) -> usize {
        self.seen().failed_handshakes
    }

    /// Until a conversation has come to a `wait`.
    pub async fn waits(&self) {
        if let Ok(permit) = self.shared.waiting.acquire().await {
            permit.forget();
        }
    }

    /// Lets one conversation that came to a `wait` go on.
    pub fn go_on(&self) {
        self.shared.let_go.add_permits(1);
    }

    /// Asks to be told when the next letter reaches `moment`; the server waits there.
    pub fn trap(&self, moment: Moment) -> Reached {
        let (tell, reached) = oneshot::channel();
        self.seen().trap = Some((moment, tell));
        reached
    }

    /// Begins a new epoch. To be called when the sender is dead and before its next life: connections are accepted in the
    /// order in which they were made, so what the dead sender opened still counts as its own.
    ///
    /// # Panics
    /// When the server cannot be reached.
    pub async fn next_epoch(&self) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let (tell, begun) = oneshot::channel();
        self.seen().barrier = Some((socket.local_addr().expect("a socket has an address"), tell));
        let _connection = socket.connect(self.address).await.expect("the server listens");
        begun.await.expect("the server begins an epoch");
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn owned(script: Script<'_>) -> Vec<(String, String)> {
    script.iter().map(|(heard, answer)| ((*heard).to_owned(), (*answer).to_owned())).collect()
}

async fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut conversations = JoinSet::new();
    loop {
        while conversations.try_join_next().is_some() {}
        let Ok((stream, peer)) = listener.accept().await else { continue };
        let epoch = {
            let mut seen = lock(&shared.seen);
            if let Some((_, tell)) = seen.barrier.take_if(|(address, _)| *address == peer) {
                seen.epoch += 1;
                let _ = tell.send(());
                continue;
            }
            seen.connections += 1;
            seen.now += 1;
            seen.at_once = seen.at_once.max(seen.now);
            seen.epoch
        };
        let shared = Arc::clone(shared);
        conversations.spawn(async move {
            // A conversation that breaks is the sender's death, which is what some tests are about.
            let _ = converse(stream, epoch, &shared).await;
            lock(&shared.seen).now -= 1;
        });
    }
}

trait Both: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Both for T {}

type Stream = BufReader<Box<dyn Both>>;

async fn converse(tcp: TcpStream, epoch: u32, shared: &Shared) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut stream: Stream = BufReader::new(Box::new(tcp));
    let mut is_encrypted = matches!(shared.encryption, Some((Encryption::AtOnce, _)));
    if is_encrypted {
        stream = encrypted(stream, shared).await?;
    }
    let mut signed_in_by = None;
    let (mut word, mut command) = ("GREETING".to_owned(), String::new());
    loop {
        let scripted = answer(shared, &word, &command, is_encrypted);
        match scripted.as_str() {
            "drop" => return Ok(()),
            "hang" => {
                // Until the other side gives up.
                while stream.read_u8().await.is_ok() {}
                return Ok(());
            }
            "wait" => {
                shared.waiting.add_permits(1);
                if let Ok(permit) = shared.let_go.acquire().await {
                    permit.forget();
                }
            }
            _ => {}
        }
        let said = if matches!(scripted.as_str(), "wait" | "last") { fine(&word) } else { &scripted };
        say(&mut stream, said).await?;
        match word.as_str() {
            "AUTH" if said.starts_with("235") => signed_in_by = Some(command.clone()),
            "CONTENT" => pass(shared, Moment::Answered).await,
            _ => {}
        }
        if word == "QUIT" || scripted == "last" || said.starts_with("421") {
            return Ok(());
        }
        if word == "STARTTLS" && said.starts_with("220") {
            if shared.encryption.is_none() {
                // What comes now is no command, but a handshake; or nothing.
                if let Ok(first) = stream.read_u8().await {
                    lock(&shared.seen).commands.push(format!("(record type {first})"));
                }
                return Ok(());
            }
            stream = encrypted(stream, shared).await?;
            is_encrypted = true;
        }
        if word == "DATA" && said.starts_with('3') {
            let raw = content(&mut stream).await?;
            "CONTENT".clone_into(&mut word);
            // A letter whose sender is not told what became of it is here all the same.
            let scripted = peek(shared, &word, &command, is_encrypted);
            if !scripted.starts_with(['4', '5']) {
                let arrival = Arrival { raw, epoch, is_encrypted, signed_in_by: signed_in_by.clone() };
                lock(&shared.seen).arrivals.push(arrival);
                pass(shared, Moment::Received).await;
            }
            continue;
        }
        let Some(heard) = line(&mut stream).await? else { return Ok(()) };
        command = String::from_utf8_lossy(&heard).trim_end().to_owned();
        command.split(' ').next().unwrap_or_default().clone_into(&mut word);
        lock(&shared.seen).commands.push(command.clone());
    }
}

/// Encrypts the rest of a connection.
async fn encrypted(stream: Stream, shared: &Shared) -> io::Result<Stream> {
    let Some((_, acceptor)) = &shared.encryption else { return Err(io::ErrorKind::Unsupported.into()) };
    match acceptor.accept(stream.into_inner()).await {
        Ok(stream) => Ok(BufReader::new(Box::new(stream))),
        Err(why) => {
            lock(&shared.seen).failed_handshakes += 1;
            Err(why)
        }
    }
}

/// What the script says to a word, which counts as heard.
fn answer(shared: &Shared, word: &str, command: &str, is_encrypted: bool) -> String {
    let count = {
        let mut seen = lock(&shared.seen);
        let count = seen.heard.entry(word.to_owned()).or_default();
        *count += 1;
        *count
    };
    scripted(shared, word, command, is_encrypted, count)
}

/// What the script will say to a word that comes next.
fn peek(shared: &Shared, word: &str, command: &str, is_encrypted: bool) -> String {
    let count = lock(&shared.seen).heard.get(word).copied().unwrap_or_default() + 1;
    scripted(shared, word, command, is_encrypted, count)
}

fn scripted(shared: &Shared, word: &str, command: &str, is_encrypted: bool, count: usize) -> String {
    let domain = command.rsplit_once('@').map_or("", |(_, domain)| domain.trim_end_matches('>'));
    // At a letter's text, the command is that of before.
    let whole = command.starts_with(word).then(|| command.to_owned());
    let encrypted = is_encrypted.then(|| format!("{word}/tls"));
    let names = [format!("{word}#{count}"), format!("{word}@{domain}")].into_iter().chain(whole).chain(encrypted);
    let names = names.chain([word.to_owned(), "*".to_owned()]);
    let script = lock(&shared.script);
    let mut found = names.filter_map(|name| script.iter().find(|(heard, _)| *heard == name));
    found.next().map_or_else(|| fine(word).to_owned(), |(_, answer)| answer.clone())
}

fn fine(word: &str) -> &'static str {
    match word {
        "GREETING" => "220 mail.example ESMTP",
        "EHLO" => "250-mail.example\r\n250 8BITMIME",
        "DATA" => "354 go on",
        "STARTTLS" => "220 go on",
        "QUIT" => "221 bye",
        "AUTH" => "235 welcome",
        _ => "250 fine",
    }
}

/// Tells the test that the moment has come, if it asked, and waits until the test lets go.
async fn pass(shared: &Shared, moment: Moment) {
    let trap = lock(&shared.seen).trap.take_if(|(at, _)| *at == moment);
    if let Some((_, tell)) = trap {
        let (hold, released) = oneshot::channel();
        if tell.send(hold).is_ok() {
            let _ = released.await;
        }
    }
}

async fn say(stream: &mut Stream, words: &str) -> io::Result<()> {
    let end = if words.ends_with('\n') { "" } else { "\r\n" };
    // A character of Latin-1 is its byte; another one is a mistake of the script.
    let bytes: Result<Vec<u8>, _> = words.chars().chain(end.chars()).map(u8::try_from).collect();
    stream.write_all(&bytes.map_err(io::Error::other)?).await?;
    stream.flush().await
}

/// A line with its end; none when the other side has gone.
async fn line(stream: &mut Stream) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    stream.read_until(b'\n', &mut line).await?;
    Ok((!line.is_empty()).then_some(line))
}

/// A letter up to the lone dot, dots unstuffed; an error if the sender goes before.
async fn content(stream: &mut Stream) -> io::Result<String> {
    let (mut content, mut line) = (Vec::new(), Vec::new());
    loop {
        line.clear();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line == b".\r\n" {
            return Ok(String::from_utf8_lossy(&content).into_owned());
        }
        content.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
}
