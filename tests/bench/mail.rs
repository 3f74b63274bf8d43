//! Letters through the outbox to a mail server on this machine, beside the same letters spoken without an outbox.

use std::sync::Arc;
use std::time::Instant;

use cairn_actors::effects::{Answer, Auth};
use cairn_actors::testing::mail_server::MailServer;
use cairn_actors::workers::mailer::{Mailer, SmtpSettings};
use cairn_runtime::Clock;
use cairn_runtime::outbox::{Courier, DeliveryAttempt, Trouble};
use futures_util::future::BoxFuture;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::report::{Aim, Report, Rounds};
use super::rig::{Ask, Rig, Walk};
use super::rounds;
use super::support::Kind;
use super::support::database::Database;
use super::support::folder::Folder;

/// Connections at most: what [`SmtpSettings`] allow unless told otherwise.
const LINES: usize = SmtpSettings::CONNECTIONS;
/// Letters in a round.
const LETTERS: usize = 4_000;
/// Flows that have them sent.
const FLOWS: usize = 250;

/// Carries letters, and keeps the time at which each was done.
struct Timed {
    mailer: Mailer,
    done: mpsc::UnboundedSender<Instant>,
}

impl Courier<Auth> for Timed {
    fn carry(&self, attempt: DeliveryAttempt<Auth>) -> BoxFuture<'_, Result<Answer, Trouble>> {
        Box::pin(async move {
            let carried = self.mailer.carry(attempt).await;
            if carried.is_ok() {
                let _ = self.done.send(Instant::now());
            }
            carried
        })
    }
}

/// Letters a second, from the first step that asks for one to the last that was taken.
async fn through_the_outbox(kind: Kind, folder: &Folder, name: &str) -> f64 {
    let (server, database) = (MailServer::start(&[]), Database::fresh(kind));
    let file = folder.path().join(name).to_str().unwrap().to_owned();
    let (done, mut ends) = mpsc::unbounded_channel();
    let rig = Rig::open_with(database.url().unwrap_or(&file), folder.path(), |environment, clock| {
        let environment = Arc::clone(environment);
        let settings = SmtpSettings::parse(&server.url(), "cairn@example.org").unwrap();
        let clock = Arc::clone(clock) as Arc<dyn Clock>;
        let mailer = Mailer::smtp(settings, Arc::new(move || Arc::clone(&environment)), clock).unwrap();
        Arc::new(Timed { mailer, done })
    })
    .await;
    let walks = rig.walks(FLOWS).await;
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for walk in walks {
        let engine = rig.engine.clone();
        clients.spawn(async move {
            for _ in 0..LETTERS / FLOWS {
                engine.call::<Walk>(walk, engine.asker("bench"), Ask::Go).await.unwrap();
            }
        });
    }
    let mut last = began;
    for _ in 0..LETTERS {
        last = ends.recv().await.unwrap();
    }
    clients.join_all().await;
    rig.quiet().await;
    let at_once = server.connections_at_once();
    assert_eq!(server.letters(), LETTERS, "each letter once");
    assert!(at_once <= LINES, "{at_once} connections at once");
    LETTERS as f64 / last.duration_since(began).as_secs_f64()
}

/// The same letters, spoken by as many clients as there are connections, with nothing behind them.
async fn spoken() -> f64 {
    let server = MailServer::start(&[]);
    let letter = format!("Subject: a letter\r\n\r\n{}.\r\n", "as long as ours are, more or less\r\n".repeat(120));
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for _ in 0..LINES {
        let (address, letter) = (server.address(), letter.clone());
        clients.spawn(async move {
            let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
            let mut answer = String::new();
            stream.read_line(&mut answer).await.unwrap();
            for _ in 0..LETTERS / LINES {
                for words in
                    ["MAIL FROM:<cairn@example.org>\r\n", "RCPT TO:<walker@d0.example.org>\r\n", "DATA\r\n", &letter]
                {
                    stream.get_mut().write_all(words.as_bytes()).await.unwrap();
                    answer.clear();
                    stream.read_line(&mut answer).await.unwrap();
                }
            }
        });
    }
    clients.join_all().await;
    let elapsed = began.elapsed();
    assert_eq!(server.letters(), LETTERS);
    LETTERS as f64 / elapsed.as_secs_f64()
}

/// The rows of mail.
pub async fn rows(report: &mut Report) {
    let folder = Folder::new("bench-mail");
    for (kind, what) in [
        (Kind::Sqlite, "mails/s through the outbox to a local sink, SQLite FULL, 8 connections"),
        (Kind::Postgres, "mails/s through the outbox to a local sink, PostgreSQL, 8 connections"),
    ] {
        let (mut figures, mut beside) = (Vec::new(), Rounds::default());
        for round in 0..rounds() {
            let mails = through_the_outbox(kind, &folder, &format!("mail-{round}.db")).await;
            figures.push(mails);
            beside.add(mails, spoken().await);
        }
        report.plain(what, &figures, Aim::AtLeast(500.0));
        report.aside("  beside the same letters spoken without an outbox", &beside);
    }
}
