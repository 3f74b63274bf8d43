//! `GET /users/me`: whose token it is.

use std::sync::Arc;

use cairn_actors::directory::User;
use cairn_actors::services::session::SignedIn;
use http::header::ETAG;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

use super::instant;
use crate::house::House;
use crate::problem::Problem;
use crate::reply::Reply;
use crate::request::Request;
use crate::room::Answer;

#[derive(Serialize)]
struct Profile<'a> {
    id: String,
    email: &'a str,
    username: Option<&'a str>,
    first_name: Option<&'a str>,
    last_name: Option<&'a str>,
    name: Option<String>,
    roles: &'a [String],
    created_at: String,
    updated_at: String,
}

impl<'a> From<&'a User> for Profile<'a> {
    fn from(user: &'a User) -> Self {
        Self {
            id: user.id.text(),
            email: user.address.typed(),
            username: user.username.as_ref().map(|name| name.as_str()),
            first_name: user.first_name.as_ref().map(|name| name.as_str()),
            last_name: user.last_name.as_ref().map(|name| name.as_str()),
            name: user.name(),
            roles: &user.roles,
            created_at: instant(user.created_at),
            updated_at: instant(user.updated_at),
        }
    }
}

pub(super) async fn show(_house: Arc<House>, request: Request) -> Answer {
    let signed_in = request.extensions().get::<SignedIn>().ok_or_else(Problem::credentials)?;
    let tag = HeaderValue::try_from(format!("\"{}\"", signed_in.user.version)).map_err(Problem::fault)?;
    Ok(Reply::json(StatusCode::OK, &Profile::from(&signed_in.user))?.header(ETAG, tag))
}
