//! `DELETE /users/me`: every session ends at once; a sign-in within a fortnight has the account back; then it is gone.

use crate::support::person::Tokens;
use crate::support::{Answer, App, Kind, Person, json};

on_both_databases!(
    a_deletion_ends_every_session_and_a_sign_in_calls_it_off,
    a_deletion_needs_the_password,
    address_and_username_stay_taken_while_it_waits,
    an_edit_in_the_same_moment_does_not_stand_in_the_way,
    of_two_at_once_one_is_made,
);
of_each_kind!(after_a_fortnight_the_account_is_gone_and_its_names_are_free);

async fn delete(app: &App, tokens: &Tokens, password: &str) -> Answer {
    let request = app.client().request("DELETE", "/users/me").json(&json!({"password": password}));
    request.bearer(&tokens.access).send().await
}

async fn a_deletion_ends_every_session_and_a_sign_in_calls_it_off(app: &App) {
    let person = Person::new("hesitant");
    let (here, elsewhere) = (person.arrives(app).await, person.signs_in(app).await);
    let begun = delete(app, &here, &person.password).await.expect(202);
    assert!(begun["flow"]["id"].as_str().is_some_and(|id| id.starts_with("del_")), "{begun}");
    assert_eq!(begun["flow"]["kind"], "deletion");
    assert!(begun["flow"]["expires_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{begun}");
    assert!(["actor", "direct"].contains(&begun["method"].as_str().unwrap()), "{begun}");
    for session in [here, elsewhere] {
        app.client().get("/users/me").bearer(&session.access).send().await.problem(401, "session-ended");
        let refresh = json!({"refresh_token": session.refresh});
        app.client().post("/auth/refresh", &refresh).send().await.problem(401, "session-ended");
    }
    app.letter(&person.email, "deletion.asked").await;

    app.client()
        .post("/auth/login", &json!({"email": person.email, "password": "not the velvet umbrella"}))
        .send()
        .await
        .problem(401, "credentials");
    let back = app.client().post("/auth/login", &person.credentials()).send().await.expect(200);
    assert_eq!(back["restored"], true, "{back}");
    let letter = app.letter(&person.email, "deletion.called-off").await;
    assert!(letter.text.contains("/forgot-password"), "whoever did not sign in is told what to do: {}", letter.text);
    let again = app.client().post("/auth/login", &person.credentials()).send().await.expect(200);
    assert!(again.get("restored").is_none(), "only the sign-in that did it says so: {again}");
    let tokens = Tokens::of(&again);
    let me = app.client().get("/users/me").bearer(&tokens.access).send().await;
    assert_eq!(me.expect(200)["username"], person.username.as_str());
    let put =
        app.client().request("PUT", "/users/me").json(&json!({"username": person.username})).bearer(&tokens.access);
    put.header("if-match", me.header("etag").unwrap()).send().await.expect(200);
    delete(app, &tokens, &person.password).await.expect(202);
}

async fn a_deletion_needs_the_password(app: &App) {
    let person = Person::new("guarded");
    let tokens = person.arrives(app).await;
    delete(app, &tokens, "not the velvet umbrella").await.problem(401, "credentials");
    let request = app.client().request("DELETE", "/users/me").bearer(&tokens.access);
    let answer = request.json(&json!({})).send().await;
    answer.problem(400, "unreadable");
    let without = app.client().request("DELETE", "/users/me").json(&json!({"password": person.password})).send().await;
    without.problem(401, "credentials");
    app.client().get("/users/me").bearer(&tokens.access).send().await.expect(200);
}

async fn an_edit_in_the_same_moment_does_not_stand_in_the_way(app: &App) {
    let person = Person::new("restless");
    let tokens = person.arrives(app).await;
    // While the password is hashed the profile moves on.
    let edits = async {
        let mut made = 0;
        for number in 0..6 {
            let put = app.client().request("PUT", "/users/me").json(&json!({"first_name": format!("Name {number}")}));
            let answer = put.bearer(&tokens.access).header("if-match", "*").send().await;
            made += usize::from(answer.status == 200);
            assert!([200, 401, 412].contains(&answer.status), "{answer}");
        }
        made
    };
    let (deleted, made) = tokio::join!(delete(app, &tokens, &person.password), edits);
    deleted.expect(202);
    assert!(made > 0, "nothing was edited meanwhile");
}

async fn of_two_at_once_one_is_made(app: &App) {
    let person = Person::new("doubled");
    let tokens = person.arrives(app).await;
    let ask = || delete(app, &tokens, &person.password);
    let (one, other) = tokio::join!(ask(), ask());
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [202, 401], "{one} {other}");
}

async fn address_and_username_stay_taken_while_it_waits(app: &App) {
    let person = Person::new("leaving");
    let tokens = person.arrives(app).await;
    delete(app, &tokens, &person.password).await.expect(202);
    let wish = Person { username: person.username.clone(), ..Person::new("arriving") };
    app.client().post("/auth/register", &wish.registration()).send().await.problem(409, "username-taken");
    let rival = Person { email: person.email.clone(), ..Person::new("rival") };
    rival.registers(app).await;
    app.letter(&person.email, "registration.known").await;
    let tokens = Person::new("envious").arrives(app).await;
    let put =
        app.client().request("PUT", "/users/me").json(&json!({"username": person.username})).bearer(&tokens.access);
    put.header("if-match", "*").send().await.problem(409, "username-taken");
    // A forgotten password does not stand in the way of coming back.
    app.client().post("/auth/password-reset/request", &json!({"email": person.email})).send().await.expect(202);
    let token = app.letter(&person.email, "recovery.reset").await.token();
    let body = json!({"token": token, "new_password": "granite lantern 47 marmalade"});
    app.client().post("/auth/password-reset/confirm", &body).send().await.expect(200);
    let body = json!({"username": person.username, "password": "granite lantern 47 marmalade"});
    assert_eq!(app.client().post("/auth/login", &body).send().await.expect(200)["restored"], true);
}

async fn after_a_fortnight_the_account_is_gone_and_its_names_are_free(kind: Kind) {
    let app = App::plan(kind).named("gone").start().await;
    let (person, returner) = (Person::new("gone"), Person::new("returner"));
    let user = person.joins(&app).await;
    let tokens = person.signs_in(&app).await;
    let returning = returner.arrives(&app).await;
    delete(&app, &tokens, &person.password).await.expect(202);
    delete(&app, &returning, &returner.password).await.expect(202);

    app.restart_at(13 * 86_400).await;
    let back = app.client().post("/auth/login", &returner.credentials()).send().await.expect(200);
    assert_eq!(back["restored"], true, "{back}");
    app.restart_at(14 * 86_400 + 60).await;
    let login = |credentials| app.client().post("/auth/login", &credentials).send();
    let stranger = json!({"email": Person::new("nobody").email, "password": person.password});
    let (gone, unknown) = (login(person.credentials()).await, login(stranger).await);
    let said = |answer: &Answer| {
        let mut problem = answer.problem(401, "credentials");
        problem["request_id"] = json!(null);
        problem
    };
    assert_eq!(said(&gone), said(&unknown), "as if it had never been");
    login(json!({"username": person.username, "password": person.password})).await.problem(401, "credentials");
    login(returner.credentials()).await.expect(200);

    let next = person.joins(&app).await;
    assert_ne!(next["id"], user["id"], "another user");
    assert_eq!(next["username"], person.username.as_str(), "the name was free");
    let tokens = person.signs_in(&app).await;
    let export = app.client().get("/users/me/export").bearer(&tokens.access).send().await;
    assert!(!export.text().contains("del_") && export.status == 200, "nothing is inherited: {export}");
}
