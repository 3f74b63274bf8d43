//! The contract of [`crate::store::Store`] as sentences that can be run: every store is held to all of them.
//!
//! Each sentence is given an empty store of its own. A store that a real database stands behind passes them over a
//! table of counters (a name, a sum) that takes the writes of the toy domain.

#![allow(
    clippy::missing_panics_doc,
    clippy::indexing_slicing,
    reason = "the sentences are tests that other crates run: they assert, and a panic is their verdict"
)]

pub mod batches;
pub mod claims;
pub mod deliveries;
pub mod expiry;
pub mod given;
pub mod guards;
pub mod operator;
pub mod settling;
pub mod steps;
pub mod upkeep;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use self::given::Draft;
use super::store::SimStore;
use super::toy::{Toy, ToyWrite};
use crate::id::FlowId;
use crate::store::{Event, Item, OutboxRow, Row, Store, StoreFault, Verdict};

/// Looks where the port does not.
pub trait Probe: Send + Sync + 'static {
    /// The sum of a toy counter; 0 when nobody added to it.
    fn counter<'a>(&'a self, name: &'a str) -> BoxFuture<'a, i64>;
    /// The number of a guard; `None` when nobody has the key.
    fn guard<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Option<i64>>;
}

impl Probe for SimStore<Toy> {
    fn counter<'a>(&'a self, name: &'a str) -> BoxFuture<'a, i64> {
        let sum = |(_, ToyWrite::Add { counter, by }): &(_, ToyWrite)| if counter == name { *by } else { 0 };
        let total = self.inspect(|tables| tables.written.iter().map(sum).sum());
        Box::pin(std::future::ready(total))
    }

    fn guard<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Option<i64>> {
        Box::pin(std::future::ready(self.inspect(|tables| tables.guards.get(key).copied())))
    }
}

/// An empty store on the bench, and the probe that looks into it.
#[derive(Clone)]
pub struct Bench {
    /// The store.
    pub store: Arc<dyn Store<Toy>>,
    /// The probe.
    pub probe: Arc<dyn Probe>,
}

/// One sentence of the contract.
#[derive(Clone, Copy)]
pub struct Sentence {
    /// What holds, as a name.
    pub name: &'static str,
    /// Tries it; panics when it does not hold.
    pub holds: fn(Bench) -> BoxFuture<'static, ()>,
}

impl fmt::Debug for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Tries every sentence on a fresh store, one after the other, and says at the end which did not hold.
pub async fn run_all(fresh: impl AsyncFn() -> Bench) {
    let sentences = all();
    let mut broken = Vec::new();
    for sentence in &sentences {
        let bench = fresh().await;
        if AssertUnwindSafe((sentence.holds)(bench)).catch_unwind().await.is_err() {
            eprintln!("does not hold: {}", sentence.name);
            broken.push(sentence.name);
        }
    }
    assert!(broken.is_empty(), "{} of {} sentences do not hold: {broken:#?}", broken.len(), sentences.len());
}

impl Bench {
    /// Commits a batch. A conflict is tried again, as the committer does.
    pub async fn commit(&self, drafts: impl IntoIterator<Item = Draft>) -> Vec<Verdict> {
        let batch: Vec<Item<Toy>> = drafts.into_iter().map(|draft| draft.item).collect();
        for _ in 0..100 {
            match self.store.commit(&batch).await {
                Ok(verdicts) => {
                    assert_eq!(verdicts.len(), batch.len(), "one verdict for each item");
                    return verdicts;
                }
                Err(StoreFault::Conflict(_)) => {}
                Err(fault) => panic!("a batch that breaks nothing was refused: {fault}"),
            }
        }
        panic!("a hundred conflicts in a row");
    }

    /// Commits one item.
    pub async fn verdict(&self, draft: Draft) -> Verdict {
        self.commit([draft]).await.remove(0)
    }

    /// Commits one item, which must be possible.
    pub async fn done(&self, draft: Draft) {
        assert_eq!(self.verdict(draft).await, Verdict::Done);
    }

    /// A flow's row, which must be there.
    pub async fn row(&self, flow: FlowId) -> Row {
        self.load(flow).await.expect("the row is there")
    }

    /// A flow's row.
    pub async fn load(&self, flow: FlowId) -> Option<Row> {
        self.store.load(flow).await.expect("a read")
    }

    /// A flow's history.
    pub async fn history(&self, flow: FlowId) -> Vec<Event> {
        self.store.history(flow).await.expect("a read")
    }

    /// What a flow asked to have delivered.
    pub async fn deliveries(&self, flow: FlowId) -> Vec<OutboxRow> {
        self.store.deliveries(flow).await.expect("a read")
    }

    /// How many flows, events and deliveries there are.
    pub async fn figures(&self) -> [u64; 3] {
        let audit = self.store.audit(given::at(0)).await.expect("an audit");
        [audit.flows, audit.events, audit.deliveries]
    }

    /// Asserts that an audit finds nothing.
    pub async fn is_sound(&self) {
        let audit = self.store.audit(given::at(0)).await.expect("an audit");
        assert_eq!(audit.findings, [], "nothing is wrong, yet the audit says so");
    }
}

macro_rules! sentences {
    ($($room:ident { $($name:ident)* })*) => {
        /// Every sentence, in an order that tells of simple things first.
        pub fn all() -> Vec<Sentence> {
            vec![$($(
                Sentence { name: stringify!($name), holds: |bench| Box::pin($room::$name(bench)) },
            )*)*]
        }
    };
}

sentences! {
    steps {
        what_is_not_there_is_not_found
        a_start_makes_a_row_and_its_event
        a_step_moves_the_row_by_one_version
        every_column_is_kept_as_written
        the_bytes_of_a_state_are_kept_exactly
        the_bytes_of_a_payload_are_kept_exactly
        a_gap_between_versions_is_refused
        what_is_stale_leaves_nothing_behind
        a_version_that_an_item_only_expects_must_stand
        an_act_has_an_event_and_no_row
        a_flow_opened_within_a_step_begins_with_it
        an_opened_flow_whose_id_is_taken_undoes_the_step
        history_is_in_order_of_versions
        deliveries_are_listed_oldest_first
    }
    guards {
        a_claim_takes_a_key_at_number_zero
        a_taken_key_is_lost_and_the_other_claims_go
        a_key_that_was_given_back_can_be_claimed_anew
        giving_back_what_is_not_there_is_no_loss
        a_hold_stands_only_while_the_number_does
        a_bump_raises_the_number_that_it_expects
        the_lost_guard_is_named_by_its_place
        a_guard_sees_what_the_one_before_it_has_left
        keys_differ_in_every_character
        many_items_of_a_batch_may_hold_one_key
        check_says_what_a_commit_would_say
        a_race_for_a_key_has_one_winner
        racing_bumps_are_all_counted_or_have_one_winner
        nothing_that_held_a_fence_is_committed_after_its_bump
    }
    expiry {
        a_claim_that_has_expired_is_free_for_the_next
        a_claim_that_has_not_expired_is_not_free
        what_has_expired_can_be_neither_held_nor_raised
        a_claim_over_an_expired_one_begins_anew
        of_two_claims_of_one_expired_key_in_a_batch_one_wins
        a_race_for_an_expired_key_has_one_winner
        what_has_expired_is_swept_in_small_bites_and_nothing_else
    }
    batches {
        an_empty_batch_is_nothing
        writes_of_a_batch_add_up
        a_repeat_of_an_input_finds_its_event
        a_new_input_passes_though_it_is_looked_for
        an_unseen_repeat_of_a_start_is_no_error
        a_batch_that_runs_again_finds_itself_done
        one_third_of_a_batch_fails_and_the_rest_stands
        a_batch_of_the_greatest_size_with_everything_in_it_stands
        racing_steps_of_one_flow_have_one_winner
        an_item_sees_what_those_before_it_in_its_batch_have_left
        a_guard_is_judged_before_the_delivery_that_ends
    }
    settling {
        a_delivery_is_settled_once
        a_dead_delivery_remembers_why
        a_success_clears_the_note_of_the_failure_before
        what_is_not_there_counts_as_settled
        a_settlement_and_its_step_are_one
        racing_settlements_have_one_winner
    }
    claims {
        a_due_flow_is_claimed_once_and_counted
        what_is_not_due_or_finished_or_set_aside_is_not_claimed
        the_longest_overdue_come_first_and_no_more_than_asked
        a_claim_runs_out
        a_flow_that_failed_before_comes_alone
        a_step_gives_the_claim_back
        a_claim_can_be_given_back_early
        a_claim_that_has_lapsed_is_not_given_back_for_another
        all_claimed_flows_are_given_back
        a_claim_whose_answer_was_lost_is_read_back
        racing_nodes_claim_no_flow_twice
    }
    deliveries {
        a_due_delivery_is_claimed_once_and_counted
        what_is_settled_or_not_due_is_not_claimed
        the_oldest_deliveries_come_first_and_no_more_than_asked
        each_lane_is_claimed_apart
        a_delivery_may_be_committed_in_the_hands_of_its_node
        a_claim_of_a_delivery_runs_out
        a_delivery_can_be_put_off
        what_is_settled_cannot_be_put_off
        all_claimed_deliveries_are_given_back
        racing_nodes_claim_no_delivery_twice
    }
    operator {
        a_flow_is_set_aside_with_its_reason_and_its_bytes
        a_flow_that_moved_is_not_set_aside
        a_flow_in_quarantine_takes_no_step
        only_what_is_in_quarantine_can_be_operated_on
        retry_gives_it_another_chance_at_once
        skip_lets_a_wake_up_wait_a_day_and_ends_what_it_waited_for
        skip_gives_up_the_signals_that_failed_and_no_others
        end_is_for_ever
    }
    upkeep {
        a_ping_is_answered
        the_next_due_instant_is_known_however_far
        counts_tell_what_lives_waits_and_died
        an_audit_counts_and_finds_nothing_wrong
        an_audit_names_what_is_set_aside
        an_audit_finds_a_version_without_its_event
        an_audit_finds_a_gap_in_a_history
        payloads_are_wiped_before_their_rows_go
        what_nobody_reads_later_is_wiped_when_it_has_arrived
        only_what_is_old_and_over_goes
        retention_takes_small_bites_and_leaves_no_gap
        what_the_domain_keeps_for_less_goes_sooner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_store_in_memory_keeps_the_contract() {
        run_all(async || {
            let store = Arc::new(SimStore::<Toy>::new());
            Bench { store: store.clone(), probe: store }
        })
        .await;
    }

    #[test]
    fn every_sentence_has_a_name_of_its_own() {
        let mut names: Vec<&str> = all().iter().map(|sentence| sentence.name).collect();
        let before = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), before > 60), (before, true));
    }
}
