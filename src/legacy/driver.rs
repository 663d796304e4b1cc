//! The driver of an exchange: polls the handlers of one POST together. It runs inline or in a task,
//! until each handler has answered, failed, panicked or been cancelled.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tracing::{Span, field};

use super::cells::{Cause, RunningCall};
use super::exchange::{Delivery, Denied, Exchange};
use super::in_flight::InFlight;
use super::outbox::Next;
use super::writer::Writer;
use crate::core::LogLine;
use crate::edge::BodyShare;
use crate::error::StoreErrorKind;
use crate::message::{ErrorObject, RawJson, shown, write};
use crate::panics::{Contained, Panicked};

/// A running handler.
pub(super) struct Handler {
    pub(super) in_flight: Arc<InFlight>,
    future: Contained<Result<RawJson, ErrorObject>>,
    /// Entered at each poll. The handler moves between tasks, and its log lines must still name
    /// their call.
    span: Span,
}

/// The handlers of one POST. There is nearly always one.
pub(super) struct Handlers {
    first: Option<Handler>,
    rest: Vec<Handler>,
    /// The share of the body budget that the handlers' arguments occupy.
    _share: Option<Arc<BodyShare>>,
}

impl Handlers {
    pub(super) fn one(handler: Handler, share: Option<Arc<BodyShare>>) -> Self {
        Self { first: Some(handler), rest: Vec::new(), _share: share }
    }

    pub(super) fn many(handlers: Vec<Handler>, share: Option<Arc<BodyShare>>) -> Self {
        Self { first: None, rest: handlers, _share: share }
    }

    /// Returns the span of the first handler.
    fn span(&self) -> Span {
        self.first.as_ref().or(self.rest.first()).map_or_else(Span::none, |handler| handler.span.clone())
    }

    /// Polls each handler that still runs and collects the answers. Returns `true` when all have
    /// ended.
    fn poll(&mut self, cx: &mut Context<'_>, answers: &mut Vec<Bytes>) -> bool {
        if self.first.as_mut().is_some_and(|handler| handler.poll(cx, answers)) {
            self.first = None;
        }
        self.rest.retain_mut(|handler| !handler.poll(cx, answers));
        self.first.is_none() && self.rest.is_empty()
    }
}

impl Handler {
    /// Creates a handler. Its log lines are within its own span, inside the request's span.
    pub(super) fn new(
        in_flight: Arc<InFlight>,
        method: &str,
        future: BoxFuture<'static, Result<RawJson, ErrorObject>>,
    ) -> Self {
        let session = in_flight.exchange().session().map(|session| field::debug(session.info.id));
        let span = tracing::info_span!(
            "mcp.call",
            method = &*shown(method),
            tool = field::Empty,
            id = %shown(in_flight.id().as_json()),
            session
        );
        Self { in_flight, future: Contained::new(future), span }
    }

    /// Polls the handler. Returns `true` when it has ended; the caller drops it at once.
    fn poll(&mut self, cx: &mut Context<'_>, answers: &mut Vec<Bytes>) -> bool {
        if let Some(cause) = self.in_flight.cause() {
            if let Some(error) = cause.error() {
                answers.push(write::answer(self.in_flight.id(), &Err(error)));
            }
            if cause == Cause::SessionEnded {
                self.in_flight.exchange().deny(Denied::SessionEnded);
            }
            return true;
        }
        let _entered = self.span.enter();
        let outcome = match Pin::new(&mut self.future).poll(cx) {
            Poll::Pending => return false,
            Poll::Ready(Ok(outcome)) => outcome,
            Poll::Ready(Err(Panicked)) => {
                if let Some(left_out) = self.in_flight.exchange().node().core.log_line(LogLine::Panicked) {
                    tracing::error!(left_out, "a handler panicked");
                }
                Err(ErrorObject::internal())
            }
        };
        let (outcome, too_large) = self.in_flight.exchange().node().core.bound(outcome);
        if too_large {
            self.in_flight.exchange().deny(Denied::TooLarge);
        }
        if let Err(error) = &outcome
            && let Some(scopes) = error.required_scopes()
        {
            self.in_flight.exchange().deny(Denied::Scopes(scopes));
        }
        match &outcome {
            Ok(_) => tracing::debug!("answered"),
            Err(error) => tracing::debug!(code = error.code, "answered with an error"),
        }
        answers.push(write::answer(self.in_flight.id(), &outcome));
        true
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.in_flight.end();
    }
}

/// Runs the handlers of an exchange to their end. Their messages are written to its stream, and so
/// are their answers once the exchange streams. Otherwise the answers remain in the exchange.
///
/// # Cancel safety
///
/// Not cancel safe: the future must be run to its end, by another task if necessary.
pub(super) async fn run(exchange: Arc<Exchange>, mut handlers: Handlers) {
    let mut writer = Writer::new(&exchange, handlers.span());
    let mut answered = false;
    loop {
        let (next, done) = poll_fn(|cx| {
            exchange.register_work(cx.waker());
            let mut answers = Vec::new();
            exchange.start_polling();
            let done = handlers.poll(cx, &mut answers);
            answered |= !answers.is_empty();
            match exchange.stop_polling(&mut answers, done) {
                Next::Wait => Poll::Pending,
                next => Poll::Ready((next, done)),
            }
        })
        .await;
        match next {
            Next::Wait => {}
            Next::Recheck => writer.recheck().await,
            Next::Write(events) => writer.write(events, done && answered).await,
        }
        if done {
            break;
        }
    }
    let closed = writer.has_closed();
    exchange.end();
    finish(&exchange, closed).await;
}

/// Closes a queue and unregisters the calls. They are also finished in the engine, unless the end
/// of the log did that.
async fn finish(exchange: &Exchange, closed: bool) {
    match exchange.outlet() {
        Delivery::Queue(queue) => drop(queue.push(std::iter::empty(), true)),
        Delivery::Log | Delivery::Discard => {}
    }
    let (Some(session), Some(stream)) = (exchange.session(), exchange.stream()) else { return };
    session.unregister(stream);
    if !closed {
        let (node, id) = (exchange.node(), session.info.id);
        // A session that has ended has no calls in flight either.
        if let Err(error) = node.core.engine.finish(id, stream).await
            && error.kind() != StoreErrorKind::NotFound
            && let Some(left_out) = node.core.log_line(LogLine::Background)
        {
            tracing::warn!(error = &error as &dyn std::error::Error, left_out, "a call could not be finished");
        }
    }
}
