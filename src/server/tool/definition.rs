//! Tool: the definition of a tool and its handler.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::form::Output;
use super::{CallToolResult, IntoToolResult, ResultForm};
use crate::error::ConfigError;
use crate::identity::Scopes;
use crate::message::{ErrorObject, RawJson};
use crate::server::catalog::{Item, Rendered};
use crate::server::content::Shown;
use crate::server::handler::{ArgumentRejection, Erased, Handler};
use crate::server::setters::item_setters;
use crate::server::{MirroredArguments, schema};

/// A tool: a name, a description for the model, and a handler.
///
/// [`McpServer::tool`](crate::McpServer::tool) makes one from these three. Use this type to set
/// more: titles, annotations, schemas, icons, tasks.
///
/// ```
/// use mcp_http::McpServer;
/// use mcp_http::server::{Tool, ToolAnnotations};
///
/// async fn now() -> String {
///     "12:00".into()
/// }
///
/// let tool = Tool::new("now", "Tells the time.", now)
///     .title("Current time")
///     .annotations(ToolAnnotations::new().read_only(true));
/// let server: McpServer = McpServer::new("clock", "1.0.0").with_tool(tool);
/// ```
#[derive(Debug)]
pub struct Tool<S = ()> {
    facts: Facts,
    pub(crate) name: Arc<str>,
    problem: Option<ConfigError>,
    /// Set if its calls may be tasks.
    pub(crate) task: Option<Tasking>,
    /// The scopes that a request needs.
    pub(crate) scopes: Scopes,
    /// The arguments that clients repeat as headers.
    pub(crate) mirrored: Option<Arc<MirroredArguments>>,
    /// The relevant facts of its output schema.
    pub(crate) output: Output,
    pub(crate) run: Erased<S, RawJson>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Facts {
    name: String,
    description: String,
    input_schema: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_schema: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<ToolAnnotations>,
    #[serde(flatten)]
    shown: Shown,
}

/// How a tool that may be a task treats clients that do not accept tasks as results. Clients of the
/// session revisions wait for the result in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskSupport {
    /// The client waits for the result, as for any other tool.
    Optional,
    /// The call is rejected (-32021).
    Required,
}

/// How calls of a tool become tasks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tasking {
    pub(crate) support: TaskSupport,
    /// Set if the handler chooses the moment.
    pub(crate) later: bool,
}

/// Hints for the client on what a tool does. Clients must not trust them, and you must not rely on
/// clients that follow them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolAnnotations {
    #[serde(skip_serializing_if = "Option::is_none")]
    read_only_hint: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destructive_hint: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotent_hint: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_world_hint: Option<bool>,
}

impl ToolAnnotations {
    /// Returns annotations without hints. The protocol then assumes a destructive tool in an open
    /// world.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets whether the tool only reads.
    #[must_use]
    pub fn read_only(mut self, yes: bool) -> Self {
        self.read_only_hint = Some(yes);
        self
    }

    /// Sets whether the tool may destroy something, rather than only add.
    #[must_use]
    pub fn destructive(mut self, yes: bool) -> Self {
        self.destructive_hint = Some(yes);
        self
    }

    /// Sets whether a second identical call has no further effect.
    #[must_use]
    pub fn idempotent(mut self, yes: bool) -> Self {
        self.idempotent_hint = Some(yes);
        self
    }

    /// Sets whether the tool reaches systems beyond the server, like a web search.
    #[must_use]
    pub fn open_world(mut self, yes: bool) -> Self {
        self.open_world_hint = Some(yes);
        self
    }
}

item_setters!(Tool);

impl<S> Tool<S> {
    /// Makes a tool. Its input schema comes from the handler's [`Args`](crate::Args), its
    /// output schema from the [`axum::Json`] that the handler returns.
    ///
    /// Arguments that are an enum become one object schema with the fields of all variants, because
    /// model providers reject `oneOf` and similar keywords at the root. Its description says which
    /// fields belong together, and the handler receives the variant that its type parses.
    ///
    /// A name has 1 to 128 characters of `A-Z a-z 0-9 _ . -`; otherwise registering the tool fails.
    #[must_use]
    pub fn new<H, M>(name: impl Into<String>, description: impl Into<String>, handler: H) -> Self
    where
        H: Handler<S, M>,
        H::Output: IntoToolResult + Send,
        S: Send + Sync + 'static,
        M: 'static,
    {
        let name = name.into();
        let mut problem = (!is_tool_name(&name)).then(|| {
            ConfigError::new("tool", format!("the name {name:?} must have 1 to 128 characters of A-Z a-z 0-9 _ . -"))
        });
        let schema = H::arguments().and_then(|arguments| schema::of_tool(arguments).map_err(str::to_owned));
        let input_schema = schema.unwrap_or_else(|why| {
            problem = Some(ConfigError::new("tool", format!("`{name}`: {why}")));
            Value::Null
        });
        let shared = Arc::from(name.as_str());
        let facts = Facts {
            name,
            description: description.into(),
            input_schema,
            output_schema: H::Output::output_schema(),
            annotations: None,
            shown: Shown::default(),
        };
        let run = Erased::of(handler, result::<H::Output>);
        let output = Output::of(facts.output_schema.as_ref());
        Self { facts, name: shared, problem, task: None, scopes: Scopes::default(), mirrored: None, output, run }
            .with_headers()
    }

    /// Sets hints on what the tool does.
    #[must_use]
    pub fn annotations(mut self, annotations: ToolAnnotations) -> Self {
        self.facts.annotations = Some(annotations);
        self
    }

    /// Replaces the input schema of the arguments' type. The schema describes the arguments but
    /// does not check them: the handler receives all arguments that match its type.
    ///
    /// Boolean schemas are written as objects (`true` as `{}`), because released clients need that.
    /// `oneOf`, `anyOf`, `allOf` and `$ref` are allowed at the root, but a large model provider
    /// rejects each request with such a tool.
    ///
    /// Registering the tool fails if the schema is not an object schema. It also fails if an
    /// annotation `x-mcp-header` is invalid for clients, see [`MirroredArguments`]. With a valid
    /// one, clients of 2026-07-28 repeat the argument as a header, and calls in which the two
    /// differ are rejected.
    #[must_use]
    pub fn input_schema(mut self, schema: Value) -> Self {
        if schema.get("type").is_none_or(|kind| kind != "object") {
            let why = format!("`{}`: the input schema of a tool must have \"type\": \"object\"", self.facts.name);
            self.problem = Some(ConfigError::new("tool", why));
        }
        self.facts.input_schema = schema;
        schema::without_booleans(&mut self.facts.input_schema);
        self.with_headers()
    }

    /// Makes calls of the tool tasks from their start, for clients of 2026-07-28 that accept tasks
    /// as results. The client polls for the result, and may disconnect in the meantime.
    ///
    /// ```
    /// use mcp_http::McpServer;
    /// use mcp_http::server::{TaskSupport, Tool};
    ///
    /// async fn train() -> &'static str {
    ///     "trained"
    /// }
    ///
    /// let tool = Tool::new("train", "Trains the model.", train).task(TaskSupport::Optional);
    /// let server: McpServer = McpServer::new("lab", "1.0.0").with_tool(tool);
    /// ```
    #[must_use]
    pub fn task(mut self, support: TaskSupport) -> Self {
        self.task = Some(Tasking { support, later: false });
        self
    }

    /// Lets the handler turn a call into a task with
    /// [`Context::begin_task`](crate::Context::begin_task), after it has requested the input it
    /// needs.
    #[must_use]
    pub fn task_on_demand(mut self, support: TaskSupport) -> Self {
        self.task = Some(Tasking { support, later: true });
        self
    }

    /// Reads from the input schema which arguments clients repeat as headers.
    fn with_headers(mut self) -> Self {
        match MirroredArguments::of(&self.facts.input_schema) {
            Ok(mirrored) => self.mirrored = (!mirrored.is_empty()).then(|| Arc::new(mirrored)),
            Err(problem) => self.problem = Some(problem),
        }
        self
    }

    /// Replaces the output schema of the result's type. The results must match it.
    ///
    /// It is any JSON Schema. If it allows values other than objects, clients of the session
    /// revisions receive `{"result": ..}` with a corresponding schema.
    ///
    /// Registering the tool fails if the value is not a JSON Schema, such as a string.
    #[doc(alias = "structuredContent")]
    #[must_use]
    pub fn output_schema(mut self, mut schema: Value) -> Self {
        if !schema.is_object() && !schema.is_boolean() {
            let why = format!("`{}`: the output schema is not a JSON Schema", self.facts.name);
            self.problem = Some(ConfigError::new("tool", why));
        }
        schema::without_booleans(&mut schema);
        self.output = Output::of(Some(&schema));
        self.facts.output_schema = Some(schema);
        self
    }
}

impl<S: Clone + Send + Sync + 'static> Tool<S> {
    /// Binds the state, so that the tool fits a server of any state.
    #[must_use]
    pub fn with_state<S2: 'static>(&self, state: &S) -> Tool<S2> {
        Tool {
            facts: self.facts.clone(),
            name: Arc::clone(&self.name),
            problem: self.problem.clone(),
            task: self.task,
            scopes: self.scopes.clone(),
            mirrored: self.mirrored.clone(),
            output: self.output,
            run: self.run.bind(state),
        }
    }
}

impl<S> Item for Tool<S> {
    const LIST: &'static str = "tools";

    fn key(&self) -> &str {
        &self.facts.name
    }

    fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    fn check(&self) -> Result<Rendered, ConfigError> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        let write =
            |facts: &Facts| RawJson::from_value(facts).map_err(|error| ConfigError::new("tool", error.to_string()));
        let wrapped = self.facts.output_schema.clone().filter(|_| self.output.wraps()).map(schema::wrapped);
        let for_sessions = wrapped.map(|schema| write(&Facts { output_schema: Some(schema), ..self.facts.clone() }));
        Ok(Rendered { json: write(&self.facts)?, for_sessions: for_sessions.transpose()? })
    }
}

fn is_tool_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// Serializes the result of a call. A tool that could not be called fails as one that ran.
fn result<T: IntoToolResult>(output: Result<T, ArgumentRejection>, form: ResultForm) -> Result<RawJson, ErrorObject> {
    match output {
        Ok(output) => output.into_raw_result(form),
        Err(rejection) if rejection.scopes().is_some() => Err(rejection.into_error()),
        Err(rejection) => {
            let text = rejection.into_text();
            let text = text.unwrap_or("The tool cannot be called. The reason is in the server's log.".into());
            CallToolResult::error(text).into_raw_result(form)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_limited_to_portable_characters() {
        let longest = "a".repeat(128);
        for good in ["a", "Add_2.x-y", longest.as_str()] {
            assert!(is_tool_name(good), "{good}");
        }
        let too_long = "a".repeat(129);
        for bad in ["", "a b", "a/b", "ä", too_long.as_str()] {
            assert!(!is_tool_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_non_object_schema_fails_at_registration() {
        let tool = Tool::<()>::new("a", "A.", async || "a").input_schema(serde_json::json!({"type": "string"}));
        assert_eq!(tool.check().unwrap_err().setting(), "tool");
        let facts: Value = Tool::<()>::new("a", "A.", async || "a").check().unwrap().json.read().unwrap();
        assert_eq!(
            facts,
            serde_json::json!({
                "name": "a", "description": "A.", "inputSchema": {"type": "object", "additionalProperties": false}
            })
        );
    }
}
