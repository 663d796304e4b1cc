//! The future of an engine operation, which needs no allocation if the result is available
//! immediately.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;

use crate::error::StoreError;

/// The result of one engine operation.
pub(super) type Result<T> = std::result::Result<T, StoreError>;

/// The future of one engine operation.
///
/// # Cancel safety
///
/// If this future is dropped before it is ready, the operation may or may not have happened. Every
/// operation can be repeated, but a repeated
/// [`publish`](crate::store::engine::StreamStore::publish) may append its event twice.
#[must_use = "an operation does nothing until it is awaited"]
pub struct EngineFuture<T>(State<T>);

enum State<T> {
    Ready(Option<T>),
    Later(BoxFuture<'static, T>),
}

impl<T> EngineFuture<T> {
    /// Creates a future that is ready with a value.
    pub const fn ready(value: T) -> Self {
        Self(State::Ready(Some(value)))
    }

    /// Creates a future that completes with another one, which is boxed.
    pub fn later(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(State::Later(Box::pin(future)))
    }

    /// Returns the value, if it is available without waiting.
    ///
    /// # Errors
    ///
    /// Returns the future itself if it must be awaited.
    pub fn now(self) -> std::result::Result<T, Self> {
        match self.0 {
            State::Ready(Some(value)) => Ok(value),
            state => Err(Self(state)),
        }
    }
}

impl<T: Unpin> Future for EngineFuture<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match &mut self.0 {
            // A future polled after completion, which its contract forbids, stays pending.
            State::Ready(value) => value.take().map_or(Poll::Pending, Poll::Ready),
            State::Later(future) => future.as_mut().poll(cx),
        }
    }
}

impl<T> fmt::Debug for EngineFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineFuture").field("ready", &matches!(self.0, State::Ready(_))).finish()
    }
}
