//! Letters that a stranger has sent: they keep nobody from their own, and what was delivered stays good.

use crate::support::person::flow_id;
use crate::support::{App, Kind, Person, Value, eventually, json};

of_each_kind!(
    a_strangers_flood_of_resets_keeps_no_owner_out,
    a_strangers_registrations_keep_no_newcomer_out,
    a_browser_that_is_known_is_sent_its_letter_whatever_strangers_ask_for,
);

async fn server(kind: Kind) -> App {
    let plan = App::plan(kind).named("letters").unset("CAIRN_LIMITS");
    plan.set("CAIRN_RESEND_COOLDOWN", 0).start().await
}

/// Asks ten times from one client; gives the flows.
async fn floods(app: &App, last: u8, path: &str, body: &Value) -> Vec<String> {
    let mut flows = Vec::new();
    for _ in 0..10 {
        let begun = app.client().at_loopback(last).post(path, body).send().await.expect(202);
        flows.push(flow_id(&begun));
    }
    flows
}

async fn a_strangers_flood_of_resets_keeps_no_owner_out(kind: Kind) {
    let app = server(kind).await;
    let person = Person::new("owner");
    person.joins(&app).await;
    let path = "/auth/password-reset/request";
    let body = json!({"email": person.email});
    let flows = floods(&app, 7, path, &body).await;
    let own = flow_id(&app.client().post(path, &body).send().await.expect(202));
    let letters = eventually("the owner's own letter", async || {
        let letters = app.mailbox(&person.email).await;
        letters.iter().any(|letter| letter.flow == own).then_some(letters)
    })
    .await;
    let strangers: Vec<_> = letters.iter().filter(|letter| flows.contains(&letter.flow)).collect();
    assert!((1..=3).contains(&strangers.len()), "{} letters for one stranger", strangers.len());
    // Whatever else was asked for: each letter that was delivered is good.
    let token = strangers[0].token();
    let body = json!({"token": token, "new_password": "granite lantern 47 marmalade"});
    app.client().post("/auth/password-reset/confirm", &body).send().await.expect(200);
}

async fn a_strangers_registrations_keep_no_newcomer_out(kind: Kind) {
    let app = server(kind).await;
    let person = Person::new("newcomer");
    let body = json!({"email": person.email, "password": "velvet tractor umbrella fjord"});
    for flow in floods(&app, 7, "/auth/register", &body).await {
        app.client().at_loopback(7).request("POST", &format!("/auth/register/{flow}/resend")).send().await.expect(202);
    }
    let own = person.registers(&app).await;
    let letter = eventually("the newcomer's own letter", async || {
        app.mailbox(&person.email).await.into_iter().find(|letter| letter.flow == own)
    })
    .await;
    let body = json!({"flow": own, "code": letter.code()});
    app.client().post("/auth/verify-email", &body).send().await.expect(200);
    person.signs_in(&app).await;
}

async fn a_browser_that_is_known_is_sent_its_letter_whatever_strangers_ask_for(kind: Kind) {
    let app = server(kind).await;
    let person = Person::new("known");
    person.joins(&app).await;
    let answer = app.client().post("/auth/login", &person.credentials()).send().await;
    let set = answer.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap());
    let device = set.filter_map(|line| line.split(';').next()).find(|set| set.starts_with("cairn_device_"));
    let device = device.expect("the cookie of a device").to_owned();
    let path = "/auth/password-reset/request";
    let body = json!({"email": person.email});
    // Four networks use up what strangers have together.
    for last in 7..11 {
        for _ in 0..4 {
            app.client().at_loopback(last).post(path, &body).send().await.expect(202);
        }
    }
    let own = app.client().at_loopback(7).post(path, &body).header("cookie", &device);
    let own = flow_id(&own.send().await.expect(202));
    eventually("the owner's own letter", async || {
        app.mailbox(&person.email).await.iter().any(|letter| letter.flow == own).then_some(())
    })
    .await;
}
