//! What clients are told when something is refused: a word of the protocol, and a sentence for whoever mends the client.

use std::borrow::Cow;

use serde::Serialize;

/// The words of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// A parameter is missing, doubled or malformed (RFC 6749 sections 4.1.2.1 and 5.2).
    InvalidRequest,
    /// The client is unknown, or has not shown that it is the one it names.
    InvalidClient,
    /// A code or token that is not, or no longer, good, or another client's.
    InvalidGrant,
    /// The client is not registered for this.
    UnauthorizedClient,
    /// A grant type that is not known here.
    UnsupportedGrantType,
    /// A response type that is not known here.
    UnsupportedResponseType,
    /// More than may be granted, or no scope at all.
    InvalidScope,
    /// A resource that is not registered for the client (RFC 8707 section 2).
    InvalidTarget,
    /// The person said no.
    AccessDenied,
    /// A defect of ours.
    ServerError,
    /// Overload, or the database is away.
    TemporarilyUnavailable,
    /// Nobody is signed in, and nobody may be asked (OpenID Connect Core section 3.1.2.6).
    LoginRequired,
    /// Somebody must consent, and nobody may be asked.
    ConsentRequired,
    /// `request` is not taken.
    RequestNotSupported,
    /// `request_uri` is not taken.
    RequestUriNotSupported,
    /// `registration` is not taken.
    RegistrationNotSupported,
    /// An access token that is not, or no longer, good (RFC 6750 section 3.1).
    InvalidToken,
    /// An access token that is not good for this.
    InsufficientScope,
}

impl ErrorCode {
    /// Its text.
    pub const fn word(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::AccessDenied => "access_denied",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::LoginRequired => "login_required",
            Self::ConsentRequired => "consent_required",
            Self::RequestNotSupported => "request_not_supported",
            Self::RequestUriNotSupported => "request_uri_not_supported",
            Self::RegistrationNotSupported => "registration_not_supported",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
        }
    }
}

/// An error of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {description}", code.word())]
pub struct OAuthError {
    /// Its word.
    pub code: ErrorCode,
    /// What to do, in ASCII without quotes and backslashes (RFC 6749 section 5.2).
    pub description: Cow<'static, str>,
}

impl OAuthError {
    /// An error with what to do about it.
    pub fn new(code: ErrorCode, description: impl Into<Cow<'static, str>>) -> Self {
        Self { code, description: description.into() }
    }

    /// `invalid_request`.
    pub fn invalid_request(description: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidRequest, description)
    }

    /// `invalid_client`: the same for a client that is unknown and one that has not shown who it is.
    pub fn invalid_client() -> Self {
        Self::new(ErrorCode::InvalidClient, "The client is not known, or has not authenticated as it is registered to.")
    }

    /// `invalid_grant`: the same whatever is wrong with a code or token.
    pub fn invalid_grant() -> Self {
        Self::new(
            ErrorCode::InvalidGrant,
            "The code or token is not, or no longer, good, or belongs to another client or redirect URI.",
        )
    }
}
