//! Tools that send messages while they run: progress, logs, and a stream that closes on purpose.
#![expect(deprecated, reason = "clients of the session revisions can still be logged to")]

use std::time::Duration;

use mcp_http::Context;
use rmcp::handler::server::tool::Extension;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{LoggingLevel, LoggingMessageNotificationParam, ProgressNotificationParam};
use rmcp::schemars::{self, JsonSchema};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, tool, tool_router};
use serde::Deserialize;
use tokio::time::sleep;

use crate::handler::Everything;

/// How long each step of a tool takes: long enough for clients to see separate steps.
const STEP: Duration = Duration::from_millis(50);

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Steps {
    /// How many steps there are.
    steps: u32,
    /// How long each step takes, in milliseconds.
    #[serde(default)]
    delay_ms: u64,
}

#[tool_router(router = running, vis = "pub(crate)")]
impl Everything {
    /// Sends three log messages while it runs.
    #[tool]
    async fn test_tool_with_logging(&self, context: RequestContext<RoleServer>) -> String {
        logging(&context).await
    }

    /// Sends log messages to a client that wants any.
    #[tool]
    async fn test_logging_tool(&self, context: RequestContext<RoleServer>) -> String {
        logging(&context).await
    }

    /// Reports its progress three times.
    #[tool]
    async fn test_tool_with_progress(&self, context: RequestContext<RoleServer>) -> String {
        report(&context, 0.0, 100.0, None).await;
        sleep(STEP).await;
        report(&context, 50.0, 100.0, None).await;
        sleep(STEP).await;
        report(&context, 100.0, 100.0, None).await;
        "Progress was reported three times.".to_owned()
    }

    /// Reports its progress as often and as fast as the arguments say.
    #[tool]
    async fn progress(
        &self,
        Parameters(Steps { steps, delay_ms }): Parameters<Steps>,
        context: RequestContext<RoleServer>,
    ) -> String {
        for step in 1..=steps {
            if delay_ms > 0 {
                sleep(Duration::from_millis(delay_ms)).await;
            }
            let message = format!("step {step} of {steps}");
            report(&context, f64::from(step), f64::from(steps), Some(message)).await;
        }
        format!("{steps} steps done")
    }

    /// Cuts the stream of its own answer; the client resumes it.
    #[tool]
    async fn test_reconnection(&self, Extension(context): Extension<Context>) -> String {
        // rmcp has no API for this. The context of the transport has one, and it is in the
        // extensions.
        context.close_sse_stream(STEP);
        sleep(4 * STEP).await;
        "The stream was cut and this came on the one that resumed it.".to_owned()
    }
}

async fn logging(context: &RequestContext<RoleServer>) -> String {
    log(context, "Tool execution started").await;
    sleep(STEP).await;
    log(context, "Tool processing data").await;
    sleep(STEP).await;
    log(context, "Tool execution completed").await;
    "Three messages were logged.".to_owned()
}

async fn log(context: &RequestContext<RoleServer>, text: &str) {
    let message = LoggingMessageNotificationParam::new(LoggingLevel::Info, text.into());
    // This fails if the client is gone.
    let _ = context.peer.notify_logging_message(message).await;
}

/// Reports progress, if the client requested it.
async fn report(context: &RequestContext<RoleServer>, progress: f64, total: f64, message: Option<String>) {
    let Some(token) = context.meta.get_progress_token() else { return };
    let mut report = ProgressNotificationParam::new(token, progress).with_total(total);
    report.message = message;
    let _ = context.peer.notify_progress(report).await;
}
