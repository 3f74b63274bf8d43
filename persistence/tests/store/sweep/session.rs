//! Sessions from end to end: by askers who repeat themselves, and by a client who only has its tokens.

use std::time::Duration;

use cairn_actors::effects::Key;
use cairn_actors::flows::session::{Command, Minted, Outcome, Session, Start};
use cairn_actors::identity::user_id::UserId;
use cairn_actors::secrets::credential::{Seal, of};
use cairn_actors::secrets::password::Password;
use cairn_actors::services::Refusal;
use cairn_actors::services::session::Identifier;
use cairn_actors::testing;
use cairn_runtime::{Flow, FlowId, Reply};

use super::stand::{Stand, flow_of};
use crate::auth::{bumping, founding, id};

const PASSWORD: &str = "correct horse battery";

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The seal and the minted token of an answer that has some.
fn tokens(reply: &Reply<Outcome>) -> (Seal, Minted) {
    match &reply.outcome {
        Outcome::Tokens { issue, minted, .. } => (issue.clone(), minted.clone()),
        other => panic!("tokens, not {other:?}"),
    }
}

async fn begin(stand: &Stand, user: UserId, fence: i64) -> Reply<Outcome> {
    let engine = &stand.engine;
    stand
        .asked::<Session, _>(|asker| {
            let asked = Start {
                user,
                fence,
                devices: 0,
                amr: vec!["pwd".to_owned()],
                device: None,
                client_address: None,
                arrival: Default::default(),
                forgets: None,
            };
            let engine = engine.clone();
            async move { engine.start::<Session>(asker, asked).await }
        })
        .await
}

async fn ask(stand: &Stand, flow: FlowId, seal: &Seal, out: bool) -> Reply<Outcome> {
    let engine = &stand.engine;
    stand
        .asked::<Session, _>(|asker| {
            let token = testing::presented(&stand.town.environment, of::RefreshToken, flow, seal);
            let command = if out { Command::SignOut(token) } else { Command::Refresh(token) };
            let engine = engine.clone();
            async move { engine.call::<Session>(flow, asker, command).await }
        })
        .await
}

async fn refresh(stand: &Stand, flow: FlowId, seal: &Seal) -> Reply<Outcome> {
    ask(stand, flow, seal, false).await
}

async fn user(stand: &Stand) -> UserId {
    let email = stand.address("ada.");
    let key = stand.town.environment.address_key(&testing::address(&email));
    // The id follows from the address: whoever asks again asks for the same user.
    let user = UserId(id(500, u64::from_be_bytes(*key.0.first_chunk().unwrap())));
    let engine = &stand.engine;
    let founded = stand.acted(|asker| {
        let (engine, step) = (engine.clone(), founding(&stand.town.environment, user, &email));
        async move { engine.act("found", asker, step).await }
    });
    founded.await;
    assert_eq!(stand.town.users(key).await.len(), 1, "I3: made once");
    user
}

/// Start, refresh, its repeat, refresh, reuse, and the end that it leads to.
pub async fn rotation(stand: &Stand) {
    let user = user(stand).await;
    let begun = begin(stand, user, 0).await;
    let flow = begun.flow;
    let (first, minted) = tokens(&begun);
    assert_eq!((first.n, minted.generation), (0, 0));

    stand.clock.advance(seconds(10));
    let refreshed = refresh(stand, flow, &first).await;
    let (second, minted) = tokens(&refreshed);
    assert_eq!((second.n, minted.generation, refreshed.version), (1, 1, 2));
    // The reply was lost, and the client does not know that it asked before: another request, the same answer.
    let repeated = refresh(stand, flow, &first).await;
    assert_eq!((repeated.outcome, repeated.version), (refreshed.outcome, 2), "the same seal and the same token");

    stand.clock.advance(seconds(40));
    let (third, minted) = tokens(&refresh(stand, flow, &second).await);
    assert_eq!((third.n, minted.generation), (2, 2));

    stand.clock.advance(seconds(40));
    assert_eq!(stand.town.guard(&Key::Session(flow.0)).await, Some(0));
    let reused = refresh(stand, flow, &second).await;
    assert_eq!((reused.outcome, reused.version), (Outcome::Ended, 4), "the grace is over: somebody has a copy");
    assert_eq!(refresh(stand, flow, &third).await.outcome, Outcome::Ended);
    assert_eq!(stand.names(flow).await, ["sign_in", "refresh", "refresh", "refresh"]);
    assert_eq!(stand.town.guard(&Key::Session(flow.0)).await, None, "the fence goes with its session");
}

/// Signing out, by any generation.
pub async fn sign_out(stand: &Stand) {
    let user = user(stand).await;
    let begun = begin(stand, user, 0).await;
    let (flow, (first, _)) = (begun.flow, tokens(&begun));
    let (second, _) = tokens(&refresh(stand, flow, &first).await);
    let ended = ask(stand, flow, &first, true).await;
    assert_eq!((ended.outcome, ended.version), (Outcome::Ended, 3));
    for seal in [&first, &second] {
        assert_eq!(ask(stand, flow, seal, true).await.version, 3, "what has ended stays as it is");
        assert_eq!(refresh(stand, flow, seal).await.outcome, Outcome::Ended);
    }
    assert_eq!(stand.names(flow).await, ["sign_in", "refresh", "sign_out"]);
    assert_eq!(stand.town.guard(&Key::Session(flow.0)).await, None);
}

/// The user's fence moves: what is under the old number ends, and nothing begins under it.
pub async fn fence(stand: &Stand) {
    let user = user(stand).await;
    let begun = begin(stand, user, 0).await;
    let engine = &stand.engine;
    let bumped = stand.acted(|asker| {
        let (engine, step) = (engine.clone(), bumping(user));
        async move { engine.act("bump", asker, step).await }
    });
    bumped.await;
    assert_eq!(stand.town.guard(&Key::User(user)).await, Some(1), "I3: it counts once");
    assert_eq!(refresh(stand, begun.flow, &tokens(&begun).0).await.outcome, Outcome::Ended);
    let refused = begin(stand, user, 0).await;
    assert_eq!((&refused.outcome, refused.version), (&Outcome::Refused, 0), "I8: nothing begins under an old fence");
    assert_eq!(stand.real.load(refused.flow).await.unwrap(), None);
    let anew = begin(stand, user, 1).await;
    let (present, _) = tokens(&refresh(stand, anew.flow, &tokens(&anew).0).await);
    assert_eq!(ask(stand, anew.flow, &present, true).await.outcome, Outcome::Ended);
}

/// A client that has nothing but its tokens: it signs in, and shows the same refresh token until it gets an answer.
pub async fn client(stand: &Stand) {
    let email = stand.address("eve.");
    stand.resident(&email, PASSWORD).await;
    let signed_in = stand.once(|services, caller| {
        let email = email.clone();
        async move {
            let password = Password::typed(PASSWORD.to_owned());
            services.sign_in(&caller, Identifier::Email(&email), &password).await
        }
    });
    let mut tokens = signed_in.await.unwrap();
    let flow = flow_of(Session::PREFIX, &tokens.session);
    stand.watch(flow);
    for generation in 1..=3 {
        stand.clock.advance(seconds(5));
        let shown = tokens.refresh_token.expose().to_owned();
        let refreshed = stand.once(|services, caller| {
            let shown = shown.clone();
            async move { services.refresh(&caller, &shown).await }
        });
        tokens = refreshed.await.expect("no chain of refreshes is lost");
        let row = stand.real.load(flow).await.unwrap().unwrap();
        let state: Session = serde_json::from_str(&row.state).unwrap();
        let active = state.active().expect("the session lives");
        assert_eq!((active.issue.n, row.version), (generation, u64::from(generation) + 1), "I3: it counts once");
        let seen = stand.services.signed_in(&tokens.access_token).await.unwrap();
        assert_eq!(seen.session, flow);
    }
    let shown = tokens.refresh_token.expose().to_owned();
    let signed_out = stand.once(|services, caller| {
        let shown = shown.clone();
        async move { services.sign_out(&caller, &shown).await }
    });
    signed_out.await.unwrap();
    let dead = stand.services.signed_in(&tokens.access_token).await;
    assert_eq!(dead.map(|seen| seen.session).unwrap_err(), Refusal::SessionEnded);
    let late = stand.once(|services, caller| {
        let shown = shown.clone();
        async move { services.refresh(&caller, &shown).await.map(|_| ()) }
    });
    assert_eq!(late.await.unwrap_err(), Refusal::SessionEnded);
    assert_eq!(stand.names(flow).await, ["sign_in", "refresh", "refresh", "refresh", "sign_out"]);
}
