//! An authorization request begins: straight to the answer where nothing is left to be asked, else to the page that asks.

use cairn_runtime::Snapshot;

use super::super::session::SignedIn;
use super::super::{Caller, Refusal};
use super::Provider;
use crate::flows::authorization::{Asking, Authorization, Outcome, Remembered, Return, SignIn, Start, Who};
use crate::oauth::access::Access;
use crate::oauth::client::Client;
use crate::oauth::error::{ErrorCode, OAuthError};
use crate::oauth::parameters::Parameters;
use crate::oauth::request::{self, AuthorizationRequest};
use crate::secrets::credential::{self, Purpose, Seal};

/// What a browser takes back to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Where it goes, and how.
    pub back: Return,
    /// The parameters of the answer, but for `state` and `iss`, which every answer has.
    pub parameters: Vec<(&'static str, String)>,
}

impl Answer {
    /// That something was refused.
    pub fn error(back: Return, error: &OAuthError) -> Self {
        let parameters =
            vec![("error", error.code.word().to_owned()), ("error_description", error.description.to_string())];
        Self { back, parameters }
    }
}

/// Where a browser goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Somebody must sign in, and comes back to the flow.
    SignIn {
        /// The authorization, `aut_…`.
        flow: String,
        /// Whom the client expects, as they would type it.
        login_hint: Option<String>,
        /// They want a new account.
        create: bool,
    },
    /// Somebody must consent.
    Consent {
        /// The authorization, `aut_…`.
        flow: String,
    },
    /// Back to the client.
    Return(Answer),
}

/// Why a request is told to the person and not to the client: nobody knows that the redirect URI is the client's own.
#[derive(Clone, Debug)]
pub enum NotForClient {
    /// There is no such client.
    UnknownClient,
    /// What is wrong.
    Request(OAuthError),
    /// Something of ours.
    Ours(Refusal),
}

impl<T: Into<Refusal>> From<T> for NotForClient {
    fn from(refusal: T) -> Self {
        Self::Ours(refusal.into())
    }
}

/// Steps of which the fences moved between what was read and the commit.
const TRIES: usize = 3;

impl Provider<'_> {
    /// Begins an authorization.
    ///
    /// # Errors
    /// [`NotForClient`]; whatever the client may know is an answer to it.
    pub async fn authorize(
        &self,
        caller: &Caller,
        parameters: &Parameters,
        somebody: Option<&SignedIn>,
    ) -> Result<NextStep, NotForClient> {
        let client_id = parameters.needed("client_id").map_err(NotForClient::Request)?;
        let mut somebody = somebody;
        for _ in 0..TRIES {
            let client = self.client(client_id).await?.ok_or(NotForClient::UnknownClient)?;
            let back = request::destination(&client, parameters).map_err(NotForClient::Request)?;
            let asked = match request::check(&client, parameters, &back, self.engine.now()) {
                Ok(asked) => asked,
                Err(error) => return Ok(NextStep::Return(Answer::error(back, &error))),
            };
            match self.begin(caller, &client, &back, &asked, somebody).await? {
                Some(next) => return Ok(next),
                // A fence has moved: the client is gone, or who was signed in is so no more.
                None => somebody = None,
            }
        }
        Err(NotForClient::UnknownClient)
    }

    async fn begin(
        &self,
        caller: &Caller,
        client: &Client,
        back: &Return,
        asked: &AuthorizationRequest,
        somebody: Option<&SignedIn>,
    ) -> Result<Option<NextStep>, Refusal> {
        let refuse = |code, what| Ok(Some(NextStep::Return(Answer::error(back.clone(), &OAuthError::new(code, what)))));
        let expected = asked.id_token_hint.as_deref().map(|hint| self.subject_of_hint(hint));
        let counts = |who: &&SignedIn| {
            let fresh = asked.browser.not_before.is_none_or(|since| who.proved_at >= since);
            // OpenID Connect Core section 3.1.2.2: nobody else than whom the client expects.
            fresh && !asked.prompt.create && expected.as_ref().is_none_or(|sub| sub.as_deref() == Some(&who.claims.sub))
        };
        let somebody = somebody.filter(counts);
        let entry = match somebody {
            Some(somebody) => Some(self.entry(client, &asked.access, somebody).await?),
            None => None,
        };
        if asked.prompt.none {
            match &entry {
                None => return refuse(ErrorCode::LoginRequired, "Nobody is signed in who may answer."),
                Some(entry) if entry.remembered == Remembered::Nothing => {
                    return refuse(ErrorCode::ConsentRequired, "The person has not consented to all of it.");
                }
                Some(_) => {}
            }
        }
        let start = Start {
            client: client.id,
            client_fence: client.fence,
            access: asked.access.clone(),
            refresh: client.refresh_policy(),
            access_ttl: client.metadata.access_token_ttl,
            way: Asking::Browser { way: Box::new(asked.browser.clone()), entry },
        };
        let reply = self.engine.start::<Authorization>(self.engine.asker(&caller.trace), start).await?;
        let flow = Self::text(reply.flow);
        Ok(Some(match reply.outcome {
            Outcome::Requested { .. } => {
                NextStep::SignIn { flow, login_hint: asked.login_hint.clone(), create: asked.prompt.create }
            }
            Outcome::SignedIn { .. } => NextStep::Consent { flow },
            Outcome::CodeIssued { issue, back, .. } => NextStep::Return(self.code(reply.flow, &issue, back)?),
            _ => return Ok(None),
        }))
    }

    /// Somebody who is signed in, with what is known of their consent to an access.
    pub(super) async fn entry(&self, client: &Client, access: &Access, somebody: &SignedIn) -> Result<SignIn, Refusal> {
        let remembered = if client.metadata.first_party {
            Remembered::NotNeeded
        } else {
            match self.directory.consents.of(somebody.user.id, client.id).await? {
                Some(given) if given.covers(access) => Remembered::Given(given.fence),
                _ => Remembered::Nothing,
            }
        };
        let who = Who {
            user: somebody.user.id,
            fence: somebody.user.fence,
            session: somebody.session.0,
            // A session's fence is there for as long as the session, and nothing raises it.
            session_fence: 0,
            auth_time: somebody.proved_at,
            amr: somebody.amr.clone(),
        };
        Ok(SignIn { who, remembered })
    }

    /// The answer with a code (RFC 6749 section 4.1.2).
    pub(super) fn code(&self, flow: cairn_runtime::FlowId, issue: &Seal, back: Return) -> Result<Answer, Refusal> {
        let ring = &self.engine.environment().ring;
        let code = credential::render(ring, Purpose::AuthorizationCode, *flow.bytes(), issue);
        let code = code.ok_or_else(|| super::issue::defect("the ring has lost the key of a code"))?;
        Ok(Answer { back, parameters: vec![("code", code.expose().to_owned())] })
    }

    /// The authorization of a page, as it stands; `None` where there is none.
    pub(super) async fn found(&self, flow: &str) -> Result<Option<Snapshot<Authorization>>, Refusal> {
        match self.id_of_flow(flow) {
            Some(flow) => self.find::<Authorization>(flow).await,
            None => Ok(None),
        }
    }
}
