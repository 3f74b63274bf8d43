//! Lending: a reader borrows a copy, is reminded when it is due, and brings it back, or does not.

use std::time::Duration;

use cairn_runtime::testing::toy::{Toy, ToyDelivery, ToyKey, ToyWrite};
use cairn_runtime::{Cx, Flow, FlowId, Input, Lost, Named, Outgoing, Step, Timestamp, go, phases, stay};
use serde::{Deserialize, Serialize};

use crate::reservation::{self, Reservation};

pub const DAY: Duration = Duration::from_secs(86_400);
pub const LOAN: Duration = Duration::from_secs(14 * 86_400);
pub const WEEK: Duration = Duration::from_secs(7 * 86_400);
/// Letters after which a copy counts as missing.
pub const REMINDERS: u32 = 3;

// begin: state
/// Where a loan stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "phase")]
pub enum Lending {
    /// The copy is out and not due yet.
    Lent(Loan),
    /// The copy should be back; the reader has been reminded.
    Overdue(Loan),
    /// The copy is back.
    Returned,
    /// Nobody brought it back.
    Missing,
}

/// What is known while the copy is out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Loan {
    pub copy: String,
    pub reader: String,
    /// When it is due or, overdue, when the next reminder is.
    pub due: Timestamp,
    pub reminders: u32,
    /// Whoever waits for the copy. Added later: rows of older releases lack it.
    #[serde(default)]
    pub wanted_by: Option<FlowId>,
}

phases! {
    /// Where it stands.
    pub enum Phase {
        Lent = "lent",
        Overdue = "overdue",
        Returned = "returned",
        Missing = "missing",
    }
}
// end: state

// begin: words
/// What opens it.
#[derive(Debug)]
pub struct Borrow {
    pub copy: String,
    pub reader: String,
}

/// What may be asked of it.
#[derive(Debug)]
pub enum Ask {
    Look,
    Renew,
    Return,
}

/// What other flows may tell it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hear {
    /// A reservation waits for this copy.
    Wanted { by: FlowId },
}

/// What the asker is told. It is stored with the event, so that a repeat is told the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    Out { due: Timestamp },
    LentAlready,
    SomebodyWaits,
    Back,
    Missing,
}
// end: words

impl Named for Borrow {
    fn name(&self) -> &'static str {
        "borrow"
    }
}

impl Named for Ask {
    fn name(&self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Renew => "renew",
            Self::Return => "return",
        }
    }
}

impl Named for Hear {
    fn name(&self) -> &'static str {
        "wanted"
    }
}

// begin: flow
impl Flow for Lending {
    const NAME: &'static str = "lending";
    const PREFIX: &'static str = "len";
    type Domain = Toy;
    type Phase = Phase;
    type Start = Borrow;
    type Command = Ask;
    type Signal = Hear;
    type Outcome = Says;

    fn start(asked: &Borrow, lost: Option<&Lost<Self>>, cx: &Cx<'_, Toy>) -> Step<Self> {
        if lost.is_some() {
            return stay().says(Says::LentAlready);
        }
        let (copy, reader) = (asked.copy.clone(), asked.reader.clone());
        let due = cx.now.after(LOAN);
        go(Self::Lent(Loan { copy, reader, due, reminders: 0, wanted_by: None }))
            .claim(ToyKey::Name(asked.copy.clone()))
            .write(ToyWrite::add("lent", 1))
            .says(Says::Out { due })
    }

    fn on(&self, input: &Input<Self>, _lost: Option<&Lost<Self>>, cx: &Cx<'_, Toy>) -> Step<Self> {
        match (self, input) {
            (Self::Lent(loan) | Self::Overdue(loan), Input::Woken) if loan.reminders < REMINDERS => loan.remind(cx),
            (Self::Lent(_) | Self::Overdue(_), Input::Woken) => {
                go(Self::Missing).write(ToyWrite::add("missing", 1)).says(Says::Missing)
            }

            (Self::Lent(loan), Input::Asked(Ask::Renew)) if loan.wanted_by.is_none() => {
                let due = cx.now.after(LOAN);
                go(Self::Lent(Loan { due, ..loan.clone() })).says(Says::Out { due })
            }
            (Self::Lent(_), Input::Asked(Ask::Renew)) => stay().says(Says::SomebodyWaits),

            (Self::Lent(loan) | Self::Overdue(loan), Input::Asked(Ask::Return)) => loan.give_back(),

            (Self::Lent(loan), Input::Told(Hear::Wanted { by })) => {
                go(Self::Lent(loan.wanted(*by))).says(self.stands())
            }
            (Self::Overdue(loan), Input::Told(Hear::Wanted { by })) => {
                go(Self::Overdue(loan.wanted(*by))).says(self.stands())
            }

            (_, Input::Asked(_) | Input::Told(_) | Input::Woken | Input::Answered { .. }) => stay().says(self.stands()),
        }
    }

    fn wake_at(&self) -> Option<Timestamp> {
        match self {
            Self::Lent(loan) | Self::Overdue(loan) => Some(loan.due),
            Self::Returned | Self::Missing => None,
        }
    }

    fn phase(&self) -> Phase {
        match self {
            Self::Lent(_) => Phase::Lent,
            Self::Overdue(_) => Phase::Overdue,
            Self::Returned => Phase::Returned,
            Self::Missing => Phase::Missing,
        }
    }
}
// end: flow

// begin: arms
impl Loan {
    fn remind(&self, cx: &Cx<'_, Toy>) -> Step<Lending> {
        let due = cx.now.after(WEEK);
        let letter = ToyDelivery::Note { to: self.reader.clone(), text: format!("{} is due", self.copy) };
        go(Lending::Overdue(Loan { due, reminders: self.reminders + 1, ..self.clone() }))
            .send(Outgoing::external(letter).until(due)) // the next one says the same
            .says(Says::Out { due })
    }

    fn give_back(&self) -> Step<Lending> {
        let going = go(Lending::Returned).release(ToyKey::Name(self.copy.clone())).write(ToyWrite::add("lent", -1));
        match self.wanted_by {
            Some(waits) => going.tell::<Reservation>(waits, &reservation::Hear::Free),
            None => going,
        }
        .says(Says::Back)
    }

    /// Who waits already goes first.
    fn wanted(&self, by: FlowId) -> Self {
        Self { wanted_by: self.wanted_by.or(Some(by)), ..self.clone() }
    }
}
// end: arms

impl Lending {
    fn stands(&self) -> Says {
        match self {
            Self::Lent(loan) | Self::Overdue(loan) => Says::Out { due: loan.due },
            Self::Returned => Says::Back,
            Self::Missing => Says::Missing,
        }
    }
}
