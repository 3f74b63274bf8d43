//! Every scenario of the toy flows survives the failure of any one store call, in every mode.

use std::sync::Arc;

use cairn_runtime::testing::scenarios::ALL;
use cairn_runtime::testing::store::{Mode, SimStore};
use cairn_runtime::testing::suite::Bench;
use cairn_runtime::testing::sweep::sweep;
use cairn_runtime::testing::toy::Toy;

/// Sweeps all scenarios in one mode. The runs of a scenario share one store, whose callers must keep their word.
async fn all(mode: Mode) {
    for scenario in &ALL {
        let store = Arc::new(SimStore::<Toy>::new());
        let bench = Bench { store: Arc::clone(&store) as _, probe: Arc::clone(&store) as _ };
        sweep(&bench, scenario, mode).await;
        assert_eq!(store.violations(), Vec::<String>::new(), "{scenario:?}");
    }
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
