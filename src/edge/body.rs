//! The body reader: limits the size of a body, its time, and its share of the service's budget.
//!
//! 1. A body that is declared too large is rejected before a byte of it is read. A body that turns
//!    out too large is rejected at the frame that exceeds the limit.
//! 2. The time limit covers the whole body, so a client that sends one byte a second does not evade
//!    it. The timer starts if the body is not there at once. A body that is there needs no timer.
//! 3. A body in one piece is passed on without a copy.
//! 4. When the [budget](super::budget) is exceeded, no more of the body is read.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError};

use super::budget::{BodyShare, Budget, SMALL};
use crate::error::Rejection;
use crate::identity::Account;
use crate::message::{self, RequestId};

/// The most that is reserved for a declared length. Beyond it, memory grows with the data that
/// arrives.
const MAX_RESERVED: usize = 64 * 1024;

/// The bytes of parsed values allowed for each byte of the body limit, if that limit is above the
/// default. Objects of a hundred bytes need about as much, or numbers of eight digits.
const TREE: usize = 16;

/// The maximum number of frames without data. They cost the sender almost nothing, so their number
/// must be limited.
const MAX_EMPTY_FRAMES: usize = 64;

/// How many causes of an error are searched. Each layer wraps a body once.
const MAX_CAUSES: usize = 16;

/// The limits of a body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds<'a> {
    pub(crate) limit: usize,
    pub(crate) within: Duration,
    pub(crate) budget: &'a Arc<Budget>,
    /// The account in whose share of the budget the body counts.
    pub(crate) account: Option<&'a Account>,
}

/// A body that was read.
pub(crate) struct ReadBody {
    pub(crate) body: message::Body,
    /// Its share of the budget, held for as long as its call runs; `None` for a small body.
    pub(crate) share: Option<Arc<BodyShare>>,
}

/// Makes the checks that need the body. `declared` is its length. The body is taken if it was read
/// to its end. Otherwise the caller handles the rest.
///
/// # Errors
///
/// Returns the rejection, with the request's id if it is known.
pub(crate) async fn read_json(
    body: &mut Option<axum::body::Body>,
    declared: Option<u64>,
    bounds: Bounds<'_>,
) -> Result<ReadBody, (Rejection, Option<RequestId>)> {
    let unread = body.get_or_insert_default();
    let (bytes, share) = read(unread, declared, bounds).await.map_err(|rejection| (rejection, None))?;
    *body = None;
    let tree = message::VALUES.max(bounds.limit.saturating_mul(TREE));
    let too_complex = |id| Err((Rejection::BodyTooComplex { limit: tree }, id));
    // Parsing a batch makes a list of its elements.
    let is_batch = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    if is_batch && message::tree::is_larger(&bytes, tree) {
        return too_complex(None);
    }
    // A message that is nested too deep is malformed, and no tree is made of it.
    let body = message::parse(&bytes).map_err(Rejection::of)?;
    if !is_batch && message::tree::is_larger(&bytes, tree) {
        return too_complex(body.request_id().cloned());
    }
    Ok(ReadBody { body, share })
}

/// Returns the id of a request that is rejected by its head. It is read only from a small body that
/// has arrived with the head, without waiting. The body is taken if it was read to its end.
pub(crate) async fn id_at_hand(
    body: &mut Option<axum::body::Body>,
    declared: Option<u64>,
    budget: &Arc<Budget>,
) -> Option<RequestId> {
    if declared.is_some_and(|length| length > SMALL as u64) {
        return None;
    }
    let polled = {
        let mut collecting = pin!(collect(body.get_or_insert_default(), 0, SMALL, (budget, None)));
        poll_fn(|cx| Poll::Ready(collecting.as_mut().poll(cx))).await
    };
    let Poll::Ready(Ok((bytes, _))) = polled else { return None };
    *body = None;
    message::parse(&bytes).ok()?.request_id().cloned()
}

/// Reads a whole body within its limits. `declared` is the `Content-Length`.
///
/// # Cancel safety
///
/// The data read so far is lost with the future. The rest of the body is useless without it.
async fn read<B>(body: B, declared: Option<u64>, bounds: Bounds<'_>) -> Result<HeldBody, Rejection>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let Bounds { limit, within, budget, account } = bounds;
    let declared = match declared.map(usize::try_from) {
        None => 0,
        Some(Ok(length)) if length <= limit => length,
        Some(_) => return Err(Rejection::BodyTooLarge { limit }),
    };
    budget.check(declared, account)?;
    let mut collecting = pin!(collect(body, declared.min(MAX_RESERVED), limit, (budget, account)));
    match poll_fn(|cx| Poll::Ready(collecting.as_mut().poll(cx))).await {
        Poll::Ready(read) => read,
        Poll::Pending => tokio::time::timeout(within, collecting).await.unwrap_or(Err(Rejection::BodyTimeout)),
    }
}

/// A body in one piece, with its share of the budget.
type HeldBody = (Bytes, Option<Arc<BodyShare>>);

async fn collect<B>(
    body: B,
    expected: usize,
    limit: usize,
    (budget, account): (&Arc<Budget>, Option<&Account>),
) -> Result<HeldBody, Rejection>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut body = pin!(body);
    // The body of an outer layer with a lower limit shows that limit here. Its error does not.
    let outer_limit = body.size_hint().upper();
    let mut read = Chunks::default();
    let mut share: Option<BodyShare> = None;
    let mut empty_frames = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| rejection(error.into().as_ref(), outer_limit, limit))?;
        match frame.into_data() {
            Ok(data) if data.len() > limit - read.len() => return Err(Rejection::BodyTooLarge { limit }),
            Ok(data) if !data.is_empty() => {
                let length = read.len() + data.len();
                if length > SMALL {
                    share.get_or_insert_with(|| budget.share()).grow(length, account)?;
                }
                read.push(data, expected);
            }
            // No data, or trailers.
            _ => empty_frames += 1,
        }
        if empty_frames > MAX_EMPTY_FRAMES {
            return Err(Rejection::BodyIncomplete);
        }
    }
    let bytes = read.into_bytes();
    Ok(match share {
        Some(share) => share.hold(bytes),
        None => (bytes, None),
    })
}

/// The data read so far: the first piece as it came, or all pieces in one buffer.
#[derive(Default)]
struct Chunks {
    first: Bytes,
    all: BytesMut,
}

impl Chunks {
    fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    fn push(&mut self, data: Bytes, expected: usize) {
        if self.len() == 0 {
            self.first = data;
            return;
        }
        if !self.first.is_empty() {
            self.all.reserve(expected.max(self.first.len() + data.len()));
            self.all.extend_from_slice(&std::mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&data);
    }

    fn into_bytes(self) -> Bytes {
        if self.all.is_empty() { self.first } else { self.all.freeze() }
    }
}

/// Returns the rejection for a body's error: the limit of an outer layer, or a body that broke off.
fn rejection(error: &(dyn Error + 'static), outer_limit: Option<u64>, limit: usize) -> Rejection {
    let mut causes =
        std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source()).take(MAX_CAUSES);
    if causes.any(|cause| cause.is::<LengthLimitError>()) {
        let outer = outer_limit.and_then(|outer| usize::try_from(outer).ok());
        Rejection::BodyTooLarge { limit: outer.unwrap_or(limit).min(limit) }
    } else {
        tracing::debug!(error, "a body ended early");
        Rejection::BodyIncomplete
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::stream::{self, StreamExt};
    use http_body::Frame;
    use http_body_util::{Full, Limited, StreamBody};
    use tokio::time::{Instant, sleep};

    use super::*;

    const LIMIT: usize = 10;
    const WITHIN: Duration = Duration::from_secs(5);

    fn chunks(pieces: &[&'static str]) -> impl Body<Data = Bytes, Error = Infallible> + use<> {
        let frames: Vec<_> = pieces.iter().map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes())))).collect();
        StreamBody::new(stream::iter(frames))
    }

    /// Yields one byte a second, without end.
    fn trickle() -> impl Body<Data = Bytes, Error = Infallible> {
        StreamBody::new(stream::repeat(()).then(|()| async {
            sleep(Duration::from_secs(1)).await;
            Ok(Frame::data(Bytes::from_static(b"x")))
        }))
    }

    async fn text<B>(body: B, declared: Option<u64>) -> Result<String, Rejection>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let bounds = Bounds { limit: LIMIT, within: WITHIN, budget: &Budget::new(0, 0), account: None };
        read(body, declared, bounds).await.map(|(bytes, _)| String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_body_may_reach_the_limit() {
        let too_large = Err(Rejection::BodyTooLarge { limit: LIMIT });
        for (pieces, expected) in [
            (&[][..], Ok("")),
            (&["0123456789"], Ok("0123456789")),
            (&["01234", "", "567", "89"], Ok("0123456789")),
            // One byte too many, in one piece or in the last.
            (&["0123456789x"], Err(())),
            (&["01234", "56789", "x"], Err(())),
        ] {
            let expected = expected.map_or(too_large.clone(), |text| Ok(text.to_owned()));
            assert_eq!(text(chunks(pieces), None).await, expected, "{pieces:?}");
        }
    }

    #[tokio::test]
    async fn bodies_declared_too_large_are_not_read() {
        let unread =
            StreamBody::new(stream::poll_fn(|_| -> Poll<Option<Result<Frame<Bytes>, Infallible>>> { panic!("read") }));
        assert_eq!(text(unread, Some(11)).await, Err(Rejection::BodyTooLarge { limit: LIMIT }));
        assert_eq!(text(chunks(&["a"]), Some(u64::MAX)).await, Err(Rejection::BodyTooLarge { limit: LIMIT }));
        assert_eq!(text(chunks(&["0123456789"]), Some(10)).await, Ok("0123456789".to_owned()));
    }

    #[tokio::test]
    async fn a_body_in_one_piece_is_not_copied() {
        let sent = Bytes::from_static(b"0123456789");
        let bounds = Bounds { limit: LIMIT, within: WITHIN, budget: &Budget::new(0, 0), account: None };
        let (got, _) = read(Full::new(sent.clone()), Some(10), bounds).await.unwrap();
        assert_eq!(got.as_ptr(), sent.as_ptr());
    }

    #[test]
    fn a_received_body_needs_no_timer() {
        // There is no runtime, so a timer would panic.
        let budget = Budget::new(0, 0);
        let read =
            read(chunks(&["a", "b"]), None, Bounds { limit: LIMIT, within: WITHIN, budget: &budget, account: None });
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let Poll::Ready(Ok((bytes, None))) = pin!(read).poll(&mut cx) else { panic!("not there") };
        assert_eq!(bytes, "ab");
    }

    #[tokio::test(start_paused = true)]
    async fn the_timeout_covers_the_whole_body() {
        let start = Instant::now();
        assert_eq!(text(trickle(), None).await, Err(Rejection::BodyTimeout));
        assert_eq!(start.elapsed(), WITHIN);
    }

    #[tokio::test]
    async fn frames_without_data_are_counted() {
        let empty = StreamBody::new(stream::repeat_with(|| Ok::<_, Infallible>(Frame::data(Bytes::new()))));
        assert_eq!(text(empty, None).await, Err(Rejection::BodyIncomplete));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_incomplete() {
        let frames = [Ok(Frame::data(Bytes::from_static(b"a"))), Err("reset")];
        assert_eq!(text(StreamBody::new(stream::iter(frames)), None).await, Err(Rejection::BodyIncomplete));
    }

    #[tokio::test]
    async fn the_limit_of_a_layer_outside_is_named() {
        let limited = axum::body::Body::new(Limited::new(axum::body::Body::new(chunks(&["01", "23", "4"])), 4));
        assert_eq!(text(limited, None).await, Err(Rejection::BodyTooLarge { limit: 4 }));
    }
}
