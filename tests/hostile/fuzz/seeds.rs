//! What requests are grown from: one good request for every route of every table, and a test that none is forgotten.

use cairn_http::{RouteSpec, api, oauth, openapi, operations, pages, well_known};

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    None,
    Json(&'static str),
    Form(&'static str),
}

/// A good request: `<name>` stands for a value of the cast.
#[derive(Clone, Copy, Debug)]
pub struct Seed {
    pub method: &'static str,
    /// The pattern of the table.
    pub route: &'static str,
    /// The path with its parameters, and a query.
    pub target: &'static str,
    pub body: Body,
    /// Whether it is a route of the operations listener.
    pub operations: bool,
}

impl Seed {
    /// Whether, where it is right, it ends a session or a link that others are asked with.
    fn ends_something(&self) -> bool {
        let ends = [
            "logout",
            "logout-all",
            "undo",
            "end",
            "delete",
            "password-change",
            "confirm",
            "reset-password",
            "password",
        ];
        self.method == "DELETE" || (self.method == "POST" && ends.iter().any(|end| self.route.ends_with(end)))
    }
}

/// All, those last that end something.
pub fn in_order() -> impl Iterator<Item = &'static Seed> {
    let gentle = SEEDS.iter().filter(|seed| !seed.ends_something());
    gentle.chain(SEEDS.iter().filter(|seed| seed.ends_something()))
}

const fn seed(method: &'static str, route: &'static str, target: &'static str, body: Body) -> Seed {
    Seed { method, route, target, body, operations: false }
}

/// A call of the JSON interface at a path without parameters.
const fn call(method: &'static str, route: &'static str, body: &'static str) -> Seed {
    seed(method, route, route, Body::Json(body))
}

const fn page(route: &'static str, target: &'static str) -> Seed {
    seed("GET", route, target, Body::None)
}

/// A form of a page; the token of the browser is added to its fields.
const fn form(route: &'static str, fields: &'static str) -> Seed {
    seed("POST", route, route, Body::Form(fields))
}

const fn behind(method: &'static str, route: &'static str) -> Seed {
    Seed { method, route, target: route, body: Body::None, operations: true }
}

pub const SEEDS: &[Seed] = &[
    call(
        "POST",
        "/auth/register",
        r#"{"email":"new@example.org","password":"velvet tractor umbrella fjord","username":"fuzz","first_name":"F","last_name":"Z","accept_disposable":true}"#,
    ),
    call("POST", "/auth/register", r#"{"email":"<email>","password":"velvet tractor umbrella fjord"}"#),
    seed("GET", "/auth/register/{flow}", "/auth/register/<registration>", Body::None),
    seed("POST", "/auth/register/{flow}/resend", "/auth/register/<registration>/resend", Body::None),
    call("POST", "/auth/verify-email", r#"{"flow":"<registration>","code":"<code>"}"#),
    call("POST", "/auth/verify-email", r#"{"token":"<verify>","password":"<password>"}"#),
    call("POST", "/auth/login", r#"{"email":"<email>","password":"<password>"}"#),
    call("POST", "/auth/login", r#"{"username":"<username>","password":"<password>"}"#),
    call("POST", "/auth/magic-link", r#"{"email":"<email>"}"#),
    call("POST", "/auth/magic-link/confirm", r#"{"token":"<sign_in>"}"#),
    call("POST", "/auth/magic-link/confirm", r#"{"flow":"<magic>","code":"<sign_in_code>"}"#),
    call("POST", "/auth/refresh", r#"{"refresh_token":"<refresh>"}"#),
    call("POST", "/auth/logout", r#"{"refresh_token":"<refresh>"}"#),
    seed("POST", "/auth/logout-all", "/auth/logout-all", Body::None),
    seed("GET", "/auth/sessions", "/auth/sessions", Body::None),
    seed("DELETE", "/auth/sessions/{session}", "/auth/sessions/<session>", Body::None),
    call("POST", "/auth/sessions/end", r#"{"token":"<disown>","new_password":"marble cactus seven trumpets"}"#),
    seed("GET", "/auth/devices", "/auth/devices", Body::None),
    seed("DELETE", "/auth/devices/{device}", "/auth/devices/<known_device>", Body::None),
    seed("GET", "/auth/config", "/auth/config", Body::None),
    seed("GET", "/auth/status", "/auth/status", Body::None),
    call("POST", "/auth/step-up", r#"{"password":"<password>"}"#),
    call("POST", "/auth/password-reset/request", r#"{"email":"<email>"}"#),
    call(
        "POST",
        "/auth/password-reset/confirm",
        r#"{"token":"<reset>","new_password":"marble cactus seven trumpets"}"#,
    ),
    call(
        "POST",
        "/auth/password-reset/confirm",
        r#"{"flow":"<recovery>","code":"<code>","new_password":"marble cactus seven trumpets"}"#,
    ),
    call(
        "POST",
        "/auth/password-change",
        r#"{"current_password":"<password>","new_password":"marble cactus seven trumpets"}"#,
    ),
    call(
        "POST",
        "/auth/email-change",
        r#"{"new_email":"another@example.org","password":"<password>","accept_disposable":false}"#,
    ),
    call("POST", "/auth/email-change/confirm", r#"{"flow":"<change>","code":"<code>"}"#),
    call("POST", "/auth/email-change/confirm", r#"{"token":"<confirm>","password":"<password>"}"#),
    call("POST", "/auth/email-change/undo", r#"{"token":"<undo>","new_password":"marble cactus seven trumpets"}"#),
    seed("GET", "/users/me", "/users/me", Body::None),
    call("PUT", "/users/me", r#"{"username":"fuzz","first_name":"F","last_name":null}"#),
    call("DELETE", "/users/me", r#"{"password":"<password>"}"#),
    seed("GET", "/users/me/export", "/users/me/export", Body::None),
    seed("GET", "/.well-known/jwks.json", "/.well-known/jwks.json", Body::None),
    seed("GET", "/.well-known/change-password", "/.well-known/change-password", Body::None),
    page("/.well-known/openid-configuration", "/.well-known/openid-configuration"),
    page("/.well-known/oauth-authorization-server", "/.well-known/oauth-authorization-server"),
    page(
        "/oauth/authorize",
        "/oauth/authorize?client_id=<client>&redirect_uri=https%3A%2F%2Fclient.example%2Fcb&response_type=code&scope=openid%20profile&state=s&nonce=n&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256&prompt=consent&max_age=600&claims=%7B%22userinfo%22%3A%7B%22name%22%3Anull%7D%7D&resource=&ui_locales=en&login_hint=<email>",
    ),
    form(
        "/oauth/authorize",
        "client_id=<client>&redirect_uri=https%3A%2F%2Fclient.example%2Fcb&response_type=code&scope=openid&response_mode=form_post&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256",
    ),
    page("/consent", "/consent?flow=<authorization>"),
    form("/consent", "flow=<authorization>&decision=allow"),
    form(
        "/oauth/token",
        "grant_type=authorization_code&code=<authorization_code>&client_id=<client>&code_verifier=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk&redirect_uri=https%3A%2F%2Fclient.example%2Fcb",
    ),
    form("/oauth/token", "grant_type=refresh_token&refresh_token=<client_refresh>&client_id=<client>&scope=openid"),
    form("/oauth/introspect", "token=<client_access>&token_type_hint=access_token&client_id=<client>"),
    page("/oauth/userinfo", "/oauth/userinfo"),
    form("/oauth/userinfo", "access_token=<client_access>"),
    form("/oauth/revoke", "token=<client_refresh>&client_id=<client>"),
    page(
        "/oauth/logout",
        "/oauth/logout?client_id=<client>&post_logout_redirect_uri=https%3A%2F%2Fclient.example%2Fbye&state=s",
    ),
    form("/oauth/logout", "client_id=<client>&state=s"),
    page("/account/applications", "/account/applications"),
    form("/account/applications/end", "application=<client>"),
    page("/openapi.json", "/openapi.json"),
    page("/", "/"),
    page("/register", "/register?email=<email>&next=/account"),
    form(
        "/register",
        "email=<email>&password=<password>&username=&first_name=F&last_name=Z&once=1&next=%2Faccount&accept_disposable=yes",
    ),
    form("/password-strength", "password=<password>&email=<email>&username=<username>"),
    page("/verify-email", "/verify-email?token=<verify>"),
    page("/verify-email", "/verify-email?flow=<registration>"),
    form("/verify-email", "token=<verify>&password=<password>&next=%2Faccount"),
    form("/verify-email", "flow=<registration>&code=<code>"),
    form("/verify-email/resend", "flow=<registration>&next=%2F"),
    page("/verify-email/resend", "/verify-email/resend"),
    page("/verify-email/events", "/verify-email/events?flow=<registration>&seen=accepted-0"),
    page("/login", "/login?next=%2Faccount%2Fprofile"),
    form("/login", "identifier=<email>&password=<password>&next=%2Faccount"),
    page("/logout", "/logout?next=%2Faccount"),
    form("/logout", ""),
    page("/signed-out", "/signed-out"),
    page("/forgot-password", "/forgot-password?email=<email>"),
    form("/forgot-password", "email=<email>&once=1"),
    page("/reset-password", "/reset-password?token=<reset>"),
    page("/reset-password", "/reset-password?flow=<recovery>"),
    form("/reset-password", "token=<reset>&new_password=marble+cactus+seven+trumpets"),
    form("/reset-password", "flow=<recovery>&code=<code>&new_password=marble+cactus+seven+trumpets"),
    form("/reset-password/resend", "flow=<recovery>"),
    page("/reset-password/resend", "/reset-password/resend"),
    page("/reset-password/events", "/reset-password/events?flow=<recovery>&seen=x"),
    page("/magic-link", "/magic-link?next=%2Faccount%2Fprofile"),
    page("/magic-link", "/magic-link?token=<sign_in>"),
    page("/magic-link", "/magic-link?flow=<magic>&next=%2Faccount"),
    form("/magic-link", "email=<email>&once=1&next=%2Faccount"),
    form("/magic-link/code", "flow=<magic>&code=<code>&next=%2Faccount"),
    form("/magic-link/code", "flow=<magic>&code=<sign_in_code>"),
    form("/magic-link/link", "token=<sign_in>"),
    form("/magic-link/resend", "flow=<magic>&next=%2F"),
    page("/magic-link/code", "/magic-link/code"),
    page("/magic-link/link", "/magic-link/link"),
    page("/magic-link/resend", "/magic-link/resend"),
    page("/magic-link/events", "/magic-link/events?flow=<magic>&seen=x"),
    page("/account", "/account"),
    page("/account/profile", "/account/profile"),
    form("/account/profile", "version=1&username=<username>&first_name=F&last_name="),
    page("/account/password", "/account/password"),
    form("/account/password", "current_password=<password>&new_password=marble+cactus+seven+trumpets"),
    page("/account/email", "/account/email?flow=<change>"),
    form("/account/email", "new_email=<elsewhere>&password=<password>&once=1"),
    form("/account/email/code", "flow=<change>&code=<code>"),
    form("/account/email/resend", "flow=<change>"),
    page("/account/email/code", "/account/email/code"),
    page("/account/email/resend", "/account/email/resend"),
    page("/account/email/events", "/account/email/events?flow=<change>"),
    page("/account/sessions", "/account/sessions"),
    form("/account/sessions/end", "session=<session>"),
    page("/account/devices", "/account/devices"),
    form("/account/devices/forget", "device=<known_device>"),
    page("/account/history", "/account/history?before=1800000000000-00000000000000000000000000"),
    page("/account/export", "/account/export"),
    form("/account/export", "password=<password>"),
    page("/account/delete", "/account/delete"),
    form("/account/delete", "password=<password>"),
    page("/email-change", "/email-change?token=<confirm>"),
    form("/email-change", "token=<confirm>&password=<password>"),
    page("/undo-email-change", "/undo-email-change?token=<undo>"),
    form("/undo-email-change", "token=<undo>&new_password=marble+cactus+seven+trumpets"),
    page("/end-session", "/end-session?token=<disown>"),
    form("/end-session", "token=<disown>&new_password=marble+cactus+seven+trumpets"),
    page("/dev/mail", "/dev/mail?to=<email>"),
    page("/health", "/health"),
    page("/assets/{file}", "/assets/cairn.css"),
    behind("GET", "/health"),
    behind("GET", "/health/live"),
    behind("GET", "/health/ready"),
    behind("GET", "/health/db"),
    behind("GET", "/health/runtime"),
    behind("GET", "/metrics"),
    behind("GET", "/runtime/status"),
    behind("GET", "/runtime/audit"),
    Seed { body: Body::Json("{}"), ..behind("POST", "/runtime/ping") },
    behind("GET", "/clients"),
    Seed {
        body: Body::Json(r#"{"client_name":"F","redirect_uris":["https://client.example/cb"]}"#),
        ..behind("POST", "/clients")
    },
    Seed {
        body: Body::Json(
            r#"{"clients":[{"client_id":"imported","token_endpoint_auth_method":"none","redirect_uris":["https://client.example/cb"]}],"dry_run":true,"prune":false}"#,
        ),
        ..behind("POST", "/clients/import")
    },
    Seed { target: "/clients/<client>", ..behind("GET", "/clients/{client}") },
    Seed {
        target: "/clients/<client>",
        body: Body::Json(
            r#"{"client_name":"G","token_endpoint_auth_method":"none","grant_types":["authorization_code","refresh_token"],"redirect_uris":["https://client.example/cb"]}"#,
        ),
        ..behind("PUT", "/clients/{client}")
    },
    Seed { target: "/clients/<client>/secret", body: Body::Json("{}"), ..behind("POST", "/clients/{client}/secret") },
    Seed { target: "/clients/<client>", ..behind("DELETE", "/clients/{client}") },
    behind("GET", "/resources"),
    Seed { body: Body::Json(r#"{"uri":"urn:fuzz","scope":"read","name":"F"}"#), ..behind("POST", "/resources") },
    Seed { target: "/resources?uri=urn%3Afuzz", ..behind("DELETE", "/resources") },
    behind("GET", "/keys"),
    Seed { body: Body::Json(r#"{"algorithm":"ES256","now":false}"#), ..behind("POST", "/keys/rotate") },
];

/// The lines of all tables, those of the operations listener last, each with whether it is one.
pub fn specs() -> impl Iterator<Item = (&'static RouteSpec, bool)> {
    let public =
        api::specs().chain(oauth::specs()).chain(well_known::specs()).chain(pages::specs()).chain(openapi::specs());
    public.map(|line| (line, false)).chain(operations::specs().map(|line| (line, true)))
}

impl Seed {
    /// The line of the table that it is for.
    pub fn line(&self) -> &'static RouteSpec {
        let fits = |(line, operations): &(&RouteSpec, bool)| {
            line.method == self.method && line.path == self.route && *operations == self.operations
        };
        specs().find(fits).unwrap_or_else(|| panic!("{self:?} is for no line of a table")).0
    }
}

#[test]
fn every_route_of_every_table_has_a_seed() {
    let forgotten: Vec<_> = specs()
        .filter(|(line, operations)| {
            !SEEDS.iter().any(|s| line.method == s.method && line.path == s.route && *operations == s.operations)
        })
        .map(|(line, _)| (line.method.as_str(), line.path))
        .collect();
    assert!(specs().count() > 70, "the tables were not read");
    assert!(forgotten.is_empty(), "give these a seed in tests/hostile/fuzz/seeds.rs: {forgotten:?}");
}
