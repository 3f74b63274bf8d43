//! Who carries which delivery: each kind has a worker of its own.

use std::fmt;
use std::sync::Arc;

use cairn_runtime::outbox::{Courier, DeliveryAttempt, Trouble};
use futures_util::future::BoxFuture;

use crate::effects::{Answer, Auth, Delivery, MAIL};

/// The workers, by what they carry. Each has a lane of its own in the outbox, so that none waits for another.
pub struct Workers {
    /// Letters, and what stands for a letter to nobody.
    pub mail: Arc<dyn Courier<Auth>>,
}

impl Workers {
    fn of(&self, delivery: &Delivery) -> &dyn Courier<Auth> {
        match delivery {
            Delivery::Letter(_) | Delivery::AskedLetter { .. } | Delivery::ToNobody { .. } => &*self.mail,
        }
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Workers")
    }
}

impl Courier<Auth> for Workers {
    fn carry(&self, attempt: DeliveryAttempt<Auth>) -> BoxFuture<'_, Result<Answer, Trouble>> {
        self.of(&attempt.delivery).carry(attempt)
    }

    fn is_read_later(&self, lane: &str) -> bool {
        lane == MAIL.name && self.mail.is_read_later(lane)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use cairn_runtime::{DeliveryId, Domain, FlowId, Lane, Timestamp};
    use futures_util::FutureExt;

    use super::*;
    use crate::effects::AskedBy;
    use crate::letters::Letter;
    use crate::secrets::digest::Digest;
    use crate::testing;

    /// Notes what it is given.
    #[derive(Default)]
    struct Notes(Mutex<Vec<Delivery>>);

    impl Courier<Auth> for Notes {
        fn carry(&self, attempt: DeliveryAttempt<Auth>) -> BoxFuture<'_, Result<Answer, Trouble>> {
            self.0.lock().unwrap().push(attempt.delivery);
            std::future::ready(Ok(Answer::Accepted)).boxed()
        }

        fn is_read_later(&self, _lane: &str) -> bool {
            true
        }
    }

    #[test]
    fn letters_go_to_the_worker_that_mails() {
        let notes = Arc::new(Notes::default());
        let workers = Workers { mail: notes.clone() };
        let letter = Letter::RegistrationWelcome { to: testing::address("ada@example.org") };
        let by = AskedBy { network: Digest([1; 32]), known: false };
        let deliveries = [
            Delivery::Letter(letter.clone()),
            Delivery::AskedLetter { letter: letter.clone(), by },
            Delivery::ToNobody { letter, by },
        ];
        for (number, delivery) in (1..).zip(&deliveries) {
            let attempt = DeliveryAttempt {
                id: DeliveryId::from_bytes([number; 16]),
                flow: FlowId::from_bytes([0; 16]),
                number: 1,
                created: Timestamp(1),
                expires: None,
                delivery: delivery.clone(),
            };
            assert_eq!(workers.carry(attempt).now_or_never(), Some(Ok(Answer::Accepted)));
        }
        assert_eq!(*notes.0.lock().unwrap(), deliveries);
    }

    #[test]
    fn what_is_read_later_is_said_by_the_worker_of_its_lane() {
        let workers = Workers { mail: Arc::new(Notes::default()) };
        let read_later = |lane: &str| workers.is_read_later(lane);
        assert!(Auth::LANES.iter().map(|lane| lane.name).all(read_later));
        assert!(!read_later(Lane::named("elsewhere").name), "nobody reads what is carried in a lane of others");
    }
}
