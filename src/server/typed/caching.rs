//! Caching: the setters of the cache hints of a server's description and lists.

use std::sync::Arc;

use super::McpServer;
use super::hints::Caching;
use crate::server::CacheHint;

impl<S> McpServer<S> {
    /// Sets how long clients of 2026-07-28 may cache the lists of tools, prompts, resources,
    /// templates and skills and the result of `server/discover`, and who may share them (Caching).
    /// Default: nothing is cached. The methods below override it for one of them. Contents of resources have
    /// their own hint ([`Resource::cache`](crate::server::Resource::cache)).
    ///
    /// Changes through a [`Catalog`](crate::server::Catalog) are announced, and subscribed clients
    /// fetch the list again at once. Other clients see the change when their time is over.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use mcp_http::McpServer;
    /// use mcp_http::server::CacheHint;
    ///
    /// let server: McpServer = McpServer::new("calculator", "1.0.0")
    ///     .cache(CacheHint::private(Duration::from_secs(3600)))
    ///     .cache_tool_list(CacheHint::public(Duration::from_secs(60)));
    /// ```
    #[must_use]
    pub fn cache(self, hint: CacheHint) -> Self {
        self.caching(|caching| caching.all = Some(hint))
    }

    /// Sets the hint for the result of `server/discover`.
    #[must_use]
    pub fn cache_discovery(self, hint: CacheHint) -> Self {
        self.caching(|caching| caching.discovery = Some(hint))
    }

    /// Sets the hint for the list of tools.
    #[must_use]
    pub fn cache_tool_list(self, hint: CacheHint) -> Self {
        self.caching(|caching| caching.tools = Some(hint))
    }

    /// Sets the hint for the list of prompts.
    #[must_use]
    pub fn cache_prompt_list(self, hint: CacheHint) -> Self {
        self.caching(|caching| caching.prompts = Some(hint))
    }

    /// Sets the hint for the list of resources, not for their contents.
    #[must_use]
    pub fn cache_resource_list(self, hint: CacheHint) -> Self {
        self.caching(|caching| caching.resources = Some(hint))
    }

    /// Sets the hint for the list of resource templates.
    #[must_use]
    pub fn cache_template_list(self, hint: CacheHint) -> Self {
        self.caching(|caching| caching.templates = Some(hint))
    }

    /// Sets the hint for the list of skills. Entries and files have that of
    /// [`Skill::cache`](crate::server::Skill::cache).
    #[must_use]
    pub fn cache_skill_list(self, hint: CacheHint) -> Self {
        self.caching(|caching| caching.skills = Some(hint))
    }

    fn caching(mut self, change: impl FnOnce(&mut Caching)) -> Self {
        change(&mut Arc::make_mut(&mut self.facts).caching);
        self
    }
}
