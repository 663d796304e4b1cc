//! The authenticator: the settings of a resource server at work. It verifies the token of a request,
//! and remembers what it verified.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;

use super::bearer;
use super::challenge::Challenges;
use super::rejection::AuthRejection;
use super::remembered::{Remembered, TokenHash};
use super::resource::Resource;
use super::verifier::{ErasedVerifier, TokenError};
use crate::clock::WallClock;
use crate::encode::Drains;
use crate::identity::{AccessToken, Implies, Scopes};

/// The checked settings, and the tokens that were verified.
pub(super) struct Authenticator {
    pub(super) resource: Resource,
    pub(super) challenges: Challenges,
    pub(super) document: Bytes,
    pub(super) root_metadata: bool,
    pub(super) required: Scopes,
    pub(super) audiences: Vec<String>,
    pub(super) implies: Option<Implies>,
    pub(super) max_token_bytes: usize,
    pub(super) remember_for: Duration,
    pub(super) remembered: Remembered,
    pub(super) verifiers: Vec<Arc<dyn ErasedVerifier>>,
    /// The unread rests of the bodies of rejected requests.
    pub(super) drains: Arc<Drains>,
    pub(super) clock: WallClock,
}

impl Authenticator {
    /// Returns the token of a request that was verified earlier; `None` if it must be verified.
    pub(super) fn at_hand(&self, parts: &Parts) -> Result<Option<AccessToken>, AuthRejection> {
        let token = bearer::token(&parts.headers, parts.uri.query(), self.max_token_bytes)?;
        Ok(self.remembered.get(&TokenHash::of(token), self.clock.now()))
    }

    /// Verifies the token of a request.
    pub(super) async fn authenticate(&self, parts: &Parts) -> Result<AccessToken, AuthRejection> {
        let text = bearer::token(&parts.headers, parts.uri.query(), self.max_token_bytes)?;
        let (mut token, remember_for) = self.verified(text).await?;
        if !token.audience().iter().any(|audience| self.is_audience(audience)) {
            tracing::debug!(?token, "a token is for another resource");
            return Err(AuthRejection::Invalid);
        }
        let now = self.clock.now();
        if token.expires_at().is_some_and(|expires_at| expires_at <= now) {
            return Err(AuthRejection::Expired);
        }
        if let Some(implies) = &self.implies {
            token = token.with_hierarchy(Arc::clone(implies));
        }
        let until = now + remember_for;
        let until = token.expires_at().map_or(until, |expires_at| expires_at.min(until));
        self.remembered.put(TokenHash::of(text), token.clone(), until);
        Ok(token)
    }

    /// Asks the verifiers in their order. If one of them cannot say, the token may be valid.
    async fn verified(&self, text: &str) -> Result<(AccessToken, Duration), AuthRejection> {
        let mut rejection = AuthRejection::Invalid;
        for verifier in &self.verifiers {
            match verifier.verify(text, self.resource.as_str()).await {
                Ok(token) => {
                    let limit = verifier.remember_for().unwrap_or(self.remember_for);
                    return Ok((token, limit.min(self.remember_for)));
                }
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "a token was not accepted");
                    rejection = match (error, rejection) {
                        (TokenError::Unavailable(_), _) | (_, AuthRejection::Unavailable) => AuthRejection::Unavailable,
                        (TokenError::Expired, _) | (_, AuthRejection::Expired) => AuthRejection::Expired,
                        _ => AuthRejection::Invalid,
                    };
                }
            }
        }
        Err(rejection)
    }

    fn is_audience(&self, audience: &str) -> bool {
        self.resource.is(audience) || self.audiences.iter().any(|known| known == audience)
    }
}
