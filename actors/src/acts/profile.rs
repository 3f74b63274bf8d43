//! Editing the names of an account, on condition that nobody else did meanwhile.

use cairn_runtime::{ActStep, Cx, Effects, Guard};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::effects::{Auth, Key, UserWrite};
use crate::identity::name::PersonName;
use crate::identity::user_id::UserId;
use crate::identity::username::Username;

/// The act's name.
pub const EDIT_PROFILE: &str = "edit_profile";

/// The names as they are to be.
#[derive(Clone, Debug)]
pub struct Edit {
    /// Whose.
    pub user: UserId,
    /// The number of their fence: an edit does not outlive it.
    pub fence: i64,
    /// The number of the profile that the edit was made on.
    pub version: i64,
    /// The username at that number.
    pub before: Option<Username>,
    /// The username to be.
    pub username: Option<Username>,
    /// The first name to be.
    pub first_name: Option<PersonName>,
    /// The last name to be.
    pub last_name: Option<PersonName>,
}

/// What became of it; stored with its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Edited {
    /// It is so.
    Done,
    /// The profile was changed since.
    Changed,
    /// Somebody else has the username.
    UsernameTaken,
    /// The session that asks is over: the fence of its user moved.
    SessionEnded,
}

/// Edits. A username that is given up is free in the same commit.
pub fn edit(edit: &Edit, lost: Option<&Key>, cx: &Cx<'_, Auth>) -> ActStep<Edited, Auth> {
    let user = edit.user;
    let says = match lost {
        None => Edited::Done,
        Some(Key::Username(_)) => Edited::UsernameTaken,
        Some(Key::User(_)) => Edited::SessionEnded,
        Some(_) => Edited::Changed,
    };
    let effects = if says == Edited::Done { effects(edit, cx) } else { Effects::none() };
    ActStep { says, effects, user: Some(user.0), public: json!({ "user": user.text() }) }
}

fn effects(edit: &Edit, cx: &Cx<'_, Auth>) -> Effects<Auth> {
    let Edit { user, fence, version, before, username, first_name, last_name } = edit.clone();
    let mut effects = Effects::none()
        .guard(Guard::Hold(Key::User(user), fence))
        .guard(Guard::Bump(Key::Profile(user), Some(version)));
    if username != before {
        effects.guards.extend(before.map(|before| Guard::Release(Key::Username(before))));
        effects.guards.extend(username.clone().map(|username| Guard::Claim(Key::Username(username))));
    }
    effects.write(UserWrite::SetProfile { user, username, first_name, last_name, at: cx.now })
}

#[cfg(test)]
mod tests {
    use cairn_runtime::{FlowId, Id, Timestamp};

    use super::*;
    use crate::testing;

    fn wanted(before: Option<&str>, username: Option<&str>) -> Edit {
        let name = |text: &str| Username::parse(text).unwrap();
        let user = UserId(Id::from_bytes([1; 16]));
        let (before, username) = (before.map(name), username.map(name));
        Edit { user, fence: 7, version: 3, before, username, first_name: None, last_name: None }
    }

    fn decided(wanted: &Edit, lost: Option<&Key>) -> ActStep<Edited, Auth> {
        let environment = testing::environment(1);
        edit(wanted, lost, &Cx::new(Timestamp(5), FlowId::from_bytes([2; 16]), 0, [0; 16], [0; 32], &environment))
    }

    fn guards(step: &ActStep<Edited, Auth>) -> Vec<Guard<Key>> {
        step.effects.guards.clone()
    }

    #[test]
    fn an_edit_counts_the_profile_on_and_writes_once() {
        let wanted = wanted(Some("ada"), Some("ada"));
        let step = decided(&wanted, None);
        let conditions = [Guard::Hold(Key::User(wanted.user), 7), Guard::Bump(Key::Profile(wanted.user), Some(3))];
        assert_eq!(guards(&step), conditions, "the same username is kept");
        assert_eq!((step.says, step.effects.writes.len()), (Edited::Done, 1));
    }

    #[test]
    fn another_username_is_claimed_and_the_one_before_given_back() {
        let step = decided(&wanted(Some("ada"), Some("lovelace")), None);
        let name = |text: &str| Key::Username(Username::parse(text).unwrap());
        assert!(guards(&step).contains(&Guard::Release(name("ada"))));
        assert!(guards(&step).contains(&Guard::Claim(name("lovelace"))));
        assert_eq!(guards(&decided(&wanted(Some("ada"), None), None)).len(), 3, "none takes none");
    }

    #[test]
    fn what_is_lost_says_what_was_in_the_way_and_changes_nothing() {
        let wanted = wanted(None, Some("ada"));
        let taken = decided(&wanted, Some(&Key::Username(Username::parse("ada").unwrap())));
        let changed = decided(&wanted, Some(&Key::Profile(wanted.user)));
        let ended = decided(&wanted, Some(&Key::User(wanted.user)));
        assert_eq!(
            [taken.says, changed.says, ended.says],
            [Edited::UsernameTaken, Edited::Changed, Edited::SessionEnded]
        );
        assert!([taken, changed, ended].iter().all(|step| step.effects.is_empty()));
    }

    #[test]
    fn history_does_not_see_the_names() {
        let step = decided(&wanted(Some("ada"), Some("lovelace")), None);
        assert!(!step.public.to_string().contains("lovelace"));
    }
}
