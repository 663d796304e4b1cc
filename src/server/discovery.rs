//! Decides what a server says of itself where there is no `initialize` (2026-07-28,
//! `server/discover`).

use serde::{Deserialize, Serialize};

use super::CacheHint;
use crate::message::{ErrorObject, RawJson};

/// What a server says of itself to a client of 2026-07-28. The revisions it serves are the
/// transport's to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Discovery {
    capabilities: RawJson,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instructions: Option<String>,
    #[serde(skip)]
    cache: CacheHint,
}

impl Discovery {
    /// The server's capabilities, as the protocol writes them.
    #[must_use]
    pub fn new(capabilities: RawJson) -> Self {
        Self { capabilities, instructions: None, cache: CacheHint::default() }
    }

    /// What a model should know to use the server well.
    #[must_use]
    pub fn instructions(mut self, instructions: impl Into<String>) -> Self {
        self.instructions = Some(instructions.into());
        self
    }

    /// How long clients may keep it, and who may share it; by default it is not kept.
    #[must_use]
    pub fn cache(mut self, hint: CacheHint) -> Self {
        self.cache = hint;
        self
    }

    /// The capabilities.
    #[must_use]
    pub fn capabilities(&self) -> &RawJson {
        &self.capabilities
    }

    pub(crate) fn get_instructions(&self) -> Option<&str> {
        self.instructions.as_deref()
    }

    pub(crate) fn get_cache(&self) -> CacheHint {
        self.cache
    }

    /// From the result of `initialize`, which says the same and more.
    pub(super) fn read(initialized: &RawJson) -> Result<Self, ErrorObject> {
        initialized.read().map_err(|error| {
            tracing::error!(%error, "the result of initialize cannot be read");
            ErrorObject::internal()
        })
    }
}
