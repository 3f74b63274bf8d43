//! Accounts from end to end: a password forgotten, one changed, an address changed and taken back, an account deleted,
//! had back and deleted for good.

use std::time::Duration;

use cairn_actors::effects::Key;
use cairn_actors::flows::email_change::EmailChange;
use cairn_actors::flows::recovery::Recovery;
use cairn_actors::flows::session::Session;
use cairn_actors::identity::user_id::UserId;
use cairn_actors::letters::Letter;
use cairn_actors::secrets::credential::{Purpose, Seal, render};
use cairn_actors::secrets::password::Password;
use cairn_actors::services::Refusal;
use cairn_actors::services::email_change::ConfirmedBy;
use cairn_actors::services::session::Identifier;
use cairn_actors::testing;
use cairn_persistence::entity::users;
use cairn_runtime::{Flow, FlowId, Id};

use super::stand::{Stand, flow_of};

const OLD: &str = "correct horse battery";
const NEW: &str = "granite lantern 47 marmalade";
const DAY: Duration = Duration::from_secs(86_400);

/// Somebody who is signed in.
struct Resident {
    email: String,
    user: UserId,
    session: FlowId,
    access: String,
}

fn typed(password: &str) -> Password {
    Password::typed(password.to_owned())
}

/// Signs in; gives the session and its access token.
async fn enter(stand: &Stand, email: &str, password: &'static str) -> Result<(FlowId, String), Refusal> {
    let signed_in = stand.once(|services, caller| {
        let email = email.to_owned();
        async move { services.sign_in(&caller, Identifier::Email(&email), &typed(password)).await }
    });
    let tokens = signed_in.await?;
    let session = flow_of(Session::PREFIX, &tokens.session);
    stand.watch(session);
    Ok((session, tokens.access_token))
}

async fn resident(stand: &Stand) -> Resident {
    let email = stand.address("ada.");
    let user = stand.resident(&email, OLD).await;
    let (session, access) = enter(stand, &email, OLD).await.unwrap();
    Resident { email, user, session, access }
}

async fn is_in(stand: &Stand, access: &str) -> bool {
    match stand.services.signed_in(access).await {
        Ok(_) => true,
        Err(why) => {
            assert_eq!(why, Refusal::SessionEnded);
            false
        }
    }
}

/// The user's row, if there is one.
async fn row(stand: &Stand, email: &str) -> Option<users::Model> {
    let key = stand.town.environment.address_key(&testing::address(email));
    let mut found = stand.town.users(key).await;
    assert!(found.len() <= 1, "I8: one user an address");
    found.pop()
}

async fn claim(stand: &Stand, email: &str) -> Option<i64> {
    stand.town.guard(&Key::Address(stand.town.environment.address_key(&testing::address(email)))).await
}

async fn numbers(stand: &Stand, user: UserId) -> [Option<i64>; 2] {
    [stand.town.guard(&Key::User(user)).await, stand.town.guard(&Key::Profile(user)).await]
}

fn link(stand: &Stand, purpose: Purpose, flow: FlowId, seal: &Seal) -> String {
    render(&stand.town.environment.ring, purpose, *flow.bytes(), seal).unwrap().expose().to_owned()
}

/// A letter is asked for, a wrong code typed, the password set by the link; what was begun with the old one is over.
pub async fn recovery(stand: &Stand) {
    let resident = resident(stand).await;
    let begun = stand.twice(|services, caller| {
        let email = resident.email.clone();
        async move { services.request_reset(&caller, &email).await.map(|moved| moved.flow) }
    });
    let begun = begun.await.unwrap();
    let flow = flow_of(Recovery::PREFIX, &begun.id);
    stand.acknowledge(flow, begun.version, &begun.phase);
    let letters = stand.letters(flow).await;
    let [Letter::RecoveryReset { seal, .. }] = &letters[..] else { panic!("one letter, not {letters:?}") };

    let environment = &stand.town.environment;
    let wrong = testing::wrong_code(environment, Purpose::ResetPassword, flow, [seal], 123_456).expose().to_string();
    let mistaken = stand.twice(|services, caller| {
        let (id, code) = (begun.id.clone(), wrong.clone());
        async move { services.confirm_reset_by_code(&caller, &id, &code, typed(NEW)).await.map(|moved| moved.flow) }
    });
    assert_eq!(mistaken.await.unwrap_err(), Refusal::WrongCode { tries_left: 4 });
    assert!(is_in(stand, &resident.access).await);

    let token = link(stand, Purpose::ResetPassword, flow, seal);
    for _ in 0..2 {
        let set = stand.twice(|services, caller| {
            let token = token.clone();
            async move { services.confirm_reset_by_link(&caller, &token, typed(NEW)).await.map(|moved| moved.flow) }
        });
        let set = set.await.unwrap();
        assert_eq!((set.phase.as_str(), set.version), ("done", 3), "I3: it counts once");
        stand.acknowledge(flow, set.version, &set.phase);
    }
    assert!(!is_in(stand, &resident.access).await, "I8: nothing outlives a fence");
    assert_eq!(numbers(stand, resident.user).await, [Some(1), Some(0)]);
    stand.settle().await;
    assert_eq!(stand.names(resident.session).await.last().map(String::as_str), Some("fenced"), "it has heard of it");
    assert_eq!(enter(stand, &resident.email, OLD).await.unwrap_err(), Refusal::Credentials);
    enter(stand, &resident.email, NEW).await.unwrap();
    let names: Vec<&str> = stand.letters(flow).await.iter().map(Letter::name).collect();
    assert_eq!(names, ["recovery.reset", "password.changed"]);
    stand.passes(DAY).await;
    assert_eq!(stand.names(flow).await, ["recover", "enter", "open", "woken"]);
}

/// The password is changed in one of two sessions.
pub async fn password(stand: &Stand) {
    let resident = resident(stand).await;
    let (other, elsewhere) = enter(stand, &resident.email, OLD).await.unwrap();
    let changed = stand.twice(|services, caller| {
        let access = resident.access.clone();
        async move {
            let who = services.signed_in(&access).await?;
            let (at, tokens) = services.change_password(&caller, &who, &typed(OLD), typed(NEW)).await?;
            // A repeat gets the same tokens.
            Ok((at, tokens.access_token, tokens.refresh_token.expose().to_owned()))
        }
    });
    let (at, ..) = changed.await.unwrap();
    assert_eq!(row(stand, &resident.email).await.and_then(|row| row.password_changed_at), Some(at.0));
    assert_eq!((is_in(stand, &resident.access).await, is_in(stand, &elsewhere).await), (true, false));
    assert_eq!(numbers(stand, resident.user).await, [Some(1), Some(0)]);
    stand.settle().await;
    assert_eq!(stand.names(other).await, ["sign_in", "fenced"]);
    assert_eq!(stand.names(resident.session).await, ["sign_in", "change_password"]);
    let names: Vec<&str> = stand.letters(resident.session).await.iter().map(Letter::name).collect();
    assert_eq!(names, ["password.changed"]);
    assert_eq!(enter(stand, &resident.email, OLD).await.unwrap_err(), Refusal::Credentials);
    enter(stand, &resident.email, NEW).await.unwrap();
}

/// Another address is asked for; gives the flow and the link in the letter to it.
async fn asks_for(stand: &Stand, resident: &Resident, to: &str) -> (FlowId, String) {
    let begun = stand.twice(|services, caller| {
        let (access, to) = (resident.access.clone(), to.to_owned());
        async move {
            let who = services.signed_in(&access).await?;
            services.change_email(&caller, &who, &to, false, &typed(OLD)).await.map(|moved| moved.flow)
        }
    });
    let begun = begun.await.unwrap();
    let flow = flow_of(EmailChange::PREFIX, &begun.id);
    stand.acknowledge(flow, begun.version, &begun.phase);
    let letters = stand.letters(flow).await;
    let [Letter::EmailConfirm { seal, .. }] = &letters[..] else { panic!("one letter, not {letters:?}") };
    (flow, link(stand, Purpose::EmailChange, flow, seal))
}

/// The new address is proved; gives the link in the letter to the one from before.
async fn proves(stand: &Stand, flow: FlowId, token: &str, to: &str) -> String {
    let proved = stand.twice(|services, caller| {
        let token = token.to_owned();
        async move {
            let password = typed(OLD);
            let by = ConfirmedBy::Password(&password);
            let (moved, user) = services.confirm_email_by_link(&caller, &token, by).await?;
            Ok((moved.flow, user.address.typed().to_owned()))
        }
    });
    let (view, has) = proved.await.unwrap();
    stand.acknowledge(flow, view.version, &view.phase);
    assert_eq!((view.phase.as_str(), view.version, has.as_str()), ("done", 2, to), "I3: it counts once");
    let letters = stand.letters(flow).await;
    let [_, Letter::EmailChanged { seal, .. }] = &letters[..] else { panic!("two letters, not {letters:?}") };
    link(stand, Purpose::UndoEmailChange, flow, seal)
}

/// The address becomes another and then a third, and the first takes it all back.
pub async fn address(stand: &Stand) {
    let resident = resident(stand).await;
    let (second, third) = (stand.address("b."), stand.address("c."));
    let (first_flow, token) = asks_for(stand, &resident, &second).await;
    let undo = proves(stand, first_flow, &token, &second).await;
    let (second_flow, token) = asks_for(stand, &resident, &third).await;
    let late = proves(stand, second_flow, &token, &third).await;
    assert!(is_in(stand, &resident.access).await, "the session stays");
    let claims = [claim(stand, &resident.email).await, claim(stand, &second).await, claim(stand, &third).await];
    assert!(claims.iter().all(Option::is_some), "{claims:?}");

    for _ in 0..2 {
        let undone = stand.twice(|services, caller| {
            let token = undo.clone();
            async move {
                let (moved, user) = services.undo_email_change(&caller, &token, Some(typed(NEW))).await?;
                Ok((moved.flow, user.address.typed().to_owned()))
            }
        });
        let (view, has) = undone.await.unwrap();
        stand.acknowledge(first_flow, view.version, &view.phase);
        assert_eq!((view.version, has.as_str()), (3, resident.email.as_str()), "I3: it counts once");
    }
    assert!(!is_in(stand, &resident.access).await, "I8: nothing outlives a fence");
    let refused = stand.twice(|services, caller| {
        let token = late.clone();
        async move { services.undo_email_change(&caller, &token, None).await.map(|(moved, _)| moved.flow) }
    });
    assert!(matches!(refused.await, Err(Refusal::FlowEnded(_))), "what was taken back with it takes nothing back");
    let now = row(stand, &resident.email).await.expect("the account has its address again");
    assert_eq!((now.version, numbers(stand, resident.user).await), (3, [Some(1), Some(3)]));

    stand.settle().await;
    let ends = stand.names(second_flow).await;
    assert!(["undone", "undo"].contains(&ends.last().unwrap().as_str()), "{ends:?}");
    stand.passes(8 * DAY).await;
    let claims = [claim(stand, &resident.email).await, claim(stand, &second).await, claim(stand, &third).await];
    assert!(matches!(claims, [Some(_), None, None]), "nothing is left claimed: {claims:?}");
    assert_eq!(stand.names(first_flow).await, ["change_email", "open", "undo", "woken"]);
    assert_eq!(enter(stand, &resident.email, OLD).await.unwrap_err(), Refusal::Credentials);
    enter(stand, &resident.email, NEW).await.unwrap();
}

/// Asks for the deletion until it is on its way; gives its flow.
async fn deletes(stand: &Stand, email: &str, access: &str) -> FlowId {
    let asked = stand.once(|services, caller| {
        let access = access.to_owned();
        async move {
            let who = match services.signed_in(&access).await {
                // It was heard before: every session is over.
                Err(Refusal::SessionEnded) => return Ok(()),
                who => who?,
            };
            services.delete_account(&caller, &who, &typed(OLD)).await.map(|_| ())
        }
    });
    asked.await.unwrap();
    let flow = row(stand, email).await.and_then(|row| row.deletion).expect("a deletion waits");
    let flow = FlowId(Id::from_bytes(flow.try_into().unwrap()));
    let letters: Vec<&str> = stand.letters(flow).await.iter().map(Letter::name).collect();
    assert_eq!(letters, ["deletion.asked"]);
    flow
}

/// The account is deleted, had back by a sign-in, and deleted for good.
pub async fn deletion(stand: &Stand) {
    let resident = resident(stand).await;
    let first = deletes(stand, &resident.email, &resident.access).await;
    assert!(!is_in(stand, &resident.access).await);
    assert_eq!(numbers(stand, resident.user).await, [Some(1), Some(1)]);
    stand.passes(13 * DAY).await;
    enter(stand, &resident.email, OLD).await.unwrap();
    let back = row(stand, &resident.email).await.expect("the account is there");
    assert_eq!((back.deletion, back.version, numbers(stand, resident.user).await), (None, 2, [Some(1), Some(2)]));
    stand.passes(2 * DAY).await;
    assert!(row(stand, &resident.email).await.is_some(), "and it stays");
    // The sign-in has written it, and tells the deletion; where the signal's claim was lost it may be woken before.
    let names = stand.names(first).await;
    assert!(
        matches!(&names[..], [asked, end] if asked == "delete" && (end == "restored" || end == "woken")),
        "{names:?}"
    );

    let (_, access) = enter(stand, &resident.email, OLD).await.unwrap();
    let second = deletes(stand, &resident.email, &access).await;
    assert_ne!(second, first);
    stand.passes(14 * DAY).await;
    assert!(row(stand, &resident.email).await.is_none());
    assert_eq!(claim(stand, &resident.email).await, None);
    assert_eq!(numbers(stand, resident.user).await, [None, Some(4)], "only the number of the profile is left, raised");
    assert_eq!(stand.names(second).await, ["delete", "woken"]);
    assert_eq!(enter(stand, &resident.email, OLD).await.unwrap_err(), Refusal::Credentials);
}
