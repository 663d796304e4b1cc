//! The rest of a request body that was not read: read and thrown away behind the answer, within bounds.
//!
//! A server that closes a connection while its client still sends resets it, and the reset takes the answer from
//! clients that read only once they have sent everything, and from proxies (RFC 9112, 9.6).
//!
//! 1. The rest is read after the answer: to read is to ask for it where a client waits to be asked
//!    (`Expect: 100-continue`).
//! 2. A short rest leaves the connection as it is. Before any other one an HTTP/1 answer says `Connection: close`,
//!    so that a client may stop sending.
//! 3. Bytes and time are bounded. What goes beyond is closed on; [`McpListener`](crate::McpListener) closes its
//!    sending half first.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{CONNECTION, EXPECT};
use http::request::Parts;
use http::{HeaderValue, Version};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, LengthLimitError};
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use crate::error::Rejection;

/// A rest of so many bytes is read without closing the connection: less than a network carries at a time, so that
/// it is on its way already.
const SHORT: usize = 64 << 10;

/// How long the answer waits for the end of a body of unknown length, to learn whether it is short.
const SHORT_WAIT: Duration = Duration::from_millis(50);

/// The most that is thrown away: sixteen bodies of the usual limit. A client that sends more reads the answer while it
/// sends, or not at all.
const MOST: usize = 64 << 20;

/// What a frame counts at least, so that empty ones have an end, too.
const LEAST_FRAME: usize = 1 << 10;

/// How long the next piece may take, and all of them: what nginx allows by default for the same purpose
/// (`lingering_timeout`, `lingering_time`).
const PIECE_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long all of them may take from a client that has used up the time for its body.
const LATE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the next piece may take from a client that waits to be asked for its body: after an answer it sends
/// nothing, or goes on at once.
const UNASKED_TIMEOUT: Duration = Duration::from_secs(1);

/// How far down an error is searched for its cause. Bodies are wrapped once by each layer.
const MAX_CAUSES: usize = 16;

/// What the head of a request says of its body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyHead {
    version: Version,
    /// The client sends the body only after it was asked to.
    waits: bool,
    /// The answer may wait for the end of a short body.
    patient: bool,
    /// The client has used up its time.
    late: bool,
}

impl BodyHead {
    pub(crate) fn of(parts: &Parts) -> Self {
        Self { version: parts.version, waits: parts.headers.contains_key(EXPECT), patient: true, late: false }
    }

    /// The request was refused. Nothing of a stranger's is read before its answer, and what was begun is not short.
    pub(crate) fn refused(&mut self, rejection: &Rejection) {
        use Rejection::{BodyIncomplete, BodyTimeout, BodyTooLarge, HostNotAllowed, OriginNotAllowed};
        self.late = matches!(rejection, BodyTimeout);
        self.patient = !matches!(
            rejection,
            HostNotAllowed | OriginNotAllowed | BodyTooLarge { .. } | BodyTimeout | BodyIncomplete
        );
    }
}

/// Makes a response whose request body was not read to its end take care of the rest.
pub(crate) async fn take_along(
    mut response: Response,
    mut body: Body,
    head: BodyHead,
    tasks: &TaskTracker,
) -> Response {
    if body.is_end_stream() {
        return response;
    }
    let length = body.size_hint().upper();
    let is_short = match length {
        // It may close without having been asked for its body, so it must be told.
        _ if head.waits => false,
        None if head.patient && ends_soon(&mut body).await => return response,
        None => false,
        Some(length) => length <= SHORT as u64,
    };
    if !is_short && head.version <= Version::HTTP_11 {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let piece_timeout = if head.waits { UNASKED_TIMEOUT } else { PIECE_TIMEOUT };
    let timeout = if head.late { LATE_TIMEOUT } else { TIMEOUT };
    let rest = Rest { body: Some(body), piece_timeout, timeout, tasks: tasks.clone() };
    response.map(|answer| Body::new(Answer { answer, _rest: rest }))
}

/// Reads the next piece and drops it. Returns what it counts; `None` if the body has ended.
async fn read_away(body: &mut Body) -> Option<usize> {
    match body.frame().await? {
        Ok(frame) => Some(frame.data_ref().map_or(0, Bytes::len).max(LEAST_FRAME)),
        // The limit of a layer outside throws away what it refuses.
        Err(error) => is_limit(&error).then_some(LEAST_FRAME),
    }
}

/// Reads a body that may be short. Returns `true` if it was.
async fn ends_soon(body: &mut Body) -> bool {
    let read = async {
        let mut left = SHORT;
        while let Some(read) = read_away(body).await {
            left = left.checked_sub(read)?;
        }
        Some(())
    };
    timeout(SHORT_WAIT, read).await.is_ok_and(|ended| ended.is_some())
}

fn is_limit(error: &axum::Error) -> bool {
    let first: Option<&(dyn Error + 'static)> = error.source();
    let mut causes = std::iter::successors(first, |error| (*error).source()).take(MAX_CAUSES);
    causes.any(|cause| cause.is::<LengthLimitError>())
}

/// The body of an answer, with the rest of its request.
struct Answer {
    answer: Body,
    /// Dropped with the answer: after its last byte was taken, or when there is no use for it.
    _rest: Rest,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.answer).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.answer.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.answer.size_hint()
    }
}

/// A rest that is read in a task of its own once the answer has left.
struct Rest {
    body: Option<Body>,
    piece_timeout: Duration,
    timeout: Duration,
    tasks: TaskTracker,
}

impl Drop for Rest {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take() else { return };
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let (piece_timeout, within) = (self.piece_timeout, self.timeout);
        let mut reading = Box::pin(async move {
            let end = Instant::now() + within;
            let mut left = MOST;
            while Instant::now() < end {
                let Ok(Some(read)) = timeout(piece_timeout, read_away(&mut body)).await else { return };
                let Some(after) = left.checked_sub(read) else { break };
                left = after;
            }
            tracing::debug!("the rest of a request's body was too long to be read away");
        });
        // What is there already needs no task.
        if reading.as_mut().now_or_never().is_none() {
            self.tasks.spawn(reading);
        }
    }
}
