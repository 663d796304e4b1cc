//! Panic boundaries around code of the application: a panic, even in a destructor, ends nothing
//! else.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

/// A future of the application. It is dropped as soon as it is ready or has panicked.
pub(crate) struct Contained<T>(Option<BoxFuture<'static, T>>);

/// The error of a future that panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Panicked;

impl<T> Contained<T> {
    pub(crate) fn new(future: BoxFuture<'static, T>) -> Self {
        Self(Some(future))
    }
}

impl<T> Future for Contained<T> {
    type Output = Result<T, Panicked>;

    /// Stays pending after it has returned `Ready`.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.0 else { return Poll::Pending };
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx)));
        let output = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(_) => Err(Panicked),
        };
        drop_quietly(self.0.take());
        Poll::Ready(output)
    }
}

impl<T> Drop for Contained<T> {
    fn drop(&mut self) {
        if let Some(future) = self.0.take() {
            drop_quietly(future);
        }
    }
}

impl<T> fmt::Debug for Contained<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contained").finish_non_exhaustive()
    }
}

/// Polls a future and catches its panic.
pub(crate) fn caught<F: Future>(future: F) -> impl Future<Output = Result<F::Output, Panicked>> {
    AssertUnwindSafe(future).catch_unwind().map(|output| output.map_err(|_| Panicked))
}

/// Calls a function of the application, and returns its result.
pub(crate) fn call<T>(function: impl FnOnce() -> T) -> Result<T, Panicked> {
    catch_unwind(AssertUnwindSafe(function)).map_err(|_| Panicked)
}

/// Drops a value of the application.
pub(crate) fn drop_quietly<T>(value: T) {
    if catch_unwind(AssertUnwindSafe(|| drop(value))).is_err() {
        tracing::error!("a destructor panicked");
    }
}

/// Calls a function of the application.
pub(crate) fn call_quietly(what: &'static str, function: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(function)).is_err() {
        tracing::error!("{what} panicked");
    }
}

/// Runs a function when a background task is dropped before its end, because it panicked or its
/// runtime was dropped.
pub(crate) struct OnAbort<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> OnAbort<F> {
    pub(crate) fn new(function: F) -> Self {
        Self(Some(function))
    }

    /// Records that the task reached its end.
    pub(crate) fn disarm(mut self) {
        self.0 = None;
    }
}

impl<F: FnOnce()> Drop for OnAbort<F> {
    fn drop(&mut self) {
        if let Some(function) = self.0.take() {
            function();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Panics when it is dropped.
    struct Trap;

    impl Drop for Trap {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    /// Is ready at once or never, and has a destructor that panics.
    struct Rude(bool, Trap);

    impl Future for Rude {
        type Output = u8;

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u8> {
            if self.0 { Poll::Ready(1) } else { Poll::Pending }
        }
    }

    #[test]
    fn panics_are_contained_anywhere() {
        assert_eq!(Contained::new(Box::pin(Rude(true, Trap))).now_or_never(), Some(Ok(1)));
        assert_eq!(Contained::new(Box::pin(Rude(false, Trap))).now_or_never(), None);
        let panics = Contained::<()>::new(Box::pin(async { panic!("polled") }));
        assert_eq!(panics.now_or_never(), Some(Err(Panicked)));
        drop_quietly(vec![Trap]);
        call_quietly("a hook", || panic!("called"));
        assert_eq!(caught(async { panic!("polled") }).now_or_never(), Some(Err::<(), _>(Panicked)));
        assert_eq!((call(|| 1), call(|| -> u8 { panic!("called") })), (Ok(1), Err(Panicked)));
    }
}
