//! `POST /auth/magic-link` and `/confirm`: whoever reads the account's mail signs in without the password, once. What holds
//! of every letter with a code and a link: `letters.rs`.

use tokio::sync::OnceCell;

use crate::support::app::Plan;
use crate::support::audit::Audit;
use crate::support::person::{Tokens, flow_id};
use crate::support::token::claims;
use crate::support::{Answer, App, Kind, Person, Value, eventually, json};

on_both_databases!(where_it_is_off_nobody_signs_in_so);
of_each_kind!(
    clients_are_told_where_it_is_on,
    a_code_or_a_link_signs_in,
    a_letter_signs_in_once,
    what_comes_twice_under_its_key_is_told_of_one_session,
    a_wrong_code_that_is_sent_again_under_its_key_is_one_try,
    of_two_letters_each_signs_in,
    nobody_is_mailed_who_has_no_account,
    a_letter_is_sent_again_by_the_page_alone,
    either_a_link_or_a_code_with_its_flow_is_sent,
    what_ends_every_session_makes_the_letter_worthless,
    a_letter_to_the_address_from_before_is_worthless,
    a_deletion_that_waits_is_called_off,
    a_device_that_is_new_is_told_of_as_at_every_sign_in,
    a_letter_is_good_for_a_quarter_of_an_hour,
    an_account_that_has_gone_since_is_signed_in_to_by_no_letter,
    a_letter_signs_in_though_the_server_dies_in_between,
    a_repeat_ends_no_other_session,
    a_letter_from_before_it_was_switched_off_is_not_found,
    whoever_guesses_at_many_addresses_has_no_more_guesses,
);

const NEW: &str = "granite lantern 47 marmalade";
const ASK: &str = "/auth/magic-link";
const CONFIRM: &str = "/auth/magic-link/confirm";
const LETTER: &str = "magic-link.sign-in";

fn plan(kind: Kind) -> Plan {
    App::plan(kind).named("magic-link").set("CAIRN_MAGIC_LINK", "on")
}

/// One server a database where one may sign in so, for what neither kills it nor drives its clock.
pub(super) async fn server(kind: Kind) -> &'static App {
    static SQLITE: OnceCell<App> = OnceCell::const_new();
    static POSTGRES: OnceCell<App> = OnceCell::const_new();
    let cell = match kind {
        Kind::Sqlite => &SQLITE,
        Kind::Postgres => &POSTGRES,
    };
    cell.get_or_init(|| plan(kind).start()).await
}

async fn ask(app: &App, email: &str) -> Answer {
    app.client().post(ASK, &json!({"email": email})).send().await
}

async fn confirm(app: &App, body: &Value) -> Answer {
    app.client().post(CONFIRM, body).send().await
}

async fn keyed(app: &App, body: &Value, key: &str) -> Answer {
    app.client().post(CONFIRM, body).key(key).send().await
}

/// What a client sends for a letter that has come.
struct Asked {
    flow: String,
    code: String,
    by_code: Value,
    by_link: Value,
}

/// Asks for a letter, and waits for that very one.
async fn asks(app: &App, email: &str) -> Asked {
    let flow = flow_id(&ask(app, email).await.expect(202));
    let letter = eventually("the letter that was asked for", async || {
        app.mailbox(email).await.into_iter().find(|letter| letter.flow == flow)
    })
    .await;
    assert_eq!(letter.kind, LETTER);
    let (code, token) = (letter.code().expect("a code"), letter.token().expect("a link"));
    let (by_code, by_link) = (json!({"flow": flow, "code": code}), json!({"token": token}));
    Asked { flow, code, by_code, by_link }
}

/// Six digits that are not these.
fn wrong(code: &str) -> &'static str {
    if code == "111111" { "222222" } else { "111111" }
}

/// Whom a token stands for.
async fn status(app: &App, tokens: &Tokens) -> Answer {
    app.client().get("/auth/status").bearer(&tokens.access).send().await
}

async fn sessions(app: &App, tokens: &Tokens) -> Vec<String> {
    let listed = app.client().get("/auth/sessions").bearer(&tokens.access).send().await.expect(200);
    let all = listed["sessions"].as_array().expect("sessions").iter();
    all.map(|session| session["id"].as_str().expect("an id").to_owned()).collect()
}

/// How many letters of a kind somebody got.
async fn letters(app: &App, person: &Person, kind: &str) -> usize {
    app.mailbox(&person.email).await.iter().filter(|letter| letter.kind == kind).count()
}

async fn where_it_is_off_nobody_signs_in_so(app: &App) {
    let person = Person::new("owner");
    person.joins(app).await;
    ask(app, &person.email).await.problem(404, "not-found");
    ask(app, "no address").await.problem(404, "not-found");
    let flow = "mag_00000000000000000000000000";
    for body in [json!({"token": "cairn_ml_AAAA"}), json!({"flow": flow, "code": "123456"}), json!({})] {
        confirm(app, &body).await.problem(404, "not-found");
    }
    let rules = app.client().get("/auth/config").send().await.expect(200);
    assert_eq!(rules["sign_in"], json!(["password"]));
    assert_eq!(letters(app, &person, LETTER).await, 0);
}

async fn clients_are_told_where_it_is_on(kind: Kind) {
    let rules = server(kind).await.client().get("/auth/config").send().await.expect(200);
    assert_eq!(rules["sign_in"], json!(["password", "magic_link"]));
}

async fn a_code_or_a_link_signs_in(kind: Kind) {
    let app = server(kind).await;
    for by_link in [true, false] {
        let person = Person::new("mailed");
        let user = person.joins(app).await;
        let answer = ask(app, &person.email.to_uppercase()).await;
        let begun = answer.expect(202);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let flow = &begun["flow"];
        assert!(flow["id"].as_str().is_some_and(|id| id.starts_with("mag_")), "{begun}");
        assert_eq!(
            (&flow["kind"], &flow["phase"], &flow["version"]),
            (&json!("magic_link"), &json!("awaiting_code"), &json!(1))
        );
        assert!(flow["expires_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{begun}");
        assert!(["actor", "direct"].contains(&begun["method"].as_str().unwrap()), "{begun}");

        let letter = app.letter(&person.email, LETTER).await;
        assert!(letter.link().unwrap().starts_with(&format!("{}/magic-link?token=", app.public_url())), "{letter:?}");
        let body = match by_link {
            true => json!({"token": letter.token()}),
            false => json!({"flow": flow["id"], "code": letter.code()}),
        };
        let answer = confirm(app, &body).await;
        let said = answer.expect(200);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!((&said["token_type"], &said["expires_in"]), (&json!("Bearer"), &json!(300)), "{said}");
        assert!(["actor", "direct"].contains(&said["method"].as_str().unwrap()), "{said}");
        assert!(said.get("restored").is_none(), "there was nothing to call off: {said}");
        let device = format!("{}={}", app.cookie("cairn_device"), said["device"].as_str().expect("a device"));
        assert!(answer.list("set-cookie").join("\n").contains(&device), "{answer}");

        let tokens = Tokens::of(&said);
        assert!(tokens.refresh.starts_with("cairn_rt_") && tokens.session.starts_with("ses_"), "{said}");
        assert_eq!(claims(&tokens.access)["sid"], tokens.session.as_str());
        let refresh = json!({"refresh_token": tokens.refresh});
        let refreshed = Tokens::of(&app.client().post("/auth/refresh", &refresh).send().await.expect(200));
        for tokens in [&tokens, &refreshed] {
            let who = status(app, tokens).await.expect(200);
            assert_eq!(who["user"], json!({"id": user["id"], "email": person.email}));
            assert_eq!((&who["amr"], &who["session"]), (&json!(["email"]), &json!(tokens.session)), "{who}");
        }
        assert_eq!(sessions(app, &tokens).await, [tokens.session.as_str()]);
        assert_eq!(letters(app, &person, LETTER).await, 1);
        // The password is what it was.
        person.signs_in(app).await;
    }
}

async fn a_letter_signs_in_once(kind: Kind) {
    let app = server(kind).await;
    for by_link in [true, false] {
        let person = Person::new("once");
        person.joins(app).await;
        let Asked { by_code, by_link: linked, .. } = asks(app, &person.email).await;
        let (first, other) = if by_link { (&linked, &by_code) } else { (&by_code, &linked) };
        let tokens = Tokens::of(&confirm(app, first).await.expect(200));
        for (number, body) in [first, other].into_iter().enumerate() {
            confirm(app, body).await.problem(410, "flow-ended");
            keyed(app, body, &format!("{}-{number}", person.username)).await.problem(410, "flow-ended");
        }
        assert_eq!(sessions(app, &tokens).await, [tokens.session.as_str()]);
    }
}

async fn what_comes_twice_under_its_key_is_told_of_one_session(kind: Kind) {
    let app = server(kind).await;
    for by_link in [true, false] {
        let person = Person::new("doubled");
        person.joins(app).await;
        let Asked { by_code, by_link: linked, .. } = asks(app, &person.email).await;
        let (body, other) = if by_link { (&linked, &by_code) } else { (&by_code, &linked) };
        let key = person.username.as_str();
        let (one, same) = tokio::join!(keyed(app, body, key), keyed(app, body, key));
        let tokens = Tokens::of(&one.expect(200));
        assert_eq!(Tokens::of(&same.expect(200)), tokens);
        assert_eq!(Tokens::of(&keyed(app, body, key).await.expect(200)), tokens, "again and again");
        keyed(app, other, key).await.problem(422, "idempotency-mismatch");
        keyed(app, body, &format!("{key}-other")).await.problem(410, "flow-ended");
        assert_eq!(sessions(app, &tokens).await, [tokens.session.as_str()]);
        // Nor is another letter sent for a request that came twice.
        let body = json!({"email": person.email});
        let ask = || app.client().post(ASK, &body).key(key).send();
        let (one, same) = tokio::join!(ask(), ask());
        assert_eq!(one.expect(202)["flow"], same.expect(202)["flow"]);
        app.client()
            .post(ASK, &json!({"email": "x@example.org"}))
            .key(key)
            .send()
            .await
            .problem(422, "idempotency-mismatch");
        assert_eq!(letters(app, &person, LETTER).await, 2);
    }
}

async fn a_wrong_code_that_is_sent_again_under_its_key_is_one_try(kind: Kind) {
    let app = server(kind).await;
    let person = Person::new("patient");
    person.joins(app).await;
    let asked = asks(app, &person.email).await;
    let mistaken = json!({"flow": asked.flow, "code": wrong(&asked.code)});
    for _ in 0..7 {
        let problem = keyed(app, &mistaken, &person.username).await.problem(422, "value");
        assert_eq!(problem["tries_left"], 4, "{problem}");
    }
    confirm(app, &asked.by_code).await.expect(200);
}

async fn of_two_letters_each_signs_in(kind: Kind) {
    let app = server(kind).await;
    let person = Person::new("twice");
    person.joins(app).await;
    let (one, two) = (asks(app, &person.email).await, asks(app, &person.email).await);
    assert_ne!(one.flow, two.flow);
    // The code of one is none of the other's.
    if one.code != two.code {
        let crossed = json!({"flow": one.flow, "code": two.code});
        confirm(app, &crossed).await.problem(422, "value");
    }
    let second = Tokens::of(&confirm(app, &two.by_code).await.expect(200));
    let first = Tokens::of(&confirm(app, &one.by_link).await.expect(200));
    assert_eq!(sessions(app, &second).await, [first.session.as_str(), second.session.as_str()], "last used first");
}

async fn nobody_is_mailed_who_has_no_account(kind: Kind) {
    let app = server(kind).await;
    let (known, unverified, unknown) = (Person::new("known"), Person::new("unverified"), Person::new("unknown"));
    known.joins(app).await;
    let registration = unverified.registers(app).await;
    let mut flows = Vec::new();
    for person in [&unknown, &unverified, &known] {
        flows.push(flow_id(&ask(app, &person.email).await.expect(202)));
    }
    app.letter(&known.email, LETTER).await;
    let code = unverified.verification(app).await.code().unwrap();
    for (person, flow) in [&unknown, &unverified].into_iter().zip(&flows) {
        assert_eq!(letters(app, person, LETTER).await, 0, "{}", person.email);
        // Not even a code that is right elsewhere is one here.
        for left in (0..5).rev() {
            let problem = confirm(app, &json!({"flow": flow, "code": code})).await.problem(422, "value");
            assert_eq!(problem["tries_left"], left, "{problem}");
        }
        confirm(app, &json!({"flow": flow, "code": code})).await.problem(410, "flow-ended");
    }
    unverified.verifies(app, &registration).await;
    ask(app, "no address").await.problem(422, "value");
}

async fn a_letter_is_sent_again_by_the_page_alone(kind: Kind) {
    let app = server(kind).await;
    let person = Person::new("impatient");
    person.joins(app).await;
    let asked = asks(app, &person.email).await;
    for path in [format!("{ASK}/{}/resend", asked.flow), format!("{ASK}/resend")] {
        app.client().post(&path, &json!({"flow": asked.flow})).send().await.problem(404, "not-found");
    }
    assert_eq!(letters(app, &person, LETTER).await, 1);
}

async fn either_a_link_or_a_code_with_its_flow_is_sent(kind: Kind) {
    let app = server(kind).await;
    let person = Person::new("shapes");
    person.joins(app).await;
    let Asked { flow, by_link, .. } = asks(app, &person.email).await;
    let token = &by_link["token"];
    for (body, pointer) in [
        (json!({}), "/token"),
        (json!({"flow": flow}), "/code"),
        (json!({"code": "123456"}), "/flow"),
        (json!({"token": token, "flow": flow}), "/flow"),
        (json!({"token": token, "code": "123456"}), "/code"),
        (json!({"token": token, "flow": flow, "code": "123456"}), "/flow"),
        (json!({"token": 7}), "/token"),
    ] {
        let problem = confirm(app, &body).await.problem(400, "unreadable");
        assert_eq!(problem["pointer"], pointer, "{body}: {problem}");
    }
    confirm(app, &json!({"token": token, "password": person.password})).await.problem(400, "unreadable");
    for code in ["", "12345", "1234567", "12345a"] {
        let problem = confirm(app, &json!({"flow": flow, "code": code})).await.problem(422, "value");
        assert_eq!(problem["errors"][0]["pointer"], "/code", "{problem}");
        assert!(problem.get("tries_left").is_none(), "{code:?} is no try: {problem}");
    }
    let problem = ask(app, "no address").await.problem(422, "value");
    assert_eq!(problem["errors"][0]["pointer"], "/email", "{problem}");
    for body in [json!({}), json!({"email": 7}), json!({"email": person.email, "password": person.password})] {
        app.client().post(ASK, &body).send().await.problem(400, "unreadable");
    }
    confirm(app, &by_link).await.expect(200);
}

async fn what_ends_every_session_makes_the_letter_worthless(kind: Kind) {
    let app = server(kind).await;
    for by in ["a reset", "a sign-out everywhere", "another password", "a deletion"] {
        let person = Person::new("wary");
        let tokens = person.arrives(app).await;
        let before = asks(app, &person.email).await;
        let post = |path: &str, body: Value| app.client().post(path, &body);
        match by {
            "a reset" => {
                let ask = post("/auth/password-reset/request", json!({"email": person.email}));
                ask.send().await.expect(202);
                let token = app.letter(&person.email, "recovery.reset").await.token();
                let set = post("/auth/password-reset/confirm", json!({"token": token, "new_password": NEW}));
                set.send().await.expect(200)
            }
            "a sign-out everywhere" => {
                post("/auth/logout-all", json!({})).bearer(&tokens.access).send().await.expect(204)
            }
            "another password" => {
                let body = json!({"current_password": person.password, "new_password": NEW});
                post("/auth/password-change", body).bearer(&tokens.access).send().await.expect(200)
            }
            _ => {
                let farewell = app.client().request("DELETE", "/users/me").json(&json!({"password": person.password}));
                farewell.bearer(&tokens.access).send().await.expect(202)
            }
        };
        for body in [&before.by_link, &before.by_code] {
            let refused = confirm(app, body).await;
            assert_eq!(refused.status, 410, "after {by}: {refused}");
            refused.problem(410, "flow-ended");
        }
        // One that was asked for since then signs in, and what waited to be called off was not called off before.
        let since = asks(app, &person.email).await;
        let back = confirm(app, &since.by_code).await.expect(200);
        assert_eq!(back.get("restored").is_some(), by == "a deletion", "after {by}: {back}");
    }
}

async fn a_letter_to_the_address_from_before_is_worthless(kind: Kind) {
    let app = server(kind).await;
    let mut person = Person::new("mover");
    let before = person.email.clone();
    let tokens = person.arrives(app).await;
    let (one, two) = (asks(app, &before).await, asks(app, &before).await);
    let undo = person.moves_to(app, &tokens, &format!("New.{before}")).await;
    for body in [&one.by_link, &one.by_code] {
        confirm(app, body).await.problem(410, "flow-ended");
    }
    let at_the_new_one = asks(app, &person.email).await;
    // Not even when the address is the account's again; nor is the one to the address in between.
    let body = json!({"token": undo, "new_password": NEW});
    app.client().post("/auth/email-change/undo", &body).send().await.expect(200);
    for body in [&two.by_code, &two.by_link, &at_the_new_one.by_link, &at_the_new_one.by_code] {
        confirm(app, body).await.problem(410, "flow-ended");
    }
    let since = asks(app, &before).await;
    let back = Tokens::of(&confirm(app, &since.by_link).await.expect(200));
    assert_eq!(status(app, &back).await.expect(200)["user"]["email"], before.as_str());
}

async fn a_deletion_that_waits_is_called_off(kind: Kind) {
    let app = server(kind).await;
    for by_link in [true, false] {
        let person = Person::new("hesitant");
        let tokens = person.arrives(app).await;
        let farewell = app.client().request("DELETE", "/users/me").json(&json!({"password": person.password}));
        farewell.bearer(&tokens.access).send().await.expect(202);
        let asked = asks(app, &person.email).await;
        let body = if by_link { &asked.by_link } else { &asked.by_code };
        let back = confirm(app, body).await.expect(200);
        assert_eq!(back["restored"], true, "{back}");
        status(app, &Tokens::of(&back)).await.expect(200);
        app.letter(&person.email, "deletion.called-off").await;
        let again = app.client().post("/auth/login", &person.credentials()).send().await.expect(200);
        assert!(again.get("restored").is_none(), "only the sign-in that did it says so: {again}");
    }
}

async fn a_device_that_is_new_is_told_of_as_at_every_sign_in(kind: Kind) {
    let app = server(kind).await;
    let person = Person::new("watched");
    person.joins(app).await;
    let signs_in = async |agent: &str, proof: Option<&str>| {
        let asked = asks(app, &person.email).await;
        let request = app.client().post(CONFIRM, &asked.by_code).header("user-agent", agent);
        let request = proof.into_iter().fold(request, |request, proof| request.header("cairn-device", proof));
        request.send().await.expect(200)
    };
    let notice = "session.new-device";
    let first = signs_in("Telescope/1.0", None).await;
    signs_in("Microscope/1.0", first["device"].as_str()).await;
    assert_eq!(letters(app, &person, notice).await, 0, "neither a first sign-in nor a known device is news");
    let stranger = Tokens::of(&signs_in("Periscope/1.0", None).await);
    let letter = app.letter(&person.email, notice).await;
    assert_eq!(letters(app, &person, notice).await, 1);
    assert_eq!(letter.flow, stranger.session, "it is the session's, not that of the letter that began it");
    // Its link ends that session and no other.
    let end = app.client().post("/auth/sessions/end", &json!({"token": letter.token()})).send().await;
    end.expect(204);
    status(app, &stranger).await.problem(401, "session-ended");
    status(app, &Tokens::of(&first)).await.expect(200);
}

async fn a_letter_is_good_for_a_quarter_of_an_hour(kind: Kind) {
    let app = plan(kind).start().await;
    let (late, prompt) = (Person::new("late"), Person::new("prompt"));
    late.joins(&app).await;
    prompt.joins(&app).await;
    let (too_late, in_time) = (asks(&app, &late.email).await, asks(&app, &prompt.email).await);
    app.restart_at(600).await;
    confirm(&app, &in_time.by_code).await.expect(200);
    app.restart_at(960).await;
    for body in [&too_late.by_link, &too_late.by_code, &in_time.by_link, &in_time.by_code] {
        confirm(&app, body).await.problem(410, "flow-ended");
    }
    let again = asks(&app, &late.email).await;
    confirm(&app, &again.by_link).await.expect(200);
}

async fn an_account_that_has_gone_since_is_signed_in_to_by_no_letter(kind: Kind) {
    const FORTNIGHT: i64 = 14 * 86_400;
    let app = plan(kind).start().await;
    let person = Person::new("gone");
    let tokens = person.arrives(&app).await;
    let farewell = app.client().request("DELETE", "/users/me").json(&json!({"password": person.password}));
    farewell.bearer(&tokens.access).send().await.expect(202);
    app.restart_at(FORTNIGHT - 300).await;
    let asked = asks(&app, &person.email).await;
    app.restart_at(FORTNIGHT + 120).await;
    eventually("the end of the account", async || {
        let metrics = app.operations().get("/metrics").send().await.text();
        let mut steps = metrics.lines().filter(|line| line.starts_with("cairn_flow_steps_total{"));
        let is_done = |line: &str| line.contains("flow=\"deletion\"") && line.contains("to=\"done\"");
        steps.any(is_done).then_some(())
    })
    .await;
    for body in [&asked.by_link, &asked.by_code] {
        confirm(&app, body).await.problem(410, "flow-ended");
    }
}

async fn a_letter_signs_in_though_the_server_dies_in_between(kind: Kind) {
    let app = plan(kind).start().await;
    for by_link in [true, false] {
        let person = Person::new("survivor");
        person.joins(&app).await;
        let flow = flow_id(&ask(&app, &person.email).await.expect(202));
        app.crash_and_restart().await;
        let letter = app.letter(&person.email, LETTER).await;
        app.crash_and_restart().await;
        let body = match by_link {
            true => json!({"token": letter.token()}),
            false => json!({"flow": flow, "code": letter.code()}),
        };
        let tokens = Tokens::of(&keyed(&app, &body, &person.username).await.expect(200));
        // The server dies, and nobody knows whether it has answered.
        app.crash_and_restart().await;
        assert_eq!(Tokens::of(&keyed(&app, &body, &person.username).await.expect(200)), tokens);
        confirm(&app, &body).await.problem(410, "flow-ended");
        assert_eq!(sessions(&app, &tokens).await, [tokens.session.as_str()]);
        assert_eq!(letters(&app, &person, LETTER).await, 1);
    }
    Audit::of(&app).await.must_be_clean();
}

/// There is room for two, and there are two: a request that comes again begins no third one.
async fn a_repeat_ends_no_other_session(kind: Kind) {
    let app = plan(kind).set("CAIRN_MAX_SESSIONS", 2).start().await;
    for by_link in [true, false] {
        let person = Person::new("crowd");
        let before = person.arrives(&app).await;
        let asked = asks(&app, &person.email).await;
        let body = if by_link { &asked.by_link } else { &asked.by_code };
        let tokens = Tokens::of(&keyed(&app, body, &person.username).await.expect(200));
        for _ in 0..2 {
            assert_eq!(Tokens::of(&keyed(&app, body, &person.username).await.expect(200)), tokens);
        }
        status(&app, &tokens).await.expect(200);
        status(&app, &before).await.expect(200);
        // A third one makes room for itself.
        let third = person.signs_in(&app).await;
        eventually("room", async || (sessions(&app, &third).await.len() == 2).then_some(())).await;
    }
}

async fn a_letter_from_before_it_was_switched_off_is_not_found(kind: Kind) {
    let app = plan(kind).start().await;
    let person = Person::new("switched");
    person.joins(&app).await;
    let asked = asks(&app, &person.email).await;
    let switched = async |setting: &str| {
        app.change("CAIRN_MAGIC_LINK", setting);
        app.crash_and_restart().await;
    };
    switched("off").await;
    for body in [&asked.by_link, &asked.by_code] {
        confirm(&app, body).await.problem(404, "not-found");
    }
    // Nothing has happened to it.
    switched("on").await;
    confirm(&app, &asked.by_code).await.expect(200);
}

/// As with codes that set a password: a list of addresses is no more guesses than one address.
async fn whoever_guesses_at_many_addresses_has_no_more_guesses(kind: Kind) {
    let plan = plan(kind).unset("CAIRN_LIMITS").set("CAIRN_LIMIT_CODE", "1000/1m").set("CAIRN_LIMIT_RESET", "1000/1m");
    let app = plan.start().await;
    let begun = async || {
        let body = json!({"email": Person::new("target").email});
        flow_id(&app.client().post(ASK, &body).send().await.expect(202))
    };
    let guess = |last: u8, flow: &str, code: &str| {
        app.client().at_loopback(last).post(CONFIRM, &json!({"flow": flow, "code": code})).send()
    };
    for _ in 0..6 {
        let flow = begun().await;
        for number in 0..5 {
            guess(7, &flow, &format!("{number}12345")).await.problem(422, "value");
        }
    }
    let flow = begun().await;
    guess(7, &flow, "123456").await.problem(429, "slow-down");
    // Nobody else is kept out by that.
    assert_eq!(guess(8, &flow, "123456").await.problem(422, "value")["tries_left"], 4);
}
