//! The layer: lets requests with a valid token pass, and answers all others with a challenge.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use tower_layer::Layer;
use tower_service::Service;

use super::authenticator::Authenticator;
use super::rejection::AuthRejection;
use crate::encode::{BodyHead, take_along};
use crate::error::Rejection;
use crate::identity::{AccessToken, InsufficientScope, RequiredScopes, Scopes};
use crate::message::{ErrorObject, write};

/// A tower layer that verifies the access token of each request, from
/// [`ResourceServer::layer`](super::ResourceServer::layer).
///
/// A request with a valid token passes, with its [`AccessToken`] and its
/// [`Principal`](crate::Principal) in its extensions. Any other request gets a rejection with a
/// challenge, and nothing of it reaches the service.
#[derive(Clone)]
pub struct AuthLayer {
    server: Arc<Authenticator>,
}

impl AuthLayer {
    pub(super) fn new(server: Arc<Authenticator>) -> Self {
        Self { server }
    }
}

impl fmt::Debug for AuthLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthLayer").finish_non_exhaustive()
    }
}

impl<I> Layer<I> for AuthLayer {
    type Service = Authenticated<I>;

    fn layer(&self, inner: I) -> Authenticated<I> {
        Authenticated { inner, server: Arc::clone(&self.server) }
    }
}

/// The service that [`AuthLayer`] produces.
#[derive(Clone)]
pub struct Authenticated<I> {
    inner: I,
    server: Arc<Authenticator>,
}

impl<I: fmt::Debug> fmt::Debug for Authenticated<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authenticated").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<I, B> Service<http::Request<B>> for Authenticated<I>
where
    I: Service<http::Request<B>> + Clone + Send + 'static,
    I::Response: IntoResponse,
    I::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response;
    type Error = I::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, I::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), I::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        // The service that was polled ready serves this request.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let server = Arc::clone(&self.server);
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let token = match server.at_hand(&parts) {
                Ok(Some(token)) => Ok(token),
                Ok(None) => server.authenticate(&parts).await,
                Err(rejection) => Err(rejection),
            };
            match token {
                Ok(token) => {
                    pass(&mut parts, token, &server);
                    let response = inner.call(http::Request::from_parts(parts, body)).await?.into_response();
                    Ok(challenged(response, &server))
                }
                Err(rejection) => Ok(reject(&server, rejection, &parts, Body::new(body)).await),
            }
        })
    }
}

/// Puts what the token says into the request.
fn pass(parts: &mut Parts, token: AccessToken, server: &Authenticator) {
    if let Some(value) = parts.headers.get_mut(AUTHORIZATION) {
        // Layers and handlers that log headers leave it out.
        value.set_sensitive(true);
    }
    if !server.required.is_empty() {
        parts.extensions.insert(RequiredScopes(server.required.clone()));
    }
    parts.extensions.insert(token.principal());
    parts.extensions.insert(token);
}

/// Adds the whole challenge to a response that asks for more scopes.
fn challenged(mut response: Response, server: &Authenticator) -> Response {
    let extensions = response.extensions();
    let scopes = match (extensions.get::<Rejection>(), extensions.get::<InsufficientScope>()) {
        (Some(Rejection::InsufficientScope { scopes }), _) => Scopes::new(scopes),
        // A route beside the endpoint.
        (_, Some(error)) => Scopes::new(error.scopes()),
        _ => return response,
    };
    let challenge = server.challenges.insufficient_scope(&scopes);
    if let Some(challenge) = challenge {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// Answers a request without a valid token. The rest of its body is read behind the response.
async fn reject(server: &Authenticator, rejection: AuthRejection, parts: &Parts, body: Body) -> Response {
    tracing::debug!(kind = rejection.kind(), "a request was not authorized");
    let error = ErrorObject::new(ErrorObject::INVALID_REQUEST, rejection.text());
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    let mut response = (rejection.status(), headers, write::failure(None, &error)).into_response();
    if let Some(challenge) = server.challenges.of(&rejection) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    if let Some(after) = rejection.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(after.as_secs()));
    }
    response.extensions_mut().insert(rejection);
    take_along(response, body, BodyHead::of(parts), &server.drains).await
}
