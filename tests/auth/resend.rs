//! `POST /auth/register/{flow}/resend`: the same code and link once more; a cool-down and a cap bound how many.

use crate::support::{Answer, App, Kind, Person, json};

of_each_kind!(a_letter_that_is_sent_again_carries_the_same_code_and_link, at_most_five_letters_are_sent_again);
on_both_databases!(a_letter_is_not_sent_again_within_the_cool_down, only_a_waiting_flow_is_sent_a_letter);

async fn resend(app: &App, flow: &str) -> Answer {
    app.client().request("POST", &format!("/auth/register/{flow}/resend")).send().await
}

async fn a_letter_is_not_sent_again_within_the_cool_down(app: &App) {
    let person = Person::new("hasty");
    let flow = person.registers(app).await;
    let answer = resend(app, &flow).await;
    answer.problem(429, "slow-down");
    let wait: u64 = answer.header("retry-after").expect("Retry-After").parse().unwrap();
    assert!((1..=60).contains(&wait), "{answer}");
    assert_eq!(app.mailbox(&person.email).await.len(), 1);
}

async fn only_a_waiting_flow_is_sent_a_letter(app: &App) {
    resend(app, "reg_00000000000000000000000000").await.problem(404, "not-found");
    let person = Person::new("done");
    let flow = person.registers(app).await;
    person.verifies(app, &flow).await;
    resend(app, &flow).await.problem(410, "flow-ended");
}

async fn a_letter_that_is_sent_again_carries_the_same_code_and_link(kind: Kind) {
    let app = App::plan(kind).named("resend").start().await;
    for (round, by_first) in [(1, true), (2, false)] {
        let person = Person::new("forgetful");
        let flow = person.registers(&app).await;
        let first = person.verification(&app).await;
        app.restart_at(61 * round).await;
        let answer = resend(&app, &flow).await.expect(202);
        assert_eq!(answer["flow"]["id"], flow.as_str(), "{answer}");
        assert_eq!(answer["flow"]["phase"], "awaiting_code", "{answer}");
        let second = person.verification(&app).await;
        assert_ne!(first.message_id, second.message_id, "it is another letter");
        assert_eq!((first.code(), first.link()), (second.code(), second.link()));

        let letter = if by_first { &first } else { &second };
        let verify = async |body| app.client().post("/auth/verify-email", &body).send().await;
        verify(json!({"flow": flow, "code": letter.code()})).await.expect(200);
        verify(json!({"token": letter.token(), "password": person.password})).await.expect(200);
    }
}

async fn at_most_five_letters_are_sent_again(kind: Kind) {
    let app = App::plan(kind).named("cap").start().await;
    let person = Person::new("insistent");
    let flow = person.registers(&app).await;
    for number in 1..=5 {
        app.restart_at(number * 61).await;
        resend(&app, &flow).await.expect(202);
    }
    app.restart_at(6 * 61).await;
    resend(&app, &flow).await.problem(410, "flow-ended");
    assert_eq!(app.mailbox(&person.email).await.len(), 6);
    // The last letter is still good.
    person.verifies(&app, &flow).await;
}
