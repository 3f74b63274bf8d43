//! What a person changes in the campaign: a forgotten password, another password, another address, and a farewell that
//! is taken back. Each is asked again until it is acknowledged, and then must hold.

use super::client::{ClientRun, acknowledged, identity, persevere, sign_in};
use super::{Campaign, count};
use crate::support::person::{Tokens, flow_id};
use crate::support::{Client, Dice, json};

/// A few changes, or none.
pub async fn some(campaign: &Campaign, life: &mut ClientRun, dice: &mut Dice) {
    if dice.one_in(4) {
        forget_password(campaign, life, dice).await;
    }
    if dice.one_in(4) {
        change_password(campaign, life, dice).await;
    }
    if dice.one_in(5) {
        move_away(campaign, life, dice).await;
    }
    if dice.one_in(8) {
        say_farewell(campaign, life, dice).await;
    }
}

/// The session must be over, whatever its tokens promise.
async fn is_over(campaign: &Campaign, life: &mut ClientRun, dice: &mut Dice, why: &str) {
    for token in [Some(life.tokens.refresh.clone()), life.predecessor.take()].into_iter().flatten() {
        let body = json!({"refresh_token": token});
        let answer = persevere(campaign, &mut life.ledger, dice, |client| client.post("/auth/refresh", &body)).await;
        life.ledger.check(answer.status == 401, format!("a session outlives {why}: {answer}"));
    }
    let access = life.tokens.access.clone();
    let seen = persevere(campaign, &mut life.ledger, dice, |client| client.get("/users/me").bearer(&access)).await;
    life.ledger.check(seen.status == 401, format!("an access token outlives {why}: {seen}"));
}

async fn again(campaign: &Campaign, life: &mut ClientRun, dice: &mut Dice) {
    life.tokens = sign_in(campaign, &mut life.ledger, dice, &life.person).await;
    life.predecessor = None;
}

/// Asks for a letter, sets a new password, asks the same again; the old password and every session are over.
async fn forget_password(campaign: &Campaign, life: &mut ClientRun, dice: &mut Dice) {
    let (address, key) = (json!({"email": life.person.email}), format!("{}-forgot", life.person.username));
    let ask = |client: &Client| client.post("/auth/password-reset/request", &address).key(&key);
    let flow = flow_id(&acknowledged(campaign, &mut life.ledger, dice, 202, ask).await);
    let letter = campaign.sink.letter(&life.person.email, "recovery.reset").await;
    let new = format!("{} regained", life.person.password);
    let before = std::mem::replace(&mut life.person.password, new.clone());
    let by_code = json!({"flow": flow, "code": letter.code(), "new_password": new});
    let by_link = json!({"token": letter.token(), "new_password": new});
    let (first, second) = if dice.one_in(2) { (by_code, by_link) } else { (by_link, by_code) };
    for body in [&first, &second] {
        let confirm = |client: &Client| client.post("/auth/password-reset/confirm", body);
        let answer = acknowledged(campaign, &mut life.ledger, dice, 200, confirm).await;
        life.ledger.check(answer["flow"]["version"] == 2, format!("one credential set two passwords: {answer}"));
    }
    let other = json!({"token": letter.token(), "new_password": format!("{new} elsewhere")});
    let confirm = |client: &Client| client.post("/auth/password-reset/confirm", &other);
    acknowledged(campaign, &mut life.ledger, dice, 410, confirm).await;
    is_over(campaign, life, dice, "a reset").await;
    let old = json!({"email": life.person.email, "password": before});
    acknowledged(campaign, &mut life.ledger, dice, 401, |client: &Client| client.post("/auth/login", &old)).await;
    again(campaign, life, dice).await;
    count(&campaign.tally.reset);
}

/// Changes the password under a key; the session that asked goes on, another is over.
async fn change_password(campaign: &Campaign, life: &mut ClientRun, dice: &mut Dice) {
    let other = sign_in(campaign, &mut life.ledger, dice, &life.person).await;
    again(campaign, life, dice).await;
    let new = format!("{} changed", life.person.password);
    let body = json!({"current_password": life.person.password, "new_password": new});
    let (access, key) = (life.tokens.access.clone(), format!("{}-change", life.person.username));
    let change = |client: &Client| client.post("/auth/password-change", &body).bearer(&access).key(&key);
    let first = acknowledged(campaign, &mut life.ledger, dice, 200, change).await;
    let repeat = acknowledged(campaign, &mut life.ledger, dice, 200, change).await;
    let (next, again) = (Tokens::of(&first), Tokens::of(&repeat));
    let same = first["changed_at"] == repeat["changed_at"] && identity(&next) == identity(&again);
    life.ledger.check(same, format!("the repeat changed it anew: {first}, {repeat}"));
    life.person.password = new;
    // Neither another session nor this one's refresh token from before is good; the latter ends nothing.
    life.predecessor = None;
    for token in [other.refresh, std::mem::replace(&mut life.tokens, next).refresh] {
        let token = json!({"refresh_token": token});
        acknowledged(campaign, &mut life.ledger, dice, 401, |client: &Client| client.post("/auth/refresh", &token))
            .await;
    }
    let access = life.tokens.access.clone();
    let seen = persevere(campaign, &mut life.ledger, dice, |client| client.get("/users/me").bearer(&access)).await;
    life.ledger.check(seen.status == 200, format!("the session that changed the password is over: {seen}"));
    count(&campaign.tally.changed);
}

/// Proves another address; every second time the address from before takes that back.
async fn move_away(campaign: &Campaign, life: &mut ClientRun, dice: &mut Dice) {
    again(campaign, life, dice).await;
    let home = life.person.email.clone();
    let away = format!("away-{home}");
    let body = json!({"new_email": away, "password": life.person.password});
    let (access, key) = (life.tokens.access.clone(), format!("{}-move", life.person.username));
    let ask = |client: &Client| client.post("/auth/email-change", &body).bearer(&access).key(&key);
    acknowledged(campaign, &mut life.ledger, dice, 202, ask).await;
    let letter = campaign.sink.letter(&away, "email.confirm").await;
    let proof = json!({"token": letter.token(), "password": life.person.password});
    let prove = |client: &Client| client.post("/auth/email-change/confirm", &proof);
    let first = acknowledged(campaign, &mut life.ledger, dice, 200, prove).await;
    life.ledger.check(first["user"]["email"] == away.as_str(), format!("not moved: {first}"));
    let repeat = acknowledged(campaign, &mut life.ledger, dice, 200, prove).await;
    life.ledger.check(first["flow"] == repeat["flow"], format!("moved twice: {first}, {repeat}"));
    life.person.email = away;
    if dice.one_in(2) {
        let notice = campaign.sink.letter(&home, "email.changed").await;
        // The password from before is out of force: another comes along.
        let next = format!("{} once more", life.person.password);
        let token = json!({"token": notice.token(), "new_password": next});
        let undo = |client: &Client| client.post("/auth/email-change/undo", &token);
        let first = acknowledged(campaign, &mut life.ledger, dice, 200, undo).await;
        life.ledger.check(first["user"]["email"] == home.as_str(), format!("not taken back: {first}"));
        acknowledged(campaign, &mut life.ledger, dice, 200, undo).await;
        life.person.email = home;
        life.person.password = next;
        is_over(campaign, life, dice, "a change that was taken back").await;
        again(campaign, life, dice).await;
        count(&campaign.tally.undone);
    }
    count(&campaign.tally.moved);
}

/// Deletes the account, and has it back by signing in.
async fn say_farewell(campaign: &Campaign, life: &mut ClientRun, dice: &mut Dice) {
    again(campaign, life, dice).await;
    let body = json!({"password": life.person.password});
    let access = life.tokens.access.clone();
    let delete = |client: &Client| client.request("DELETE", "/users/me").json(&body).bearer(&access);
    // A repeat whose first answer was lost finds its session over: the deletion is what ended it.
    let answer = persevere(campaign, &mut life.ledger, dice, delete).await;
    life.ledger.check([202, 401].contains(&answer.status), format!("no farewell: {answer}"));
    is_over(campaign, life, dice, "a deletion").await;
    let credentials = life.person.credentials();
    let back = |client: &Client| client.post("/auth/login", &credentials);
    life.tokens = Tokens::of(&acknowledged(campaign, &mut life.ledger, dice, 200, back).await);
    count(&campaign.tally.restored);
}
