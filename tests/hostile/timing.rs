//! Timing: the clock tells strangers nothing either. Whoever has an account, an answer takes as long.
//!
//! Tries of all kinds are made side by side in time, in a random order, so that whatever else the machine does meets
//! all of them alike. Two kinds are called the same when the differences within their pairs pass a test of equivalence:
//! two one-sided sign tests, each of which must show that fewer than half of the differences exceed the margin, a
//! quarter of what a hash takes. So noise alone can never make two kinds pass, it only makes more tries needed; and a
//! difference of one hash is planted in each trial and must be found.
//!
//! Limits are on, as they are where it matters: failures are counted, which must take as long for nobody as for somebody.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use tokio::sync::Mutex;

use crate::support::client::{Client, Request};
use crate::support::person::{Tokens, flow_id};
use crate::support::{App, Dice, Kind, Person, announce, json, proving};

of_each_kind!(signing_in_takes_as_long_whoever_has_an_account, asking_for_a_reset_takes_as_long_whoever_has_an_account,);

/// Tries of each kind with the same people: a tenth wrong password for one identifier would begin a slow-down.
const ROUNDS: usize = 9;
/// How many deviations from an even split convince: one time in two thousand by chance.
const CONVINCING: f64 = 3.3;

/// What pairs of tries say about two kinds of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// They differ by less than the margin.
    Same,
    /// They differ by more than it.
    Different,
    /// There is too much noise for so few pairs.
    Unclear,
}

/// Judges differences within pairs (in seconds) by how many lie beyond the margin on either side.
fn judge(differences: &[f64], margin: f64) -> Verdict {
    let all = differences.len() as f64;
    let share = |beyond: &dyn Fn(f64) -> bool| differences.iter().filter(|d| beyond(**d)).count() as f64 / all;
    let (above, below) = (share(&|d| d > margin), share(&|d| d < -margin));
    // Deviations of a share from one half, under the hypothesis that it is one half.
    let convinces = |share: f64| (share - 0.5) * 2.0 * all.sqrt() > CONVINCING;
    if convinces(above) || convinces(below) {
        Verdict::Different
    } else if convinces(1.0 - above) && convinces(1.0 - below) {
        Verdict::Same
    } else {
        Verdict::Unclear
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// One kind of try: its name, its answer's status, and the request, which is made anew each time.
struct Try<'a> {
    status: u16,
    request: Box<dyn Fn(Client) -> Request + 'a>,
}

fn attempt<'a>(status: u16, request: impl Fn(Client) -> Request + 'a) -> Try<'a> {
    Try { status, request: Box::new(request) }
}

/// A server with limits on, and clients enough that none of them meets one.
struct Trial {
    app: App,
    next: AtomicU32,
    /// What stops before any hash is made, and its counterpart with one: the difference that must be found.
    planted: (usize, usize),
    /// The kinds that must be the same.
    alike: &'static [(usize, usize)],
    names: &'static [&'static str],
}

impl Trial {
    async fn new(kind: Kind, names: &'static [&'static str], alike: &'static [(usize, usize)]) -> Self {
        let plan = App::plan(kind).named("timing").unset("CAIRN_LIMITS").set("RUST_LOG", "warn");
        let app = plan.set("CAIRN_ACCESS_TTL", "4h").set("CAIRN_STEP_UP_AGE", "4h").start().await;
        Self { app, next: AtomicU32::new(0), planted: (0, 1), alike, names }
    }

    /// The next of some thousand clients.
    fn client(&self) -> Client {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.app.client().at_loopback(u8::try_from(2 + number % 250).unwrap())
    }

    async fn registers(&self, person: &Person) -> String {
        flow_id(&self.client().post("/auth/register", &person.registration()).send().await.expect(202))
    }

    async fn joins(&self, person: &Person) {
        let flow = self.registers(person).await;
        let code = person.verification(&self.app).await.code();
        self.client().post("/auth/verify-email", &json!({"flow": flow, "code": code})).send().await.expect(200);
    }

    /// Makes each try once a round, in a random order, and notes how long it took.
    async fn rounds(&self, tries: &[Try<'_>], dice: &mut Dice) -> Vec<Vec<f64>> {
        let mut took = vec![Vec::new(); tries.len()];
        for _ in 0..ROUNDS {
            let mut order: Vec<usize> = (0..tries.len()).collect();
            for last in (1..order.len()).rev() {
                order.swap(last, dice.index(last + 1));
            }
            for which in order {
                let request = (tries[which].request)(self.client());
                let begun = Instant::now();
                let answer = request.send().await;
                took[which].push(begun.elapsed().as_secs_f64());
                assert_eq!(answer.status, tries[which].status, "{}: {answer}", self.names[which]);
            }
        }
        took
    }

    /// Goes on until every comparison is clear, at the most for eight times as long as it would take without noise.
    async fn judge(&self, what: &str, mut lanes: impl AsyncFnMut(u64) -> Vec<Vec<f64>>) {
        // Two tries a pair: 200 of them at the least, and 1 000 where there is time.
        let least = if proving() { 500 } else { 100 };
        let mut took: Vec<Vec<f64>> = vec![Vec::new(); self.names.len()];
        let apart = |took: &[Vec<f64>], (one, other): (usize, usize)| -> Vec<f64> {
            took[one].iter().zip(&took[other]).map(|(one, other)| other - one).collect()
        };
        let mut batch = 0;
        loop {
            for (all, more) in took.iter_mut().zip(lanes(batch).await) {
                all.extend(more);
            }
            batch += 1;
            let pairs = took[0].len();
            if pairs < least {
                continue;
            }
            let hash = median(&apart(&took, self.planted));
            let margin = hash / 4.0;
            let planted = judge(&apart(&took, self.planted), margin);
            let verdicts: Vec<Verdict> = self.alike.iter().map(|pair| judge(&apart(&took, *pair), margin)).collect();
            let told: Vec<String> = self
                .alike
                .iter()
                .zip(&verdicts)
                .map(|(pair, verdict)| {
                    let ms = median(&apart(&took, *pair)) * 1_000.0;
                    format!("{} → {}: {ms:+.2} ms, {verdict:?}", self.names[pair.0], self.names[pair.1])
                })
                .collect();
            let told = format!("{what}, {pairs} pairs, a hash takes {:.1} ms; {}", hash * 1_000.0, told.join("; "));
            assert!(!verdicts.contains(&Verdict::Different), "the clock tells them apart: {told}");
            if planted == Verdict::Different && verdicts.iter().all(|verdict| *verdict == Verdict::Same) {
                announce(&told);
                return;
            }
            assert!(pairs < 8 * least, "nothing can be said on this machine (planted: {planted:?}): {told}");
        }
    }
}

/// One trial at a time: two of them would be each other's noise.
static QUIET: Mutex<()> = Mutex::const_new(());

/// Two lanes of tries at once, each with its own people: a machine with two cores is done in half the time.
macro_rules! two_lanes {
    ($trial:expr, $batch:ident, $people:expr) => {{
        let (people, batch) = (&$people, $batch);
        let lane = |lane: u64| async move {
            let mut dice = Dice::of(Dice::seed(), batch * 2 + lane);
            people(&mut dice).await
        };
        let (one, two) = tokio::join!(lane(0), lane(1));
        one.into_iter().zip(two).map(|(one, two)| [one, two].concat()).collect()
    }};
}

async fn signing_in_takes_as_long_whoever_has_an_account(kind: Kind) {
    let _quiet = QUIET.lock().await;
    let names = &["refused unread", "nobody", "owner", "unverified", "no username", "owner's username"];
    let trial = &Trial::new(kind, names, &[(1, 2), (1, 3), (4, 5), (1, 4)]).await;
    let people = async |dice: &mut Dice| {
        let (owner, waiting) = (Person::new("owner"), Person::new("waiting"));
        trial.joins(&owner).await;
        trial.registers(&waiting).await;
        let wrong = "velvet tractor wrong umbrella";
        let login = |client: Client, body| client.post("/auth/login", &body);
        let tries = [
            attempt(400, |client| login(client, json!({"email": "a@b.example", "username": "a", "password": wrong}))),
            attempt(401, |client| login(client, json!({"email": Person::new("nobody").email, "password": wrong}))),
            attempt(401, |client| login(client, json!({"email": owner.email, "password": wrong}))),
            attempt(401, |client| login(client, waiting.credentials())),
            attempt(401, |client| {
                login(client, json!({"username": Person::new("nobody").username, "password": wrong}))
            }),
            attempt(401, |client| login(client, json!({"username": owner.username, "password": wrong}))),
        ];
        trial.rounds(&tries, dice).await
    };
    trial.judge("signing in", async |batch| two_lanes!(trial, batch, people)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn registering_takes_as_long_whoever_has_an_account() {
    let _quiet = QUIET.lock().await;
    let names = &["refused unread", "nobody", "owner", "unverified"];
    let trial = &Trial::new(Kind::Sqlite, names, &[(1, 2), (1, 3)]).await;
    let people = async |dice: &mut Dice| {
        let (owner, waiting) = (Person::new("owner"), Person::new("waiting"));
        trial.joins(&owner).await;
        trial.registers(&waiting).await;
        let register = |client: Client, email: &str, password: &str| {
            client.post("/auth/register", &json!({"email": email, "password": password}))
        };
        let good = "velvet tractor umbrella fjord";
        let tries = [
            attempt(422, |client| register(client, &Person::new("nobody").email, "short")),
            attempt(202, |client| register(client, &Person::new("nobody").email, good)),
            attempt(202, |client| register(client, &owner.email, good)),
            attempt(202, |client| register(client, &waiting.email, good)),
        ];
        trial.rounds(&tries, dice).await
    };
    trial.judge("registering", async |batch| two_lanes!(trial, batch, people)).await;
}

async fn asking_for_a_reset_takes_as_long_whoever_has_an_account(kind: Kind) {
    let _quiet = QUIET.lock().await;
    // No hash is made here; a sign-in beside shows what one takes.
    let names = &["nobody", "a sign-in", "owner", "unverified"];
    let trial = &Trial::new(kind, names, &[(0, 2), (0, 3)]).await;
    let people = async |dice: &mut Dice| {
        let (owner, waiting) = (Person::new("owner"), Person::new("waiting"));
        trial.joins(&owner).await;
        trial.registers(&waiting).await;
        let ask = |client: Client, email: &str| client.post("/auth/password-reset/request", &json!({"email": email}));
        let tries = [
            attempt(202, |client| ask(client, &Person::new("nobody").email)),
            attempt(401, |client| client.post("/auth/login", &Person::new("nobody").credentials())),
            attempt(202, |client| ask(client, &owner.email)),
            attempt(202, |client| ask(client, &waiting.email)),
        ];
        trial.rounds(&tries, dice).await
    };
    trial.judge("asking for a reset", async |batch| two_lanes!(trial, batch, people)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn asking_for_another_address_takes_as_long_whoever_has_it() {
    let _quiet = QUIET.lock().await;
    let names = &["refused unread", "nobody's", "an owner's", "an unverified one's"];
    let trial = &Trial::new(Kind::Sqlite, names, &[(1, 2), (1, 3)]).await;
    let people = async |dice: &mut Dice| {
        let (owner, waiting, mover) = (Person::new("owner"), Person::new("waiting"), Person::new("mover"));
        trial.joins(&owner).await;
        trial.joins(&mover).await;
        trial.registers(&waiting).await;
        let login = trial.client().post("/auth/login", &mover.credentials());
        let tokens = Tokens::of(&login.send().await.expect(200));
        let ask = |client: Client, email: &str| {
            let body = json!({"new_email": email, "password": mover.password});
            client.post("/auth/email-change", &body).bearer(&tokens.access)
        };
        let tries = [
            attempt(422, |client| ask(client, "no address")),
            attempt(202, |client| ask(client, &Person::new("nobody").email)),
            attempt(202, |client| ask(client, &owner.email)),
            attempt(202, |client| ask(client, &waiting.email)),
        ];
        trial.rounds(&tries, dice).await
    };
    trial.judge("asking for another address", async |batch| two_lanes!(trial, batch, people)).await;
}

/// Differences as a busy machine gives them: a hash of 30 ms that jitters, and now and then somebody else's turn.
fn differences(dice: &mut Dice, pairs: usize, planted: f64, jitter: f64) -> Vec<f64> {
    let mut took = |more: f64| {
        let turns = if dice.one_in(12) { 200.0 } else { 0.0 };
        let even = dice.below(1_000_000) as f64 / 1_000_000.0;
        (30.0 + more + jitter * even + turns * even) / 1_000.0
    };
    (0..pairs).map(|_| took(planted) - took(0.0)).collect()
}

#[test]
fn a_hash_that_is_left_out_is_found_and_noise_alone_is_not() {
    let margin = 30.0 / 4.0 / 1_000.0;
    for seed in 0..200 {
        let mut dice = Dice::new(seed);
        for planted in [30.0, -30.0, 20.0] {
            assert_eq!(judge(&differences(&mut dice, 100, planted, 20.0), margin), Verdict::Different, "{planted} ms");
        }
        assert_eq!(judge(&differences(&mut dice, 100, 0.0, 8.0), margin), Verdict::Same);
        assert_eq!(judge(&differences(&mut dice, 500, 1.0, 20.0), margin), Verdict::Same);
        // Whatever the noise hides, it never passes for sameness.
        assert_ne!(judge(&differences(&mut dice, 100, 30.0, 120.0), margin), Verdict::Same);
        assert_eq!(judge(&differences(&mut dice, 100, 0.0, 2_000.0), margin), Verdict::Unclear);
    }
    assert_eq!(judge(&[], margin), Verdict::Unclear);
    assert_eq!(judge(&[0.0; 9], margin), Verdict::Unclear, "nine pairs convince nobody");
}
