//! Hints: how long the description and each list of a server may be cached.

use crate::server::CacheHint;

/// The hints that were set.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Caching {
    pub(super) all: Option<CacheHint>,
    pub(super) discovery: Option<CacheHint>,
    pub(super) tools: Option<CacheHint>,
    pub(super) prompts: Option<CacheHint>,
    pub(super) resources: Option<CacheHint>,
    pub(super) templates: Option<CacheHint>,
    pub(super) skills: Option<CacheHint>,
}

impl Caching {
    pub(super) fn discovery(&self) -> CacheHint {
        self.or_all(self.discovery)
    }

    pub(super) fn tools(&self) -> CacheHint {
        self.or_all(self.tools)
    }

    pub(super) fn prompts(&self) -> CacheHint {
        self.or_all(self.prompts)
    }

    pub(super) fn resources(&self) -> CacheHint {
        self.or_all(self.resources)
    }

    pub(super) fn templates(&self) -> CacheHint {
        self.or_all(self.templates)
    }

    pub(super) fn skills(&self) -> CacheHint {
        self.or_all(self.skills)
    }

    fn or_all(&self, own: Option<CacheHint>) -> CacheHint {
        own.or(self.all).unwrap_or_default()
    }
}
