//! Several changes of one account, a deletion and everybody's links: taking one back takes back all that came after it,
//! and nobody who lost the account that way gets it again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use cairn_actors::effects::{Auth, DeviceWrite, Key, UserWrite, Write};
use cairn_actors::environment::{Environment, Settings};
use cairn_actors::flows::challenge::LetterProof;
use cairn_actors::flows::deletion::{self, Deletion};
use cairn_actors::flows::email_change::{self, Account, Command, Confirmer, EmailChange, Later, Outcome, Start};
use cairn_actors::identity::address::Address;
use cairn_actors::letters::Letter;
use cairn_actors::testing;
use cairn_runtime::{Domain, Flow, FlowId, Id, Input, Timestamp};
use proptest::prelude::*;

use super::{Driven, last, link, undo_link, user};
use crate::driver::{Driver, Known, T0, Told, at, cases};
use crate::registration::ADDRESS;

const DAY: i64 = 86_400;

/// Where everybody goes, and where the account is taken to.
const ADDRESSES: [&str; 5] = [ADDRESS, "b@example.org", "c@example.org", "d@example.org", "e@example.org"];

/// An account as the database has it, and every flow that moves it.
struct Chain {
    guards: BTreeMap<String, i64>,
    changes: Vec<Driven>,
    deletions: Vec<Driver<Deletion>>,
    /// Signals that were committed and have not arrived.
    post: Vec<Told>,
    address: Address,
    version: i64,
    deletion: Option<FlowId>,
    alive: bool,
    /// Changes that had been asked for when the address last moved: whichever of them still waited is called off.
    settled: usize,
    /// Flows whose change was taken back, with an earlier one or by itself: none of them may move the address again.
    taken_back: BTreeSet<FlowId>,
}

fn guard(address: &Address) -> String {
    static ENVIRONMENT: LazyLock<Environment> = LazyLock::new(|| testing::environment(1));
    Auth::guard(&Key::Address(ENVIRONMENT.address_key(address)))
}

impl Chain {
    fn new() -> Self {
        let address = testing::address(ADDRESS);
        let numbers = [Key::User(user()), Key::Profile(user()), Key::Devices(user())];
        let numbers = numbers.iter().map(|key| (Auth::guard(key), 0));
        let guards = numbers.chain([(guard(&address), 0)]).collect();
        Self {
            guards,
            changes: Vec::new(),
            deletions: Vec::new(),
            post: Vec::new(),
            address,
            version: 0,
            deletion: None,
            alive: true,
            settled: 0,
            taken_back: BTreeSet::new(),
        }
    }

    fn number(&self, key: &Key) -> Option<i64> {
        self.guards.get(&Auth::guard(key)).copied()
    }

    /// The account as the service reads it for a flow.
    fn account(&self, flow: FlowId) -> Option<Account> {
        let changes: Vec<Later> = self
            .changes
            .iter()
            .filter_map(|driver| {
                let changed = driver.state().changed()?;
                Some(Later { flow: driver.flow, before: changed.before.clone(), until: changed.until })
            })
            .collect();
        let own = changes.iter().find(|change| change.flow == flow).map(|change| change.until);
        let later =
            changes.into_iter().filter(|change| change.flow != flow && own.is_none_or(|own| change.until >= own));
        self.alive.then(|| Account {
            later: later.collect(),
            address: self.address.clone(),
            number: self.guards.get(&guard(&self.address)).copied().unwrap_or_default(),
            fence: self.guards.get(&Auth::guard(&Key::User(user()))).copied().unwrap_or_default(),
            followers: testing::following([]),
            deletion: self.deletion,
        })
    }

    fn begin(&mut self, now: Timestamp, to: &str) {
        let Some(fence) = self.number(&Key::User(user())) else { return };
        let mut driver = Driver::new(20 + u8::try_from(self.changes.len()).unwrap());
        driver.personal = vec!["dalbertina"];
        let number = self.guards.get(&guard(&self.address)).copied().unwrap_or_default();
        let from = (driver.environment.address_key(&self.address), number);
        let waiting = self.changes.iter().filter(|other| other.state().awaits().is_some()).map(|other| other.flow);
        let waiting = waiting.collect();
        let devices = self.number(&Key::Devices(user())).unwrap_or_default();
        let start = Start {
            user: user(),
            fence,
            devices,
            from,
            address: testing::address(to),
            known: false,
            by: testing::STRANGER,
            waiting,
        };
        driver.among(&mut self.guards, |driver| driver.start(now, &start));
        let told = driver.told.clone();
        self.changes.push(driver);
        self.commit(&[], &told);
    }

    /// Brings a command to a flow, and writes what it writes.
    fn change(&mut self, now: Timestamp, which: usize, command: impl FnOnce(&Driven) -> Command) -> Option<Outcome> {
        let driver = self.changes.get_mut(which)?;
        let (writes, told) = (driver.writes.len(), driver.told.len());
        let command = command(driver);
        let says = driver.among(&mut self.guards, |driver| driver.ask(now, command));
        let (writes, told) = (driver.writes[writes..].to_vec(), driver.told[told..].to_vec());
        self.commit(&writes, &told);
        Some(says)
    }

    fn commit(&mut self, writes: &[Write], told: &[Told]) {
        for write in writes {
            assert!(self.alive, "{write:?} to an account that is gone");
            match write {
                Write::User(UserWrite::SetAddress { address, .. }) => self.address = address.clone(),
                Write::User(UserWrite::SetDeletion { flow, .. }) => self.deletion = *flow,
                Write::User(UserWrite::Delete { .. }) => self.alive = false,
                Write::Device(DeviceWrite::ForgetAll { .. }) | Write::User(UserWrite::SuspendPassword { .. }) => {}
                other => panic!("{other:?} is no write of these flows"),
            }
        }
        self.version += i64::from(!writes.is_empty());
        self.post.extend_from_slice(told);
    }

    /// Proves a change by its link, with the account as it was read.
    fn prove(&mut self, now: Timestamp, which: usize, account: Option<Account>) -> Option<Outcome> {
        let was = self.address.clone();
        let says = self.change(now, which, |driver| Command::Open {
            link: link(driver, &last(driver)),
            by: Confirmer::SignedIn(user()),
            account,
        });
        if self.address != was {
            assert!(which >= self.settled, "it was asked for before another change was made, and moves the address");
            self.settled = self.changes.len();
        }
        says
    }

    /// Opens the link of the letter to the address from before, if there was one.
    fn undo(&mut self, now: Timestamp, which: usize, account: Option<Account>) -> Option<Outcome> {
        let letters = &self.changes.get(which)?.sent;
        let seal = letters.iter().find_map(|sent| match &sent.letter {
            Letter::EmailChanged { seal, .. } => Some(seal.clone()),
            _ => None,
        })?;
        let (was, later) = (self.address.clone(), self.account(self.changes[which].flow));
        let says = self.change(now, which, |driver| Command::Undo {
            link: undo_link(driver, &seal),
            account,
            password: None,
        })?;
        let flow = self.changes[which].flow;
        if self.address != was {
            assert!(matches!(says, Outcome::Undone { .. }), "{says:?}");
            assert!(!self.taken_back.contains(&flow), "what was taken back moves the address again");
            self.settled = self.changes.len();
            self.taken_back.insert(flow);
            self.taken_back.extend(later.into_iter().flat_map(|account| account.later).map(|later| later.flow));
            assert_eq!(self.deletion, None, "the owner is back, and stays");
        }
        Some(says)
    }

    fn delete(&mut self, now: Timestamp) {
        let Some(fence) = self.number(&Key::User(user())).filter(|_| self.deletion.is_none()) else { return };
        let mut driver = Driver::new(100 + u8::try_from(self.deletions.len()).unwrap());
        let (address, username, followers) = (self.address.clone(), None, testing::following([]));
        let devices = self.number(&Key::Devices(user())).unwrap_or_default();
        let start =
            deletion::Start { user: user(), fence, devices, profile: self.version, address, username, followers };
        let says = driver.among(&mut self.guards, |driver| driver.start(now, &start));
        assert!(matches!(says, deletion::Outcome::Waiting { .. }), "nobody was faster: {says:?}");
        let writes = driver.writes.clone();
        self.deletions.push(driver);
        self.commit(&writes, &[]);
    }

    fn restore(&mut self, now: Timestamp) {
        let waiting = self.deletions.iter_mut().find(|driver| Some(driver.flow) == self.deletion);
        let Some(driver) = waiting.filter(|_| self.alive) else { return };
        // A sign-in writes that it is called off, under the number of the profile, and tells the deletion.
        driver.among(&mut self.guards, |driver| {
            driver.bump(&Key::Profile(user()));
            driver.input(now, &Input::Told(deletion::Signal::Restored))
        });
        self.commit(&[Write::User(UserWrite::SetDeletion { user: user(), flow: None, at: now })], &[]);
    }

    /// The outbox brings one of the signals that wait.
    fn arrive(&mut self, now: Timestamp, which: usize) {
        if self.post.is_empty() {
            return;
        }
        let told = self.post.remove(which % self.post.len());
        let place = self.changes.iter().position(|driver| driver.flow == told.to);
        if let Some(driver) = place.and_then(|place| self.changes.get_mut(place)) {
            let before = driver.writes.len();
            driver.among(&mut self.guards, |driver| driver.bring(now, &told));
            assert_eq!(driver.writes.len(), before, "to be told so only tidies up");
        } else if let Some(driver) = self.deletions.iter_mut().find(|driver| driver.flow == told.to) {
            let before = driver.writes.len();
            driver.among(&mut self.guards, |driver| driver.bring(now, &told));
            assert_eq!(driver.writes.len(), before, "to be told so only tidies up");
        } else {
            panic!("{told:?} is for nobody");
        }
    }

    /// Wakes whatever is due, the one that was begun last first if `backwards`.
    fn wake(&mut self, now: Timestamp, backwards: bool) {
        let mut order: Vec<usize> = (0..self.changes.len()).collect();
        if backwards {
            order.reverse();
        }
        for which in order {
            let driver = &mut self.changes[which];
            let before = driver.writes.len();
            driver.among(&mut self.guards, |driver| driver.wake(now));
            assert_eq!(driver.writes.len(), before, "what is woken only gives back");
        }
        for which in 0..self.deletions.len() {
            let driver = &mut self.deletions[which];
            let before = driver.writes.len();
            driver.among(&mut self.guards, |driver| driver.wake(now));
            let writes = driver.writes[before..].to_vec();
            self.commit(&writes, &[]);
        }
    }

    /// What must be so at every moment.
    fn sound(&self) {
        let profile = self.number(&Key::Profile(user()));
        assert_eq!(profile, Some(self.version), "the number of the profile is the version of the row");
        assert_eq!(self.number(&Key::User(user())).is_some(), self.alive);
        let mut accounted: BTreeSet<String> = BTreeSet::new();
        if self.alive {
            accounted.insert(guard(&self.address));
        }
        for driver in &self.changes {
            match driver.state() {
                EmailChange::Changed(changed) => {
                    accounted.insert(guard(&changed.before));
                    // It has been taken back with an earlier one, and is yet to hear of it.
                    if self.taken_back.contains(&driver.flow) {
                        accounted.insert(guard(&changed.address));
                    }
                }
                EmailChange::Undone(undone) => {
                    accounted.insert(guard(&undone.address));
                }
                _ => {}
            }
        }
        let claimed: BTreeSet<String> = self.guards.keys().filter(|key| key.starts_with("address/")).cloned().collect();
        assert_eq!(claimed, accounted, "an address is claimed for as long as somebody accounts for it");
    }

    /// After everything has ended exactly the address that the account has is claimed.
    fn ends(mut self, hears: bool) {
        let mut now = T0;
        while let Some(due) = self.next_due() {
            now = now.max(due);
            while hears && !self.post.is_empty() {
                self.arrive(now, 0);
            }
            self.wake(now, false);
        }
        let claimed: Vec<&String> = self.guards.keys().filter(|key| key.starts_with("address/")).collect();
        let has = guard(&self.address);
        let expected: Vec<&String> = self.alive.then_some(&has).into_iter().collect();
        assert_eq!(claimed, expected, "nothing else is left");
        assert_eq!(self.number(&Key::User(user())).is_some(), self.alive);
        assert!(
            self.deletions.iter().all(|driver| driver.state().is_over())
                && self.changes.iter().all(|driver| driver.state().is_over())
        );
    }

    fn next_due(&self) -> Option<Timestamp> {
        let changes = self.changes.iter().filter_map(|driver| driver.state().wake_at());
        changes.chain(self.deletions.iter().filter_map(|driver| driver.state().wake_at())).min()
    }
}

#[derive(Clone, Debug)]
enum Op {
    Begin(usize),
    Prove(usize),
    Undo(usize),
    /// With the account as it was read before the operation before this one.
    ProveLate(usize),
    UndoLate(usize),
    Arrive(usize),
    Wake(bool),
    SignOutEverywhere,
    Delete,
    Restore,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1..ADDRESSES.len()).prop_map(Op::Begin),
        1 => Just(Op::Begin(0)),
        8 => (0..6_usize).prop_map(Op::Prove),
        3 => (0..6_usize).prop_map(Op::Undo),
        1 => (0..6_usize).prop_map(Op::ProveLate),
        1 => (0..6_usize).prop_map(Op::UndoLate),
        2 => any::<usize>().prop_map(Op::Arrive),
        1 => any::<bool>().prop_map(Op::Wake),
        1 => Just(Op::SignOutEverywhere),
        1 => Just(Op::Delete),
        1 => Just(Op::Restore),
    ]
}

fn span() -> impl Strategy<Value = i64> {
    prop_oneof![6 => 0..600_i64, 2 => 0..2 * DAY, 1 => 5 * DAY..8 * DAY, 1 => 14 * DAY..15 * DAY]
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn taking_a_change_back_takes_back_what_came_after_it_and_every_claim_is_accounted_for(
        hears in any::<bool>(),
        ops in prop::collection::vec((span(), op()), 0..40),
    ) {
        let mut chain = Chain::new();
        let mut now = T0;
        let nobody = FlowId(Id::v7(0, [0; 10]));
        let mut read: Vec<Option<Account>> = Vec::new();
        for (seconds, op) in ops {
            now = Timestamp(now.0 + seconds * 1_000);
            let reads = |chain: &Chain| (0..6).map(|which| {
                chain.account(chain.changes.get(which).map_or(nobody, |driver| driver.flow))
            }).collect::<Vec<_>>();
            // What is overdue is woken first, whoever it is that comes: the pump does so, and in no certain order.
            chain.wake(now, matches!(op, Op::Wake(true)));
            let before = std::mem::replace(&mut read, reads(&chain));
            let late = |which: usize| before.get(which).cloned().flatten();
            let fresh = |chain: &Chain, which: usize| chain.changes.get(which).and_then(|d| chain.account(d.flow));
            match op {
                Op::Begin(to) if chain.changes.len() < 6 => chain.begin(now, ADDRESSES[to]),
                Op::Prove(which) => {
                    let account = fresh(&chain, which);
                    chain.prove(now, which, account);
                }
                Op::Undo(which) => {
                    let account = fresh(&chain, which);
                    let says = chain.undo(now, which, account);
                    prop_assert!(!matches!(says, Some(Outcome::Moved)), "nothing moved meanwhile");
                }
                Op::ProveLate(which) if late(which).is_some() => drop(chain.prove(now, which, late(which))),
                Op::UndoLate(which) if late(which).is_some() => drop(chain.undo(now, which, late(which))),
                Op::Arrive(which) if hears => chain.arrive(now, which),
                Op::SignOutEverywhere => {
                    if let Some(fence) = chain.guards.get_mut(&Auth::guard(&Key::User(user()))) {
                        *fence += 1;
                    }
                }
                Op::Delete => chain.delete(now),
                Op::Restore => chain.restore(now),
                _ => {}
            }
            chain.sound();
        }
        chain.ends(hears);
    }
}

/// An account that went from the first address to the second and on to the third.
fn taken_over() -> Chain {
    let mut chain = Chain::new();
    for (which, to) in [(0, ADDRESSES[1]), (1, ADDRESSES[2])] {
        let now = at(100 * i64::try_from(which).unwrap());
        chain.begin(now, to);
        let account = chain.account(chain.changes[which].flow);
        assert!(matches!(chain.prove(now, which, account), Some(Outcome::Changed { .. })));
    }
    chain
}

#[test]
fn the_first_of_two_changes_taken_back_takes_the_second_with_it() {
    let mut chain = taken_over();
    let account = chain.account(chain.changes[0].flow);
    assert!(matches!(chain.undo(at(300), 0, account), Some(Outcome::Undone { .. })));
    assert_eq!(chain.address.typed(), ADDRESS);
    chain.arrive(at(301), 0);
    assert_eq!(chain.changes[1].state().phase(), email_change::Phase::Undone);
    let account = chain.account(chain.changes[1].flow);
    assert_eq!(chain.undo(at(302), 1, account), Some(Outcome::Over), "its own link does nothing");
    chain.sound();
    chain.ends(true);
}

#[test]
fn what_was_taken_meanwhile_is_nobodys_for_longer_than_a_reset_link_is_good() {
    let mut chain = taken_over();
    // Just before the first could be taken back no more.
    let (last, day) = (at(7 * DAY - 1), Duration::from_secs(86_400));
    let account = chain.account(chain.changes[0].flow);
    assert!(matches!(chain.undo(last, 0, account), Some(Outcome::Undone { .. })));
    chain.arrive(last, 0);
    let kept = last.after(day.saturating_add(Settings::default().reset_ttl));
    let claimed = |chain: &Chain| {
        ADDRESSES[1..3].iter().all(|address| chain.guards.contains_key(&guard(&testing::address(address))))
    };
    chain.wake(Timestamp(kept.0 - 1), false);
    assert!(claimed(&chain), "or a letter of a recovery could take the next one's claim for the account's");
    chain.wake(kept, false);
    assert!(!claimed(&chain));
    chain.ends(true);
}

#[test]
fn whoever_holds_the_second_address_cannot_take_the_owners_undo_back_before_the_signal_is_there() {
    let mut chain = taken_over();
    let account = chain.account(chain.changes[0].flow);
    chain.undo(at(300), 0, account);
    assert_eq!(chain.post.len(), 1, "the second change has not heard of it");
    let account = chain.account(chain.changes[1].flow);
    assert_eq!(chain.undo(at(301), 1, account), Some(Outcome::Over));
    assert_eq!(chain.address.typed(), ADDRESS);
    chain.ends(true);
}

#[test]
fn a_second_change_that_never_hears_of_it_gives_its_address_back_by_itself() {
    let mut chain = taken_over();
    let account = chain.account(chain.changes[0].flow);
    chain.undo(at(300), 0, account);
    chain.ends(false);
}

#[test]
fn the_second_taken_back_leaves_the_first_to_be_taken_back() {
    let mut chain = taken_over();
    let account = chain.account(chain.changes[1].flow);
    chain.undo(at(300), 1, account);
    assert_eq!(chain.address.typed(), ADDRESSES[1]);
    let account = chain.account(chain.changes[0].flow);
    assert!(account.as_ref().is_some_and(|account| account.later.is_empty()));
    chain.undo(at(301), 0, account);
    assert_eq!(chain.address.typed(), ADDRESS);
    chain.ends(true);
}

#[test]
fn taking_back_calls_a_deletion_off() {
    let mut chain = taken_over();
    chain.delete(at(200));
    let account = chain.account(chain.changes[0].flow);
    chain.undo(at(300), 0, account);
    // Before the deletion hears of it, and after.
    chain.wake(at(200 + 14 * DAY), false);
    assert!(chain.alive && chain.deletion.is_none());
    chain.sound();
    chain.ends(true);
}
