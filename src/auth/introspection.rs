//! Introspection: asks the authorization server about each token (RFC 7662).

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use super::fetch::Fetcher;
use super::jwt::claims::{audience, expiry, scopes, text};
use super::resource::secure;
use super::verifier::{TokenError, TokenVerifier};
use crate::error::ConfigError;
use crate::identity::AccessToken;

/// The default of `remember_for`: a token that was withdrawn is accepted no longer than that.
const REMEMBER_FOR: Duration = Duration::from_secs(60);

/// The default of `timeout`: a client still waits for the response after that.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The default of `max_requests`: an authorization server serves that many at a time, and a flood
/// of wrong tokens takes no more of it.
const MAX_REQUESTS: usize = 64;

/// Verifies tokens of any form by asking the authorization server that issued them.
///
/// Verified tokens are remembered for a minute, so a withdrawn token is rejected within that time. A
/// token for which the response states no `exp` counts as valid for that time, and the streams that
/// were opened with it end then; clients resume them.
///
/// ```
/// use mcp_http::auth::Introspection;
///
/// let verifier = Introspection::builder("https://login.example.com", "https://login.example.com/introspect")
///     .client_secret("mcp-server", "its-secret")
///     .build()?;
/// # let _ = verifier;
/// # Ok::<_, mcp_http::error::ConfigError>(())
/// ```
pub struct Introspection {
    issuer: String,
    endpoint: String,
    authorization: String,
    accepts_no_audience: bool,
    remember_for: Duration,
    timeout: Duration,
    fetcher: Fetcher,
    requests: Semaphore,
}

/// The settings of an [`Introspection`], from [`Introspection::builder`].
#[derive(Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct IntrospectionBuilder {
    issuer: String,
    endpoint: String,
    authorization: Option<String>,
    accepts_no_audience: bool,
    remember_for: Duration,
    timeout: Duration,
    max_requests: usize,
}

impl Introspection {
    /// Returns a builder. `issuer` is the issuer identifier of the authorization server, and
    /// `endpoint` the URL of its `introspection_endpoint`.
    pub fn builder(issuer: impl Into<String>, endpoint: impl Into<String>) -> IntrospectionBuilder {
        IntrospectionBuilder {
            issuer: issuer.into(),
            endpoint: endpoint.into(),
            authorization: None,
            accepts_no_audience: false,
            remember_for: REMEMBER_FOR,
            timeout: TIMEOUT,
            max_requests: MAX_REQUESTS,
        }
    }
}

impl IntrospectionBuilder {
    /// Authenticates by a client id and its secret (`client_secret_basic`).
    pub fn client_secret(mut self, client: &str, secret: &str) -> Self {
        let pair = format!("{}:{}", form_encoded(client), form_encoded(secret));
        self.authorization = Some(format!("Basic {}", STANDARD.encode(pair)));
        self
    }

    /// Authenticates by a bearer token.
    pub fn bearer_token(mut self, token: &str) -> Self {
        self.authorization = Some(format!("Bearer {token}"));
        self
    }

    /// Accepts tokens for which the response names no audience. Tokens that were issued for another
    /// service of the same authorization server are then accepted too. Default: `false`.
    pub fn insecure_accept_without_audience(mut self, accept: bool) -> Self {
        self.accepts_no_audience = accept;
        self
    }

    /// Sets for how long a token is accepted without asking again. Default: one minute.
    pub fn remember_for(mut self, time: Duration) -> Self {
        self.remember_for = time;
        self
    }

    /// Sets how long a request to the authorization server may take. Default: 5 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how many requests to the authorization server may run at a time. Further tokens wait for
    /// the [`timeout`](Self::timeout), then their clients get a 503. Default: 64.
    pub fn max_requests(mut self, requests: usize) -> Self {
        self.max_requests = requests;
        self
    }

    /// Checks the settings and makes the verifier.
    ///
    /// # Errors
    ///
    /// If the endpoint is not an `https` URL (or `http` on a loopback name), the verifier cannot
    /// authenticate, or the timeout is 0.
    pub fn build(self) -> Result<Introspection, ConfigError> {
        let mut problems = ConfigError::none();
        let endpoint = secure(&self.endpoint);
        if let Err(why) = &endpoint {
            problems.report("Introspection::endpoint", why);
        }
        if self.authorization.is_none() {
            problems.report("Introspection::client_secret", "the endpoint requires authentication (RFC 7662, 2.1)");
        }
        if self.max_requests == 0 || self.max_requests > Semaphore::MAX_PERMITS {
            problems.report("Introspection::max_requests", "must be positive, and no more than a semaphore has");
        }
        if self.timeout.is_zero() {
            problems.report("Introspection::timeout", "must not be 0");
        }
        let is_loopback = endpoint.is_ok_and(|uri| uri.scheme_str() == Some("http"));
        let fetcher = Fetcher::new(self.timeout, is_loopback);
        if let Err(why) = &fetcher {
            problems.report("Introspection::timeout", why);
        }
        match (problems.into_result(), fetcher, self.authorization) {
            (Ok(()), Ok(fetcher), Some(authorization)) => Ok(Introspection {
                issuer: self.issuer,
                endpoint: self.endpoint,
                authorization,
                accepts_no_audience: self.accepts_no_audience,
                remember_for: self.remember_for,
                timeout: self.timeout,
                fetcher,
                requests: Semaphore::new(self.max_requests),
            }),
            (Err(problems), ..) => Err(problems),
            _ => Err(ConfigError::none()),
        }
    }
}

impl TokenVerifier for Introspection {
    async fn verify(&self, token: &str, resource: &str) -> Result<AccessToken, TokenError> {
        let unavailable = |why: String| TokenError::Unavailable(why.into());
        let permit = tokio::time::timeout(self.timeout, self.requests.acquire()).await;
        let _permit =
            permit.map_err(|_elapsed| unavailable("max_requests were in flight for the time limit".to_owned()))?;
        let form = format!("token={}&token_type_hint=access_token", form_encoded(token));
        let response = self.fetcher.post_form(&self.endpoint, &self.authorization, form).await;
        let response = response.map_err(|error| unavailable(error.to_string()))?;
        let claims: Map<String, Value> =
            serde_json::from_slice(&response).map_err(|_| unavailable("the response cannot be read".to_owned()))?;
        self.read(claims, resource)
    }

    fn remember_for(&self) -> Option<Duration> {
        Some(self.remember_for)
    }
}

impl Introspection {
    fn read(&self, claims: Map<String, Value>, resource: &str) -> Result<AccessToken, TokenError> {
        let invalid = |why: &'static str| TokenError::Invalid(why.into());
        if claims.get("active") != Some(&Value::Bool(true)) {
            return Err(TokenError::foreign("it is not active"));
        }
        if text(&claims, "iss").is_some_and(|issuer| issuer != self.issuer) {
            return Err(TokenError::foreign("it has another issuer"));
        }
        if claims.contains_key("cnf") {
            return Err(invalid("it is bound to a key of its client, which is not checked here"));
        }
        if text(&claims, "token_type").is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
            return Err(invalid("it is not an access token of the type Bearer"));
        }
        let client = text(&claims, "client_id").filter(|client| !client.is_empty());
        // A client that acts for itself may have no subject.
        let subject = text(&claims, "sub")
            .filter(|subject| !subject.is_empty())
            .or(client)
            .ok_or(invalid("it has no subject"))?;
        let mut token = AccessToken::new(&self.issuer, subject).with_scopes(scopes(&claims));
        if let Some(client) = client {
            token = token.with_client_id(client);
        }
        if claims.contains_key("exp") {
            token = token.with_expiry(expiry(&claims).ok_or(invalid("its expiry cannot be read"))?);
        }
        token = match audience(&claims) {
            audience if audience.is_empty() && self.accepts_no_audience => token.with_audience([resource]),
            audience => token.with_audience(audience),
        };
        Ok(token.with_claims(claims))
    }
}

/// Writes a value of `application/x-www-form-urlencoded`.
fn form_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

impl fmt::Debug for Introspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Introspection").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl fmt::Debug for IntrospectionBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IntrospectionBuilder").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
