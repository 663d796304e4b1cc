//! McpServer: the builder of a server with its description, tools, resources, prompts and state.

use std::fmt;
use std::sync::Arc;

use super::describe::Facts;
use crate::error::ConfigError;
use crate::server::catalog::{Edit, Op, Store};
use crate::server::handler::Handler;
use crate::server::{
    Catalog, Icon, IntoPromptResult, IntoResourceContents, IntoToolResult, Prompt, Resource, ResourceTemplate, Tool,
};

/// An MCP server: tools, resources and prompts, each an async function.
///
/// ```
/// use axum::Json;
/// use mcp_http::{Args, McpServer};
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
/// let server: McpServer =
///     McpServer::new("calculator", "1.0.0").tool("add", "Adds two numbers.", add);
/// ```
///
/// | to offer | by a handler alone | with a title, schemas, icons, scopes, .. |
/// |---|---|---|
/// | a tool | [`tool`](Self::tool) | [`with_tool`](Self::with_tool), [`Tool`] |
/// | a resource | [`resource`](Self::resource) | [`with_resource`](Self::with_resource), [`Resource`] |
/// | resources that share a URI template | [`resource_template`](Self::resource_template) | [`with_resource_template`](Self::with_resource_template), [`ResourceTemplate`] |
/// | a prompt | [`prompt`](Self::prompt) | [`with_prompt`](Self::with_prompt), [`Prompt`] |
///
/// [`mcp_router`](crate::mcp_router) serves it with the default settings,
/// [`McpService::builder`](crate::McpService::builder) with others.
///
/// `S` is the state that its handlers take with axum's `State`. A server of state `S` is mounted in
/// a router of state `S`. After [`McpServer::with_state`] it fits any router.
///
/// Clones are cheap and share everything: a tool registered on one clone is offered by all.
///
/// # Panics
///
/// Like axum's `Router::route`, the methods that register something panic if it cannot be
/// registered: a duplicate name, a name or URI that is not allowed, conflicting templates. This
/// happens at start-up, at the line that registers. To change a running server use its [`Catalog`],
/// which returns errors.
pub struct McpServer<S = ()> {
    pub(super) facts: Arc<Facts>,
    pub(super) store: Arc<Store<S>>,
}

impl<S: Send + Sync + 'static> McpServer<S> {
    /// Makes a server without tools, resources and prompts.
    #[must_use]
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { facts: Arc::new(Facts::new(name.into(), version.into())), store: Arc::new(Store::new()) }
    }

    /// Sets the display name.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.facts).info().title = Some(title.into());
        self
    }

    /// Sets the instructions for the model on how to use the server.
    #[must_use]
    pub fn instructions(mut self, instructions: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.facts).instructions = Some(instructions.into());
        self
    }

    /// Adds an icon.
    #[must_use]
    pub fn icon(mut self, icon: Icon) -> Self {
        Arc::make_mut(&mut self.facts).info().icons.push(icon);
        self
    }

    /// Sets the URL of a page about the server, for people.
    #[must_use]
    pub fn website_url(mut self, url: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.facts).info().website_url = Some(url.into());
        self
    }

    /// Sets how many items a page of a list has, at least one. Default [`DEFAULT_PAGE_SIZE`](super::DEFAULT_PAGE_SIZE).
    #[must_use]
    pub fn page_size(mut self, items: usize) -> Self {
        Arc::make_mut(&mut self.facts).page_size = items.max(1);
        self
    }

    /// Registers a tool.
    ///
    /// # Panics
    ///
    /// If the name is already registered or not allowed, see [`Tool::new`].
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

    /// Registers a tool that was built as a [`Tool`].
    ///
    /// # Panics
    ///
    /// The same as [`McpServer::tool`].
    #[must_use]
    #[track_caller]
    pub fn with_tool(self, tool: Tool<S>) -> Self {
        self.register(Edit::Tool(Op::Add(tool)))
    }

    /// Registers a resource with a fixed URI.
    ///
    /// # Panics
    ///
    /// If the URI is already registered or has no scheme.
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

    /// Registers a resource that was built as a [`Resource`].
    ///
    /// # Panics
    ///
    /// The same as [`McpServer::resource`].
    #[must_use]
    #[track_caller]
    pub fn with_resource(self, resource: Resource<S>) -> Self {
        self.register(Edit::Resource(Op::Add(resource)))
    }

    /// Registers resources that share a URI template, see [`ResourceTemplate`].
    ///
    /// # Panics
    ///
    /// If the template cannot be parsed, is already registered, or conflicts with another one.
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

    /// Registers resources that were built as a [`ResourceTemplate`].
    ///
    /// # Panics
    ///
    /// The same as [`McpServer::resource_template`], and if it completes a variable that does not
    /// exist.
    #[must_use]
    #[track_caller]
    pub fn with_resource_template(self, template: ResourceTemplate<S>) -> Self {
        self.register(Edit::Template(Op::Add(template)))
    }

    /// Registers a prompt.
    ///
    /// # Panics
    ///
    /// If the name is already registered or not allowed.
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

    /// Registers a prompt that was built as a [`Prompt`].
    ///
    /// # Panics
    ///
    /// The same as [`McpServer::prompt`], and if it completes an argument that does not exist.
    #[must_use]
    #[track_caller]
    pub fn with_prompt(self, prompt: Prompt<S>) -> Self {
        self.register(Edit::Prompt(Op::Add(prompt)))
    }

    /// Returns a handle to change the tools, resources and prompts while the server runs. After
    /// this call the server declares the capabilities for all of them, even if it has none yet.
    #[must_use]
    pub fn catalog(&self) -> Catalog<S> {
        self.store.open();
        Catalog::new(Arc::clone(&self.store))
    }

    #[track_caller]
    pub(super) fn register(self, edit: Edit<S>) -> Self {
        let result = self.store.edit(edit).map(drop);
        self.registered(result)
    }

    /// Panics if something could not be registered.
    #[track_caller]
    pub(super) fn registered(self, result: Result<(), ConfigError>) -> Self {
        match result {
            Ok(()) => self,
            Err(error) => panic!("{error}"),
        }
    }
}

impl<S: Clone + Send + Sync + 'static> McpServer<S> {
    /// Binds the server's state, so that it fits a router of any state, as axum's
    /// `Router::with_state` does.
    ///
    /// A [`Catalog`] of the server without its state still works: its changes apply to this server
    /// too.
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
    /// let server: McpServer = McpServer::new("greeter", "1.0.0")
    ///     .tool("greet", "Greets.", greet)
    ///     .with_state(Greeting("Hello!"));
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
