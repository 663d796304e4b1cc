//! Cells: the parts of calls and readers that signals reach. A session knows its calls and its
//! readers only by these.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use futures_util::task::AtomicWaker;

use crate::error::Rejection;
use crate::message::{ErrorObject, RequestId};
use crate::server::Cancellation;
use crate::store::StreamNo;

/// A call that runs on this node, as its session reaches it.
pub(super) trait RunningCall: fmt::Debug + Send + Sync {
    fn id(&self) -> &RequestId;
    /// Returns why the call was cancelled, if it was.
    fn cause(&self) -> Option<Cause>;
    /// Cancels the call. Only the first cause counts.
    fn cancel(&self, cause: Cause);
    /// Stores the client's cancellation, just before the call is cancelled.
    fn explain(&self, cancellation: Cancellation);
    /// Records that the reader of its stream took something or left.
    fn reader_took(&self);
    /// Makes the call check that the engine still has what it wrote.
    fn recheck(&self);
}

/// Why a call was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// The client cancelled it.
    Client,
    /// Its session ended.
    SessionEnded,
    /// The service shut down and could wait no longer.
    Shutdown,
    /// The response was an error of its own, for example because the call's stream found no
    /// capacity.
    Refused,
    /// The engine gave the call up, because this node was away for too long.
    GivenUp,
}

impl Cause {
    /// Returns the error for the client. `None` if the client cancelled the call itself, or
    /// receives its answer by other means.
    pub(super) fn error(self) -> Option<ErrorObject> {
        match self {
            Self::SessionEnded => Some(Rejection::SessionEnded.to_error()),
            Self::Shutdown => Some(ErrorObject::new(ErrorObject::INTERNAL_ERROR, "The server is shutting down")),
            Self::Client | Self::Refused | Self::GivenUp => None,
        }
    }
}

/// A request that a reader detaches, with the retry hint for its client, if any.
#[derive(Debug, Clone, Copy)]
pub(super) struct Detach {
    pub(super) retry: Option<Duration>,
}

/// The part of a reader that the engine's signals can reach.
#[derive(Debug)]
pub(super) struct ReaderCell {
    stream: StreamNo,
    waker: AtomicWaker,
    signals: Mutex<Signals>,
}

/// The signals that the reader has not acted on.
#[derive(Debug)]
struct Signals {
    /// Events may have been written since the last read.
    rung: bool,
    /// Readers up to this generation must detach, with this retry hint.
    released: Option<(u32, Detach)>,
    /// The session has ended, and its log with it.
    ended: bool,
}

impl ReaderCell {
    /// Creates the cell of a reader that has not read yet.
    pub(super) fn new(stream: StreamNo) -> Self {
        let signals = Mutex::new(Signals { rung: true, released: None, ended: false });
        Self { stream, waker: AtomicWaker::new(), signals }
    }

    pub(super) fn stream(&self) -> StreamNo {
        self.stream
    }

    pub(super) fn wake(&self) {
        self.set_rung();
        self.waker.wake();
    }

    /// Makes the reader detach if it is of this generation or an older one. Generations grow, so
    /// this call may come before the reader knows its own.
    pub(super) fn release(&self, generation: u32, retry: Option<Duration>) {
        {
            let mut signals = self.signals();
            if signals.released.is_none_or(|(before, _)| before < generation) {
                signals.released = Some((generation, Detach { retry }));
            }
        }
        self.waker.wake();
    }

    /// Ends the reader, because its session has ended.
    pub(super) fn end(&self) {
        self.signals().ended = true;
        self.waker.wake();
    }

    // Called by the reader.

    pub(super) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Makes the reader read again, without waking it.
    pub(super) fn set_rung(&self) {
        self.signals().rung = true;
    }

    /// Returns `true` if there may be something to read.
    pub(super) fn take_rung(&self) -> bool {
        std::mem::take(&mut self.signals().rung)
    }

    /// Returns the detach request for a reader of this generation.
    pub(super) fn released(&self, generation: u32) -> Option<Detach> {
        self.signals().released.filter(|(released, _)| *released >= generation).map(|(_, detach)| detach)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.signals().ended
    }

    fn signals(&self) -> MutexGuard<'_, Signals> {
        self.signals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
