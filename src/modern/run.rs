//! Decides how the handler of a POST runs, and which form its answer takes, at the last moment it
//! can be decided.
//!
//! 1. The handler is polled inside the request's own future: a call that answers without streaming
//!    costs no task, no channel and no timer, and leaves as one JSON body.
//! 2. The first streamed message, or a short silence, makes it a stream. Then the handler moves to
//!    a task of its own, so that a slow reader never slows it, and the response reads a queue.
//! 3. A client that goes away cancels (2026-07-28, Streamable HTTP, "Cancellation"): with the
//!    request's future, or the reader of the queue, goes the handler.
//! 4. The status tells of what was wrong with the request itself only, and of a capability that turns
//!    out to be missing before anything was sent.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::Sleep;
use tracing::{Span, field};

use super::round::Round;
use super::stamp::Stamp;
use crate::error::Rejection;
use crate::message::{ErrorObject, RawJson};
use crate::outcome::Outcome;
use crate::settings::ResponseMode;
use crate::streams::Queue;

type Answer = Result<RawJson, ErrorObject>;

/// A handler that runs, and what becomes of its answer.
pub(super) struct Running {
    round: Arc<Round>,
    /// Gone once it has ended.
    future: Option<BoxFuture<'static, Answer>>,
    /// Entered at each poll: the handler moves to a task, and what it logs must still say for whom.
    span: Span,
    method: Box<str>,
    stamp: Stamp,
}

impl Running {
    pub(super) fn new(round: &Arc<Round>, method: &str, stamp: Stamp, future: BoxFuture<'static, Answer>) -> Self {
        let span =
            tracing::info_span!("mcp.call", method, tool = field::Empty, id = %round.id(), session = field::Empty);
        Self { round: Arc::clone(round), future: Some(future), span, method: method.into(), stamp }
    }

    /// Runs the handler until the form of its answer is clear.
    pub(super) async fn answer(mut self) -> Outcome {
        let streams = &self.round.node().hall.settings.streams;
        let (mode, silence) = (streams.response_mode, streams.silence);
        match self.inline((mode != ResponseMode::Json).then_some(silence)).await {
            Some(answer) => self.at_once(answer, mode),
            None => self.stream(),
        }
    }

    /// Runs the handler for its result; whatever else it answers with is all there is to say.
    pub(super) async fn result(mut self) -> Result<RawJson, Outcome> {
        match self.inline(None).await {
            Some(Ok(result)) => Ok(result),
            Some(answer) => {
                let mode = self.round.node().hall.settings.streams.response_mode;
                Err(self.at_once(answer, mode))
            }
            None => Err(self.stream()),
        }
    }

    /// Polls the handler in place until it has answered, or streams (`None`).
    async fn inline(&mut self, silence: Option<Duration>) -> Option<Answer> {
        let round = Arc::clone(&self.round);
        let mut timer = pin!(None::<Sleep>);
        let inline = poll_fn(|cx| {
            if let Poll::Ready(answer) = Pin::new(&mut *self).poll(cx) {
                return Poll::Ready(Some(answer));
            }
            let Some(silence) = silence else { return Poll::Pending };
            if round.streamed().is_some() {
                return Poll::Ready(None);
            }
            if timer.is_none() {
                timer.set(Some(tokio::time::sleep(silence)));
            }
            let rang = timer.as_mut().as_pin_mut().is_some_and(|timer| timer.poll(cx).is_ready());
            if rang { Poll::Ready(None) } else { Poll::Pending }
        });
        let cut = &round.node().cut;
        tokio::select! {
            biased;
            answer = inline => answer,
            () = cut.cancelled() => Some(Err(shutting_down())),
        }
    }

    /// The handler has ended.
    fn at_once(&self, answer: Answer, mode: ResponseMode) -> Outcome {
        if let Some(queue) = self.round.streamed() {
            let reader = queue.reader();
            queue.push(std::iter::once(self.written(&answer)), true);
            return Outcome::Stream { prelude: None, source: Box::new(reader) };
        }
        match answer {
            Err(ErrorObject { code: ErrorObject::MISSING_CAPABILITY, data, .. }) => {
                Outcome::Rejected(Rejection::MissingCapability { data }, Some(self.round.id().clone()))
            }
            Err(ErrorObject { code: ErrorObject::METHOD_NOT_FOUND, .. }) if !runs_handlers(&self.method) => {
                let method = self.method.to_string();
                Outcome::Rejected(Rejection::MethodNotFound { method }, Some(self.round.id().clone()))
            }
            answer => match mode {
                ResponseMode::Sse => Outcome::ShortStream(Some(self.written(&answer))),
                ResponseMode::Auto | ResponseMode::Json => Outcome::Json(self.written(&answer)),
            },
        }
    }

    /// The response reads what the handler sends from here on.
    fn stream(mut self) -> Outcome {
        let queue = Arc::clone(self.round.stream());
        let reader = queue.reader();
        let node = Arc::clone(self.round.node());
        node.clone().hall.tasks.spawn(async move {
            let answer = tokio::select! {
                biased;
                answer = &mut self => answer,
                () = queue.reader_left() => return,
                () = node.cut.cancelled() => Err(shutting_down()),
            };
            self.last_word(&queue, &answer);
        });
        Outcome::Stream { prelude: None, source: Box::new(reader) }
    }

    fn last_word(&self, queue: &Queue, answer: &Answer) {
        queue.push(std::iter::once(self.written(answer)), true);
    }

    fn written(&self, answer: &Answer) -> Bytes {
        self.stamp.answer(self.round.id(), answer)
    }
}

impl Future for Running {
    type Output = Answer;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        let this = self.get_mut();
        let Some(future) = &mut this.future else { return Poll::Pending };
        let _entered = this.span.enter();
        // A handler that panicked is not polled again.
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        let answer = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(answer)) => answer,
            Err(_) => {
                tracing::error!("a handler panicked");
                Err(ErrorObject::internal())
            }
        };
        match &answer {
            Ok(_) => tracing::debug!("answered"),
            Err(error) => tracing::debug!(code = error.code, "answered with an error"),
        }
        drop_quietly(this.future.take());
        this.round.end();
        Poll::Ready(answer)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.future.is_some() {
            self.span.in_scope(|| tracing::debug!("cancelled"));
            drop_quietly(self.future.take());
        }
        self.round.end();
    }
}

/// What a handler cleans up may panic; that is the end of nothing else.
fn drop_quietly<T>(value: T) {
    if catch_unwind(AssertUnwindSafe(|| drop(value))).is_err() {
        tracing::error!("a handler panicked while it was cleaned up");
    }
}

/// Methods behind which there are handlers of the application, whose errors are their own.
fn runs_handlers(method: &str) -> bool {
    matches!(method, "tools/call" | "prompts/get" | "resources/read" | "completion/complete")
}

fn shutting_down() -> ErrorObject {
    ErrorObject::new(ErrorObject::INTERNAL_ERROR, "The server is shutting down")
}
