//! A route is one line of data: method, path, access, body and answers by their types, bucket, handler, and what the
//! document of the interface says of it besides.
//!
//! [`routes!`](crate::route::routes) reads a table of such lines:
//!
//! ```text
//! POST "/auth/login", open, json(login::Body) => 200(TokensBody), LOGIN, login::login, login::SIGN_IN;
//! ```
//!
//! Routes that are no part of the document, such as pages, have no last word. Each other word of a line does two things: it
//! stands in the table as data ([`RouteSpec`]), and it decides how the handler is called, with which arguments and for which
//! value. So the compiler holds a handler to its line.

use std::any;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;

use crate::access::Access;
use crate::description::Description;
use crate::problem::Problem;
use crate::reply::Reply;
use crate::request::Request;

/// What a handler's future gives.
pub type Answer = Result<Reply, Problem>;

/// A handler as a table keeps it: it is given what its group shares, and the request.
pub type Run<S> = fn(Arc<S>, Request) -> BoxFuture<'static, Answer>;

/// A line of a table and its handler.
pub struct Route<S: 'static> {
    /// What the table says.
    pub spec: RouteSpec,
    /// The handler.
    pub run: Run<S>,
}

/// What a table says of a route.
#[derive(Debug)]
pub struct RouteSpec {
    /// The method. A GET serves HEAD too; OPTIONS is answered from the table.
    pub method: Method,
    /// The pattern in `matchit`'s words: `/auth/register/{flow}`.
    pub path: &'static str,
    /// What must hold before the handler runs.
    pub access: Access,
    /// What the body is. A body of another type is refused before the handler runs.
    pub body: Body,
    /// What the route answers with when it refuses nothing.
    pub answers: &'static [Said],
    /// The bucket of [`crate::access::rate`] that a request takes from. `None`: it costs neither a read nor a write.
    pub bucket: Option<&'static str>,
    /// What the document of the interface says of it. `None`: it is no part of it.
    pub description: Option<&'static Description>,
}

/// What a route takes as its body.
#[derive(Clone, Copy, Debug)]
pub enum Body {
    /// No body; one that comes is counted and ignored.
    None,
    /// No body, or a JSON object without members.
    NoMembers,
    /// `application/json` of this type.
    Json(Shape),
    /// `application/x-www-form-urlencoded`.
    Form,
    /// Of any type, which the handler looks at.
    Any,
}

impl Body {
    /// The media type that a body must have.
    #[must_use]
    pub const fn media_type(self) -> Option<&'static str> {
        match self {
            Self::None | Self::Any => None,
            Self::NoMembers | Self::Json(_) => Some("application/json"),
            Self::Form => Some("application/x-www-form-urlencoded"),
        }
    }
}

/// One way in which a route answers.
#[derive(Clone, Copy, Debug)]
pub enum Said {
    /// `application/json` of this type.
    Json(StatusCode, Shape),
    /// 204 without a body.
    Nothing,
    /// 304: what the client has is still so.
    Unchanged,
    /// A page, or 303 to one.
    Page,
    /// Server-sent events (HTML, section 9.2).
    Events,
    /// Bytes of a media type of their own.
    File,
    /// As a protocol wants it, errors too.
    Protocol,
}

/// A type of ours, as tables name it.
#[derive(Clone, Copy)]
pub struct Shape {
    name: fn() -> &'static str,
    schema: fn(&mut SchemaGenerator) -> Schema,
}

impl Shape {
    /// The shape of a type.
    #[must_use]
    pub const fn of<T: JsonSchema>() -> Self {
        Self { name: any::type_name::<T>, schema: SchemaGenerator::subschema_for::<T> }
    }

    /// The type's name with its path.
    #[must_use]
    pub fn name(self) -> &'static str {
        (self.name)()
    }

    /// The type's schema: a reference, where it is put among the definitions of `schemas`.
    pub(crate) fn schema(self, schemas: &mut SchemaGenerator) -> Schema {
        (self.schema)(schemas)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A value of an answer with headers of its own.
pub(crate) struct WithHeaders<T> {
    value: T,
    headers: HeaderMap,
}

impl<T> WithHeaders<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { value, headers: HeaderMap::new() }
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }
}

/// What a handler may give for an answer of type `T`: the value, bare or with headers.
pub(crate) trait Says<T> {
    fn parts(self) -> (T, HeaderMap);
}

impl<T> Says<T> for T {
    fn parts(self) -> (T, HeaderMap) {
        (self, HeaderMap::new())
    }
}

impl<T> Says<T> for WithHeaders<T> {
    fn parts(self) -> (T, HeaderMap) {
        (self.value, self.headers)
    }
}

/// An answer of the type that a line names.
///
/// # Errors
/// As [`Reply::json`].
pub(crate) fn reply<T: Serialize>(status: StatusCode, says: impl Says<T>) -> Answer {
    let (value, headers) = says.parts();
    let mut reply = Reply::json(status, &value)?;
    reply.headers.extend(headers);
    Ok(reply)
}

/// Reads a table: see the top of this file. `$call` is the macro that calls the handlers of this table.
macro_rules! routes {
    (static $table:ident: $state:ty, $call:ident; $(
        $method:ident $path:literal, $access:ident, $body:ident $(($wants:ty))?
            => $($said:tt $(($says:ty))?)|+, $bucket:ident, $run:expr $(, $description:path)?;
    )+) => {
        static $table: &[$crate::route::Route<$state>] = &[$(
            $crate::route::Route {
                spec: $crate::route::RouteSpec {
                    method: ::http::Method::$method,
                    path: $path,
                    access: $crate::route::word!(access $access),
                    body: $crate::route::word!(body $body $(($wants))?),
                    answers: &[$($crate::route::word!(said $said $(($says))?)),+],
                    bucket: $crate::route::word!(bucket $bucket),
                    description: $crate::route::word!(description $($description)?),
                },
                run: |state, request| ::std::boxed::Box::pin(
                    $call!(state, request, $access, $body $(($wants))?, [$($said $(($says))?)|+], $run)
                ),
            },
        )+];
    };
}

/// The words of tables as data.
macro_rules! word {
    (access open) => { $crate::access::Access::Open };
    (access client) => { $crate::access::Access::Client };
    (access token) => { $crate::access::Access::Token };
    (access bearer) => { $crate::access::Access::Bearer };
    (access fresh_bearer) => { $crate::access::Access::FreshBearer };
    (access bearer_or_repeat) => { $crate::access::Access::BearerOrRepeat };
    (access own_form) => { $crate::access::Access::OwnForm };
    (access session) => { $crate::access::Access::Session };
    (access session_form) => { $crate::access::Access::SessionForm };
    (access session_form_or_repeat) => { $crate::access::Access::SessionFormOrRepeat };
    (access loopback) => { $crate::access::Access::Loopback };
    (body none) => { $crate::route::Body::None };
    (body no_members) => { $crate::route::Body::NoMembers };
    (body json($type:ty)) => { $crate::route::Body::Json($crate::route::Shape::of::<$type>()) };
    (body form) => { $crate::route::Body::Form };
    (body any) => { $crate::route::Body::Any };
    (said 204) => { $crate::route::Said::Nothing };
    (said 304) => { $crate::route::Said::Unchanged };
    (said page) => { $crate::route::Said::Page };
    (said events) => { $crate::route::Said::Events };
    (said file) => { $crate::route::Said::File };
    (said protocol) => { $crate::route::Said::Protocol };
    (said $status:tt($type:ty)) => {
        $crate::route::Said::Json($crate::route::word!(status $status), $crate::route::Shape::of::<$type>())
    };
    (status 200) => { ::http::StatusCode::OK };
    (status 201) => { ::http::StatusCode::CREATED };
    (status 202) => { ::http::StatusCode::ACCEPTED };
    (status 503) => { ::http::StatusCode::SERVICE_UNAVAILABLE };
    (description) => { None };
    (description $description:path) => { Some(&$description) };
    (bucket unlimited) => { None };
    (bucket $bucket:ident) => { Some($bucket) };
}

/// Calls a handler that answers with data: with what its group shares and the request, then whose token it is where the
/// line asks for one, then the body where the line has one. It gives the value of the answer, which is made of it here, and the whole answer only where the line
/// has several.
macro_rules! call {
    ($state:ident, $request:ident, open, $($rest:tt)+) => {
        async move { $crate::route::call!(@body $state, $request, (), $($rest)+) }
    };
    ($state:ident, $request:ident, client, $($rest:tt)+) => {
        $crate::route::call!($state, $request, open, $($rest)+)
    };
    ($state:ident, $request:ident, token, $($rest:tt)+) => {
        $crate::route::call!($state, $request, open, $($rest)+)
    };
    ($state:ident, $request:ident, bearer, $($rest:tt)+) => { async move {
        let mut request = $request;
        let who = $crate::access::admitted(&mut request)?;
        $crate::route::call!(@body $state, request, (who), $($rest)+)
    }};
    ($state:ident, $request:ident, fresh_bearer, $($rest:tt)+) => {
        $crate::route::call!($state, $request, bearer, $($rest)+)
    };
    ($state:ident, $request:ident, bearer_or_repeat, $($rest:tt)+) => { async move {
        let token = $request.bearer().ok_or_else($crate::problem::Problem::no_token)?.to_owned();
        $crate::route::call!(@body $state, $request, (token), $($rest)+)
    }};
    (@body $state:ident, $request:ident, ($($who:ident)?), none, [$($said:tt)+], $run:expr) => {
        $crate::route::call!(@said [$($said)+], ($run)($state, $request $(, $who)?).await)
    };
    (@body $state:ident, $request:ident, (), form, [protocol], $run:expr) => { ($run)($state, $request).await };
    (@body $state:ident, $request:ident, (), none, [protocol], $run:expr) => { ($run)($state, $request).await };
    (@body $state:ident, $request:ident, (), any, [protocol], $run:expr) => { ($run)($state, $request).await };
    (@body $state:ident, $request:ident, ($($who:ident)?), no_members, [$($said:tt)+], $run:expr) => {{
        $request.no_members()?;
        $crate::route::call!(@said [$($said)+], ($run)($state, $request $(, $who)?).await)
    }};
    (@body $state:ident, $request:ident, ($($who:ident)?), json($wants:ty), [$($said:tt)+], $run:expr) => {{
        let body: $wants = $request.json()?;
        $crate::route::call!(@said [$($said)+], ($run)($state, $request $(, $who)?, body).await)
    }};
    (@said [204], $told:expr) => {{
        let told: ::std::result::Result<(), $crate::problem::Problem> = $told;
        told.map(|()| $crate::reply::Reply::empty(::http::StatusCode::NO_CONTENT))
    }};
    (@said [$status:tt($says:ty)], $told:expr) => {
        $crate::route::reply::<$says>($crate::route::word!(status $status), $told?)
    };
    (@said [$($other:tt)+], $told:expr) => {{
        let told: $crate::route::Answer = $told;
        told
    }};
}

pub(crate) use {call, routes, word};
