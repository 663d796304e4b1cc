//! The end of a connection on which nothing moves: nothing was written or read since the server's last word.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// How long a connection has been idle.
#[derive(Debug)]
pub(super) struct Idle {
    limit: Option<Duration>,
    /// When something last moved.
    moved: Option<Instant>,
    /// The last to move was the client: a request may be in the works, which takes as long as it takes.
    asked: bool,
    /// Made when a connection is first idle, and moved only when it rings.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Idle {
    pub(super) fn new(limit: Option<Duration>) -> Self {
        Self { limit, moved: limit.map(|_| Instant::now()), asked: false, timer: None }
    }

    /// Something was read, or written.
    pub(super) fn moved(&mut self, asked: bool) {
        if self.limit.is_some() {
            (self.moved, self.asked) = (Some(Instant::now()), asked);
        }
    }

    /// Nothing is there to read. Ready when that has been so for too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let (Some(limit), Some(moved), false) = (self.limit, self.moved, self.asked) else { return Poll::Pending };
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
