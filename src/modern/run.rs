//! Running a call: chooses the form of the answer to a POST at the last possible moment.
//!
//! 1. The handler is polled inside the request's own future. A call that answers without streaming
//!    costs no task, no channel and no timer, and is sent as one JSON body.
//! 2. The first streamed message, or a short delay, makes the answer a stream. Then the handler
//!    moves to a task of its own, so that a slow reader never slows it, and the response reads a
//!    queue.
//! 3. A client that disconnects cancels the call (2026-07-28, Streamable HTTP, "Cancellation"). The
//!    handler is dropped with the request's future or with the reader of the queue.
//! 4. A handler that waits for an answer that its client has not given does not hold the call open.
//!    The call ends with the request to the client.
//! 5. A call that has become a task is answered with the task, and continues without its client.
//! 6. The status reports only errors of the request itself, and a missing capability that is found
//!    before anything was sent.

use std::borrow::Cow;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::Sleep;

use super::handler::Handler;
use super::result_fields::ResultFields;
use super::round::Round;
use super::task::TaskRun;
use crate::core::Answer;
use crate::error::Rejection;
use crate::message::{ErrorObject, RawJson, RequestId};
use crate::outcome::Outcome;
use crate::settings::ResponseMode;

/// A running handler, and how its answer is sent.
pub(super) struct Running {
    round: Arc<Round>,
    handler: Handler,
    reply: Reply,
}

/// How the answer is written.
struct Reply {
    id: RequestId,
    method: Cow<'static, str>,
    stamp: ResultFields,
}

/// The progress of a handler.
enum Progress {
    Answered(Answer),
    /// The handler continues as a task.
    BecameTask(Arc<TaskRun>),
    /// The handler continues, and its messages are streamed.
    Streams,
}

impl Running {
    pub(super) fn new(
        round: &Arc<Round>,
        method: Cow<'static, str>,
        result_fields: ResultFields,
        future: BoxFuture<'static, Answer>,
    ) -> Self {
        let handler = Handler::new(round, &method, future);
        let reply = Reply { id: round.id().clone(), method, stamp: result_fields };
        Self { round: Arc::clone(round), handler, reply }
    }

    /// Runs the handler until the form of its answer is known.
    pub(super) async fn answer(mut self) -> Outcome {
        let (mode, silence) = (self.round.mode(), self.round.node().core.settings.streams.stream_after);
        match self.inline((mode != ResponseMode::Json).then_some(silence)).await {
            Progress::Answered(answer) => {
                let answer = settle(&self.round, answer);
                if self.handler.is_too_large() && self.round.task().is_none() {
                    // Nothing was sent yet, so the status can report the error too.
                    let limit = self.round.node().core.too_large();
                    return Outcome::Rejected(limit, Some(self.reply.id));
                }
                at_once(&self.round, &self.reply, answer, mode)
            }
            Progress::BecameTask(task) => {
                let created = task.created();
                go_on(self.handler, &self.round, task);
                at_once(&self.round, &self.reply, created, mode)
            }
            Progress::Streams => self.stream(),
        }
    }

    /// Runs the handler for its result. Any other outcome is the answer to the request.
    pub(super) async fn result(mut self) -> Result<RawJson, Outcome> {
        match self.inline(None).await {
            Progress::Answered(Ok(result)) => Ok(result),
            Progress::Answered(answer) => Err(at_once(&self.round, &self.reply, answer, self.round.mode())),
            Progress::BecameTask(_) | Progress::Streams => Err(self.stream()),
        }
    }

    /// Polls the handler in place until it is known how it continues.
    async fn inline(&mut self, silence: Option<Duration>) -> Progress {
        let Self { round, handler, .. } = self;
        let mut timer = pin!(None::<Sleep>);
        let inline = poll_fn(|cx| {
            if let Poll::Ready(progress) = poll(handler, round, cx) {
                return Poll::Ready(progress);
            }
            let Some(silence) = silence else { return Poll::Pending };
            if round.streamed().is_some() {
                return Poll::Ready(Progress::Streams);
            }
            if timer.is_none() {
                timer.set(Some(tokio::time::sleep(silence)));
            }
            let rang = timer.as_mut().as_pin_mut().is_some_and(|timer| timer.poll(cx).is_ready());
            if rang { Poll::Ready(Progress::Streams) } else { Poll::Pending }
        });
        tokio::select! {
            biased;
            progress = inline => progress,
            () = round.node().member.cut.cancelled() => Progress::Answered(Err(shutting_down())),
        }
    }

    /// Moves the handler to a task. The response reads its messages from a queue.
    fn stream(self) -> Outcome {
        let Self { round, mut handler, reply } = self;
        let queue = Arc::clone(round.stream());
        let reader = queue.reader();
        let node = Arc::clone(round.node());
        node.core.tasks.clone().spawn(async move {
            let progress = tokio::select! {
                biased;
                progress = poll_fn(|cx| poll(&mut handler, &round, cx)) => progress,
                () = queue.reader_left() => return,
                () = node.member.cut.cancelled() => Progress::Answered(Err(shutting_down())),
            };
            let answer = match progress {
                Progress::BecameTask(task) => {
                    let created = task.created();
                    go_on(handler, &round, task);
                    created
                }
                Progress::Answered(answer) => settle(&round, answer),
                Progress::Streams => return,
            };
            queue.push(std::iter::once(reply.written(&answer)), true);
        });
        Outcome::Stream { prelude: None, source: Box::new(reader) }
    }
}

/// Polls a handler, and checks whether it has become a task.
fn poll(handler: &mut Handler, round: &Round, cx: &mut Context<'_>) -> Poll<Progress> {
    match (handler.poll(cx), round.task()) {
        (Poll::Ready(answer), _) => Poll::Ready(Progress::Answered(answer)),
        (Poll::Pending, Some(task)) => Poll::Ready(Progress::BecameTask(task)),
        (Poll::Pending, None) => Poll::Pending,
    }
}

/// Returns the answer for the client: the handler's answer, or the task that the call became.
fn settle(round: &Round, answer: Answer) -> Answer {
    let Some(task) = round.task() else { return answer };
    task.finish(answer);
    task.created()
}

/// Runs the handler of a task until it has answered or is stopped.
fn go_on(mut handler: Handler, round: &Round, task: Arc<TaskRun>) {
    round.release();
    let cut = round.node().member.cut.clone();
    round.node().core.tasks.spawn(async move {
        let answer = tokio::select! {
            biased;
            answer = poll_fn(|cx| handler.poll(cx)) => answer,
            () = task.stopped() => return,
            () = cut.cancelled() => Err(shutting_down()),
        };
        task.finish(answer);
    });
}

/// Writes the answer of a handler that has ended, or of a call that became a task.
fn at_once(round: &Round, reply: &Reply, answer: Answer, mode: ResponseMode) -> Outcome {
    if let Some(queue) = round.streamed() {
        let reader = queue.reader();
        queue.push(std::iter::once(reply.written(&answer)), true);
        return Outcome::Stream { prelude: None, source: Box::new(reader) };
    }
    let rejected = |rejection| Outcome::Rejected(rejection, Some(reply.id.clone()));
    match answer {
        Err(ErrorObject { code: ErrorObject::MISSING_CAPABILITY, data, .. }) => {
            rejected(Rejection::MissingCapability { data })
        }
        Err(ref error) if let Some(scopes) = error.required_scopes() => {
            rejected(Rejection::InsufficientScope { scopes })
        }
        Err(ErrorObject { code: ErrorObject::METHOD_NOT_FOUND, .. }) if !runs_handlers(&reply.method) => {
            rejected(Rejection::method_not_found(&reply.method))
        }
        answer => match mode {
            ResponseMode::Sse => Outcome::ShortStream(Some(reply.written(&answer))),
            ResponseMode::Auto | ResponseMode::Json => Outcome::Json(reply.written(&answer)),
        },
    }
}

impl Reply {
    fn written(&self, answer: &Answer) -> Bytes {
        self.stamp.answer(&self.id, answer)
    }
}

/// Returns `true` for methods that run handlers of the application, whose errors pass unchanged.
fn runs_handlers(method: &str) -> bool {
    matches!(method, "tools/call" | "prompts/get" | "resources/read" | "completion/complete")
}

fn shutting_down() -> ErrorObject {
    ErrorObject::new(ErrorObject::INTERNAL_ERROR, "The server is shutting down")
}
