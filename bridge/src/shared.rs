//! The shared session: one process for all clients of 2026-07-28, which have no sessions. The
//! bridge itself is the client of that process.

use std::sync::Arc;

use mcp_http::McpHandle;
use mcp_http::message::{ErrorObject, ProtocolVersion, RawJson};
use mcp_http::server::Discovery;
use serde_json::{Value, json};

use crate::owner::Owner;
use crate::pool::Pool;
use crate::session::{INITIALIZED, StdioSession};

/// The session, and what the process said about itself in `initialize`.
#[derive(Debug)]
pub(crate) struct SharedSession {
    pub(crate) session: StdioSession,
    pub(crate) discovery: Discovery,
    pub(crate) info: RawJson,
}

impl SharedSession {
    /// Starts the process. The bridge declares no client capabilities, because it could not know
    /// which client a request of the process is for.
    ///
    /// # Errors
    ///
    /// The process does not start or does not answer `initialize`.
    pub(crate) async fn open(pool: &Arc<Pool>, handle: McpHandle) -> Result<Self, ErrorObject> {
        let initialize = json!({
            "protocolVersion": ProtocolVersion::NEWEST_SESSION.as_str(),
            "capabilities": {},
            "clientInfo": {"name": "mcp-http-bridge", "version": env!("CARGO_PKG_VERSION")},
        });
        let owner = Owner::Shared { handle };
        let (session, result) = StdioSession::open(pool, owner, raw_json(&initialize)?).await?;
        session.notify(INITIALIZED, None);
        let mut result: Value = result.read().map_err(|_| ErrorObject::internal())?;
        let info = raw_json(&result["serverInfo"].take())?;
        Ok(Self { session, discovery: discovery(result)?, info })
    }
}

/// Returns the capabilities for clients without a session: all but those that need one.
fn discovery(mut result: Value) -> Result<Discovery, ErrorObject> {
    let mut capabilities = result["capabilities"].take();
    if let Some(capabilities) = capabilities.as_object_mut() {
        capabilities.remove("logging");
        capabilities.remove("tasks");
        if let Some(resources) = capabilities.get_mut("resources").and_then(Value::as_object_mut) {
            resources.remove("subscribe");
        }
    }
    let discovery = Discovery::new(raw_json(&capabilities)?);
    Ok(match result["instructions"].as_str() {
        Some(instructions) => discovery.instructions(instructions),
        None => discovery,
    })
}

fn raw_json(value: &Value) -> Result<RawJson, ErrorObject> {
    RawJson::from_value(value).map_err(|_| ErrorObject::internal())
}
