//! Decides how a POST is answered where nothing is kept: each stands for itself.
//!
//! The client cannot be asked, nothing can be resumed or cancelled, progress travels on the
//! response it belongs to. A session id that a client sends all the same is ignored.

use super::answer::{Form, answer};
use super::exchange::{Exchange, Outlet};
use super::initialize::{claimed_version, in_form, negotiate, read_params, unsupported};
use super::post::{Asked, Post, start};
use crate::edge::VersionHeader;
use crate::error::Rejection;
use crate::message::{Body, Envelope, Kind, ProtocolVersion, write};
use crate::outcome::Outcome;
use crate::settings::ResponseMode;
use crate::streams::Queue;

pub(super) async fn post<S: Clone + Send + Sync + 'static>(
    post: Post<'_, S>,
    body: Body,
) -> Result<Outcome, Rejection> {
    if post.node.is_draining() {
        return Err(Rejection::Draining);
    }
    match body {
        Body::One(Envelope { kind: Kind::Request { id, method }, params }) => {
            if let Some(requested) = claimed_version(params.as_ref()) {
                return Err(unsupported(post.node, requested));
            }
            let mut version = stated_version(&post);
            if method == "initialize" {
                match read_params(params.clone()) {
                    Ok(params) => version = negotiate(post.node, &params.protocol_version),
                    Err(error) => return Ok(in_form(post.node, write::answer(&id, &Err(error)))),
                }
            }
            Ok(calls(post, version, vec![Asked { id, method, params }], None).await)
        }
        Body::One(_) => Ok(Outcome::Accepted),
        Body::Batch(elements) => {
            let version = stated_version(&post);
            if !version.has_batches() {
                return Err(Rejection::BatchNotServed);
            }
            let (mut asked, mut refused) = (Vec::new(), Vec::new());
            for element in elements {
                match element {
                    Ok(Envelope { kind: Kind::Request { id, method }, params }) => {
                        if method == "initialize" {
                            return Err(Rejection::InitializeInBatch);
                        }
                        asked.push(Asked { id, method, params });
                    }
                    Ok(_) => {}
                    Err(malformed) => {
                        let (rejection, id) = Rejection::of(malformed);
                        refused.push(write::failure(id.as_ref(), &rejection.to_error()));
                    }
                }
            }
            if asked.is_empty() && refused.is_empty() {
                return Ok(Outcome::Accepted);
            }
            Ok(calls(post, version, asked, Some(refused)).await)
        }
    }
}

/// The revision of a request outside a session: what its header says, else the oldest
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
    asked: Vec<Asked>,
    batch: Option<Vec<bytes::Bytes>>,
) -> Outcome {
    let Post { node, server, state, incoming } = post;
    let mode = node.settings.streams.response_mode;
    let (outlet, queue) = match mode {
        ResponseMode::Json => (Outlet::Nowhere, None),
        ResponseMode::Auto | ResponseMode::Sse => {
            let (queue, reader) = Queue::new();
            (Outlet::Queue(queue), Some(reader))
        }
    };
    let exchange = Exchange::new(node, None, incoming.principal, version, None, outlet);
    let form = Form { mode, batch: batch.is_some(), queue };
    if let Some(refused) = batch {
        exchange.keep_answers(refused);
    }
    let (tickets, handlers) = start(&exchange, server, &state, incoming.parts, asked);
    answer(exchange, tickets, handlers, form).await
}
