//! Clients and what people have consented to: how often each has ended, and for what each consent is, as events and
//! writes tell it.

use cairn_actors::effects::{Auth, Key};
use cairn_actors::identity::user_id::UserId;
use cairn_actors::oauth::client::ClientId;
use cairn_actors::oauth::scope::Scope;
use cairn_runtime::{Domain, Guard};

use super::Ledger;
use crate::simulation::flow::Step;

/// A consent: whose it is, to which client.
pub(in crate::simulation) type Pair = (UserId, ClientId);

/// What is known of a consent.
#[derive(Debug, Default)]
pub(in crate::simulation) struct Consent {
    /// How often it was taken back.
    pub(in crate::simulation) number: i64,
    /// For what it is.
    pub(in crate::simulation) scope: Scope,
}

impl Ledger {
    /// The number of a client's fence.
    pub(in crate::simulation) fn client(&self, client: ClientId) -> Option<i64> {
        self.clients.get(&client).copied()
    }

    /// What a user has consented to for a client.
    pub(in crate::simulation) fn consent(&self, user: UserId, client: ClientId) -> Option<&Consent> {
        self.consents.get(&(user, client))
    }

    /// A client was registered, which nobody had done before, or all that it was granted is over.
    pub(in crate::simulation) fn client_moved(&mut self, step: &Step<'_>, client: ClientId) {
        let key = Key::Client(client);
        match self.clients.get_mut(&client) {
            Some(number) => {
                *number += 1;
                self.raised(step, &key, "fence of the client");
            }
            None => {
                self.clients.insert(client, 0);
                self.client_keys.insert(Auth::guard(&key), client);
                if !claims(step, &key) {
                    self.complain(format!("{client:?} came to be without a fence"));
                }
            }
        }
    }

    /// Somebody consented: for the first time, or to more under the number that was held. Gives the number.
    pub(in crate::simulation) fn consented(
        &mut self,
        step: &Step<'_>,
        pair: Pair,
        scope: &Scope,
        held: Option<(Pair, i64)>,
    ) -> Option<(Pair, i64)> {
        let key = Key::Consent(pair.0, pair.1);
        let is_first = claims(step, &key);
        let known = self.consents.contains_key(&pair);
        if is_first == known || !is_first && held.map(|(pair, _)| pair) != Some(pair) {
            self.complain(format!("{pair:?} was consented to under {held:?}, claimed: {is_first}, known: {known}"));
        }
        self.consent_keys.insert(Auth::guard(&key), pair);
        let consent = self.consents.entry(pair).or_default();
        consent.scope = scope.clone();
        Some((pair, consent.number))
    }

    /// Somebody took everything back that they had consented to for a client.
    pub(in crate::simulation) fn took_back(&mut self, step: &Step<'_>, pair: Pair) {
        self.raised(step, &Key::Consent(pair.0, pair.1), "fence of the consent");
        match self.consents.get_mut(&pair) {
            Some(consent) => *consent = Consent { number: consent.number + 1, scope: Scope::default() },
            None => self.complain(format!("{pair:?} was taken back and never given")),
        }
    }

    /// Which client's fence, or the fence of which consent, a guard is.
    pub(super) fn held_of_client(&mut self, key: &str, number: i64, what: &str) -> HeldOfClient {
        if let Some(client) = self.client_keys.get(key).copied() {
            let present = self.client(client);
            if present != Some(number) {
                self.complain(format!("{what} under the fence {number} of {client:?}, which is at {present:?}"));
            }
            HeldOfClient::Client(client)
        } else if let Some(pair) = self.consent_keys.get(key).copied() {
            let present = self.consent(pair.0, pair.1).map(|consent| consent.number);
            if present != Some(number) {
                self.complain(format!("{what} under the consent {number} of {pair:?}, which is at {present:?}"));
            }
            HeldOfClient::Consent(pair)
        } else {
            HeldOfClient::Neither
        }
    }

    /// Why nothing may be given under these numbers any more.
    pub(super) fn left_client(
        &self,
        client: Option<(ClientId, i64)>,
        consent: Option<(Pair, i64)>,
    ) -> Option<&'static str> {
        if client.is_some_and(|(client, number)| self.client(client) != Some(number)) {
            return Some("client_deleted");
        }
        let moved = |(pair, number): (Pair, i64)| self.consent(pair.0, pair.1).is_none_or(|of| of.number != number);
        consent.is_some_and(moved).then_some("consent_revoked")
    }
}

/// See [`Ledger::held_of_client`].
pub(super) enum HeldOfClient {
    Client(ClientId),
    Consent(Pair),
    Neither,
}

fn claims(step: &Step<'_>, key: &Key) -> bool {
    let guard = Auth::guard(key);
    step.line.guards.iter().any(|claimed| matches!(claimed, Guard::Claim(key) if *key == guard))
}
