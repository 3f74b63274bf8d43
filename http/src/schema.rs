//! The values of bodies and answers as JSON schemas: types that only stand in `#[schemars(with = …)]`.
//!
//! A schema refuses nothing that the server takes. So a password has no length here: its characters and bytes are counted
//! after NFKC, which makes some texts longer and some shorter, and no schema can count like that.

use std::borrow::Cow;

use cairn_actors::identity::address::LONGEST_ADDRESS;
use cairn_actors::identity::username::Username as ParsedUsername;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// The text of an id below its prefix: 26 characters of Crockford's base 32, the first of which holds three bits.
const ID: &str = "[0-7][0-9a-hjkmnp-tv-z]{25}";

/// Types without a value, each with its schema.
macro_rules! schemas {
    ($($(#[$what:meta])+ $name:ident => { $($schema:tt)+ })+) => { $(
        $(#[$what])+
        pub(crate) enum $name {}

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ $($schema)+ })
            }
        }
    )+ };
}

/// The pattern of ids with a prefix.
pub(crate) fn pattern(prefix: &str) -> String {
    format!("^{prefix}_{ID}$")
}

/// An id with a prefix.
fn example(prefix: &str) -> String {
    format!("{prefix}_01jz8g4m2k5t7v9x3c6b1n0qrs")
}

schemas! {
    /// An instant (RFC 3339) in UTC.
    Instant => {
        "type": "string", "format": "date-time", "pattern": "Z$", "examples": ["2027-01-15T08:00:00.000Z"],
    }
    /// An address as it is typed and shown: its domain may have letters beyond ASCII.
    EmailAddress => {
        "type": "string", "format": "idn-email", "maxLength": LONGEST_ADDRESS, "examples": ["ada@example.org"],
    }
    /// What is compared with an address, whatever it looks like.
    TypedEmail => { "type": "string", "examples": ["ada@example.org"] }
    /// A username in its final form.
    Username => { "type": "string", "pattern": ParsedUsername::PATTERN, "examples": ["ada"] }
    /// A username that somebody chooses, in whatever case.
    ChosenUsername => { "type": "string", "pattern": "^[A-Za-z][A-Za-z0-9._-]{2,31}$", "examples": ["ada"] }
    /// What is compared with a username, whatever it looks like.
    TypedUsername => { "type": "string", "examples": ["ada"] }
    /// A first or last name that somebody chooses. As many characters again may stand in it that do not show, and are
    /// left out.
    ChosenName => { "type": "string", "minLength": 1, "maxLength": 200, "examples": ["Ada"] }
    /// A password that somebody chooses.
    NewPassword => { "type": "string", "format": "password", "examples": ["marble cactus seven trumpets"] }
    /// A password that is proved.
    TypedPassword => { "type": "string", "format": "password", "examples": ["correct horse battery"] }
    /// The six digits of a letter. White space and hyphens may stand anywhere among them.
    Code => {
        "type": "string",
        "pattern": r"^[\s\x85\u2010-\u2013-]*([0-9][\s\x85\u2010-\u2013-]*){6}$",
        "examples": ["123456", "123 456"],
    }
    /// The token of a link, or of a session.
    Token => { "type": "string", "examples": ["cairn_rt_…"] }
    /// The id of a user.
    UserId => { "type": "string", "pattern": pattern("usr"), "examples": [example("usr")] }
    /// The id of a session.
    SessionId => { "type": "string", "pattern": pattern("ses"), "examples": [example("ses")] }
    /// The id of a device.
    DeviceId => { "type": "string", "pattern": pattern("dev"), "examples": [example("dev")] }
    /// The id of a flow of any kind.
    FlowId => { "type": "string", "pattern": pattern("[a-z]{3}"), "examples": [example("reg")] }
    /// The id of a flow as a client sends it: whatever it looks like, it is looked for.
    TypedFlow => { "type": "string", "examples": [example("reg")] }
    /// The phases of flows that clients see.
    Phase => { "type": "string", "enum": ["awaiting_code", "verified", "done", "expired", "ended"] }
    /// Where a letter is.
    LetterState => { "type": "string", "enum": ["queued", "accepted", "retrying", "failed"] }
    /// The algorithms that tokens are signed by.
    SigningAlgorithm => { "type": "string", "enum": ["EdDSA", "ES256", "RS256"] }
    /// What a signing key is for.
    KeyState => { "type": "string", "enum": ["next", "signing", "verifying", "retired"] }
    /// How an input reached its flow.
    Method => { "type": "string", "enum": ["actor", "direct"] }
    /// A `type` of a problem: a path below the public URL.
    ProblemType => { "type": "string", "format": "uri-reference", "examples": ["/problems/value"] }
    /// What the audit has found.
    Finding => {
        "type": "object",
        "required": ["invariant", "flow", "what"],
        "properties": {
            "invariant": { "type": "string", "description": "The invariant, `I1` to `I8`." },
            "flow": { "type": ["string", "null"], "description": "The flow, if it is one." },
            "what": { "type": "string", "description": "What is wrong, for people." },
        },
    }
}

/// Has an object be one of several sets of members: those of the set are there, and those of the other sets are absent or
/// null.
pub(crate) fn one_of(schema: &mut Schema, sets: &[&[&str]]) {
    let mut all: Vec<&str> = sets.iter().flat_map(|set| set.iter().copied()).collect();
    all.sort_unstable();
    all.dedup();
    let alternative = |set: &&[&str]| {
        let member = |name: &&str| {
            let kind = if set.contains(name) { "string" } else { "null" };
            ((*name).to_owned(), json!({"type": kind}))
        };
        let properties: serde_json::Map<String, Value> = all.iter().map(member).collect();
        json!({"required": set, "properties": properties})
    };
    schema.insert("oneOf".to_owned(), sets.iter().map(alternative).collect());
}
