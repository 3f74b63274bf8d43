//! Stores that break one promise each, to see that the people find it: what cannot fail proves nothing.

use cairn_actors::effects::{Auth, ConsentWrite, FailureWrite, UserWrite, Write};
use cairn_runtime::Guard;
use cairn_runtime::store::Item;
use cairn_runtime::testing::simulation::{Settings, altering, run};
use cairn_runtime::testing::store::SimStore;

use super::people::People;
use super::settings;
use super::tally::Tally;

/// Histories that are tried until one shows what is wrong. Which do depends on every step of every flow; of two hundred,
/// those that show what needs the rarest meetings are still dozens.
const HISTORIES: u64 = 200;

#[track_caller]
fn finds(wrong: impl Fn(&SimStore<Auth>, &mut Item<Auth>) + Send + Sync + 'static, what: &[&str]) {
    let settings = Settings { commands: 600, between: Some(altering(wrong)), ..settings() };
    let tried = (1..=HISTORIES).find_map(|seed| run(seed, &settings, People::counted(Tally::default())).err());
    let broken = tried.expect("it passed every history");
    let named = broken.what.iter().any(|line| what.iter().any(|what| line.contains(what)));
    assert!(named, "it was found, but not as {what:?}:\n{broken}");
}

/// Takes every fence of a kind for one that has not moved. What the log says is what stood.
fn believes(prefix: &'static str) -> impl Fn(&SimStore<Auth>, &mut Item<Auth>) {
    move |store, item| {
        for guard in &mut item.guards {
            if let Guard::Hold(key, number) | Guard::Bump(key, Some(number)) = guard
                && key.starts_with(prefix)
                && let Some(present) = store.inspect(|tables| tables.guards.get(key.as_str()).copied())
            {
                *number = present;
            }
        }
    }
}

/// Drops these conditions and claims.
fn forgets(forgotten: impl Fn(&SimStore<Auth>, &Guard<String>) -> bool) -> impl Fn(&SimStore<Auth>, &mut Item<Auth>) {
    move |store, item| item.guards.retain(|guard| !forgotten(store, guard))
}

/// A claim of a key that somebody has already.
fn claims_again(prefix: &'static str) -> impl Fn(&SimStore<Auth>, &Guard<String>) -> bool {
    move |store, guard| {
        matches!(guard, Guard::Claim(key)
            if key.starts_with(prefix) && store.inspect(|tables| tables.guards.contains_key(key)))
    }
}

#[test]
fn tokens_that_outlive_a_reset_are_found() {
    finds(believes("user/"), &["under the fence", "the fence was read", "began under", " gave "]);
}

#[test]
fn a_grant_that_outlives_its_session_is_found() {
    let of_session =
        |_: &SimStore<Auth>, guard: &Guard<String>| matches!(guard, Guard::Hold(key, _) if key.starts_with("session/"));
    finds(forgets(of_session), &["its session had ended", "without its fences", "under Held"]);
}

#[test]
fn a_grant_that_outlives_its_client_is_found() {
    finds(
        believes("client/"),
        &["under the fence", "was asked for by", "was read at", "rests on", "client_deleted", "by a fence that stands"],
    );
}

#[test]
fn a_grant_that_outlives_the_consent_to_it_is_found() {
    finds(believes("consent/"), &["under the consent", "rests on", "consent_revoked"]);
}

#[test]
fn a_grant_that_forgets_on_which_consent_it_rests_is_found() {
    let of_consent =
        |_: &SimStore<Auth>, guard: &Guard<String>| matches!(guard, Guard::Hold(key, _) if key.starts_with("consent/"));
    finds(forgets(of_consent), &["under Held", "rests on", "consent_revoked", "was consented to"]);
}

#[test]
fn a_consent_that_is_taken_back_and_leaves_its_fence_is_found() {
    let keeps = |_: &SimStore<Auth>, item: &mut Item<Auth>| {
        if item.writes.iter().any(|write| matches!(write, Write::Consent(ConsentWrite::TakeBack { .. }))) {
            item.guards.clear();
        }
    };
    finds(keeps, &["left the fence of the consent"]);
}

#[test]
fn a_client_that_is_deleted_and_gives_its_fence_back_is_found() {
    let releases = |_: &SimStore<Auth>, item: &mut Item<Auth>| {
        for guard in &mut item.guards {
            if let Guard::Bump(key, _) = guard
                && key.starts_with("client/")
            {
                *guard = Guard::Release(key.clone());
            }
        }
    };
    finds(releases, &["left the fence of the client"]);
}

#[test]
fn a_request_that_was_left_alone_and_remembers_somebody_is_found() {
    let remembers = |_: &SimStore<Auth>, item: &mut Item<Auth>| {
        if let Some(change) = item.change.as_mut().filter(|change| change.row.phase == "lapsed") {
            let state = change.row.state.trim_end_matches('}').to_owned();
            change.row.state = format!("{state},\"who\":\"a person\"}}");
        }
    };
    finds(remembers, &["is lapsed and knows somebody"]);
}

#[test]
fn a_code_that_is_answered_after_its_tokens_were_used_is_found() {
    let forgets = |_: &SimStore<Auth>, item: &mut Item<Auth>| {
        if let Some(change) = item.change.as_mut().filter(|change| change.row.kind == "authorization") {
            change.row.state = change.row.state.replace("\"generation\":1,", "\"generation\":0,");
        }
    };
    finds(forgets, &["and history", " gave ", "had been used"]);
}

#[test]
fn two_users_of_one_address_are_found() {
    finds(forgets(claims_again("address/")), &["one verified address"]);
}

#[test]
fn two_users_of_one_name_are_found() {
    finds(forgets(claims_again("username/")), &["are both called"]);
}

#[test]
fn a_reset_that_leaves_the_fence_where_it_was_is_found() {
    finds(
        forgets(|_, guard| matches!(guard, Guard::Bump(key, _) if key.starts_with("user/"))),
        &["left the fence", "guards that nobody has", "began under"],
    );
}

#[test]
fn a_session_that_gives_its_key_back_too_late_is_found() {
    finds(forgets(|_, guard| matches!(guard, Guard::Release(_))), &["guards that nobody has", "which is over"]);
}

#[test]
fn a_password_that_was_not_set_is_found() {
    let loses = |_: &SimStore<Auth>, item: &mut Item<Auth>| {
        item.writes.retain(|write| !matches!(write, Write::User(UserWrite::SetPassword { .. })));
    };
    finds(loses, &["what it set is None", "and wrote []"]);
}

#[test]
fn a_user_who_never_came_to_be_is_found() {
    let loses = |_: &SimStore<Auth>, item: &mut Item<Auth>| {
        item.writes.retain(|write| !matches!(write, Write::User(UserWrite::Create(_))));
    };
    finds(loses, &["its user is None", "and wrote []"]);
}

#[test]
fn a_second_user_of_one_registration_is_found() {
    let doubles = |_: &SimStore<Auth>, item: &mut Item<Auth>| {
        let again = item.writes.iter().find(|write| matches!(write, Write::User(UserWrite::Create(_)))).cloned();
        item.writes.extend(again);
    };
    finds(doubles, &["and wrote [", "its user is None"]);
}

#[test]
fn a_refresh_token_that_is_given_twice_is_found() {
    let forgets = |_: &SimStore<Auth>, item: &mut Item<Auth>| {
        if let Some(change) = item.change.as_mut().filter(|change| change.row.kind == "session") {
            change.row.state = change.row.state.replace("\"n\":1", "\"n\":0");
        }
    };
    finds(forgets, &[" gave ", "and history", "does not follow", "garbage"]);
}

#[test]
fn an_end_that_remembers_whom_it_was_about_is_found() {
    let remembers = |_: &SimStore<Auth>, item: &mut Item<Auth>| {
        if let Some(change) = item.change.as_mut().filter(|change| change.row.wake_at.is_none()) {
            let state = change.row.state.trim_end_matches('}').to_owned();
            change.row.state = format!("{state},\"address\":\"Person.1@example.org\"}}");
        }
    };
    finds(remembers, &["has ended and holds"]);
}

#[test]
fn a_wrong_code_that_is_not_counted_is_found() {
    let loses = |_: &SimStore<Auth>, item: &mut Item<Auth>| {
        item.writes.retain(|write| !matches!(write, Write::Failure(FailureWrite::Count { .. })));
    };
    finds(loses, &["judged a code and counted it 0 times"]);
}

/// The number of an address's claim stays as it is in whatever commit has such a write.
fn keeps_the_number(of: impl Fn(&Write) -> bool) -> impl Fn(&SimStore<Auth>, &mut Item<Auth>) {
    move |_, item| {
        if item.writes.iter().any(&of) {
            item.guards.retain(|guard| !matches!(guard, Guard::Bump(key, _) if key.starts_with("address/")));
        }
    }
}

#[test]
fn an_address_from_before_that_keeps_its_number_is_found() {
    let forgets = keeps_the_number(|write| matches!(write, Write::User(UserWrite::SetAddress { .. })));
    finds(forgets, &["guards that nobody has", "and is known as", "the recovery "]);
}

#[test]
fn a_letter_that_outlives_a_reset_is_found() {
    let forgets = keeps_the_number(|write| matches!(write, Write::User(UserWrite::SetPassword { .. })));
    finds(forgets, &["counted on None"]);
}

#[test]
fn a_change_that_is_taken_back_and_leaves_the_sessions_is_found() {
    let spares = |_: &SimStore<Auth>, item: &mut Item<Auth>| {
        if item.writes.iter().any(|write| matches!(write, Write::User(UserWrite::SetAddress { .. }))) {
            item.guards.retain(|guard| !matches!(guard, Guard::Bump(key, _) if key.starts_with("user/")));
        }
    };
    finds(spares, &["left the fence"]);
}

#[test]
fn a_change_that_is_taken_back_and_leaves_the_password_is_found() {
    let spares = |_: &SimStore<Auth>, item: &mut Item<Auth>| {
        if item.writes.iter().any(|write| matches!(write, Write::User(UserWrite::SetAddress { .. }))) {
            item.writes.retain(|write| !matches!(write, Write::User(UserWrite::SuspendPassword { .. })));
        }
    };
    finds(spares, &["took undo, said"]);
}

#[test]
fn a_deletion_of_somebody_who_came_back_is_found() {
    // The owner's undo does not reach the deletion, and the deletion does not look.
    let blind = |store: &SimStore<Auth>, item: &mut Item<Auth>| {
        if item.writes.iter().any(|write| matches!(write, Write::User(UserWrite::Delete { .. }))) {
            believes("profile/")(store, item);
        }
        item.outbox.retain(|delivery| delivery.flow_kind != "email_change" || delivery.kind != "signal");
    };
    finds(blind, &["who was to stay"]);
}

#[test]
fn an_edit_of_a_profile_that_was_edited_meanwhile_is_found() {
    // The same number also guards a deletion that is called off by a sign-in.
    let found = ["fence and profile were read", "deleted", "guards that nobody has", "called off what does not wait"];
    finds(believes("profile/"), &found);
}
