//! People who let clients act for them, and the clients: by browser or device, codes redeemed once, twice and by the
//! wrong one, refresh tokens that rotate and others that do not.

use std::collections::BTreeMap;

use cairn_actors::effects::{Auth, Key};
use cairn_actors::flows::authorization::{
    Asking, Authorization, Browser, Claims, Command, Consenting, Exchange, Outcome, Policy, Remembered, ResponseMode,
    SignIn, Start, Tokens, Who,
};
use cairn_actors::flows::session::Session;
use cairn_actors::identity::user_id::UserId;
use cairn_actors::oauth::access::{Access, Wish};
use cairn_actors::oauth::client::ClientId;
use cairn_actors::oauth::pkce::{Challenge, Verifier};
use cairn_actors::oauth::scope::{OFFLINE_ACCESS, Scope};
use cairn_actors::oauth::uri::AbsoluteUri;
use cairn_actors::secrets::credential::{Purpose, UserCode, of};
use cairn_actors::secrets::digest::Digest;
use cairn_actors::testing;
use cairn_runtime::store::Row;
use cairn_runtime::testing::simulation::{Desk, Heard, Order, Told};
use cairn_runtime::{Flow, FlowId, Id};

use super::flow::{Plan, SimulatedFlow, Step};
use super::ledger::{Chain, IssuedTokens, Ledger};
use super::people::{Common, number, presented, recent, state};
use super::post::text;
use super::rows::View;
use super::session::some_token;

// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const REDIRECT: &str = "https://client.example/cb";
/// The client's own, given back as it came.
const STATE: &str = "the-state-of-the-client";
/// For the ID token.
const NONCE: &str = "the-nonce-of-the-client";

/// A grant that a client asked for, and all that it and the browser were told.
#[derive(Clone)]
struct Granted {
    flow: FlowId,
    client: ClientId,
    policy: Policy,
    /// The device code, and what the device shows.
    device: Option<(String, UserCode)>,
    /// The authorization code.
    code: Option<String>,
    approved: bool,
    who: Option<UserId>,
    tokens: BTreeMap<u32, String>,
}

/// What makes a request of a client wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slip {
    Client,
    Verifier,
    Forged,
    TooWide,
}

#[derive(Default)]
pub(super) struct Authorizations {
    asked_for: Vec<Granted>,
}

#[derive(Debug)]
pub(super) enum Asked {
    Request { client: ClientId, policy: Policy, device: bool },
    SignIn { user: UserId, fence: i64, session: FlowId },
    Consent { user: UserId },
    Deny,
    Redeem { flow: FlowId, slip: Option<Slip> },
    Refresh { flow: FlowId, shown: u32, slip: Option<Slip> },
    Revoke,
}

fn scope(text: &str) -> Scope {
    Scope::parse(text).expect("a scope")
}

fn uri(text: &str) -> AbsoluteUri {
    AbsoluteUri::parse(text).expect("a URI")
}

fn client(number: u8) -> ClientId {
    ClientId(Id::v7(2, [number; 10]))
}

fn wish(slip: Option<Slip>, narrow: bool) -> Wish {
    let words = match slip {
        Some(Slip::TooWide) => Some("admin"),
        _ => narrow.then_some("openid"),
    };
    Wish { scope: words.map(scope), resource: Vec::new() }
}

impl SimulatedFlow for Authorizations {
    const NAME: &'static str = Authorization::NAME;
    const WAYS: &'static [&'static str] = &[
        "told Tokens",
        "told WrongClient",
        "told WrongVerifier",
        "told TooWide",
        "told SlowDown",
        "came to be ended code_reused",
        "came to be ended fenced",
        "came to be ended reused",
    ];
    const PERSONAL: &'static [&'static str] = &[NONCE, STATE];
    const TOLD: &'static [&'static str] = &[NONCE, STATE];
    type Asked = Asked;

    fn plan(&mut self, common: &mut Common, desk: &mut Desk<'_, Auth>) -> Option<Plan<Asked>> {
        let lot = desk.rng.below(100);
        let grant = recent(&self.asked_for, desk.rng).cloned();
        let Some(grant) = grant.filter(|_| lot >= 14) else { return Some(request(desk)) };
        // The likely next, and now and then anything.
        let next = match (&grant, lot) {
            (_, 14..21) => desk.rng.below(6),
            (Granted { who: None, .. }, _) => 0,
            (Granted { tokens, .. }, _) if !tokens.is_empty() => 3,
            (Granted { code: Some(_), .. } | Granted { approved: true, .. }, _) => 2,
            _ => 1,
        };
        match next {
            0 => sign_in_for(common, desk, &grant),
            1 => {
                let user = if desk.rng.chance(900) { grant.who? } else { common.somebody(desk.rng)? };
                let words = if desk.rng.chance(850) { "offline_access openid profile" } else { "openid" };
                let order = Order::call::<Authorization>("consent", grant.flow, move || Command::Consent {
                    user,
                    scope: scope(words),
                    how: Consenting::NotKept,
                });
                Some(Plan::at_once(Asked::Consent { user }, order))
            }
            2 => redeem(common, desk, &grant),
            3 => carry_on(common, desk, &grant),
            4 => {
                let (_, token) = some_token(&grant.tokens, desk.rng)?;
                let (environment, client) = (common.environment.clone(), grant.client);
                let order = Order::call::<Authorization>("revoke", grant.flow, move || Command::Revoke {
                    token: presented(&environment, of::RefreshToken, &token),
                    client,
                });
                Some(Plan::at_once(Asked::Revoke, order))
            }
            _ => {
                let user = grant.who.filter(|_| desk.rng.chance(500));
                let order = Order::call::<Authorization>("deny", grant.flow, move || Command::Deny { user });
                Some(Plan::at_once(Asked::Deny, order))
            }
        }
    }

    fn doom(&self, common: &Common, asked: &Asked) -> Option<String> {
        let ledger = &common.ledger;
        match asked {
            Asked::SignIn { user, fence, session } => {
                let present = ledger.fence(*user);
                let moved = present != Some(*fence);
                let moved = moved.then(|| format!("the fence was read at {fence}, and was at {present:?}"));
                moved.or_else(|| ledger.is_finished(*session).then(|| "the session had ended".to_owned()))
            }
            Asked::Redeem { slip: Some(slip), .. } => Some(format!("{slip:?} was wrong")),
            Asked::Redeem { flow, slip: None } => {
                let used = ledger.chains.get(flow).is_some_and(|chain| !chain.handed.is_empty());
                ledger.doom(*flow, None).or_else(|| used.then(|| "the code had been used".to_owned()))
            }
            Asked::Refresh { slip: Some(slip), .. } if *slip != Slip::TooWide => Some(format!("{slip:?} was wrong")),
            Asked::Refresh { flow, shown, .. } => ledger.doom(*flow, Some(*shown)),
            Asked::Request { .. } | Asked::Consent { .. } | Asked::Deny | Asked::Revoke => None,
        }
    }

    fn hear(&mut self, common: &mut Common, asked: &Asked, told: &Told, doom: Option<String>) -> Result<Heard, String> {
        let outcome: Outcome = told.says().ok_or("these are not its words")?;
        common.ledger.count(Self::NAME, &outcome);
        let environment = &common.environment;
        let grant = self.asked_for.iter_mut().rev().find(|grant| grant.flow == told.flow);
        match (asked, outcome, grant) {
            (Asked::Request { client, policy, device }, outcome, None) => {
                let codes = match (device, outcome) {
                    (true, Outcome::DeviceRequested { issue, .. }) => {
                        let code = text(environment, Purpose::DeviceCode, told.flow, &issue);
                        Some((code, testing::user_code(environment, told.flow, &issue)))
                    }
                    (false, Outcome::Requested { .. }) => None,
                    _ => return Err("a request awaits somebody".to_owned()),
                };
                self.asked_for.push(Granted {
                    flow: told.flow,
                    client: *client,
                    policy: *policy,
                    device: codes,
                    code: None,
                    approved: false,
                    who: None,
                    tokens: BTreeMap::new(),
                });
                Ok(Heard::Moved)
            }
            (Asked::SignIn { user, .. }, Outcome::SignedIn { .. }, Some(grant)) => {
                grant.who = Some(*user);
                doom.map_or(Ok(Heard::Moved), Err)
            }
            (Asked::Consent { user }, Outcome::CodeIssued { issue, back, .. }, Some(grant)) => {
                if back.state.as_deref() != Some(STATE) || issue.n != 0 {
                    return Err("the client does not know it again".to_owned());
                }
                let code = text(environment, Purpose::AuthorizationCode, told.flow, &issue);
                grant.who = Some(*user);
                match grant.code.replace(code.clone()) {
                    Some(before) if before != code => Err("there are two codes".to_owned()),
                    _ => Ok(Heard::Anything),
                }
            }
            (Asked::Consent { .. }, Outcome::DeviceApproved, Some(grant)) => {
                grant.approved = true;
                Ok(Heard::Anything)
            }
            (Asked::Redeem { .. }, Outcome::Tokens(tokens), Some(_)) => {
                self.first_tokens(common, told.flow, *tokens, doom)
            }
            (Asked::Refresh { shown, .. }, Outcome::Tokens(tokens), Some(_)) => {
                self.next_tokens(common, told.flow, *shown, *tokens, doom)
            }
            (Asked::SignIn { .. }, Outcome::Refused | Outcome::NotYours | Outcome::Occupied | Outcome::Decided, _)
            | (Asked::Consent { .. }, Outcome::NotYours | Outcome::Decided, _)
            | (Asked::Deny, Outcome::Denied { .. } | Outcome::NotYours | Outcome::Decided, _)
            | (Asked::Redeem { slip: None, .. }, Outcome::Pending { .. } | Outcome::SlowDown { .. }, _)
            | (Asked::Redeem { slip: Some(Slip::Client), .. }, Outcome::WrongClient, _)
            | (Asked::Redeem { slip: Some(Slip::Verifier), .. }, Outcome::WrongVerifier, _)
            | (Asked::Redeem { slip: Some(Slip::TooWide), .. }, Outcome::TooWide(_), _)
            | (Asked::Redeem { slip: Some(Slip::Forged), .. }, Outcome::Garbage, _)
            | (Asked::Refresh { slip: Some(Slip::Client), .. }, Outcome::WrongClient, _)
            | (Asked::Refresh { slip: Some(Slip::TooWide), .. }, Outcome::TooWide(_), _)
            | (Asked::Refresh { slip: Some(Slip::Forged), .. }, Outcome::Garbage, _) => Ok(Heard::Anything),
            (_, Outcome::Ended { .. }, _) => common.over(told.flow),
            _ => Err("that answers another question".to_owned()),
        }
    }

    fn committed(&mut self, ledger: &mut Ledger, step: &Step<'_>) {
        let event = step.event;
        let outcome: Outcome = step.says();
        let held = ledger.held(step);
        let public = step.public();
        let scope = public.pointer("/shown/scope").and_then(serde_json::Value::as_str).unwrap_or_default();
        let offline = scope.split(' ').any(|word| word == OFFLINE_ACCESS);
        match outcome {
            Outcome::Requested { .. } | Outcome::DeviceRequested { .. } => {
                ledger.chains.insert(event.flow, Chain::default());
            }
            Outcome::SignedIn { .. } => {
                let (Some((user, fence)), Some(session)) = (held.user, held.session) else {
                    return ledger.complain(format!("the grant {} took a sign-in without its fences", event.flow));
                };
                let of_session = ledger.chains.get(&session).map(|chain| (chain.user, chain.fence));
                if of_session != Some((Some(user), fence)) {
                    ledger.complain(format!("the grant {} is {user:?}'s, in the session of another", event.flow));
                }
                let chain = Chain { user: Some(user), fence, session: Some(session), ..Chain::default() };
                ledger.chains.insert(event.flow, chain);
            }
            Outcome::CodeIssued { .. } | Outcome::DeviceApproved => {
                let chain = ledger.chains.entry(event.flow).or_default();
                let own = chain.own();
                if offline {
                    chain.session = None;
                }
                if held != own {
                    ledger.complain(format!("the grant {} was consented to under {held:?}, not {own:?}", event.flow));
                }
            }
            Outcome::Tokens(tokens) => {
                let first = matches!(event.name.as_str(), "exchange" | "poll");
                let known = ledger.chains.get(&event.flow).map_or(0, |chain| chain.handed.len());
                if first != (known == 0) {
                    ledger.complain(format!("the grant {} gave tokens for {} after {known}", event.flow, event.name));
                }
                let Tokens { user, issue, minted, expires_at, .. } = *tokens;
                ledger.hand(step, &held, user, IssuedTokens { issue, minted }, expires_at);
            }
            Outcome::Ended { .. } | Outcome::Denied { .. } | Outcome::SlowDown { .. } => {}
            other => ledger.complain(format!("the grant {} moved, and said {other:?}", event.flow)),
        }
    }

    fn row(&self, view: &mut View<'_>, row: &Row) {
        let state = view.read(row, |state| matches!(state, Authorization::Ended { .. }));
        if let Some(user_code) = state.public().subject {
            view.has(&Key::UserCode(Digest(user_code)), 0);
        }
        if let Authorization::Active(active) = state {
            let grant = active.grant;
            let handed = IssuedTokens { issue: grant.issue, minted: active.minted };
            view.chain(row, (active.who.user, active.who.fence), &handed, grant.expires_at);
        }
    }
}

impl Authorizations {
    fn first_tokens(
        &mut self,
        common: &Common,
        flow: FlowId,
        tokens: Tokens,
        doom: Option<String>,
    ) -> Result<Heard, String> {
        let device = self.grant(flow).device.is_some();
        if tokens.nonce.as_deref() != (!device).then_some(NONCE) {
            return Err(format!("the nonce is {:?}", tokens.nonce));
        }
        self.any_tokens(common, flow, tokens, doom)?;
        Ok(Heard::Moved)
    }

    fn next_tokens(
        &mut self,
        common: &Common,
        flow: FlowId,
        shown: u32,
        tokens: Tokens,
        doom: Option<String>,
    ) -> Result<Heard, String> {
        let policy = self.grant(flow).policy;
        let expected = if policy == Policy::Rotate { shown + 1 } else { shown };
        if tokens.issue.n != expected || tokens.nonce.is_some() {
            return Err(format!("{policy:?}: {} does not follow {shown}", tokens.issue.n));
        }
        self.any_tokens(common, flow, tokens, doom)?;
        Ok(Heard::Anything)
    }

    fn grant(&mut self, flow: FlowId) -> &mut Granted {
        self.asked_for.iter_mut().rev().find(|grant| grant.flow == flow).expect("somebody asked for it")
    }

    fn any_tokens(
        &mut self,
        common: &Common,
        flow: FlowId,
        tokens: Tokens,
        doom: Option<String>,
    ) -> Result<(), String> {
        let Tokens { client, issue, minted, access, .. } = tokens;
        let token = text(&common.environment, Purpose::RefreshToken, flow, &issue);
        common.good_tokens(flow, &IssuedTokens { issue: issue.clone(), minted }, doom)?;
        let grant = self.grant(flow);
        if client != grant.client || access.scope.has("admin") {
            return Err("they are another's".to_owned());
        }
        match grant.tokens.insert(issue.n, token.clone()) {
            Some(before) if before != token => Err("the chain forks".to_owned()),
            _ => Ok(()),
        }
    }
}

/// Somebody in whose browser a session lives, with the fences as one query finds them.
fn sign_in_for(common: &Common, desk: &mut Desk<'_, Auth>, grant: &Granted) -> Option<Plan<Asked>> {
    let session = recent(&common.sessions, desk.rng)?.flow;
    let who = desk.store.inspect(|tables| {
        let state = state::<Session>(tables, session)?;
        let active = state.active()?;
        let fence = number(tables, &Key::User(active.user)).filter(|fence| *fence == active.fence)?;
        Some(Who {
            user: active.user,
            fence,
            session: session.0,
            session_fence: number(tables, &Key::Session(session.0))?,
            auth_time: active.auth_time,
            amr: active.amr.clone(),
        })
    })?;
    let asked = Asked::SignIn { user: who.user, fence: who.fence, session };
    let shown = grant.device.as_ref().map(|(_, shown)| shown.clone());
    let order = Order::call::<Authorization>("sign in for", grant.flow, move || match &shown {
        Some(code) => Command::Claim { code: code.clone(), by: asked_anew(&who) },
        None => Command::SignIn(asked_anew(&who)),
    });
    // Between the page that reads and the button that asks lies a person.
    Some(Plan::hashed(asked, order, desk.rng))
}

fn redeem(common: &Common, desk: &mut Desk<'_, Auth>, grant: &Granted) -> Option<Plan<Asked>> {
    let slip = match desk.rng.below(100) {
        0..5 => Some(Slip::Client),
        5..9 => Some(Slip::Forged),
        9..13 if grant.device.is_none() => Some(Slip::Verifier),
        13..16 if grant.device.is_none() => Some(Slip::TooWide),
        _ => None,
    };
    let purpose = if grant.device.is_some() { Purpose::DeviceCode } else { Purpose::AuthorizationCode };
    let code = match (&grant.device, slip) {
        (_, Some(Slip::Forged)) => common.forged(purpose, grant.flow),
        (Some((code, _)), _) => code.clone(),
        (None, _) => grant.code.clone()?,
    };
    let client = if slip == Some(Slip::Client) { client(9) } else { grant.client };
    let (hasty, narrow, bare) = (desk.rng.chance(300), desk.rng.chance(200), desk.rng.chance(300));
    let (environment, device) = (common.environment.clone(), grant.device.is_some());
    let asked = Asked::Redeem { flow: grant.flow, slip };
    let order = Order::call::<Authorization>("redeem", grant.flow, move || {
        if device {
            return Command::Poll { code: presented(&environment, of::DeviceCode, &code), client, hasty };
        }
        let verifier = if slip == Some(Slip::Verifier) { "x".repeat(43) } else { VERIFIER.to_owned() };
        Command::Exchange(Exchange {
            code: presented(&environment, of::AuthorizationCode, &code),
            client,
            verifier: Some(Verifier::parse(verifier).expect("a verifier")),
            redirect_uri: (!bare).then(|| uri(REDIRECT)),
            wish: wish(slip, narrow),
        })
    });
    Some(Plan::at_once(asked, order))
}

fn carry_on(common: &Common, desk: &mut Desk<'_, Auth>, grant: &Granted) -> Option<Plan<Asked>> {
    if desk.rng.chance(60) {
        return redeem(common, desk, grant);
    }
    let (shown, token) = some_token(&grant.tokens, desk.rng)?;
    let slip = match desk.rng.below(100) {
        0..4 => Some(Slip::Client),
        4..7 => Some(Slip::Forged),
        7..10 => Some(Slip::TooWide),
        _ => None,
    };
    let token = if slip == Some(Slip::Forged) { common.forged(Purpose::RefreshToken, grant.flow) } else { token };
    let client = if slip == Some(Slip::Client) { client(9) } else { grant.client };
    let (environment, narrow) = (common.environment.clone(), desk.rng.chance(200));
    let order = Order::call::<Authorization>("refresh", grant.flow, move || Command::Refresh {
        token: presented(&environment, of::RefreshToken, &token),
        client,
        wish: wish(slip, narrow),
    });
    Some(Plan::at_once(Asked::Refresh { flow: grant.flow, shown, slip }, order))
}

fn asked_anew(who: &Who) -> SignIn {
    SignIn { who: who.clone(), remembered: Remembered::Nothing }
}

fn browser() -> Browser {
    Browser {
        redirect_uri: uri(REDIRECT),
        challenge: Some(Challenge::parse(CHALLENGE).expect("a challenge")),
        nonce: Some(NONCE.to_owned()),
        state: Some(STATE.to_owned()),
        response_mode: ResponseMode::Query,
        not_before: None,
        asks: false,
        claims: Claims::default(),
    }
}

fn request(desk: &mut Desk<'_, Auth>) -> Plan<Asked> {
    let client = client(if desk.rng.chance(500) { 1 } else { 2 });
    let policy = if desk.rng.chance(650) { Policy::Rotate } else { Policy::Stable };
    let (device, offline) = (desk.rng.chance(350), desk.rng.chance(350));
    let words = if offline { "offline_access openid profile" } else { "openid profile" };
    let order = Order::start::<Authorization>("request", move || Start {
        client,
        client_fence: 0,
        access_ttl: None,
        access: Access { scope: scope(words), resource: vec![uri("https://api.example/")] },
        refresh: policy,
        way: if device { Asking::Device } else { Asking::Browser { way: Box::new(browser()), entry: None } },
    });
    Plan::at_once(Asked::Request { client, policy, device }, order)
}
