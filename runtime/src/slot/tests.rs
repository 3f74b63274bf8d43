//! All orders of what can happen to one slot, searched: no message is lost, none is served twice, nobody waits for ever.

use std::collections::{BTreeMap, HashSet, VecDeque};

use super::{Action, Event, Slot};

/// Messages that come.
const MESSAGES: u8 = 5;
/// Deaths by kill in one history, and hatchings that fail.
const KILLS: u8 = 3;
const FAILURES: u8 = 2;
/// How many may wait or be in flight; small, so that refusing is reached.
const CAP: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Shell {
    inbox: VecDeque<u8>,
    told_to_stop: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Fate {
    Served,
    Refused,
    Failed,
    DroppedWithItsShell,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Model {
    slot: Slot<u64, u8>,
    next: u64,
    to_come: u8,
    kills: u8,
    failures: u8,
    hatching: Vec<u64>,
    shells: BTreeMap<u64, Shell>,
    fates: BTreeMap<u8, Fate>,
}

/// What the model may do next.
#[derive(Clone, Debug)]
enum Move {
    Call,
    Hatch(u64),
    FailToHatch(u64),
    Serve { shell: u64, finished: bool },
    Sweep,
    Stop(u64),
    Kill { shell: u64, body_first: bool },
}

impl Model {
    fn new() -> Self {
        Self {
            slot: Slot::Vacant,
            next: 0,
            to_come: MESSAGES,
            kills: KILLS,
            failures: FAILURES,
            hatching: Vec::new(),
            shells: BTreeMap::new(),
            fates: BTreeMap::new(),
        }
    }

    fn moves(&self) -> Vec<Move> {
        let mut moves = Vec::new();
        if self.to_come > 0 {
            moves.push(Move::Call);
        }
        for hatching in &self.hatching {
            moves.push(Move::Hatch(*hatching));
            if self.failures > 0 {
                moves.push(Move::FailToHatch(*hatching));
            }
        }
        for (shell, inside) in &self.shells {
            if inside.told_to_stop {
                moves.push(Move::Stop(*shell));
            } else if !inside.inbox.is_empty() {
                moves.push(Move::Serve { shell: *shell, finished: false });
                moves.push(Move::Serve { shell: *shell, finished: true });
            }
            if self.kills > 0 {
                moves.push(Move::Kill { shell: *shell, body_first: false });
                moves.push(Move::Kill { shell: *shell, body_first: true });
            }
        }
        if matches!(self.slot, Slot::Active { inflight: 0, .. }) {
            moves.push(Move::Sweep);
        }
        moves
    }

    fn fate(&mut self, message: u8, fate: Fate) {
        let before = self.fates.insert(message, fate.clone());
        assert_eq!(before, None, "message {message} came to two ends, the second {fate:?}");
    }

    fn tell(&mut self, event: Event<u64, u8>) {
        self.next += 1;
        let slot = std::mem::replace(&mut self.slot, Slot::Vacant);
        let (after, action) = slot.step(event, self.next, CAP);
        self.slot = after;
        match action {
            Action::Nothing => {}
            Action::Hatch(generation) => self.hatching.push(generation),
            Action::Send(generation, shell, messages) => {
                assert_eq!(generation, shell, "a message goes to the shell of another hatching");
                match self.shells.get_mut(&shell) {
                    Some(inside) => {
                        assert!(!inside.told_to_stop, "a message goes to a shell that was told to stop");
                        inside.inbox.extend(messages);
                    }
                    // The shell died a moment ago: its mailbox gives the messages back, and they are dropped.
                    None => {
                        for message in messages {
                            self.fate(message, Fate::DroppedWithItsShell);
                            self.tell(Event::Answered { generation, at: 0, finished: false });
                        }
                    }
                }
            }
            Action::Stop(shell) => {
                if let Some(inside) = self.shells.get_mut(&shell) {
                    assert!(inside.inbox.is_empty(), "a shell with messages is stopped");
                    inside.told_to_stop = true;
                }
            }
            Action::Refuse(message) => self.fate(message, Fate::Refused),
            Action::Fail(messages) => {
                for message in messages {
                    self.fate(message, Fate::Failed);
                }
            }
        }
    }

    fn go(&mut self, one: Move) {
        match one {
            Move::Call => {
                self.to_come -= 1;
                self.tell(Event::Call(MESSAGES - self.to_come));
            }
            Move::Hatch(generation) => {
                self.hatching.retain(|other| *other != generation);
                self.shells.insert(generation, Shell { inbox: VecDeque::new(), told_to_stop: false });
                self.tell(Event::Hatched(generation, generation));
            }
            Move::FailToHatch(generation) => {
                self.failures -= 1;
                self.hatching.retain(|other| *other != generation);
                self.tell(Event::NotHatched(generation));
                self.tell(Event::Gone(generation)); // the body was dropped without ever living
            }
            Move::Serve { shell, finished } => {
                let message = self.shells.get_mut(&shell).and_then(|inside| inside.inbox.pop_front()).unwrap();
                self.fate(message, Fate::Served);
                self.tell(Event::Answered { generation: shell, at: 0, finished });
            }
            Move::Sweep => self.tell(Event::Idle { before: i64::MAX }),
            Move::Stop(shell) => {
                self.shells.remove(&shell);
                self.tell(Event::Gone(shell));
            }
            Move::Kill { shell, body_first } => {
                self.kills -= 1;
                let inside = self.shells.remove(&shell).unwrap();
                if body_first {
                    self.tell(Event::Gone(shell));
                }
                for message in inside.inbox {
                    self.fate(message, Fate::DroppedWithItsShell);
                    self.tell(Event::Answered { generation: shell, at: 0, finished: false });
                }
                if !body_first {
                    self.tell(Event::Gone(shell));
                }
            }
        }
    }

    /// What must hold between any two moves.
    fn check(&self) {
        let serving = self.shells.values().filter(|inside| !inside.told_to_stop).count();
        assert!(serving <= 1, "two shells serve one flow: {self:?}");
        if let Slot::Active { generation, inflight, .. } = &self.slot {
            let inside = self.shells.get(generation).map_or(0, |inside| inside.inbox.len());
            assert_eq!(*inflight, inside, "the slot has lost count: {self:?}");
        }
    }

    /// What must hold when nothing can happen any more.
    fn check_the_end(&self) {
        for message in 1..=MESSAGES {
            assert!(self.fates.contains_key(&message), "message {message} waits for ever: {self:?}");
        }
        assert!(self.hatching.is_empty());
        assert!(
            matches!(self.slot, Slot::Vacant | Slot::Active { inflight: 0, .. }),
            "the slot does not come to rest: {self:?}"
        );
    }

    /// Generations only tell apart; two worlds that differ in nothing else are one.
    fn key(&self) -> String {
        let mut names: Vec<u64> = self.shells.keys().copied().chain(self.hatching.iter().copied()).collect();
        if let Slot::Activating { generation, .. }
        | Slot::Active { generation, .. }
        | Slot::Passivating { generation, .. } = &self.slot
        {
            names.push(*generation);
        }
        names.sort_unstable();
        names.dedup();
        let name = |generation: &u64| names.iter().position(|other| other == generation);
        let slot = match &self.slot {
            Slot::Vacant => "vacant".to_owned(),
            Slot::Activating { generation, waiting } => format!("activating {:?} {waiting:?}", name(generation)),
            Slot::Active { generation, inflight, .. } => format!("active {:?} {inflight}", name(generation)),
            Slot::Passivating { generation, waiting } => format!("passivating {:?} {waiting:?}", name(generation)),
        };
        let shells: Vec<_> = self.shells.iter().map(|(generation, inside)| (name(generation), inside)).collect();
        let hatching: Vec<_> = self.hatching.iter().map(name).collect();
        format!("{slot} {shells:?} {hatching:?} {:?} {} {} {}", self.fates, self.to_come, self.kills, self.failures)
    }
}

#[test]
fn in_every_order_of_events_each_message_comes_to_exactly_one_end() {
    let mut seen = HashSet::new();
    let mut left = vec![Model::new()];
    let mut fates = HashSet::new();
    let mut ends = 0_usize;
    while let Some(model) = left.pop() {
        model.check();
        if !seen.insert(model.key()) {
            continue;
        }
        let moves = model.moves();
        let only_optional = moves.iter().all(|one| matches!(one, Move::Sweep | Move::Kill { .. }));
        if only_optional {
            model.check_the_end();
            fates.extend(model.fates.values().cloned());
            ends += 1;
        }
        for one in moves {
            let mut after = model.clone();
            after.go(one);
            left.push(after);
        }
    }
    assert_eq!(fates.len(), 4, "the search reached only {fates:?}");
    assert!(ends > 100 && seen.len() > 1_000, "the search saw too little: {} worlds, {ends} ends", seen.len());
}

#[test]
fn a_shell_that_comes_too_late_is_told_to_go() {
    let slot: Slot<u64, u8> = Slot::Vacant;
    let (slot, action) = slot.step(Event::Hatched(7, 7), 8, CAP);
    assert!(slot.is_vacant());
    assert_eq!(action, Action::Stop(7));
}

#[test]
fn what_comes_while_a_shell_passivates_waits_for_the_next() {
    let slot: Slot<u64, u8> = Slot::Passivating { generation: 1, waiting: VecDeque::new() };
    let (slot, action) = slot.step(Event::Call(9), 2, CAP);
    assert_eq!(action, Action::Nothing);
    let (slot, action) = slot.step(Event::Gone(1), 3, CAP);
    assert_eq!(action, Action::Hatch(3));
    let (_, action) = slot.step(Event::Hatched(3, 3), 4, CAP);
    assert_eq!(action, Action::Send(3, 3, vec![9]));
}
