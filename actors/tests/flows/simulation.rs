//! The flows of auth on several nodes with everything going wrong that can: people who register, sign in, forget their
//! passwords, change their addresses, leave and let clients in, a hundred thousand commands at a time.

mod authorization;
mod clients;
mod deletion;
mod edit_profile;
mod email_change;
mod flow;
mod ledger;
mod magic_link;
mod mutants;
mod people;
mod post;
mod recovery;
mod registration;
mod rows;
mod session;
mod sign_out_everywhere;
mod tally;

use std::io::Write as _;
use std::time::Duration;

use cairn_actors::effects::Auth;
use cairn_actors::flows::ping::Ping;
use cairn_runtime::Flow;
use cairn_runtime::testing::simulation::{Settings, how_many, prove, run};

use self::people::{People, flows};
use self::tally::Tally;

/// In the end a day passes in which all short waits are over, then the fortnight in which the longest are.
const LEAPS: [Duration; 4] =
    [Duration::ZERO, Duration::from_secs(3_600), Duration::from_secs(25 * 3_600), Duration::from_secs(15 * 86_400)];

/// How all histories of auth are run.
fn settings() -> Settings<Auth> {
    Settings { leaps: &LEAPS, ..Settings::default() }
}

#[test]
fn every_promise_of_auth_holds_while_everything_goes_wrong() {
    let tally = Tally::default();
    let figures = prove(how_many(100_000), &settings(), || People::counted(tally.clone()));
    // Past the harness's capture: whoever reads the log of a run wants to see how much was tried.
    let _ = writeln!(std::io::stderr(), "simulation of auth: {figures}\n{tally}");
    if figures.seeds == 1 {
        return; // one seed was asked for by name
    }
    assert!(figures.kills > 100 && figures.ambiguous > 100, "too little went wrong: {figures}");
    assert!(figures.carried_again > 0 && figures.repeats > 1_000, "too little was repeated: {figures}");
    let flows = flows();
    let ways = flows.iter().flat_map(|flow| flow.actor.ways().iter().map(|way| format!("{} {way}", flow.actor.name())));
    let never: Vec<_> = ways.filter(|way| tally.of(way) == 0).collect();
    assert!(never.is_empty(), "nobody ever came to {never:?}:\n{tally}");
}

/// All but the one that only shows that the engine answers.
#[test]
fn every_flow_is_simulated() {
    let simulated: Vec<_> = flows().iter().map(|flow| flow.actor.name()).collect();
    let kinds = cairn_actors::flows::ALL.iter().map(|kind| kind.name).filter(|name| *name != Ping::NAME);
    let missing: Vec<_> = kinds.filter(|name| !simulated.contains(name)).collect();
    assert!(missing.is_empty(), "nobody uses {missing:?}: a flow joins by its line in `people.rs`");
}

#[test]
fn a_history_of_auth_replays_exactly() {
    let settings = Settings { commands: 300, ..settings() };
    let people = || People::counted(Tally::default());
    let once = |seed| run(seed, &settings, people()).unwrap_or_else(|broken| panic!("{broken}"));
    assert_eq!(once(7), once(7));
    assert_ne!(once(7).course, once(8).course);
}
