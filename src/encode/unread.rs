//! Unread request bodies: reads the rest of a body behind the response and discards it, within
//! limits.
//!
//! If a server closes a connection while the client still sends, the connection is reset. The reset
//! loses the response for proxies, and for clients that read only after they have sent everything
//! (RFC 9112, 9.6).
//!
//! 1. The rest is read after the response, because reading makes the server ask for the body if the
//!    client waits for that (`Expect: 100-continue`).
//! 2. A short rest does not change the connection. Before any other rest, an HTTP/1 response says
//!    `Connection: close`, so that the client may stop sending.
//! 3. Bytes and time are limited, and more strictly for strangers: requests without a principal and
//!    without a session. The number of rests that are read at a time is limited too. Beyond these
//!    limits the connection is closed; [`McpListener`](crate::McpListener) closes its sending half
//!    first.
//! 4. The response to a client that uses `Expect: 100-continue` always says `Connection: close`.
//!    Such a client need not wait (RFC 9110, 10.1.1), and may never send the body. So the next
//!    bytes may be the body or another request, and a server that guesses may confuse the two. The
//!    header is the indication that the RFC requires.

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

/// A rest up to this size is read without closing the connection. A network usually carries more at
/// a time, so such a rest is already on its way.
const SHORT: usize = 64 << 10;

/// How long the response waits for the end of a body of unknown length, to learn if it is short.
const SHORT_WAIT: Duration = Duration::from_millis(50);

/// The most that is discarded: sixteen bodies of the default limit, or four of a stranger. A client
/// that sends more reads the response while it sends, or never.
const MAX_BYTES: usize = 64 << 20;
const MAX_BYTES_UNAUTHENTICATED: usize = 16 << 20;

/// How many rests a service reads at a time, and how many of them may be of strangers. Each holds a
/// connection or a stream, a task, and what the transport has read ahead. Over HTTP/1 that is at
/// most about 400 KiB. Rejected clients that continue to send are rare.
const CONCURRENCY: usize = 1_000;
const CONCURRENCY_UNAUTHENTICATED: usize = 500;

/// The minimum that a frame counts, so that empty frames are limited too.
const MIN_FRAME: usize = 1 << 10;

/// The timeouts for the next piece and for all pieces: nginx's defaults for the same purpose
/// (`lingering_timeout`, `lingering_time`). Strangers have a third of the latter.
const PIECE_TIMEOUT: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(30);
const TIMEOUT_OF_STRANGER: Duration = Duration::from_secs(10);

/// The timeout for all pieces if the client has used up the time for its body.
const LATE_TIMEOUT: Duration = Duration::from_secs(5);

/// The timeout for the next piece if the client waits for `100 Continue`. After a response such a
/// client sends nothing, or continues at once.
const UNASKED_TIMEOUT: Duration = Duration::from_secs(1);

/// How many causes of an error are searched. Each layer wraps a body once.
const MAX_CAUSES: usize = 16;

/// What the head of a request says about its body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyHead {
    version: Version,
    /// The client waits for `100 Continue`.
    waits: bool,
    /// The response may wait for the end of a short body.
    patient: bool,
    /// The client has used up the time for its body.
    late: bool,
    /// The request has a principal, or names a session that belongs to it.
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

    /// Records that the sender of the request is known.
    pub(crate) fn set_known(&mut self) {
        self.known = true;
    }

    /// Records a rejection. Nothing of a stranger's body is read before the response, and a body
    /// whose reading failed is not short.
    pub(crate) fn rejected(&mut self, rejection: &Rejection) {
        use Rejection::{BodyIncomplete, BodyTimeout, BodyTooLarge, HostNotAllowed, OriginNotAllowed};
        self.late = matches!(rejection, BodyTimeout);
        self.patient = !matches!(
            rejection,
            HostNotAllowed | OriginNotAllowed | BodyTooLarge { .. } | BodyTimeout | BodyIncomplete
        );
    }
}

/// Attaches the unread rest of the request body to the response, which reads it once it has been
/// sent.
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
        // The connection may close before the server has asked for the body, so the client must be
        // informed.
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

/// Reads the next piece and discards it. Returns what the piece counts; `None` if the body has
/// ended.
async fn read_away(body: &mut Body) -> Option<usize> {
    match body.frame().await? {
        Ok(frame) => Some(frame.data_ref().map_or(0, Bytes::len).max(MIN_FRAME)),
        // A body limit of an outer layer discards the piece it rejects.
        Err(error) => is_limit(&error).then_some(MIN_FRAME),
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

/// The body of a response, with the rest of its request.
struct Answer {
    answer: Body,
    /// Dropped with the response body: after its last byte was taken, or when the response is
    /// abandoned.
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

/// The rests that a service reads now.
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

    /// Reserves capacity for one more rest; `None` if there is none.
    fn begin(self: &Arc<Self>, known: bool) -> Option<Drain> {
        let all = take(&self.all, CONCURRENCY);
        if !all {
            return None;
        }
        if !known && !take(&self.of_strangers, CONCURRENCY_UNAUTHENTICATED) {
            self.all.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        Some(Drain { drains: Arc::clone(self), known })
    }
}

fn take(count: &AtomicUsize, limit: usize) -> bool {
    count.fetch_update(Ordering::AcqRel, Ordering::Acquire, |taken| (taken < limit).then_some(taken + 1)).is_ok()
}

/// The reserved capacity for one rest.
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

/// A rest that is read in its own task after the response has been sent.
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
        let most = if self.known { MAX_BYTES } else { MAX_BYTES_UNAUTHENTICATED };
        let (piece_timeout, end) = (self.piece_timeout, Instant::now() + self.timeout);
        let mut reading = Box::pin(async move {
            let mut left = most;
            while Instant::now() < end {
                let until = end.min(Instant::now() + piece_timeout);
                let Ok(Some(read)) = timeout_at(until, read_away(&mut body)).await else { return };
                let Some(after) = left.checked_sub(read) else { break };
                left = after;
            }
            tracing::debug!("the rest of a request's body was too long to be read");
        });
        // Data that is already there needs no task.
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
            None => {
                tracing::debug!("the rest of a request's body is not read: too many others are being read")
            }
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
    async fn concurrent_unread_bodies_are_bounded() {
        let drains = Drains::new(&TaskTracker::new());
        let mut there = Vec::new();
        for _ in 0..CONCURRENCY_UNAUTHENTICATED {
            let (body, is_there) = silent();
            answered(body, false, &drains).await;
            there.push(is_there);
        }
        assert!(there.iter().all(|body| body.strong_count() == 1));
        let (body, is_there) = silent();
        answered(body, false, &drains).await;
        assert_eq!(is_there.strong_count(), 0, "one stranger too many");
        for _ in CONCURRENCY_UNAUTHENTICATED..CONCURRENCY {
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
    async fn unknown_clients_get_less_time_and_fewer_bytes() {
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
