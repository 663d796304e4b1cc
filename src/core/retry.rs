//! Retries: repeats engine operations that end something until the engine answers, a few at a time,
//! while the service exists.
//!
//! Only operations that the engine does not retry itself belong here. The engine releases calls,
//! readers and requests to the client itself (see [`CallStore::finish`](crate::store::engine::CallStore::finish)). Retrying those here
//! too would store each of them many times.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{Core, LogLine, LogLines};
use crate::error::{StoreError, StoreErrorKind};
use crate::store::{EngineFuture, SessionEngine};

/// The pause between two attempts. The engine has its own retry timeout in each.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

impl Core {
    /// Ends a session whose id no client has received, and which the engine would keep until it
    /// expires. It must be safe to repeat the operation.
    pub(crate) fn retry<T, F>(self: &Arc<Self>, step: F)
    where
        T: Unpin + Send + 'static,
        F: Fn(&dyn SessionEngine) -> EngineFuture<Result<T, StoreError>> + Send + 'static,
    {
        let first = match step(&*self.engine).now() {
            Ok(result) if !is_out_of_reach(&self.log_lines, &result) => return,
            Ok(_) => None,
            Err(step) => Some(step),
        };
        // Without a runtime, as when values are dropped last, no task can retry.
        if tokio::runtime::Handle::try_current().is_ok() {
            self.tasks.spawn(insist(Arc::downgrade(self), Arc::clone(&self.log_lines), first, step));
        }
    }
}

async fn insist<T, F>(
    core: Weak<Core>,
    lines: Arc<LogLines>,
    first: Option<EngineFuture<Result<T, StoreError>>>,
    step: F,
) where
    T: Unpin + Send,
    F: Fn(&dyn SessionEngine) -> EngineFuture<Result<T, StoreError>> + Send,
{
    if let Some(first) = first
        && !is_out_of_reach(&lines, &first.await)
    {
        return;
    }
    loop {
        tokio::time::sleep(RETRY_PAUSE).await;
        let Some(returns) = core.upgrade().map(|core| Arc::clone(&core.retries)) else { return };
        let Ok(_turn) = returns.acquire().await else { return };
        let Some(again) = core.upgrade().map(|core| step(&*core.engine)) else { return };
        if !is_out_of_reach(&lines, &again.await) {
            return;
        }
    }
}

/// Returns `true` if the operation must be retried. All other errors would occur again.
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
