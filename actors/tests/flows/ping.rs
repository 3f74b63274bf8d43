//! Ping: the smallest table there is.

use cairn_actors::flows::ping::{self, Ping, Pong, Start};
use cairn_runtime::Flow;

use crate::driver::{Driver, Known, T0, at};
use crate::golden;
use crate::table::{self, Place, asked};

impl Known for Ping {
    const OVER: &'static [ping::Phase] = &[ping::Phase::Done];
}

pub(crate) fn places() -> Vec<Place<Ping>> {
    let mut fresh = Driver::new(6);
    fresh.start(T0, &Start);
    let mut answered = fresh.clone();
    answered.ask(at(1), Pong);
    let mut given_up = fresh.clone();
    assert!(given_up.wake(at(60)));
    vec![
        Place { name: "fresh", driver: fresh },
        Place { name: "answered", driver: answered },
        Place { name: "given up", driver: given_up },
    ]
}

#[test]
fn the_table_of_transitions_is_the_one_on_file() {
    let mut asks = vec![asked("pong", |_| Pong)];
    asks.extend(table::common());
    let mut table = table::print(&places(), &asks);
    let step = Ping::start(&Start, None, &Driver::<Ping>::new(6).cx(T0));
    table.push_str(&format!("\nstart\n  {}\n", table::line(&step)));
    golden::check("ping.transitions.txt", &table);
}
