//! The kinds of refusal: the only table of status codes.

use http::StatusCode;

/// The kinds of refusal, closed on purpose: a new one must find its row in [`Kind::row`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Bad JSON; a member of the wrong type, unknown, doubled or missing.
    Unreadable,
    /// A sign-in refused, a wrong current password, or no token at all.
    Credentials,
    /// A refresh or access token that is not, or no longer, good.
    SessionEnded,
    /// The sign-in is too long ago for what is asked (RFC 9470).
    StepUp,
    /// The role is missing, or another site sent the form.
    Forbidden,
    /// No such path, flow or session, a stranger's too.
    NotFound,
    /// The path does not know the method.
    Method,
    /// The body did not come in time.
    Timeout,
    /// The user name belongs to somebody.
    UsernameTaken,
    /// The address belongs to somebody; told only to who proved it.
    AddressTaken,
    /// A link or code that no longer counts.
    FlowEnded,
    /// `If-Match` names another version.
    Changed,
    /// The body is over its bound.
    BodyTooLarge,
    /// The target is over its bound.
    TargetTooLong,
    /// The body is of another type than the path takes.
    MediaType,
    /// The `Host` is none that this listener answers to.
    Misdirected,
    /// Readable but not acceptable; a wrong code.
    Value,
    /// The same idempotency key with another body.
    IdempotencyMismatch,
    /// `If-Match` is required.
    ConditionRequired,
    /// Too many requests or too many failures.
    SlowDown,
    /// The headers are over their bound.
    HeadersTooLarge,
    /// A defect of ours.
    Fault,
    /// Overload, or the database is away.
    Unavailable,
    /// No room to write.
    Storage,
}

impl Kind {
    /// Every kind, for documents and tests.
    pub const ALL: [Self; 24] = [
        Self::Unreadable,
        Self::Credentials,
        Self::SessionEnded,
        Self::StepUp,
        Self::Forbidden,
        Self::NotFound,
        Self::Method,
        Self::Timeout,
        Self::UsernameTaken,
        Self::AddressTaken,
        Self::FlowEnded,
        Self::Changed,
        Self::BodyTooLarge,
        Self::TargetTooLong,
        Self::MediaType,
        Self::Misdirected,
        Self::Value,
        Self::IdempotencyMismatch,
        Self::ConditionRequired,
        Self::SlowDown,
        Self::HeadersTooLarge,
        Self::Fault,
        Self::Unavailable,
        Self::Storage,
    ];

    const fn row(self) -> Row {
        use StatusCode as S;
        match self {
            Self::Unreadable => Row {
                status: S::BAD_REQUEST,
                path: "/problems/unreadable",
                title: "The request cannot be read",
                detail: "Check how the request is written and send it again.",
            },
            Self::Credentials => Row {
                status: S::UNAUTHORIZED,
                path: "/problems/credentials",
                title: "These credentials do not sign in",
                detail: "Check name and password and try again, or ask for a letter to set a new password.",
            },
            Self::SessionEnded => Row {
                status: S::UNAUTHORIZED,
                path: "/problems/session-ended",
                title: "The token is not, or no longer, good",
                detail: "Get a new access token with the refresh token; where that is refused as well, sign in again.",
            },
            Self::StepUp => Row {
                status: S::UNAUTHORIZED,
                path: "/problems/step-up",
                title: "A fresh sign-in is needed",
                detail: "Prove the password once more with POST /auth/step-up, and come back with the access token that it gives.",
            },
            Self::Forbidden => Row {
                status: S::FORBIDDEN,
                path: "/problems/forbidden",
                title: "This is not allowed",
                detail: "Sign in as somebody who may do this, or ask an administrator for the role.",
            },
            Self::NotFound => Row {
                status: S::NOT_FOUND,
                path: "/problems/not-found",
                title: "There is nothing here",
                detail: "Check the path and the ids in it; what ended long ago is no longer kept.",
            },
            Self::Method => Row {
                status: S::METHOD_NOT_ALLOWED,
                path: "/problems/method",
                title: "The path does not know this method",
                detail: "Use one of the methods that the header Allow lists.",
            },
            Self::Timeout => Row {
                status: S::REQUEST_TIMEOUT,
                path: "/problems/timeout",
                title: "The body did not come in time",
                detail: "Send the request again, its body without pauses.",
            },
            Self::UsernameTaken => Row {
                status: S::CONFLICT,
                path: "/problems/username-taken",
                title: "The username is taken",
                detail: "Choose another username.",
            },
            Self::AddressTaken => Row {
                status: S::CONFLICT,
                path: "/problems/address-taken",
                title: "The address is taken",
                detail: "Sign in with this address, or use another one.",
            },
            Self::FlowEnded => Row {
                status: S::GONE,
                path: "/problems/flow-ended",
                title: "This link or code no longer counts",
                detail: "Begin anew to be sent another letter.",
            },
            Self::Changed => Row {
                status: S::PRECONDITION_FAILED,
                path: "/problems/changed",
                title: "It has changed in between",
                detail: "Read it again, and send the change with the ETag that comes with it.",
            },
            Self::BodyTooLarge => Row {
                status: S::PAYLOAD_TOO_LARGE,
                path: "/problems/too-large",
                title: "The body is too large",
                detail: "Send a smaller body: at most 64 KiB are taken.",
            },
            Self::TargetTooLong => Row {
                status: S::URI_TOO_LONG,
                path: "/problems/too-large",
                title: "The target is too long",
                detail: "Send a shorter path and query: at most 8 KiB are taken.",
            },
            Self::MediaType => Row {
                status: S::UNSUPPORTED_MEDIA_TYPE,
                path: "/problems/media-type",
                title: "The media type is not supported",
                detail: "Send the body as the media type that this path takes.",
            },
            Self::Misdirected => Row {
                status: S::MISDIRECTED_REQUEST,
                path: "/problems/misdirected",
                title: "This is another host",
                detail: "Ask for this listener by its own name: it does not answer to that Host.",
            },
            Self::Value => Row {
                status: S::UNPROCESSABLE_ENTITY,
                path: "/problems/value",
                title: "A value is not acceptable",
                detail: "Mend what `errors` lists and send the request again.",
            },
            Self::IdempotencyMismatch => Row {
                status: S::UNPROCESSABLE_ENTITY,
                path: "/problems/idempotency-mismatch",
                title: "The key was used with another body",
                detail: "Send the same body as before under this Idempotency-Key, or another key with this body.",
            },
            Self::ConditionRequired => Row {
                status: S::PRECONDITION_REQUIRED,
                path: "/problems/condition-required",
                title: "If-Match is required",
                detail: "Read it first, and send the ETag that comes with it in If-Match.",
            },
            Self::SlowDown => Row {
                status: S::TOO_MANY_REQUESTS,
                path: "/problems/slow-down",
                title: "Too many attempts",
                detail: "Wait for as many seconds as the header Retry-After says, then try again.",
            },
            Self::HeadersTooLarge => Row {
                status: S::REQUEST_HEADER_FIELDS_TOO_LARGE,
                path: "/problems/too-large",
                title: "The headers are too large",
                detail: "Send fewer or shorter headers: at most 32 KiB in 100 lines are taken.",
            },
            Self::Fault => Row {
                status: S::INTERNAL_SERVER_ERROR,
                path: "/problems/fault",
                title: "A defect of this server",
                detail: "Try again; if it fails again, tell the operator the `request_id`.",
            },
            Self::Unavailable => Row {
                status: S::SERVICE_UNAVAILABLE,
                path: "/problems/unavailable",
                title: "Not available just now",
                detail: "Send the same request again after as many seconds as the header Retry-After says.",
            },
            Self::Storage => Row {
                status: S::INSUFFICIENT_STORAGE,
                path: "/problems/storage",
                title: "No room to write just now",
                detail: "Try again later: reading goes on, and writing does when the operator has made room.",
            },
        }
    }

    /// The status it is answered with.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.row().status
    }

    /// The `type` member: a path below the public URL.
    #[must_use]
    pub const fn path(self) -> &'static str {
        self.row().path
    }

    /// The `title` member: one sentence, the same every time.
    #[must_use]
    pub const fn title(self) -> &'static str {
        self.row().title
    }

    /// The `detail` member where there is nothing more particular to say: what to do next.
    #[must_use]
    pub const fn detail(self) -> &'static str {
        self.row().detail
    }
}

struct Row {
    status: StatusCode,
    path: &'static str,
    title: &'static str,
    detail: &'static str,
}
