//! The flows of auth on several nodes with everything going wrong that can: people who register, sign in, forget their
//! passwords, change their addresses, leave and let clients in, a hundred thousand commands at a time.

mod acting;
mod granting;
mod leaving;
mod ledger;
mod moving;
mod mutants;
mod people;
mod post;
mod recovering;
mod registering;
mod rows;
mod signing_in;
mod tally;

use std::io::Write as _;
use std::time::Duration;

use cairn_actors::effects::Auth;
use cairn_runtime::testing::simulation::{Settings, how_many, prove, run};

use self::people::People;
use self::tally::Tally;

/// In the end a day passes in which all short waits are over, then the fortnight in which the longest are.
const LEAPS: [Duration; 4] =
    [Duration::ZERO, Duration::from_secs(3_600), Duration::from_secs(25 * 3_600), Duration::from_secs(15 * 86_400)];

/// How all histories of auth are run.
fn settings() -> Settings<Auth> {
    Settings { leaps: &LEAPS, ..Settings::default() }
}

/// Where people come to, if they try for long enough. Who never gets there proves nothing of it.
const WAYS: [&str; 54] = [
    "registration told Verified",
    "registration told AddressTaken",
    "registration told OnlyTheLink",
    "registration told PasswordNeeded",
    "registration told TooSoon",
    "registration came to be done",
    "registration came to be expired",
    "recovery told Done",
    "recovery told UsedUp",
    "recovery told OnlyTheLink",
    "recovery came to be done",
    "recovery came to be expired",
    "session told Tokens",
    "session told Refused",
    "session told PasswordChanged",
    "session told Seen",
    "session came to be ended crowded",
    "session came to be ended disowned",
    "session came to be ended expired",
    "session came to be ended fenced",
    "session came to be ended reused",
    "session came to be ended signed_out",
    "authorization told Tokens",
    "authorization told WrongClient",
    "authorization told WrongVerifier",
    "authorization told TooWide",
    "authorization told SlowDown",
    "authorization came to be ended code_reused",
    "authorization came to be ended fenced",
    "authorization came to be ended reused",
    "email_change told Changed",
    "email_change told Undone",
    "email_change told AddressTaken",
    "email_change told Moved",
    "email_change told OnlyTheLink",
    "email_change told TooSoon",
    "email_change came to be done",
    "email_change came to be ended",
    "email_change came to be expired",
    "a change of address replaced one that waited",
    "an undo took later changes back with it",
    "an undo called a deletion off",
    "deletion told Waiting",
    "a sign-in called a deletion off",
    "session told Disowned",
    "session told UsedUp",
    "deletion told Moved",
    "deletion came to be done",
    "deletion came to be ended",
    "edit_profile told Done",
    "edit_profile told Changed",
    "edit_profile told UsernameTaken",
    "edit_profile told SessionEnded",
    "sign_out_everywhere told",
];

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
    let never: Vec<_> = WAYS.into_iter().filter(|way| tally.of(way) == 0).collect();
    assert!(never.is_empty(), "nobody ever came to {never:?}:\n{tally}");
}

#[test]
fn a_history_of_auth_replays_exactly() {
    let settings = Settings { commands: 300, ..settings() };
    let people = || People::counted(Tally::default());
    let once = |seed| run(seed, &settings, people()).unwrap_or_else(|broken| panic!("{broken}"));
    assert_eq!(once(7), once(7));
    assert_ne!(once(7).course, once(8).course);
}
