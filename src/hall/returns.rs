//! Steps that end something, tried until the engine says what became of them: a few at a time, while the
//! service exists. Only a step that an engine does not keep by itself belongs here: calls, readers and
//! questions are the engine's to give back (see [`SessionEngine::finish`]), and a second layer that
//! repeated them would have each of them kept many times.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{Hall, LogLine, LogLines};
use crate::error::{StoreError, StoreErrorKind};
use crate::store::{SessionEngine, Step};

/// How many are tried again at a time: an engine that comes back has more to do than this.
pub(super) const AT_ONCE: usize = 32;

/// Between two attempts. The engine has its own patience in each.
const PAUSE: Duration = Duration::from_secs(1);

impl Hall {
    /// Ends a session that no client was told of, which the engine would keep until it expires. The step
    /// must be one that may be repeated.
    pub(crate) fn give_back<T, F>(self: &Arc<Self>, step: F)
    where
        T: Unpin + Send + 'static,
        F: Fn(&dyn SessionEngine) -> Step<Result<T, StoreError>> + Send + 'static,
    {
        let first = match step(&*self.engine).now() {
            Ok(result) if !is_out_of_reach(&self.lines, &result) => return,
            Ok(_) => None,
            Err(step) => Some(step),
        };
        // Without a runtime, as in what is dropped last, there is nobody to go on.
        if tokio::runtime::Handle::try_current().is_ok() {
            self.tasks.spawn(insist(Arc::downgrade(self), Arc::clone(&self.lines), first, step));
        }
    }
}

async fn insist<T, F>(hall: Weak<Hall>, lines: Arc<LogLines>, first: Option<Step<Result<T, StoreError>>>, step: F)
where
    T: Unpin + Send,
    F: Fn(&dyn SessionEngine) -> Step<Result<T, StoreError>> + Send,
{
    if let Some(first) = first
        && !is_out_of_reach(&lines, &first.await)
    {
        return;
    }
    loop {
        tokio::time::sleep(PAUSE).await;
        let Some(returns) = hall.upgrade().map(|hall| Arc::clone(&hall.returns)) else { return };
        let Ok(_turn) = returns.acquire().await else { return };
        let Some(again) = hall.upgrade().map(|hall| step(&*hall.engine)) else { return };
        if !is_out_of_reach(&lines, &again.await) {
            return;
        }
    }
}

/// Whether it must be tried again. Whatever else is wrong is wrong the next time too.
fn is_out_of_reach<T>(lines: &LogLines, result: &Result<T, StoreError>) -> bool {
    let Err(error) = result else { return false };
    match error.kind() {
        StoreErrorKind::Unavailable => true,
        StoreErrorKind::NotFound => false,
        _ => {
            if let Some(left_out) = lines.line(LogLine::Background) {
                let error = error as &dyn std::error::Error;
                tracing::warn!(error, left_out, "a step of the session engine failed");
            }
            false
        }
    }
}
