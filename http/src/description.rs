//! What the document of the interface says of a route beyond what its line in the table says already: a handler's file has
//! it beside the handler, as the last word of the line.

use crate::problem::Kind;

/// What the document says of a route.
#[derive(Clone, Copy, Debug)]
pub struct Description {
    /// The `operationId`. Generated clients name their functions by it, so it stays.
    pub id: &'static str,
    /// The area, by which the document is ordered.
    pub area: Area,
    /// One line.
    pub summary: &'static str,
    /// More than one line, in Markdown. Empty where there is nothing more to say.
    pub text: &'static str,
    /// What stands in the path.
    pub params: &'static [Param],
    /// What stands in the query.
    pub query: &'static [Query],
    /// What the route reads of a request besides its body.
    pub takes: &'static [Takes],
    /// Headers of a success that not every answer has.
    pub gives: &'static [Gives],
    /// The refusals of its handler. Those that follow from the table's line are not named here.
    pub refuses: &'static [Kind],
    /// The media type of an answer that is a file. Empty where there is none.
    pub file: &'static str,
}

impl Description {
    /// A description that says as little as possible.
    pub(crate) const fn new(id: &'static str, area: Area, summary: &'static str) -> Self {
        Self { id, area, summary, text: "", params: &[], query: &[], takes: &[], gives: &[], refuses: &[], file: "" }
    }

    /// Says more.
    pub(crate) const fn text(self, text: &'static str) -> Self {
        Self { text, ..self }
    }

    /// Names what stands in the path.
    pub(crate) const fn params(self, params: &'static [Param]) -> Self {
        Self { params, ..self }
    }

    /// Names what stands in the query.
    pub(crate) const fn query(self, query: &'static [Query]) -> Self {
        Self { query, ..self }
    }

    /// Names what the route reads besides the body.
    pub(crate) const fn takes(self, takes: &'static [Takes]) -> Self {
        Self { takes, ..self }
    }

    /// Names headers of a success.
    pub(crate) const fn gives(self, gives: &'static [Gives]) -> Self {
        Self { gives, ..self }
    }

    /// Names refusals of the handler.
    pub(crate) const fn refuses(self, refuses: &'static [Kind]) -> Self {
        Self { refuses, ..self }
    }

    /// Names the media type of a file.
    pub(crate) const fn file(self, file: &'static str) -> Self {
        Self { file, ..self }
    }
}

/// A parameter of a path.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// Its name in the pattern.
    pub name: &'static str,
    /// The prefix of the id that it is the text of; `None`: it is any text.
    pub prefix: Option<&'static str>,
    /// What it names.
    pub text: &'static str,
}

impl Param {
    /// A parameter `name` that takes ids with a prefix.
    pub(crate) const fn id(name: &'static str, prefix: &'static str, text: &'static str) -> Self {
        Self { name, prefix: Some(prefix), text }
    }

    /// A parameter `name` that takes any text.
    pub(crate) const fn text(name: &'static str, text: &'static str) -> Self {
        Self { name, prefix: None, text }
    }
}

/// A parameter of a query: any text.
#[derive(Clone, Copy, Debug)]
pub struct Query {
    /// Its name.
    pub name: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// What it says.
    pub text: &'static str,
}

impl Query {
    /// A parameter that may be left out.
    pub(crate) const fn new(name: &'static str, text: &'static str) -> Self {
        Self { name, required: false, text }
    }

    /// A parameter that must be there.
    pub(crate) const fn required(name: &'static str, text: &'static str) -> Self {
        Self { name, required: true, text }
    }
}

/// What a route reads of a request besides its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// `Idempotency-Key`: a repeat gets the first answer.
    IdempotencyKey,
    /// `If-Match`, required.
    IfMatch,
    /// `If-None-Match`: what has not changed is not sent again.
    IfNoneMatch,
    /// `Cairn-Device`: the proof of a device, where there is no cookie.
    Device,
    /// An access token, which may be left out.
    Bearer,
}

/// A header of a success that not every answer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gives {
    /// `ETag`.
    ETag,
    /// `Set-Cookie` with the proof of the device.
    DeviceCookie,
    /// `Cache-Control`: it may be kept for a while.
    CacheControl,
    /// `Content-Disposition`: browsers keep it as a file.
    ContentDisposition,
}

/// The areas of the interface, in the order of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// What a client must know first.
    Server,
    /// Registering and proving the address.
    Registration,
    /// Signing in and what a session is good for.
    Sessions,
    /// Passwords.
    Passwords,
    /// The address.
    Address,
    /// The profile, and all that is kept.
    Account,
    /// Health of the process.
    Health,
    /// The engine behind the flows.
    Runtime,
    /// OAuth clients, and the resources that their tokens are for.
    Clients,
}

impl Area {
    /// Its name and what is in it.
    #[must_use]
    pub const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Server => ("server", "What a client must know before anybody is signed in, and the keys of tokens."),
            Self::Registration => ("registration", "Registering, and proving the address by a code or a link."),
            Self::Sessions => ("sessions", "Signing in, carrying a session on, ending it; the devices of an account."),
            Self::Passwords => ("passwords", "Changing a password, and setting one that was forgotten."),
            Self::Address => ("address", "Another address for an account, proved, and taken back."),
            Self::Account => ("account", "The profile, all that is kept about its owner, and the end of an account."),
            Self::Health => ("health", "Whether the process should be sent requests."),
            Self::Runtime => ("runtime", "How much there is to do, and whether the database is in order."),
            Self::Clients => ("clients", "OAuth clients, and the resources that their tokens are for."),
        }
    }
}
