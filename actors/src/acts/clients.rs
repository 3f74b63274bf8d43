//! Registering OAuth clients, changing and deleting them.

use cairn_runtime::{ActStep, Effects, Guard};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::effects::{Auth, ClientWrite, Key, StoredClient};
use crate::identity::user_id::UserId;
use crate::oauth::client::{Client, ClientId};

/// The name of the act that registers a client.
pub const REGISTER: &str = "register_client";
/// The name of the act that changes a client's metadata.
pub const CHANGE: &str = "change_client";
/// The name of the act that gives a client another secret.
pub const ROTATE_SECRET: &str = "rotate_client_secret";
/// The name of the act that deletes a client.
pub const DELETE: &str = "delete_client";

/// Who has a client registered, changed or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Author {
    /// Somebody with access to the operations listener or to the command line.
    Operator,
    /// The settings file, at a start.
    Settings,
    /// A user who is an administrator.
    User(UserId),
    /// The client itself (RFC 7591, RFC 7592).
    Client,
}

impl Author {
    /// Its word in histories.
    pub fn word(self) -> String {
        match self {
            Self::Operator => "operator".to_owned(),
            Self::Settings => "settings".to_owned(),
            Self::User(user) => user.text(),
            Self::Client => "client".to_owned(),
        }
    }

    /// Whose history an act of it belongs to.
    pub(super) fn user(self) -> Option<cairn_runtime::Id> {
        match self {
            Self::User(user) => Some(user.0),
            Self::Operator | Self::Settings | Self::Client => None,
        }
    }
}

/// What became of it; stored with its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// It is so.
    Done,
    /// There is a client with this `client_id` already.
    Taken,
    /// The client has been changed or deleted since it was read.
    Changed,
}

/// Registers a client. Where one with the same `client_id` was deleted before, the new one begins behind its fence.
pub fn register(new: StoredClient, author: Author, lost: Option<&Key>) -> ActStep<Done, Auth> {
    let id = ClientId::of(&new.client_id);
    let fence = match lost {
        None => Guard::Claim(Key::Client(id)),
        Some(Key::Client(_)) => Guard::Bump(Key::Client(id), None),
        Some(_) => return step(Done::Taken, author, &new.client_id, Effects::none()),
    };
    let effects = Effects::none().guard(Guard::Claim(Key::Registration(id))).guard(fence);
    let client_id = new.client_id.clone();
    step(Done::Done, author, &client_id, effects.write(ClientWrite::Save(Box::new(new))))
}

/// Puts other metadata or secrets in the place of those that a client has, if nobody else did meanwhile.
pub fn change(before: &Client, after: StoredClient, author: Author, lost: Option<&Key>) -> ActStep<Done, Auth> {
    if lost.is_some() {
        return step(Done::Changed, author, &before.client_id, Effects::none());
    }
    let effects = Effects::none().guard(Guard::Bump(Key::Registration(before.id), Some(before.version)));
    let after = StoredClient { version: before.version + 1, ..after };
    step(Done::Done, author, &before.client_id, effects.write(ClientWrite::Save(Box::new(after))))
}

/// Deletes a client, if nobody has changed it meanwhile. All that it was granted is over: its fence is raised.
pub fn delete(client: &Client, author: Author, lost: Option<&Key>) -> ActStep<Done, Auth> {
    if lost.is_some() {
        return step(Done::Changed, author, &client.client_id, Effects::none());
    }
    let effects = Effects::none()
        .guard(Guard::Hold(Key::Registration(client.id), client.version))
        .guard(Guard::Release(Key::Registration(client.id)))
        .guard(Guard::Bump(Key::Client(client.id), None))
        .write(ClientWrite::Delete { client: client.id });
    step(Done::Done, author, &client.client_id, effects)
}

fn step(says: Done, author: Author, client_id: &str, effects: Effects<Auth>) -> ActStep<Done, Auth> {
    let public = json!({ "client": client_id, "by": author.word() });
    ActStep { says, effects, user: author.user(), public }
}

#[cfg(test)]
mod tests {
    use cairn_runtime::{Id, Timestamp};

    use super::*;
    use crate::effects::Write;
    use crate::oauth::client::{Metadata, Origin, StoredSecret};
    use crate::secrets::digest::Digest;

    fn stored(version: i64) -> StoredClient {
        let metadata = Metadata::parse(json!({ "redirect_uris": ["https://a.example/cb"] })).unwrap();
        StoredClient {
            client_id: "app".to_owned(),
            metadata,
            secrets: vec![StoredSecret { digest: Digest([7; 32]), created_at: Timestamp(1), expires_at: None }],
            origin: Origin::Administrator,
            version,
            created_at: Timestamp(1),
            updated_at: Timestamp(2),
        }
    }

    fn client(version: i64) -> Client {
        Client::of(stored(version), 3)
    }

    fn id() -> ClientId {
        ClientId::of("app")
    }

    #[test]
    fn the_first_client_of_a_name_claims_it_and_a_later_one_begins_behind_its_fence() {
        let claimed = Guard::Claim(Key::Registration(id()));
        let first = register(stored(0), Author::Operator, None);
        assert_eq!(first.effects.guards, [claimed.clone(), Guard::Claim(Key::Client(id()))]);
        let later = register(stored(0), Author::Operator, Some(&Key::Client(id())));
        assert_eq!(later.effects.guards, [claimed, Guard::Bump(Key::Client(id()), None)]);
        assert_eq!((first.says, later.says), (Done::Done, Done::Done));
        let taken = register(stored(0), Author::Operator, Some(&Key::Registration(id())));
        assert_eq!((taken.says, taken.effects.is_empty()), (Done::Taken, true));
    }

    #[test]
    fn a_change_counts_the_registration_on_and_a_delete_raises_the_fence() {
        let change = |lost| change(&client(4), stored(0), Author::Settings, lost);
        let step = change(None);
        assert_eq!(step.effects.guards, [Guard::Bump(Key::Registration(id()), Some(4))]);
        let saved = &step.effects.writes[..];
        assert!(matches!(saved, [Write::Client(ClientWrite::Save(saved))] if saved.version == 5), "{saved:?}");
        let delete = |lost| delete(&client(4), Author::Operator, lost);
        let step = delete(None);
        assert!(step.effects.guards.contains(&Guard::Bump(Key::Client(id()), None)));
        assert!(step.effects.guards.contains(&Guard::Release(Key::Registration(id()))));
        assert!(!step.effects.guards.contains(&Guard::Release(Key::Client(id()))), "the fence stays");
        assert_eq!(step.effects.writes, [Write::Client(ClientWrite::Delete { client: id() })]);
        for step in [change(Some(&Key::Registration(id()))), delete(Some(&Key::Registration(id())))] {
            assert_eq!((step.says, step.effects.is_empty()), (Done::Changed, true));
        }
    }

    #[test]
    fn history_tells_the_client_and_who_did_it_and_no_secret() {
        let user = UserId(Id::from_bytes([5; 16]));
        let step = register(stored(0), Author::User(user), None);
        assert_eq!((step.user, step.public), (Some(user.0), json!({ "client": "app", "by": user.text() })));
        assert_eq!(register(stored(0), Author::Client, None).user, None);
    }
}
