//! The profile: editing one's names, and having everything that is kept about oneself.

use cairn_runtime::Timestamp;
use cairn_runtime::store::Row;

use super::devices::DeviceView;
use super::session::SignedIn;
use super::sessions::SessionView;
use super::typed::{Names, Typed};
use super::{Caller, Refusal, Services};
use crate::acts::profile::{self, Edit, Edited};
use crate::directory::{HistoryEntry, HistoryPlace, User};
use crate::flows;
use crate::secrets::password::Password;

/// How many flows, and how many events, an export holds at most.
const MOST: u32 = 1_000;
/// How many events a page of the history looks at.
pub const HISTORY_PAGE: u32 = 50;

/// What may be edited, as it was typed. What is absent becomes nothing.
#[derive(Debug, Default)]
pub struct TypedProfile {
    /// The username.
    pub username: Option<String>,
    /// The first name.
    pub first_name: Option<String>,
    /// The last name.
    pub last_name: Option<String>,
}

/// A flow of a user, for an export.
#[derive(Clone, Debug)]
pub struct FlowRecord {
    /// Its id with its prefix.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// Its phase.
    pub phase: String,
    /// Its version.
    pub version: u64,
    /// When it last moved.
    pub touched_at: Timestamp,
}

/// All that is kept about a user, at most a thousand flows and a thousand events. No secret, no hash.
#[derive(Debug)]
pub struct Export {
    /// The profile.
    pub user: User,
    /// Sessions that are still good.
    pub sessions: Vec<SessionView>,
    /// Devices that the account knows, last seen first.
    pub devices: Vec<DeviceView>,
    /// Flows, last touched first.
    pub flows: Vec<FlowRecord>,
    /// What happened to them, newest first.
    pub history: Vec<HistoryEntry>,
    /// Nothing was left out: there are no more flows and events than these.
    pub complete: bool,
}

/// A page of a history.
#[derive(Debug)]
pub struct HistoryPage {
    /// What happened, newest first.
    pub events: Vec<HistoryEntry>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<HistoryPlace>,
}

impl Services {
    /// Edits the names of whoever is signed in, if the profile is still at `version`. Gives the profile after it.
    ///
    /// # Errors
    /// [`Refusal::Values`], [`Refusal::Changed`], [`Refusal::UsernameTaken`], [`Refusal::SessionEnded`].
    pub async fn edit_profile(
        &self,
        caller: &Caller,
        who: &SignedIn,
        version: i64,
        typed: TypedProfile,
    ) -> Result<User, Refusal> {
        let mut members = Typed::default();
        let text = Option::as_deref;
        let reserved = &self.engine.environment().settings.reserved_usernames;
        let own = who.user.username.as_ref();
        let names =
            members.names(text(&typed.username), text(&typed.first_name), text(&typed.last_name), reserved, own);
        members.check()?;
        let Names { username, first_name, last_name } = names;
        if who.user.version != version {
            return Err(Refusal::Changed);
        }
        let (user, fence, before) = (who.user.id, who.user.fence, who.user.username.clone());
        let edit = Edit { user, fence, version, before, username, first_name, last_name };
        let asker = self.engine.asker(&caller.trace);
        let reply = self.engine.act(profile::EDIT_PROFILE, asker, |lost, cx| profile::edit(&edit, lost, cx)).await?;
        match reply.outcome {
            Edited::Done => self.directory.users.by_id(user).await?.ok_or(Refusal::SessionEnded),
            Edited::Changed => Err(Refusal::Changed),
            Edited::UsernameTaken => Err(Refusal::UsernameTaken),
            Edited::SessionEnded => Err(Refusal::SessionEnded),
        }
    }

    /// All that is kept about whoever is signed in.
    ///
    /// # Errors
    /// The database is away.
    pub async fn export(&self, who: &SignedIn) -> Result<Export, Refusal> {
        let sessions = self.sessions(who).await?;
        let devices = self.devices(who).await?;
        // One more than is given, to know whether that is all.
        let mut rows = self.directory.flows.of(who.user.id, None, MOST + 1).await?;
        let mut history = self.directory.history.of(who.user.id, None, MOST + 1).await?;
        let complete = [rows.len(), history.len()].iter().all(|found| *found <= MOST as usize);
        rows.truncate(MOST as usize);
        history.truncate(MOST as usize);
        let (user, flows) = (who.user.clone(), rows.iter().map(record).collect());
        Ok(Export { user, sessions, devices, flows, history, complete })
    }

    /// All that is kept about whoever is signed in, who proves the password once more: for a browser, whose session may be
    /// older than a sensitive act allows.
    ///
    /// # Errors
    /// [`Refusal::Credentials`], also when the password was changed meanwhile; [`Refusal::SlowDown`],
    /// [`Refusal::SessionEnded`].
    pub async fn export_proved(&self, caller: &Caller, who: &SignedIn, password: &Password) -> Result<Export, Refusal> {
        self.prove(caller, who, password).await?;
        match self.directory.users.by_id(who.user.id).await? {
            Some(now) if now.fence == who.user.fence && now.devices == who.user.devices => {
                self.export(&SignedIn { user: now, ..who.clone() }).await
            }
            Some(_) => Err(Refusal::Credentials),
            None => Err(Refusal::SessionEnded),
        }
    }

    /// A page of what happened to the flows of whoever is signed in, newest first; `before`: where the page before it
    /// ended.
    ///
    /// # Errors
    /// The database is away.
    pub async fn history(&self, who: &SignedIn, before: Option<HistoryPlace>) -> Result<HistoryPage, Refusal> {
        let mut events = self.directory.history.of(who.user.id, before, HISTORY_PAGE + 1).await?;
        let is_last = events.len() <= HISTORY_PAGE as usize;
        events.truncate(HISTORY_PAGE as usize);
        let next = events.last().map(|event| HistoryPlace { at: event.at, input: event.input });
        Ok(HistoryPage { events, next: next.filter(|_| !is_last) })
    }
}

fn record(row: &Row) -> FlowRecord {
    FlowRecord {
        id: flows::id_text(&row.kind, row.id),
        kind: row.kind.clone(),
        phase: row.phase.clone(),
        version: row.version,
        touched_at: row.touched_at,
    }
}
