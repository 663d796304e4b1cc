//! A running handler: polled in any task within its span, with its panics contained, until it has
//! answered or is stopped.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::{Span, field};

use super::round::Round;
use crate::core::{Answer, LogLine};
use crate::message::{ErrorObject, shown};
use crate::panics::{Contained, Panicked};

/// A running handler. Dropping it cancels the call.
pub(super) struct Handler {
    round: Arc<Round>,
    /// `None` once it has ended.
    future: Option<Contained<Answer>>,
    /// Entered at each poll. The handler may move to another task, and its log lines must still
    /// name the call.
    span: Span,
    too_large: bool,
    /// Counts the call as in flight until its answer is on its way. It is not part of the round,
    /// which lives as long as a context that a handler keeps.
    _active: TaskTrackerToken,
}

impl Handler {
    pub(super) fn new(round: &Arc<Round>, method: &str, future: BoxFuture<'static, Answer>) -> Self {
        let span = tracing::info_span!(
            "mcp.call",
            method = &*shown(method),
            tool = field::Empty,
            id = %shown(round.id().as_json()),
            session = field::Empty
        );
        let active = round.node().core.running.token();
        Self { round: Arc::clone(round), future: Some(Contained::new(future)), span, too_large: false, _active: active }
    }

    /// Returns `true` if the answer was larger than the limit, and became an error.
    pub(super) fn is_too_large(&self) -> bool {
        self.too_large
    }

    /// Polls the handler. Ready once.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        let Some(future) = &mut self.future else { return Poll::Pending };
        let _entered = self.span.enter();
        self.round.register_work(cx.waker());
        let answer = match Pin::new(future).poll(cx) {
            Poll::Pending => match self.round.conclusion() {
                Some(answer) => answer,
                None => return Poll::Pending,
            },
            Poll::Ready(Ok(answer)) => answer,
            Poll::Ready(Err(Panicked)) => {
                if let Some(left_out) = self.round.node().core.log_line(LogLine::Panicked) {
                    tracing::error!(left_out, "a handler panicked");
                }
                Err(ErrorObject::internal())
            }
        };
        let (answer, too_large) = self.round.node().core.bound(answer);
        self.too_large = too_large;
        match &answer {
            Ok(_) => tracing::debug!("answered"),
            Err(error) => tracing::debug!(code = error.code, "answered with an error"),
        }
        self.future = None;
        self.round.end();
        Poll::Ready(answer)
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        if self.future.is_some() {
            self.span.in_scope(|| tracing::debug!("cancelled"));
            self.round.cancel();
            self.future = None;
        }
        self.round.end();
        // If the handler has answered, the answer has ended the task already. Otherwise only this
        // ends it.
        if let Some(task) = self.round.task() {
            task.detach();
        }
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler").field("round", &self.round).finish_non_exhaustive()
    }
}
