//! The idle timeout: ends a connection on which nothing was read or written since the server wrote.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The idle timer of a connection.
#[derive(Debug)]
pub(super) struct Idle {
    limit: Option<Duration>,
    /// When bytes were last read or written.
    moved: Option<Instant>,
    /// The client moved last: a request may be in progress, which may take any time.
    shutdown_requested: bool,
    /// Created when the connection is first idle, and reset only when it fires.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Idle {
    pub(super) fn new(limit: Option<Duration>) -> Self {
        Self { limit, moved: limit.map(|_| Instant::now()), shutdown_requested: false, timer: None }
    }

    /// Records that bytes were read (`asked`) or written.
    pub(super) fn moved(&mut self, asked: bool) {
        if self.limit.is_some() {
            (self.moved, self.shutdown_requested) = (Some(Instant::now()), asked);
        }
    }

    /// Polled while nothing is there to read. Ready once that has lasted for the limit.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let (Some(limit), Some(moved), false) = (self.limit, self.moved, self.shutdown_requested) else {
                return Poll::Pending;
            };
            let Some(due) = moved.checked_add(limit) else { return Poll::Pending };
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
            ready!(timer.as_mut().poll(cx));
            if due <= Instant::now() {
                return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "the connection was idle for too long"));
            }
            timer.as_mut().reset(due);
        }
    }
}
