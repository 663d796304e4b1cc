//! Decides how the handlers of one POST run: polled side by side in one task, which task ever
//! that is, until each has answered, failed, panicked or been cancelled.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tracing::{Span, field};

use super::exchange::{Exchange, Outlet};
use super::pace::Written;
use super::ticket::{Cause, Ticket};
use crate::error::StoreErrorKind;
use crate::message::{ErrorObject, RawJson, write};
use crate::store::{Append, Event};

/// A handler that runs.
pub(super) struct Handler {
    pub(super) ticket: Arc<Ticket>,
    pub(super) future: BoxFuture<'static, Result<RawJson, ErrorObject>>,
    /// Entered at each poll: the handler moves to a task, and what it logs must still say for whom.
    span: Span,
}

/// The handlers of one POST; nearly always one.
pub(super) struct Handlers {
    first: Option<Handler>,
    rest: Vec<Handler>,
}

impl Handlers {
    pub(super) fn one(handler: Handler) -> Self {
        Self { first: Some(handler), rest: Vec::new() }
    }

    pub(super) fn many(handlers: Vec<Handler>) -> Self {
        Self { first: None, rest: handlers }
    }

    /// Polls each handler that still runs and collects answers; whether all have ended.
    fn poll(&mut self, cx: &mut Context<'_>, answers: &mut Vec<Bytes>) -> bool {
        if self.first.as_mut().is_some_and(|handler| handler.poll(cx, answers)) {
            self.first = None;
        }
        self.rest.retain_mut(|handler| !handler.poll(cx, answers));
        self.first.is_none() && self.rest.is_empty()
    }
}

impl Handler {
    /// A handler, its log lines within a span of its own, inside the request's.
    pub(super) fn new(
        ticket: Arc<Ticket>,
        method: &str,
        future: BoxFuture<'static, Result<RawJson, ErrorObject>>,
    ) -> Self {
        let session = ticket.exchange().session().map(|session| field::debug(session.info.id));
        let span = tracing::info_span!("mcp.call", method, tool = field::Empty, id = %ticket.id(), session);
        Self { ticket, future, span }
    }

    /// Whether the handler has ended. A cancelled one is dropped at once by the caller.
    fn poll(&mut self, cx: &mut Context<'_>, answers: &mut Vec<Bytes>) -> bool {
        if let Some(cause) = self.ticket.cause() {
            if cause == Cause::Shutdown {
                let error = ErrorObject::new(ErrorObject::INTERNAL_ERROR, "The server is shutting down");
                answers.push(write::answer(self.ticket.id(), &Err(error)));
            }
            return true;
        }
        let _entered = self.span.enter();
        // A handler that panicked is not polled again.
        let polled = catch_unwind(AssertUnwindSafe(|| self.future.as_mut().poll(cx)));
        let outcome = match polled {
            Ok(Poll::Pending) => return false,
            Ok(Poll::Ready(outcome)) => outcome,
            Err(_) => {
                tracing::error!("a handler panicked");
                Err(ErrorObject::internal())
            }
        };
        match &outcome {
            Ok(_) => tracing::debug!("answered"),
            Err(error) => tracing::debug!(code = error.code, "answered with an error"),
        }
        answers.push(write::answer(self.ticket.id(), &outcome));
        true
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.ticket.end();
    }
}

/// Runs the handlers of an exchange to their end. What they stream, and their answers once
/// something streams, is written to its stream; otherwise the answers wait in the exchange.
///
/// # Cancel safety
///
/// None: the future must be run to its end, by another task if need be.
pub(super) async fn run(exchange: Arc<Exchange>, mut handlers: Handlers) {
    let mut writer = Writer { exchange: &exchange, next: 1, closed: false, unread: VecDeque::new(), unread_bytes: 0 };
    let mut answered = false;
    loop {
        let (events, done) = poll_fn(|cx| {
            exchange.register_work(cx.waker());
            let mut answers = Vec::new();
            exchange.start_polling();
            let done = handlers.poll(cx, &mut answers);
            answered |= !answers.is_empty();
            match exchange.stop_polling(&mut answers, done) {
                Some(events) => Poll::Ready((events, done)),
                None => Poll::Pending,
            }
        })
        .await;
        writer.write(events, done && answered).await;
        if done {
            break;
        }
    }
    let closed = writer.closed;
    exchange.end();
    finish(&exchange, closed).await;
}

/// The calls are in flight no more.
async fn finish(exchange: &Exchange, closed: bool) {
    match exchange.outlet() {
        Outlet::Queue(queue) => drop(queue.push(std::iter::empty(), true)),
        Outlet::Log | Outlet::Nowhere => {}
    }
    let (Some(session), Some(stream)) = (exchange.session(), exchange.stream()) else { return };
    session.unregister(stream);
    if !closed {
        let (node, id) = (exchange.node(), session.info.id);
        // A session that has ended has nothing in flight either.
        if let Err(error) = node.engine.finish(id, stream).await
            && error.kind() == StoreErrorKind::Unavailable
        {
            node.give_back(move |engine| engine.finish(id, stream));
        }
    }
}

/// The one that writes to the stream.
struct Writer<'a> {
    exchange: &'a Exchange,
    next: u64,
    closed: bool,
    /// The sizes of the newest messages, as far back as the reader may not have taken them.
    unread: VecDeque<usize>,
    unread_bytes: usize,
}

impl Writer<'_> {
    async fn write(&mut self, events: Vec<Event>, close: bool) {
        if !self.exchange.is_streaming() || (events.is_empty() && !close) {
            return;
        }
        match self.exchange.outlet() {
            Outlet::Nowhere => {}
            Outlet::Queue(queue) => {
                let room = queue.push(events.into_iter().map(|event| event.payload), close);
                self.exchange.queued(!room);
            }
            Outlet::Log => self.append(events, close).await,
        }
    }

    /// The engine counts what is unread in bytes; the sizes tell how many messages that are.
    fn remember(&mut self, sizes: Vec<usize>, unread: usize) {
        self.unread_bytes += sizes.iter().sum::<usize>();
        self.unread.extend(sizes);
        while self.unread_bytes > unread
            && let Some(taken) = self.unread.pop_front()
        {
            self.unread_bytes -= taken;
        }
    }

    async fn append(&mut self, events: Vec<Event>, close: bool) {
        let (node, Some((session, stream))) = (self.exchange.node(), self.exchange.log()) else { return };
        let sizes: Vec<usize> = events.iter().map(|event| event.payload.len()).collect();
        let append = Append { session: session.info.id, stream, node: node.id, first: self.next, events, close };
        match node.engine.append(append).await {
            Ok(appended) => {
                self.next += sizes.len() as u64;
                self.closed |= close;
                node.counters.dropped(appended.dropped);
                if appended.cancelled {
                    session.look_for_cancellations(node, stream);
                }
                self.remember(sizes, appended.unread);
                self.exchange.written(Written {
                    untaken_events: self.unread.len(),
                    untaken_bytes: appended.unread,
                    read: appended.read,
                });
            }
            Err(error) => {
                match error.kind() {
                    // A session that ended takes its calls with it.
                    StoreErrorKind::NotFound => {}
                    StoreErrorKind::Fenced => {
                        tracing::warn!(session = ?session.info.id, "a call was given up while this node was away");
                        session.give_up(stream);
                    }
                    // The engine has forgotten what was said last: nothing that follows would be taken, and
                    // whoever reads would wait for it in vain.
                    StoreErrorKind::Conflict => {
                        tracing::error!(session = ?session.info.id, "a call was given up whose messages were forgotten");
                        session.give_up(stream);
                    }
                    // The rest is for the operator.
                    _ => tracing::error!(error = &error as &dyn std::error::Error, "messages of a call were lost"),
                }
                self.exchange.written(Written::default());
            }
        }
    }
}
