//! A client in the campaign: it repeats each step until it is acknowledged, and writes down what was.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

use super::{Campaign, changes, count};
use crate::support::client::Request;
use crate::support::person::{Tokens, flow_id};
use crate::support::token::claims;
use crate::support::{Answer, Client, Dice, PATIENCE, Person, Value, breath, json};

/// One person's life as its client saw it: everything in here was acknowledged.
pub struct ClientRun {
    pub ledger: Ledger,
    pub person: Person,
    /// The address that they registered with.
    pub home: String,
    /// All registrations of the address: the one that won first.
    pub flows: Vec<String>,
    pub user: String,
    pub tokens: Tokens,
    /// The refresh token before the last.
    pub predecessor: Option<String>,
    pub signed_out: bool,
}

/// What a client did and was told, in order. It is printed when something is wrong.
#[derive(Clone)]
pub struct Ledger {
    who: u64,
    lines: Vec<String>,
}

impl Ledger {
    pub fn note(&mut self, line: impl Display) {
        self.lines.push(line.to_string());
    }

    #[track_caller]
    pub fn fail(&self, why: impl Display) -> ! {
        panic!("client {}: {why}\nits ledger:\n  {}", self.who, self.lines.join("\n  "));
    }

    #[track_caller]
    pub fn check(&self, holds: bool, why: impl Display) {
        if !holds {
            self.fail(why);
        }
    }
}

/// Repeats a request through deaths and overload until the server answers it.
pub async fn persevere(
    campaign: &Campaign,
    ledger: &mut Ledger,
    dice: &mut Dice,
    request: impl Fn(&Client) -> Request,
) -> Answer {
    let client = campaign.app.client();
    let end = Instant::now() + PATIENCE;
    let mut up = campaign.up.subscribe();
    loop {
        ledger.check(Instant::now() < end, format!("not acknowledged within {PATIENCE:?}"));
        // While the server is known to be dead there is nobody to ask.
        let _ = tokio::time::timeout(PATIENCE, up.wait_for(|up| *up)).await;
        campaign.begun.send_modify(|begun| *begun += 1);
        // Now and then the client itself hangs up; the server must finish or undo, and know the repeat.
        let limit = if dice.one_in(12) { Duration::from_millis(dice.below(60)) } else { PATIENCE };
        match tokio::time::timeout(limit, request(&client).attempt()).await {
            Ok(Ok(answer)) if answer.status == 503 => {
                ledger.check(answer.header("retry-after").is_some(), format!("503 without Retry-After: {answer}"));
                count(&campaign.tally.unavailable);
                breath().await;
            }
            Ok(Ok(answer)) => {
                campaign.answered.send_modify(|answered| *answered += 1);
                ledger.note(format!("{} → {}", answer.asked, answer.status));
                return answer;
            }
            Ok(Err(broken)) => {
                ledger.note(broken);
                count(&campaign.tally.broken);
                breath().await;
            }
            Err(_) => {
                ledger.note("hung up");
                count(&campaign.tally.hung_up);
            }
        }
    }
}

/// As [`persevere`], held to a status.
pub async fn acknowledged(
    campaign: &Campaign,
    ledger: &mut Ledger,
    dice: &mut Dice,
    status: u16,
    request: impl Fn(&Client) -> Request,
) -> Value {
    let answer = persevere(campaign, ledger, dice, request).await;
    ledger.check(answer.status == status, format!("expected {status}: {answer}"));
    if answer.body.is_empty() { Value::Null } else { answer.json() }
}

/// A person's life from registering to the last refresh (or signing out).
pub async fn live(campaign: &Campaign, who: u64, dice: &mut Dice) -> ClientRun {
    let mut ledger = Ledger { who, lines: Vec::new() };
    let person = Person::new("walker");
    let (flows, user) = if dice.one_in(8) {
        contest(campaign, &mut ledger, dice, &person).await
    } else {
        join(campaign, &mut ledger, dice, &person).await
    };
    let mut life = ClientRun {
        tokens: sign_in(campaign, &mut ledger, dice, &person).await,
        ledger,
        home: person.email.clone(),
        person,
        flows,
        user,
        predecessor: None,
        signed_out: false,
    };
    for _ in 0..dice.below(10) {
        refresh(campaign, &mut life, dice).await;
    }
    changes::some(campaign, &mut life, dice).await;
    for _ in 0..dice.below(3) {
        refresh(campaign, &mut life, dice).await;
    }
    if dice.one_in(4) {
        let token = life.tokens.refresh.clone();
        let out = |client: &Client| client.post("/auth/logout", &json!({"refresh_token": token}));
        acknowledged(campaign, &mut life.ledger, dice, 204, out).await;
        life.signed_out = true;
    }
    life
}

/// Registers, repeats that now and then, and verifies by code or by link.
async fn join(campaign: &Campaign, ledger: &mut Ledger, dice: &mut Dice, person: &Person) -> (Vec<String>, String) {
    let flow = register(campaign, ledger, dice, person, &person.registration()).await;
    let letter = campaign.sink.letter(&person.email, "registration.verify").await;
    let code = letter.code().unwrap_or_else(|| ledger.fail("a letter without a code"));
    let token = letter.token().unwrap_or_else(|| ledger.fail("a letter without a link"));
    let by_code = json!({"flow": flow, "code": code});
    let by_link = json!({"token": token, "password": person.password});
    let (first, second) = if dice.one_in(2) { (&by_code, &by_link) } else { (&by_link, &by_code) };
    let key = format!("{}-verify", person.username);
    let verify = |client: &Client| client.post("/auth/verify-email", first).key(&key);
    let answer = acknowledged(campaign, ledger, dice, 200, verify).await;
    let user = user_id(ledger, &answer);
    ledger.check(answer["user"]["email"] == person.email.as_str(), format!("another's address: {answer}"));
    count(&campaign.tally.verified);
    ledger.note(format!("verified: {user}"));
    if dice.one_in(4) {
        let again = |client: &Client| client.post("/auth/verify-email", second);
        let repeat = acknowledged(campaign, ledger, dice, 200, again).await;
        ledger.check(user_id(ledger, &repeat) == user, format!("the repeat made another user: {repeat}"));
        count(&campaign.tally.repeated);
    }
    (vec![flow], user)
}

/// Two registrations of one address wait at once; the first to verify has it, the other's proof answers 409.
async fn contest(campaign: &Campaign, ledger: &mut Ledger, dice: &mut Dice, person: &Person) -> (Vec<String>, String) {
    let rival = json!({"email": person.email.to_uppercase(), "password": format!("{} indeed", person.password)});
    let bodies = [person.registration(), rival];
    let mut flows = Vec::new();
    for body in &bodies {
        flows.push(register(campaign, ledger, dice, person, body).await);
    }
    // A letter does not say whose it is; its link opens only with the password typed at that registration.
    let mut user = None;
    let letters = crate::support::eventually("two letters", async || {
        let mut letters = campaign.sink.letters(&person.email, "registration.verify");
        letters.sort_by(|a, b| a.message_id.cmp(&b.message_id));
        letters.dedup_by(|a, b| a.message_id == b.message_id);
        (letters.len() == 2).then_some(letters)
    });
    for letter in letters.await {
        let token = letter.token().unwrap_or_else(|| ledger.fail("a letter without a link"));
        let prove = async |body: &Value, ledger: &mut Ledger, dice: &mut Dice| {
            let proof = json!({"token": token, "password": body["password"]});
            persevere(campaign, ledger, dice, |client: &Client| client.post("/auth/verify-email", &proof)).await
        };
        // The person's own registration is to win: its letter first, whichever of the two it is.
        let own = prove(&bodies[0], ledger, dice).await;
        match own.status {
            200 => user = Some(user_id(ledger, &own.json())),
            401 => ledger.note("this link is the rival's"),
            _ => ledger.fail(format!("neither mine nor the rival's: {own}")),
        }
    }
    let user = user.unwrap_or_else(|| ledger.fail("no letter was mine"));
    count(&campaign.tally.verified);
    ledger.note(format!("verified: {user}"));
    let mut refused = 0;
    for letter in campaign.sink.letters(&person.email, "registration.verify") {
        let proof = json!({"token": letter.token(), "password": bodies[1]["password"]});
        let late = persevere(campaign, ledger, dice, |client: &Client| client.post("/auth/verify-email", &proof)).await;
        ledger.check([401, 409, 410].contains(&late.status), format!("one address, two users: {late}"));
        refused += usize::from(late.status != 401);
    }
    ledger.check(refused > 0, "the rival was never told that the address is taken");
    let sign_in = json!({"email": person.email, "password": bodies[1]["password"]});
    acknowledged(campaign, ledger, dice, 401, |client: &Client| client.post("/auth/login", &sign_in)).await;
    (flows, user)
}

async fn register(campaign: &Campaign, ledger: &mut Ledger, dice: &mut Dice, person: &Person, body: &Value) -> String {
    let key = format!("{}-register-{}", person.username, body["email"]).replace('"', "");
    let ask = |client: &Client| client.post("/auth/register", body).key(&key);
    let flow = flow_id(&acknowledged(campaign, ledger, dice, 202, ask).await);
    count(&campaign.tally.registered);
    ledger.note(format!("registered {} as {flow}", body["email"]));
    if dice.one_in(4) {
        let repeat = acknowledged(campaign, ledger, dice, 202, ask).await;
        ledger.check(flow_id(&repeat) == flow, format!("the repeat made another flow: {repeat}"));
        count(&campaign.tally.repeated);
    }
    flow
}

pub async fn sign_in(campaign: &Campaign, ledger: &mut Ledger, dice: &mut Dice, person: &Person) -> Tokens {
    let body = person.credentials();
    let answer = acknowledged(campaign, ledger, dice, 200, |client: &Client| client.post("/auth/login", &body)).await;
    count(&campaign.tally.signed_in);
    let tokens = Tokens::of(&answer);
    ledger.note(format!("signed in: {} with …{}", tokens.session, ending(&tokens.refresh)));
    tokens
}

/// One step of the chain; now and then asked again with the predecessor, as by a client that lost the answer.
async fn refresh(campaign: &Campaign, life: &mut ClientRun, dice: &mut Dice) {
    let body = json!({"refresh_token": life.tokens.refresh});
    let ask = |client: &Client| client.post("/auth/refresh", &body);
    let next = Tokens::of(&acknowledged(campaign, &mut life.ledger, dice, 200, ask).await);
    count(&campaign.tally.refreshed);
    life.ledger.note(format!("refreshed: …{}", ending(&next.refresh)));
    life.ledger.check(next.session == life.tokens.session, "the chain went on in another session");
    if dice.one_in(4) {
        let again = Tokens::of(&acknowledged(campaign, &mut life.ledger, dice, 200, ask).await);
        life.ledger.check(identity(&again) == identity(&next), "the repeat within the grace time got another answer");
        count(&campaign.tally.repeated);
    }
    life.predecessor = Some(std::mem::replace(&mut life.tokens, next).refresh);
}

fn user_id(ledger: &Ledger, answer: &Value) -> String {
    match answer["user"]["id"].as_str() {
        Some(id) => id.to_owned(),
        None => ledger.fail(format!("no user in {answer}")),
    }
}

/// What two answers with the same tokens have in common; `expires_in` runs down between them.
pub fn identity(tokens: &Tokens) -> [Value; 4] {
    let claims = claims(&tokens.access);
    [json!(tokens.refresh), claims["jti"].clone(), claims["iat"].clone(), claims["exp"].clone()]
}

/// Enough of a token to tell it from others in a ledger.
fn ending(token: &str) -> &str {
    &token[token.len().saturating_sub(8)..]
}
