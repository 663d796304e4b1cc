//! Decides how an application changes what its server offers while it serves.

use std::sync::Arc;

use super::store::{Edit, Op, Store};
use crate::error::ConfigError;
use crate::server::{Prompt, Resource, ResourceTemplate, Tool};

/// The hand on what a server offers, from [`McpServer::catalog`](crate::McpServer::catalog).
/// Cheap to clone.
///
/// Each change shows in the next list and the next call, and every connected client is told that
/// the list changed. Calls that run already finish with the handler they began with.
///
/// ```
/// use mcp_http::McpServer;
/// use mcp_http::server::Tool;
///
/// # fn main() -> Result<(), mcp_http::error::ConfigError> {
/// let server: McpServer = McpServer::new("plugins", "1.0.0");
/// let catalog = server.catalog();
/// // Later, while it serves:
/// catalog.insert_tool(Tool::new("hello", "Says hello.", async || "hello"))?;
/// assert!(catalog.remove_tool("hello"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Catalog<S = ()> {
    store: Arc<Store<S>>,
}

impl<S> Catalog<S> {
    pub(crate) fn new(store: Arc<Store<S>>) -> Self {
        Self { store }
    }

    /// Puts a tool in. One of the same name is replaced and keeps its place in the list.
    ///
    /// # Errors
    ///
    /// When its name or a schema is refused, see [`Tool::new`].
    pub fn insert_tool(&self, tool: Tool<S>) -> Result<(), ConfigError> {
        self.store.edit(Edit::Tool(Op::Put(tool))).map(drop)
    }

    /// Takes a tool out; whether it was there.
    #[allow(clippy::must_use_candidate)]
    pub fn remove_tool(&self, name: &str) -> bool {
        self.store.edit(Edit::Tool(Op::Remove(name.to_owned()))).unwrap_or(false)
    }

    /// Puts a resource in. One of the same URI is replaced and keeps its place in the list.
    ///
    /// # Errors
    ///
    /// When its URI has no scheme.
    pub fn insert_resource(&self, resource: Resource<S>) -> Result<(), ConfigError> {
        self.store.edit(Edit::Resource(Op::Put(resource))).map(drop)
    }

    /// Takes a resource out; whether it was there.
    #[allow(clippy::must_use_candidate)]
    pub fn remove_resource(&self, uri: &str) -> bool {
        self.store.edit(Edit::Resource(Op::Remove(uri.to_owned()))).unwrap_or(false)
    }

    /// Puts a template in. The same template is replaced and keeps its place in the list.
    ///
    /// # Errors
    ///
    /// When the template cannot be read, is in conflict with another one, or completes a variable
    /// it does not have.
    pub fn insert_resource_template(&self, template: ResourceTemplate<S>) -> Result<(), ConfigError> {
        self.store.edit(Edit::Template(Op::Put(template))).map(drop)
    }

    /// Takes a template out; whether it was there.
    #[allow(clippy::must_use_candidate)]
    pub fn remove_resource_template(&self, uri_template: &str) -> bool {
        self.store.edit(Edit::Template(Op::Remove(uri_template.to_owned()))).unwrap_or(false)
    }

    /// Puts a prompt in. One of the same name is replaced and keeps its place in the list.
    ///
    /// # Errors
    ///
    /// When its name is refused, or it completes an argument it does not have.
    pub fn insert_prompt(&self, prompt: Prompt<S>) -> Result<(), ConfigError> {
        self.store.edit(Edit::Prompt(Op::Put(prompt))).map(drop)
    }

    /// Takes a prompt out; whether it was there.
    #[allow(clippy::must_use_candidate)]
    pub fn remove_prompt(&self, name: &str) -> bool {
        self.store.edit(Edit::Prompt(Op::Remove(name.to_owned()))).unwrap_or(false)
    }
}

impl<S> Clone for Catalog<S> {
    fn clone(&self) -> Self {
        Self { store: Arc::clone(&self.store) }
    }
}
