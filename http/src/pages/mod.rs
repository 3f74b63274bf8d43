//! The pages that people meet: their table of URLs, their templates, and the page that tells of a problem.

use std::sync::Arc;

use http::{Method, StatusCode};
use minijinja::{Environment, Value, context};

use crate::door::Door;
use crate::house::House;
use crate::problem::{Kind, Problem};
use crate::reply::Reply;
use crate::room::{Answer, Room, Route, Schema, TableFault};

mod mailbox;
mod verify_email;

static ROUTES: &[Route<House>] = &[
    Route {
        method: Method::GET,
        path: "/verify-email",
        door: Door::Open,
        bucket: None,
        schema: Schema::Nothing,
        run: |house, request| Box::pin(verify_email::show(house, request)),
    },
    Route {
        method: Method::POST,
        path: "/verify-email",
        door: Door::OwnPage,
        bucket: None,
        schema: Schema::Form,
        run: |house, request| Box::pin(verify_email::verify(house, request)),
    },
    Route {
        method: Method::GET,
        path: "/dev/mail",
        door: Door::Loopback,
        bucket: None,
        schema: Schema::Nothing,
        run: |house, request| Box::pin(mailbox::show(house, request)),
    },
    Route {
        method: Method::GET,
        path: "/health",
        door: Door::Open,
        bucket: None,
        schema: Schema::Nothing,
        run: |_, _| Box::pin(async { Reply::json(StatusCode::OK, &serde_json::json!({ "status": "ok" })) }),
    },
    Route {
        method: Method::GET,
        path: "/assets/cairn.css",
        door: Door::Open,
        bucket: None,
        schema: Schema::Nothing,
        run: |_, _| Box::pin(async { Ok(stylesheet()) }),
    },
];

/// The room of pages. It says 404 for every path that no room has.
///
/// # Errors
/// When the table contradicts itself.
pub fn room(house: &Arc<House>) -> Result<Room<House>, TableFault> {
    Ok(Room::new("pages", Arc::clone(house), ROUTES)?.error_page(error_page).everything_else())
}

macro_rules! templates {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../templates/", $name)))),+]
    };
}

const TEMPLATES: &[(&str, &str)] = templates!(
    "layout.html",
    "problem.html",
    "mailbox.html",
    "verify_email/awaiting_code.html",
    "verify_email/verified.html",
    "verify_email/ended.html",
);

/// The templates, read.
///
/// # Errors
/// When one does not parse.
pub(crate) fn environment() -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    for (name, text) in TEMPLATES {
        environment.add_template(name, text)?;
    }
    Ok(environment)
}

/// Renders a page.
pub(crate) fn page(house: &House, status: StatusCode, template: &str, values: Value) -> Answer {
    let drawn = house.pages.get_template(template).and_then(|template| template.render(values));
    match drawn {
        Ok(page) => Ok(Reply::html(status, page)),
        Err(why) => Err(Problem::fault(format!("the template {template}: {why:#}"))),
    }
}

fn stylesheet() -> Reply {
    let kind = http::HeaderValue::from_static("text/css; charset=utf-8");
    Reply::bytes(StatusCode::OK, kind, include_str!("../templates/cairn.css"))
        .header(http::header::CACHE_CONTROL, http::HeaderValue::from_static("public, max-age=3600"))
}

/// Tells a person of a problem, and what to do next.
fn error_page(house: &House, problem: &Problem, request_id: &str) -> Reply {
    let next = match problem.kind() {
        Kind::Unavailable | Kind::Storage | Kind::Timeout => {
            "Try again in a moment. Nothing that you entered was lost."
        }
        Kind::SlowDown => "Wait a little, then try again.",
        Kind::Fault => "This is our mistake. Try again; if it stays, tell us the number below.",
        Kind::NotFound => "Check the address, or open the link from your mail once more.",
        _ => "Go back, and try it once more.",
    };
    let values = context! {
        title => problem.kind().title(),
        detail => problem.told(),
        next => next,
        request_id => request_id,
        wait => problem.seconds_to_wait(),
    };
    page(house, problem.status(), "problem.html", values).unwrap_or_else(|why| why.to_reply(request_id))
}
