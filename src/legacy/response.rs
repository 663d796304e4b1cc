//! The form of the response to a POST: JSON or a stream, chosen as late as possible.
//!
//! 1. Handlers are polled inside the request's own future. A call that answers without streaming
//!    needs no task, no channel and no timer, and is answered with one JSON body.
//! 2. The first streamed message, or a short delay without an answer, turns the response into a
//!    stream. The handlers then move to their own task, so that a slow reader never slows them. The
//!    response becomes a cursor on what they write; the cursor exists before anything is written.
//! 3. A disconnect does not cancel a call (2025-11-25, Streamable HTTP, "Sending messages to the
//!    server", 6). A dropped request future leaves its handlers to a task. Outside a session a
//!    disconnect does cancel: the answer could not be fetched, and no other request can cancel the
//!    call.

use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::Sleep;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::cells::{Cause, RunningCall};
use super::driver::{Handlers, run};
use super::exchange::{Delivery, Exchange};
use super::in_flight::InFlight;
use super::reader::LogReader;
use crate::error::{Limit, Rejection, StoreErrorKind};
use crate::message::{RequestId, write};
use crate::outcome::Outcome;
use crate::panics::OnAbort;
use crate::settings::ResponseMode;
use crate::streams::{Frame, QueueReader};

/// What determines the form, besides the calls themselves.
pub(super) struct Form {
    pub(super) mode: ResponseMode,
    /// The answers of a batch are sent as an array, even a single one.
    pub(super) batch: bool,
    /// The reading end of a queue; `None` for logs and JSON.
    pub(super) queue: Option<QueueReader>,
}

/// Runs the handlers of an exchange until the form of the response is determined.
pub(super) async fn answer(
    exchange: Arc<Exchange>,
    calls: Vec<Arc<InFlight>>,
    handlers: Handlers,
    mut form: Form,
) -> Outcome {
    if form.mode == ResponseMode::Sse {
        exchange.start_streaming();
    }
    if form.batch {
        // One status covers all calls of the batch.
        exchange.begin_response();
    }
    let mut work = Work::new(&exchange, calls, handlers);
    let silence = (form.mode == ResponseMode::Auto).then_some(exchange.node().core.settings.streams.stream_after);
    let finished = inline(&mut work, &exchange, silence).await;
    if finished && !exchange.is_streaming() {
        return at_once(&exchange, &work.calls, &form);
    }
    if finished && exchange.log().is_some() {
        // Nothing was written without a reader, so there is nothing to read.
        return unanswered(&work.calls, &form);
    }
    let mut outcome = match exchange.denied().filter(|_| !form.batch) {
        Some(denied) => exchange.rejection(denied).into(),
        None => stream(&exchange, &work.calls, &mut form).await,
    };
    if !matches!(outcome, Outcome::Rejected(..)) {
        // Messages that waited for the reader are written now, and are sent together with the head.
        work.go_on().await;
        if let Some(denied) = exchange.begin_response().filter(|_| !form.batch && exchange.log().is_some()) {
            outcome = exchange.rejection(denied).into();
        }
    }
    if let Outcome::Rejected(_, id) = &mut outcome {
        // The client learns that its calls failed, so they must not continue unnoticed.
        exchange.reject();
        work.calls.iter().for_each(|call| call.cancel(Cause::Refused));
        *id = work.calls.first().map(|call| RequestId::clone(call.id()));
    }
    work.move_to_task();
    outcome
}

/// Polls the work in place. Returns `true` when it has finished, `false` when it streams.
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
        // It does not stream if its handlers have ended, and only the engine has not heard of it.
        Poll::Ready(!exchange.is_streaming())
    })
    .await
}

/// Returns the response for handlers that ended without streaming.
fn at_once(exchange: &Exchange, calls: &[Arc<InFlight>], form: &Form) -> Outcome {
    let (mut answers, denied) = exchange.take_answers();
    if form.batch && !answers.is_empty() {
        return Outcome::Json(write::batch(&answers));
    }
    match (answers.pop(), denied) {
        (Some(answer), None) => Outcome::Json(answer),
        (Some(_), Some(denied)) => {
            Outcome::Rejected(exchange.rejection(denied), calls.first().map(|call| call.id().clone()))
        }
        (None, _) => unanswered(calls, form),
    }
}

/// Returns the response to calls without an answer. A client that cancelled its call receives no
/// answer (2025-11-25, "Cancellation"), but it needs a complete response.
fn unanswered(calls: &[Arc<InFlight>], form: &Form) -> Outcome {
    if form.batch {
        let errors = calls.iter().filter_map(|call| call.cut_off());
        let errors: Vec<Bytes> = errors.collect();
        if !errors.is_empty() {
            return Outcome::Json(write::batch(&errors));
        }
    }
    let of = |cause| calls.iter().find(|call| call.cause() == Some(cause));
    if let Some(call) = of(Cause::SessionEnded) {
        return Outcome::Rejected(Rejection::SessionEnded, Some(call.id().clone()));
    }
    if let Some(call) = of(Cause::GivenUp) {
        return Outcome::Rejected(Rejection::Internal, Some(call.id().clone()));
    }
    if form.mode == ResponseMode::Json { Outcome::Accepted } else { Outcome::ShortStream(None) }
}

/// Returns a streamed response: a cursor on what the handlers write.
async fn stream(exchange: &Arc<Exchange>, calls: &[Arc<InFlight>], form: &mut Form) -> Outcome {
    if let (Delivery::Queue(_), Some(reader)) = (exchange.outlet(), form.queue.take()) {
        return Outcome::Stream { prelude: None, source: Box::new(reader) };
    }
    let (Some((session, stream)), node) = (exchange.log(), exchange.node()) else {
        return Rejection::Internal.into();
    };
    let streams = &node.core.settings.streams;
    match LogReader::open(node, session, exchange.principal(), stream, Some(0), true).await {
        Ok((reader, _)) => {
            let reader = reader.of_calls(calls.iter().map(|call| Arc::clone(call) as _).collect());
            let primes = streams.resumable && exchange.version().has_priming();
            let prelude = primes.then(|| Frame::Prime(reader.position()));
            if let Some(send_off) = exchange.attached() {
                reader.detach(send_off);
            }
            Outcome::Stream { prelude, source: Box::new(reader) }
        }
        // The engine no longer has the calls: they were given up, or the session ended and the
        // signal for it was lost.
        Err(error) if error.kind() == StoreErrorKind::NotFound => {
            match node.core.engine.load(session.info.id, exchange.principal()).await {
                Ok(_) => calls.iter().for_each(|call| call.cancel(Cause::GivenUp)),
                Err(_) => calls.iter().for_each(|call| call.cancel(Cause::SessionEnded)),
            }
            exchange.reject();
            unanswered(calls, form)
        }
        Err(error) if error.kind() == StoreErrorKind::Full => {
            Rejection::LimitReached { limit: Limit::Streams, max: node.core.settings.policy().max_streams }.into()
        }
        Err(error) => node.rejection(&error).into(),
    }
}

/// The work of an exchange. If dropped before its end, it continues in a task, or ends if no client
/// can receive its answers.
struct Work {
    exchange: Arc<Exchange>,
    calls: Vec<Arc<InFlight>>,
    future: Option<BoxFuture<'static, ()>>,
    /// Keeps a draining service waiting until the work has finished and its response is being sent.
    /// It does not belong to the exchange, which a retained context may keep alive.
    active: Option<TaskTrackerToken>,
}

impl Work {
    fn new(exchange: &Arc<Exchange>, calls: Vec<Arc<InFlight>>, handlers: Handlers) -> Self {
        let active = Some(exchange.node().core.running.token());
        let future: BoxFuture<'static, ()> = Box::pin(run(Arc::clone(exchange), handlers));
        Self { exchange: Arc::clone(exchange), calls, future: Some(future), active }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(future) = &mut self.future else { return Poll::Ready(()) };
        let polled = Pin::new(future).poll(cx);
        if polled.is_ready() {
            self.future = None;
        }
        polled
    }

    /// Polls the work once more in place.
    async fn go_on(&mut self) {
        let _ = poll_fn(|cx| Poll::Ready(self.poll(cx))).await;
    }

    fn move_to_task(&mut self) {
        self.exchange.settle_reader();
        self.exchange.begin_response();
        let Some(mut future) = self.future.take() else { return };
        let undone = OnAbort::new({
            let exchange = Arc::clone(&self.exchange);
            move || discard_undone(&exchange)
        });
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let (exchange, active) = (Arc::clone(&self.exchange), self.active.take());
        let calls = std::mem::take(&mut self.calls);
        self.exchange.node().core.tasks.spawn(async move {
            let left = async {
                match exchange.outlet() {
                    Delivery::Queue(queue) => queue.reader_left().await,
                    Delivery::Log | Delivery::Discard => pending().await,
                }
            };
            tokio::select! {
                biased;
                () = &mut future => {}
                () = left => abandon(&exchange, &calls, future),
            }
            undone.disarm();
            drop(active);
        });
    }
}

/// Unregisters calls that were dropped together with their runtime. Otherwise they would count as
/// in flight, and their session would never be idle.
fn discard_undone(exchange: &Exchange) {
    exchange.end();
    if let (Some(session), Some(stream)) = (exchange.session(), exchange.stream()) {
        session.unregister(stream);
        exchange.node().core.step_in_background(exchange.node().core.engine.finish(session.info.id, stream));
    }
}

/// Cancels the calls that still run, because no client can receive their answers.
fn abandon(exchange: &Exchange, calls: &[Arc<InFlight>], work: BoxFuture<'static, ()>) {
    calls.iter().for_each(|call| call.cancel(Cause::Client));
    drop(work);
    exchange.end();
    tracing::debug!("cancelled: the client has left");
}

impl Drop for Work {
    fn drop(&mut self) {
        if self.exchange.session().is_some() {
            self.move_to_task();
        } else if let Some(work) = self.future.take() {
            abandon(&self.exchange, &self.calls, work);
        }
    }
}
