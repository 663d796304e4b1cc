//! The reader of a stream's log: a cursor that delivers each event once and reports gaps. It ends
//! with the stream, or when another reader replaces it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::{Sleep, sleep};

use super::Node;
use super::cells::{Cause, Detach, ReaderCell, RunningCall};
use super::session::LiveSession;
use crate::core::LogLine;
use crate::error::{Rejection, StoreError, StoreErrorKind};
use crate::identity::Principal;
use crate::message::{RawJson, RequestId, write};
use crate::store::{Attach, Attached, EngineFuture, Loaded, Page, STANDALONE, Stored, StreamNo};
use crate::streams::{EventId, Expiry, Frame, Frames, Source};

/// A cursor on a log, as the source of a response. Dropping it detaches it from the log.
pub(super) struct LogReader {
    node: Arc<Node>,
    session: Arc<LiveSession>,
    cell: Arc<ReaderCell>,
    generation: u32,
    /// The number of the last event delivered.
    cursor: u64,
    waiting: Wait,
    /// The access token of the request has expired, and the stream is about to end.
    is_expired: bool,
    /// The calls whose answers the client awaits on this response, as far as this node knows them.
    calls: Vec<Arc<dyn RunningCall>>,
}

/// What a reader waits for.
enum Wait {
    /// A signal.
    Signal,
    /// The requested page.
    Page(EngineFuture<Result<Page, StoreError>>),
    /// The signal for the reason why it must end. The operation that ended it also sent a signal,
    /// but signals and pages may arrive by different ways. The timer limits the wait.
    Detach(Pin<Box<Sleep>>, Gone),
    /// The result of a check that the session still exists.
    Session(EngineFuture<Result<Loaded, StoreError>>),
}

/// Why a reader must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gone {
    /// Another reader replaced it.
    Replaced,
    /// The stream or its session does not exist.
    Missing,
}

/// The number of bytes that are read and sent in one piece.
const PAGE_BYTES: usize = 64 << 10;

/// How long a reader waits for the signal that it must end. A signal takes milliseconds unless it
/// is lost.
const DETACH_GRACE: Duration = Duration::from_secs(2);

/// How much later than the standalone stream of its client the stream of a call ends when their
/// token expires. By then the client has come back for the standalone stream with a fresh token.
/// Clients that learn of the expiry by two streams at once renew their token twice, and the second
/// time makes authorization servers that rotate refresh tokens end the authorization. The official
/// TypeScript client 1.32 also forgets which stream it resumed if it has to renew its token for it.
const CALL_DELAY: Duration = Duration::from_secs(5);

impl LogReader {
    /// Attaches a reader to a log after the event `after`. With `None` it starts at the first event
    /// that no reader has received. If there is a reader, `takeover` determines whether it is
    /// replaced.
    pub(super) async fn open(
        node: &Arc<Node>,
        session: &Arc<LiveSession>,
        principal: Option<&Principal>,
        stream: StreamNo,
        after: Option<u64>,
        takeover: bool,
    ) -> Result<(Self, Attached), StoreError> {
        let cell = Arc::new(ReaderCell::new(stream));
        // Added before the engine knows of the reader, so that an immediate signal finds it.
        session.add_reader(Arc::clone(&cell));
        let mut reader = Self {
            node: Arc::clone(node),
            session: Arc::clone(session),
            cell,
            generation: 0,
            cursor: 0,
            waiting: Wait::Signal,
            is_expired: false,
            calls: Vec::new(),
        };
        let id = session.info.id;
        let attach = Attach { session: id, principal, stream, node: node.id, after, takeover };
        let attached = node.core.engine.attach(attach).await?;
        reader.generation = attached.generation;
        reader.cursor = attached.after;
        Ok((reader, attached))
    }

    /// Makes the reader the response to these calls. If the session ends first, each call is
    /// answered with an error.
    pub(super) fn of_calls(mut self, calls: Vec<Arc<dyn RunningCall>>) -> Self {
        self.calls = calls;
        self
    }

    /// Returns the id from which a client could resume now.
    pub(super) fn position(&self) -> EventId {
        EventId { stream: self.cell.stream(), seq: self.cursor, epoch: self.session.epoch }
    }

    /// Makes only this reader detach.
    pub(super) fn detach(&self, send_off: Detach) {
        self.cell.release(self.generation, send_off.retry);
    }

    fn released(&self) -> Option<Detach> {
        self.cell.released(self.generation)
    }

    /// Returns the last frames for a client that may resume.
    fn last_frames(retry: Option<Duration>) -> Frames {
        Frames { frames: retry.map(Frame::Retry).into_iter().collect(), last: true }
    }

    /// Returns the last frames if neither the stream nor a detach request ended the response.
    fn come_back(&self) -> Frames {
        Self::last_frames(self.node.core.settings.streams.retry_interval)
    }

    /// Returns the frames of a page; `None` to continue waiting.
    fn take(&mut self, read: Result<Page, StoreError>) -> Option<Frames> {
        match read {
            // The client has events that the engine has lost. New events under the same ids would
            // be different ones.
            Ok(page) if page.tail < self.cursor => {
                if let Some(left_out) = self.node.core.log_line(LogLine::Forgotten) {
                    tracing::warn!(session = ?self.session.info.id, left_out, "the engine lost events that a client has received");
                }
                Some(self.come_back())
            }
            Ok(page) => Some(self.frames(page)).filter(|frames| frames.last || !frames.frames.is_empty()),
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "a reader stopped");
                let gone = match error.kind() {
                    StoreErrorKind::Fenced => Gone::Replaced,
                    StoreErrorKind::NotFound => Gone::Missing,
                    _ => return Some(self.come_back()),
                };
                self.waiting = Wait::Detach(Box::pin(sleep(DETACH_GRACE)), gone);
                None
            }
        }
    }

    /// Returns the last frames of a response whose session has ended. The errors have no event ids,
    /// because nothing can be resumed.
    fn session_ended(&mut self) -> Frames {
        let error = Rejection::SessionEnded.to_error();
        let owed = self.calls.drain(..).filter(|in_flight| in_flight.cause() != Some(Cause::Client));
        let frames =
            owed.map(|in_flight| Frame::Message { id: None, payload: write::failure(Some(in_flight.id()), &error) });
        Frames { frames: frames.collect(), last: true }
    }

    /// Records that a message is sent; the call that it answers needs no error if the session ends.
    /// A single call is not searched for, because its answer is the last message of its stream.
    fn record(&mut self, payload: &[u8]) {
        if self.calls.len() > 1
            && let Some(answered) = answered(payload)
        {
            self.calls.retain(|in_flight| *in_flight.id() != answered);
        }
    }

    fn frames(&mut self, page: Page) -> Frames {
        let mut frames = Vec::with_capacity(page.events.len());
        for Stored { seq, payload } in page.events {
            if seq > self.cursor + 1 {
                frames.push(self.hole(seq - 1));
            }
            self.cursor = seq;
            self.record(&payload);
            frames.push(Frame::Message { id: self.id(seq), payload });
        }
        let complete = self.cursor >= page.tail;
        if !complete {
            self.cell.set_rung();
        }
        Frames { frames, last: page.closed && complete }
    }

    /// Reports all events between the cursor and `up_to` as lost. The report has the event id of
    /// `up_to`, so that a client that resumes does not receive it twice.
    fn hole(&self, up_to: u64) -> Frame {
        let lost = up_to - self.cursor;
        tracing::debug!(session = ?self.session.info.id, lost, "a client was notified of dropped events");
        let params = RawJson::from_value(&json!({
            "level": "warning",
            "logger": "mcp-http",
            "data": { "reason": "events_lost", "lost": lost },
        }));
        let params = params.unwrap_or_else(|_| RawJson::empty_object());
        Frame::Message { id: self.id(up_to), payload: write::notification("notifications/message", &params) }
    }

    fn id(&self, seq: u64) -> Option<EventId> {
        let resumable = self.node.core.settings.streams.resumable;
        resumable.then_some(EventId { stream: self.cell.stream(), seq, epoch: self.session.epoch })
    }
}

/// Returns the id that a message answers; `None` for a notification or a request.
fn answered(payload: &[u8]) -> Option<RequestId> {
    #[derive(Deserialize)]
    struct Said<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
        #[serde(borrow)]
        method: Option<&'a RawValue>,
    }
    let said: Said<'_> = serde_json::from_slice(payload).ok()?;
    if said.method.is_none() { said.id.get().parse().ok() } else { None }
}

impl Source for LogReader {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Frames> {
        self.cell.register(cx.waker());
        loop {
            if let Some(Detach { retry }) = self.released() {
                return Poll::Ready(Self::last_frames(retry));
            }
            if self.cell.has_ended() {
                return Poll::Ready(self.session_ended());
            }
            let step = match &mut self.waiting {
                Wait::Signal => {
                    if !self.cell.take_rung() {
                        return Poll::Pending;
                    }
                    let (id, stream) = (self.session.info.id, self.cell.stream());
                    let page = self.node.core.engine.read_after(id, stream, self.generation, self.cursor, PAGE_BYTES);
                    self.waiting = Wait::Page(page);
                    continue;
                }
                Wait::Page(step) => step,
                Wait::Detach(lost, gone) => {
                    ready!(lost.as_mut().poll(cx));
                    if *gone == Gone::Replaced {
                        return Poll::Ready(self.come_back());
                    }
                    let info = &self.session.info;
                    self.waiting = Wait::Session(self.node.core.engine.load(info.id, info.principal.as_ref()));
                    continue;
                }
                Wait::Session(step) => {
                    let loaded = ready!(Pin::new(step).poll(cx));
                    self.waiting = Wait::Signal;
                    if loaded.is_err_and(|error| error.kind() == StoreErrorKind::NotFound) {
                        self.node.forget(self.session.info.id);
                        return Poll::Ready(self.session_ended());
                    }
                    return Poll::Ready(self.come_back());
                }
            };
            let read = ready!(Pin::new(step).poll(cx));
            self.waiting = Wait::Signal;
            if let Some(frames) = self.take(read) {
                return Poll::Ready(frames);
            }
        }
    }

    fn expire(&mut self, _: &mut Context<'_>) -> Expiry {
        let is_call = self.cell.stream() != STANDALONE;
        if is_call && !(self.node.core.settings.streams.resumable && self.session.info.version.has_priming()) {
            // The client may have no event id yet.
            return Expiry::GoesOn;
        }
        if is_call && !std::mem::replace(&mut self.is_expired, true) {
            return Expiry::EndsIn(CALL_DELAY);
        }
        Expiry::Ends(self.come_back())
    }
}

impl Drop for LogReader {
    fn drop(&mut self) {
        self.session.remove_reader(&self.cell);
        if self.generation > 0 {
            let (id, stream, generation) = (self.session.info.id, self.cell.stream(), self.generation);
            self.node.core.step_in_background(self.node.core.engine.detach(id, stream, generation));
        }
    }
}

impl fmt::Debug for LogReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogReader")
            .field("session", &self.session.info.id)
            .field("stream", &self.cell.stream())
            .field("cursor", &self.cursor)
            .finish_non_exhaustive()
    }
}
