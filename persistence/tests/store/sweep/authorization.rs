//! A grant from end to end: asked for by a browser in which somebody is signed in, consented to, redeemed, carried on and
//! taken back, and then given again, which brings nothing of it to life.

use std::time::Duration;

use cairn_actors::effects::{Auth, ConsentWrite, Key, Write};
use cairn_actors::flows::authorization::{
    Asking, Authorization, Browser, Claims, Command, Consenting, End, Exchange, Outcome, Policy, Remembered,
    ResponseMode, SignIn, Start, Tokens, Who,
};
use cairn_actors::identity::user_id::UserId;
use cairn_actors::oauth::access::{Access, Wish};
use cairn_actors::oauth::client::ClientId;
use cairn_actors::oauth::pkce::{Challenge, Verifier};
use cairn_actors::oauth::scope::Scope;
use cairn_actors::oauth::uri::AbsoluteUri;
use cairn_actors::secrets::credential::{Seal, of};
use cairn_actors::testing;
use cairn_runtime::store::{Item, Verdict};
use cairn_runtime::{ActStep, Domain, Effects, FlowId, Guard, InputId, Reply};

use super::stand::Stand;

// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const STATE: &str = "the-state-of-the-client";

fn scope(text: &str) -> Scope {
    Scope::parse(text).unwrap()
}

fn uri() -> AbsoluteUri {
    AbsoluteUri::parse("https://client.example/cb").unwrap()
}

/// Who is signed in, and through which client.
#[derive(Clone)]
struct Place {
    client: ClientId,
    who: Who,
}

/// A client that is registered and a session that lives since before the fault.
async fn place(stand: &Stand) -> Place {
    let user = stand.resident(&stand.address("ida."), "correct horse battery").await;
    let client = ClientId::of(&stand.word("https://client.example/"));
    let session = stand.asker().input.0;
    let mut item = Item::<Auth>::of(InputId(session), stand.engine.now());
    item.guards = [Key::Client(client), Key::Session(session)].map(|key| Guard::Claim(Auth::guard(&key))).into();
    assert_eq!(stand.real.commit(&[item]).await.unwrap(), [Verdict::Done]);
    let (auth_time, amr) = (stand.engine.now(), vec!["pwd".to_owned()]);
    Place { client, who: Who { user, fence: 0, session, session_fence: 0, auth_time, amr } }
}

fn start(place: &Place, remembered: Remembered) -> Start {
    let way = Browser {
        redirect_uri: uri(),
        challenge: Some(Challenge::parse(CHALLENGE).unwrap()),
        nonce: None,
        state: Some(STATE.to_owned()),
        response_mode: ResponseMode::Query,
        not_before: None,
        asks: false,
        claims: Claims::default(),
    };
    Start {
        client: place.client,
        client_fence: 0,
        access: Access { scope: scope("openid profile"), resource: Vec::new() },
        refresh: Policy::Rotate,
        access_ttl: None,
        way: Asking::Browser { way: Box::new(way), entry: Some(SignIn { who: place.who.clone(), remembered }) },
    }
}

async fn request(stand: &Stand, place: &Place, remembered: Remembered) -> Reply<Outcome> {
    let engine = &stand.engine;
    stand
        .asked::<Authorization, _>(|asker| {
            let (engine, asked) = (engine.clone(), start(place, remembered));
            async move { engine.start::<Authorization>(asker, asked).await }
        })
        .await
}

async fn ask(stand: &Stand, flow: FlowId, command: impl Fn() -> Command) -> Reply<Outcome> {
    let engine = &stand.engine;
    stand
        .asked::<Authorization, _>(|asker| {
            let (engine, command) = (engine.clone(), command());
            async move { engine.call::<Authorization>(flow, asker, command).await }
        })
        .await
}

async fn consent(stand: &Stand, flow: FlowId, user: UserId, how: &Consenting) -> Reply<Outcome> {
    ask(stand, flow, || Command::Consent { user, scope: scope("openid profile"), how: how.clone() }).await
}

async fn exchange(stand: &Stand, flow: FlowId, place: &Place, code: &Seal) -> Reply<Outcome> {
    ask(stand, flow, || {
        Command::Exchange(Exchange {
            code: testing::presented(&stand.town.environment, of::AuthorizationCode, flow, code),
            client: place.client,
            verifier: Some(Verifier::parse(VERIFIER.to_owned()).unwrap()),
            redirect_uri: Some(uri()),
            wish: Wish::default(),
        })
    })
    .await
}

async fn refresh(stand: &Stand, flow: FlowId, place: &Place, seal: &Seal) -> Reply<Outcome> {
    ask(stand, flow, || Command::Refresh {
        token: testing::presented(&stand.town.environment, of::RefreshToken, flow, seal),
        client: place.client,
        wish: Wish::default(),
    })
    .await
}

fn code(reply: &Reply<Outcome>) -> Seal {
    match &reply.outcome {
        Outcome::CodeIssued { issue, back, .. } => {
            assert_eq!(back.state.as_deref(), Some(STATE));
            issue.clone()
        }
        other => panic!("a code, not {other:?}"),
    }
}

fn tokens(reply: &Reply<Outcome>) -> Tokens {
    match &reply.outcome {
        Outcome::Tokens(tokens) => (**tokens).clone(),
        other => panic!("tokens, not {other:?}"),
    }
}

async fn takes_back(stand: &Stand, place: &Place) {
    let (engine, user, client) = (&stand.engine, place.who.user, place.client);
    let taken = stand.acted(|asker| {
        let engine = engine.clone();
        let step = move |lost: Option<&Key>| {
            assert!(lost.is_none(), "the consent's fence stands");
            let effects = Effects::none()
                .guard(Guard::Bump(Key::Consent(user, client), None))
                .write(Write::from(ConsentWrite::TakeBack { user, client }));
            ActStep { says: (), effects, user: Some(user.0), public: serde_json::Value::Null }
        };
        async move { engine.act("take_back", asker, |lost, _| step(lost)).await }
    });
    taken.await;
}

/// What the directory knows of the consent: for what it is, the number of its fence, and whether it is given.
async fn known(stand: &Stand, place: &Place) -> Option<(String, i64, bool)> {
    let consents = &stand.services.directory.consents;
    let consent = consents.of(place.who.user, place.client).await.unwrap()?;
    Some((consent.scope.to_string(), consent.fence, consent.given_at.is_some()))
}

/// Request, consent, code, exchange and its repeat, refresh; the consent is taken back, and given again for another grant.
pub async fn grant(stand: &Stand) {
    let place = place(stand).await;
    let user = place.who.user;
    let begun = request(stand, &place, Remembered::Nothing).await;
    let flow = begun.flow;
    assert!(matches!(begun.outcome, Outcome::SignedIn { .. }) && begun.version == 1, "{begun:?}");
    assert_eq!(known(stand, &place).await, None);
    let issued = consent(stand, flow, user, &Consenting::First).await;
    assert_eq!(
        known(stand, &place).await,
        Some(("openid profile".to_owned(), 0, true)),
        "I3: it is kept with the code"
    );

    let first = exchange(stand, flow, &place, &code(&issued)).await;
    let (seal, minted) = (tokens(&first).issue, tokens(&first).minted);
    assert_eq!((seal.n, minted.generation, first.version), (0, 0, 3));
    // The reply was lost, and the client does not know that it asked before: another request, the same answer.
    stand.clock.advance(Duration::from_secs(5));
    let repeated = exchange(stand, flow, &place, &code(&issued)).await;
    assert_eq!((repeated.outcome, repeated.version), (first.outcome, 3));
    let second = tokens(&refresh(stand, flow, &place, &seal).await);
    assert_eq!((second.issue.n, second.minted.generation), (1, 1));

    takes_back(stand, &place).await;
    assert_eq!(known(stand, &place).await, Some((String::new(), 1, false)), "I3: it counts once");
    let refused = request(stand, &place, Remembered::Given(0)).await;
    assert_eq!((&refused.outcome, refused.version), (&Outcome::Refused, 0), "I8: nothing begins under an old fence");
    assert_eq!(stand.real.load(refused.flow).await.unwrap(), None);
    let anew = request(stand, &place, Remembered::Nothing).await.flow;
    let again = Consenting::Again { number: 1, scope: Scope::default(), resources: Vec::new() };
    assert!(matches!(consent(stand, anew, user, &again).await.outcome, Outcome::CodeIssued { .. }));
    assert_eq!(known(stand, &place).await, Some(("openid profile".to_owned(), 1, true)));

    let late = refresh(stand, flow, &place, &second.issue).await;
    assert_eq!((late.outcome, late.version), (Outcome::Ended { by: End::ConsentRevoked }, 5));
    assert_eq!(stand.names(flow).await, ["authorize", "consent", "exchange", "refresh", "refresh"]);
    // What was remembered meanwhile leads to a code with the request itself.
    let at_once = request(stand, &place, Remembered::Given(1)).await;
    assert_eq!(tokens(&exchange(stand, at_once.flow, &place, &code(&at_once)).await).user, user);
    assert_eq!(stand.names(at_once.flow).await, ["authorize", "exchange"]);
}
