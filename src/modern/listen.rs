//! Subscriptions: answers `subscriptions/listen` with a stream. The stream first acknowledges the
//! filter, then sends changes, and ends with a result when the service ends (2026-07-28,
//! Subscriptions).
//!
//! 1. The answer is a stream in any response mode. A client that takes no streams is rejected.
//! 2. The subscription joins before the server states its capabilities, so that no change in
//!    between is missed.
//! 3. Every message names the subscription: the id of the request, as the client wrote it.
//! 4. It ends with the client's connection, or with a result when the service ends.
//!    (`notifications/cancelled` from a server is for transports without a stream to close.)
//! 5. Values that outlive the request are owned, because a slice of the body would keep the whole
//!    body.

use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};

use bytes::Bytes;
use http::request::Parts;

use super::filter::{Filter, Supported};
use super::request::Request;
use super::result_fields::ResultFields;
use super::round::{Opening, Round};
use super::run::Running;
use super::subscriptions::Subscription;
use super::{Node, call};
use crate::error::Rejection;
use crate::identity::AccessToken;
use crate::message::{ClientCapabilities, RawJson, RequestId, write};
use crate::outcome::Outcome;
use crate::server::change::Change;
use crate::server::server_trait::ErasedServer;
use crate::server::{Context, Discover};
use crate::settings::ResponseMode;
use crate::streams::{Expiry, Frame, Frames, Source};

pub(super) const METHOD: &str = "subscriptions/listen";

const ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";

/// Opens a subscription stream.
pub(super) async fn listen<S: Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    server: &Arc<dyn ErasedServer<S>>,
    state: S,
    opening: Opening,
    request: Request,
    takes_streams: bool,
) -> Result<Outcome, Rejection> {
    if !takes_streams {
        return Err(Rejection::NotAcceptable { needs: "text/event-stream" });
    }
    let takes_tasks = || {
        let declared = opening.meta.capabilities.as_ref().and_then(|raw| raw.read::<ClientCapabilities>().ok());
        declared.is_some_and(|client| client.takes_tasks())
    };
    let filter = Filter::read(request.params.as_ref(), takes_tasks)?;
    if node.core.is_draining() {
        return Err(Rejection::Draining);
    }
    let subscription_entry = node.subscriptions.join(filter, opening.account())?;
    let subscriptions = Arc::clone(node);
    node.core.in_background(Box::pin(async move { subscriptions.begin_receiving().await }));
    if server.handles_subscriptions() {
        subscription_entry.acknowledge(Supported::default())?;
        return Ok(subscribe(node, server, state, opening, request, subscription_entry).await);
    }
    let Request { params, parts, .. } = request;
    drop(params);
    let (subscription, info) = (Box::from(opening.id.as_json()), server.info());
    let capabilities = match capabilities(node, server, state, opening, parts).await {
        Ok(capabilities) => capabilities,
        Err(outcome) => return Ok(outcome),
    };
    let honoured = subscription_entry.acknowledge(Supported::read(&capabilities))?;
    let mut stream = SubscriptionStream { subscription, server: info, acknowledgement: None, subscription_entry };
    stream.acknowledgement = Some(stream.message(ACKNOWLEDGED, Some(("notifications", honoured.as_str()))));
    Ok(Outcome::Stream { prelude: None, source: Box::new(stream) })
}

/// Answers a subscription that the server handles itself, on a stream in any response mode. When
/// the service drains, it ends with a result, as the transport's subscriptions do.
async fn subscribe<S: Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    server: &Arc<dyn ErasedServer<S>>,
    state: S,
    mut opening: Opening,
    request: Request,
    subscription: Subscription,
) -> Outcome {
    opening.mode = ResponseMode::Sse;
    let result_fields = ResultFields { server: server.info(), cacheable: false };
    let round = Round::new(node, opening);
    let context = Context::with_token(Arc::clone(&round) as _, None, None);
    let method = request.method.clone();
    let result = result(round.id());
    let expires_at = request.parts.extensions.get::<AccessToken>().and_then(AccessToken::expires_at);
    let now = || node.member.clock.now();
    let valid = expires_at.map(|expires_at| expires_at.duration_since(now()).unwrap_or_default());
    let expired = async move {
        match valid {
            Some(valid) => tokio::time::sleep(valid).await,
            None => std::future::pending().await,
        }
    };
    let answer = call::answer(node, server, state, &round, request, context, None);
    let answer = Box::pin(async move {
        tokio::select! {
            biased;
            () = subscription.over() => Ok(result),
            () = expired => Ok(result),
            answer = answer => answer,
        }
    });
    Running::new(&round, method, result_fields, answer).answer().await
}

/// Queries the capabilities of the server. If that fails, the error is the answer to the request.
async fn capabilities<S: Clone + Send + Sync + 'static>(
    node: &Arc<Node>,
    server: &Arc<dyn ErasedServer<S>>,
    state: S,
    opening: Opening,
    parts: Box<Parts>,
) -> Result<RawJson, Outcome> {
    let round = Round::new(node, opening);
    let context = Context::with_token(Arc::clone(&round) as _, None, None);
    let discovery = Arc::clone(server).discover(Discover { parts, context }, state);
    let asking = Box::pin(async { Ok(discovery.await?.capabilities().clone()) });
    Running::new(&round, METHOD.into(), ResultFields::default(), asking).result().await
}

/// Returns the final result of a subscription that the server handles itself. The other members are
/// added as to every result.
fn result(id: &RequestId) -> RawJson {
    RawJson::trusted(format!(r#"{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{}}}}}"#, id.as_json()))
}

/// A subscription stream, as the source of a response.
#[derive(Debug)]
struct SubscriptionStream {
    /// The JSON text of the request's id.
    subscription: Box<str>,
    server: Option<RawJson>,
    /// Present until it was sent.
    acknowledgement: Option<Bytes>,
    subscription_entry: Subscription,
}

impl SubscriptionStream {
    fn notification(&self, change: &Change) -> Bytes {
        let mut uri = String::new();
        match change.uri() {
            Some(text) => {
                write::string_in(text, &mut uri);
                self.message(change.method(), Some(("uri", &uri)))
            }
            None => self.message(change.method(), None),
        }
    }

    /// Builds a notification of this subscription, with an optional member.
    fn message(&self, method: &str, member: Option<(&str, &str)>) -> Bytes {
        let mut params = String::with_capacity(128 + member.map_or(0, |(_, value)| value.len()));
        params.push('{');
        self.write_meta(None, &mut params);
        if let Some((name, value)) = member {
            params.push(',');
            write::string_in(name, &mut params);
            params.push(':');
            params.push_str(value);
        }
        params.push('}');
        write::notification(method, &RawJson::trusted(params))
    }

    /// Builds the answer to the request, which ends the stream.
    fn result(&self) -> Bytes {
        let mut text = String::with_capacity(256);
        text.push_str(r#"{"jsonrpc":"2.0","id":"#);
        text.push_str(&self.subscription);
        text.push_str(r#","result":{"resultType":"complete","#);
        self.write_meta(self.server.as_ref(), &mut text);
        text.push_str("}}");
        text.into()
    }

    fn write_meta(&self, server: Option<&RawJson>, out: &mut String) {
        out.push_str(r#""_meta":{"io.modelcontextprotocol/subscriptionId":"#);
        out.push_str(&self.subscription);
        if let Some(server) = server {
            out.push_str(r#","io.modelcontextprotocol/serverInfo":"#);
            out.push_str(&write::one_line(server.as_str()));
        }
        out.push('}');
    }
}

impl Source for SubscriptionStream {
    fn poll_next(&mut self, cx: &mut TaskContext<'_>) -> Poll<Frames> {
        let mut messages: Vec<Bytes> = self.acknowledgement.take().into_iter().collect();
        let last = self.subscription_entry.take(cx, |change| messages.push(self.notification(change)));
        if last {
            messages.push(self.result());
        }
        if messages.is_empty() {
            return Poll::Pending;
        }
        let frames = messages.into_iter().map(|payload| Frame::Message { id: None, payload });
        Poll::Ready(Frames { frames: frames.collect(), last })
    }

    fn expire(&mut self, cx: &mut TaskContext<'_>) -> Expiry {
        self.subscription_entry.end();
        match self.poll_next(cx) {
            Poll::Ready(frames) => Expiry::Ends(frames),
            Poll::Pending => Expiry::GoesOn,
        }
    }
}
