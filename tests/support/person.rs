//! A person who registers, opens the mail, verifies and signs in, as people do it: through the public contract.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

use super::app::App;
use super::letter::Letter;

/// Somebody whom no other test knows.
#[derive(Clone, Debug)]
pub struct Person {
    pub email: String,
    pub username: String,
    pub password: String,
}

/// What a sign-in or a refresh gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Tokens {
    pub access: String,
    pub refresh: String,
    pub session: String,
}

impl Tokens {
    #[track_caller]
    pub fn of(answer: &Value) -> Self {
        let text = |name: &str| match answer[name].as_str() {
            Some(text) => text.to_owned(),
            None => panic!("no {name} in {answer}"),
        };
        Self { access: text("access_token"), refresh: text("refresh_token"), session: text("session") }
    }
}

/// The id of the flow in an answer.
#[track_caller]
pub fn flow_id(answer: &Value) -> String {
    answer["flow"]["id"].as_str().unwrap_or_else(|| panic!("no flow in {answer}")).to_owned()
}

impl Person {
    pub fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self {
            email: format!("{name}-{number}@example.org"),
            username: format!("{name}-{number}"),
            // Long enough for any meter of strength, and without a word of the person's own.
            password: format!("velvet tractor {number} umbrella fjord"),
        }
    }

    /// What `POST /auth/register` takes, with every member.
    pub fn registration(&self) -> Value {
        json!({"email": self.email, "password": self.password, "username": self.username,
               "first_name": "Nora", "last_name": "Quist"})
    }

    /// Registers and answers the flow's id.
    pub async fn registers(&self, app: &App) -> String {
        let answer = app.client().post("/auth/register", &self.registration()).send().await.expect(202);
        flow_id(&answer)
    }

    /// The newest letter that asks this person to verify.
    pub async fn verification(&self, app: &App) -> Letter {
        app.letter(&self.email, "registration.verify").await
    }

    /// Enters the code of the letter and answers the user.
    pub async fn verifies(&self, app: &App, flow: &str) -> Value {
        let code = self.verification(app).await.code().expect("a code in the letter");
        let answer = app.client().post("/auth/verify-email", &json!({"flow": flow, "code": code})).send().await;
        answer.expect(200)["user"].clone()
    }

    pub async fn signs_in(&self, app: &App) -> Tokens {
        Tokens::of(&app.client().post("/auth/login", &self.credentials()).send().await.expect(200))
    }

    pub fn credentials(&self) -> Value {
        json!({"email": self.email, "password": self.password})
    }

    /// Registers, verifies and signs in.
    pub async fn arrives(&self, app: &App) -> Tokens {
        self.joins(app).await;
        self.signs_in(app).await
    }

    /// Asks for another address and answers the flow's id.
    pub async fn asks_for_address(&self, app: &App, tokens: &Tokens, to: &str) -> String {
        let body = json!({"new_email": to, "password": self.password});
        flow_id(&app.client().post("/auth/email-change", &body).bearer(&tokens.access).send().await.expect(202))
    }

    /// Changes the address to another and proves it; answers the token of the letter that takes it back.
    pub async fn moves_to(&mut self, app: &App, tokens: &Tokens, to: &str) -> String {
        self.asks_for_address(app, tokens, to).await;
        let token = app.letter(to, "email.confirm").await.token();
        let proof = json!({"token": token, "password": self.password});
        app.client().post("/auth/email-change/confirm", &proof).send().await.expect(200);
        let undo = app.letter(&self.email, "email.changed").await.token().expect("a link in the letter");
        to.clone_into(&mut self.email);
        undo
    }

    /// Registers and verifies; answers the user.
    pub async fn joins(&self, app: &App) -> Value {
        let flow = self.registers(app).await;
        self.verifies(app, &flow).await
    }
}
