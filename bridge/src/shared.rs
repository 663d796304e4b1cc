//! Decides what clients of 2026-07-28 have, who have no session: one conversation for all of them, in which
//! the bridge itself is the client.

use std::sync::Arc;

use mcp_http::McpHandle;
use mcp_http::message::{ErrorObject, ProtocolVersion, RawJson};
use mcp_http::server::Discovery;
use serde_json::{Value, json};

use crate::conversation::{Conversation, INITIALIZED};
use crate::owner::Owner;
use crate::pool::Pool;

/// The conversation, and what the child said of itself at its beginning.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) conversation: Conversation,
    pub(crate) discovery: Discovery,
    pub(crate) info: RawJson,
}

impl Shared {
    /// Starts the child. Nothing is declared that a client could be asked for: nobody could say which of
    /// them a question is meant for.
    pub(crate) async fn open(pool: &Arc<Pool>, handle: McpHandle) -> Result<Self, ErrorObject> {
        let opening = json!({
            "protocolVersion": ProtocolVersion::NEWEST_SESSION.as_str(),
            "capabilities": {},
            "clientInfo": {"name": "mcp-http-bridge", "version": env!("CARGO_PKG_VERSION")},
        });
        let owner = Owner::Shared { handle };
        let (conversation, result) = Conversation::open(pool, owner, json(&opening)?).await?;
        conversation.tell(INITIALIZED, None);
        let mut result: Value = result.read().map_err(|_| ErrorObject::internal())?;
        let info = json(&result["serverInfo"].take())?;
        Ok(Self { conversation, discovery: discovery(result)?, info })
    }
}

/// What the child can do for clients without a session: not what it can only do for one of them.
fn discovery(mut result: Value) -> Result<Discovery, ErrorObject> {
    let mut capabilities = result["capabilities"].take();
    if let Some(capabilities) = capabilities.as_object_mut() {
        capabilities.remove("logging");
        capabilities.remove("tasks");
        if let Some(resources) = capabilities.get_mut("resources").and_then(Value::as_object_mut) {
            resources.remove("subscribe");
        }
    }
    let discovery = Discovery::new(json(&capabilities)?);
    Ok(match result["instructions"].as_str() {
        Some(instructions) => discovery.instructions(instructions),
        None => discovery,
    })
}

fn json(value: &Value) -> Result<RawJson, ErrorObject> {
    RawJson::from_value(value).map_err(|_| ErrorObject::internal())
}
