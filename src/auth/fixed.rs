//! Fixed tokens: a table of secrets, for development and for tests.

use std::fmt;

use super::remembered::TokenHash;
use super::verifier::{TokenError, TokenVerifier};
use crate::identity::AccessToken;

/// A verifier with a table of tokens, for development, tests and machines in a closed network. The
/// tokens do not change while the service runs.
///
/// Only hashes of the tokens are kept. All of them are compared for each request, in constant time,
/// so keep the table short.
///
/// ```
/// use mcp_http::AccessToken;
/// use mcp_http::auth::FixedTokens;
///
/// let tokens = FixedTokens::new()
///     .token("alices-secret", AccessToken::new("local", "alice").with_scopes(["files:read"]))
///     .token("bobs-secret", AccessToken::new("local", "bob"));
/// # let _ = tokens;
/// ```
#[derive(Clone, Default)]
pub struct FixedTokens {
    tokens: Vec<(TokenHash, AccessToken)>,
}

impl FixedTokens {
    /// Returns an empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a token, with what it stands for. Its audience is the protected resource, whatever the
    /// given one is.
    #[must_use]
    pub fn token(mut self, secret: &str, token: AccessToken) -> Self {
        self.tokens.push((TokenHash::of(secret), token));
        self
    }
}

impl TokenVerifier for FixedTokens {
    async fn verify(&self, token: &str, resource: &str) -> Result<AccessToken, TokenError> {
        let hash = TokenHash::of(token);
        // Each entry is compared, so that the time does not depend on the position.
        let found = self.tokens.iter().fold(
            None,
            |found, (known, token)| {
                if known.equals(&hash) { Some(token) } else { found }
            },
        );
        let found = found.ok_or(TokenError::Foreign("it is not among the fixed tokens".into()))?;
        Ok(found.clone().with_audience([resource]))
    }
}

impl fmt::Debug for FixedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FixedTokens").field("tokens", &self.tokens.len()).finish()
    }
}
