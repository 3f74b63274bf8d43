//! The mail as it arrives: each letter's code and link, read from the letter as it was carried, and nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_actors::effects::Auth;
use cairn_actors::environment::Environment;
use cairn_actors::letters;
use cairn_actors::secrets::credential::{self, Purpose, Seal};
use cairn_runtime::outbox::DeliveryAttempt;
use cairn_runtime::testing::clock::Rng;
use cairn_runtime::{DeliveryId, FlowId};

use super::flow::{Reading, Weighted};
use super::ledger::Ledger;

/// A letter that proves an address, as its reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mail {
    /// Whose letter it is: a link says so itself, for a code the page knows.
    pub(super) flow: FlowId,
    pub(super) purpose: Purpose,
    /// Empty where there is only a link.
    pub(super) code: String,
    pub(super) link: String,
}

/// All mailboxes.
pub(super) struct Post {
    environment: Arc<Environment>,
    mails: Vec<Mail>,
    taken: BTreeMap<DeliveryId, Option<Mail>>,
    /// What the letters of a flow carried, and how many there were.
    carried: BTreeMap<FlowId, (String, String, u32)>,
}

impl Post {
    pub(super) fn new(environment: Arc<Environment>) -> Self {
        Self { environment, mails: Vec::new(), taken: BTreeMap::new(), carried: BTreeMap::new() }
    }

    /// One of the last letters of a purpose.
    pub(super) fn recent(&self, purpose: Purpose, rng: &mut Rng) -> Option<Mail> {
        let last: Vec<&Mail> = self.mails.iter().rev().filter(|mail| mail.purpose == purpose).take(6).collect();
        rng.pick(&last).copied().cloned()
    }

    /// A letter comes, perhaps again; what is wrong with it goes to the ledger.
    pub(super) fn take(
        &mut self,
        carried: &DeliveryAttempt<Auth>,
        ledger: &mut Ledger,
        flows: &[Weighted],
        rng: &mut Rng,
    ) {
        let Some(letter) = carried.delivery.mailed() else { return };
        let flow = carried.flow;
        let sender = flows.iter().find(|sender| ledger.kind(flow) == Some(sender.actor.name()));
        let Some(Reading { credential, is_known }) =
            sender.and_then(|sender| sender.actor.letter(ledger, letter, flow))
        else {
            return ledger.complain(format!("nobody knows {} as a letter of {flow}", letter.name()));
        };
        let mail = credential.map(|(purpose, seal)| self.read(flow, purpose, &seal));
        // The mailer writes it in words; that takes its time, so not every one.
        if rng.chance(10) {
            let words = letters::render(letter, carried.flow, &self.environment).expect("every letter has its words");
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
            if has_code(mail.purpose) {
                self.compare(&mail, carried.id, ledger);
            }
            self.mails.push(mail);
        }
        // Letters are slow: by now the address may be another's, or nobody's.
        if !is_known {
            ledger.complain(format!("{} went to an address that has no such account", letter.name()));
        }
    }

    /// All letters of a flow that prove an address carry the same, and there are as many as steps that sent one.
    fn compare(&mut self, mail: &Mail, id: DeliveryId, ledger: &mut Ledger) {
        let first = || (mail.code.clone(), mail.link.clone(), 0);
        let (code, link, letters) = self.carried.entry(mail.flow).or_insert_with(first);
        *letters += 1;
        if (&*code, &*link) != (&mail.code, &mail.link) {
            ledger.complain(format!("the letter {id} carries something else than the one before it"));
        }
        if ledger.letters.get(&mail.flow).is_none_or(|asked| asked.again + 1 < *letters) {
            ledger.complain(format!("the letter {id} was sent by no step of {}", mail.flow));
        }
    }

    fn read(&self, flow: FlowId, purpose: Purpose, seal: &Seal) -> Mail {
        let code =
            credential::code(&self.environment.ring, purpose, *flow.bytes(), seal).expect("the ring has the key");
        let code = if has_code(purpose) { code.expose().to_string() } else { String::new() };
        Mail { flow, purpose, code, link: text(&self.environment, purpose, flow, seal) }
    }
}

/// Letters that undo something have a link alone.
fn has_code(purpose: Purpose) -> bool {
    !matches!(purpose, Purpose::EndSession | Purpose::UndoEmailChange)
}

/// A credential as it stands in a letter or reply.
pub(super) fn text(environment: &Environment, purpose: Purpose, flow: FlowId, seal: &Seal) -> String {
    let token = credential::render(&environment.ring, purpose, *flow.bytes(), seal).expect("the ring has the key");
    token.expose().to_owned()
}
