//! The event stream encoder: turns frames into text, joins everything ready into one chunk, and
//! sends comments in a quiet stream.
//!
//! It replaces axum's `Sse` for three reasons. Everything ready leaves in one piece, so a burst of
//! fifty events takes a handful of writes, not fifty. Ids are written without formatting. And the
//! encoder cannot fail. `benches/encode.rs` runs both side by side.
//!
//! Source: WHATWG HTML, "Server-sent events". One message is one `data:` line, because some clients
//! parse each line separately. Some of these end a line where Unicode does, and [`data_line`]
//! escapes the characters concerned.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame as BodyFrame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::line::data_line;
use crate::streams::{Frame, Source};

/// The comment that a quiet stream sends.
const COMMENT: &[u8] = b":\n\n";

/// A whole stream without a message. A stream without any byte would look like a lost connection.
pub(super) const SILENT: Bytes = Bytes::from_static(COMMENT);

/// The body of a streamed response.
#[derive(Debug)]
pub(super) struct SseBody {
    /// The frame before all others.
    prelude: Option<Frame>,
    /// Nothing has been sent yet. Something must be, so that the head is sent too.
    fresh: bool,
    /// `None` once the stream has ended.
    source: Option<Box<dyn Source>>,
    keep_alive: Option<KeepAlive>,
}

/// The keep-alive timer. It is created when the stream is quiet for the first time, and reset only
/// when it fires. So a write only reads the clock.
#[derive(Debug)]
struct KeepAlive {
    every: Duration,
    /// When something was last sent.
    last: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl SseBody {
    pub(super) fn new(prelude: Option<Frame>, source: Box<dyn Source>, keep_alive: Option<Duration>) -> Self {
        let keep_alive = keep_alive.map(|every| KeepAlive { every, last: Instant::now(), timer: None });
        Self { prelude, fresh: true, source: Some(source), keep_alive }
    }
}

impl Body for SseBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let Some(source) = &mut this.source else {
            return Poll::Ready(None);
        };
        let polled = source.poll_next(cx);
        let fresh = std::mem::take(&mut this.fresh);
        let prelude = this.prelude.take();
        let chunk = match polled {
            Poll::Ready(frames) => {
                if frames.last {
                    this.source = None;
                }
                let text = chunk(prelude.iter().chain(&frames.frames));
                if text.is_empty() && fresh { COMMENT.to_vec() } else { text }
            }
            Poll::Pending if prelude.is_some() => chunk(&prelude),
            Poll::Pending if fresh => COMMENT.to_vec(),
            Poll::Pending => match this.keep_alive.as_mut().map(|keep_alive| keep_alive.poll(cx)) {
                Some(Poll::Ready(())) => COMMENT.to_vec(),
                Some(Poll::Pending) | None => return Poll::Pending,
            },
        };
        if let Some(keep_alive) = &mut this.keep_alive {
            keep_alive.last = Instant::now();
        }
        if chunk.is_empty() {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(BodyFrame::data(chunk.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_none()
    }

    /// Returns the bytes that are ready as the lower bound.
    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.source.as_ref().map_or(0, |source| source.held() as u64));
        hint
    }
}

impl KeepAlive {
    /// Completes when the stream has been quiet for a whole interval.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let every = self.every;
        loop {
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(every)));
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            match self.last.checked_add(every) {
                Some(due) if due > Instant::now() => timer.as_mut().reset(due),
                Some(_) => return Poll::Ready(()),
                None => return Poll::Pending,
            }
        }
    }
}

/// Returns one message as a whole stream.
pub(super) fn single(payload: Bytes) -> Bytes {
    let mut text = Vec::with_capacity(payload.len() + FIELDS);
    render(&Frame::Message { id: None, payload }, &mut text);
    text.into()
}

/// Capacity for the field names, an id and the line ends of one event.
const FIELDS: usize = 64;

fn chunk<'a>(frames: impl IntoIterator<Item = &'a Frame, IntoIter: Clone>) -> Vec<u8> {
    let frames = frames.into_iter();
    let mut text = Vec::with_capacity(frames.clone().map(size).sum());
    frames.for_each(|frame| render(frame, &mut text));
    text
}

fn size(frame: &Frame) -> usize {
    match frame {
        Frame::Message { payload, .. } => payload.len() + FIELDS,
        Frame::Prime(_) | Frame::Retry(_) => FIELDS,
    }
}

fn render(frame: &Frame, out: &mut Vec<u8>) {
    match frame {
        // `message` is the default event name. It is written because released clients drop messages
        // without it.
        Frame::Message { id: Some(id), payload } => {
            out.extend_from_slice(b"event: message\nid: ");
            id.write_to(out);
            out.extend_from_slice(b"\ndata: ");
            data_line(payload, out);
        }
        Frame::Message { id: None, payload } => {
            out.extend_from_slice(b"event: message\ndata: ");
            data_line(payload, out);
        }
        // The empty `data:` is needed: clients ignore an event without one, and its id with it.
        Frame::Prime(id) => {
            out.extend_from_slice(b"id: ");
            id.write_to(out);
            out.extend_from_slice(b"\ndata: ");
        }
        Frame::Retry(retry) => {
            out.extend_from_slice(b"retry: ");
            out.extend_from_slice(retry.as_millis().to_string().as_bytes());
        }
    }
    out.extend_from_slice(b"\n\n");
}
