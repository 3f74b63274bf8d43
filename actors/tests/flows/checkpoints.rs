//! Checkpoints: what a release has written into a row, every later one reads back.

use std::collections::BTreeMap;
use std::fs;

use cairn_actors::flows;
use cairn_runtime::Phase as _;
use serde_json::Value;

use crate::driver::Known;
use crate::golden;
use crate::table::Place;

/// Every phase that a flow can be in, as it is written today.
fn today<F: Known>(places: Vec<Place<F>>) -> BTreeMap<&'static str, String> {
    let mut phases = BTreeMap::new();
    for place in places {
        let state = serde_json::to_string_pretty(place.driver.state()).unwrap() + "\n";
        phases.entry(place.driver.phase()).or_insert(state);
    }
    let known: Vec<_> = F::Phase::ALL.iter().map(|phase| phase.name()).collect();
    assert!(known.iter().all(|phase| phases.contains_key(phase)), "{}: a phase has no representative", F::NAME);
    phases
}

/// Every file of this flow loads, and today's are what is written today.
fn check<F: Known>(places: Vec<Place<F>>) {
    for (phase, state) in today(places) {
        golden::check(&format!("{}.{phase}.v{}.json", F::NAME, F::SCHEMA), &state);
    }
    let mut loaded = 0;
    for file in fs::read_dir(golden::folder()).unwrap() {
        let file = file.unwrap();
        let name = file.file_name().into_string().unwrap();
        let Some((phase, version)) = name
            .strip_prefix(&format!("{}.", F::NAME))
            .and_then(|rest| rest.strip_suffix(".json"))
            .and_then(|rest| rest.split_once(".v"))
        else {
            continue;
        };
        // An older shape is kept as `<flow>.<phase>.v<schema>-<release>.json`.
        let schema = version.split('-').next().unwrap().parse().unwrap();
        let value: Value = serde_json::from_str(&fs::read_to_string(file.path()).unwrap()).unwrap();
        let state: F = serde_json::from_value(F::upcast(schema, value).unwrap())
            .unwrap_or_else(|why| panic!("{name} does not load any more: {why}"));
        assert_eq!(state.tag(), phase, "{name}");
        loaded += 1;
    }
    assert!(loaded >= F::Phase::ALL.len());
}

#[test]
fn every_phase_of_a_registration_is_read_back() {
    check(crate::registration::places());
}

#[test]
fn every_phase_of_a_session_is_read_back() {
    check(crate::session::places());
}

#[test]
fn every_phase_of_a_recovery_is_read_back() {
    check(crate::recovery::places());
}

#[test]
fn every_phase_of_an_email_change_is_read_back() {
    check(crate::email_change::places());
}

#[test]
fn every_phase_of_a_deletion_is_read_back() {
    check(crate::deletion::places());
}

#[test]
fn every_phase_of_an_authorization_is_read_back() {
    check(crate::authorization::places());
}

#[test]
fn every_phase_of_a_magic_link_is_read_back() {
    check(crate::magic_link::places());
}

#[test]
fn every_phase_of_a_ping_is_read_back() {
    check(crate::ping::places());
}

#[test]
fn no_flow_is_without_checkpoints_of_all_its_phases() {
    let files: Vec<_> =
        fs::read_dir(golden::folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    for kind in flows::ALL {
        for (phase, _) in (kind.phases)() {
            let begins = format!("{}.{phase}.v", kind.name);
            assert!(files.iter().any(|file| file.starts_with(&begins)), "{begins}… is not among the goldens");
        }
    }
}
