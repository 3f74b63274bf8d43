//! Proof by a letter with a code and a link, whatever it is for: the same properties for every flow that sends one.
//!
//! A new flow adds its `impl ByLetter` and its line at the end. What is special to a flow stands in its endpoint's file.

use crate::support::person::flow_id;
use crate::support::{Answer, App, Kind, Person, Value, json};

/// A password that nobody has yet.
const NEW: &str = "granite lantern 47 marmalade";
const DAY: i64 = 86_400;

/// What a client must know of a flow.
struct Facts {
    /// The prefix of the flow's ids.
    prefix: &'static str,
    /// The letter with code and link.
    letter: &'static str,
    /// Where code or link are sent.
    confirm: &'static str,
    /// How long a letter is good, in seconds.
    good_for: i64,
    /// How long the answer is repeated after the proof, in seconds.
    repeated_for: i64,
}

/// How a client goes about one flow.
trait ByLetter: Copy {
    fn facts(self) -> Facts;

    /// Brings somebody to where the letter is sent.
    async fn begin(self, app: &App, person: &Person) -> Begun;

    /// What stands beside the code.
    fn with_code(self, person: &Person) -> Value;

    /// What stands beside the link.
    fn with_link(self, person: &Person) -> Value;

    /// The answers to requests that must look alike, for an address to which the letter goes and for others.
    async fn alike(self, app: &App) -> Vec<Answer>;
}

/// A flow that waits for its proof.
struct Begun {
    flow: String,
    /// To whom the letter goes.
    to: String,
}

/// A letter that came, with what a client sends for it.
struct Proof {
    code: String,
    token: String,
    by_code: Value,
    by_link: Value,
}

/// One JSON object of two.
fn both(one: Value, other: &Value) -> Value {
    let mut both = one;
    both.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
    both
}

async fn proof(app: &App, way: impl ByLetter, person: &Person, begun: &Begun) -> Proof {
    let Facts { prefix, letter, .. } = way.facts();
    assert!(begun.flow.starts_with(&format!("{prefix}_")), "{}", begun.flow);
    let letter = app.letter(&begun.to, letter).await;
    assert!(letter.link().unwrap().starts_with(&app.public_url()), "{letter:?}");
    let (code, token) = (letter.code().unwrap(), letter.token().unwrap());
    Proof {
        by_code: both(json!({"flow": begun.flow, "code": code}), &way.with_code(person)),
        by_link: both(json!({"token": token}), &way.with_link(person)),
        code,
        token,
    }
}

async fn confirm(app: &App, way: impl ByLetter, body: &Value) -> Answer {
    app.client().post(way.facts().confirm, body).send().await
}

/// Six digits that are not these.
fn wrong(code: &str) -> &'static str {
    if code == "111111" { "222222" } else { "111111" }
}

/// An answer without what may differ between two that must look alike.
fn bare(answer: &Answer) -> (u16, Value, Vec<String>) {
    let mut body = answer.json();
    for path in ["/flow/id", "/flow/expires_at", "/request_id"] {
        if let Some(value) = body.pointer_mut(path) {
            *value = Value::Null;
        }
    }
    (answer.status, body, answer.headers.keys().map(ToString::to_string).collect())
}

async fn code_and_link_give_the_same_answer_again_and_again(app: &App, way: impl ByLetter) {
    for by_link in [true, false] {
        let person = Person::new("twice");
        let begun = way.begin(app, &person).await;
        let proof = proof(app, way, &person, &begun).await;
        let (one, other) = if by_link { (&proof.by_link, &proof.by_code) } else { (&proof.by_code, &proof.by_link) };
        let first = confirm(app, way, one).await.expect(200);
        for body in [other, one, other] {
            assert_eq!(
                confirm(app, way, body).await.expect(200),
                first,
                "any credential of the letter, again and again"
            );
        }
    }
}

async fn what_comes_twice_at_once_under_its_key_is_told_the_same(app: &App, way: impl ByLetter) {
    for by_link in [true, false] {
        let person = Person::new("doubled");
        let begun = way.begin(app, &person).await;
        let proof = proof(app, way, &person, &begun).await;
        let body = if by_link { &proof.by_link } else { &proof.by_code };
        let post = |body: &Value| app.client().post(way.facts().confirm, body).key(&person.username).send();
        let (one, same) = tokio::join!(post(body), post(body));
        assert_eq!((one.status, one.json()), (same.status, same.json()), "{one} and {same}");
        assert_eq!(post(body).await.expect(200), one.expect(200));
        let mistaken = both(json!({"flow": begun.flow, "code": wrong(&proof.code)}), &way.with_code(&person));
        post(&mistaken).await.problem(422, "idempotency-mismatch");
    }
}

async fn five_wrong_codes_leave_only_the_link(app: &App, way: impl ByLetter) {
    let person = Person::new("fumbling");
    let begun = way.begin(app, &person).await;
    let proof = proof(app, way, &person, &begun).await;
    let mistaken = both(json!({"flow": begun.flow, "code": wrong(&proof.code)}), &way.with_code(&person));
    for left in (0..5).rev() {
        let problem = confirm(app, way, &mistaken).await.problem(422, "value");
        assert_eq!(problem["tries_left"], left, "{problem}");
    }
    confirm(app, way, &proof.by_code).await.problem(410, "flow-ended");
    confirm(app, way, &proof.by_link).await.expect(200);
}

async fn a_code_may_be_typed_with_spaces_and_hyphens(app: &App, way: impl ByLetter) {
    let person = Person::new("typist");
    let begun = way.begin(app, &person).await;
    let Proof { code, .. } = proof(app, way, &person, &begun).await;
    let typed = |text: &str| both(json!({"flow": begun.flow, "code": text}), &way.with_code(&person));
    for text in ["", "12345", "1234567", "abcdef", "12345a", "１２３４５６", "12.34.56"] {
        let problem = confirm(app, way, &typed(text)).await.problem(422, "value");
        assert!(problem.get("tries_left").is_none_or(|left| *left == 5), "{text:?} is no try: {problem}");
    }
    let problem = confirm(app, way, &typed(wrong(&code))).await.problem(422, "value");
    assert_eq!(problem["tries_left"], 4, "what is not six digits was no try: {problem}");
    let spaced = format!(" {}-{} {} ", &code[..2], &code[2..3], &code[3..]);
    confirm(app, way, &typed(&spaced)).await.expect(200);
}

async fn a_credential_that_is_garbage_has_ended(app: &App, way: impl ByLetter) {
    let person = Person::new("garbage");
    let begun = way.begin(app, &person).await;
    let Proof { token, by_code, by_link, .. } = proof(app, way, &person, &begun).await;
    let mut flipped = token.clone().into_bytes();
    for place in [flipped.len() / 2, flipped.len() - 1] {
        flipped[place] = if flipped[place] == b'A' { b'B' } else { b'A' };
    }
    let flipped = String::from_utf8(flipped).unwrap();
    let cut = &token[..token.len() - 1];
    // A letter of another flow proves nothing here either.
    let other = Person::new("other");
    let (others, others_flow) = if way.facts().prefix == Registering.facts().prefix {
        let begun = Resetting.begin(app, &other).await;
        (proof(app, Resetting, &other, &begun).await.token, begun.flow)
    } else {
        let begun = Registering.begin(app, &other).await;
        (proof(app, Registering, &other, &begun).await.token, begun.flow)
    };
    let linked = |token: &str| both(json!({"token": token}), &way.with_link(&person));
    let longer = format!("{token}A");
    for token in ["", "x", "cairn_", &flipped, cut, &longer, &token.to_uppercase(), "\u{0}", "é", &others] {
        confirm(app, way, &linked(token)).await.problem(410, "flow-ended");
    }
    let prefix = way.facts().prefix;
    for flow in ["", &format!("{prefix}_"), &format!("{prefix}_00000000000000000000000000"), &others_flow] {
        let body = both(json!({"flow": flow, "code": "123456"}), &way.with_code(&person));
        confirm(app, way, &body).await.problem(404, "not-found");
    }
    let more = both(linked(&token), &json!({"more": 1}));
    for body in [json!({}), json!({"code": "123456"}), json!({"flow": begun.flow}), both(by_code, &by_link), more] {
        confirm(app, way, &body).await.problem(400, "unreadable");
    }
    confirm(app, way, &by_link).await.expect(200);
}

async fn addresses_to_which_no_code_goes_are_not_told_apart(app: &App, way: impl ByLetter) {
    let answers = way.alike(app).await;
    assert!(answers.len() > 1, "one alone is like itself");
    let mut seen = None;
    for answer in answers {
        let flow = flow_id(&answer.expect(202));
        let mut said = vec![bare(&answer)];
        // Nobody has the code, so it is the same story for all.
        for number in 0..7 {
            let code = format!("{:06}", 100_000 + number);
            let body = both(json!({"flow": flow, "code": code}), &way.with_code(&Person::new("guesser")));
            said.push(bare(&confirm(app, way, &body).await));
        }
        assert_eq!(said[6].0, 410, "the sixth is not looked at: {said:?}");
        assert_eq!(*seen.get_or_insert_with(|| said.clone()), said);
    }
}

async fn a_letter_is_good_for_its_time_and_its_answer_is_repeated_for_another(kind: Kind, way: impl ByLetter) {
    let Facts { prefix, good_for, repeated_for, .. } = way.facts();
    let app = App::plan(kind).named(&format!("letters-{prefix}")).start().await;
    let (late, prompt) = (Person::new("late"), Person::new("prompt"));
    let [too_late, in_time] = {
        let late_begun = way.begin(&app, &late).await;
        let prompt_begun = way.begin(&app, &prompt).await;
        [proof(&app, way, &late, &late_begun).await, proof(&app, way, &prompt, &prompt_begun).await]
    };
    let proved = good_for - 600;
    app.restart_at(proved).await;
    let first = confirm(&app, way, &in_time.by_link).await.expect(200);
    app.restart_at(good_for + 100).await;
    confirm(&app, way, &too_late.by_link).await.problem(410, "flow-ended");
    confirm(&app, way, &too_late.by_code).await.problem(410, "flow-ended");
    app.restart_at(proved + repeated_for - 400).await;
    assert_eq!(confirm(&app, way, &in_time.by_link).await.expect(200), first);
    app.restart_at(proved + repeated_for + 600).await;
    confirm(&app, way, &in_time.by_link).await.problem(410, "flow-ended");
}

/// Somebody registers.
#[derive(Clone, Copy)]
struct Registering;

impl ByLetter for Registering {
    fn facts(self) -> Facts {
        Facts {
            prefix: "reg",
            letter: "registration.verify",
            confirm: "/auth/verify-email",
            good_for: DAY,
            repeated_for: DAY,
        }
    }

    async fn begin(self, app: &App, person: &Person) -> Begun {
        Begun { flow: person.registers(app).await, to: person.email.clone() }
    }

    fn with_code(self, _person: &Person) -> Value {
        json!({})
    }

    fn with_link(self, person: &Person) -> Value {
        json!({"password": person.password})
    }

    async fn alike(self, app: &App) -> Vec<Answer> {
        let (known, unknown) = (Person::new("same-a"), Person::new("same-b"));
        known.joins(app).await;
        let mut answers = Vec::new();
        for email in [unknown.email, known.email] {
            let person = Person { email, ..Person::new("same-c") };
            answers.push(app.client().post("/auth/register", &person.registration()).send().await);
        }
        answers
    }
}

/// Somebody has forgotten their password.
#[derive(Clone, Copy)]
struct Resetting;

impl Resetting {
    async fn ask(app: &App, email: &str) -> Answer {
        app.client().post("/auth/password-reset/request", &json!({"email": email})).send().await
    }
}

impl ByLetter for Resetting {
    fn facts(self) -> Facts {
        Facts {
            prefix: "rec",
            letter: "recovery.reset",
            confirm: "/auth/password-reset/confirm",
            good_for: 3_600,
            repeated_for: DAY,
        }
    }

    async fn begin(self, app: &App, person: &Person) -> Begun {
        person.joins(app).await;
        let flow = flow_id(&Self::ask(app, &person.email).await.expect(202));
        Begun { flow, to: person.email.clone() }
    }

    fn with_code(self, _person: &Person) -> Value {
        json!({"new_password": NEW})
    }

    fn with_link(self, _person: &Person) -> Value {
        json!({"new_password": NEW})
    }

    async fn alike(self, app: &App) -> Vec<Answer> {
        let (known, unverified, unknown) = (Person::new("same-a"), Person::new("same-b"), Person::new("same-c"));
        known.joins(app).await;
        unverified.registers(app).await;
        let mut answers = Vec::new();
        for person in [&known, &unverified, &unknown] {
            answers.push(Self::ask(app, &person.email).await);
        }
        for person in [&unverified, &unknown] {
            assert!(app.mailbox(&person.email).await.iter().all(|letter| letter.kind != self.facts().letter));
        }
        answers
    }
}

/// Somebody who is signed in wants another address.
#[derive(Clone, Copy)]
struct Moving;

impl ByLetter for Moving {
    fn facts(self) -> Facts {
        Facts {
            prefix: "emc",
            letter: "email.confirm",
            confirm: "/auth/email-change/confirm",
            good_for: DAY,
            repeated_for: 7 * DAY,
        }
    }

    async fn begin(self, app: &App, person: &Person) -> Begun {
        let tokens = person.arrives(app).await;
        let to = format!("New.{}", person.email);
        Begun { flow: person.asks_for_address(app, &tokens, &to).await, to }
    }

    fn with_code(self, _person: &Person) -> Value {
        json!({})
    }

    fn with_link(self, person: &Person) -> Value {
        json!({"password": person.password})
    }

    async fn alike(self, app: &App) -> Vec<Answer> {
        let (owner, free) = (Person::new("owner"), Person::new("free"));
        owner.joins(app).await;
        let mut answers = Vec::new();
        for to in [&free.email, &owner.email] {
            // Each by somebody else: whoever asks again means no other.
            let person = Person::new("wisher");
            let tokens = person.arrives(app).await;
            let body = json!({"new_email": to, "password": person.password});
            answers.push(app.client().post("/auth/email-change", &body).bearer(&tokens.access).send().await);
        }
        answers
    }
}

/// Somebody signs in without their password.
#[derive(Clone, Copy)]
struct SigningIn;

impl SigningIn {
    async fn ask(app: &App, email: &str) -> Answer {
        app.client().post("/auth/magic-link", &json!({"email": email})).send().await
    }
}

impl ByLetter for SigningIn {
    fn facts(self) -> Facts {
        Facts {
            prefix: "mag",
            letter: "magic-link.sign-in",
            confirm: "/auth/magic-link/confirm",
            good_for: 900,
            repeated_for: 0,
        }
    }

    async fn begin(self, app: &App, person: &Person) -> Begun {
        person.joins(app).await;
        let flow = flow_id(&Self::ask(app, &person.email).await.expect(202));
        Begun { flow, to: person.email.clone() }
    }

    fn with_code(self, _person: &Person) -> Value {
        json!({})
    }

    fn with_link(self, _person: &Person) -> Value {
        json!({})
    }

    async fn alike(self, app: &App) -> Vec<Answer> {
        let (known, unverified, unknown) = (Person::new("same-a"), Person::new("same-b"), Person::new("same-c"));
        known.joins(app).await;
        unverified.registers(app).await;
        let mut answers = Vec::new();
        for person in [&known, &unverified, &unknown] {
            answers.push(Self::ask(app, &person.email).await);
        }
        for person in [&unverified, &unknown] {
            assert!(app.mailbox(&person.email).await.iter().all(|letter| letter.kind != self.facts().letter));
        }
        answers
    }
}

/// Makes every property the tests of each flow.
macro_rules! proved_by_letter {
    ($($name:ident: $way:ident),+ $(,)?) => { $(
        mod $name {
            use super::$way as WAY;
            use crate::support::{App, Kind};

            proved_by_letter!(on a shared server:
                code_and_link_give_the_same_answer_again_and_again,
                what_comes_twice_at_once_under_its_key_is_told_the_same,
                five_wrong_codes_leave_only_the_link,
                a_code_may_be_typed_with_spaces_and_hyphens,
                a_credential_that_is_garbage_has_ended,
                addresses_to_which_no_code_goes_are_not_told_apart,
            );
            of_each_kind!(a_letter_is_good_for_its_time_and_its_answer_is_repeated_for_another);

            async fn a_letter_is_good_for_its_time_and_its_answer_is_repeated_for_another(kind: Kind) {
                super::a_letter_is_good_for_its_time_and_its_answer_is_repeated_for_another(kind, WAY).await;
            }
        }
    )+ };
    (on a shared server: $($property:ident),+ $(,)?) => {
        on_both_databases!($($property),+);
        $(
            async fn $property(app: &App) {
                super::$property(app, WAY).await;
            }
        )+
    };
    (on a server of its own: $($property:ident),+ $(,)?) => {
        of_each_kind!($($property),+);
        $(
            async fn $property(kind: Kind) {
                super::$property(server(kind).await, WAY).await;
            }
        )+
    };
}

proved_by_letter!(
    registration: Registering,
    recovery: Resetting,
    email_change: Moving,
);

/// Its letter is good once, so no answer is repeated; and it is on where the operator says so. What is special to that stands
/// in its endpoint's file.
mod magic_link {
    use super::SigningIn as WAY;
    use crate::auth::magic_link::server;
    use crate::support::Kind;

    proved_by_letter!(on a server of its own:
        five_wrong_codes_leave_only_the_link,
        a_code_may_be_typed_with_spaces_and_hyphens,
        a_credential_that_is_garbage_has_ended,
        addresses_to_which_no_code_goes_are_not_told_apart,
    );
}
