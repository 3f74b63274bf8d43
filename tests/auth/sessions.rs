//! `GET /auth/sessions` and `DELETE /auth/sessions/{id}`: a person sees where they are signed in, and ends what they like.

use crate::support::person::Tokens;
use crate::support::{App, Kind, Person, Value, eventually, json};

on_both_databases!(
    a_person_sees_their_sessions_and_no_others,
    a_user_agent_of_any_bytes_is_recorded,
    a_person_ends_one_of_their_sessions,
    a_strangers_session_is_not_found,
);
of_each_kind!(the_session_that_was_idle_for_longest_makes_room, however_much_a_session_is_used_it_ends);

async fn list(app: &App, tokens: &Tokens) -> Vec<Value> {
    let answer = app.client().get("/auth/sessions").bearer(&tokens.access).send().await.expect(200);
    answer["sessions"].as_array().unwrap().clone()
}

async fn delete(app: &App, tokens: &Tokens, session: &str) -> crate::support::Answer {
    app.client().request("DELETE", &format!("/auth/sessions/{session}")).bearer(&tokens.access).send().await
}

fn ids(sessions: &[Value]) -> Vec<&str> {
    sessions.iter().map(|session| session["id"].as_str().unwrap()).collect()
}

async fn a_person_sees_their_sessions_and_no_others(app: &App) {
    let person = Person::new("several");
    let first = person.arrives(app).await;
    let login = app.client().post("/auth/login", &person.credentials()).header("user-agent", "Telescope/2.0");
    let second = Tokens::of(&login.send().await.expect(200));
    Person::new("stranger").arrives(app).await;

    let seen = list(app, &second).await;
    assert_eq!(ids(&seen), [second.session.as_str(), first.session.as_str()], "last used first");
    assert_eq!([&seen[0]["current"], &seen[1]["current"]], [true, false]);
    assert_eq!((&seen[0]["device"], &seen[0]["client_address"]), (&json!("Telescope/2.0"), &json!("127.0.0.1")));
    for session in &seen {
        for time in ["created_at", "last_used_at"] {
            assert!(session[time].as_str().is_some_and(|at| at.ends_with('Z')), "{session}");
        }
        assert!(!session.to_string().contains("cairn_rt_"), "{session}");
    }
    let refresh = json!({"refresh_token": first.refresh});
    let first = Tokens::of(&app.client().post("/auth/refresh", &refresh).send().await.expect(200));
    let seen = list(app, &first).await;
    assert_eq!(ids(&seen), [first.session.as_str(), second.session.as_str()], "it was used last");
    app.client().get("/auth/sessions").send().await.problem(401, "credentials");
}

async fn a_user_agent_of_any_bytes_is_recorded(app: &App) {
    let person = Person::new("latin");
    person.joins(app).await;
    let agents: [(&[u8], &str); 2] =
        [(b"Fernglas/1 (M\xfcnchen)", "Fernglas/1 (M\u{fffd}nchen)"), ("Möwe/2".as_bytes(), "Möwe/2")];
    for (sent, seen) in agents {
        let login = app.client().post("/auth/login", &person.credentials()).octets("user-agent", sent);
        let tokens = Tokens::of(&login.send().await.expect(200));
        assert_eq!(list(app, &tokens).await[0]["device"], json!(seen));
    }
}

async fn a_person_ends_one_of_their_sessions(app: &App) {
    let person = Person::new("tidy");
    let (one, two) = (person.arrives(app).await, person.signs_in(app).await);
    let answer = delete(app, &two, &one.session).await;
    answer.expect(204);
    app.client().get("/users/me").bearer(&one.access).send().await.problem(401, "session-ended");
    let refresh = json!({"refresh_token": one.refresh});
    app.client().post("/auth/refresh", &refresh).send().await.problem(401, "session-ended");
    assert_eq!(ids(&list(app, &two).await), [two.session.as_str()]);
    delete(app, &two, &one.session).await.expect(204);
    delete(app, &two, &two.session).await.expect(204);
    app.client().get("/auth/sessions").bearer(&two.access).send().await.problem(401, "session-ended");
}

async fn a_strangers_session_is_not_found(app: &App) {
    let (one, two) = (Person::new("mine").arrives(app).await, Person::new("yours").arrives(app).await);
    let flow = Person::new("waiting").registers(app).await;
    let unknown = "ses_00000000000000000000000000";
    for session in [two.session.as_str(), unknown, "ses_", "x", &flow, &one.session.to_uppercase()] {
        delete(app, &one, session).await.problem(404, "not-found");
    }
    app.client().get("/users/me").bearer(&two.access).send().await.expect(200);
    let path = format!("/auth/sessions/{}", one.session);
    app.client().request("DELETE", &path).send().await.problem(401, "credentials");
}

async fn the_session_that_was_idle_for_longest_makes_room(kind: Kind) {
    let app = App::plan(kind).named("room").set("CAIRN_MAX_SESSIONS", 2).start().await;
    let person = Person::new("crowd");
    let (oldest, second) = (person.arrives(&app).await, person.signs_in(&app).await);
    // The oldest was used since, so it is the second that was idle for longest.
    let refresh = json!({"refresh_token": oldest.refresh});
    let oldest = Tokens::of(&app.client().post("/auth/refresh", &refresh).send().await.expect(200));
    let third = person.signs_in(&app).await;
    eventually("room", async || {
        let seen = list(&app, &third).await;
        (ids(&seen) == [third.session.as_str(), oldest.session.as_str()]).then_some(())
    })
    .await;
    app.client().get("/users/me").bearer(&second.access).send().await.problem(401, "session-ended");
    app.client().get("/users/me").bearer(&oldest.access).send().await.expect(200);
}

async fn however_much_a_session_is_used_it_ends(kind: Kind) {
    const DAY: i64 = 86_400;
    let app = App::plan(kind)
        .named("lasting-session")
        .set("CAIRN_SESSION_TTL", "10d")
        .set("CAIRN_SESSION_MAX", "25d")
        .start()
        .await;
    let person = Person::new("lasting");
    let (mut used, mut proved) = (person.arrives(&app).await, person.signs_in(&app).await);
    let refresh = async |tokens: &Tokens| {
        let body = json!({"refresh_token": tokens.refresh});
        app.client().post("/auth/refresh", &body).send().await
    };
    for day in [8, 16, 24] {
        app.restart_at(day * DAY).await;
        used = Tokens::of(&refresh(&used).await.expect(200));
        proved = Tokens::of(&refresh(&proved).await.expect(200));
        if day == 16 {
            // Whoever types the password again begins anew.
            let body = json!({"password": person.password});
            let answer = app.client().post("/auth/step-up", &body).bearer(&proved.access).send().await;
            proved = Tokens::of(&answer.expect(200));
        }
    }
    for day in [26, 34, 40] {
        app.restart_at(day * DAY).await;
        refresh(&used).await.problem(401, "session-ended");
        proved = Tokens::of(&refresh(&proved).await.expect(200));
    }
    app.restart_at(42 * DAY).await;
    refresh(&proved).await.problem(401, "session-ended");
}
