//! Decides what a POST of the stateless revision is, and who answers it.

use std::borrow::Cow;
use std::sync::Arc;

use http::request::Parts;

use super::admit::{Admitted, admit, admit_notification};
use super::round::{Opening, Round};
use super::run::Running;
use super::stamp::{Stamp, is_cacheable};
use super::{Node, discover, listen, mirror};
use crate::edge::McpHeaders;
use crate::error::Rejection;
use crate::identity::Principal;
use crate::message::{Body, Envelope, Kind, RawJson, RequestId, RequestMeta};
use crate::outcome::{Outcome, Reply};
use crate::server::contract::ErasedServer;
use crate::server::{Call, Context};

/// A request that came past the edge.
pub(crate) struct Incoming {
    /// Boxed, because it is handed down from future to future.
    pub(crate) parts: Box<Parts>,
    pub(crate) headers: McpHeaders,
    pub(crate) principal: Option<Principal>,
    /// What the request says of itself, if it says anything.
    pub(crate) meta: Option<Box<RequestMeta>>,
    /// Whether the client takes a stream.
    pub(crate) takes_streams: bool,
}

/// One request, read.
struct Asked {
    id: RequestId,
    method: Cow<'static, str>,
    params: Option<RawJson>,
}

/// Answers a POST.
pub(crate) async fn post<S: Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    server: &Arc<dyn ErasedServer<S>>,
    state: S,
    incoming: Incoming,
    body: Body,
) -> Reply {
    let refused = |rejection, id| Outcome::Rejected(rejection, id).into();
    match body {
        Body::One(Envelope { kind: Kind::Request { id, method }, params }) => {
            let asked = Asked { id: id.clone(), method, params };
            let outcome = request(node, server, state, incoming, asked).await;
            outcome.unwrap_or_else(|rejection| Outcome::Rejected(rejection, Some(id))).into()
        }
        // The revision has none that travel over HTTP (Streamable HTTP, "Sending Messages").
        Body::One(Envelope { kind: Kind::Notification { .. }, .. }) => {
            match admit_notification(incoming.meta.as_deref(), &incoming.headers, &node.hall.versions) {
                Ok(()) => Outcome::Accepted.into(),
                Err(rejection) => refused(rejection, None),
            }
        }
        Body::One(Envelope { kind: Kind::Answer { id, .. }, .. }) => {
            refused(Rejection::NotAMessage("clients of 2026-07-28 do not send answers"), Some(id))
        }
        Body::Batch(_) => refused(Rejection::BatchNotServed, None),
    }
}

async fn request<S: Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    server: &Arc<dyn ErasedServer<S>>,
    state: S,
    incoming: Incoming,
    asked: Asked,
) -> Result<Outcome, Rejection> {
    let Incoming { parts, headers, principal, meta, takes_streams } = incoming;
    let Asked { id, method, params } = asked;
    let Admitted { meta, version } = admit(&method, meta, &headers, &parts.headers, &node.hall.versions)?;
    if method == "tools/call"
        && let Some(mirrored) = meta.name.as_deref().and_then(|tool| server.mirrored(tool))
    {
        mirror::check_arguments(&parts.headers, params.as_ref(), &mirrored)?;
    }
    if was_removed(&method) || !(is_ours(&method) || server.serves(&method)) {
        return Err(Rejection::MethodNotFound { method: method.chars().take(MAX_METHOD).collect() });
    }
    if node.hall.is_draining() {
        return Err(Rejection::Draining);
    }
    let token = meta.progress_token.clone();
    let mut opening = Opening { id: id.clone(), version, meta, principal, permit: None };
    if method == listen::METHOD {
        drop(parts);
        return listen::listen(node, server, state, opening, params, takes_streams).await;
    }
    let permit = node.calls.take(opening.principal.as_ref());
    opening.permit = permit.map_err(|limit| Rejection::TooManyCallsOfPrincipal { limit })?;
    let stamp = Stamp { server: server.info(), cacheable: is_cacheable(&method) };
    let round = Round::new(node, opening);
    let context = Context::with_progress(Arc::clone(&round) as _, token);
    let running = if method == "server/discover" {
        let (server, served) = (Arc::clone(server), node.hall.versions.clone());
        let future = async move { discover::result(&server.discover(context, state).await?, &served) };
        Running::new(&round, &method, stamp, Box::pin(future))
    } else {
        let call = Call { method: method.clone(), id, params, parts: *parts, context };
        Running::new(&round, &method, stamp, Arc::clone(server).call(call, state))
    };
    Ok(running.answer().await)
}

/// What the transport answers, whatever the server serves.
fn is_ours(method: &str) -> bool {
    method == "server/discover" || method == listen::METHOD
}

/// How much of an unknown method a refusal repeats.
const MAX_METHOD: usize = 160;

/// What the session revisions have and this one has not.
fn was_removed(method: &str) -> bool {
    matches!(method, "initialize" | "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe")
}
