//! POST of the legacy era: handles an opening, calls, a notification, an answer or a batch.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::batch::Batch;
use super::exchange::{Delivery, Exchange};
use super::request::{Incoming, Message, OneWay, Post, Request};
use super::response::{Form, answer};
use super::session::LiveSession;
use super::standalone::Standalone;
use super::start::start;
use super::{Node, initialize, stateless};
use crate::edge::{McpHeaders, is_of_a_session};
use crate::error::{Limit, Rejection, StoreError, StoreErrorKind};
use crate::identity::{Principal, SessionId};
use crate::message::{Body, Envelope, Malformed, Params, RawJson, RequestId, shown, write};
use crate::outcome::{Outcome, Reply};
use crate::server::server_trait::ErasedServer;
use crate::server::{Cancellation, Context, Notification};
use crate::settings::ResponseMode;
use crate::store::Begin;

/// Looks up the session that a POST names, if its head alone shows that it needs one. A rejection
/// here saves reading the body for a session that does not exist.
pub(crate) async fn named_session(
    node: &Node,
    headers: &McpHeaders,
    principal: Option<&Principal>,
) -> Result<Option<Arc<LiveSession>>, Rejection> {
    if node.core.settings.sessions.stateless || !is_of_a_session(headers, &node.core.versions) {
        return Ok(None);
    }
    match headers.session_id()? {
        Some(id) => node.session(id, principal).await.map(Some),
        None => Ok(None),
    }
}

/// Answers a POST. The rarer branches are boxed, so that the future of a call in a session does not
/// reserve space for them.
pub(crate) async fn post<S: Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    server: &Arc<dyn ErasedServer<S>>,
    state: S,
    incoming: Incoming<'_>,
    body: Body,
) -> Reply {
    let id = body.request_id().cloned();
    let post = Post { node, server, state, incoming };
    let reply = if node.core.settings.sessions.stateless {
        Box::pin(stateless::post(post, body)).await.map(Reply::from)
    } else {
        in_session(post, body).await
    };
    reply.unwrap_or_else(|rejection| Outcome::Rejected(rejection, id).into())
}

async fn in_session<S: Clone + Send + Sync + 'static>(mut post: Post<'_, S>, body: Body) -> Result<Reply, Rejection> {
    let Some(session) = post.incoming.session.take() else {
        return Box::pin(initialize::without_session(post, body)).await;
    };
    let header = post.incoming.headers.session_text.clone();
    let outcome = match body {
        Body::One(envelope) => match Message::from(envelope) {
            Message::Request(Request { method, .. }) if method == "initialize" => {
                return Err(Rejection::AlreadyInitialized);
            }
            Message::Request(request) => {
                request.check()?;
                calls(post, session, vec![request], None).await?
            }
            Message::OneWay(one_way) => {
                take(post, &session, one_way).await?;
                Outcome::Accepted
            }
        },
        Body::Batch(elements) => Box::pin(batch(post, session, elements)).await?,
    };
    Ok(Reply { session: header, ..outcome.into() })
}

/// Starts calls in a session and answers them. `rejected` has the answers to elements of the batch
/// that are not valid messages; it is `None` outside a batch.
async fn calls<S: Clone + Send + Sync + 'static>(
    post: Post<'_, S>,
    session: Arc<LiveSession>,
    requests: Vec<Request>,
    rejected: Option<Vec<Bytes>>,
) -> Result<Outcome, Rejection> {
    let Post { node, server, state, incoming } = post;
    if node.core.is_draining() {
        return Err(Rejection::Draining);
    }
    node.core.check_answers(incoming.account().as_ref())?;
    let streams = &node.core.settings.streams;
    let stream = {
        let ids = ids(&requests);
        let principal = incoming.principal.as_ref();
        let id = session.info.id;
        let begin = Begin { session: id, principal, node: node.id, ids: &ids, unique: streams.reject_duplicate_ids };
        node.begin(&session, begin).await.map_err(|error| rejection(node, id, &error))?
    };
    let mode = streams.response_mode;
    let outlet = if mode == ResponseMode::Json { Delivery::Discard } else { Delivery::Log };
    let exchange = Exchange::in_session(node, &session, incoming.principal, stream, outlet);
    let form = Form { mode, batch: rejected.is_some(), queue: None };
    if let Some(refused) = rejected {
        exchange.keep_answers(refused);
    }
    let (calls, handlers) = start(&exchange, server, &state, (incoming.parts, incoming.share), requests);
    session.register(stream, &calls);
    Ok(answer(exchange, calls, handlers, form).await)
}

/// Returns the ids of the requests. There is nearly always one, which is borrowed.
fn ids(requests: &[Request]) -> Cow<'_, [RequestId]> {
    match requests {
        [only] => Cow::Borrowed(std::slice::from_ref(&only.id)),
        several => several.iter().map(|request| request.id.clone()).collect(),
    }
}

/// Maps an engine's error about new calls to a rejection.
fn rejection(node: &Node, session: SessionId, error: &StoreError) -> Rejection {
    let policy = node.core.settings.policy();
    match error.kind() {
        StoreErrorKind::Conflict => Rejection::DuplicateId,
        StoreErrorKind::Full => Rejection::LimitReached { limit: Limit::Calls, max: policy.max_calls },
        StoreErrorKind::FullForPrincipal => {
            Rejection::LimitReached { limit: Limit::CallsOfPrincipal, max: policy.max_calls_per_principal }
        }
        StoreErrorKind::NotFound => {
            // The session ended, and the signal for its end was lost.
            node.forget(session);
            Rejection::SessionNotFound
        }
        _ => node.rejection(error),
    }
}

/// Accepts a notification or an answer. The response is an empty 202.
async fn take<S: Clone + Send + Sync + 'static>(
    post: Post<'_, S>,
    session: &Arc<LiveSession>,
    one_way: OneWay,
) -> Result<(), Rejection> {
    let Post { node, server, state, incoming } = post;
    let id = session.info.id;
    match one_way {
        OneWay::Answer { id: request, outcome } => {
            // Ids of requests to the client are strings. A late or repeated answer is not an error
            // of the client.
            let request: String = serde_json::from_str(request.as_json()).unwrap_or_default();
            // The answer may be stored for a while, and must not keep the rest of the body in
            // memory.
            let outcome = outcome.map(|result| result.detached()).map_err(|error| error.detached());
            match node.core.engine.answer_request(id, &request, outcome).await {
                Ok(first) => {
                    tracing::debug!(session = ?id, request = &*shown(&request), first, "the client answered");
                }
                Err(error) if error.kind() == StoreErrorKind::NotFound => {
                    tracing::debug!(session = ?id, request = &*shown(&request), "an answer to no open request");
                    node.core
                        .engine
                        .load(id, incoming.principal.as_ref())
                        .await
                        .map_err(|error| node.rejection(&error))?;
                }
                // Capacity becomes available when earlier answers have been fetched.
                Err(error) if error.kind() == StoreErrorKind::Full => return Err(Rejection::EngineUnavailable),
                Err(error) => return Err(node.rejection(&error)),
            }
        }
        OneWay::Notification { method, params } if method == "notifications/cancelled" => {
            if let Some((call, reason)) = cancelled(params.as_ref().map(Params::text)) {
                session.explain(&call, Cancellation { reason, parts: incoming.parts });
                node.core.engine.cancel(id, &call).await.map_err(|error| node.rejection(&error))?;
            }
        }
        OneWay::Notification { method, params } => {
            let loaded =
                node.core.engine.load(id, incoming.principal.as_ref()).await.map_err(|error| node.rejection(&error))?;
            node.keep_up(session, loaded.revision).await;
            let params = params.map(Params::into_text);
            let context = Context::new(Arc::new(Standalone::new(node, session)), params.clone());
            let notice = Notification { method, params, parts: incoming.parts, context };
            node.core.in_background(Arc::clone(server).notification(notice, state));
        }
    }
    Ok(())
}

/// The largest number of bytes stored of a cancellation's reason. It is stored as long as its call
/// exists.
const REASON: usize = 1_024;

/// Returns the cancelled call and the reason. A reason that is not a string is ignored.
fn cancelled(params: Option<&RawJson>) -> Option<(RequestId, Option<String>)> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Cancelled<'a> {
        #[serde(borrow)]
        request_id: &'a RawValue,
        #[serde(borrow, default)]
        reason: Option<&'a RawValue>,
    }
    let cancelled: Cancelled<'_> = params?.read_borrowed().ok()?;
    let mut reason: Option<String> = cancelled.reason.and_then(|reason| serde_json::from_str(reason.get()).ok());
    if let Some(reason) = &mut reason {
        reason.truncate(reason.floor_char_boundary(REASON));
    }
    Some((cancelled.request_id.get().parse().ok()?, reason))
}

/// Handles a batch. Its requests form one exchange, on one stream.
async fn batch<S: Clone + Send + Sync + 'static>(
    post: Post<'_, S>,
    session: Arc<LiveSession>,
    elements: Vec<Result<Envelope, Malformed>>,
) -> Result<Outcome, Rejection> {
    let Batch { requests, one_way, rejected } = Batch::sort(elements, session.info.version)?;
    for message in one_way {
        take(post.again(), &session, message).await?;
    }
    match (requests.is_empty(), rejected.is_empty()) {
        (true, true) => Ok(Outcome::Accepted),
        (true, false) => Ok(Outcome::Json(write::batch(&rejected))),
        (false, _) => calls(post, session, requests, Some(rejected)).await,
    }
}
