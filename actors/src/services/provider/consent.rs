//! The page that a browser comes to after signing in: what is left to be asked, and where it goes when nothing is.

use cairn_runtime::{Fault, Flow, FlowId, Id, Snapshot};

use super::super::session::SignedIn;
use super::super::{Caller, Refusal};
use super::Provider;
use super::authorize::Answer;
use crate::flows::authorization::{Authorization, Command, Consenting, Outcome, Return, Way};
use crate::oauth::access::Access;
use crate::oauth::client::Client;
use crate::oauth::error::{ErrorCode, OAuthError};

/// Where an authorization stands for the browser that asks.
#[derive(Clone, Debug)]
pub enum Standing {
    /// Somebody must sign in; `again`: who is signed in, too, because their sign-in is too old.
    SignIn {
        /// Who is signed in must prove anew who they are.
        again: bool,
    },
    /// Their consent is awaited.
    Ask(Box<Question>),
    /// Back to the client.
    Return(Answer),
    /// There is nothing left to be decided here: it has ended, its client has its tokens, or it never was one.
    Over(Option<Box<Client>>),
}

/// What a person is asked.
#[derive(Clone, Debug)]
pub struct Question {
    /// By which client.
    pub client: Client,
    /// For what.
    pub access: Access,
    /// Where the answer goes: its origin may be gone to from the form.
    pub back: Option<Return>,
}

/// Steps of which the fences moved between what was read and the commit.
const TRIES: usize = 3;

impl Provider<'_> {
    pub(super) fn id_of_flow(&self, text: &str) -> Option<FlowId> {
        Id::parse(Authorization::PREFIX, text).map(FlowId)
    }

    /// Where browsers that go on with an authorization end up: for the policy of the pages on the way there.
    ///
    /// # Errors
    /// The database is away.
    pub async fn leads_to(&self, flow: &str) -> Result<Option<Return>, Refusal> {
        let found = self.found(flow).await?;
        Ok(found.and_then(|seen| seen.state.grant().and_then(Return::of)))
    }

    /// Whether who is signed in must prove anew who they are, for an authorization to go on.
    ///
    /// # Errors
    /// The database is away.
    pub async fn wants_fresh_sign_in(&self, flow: &str, somebody: &SignedIn) -> Result<bool, Refusal> {
        let found = self.found(flow).await?;
        let since = found.and_then(|seen| seen.state.grant().and_then(|grant| grant.way.not_before()));
        Ok(since.is_some_and(|since| somebody.proved_at < since))
    }

    /// Where an authorization stands for this browser, after whatever follows from who is signed in.
    ///
    /// # Errors
    /// The engine's.
    pub async fn standing(
        &self,
        caller: &Caller,
        flow: &str,
        somebody: Option<&SignedIn>,
    ) -> Result<Standing, Refusal> {
        let Some(seen) = self.found(flow).await? else { return Ok(Standing::Over(None)) };
        let Some(client) = self.directory.clients.by_id(seen.state.client()).await? else {
            return Ok(Standing::Over(None));
        };
        let over = |client| Ok(Standing::Over(Some(Box::new(client))));
        let Some(grant) = seen.state.grant().filter(|grant| matches!(grant.way, Way::Browser(_))) else {
            return over(client);
        };
        let Some(somebody) = somebody else {
            return match seen.state {
                Authorization::Active(_) | Authorization::Ended { .. } => over(client),
                _ => Ok(Standing::SignIn { again: false }),
            };
        };
        let is_theirs = seen.state.who().is_some_and(|who| who.user == somebody.user.id);
        match &seen.state {
            Authorization::SignedIn(claimed) if is_theirs && claimed.who.session == somebody.session.0 => {
                return Ok(Standing::Ask(Box::new(question(client, grant.access.clone(), Return::of(grant)))));
            }
            Authorization::Active(_) | Authorization::Ended { .. } => return over(client),
            Authorization::Consented(_) if !is_theirs => return over(client),
            _ => {}
        }
        let by = self.entry(&client, &grant.access, somebody).await?;
        let asker = self.engine.asker(&caller.trace);
        let reply = match self.engine.call::<Authorization>(seen.id, asker, Command::SignIn(by)).await {
            Ok(reply) => reply,
            Err(Fault::NotFound | Fault::Ended) => return over(client),
            Err(other) => return Err(other.into()),
        };
        match reply.outcome {
            Outcome::SignedIn { .. } => {
                Ok(Standing::Ask(Box::new(question(client, grant.access.clone(), Return::of(grant)))))
            }
            Outcome::CodeIssued { issue, back, .. } => Ok(Standing::Return(self.code(seen.id, &issue, back)?)),
            Outcome::TooOld => Ok(Standing::SignIn { again: true }),
            Outcome::Refused => Ok(Standing::SignIn { again: false }),
            _ => over(client),
        }
    }

    /// The person decides.
    ///
    /// # Errors
    /// The engine's.
    pub async fn decide(
        &self,
        caller: &Caller,
        flow: &str,
        somebody: &SignedIn,
        allows: bool,
    ) -> Result<Standing, Refusal> {
        for _ in 0..TRIES {
            let Some(seen) = self.found(flow).await? else { return Ok(Standing::Over(None)) };
            let Some(client) = self.directory.clients.by_id(seen.state.client()).await? else {
                return Ok(Standing::Over(None));
            };
            let command = if allows {
                self.consent(&client, &seen, somebody).await?
            } else {
                Command::Deny { user: Some(somebody.user.id) }
            };
            let asker = self.engine.asker(&caller.trace);
            let reply = match self.engine.call::<Authorization>(seen.id, asker, command).await {
                Ok(reply) => reply,
                Err(Fault::NotFound | Fault::Ended) => return Ok(Standing::Over(Some(Box::new(client)))),
                Err(other) => return Err(other.into()),
            };
            return match reply.outcome {
                Outcome::CodeIssued { issue, back, .. } => Ok(Standing::Return(self.code(seen.id, &issue, back)?)),
                Outcome::Denied { back: Some(back) } => {
                    let denied = OAuthError::new(ErrorCode::AccessDenied, "The person has denied access.");
                    Ok(Standing::Return(Answer::error(back, &denied)))
                }
                // Consent was given or taken back in another window.
                Outcome::Refused => continue,
                // The browser is another's by now, or was away for too long: from where it really stands.
                Outcome::NotYours => self.standing(caller, flow, Some(somebody)).await,
                _ => Ok(Standing::Over(Some(Box::new(client)))),
            };
        }
        Err(Refusal::Fault(Fault::Contended))
    }

    async fn consent(
        &self,
        client: &Client,
        seen: &Snapshot<Authorization>,
        somebody: &SignedIn,
    ) -> Result<Command, Refusal> {
        let user = somebody.user.id;
        let scope = seen.state.grant().map(|grant| grant.access.scope.clone()).unwrap_or_default();
        let how = if client.metadata.first_party {
            Consenting::NotKept
        } else {
            match self.directory.consents.of(user, client.id).await? {
                Some(given) => {
                    Consenting::Again { number: given.fence, scope: given.scope, resources: given.resources }
                }
                None => Consenting::First,
            }
        };
        Ok(Command::Consent { user, scope, how })
    }
}

fn question(client: Client, access: Access, back: Option<Return>) -> Question {
    Question { client, access, back }
}
