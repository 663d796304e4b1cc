//! The parameters of an `initialize` request: who the client is, what it can do, and how long that may be.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};

use super::RawJson;

/// The name of the extension that lets calls be tasks.
pub(crate) const TASKS: &str = "io.modelcontextprotocol/tasks";

/// The most bytes of JSON that `clientInfo` may have. A session keeps its name, version and title for its
/// life. Released clients send some hundred bytes; the rest is room for icons by URL.
pub(crate) const CLIENT_INFO: usize = 8 << 10;

/// The most bytes of JSON that `capabilities` may have, which a session keeps as well. Released clients
/// send some hundred bytes; the rest is room for settings of extensions.
pub(crate) const CAPABILITIES: usize = 16 << 10;

/// The most bytes of JSON that the parameters of `initialize` may have together. A server behind the
/// transport may keep them whole for the session's life, as rmcp does.
pub(crate) const INITIALIZE: usize = 32 << 10;

/// What a client says of itself at too great length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Oversized {
    ClientInfo,
    Capabilities,
}

/// Checks the JSON text of what a client says of itself, in either era, against [`CLIENT_INFO`] and [`CAPABILITIES`].
pub(crate) fn check_client(client_info: Option<&str>, capabilities: Option<&str>) -> Result<(), Oversized> {
    let is_over = |text: Option<&str>, limit: usize| text.is_some_and(|text| text.len() > limit);
    if is_over(client_info, CLIENT_INFO) {
        return Err(Oversized::ClientInfo);
    }
    if is_over(capabilities, CAPABILITIES) { Err(Oversized::Capabilities) } else { Ok(()) }
}

/// The parameters of `initialize`, as far as the transport needs them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InitializeParams {
    /// The revision the client would like to speak, as it wrote it.
    pub protocol_version: String,
    /// What the client can be asked for.
    #[serde(default, deserialize_with = "or_default")]
    pub capabilities: ClientCapabilities,
    /// Which program the client is.
    #[serde(default, deserialize_with = "or_default")]
    pub client_info: Implementation,
}

/// A program's name and version, for display and logs only; never a reason to trust it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Implementation {
    /// The programmatic name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// The version.
    #[serde(deserialize_with = "or_default")]
    pub version: String,
    /// The name for people, since 2025-06-18.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
}

/// What a client says it can be asked for.
///
/// Each capability is an object on the wire, kept as its text; a member that is there, even `{}`,
/// is declared.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientCapabilities {
    /// The client can list its roots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roots: Option<RawJson>,
    /// The client can let its model answer a prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampling: Option<RawJson>,
    /// The client can ask its user for input. `{}` means by form; `url` is declared by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elicitation: Option<RawJson>,
    /// Capabilities outside the specification.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub experimental: Option<RawJson>,
    /// Extensions of the protocol it knows, by their names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extensions: Option<RawJson>,
}

/// A member that may be absent; `null` is absent.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl ClientCapabilities {
    /// Whether the client can ask its user with a form: declared, and not narrowed to `url`.
    #[must_use]
    pub fn elicits_forms(&self) -> bool {
        self.elicits().is_some_and(|modes| modes.form.is_some() || modes.url.is_none())
    }

    /// Whether the client can send its user to a URL (since 2025-11-25).
    #[must_use]
    pub fn elicits_urls(&self) -> bool {
        self.elicits().is_some_and(|modes| modes.url.is_some())
    }

    /// Whether the client takes tasks for answers (the extension `io.modelcontextprotocol/tasks`).
    #[must_use]
    pub fn takes_tasks(&self) -> bool {
        let extensions: Option<BTreeMap<String, RawJson>> = self.extensions.as_ref().and_then(|raw| raw.read().ok());
        extensions.is_some_and(|known| known.get(TASKS).is_some_and(|settings| settings.as_str().starts_with('{')))
    }

    fn elicits(&self) -> Option<Modes> {
        // What is no object declares no mode, which is a form.
        self.elicitation.as_ref().map(|modes| modes.read().unwrap_or_default())
    }
}

/// The modes of elicitation a client names.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Modes {
    form: Option<IgnoredAny>,
    url: Option<IgnoredAny>,
}
