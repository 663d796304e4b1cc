//! Decides what a POST of the stateless revision is, and who answers it.

use std::borrow::Cow;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use http::request::Parts;

use super::admit::{Admitted, admit, admit_notification};
use super::handler::Answer;
use super::input::{self, Inputs};
use super::round::{Asking, Opening, Round};
use super::run::Running;
use super::stamp::{Stamp, is_cacheable};
use super::{Node, discover, mirror, task};
use crate::edge::McpHeaders;
use crate::error::Rejection;
use crate::identity::Principal;
use crate::message::{Body, Envelope, ErrorObject, Kind, ProtocolVersion, RawJson, RequestId, RequestMeta};
use crate::outcome::{Outcome, Reply};
use crate::server::context::Read;
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
    let refused = |rejection| Outcome::Rejected(rejection, None).into();
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
                Err(rejection) => refused(rejection),
            }
        }
        // Without the id: a client that reads errors by theirs would take it for its own request's.
        Body::One(Envelope { kind: Kind::Answer { .. }, .. }) => {
            refused(Rejection::NotAMessage("clients of 2026-07-28 do not send answers"))
        }
        Body::Batch(_) => refused(Rejection::BatchNotServed),
    }
}

async fn request<S: Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    server: &Arc<dyn ErasedServer<S>>,
    state: S,
    incoming: Incoming,
    asked: Asked,
) -> Result<Outcome, Rejection> {
    let Incoming { parts, headers, principal, meta, takes_streams: _ } = incoming;
    let Asked { id, method, params } = asked;
    let Admitted { meta, version } = admit(&method, meta, &headers, &parts.headers, &node.hall.versions)?;
    if method == "tools/call"
        && let Some(mirrored) = meta.name.as_ref().and_then(RawJson::text).and_then(|tool| server.mirrored(&tool))
    {
        mirror::check_arguments(&parts.headers, params.as_ref(), &mirrored)?;
    }
    if was_removed(&method) || !(method == "server/discover" || server.serves(&method)) {
        return Err(Rejection::method_not_found(&method));
    }
    if node.hall.is_draining() {
        return Err(Rejection::Draining);
    }
    let permit = node.calls.take(principal.as_ref());
    let permit = permit.map_err(|limit| Rejection::TooManyCallsOfPrincipal { limit })?;
    let stamp = Stamp { server: server.info(), cacheable: is_cacheable(&method) };
    let read = Read {
        progress_token: meta.progress_token.clone(),
        named: meta.name.clone().map(|name| (name, meta.arguments.clone())),
    };
    let asking = input::may_ask(&method).then(|| Asking { method: method.clone(), params: params.clone() });
    let known = asking
        .as_ref()
        .map_or_else(|| Ok(Inputs::default()), |asking| known(node, &meta, asking, principal.as_ref(), version));
    let (inputs, unusable) = match known {
        Ok(inputs) => (inputs, None),
        Err(error) => (Inputs::default(), Some(error)),
    };
    let round = Round::new(node, Opening { id: id.clone(), version, meta, principal, permit, asking, inputs });
    if let Some(error) = unusable {
        let refused = Box::pin(std::future::ready(Err(error)));
        return Ok(Running::new(&round, &method, stamp, refused).answer().await);
    }
    let context = Context::of_read(Arc::clone(&round) as _, read);
    let future: BoxFuture<'static, Answer> = match &*method {
        "server/discover" => {
            let (server, served) = (Arc::clone(server), node.hall.versions.clone());
            Box::pin(async move { discover::result(&server.discover(context, state).await?, &served) })
        }
        "tasks/get" | "tasks/update" | "tasks/cancel" if server.has_tasks() => {
            let capabilities = context.client_capabilities().cloned().unwrap_or_default();
            Box::pin(task::serve(Arc::clone(node), method.clone(), params, round.principal().cloned(), capabilities))
        }
        _ => {
            let call = Call { method: method.clone(), id, params, parts: *parts, context };
            Arc::clone(server).call(call, state)
        }
    };
    Ok(Running::new(&round, &method, stamp, future).answer().await)
}

/// What a request brings from the rounds before it.
fn known(
    node: &Node,
    meta: &RequestMeta,
    asking: &Asking,
    principal: Option<&Principal>,
    version: ProtocolVersion,
) -> Result<Inputs, ErrorObject> {
    let carried = match &meta.request_state {
        None => None,
        Some(sealed) => {
            let sealed: Option<Cow<'_, str>> = sealed.read_borrowed().ok();
            let open = |sealed: Cow<'_, str>| node.sealer.open(&sealed, &asking.purpose(principal, version));
            Some(sealed.and_then(open).ok_or_else(input::unusable)?)
        }
    };
    Inputs::read(carried.as_deref(), meta.input_responses.as_ref(), node.clock.unix_millis())
}

/// What the session revisions have and this one has not.
fn was_removed(method: &str) -> bool {
    matches!(method, "initialize" | "ping" | "logging/setLevel" | "resources/subscribe" | "resources/unsubscribe")
}
