//! A ticket has a name that nobody else has, is stamped, and runs out by itself; a fence may void it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Toy, ToyKey, ToyWrite};
use crate::clock::Timestamp;
use crate::effects::{Going, go, stay};
use crate::flow::{Cx, Flow, Input, Lost, Named, Never, Step};
use crate::phases;

/// Where a ticket stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ticket {
    /// It is good.
    Open(Open),
    /// Its holder gave it back.
    Closed {
        /// How often it had been stamped.
        stamps: u32,
    },
    /// Its time is over.
    Expired {
        /// How often it had been stamped.
        stamps: u32,
    },
    /// The fence moved under which it was issued.
    Void,
}

/// What a good ticket carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Open {
    /// The name that it has claimed.
    pub name: String,
    /// The fence under which it was issued.
    #[serde(default)]
    pub fence: Option<Fence>,
    /// How often it was stamped.
    pub stamps: u32,
    /// When it runs out.
    pub until: Timestamp,
}

/// A fence as it was when somebody looked at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// Its name.
    pub name: String,
    /// Its number.
    pub number: i64,
}

/// Challenge a ticket.
#[derive(Clone, Debug)]
pub struct Issue {
    /// The name that it claims.
    pub name: String,
    /// The fence that may void it.
    pub fence: Option<Fence>,
    /// How long it is good.
    pub lasts: Duration,
}

/// What may be asked of a ticket.
#[derive(Clone, Debug)]
pub enum Ask {
    /// Is it good? Nothing is written.
    Look,
    /// One more stamp.
    Stamp,
    /// Another name.
    Rename(String),
    /// Here it is back.
    Close,
}

/// What the asker is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Says {
    /// It is good.
    Good {
        /// How often it has been stamped.
        stamps: u32,
    },
    /// Another ticket has this name.
    NameTaken,
    /// The fence had moved already.
    Void,
    /// It is not good any more.
    Over,
}

impl Named for Issue {
    fn name(&self) -> &'static str {
        "issue"
    }
}

impl Named for Ask {
    fn name(&self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Stamp => "stamp",
            Self::Rename(_) => "rename",
            Self::Close => "close",
        }
    }
}

phases! {
    /// Where it stands.
    pub enum Phase {
        Open = "open",
        Closed = "closed",
        Expired = "expired",
        Void = "void",
    }
}

impl Flow for Ticket {
    const NAME: &'static str = "ticket";
    const PREFIX: &'static str = "tic";
    type Domain = Toy;
    type Phase = Phase;
    type Start = Issue;
    type Command = Ask;
    type Signal = Never;
    type Outcome = Says;

    fn start(asked: &Issue, lost: Option<&Lost<Self>>, cx: &Cx<'_, Toy>) -> Step<Self> {
        match lost {
            Some(Lost(ToyKey::Name(_))) => stay().says(Says::NameTaken),
            Some(Lost(ToyKey::Fence(_))) => stay().says(Says::Void),
            None => {
                let open = Open {
                    name: asked.name.clone(),
                    fence: asked.fence.clone(),
                    stamps: 0,
                    until: cx.now.after(asked.lasts),
                };
                open.holding(go(Self::Open(open.clone())))
                    .claim(ToyKey::Name(asked.name.clone()))
                    .write(ToyWrite::add("issued", 1))
                    .says(Says::Good { stamps: 0 })
            }
        }
    }

    fn on(&self, input: &Input<Self>, lost: Option<&Lost<Self>>, _cx: &Cx<'_, Toy>) -> Step<Self> {
        let open = match self {
            Self::Open(open) => open,
            Self::Closed { .. } | Self::Expired { .. } | Self::Void => return stay().says(Says::Over),
        };
        match (input, lost) {
            (Input::Woken, _) => go(Self::Expired { stamps: open.stamps })
                .release(ToyKey::Name(open.name.clone()))
                .write(ToyWrite::add("expired", 1))
                .says(Says::Over),

            (_, Some(Lost(ToyKey::Fence(_)))) => {
                go(Self::Void).release(ToyKey::Name(open.name.clone())).says(Says::Void)
            }
            (_, Some(Lost(ToyKey::Name(_)))) => stay().says(Says::NameTaken),

            (Input::Asked(Ask::Look), None) => match &open.fence {
                Some(fence) => stay().hold(fence.key(), fence.number).says(Says::Good { stamps: open.stamps }),
                None => stay().says(Says::Good { stamps: open.stamps }),
            },
            (Input::Asked(Ask::Stamp), None) => {
                let stamps = open.stamps + 1;
                open.holding(go(Self::Open(Open { stamps, ..open.clone() })))
                    .write(ToyWrite::add("stamps", 1))
                    .says(Says::Good { stamps })
            }
            (Input::Asked(Ask::Rename(name)), None) if *name == open.name => {
                stay().says(Says::Good { stamps: open.stamps })
            }
            (Input::Asked(Ask::Rename(name)), None) => open
                .holding(go(Self::Open(Open { name: name.clone(), ..open.clone() })))
                .claim(ToyKey::Name(name.clone()))
                .release(ToyKey::Name(open.name.clone()))
                .says(Says::Good { stamps: open.stamps }),
            (Input::Asked(Ask::Close), None) => {
                go(Self::Closed { stamps: open.stamps }).release(ToyKey::Name(open.name.clone())).says(Says::Over)
            }

            (Input::Told(never), _) => match *never {},
            (Input::Answered { .. }, None) => stay().says(Says::Good { stamps: open.stamps }),
        }
    }

    fn wake_at(&self) -> Option<Timestamp> {
        match self {
            Self::Open(open) => Some(open.until),
            Self::Closed { .. } | Self::Expired { .. } | Self::Void => None,
        }
    }

    fn phase(&self) -> Phase {
        match self {
            Self::Open(_) => Phase::Open,
            Self::Closed { .. } => Phase::Closed,
            Self::Expired { .. } => Phase::Expired,
            Self::Void => Phase::Void,
        }
    }
}

impl Open {
    /// The step counts only while the fence is where it was.
    fn holding(&self, going: Going<Ticket>) -> Going<Ticket> {
        match &self.fence {
            Some(fence) => going.hold(fence.key(), fence.number),
            None => going,
        }
    }
}

impl Fence {
    fn key(&self) -> ToyKey {
        ToyKey::Fence(self.name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::super::HOUR;
    use super::super::desk::{begin, cx, on};
    use super::*;
    use crate::effects::Guard;
    use crate::testing::clock::BEGINNING;

    fn issue() -> Issue {
        Issue { name: "ada".to_owned(), fence: Some(Fence { name: "north".to_owned(), number: 4 }), lasts: HOUR }
    }

    fn name() -> ToyKey {
        ToyKey::Name("ada".to_owned())
    }

    fn hold() -> Guard<ToyKey> {
        Guard::Hold(ToyKey::Fence("north".to_owned()), 4)
    }

    #[test]
    fn a_ticket_claims_its_name_under_its_fence() {
        let (ticket, step) = begin::<Ticket>(&issue());
        assert_eq!(step.effects.guards, [hold(), Guard::Claim(name())]);
        assert_eq!(ticket.wake_at(), Some(BEGINNING.after(HOUR)));
    }

    #[test]
    fn a_taken_name_and_a_moved_fence_refuse_a_ticket() {
        let taken = Ticket::start(&issue(), Some(&Lost(name())), &cx(BEGINNING));
        let moved = Ticket::start(&issue(), Some(&Lost(ToyKey::Fence("north".to_owned()))), &cx(BEGINNING));
        assert_eq!((taken.to, taken.says), (None, Says::NameTaken));
        assert_eq!((moved.to, moved.says), (None, Says::Void));
    }

    #[test]
    fn a_stamp_is_counted_once_under_the_fence() {
        let (ticket, _) = begin::<Ticket>(&issue());
        let (ticket, step) = on(&ticket, Input::Asked(Ask::Stamp), BEGINNING);
        assert_eq!(step.says, Says::Good { stamps: 1 });
        assert_eq!((step.effects.guards, step.effects.writes), (vec![hold()], vec![ToyWrite::add("stamps", 1)]));
        let (_, step) = on(&ticket, Input::Asked(Ask::Look), BEGINNING);
        assert!(step.to.is_none() && step.effects.only_holds(), "looking writes nothing");
        assert_eq!(step.says, Says::Good { stamps: 1 });
    }

    #[test]
    fn another_name_is_claimed_before_the_old_one_goes_and_a_taken_one_changes_nothing() {
        let (ticket, _) = begin::<Ticket>(&issue());
        let (_, step) = on(&ticket, Input::Asked(Ask::Rename("eve".to_owned())), BEGINNING);
        let eve = ToyKey::Name("eve".to_owned());
        assert_eq!(step.effects.guards, [hold(), Guard::Claim(eve.clone()), Guard::Release(name())]);
        let refused = ticket.on(&Input::Asked(Ask::Rename("eve".to_owned())), Some(&Lost(eve)), &cx(BEGINNING));
        assert!(refused.to.is_none() && refused.effects.is_empty());
        assert_eq!(refused.says, Says::NameTaken);
        let (_, same) = on(&ticket, Input::Asked(Ask::Rename("ada".to_owned())), BEGINNING);
        assert!(same.effects.is_empty(), "a name does not race with itself");
    }

    #[test]
    fn a_ticket_whose_fence_moved_is_void_and_gives_its_name_back() {
        let (ticket, _) = begin::<Ticket>(&issue());
        let moved = Lost(ToyKey::Fence("north".to_owned()));
        let step = ticket.on(&Input::Asked(Ask::Stamp), Some(&moved), &cx(BEGINNING));
        assert_eq!((step.to, step.says), (Some(Ticket::Void), Says::Void));
        assert_eq!(step.effects.guards, [Guard::Release(name())]);
        assert!(step.effects.writes.is_empty());
    }

    #[test]
    fn an_expired_ticket_is_finished_and_stays_so() {
        let (ticket, _) = begin::<Ticket>(&issue());
        let (ticket, step) = on(&ticket, Input::Woken, BEGINNING.after(HOUR));
        assert_eq!(step.effects.guards, [Guard::Release(name())]);
        assert_eq!(ticket.wake_at(), None);
        for ask in [Ask::Look, Ask::Stamp, Ask::Rename("eve".to_owned()), Ask::Close] {
            let (_, step) = on(&ticket, Input::Asked(ask), BEGINNING.after(HOUR));
            assert!(step.to.is_none() && step.effects.is_empty());
            assert_eq!(step.says, Says::Over);
        }
    }
}
