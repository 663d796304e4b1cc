//! The verifier of JSON Web Tokens.
//!
//! 1. The issuer is compared before any key is looked for, so that foreign tokens cause no request.
//! 2. The algorithm must be on the list, asymmetric, and fit the key. The header chooses among known
//!    keys by `kid`; it never names a key or a place where one is found (`jwk`, `jku`, `x5u`).
//! 3. A token that is bound to a key of its client (`cnf`) is rejected, because this crate does not
//!    check the proof of possession (RFC 9449, 7.1).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, Header, Validation, dangerous, decode, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::claims;
use super::source::KeySource;
use crate::auth::verifier::{TokenError, TokenVerifier};
use crate::identity::AccessToken;

/// Verifies JSON Web Tokens of one authorization server, by the keys that it publishes.
///
/// Keys are fetched when they are needed, and again when they are an hour old, or when a token needs
/// one that is unknown. While the authorization server does not respond, tokens of known keys are accepted,
/// and all others get a 503.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use mcp_http::auth::{JwtVerifier, ResourceServer};
///
/// let auth = ResourceServer::builder("https://mcp.example.com/mcp")
///     .authorization_server("https://login.example.com")
///     .verifier(JwtVerifier::discover("https://login.example.com").await?)
///     .build()?;
/// # let _ = auth;
/// # Ok(())
/// # }
/// ```
pub struct JwtVerifier {
    pub(super) issuer: String,
    pub(super) algorithms: Vec<jsonwebtoken::Algorithm>,
    pub(super) leeway: Duration,
    pub(super) requires_at_jwt: bool,
    pub(super) source: Arc<KeySource>,
}

/// The authorization server could not be used: it does not respond, or its metadata or its keys are
/// not valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiscoveryError {
    pub(super) issuer: String,
    pub(super) why: String,
}

impl fmt::Display for DiscoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "authorization server {}: {}", self.issuer, self.why)
    }
}

impl std::error::Error for DiscoveryError {}

impl JwtVerifier {
    /// Fetches the keys now.
    ///
    /// # Errors
    ///
    /// If the authorization server cannot be used. Known keys are kept.
    ///
    /// # Cancel safety
    ///
    /// If this future is dropped, the keys are fetched anyway.
    pub async fn refresh(&self) -> Result<(), DiscoveryError> {
        let fetched = self.source.refresh_now().await;
        fetched.map_err(|why| DiscoveryError { issuer: self.issuer.clone(), why })
    }

    /// Checks what a header says before a key is looked for.
    fn check_header(&self, header: &Header) -> Result<(), TokenError> {
        if !self.algorithms.contains(&header.alg) {
            return Err(TokenError::invalid("its algorithm is not on the list"));
        }
        if header.crit.is_some() {
            return Err(TokenError::invalid("it has critical headers"));
        }
        let of_access =
            |typ: &str| typ.eq_ignore_ascii_case("at+jwt") || typ.eq_ignore_ascii_case("application/at+jwt");
        match header.typ.as_deref() {
            Some(typ) if of_access(typ) => Ok(()),
            _ if self.requires_at_jwt => Err(TokenError::invalid("its type is not at+jwt")),
            None => Ok(()),
            Some(typ) if typ.eq_ignore_ascii_case("JWT") => Ok(()),
            Some(_) => Err(TokenError::invalid("its type is not that of an access token")),
        }
    }

    /// Verifies a token by the first key that fits.
    fn verify_by(&self, keys: &[DecodingKey], header: &Header, token: &str) -> Result<AccessToken, TokenError> {
        let validation = self.validation(header.alg);
        let mut rejection = TokenError::invalid("no key fits");
        for key in keys {
            match decode::<Map<String, Value>>(token, key, &validation) {
                Ok(verified) => return claims::access_token(&self.issuer, verified.claims, self.leeway),
                Err(error) => rejection = rejection_of(error.kind()),
            }
            if !is_wrong_signature(&rejection) {
                break;
            }
        }
        Err(rejection)
    }

    fn validation(&self, algorithm: jsonwebtoken::Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.leeway = self.leeway.as_secs();
        validation.validate_nbf = true;
        // The resource server checks the audience of every verifier's tokens.
        validation.validate_aud = false;
        validation.set_issuer(&[&self.issuer]);
        validation.set_required_spec_claims(&["exp", "iss", "sub", "aud"]);
        validation
    }
}

impl TokenVerifier for JwtVerifier {
    async fn verify(&self, token: &str, _resource: &str) -> Result<AccessToken, TokenError> {
        /// The claims that are read before the signature is checked.
        #[derive(Deserialize)]
        struct Unverified {
            iss: String,
        }
        let unverified: Unverified =
            dangerous::insecure_decode_claims(token).map_err(|_| TokenError::foreign("it is not a JWT"))?;
        if unverified.iss != self.issuer {
            return Err(TokenError::foreign("it has another issuer"));
        }
        let header = decode_header(token).map_err(|_| TokenError::invalid("it is not a JWT of a known algorithm"))?;
        self.check_header(&header)?;
        let keys = self.source.keys(header.kid.as_deref(), header.alg).await?;
        match self.verify_by(&keys.keys, &header, token) {
            // A key without an id, or with the id of another, may be newer than those known here.
            Err(error) if is_wrong_signature(&error) && self.source.changed_since(keys.fetch).await => {
                let newer = self.source.keys(header.kid.as_deref(), header.alg).await?;
                self.verify_by(&newer.keys, &header, token)
            }
            verified => verified,
        }
    }

    fn generation(&self) -> u64 {
        self.source.withdrawals()
    }
}

const WRONG_SIGNATURE: &str = "its signature is wrong";

fn is_wrong_signature(error: &TokenError) -> bool {
    matches!(error, TokenError::Invalid(why) if why == WRONG_SIGNATURE)
}

fn rejection_of(error: &ErrorKind) -> TokenError {
    match error {
        ErrorKind::ExpiredSignature => TokenError::Expired,
        ErrorKind::ImmatureSignature => TokenError::invalid("it is not valid yet"),
        ErrorKind::InvalidSignature => TokenError::invalid(WRONG_SIGNATURE),
        ErrorKind::MissingRequiredClaim(claim) => TokenError::Invalid(format!("it has no {claim}").into()),
        _ => TokenError::invalid("its claims or its key do not fit"),
    }
}

impl fmt::Debug for JwtVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtVerifier").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}
