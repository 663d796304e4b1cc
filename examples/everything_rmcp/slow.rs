//! A slow tool that records how each call ended, and a tool that reports it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rmcp::handler::server::wrapper::Parameters;
use rmcp::schemars::{self, JsonSchema};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, tool, tool_router};
use serde::Deserialize;
use tokio::time::sleep;

use crate::handler::Everything;

/// The state of each slow call, by its label. It is never removed, because this server is only for
/// tests.
#[derive(Debug, Default)]
pub(crate) struct Calls(Mutex<HashMap<String, &'static str>>);

impl Calls {
    fn record(&self, label: &str, outcome: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(label.to_owned(), outcome);
    }

    fn get(&self, label: &str) -> Option<&'static str> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(label).copied()
    }
}

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Slow {
    /// How long to wait, in milliseconds.
    ms: u64,
    /// The name of this call.
    label: String,
}

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Report {
    /// The name of the call.
    label: String,
}

#[tool_router(router = slow, vis = "pub(crate)")]
impl Everything {
    /// Waits, and notes under its label whether it came to its end.
    #[tool]
    async fn test_slow(
        &self,
        Parameters(Slow { ms, label }): Parameters<Slow>,
        context: RequestContext<RoleServer>,
    ) -> Result<String, ErrorData> {
        self.shared.calls.record(&label, "running");
        tokio::select! {
            () = sleep(Duration::from_millis(ms)) => {
                self.shared.calls.record(&label, "finished");
                Ok(format!("waited {ms} ms"))
            }
            () = context.ct.cancelled() => {
                self.shared.calls.record(&label, "cancelled");
                Err(ErrorData::internal_error("Cancelled", None))
            }
        }
    }

    /// Tells how the slow call with a label stands.
    #[tool]
    fn test_slow_report(&self, Parameters(Report { label }): Parameters<Report>) -> String {
        self.shared.calls.get(&label).unwrap_or("unknown").to_owned()
    }
}
