//! Verifiers: the trait that turns the text of a token into an access token, and its errors.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::identity::AccessToken;

/// Why a verifier did not accept a token. The texts are logged, and clients do not see them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenError {
    /// The token is not of the authorization server that this verifier stands for. The next
    /// verifier is asked. If none knows the token, the client gets a 401.
    Foreign(Cow<'static, str>),
    /// The token is not valid: forged, withdrawn, not yet valid. No other verifier is asked, and the
    /// client gets a 401.
    Invalid(Cow<'static, str>),
    /// The token was valid and has expired. The client gets a 401 that says so.
    Expired,
    /// The token may be valid, but cannot be verified now. The client gets a 503 and keeps its
    /// token.
    Unavailable(Cow<'static, str>),
}

impl TokenError {
    #[cfg(feature = "auth-http")]
    pub(super) fn invalid(why: &'static str) -> Self {
        Self::Invalid(Cow::Borrowed(why))
    }

    #[cfg(feature = "auth-http")]
    pub(super) fn foreign(why: &'static str) -> Self {
        Self::Foreign(Cow::Borrowed(why))
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(why) => write!(f, "the token is of another issuer: {why}"),
            Self::Invalid(why) => write!(f, "the token is not valid: {why}"),
            Self::Expired => f.write_str("the token has expired"),
            Self::Unavailable(why) => write!(f, "the token cannot be verified: {why}"),
        }
    }
}

impl std::error::Error for TokenError {}

/// Verifies access tokens.
///
/// A verifier checks that the token was issued by the authorization server that it stands for, and
/// that it is valid now. It states the token's audience, and the
/// [`ResourceServer`](super::ResourceServer) rejects tokens whose audience is another resource.
///
/// ```
/// use mcp_http::AccessToken;
/// use mcp_http::auth::{TokenError, TokenVerifier};
///
/// /// Tokens that the application itself issued, in its database.
/// struct Issued;
///
/// impl TokenVerifier for Issued {
///     async fn verify(&self, token: &str, resource: &str) -> Result<AccessToken, TokenError> {
///         let user = match token {
///             "known" => "alice",
///             _ => return Err(TokenError::Foreign("unknown token".into())),
///         };
///         // Tokens of this table are for this resource only.
///         Ok(AccessToken::new("https://app.example", user).with_audience([resource]))
///     }
/// }
/// ```
pub trait TokenVerifier: Send + Sync + 'static {
    /// Verifies a token. `resource` is the identifier of the protected resource.
    ///
    /// # Errors
    ///
    /// [`TokenError::Invalid`] and [`TokenError::Expired`] if the token must not be accepted,
    /// [`TokenError::Foreign`] if another verifier may know it, [`TokenError::Unavailable`] if that
    /// cannot be found out now.
    fn verify(&self, token: &str, resource: &str) -> impl Future<Output = Result<AccessToken, TokenError>> + Send;

    /// Returns for how long a verified token may be used again without another verification. A
    /// token is never used after it has expired. Default: `None`, as long as the
    /// [resource server](super::ResourceServerBuilder::remember_for) allows.
    fn remember_for(&self) -> Option<Duration> {
        None
    }

    /// Returns a number that changes when tokens that were accepted may no longer be valid, for
    /// example because a key was withdrawn. Tokens that were remembered before are then verified
    /// again. Read for each request. Default: 0.
    fn generation(&self) -> u64 {
        0
    }
}

/// A verifier with its type erased.
pub(super) trait ErasedVerifier: Send + Sync {
    fn verify<'a>(&'a self, token: &'a str, resource: &'a str) -> BoxFuture<'a, Result<AccessToken, TokenError>>;
    fn remember_for(&self) -> Option<Duration>;
    fn generation(&self) -> u64;
}

impl<V: TokenVerifier> ErasedVerifier for V {
    fn verify<'a>(&'a self, token: &'a str, resource: &'a str) -> BoxFuture<'a, Result<AccessToken, TokenError>> {
        Box::pin(TokenVerifier::verify(self, token, resource))
    }

    fn remember_for(&self) -> Option<Duration> {
        TokenVerifier::remember_for(self)
    }

    fn generation(&self) -> u64 {
        TokenVerifier::generation(self)
    }
}
