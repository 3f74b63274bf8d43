//! People who let clients act for them, and the clients: by browser or device, signed in already or not yet, asked or
//! not, codes redeemed once, twice and by the wrong one, refresh tokens that rotate and others that do not.

use std::collections::BTreeMap;

use cairn_actors::effects::{Auth, ConsentWrite, Key, Write};
use cairn_actors::flows::authorization::{
    Asking, Authorization, Browser, Claims, Command, Consenting, Exchange, Outcome, Policy, Remembered, ResponseMode,
    Return, SignIn, Start, Tokens, Who,
};
use cairn_actors::flows::session::Session;
use cairn_actors::identity::user_id::UserId;
use cairn_actors::oauth::access::{Access, Wish};
use cairn_actors::oauth::client::ClientId;
use cairn_actors::oauth::pkce::{Challenge, Verifier};
use cairn_actors::oauth::scope::{OFFLINE_ACCESS, Scope};
use cairn_actors::oauth::uri::AbsoluteUri;
use cairn_actors::secrets::credential::{Purpose, Seal, UserCode, of};
use cairn_actors::secrets::digest::Digest;
use cairn_actors::testing;
use cairn_runtime::store::Row;
use cairn_runtime::testing::simulation::{Desk, Heard, Order, Told};
use cairn_runtime::{Flow, FlowId, Timestamp};

use super::clients::{CLIENTS, client};
use super::flow::{Plan, SimulatedFlow, Step};
use super::ledger::{Chain, Held, IssuedTokens, Ledger};
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
    /// For what it asks.
    scope: &'static str,
    /// Since when somebody must have proved who they are.
    not_before: Option<Timestamp>,
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
    /// For what each was granted, and for what its code was answered, as history says.
    granted: BTreeMap<FlowId, String>,
    answered: BTreeMap<FlowId, String>,
}

/// What a client asks for.
#[derive(Clone, Debug)]
pub(super) struct Request {
    client: ClientId,
    fence: i64,
    policy: Policy,
    device: bool,
    asks: bool,
    scope: &'static str,
    not_before: Option<Timestamp>,
    entry: Option<Entry>,
}

/// Somebody in whose browser a session lives.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    user: UserId,
    fence: i64,
    session: FlowId,
}

#[derive(Debug)]
pub(super) enum Asked {
    Request(Request),
    SignIn { flow: FlowId, by: Entry },
    Consent { user: UserId },
    Deny,
    Redeem { flow: FlowId, slip: Option<Slip>, narrow: bool },
    Refresh { flow: FlowId, shown: u32, slip: Option<Slip> },
    Revoke,
    Leave,
}

fn scope(text: &str) -> Scope {
    Scope::parse(text).expect("a scope")
}

fn uri(text: &str) -> AbsoluteUri {
    AbsoluteUri::parse(text).expect("a URI")
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
        "told CodeIssued",
        "told Refused",
        "told TooOld",
        "was taken up",
        "was answered at once",
        "told WrongClient",
        "told WrongVerifier",
        "told TooWide",
        "told SlowDown",
        "came to be ended client_deleted",
        "came to be ended code_reused",
        "came to be ended consent_revoked",
        "came to be ended fenced",
        "came to be ended reused",
    ];
    const PERSONAL: &'static [&'static str] = &[NONCE, STATE];
    const TOLD: &'static [&'static str] = &[NONCE, STATE];
    type Asked = Asked;

    fn plan(&mut self, common: &mut Common, desk: &mut Desk<'_, Auth>) -> Option<Plan<Asked>> {
        let lot = desk.rng.below(100);
        let grant = recent(&self.asked_for, desk.rng).cloned();
        let mut goes_on = |grant: &Granted| !common.ledger.is_finished(grant.flow) || desk.rng.chance(300);
        let grant = grant.filter(|grant| lot >= 14 && goes_on(grant));
        let Some(grant) = grant else { return request(common, desk) };
        // The likely next, and now and then anything.
        let next = match (&grant, lot) {
            (_, 14..21) => desk.rng.below(7),
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
                let how = match common.ledger.consent(user, grant.client) {
                    _ if desk.rng.chance(150) => Consenting::NotKept,
                    Some(consent) => Consenting::Again {
                        number: consent.number,
                        scope: consent.scope.clone(),
                        resources: Vec::new(),
                    },
                    None => Consenting::First,
                };
                let order = Order::call::<Authorization>("consent", grant.flow, move || Command::Consent {
                    user,
                    scope: scope(words),
                    how: how.clone(),
                });
                // Between the page that reads and the button that asks lies a person.
                Some(Plan::hashed(Asked::Consent { user }, order, desk.rng))
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
            5 => {
                let order = Order::call::<Authorization>("leave", grant.flow, || Command::Leave);
                Some(Plan::at_once(Asked::Leave, order))
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
            Asked::Request(Request { client, fence, entry, .. }) => {
                let present = ledger.client(*client);
                let moved = present != Some(*fence);
                let moved = moved.then(|| format!("the client's fence was read at {fence}, and was at {present:?}"));
                moved.or_else(|| entry.as_ref().and_then(|entry| entry.doom(ledger)))
            }
            Asked::SignIn { flow, by } => {
                let client = ledger.chains.get(flow).and_then(|chain| chain.client);
                let deleted = client.is_some_and(|(client, fence)| ledger.client(client) != Some(fence));
                by.doom(ledger).or_else(|| deleted.then(|| "its client had been deleted".to_owned()))
            }
            Asked::Redeem { slip: Some(slip), .. } => Some(format!("{slip:?} was wrong")),
            Asked::Redeem { flow, slip: None, narrow } => {
                let refreshed = ledger.chains.get(flow).is_some_and(|chain| chain.handed.len() > 1);
                let asked = if *narrow { Some("openid") } else { self.granted.get(flow).map(String::as_str) };
                let other = self.answered.get(flow).is_some_and(|answered| Some(answered.as_str()) != asked);
                let used = refreshed.then(|| "its tokens had been used".to_owned());
                let used = used.or_else(|| other.then(|| "the code had been answered for something else".to_owned()));
                ledger.doom(*flow, None).or(used)
            }
            Asked::Refresh { slip: Some(slip), .. } if *slip != Slip::TooWide => Some(format!("{slip:?} was wrong")),
            Asked::Refresh { flow, shown, .. } => ledger.doom(*flow, Some(*shown)),
            Asked::Consent { .. } | Asked::Deny | Asked::Revoke | Asked::Leave => None,
        }
    }

    fn hear(&mut self, common: &mut Common, asked: &Asked, told: &Told, doom: Option<String>) -> Result<Heard, String> {
        let outcome: Outcome = told.says().ok_or("these are not its words")?;
        common.ledger.count(Self::NAME, &outcome);
        let environment = &common.environment;
        let grant = self.asked_for.iter_mut().rev().find(|grant| grant.flow == told.flow);
        match (asked, outcome, grant) {
            (Asked::Request(_), Outcome::Refused | Outcome::TooOld, None) => Ok(Heard::Anything),
            (Asked::Request(request), outcome, None) => {
                if let Some(why) = doom {
                    return Err(why);
                }
                let mut grant = Granted::of(told.flow, request);
                let entered = request.entry.as_ref().map(|entry| entry.user);
                match (request.device, outcome) {
                    (true, Outcome::DeviceRequested { issue, .. }) => {
                        let code = text(environment, Purpose::DeviceCode, told.flow, &issue);
                        grant.device = Some((code, testing::user_code(environment, told.flow, &issue)));
                    }
                    (false, Outcome::Requested { .. }) if entered.is_none() => {}
                    (false, Outcome::SignedIn { .. }) if entered.is_some() => grant.who = entered,
                    (false, Outcome::CodeIssued { issue, back, .. }) if entered.is_some() && !request.asks => {
                        grant.shown(common, entered, &issue, &back)?;
                    }
                    _ => return Err("that answers another request".to_owned()),
                }
                self.asked_for.push(grant);
                common.grants.push(told.flow);
                Ok(Heard::Moved)
            }
            (Asked::SignIn { by, .. }, Outcome::SignedIn { .. }, Some(grant)) => {
                grant.who = Some(by.user);
                doom.map_or(Ok(Heard::Moved), Err)
            }
            (
                Asked::Consent { user } | Asked::SignIn { by: Entry { user, .. }, .. },
                Outcome::CodeIssued { issue, back, .. },
                Some(grant),
            ) => grant.shown(common, Some(*user), &issue, &back).map(|()| Heard::Anything),
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
            | (Asked::SignIn { .. }, Outcome::TooOld, _)
            | (Asked::Consent { .. }, Outcome::NotYours | Outcome::Decided | Outcome::Refused, _)
            | (Asked::Leave, Outcome::Garbage, _)
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
        let decides = matches!(outcome, Outcome::CodeIssued { .. } | Outcome::DeviceApproved);
        if !decides && !step.writes.is_empty() {
            ledger.complain(format!("the grant {} took {} and wrote {:?}", event.flow, event.name, step.writes));
        }
        match outcome {
            Outcome::Requested { .. } | Outcome::DeviceRequested { .. } => {
                if held.client.is_none() {
                    ledger.complain(format!("the grant {} was asked for without its client's fence", event.flow));
                }
                ledger.chains.insert(event.flow, Chain { client: held.client, ..Chain::default() });
            }
            Outcome::SignedIn { .. } => signs_in(ledger, step, &held),
            Outcome::CodeIssued { .. } | Outcome::DeviceApproved => {
                self.granted.insert(event.flow, scope.to_owned());
                decided(ledger, step, held, offline);
            }
            Outcome::Lapsed => {
                let chain = ledger.chains.entry(event.flow).or_default();
                *chain = Chain { client: chain.client, ..Chain::default() };
            }
            Outcome::Tokens(tokens) => {
                let first = matches!(event.name.as_str(), "exchange" | "poll");
                let known = ledger.chains.get(&event.flow).map_or(0, |chain| chain.handed.len());
                if first != (known == 0) {
                    ledger.complain(format!("the grant {} gave tokens for {} after {known}", event.flow, event.name));
                }
                let Tokens { user, issue, minted, access, expires_at, .. } = *tokens;
                if first {
                    self.answered.insert(event.flow, access.scope.to_string());
                }
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
        if matches!(state, Authorization::Requested(_) | Authorization::Lapsed(_)) {
            view.knows_nobody(row);
        }
        if let Authorization::Active(active) = state {
            let grant = active.grant;
            let consent = active.consent.map(|number| ((active.who.user, grant.client), number));
            let known = view.ledger.chains.get(&row.id).map(|chain| (chain.client, chain.consent));
            if known != Some((Some((grant.client, grant.client_fence)), consent)) {
                view.complain(format!("the grant {} rests on {consent:?}, and history says {known:?}", row.id));
            }
            let handed = IssuedTokens { issue: grant.issue, minted: active.minted };
            view.chain(row, (active.who.user, active.who.fence), &handed, grant.expires_at);
        }
    }
}

/// Somebody is signed in, under the fences of user, session and client.
fn signs_in(ledger: &mut Ledger, step: &Step<'_>, held: &Held) {
    let event = step.event;
    let (Some((user, fence)), Some(session), Some(client)) = (held.user, held.session, held.client) else {
        return ledger.complain(format!("the grant {} took a sign-in without its fences", event.flow));
    };
    let of_session = ledger.chains.get(&session).map(|chain| (chain.user, chain.fence));
    if of_session != Some((Some(user), fence)) {
        ledger.complain(format!("the grant {} is {user:?}'s, in the session of another", event.flow));
    }
    let asked_by = ledger.chains.get(&event.flow).map_or(Some(client), |chain| chain.client);
    if asked_by != Some(client) {
        ledger.complain(format!("the grant {} was asked for by {asked_by:?}, not {client:?}", event.flow));
    }
    if event.from == "lapsed" {
        ledger.note("authorization was taken up");
    }
    let chain = Chain { user: Some(user), fence, session: Some(session), client: Some(client), ..Chain::default() };
    ledger.chains.insert(event.flow, chain);
}

/// Nothing is left to be asked: by the person's consent, or because they had consented or need not.
fn decided(ledger: &mut Ledger, step: &Step<'_>, mut held: Held, offline: bool) {
    let event = step.event;
    match step.writes {
        [] => {}
        [(_, Write::Consent(ConsentWrite::Give { user, client, scope, .. }))] => {
            held.consent = ledger.consented(step, (*user, *client), scope, held.consent);
        }
        writes => ledger.complain(format!("the grant {} was consented to by {writes:?}", event.flow)),
    }
    if event.name != "consent" {
        signs_in(ledger, step, &held);
    }
    if event.name == "authorize" {
        ledger.note("authorization was answered at once");
    }
    let chain = ledger.chains.entry(event.flow).or_default();
    let whose = chain.user.zip(chain.client.map(|(client, _)| client));
    let is_theirs = held.consent.is_none_or(|(pair, _)| Some(pair) == whose);
    chain.consent = held.consent;
    let own = chain.own();
    if offline {
        chain.session = None;
    }
    if held != own || !is_theirs {
        ledger.complain(format!("the grant {} was consented to under {held:?}, not {own:?}", event.flow));
    }
}

impl Entry {
    /// Why this sign-in must not count.
    fn doom(&self, ledger: &Ledger) -> Option<String> {
        let present = ledger.fence(self.user);
        let moved = present != Some(self.fence);
        let moved = moved.then(|| format!("the fence was read at {}, and was at {present:?}", self.fence));
        moved.or_else(|| ledger.is_finished(self.session).then(|| "the session had ended".to_owned()))
    }
}

impl Granted {
    fn of(flow: FlowId, request: &Request) -> Self {
        Self {
            flow,
            client: request.client,
            policy: request.policy,
            scope: request.scope,
            not_before: request.not_before,
            device: None,
            code: None,
            approved: false,
            who: None,
            tokens: BTreeMap::new(),
        }
    }

    /// The code that goes back with the browser.
    fn shown(&mut self, common: &Common, user: Option<UserId>, issue: &Seal, back: &Return) -> Result<(), String> {
        if back.state.as_deref() != Some(STATE) || issue.n != 0 {
            return Err("the client does not know it again".to_owned());
        }
        let code = text(&common.environment, Purpose::AuthorizationCode, self.flow, issue);
        self.who = user;
        match self.code.replace(code.clone()) {
            Some(before) if before != code => Err("there are two codes".to_owned()),
            _ => Ok(()),
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
        if tokens.minted.generation != 0 {
            return Err(format!("the code was answered with generation {}", tokens.minted.generation));
        }
        self.any_tokens(common, flow, tokens, doom)?;
        Ok(Heard::Anything)
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
        let Tokens { client, issue, minted, access, auth_time, .. } = tokens;
        let token = text(&common.environment, Purpose::RefreshToken, flow, &issue);
        common.good_tokens(flow, &IssuedTokens { issue: issue.clone(), minted }, doom)?;
        let grant = self.grant(flow);
        if client != grant.client || access.scope.has("admin") {
            return Err("they are another's".to_owned());
        }
        if grant.not_before.is_some_and(|since| auth_time < since) {
            return Err(format!("somebody must have signed in since {:?}", grant.not_before));
        }
        match grant.tokens.insert(issue.n, token.clone()) {
            Some(before) if before != token => Err("the chain forks".to_owned()),
            _ => Ok(()),
        }
    }
}

/// Somebody in whose browser a session lives, with the fences as one query finds them.
fn somebody(common: &Common, desk: &mut Desk<'_, Auth>) -> Option<(Who, Entry)> {
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
    let entry = Entry { user: who.user, fence: who.fence, session };
    Some((who, entry))
}

/// What a service knows of their consent to so much; now and then the client is one of the operator's own.
fn remembered(common: &Common, desk: &mut Desk<'_, Auth>, user: UserId, client: ClientId, words: &str) -> Remembered {
    match common.ledger.consent(user, client) {
        _ if desk.rng.chance(100) => Remembered::NotNeeded,
        Some(consent) if scope(words).is_within(&consent.scope) => Remembered::Given(consent.number),
        _ => Remembered::Nothing,
    }
}

fn sign_in_for(common: &Common, desk: &mut Desk<'_, Auth>, grant: &Granted) -> Option<Plan<Asked>> {
    let (who, entry) = somebody(common, desk)?;
    let remembered = remembered(common, desk, who.user, grant.client, grant.scope);
    let asked = Asked::SignIn { flow: grant.flow, by: entry };
    let shown = grant.device.as_ref().map(|(_, shown)| shown.clone());
    let order = Order::call::<Authorization>("sign in for", grant.flow, move || {
        let by = SignIn { who: who.clone(), remembered };
        match &shown {
            Some(code) => Command::Claim { code: code.clone(), by },
            None => Command::SignIn(by),
        }
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
    let asked = Asked::Redeem { flow: grant.flow, slip, narrow: narrow && !device };
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

fn request(common: &Common, desk: &mut Desk<'_, Auth>) -> Option<Plan<Asked>> {
    let lot = u8::try_from(desk.rng.below(u64::from(CLIENTS))).expect("there are few");
    let client = client(1 + lot);
    let fence = desk.store.inspect(|tables| number(tables, &Key::Client(client)))?;
    let (device, offline, asks) = (desk.rng.chance(350), desk.rng.chance(350), desk.rng.chance(100));
    let not_before = (!device && desk.rng.chance(100)).then(|| Timestamp(desk.now.0 - 10_000));
    let is_signed_in = !device && desk.rng.chance(600);
    let (who, entry) = if is_signed_in { somebody(common, desk) } else { None }.unzip();
    let request = Request {
        client,
        fence,
        policy: if desk.rng.chance(650) { Policy::Rotate } else { Policy::Stable },
        device,
        asks,
        scope: if offline { "offline_access openid profile" } else { "openid profile" },
        not_before,
        entry,
    };
    let who = who.map(|who: Who| {
        let remembered = remembered(common, desk, who.user, client, request.scope);
        SignIn { who, remembered }
    });
    let asked = request.clone();
    let order = Order::start::<Authorization>("request", move || Start {
        client,
        client_fence: request.fence,
        access_ttl: None,
        access: Access { scope: scope(request.scope), resource: vec![uri("https://api.example/")] },
        refresh: request.policy,
        way: if request.device {
            Asking::Device
        } else {
            Asking::Browser { way: Box::new(browser(&request)), entry: who.clone() }
        },
    });
    Some(Plan::hashed(Asked::Request(asked), order, desk.rng))
}

fn browser(request: &Request) -> Browser {
    Browser {
        redirect_uri: uri(REDIRECT),
        challenge: Some(Challenge::parse(CHALLENGE).expect("a challenge")),
        nonce: Some(NONCE.to_owned()),
        state: Some(STATE.to_owned()),
        response_mode: ResponseMode::Query,
        not_before: request.not_before,
        asks: request.asks,
        claims: Claims::default(),
    }
}
