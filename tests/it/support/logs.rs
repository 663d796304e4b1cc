//! The logs of a test: one subscriber for all tests of this process, which collects the lines of
//! each test by its thread.
//!
//! A subscriber of one thread (`tracing::subscriber::set_default`) is not enough for tests that run
//! in parallel. tracing asks once for each call site whether any subscriber wants its lines, and
//! keeps the answer for the whole process. As long as there is only one subscriber, it asks the
//! subscriber of the first thread that gets there. For a thread without a subscriber the answer is
//! "no". The test that reads the log then finds nothing.

use std::cell::RefCell;
use std::io;
use std::sync::{Arc, Mutex, Once, PoisonError};

use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::SubscriberExt;

thread_local! {
    /// The buffer for the lines of this thread.
    static CAPTURED: RefCell<Option<Lines>> = const { RefCell::new(None) };
}

/// The lines of one thread, from its creation until it is dropped. A test on a runtime with one
/// thread (the default of `tokio::test`) has all of its tasks there.
#[derive(Debug)]
pub(crate) struct Logs(Lines);

impl Logs {
    /// Collects the lines of this thread, at every level.
    pub(crate) fn capture() -> Self {
        install();
        let lines = Lines::default();
        let before = CAPTURED.replace(Some(lines.clone()));
        assert!(before.is_none(), "the lines of this thread are captured already");
        // A call site that was first reached during the installation may have kept "no".
        tracing::callsite::rebuild_interest_cache();
        Self(lines)
    }

    /// Returns the lines so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.0.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap()
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        CAPTURED.set(None);
    }
}

/// Installs the subscriber. Each application of a test does so first, before a line is logged.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let captured = dynamic_filter_fn(|_, _| CAPTURED.with_borrow(Option::is_some));
        let lines = || CAPTURED.with_borrow(|lines| lines.clone().unwrap_or_default());
        let written = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(lines);
        let subscriber = tracing_subscriber::registry().with(captured).with(written);
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
