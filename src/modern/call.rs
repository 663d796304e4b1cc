//! Calls: passes a call to the server or to the transport, with the values of its earlier rounds.

use std::borrow::Cow;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::input::{self, Inputs};
use super::request::Request;
use super::result_fields::{ResultFields, is_cacheable};
use super::round::{InputScope, Opening, Round};
use super::run::Running;
use super::{Node, discover, task};
use crate::core::Answer;
use crate::error::Rejection;
use crate::message::{ErrorObject, Outline, RawJson};
use crate::outcome::Outcome;
use crate::server::server_trait::ErasedServer;
use crate::server::{Call, Context, Discover};

pub(super) const DISCOVER: &str = "server/discover";

/// Answers a call.
pub(super) async fn call<S: Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    server: &Arc<dyn ErasedServer<S>>,
    state: S,
    mut opening: Opening,
    request: Request,
) -> Result<Outcome, Rejection> {
    opening.permit = Some(node.core.acquire(opening.account(), 1)?);
    let result_fields = ResultFields { server: server.info(), cacheable: is_cacheable(&request.method) };
    let token = opening.meta.progress_token.clone();
    let outline = opening.meta.name.clone().map(|name| Outline { name, arguments: opening.meta.arguments.clone() });
    let unusable = if server.handles_input_requests() {
        None
    } else {
        open_request_state(node, result_fields.server.clone(), &mut opening, &request).err()
    };
    let round = Round::new(node, opening);
    let context = Context::with_token(Arc::clone(&round) as _, request.params.clone(), token);
    let method = request.method.clone();
    let answer = match unusable {
        Some(error) => Box::pin(std::future::ready(Err(error))),
        None => answer(node, server, state, &round, request, context, outline),
    };
    Ok(Running::new(&round, method, result_fields, answer).answer().await)
}

/// Returns the future that answers a call, by the server or by the transport.
pub(super) fn answer<S: Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    server: &Arc<dyn ErasedServer<S>>,
    state: S,
    round: &Arc<Round>,
    request: Request,
    context: Context,
    outline: Option<Outline>,
) -> BoxFuture<'static, Answer> {
    let Request { method, params, parts } = request;
    let server = Arc::clone(server);
    match &*method {
        DISCOVER => {
            let served = node.core.versions.clone();
            Box::pin(
                async move { discover::result(&server.discover(Discover { parts, context }, state).await?, &served) },
            )
        }
        "tasks/get" | "tasks/update" | "tasks/cancel" if server.uses_tasks() => {
            let capabilities = context.client_capabilities().cloned().unwrap_or_default();
            Box::pin(task::serve(Arc::clone(&node.member), method, params, round.principal().cloned(), capabilities))
        }
        _ => server.call(Call { method, id: round.id().clone(), params, parts, context, outline }, state),
    }
}

/// Reads the values of earlier rounds, for a call that may send requests to its client.
fn open_request_state(
    node: &Node,
    server: Option<RawJson>,
    opening: &mut Opening,
    request: &Request,
) -> Result<(), ErrorObject> {
    if !input::may_request(&request.method) {
        return Ok(());
    }
    let asking = InputScope { method: request.method.clone(), params: request.params.clone(), server };
    let carried = match &opening.meta.request_state {
        None => None,
        Some(sealed) => {
            let purpose = || asking.purpose(&node.core.settings.inputs, opening.principal.as_ref(), opening.version);
            let open = |sealed: Cow<'_, str>| node.sealer.open(&sealed, &purpose());
            Some(sealed.text().and_then(open).ok_or_else(input::unusable)?)
        }
    };
    let given = opening.meta.input_responses.as_ref();
    if carried.is_some() || given.is_some() {
        opening.inputs = Inputs::read(carried.as_deref(), given, node.member.clock.unix_millis())?;
    }
    opening.input_scope = Some(asking);
    Ok(())
}
