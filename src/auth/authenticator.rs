//! The authenticator: the settings of a resource server at work. It verifies the token of a request,
//! and remembers what it verified.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use http::request::Parts;

use super::bearer;
use super::challenge::Challenges;
use super::rejection::AuthRejection;
use super::remembered::{Remembered, TokenHash};
use super::resource::Resource;
use super::verifier::{ErasedVerifier, TokenError};
use crate::clock::WallClock;
use crate::encode::Drains;
use crate::identity::{AccessToken, Implies, Principal, Scopes};

/// A function that accepts or rejects verified tokens.
pub(super) type Accepts = Arc<dyn Fn(&AccessToken) -> bool + Send + Sync>;

/// For how long a verified token may be used again.
struct RememberFor {
    limit: Duration,
    /// The verifier set it, because its tokens can be withdrawn.
    is_own: bool,
}

/// The checked settings, and the tokens that were verified.
pub(super) struct Authenticator {
    pub(super) resource: Resource,
    pub(super) challenges: Challenges,
    pub(super) document: Bytes,
    pub(super) root_metadata: bool,
    pub(super) required: Scopes,
    pub(super) audiences: Vec<String>,
    pub(super) implies: Option<Implies>,
    pub(super) accepts: Option<Accepts>,
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
        let remembered = self.remembered.get(&TokenHash::of(token), self.clock.now(), self.generation());
        match remembered {
            Some(token) if !self.is_accepted(&token) => Err(AuthRejection::Invalid),
            remembered => Ok(remembered),
        }
    }

    /// Forgets the verified tokens of a principal. Returns their number.
    pub(super) fn forget(&self, principal: &Principal) -> usize {
        self.remembered.remove(|token| token.principal() == *principal)
    }

    fn generation(&self) -> u64 {
        self.verifiers.iter().fold(0, |sum, verifier| sum.wrapping_add(verifier.generation()))
    }

    fn is_accepted(&self, token: &AccessToken) -> bool {
        self.accepts.as_ref().is_none_or(|accepts| accepts(token))
    }

    /// Verifies the token of a request.
    pub(super) async fn authenticate(&self, parts: &Parts) -> Result<AccessToken, AuthRejection> {
        let text = bearer::token(&parts.headers, parts.uri.query(), self.max_token_bytes)?;
        // Read before the token is verified: a key that is withdrawn meanwhile counts.
        let generation = self.generation();
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
        if !self.is_accepted(&token) {
            return Err(AuthRejection::Invalid);
        }
        let until = match (now.checked_add(remember_for.limit), token.expires_at()) {
            (Some(limit), Some(expires_at)) => Some(limit.min(expires_at)),
            (limit, expires_at) => limit.or(expires_at),
        };
        if let Some(until) = until {
            if remember_for.is_own && until > now && token.expires_at().is_none() {
                // Nothing else would ever end its streams.
                token = token.with_expiry(until);
            }
            self.remembered.put(TokenHash::of(text), token.clone(), until, generation);
        }
        Ok(token)
    }

    /// Asks the verifiers in their order, until one knows the token. If one of them cannot say, the
    /// token may be valid.
    async fn verified(&self, text: &str) -> Result<(AccessToken, RememberFor), AuthRejection> {
        let mut rejection = AuthRejection::Invalid;
        for verifier in &self.verifiers {
            // A panic of a verifier concerns its request only.
            let verified = AssertUnwindSafe(verifier.verify(text, self.resource.as_str())).catch_unwind().await;
            let error = match verified {
                Ok(Ok(token)) => {
                    let own = verifier.remember_for();
                    let limit = own.unwrap_or(self.remember_for).min(self.remember_for);
                    return Ok((token, RememberFor { limit, is_own: own.is_some() }));
                }
                Ok(Err(error)) => error,
                Err(_panic) => TokenError::Unavailable("the verifier panicked".into()),
            };
            tracing::debug!(error = &error as &dyn std::error::Error, "a token was not accepted");
            match error {
                TokenError::Foreign(_) => {}
                TokenError::Invalid(_) => return Err(AuthRejection::Invalid),
                TokenError::Expired => return Err(AuthRejection::Expired),
                TokenError::Unavailable(_) => rejection = AuthRejection::Unavailable,
            }
        }
        Err(rejection)
    }

    fn is_audience(&self, audience: &str) -> bool {
        self.resource.is(audience) || self.audiences.iter().any(|known| known == audience)
    }
}
