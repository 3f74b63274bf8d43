//! Registrations from end to end, as the door asks for them: with a key for each request, and the mail read.

use std::time::Duration;

use cairn_actors::effects::Key;
use cairn_actors::flows::registration::Registration;
use cairn_actors::letters::Letter;
use cairn_actors::secrets::credential::{Purpose, Seal, render};
use cairn_actors::secrets::password::{Code, Password};
use cairn_actors::services::registration::Typed;
use cairn_actors::services::{FlowView, Refusal};
use cairn_actors::testing;
use cairn_runtime::{Clock, Flow, FlowId};

use super::stand::{Stand, flow_of};

const PASSWORD: &str = "correct horse battery";
const DAY: Duration = Duration::from_secs(86_400);

fn acknowledged(stand: &Stand, view: &FlowView) -> FlowId {
    let flow = flow_of(Registration::PREFIX, &view.id);
    stand.acknowledge(flow, view.version, &view.phase);
    flow
}

/// The newest proof that came by mail.
fn proof(letters: &[Letter]) -> Seal {
    let mut proofs = letters.iter().filter_map(|letter| match letter {
        Letter::RegistrationVerify { seal, .. } => Some(seal.clone()),
        _ => None,
    });
    proofs.next_back().expect("a letter with a code")
}

async fn register(stand: &Stand, email: &str, username: &str) -> FlowView {
    let registered = stand.twice(|services, caller| {
        let typed = Typed {
            email: email.to_owned(),
            password: Password::typed(PASSWORD.to_owned()),
            username: Some(username.to_owned()),
            first_name: Some("Ada".to_owned()),
            last_name: None,
            accept_disposable: false,
        };
        async move { services.register(&caller, typed).await.map(|moved| moved.flow) }
    });
    registered.await.unwrap()
}

async fn resend(stand: &Stand, view: &FlowView) -> Result<FlowView, Refusal> {
    let id = &view.id;
    let resent = stand.twice(|services, caller| {
        let id = id.clone();
        async move { services.resend_registration(&caller, &id).await.map(|moved| moved.flow) }
    });
    resent.await
}

/// Types a code; gives the flow after it and the user's id.
async fn enter(stand: &Stand, view: &FlowView, code: &Code) -> Result<(FlowView, String), Refusal> {
    let entered = stand.twice(|services, caller| {
        let (id, code) = (view.id.clone(), code.expose().to_string());
        async move {
            let (moved, user) = services.verify_by_code(&caller, &id, &code).await?;
            Ok((moved.flow, user.id.text()))
        }
    });
    entered.await
}

/// Start, a wrong code, the letter once more after the cool-down, the right code, the link; and a day later.
pub async fn newcomer(stand: &Stand) {
    let (email, username) = (stand.address("ada."), stand.word("ada"));
    let begun = register(stand, &email, &username).await;
    assert_eq!((begun.version, begun.phase.as_str()), (1, "awaiting_code"));
    let flow = acknowledged(stand, &begun);
    let too_soon = resend(stand, &begun).await;
    assert!(matches!(too_soon, Err(Refusal::SlowDown(_))), "a letter is a minute old at least: {too_soon:?}");

    let environment = &stand.town.environment;
    let first = proof(&stand.letters(flow).await);
    let wrong =
        testing::wrong_code(environment, Purpose::VerifyEmail, flow, [&first, &first.next(&environment.ring)], 123_456);
    assert_eq!(enter(stand, &begun, &wrong).await.unwrap_err(), Refusal::WrongCode { tries_left: 4 });

    stand.clock.advance(Duration::from_secs(60));
    let resent = resend(stand, &begun).await.unwrap();
    assert_eq!((resent.version, resent.phase.as_str()), (3, "awaiting_code"));
    acknowledged(stand, &resent);
    let second = proof(&stand.letters(flow).await);
    assert_eq!(second, first, "the same code and link once more");
    let of = |seal: &Seal| testing::code(environment, Purpose::VerifyEmail, flow, seal);

    let (verified, user) = enter(stand, &begun, &of(&first)).await.unwrap();
    assert_eq!((verified.version, verified.phase.as_str()), (4, "verified"));
    acknowledged(stand, &verified);
    let link = render(&environment.ring, Purpose::VerifyEmail, *flow.bytes(), &second).unwrap().expose().to_owned();
    let by_link = stand.twice(|services, caller| {
        let link = link.clone();
        async move {
            let (_, user) = services.verify_by_link(&caller, &link, &Password::typed(PASSWORD.to_owned())).await?;
            Ok(user.id.text())
        }
    });
    assert_eq!(by_link.await.unwrap(), user, "any credential of the letters gives the same answer");

    let key = environment.address_key(&testing::address(&email));
    let users = stand.town.users(key).await;
    assert_eq!(users.len(), 1, "I8: one user an address");
    assert_eq!(users[0].username.as_deref(), Some(username.as_str()));
    for key in [Key::Address(key), Key::Username(testing::username(&username))] {
        assert_eq!(stand.town.guard(&key).await, Some(0), "{key:?}");
    }
    let names: Vec<&str> = stand.letters(flow).await.iter().map(Letter::name).collect();
    assert_eq!(names, ["registration.verify", "registration.verify", "registration.welcome"]);
    assert_eq!(stand.names(flow).await, ["register", "enter", "resend", "enter"]);

    stand.passes(DAY).await;
    assert_eq!(stand.names(flow).await.last().map(String::as_str), Some("woken"), "I7: a next event, and it came");
    let row = stand.real.load(flow).await.unwrap().unwrap();
    assert_eq!((row.phase.as_str(), row.version, row.wake_at), ("done", 5, None));
}

/// Nobody proves the address, and the registration ends by itself; the address and the name stay free.
pub async fn nobody(stand: &Stand) {
    let (email, username) = (stand.address("eve."), stand.word("eve"));
    let begun = register(stand, &email, &username).await;
    let flow = acknowledged(stand, &begun);
    let seal = proof(&stand.letters(flow).await);
    assert!(stand.clock.now() < begun.expires_at.unwrap());
    stand.passes(DAY).await;
    let code = testing::code(&stand.town.environment, Purpose::VerifyEmail, flow, &seal);
    let late = enter(stand, &begun, &code).await;
    assert!(matches!(late, Err(Refusal::FlowEnded(_))), "{late:?}");
    let row = stand.real.load(flow).await.unwrap().unwrap();
    assert_eq!((row.phase.as_str(), row.version, row.wake_at), ("expired", 2, None));
    let key = stand.town.environment.address_key(&testing::address(&email));
    assert!(stand.town.users(key).await.is_empty());
    assert_eq!(stand.town.guard(&Key::Address(key)).await, None);
    assert_eq!(stand.town.guard(&Key::Username(testing::username(&username))).await, None);
}
