//! Decides how a server is put together: facts, tools, resources, prompts, state.

use std::fmt;
use std::sync::Arc;

use super::describe::Facts;
use crate::server::catalog::{Edit, Op, Store};
use crate::server::handler::Handler;
use crate::server::{
    Catalog, Icon, IntoPromptResult, IntoResourceContents, IntoToolResult, Prompt, Resource, ResourceTemplate, Tool,
};

/// How many items a page of a list has, unless [`McpServer::page_size`] says otherwise: more than
/// most servers offer, so that most lists are one page, and few enough that a page stays within
/// what one message should hold.
pub const DEFAULT_PAGE_SIZE: usize = 100;

/// An MCP server: tools, resources and prompts, each an async function.
///
/// `S` is the state its handlers take with axum's `State`. A server of state `S` is mounted in a
/// router of state `S`; after [`McpServer::with_state`] it fits any router.
///
/// A clone is the same server: cheap, and what is registered on one is offered by all.
///
/// ```
/// use axum::Json;
/// use mcp_http::McpServer;
/// use mcp_http::server::Args;
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize, JsonSchema)]
/// struct Add {
///     x: i64,
///     y: i64,
/// }
///
/// #[derive(Serialize, JsonSchema)]
/// struct Sum {
///     total: i64,
/// }
///
/// async fn add(Args(add): Args<Add>) -> Json<Sum> {
///     Json(Sum { total: add.x + add.y })
/// }
///
/// let server: McpServer = McpServer::new("calculator", "1.0.0").tool("add", "Adds two numbers.", add);
/// ```
///
/// # Panics
///
/// As axum's `Router::route`, the methods that register something panic where it cannot be
/// registered: twice the same name, a name or URI that is not allowed, templates in conflict. It
/// happens at start-up, at the line that registers. A running server is changed through its
/// [`Catalog`], which returns errors.
pub struct McpServer<S = ()> {
    pub(super) facts: Arc<Facts>,
    pub(super) store: Arc<Store<S>>,
}

impl<S: Send + Sync + 'static> McpServer<S> {
    /// A server that offers nothing yet.
    #[must_use]
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { facts: Arc::new(Facts::new(name.into(), version.into())), store: Arc::new(Store::new()) }
    }

    /// The name for people.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.facts).info().title = Some(title.into());
        self
    }

    /// What a model should know to use the server well.
    #[must_use]
    pub fn instructions(mut self, instructions: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.facts).instructions = Some(instructions.into());
        self
    }

    /// Adds a picture.
    #[must_use]
    pub fn icon(mut self, icon: Icon) -> Self {
        Arc::make_mut(&mut self.facts).info().icons.push(icon);
        self
    }

    /// Where people can read about the server.
    #[must_use]
    pub fn website_url(mut self, url: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.facts).info().website_url = Some(url.into());
        self
    }

    /// How many items a page of a list has; [`DEFAULT_PAGE_SIZE`] by default, at least one.
    #[must_use]
    pub fn page_size(mut self, items: usize) -> Self {
        Arc::make_mut(&mut self.facts).page_size = items.max(1);
        self
    }

    /// Offers a tool.
    ///
    /// # Panics
    ///
    /// When the name is taken or not allowed, see [`Tool::new`].
    #[must_use]
    #[track_caller]
    pub fn tool<H, M>(self, name: impl Into<String>, description: impl Into<String>, handler: H) -> Self
    where
        H: Handler<S, M>,
        H::Output: IntoToolResult + Send,
        M: 'static,
    {
        self.with_tool(Tool::new(name, description, handler))
    }

    /// Offers a tool that says more of itself.
    ///
    /// # Panics
    ///
    /// As [`McpServer::tool`].
    #[must_use]
    #[track_caller]
    pub fn with_tool(self, tool: Tool<S>) -> Self {
        self.register(Edit::Tool(Op::Add(tool)))
    }

    /// Offers a resource at a fixed URI.
    ///
    /// # Panics
    ///
    /// When the URI is taken or has no scheme.
    #[must_use]
    #[track_caller]
    pub fn resource<H, M>(self, uri: impl Into<String>, name: impl Into<String>, handler: H) -> Self
    where
        H: Handler<S, M>,
        H::Output: IntoResourceContents + Send,
        M: 'static,
    {
        self.with_resource(Resource::new(uri, name, handler))
    }

    /// Offers a resource that says more of itself.
    ///
    /// # Panics
    ///
    /// As [`McpServer::resource`].
    #[must_use]
    #[track_caller]
    pub fn with_resource(self, resource: Resource<S>) -> Self {
        self.register(Edit::Resource(Op::Add(resource)))
    }

    /// Offers resources by a template of their URI, see [`ResourceTemplate`].
    ///
    /// # Panics
    ///
    /// When the template cannot be read, is taken, or is in conflict with another one.
    #[must_use]
    #[track_caller]
    pub fn resource_template<H, M>(self, uri_template: impl Into<String>, name: impl Into<String>, handler: H) -> Self
    where
        H: Handler<S, M>,
        H::Output: IntoResourceContents + Send,
        M: 'static,
    {
        self.with_resource_template(ResourceTemplate::new(uri_template, name, handler))
    }

    /// Offers resources by a template that says more of itself.
    ///
    /// # Panics
    ///
    /// As [`McpServer::resource_template`], and when a variable is completed that is not there.
    #[must_use]
    #[track_caller]
    pub fn with_resource_template(self, template: ResourceTemplate<S>) -> Self {
        self.register(Edit::Template(Op::Add(template)))
    }

    /// Offers a prompt.
    ///
    /// # Panics
    ///
    /// When the name is taken or not allowed.
    #[must_use]
    #[track_caller]
    pub fn prompt<H, M>(self, name: impl Into<String>, description: impl Into<String>, handler: H) -> Self
    where
        H: Handler<S, M>,
        H::Output: IntoPromptResult + Send,
        M: 'static,
    {
        self.with_prompt(Prompt::new(name, description, handler))
    }

    /// Offers a prompt that says more of itself.
    ///
    /// # Panics
    ///
    /// As [`McpServer::prompt`], and when an argument is completed that is not there.
    #[must_use]
    #[track_caller]
    pub fn with_prompt(self, prompt: Prompt<S>) -> Self {
        self.register(Edit::Prompt(Op::Add(prompt)))
    }

    /// The hand on what the server offers, to change it while it serves. A server whose catalog was
    /// taken tells clients that it has tools, resources and prompts even while it has none.
    #[must_use]
    pub fn catalog(&self) -> Catalog<S> {
        self.store.open();
        Catalog::new(Arc::clone(&self.store))
    }

    #[track_caller]
    fn register(self, edit: Edit<S>) -> Self {
        match self.store.edit(edit) {
            Ok(_) => self,
            Err(error) => panic!("{error}"),
        }
    }
}

impl<S: Clone + Send + Sync + 'static> McpServer<S> {
    /// Gives the server its state, so that it fits a router of any state, as axum's
    /// `Router::with_state` does.
    ///
    /// A [`Catalog`] taken before still works: what is changed in the server without its state
    /// changes in this one too.
    ///
    /// ```
    /// use axum::extract::State;
    /// use mcp_http::McpServer;
    ///
    /// #[derive(Clone)]
    /// struct Greeting(&'static str);
    ///
    /// async fn greet(State(greeting): State<Greeting>) -> &'static str {
    ///     greeting.0
    /// }
    ///
    /// let server: McpServer =
    ///     McpServer::new("greeter", "1.0.0").tool("greet", "Greets.", greet).with_state(Greeting("Hello!"));
    /// ```
    #[must_use]
    pub fn with_state<S2: Send + Sync + 'static>(self, state: S) -> McpServer<S2> {
        McpServer { facts: self.facts, store: self.store.with_state(state) }
    }
}

impl<S> Clone for McpServer<S> {
    fn clone(&self) -> Self {
        Self { facts: Arc::clone(&self.facts), store: Arc::clone(&self.store) }
    }
}

impl<S> fmt::Debug for McpServer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpServer")
            .field("name", &self.facts.name())
            .field("offers", &self.store)
            .finish_non_exhaustive()
    }
}
