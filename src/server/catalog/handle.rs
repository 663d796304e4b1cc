//! Catalog: adds and removes tools, resources and prompts while the server runs.

use std::sync::Arc;

use super::store::{Edit, Op, Store};
use crate::error::ConfigError;
use crate::server::skill::{SkillChange, SkillEdit};
use crate::server::{Prompt, Resource, ResourceTemplate, Skill, Tool};

/// A handle to the tools, resources and prompts of a server, from
/// [`McpServer::catalog`](crate::McpServer::catalog). Cheap to clone.
///
/// Each change is visible in the next list and the next call, and all connected clients are
/// notified that the list changed. Calls in flight finish with the handler they started with.
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

    /// Adds a tool, or replaces the one of the same name at its position in the list.
    ///
    /// # Errors
    ///
    /// If its name or a schema is rejected, see [`Tool::new`].
    pub fn insert_tool(&self, tool: Tool<S>) -> Result<(), ConfigError> {
        self.store.edit(Edit::Tool(Op::Put(tool))).map(drop)
    }

    /// Removes a tool. Returns `true` if it existed.
    #[allow(clippy::must_use_candidate)]
    pub fn remove_tool(&self, name: &str) -> bool {
        self.store.edit(Edit::Tool(Op::Remove(name.to_owned()))).unwrap_or(false)
    }

    /// Adds a resource, or replaces the one of the same URI at its position in the list.
    ///
    /// # Errors
    ///
    /// If its URI has no scheme.
    pub fn insert_resource(&self, resource: Resource<S>) -> Result<(), ConfigError> {
        self.store.edit(Edit::Resource(Op::Put(resource))).map(drop)
    }

    /// Removes a resource. Returns `true` if it existed.
    #[allow(clippy::must_use_candidate)]
    pub fn remove_resource(&self, uri: &str) -> bool {
        self.store.edit(Edit::Resource(Op::Remove(uri.to_owned()))).unwrap_or(false)
    }

    /// Adds a template, or replaces the same template at its position in the list.
    ///
    /// # Errors
    ///
    /// If the template cannot be parsed, conflicts with another one, or completes a variable that
    /// it does not have.
    pub fn insert_resource_template(&self, template: ResourceTemplate<S>) -> Result<(), ConfigError> {
        self.store.edit(Edit::Template(Op::Put(template))).map(drop)
    }

    /// Removes a template. Returns `true` if it existed.
    #[allow(clippy::must_use_candidate)]
    pub fn remove_resource_template(&self, uri_template: &str) -> bool {
        self.store.edit(Edit::Template(Op::Remove(uri_template.to_owned()))).unwrap_or(false)
    }

    /// Adds a prompt, or replaces the one of the same name at its position in the list.
    ///
    /// # Errors
    ///
    /// If its name is rejected, or it completes an argument that it does not have.
    pub fn insert_prompt(&self, prompt: Prompt<S>) -> Result<(), ConfigError> {
        self.store.edit(Edit::Prompt(Op::Put(prompt))).map(drop)
    }

    /// Removes a prompt. Returns `true` if it existed.
    #[allow(clippy::must_use_candidate)]
    pub fn remove_prompt(&self, name: &str) -> bool {
        self.store.edit(Edit::Prompt(Op::Remove(name.to_owned()))).unwrap_or(false)
    }
}

impl<S: Send + Sync + 'static> Catalog<S> {
    /// Adds a skill, or replaces the one of the same URI at its position in the list.
    ///
    /// # Errors
    ///
    /// If it breaks a rule of Agent Skills, or exceeds a limit of the extension, see [`Skill::new`].
    pub fn insert_skill(&self, skill: Skill) -> Result<(), ConfigError> {
        self.store.edit(Edit::Skills(SkillEdit::of([skill], SkillChange::Put)?)).map(drop)
    }

    /// Makes these the only skills, in one step, for example those of a folder that changed
    /// (`Skill::all_in`). Returns `true` if clients see a difference. They learn then that the list
    /// of resources changed, and subscribers of a file that it has new contents.
    ///
    /// # Errors
    ///
    /// The same as [`Catalog::insert_skill`], for any of them; nothing changes then.
    pub fn set_skills(&self, skills: impl IntoIterator<Item = Skill>) -> Result<bool, ConfigError> {
        self.store.edit(Edit::Skills(SkillEdit::of(skills, SkillChange::Set)?))
    }

    /// Removes a skill by the URI of its `SKILL.md`. Returns `true` if it existed.
    #[allow(clippy::must_use_candidate)]
    pub fn remove_skill(&self, uri: &str) -> bool {
        self.store.edit(Edit::RemoveSkill(uri.to_owned())).unwrap_or(false)
    }
}

impl<S> Clone for Catalog<S> {
    fn clone(&self) -> Self {
        Self { store: Arc::clone(&self.store) }
    }
}
