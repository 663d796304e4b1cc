//! Stateless mode: answers each POST by itself, without a session.
//!
//! The server cannot send requests to the client, and no stream can be resumed. Progress is sent on
//! the response that it belongs to. A disconnect cancels the calls. A session id that a client
//! sends anyway is ignored.

use std::sync::Arc;

use bytes::Bytes;

use super::batch::Batch;
use super::driver::{Handler, Handlers};
use super::exchange::{Delivery, Exchange};
use super::in_flight::InFlight;
use super::initialize::{agreed, check_size, in_form, negotiate, read_params};
use super::request::{Post, Request};
use super::response::{Form, answer};
use super::start::start;
use crate::edge::VersionHeader;
use crate::error::Rejection;
use crate::message::{Body, Envelope, Kind, Params, ProtocolVersion, RawJson, RequestId, write};
use crate::outcome::Outcome;
use crate::server::{Context, Initialize};
use crate::settings::ResponseMode;
use crate::streams::Queue;

pub(super) async fn post<S: Clone + Send + Sync + 'static>(
    post: Post<'_, S>,
    body: Body,
) -> Result<Outcome, Rejection> {
    match body {
        Body::One(Envelope { kind: Kind::Request { id, method }, params }) => {
            if method == "initialize" {
                return opening(post, id, params.map(Params::into_text)).await;
            }
            let version = stated_version(&post);
            let asked = Request { id, method, params };
            asked.check()?;
            calls(post, version, vec![asked], None).await
        }
        Body::One(_) => Ok(Outcome::Accepted),
        Body::Batch(elements) => {
            let version = stated_version(&post);
            let Batch { requests: asked, rejected, .. } = Batch::sort(elements, version)?;
            if asked.is_empty() && rejected.is_empty() {
                return Ok(Outcome::Accepted);
            }
            calls(post, version, asked, Some(rejected)).await
        }
    }
}

/// Answers `initialize` without opening a session.
async fn opening<S: Clone + Send + Sync + 'static>(
    post: Post<'_, S>,
    id: RequestId,
    params: Option<RawJson>,
) -> Result<Outcome, Rejection> {
    let Post { node, server, state, incoming } = post;
    check_size(params.as_ref())?;
    let permit = node.core.acquire(incoming.account(), 1)?;
    let (params, text) = match read_params(params) {
        Ok(read) => read,
        Err(error) => return Ok(in_form(node, write::answer(&id, &Err(error)))),
    };
    let version = negotiate(node, &params.protocol_version);
    let exchange = Exchange::alone(node, incoming.principal, version, Delivery::Discard, permit);
    let in_flight = InFlight::new(&exchange, id);
    let context = Context::new(Arc::clone(&in_flight) as _, None);
    let asked = Arc::clone(server).initialize(Initialize { params, text, parts: incoming.parts, context }, state);
    let speaking = Arc::clone(node);
    let future = async move {
        let result = asked.await?;
        agreed(&speaking, version, &result).and(Ok(result))
    };
    let handlers = Handlers::one(Handler::new(Arc::clone(&in_flight), "initialize", Box::pin(future)), incoming.share);
    let form = Form { mode: ResponseMode::Json, batch: false, queue: None };
    Ok(match answer(exchange, vec![in_flight], handlers, form).await {
        Outcome::Json(result) => in_form(node, result),
        other => other,
    })
}

/// Returns the revision of a request outside a session: the one in its header, else the oldest
/// (2025-06-18, "Protocol Version Header").
fn stated_version<S>(post: &Post<'_, S>) -> ProtocolVersion {
    match &post.incoming.headers.version {
        Some(VersionHeader::Known(version)) => *version,
        Some(VersionHeader::Unknown(_)) | None => ProtocolVersion::V2025_03_26,
    }
}

async fn calls<S: Clone + Send + Sync + 'static>(
    post: Post<'_, S>,
    version: ProtocolVersion,
    requests: Vec<Request>,
    rejected: Option<Vec<Bytes>>,
) -> Result<Outcome, Rejection> {
    let Post { node, server, state, incoming } = post;
    let permit = node.core.acquire(incoming.account(), requests.len())?;
    let mode = node.core.settings.streams.response_mode;
    let (outlet, queue) = match mode {
        ResponseMode::Json => (Delivery::Discard, None),
        ResponseMode::Auto | ResponseMode::Sse => {
            let (queue, reader) = Queue::new();
            (Delivery::Queue(queue), Some(reader))
        }
    };
    let exchange = Exchange::alone(node, incoming.principal, version, outlet, permit);
    let form = Form { mode, batch: rejected.is_some(), queue };
    if let Some(refused) = rejected {
        exchange.keep_answers(refused);
    }
    let (calls, handlers) = start(&exchange, server, &state, (incoming.parts, incoming.share), requests);
    Ok(answer(exchange, calls, handlers, form).await)
}
