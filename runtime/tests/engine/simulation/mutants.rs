//! Stores that break one promise each, to see that the simulation finds it: whoever cannot fail proves nothing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use cairn_runtime::effects::Guard;
use cairn_runtime::store::{Claim, Event, Front, Item, OutboxRow, Passing, Row, Store, StoreFault, Verdict};
use cairn_runtime::testing::simulation::{Broken, Settings, run};
use cairn_runtime::testing::store::SimStore;
use cairn_runtime::testing::toy::Toy;
use cairn_runtime::{DeliveryId, FlowId, InputId};
use futures_util::future::BoxFuture;

use super::{Toys, hush};

/// What a store does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    ForgetsInputs,
    AnswersBeforeItCommits,
    LosesDeliveries,
    SharesKeys,
    ForgetsFences,
    WakesNobody,
    SettlesNothing,
    SkipsVersions,
    LosesWrites,
    NamesDeliveriesAnew,
    RepeatsWhatMayNotBe,
    ReadsTheFirstRowForEver,
    SendsOtherContent,
}

struct Mutant {
    inside: Arc<SimStore<Toy>>,
    wrong: Wrong,
    count: AtomicU64,
    first: Mutex<BTreeMap<FlowId, Row>>,
}

impl Mutant {
    /// Every so many calls it does wrong.
    fn now_and_then(&self, every: u64) -> bool {
        self.count.fetch_add(1, Ordering::SeqCst) % every == every - 1
    }

    fn spoil(&self, item: &Item<Toy>) -> Item<Toy> {
        let mut item = item.clone();
        match self.wrong {
            Wrong::ForgetsInputs => {
                item.seen = false;
                let known = self.inside.inspect(|tables| tables.events.contains_key(&item.input));
                if let Some(event) = item.event.as_mut().filter(|_| known) {
                    let number = self.count.fetch_add(1, Ordering::SeqCst);
                    item.input = InputId::from_bytes(u128::from(number + 1).to_be_bytes());
                    event.input = item.input;
                }
            }
            Wrong::LosesDeliveries if self.now_and_then(20) => item.outbox.clear(),
            Wrong::SharesKeys => item.guards.retain(|guard| !matches!(guard, Guard::Claim(_))),
            Wrong::ForgetsFences => item.guards.retain(|guard| !matches!(guard, Guard::Hold(..))),
            Wrong::SettlesNothing => item.settles = None,
            Wrong::SkipsVersions if self.now_and_then(200) => {
                if let Some(change) = &mut item.change {
                    change.row.version += 1;
                }
            }
            Wrong::LosesWrites if self.now_and_then(50) => item.writes.clear(),
            _ => {}
        }
        item
    }
}

impl Passing<Toy> for Mutant {
    fn inside(&self) -> &dyn Store<Toy> {
        self.inside.as_ref()
    }

    fn load(&self, flow: FlowId) -> BoxFuture<'_, Result<Option<Row>, StoreFault>> {
        Box::pin(async move {
            let row = self.inside.load(flow).await?;
            if self.wrong != Wrong::ReadsTheFirstRowForEver {
                return Ok(row);
            }
            let mut first = self.first.lock().unwrap();
            Ok(row.map(|row| first.entry(flow).or_insert(row).clone()))
        })
    }

    fn event(&self, input: InputId) -> BoxFuture<'_, Result<Option<Event>, StoreFault>> {
        if self.wrong == Wrong::ForgetsInputs {
            return Box::pin(std::future::ready(Ok(None)));
        }
        self.inside.event(input)
    }

    fn check<'a>(&'a self, item: &'a Item<Toy>) -> BoxFuture<'a, Result<Verdict, StoreFault>> {
        Box::pin(async move { self.inside.check(&self.spoil(item)).await })
    }

    fn commit<'a>(&'a self, batch: &'a [Item<Toy>]) -> BoxFuture<'a, Result<Vec<Verdict>, StoreFault>> {
        Box::pin(async move {
            if self.wrong == Wrong::AnswersBeforeItCommits && self.now_and_then(50) {
                return Ok(batch.iter().map(|_| Verdict::Done).collect());
            }
            let spoilt: Vec<Item<Toy>> = batch.iter().map(|item| self.spoil(item)).collect();
            self.inside.commit(&spoilt).await
        })
    }

    fn claimed(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
        Box::pin(async move {
            let rows = self.inside.claimed(claim).await?;
            Ok(if self.wrong == Wrong::WakesNobody { Vec::new() } else { rows })
        })
    }

    fn claim_due(&self, claim: Claim) -> BoxFuture<'_, Result<Vec<Row>, StoreFault>> {
        Box::pin(async move {
            let rows = self.inside.claim_due(claim).await?;
            Ok(if self.wrong == Wrong::WakesNobody { Vec::new() } else { rows })
        })
    }

    fn claim_deliveries(&self, lane: &'static str, claim: Claim) -> BoxFuture<'_, Result<Vec<OutboxRow>, StoreFault>> {
        Box::pin(async move {
            let mut claimed = self.inside.claim_deliveries(lane, claim).await?;
            for delivery in &mut claimed {
                match self.wrong {
                    Wrong::RepeatsWhatMayNotBe => (delivery.once, delivery.attempts) = (false, 1),
                    Wrong::NamesDeliveriesAnew => {
                        let mut bytes = *delivery.id.bytes();
                        bytes[15] ^= 1;
                        delivery.id = DeliveryId::from_bytes(bytes);
                        // Sealed for its own name: it is opened and sealed again.
                        delivery.payload[2..18].copy_from_slice(&bytes);
                    }
                    Wrong::SendsOtherContent => {
                        // The toy's seal is a mask of one byte: "everybody" becomes "dverybody".
                        let mask = delivery.payload[1];
                        let plain: Vec<u8> = delivery.payload[18..].iter().map(|byte| byte ^ mask).collect();
                        let text = String::from_utf8(plain).unwrap().replace("\"text\":\"0", "\"text\":\"9");
                        let sealed = text.bytes().map(|byte| byte ^ mask);
                        delivery.payload.splice(18.., sealed);
                    }
                    _ => {}
                }
            }
            Ok(claimed)
        })
    }
}

fn mutated(wrong: Wrong) -> Settings<Toy> {
    let between = move |inside| -> Arc<dyn Store<Toy>> {
        Arc::new(Front(Arc::new(Mutant { inside, wrong, count: AtomicU64::new(0), first: Mutex::default() })))
    };
    Settings { commands: 400, between: Some(Arc::new(between)), ..Settings::default() }
}

/// The first history in which a mutant is found as one that breaks this promise.
fn found(wrong: Wrong, promise: &str) -> Box<Broken> {
    hush();
    let settings = mutated(wrong);
    let named = |broken: &Broken| broken.what.iter().any(|what| what.starts_with(promise));
    let mut otherwise = None;
    for seed in 1..=12 {
        match run(seed, &settings, Toys::default()) {
            Err(broken) if named(&broken) => return broken,
            Err(broken) => otherwise = Some(broken),
            Ok(_) => {}
        }
    }
    match otherwise {
        Some(broken) => panic!("{wrong:?} was found, but not as {promise}:\n{broken}"),
        None => panic!("a store that {wrong:?} passed twelve histories"),
    }
}

#[track_caller]
fn finds(wrong: Wrong, promise: &str) {
    found(wrong, promise);
}

#[test]
fn a_store_that_forgets_inputs_is_found() {
    finds(Wrong::ForgetsInputs, "I3");
}

#[test]
fn a_store_that_answers_before_it_commits_is_found() {
    finds(Wrong::AnswersBeforeItCommits, "I1");
}

#[test]
fn a_store_that_loses_deliveries_is_found() {
    finds(Wrong::LosesDeliveries, "I4");
}

#[test]
fn a_store_that_lets_two_have_one_key_is_found() {
    finds(Wrong::SharesKeys, "I8");
}

#[test]
fn a_store_that_forgets_fences_is_found() {
    finds(Wrong::ForgetsFences, "the workload");
}

#[test]
fn a_store_that_wakes_nobody_is_found() {
    finds(Wrong::WakesNobody, "I7");
}

#[test]
fn a_store_that_settles_nothing_is_found() {
    finds(Wrong::SettlesNothing, "I");
}

#[test]
fn a_store_that_skips_versions_is_found() {
    finds(Wrong::SkipsVersions, "I2");
}

#[test]
fn a_store_that_loses_writes_is_found() {
    finds(Wrong::LosesWrites, "I8");
}

#[test]
fn a_store_that_names_deliveries_anew_is_found() {
    finds(Wrong::NamesDeliveriesAnew, "I4");
}

#[test]
fn a_store_that_repeats_what_may_happen_once_is_found() {
    finds(Wrong::RepeatsWhatMayNotBe, "I6");
}

#[test]
fn a_store_that_always_reads_what_was_first_is_found() {
    finds(Wrong::ReadsTheFirstRowForEver, "I9");
}

#[test]
fn a_store_that_sends_another_content_is_found() {
    finds(Wrong::SendsOtherContent, "I");
}

#[test]
fn a_seed_that_fails_names_itself_and_fails_again_in_the_same_way() {
    let broken = found(Wrong::AnswersBeforeItCommits, "");
    let again = run(broken.seed, &mutated(Wrong::AnswersBeforeItCommits), Toys::default()).unwrap_err();
    assert_eq!(broken, again);
    assert!(broken.to_string().ends_with(&format!("CAIRN_TEST_SEED={} replays it", broken.seed)));
}
