//! Benchmark server: turbomcp, a prerelease, with its documented macros. It is mounted in the same
//! way as by its own one-call server.

use std::sync::Arc;
use std::time::Duration;

use turbomcp::SessionStore;
use turbomcp::http::{HttpConfig, router};
use turbomcp::prelude::*;

/// The benchmark opens more sessions and streams than the defaults allow.
const MOST: usize = 1_000_000;

#[derive(Clone)]
struct Tools;

#[server(name = "peers", version = "1.0.0")]
impl Tools {
    #[tool(description = "Says it again.")]
    async fn echo(&self, text: String) -> String {
        text
    }

    #[tool(description = "Fifty steps at once.")]
    async fn burst(&self, cx: &CallToolContext) -> String {
        for step in 1..=50 {
            cx.progress.report(step.into(), Some(50.0), None).await;
        }
        "done".to_owned()
    }

    #[tool(description = "Steps with a pause before each.")]
    async fn slow(&self, cx: &CallToolContext, steps: u32, millis: u64) -> String {
        for step in 1..=steps {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            cx.progress.report(step.into(), Some(steps.into()), None).await;
        }
        "done".to_owned()
    }
}

fn main() {
    stand::run(async {
        let sessions = Arc::new(SessionStore::with_capacity(MOST));
        let dispatcher = Tools.into_server().with_session_backend(sessions).build();
        let terminator = Arc::new(dispatcher.session_terminator());
        let config = HttpConfig::new().with_session_terminator(terminator).max_concurrent_requests(MOST);
        stand::serve(router(dispatcher, config)).await
    });
}
