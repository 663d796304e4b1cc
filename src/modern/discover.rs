//! The result of `server/discover`, which a client may query before any other request (2026-07-28,
//! Discovery).

use serde::Serialize;

use crate::message::{ErrorObject, ProtocolVersion, RawJson};
use crate::server::{CacheHint, Discovery};

/// Builds the result of `server/discover`: what the server states, and the revisions that the
/// transport serves.
pub(super) fn result(discovery: &Discovery, served: &[ProtocolVersion]) -> Result<RawJson, ErrorObject> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct DiscoverResult<'a> {
        #[serde(flatten)]
        cache: CacheHint,
        supported_versions: &'a [ProtocolVersion],
        capabilities: &'a RawJson,
        #[serde(skip_serializing_if = "Option::is_none")]
        instructions: Option<&'a str>,
    }
    let result = DiscoverResult {
        cache: discovery.get_cache(),
        supported_versions: served,
        capabilities: discovery.capabilities(),
        instructions: discovery.get_instructions(),
    };
    RawJson::from_value(&result).map_err(|error| {
        tracing::error!(%error, "the server's description of itself cannot be written");
        ErrorObject::internal()
    })
}
