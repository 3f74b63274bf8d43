//! The mail as it arrives: each letter's code and link, read from the letter as it was carried, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_actors::credential::{self, Purpose, Seal};
use cairn_actors::effects::{Auth, Delivery, Letter};
use cairn_actors::letters;
use cairn_actors::world::World;
use cairn_runtime::outbox::Carrying;
use cairn_runtime::testing::clock::Rng;
use cairn_runtime::{DeliveryId, FlowId};

use super::ledger::Ledger;

/// A letter that proves an address, as its reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mail {
    /// Whose letter it is: a link says so itself, for a code the page knows.
    pub(super) flow: FlowId,
    pub(super) purpose: Purpose,
    /// Which of the flow's letters, the first is 0.
    pub(super) number: u32,
    /// Empty where there is only a link.
    pub(super) code: String,
    pub(super) link: String,
}

/// All mailboxes.
pub(super) struct Post {
    world: Arc<World>,
    mails: Vec<Mail>,
    taken: BTreeMap<DeliveryId, Option<Mail>>,
    issues: BTreeMap<(FlowId, u32), DeliveryId>,
}

impl Post {
    pub(super) fn new(world: Arc<World>) -> Self {
        Self { world, mails: Vec::new(), taken: BTreeMap::new(), issues: BTreeMap::new() }
    }

    /// One of the last letters of a purpose.
    pub(super) fn recent(&self, purpose: Purpose, rng: &mut Rng) -> Option<Mail> {
        let last: Vec<&Mail> = self.mails.iter().rev().filter(|mail| mail.purpose == purpose).take(6).collect();
        rng.pick(&last).copied().cloned()
    }

    /// A letter comes, perhaps again; what is wrong with it goes to the ledger.
    pub(super) fn take(&mut self, carried: &Carrying<Auth>, ledger: &mut Ledger, rng: &mut Rng) {
        let Delivery::Letter(letter) = &carried.delivery;
        let mail = self.read(letter, carried.flow);
        // The mailer writes it in words; that takes its time, so not every one.
        if rng.chance(10) {
            let words = letters::render(letter, carried.flow, &self.world).expect("every letter has its words");
            let whole =
                mail.as_ref().is_none_or(|mail| words.text.contains(&mail.code) && words.text.contains(&mail.link));
            if !whole {
                ledger.complain(format!("the letter {} lacks its code or link", carried.id));
            }
        }
        if let Some(before) = self.taken.get(&carried.id) {
            if *before != mail {
                ledger.complain(format!("the letter {} came again with another credential", carried.id));
            }
            return;
        }
        self.taken.insert(carried.id, mail.clone());
        if let Some(mail) = mail {
            if mail.purpose == Purpose::EndSession {
                self.mails.push(mail);
                return;
            }
            if let Some(other) = self.issues.insert((mail.flow, mail.number), carried.id) {
                ledger.complain(format!("{other} and {} are one letter of {}", carried.id, mail.flow));
            }
            if ledger.letters.get(&mail.flow).is_none_or(|letters| letters.last < mail.number) {
                ledger.complain(format!("the letter {} was sent by no step of {}", carried.id, mail.flow));
            }
            self.mails.push(mail);
        }
        let owner = ledger.by_address.get(&self.world.address_key(letter.to()));
        let known = match letter {
            Letter::RegistrationVerify { .. } => true,
            Letter::RegistrationKnown { .. } | Letter::RegistrationWelcome { .. } => owner.is_some(),
            Letter::RecoveryReset { .. } => owner.is_some(),
            Letter::PasswordChanged { .. } => {
                owner.is_some_and(|owner| ledger.changes.contains(&(carried.flow, *owner)))
            }
            Letter::SessionNewDevice { .. } => {
                ledger.chains.get(&carried.flow).is_some_and(|chain| chain.user.as_ref() == owner)
            }
            Letter::EmailConfirm { .. }
            | Letter::EmailKnown { .. }
            | Letter::EmailChanged { .. }
            | Letter::DeletionAsked { .. } => false,
        };
        if !known {
            ledger.complain(format!("{} went to an address that has no such account", letter.name()));
        }
    }

    fn read(&self, letter: &Letter, flow: FlowId) -> Option<Mail> {
        let (purpose, seal) = match letter {
            Letter::RegistrationVerify { seal, .. } => (Purpose::VerifyEmail, seal),
            Letter::RecoveryReset { seal, .. } => (Purpose::ResetPassword, seal),
            Letter::SessionNewDevice { seal, .. } => (Purpose::EndSession, seal),
            Letter::RegistrationKnown { .. }
            | Letter::RegistrationWelcome { .. }
            | Letter::PasswordChanged { .. }
            | Letter::EmailConfirm { .. }
            | Letter::EmailKnown { .. }
            | Letter::EmailChanged { .. }
            | Letter::DeletionAsked { .. } => return None,
        };
        let code = credential::code(&self.world.ring, purpose, *flow.bytes(), seal).expect("the ring has the key");
        let code = if purpose == Purpose::EndSession { String::new() } else { code.expose().to_string() };
        Some(Mail { flow, purpose, number: seal.n, code, link: text(&self.world, purpose, flow, seal) })
    }
}

/// A credential as it stands in a letter or reply.
pub(super) fn text(world: &World, purpose: Purpose, flow: FlowId, seal: &Seal) -> String {
    let token = credential::render(&world.ring, purpose, *flow.bytes(), seal).expect("the ring has the key");
    token.expose().to_owned()
}
