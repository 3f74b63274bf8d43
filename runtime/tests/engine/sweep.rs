//! Every scenario of the toy flows survives the failure of any one store call, in every mode.

use std::sync::Arc;

use cairn_runtime::testing::scenarios::{ALL, sweep};
use cairn_runtime::testing::store::{Mode, SimStore};
use cairn_runtime::testing::suite::Bench;
use cairn_runtime::testing::toy::Toy;

/// Sweeps all scenarios in one mode. The runs of a scenario share one store, whose callers must keep their word.
async fn all(mode: Mode) {
    let mut hits = 0;
    for scenario in &ALL {
        let store = Arc::new(SimStore::<Toy>::new());
        let bench = Bench { store: Arc::clone(&store) as _, probe: Arc::clone(&store) as _ };
        let hit = sweep(scenario, mode, async || bench.clone()).await;
        assert_eq!(store.violations(), Vec::<String>::new(), "{scenario:?}");
        println!("{mode:?}: {hit} calls of {scenario:?}");
        assert!(hit > 5, "a scenario of {hit} calls shows nothing: {scenario:?}");
        hits += hit;
    }
    println!("{mode:?}: {hits} calls failed, one at a time");
}

#[tokio::test(start_paused = true)]
async fn every_scenario_survives_a_call_that_is_refused() {
    all(Mode::ErrorBefore).await;
}

#[tokio::test(start_paused = true)]
async fn every_scenario_survives_an_answer_that_is_lost() {
    all(Mode::ErrorAfter).await;
}

#[tokio::test(start_paused = true)]
async fn every_scenario_survives_a_call_that_hangs() {
    all(Mode::Hang).await;
}

#[tokio::test(start_paused = true)]
async fn every_scenario_survives_a_caller_that_drops_dead() {
    all(Mode::Drop).await;
}
