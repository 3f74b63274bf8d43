//! What the handlers of the public rooms share, and the doors that ask it.

use std::fmt;
use std::sync::Arc;

use cairn_actors::services::Services;
use futures_util::future::BoxFuture;

use crate::api;
use crate::door::{Door, Doors};
use crate::problem::Problem;
use crate::request::Request;

/// What the public rooms' handlers share.
pub struct House {
    /// The use cases.
    pub services: Services,
    /// Letters go to the development mailbox, and the public URL is on loopback: `/dev/mail` is there.
    pub has_mailbox: bool,
    /// The templates of the pages.
    pub pages: minijinja::Environment<'static>,
}

impl fmt::Debug for House {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("House")
    }
}

impl House {
    /// A house with its pages' templates read.
    ///
    /// # Errors
    /// When a template does not parse.
    pub fn new(services: Services, has_mailbox: bool) -> Result<Arc<Self>, minijinja::Error> {
        Ok(Arc::new(Self { services, has_mailbox, pages: crate::pages::environment()? }))
    }
}

impl Doors for House {
    fn enter<'a>(&'a self, _door: Door, request: &'a mut Request) -> BoxFuture<'a, Result<(), Problem>> {
        Box::pin(async move {
            let token = request.bearer().ok_or_else(Problem::credentials)?;
            let signed_in = self.services.signed_in(token).await.map_err(|why| api::problem(&self.services, why))?;
            request.extensions_mut().insert(signed_in);
            Ok(())
        })
    }
}
