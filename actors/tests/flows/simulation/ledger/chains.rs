//! Chains of tokens, of sessions and of grants: whose each is, under which fences, and what was handed out.

use std::collections::BTreeSet;

use cairn_actors::flows::session;
use cairn_actors::identity::user_id::UserId;
use cairn_actors::oauth::client::ClientId;
use cairn_actors::secrets::credential::Seal;
use cairn_runtime::{FlowId, Guard, Id, Timestamp};

use super::Ledger;
use super::clients::{HeldOfClient, Pair};
use crate::simulation::flow::Step;

/// What came with one generation of a chain of tokens: refresh token, and `jti`, `iat`, `exp` and key of the access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::simulation) struct IssuedTokens {
    pub(in crate::simulation) issue: Seal,
    pub(in crate::simulation) minted: session::Minted,
}

/// A session, or a grant: whose it is, under which fences, and what was handed out.
#[derive(Debug, Default)]
pub(in crate::simulation) struct Chain {
    pub(in crate::simulation) user: Option<UserId>,
    pub(in crate::simulation) fence: i64,
    /// The session in which a grant was made, while its end would end the grant.
    pub(in crate::simulation) session: Option<FlowId>,
    /// The client that a grant is made to, with the number of its fence.
    pub(in crate::simulation) client: Option<(ClientId, i64)>,
    /// The consent on which a grant rests, with the number of its fence.
    pub(in crate::simulation) consent: Option<(Pair, i64)>,
    pub(in crate::simulation) handed: Vec<IssuedTokens>,
    /// Which of them came of a proof of the password: what they replaced gets no repeat.
    pub(in crate::simulation) proved: BTreeSet<u32>,
    /// The first refresh token of the present salt: those before it are of no use.
    pub(in crate::simulation) salted: u32,
    /// When it ends unless it is used before.
    pub(in crate::simulation) expires_at: Option<Timestamp>,
}

/// The fences on whose numbers a step was conditional.
#[derive(Debug, PartialEq)]
pub(in crate::simulation) struct Held {
    pub(in crate::simulation) user: Option<(UserId, i64)>,
    pub(in crate::simulation) session: Option<FlowId>,
    pub(in crate::simulation) client: Option<(ClientId, i64)>,
    pub(in crate::simulation) consent: Option<(Pair, i64)>,
    /// Of whose devices the number was held, as far as that matters: where a password was proved.
    pub(in crate::simulation) devices: Option<UserId>,
}

impl Chain {
    pub(in crate::simulation) fn own(&self) -> Held {
        let user = self.user.map(|user| (user, self.fence));
        Held { user, session: self.session, client: self.client, consent: self.consent, devices: None }
    }

    /// Whether it may have ended in this way: by a fence, only when that has moved.
    pub(super) fn may_end(&self, by: &str, ledger: &Ledger) -> bool {
        match by {
            "fenced" => self.is_fenced(ledger),
            "client_deleted" => ledger.left_client(self.client, None).is_some(),
            // What is not kept has no fence.
            "consent_revoked" => self.consent.is_none() || ledger.left_client(None, self.consent).is_some(),
            _ => true,
        }
    }

    /// Whether what it was begun under has moved.
    fn is_fenced(&self, ledger: &Ledger) -> bool {
        let user = self.user.is_some_and(|user| ledger.fence(user) != Some(self.fence));
        user || self.session.is_some_and(|session| ledger.is_finished(session))
    }
}

impl Ledger {
    /// The fences that a step held: each at its present number, or the step outlived it.
    pub(in crate::simulation) fn held(&mut self, step: &Step<'_>) -> Held {
        let Step { event, line, .. } = step;
        let mut held = Held { user: None, session: None, client: None, consent: None, devices: None };
        let what = format!("{} {} took {}", event.kind, event.flow, event.name);
        for guard in &line.guards {
            let Guard::Hold(key, number) = guard else { continue };
            if let Some(user) = self.fences.get(key).copied() {
                held.user = Some((user, *number));
                if self.fence(user) != Some(*number) {
                    let present = self.fence(user);
                    self.complain(format!("{what} under the fence {number} of {user:?}, which is at {present:?}"));
                }
            } else if let Some(user) = self.numbers.get(key).copied() {
                held.devices = Some(user);
                if self.devices(user) != Some(*number) {
                    let present = self.devices(user);
                    self.complain(format!(
                        "{what} under the number {number} of the devices of {user:?}, which is at {present:?}"
                    ));
                }
            } else if let Some(session) = key.strip_prefix("session/").and_then(|text| Id::parse("ses", text)) {
                let session = FlowId(session);
                held.session = Some(session);
                if self.finished.contains(&session) || !self.chains.contains_key(&session) {
                    self.complain(format!("{what} in the session {session}, which is over"));
                }
            } else {
                match self.held_of_client(key, *number, &what) {
                    HeldOfClient::Client(client) => held.client = Some((client, *number)),
                    HeldOfClient::Consent(pair) => held.consent = Some((pair, *number)),
                    HeldOfClient::Neither => {}
                }
            }
        }
        held
    }

    /// Tokens were handed out: by the right fences, of the next generation, from one chain that never forks.
    pub(in crate::simulation) fn hand(
        &mut self,
        step: &Step<'_>,
        held: &Held,
        user: UserId,
        handed: IssuedTokens,
        expires_at: Timestamp,
    ) {
        let event = step.event;
        let must_rotate = event.kind == "session";
        let what = format!("{} {}", event.kind, event.flow);
        let mut wrong = Vec::new();
        match self.chains.get_mut(&event.flow) {
            None => wrong.push(format!("{what} gave tokens and was never begun")),
            Some(chain) => {
                if chain.user != Some(user) || *held != chain.own() {
                    wrong.push(format!("{what} gave {user:?} tokens under {held:?}, and began under {chain:?}"));
                }
                let next = u32::try_from(chain.handed.len()).unwrap_or(u32::MAX);
                if handed.minted.generation != next {
                    wrong.push(format!("{what} gave generation {} where {next} follows", handed.minted.generation));
                }
                let rotated = chain.handed.last().is_some_and(|before| before.issue.n != handed.issue.n);
                let steps = handed.issue.n == if must_rotate || rotated { next } else { 0 };
                if !steps {
                    wrong.push(format!("{what} gave {:?} as number {next}", handed.issue));
                }
                chain.handed.push(handed);
                chain.expires_at = Some(expires_at);
            }
        }
        wrong.into_iter().for_each(|what| self.complain(what));
    }

    /// Why whoever asks this flow from now on must get no tokens; `presented` is the generation of the refresh token shown.
    pub(in crate::simulation) fn doom(&self, flow: FlowId, presented: Option<u32>) -> Option<String> {
        let chain = self.chains.get(&flow)?;
        let present = chain.user.and_then(|user| self.fence(user));
        if self.is_finished(flow) {
            return Some("it had ended".to_owned());
        }
        if chain.user.is_some() && present != Some(chain.fence) {
            return Some(format!("it began under the fence {}, which was at {present:?}", chain.fence));
        }
        if chain.session.is_some_and(|session| self.is_finished(session)) {
            return Some("its session had ended".to_owned());
        }
        if let Some(why) = self.left_client(chain.client, chain.consent) {
            return Some(why.to_owned());
        }
        let last = chain.handed.last().map_or(0, |handed| handed.issue.n);
        let wrong = |n: u32| n + 1 < last || n + 1 == last && chain.proved.contains(&last) || n < chain.salted;
        presented.filter(|n| wrong(*n)).map(|n| format!("{n} was shown when {last} was the present one"))
    }

    /// Whether the refresh token after this one came of a proof of the password.
    pub(in crate::simulation) fn was_proved_after(&self, flow: FlowId, shown: u32) -> bool {
        self.chains.get(&flow).is_some_and(|chain| chain.proved.contains(&(shown + 1)))
    }

    /// What is wrong with tokens that somebody was told: whoever gets them gets what history says of their generation.
    pub(in crate::simulation) fn contradicts(&self, flow: FlowId, told: &IssuedTokens) -> Option<String> {
        let generation = usize::try_from(told.minted.generation).unwrap_or(usize::MAX);
        let known = self.chains.get(&flow).and_then(|chain| chain.handed.get(generation));
        (known != Some(told)).then(|| format!("{flow} told {told:?}, and gave {known:?} before"))
    }
}
