//! The mail server of the tests, whose letters are read as people read them.

use std::collections::HashMap;
use std::sync::Mutex;

use cairn_actors::testing::mail_server::{Arrival, MailServer, Reached, Script};

use super::eventually;
use super::letter::Letter;

pub use cairn_actors::testing::mail_server::Moment;

/// A letter that arrived whole.
#[derive(Clone)]
pub struct Copy {
    pub letter: Letter,
    /// The life of the sending process over whose connection it came (see [`Sink::next_epoch`]).
    pub epoch: u32,
    pub raw: String,
}

/// The letters that were read so far: each is read once, because there may be many thousands.
#[derive(Default)]
struct Read {
    copies: Vec<Copy>,
    by_reader: HashMap<(String, String), Vec<usize>>,
}

impl Read {
    fn take(&mut self, arrival: Arrival) {
        let letter = Letter::from_mail(&arrival.raw);
        let reader = (letter.to.to_lowercase(), letter.kind.clone());
        self.by_reader.entry(reader).or_default().push(self.copies.len());
        self.copies.push(Copy { letter, epoch: arrival.epoch, raw: arrival.raw });
    }
}

/// A mail server and its letters.
pub struct Sink {
    server: MailServer,
    read: Mutex<Read>,
}

impl Sink {
    pub fn start() -> Self {
        Self { server: MailServer::start(&[]), read: Mutex::default() }
    }

    /// What `SMTP_URL` says.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// What the server answers from now on (see [`Script`]).
    pub fn follow(&self, script: Script<'_>) {
        self.server.follow(script);
    }

    /// How many letters were begun (RCPT seen), whatever became of them.
    pub fn attempts(&self) -> usize {
        self.server.heard("RCPT")
    }

    fn read<T>(&self, look: impl FnOnce(&Read) -> T) -> T {
        let mut read = self.read.lock().unwrap();
        let known = read.copies.len();
        self.server.arrivals_from(known).into_iter().for_each(|arrival| read.take(arrival));
        look(&read)
    }

    /// All letters that arrived whole, in order.
    pub fn copies(&self) -> Vec<Copy> {
        self.read(|read| read.copies.clone())
    }

    /// The letters of a kind to an address, repeats included.
    pub fn letters(&self, to: &str, kind: &str) -> Vec<Letter> {
        self.read(|read| {
            let places = read.by_reader.get(&(to.to_lowercase(), kind.to_owned()));
            places.into_iter().flatten().map(|place| read.copies[*place].letter.clone()).collect()
        })
    }

    /// Waits for the first letter of a kind to an address.
    pub async fn letter(&self, to: &str, kind: &str) -> Letter {
        eventually(&format!("a letter {kind} to {to}"), async || self.letters(to, kind).into_iter().next()).await
    }

    /// Asks to be told when the next letter reaches `moment`; the server waits there.
    pub fn trap(&self, moment: Moment) -> Reached {
        self.server.trap(moment)
    }

    /// Begins a new epoch: see [`MailServer::next_epoch`].
    pub async fn next_epoch(&self) {
        self.server.next_epoch().await;
    }
}
