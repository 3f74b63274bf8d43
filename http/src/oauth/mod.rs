//! The provider's interface for clients (RFC 6749): its table of URLs, and its errors as the protocol wants them. The pages
//! that people meet on the way stand with the other pages.
//!
//! Nothing here reads a cookie, so scripts of any origin may call it.

mod discovery;
mod endpoints;
mod error;

use std::sync::Arc;

use crate::access::rate::TOKEN;
use crate::route::{RouteSpec, call, routes};
use crate::route_group::{Cors, RouteGroup, TableFault};
use crate::state::AppState;

pub(crate) use self::discovery::metadata;

routes! {
    static ROUTES: AppState, call;
    POST "/oauth/token", client, form => protocol, TOKEN, endpoints::token;
    POST "/oauth/revoke", client, form => protocol, TOKEN, endpoints::revoke;
    POST "/oauth/introspect", client, form => protocol, TOKEN, endpoints::introspect;
    GET "/oauth/userinfo", token, none => protocol, TOKEN, endpoints::userinfo;
    POST "/oauth/userinfo", token, any => protocol, TOKEN, endpoints::userinfo;
}

/// The lines of its table.
pub fn specs() -> impl Iterator<Item = &'static RouteSpec> {
    ROUTES.iter().map(|route| &route.spec)
}

/// The route group of the provider.
///
/// # Errors
/// When the table contradicts itself.
pub fn group(state: &Arc<AppState>) -> Result<RouteGroup<AppState>, TableFault> {
    let group = RouteGroup::new("oauth", Arc::clone(state), ROUTES)?;
    Ok(group.below(&["/oauth"]).cors(Cors::Everybody).errors(error::tell))
}
