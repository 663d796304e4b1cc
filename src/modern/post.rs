//! POST: parses a request of the stateless revision and passes it on.

use std::borrow::Cow;
use std::sync::Arc;

use super::admit::{Admitted, admit, admit_notification};
use super::request::{Incoming, Request};
use super::round::Opening;
use super::{Node, call, listen, mirror};
use crate::error::Rejection;
use crate::message::{Body, Envelope, Kind, Params, RawJson, RequestId};
use crate::outcome::{Outcome, Reply};
use crate::server::server_trait::ErasedServer;

/// Answers a POST.
pub(crate) async fn post<S: Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    server: &Arc<dyn ErasedServer<S>>,
    state: S,
    incoming: Incoming<'_>,
    body: Body,
) -> Reply {
    let rejected = |rejection| Outcome::Rejected(rejection, None).into();
    match body {
        Body::One(Envelope { kind: Kind::Request { id, method }, params }) => {
            let outcome = request(node, server, state, incoming, (&id, method, params.map(Params::into_text))).await;
            outcome.unwrap_or_else(|rejection| Outcome::Rejected(rejection, Some(id))).into()
        }
        // In this revision no notification travels over HTTP (Streamable HTTP, "Sending Messages").
        Body::One(Envelope { kind: Kind::Notification { .. }, .. }) => {
            match admit_notification(incoming.meta.as_deref(), incoming.headers, &node.core.versions) {
                Ok(()) => Outcome::Accepted.into(),
                Err(rejection) => rejected(rejection),
            }
        }
        // Without the id, because a client would take the error for the answer to its own request.
        Body::One(Envelope { kind: Kind::Answer { .. }, .. }) => {
            rejected(Rejection::NotAMessage("clients of 2026-07-28 do not send answers"))
        }
        Body::Batch(_) => rejected(Rejection::BatchNotServed),
    }
}

async fn request<S: Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    server: &Arc<dyn ErasedServer<S>>,
    state: S,
    incoming: Incoming<'_>,
    (id, method, params): (&RequestId, Cow<'static, str>, Option<RawJson>),
) -> Result<Outcome, Rejection> {
    let Incoming { parts, headers, principal, peer, meta, takes_streams, share } = incoming;
    let Admitted { meta, version } = admit(&method, meta, headers, &node.core.versions)?;
    if method == "tools/call"
        && let Some(mirrored) =
            meta.name.as_ref().and_then(RawJson::text).and_then(|tool| server.mirrored_arguments(&tool))
    {
        mirror::check_arguments(&parts.headers, params.as_ref(), &mirrored)?;
    }
    if was_removed(&method) || !(is_ours(&method) || server.serves(&method)) {
        return Err(Rejection::method_not_found(&method));
    }
    let mode = node.core.settings.streams.response_mode;
    let opening = Opening { share, peer, ..Opening::new(id.clone(), version, meta, principal, mode) };
    if method == listen::METHOD {
        // Boxed, so that a call reserves no space for it.
        return Box::pin(listen::listen(
            node,
            server,
            state,
            opening,
            Request { method, params, parts },
            takes_streams,
        ))
        .await;
    }
    call::call(node, server, state, opening, Request { method, params, parts }).await
}

/// Returns `true` for methods that the transport answers for every server.
fn is_ours(method: &str) -> bool {
    method == call::DISCOVER || method == listen::METHOD
}

/// Returns `true` for methods of the session revisions that this revision lacks.
fn was_removed(method: &str) -> bool {
    matches!(method, "initialize" | "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe")
}
