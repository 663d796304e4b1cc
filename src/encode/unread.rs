//! The rest of a request body that was not read: read and thrown away behind the answer, within bounds.
//!
//! A server that closes a connection while its client still sends resets it, and the reset takes the answer from
//! clients that read only once they have sent everything, and from proxies (RFC 9112, 9.6).
//!
//! 1. The rest is read after the answer: to read is to ask for it where a client waits to be asked
//!    (`Expect: 100-continue`).
//! 2. A short rest leaves the connection as it is. Before any other one an HTTP/1 answer says `Connection: close`,
//!    so that a client may stop sending.
//! 3. Bytes and time are bounded, more narrowly for strangers: requests without a principal and without a session.
//!    So is the number of rests that are read at a time. What goes beyond is closed on;
//!    [`McpListener`](crate::McpListener) closes its sending half first.
//! 4. To a client that waits to be asked the answer always says `Connection: close`, though it may never send its body:
//!    such a client need not wait (RFC 9110, 10.1.1), so that what comes next may be the body or another request. A
//!    server that guesses takes the one for the other. The header is the indication that the RFC asks for.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use crate::error::Rejection;

/// A rest of so many bytes is read without closing the connection: less than a network carries at a time, so that
/// it is on its way already.
const SHORT: usize = 64 << 10;

/// How long the answer waits for the end of a body of unknown length, to learn whether it is short.
const SHORT_WAIT: Duration = Duration::from_millis(50);

/// The most that is thrown away: sixteen bodies of the usual limit, or four of a stranger. A client that sends more
/// reads the answer while it sends, or not at all.
const MOST: usize = 64 << 20;
const MOST_OF_STRANGER: usize = 16 << 20;

/// How many rests a service reads at a time, and how many of them of strangers. Each holds a connection or a stream, a
/// task and what the transport has read ahead: about 400 KiB at most over HTTP/1. A client that is refused and goes on
/// sending is rare.
const AT_ONCE: usize = 1_000;
const STRANGERS_AT_ONCE: usize = 500;

/// What a frame counts at least, so that empty ones have an end, too.
const LEAST_FRAME: usize = 1 << 10;

/// How long the next piece may take, and all of them: what nginx allows by default for the same purpose
/// (`lingering_timeout`, `lingering_time`), and a third of it for strangers.
const PIECE_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(30);
const TIMEOUT_OF_STRANGER: Duration = Duration::from_secs(10);

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
    /// The request has a principal, or names a session that is its own.
    known: bool,
}

impl BodyHead {
    pub(crate) fn of(parts: &Parts) -> Self {
        Self {
            version: parts.version,
            waits: parts.headers.contains_key(EXPECT),
            patient: true,
            late: false,
            known: false,
        }
    }

    /// It is known whose request it is.
    pub(crate) fn set_known(&mut self) {
        self.known = true;
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
    drains: &Arc<Drains>,
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
    let timeout = match head.known {
        _ if head.late => LATE_TIMEOUT,
        true => TIMEOUT,
        false => TIMEOUT_OF_STRANGER,
    };
    let rest = Rest { body: Some(body), known: head.known, piece_timeout, timeout, drains: Arc::clone(drains) };
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

/// The rests that a service reads.
#[derive(Debug)]
pub(crate) struct Drains {
    tasks: TaskTracker,
    all: AtomicUsize,
    of_strangers: AtomicUsize,
}

impl Drains {
    pub(crate) fn new(tasks: &TaskTracker) -> Arc<Self> {
        let (all, of_strangers) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { tasks: tasks.clone(), all, of_strangers })
    }

    /// Takes a place for one more; `None` where all are taken.
    fn begin(self: &Arc<Self>, known: bool) -> Option<Drain> {
        let all = take(&self.all, AT_ONCE);
        if !all {
            return None;
        }
        if !known && !take(&self.of_strangers, STRANGERS_AT_ONCE) {
            self.all.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Drain { drains: Arc::clone(self), known })
    }
}

fn take(count: &AtomicUsize, limit: usize) -> bool {
    count.fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| (taken < limit).then_some(taken + 1)).is_ok()
}

/// A place among them.
struct Drain {
    drains: Arc<Drains>,
    known: bool,
}

impl Drop for Drain {
    fn drop(&mut self) {
        self.drains.all.fetch_sub(1, Ordering::AcqRel);
        if !self.known {
            self.drains.of_strangers.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// A rest that is read in a task of its own once the answer has left.
struct Rest {
    body: Option<Body>,
    known: bool,
    piece_timeout: Duration,
    timeout: Duration,
    drains: Arc<Drains>,
}

impl Drop for Rest {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take() else { return };
        if tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let most = if self.known { MOST } else { MOST_OF_STRANGER };
        let (piece_timeout, end) = (self.piece_timeout, Instant::now() + self.timeout);
        let mut reading = Box::pin(async move {
            let mut left = most;
            while Instant::now() < end {
                let until = end.min(Instant::now() + piece_timeout);
                let Ok(Some(read)) = timeout_at(until, read_away(&mut body)).await else { return };
                let Some(after) = left.checked_sub(read) else { break };
                left = after;
            }
            tracing::debug!("the rest of a request's body was too long to be read away");
        });
        // What is there already needs no task.
        if reading.as_mut().now_or_never().is_some() {
            return;
        }
        match self.drains.begin(self.known) {
            Some(drain) => {
                self.drains.tasks.spawn(async move {
                    reading.await;
                    drop(drain);
                });
            }
            None => tracing::debug!("the rest of a request's body is not read: too many others are"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream;
    use http_body_util::StreamBody;
    use tokio::time::sleep;

    use super::*;

    /// A body that sends nothing. Its source is dropped with it.
    fn silent() -> (Body, std::sync::Weak<()>) {
        let source = Arc::new(());
        let there = Arc::downgrade(&source);
        let frames = stream::poll_fn(move |_| {
            let _ = &source;
            Poll::<Option<Result<Frame<Bytes>, Infallible>>>::Pending
        });
        (Body::new(StreamBody::new(frames)), there)
    }

    /// A body that sends a piece each second.
    fn slow(piece: usize) -> (Body, std::sync::Weak<()>) {
        let source = Arc::new(());
        let there = Arc::downgrade(&source);
        let frames = stream::unfold(source, move |source| async move {
            sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b' '; piece]))), source))
        });
        (Body::new(StreamBody::new(Box::pin(frames))), there)
    }

    const HEAD: BodyHead =
        BodyHead { version: Version::HTTP_11, waits: false, patient: false, late: false, known: false };

    async fn answered(body: Body, known: bool, drains: &Arc<Drains>) {
        drop(take_along(Response::default(), body, BodyHead { known, ..HEAD }, drains).await);
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_rests_are_read_at_a_time() {
        let drains = Drains::new(&TaskTracker::new());
        let mut there = Vec::new();
        for _ in 0..STRANGERS_AT_ONCE {
            let (body, is_there) = silent();
            answered(body, false, &drains).await;
            there.push(is_there);
        }
        assert!(there.iter().all(|body| body.strong_count() == 1));
        let (body, is_there) = silent();
        answered(body, false, &drains).await;
        assert_eq!(is_there.strong_count(), 0, "one stranger too many");
        for _ in STRANGERS_AT_ONCE..AT_ONCE {
            let (body, is_there) = silent();
            answered(body, true, &drains).await;
            assert_eq!(is_there.strong_count(), 1, "there is room for those who are known");
        }
        let (body, is_there) = silent();
        answered(body, true, &drains).await;
        assert_eq!(is_there.strong_count(), 0);
        sleep(PIECE_TIMEOUT * 2).await;
        assert!(there.iter().all(|body| body.strong_count() == 0));
        let (body, is_there) = silent();
        answered(body, false, &drains).await;
        assert_eq!(is_there.strong_count(), 1, "their places are free again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_gets_less_time_and_fewer_bytes() {
        let drains = Drains::new(&TaskTracker::new());
        for (known, piece, seconds) in [(false, 1, 10), (true, 1, 30), (false, 4 << 20, 5), (true, 4 << 20, 17)] {
            let (body, is_there) = slow(piece);
            answered(body, known, &drains).await;
            sleep(Duration::from_millis(seconds * 1_000 - 100)).await;
            assert_eq!(is_there.strong_count(), 1, "{known} {piece}");
            sleep(Duration::from_millis(200)).await;
            assert_eq!(is_there.strong_count(), 0, "{known} {piece}");
        }
    }
}
