//! `/verify-email`: what the link in a registration's letter opens. A mail scanner that opens it consumes nothing.

use std::sync::Arc;

use cairn_actors::password::Password;
use cairn_actors::services::Refusal;
use http::StatusCode;
use minijinja::context;

use super::page;
use crate::api;
use crate::house::House;
use crate::request::Request;
use crate::room::Answer;

/// The page with the button.
pub(super) async fn show(house: Arc<House>, request: Request) -> Answer {
    let token = request.query("token").unwrap_or_default();
    form(&house, StatusCode::OK, &token, None)
}

/// The button was pressed.
pub(super) async fn verify(house: Arc<House>, request: Request) -> Answer {
    let form_sent = request.form()?;
    let token = form_sent.get("token").unwrap_or_default().to_owned();
    let password = Password::typed(form_sent.get("password").unwrap_or_default().to_owned());
    let caller = api::stranger(&request);
    match house.services.verify_by_link(&caller, &token, &password).await {
        Ok((_, user)) => {
            let values = context! { address => user.address.typed() };
            page(&house, StatusCode::OK, "verify_email/verified.html", values)
        }
        Err(Refusal::Credentials) => {
            let wrong = "Enter the password that you chose when you registered.";
            form(&house, StatusCode::UNAUTHORIZED, &token, Some(wrong))
        }
        Err(Refusal::FlowEnded(why)) => {
            page(&house, StatusCode::GONE, "verify_email/ended.html", context! { why => why })
        }
        Err(Refusal::AddressTaken) => {
            let why = "This address belongs to an account already. Sign in with it.";
            page(&house, StatusCode::CONFLICT, "verify_email/ended.html", context! { why => why })
        }
        Err(other) => Err(api::problem(&house.services, other)),
    }
}

fn form(house: &House, status: StatusCode, token: &str, wrong: Option<&str>) -> Answer {
    page(house, status, "verify_email/awaiting_code.html", context! { token => token, wrong => wrong })
}
