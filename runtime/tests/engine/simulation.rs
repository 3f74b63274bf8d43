//! The toy flows on several nodes with everything going wrong that can, ten thousand commands at a time.

mod mutants;
mod toys;

use std::io::Write as _;
use std::sync::Once;

use cairn_runtime::testing::simulation::{Settings, how_many, prove, run};

use self::toys::Toys;

/// Faulty flows panic by the hundred here, each as it should: nobody wants to read that.
fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !panic.payload_as_str().is_some_and(|why| why.starts_with("a faulty flow panics")) {
                usual(panic);
            }
        }));
    });
}

#[test]
fn every_promise_holds_while_everything_goes_wrong() {
    hush();
    let figures = prove(how_many(100_000), &Settings::default(), Toys::default);
    // Past the harness's capture: whoever reads the log of a run wants to see how much was tried.
    let _ = writeln!(std::io::stderr(), "simulation: {figures}");
    assert!(figures.kills > 100 && figures.ambiguous > 100, "too little went wrong: {figures}");
    assert!(figures.carried_again > 0 && figures.repeats > 1_000, "too little was repeated: {figures}");
}

#[test]
fn a_seed_replays_exactly() {
    hush();
    let settings = Settings { commands: 300, ..Settings::default() };
    let once = |seed| run(seed, &settings, Toys::default()).unwrap_or_else(|broken| panic!("{broken}"));
    assert_eq!(once(7), once(7));
    assert_ne!(once(7).course, once(8).course);
}

#[test]
#[ignore = "scratch"]
fn scratch() {
    use cairn_runtime::testing::simulation::Faults;
    use cairn_runtime::testing::store::Weather;
    hush();
    let none = Faults::default();
    let weather = |weather| Faults { weather, ..none };
    let cases = [
        ("none", none),
        ("panics", Faults { panics: 60, ..none }),
        ("kills", Faults { kills: 30, ..none }),
        ("never", Faults { never: 100, ..none }),
        ("later", Faults { later: 300, ..none }),
        ("slow", Faults { slow: 300, ..none }),
        ("ambiguous", weather(Weather { ambiguous: 200, ..Weather::default() })),
        ("lost", weather(Weather { lost: 30, ..Weather::default() })),
        ("late", weather(Weather { late: 300, slowest: std::time::Duration::from_secs(2), ..Weather::default() })),
        ("unhatched", Faults { unhatched: 300, ..none }),
        ("refused", Faults { refused: 50, ..none }),
        ("unsynced", Faults { unsynced: 15, ..none }),
        ("trouble", Faults { trouble: std::time::Duration::from_secs(2), clocks: true, ..none }),
    ];
    for (name, faults) in cases {
        for seed in 0..6 {
            let settings = Settings { commands: 600, faults: Some(faults), ..Settings::default() };
            if let Err(broken) = run(seed, &settings, Toys::default()) {
                println!("== {name} {seed}: {broken}");
            }
        }
        println!("{name} done");
    }
}
