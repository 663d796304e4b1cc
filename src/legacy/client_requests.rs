//! Requests to the client, and their answers.
//!
//! Each request is sent in a stream, and its answer arrives by POST on any connection. The first
//! answer counts. A request that is given up is withdrawn (`notifications/cancelled`), so that no
//! user is shown a request whose answer is no longer used. The wait also ends if a request could
//! not be written, or if the engine lost it afterwards.

use std::sync::Arc;

use futures_util::future::{BoxFuture, Either, select};
use serde_json::json;

use super::exchange::Exchange;
use super::member::Member;
use super::session::{Answer, LiveSession};
use crate::core::Core;
use crate::message::{ErrorObject, RawJson, write};
use crate::server::ClientError;
use crate::store::{Event, EventKind, STANDALONE};

/// Sends a request on the stream of a call. The wait ends with the call.
pub(super) async fn request(
    exchange: &Exchange,
    ended: BoxFuture<'_, ()>,
    method: &str,
    params: RawJson,
) -> Result<RawJson, ClientError> {
    let (session, stream) = exchange.log().ok_or(ClientError::NoStream)?;
    let node = exchange.node();
    let request = session.open_request(stream, node.id);
    let receiver = session.wait_for(request.clone()).ok_or(ClientError::Ended)?;
    let _open = Open { session, core: &node.core, question: &request, exchange: Some(exchange) };
    exchange
        .emit(Event { kind: EventKind::Request(request.clone()), payload: write::request(&request, method, &params) });
    // A task that sends a request may outlive its call.
    match select(receiver, ended).await {
        Either::Left((answer, _)) => read(answer.map_err(|_| ClientError::Ended)?),
        Either::Right(_) => Err(ClientError::Ended),
    }
}

/// Sends a request on the standalone stream, which must have a reader.
pub(super) async fn request_standalone(
    session: &LiveSession,
    member: Option<Arc<Member>>,
    method: &str,
    params: RawJson,
) -> Result<RawJson, ClientError> {
    let member = member.ok_or(ClientError::Ended)?;
    let (core, node) = (&member.core, member.id);
    let request = session.open_request(STANDALONE, node);
    let receiver = session.wait_for(request.clone()).ok_or(ClientError::Ended)?;
    let _open = Open { session, core, question: &request, exchange: None };
    let event = Event { kind: EventKind::Request(request.clone()), payload: write::request(&request, method, &params) };
    let published = core.engine.publish(session.info.id, node, event).await;
    core.count_lost(session.info.id, &published);
    match published {
        Ok(appended) if appended.read => session.mark_sent(&request),
        Ok(_) => return Err(ClientError::NoStream),
        Err(_) => return Err(ClientError::Ended),
    }
    read(receiver.await.map_err(|_| ClientError::Ended)?)
}

fn read(answer: Answer) -> Result<RawJson, ClientError> {
    answer.map_err(|error| match error.read::<ErrorObject>() {
        Ok(error) => ClientError::Refused(error),
        Err(unreadable) => ClientError::Unreadable(unreadable),
    })
}

/// An open request to the client. When its wait ends early, the engine no longer expects an answer,
/// and the client receives a cancellation.
struct Open<'a> {
    session: &'a LiveSession,
    core: &'a Core,
    question: &'a str,
    /// The call that sent the request. Without one, the request is on the standalone stream.
    exchange: Option<&'a Exchange>,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if !self.session.stop_waiting(self.question) {
            return;
        }
        self.core.step_in_background(self.core.engine.withdraw_request(self.session.info.id, self.question));
        let Ok(params) = RawJson::from_value(&json!({ "requestId": self.question })) else { return };
        let payload = write::notification("notifications/cancelled", &params);
        match self.exchange {
            Some(exchange) => drop(exchange.emit(Event { kind: EventKind::Notification, payload })),
            None => self.session.publish(payload),
        }
    }
}
