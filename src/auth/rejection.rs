//! Rejections of the layer: requests without a valid access token.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use http::StatusCode;

/// Why the layer of a [`ResourceServer`](super::ResourceServer) rejected a request.
///
/// It is stored in the response's extensions, for layers that log or count. Its text goes to the
/// client, as `error_description` and in the body. The reason why a token is invalid is logged at
/// level debug, and clients do not see it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthRejection {
    /// The request has no access token: 401, without an error code.
    Missing,
    /// The request does not present a token as RFC 6750 has it: 400, `invalid_request`.
    Malformed(&'static str),
    /// The token is longer than `max_token_bytes`: 400, `invalid_request`.
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The token has expired: 401, `invalid_token`.
    Expired,
    /// The token is not valid, or not for this resource: 401, `invalid_token`.
    Invalid,
    /// The token cannot be verified now, because the authorization server does not respond: 503,
    /// without a challenge. A 401 would make clients throw a valid token away.
    Unavailable,
}

/// The value of `Retry-After` while the authorization server does not respond: two requests of a
/// verifier to it fit into this time.
const RETRY_AFTER: Duration = Duration::from_secs(10);

impl AuthRejection {
    /// Returns the status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) | Self::TooLong { .. } => StatusCode::BAD_REQUEST,
            Self::Missing | Self::Expired | Self::Invalid => StatusCode::UNAUTHORIZED,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Returns a short name for counters and logs, one for each kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Missing => "token_missing",
            Self::Malformed(_) => "token_malformed",
            Self::TooLong { .. } => "token_too_long",
            Self::Expired => "token_expired",
            Self::Invalid => "token_invalid",
            Self::Unavailable => "authorization_server_unavailable",
        }
    }

    /// Returns the error code of the challenge. A request without a token gets none (RFC 6750, 3.1).
    pub(super) fn code(&self) -> Option<&'static str> {
        match self {
            Self::Missing | Self::Unavailable => None,
            Self::Malformed(_) | Self::TooLong { .. } => Some("invalid_request"),
            Self::Expired | Self::Invalid => Some("invalid_token"),
        }
    }

    /// Returns how long the client should wait before it tries again, if waiting helps.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        matches!(self, Self::Unavailable).then_some(RETRY_AFTER)
    }

    pub(super) fn text(&self) -> Cow<'static, str> {
        match self {
            Self::Missing => "Unauthorized: the request has no access token".into(),
            Self::Malformed(why) => format!("Bad request: {why}").into(),
            Self::TooLong { limit } => {
                format!("Bad request: the access token is longer than max_token_bytes ({limit})").into()
            }
            Self::Expired => "Unauthorized: the access token has expired".into(),
            Self::Invalid => "Unauthorized: the access token is not valid for this resource".into(),
            Self::Unavailable => "The access token cannot be verified now".into(),
        }
    }
}

impl fmt::Display for AuthRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl std::error::Error for AuthRejection {}
