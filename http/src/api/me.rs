//! `/users/me`: whose token it is; editing, exporting and deleting that account.

use std::sync::Arc;

use cairn_actors::directory::{HistoryEntry, User};
use cairn_actors::effects::UserId;
use cairn_actors::oauth::client::ClientId;
use cairn_actors::password::Password;
use cairn_actors::services::profile::{Export, FlowRecord, TypedProfile};
use cairn_actors::services::session::SignedIn;
use cairn_runtime::{Id, Timestamp};
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, ETAG, IF_MATCH};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::FlowReplyBody;
use super::devices::DeviceBody;
use super::sessions::SessionBody;
use crate::access::caller;
use crate::description::{Area, Description, Gives, Takes};
use crate::problem::{Kind, Problem};
use crate::reply::instant;
use crate::request::Request;
use crate::route::WithHeaders;
use crate::schema;
use crate::state::AppState;

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

/// The profile of a user.
#[derive(Serialize, JsonSchema)]
pub(super) struct Profile {
    /// The user, the claim `sub` of access tokens.
    #[schemars(with = "schema::UserId")]
    id: String,
    /// The address, as it was typed.
    #[schemars(with = "schema::EmailAddress")]
    email: String,
    /// The username.
    #[schemars(with = "Option<schema::Username>")]
    username: Option<String>,
    /// The first name.
    first_name: Option<String>,
    /// The last name.
    last_name: Option<String>,
    /// First and last name.
    name: Option<String>,
    /// What the user may do.
    roles: Vec<String>,
    /// Since when there is the account.
    #[schemars(with = "schema::Instant")]
    created_at: String,
    /// When the profile last changed.
    #[schemars(with = "schema::Instant")]
    updated_at: String,
}

impl From<User> for Profile {
    fn from(user: User) -> Self {
        Self {
            id: user.id.text(),
            email: user.address.typed().to_owned(),
            username: user.username.as_ref().map(|name| name.as_str().to_owned()),
            first_name: user.first_name.as_ref().map(|name| name.as_str().to_owned()),
            last_name: user.last_name.as_ref().map(|name| name.as_str().to_owned()),
            name: user.name(),
            roles: user.roles,
            created_at: instant(user.created_at),
            updated_at: instant(user.updated_at),
        }
    }
}

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

/// All that is kept about a user.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Export")]
pub(crate) struct ExportBody {
    /// The profile.
    profile: Profile,
    /// The sessions that are still good.
    sessions: Vec<SessionBody>,
    /// The devices that the account knows.
    devices: Vec<DeviceBody>,
    /// The flows, last touched first.
    flows: Vec<FlowRecordBody>,
    /// What happened to them, newest first.
    history: Vec<HistoryEntryBody>,
    /// Nothing was left out.
    complete: bool,
}

/// A flow of a user.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FlowRecord")]
struct FlowRecordBody {
    /// Its id.
    #[schemars(with = "schema::FlowId")]
    id: String,
    /// Its kind.
    kind: String,
    /// Its phase.
    phase: String,
    /// The number of its last step.
    version: u64,
    /// When it last moved.
    #[schemars(with = "schema::Instant")]
    updated_at: String,
}

/// Something that happened to a flow of a user.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "HistoryEntry")]
struct HistoryEntryBody {
    /// When.
    #[schemars(with = "schema::Instant")]
    at: String,
    /// The kind of the flow.
    kind: String,
    /// What happened.
    name: String,
    /// The phase after it.
    phase: String,
    /// What is known of it besides.
    details: Value,
}

impl From<FlowRecord> for FlowRecordBody {
    fn from(flow: FlowRecord) -> Self {
        let FlowRecord { id, kind, phase, version, touched_at } = flow;
        Self { id, kind, phase, version, updated_at: instant(touched_at) }
    }
}

impl From<HistoryEntry> for HistoryEntryBody {
    fn from(happened: HistoryEntry) -> Self {
        let HistoryEntry { input: _, kind, flow: _, name, to, public, at } = happened;
        let mut details = serde_json::from_str(&public).unwrap_or_default();
        spell_out(&mut details);
        Self { at: instant(at), kind, name, phase: to, details }
    }
}

/// Writes instants and ids as every answer does. The journal keeps them bare; what each is, its name says.
fn spell_out(details: &mut Value) {
    let Value::Object(members) = details else { return };
    for (name, member) in members {
        let bare = |text: &str| Id::parse_crockford(text);
        let spelt = match (name.as_str(), &*member) {
            ("expires_at" | "until", Value::Number(at)) => at.as_i64().map(|at| instant(Timestamp(at))),
            ("user", Value::String(id)) => bare(id).map(|id| id.text(UserId::PREFIX)),
            ("client", Value::String(id)) => bare(id).map(|id| id.text(ClientId::PREFIX)),
            _ => None,
        };
        match spelt {
            Some(text) => *member = Value::String(text),
            None => spell_out(member),
        }
    }
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
    Ok(file(state.services.export(&who).await?))
}

/// An export as a file, which browsers keep and do not show.
pub(crate) fn file(export: Export) -> WithHeaders<ExportBody> {
    let body = ExportBody {
        profile: Profile::from(export.user),
        sessions: export.sessions.into_iter().map(SessionBody::from).collect(),
        devices: export.devices.into_iter().map(DeviceBody::from).collect(),
        flows: export.flows.into_iter().map(FlowRecordBody::from).collect(),
        history: export.history.into_iter().map(HistoryEntryBody::from).collect(),
        complete: export.complete,
    };
    let file = HeaderValue::from_static("attachment; filename=\"account.json\"");
    WithHeaders::new(body).header(CONTENT_DISPOSITION, file)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_details_of_an_event_are_spelt_as_answers_are() {
        let id = Id::from_bytes([7; 16]);
        let mut details = json!({
            "phase": "active", "user": id, "client": id,
            "shown": { "until": 1_800_000_000_000_i64, "expires_at": 0, "generation": 3, "user": id.text("usr"), "by": "user" },
        });
        spell_out(&mut details);
        let expected = json!({
            "phase": "active", "user": id.text("usr"), "client": id.text("cli"),
            "shown": {
                "until": "2027-01-15T08:00:00.000Z", "expires_at": "1970-01-01T00:00:00.000Z", "generation": 3,
                "user": id.text("usr"), "by": "user",
            },
        });
        assert_eq!(details, expected);
    }
}
