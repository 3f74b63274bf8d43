//! The budget of mails: how many letters one address is sent within an hour, whatever asks for them.
//!
//! It is enforced where mail leaves, so that no flow can forget it. Whether a letter is over the budget follows from the
//! rows of the outbox alone: every node and every attempt comes to the same answer, and counting writes nothing.

use std::sync::Arc;
use std::time::Duration;

use cairn_runtime::outbox::{Carrying, Courier, Trouble};
use cairn_runtime::store::StoreFault;
use cairn_runtime::{DeliveryId, Domain, Timestamp};
use futures_util::future::BoxFuture;

use crate::effects::{Answer, Auth};
use crate::world::World;

/// Within which letters are counted.
const HOUR: Duration = Duration::from_secs(3_600);

/// The note of a letter that did not go out for it.
pub const OVER: &str = "too many letters to this address within an hour";

/// What has been asked to be sent before.
pub trait Postbook: Send + Sync + 'static {
    /// Letters of one budget that were asked for after `since` and before a delivery, and are not dead; at most `most`.
    fn before(
        &self,
        budget: [u8; 32],
        since: Timestamp,
        delivery: (Timestamp, DeliveryId),
        most: u32,
    ) -> BoxFuture<'_, Result<u32, StoreFault>>;
}

/// A courier that holds letters to the budget before another carries them.
pub struct Budgeted {
    courier: Arc<dyn Courier<Auth>>,
    book: Arc<dyn Postbook>,
    world: Arc<World>,
}

impl std::fmt::Debug for Budgeted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Budgeted")
    }
}

impl Budgeted {
    /// Counts in `book`, and gives what is within the budget to `courier`.
    pub fn new(courier: Arc<dyn Courier<Auth>>, book: Arc<dyn Postbook>, world: Arc<World>) -> Self {
        Self { courier, book, world }
    }

    async fn is_over(&self, parcel: &Carrying<Auth>) -> Result<bool, StoreFault> {
        let settings = &self.world.settings;
        let Some(budget) = Auth::budget(&self.world, &parcel.delivery).filter(|_| settings.limits) else {
            return Ok(false);
        };
        let hour = i64::try_from(HOUR.as_millis()).unwrap_or(i64::MAX);
        let since = Timestamp(parcel.created.0.saturating_sub(hour));
        let before = self.book.before(budget, since, (parcel.created, parcel.id), settings.mail_budget).await?;
        Ok(before >= settings.mail_budget)
    }
}

impl Courier<Auth> for Budgeted {
    fn carry(&self, parcel: Carrying<Auth>) -> BoxFuture<'_, Result<Answer, Trouble>> {
        Box::pin(async move {
            match self.is_over(&parcel).await {
                Ok(false) => self.courier.carry(parcel).await,
                Ok(true) => {
                    let letter = Auth::kind(&parcel.delivery);
                    metrics::counter!("cairn_mail_over_budget_total", "letter" => letter).increment(1);
                    Err(Trouble::Never(OVER.to_owned()))
                }
                Err(why) => Err(Trouble::Later { why: why.to_string(), after: None }),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use cairn_runtime::FlowId;

    use super::*;
    use crate::address::Address;
    use crate::credential::Seal;
    use crate::effects::{Delivery, Letter};
    use crate::testing;
    use crate::world::Settings;

    /// A book in memory: what was asked for, by budget.
    #[derive(Default)]
    struct Book(Mutex<Vec<([u8; 32], Timestamp, DeliveryId)>>);

    impl Postbook for Book {
        fn before(
            &self,
            budget: [u8; 32],
            since: Timestamp,
            delivery: (Timestamp, DeliveryId),
            most: u32,
        ) -> BoxFuture<'_, Result<u32, StoreFault>> {
            let lines = self.0.lock().unwrap();
            let earlier = |line: &&([u8; 32], Timestamp, DeliveryId)| {
                line.0 == budget && line.1 > since && (line.1, line.2) < delivery
            };
            let count = u32::try_from(lines.iter().filter(earlier).count()).unwrap().min(most);
            Box::pin(async move { Ok(count) })
        }
    }

    /// Takes everything.
    struct Postman;

    impl Courier<Auth> for Postman {
        fn carry(&self, _parcel: Carrying<Auth>) -> BoxFuture<'_, Result<Answer, Trouble>> {
            Box::pin(async { Ok(Answer::Accepted) })
        }
    }

    struct Office {
        budgeted: Budgeted,
        book: Arc<Book>,
        world: Arc<World>,
        asked: Mutex<u8>,
    }

    impl Office {
        fn new(settings: Settings) -> Self {
            let (book, world) = (Arc::new(Book::default()), Arc::new(testing::world_with(1, settings)));
            let budgeted = Budgeted::new(Arc::new(Postman), Arc::clone(&book) as _, Arc::clone(&world));
            Self { budgeted, book, world, asked: Mutex::new(0) }
        }

        /// Asks for a letter at a second, and has it carried; whether it went out.
        fn sends(&self, letter: Letter, second: i64) -> bool {
            let mut asked = self.asked.lock().unwrap();
            *asked += 1;
            let (id, created) = (DeliveryId::from_bytes([*asked; 16]), Timestamp(second * 1_000));
            let delivery = Delivery::Letter(letter);
            let budget = Auth::budget(&self.world, &delivery).unwrap();
            self.book.0.lock().unwrap().push((budget, created, id));
            let flow = FlowId::from_bytes([1; 16]);
            let parcel = Carrying { id, flow, attempt: 1, created, expires: None, delivery };
            match futures_util::FutureExt::now_or_never(self.budgeted.carry(parcel)).unwrap() {
                Ok(_) => true,
                Err(trouble) => {
                    assert_eq!(trouble, Trouble::Never(OVER.to_owned()));
                    false
                }
            }
        }
    }

    fn known(to: &str) -> Letter {
        Letter::RegistrationKnown { to: Address::parse(to).unwrap() }
    }

    fn reset(to: &str) -> Letter {
        let seal = Seal { key: crate::ring::KeyId(1), n: 0, salt: [0; 16] };
        Letter::RecoveryReset { to: Address::parse(to).unwrap(), seal, expires_at: Timestamp(i64::MAX) }
    }

    #[test]
    fn no_number_of_notices_keeps_away_what_undoes_a_theft() {
        let office = Office::new(Settings::default());
        let to = || Address::parse("ada@example.org").unwrap();
        let at = Timestamp(0);
        let notice = || Letter::PasswordChanged { to: to(), at };
        assert!((0..10).all(|second| office.sends(notice(), second)));
        assert!(!office.sends(notice(), 10));
        let seal = Seal { key: crate::ring::KeyId(1), n: 0, salt: [0; 16] };
        let changed = Letter::EmailChanged { to: to(), seal, at, expires_at: at };
        assert!(office.sends(changed, 11));
        assert!(office.sends(Letter::DeletionAsked { to: to(), until: at }, 12));
    }

    #[test]
    fn the_eleventh_letter_within_an_hour_does_not_go_out() {
        let office = Office::new(Settings::default());
        let sent: Vec<bool> = (0..12).map(|second| office.sends(known("ada@example.org"), second)).collect();
        assert_eq!(sent, [[true; 10].as_slice(), &[false; 2]].concat());
        assert!(!office.sends(known("ADA@EXAMPLE.org"), 60), "however the address is typed");
        assert!(office.sends(known("ben@example.org"), 60), "another address has its own");
        assert!(office.sends(known("ada@example.org"), 2 * 3_600 + 60), "an hour later it may again");
    }

    #[test]
    fn what_strangers_cause_does_not_use_up_what_the_owner_needs() {
        let office = Office::new(Settings::default());
        assert!((0..10).all(|second| office.sends(known("ada@example.org"), second)));
        assert!(!office.sends(known("ada@example.org"), 11));
        assert!(office.sends(reset("ada@example.org"), 12));
    }

    #[test]
    fn what_strangers_are_left_with_does_not_tell_that_the_address_was_proved() {
        let office = Office::new(Settings::default());
        let welcome = || Letter::RegistrationWelcome { to: Address::parse("ada@example.org").unwrap() };
        assert!(office.sends(welcome(), 0));
        assert!((1..11).all(|second| office.sends(known("ada@example.org"), second)));
        assert!(!office.sends(known("ada@example.org"), 11));
        assert!(office.sends(welcome(), 12), "nor do they keep it away");
    }

    #[test]
    fn a_flood_of_resets_does_not_keep_the_notice_of_a_theft_away() {
        let office = Office::new(Settings::default());
        assert_eq!((0..20).filter(|second| office.sends(reset("ada@example.org"), *second)).count(), 10);
        let changed = Letter::PasswordChanged { to: Address::parse("ada@example.org").unwrap(), at: Timestamp(0) };
        assert!(office.sends(changed, 21));
    }

    #[test]
    fn without_limits_every_letter_goes_out() {
        let office = Office::new(Settings { limits: false, ..Settings::default() });
        assert!((0..50).all(|second| office.sends(known("ada@example.org"), second)));
    }
}
