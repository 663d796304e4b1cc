//! Access tokens: what a verified token says about the sender of a request, as an extractor.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{Extensions, HeaderValue, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Principal;
use super::scopes::{OperationScopes, RequiredScopes, Scopes};
use crate::message::{ErrorObject, write};

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
/// let server: McpServer = McpServer::new("members", "1.0.0").tool("whoami", "Names the caller.", whoami);
/// # let _ = server;
/// ```
#[derive(Clone)]
pub struct AccessToken {
    facts: Arc<Facts>,
    /// The scopes of the operation in which the token was extracted.
    operation: Scopes,
}

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
        let facts = Facts {
            issuer: issuer.into(),
            subject: subject.into(),
            client_id: None,
            scopes: Scopes::default(),
            audience: Vec::new(),
            expires_at: None,
            claims: Map::new(),
            principal: OnceLock::new(),
            implies: None,
        };
        Self { facts: Arc::new(facts), operation: Scopes::default() }
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
        let facts = Arc::make_mut(&mut self.facts);
        facts.principal = OnceLock::new();
        change(facts);
        self
    }

    /// Returns the authorization server that issued the token (`iss`).
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.facts.issuer
    }

    /// Returns the person or machine for which the token was issued (`sub`).
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.facts.subject
    }

    /// Returns the client to which the token was issued (`client_id`, `azp`).
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.facts.client_id.as_deref()
    }

    /// Returns the granted scopes as the authorization server wrote them.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.facts.scopes.iter()
    }

    /// Returns `true` if the scope was granted, or if a granted scope includes it according to the
    /// hierarchy of the `ResourceServer`.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        let implies = |granted: &str| self.facts.implies.as_ref().is_some_and(|implies| implies(granted, scope));
        self.facts.scopes.iter().any(|granted| granted == scope || implies(granted))
    }

    /// Checks for scopes that depend on the arguments of a call. Use it with `?` in a handler, or in
    /// an extractor of your own.
    ///
    /// ```
    /// use mcp_http::server::ToolError;
    /// use mcp_http::{AccessToken, Args, McpServer};
    ///
    /// #[derive(serde::Deserialize, schemars::JsonSchema)]
    /// struct Table { name: String }
    ///
    /// async fn drop_table(token: AccessToken, Args(table): Args<Table>) -> Result<String, ToolError> {
    ///     if table.name.starts_with("system.") {
    ///         token.require(["db:admin"])?;
    ///     }
    ///     Ok(format!("dropped {}", table.name))
    /// }
    ///
    /// let server: McpServer = McpServer::new("db", "1.0.0").tool("drop", "Drops a table.", drop_table);
    /// ```
    ///
    /// # Errors
    ///
    /// If one of the scopes was not granted. If nothing of the response was sent yet, the client
    /// gets a 403 whose challenge names all scopes of the operation; otherwise, and in a batch, the
    /// same as a JSON-RPC error.
    pub fn require<I: IntoIterator<Item: Into<String>>>(&self, scopes: I) -> Result<(), InsufficientScope> {
        self.check(&Scopes::new(scopes)).map_err(|missing| InsufficientScope(self.operation.union(&missing.0)))
    }

    fn check(&self, scopes: &Scopes) -> Result<(), InsufficientScope> {
        if scopes.iter().all(|scope| self.has_scope(scope)) { Ok(()) } else { Err(InsufficientScope(scopes.clone())) }
    }

    /// Returns the resources for which the token was issued (`aud`).
    #[must_use]
    pub fn audience(&self) -> &[String] {
        &self.facts.audience
    }

    /// Returns the moment from which the token is rejected: `exp`, and the leeway of its verifier.
    /// `None` if it does not expire.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.facts.expires_at
    }

    /// Returns all claims: those of the JWT, or the members of the introspection response.
    #[must_use]
    pub fn claims(&self) -> &Map<String, Value> {
        &self.facts.claims
    }

    /// Reads the claims into a type of the application.
    ///
    /// # Errors
    ///
    /// If the claims do not fit the type.
    pub fn claims_as<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_value(Value::Object(self.facts.claims.clone()))
    }

    /// Returns the principal to which sessions, tasks and limits belong: issuer, client and subject.
    /// It is the same for each renewed token.
    #[must_use]
    pub fn principal(&self) -> Principal {
        let facts = &*self.facts;
        let client = facts.client_id.as_deref().unwrap_or_default();
        facts.principal.get_or_init(|| Principal::issued(&facts.issuer, client, &facts.subject)).clone()
    }
}

/// Writes issuer, client, subject, scopes and expiry. Claims may be personal and are left out.
impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("issuer", &self.facts.issuer)
            .field("client_id", &self.facts.client_id)
            .field("subject", &self.facts.subject)
            .field("scopes", &self.facts.scopes)
            .field("expires_at", &self.facts.expires_at)
            .finish_non_exhaustive()
    }
}

impl<S: Sync> FromRequestParts<S> for AccessToken {
    type Rejection = (StatusCode, &'static str);

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        let token = Self::of_operation(&parts.extensions);
        token.ok_or((StatusCode::UNAUTHORIZED, "The request has no access token"))
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for AccessToken {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(Self::of_operation(&parts.extensions))
    }
}

impl AccessToken {
    fn of_operation(extensions: &Extensions) -> Option<Self> {
        let operation = extensions.get().map(|OperationScopes(scopes)| scopes.clone()).unwrap_or_default();
        extensions.get::<Self>().map(|token| Self { operation, ..token.clone() })
    }
}

/// An operation needs scopes that the access token does not have. It names all scopes of the
/// operation, so that the client needs only one further authorization.
///
/// As a response it is a 403 with a challenge. In a handler of this crate it also converts into a
/// [`ToolError`](crate::server::ToolError) and an [`ErrorObject`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InsufficientScope(Scopes);

impl InsufficientScope {
    /// Returns all scopes of the operation.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.0.iter()
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.0.iter().map(ToOwned::to_owned).collect()
    }
}

impl fmt::Display for InsufficientScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the operation needs the scopes `{}`", self.0)
    }
}

impl std::error::Error for InsufficientScope {}

impl From<InsufficientScope> for ErrorObject {
    fn from(error: InsufficientScope) -> Self {
        Self::insufficient_scope(&error.names())
    }
}

impl IntoResponse for InsufficientScope {
    fn into_response(self) -> Response {
        let body = write::failure(None, &ErrorObject::insufficient_scope(&self.names()));
        let headers = [(CONTENT_TYPE, "application/json")];
        let mut response = (StatusCode::FORBIDDEN, headers, body).into_response();
        // The layer of a resource server replaces it by one that also names its metadata.
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", self.0);
        if let Ok(challenge) = HeaderValue::from_str(&challenge) {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Checks that a request may do an operation, before anything of it is done. `own` are the scopes
/// of the operation itself; those of the whole resource are added.
pub(crate) fn check_scopes(extensions: &mut Extensions, own: Vec<String>) -> Result<(), InsufficientScope> {
    if own.is_empty() && extensions.get::<RequiredScopes>().is_none() {
        return Ok(());
    }
    let own = Scopes::new(own);
    let all = extensions.get().map_or(own.clone(), |RequiredScopes(required)| required.union(&own));
    match extensions.get::<AccessToken>() {
        Some(token) => token.check(&all)?,
        None => return Err(InsufficientScope(all)),
    }
    extensions.insert(OperationScopes(all));
    Ok(())
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
    fn claims_are_typed_and_stay_out_of_logs() {
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
