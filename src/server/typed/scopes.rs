//! Scopes: the scopes that each operation of a typed server needs, by its registered items.

use serde::Deserialize;

use super::McpServer;
use super::dispatch::{ByUri, Complete, Reference};
use crate::identity::Scopes;
use crate::message::RawJson;
use crate::server::catalog::{Found, Tables};

/// The name of a tool or prompt.
#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    name: std::borrow::Cow<'a, str>,
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
    /// Returns the scopes of an operation. Parameters that cannot be read need none: the call fails
    /// for that reason.
    pub(super) fn scopes_of(&self, method: &str, params: Option<&RawJson>) -> Vec<String> {
        let tables = self.store.tables();
        if !tables.has_scopes {
            return Vec::new();
        }
        let found = params.and_then(|params| tables.scopes_of(method, params)).unwrap_or_default();
        found.iter().map(ToOwned::to_owned).collect()
    }
}

impl<S> Tables<S> {
    fn scopes_of(&self, method: &str, params: &RawJson) -> Option<Scopes> {
        match method {
            "tools/call" => Some(self.tools.get(&params.read_borrowed::<Named<'_>>().ok()?.name)?.scopes.clone()),
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
        Some(match self.find(uri)? {
            Found::Fixed(resource) => resource.scopes.clone(),
            Found::Matched(template, _) => template.scopes.clone(),
        })
    }
}
