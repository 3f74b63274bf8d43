//! A small mail server that does as its script says, and tells what it saw.

use std::collections::HashMap;
use std::sync::Mutex;

use futures_util::future::{Either, join_all, select};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// What the server answers, by the first word of a command (`CONTENT` for the text itself), in place of "fine".
///
/// `MAIL#2` is the second `MAIL` that it hears at all; `RCPT@a.example` goes to that domain. `hang` says nothing for
/// ever, `drop` closes the connection, `last` says that all is well and then closes it, `wait` says so when the test lets
/// it ([`Sink::go_on`]). Anything else is said in Latin-1, with an end of line unless it has one.
pub(crate) type Script = &'static [(&'static str, &'static str)];

/// What a server saw.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) commands: Vec<String>,
    pub(crate) contents: Vec<String>,
    pub(crate) connections: usize,
    pub(crate) now: usize,
    pub(crate) at_once: usize,
    heard: HashMap<String, usize>,
}

pub(crate) struct Sink {
    listener: TcpListener,
    script: Script,
    pub(crate) seen: Mutex<Seen>,
    waiting: Semaphore,
    let_go: Semaphore,
}

impl Sink {
    pub(crate) async fn open(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener, script, seen: Mutex::default(), waiting: Semaphore::new(0), let_go: Semaphore::new(0) }
    }

    pub(crate) fn url(&self) -> String {
        format!("smtp://{}", self.listener.local_addr().unwrap())
    }

    pub(crate) fn commands(&self) -> Vec<String> {
        self.seen.lock().unwrap().commands.clone()
    }

    /// How many of the commands begin with this word.
    pub(crate) fn heard(&self, word: &str) -> usize {
        self.commands().iter().filter(|command| command.starts_with(word)).count()
    }

    /// Until a conversation has come to a `wait`.
    pub(crate) async fn waits(&self) {
        self.waiting.acquire().await.unwrap().forget();
    }

    /// Lets one conversation that came to a `wait` go on.
    pub(crate) fn go_on(&self) {
        self.let_go.add_permits(1);
    }

    fn answer(&self, word: &str, line: &str) -> &'static str {
        let count = {
            let mut seen = self.seen.lock().unwrap();
            let count = seen.heard.entry(word.to_owned()).or_default();
            *count += 1;
            *count
        };
        let domain = line.trim_end().rsplit_once('@').map_or("", |(_, domain)| domain.trim_end_matches('>'));
        let names = [format!("{word}#{count}"), format!("{word}@{domain}"), word.to_owned()];
        for name in names {
            if let Some((_, answer)) = self.script.iter().find(|(wanted, _)| *wanted == name) {
                return answer;
            }
        }
        fine(word)
    }

    /// Runs something beside the server, which serves as long as that takes.
    pub(crate) async fn serving<T>(&self, something: impl Future<Output = T>) -> T {
        let accepting = join_all((0..32).map(|_| async {
            loop {
                let (stream, _) = self.listener.accept().await.unwrap();
                {
                    let mut seen = self.seen.lock().unwrap();
                    seen.connections += 1;
                    seen.now += 1;
                    seen.at_once = seen.at_once.max(seen.now);
                }
                self.talk(stream).await;
                self.seen.lock().unwrap().now -= 1;
            }
        }));
        match select(std::pin::pin!(something), std::pin::pin!(accepting)).await {
            Either::Left((result, _)) => result,
            Either::Right(_) => unreachable!("the server serves for ever"),
        }
    }

    async fn talk(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let (mut word, mut line) = ("GREETING".to_owned(), String::new());
        loop {
            let scripted = self.answer(&word, &line);
            let answer = match scripted {
                "drop" => return,
                "hang" => std::future::pending().await,
                "wait" => {
                    self.waiting.add_permits(1);
                    self.let_go.acquire().await.unwrap().forget();
                    fine(&word)
                }
                "last" => fine(&word),
                answer => answer,
            };
            let end = if answer.ends_with('\n') { "" } else { "\r\n" };
            let said = answer.chars().chain(end.chars()).map(|character| u8::try_from(character).unwrap());
            if stream.get_mut().write_all(&said.collect::<Vec<u8>>()).await.is_err() {
                return;
            }
            if word == "QUIT" || scripted == "last" || scripted.starts_with("421") {
                return;
            }
            if word == "STARTTLS" {
                // What comes now is no command, but a handshake; or nothing.
                if let Ok(first) = stream.read_u8().await {
                    self.seen.lock().unwrap().commands.push(format!("(record type {first})"));
                }
                return;
            }
            if word == "DATA" && answer.starts_with('3') {
                let mut content = String::new();
                while !content.ends_with("\r\n.\r\n") {
                    if stream.read_line(&mut content).await.unwrap_or_default() == 0 {
                        return;
                    }
                }
                self.seen.lock().unwrap().contents.push(content);
                "CONTENT".clone_into(&mut word);
                continue;
            }
            line.clear();
            match stream.read_line(&mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            self.seen.lock().unwrap().commands.push(line.trim_end().to_owned());
            line.trim_end().split(' ').next().unwrap().clone_into(&mut word);
        }
    }
}

fn fine(word: &str) -> &'static str {
    match word {
        "GREETING" => "220 sink.example ESMTP",
        "EHLO" => "250 sink.example",
        "DATA" => "354 go on",
        "QUIT" => "221 bye",
        "AUTH" => "235 welcome",
        _ => "250 fine",
    }
}
