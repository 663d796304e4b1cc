//! Responses: the status, the headers and the body for each outcome.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use http_body::Body as _;

use super::ceiling::SHORT;
use super::sse::{self, SseBody};
use super::watch::Watch;
use crate::error::Rejection;
use crate::header::SESSION_ID;
use crate::message::{RequestId, write};
use crate::outcome::{Outcome, Reply};

/// Makes nginx and compatible proxies pass a stream on without buffering.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
/// `no-transform` prevents proxies from compressing a stream, which would buffer it.
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache, no-transform");

/// Makes the response. `keep_alive` is the interval of comments in a quiet stream. `watch` cuts
/// responses that clients do not read.
pub(crate) fn respond(reply: Reply, keep_alive: Option<Duration>, watch: &Arc<Watch>) -> Response {
    let is_stream = matches!(reply.outcome, Outcome::Stream { .. });
    let mut response = match reply.outcome {
        Outcome::Accepted => empty(StatusCode::ACCEPTED),
        Outcome::Ended => empty(StatusCode::OK),
        Outcome::Json(body) => json(StatusCode::OK, body),
        Outcome::ShortStream(message) => stream(Body::from(message.map_or(sse::SILENT, sse::single))),
        Outcome::Stream { prelude, source } => stream(Body::new(SseBody::new(prelude, source, keep_alive))),
        Outcome::Rejected(rejection, id) => reject(rejection, id.as_ref()),
    };
    if let Some(session) = reply.session {
        response.headers_mut().insert(SESSION_ID, session);
    }
    if is_stream || response.body().size_hint().lower() > SHORT as u64 {
        return response.map(|body| watch.over(body, reply.account, reply.held));
    }
    response
}

/// Makes the response of a rejection, and stores the rejection in its extensions.
fn reject(rejection: Rejection, id: Option<&RequestId>) -> Response {
    let mut response = json(rejection.status(), write::failure(id, &rejection.to_error()));
    if let Rejection::MethodNotAllowed { allow } = rejection {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    }
    if let Some(challenge) = challenge(&rejection) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    if matches!(rejection, Rejection::EncodedBody) {
        response.headers_mut().insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
    if let Some(after) = rejection.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(after.as_secs()));
    }
    response.extensions_mut().insert(rejection);
    response
}

/// Returns the challenge of a rejection (RFC 6750, 3). The layer of a resource server replaces it by
/// one that also names its metadata.
fn challenge(rejection: &Rejection) -> Option<HeaderValue> {
    let Rejection::InsufficientScope { scopes } = rejection else { return None };
    let text = format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", scopes.join(" ").replace(['"', '\\'], "'"));
    HeaderValue::from_str(&text).ok()
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

fn json(status: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

fn stream(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, EVENT_STREAM);
    headers.insert(CACHE_CONTROL, NO_CACHE);
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}
