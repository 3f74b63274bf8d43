//! What is looked at after the campaign: the ledgers against the server, the sink's letters, and the rows themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinSet;

use super::client::ClientRun;
use super::{CLIENTS, Campaign};
use crate::support::audit::{Audit, outbox_drained};
use crate::support::person::Tokens;
use crate::support::token::claims;
use crate::support::{Dice, json};

/// Holds everything to account and answers the figures.
pub async fn all(campaign: &Arc<Campaign>, lives: Vec<ClientRun>, kills: u64, dice: &mut Dice) -> String {
    assert!(lives.len() as u64 >= CLIENTS, "only {} lives: the campaign did not do its work", lives.len());
    let dead = outbox_drained(&campaign.app).await;
    assert_eq!(dead, 0, "deliveries ended dead though the mail server took all");

    let addresses: BTreeSet<&str> = lives.iter().map(|life| life.home.as_str()).collect();
    let users: BTreeSet<&str> = lives.iter().map(|life| life.user.as_str()).collect();
    assert_eq!(users.len(), addresses.len(), "one user an address");
    let letters = letters(campaign, &lives, kills);

    let people = lives.len();
    let chains = lives.iter().filter(|life| !life.signed_out).count();
    let mut checks = JoinSet::new();
    let queue = Arc::new(std::sync::Mutex::new(lives));
    for which in 0..8 {
        let campaign = Arc::clone(campaign);
        let queue = Arc::clone(&queue);
        let mut dice = Dice::new(dice.throw() ^ which);
        checks.spawn_local(async move {
            loop {
                let Some(life) = queue.lock().unwrap().pop() else { return };
                one(&campaign, life, &mut dice).await;
            }
        });
    }
    while let Some(done) = checks.join_next().await {
        if let Err(failure) = done {
            super::give_up(campaign, failure);
        }
    }

    let rows = Audit::of(&campaign.app).await;
    rows.must_be_clean();
    let of = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
    let tally = &campaign.tally;
    format!(
        "{kills} kills survived\n\
        acknowledged and found: {} registrations, {} verifications of {people} people, {} sign-ins, {} refreshes in {chains} open chains\n\
        changed and held to: {} passwords reset, {} changed, {} addresses changed, {} of them taken back, {} farewells taken back\n\
        met on the way: {} broken connections, {} hung up, {} answers of 503, {} repeats that got the same answer\n\
        letters: {letters}\nrows: {rows}, no finding",
        of(&tally.registered),
        of(&tally.verified),
        of(&tally.signed_in),
        of(&tally.refreshed),
        of(&tally.reset),
        of(&tally.changed),
        of(&tally.moved),
        of(&tally.undone),
        of(&tally.restored),
        of(&tally.broken),
        of(&tally.hung_up),
        of(&tally.unavailable),
        of(&tally.repeated),
    )
}

/// One person can sign in as the user they were told; their flow is verified; their chain goes on, or is ended.
async fn one(campaign: &Campaign, life: ClientRun, dice: &mut Dice) {
    let ClientRun { ledger, person, flows, user, tokens, predecessor, signed_out, home: _ } = life;
    let client = campaign.app.client();
    let answer = client.post("/auth/login", &person.credentials()).send().await;
    ledger.check(answer.status == 200, format!("a verified person cannot sign in: {answer}"));
    let signed_in = claims(&Tokens::of(&answer.json()).access);
    ledger.check(signed_in["sub"] == user.as_str(), format!("signed in as another: {signed_in}, not {user}"));

    let status = client.get(&format!("/auth/register/{}", flows[0])).send().await;
    ledger.check(status.status == 200, format!("an acknowledged registration is gone: {status}"));
    let phase = status.json()["flow"]["phase"].clone();
    ledger.check(phase == "verified" || phase == "done", format!("verified, and yet {phase}"));

    let refresh = async |token: &str| client.post("/auth/refresh", &json!({"refresh_token": token})).send().await;
    if signed_out {
        let answer = refresh(&tokens.refresh).await;
        ledger.check(answer.status == 401, format!("signed out, and yet the chain goes on: {answer}"));
        return;
    }
    // A client that died before it read the last answer still holds the predecessor: it must come to the same.
    if let Some(predecessor) = predecessor.filter(|_| dice.one_in(3)) {
        let answer = refresh(&predecessor).await;
        ledger.check(answer.status == 200, format!("the predecessor is refused within the grace time: {answer}"));
        ledger.check(Tokens::of(&answer.json()).refresh == tokens.refresh, "the predecessor led elsewhere");
    }
    let answer = refresh(&tokens.refresh).await;
    ledger.check(answer.status == 200, format!("a chain of refreshes is lost: {answer}"));
    ledger.check(Tokens::of(&answer.json()).session == tokens.session, "the chain went on in another session");
}

/// Each letter at least once; at most one copy of it in any life of the process, hence at most one extra a kill; all
/// copies with the same id, code and link; never a second letter for the same step.
fn letters(campaign: &Campaign, lives: &[ClientRun], kills: u64) -> String {
    let copies = campaign.sink.copies();
    let mut by_id: BTreeMap<&str, Vec<&crate::support::smtp::Copy>> = BTreeMap::new();
    for copy in &copies {
        assert!(!copy.letter.message_id.is_empty(), "a letter without Message-ID:\n{}", copy.raw);
        by_id.entry(&copy.letter.message_id).or_default().push(copy);
    }
    let mut most = 0;
    for (id, copies) in &by_id {
        let credential = |copy: &crate::support::smtp::Copy| {
            (copy.letter.to.clone(), copy.letter.kind.clone(), copy.letter.code(), copy.letter.link())
        };
        let epochs: BTreeSet<u32> = copies.iter().map(|copy| copy.epoch).collect();
        let seen: Vec<u32> = copies.iter().map(|copy| copy.epoch).collect();
        assert_eq!(epochs.len(), copies.len(), "{id} came twice in one life of the process: lives {seen:?}");
        assert!(copies.iter().all(|copy| credential(copy) == credential(copies[0])), "{id} changed between its copies");
        most = most.max(copies.len() - 1);
    }
    let distinct = |address: &str, kind: &str| {
        let ids: BTreeSet<String> =
            campaign.sink.letters(address, kind).into_iter().map(|letter| letter.message_id).collect();
        ids.len()
    };
    for life in lives {
        let asked = distinct(&life.home, "registration.verify");
        life.ledger.check(
            asked == life.flows.len(),
            format!("{asked} different letters for {} acknowledged registrations", life.flows.len()),
        );
        let welcomed = distinct(&life.home, "registration.welcome");
        life.ledger.check(welcomed == 1, format!("{welcomed} different letters of welcome"));
    }
    let extra = copies.len() - by_id.len();
    assert!(most as u64 <= kills, "more extras of one letter than kills");
    format!("{} different, {} copies, {extra} extra in all, {most} at most of one letter", by_id.len(), copies.len())
}
