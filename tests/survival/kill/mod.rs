//! The campaign of `kill -9`: 32 people's programs register, verify, sign in, refresh, and change passwords and
//! addresses while the process dies again and again; then every acknowledged step must be there, every letter sent, and nothing doubled.
//!
//! Each client keeps a ledger of what was acknowledged. The instants of death are chosen by dice whose seed is printed
//! (`CAIRN_SEED` asks for it again): after so many requests or answers, with a letter in flight, or during start-up.

mod audit;
mod changes;
mod client;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet, LocalSet};

use crate::support::folder::keep_evidence;
use crate::support::smtp::{Moment, Sink};
use crate::support::{App, Dice, Kind, announce, breath, proving};

of_each_kind!(nothing_is_lost_or_doubled_however_often_the_process_is_killed);

const CLIENTS: u64 = 32;

/// What the campaign's clients and its killer share.
pub struct Campaign {
    pub app: App,
    pub sink: Sink,
    /// False from just before a kill until the next life is ready.
    pub up: watch::Sender<bool>,
    /// Requests begun and answered so far: what the killer counts by.
    pub begun: watch::Sender<u64>,
    pub answered: watch::Sender<u64>,
    /// No new lives: the campaign is over.
    pub over: AtomicBool,
    pub tally: Tally,
}

/// Figures of the whole campaign.
#[derive(Default)]
pub struct Tally {
    pub registered: AtomicU64,
    pub verified: AtomicU64,
    pub signed_in: AtomicU64,
    pub refreshed: AtomicU64,
    pub repeated: AtomicU64,
    pub reset: AtomicU64,
    pub changed: AtomicU64,
    pub moved: AtomicU64,
    pub undone: AtomicU64,
    pub restored: AtomicU64,
    pub broken: AtomicU64,
    pub hung_up: AtomicU64,
    pub unavailable: AtomicU64,
}

pub fn count(figure: &AtomicU64) {
    figure.fetch_add(1, Ordering::Relaxed);
}

/// I1, I2, I3, I5, I6 and I8 of the design, through the front door.
async fn nothing_is_lost_or_doubled_however_often_the_process_is_killed(kind: Kind) {
    // One thread is enough for 32 clients; the work is the server's.
    LocalSet::new().run_until(campaign(kind)).await;
}

async fn campaign(kind: Kind) {
    let seed = Dice::seed();
    let kills = match std::env::var("CAIRN_KILLS") {
        Ok(text) => text.parse().expect("CAIRN_KILLS is a number"),
        Err(_) if proving() => 200,
        Err(_) => 30,
    };
    announce(&format!("kill -9 on {kind:?}: {kills} kills, {CLIENTS} clients, CAIRN_SEED={seed}"));

    let sink = Sink::start();
    let plan = App::plan(kind).named("killed").set("SMTP_URL", sink.url()).set("MAIL_FROM", "cairn@example.org");
    // A chain may wait for its client through several deaths.
    let app = plan.set("CAIRN_REFRESH_GRACE", "1h").start().await;
    let campaign = Arc::new(Campaign {
        app,
        sink,
        up: watch::Sender::new(true),
        begun: watch::Sender::new(0),
        answered: watch::Sender::new(0),
        over: AtomicBool::new(false),
        tally: Tally::default(),
    });

    let lives = Arc::new(Mutex::new(Vec::new()));
    let mut clients = JoinSet::new();
    for which in 0..CLIENTS {
        let campaign = Arc::clone(&campaign);
        let lives = Arc::clone(&lives);
        clients.spawn_local(async move {
            let mut dice = Dice::of(seed, which);
            while !campaign.over.load(Ordering::Relaxed) {
                let life = client::live(&campaign, which, &mut dice).await;
                lives.lock().unwrap().push(life);
            }
        });
    }

    let mut dice = Dice::of(seed, CLIENTS);
    let mut reaper = Killer { campaign: &campaign, dice: &mut dice, done: 0 };
    while reaper.done < kills {
        tokio::select! {
            () = reaper.kill_once() => {}
            // A client that fails ends the campaign at once, with its ledger.
            Some(Err(failure)) = clients.join_next() => give_up(&campaign, failure),
        }
    }
    campaign.over.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        if let Err(failure) = ended {
            give_up(&campaign, failure);
        }
    }

    let lives = std::mem::take(&mut *lives.lock().unwrap());
    let report = audit::all(&campaign, lives, kills, &mut dice).await;
    announce(&format!("kill -9 on {kind:?}: {report}"));
}

/// Fails with the client's own words, and with the server's last ones.
fn give_up(campaign: &Campaign, failure: JoinError) -> ! {
    keep_evidence();
    announce(&format!("-- the server's last words: {}", campaign.app.tail()));
    std::panic::resume_unwind(failure.into_panic())
}

/// Whoever chooses the instants.
struct Killer<'a> {
    campaign: &'a Campaign,
    dice: &'a mut Dice,
    done: u64,
}

impl Killer<'_> {
    /// Waits for an instant of the dice's choice, kills, and brings the next life up (or kills it at birth, too).
    async fn kill_once(&mut self) {
        let campaign = self.campaign;
        let choice = self.dice.below(6);
        let amount = 1 + self.dice.below(160);
        // A campaign must not hang because nothing happens: then it kills in the silence.
        let patience = Duration::from_secs(3);
        let mut held = None;
        match choice {
            0 | 1 => reach(&campaign.begun, amount, patience).await,
            2 | 3 => reach(&campaign.answered, amount, patience).await,
            _ => {
                let moment = if choice == 4 { Moment::Received } else { Moment::Answered };
                let sprung = campaign.sink.trap(moment);
                held = tokio::time::timeout(patience, sprung).await.ok().and_then(Result::ok);
            }
        }
        // A few turns of the scheduler more or less: the death falls into different places of the same request.
        for _ in 0..self.dice.below(40) {
            tokio::task::yield_now().await;
        }
        self.kill(held).await;
        campaign.app.launch();
        while self.dice.one_in(6) {
            for _ in 0..self.dice.below(12) {
                breath().await;
            }
            self.kill(None).await;
            campaign.app.launch();
        }
        campaign.app.ready().await;
        campaign.up.send_replace(true);
    }

    async fn kill(&mut self, held: Option<tokio::sync::oneshot::Sender<()>>) {
        self.campaign.up.send_replace(false);
        self.campaign.app.kill9();
        drop(held);
        self.campaign.sink.next_epoch().await;
        self.done += 1;
    }
}

/// Waits until a counter has grown by `amount`, or patience ends.
async fn reach(counter: &watch::Sender<u64>, amount: u64, patience: Duration) {
    let mut seen = counter.subscribe();
    let goal = *seen.borrow() + amount;
    let _ = tokio::time::timeout(patience, seen.wait_for(|count| *count >= goal)).await;
}
