//! `/users/me`: whose token it is; editing, exporting and deleting that account.

use std::sync::Arc;

use cairn_actors::directory::User;
use cairn_actors::secrets::password::Password;
use cairn_actors::services::profile::TypedProfile;
use cairn_actors::services::session::SignedIn;
use http::HeaderValue;
use http::header::{ETAG, IF_MATCH};
use schemars::JsonSchema;
use serde::Deserialize;

use super::FlowReplyBody;
use crate::access::caller;
use crate::description::{Area, Description, Gives, Takes};
use crate::problem::{Kind, Problem};
use crate::request::Request;
use crate::route::WithHeaders;
use crate::schema;
use crate::state::AppState;
use crate::views::{self, ExportBody, Profile};

pub(super) const SHOW: Description =
    Description::new("getProfile", Area::Account, "Get the profile").gives(&[Gives::ETag]);
pub(super) const EDIT: Description =
    Description::new("editProfile", Area::Account, "Replace what may be edited of the profile")
        .text("A member that is absent becomes null.")
        .takes(&[Takes::IfMatch])
        .gives(&[Gives::ETag])
        .refuses(&[Kind::UsernameTaken, Kind::Value]);
pub(super) const DELETE: Description = Description::new("deleteAccount", Area::Account, "Have the account deleted")
    .text("Every session ends at once. A sign-in within 14 days undoes it; the address stays claimed until then.")
    .takes(&[Takes::Device]);
pub(super) const EXPORT: Description =
    Description::new("exportAccount", Area::Account, "Get all that is kept about its owner")
        .text("No secret and no hash is in it.")
        .gives(&[Gives::ContentDisposition]);

/// What may be edited. What is absent becomes null.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ProfileEdit")]
pub(super) struct Edit {
    /// The username.
    #[schemars(with = "Option<schema::ChosenUsername>")]
    username: Option<String>,
    /// The first name.
    #[schemars(with = "Option<schema::ChosenName>")]
    first_name: Option<String>,
    /// The last name.
    #[schemars(with = "Option<schema::ChosenName>")]
    last_name: Option<String>,
}

/// The proof that the account's owner wants it deleted.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "AccountDeletion")]
pub(super) struct DeletionBody {
    /// The present password.
    #[schemars(with = "schema::TypedPassword")]
    password: Password,
}

pub(super) async fn show(
    _state: Arc<AppState>,
    _request: Request,
    who: SignedIn,
) -> Result<WithHeaders<Profile>, Problem> {
    profile(who.user)
}

pub(super) async fn edit(
    state: Arc<AppState>,
    request: Request,
    who: SignedIn,
    body: Edit,
) -> Result<WithHeaders<Profile>, Problem> {
    let version = wanted_version(&request, who.user.version)?;
    let Edit { username, first_name, last_name } = body;
    let typed = TypedProfile { username, first_name, last_name };
    profile(state.services.edit_profile(&caller::of(&request), &who, version, typed).await?)
}

pub(super) async fn delete(
    state: Arc<AppState>,
    request: Request,
    who: SignedIn,
    body: DeletionBody,
) -> Result<FlowReplyBody, Problem> {
    Ok(state.services.delete_account(&caller::of(&request), &who, &body.password).await?.into())
}

pub(super) async fn export(
    state: Arc<AppState>,
    _request: Request,
    who: SignedIn,
) -> Result<WithHeaders<ExportBody>, Problem> {
    Ok(views::file(state.services.export(&who).await?))
}

fn profile(user: User) -> Result<WithHeaders<Profile>, Problem> {
    let tag = HeaderValue::try_from(format!("\"{}\"", user.version)).map_err(Problem::fault)?;
    Ok(WithHeaders::new(Profile::from(user)).header(ETAG, tag))
}

/// The version that `If-Match` asks for (RFC 9110, section 13.1.1): one of its tags, or any for `*`. A weak tag counts as
/// its number: proxies that compress make every tag weak, and what is compared is a version and no representation.
fn wanted_version(request: &Request, present: i64) -> Result<i64, Problem> {
    let mut lines = request.headers().get_all(IF_MATCH).iter().peekable();
    if lines.peek().is_none() {
        return Err(Problem::condition_required());
    }
    let version = format!("\"{present}\"");
    let tags = lines.flat_map(|line| line.as_bytes().split(|octet| *octet == b',')).map(<[u8]>::trim_ascii);
    let fits = |tag: &[u8]| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == version.as_bytes();
    if tags.into_iter().any(fits) { Ok(present) } else { Err(Problem::changed()) }
}
