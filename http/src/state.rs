//! What the handlers of the public route groups share, and how it admits and meters requests.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cairn_actors::services::{Refusal, Services};
use cairn_runtime::Timestamp;
use futures_util::future::BoxFuture;

use crate::access::rate::{Limiter, Quotas};
use crate::access::{Access, Admission, AnswerHeaders, Metered};
use crate::problem::Problem;
use crate::request::Request;
use crate::theme::Theme;

/// What the handlers of the public route groups share.
pub struct AppState {
    /// The use cases.
    pub services: Services,
    /// Letters go to the development mailbox, and the public URL is on loopback: `/dev/mail` is there.
    pub has_mailbox: bool,
    /// Rate limits, unless they are lifted.
    pub limiter: Option<Limiter>,
    /// The theme of the pages: templates, words, and the operator's own.
    pub theme: Theme,
}

impl fmt::Debug for AppState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppState")
    }
}

impl AppState {
    /// The state with the usual rate limits.
    pub fn new(services: Services, has_mailbox: bool, theme: Theme) -> Arc<Self> {
        Self::limited(services, has_mailbox, theme, Quotas::default())
    }

    /// The state with rate limits of its own.
    pub fn limited(services: Services, has_mailbox: bool, theme: Theme, quotas: Quotas) -> Arc<Self> {
        let limiter = services.engine.environment().settings.limits.then(|| Limiter::new(quotas));
        Arc::new(Self { services, has_mailbox, limiter, theme })
    }
}

impl AppState {
    /// Takes one from a bucket of something that only the handler knows, and has the answer tell it.
    ///
    /// # Errors
    /// 429 when it is empty.
    pub(crate) fn meter_for(&self, bucket: &'static str, hash: &[u8], request: &Request) -> Result<(), Problem> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        let metered = limiter.take_for_hash(bucket, hash);
        if let Some(answer_headers) = request.extensions().get::<AnswerHeaders>() {
            answer_headers.add(metered.headers);
        }
        metered.verdict
    }
}

impl Admission for AppState {
    fn now(&self) -> Timestamp {
        self.services.engine.now()
    }

    fn meter(&self, bucket: &'static str, request: &Request) -> Metered {
        self.limiter.as_ref().map_or_else(Metered::default, |limiter| limiter.take_for_client(bucket, request.client()))
    }

    fn admit<'a>(&'a self, access: Access, request: &'a mut Request) -> BoxFuture<'a, Result<(), Problem>> {
        Box::pin(async move {
            let token = request.bearer().ok_or_else(Problem::no_token)?;
            if access == Access::BearerOrRepeat {
                // Perhaps its session is over because of this very request: the service tells, which reads it anyway.
                return if self.services.is_ours(token).await? { Ok(()) } else { Err(Refusal::SessionEnded.into()) };
            }
            let signed_in = self.services.signed_in(token).await?;
            let engine = &self.services.engine;
            let age = engine.environment().settings.step_up_age;
            // What the token says, not what the session knows: a step-up by its owner does not freshen a stolen token.
            let proved = Timestamp(signed_in.claims.auth_time.saturating_mul(1_000));
            if access == Access::FreshBearer && engine.now() > proved.after(age).after(Duration::from_secs(1)) {
                return Err(Problem::step_up(age));
            }
            request.extensions_mut().insert(signed_in);
            Ok(())
        })
    }
}
