//! Re-checks after lost signals: runs one at a time, and one more for all that were requested
//! meanwhile.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Core;

/// The number of re-checks that are owed.
#[derive(Debug, Default)]
pub(crate) struct Recheck(Arc<AtomicUsize>);

impl Recheck {
    /// Runs `check` in the background until none is owed, unless it is already running. A `check`
    /// that returns `None` has nothing left to check, and is not repeated.
    pub(crate) fn check<F>(&self, core: &Core, check: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = Option<()>> + Send + 'static,
    {
        if let Some(turn) = self.begin() {
            core.in_background(Box::pin(turn.run(check)));
        }
    }

    /// Adds one. Returns the turn that runs it, unless another turn is running.
    fn begin(&self) -> Option<Turn> {
        let before = self.0.fetch_add(1, Ordering::AcqRel);
        (before == 0).then(|| Turn { owed: Arc::clone(&self.0), is_over: false })
    }
}

/// A running check. If it is dropped before its end, as by a panic or without a runtime, the next
/// one may run.
struct Turn {
    owed: Arc<AtomicUsize>,
    is_over: bool,
}

impl Turn {
    async fn run<F: Future<Output = Option<()>>>(mut self, check: impl Fn() -> F) {
        while !self.is_over {
            let owed = self.owed.load(Ordering::Acquire);
            if check().await.is_none() {
                return;
            }
            self.is_over = self.owed.compare_exchange(owed, 0, Ordering::AcqRel, Ordering::Acquire).is_ok();
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.is_over {
            self.owed.store(0, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn requests_during_a_check_cause_one_more() {
        let (owed, runs) = (Recheck::default(), Cell::new(0));
        let turn = owed.begin().unwrap();
        let check = || async {
            runs.set(runs.get() + 1);
            if runs.get() == 1 {
                assert!(owed.begin().is_none() && owed.begin().is_none());
            }
            Some(())
        };
        turn.run(check).now_or_never().unwrap();
        assert_eq!(runs.get(), 2);
        assert!(owed.begin().is_some(), "none is owed any more");
    }

    #[test]
    fn a_dropped_check_does_not_block_the_next() {
        let owed = Recheck::default();
        drop(owed.begin().unwrap().run(std::future::pending::<Option<()>>));
        let turn = owed.begin().expect("dropped before its end");
        turn.run(|| async { None }).now_or_never().unwrap();
        assert!(owed.begin().is_some(), "ended by itself");
    }
}
