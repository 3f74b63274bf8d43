//! A mail server of the tests' own. It counts every letter that it got whole, outlives the server under test, and can
//! refuse, hang and drop on purpose.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::eventually;
use super::letter::Letter;

/// What it does with letters from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Accept,
    /// Answers RCPT with this code: 4xx for now, 5xx for ever.
    RefuseRecipient(u16),
    /// Answers RCPT with these bytes, in whatever encoding.
    AnswerRecipient(&'static [u8]),
    /// Takes the whole letter, then answers it with this code.
    RefuseLetter(u16),
    /// Accepts connections and says nothing at all.
    Hang,
    /// Takes the whole letter, counts it, and cuts the connection without a word.
    DropAfterData,
}

/// A moment in the life of a letter at which a test wants to be told, and have the sink wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// All is here, 250 is not said yet: the sender cannot know.
    Received,
    /// 250 is said: the sender may know, and may not have noted it down.
    Answered,
}

/// A letter that arrived whole.
#[derive(Clone)]
pub struct Copy {
    pub letter: Letter,
    /// The life of the sending process over whose connection it came (see [`Sink::next_epoch`]).
    pub epoch: u32,
    pub raw: String,
}

/// Told when the moment has come; whoever gets the inner sender lets the sink go on by dropping it.
pub type Sprung = oneshot::Receiver<oneshot::Sender<()>>;

struct State {
    mode: Mode,
    epoch: u32,
    barrier: Option<SocketAddr>,
    trap: Option<(Moment, oneshot::Sender<oneshot::Sender<()>>)>,
    copies: Vec<Copy>,
    by_reader: HashMap<(String, String), Vec<usize>>,
    attempts: u64,
}

/// The sink; it ends when dropped.
pub struct Sink {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _stop: oneshot::Sender<()>,
}

impl Sink {
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            mode: Mode::Accept,
            epoch: 0,
            barrier: None,
            trap: None,
            copies: Vec::new(),
            by_reader: HashMap::new(),
            attempts: 0,
        }));
        let (stop, stopped) = oneshot::channel::<()>();
        let shared = Arc::clone(&state);
        // A thread of its own: it must answer while a test blocks, and outlive the runtime of any one test.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    () = accept(&listener, &shared) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, state, _stop: stop }
    }

    /// What `SMTP_URL` says.
    pub fn url(&self) -> String {
        format!("smtp://{}", self.address)
    }

    pub fn set(&self, mode: Mode) {
        self.state.lock().unwrap().mode = mode;
    }

    /// How many letters were begun (RCPT seen), whatever became of them.
    pub fn attempts(&self) -> u64 {
        self.state.lock().unwrap().attempts
    }

    /// All letters that arrived whole, in order.
    pub fn copies(&self) -> Vec<Copy> {
        self.state.lock().unwrap().copies.clone()
    }

    /// The letters of a kind to an address, repeats included.
    pub fn letters(&self, to: &str, kind: &str) -> Vec<Letter> {
        let state = self.state.lock().unwrap();
        let places = state.by_reader.get(&(to.to_lowercase(), kind.to_owned()));
        places.into_iter().flatten().map(|place| state.copies[*place].letter.clone()).collect()
    }

    /// Waits for the first letter of a kind to an address.
    pub async fn letter(&self, to: &str, kind: &str) -> Letter {
        eventually(&format!("a letter {kind} to {to}"), async || self.letters(to, kind).into_iter().next()).await
    }

    /// Asks to be told when the next letter reaches `moment`; the sink waits there.
    pub fn trap(&self, moment: Moment) -> Sprung {
        let (spring, sprung) = oneshot::channel();
        self.state.lock().unwrap().trap = Some((moment, spring));
        sprung
    }

    /// Begins a new epoch. To be called when the sender is dead and before its next life: connections are accepted
    /// in the order in which they were made, so whatever the dead one opened still counts as its own.
    pub async fn next_epoch(&self) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let before = {
            let mut state = self.state.lock().unwrap();
            state.barrier = Some(socket.local_addr().unwrap());
            state.epoch
        };
        let _barrier = socket.connect(self.address).await.unwrap();
        eventually("the sink to begin an epoch", async || (self.state.lock().unwrap().epoch > before).then_some(()))
            .await;
    }
}

async fn accept(listener: &TcpListener, state: &Arc<Mutex<State>>) {
    let mut conversations = JoinSet::new();
    loop {
        while conversations.try_join_next().is_some() {}
        let Ok((stream, peer)) = listener.accept().await else { continue };
        let epoch = {
            let mut state = state.lock().unwrap();
            if state.barrier == Some(peer) {
                state.barrier = None;
                state.epoch += 1;
                continue;
            }
            state.epoch
        };
        let state = Arc::clone(state);
        // A conversation that breaks is the sender's death, which is what the tests are about.
        conversations.spawn(async move { converse(stream, epoch, &state).await });
    }
}

async fn converse(stream: TcpStream, epoch: u32, state: &Mutex<State>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mode = || state.lock().unwrap().mode;
    if mode() == Mode::Hang {
        let mut nothing = Vec::new();
        stream.read_until(0, &mut nothing).await?;
        return Ok(());
    }
    say(&mut stream, "220 sink ready").await?;
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        if mode() == Mode::Hang {
            // A line that was kept from before falls silent as well.
            let mut nothing = Vec::new();
            stream.read_until(0, &mut nothing).await?;
            return Ok(());
        }
        let verb = line.split([' ', '\r', ':']).next().unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" => say(&mut stream, "250-sink\r\n250 8BITMIME").await?,
            "HELO" | "MAIL" | "RSET" | "NOOP" => say(&mut stream, "250 OK").await?,
            "RCPT" => {
                state.lock().unwrap().attempts += 1;
                match mode() {
                    Mode::AnswerRecipient(bytes) => {
                        stream.write_all(bytes).await?;
                        say(&mut stream, "").await?;
                    }
                    Mode::RefuseRecipient(code) => say(&mut stream, &format!("{code} not here")).await?,
                    _ => say(&mut stream, "250 OK").await?,
                }
            }
            "DATA" => {
                say(&mut stream, "354 go on").await?;
                let raw = data(&mut stream).await?;
                if !took(raw, epoch, state, &mut stream).await? {
                    return Ok(());
                }
            }
            "QUIT" => return say(&mut stream, "221 bye").await,
            _ => say(&mut stream, "502 no such verb").await?,
        }
    }
}

/// Counts a whole letter and answers it; false when the connection is to be cut.
async fn took(raw: String, epoch: u32, state: &Mutex<State>, stream: &mut BufReader<TcpStream>) -> io::Result<bool> {
    let mode = state.lock().unwrap().mode;
    if !matches!(mode, Mode::RefuseLetter(_)) {
        let letter = Letter::from_mail(&raw);
        let mut state = state.lock().unwrap();
        let place = state.copies.len();
        state.by_reader.entry((letter.to.to_lowercase(), letter.kind.clone())).or_default().push(place);
        state.copies.push(Copy { letter, epoch, raw });
    }
    match mode {
        Mode::DropAfterData => return Ok(false),
        Mode::RefuseLetter(code) => say(stream, &format!("{code} not this one")).await?,
        _ => {
            pass(state, Moment::Received).await;
            say(stream, "250 OK").await?;
            pass(state, Moment::Answered).await;
        }
    }
    Ok(true)
}

/// Springs the trap if it is set for this moment, and waits until whoever set it lets go.
async fn pass(state: &Mutex<State>, moment: Moment) {
    let trap = {
        let mut state = state.lock().unwrap();
        if state.trap.as_ref().is_some_and(|(at, _)| *at == moment) { state.trap.take() } else { None }
    };
    if let Some((_, spring)) = trap {
        let (hold, released) = oneshot::channel();
        if spring.send(hold).is_ok() {
            let _ = released.await;
        }
    }
}

async fn say(stream: &mut BufReader<TcpStream>, words: &str) -> io::Result<()> {
    stream.write_all(format!("{words}\r\n").as_bytes()).await?;
    stream.flush().await
}

/// The letter up to the lone dot, dots unstuffed; an error if the sender goes before.
async fn data(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut raw = String::new();
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line == ".\r\n" {
            return Ok(raw);
        }
        raw.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}
