//! Decides which form the answer to a POST takes, at the last moment it can be decided.
//!
//! 1. The handlers are polled inside the request's own future: a call that answers without
//!    streaming costs no task, no channel and no timer, and leaves as one JSON body.
//! 2. The first streamed message, or a short silence, makes it a stream. Then the handlers move to
//!    a task of their own, so that a slow reader never slows them, and the response is a cursor on
//!    what they write.
//! 3. A client that goes away does not cancel (2025-11-25, Streamable HTTP, "Sending messages to
//!    the server", 6): a request future that is dropped leaves its handlers to a task. Outside a session it does
//!    cancel: its answer could not be fetched, and no other request can cancel it.

use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Sleep;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::exchange::{Exchange, Outlet};
use super::reader::LogReader;
use super::ticket::{Cause, Ticket};
use super::work::{Handlers, run};
use crate::error::{Rejection, StoreErrorKind};
use crate::message::{RequestId, write};
use crate::outcome::Outcome;
use crate::settings::ResponseMode;
use crate::streams::{Frame, Frames, QueueReader, Source};

/// What decides the form besides the calls themselves.
pub(super) struct Form {
    pub(super) mode: ResponseMode,
    /// The answers of a batch leave as an array, even a single one.
    pub(super) batch: bool,
    /// Where a queue is read; `None` for logs and JSON.
    pub(super) queue: Option<QueueReader>,
}

/// Runs the handlers of an exchange until the form of its answer is clear.
pub(super) async fn answer(
    exchange: Arc<Exchange>,
    tickets: Vec<Arc<Ticket>>,
    handlers: Handlers,
    form: Form,
) -> Outcome {
    if form.mode == ResponseMode::Sse {
        exchange.start_streaming();
    }
    let mut work = Work::new(&exchange, tickets, handlers);
    let silence = (form.mode == ResponseMode::Auto).then_some(exchange.node().settings.streams.silence);
    let finished = inline(&mut work, &exchange, silence).await;
    if finished && !exchange.is_streaming() {
        return at_once(&exchange, &work.tickets, &form);
    }
    let mut outcome = stream(&exchange, form.queue).await;
    if let Outcome::Rejected(_, id) = &mut outcome {
        // The client hears that its calls failed: they shall not go on behind its back.
        work.tickets.iter().for_each(|ticket| ticket.cancel(Cause::Refused));
        *id = work.tickets.first().map(|ticket| RequestId::clone(ticket.id()));
    }
    // Only now, so that the reader is there before the first event that wakes it.
    work.move_to_task();
    outcome
}

/// Polls the work in place until it is finished (true) or streams (false).
async fn inline(work: &mut Work, exchange: &Exchange, silence: Option<Duration>) -> bool {
    let mut timer = pin!(None::<Sleep>);
    poll_fn(|cx| {
        if work.poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        if exchange.is_streaming() {
            return Poll::Ready(false);
        }
        let Some(silence) = silence else { return Poll::Pending };
        if timer.is_none() {
            timer.set(Some(tokio::time::sleep(silence)));
        }
        let rang = timer.as_mut().as_pin_mut().is_some_and(|timer| timer.poll(cx).is_ready());
        if !rang {
            return Poll::Pending;
        }
        exchange.start_streaming();
        Poll::Ready(!exchange.is_streaming())
    })
    .await
}

/// The handlers have ended, and nothing streamed.
fn at_once(exchange: &Exchange, tickets: &[Arc<Ticket>], form: &Form) -> Outcome {
    let mut answers = exchange.take_answers();
    if answers.is_empty() {
        let ended = tickets.iter().find(|ticket| ticket.cause() == Some(Cause::SessionEnded));
        return match ended {
            Some(ticket) => Outcome::Rejected(Rejection::SessionEnded, Some(RequestId::clone(ticket.id()))),
            None if form.mode == ResponseMode::Json => Outcome::Accepted,
            None => Outcome::ShortStream(None),
        };
    }
    match answers.pop() {
        Some(answer) if !form.batch => Outcome::Json(answer),
        Some(answer) => {
            answers.push(answer);
            Outcome::Json(write::batch(&answers))
        }
        None => Outcome::Accepted,
    }
}

/// The response is a cursor on what the handlers write.
async fn stream(exchange: &Arc<Exchange>, queue: Option<QueueReader>) -> Outcome {
    if let (Outlet::Queue(_), Some(reader)) = (exchange.outlet(), queue) {
        return Outcome::Stream { prelude: None, source: Box::new(reader) };
    }
    let (Some((session, stream)), node) = (exchange.log(), exchange.node()) else {
        return Rejection::Internal.into();
    };
    let streams = &node.settings.streams;
    match LogReader::open(node, session, exchange.principal(), stream, Some(0), true).await {
        Ok(reader) => {
            let primes = streams.resumable && exchange.version().has_priming();
            let prelude = primes.then(|| Frame::Prime { id: reader.position(), retry: streams.retry_interval });
            if let Some(send_off) = exchange.attached() {
                reader.hang_up(send_off);
            }
            Outcome::Stream { prelude, source: Box::new(reader) }
        }
        // The calls were cancelled, or the session ended, before anything was written.
        Err(error) if error.kind() == StoreErrorKind::NotFound => {
            Outcome::Stream { prelude: None, source: Box::new(Nothing) }
        }
        Err(error) if error.kind() == StoreErrorKind::Full => {
            Rejection::TooManyStreams { limit: node.settings.policy().max_streams }.into()
        }
        Err(error) => node.refusal(&error).into(),
    }
}

/// A stream that ends before it began.
#[derive(Debug)]
struct Nothing;

impl Source for Nothing {
    fn poll_next(&mut self, _cx: &mut Context<'_>) -> Poll<Frames> {
        Poll::Ready(Frames { frames: Vec::new(), last: true })
    }
}

/// The work of an exchange; dropped before its end, it goes on in a task, or ends if nobody can have its answers.
struct Work {
    exchange: Arc<Exchange>,
    tickets: Vec<Arc<Ticket>>,
    future: Option<BoxFuture<'static, ()>>,
    /// A draining service waits for this: until the work is done, and its response under way. It is not the
    /// exchange's, which lives on in a context that somebody keeps.
    active: Option<TaskTrackerToken>,
}

impl Work {
    fn new(exchange: &Arc<Exchange>, tickets: Vec<Arc<Ticket>>, handlers: Handlers) -> Self {
        let active = Some(exchange.node().running.token());
        let future: BoxFuture<'static, ()> = Box::pin(run(Arc::clone(exchange), handlers));
        Self { exchange: Arc::clone(exchange), tickets, future: Some(future), active }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(future) = &mut self.future else { return Poll::Ready(()) };
        let polled = Pin::new(future).poll(cx);
        if polled.is_ready() {
            self.future = None;
        }
        polled
    }

    fn move_to_task(&mut self) {
        // The response has its reader by now, or will never have one.
        self.exchange.attached();
        let Some(mut future) = self.future.take() else { return };
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let (exchange, active) = (Arc::clone(&self.exchange), self.active.take());
        let tickets = std::mem::take(&mut self.tickets);
        self.exchange.node().tasks.spawn(async move {
            let left = async {
                match exchange.outlet() {
                    Outlet::Queue(queue) => queue.reader_left().await,
                    Outlet::Log | Outlet::Nowhere => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = &mut future => {}
                () = left => abandon(&exchange, &tickets, future),
            }
            drop(active);
        });
    }
}

/// No client can have the answers: what still runs is cancelled.
fn abandon(exchange: &Exchange, tickets: &[Arc<Ticket>], work: BoxFuture<'static, ()>) {
    tickets.iter().for_each(|ticket| ticket.cancel(Cause::Client));
    drop(work);
    exchange.end();
    tracing::debug!("cancelled: the client has left");
}

impl Drop for Work {
    fn drop(&mut self) {
        if self.exchange.session().is_some() {
            self.move_to_task();
        } else if let Some(work) = self.future.take() {
            abandon(&self.exchange, &self.tickets, work);
        }
    }
}
