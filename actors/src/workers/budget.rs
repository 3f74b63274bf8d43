//! The budget of mails: how many letters one mailbox is sent within an hour, whatever asks for them, and how many of those
//! one network may cause.
//!
//! It is enforced where mail leaves, so that no flow can forget it. A letter over the budget waits, within its life, until
//! there is room again. What was sent, and what is on its way, is read from the rows of the outbox, so that every node
//! comes to the same answer. What this process has let through a moment ago, and whose row does not say so yet, it knows
//! by itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cairn_runtime::outbox::{Courier, DeliveryAttempt, Trouble};
use cairn_runtime::store::StoreFault;
use cairn_runtime::{Charge, Clock, DeliveryId, Domain, Timestamp};
use futures_util::future::BoxFuture;

use crate::effects::{Answer, Auth};
use crate::environment::Environment;

/// Within which letters are counted.
const HOUR: Duration = Duration::from_secs(3_600);
/// Letters of one budget that one network may cause within the hour.
pub const SHARE: usize = 3;
/// How long a letter waits at least that has no room only because others are on their way.
const SOON: Duration = Duration::from_secs(5);
/// Those who wait for the same room do not all ask for it in the same moment: they are spread over so many seconds.
const SPREAD: u64 = 300;
/// How long a letter that was let through is remembered: longer than a conversation with the mail server takes, and the
/// commit of its end.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The note of a letter that waits for room. An index knows these words: see `persistence/src/migration`.
pub const OVER: &str = "waits: too many letters to this mailbox within an hour";

/// A letter that counts against a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charged {
    /// Its id.
    pub id: DeliveryId,
    /// Who asked for it, if that counts.
    pub asked_by: Option<[u8; 32]>,
    /// When it was sent; `None`: it is on its way.
    pub sent: Option<Timestamp>,
}

/// What was sent, and what is on its way.
pub trait SentLetters: Send + Sync + 'static {
    /// The letters of one budget that were sent after `since`, newest first, and those that were committed before the
    /// delivery and are on their way; of both at most `most`. What is dead counts for nothing, nor does what waits for
    /// room.
    fn charged(
        &self,
        budget: [u8; 32],
        since: Timestamp,
        delivery: (Timestamp, DeliveryId),
        most: u32,
    ) -> BoxFuture<'_, Result<Vec<Charged>, StoreFault>>;
}

/// A courier that holds letters to the budget before another carries them.
pub struct Budgeted {
    courier: Arc<dyn Courier<Auth>>,
    sent: Arc<dyn SentLetters>,
    environment: Arc<Environment>,
    clock: Arc<dyn Clock>,
    let_through: Mutex<HashMap<[u8; 32], Vec<LetThrough>>>,
}

/// A letter that this process has given to the mail server within the last minute.
#[derive(Clone, Copy, Debug)]
struct LetThrough {
    letter: Charged,
    at: Timestamp,
}

impl std::fmt::Debug for Budgeted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Budgeted")
    }
}

impl Budgeted {
    /// Counts by `sent`, and gives what is within the budget to `courier`.
    pub fn new(
        courier: Arc<dyn Courier<Auth>>,
        sent: Arc<dyn SentLetters>,
        environment: Arc<Environment>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { courier, sent, environment, clock, let_through: Mutex::default() }
    }

    /// Lets a letter through, or says how long it is to wait.
    async fn admit(&self, attempt: &DeliveryAttempt<Auth>, charge: Charge) -> Result<Option<Duration>, StoreFault> {
        let now = self.clock.now();
        let since = before(now, HOUR);
        let most = self.environment.settings.mail_budget;
        let rows = self.sent.charged(charge.budget, since, (attempt.created, attempt.id), most.max(1)).await?;
        // Checked and noted under one lock: of two letters that come at once, the second sees the first.
        let mut all = self.let_through.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, letters| {
            letters.retain(|one| one.at.after(REMEMBERED) > now);
            !letters.is_empty()
        });
        let own = all.entry(charge.budget).or_default();
        own.retain(|one| one.letter.id != attempt.id);
        let unseen = own.iter().map(|one| one.letter).filter(|one| rows.iter().all(|row| row.id != one.id));
        let counted: Vec<Charged> = rows.iter().copied().chain(unseen).filter(|one| one.id != attempt.id).collect();
        if let Some(free_at) = free_at(&counted, charge.asked_by, usize::try_from(most).unwrap_or(usize::MAX), now) {
            // By the letter's own id, so that no two of a crowd come back in the same moment.
            let place = attempt.id.bytes().iter().fold(0_u64, |sum, byte| sum.wrapping_mul(31) ^ u64::from(*byte));
            let spread = Duration::from_millis(place % (SPREAD * 1_000));
            let wait = if free_at > now { free_at.since(now).saturating_add(spread) } else { SOON };
            return Ok(Some(wait));
        }
        let letter = Charged { id: attempt.id, asked_by: charge.asked_by, sent: None };
        own.push(LetThrough { letter, at: now });
        Ok(None)
    }

    /// A letter that was let through did not go out: it has used nothing up.
    fn give_back(&self, charge: Charge, letter: DeliveryId) {
        let mut all = self.let_through.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = all.get_mut(&charge.budget) {
            own.retain(|one| one.letter.id != letter);
        }
    }
}

fn before(now: Timestamp, span: Duration) -> Timestamp {
    Timestamp(now.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
}

/// When there is room for one more; `None`: at once. An instant that is over says: as soon as it is known what becomes of
/// those that are on their way.
fn free_at(counted: &[Charged], asked_by: Option<[u8; 32]>, most: usize, now: Timestamp) -> Option<Timestamp> {
    let of_all: Vec<Option<Timestamp>> = counted.iter().map(|one| one.sent).collect();
    let same = |one: &&Charged| asked_by.is_some() && one.asked_by == asked_by;
    let of_network: Vec<Option<Timestamp>> = counted.iter().filter(same).map(|one| one.sent).collect();
    [free_among(of_all, most, now), free_among(of_network, SHARE.min(most), now)].into_iter().flatten().max()
}

fn free_among(mut sent: Vec<Option<Timestamp>>, most: usize, now: Timestamp) -> Option<Timestamp> {
    let over = sent.len().checked_sub(most)?;
    // Those that are on their way come last: what becomes of them is known soonest.
    sent.sort_unstable_by_key(|sent| sent.map_or(i64::MAX, |sent| sent.0));
    let leaves = sent.get(over).copied().flatten();
    Some(leaves.map_or(now, |sent| sent.after(HOUR)))
}

impl Courier<Auth> for Budgeted {
    fn is_read_later(&self, lane: &str) -> bool {
        self.courier.is_read_later(lane)
    }

    fn carry(&self, attempt: DeliveryAttempt<Auth>) -> BoxFuture<'_, Result<Answer, Trouble>> {
        Box::pin(async move {
            let charge =
                Auth::charge(&self.environment, &attempt.delivery).filter(|_| self.environment.settings.limits);
            let Some(charge) = charge else { return self.courier.carry(attempt).await };
            match self.admit(&attempt, charge).await {
                Ok(None) => {
                    let id = attempt.id;
                    let carried = self.courier.carry(attempt).await;
                    if carried.is_err() {
                        self.give_back(charge, id);
                    }
                    carried
                }
                Ok(Some(wait)) => {
                    if let Some(letter) = attempt.delivery.mailed() {
                        metrics::counter!("cairn_mail_over_budget_total", "letter" => letter.name()).increment(1);
                    }
                    Err(Trouble::Later { why: OVER.to_owned(), after: Some(wait) })
                }
                Err(why) => Err(Trouble::Later { why: why.to_string(), after: None }),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use cairn_runtime::FlowId;
    use cairn_runtime::testing::clock::FixedClock;
    use futures_util::FutureExt;

    use super::*;
    use crate::effects::{AskedBy, Delivery};
    use crate::environment::Settings;
    use crate::identity::address::Address;
    use crate::letters::Letter;
    use crate::secrets::credential::Seal;
    use crate::secrets::digest::Digest;
    use crate::testing;

    /// The rows of an outbox in memory.
    #[derive(Default)]
    struct Rows(Mutex<Vec<Row>>);

    struct Row {
        budget: [u8; 32],
        created: Timestamp,
        letter: Charged,
        waits: bool,
    }

    impl SentLetters for Rows {
        fn charged(
            &self,
            budget: [u8; 32],
            since: Timestamp,
            delivery: (Timestamp, DeliveryId),
            most: u32,
        ) -> BoxFuture<'_, Result<Vec<Charged>, StoreFault>> {
            let rows = self.0.lock().unwrap();
            let counts = |row: &&Row| match row.letter.sent {
                Some(sent) => sent > since,
                None => !row.waits && (row.created, row.letter.id) < delivery,
            };
            let own = rows.iter().filter(|row| row.budget == budget);
            let counted: Vec<Charged> = own.filter(counts).map(|row| row.letter).rev().take(most as usize).collect();
            async move { Ok(counted) }.boxed()
        }
    }

    /// Takes everything, unless it is told not to.
    #[derive(Default)]
    struct Server {
        is_down: std::sync::atomic::AtomicBool,
    }

    impl Courier<Auth> for Server {
        fn carry(&self, _parcel: DeliveryAttempt<Auth>) -> BoxFuture<'_, Result<Answer, Trouble>> {
            let down = self.is_down.load(std::sync::atomic::Ordering::Relaxed);
            let answer =
                if down { Err(Trouble::Later { why: "down".to_owned(), after: None }) } else { Ok(Answer::Accepted) };
            std::future::ready(answer).boxed()
        }
    }

    struct Office {
        budgeted: Budgeted,
        rows: Arc<Rows>,
        server: Arc<Server>,
        environment: Arc<Environment>,
        clock: Arc<FixedClock>,
    }

    /// A letter that was asked for.
    #[derive(Clone)]
    struct Asked {
        id: DeliveryId,
        created: Timestamp,
        delivery: Delivery,
    }

    impl Office {
        fn new(settings: Settings) -> Self {
            let (rows, server) = (Arc::new(Rows::default()), Arc::new(Server::default()));
            let environment = Arc::new(testing::environment_with(1, settings));
            let clock = Arc::new(FixedClock::at(Timestamp(1_700_000_000_000)));
            let (courier, sent): (Arc<dyn Courier<Auth>>, Arc<dyn SentLetters>) = (server.clone(), rows.clone());
            let budgeted = Budgeted::new(courier, sent, Arc::clone(&environment), clock.clone());
            Self { budgeted, rows, server, environment, clock }
        }

        fn passes(&self, seconds: u64) {
            self.clock.advance(Duration::from_secs(seconds));
        }

        /// Commits a letter.
        fn asks(&self, delivery: Delivery) -> Asked {
            let mut rows = self.rows.0.lock().unwrap();
            let number = u8::try_from(rows.len() + 1).unwrap();
            let (id, created) = (DeliveryId::from_bytes([number; 16]), self.clock.now());
            let charge = Auth::charge(&self.environment, &delivery).unwrap();
            let letter = Charged { id, asked_by: charge.asked_by, sent: None };
            rows.push(Row { budget: charge.budget, created, letter, waits: false });
            Asked { id, created, delivery }
        }

        /// Has it carried, and its end written to its row. `Err`: it waits, so long.
        fn carries(&self, asked: &Asked) -> Result<(), Duration> {
            let Asked { id, created, delivery } = asked.clone();
            let flow = FlowId::from_bytes([1; 16]);
            let attempt = DeliveryAttempt { id, flow, number: 1, created, expires: None, delivery };
            let carried = self.budgeted.carry(attempt).now_or_never().unwrap();
            let mut rows = self.rows.0.lock().unwrap();
            let row = rows.iter_mut().find(|row| row.letter.id == id).unwrap();
            match carried {
                Ok(_) => {
                    row.letter.sent = Some(self.clock.now());
                    Ok(())
                }
                Err(Trouble::Later { why, after }) => {
                    row.waits = why == OVER;
                    Err(after.unwrap_or_default())
                }
                Err(Trouble::Never(why)) => panic!("{why}"),
            }
        }

        /// Commits a letter and has it carried; whether it went out.
        fn sends(&self, delivery: impl Into<Delivery>) -> bool {
            self.passes(1);
            self.carries(&self.asks(delivery.into())).is_ok()
        }
    }

    impl From<Letter> for Delivery {
        fn from(letter: Letter) -> Self {
            Self::Letter(letter)
        }
    }

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    fn known(to: &str) -> Letter {
        Letter::RegistrationKnown { to: address(to) }
    }

    fn seal() -> Seal {
        Seal { key: crate::secrets::ring::KeyId(1), n: 0, salt: [0; 16] }
    }

    fn reset(to: &str) -> Letter {
        Letter::RecoveryReset { to: address(to), seal: seal(), expires_at: Timestamp(i64::MAX) }
    }

    /// The same, asked for from a network.
    fn from(network: u8, letter: Letter) -> Delivery {
        Delivery::AskedLetter { letter, by: AskedBy { network: Digest([network; 32]), known: false } }
    }

    const ADA: &str = "ada@example.org";

    #[test]
    fn no_number_of_notices_keeps_away_what_undoes_a_theft() {
        let office = Office::new(Settings::default());
        let at = Timestamp(0);
        let notice = || Letter::PasswordChanged { to: address(ADA), at };
        assert!((0..10).all(|_| office.sends(notice())));
        assert!(!office.sends(notice()));
        assert!(office.sends(Letter::EmailChanged { to: address(ADA), seal: seal(), at, expires_at: at }));
        assert!(office.sends(Letter::DeletionAsked { to: address(ADA), until: at }));
    }

    #[test]
    fn the_eleventh_letter_within_an_hour_waits_until_there_is_room() {
        let office = Office::new(Settings::default());
        assert!((0..10).all(|_| office.sends(known(ADA))));
        let eleventh = office.asks(known("ADA@EXAMPLE.org").into());
        let wait = office.carries(&eleventh).unwrap_err();
        assert!(wait > HOUR - Duration::from_secs(10) && wait < HOUR + Duration::from_secs(SPREAD), "{wait:?}");
        assert!(office.sends(known("ben@example.org")), "another mailbox has its own");
        office.passes(1_800);
        assert!(office.carries(&eleventh).is_err(), "half an hour is not enough");
        office.passes(1_801);
        assert_eq!(office.carries(&eleventh), Ok(()), "the letter that waited goes out");
    }

    #[test]
    fn what_stands_behind_a_plus_is_the_same_mailbox() {
        let office = Office::new(Settings::default());
        for number in 0..10 {
            assert!(office.sends(known(&format!("ada+{number}@example.org"))));
        }
        assert!(!office.sends(known(ADA)));
        assert!(office.sends(known("+ada@example.org")), "nothing stands before this plus");
    }

    #[test]
    fn one_network_causes_three_of_the_ten_and_keeps_nobody_else_away() {
        let office = Office::new(Settings::default());
        let of_stranger: Vec<bool> = (0..10).map(|_| office.sends(from(7, reset(ADA)))).collect();
        assert_eq!(of_stranger, [[true; 3].as_slice(), &[false; 7]].concat());
        assert!(office.sends(from(8, reset(ADA))), "the owner's own request, from elsewhere");
        let sent = (20..30).filter(|network| office.sends(from(*network, reset(ADA)))).count();
        assert_eq!(sent, 6, "all together they are ten");
    }

    #[test]
    fn a_browser_that_is_known_has_a_budget_of_its_own() {
        let office = Office::new(Settings::default());
        for network in 0..20 {
            office.sends(from(network, reset(ADA)));
        }
        assert!(!office.sends(from(77, reset(ADA))));
        let own = Delivery::AskedLetter { letter: reset(ADA), by: AskedBy { network: Digest([0; 32]), known: true } };
        assert!(office.sends(own));
    }

    #[test]
    fn letters_that_come_at_once_are_not_more_than_those_that_come_in_turn() {
        let office = Office::new(Settings::default());
        let asked: Vec<Asked> = (0..12).map(|network| office.asks(from(network, reset(ADA)))).collect();
        let sent = asked.iter().rev().filter(|one| office.carries(one).is_ok()).count();
        assert_eq!(sent, 10);
    }

    #[test]
    fn what_was_let_through_counts_before_its_row_says_so() {
        let office = Office::new(Settings::default());
        let asked: Vec<Asked> = (0..11).map(|_| office.asks(known(ADA).into())).collect();
        // The rows of none of them are written yet.
        let results: Vec<bool> = asked
            .iter()
            .rev()
            .map(|one| {
                let charge = Auth::charge(&office.environment, &one.delivery).unwrap();
                let flow = FlowId::from_bytes([1; 16]);
                let (id, created, delivery) = (one.id, one.created, one.delivery.clone());
                let attempt = DeliveryAttempt { id, flow, number: 2, created, expires: None, delivery };
                office.rows.0.lock().unwrap().iter_mut().for_each(|row| row.waits = true);
                office.budgeted.admit(&attempt, charge).now_or_never().unwrap().unwrap().is_none()
            })
            .collect();
        assert_eq!(results.iter().filter(|admitted| **admitted).count(), 10, "{results:?}");
    }

    #[test]
    fn a_letter_that_did_not_go_out_uses_nothing_up() {
        let office = Office::new(Settings::default());
        office.server.is_down.store(true, std::sync::atomic::Ordering::Relaxed);
        let asked: Vec<Asked> = (0..10).map(|_| office.asks(known(ADA).into())).collect();
        assert!(asked.iter().all(|one| office.carries(one) == Err(Duration::ZERO)), "the server's own trouble");
        office.server.is_down.store(false, std::sync::atomic::Ordering::Relaxed);
        assert!(asked.iter().all(|one| office.carries(one).is_ok()));
    }

    #[test]
    fn what_goes_to_nobody_waits_as_often_and_keeps_nothing_away() {
        let office = Office::new(Settings::default());
        let by = AskedBy { network: Digest([7; 32]), known: false };
        let nobody = || Delivery::ToNobody { letter: reset(ADA), by };
        let sent: Vec<bool> = (0..10).map(|_| office.sends(nobody())).collect();
        assert_eq!(sent, [[true; 3].as_slice(), &[false; 7]].concat(), "as an owner's, from the same network");
        assert!(office.sends(from(7, reset(ADA))), "whoever has the address by now is written to");
    }

    #[test]
    fn what_strangers_cause_does_not_use_up_what_the_owner_needs() {
        let office = Office::new(Settings::default());
        assert!((0..10).all(|_| office.sends(known(ADA))));
        assert!(!office.sends(known(ADA)));
        assert!(office.sends(reset(ADA)));
    }

    #[test]
    fn what_strangers_are_left_with_does_not_tell_that_the_address_was_proved() {
        let office = Office::new(Settings::default());
        let welcome = || Letter::RegistrationWelcome { to: address(ADA) };
        assert!(office.sends(welcome()));
        assert!((1..11).all(|_| office.sends(known(ADA))));
        assert!(!office.sends(known(ADA)));
        assert!(office.sends(welcome()), "nor do they keep it away");
    }

    #[test]
    fn a_flood_of_resets_does_not_keep_the_notice_of_a_theft_away() {
        let office = Office::new(Settings::default());
        assert_eq!((0..20).filter(|_| office.sends(reset(ADA))).count(), 10);
        assert!(office.sends(Letter::PasswordChanged { to: address(ADA), at: Timestamp(0) }));
    }

    #[test]
    fn without_limits_every_letter_goes_out() {
        let office = Office::new(Settings { limits: false, ..Settings::default() });
        assert!((0..50).all(|_| office.sends(from(1, known(ADA)))));
    }
}
