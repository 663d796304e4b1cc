//! Access tokens: what a verified token says about the sender of a request, as an extractor.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use http::StatusCode;
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Principal;
use super::scopes::Scopes;

/// Decides whether a granted scope includes a required one.
pub(crate) type Implies = Arc<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// A verified access token: its issuer, subject, client, scopes, expiry and claims. The text of the
/// token itself is not kept.
///
/// The layer of a `ResourceServer` (feature `auth`) inserts it into the request's extensions, and
/// so can an authentication layer of your own. Tools, resources and prompts that require
/// [scopes](crate::server::Tool::scopes) check it. Streams that can be resumed end when it
/// [expires](Self::expires_at).
///
/// It is an extractor in every handler, also as an `Option`. It is cheap to clone.
///
/// ```
/// use mcp_http::{AccessToken, McpServer};
///
/// async fn whoami(token: AccessToken) -> String {
///     format!("{} by {}", token.subject(), token.client_id().unwrap_or("an unknown client"))
/// }
///
/// let server = McpServer::new("members", "1.0.0").tool("whoami", "Names the caller.", whoami);
/// # let _ = server;
/// ```
#[derive(Clone)]
pub struct AccessToken(Arc<Facts>);

#[derive(Clone)]
struct Facts {
    issuer: String,
    subject: String,
    client_id: Option<String>,
    scopes: Scopes,
    audience: Vec<String>,
    expires_at: Option<SystemTime>,
    claims: Map<String, Value>,
    /// Made at the first use, and shared by all requests with this token.
    principal: OnceLock<Principal>,
    implies: Option<Implies>,
}

impl AccessToken {
    /// Makes a token of a subject. The pair of issuer and subject names the person or machine.
    #[must_use]
    pub fn new(issuer: impl Into<String>, subject: impl Into<String>) -> Self {
        Self(Arc::new(Facts {
            issuer: issuer.into(),
            subject: subject.into(),
            client_id: None,
            scopes: Scopes::default(),
            audience: Vec::new(),
            expires_at: None,
            claims: Map::new(),
            principal: OnceLock::new(),
            implies: None,
        }))
    }

    /// Sets the client to which the token was issued.
    #[must_use]
    pub fn with_client_id(self, client: impl Into<String>) -> Self {
        self.change(|facts| facts.client_id = Some(client.into()))
    }

    /// Sets the granted scopes.
    #[must_use]
    pub fn with_scopes<I: IntoIterator<Item: Into<String>>>(self, scopes: I) -> Self {
        self.change(|facts| facts.scopes = Scopes::new(scopes))
    }

    /// Sets the resources for which the token was issued.
    #[must_use]
    pub fn with_audience<I: IntoIterator<Item: Into<String>>>(self, audience: I) -> Self {
        self.change(|facts| facts.audience = audience.into_iter().map(Into::into).collect())
    }

    /// Sets the moment from which the token is rejected.
    #[must_use]
    pub fn with_expiry(self, expires_at: SystemTime) -> Self {
        self.change(|facts| facts.expires_at = Some(expires_at))
    }

    /// Sets all claims.
    #[must_use]
    pub fn with_claims(self, claims: Map<String, Value>) -> Self {
        self.change(|facts| facts.claims = claims)
    }

    #[cfg(feature = "auth")]
    pub(crate) fn with_hierarchy(self, implies: Implies) -> Self {
        self.change(|facts| facts.implies = Some(implies))
    }

    fn change(mut self, change: impl FnOnce(&mut Facts)) -> Self {
        let facts = Arc::make_mut(&mut self.0);
        facts.principal = OnceLock::new();
        change(facts);
        self
    }

    /// Returns the authorization server that issued the token (`iss`).
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// Returns the person or machine for which the token was issued (`sub`).
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.0.subject
    }

    /// Returns the client to which the token was issued (`client_id`, `azp`).
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.0.client_id.as_deref()
    }

    /// Returns the granted scopes as the authorization server wrote them.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.0.scopes.iter()
    }

    /// Returns `true` if the scope was granted, or if a granted scope includes it according to the
    /// hierarchy of the `ResourceServer`.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        let implies = |granted: &str| self.0.implies.as_ref().is_some_and(|implies| implies(granted, scope));
        self.0.scopes.iter().any(|granted| granted == scope || implies(granted))
    }

    /// Returns the resources for which the token was issued (`aud`).
    #[must_use]
    pub fn audience(&self) -> &[String] {
        &self.0.audience
    }

    /// Returns the moment from which the token is rejected: `exp`, and the leeway of its verifier.
    /// `None` if it does not expire.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.0.expires_at
    }

    /// Returns all claims: those of the JWT, or the members of the introspection response.
    #[must_use]
    pub fn claims(&self) -> &Map<String, Value> {
        &self.0.claims
    }

    /// Reads the claims into a type of the application.
    ///
    /// # Errors
    ///
    /// If the claims do not fit the type.
    pub fn claims_as<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_value(Value::Object(self.0.claims.clone()))
    }

    /// Returns the principal to which sessions, tasks and limits belong: issuer, client and subject.
    /// It is the same for each renewed token.
    #[must_use]
    pub fn principal(&self) -> Principal {
        let facts = &*self.0;
        let client = facts.client_id.as_deref().unwrap_or_default();
        facts.principal.get_or_init(|| Principal::issued(&facts.issuer, client, &facts.subject)).clone()
    }
}

/// Writes issuer, client, subject, scopes and expiry. Claims may be personal and are left out.
impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("issuer", &self.0.issuer)
            .field("client_id", &self.0.client_id)
            .field("subject", &self.0.subject)
            .field("scopes", &self.0.scopes)
            .field("expires_at", &self.0.expires_at)
            .finish_non_exhaustive()
    }
}

impl<S: Sync> FromRequestParts<S> for AccessToken {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        parts.extensions.get().cloned().ok_or((StatusCode::UNAUTHORIZED, "The request has no access token"))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for AccessToken {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts.extensions.get().cloned())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_renewed_token_has_the_same_principal() {
        let token = AccessToken::new("https://login.example", "alice").with_client_id("cli");
        let renewed = token.clone().with_scopes(["a"]).with_expiry(SystemTime::UNIX_EPOCH);
        assert_eq!(token.principal(), renewed.principal());
        assert_eq!(token.principal(), Principal::issued("https://login.example", "cli", "alice"));
        assert_ne!(token.principal(), token.with_client_id("web").principal());
    }

    #[test]
    fn claims_are_read_into_a_type_and_kept_out_of_logs() {
        #[derive(serde::Deserialize)]
        struct Mine {
            email: String,
        }
        let claims = json!({"email": "a@b.example"}).as_object().unwrap().clone();
        let token = AccessToken::new("i", "s").with_claims(claims);
        assert_eq!(token.claims_as::<Mine>().unwrap().email, "a@b.example");
        assert!(!format!("{token:?}").contains("a@b"));
    }
}
