//! Discovery: how a server describes itself to clients that send no `initialize` (2026-07-28,
//! `server/discover`).

use serde::{Deserialize, Serialize};

use super::CacheHint;
use crate::message::{ErrorObject, RawJson};

/// The description of a server for clients of 2026-07-28. The transport adds the supported
/// revisions.
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
    /// Makes a description with these capabilities, as the protocol writes them.
    #[must_use]
    pub fn new(capabilities: RawJson) -> Self {
        Self { capabilities, instructions: None, cache: CacheHint::default() }
    }

    /// Sets the instructions for the model on how to use the server.
    #[must_use]
    pub fn instructions(mut self, instructions: impl Into<String>) -> Self {
        self.instructions = Some(instructions.into());
        self
    }

    /// Sets how long clients may cache the description, and who may share it. Default: not cached.
    #[must_use]
    pub fn cache(mut self, hint: CacheHint) -> Self {
        self.cache = hint;
        self
    }

    /// Returns the capabilities.
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

    /// Reads it from the result of `initialize`, which contains the same members and more.
    pub(super) fn read(initialized: &RawJson) -> Result<Self, ErrorObject> {
        initialized.read().map_err(|error| {
            tracing::error!(%error, "the result of initialize cannot be read");
            ErrorObject::internal()
        })
    }
}
