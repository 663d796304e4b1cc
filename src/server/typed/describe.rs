//! Description: the server's info and capabilities, as `initialize` and discovery return them.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use serde::Serialize;

use super::hints::Caching;
use super::policy::ScopePolicy;
use crate::identity::Scopes;
use crate::message::{ProtocolVersion, RawJson, TASKS};
use crate::server::Icon;
use crate::server::catalog::{Store, Tables};
use crate::server::extension::SKILLS;

/// The default of [`McpServer::page_size`](crate::McpServer::page_size): more items than most servers
/// have, so that most lists are one page, and few enough for one message.
pub const DEFAULT_PAGE_SIZE: usize = 100;

/// The description of a server.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    info: Info,
    /// The info as JSON, serialized on first use.
    written: OnceLock<RawJson>,
    pub(super) instructions: Option<String>,
    pub(super) page_size: usize,
    pub(super) caching: Caching,
    /// The settings of the extensions that it declares, by their identifiers.
    pub(super) extensions: BTreeMap<Arc<str>, RawJson>,
    /// Scopes of tools by name, besides those of the tools themselves.
    pub(super) tool_scopes: HashMap<String, Scopes>,
    pub(super) scope_policy: ScopePolicy,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Info {
    pub(super) name: String,
    pub(super) version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) icons: Vec<Icon>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) website_url: Option<String>,
}

impl Facts {
    pub(super) fn new(name: String, version: String) -> Self {
        let info = Info { name, version, title: None, icons: Vec::new(), website_url: None };
        Self {
            info,
            written: OnceLock::new(),
            instructions: None,
            page_size: DEFAULT_PAGE_SIZE,
            caching: Caching::default(),
            extensions: BTreeMap::new(),
            tool_scopes: HashMap::new(),
            scope_policy: ScopePolicy::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.info.name
    }

    pub(super) fn info(&mut self) -> &mut Info {
        self.written = OnceLock::new();
        &mut self.info
    }

    /// Returns name and version, as each result of the stateless revision carries them.
    pub(super) fn written_info(&self) -> Option<RawJson> {
        if self.written.get().is_none() {
            let _ = self.written.set(RawJson::from_value(&self.info).ok()?);
        }
        self.written.get().cloned()
    }

    pub(super) fn initialize_result(&self, version: ProtocolVersion, capabilities: Capabilities) -> impl Serialize {
        InitializeResult {
            protocol_version: version,
            capabilities,
            server_info: &self.info,
            instructions: self.instructions.as_deref(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InitializeResult<'a> {
    protocol_version: ProtocolVersion,
    capabilities: Capabilities,
    server_info: &'a Info,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'a str>,
}

/// The capabilities of a server, derived from what is registered.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Capabilities {
    logging: Empty,
    /// Extensions of the protocol, by their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extensions: BTreeMap<Arc<str>, RawJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completions: Option<Empty>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompts: Option<Changing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<Changing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tools: Option<Changing>,
}

/// The empty object, `{}`.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Empty {}

/// A list that may change. Without a session no stream can carry notifications, so none are
/// promised.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Changing {
    #[serde(skip_serializing_if = "Option::is_none")]
    list_changed: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscribe: Option<bool>,
}

impl Capabilities {
    /// Adds the tasks extension, for clients that support extensions.
    pub(super) fn with_tasks(mut self, has_tasks: bool) -> Self {
        if has_tasks {
            self.extensions.insert(Arc::from(TASKS), RawJson::empty_object());
        }
        self
    }

    pub(super) fn of<S>(facts: &Facts, store: &Store<S>, has_session: bool) -> Self {
        let mut extensions = facts.extensions.clone();
        let tables = store.tables();
        if tables.skills.is_served {
            extensions.insert(Arc::from(SKILLS), RawJson::trusted(r#"{"directoryRead":true}"#));
        }
        let promise = has_session.then_some(true);
        let list = |offered: bool, subscribe: Option<bool>| {
            (offered || store.is_open()).then_some(Changing { list_changed: promise, subscribe })
        };
        Self {
            logging: Empty {},
            extensions,
            completions: (tables.completes() || store.is_open()).then_some(Empty {}),
            prompts: list(!tables.prompts.is_empty(), None),
            resources: list(tables.has_resources(), promise),
            tools: list(!tables.tools.is_empty(), None),
        }
    }
}

impl<S> Tables<S> {
    fn has_resources(&self) -> bool {
        !self.resources.is_empty() || !self.templates.is_empty() || self.skills.is_served
    }
}

/// Returns `true` if the method belongs to one of the server's [`Capabilities`].
pub(super) fn has<S>(store: &Store<S>, method: &str) -> bool {
    let tables = store.tables();
    let has = match method.split('/').next() {
        Some("tools") => !tables.tools.is_empty(),
        Some("prompts") => !tables.prompts.is_empty(),
        Some("resources") => tables.has_resources(),
        Some("skills") => return tables.skills.is_served,
        Some("completion") => tables.completes(),
        Some("tasks") => tables.has_tasks(),
        _ => return tables.methods.get(method).is_some(),
    };
    has || store.is_open()
}
