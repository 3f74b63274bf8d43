//! A grant with the person that it is about: from the sign-in to the last token.

use cairn_runtime::{Cx, Step, go, stay};
use serde::{Deserialize, Serialize};

use super::grant::held;
use super::{Authorization, Consenting, Grant, Minted, Outcome, Policy, Return, Tokens, Who};
use crate::effects::{Auth, ConsentWrite, Key};
use crate::oauth::access::{Access, Wish};
use crate::oauth::scope::Scope;
use crate::secrets::signing_algorithm::SigningAlgorithm;

/// A grant with the person that it is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claimed {
    /// What is asked for.
    pub grant: Grant,
    /// Of whom.
    pub who: Who,
    /// The number of the consent's fence; `None`: nobody was asked, or not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<i64>,
}

/// What is known of a grant whose client has tokens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Active {
    /// What was granted; its seal is the present refresh token's.
    pub grant: Grant,
    /// By whom.
    pub who: Who,
    /// The number of the consent's fence; `None`: nobody was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<i64>,
    /// What the present access token is made from.
    pub minted: Minted,
    /// For what the present access token is good: the grant, or what the client narrowed it to.
    pub access: Access,
}

impl Claimed {
    /// The fences that must not have moved.
    fn fences(&self) -> Vec<(Key, i64)> {
        held(&self.grant, &self.who, self.consent, false)
    }

    /// They consent to so much of what was asked for.
    pub(super) fn consented(&self, scope: &Scope, how: &Consenting, cx: &Cx<'_, Auth>) -> Step<Authorization> {
        let (user, client) = (self.who.user, self.grant.client);
        let mut grant = self.grant.clone();
        grant.access.scope = grant.access.scope.and(scope);
        let access = &grant.access;
        let kept = match how {
            Consenting::NotKept => None,
            Consenting::First => Some((access.scope.clone(), access.resource.clone())),
            Consenting::Again { scope, resources, .. } => {
                let mut all = resources.clone();
                all.extend(access.resource.iter().filter(|resource| !resources.contains(resource)).cloned());
                Some((access.scope.or(scope), all))
            }
        };
        let write = kept.map(|(scope, resources)| ConsentWrite::Give { user, client, scope, resources, at: cx.now });
        Self { grant, consent: how.number(), ..self.clone() }.decided(*how == Consenting::First, write, cx)
    }

    /// Nothing is left to be asked: a code goes out, which is good for a minute, or the device may fetch its tokens for as
    /// long as its code is good. `first`: the consent's fence comes to be in this very step.
    pub(super) fn decided(
        mut self,
        first: bool,
        write: Option<ConsentWrite>,
        cx: &Cx<'_, Auth>,
    ) -> Step<Authorization> {
        let user_code = self.grant.way.user_code();
        if user_code.is_none() {
            self.grant.expires_at = cx.now.after(cx.environment.settings.code_ttl);
        }
        let (says, fences) = (self.consent(), self.fences());
        let consent = Key::Consent(self.who.user, self.grant.client);
        let mut step = go(Authorization::Consented(Box::new(self)));
        for (key, number) in fences {
            step = if first && key == consent { step.claim(key) } else { step.hold(key, number) };
        }
        if let Some(user_code) = user_code {
            step = step.release(Key::UserCode(user_code));
        }
        if let Some(write) = write {
            step = step.write(write);
        }
        step.says(says)
    }

    /// What a consent is told, however often it comes.
    pub(super) fn consent(&self) -> Outcome {
        match Return::of(&self.grant) {
            Some(back) => Outcome::CodeIssued {
                issue: self.grant.issue.clone(),
                session: self.who.session,
                back,
                expires_at: self.grant.expires_at,
            },
            None => Outcome::DeviceApproved,
        }
    }

    /// The code counts as used: the first tokens.
    pub(super) fn redeemed(&self, access: Access, cx: &Cx<'_, Auth>) -> Step<Authorization> {
        let grant =
            Grant { way: self.grant.way.clone().used(), expires_at: self.who.lasts_until(cx), ..self.grant.clone() };
        let minted = Minted::first(SigningAlgorithm::Es256, grant.access_ttl(), cx);
        Active { grant, who: self.who.clone(), consent: self.consent, minted, access }.given()
    }
}

impl Active {
    /// The fences that must not have moved.
    pub fn fences(&self) -> Vec<(Key, i64)> {
        held(&self.grant, &self.who, self.consent, self.grant.is_offline())
    }

    /// What its client is told of its present tokens.
    pub fn tokens(&self) -> Tokens {
        let first = self.minted.generation == 0;
        Tokens {
            user: self.who.user,
            client: self.grant.client,
            session: self.who.session,
            issue: self.grant.issue.clone(),
            minted: self.minted.clone(),
            access: self.access.clone(),
            auth_time: self.who.auth_time,
            amr: self.who.amr.clone(),
            nonce: self.grant.way.nonce().filter(|_| first),
            claims: self.grant.way.claims(),
            expires_at: self.grant.expires_at,
        }
    }

    /// Tokens, if no fence has moved.
    fn given(self) -> Step<Authorization> {
        let (says, fences) = (Outcome::Tokens(Box::new(self.tokens())), self.fences());
        let step = go(Authorization::Active(Box::new(self)));
        fences.into_iter().fold(step, |step, (key, number)| step.hold(key, number)).says(says)
    }

    /// The same tokens again, on the same condition.
    pub(super) fn given_again(&self) -> Step<Authorization> {
        let fences = self.fences().into_iter();
        fences.fold(stay(), |step, (key, number)| step.hold(key, number)).says(Outcome::Tokens(Box::new(self.tokens())))
    }

    /// Whether a code that comes once more is the repeat of the exchange that it was answered to: the client lost our
    /// reply, and has used none of the tokens that were in it.
    pub(super) fn repeats_exchange(&self, access: &Access, cx: &Cx<'_, Auth>) -> bool {
        self.minted.generation == 0
            && self.access == *access
            && cx.now < self.minted.at.after(cx.environment.settings.refresh_grace)
    }

    /// The next tokens.
    pub(super) fn refreshed(&self, wish: &Wish, cx: &Cx<'_, Auth>) -> Step<Authorization> {
        let access = match self.grant.access.narrowed(wish) {
            Ok(access) => access,
            Err(too_wide) => return stay().says(Outcome::TooWide(too_wide)),
        };
        let mut grant = self.grant.clone();
        grant.way = grant.way.refreshed();
        grant.expires_at = self.who.lasts_until(cx);
        if grant.refresh == Policy::Rotate {
            grant.issue = grant.issue.next(&cx.environment.ring);
        }
        let minted = self.minted.next(SigningAlgorithm::Es256, grant.access_ttl(), cx);
        Self { grant, minted, access, ..self.clone() }.given()
    }
}
