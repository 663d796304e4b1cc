//! `server/discover` for rmcp: the request made for a client, and the conversion of its answer.

use std::time::Duration;

use rmcp::model::RequestId;
use serde::Deserialize;
use serde_json::json;

use crate::message::RawJson;
use crate::server::{CacheHint, CacheScope, Context, Discovery};

/// The only request of its service.
pub(super) const ID: RequestId = RequestId::Number(0);

/// Builds the parameters by which rmcp learns of the client.
pub(super) fn params(context: &Context) -> Result<RawJson, serde_json::Error> {
    RawJson::from_value(&json!({ "_meta": {
        "io.modelcontextprotocol/protocolVersion": context.protocol_version(),
        "io.modelcontextprotocol/clientInfo": context.client_info().cloned().unwrap_or_default(),
        "io.modelcontextprotocol/clientCapabilities": context.client_capabilities().cloned().unwrap_or_default(),
    }}))
}

/// The parts used from the answer. The transport itself states the served revisions.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Said {
    capabilities: RawJson,
    #[serde(default)]
    instructions: Option<String>,
    #[serde(default)]
    ttl_ms: u64,
    #[serde(default)]
    cache_scope: CacheScope,
}

impl From<Said> for Discovery {
    fn from(said: Said) -> Self {
        let ttl = Duration::from_millis(said.ttl_ms);
        let hint = match said.cache_scope {
            CacheScope::Public => CacheHint::public(ttl),
            CacheScope::Private => CacheHint::private(ttl),
        };
        let discovery = Self::new(said.capabilities).cache(hint);
        match said.instructions {
            Some(instructions) => discovery.instructions(instructions),
            None => discovery,
        }
    }
}
