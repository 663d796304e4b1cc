//! Dispatch: answers each method with the registered tools, resources and prompts.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use http::Extensions;
use http::request::Parts;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::McpServer;
use super::describe::{Capabilities, has};
use crate::error::StoreErrorKind;
use crate::handle::McpHandle;
use crate::identity::Scopes;
use crate::message::{ErrorObject, Outline, RawJson, bounded, reason, shown};
use crate::server::catalog::{Entries, Found, Item, Tables};
use crate::server::change::SUBSCRIPTION_URI;
use crate::server::completion::{Completers, Completion};
use crate::server::content::ResourceContents;
use crate::server::handler::{Arguments, CallParts};
use crate::server::resource::Contents;
use crate::server::tool::{TaskSupport, Tasking};
use crate::server::{
    CacheHint, Call, Context, Discover, Discovery, Initialize, LogLevel, MirroredArguments, Notification, Prompt,
    Resource, ResourceTemplate, Server, Tool,
};

pub(super) type CallResult = Result<RawJson, ErrorObject>;

impl<S: Send + Sync + 'static> Server<S> for McpServer<S> {
    async fn initialize(&self, request: Initialize, _: &S) -> CallResult {
        let context = request.context;
        let capabilities = Capabilities::of(&self.facts, &self.store, context.session().is_some());
        write(&self.facts.initialize_result(context.protocol_version(), capabilities))
    }

    async fn call(&self, call: Call, state: &S) -> CallResult {
        let Call { method, params, parts, context, outline, .. } = call;
        let (params, caching) = (Params(params), &self.facts.caching);
        match &*method {
            "tools/call" => self.call_tool(params.named(outline.as_ref())?, parts, context, state).await,
            "tools/list" => {
                let hides = |tool: &Tool<S>| self.hides_tool(&parts.extensions, tool);
                self.list(&params, &context, caching.tools(), |tables| &tables.tools, hides)
            }
            "resources/list" => {
                let hides = |resource: &Resource<S>| self.is_hidden(&parts.extensions, &resource.scopes);
                self.list(&params, &context, caching.resources(), |tables| &tables.resources, hides)
            }
            "resources/templates/list" => {
                let hides = |template: &ResourceTemplate<S>| self.is_hidden(&parts.extensions, &template.scopes);
                self.list(&params, &context, caching.templates(), |tables| &tables.templates, hides)
            }
            "resources/directory/read" => self.read_directory(&params),
            "skills/list" => self.list_skills(&params, &context),
            "skills/get" => self.get_skill(&params, &context),
            "resources/read" => self.read_resource(&params, parts, context, state).await,
            "resources/subscribe" => self.subscribe(&params, &parts.extensions, &context, true).await,
            "resources/unsubscribe" => self.subscribe(&params, &parts.extensions, &context, false).await,
            "prompts/list" => {
                let hides = |prompt: &Prompt<S>| self.is_hidden(&parts.extensions, &prompt.scopes);
                self.list(&params, &context, caching.prompts(), |tables| &tables.prompts, hides)
            }
            "prompts/get" => self.get_prompt(params.named(outline.as_ref())?, parts, context, state).await,
            "completion/complete" => self.complete(&params, parts, context, state).await,
            "logging/setLevel" => set_level(&params, &context).await,
            "ping" => Ok(RawJson::empty_object()),
            _ => self.call_method(&method, params.0, parts, context, state).await,
        }
    }

    async fn discover(&self, _: Discover, _: &S) -> Result<Discovery, ErrorObject> {
        let capabilities = write(&Capabilities::of(&self.facts, &self.store, true).with_tasks(self.uses_tasks()))?;
        let discovery = Discovery::new(capabilities).cache(self.facts.caching.discovery());
        Ok(match &self.facts.instructions {
            Some(instructions) => discovery.instructions(instructions),
            None => discovery,
        })
    }

    fn info(&self) -> Option<RawJson> {
        self.facts.written_info()
    }

    fn serves(&self, method: &str) -> bool {
        has(&self.store, method)
    }

    fn uses_tasks(&self) -> bool {
        self.store.is_open() || self.store.tables().has_tasks()
    }

    fn required_scopes(&self, method: &str, params: Option<&RawJson>) -> Vec<String> {
        self.scopes_of(method, params)
    }

    fn mirrored_arguments(&self, tool: &str) -> Option<Arc<MirroredArguments>> {
        self.store.tool(tool)?.mirrored.clone()
    }

    async fn notification(&self, notification: Notification, state: &S) {
        self.notify(notification, state).await;
    }

    fn on_mount(&self, handle: &McpHandle) {
        self.store.mounted(handle);
    }
}

impl<S: Send + Sync + 'static> McpServer<S> {
    pub(super) fn list<T: Item>(
        &self,
        params: &Params,
        context: &Context,
        hint: CacheHint,
        entries: impl FnOnce(&Tables<S>) -> &Entries<T>,
        hides: impl Fn(&T) -> bool,
    ) -> CallResult {
        #[derive(Default, Deserialize)]
        struct List<'a> {
            #[serde(borrow, default)]
            cursor: Option<Cow<'a, str>>,
        }
        let List { cursor } = if params.0.is_some() { params.read()? } else { List::default() };
        let era = context.protocol_version().era();
        let tables = self.store.tables();
        let entries = entries(&tables);
        let (hint, hidden) = if self.lists_differ(&tables) {
            (CacheHint::private(hint.ttl()), entries.numbers(hides))
        } else {
            (hint, HashSet::new())
        };
        entries.page(cursor.as_deref(), self.facts.page_size, hint.known_to(context), era, &hidden)
    }

    async fn call_tool(
        &self,
        (name, arguments): Named<'_>,
        parts: Box<Parts>,
        context: Context,
        state: &S,
    ) -> CallResult {
        // The transport's span of this call has an empty `tool` field, because it does not parse
        // the name.
        let span = tracing::Span::current();
        if !span.is_disabled() {
            span.record("tool", &*shown(&name));
        }
        let tool = self.store.tool(&name).filter(|tool| !self.hides_tool(&parts.extensions, tool));
        let Some(tool) = tool else {
            return Err(ErrorObject::invalid_params(format!("Unknown tool: {}", bounded(&name))));
        };
        let arguments = match arguments {
            Some(raw) if !raw.as_bytes().starts_with(b"{") => {
                return Err(ErrorObject::invalid_params("Invalid params: `arguments` is not an object"));
            }
            raw => Arguments::Json(raw),
        };
        if let Some(Tasking { support, later }) = tool.task {
            if support == TaskSupport::Required && !context.takes_tasks() {
                return Err(ErrorObject::tasks_not_declared());
            }
            if !later {
                context.begin_task().await;
            }
        }
        let context = context.of(&tool.name);
        let call = CallParts { output: tool.output, ..CallParts::new(parts, context, arguments) };
        tool.run.run(call, state).await
    }

    async fn read_resource(&self, params: &Params, parts: Box<Parts>, context: Context, state: &S) -> CallResult {
        #[derive(Serialize)]
        struct ReadResult {
            #[serde(flatten)]
            hint: Option<CacheHint>,
            contents: Vec<ResourceContents>,
        }
        let ReadResource { uri, input_responses, request_state } = params.read()?;
        // The result of a retry depends on more than the cache key (Caching, "Cache Key").
        let is_retry = input_responses.is_some() || request_state.is_some();
        let found = self.store.tables().find(&uri).filter(|found| !self.is_hidden(&parts.extensions, found.scopes()));
        let client = context.clone();
        let (contents, found) = match found {
            None => return Err(unknown_resource(&uri)),
            Some(Found::Fixed(resource)) => {
                let call = CallParts::new(parts, context.of(&resource.name), Arguments::Json(None));
                (resource.run.run(call, state).await?, Found::Fixed(resource))
            }
            Some(Found::Matched(template, variables)) => {
                let call = CallParts::new(parts, context.of(&template.name), Arguments::Text(variables));
                (template.run.run(call, state).await?, Found::Matched(template, Vec::new()))
            }
            Some(Found::File(file)) => {
                (Contents { parts: vec![file.read()], cache: Some(file.cache) }, Found::File(file))
            }
        };
        let Contents { parts: mut contents, cache } = contents;
        if contents.is_empty() {
            return Err(unknown_resource(&uri));
        }
        let (mime_type, hint) = match &found {
            Found::Fixed(resource) => (resource.media_type(), resource.cache),
            Found::Matched(template, _) => (template.media_type(), template.cache),
            Found::File(file) => (Some(file.media_type), file.cache),
        };
        for part in &mut contents {
            part.complete(&uri, mime_type);
        }
        let hint = match if is_retry { CacheHint::default() } else { cache.unwrap_or(hint) } {
            // A shared cache would serve it to clients without the scopes.
            hint if !found.scopes().is_empty() => CacheHint::private(hint.ttl()),
            hint => hint,
        };
        write(&ReadResult { hint: hint.known_to(&client), contents })
    }

    async fn subscribe(&self, params: &Params, extensions: &Extensions, context: &Context, wanted: bool) -> CallResult {
        let ByUri { uri } = params.read()?;
        let Some(session) = context.session() else {
            return Err(ErrorObject::invalid_params("Subscriptions need a session, and this server is stateless"));
        };
        if wanted && uri.len() > SUBSCRIPTION_URI {
            return Err(ErrorObject::invalid_params(
                "The URI is too long to subscribe to: it has more than 8,000 bytes",
            ));
        }
        // Only existing resources can be subscribed to, so that a client cannot make the server
        // store arbitrary text.
        let is_known = |found: Found<S>| !self.is_hidden(extensions, found.scopes());
        if wanted && !self.store.tables().find(&uri).is_some_and(is_known) {
            return Err(unknown_resource(&uri));
        }
        let changed = if wanted { session.subscribe(&uri).await } else { session.unsubscribe(&uri).await };
        changed.map_err(|error| {
            if error.kind() == StoreErrorKind::Full {
                return ErrorObject::invalid_params(
                    "Too many subscriptions: a session has at most 1,000, whose URIs have 256 KiB together",
                );
            }
            tracing::error!(error = &error as &dyn std::error::Error, "a subscription cannot be stored");
            ErrorObject::internal()
        })?;
        Ok(RawJson::empty_object())
    }

    async fn get_prompt(
        &self,
        (name, arguments): Named<'_>,
        parts: Box<Parts>,
        context: Context,
        state: &S,
    ) -> CallResult {
        let prompt = self.store.tables().prompts.get(&name).cloned();
        let prompt = prompt.filter(|prompt| !self.is_hidden(&parts.extensions, &prompt.scopes));
        let Some(prompt) = prompt else {
            return Err(ErrorObject::invalid_params(format!("Unknown prompt: {}", bounded(&name))));
        };
        let arguments = Arguments::Text(arguments.as_ref().map(texts).transpose()?.unwrap_or_default());
        let version = context.protocol_version();
        let call = CallParts::new(parts, context.of(&prompt.name), arguments);
        let mut result = prompt.run.run(call, state).await?;
        result.fit(version);
        write(&result)
    }

    async fn complete(&self, params: &Params, parts: Box<Parts>, context: Context, state: &S) -> CallResult {
        #[derive(Serialize)]
        struct CompleteResult {
            completion: Completion,
        }
        let request: Complete<'_> = params.read()?;
        let tables = self.store.tables();
        let found = completers(&tables, &request.reference);
        let found = found.filter(|(_, scopes, _)| !self.is_hidden(&parts.extensions, scopes));
        let Some((item, _, completers)) = found else {
            let (Reference::Prompt { name } | Reference::Resource { uri: name }) = &request.reference;
            return Err(ErrorObject::invalid_params(format!("Nothing to complete: {}", bounded(name))));
        };
        let Argument { name, value } = request.argument;
        let Some(run) = completers.get(&*name).cloned() else {
            return write(&CompleteResult { completion: Completion::default() });
        };
        let context = context.of(item);
        drop(tables);
        let known = request.context.and_then(|context| context.arguments).unwrap_or_default();
        let mut pairs: Vec<(String, String)> =
            known.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        pairs.retain(|(known, _)| *known != name);
        pairs.push((name.into_owned(), value.into_owned()));
        let call = CallParts::new(parts, context, Arguments::Partial(pairs));
        write(&CompleteResult { completion: run.run(call, state).await? })
    }
}

async fn set_level(params: &Params, context: &Context) -> CallResult {
    #[derive(Deserialize)]
    struct SetLevel {
        level: LogLevel,
    }
    let SetLevel { level } = params.read()?;
    context.set_log_level(level).await.map_err(|error| {
        tracing::error!(error = &error as &dyn std::error::Error, "a log level cannot be stored");
        ErrorObject::internal()
    })?;
    Ok(RawJson::empty_object())
}

#[derive(Deserialize)]
pub(super) struct ByUri<'a> {
    #[serde(borrow)]
    pub(super) uri: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReadResource<'a> {
    #[serde(borrow)]
    uri: Cow<'a, str>,
    #[serde(default)]
    input_responses: Option<IgnoredAny>,
    #[serde(default)]
    request_state: Option<IgnoredAny>,
}

#[derive(Deserialize)]
pub(super) struct Complete<'a> {
    #[serde(borrow, rename = "ref")]
    pub(super) reference: Reference<'a>,
    #[serde(borrow)]
    argument: Argument<'a>,
    #[serde(default)]
    context: Option<Known>,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
pub(super) enum Reference<'a> {
    #[serde(rename = "ref/prompt")]
    Prompt {
        #[serde(borrow)]
        name: Cow<'a, str>,
    },
    #[serde(rename = "ref/resource")]
    Resource {
        #[serde(borrow)]
        uri: Cow<'a, str>,
    },
}

#[derive(Deserialize)]
struct Argument<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    value: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Known {
    #[serde(default)]
    arguments: Option<HashMap<String, Option<String>>>,
}

/// An item that completes arguments: its name, its scopes and its handlers.
type Completes<'a, S> = (&'a Arc<str>, &'a Scopes, &'a Completers<S>);

fn completers<'a, S>(tables: &'a Tables<S>, reference: &Reference<'_>) -> Option<Completes<'a, S>> {
    match reference {
        Reference::Prompt { name } => {
            tables.prompts.get(name).map(|prompt| (&prompt.name, &prompt.scopes, &prompt.completers))
        }
        Reference::Resource { uri } => {
            tables.template(uri).map(|template| (&template.name, &template.scopes, &template.completers))
        }
    }
}

/// Reads the arguments of a prompt, which are strings by the protocol.
fn texts(arguments: &RawJson) -> Result<Vec<(String, String)>, ErrorObject> {
    let mut parser = serde_json::Deserializer::from_str(arguments.as_str());
    let pairs: HashMap<String, Option<String>> = serde_path_to_error::deserialize(&mut parser).map_err(|error| {
        let path = error.path();
        match path.iter().next() {
            None => ErrorObject::invalid_params("Invalid params: `arguments` is not an object"),
            Some(_) => ErrorObject::invalid_params(format!(
                "Invalid arguments: `{}` is not a string",
                bounded(&path.to_string())
            )),
        }
    })?;
    Ok(pairs.into_iter().filter_map(|(name, text)| Some((name, text?))).collect())
}

fn unknown_resource(uri: &str) -> ErrorObject {
    /// Longer than any real URI. Longer ones are not repeated whole.
    const MAX_REPEATED: usize = 2048;
    let uri = if uri.len() > MAX_REPEATED { bounded(uri) } else { Cow::Borrowed(uri) };
    ErrorObject::invalid_params("Unknown resource").with_data(&json!({ "uri": uri }))
}

pub(super) fn write<T: Serialize>(result: &T) -> CallResult {
    RawJson::from_value(result).map_err(|error| {
        tracing::error!(%error, "a result cannot be written");
        ErrorObject::internal()
    })
}

/// The name and the arguments of a call.
type Named<'a> = (Cow<'a, str>, Option<RawJson>);

/// The parameters of a call. Methods that need parameters reject a call without.
pub(super) struct Params(Option<RawJson>);

impl Params {
    pub(super) fn read<'a, T: Deserialize<'a>>(&'a self) -> Result<T, ErrorObject> {
        let Some(raw) = &self.0 else { return Err(ErrorObject::invalid_params("Invalid params: they are missing")) };
        // JSON-RPC also has parameters by position; MCP only uses names.
        if !raw.as_str().starts_with('{') {
            return Err(ErrorObject::invalid_params("Invalid params: they are not an object"));
        }
        raw.read_borrowed()
            .map_err(|error| ErrorObject::invalid_params(format!("Invalid params: {}", bounded(&reason(&error)))))
    }

    /// Returns the `name` and `arguments` of a tool or prompt call. They are in the outline if the
    /// transport has found them.
    fn named<'a>(&'a self, outline: Option<&'a Outline>) -> Result<Named<'a>, ErrorObject> {
        #[derive(Deserialize)]
        struct Members<'a> {
            #[serde(borrow)]
            name: Cow<'a, str>,
            #[serde(borrow, default)]
            arguments: Option<&'a RawValue>,
        }
        if let Some(Outline { name, arguments }) = outline
            && let Some(name) = name.text()
        {
            return Ok((name, arguments.clone()));
        }
        let Members { name, arguments } = self.read()?;
        let slice = |part| self.0.as_ref().map(|whole| whole.slice(part));
        Ok((name, arguments.and_then(slice)))
    }
}
