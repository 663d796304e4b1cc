//! Parameters of `initialize`: the client's info and capabilities, with their size limits.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use super::RawJson;

/// The name of the extension that lets calls become tasks.
pub(crate) const TASKS: &str = "io.modelcontextprotocol/tasks";

/// The most bytes of JSON in `clientInfo`. A session keeps its name, version and title until it
/// ends. Released clients send some hundred bytes; the rest allows for icons by URL.
pub(crate) const CLIENT_INFO: usize = 8 << 10;

/// The most bytes of JSON in `capabilities`, which a session keeps too. Released clients send some
/// hundred bytes; the rest allows for settings of extensions.
pub(crate) const CAPABILITIES: usize = 16 << 10;

/// The most bytes of JSON in the parameters of `initialize`. A server behind the transport may keep
/// all of them for the session's life, as rmcp does.
pub(crate) const INITIALIZE: usize = 32 << 10;

/// Client data that exceeds its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Oversized {
    ClientInfo,
    Capabilities,
}

/// Checks the size of the client's info and capabilities, as JSON text, in either era: at most
/// [`CLIENT_INFO`] and [`CAPABILITIES`] bytes.
pub(crate) fn check_client(client_info: Option<&str>, capabilities: Option<&str>) -> Result<(), Oversized> {
    let is_over = |text: Option<&str>, limit: usize| text.is_some_and(|text| text.len() > limit);
    if is_over(client_info, CLIENT_INFO) {
        return Err(Oversized::ClientInfo);
    }
    if is_over(capabilities, CAPABILITIES) { Err(Oversized::Capabilities) } else { Ok(()) }
}

/// The parameters of `initialize` that the transport needs.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct InitializeParams {
    /// The revision that the client requests, as it wrote it.
    pub protocol_version: String,
    /// The capabilities of the client.
    #[serde(default, deserialize_with = "or_default")]
    pub capabilities: ClientCapabilities,
    /// The name and version of the client program.
    #[serde(default, deserialize_with = "or_default")]
    pub client_info: Implementation,
}

/// A program's name and version, for display and logs only; never base trust on it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct Implementation {
    /// The programmatic name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// The version.
    #[serde(deserialize_with = "or_default")]
    pub version: String,
    /// The display name, since 2025-06-18.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

impl Implementation {
    /// Makes the name and version of a program, without a title.
    #[must_use]
    pub fn new(name: impl Into<String>, version: impl Into<String>) -> Self {
        Self { name: name.into(), version: version.into(), title: None }
    }
}

/// The capabilities that a client declares.
///
/// Each capability is an object on the wire, kept as its text. A member that is present, even `{}`,
/// is declared.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[non_exhaustive]
pub struct ClientCapabilities {
    /// The client can list its roots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roots: Option<RawJson>,
    /// The client can request an answer from its model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling: Option<RawJson>,
    /// The client can request input from its user. `{}` means by form; `url` must be named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elicitation: Option<RawJson>,
    /// Capabilities outside of the specification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experimental: Option<RawJson>,
    /// Extensions of the protocol that it supports, by their names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extensions: Option<RawJson>,
}

/// Deserializes a member that may be absent; `null` counts as absent.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl ClientCapabilities {
    /// Returns `true` if the client supports forms: elicitation is declared, and not only for
    /// `url`.
    #[must_use]
    pub fn elicits_forms(&self) -> bool {
        self.elicits().is_some_and(|modes| modes.form.is_some() || modes.url.is_none())
    }

    /// Returns `true` if the client can send its user to a URL (since 2025-11-25).
    #[must_use]
    pub fn elicits_urls(&self) -> bool {
        self.elicits().is_some_and(|modes| modes.url.is_some())
    }

    /// Returns `true` if the client accepts tasks as results (extension
    /// `io.modelcontextprotocol/tasks`).
    #[must_use]
    pub fn takes_tasks(&self) -> bool {
        self.extension(TASKS).is_some()
    }

    /// Returns the settings of an extension that the client declares, an object. `None` if it does
    /// not declare the extension.
    #[must_use]
    pub fn extension(&self, id: &str) -> Option<RawJson> {
        let mut extensions: BTreeMap<String, RawJson> = self.extensions.as_ref()?.read().ok()?;
        extensions.remove(id).filter(|settings| settings.as_str().starts_with('{'))
    }

    fn elicits(&self) -> Option<Modes> {
        // A value other than an object names no mode, which means forms.
        self.elicitation.as_ref().map(|modes| modes.read().unwrap_or_default())
    }
}

/// The modes of elicitation that a client names.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Modes {
    form: Option<IgnoredAny>,
    url: Option<IgnoredAny>,
}
