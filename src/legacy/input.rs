//! Decides how the client is asked: a question stands in a stream, its answer comes by POST on
//! any connection, the first answer counts. One that is given up is taken back
//! (`notifications/cancelled`), so that nobody is shown a question that leads nowhere. One that could
//! not be written, or that the engine forgot after it stood, is not waited for.

use std::sync::Arc;

use futures_util::future::{Either, select};
use serde_json::json;

use super::Node;
use super::exchange::Exchange;
use super::session::{Answer, LiveSession};
use super::ticket::Ticket;
use crate::message::{ErrorObject, RawJson, write};
use crate::server::ClientError;
use crate::server::channel::Channel;
use crate::store::{Event, EventKind, STANDALONE};

/// Asks on the stream of a call.
pub(super) async fn ask(ticket: &Ticket, method: &str, params: RawJson) -> Result<RawJson, ClientError> {
    let exchange = ticket.exchange();
    if ticket.has_ended() {
        return Err(ClientError::Ended);
    }
    let (session, stream) = exchange.log().ok_or(ClientError::NoStream)?;
    let node = exchange.node();
    let question = session.new_question(stream, node);
    let receiver = session.wait_for(question.clone()).ok_or(ClientError::Ended)?;
    let _open = Open { session, node, question: &question, exchange: Some(exchange) };
    exchange.emit(Event {
        kind: EventKind::Request(question.clone()),
        payload: write::request(&question, method, &params),
    });
    // A task that asks may outlive its call.
    match select(receiver, ticket.cancelled()).await {
        Either::Left((answer, _)) => read(answer.map_err(|_| ClientError::Ended)?),
        Either::Right(_) => Err(ClientError::Ended),
    }
}

/// Asks on the standalone stream; somebody must be listening there.
pub(super) async fn ask_standalone(
    session: &LiveSession,
    node: Option<Arc<Node>>,
    method: &str,
    params: RawJson,
) -> Result<RawJson, ClientError> {
    let node = node.ok_or(ClientError::Ended)?;
    let question = session.new_question(STANDALONE, &node);
    let receiver = session.wait_for(question.clone()).ok_or(ClientError::Ended)?;
    let _open = Open { session, node: &node, question: &question, exchange: None };
    let event =
        Event { kind: EventKind::Request(question.clone()), payload: write::request(&question, method, &params) };
    let published = node.engine.publish(session.info.id, node.id, event).await;
    node.count_lost(session.info.id, &published);
    match published {
        Ok(appended) if appended.read => session.asked(&question),
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

/// A question that is open. When nobody waits any more, its answer is not expected either, and its
/// client is told so.
struct Open<'a> {
    session: &'a LiveSession,
    node: &'a Node,
    question: &'a str,
    /// The call it was asked in; without one it stands on the standalone stream.
    exchange: Option<&'a Exchange>,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if !self.session.stop_waiting(self.question) {
            return;
        }
        self.node.step_in_background(self.node.engine.withdraw(self.session.info.id, self.question));
        let Ok(params) = RawJson::from_value(&json!({ "requestId": self.question })) else { return };
        let payload = write::notification("notifications/cancelled", &params);
        match self.exchange {
            Some(exchange) => drop(exchange.emit(Event { kind: EventKind::Notification, payload })),
            None => self.session.publish(payload),
        }
    }
}
