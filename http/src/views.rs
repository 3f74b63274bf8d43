//! An account in JSON: its profile, sessions and devices, and all that is kept about its owner, as the interface answers with
//! it and as a page gives it in a file.

use cairn_actors::directory::{HistoryEntry, User};
use cairn_actors::identity::user_id::UserId;
use cairn_actors::oauth::client::ClientId;
use cairn_actors::services::devices::DeviceView;
use cairn_actors::services::profile::{Export, FlowRecord};
use cairn_actors::services::sessions::SessionView;
use cairn_runtime::{Id, Timestamp};
use http::HeaderValue;
use http::header::CONTENT_DISPOSITION;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::reply::instant;
use crate::route::WithHeaders;
use crate::schema;

/// The profile of a user.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Profile {
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

/// A session, as its user is shown it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Session")]
pub(crate) struct SessionBody {
    /// Its id.
    #[schemars(with = "schema::SessionId")]
    id: String,
    /// What its device calls itself (`User-Agent`).
    device: Option<String>,
    /// The address from which it was begun.
    client_address: Option<String>,
    /// When it was begun.
    #[schemars(with = "schema::Instant")]
    created_at: String,
    /// When it was last carried on.
    #[schemars(with = "schema::Instant")]
    last_used_at: String,
    /// Whether it is the present one.
    current: bool,
}

impl From<SessionView> for SessionBody {
    fn from(session: SessionView) -> Self {
        let SessionView { id, device, client_address, created_at, last_used_at, current } = session;
        let (created_at, last_used_at) = (instant(created_at), instant(last_used_at));
        Self { id, device, client_address, created_at, last_used_at, current }
    }
}

/// A device, as its user is shown it.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Device")]
pub(crate) struct DeviceBody {
    /// Its id.
    #[schemars(with = "schema::DeviceId")]
    id: String,
    /// What it calls itself (`User-Agent`).
    device: Option<String>,
    /// The address that it last came from.
    client_address: Option<String>,
    /// When it first signed in.
    #[schemars(with = "schema::Instant")]
    first_seen_at: String,
    /// When it last signed in.
    #[schemars(with = "schema::Instant")]
    last_seen_at: String,
    /// Whether the present session is one of this device.
    current: bool,
}

impl From<DeviceView> for DeviceBody {
    fn from(known: DeviceView) -> Self {
        let DeviceView { id, user_agent: device, client_address, first_seen_at, last_seen_at, current } = known;
        let (first_seen_at, last_seen_at) = (instant(first_seen_at), instant(last_seen_at));
        Self { id, device, client_address, first_seen_at, last_seen_at, current }
    }
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
