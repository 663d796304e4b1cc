//! Scopes: the scopes that each operation of a typed server needs, by its registered items.

use std::borrow::Cow;
use std::sync::Arc;

use http::Extensions;
use serde::Deserialize;

use super::McpServer;
use super::dispatch::{ByUri, Complete, Reference};
use super::policy::ScopePolicy;
use crate::identity::{AccessToken, Scopes};
use crate::message::RawJson;
use crate::server::Tool;
use crate::server::catalog::{Item, Tables};

/// The name of a tool or prompt.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

/// The resources to which a subscription stream subscribes.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Listen {
    notifications: Wanted,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Wanted {
    resource_subscriptions: Vec<String>,
}

impl<S> McpServer<S> {
    /// Sets scopes that the access token of a request must have to call a tool, besides those of
    /// [`Tool::scopes`](crate::server::Tool::scopes). The tool may be registered later. Default:
    /// none.
    #[must_use]
    pub fn tool_scopes<I: IntoIterator<Item: Into<String>>>(mut self, tool: impl Into<String>, scopes: I) -> Self {
        Arc::make_mut(&mut self.facts).tool_scopes.insert(tool.into(), Scopes::new(scopes));
        self
    }

    /// Sets what happens to items whose scopes a request lacks. Default:
    /// [`ScopePolicy::Challenge`].
    #[must_use]
    pub fn scope_policy(mut self, policy: ScopePolicy) -> Self {
        Arc::make_mut(&mut self.facts).scope_policy = policy;
        self
    }

    fn hides(&self) -> bool {
        self.facts.scope_policy == ScopePolicy::Hide
    }

    /// Returns the scopes of an operation. Parameters that cannot be read need none: the call fails
    /// for that reason. An item that is hidden needs none, because it does not exist.
    pub(super) fn scopes_of(&self, method: &str, params: Option<&RawJson>) -> Vec<String> {
        let tables = self.store.tables();
        if self.hides() || (!tables.has_scopes && self.facts.tool_scopes.is_empty()) {
            return Vec::new();
        }
        let found = params.and_then(|params| match method {
            "tools/call" => {
                let name = params.read_borrowed::<Named<'_>>().ok()?.name;
                tables.tools.get(&name).map(|tool| self.scopes_of_tool(tool))
            }
            _ => tables.scopes_of(method, params),
        });
        found.unwrap_or_default().iter().map(ToOwned::to_owned).collect()
    }

    fn scopes_of_tool(&self, tool: &Tool<S>) -> Scopes {
        match self.facts.tool_scopes.get(tool.key()) {
            Some(more) => tool.scopes.union(more),
            None => tool.scopes.clone(),
        }
    }

    /// Returns `true` if an item with these scopes does not exist for the sender of a request.
    pub(super) fn is_hidden(&self, extensions: &Extensions, scopes: &Scopes) -> bool {
        let may = |token: &AccessToken| scopes.iter().all(|scope| token.has_scope(scope));
        self.hides() && !scopes.is_empty() && !extensions.get().is_some_and(may)
    }

    /// Returns `true` if a tool does not exist for the sender of a request.
    pub(super) fn hides_tool(&self, extensions: &Extensions, tool: &Tool<S>) -> bool {
        self.hides() && self.is_hidden(extensions, &self.scopes_of_tool(tool))
    }

    /// Returns `true` if lists may differ between requests.
    pub(super) fn lists_differ(&self, tables: &Tables<S>) -> bool {
        self.hides() && (tables.has_scopes || !self.facts.tool_scopes.is_empty())
    }
}

impl<S> Tables<S> {
    fn scopes_of(&self, method: &str, params: &RawJson) -> Option<Scopes> {
        match method {
            "prompts/get" => Some(self.prompts.get(&params.read_borrowed::<Named<'_>>().ok()?.name)?.scopes.clone()),
            "resources/read" | "resources/subscribe" => {
                self.scopes_of_uri(&params.read_borrowed::<ByUri<'_>>().ok()?.uri)
            }
            "completion/complete" => match params.read_borrowed::<Complete<'_>>().ok()?.reference {
                Reference::Prompt { name } => Some(self.prompts.get(&name)?.scopes.clone()),
                Reference::Resource { uri } => Some(self.template(&uri)?.scopes.clone()),
            },
            "subscriptions/listen" => {
                let uris = params.read::<Listen>().ok()?.notifications.resource_subscriptions;
                let scopes = uris.iter().filter_map(|uri| self.scopes_of_uri(uri));
                Some(scopes.fold(Scopes::default(), |all, scopes| all.union(&scopes)))
            }
            _ => None,
        }
    }

    fn scopes_of_uri(&self, uri: &str) -> Option<Scopes> {
        self.find(uri).map(|found| found.scopes().clone())
    }
}
