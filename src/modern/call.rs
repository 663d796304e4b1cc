//! Calls: passes a call to the server or to the transport, with the values of its earlier rounds.

use std::borrow::Cow;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::handler::Answer;
use super::input::{self, Inputs};
use super::listening::Seat;
use super::post::Asked;
use super::round::{Asking, Opening, Round};
use super::run::Running;
use super::stamp::{Stamp, is_cacheable};
use super::{Node, discover, listen, task};
use crate::error::Rejection;
use crate::message::{ErrorObject, RawJson};
use crate::outcome::Outcome;
use crate::server::context::Read;
use crate::server::contract::ErasedServer;
use crate::server::{Call, Context, Discover};
use crate::settings::ResponseMode;

pub(super) const DISCOVER: &str = "server/discover";

/// Answers a call.
pub(super) async fn call<S: Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    server: &Arc<dyn ErasedServer<S>>,
    state: S,
    mut opening: Opening,
    asked: Asked,
) -> Result<Outcome, Rejection> {
    opening.permit = Some(node.hall.let_in(opening.account(), 1)?);
    let stamp = Stamp { server: server.info(), cacheable: is_cacheable(&asked.method) };
    let read = Read {
        params: asked.params.clone(),
        progress_token: opening.meta.progress_token.clone(),
        named: opening.meta.name.clone().map(|name| (name, opening.meta.arguments.clone())),
    };
    let unusable =
        if server.own_rounds() { None } else { know(node, stamp.server.clone(), &mut opening, &asked).err() };
    let round = Round::new(node, opening);
    let context = Context::of_read(Arc::clone(&round) as _, read);
    let method = asked.method.clone();
    let answer = match unusable {
        Some(error) => Box::pin(std::future::ready(Err(error))),
        None => answer(node, server, state, &round, asked, context),
    };
    Ok(Running::new(&round, method, stamp, answer).answer().await)
}

/// Answers a subscription that the server handles itself, on a stream in any response mode. When
/// the service drains, it ends with a result, as the transport's subscriptions do.
pub(super) async fn subscribe<S: Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    server: &Arc<dyn ErasedServer<S>>,
    state: S,
    mut opening: Opening,
    asked: Asked,
    seat: Seat,
) -> Outcome {
    opening.mode = ResponseMode::Sse;
    let stamp = Stamp { server: server.info(), cacheable: false };
    let round = Round::new(node, opening);
    let context = Context::of_read(Arc::clone(&round) as _, Read::default());
    let method = asked.method.clone();
    let result = listen::result(round.id());
    let answer = answer(node, server, state, &round, asked, context);
    let answer = Box::pin(async move {
        tokio::select! {
            biased;
            () = seat.over() => Ok(result),
            answer = answer => answer,
        }
    });
    Running::new(&round, method, stamp, answer).answer().await
}

/// Returns the future that answers a call, by the server or by the transport.
fn answer<S: Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    server: &Arc<dyn ErasedServer<S>>,
    state: S,
    round: &Arc<Round>,
    asked: Asked,
    context: Context,
) -> BoxFuture<'static, Answer> {
    let Asked { method, params, parts } = asked;
    let server = Arc::clone(server);
    match &*method {
        DISCOVER => {
            let served = node.hall.versions.clone();
            Box::pin(
                async move { discover::result(&server.discover(Discover { parts, context }, state).await?, &served) },
            )
        }
        "tasks/get" | "tasks/update" | "tasks/cancel" if server.has_tasks() => {
            let capabilities = context.client_capabilities().cloned().unwrap_or_default();
            Box::pin(task::serve(Arc::clone(node), method, params, round.principal().cloned(), capabilities))
        }
        _ => server.call(Call { method, id: round.id().clone(), params, parts, context }, state),
    }
}

/// Reads the values of earlier rounds, for a call that may send requests to its client.
fn know(node: &Node, server: Option<RawJson>, opening: &mut Opening, asked: &Asked) -> Result<(), ErrorObject> {
    if !input::may_ask(&asked.method) {
        return Ok(());
    }
    let asking = Asking { method: asked.method.clone(), params: asked.params.clone(), server };
    let carried = match &opening.meta.request_state {
        None => None,
        Some(sealed) => {
            let purpose = || asking.purpose(&node.hall.settings.inputs, opening.principal.as_ref(), opening.version);
            let open = |sealed: Cow<'_, str>| node.sealer.open(&sealed, &purpose());
            Some(sealed.text().and_then(open).ok_or_else(input::unusable)?)
        }
    };
    let given = opening.meta.input_responses.as_ref();
    if carried.is_some() || given.is_some() {
        opening.inputs = Inputs::read(carried.as_deref(), given, node.clock.unix_millis())?;
    }
    opening.asking = Some(asking);
    Ok(())
}
