//! The HTTP front of Cairn: route groups with tables of URLs under an accept loop of its own.

pub mod access;
pub mod api;
pub mod description;
pub mod in_process;
pub mod json;
pub mod limits;
pub mod oauth;
pub mod openapi;
pub mod operations;
pub mod pages;
pub mod port;
pub mod problem;
pub mod reply;
pub mod request;
pub mod route;
pub mod route_group;
pub mod router;
pub mod server;
pub mod settings;
pub mod state;
pub mod theme;
pub mod well_known;

mod connection;
mod decode;
mod frames;
mod load;
mod refusal;
mod schema;
mod sign_in;
mod stream;
#[cfg(test)]
mod tests;
mod views;

pub use access::host::Hosts;
pub use access::{Access, Admission, AnswerHeaders, Metered};
pub use description::Description;
pub use limits::Limits;
pub use port::Port;
pub use problem::{Problem, Unacceptable};
pub use reply::Reply;
pub use request::{Form, Request};
pub use route::{Answer, Body, Route, RouteSpec, Run, Said, Shape};
pub use route_group::{Cors, RouteGroup, TableFault};
pub use router::{Router, describe_metrics};
pub use server::serve;
pub use settings::Settings;
pub use state::AppState;
