//! The tools of the rmcp server, written with the macros of its documentation.

use std::time::Duration;

use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{ServerCapabilities, ServerConfig};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler, tool, tool_handler, tool_router};

use super::tools::{Echo, Slow, steps};

pub(crate) struct Tools {
    tool_router: ToolRouter<Self>,
}

#[tool_router]
impl Tools {
    pub(crate) fn new() -> Self {
        Self { tool_router: Self::tool_router() }
    }

    #[tool(description = "Says it again.")]
    async fn echo(&self, Parameters(echo): Parameters<Echo>) -> String {
        echo.text
    }

    #[tool(description = "Fifty steps at once.")]
    async fn burst(&self, context: RequestContext<RoleServer>) -> String {
        steps(&context, 50, None).await
    }

    #[tool(description = "Steps with a pause before each.")]
    async fn slow(&self, Parameters(slow): Parameters<Slow>, context: RequestContext<RoleServer>) -> String {
        steps(&context, slow.steps, Some(Duration::from_millis(slow.millis))).await
    }
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }
}
