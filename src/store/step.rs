//! Decides how an engine answers: at once where it can, later where it must, and without an
//! allocation in the first case.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;

/// The future of one engine operation.
///
/// # Cancel safety
///
/// Dropping a step that is not ready leaves open whether the operation happened; every operation
/// can be asked for again.
#[must_use = "a step does nothing until it is awaited"]
pub struct Step<T>(State<T>);

enum State<T> {
    Ready(Option<T>),
    Later(BoxFuture<'static, T>),
}

impl<T> Step<T> {
    /// Done already.
    pub const fn ready(value: T) -> Self {
        Self(State::Ready(Some(value)))
    }

    /// Done when the future is.
    pub fn later(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(State::Later(Box::pin(future)))
    }

    /// The value, if it is there without waiting.
    ///
    /// # Errors
    ///
    /// Gives the step back when it has to be awaited.
    pub fn now(self) -> Result<T, Self> {
        match self.0 {
            State::Ready(Some(value)) => Ok(value),
            state => Err(Self(state)),
        }
    }
}

impl<T: Unpin> Future for Step<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match &mut self.0 {
            // Polled again after it was done, which nobody may do, it never wakes.
            State::Ready(value) => value.take().map_or(Poll::Pending, Poll::Ready),
            State::Later(future) => future.as_mut().poll(cx),
        }
    }
}

impl<T> fmt::Debug for Step<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Step").field("ready", &matches!(self.0, State::Ready(_))).finish()
    }
}
