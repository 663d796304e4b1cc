//! Typed arguments: parses them, and explains to the client why they do not match.

use std::ops::{Deref, DerefMut};

use serde::de::DeserializeOwned;

use super::text::Texts;
use crate::message::{RawJson, bounded, reason, whole};

/// The typed arguments of a call.
///
/// For a tool, `T` is deserialized from the JSON `arguments`, and defines the tool's input schema.
/// Prompts and resource templates have arguments that are strings by the protocol. There, fields of
/// numbers and booleans are parsed from the strings, as axum's `Path` and `Query` do.
///
/// Arguments that do not match never reach the handler; the error names the wrong field. A whole
/// number written as `5.0` or `5e0` is an integer. A handler takes at most one `Args`; a second one
/// is rejected when the handler is registered.
///
/// Constraints beyond the type, such as `#[schemars(length(min = 1))]`, are shown to clients but
/// not checked.
///
/// ```
/// use mcp_http::{Args, McpServer};
/// use schemars::JsonSchema;
/// use serde::Deserialize;
///
/// #[derive(Deserialize, JsonSchema)]
/// struct Add {
///     x: i64,
///     y: i64,
/// }
///
/// async fn add(Args(add): Args<Add>) -> String {
///     (add.x + add.y).to_string()
/// }
///
/// let server: McpServer =
///     McpServer::new("calculator", "1.0.0").tool("add", "Adds two numbers.", add);
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Args<T>(pub T);

impl<T> Deref for Args<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Args<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// The arguments of a call before they are parsed.
#[derive(Debug)]
pub(crate) enum Arguments {
    /// A JSON object; an absent one counts as empty.
    Json(Option<RawJson>),
    /// Names with strings: variables of a template, arguments of a prompt.
    Text(Vec<(String, String)>),
    /// The known arguments, and last in the list the argument that is being completed.
    Partial(Vec<(String, String)>),
}

impl Arguments {
    /// Deserializes the arguments into their type. The error is a text for the client.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, String> {
        match self {
            Self::Json(Some(json)) => read_json(json),
            Self::Json(None) => read_json(&RawJson::empty_object()),
            Self::Text(pairs) | Self::Partial(pairs) => {
                serde_path_to_error::deserialize(Texts::new(pairs)).map_err(|error| explain(&error))
            }
        }
    }
}

fn read_json<T: DeserializeOwned>(json: &RawJson) -> Result<T, String> {
    json.read().or_else(|plain| {
        // Only failed arguments pay for the search for whole numbers with a fraction, and for the
        // path.
        let whole = whole::with_integers(json.as_str());
        let mut parser = serde_json::Deserializer::from_str(whole.as_deref().unwrap_or(json.as_str()));
        match serde_path_to_error::deserialize::<_, T>(&mut parser) {
            Err(error) => Err(explain(&error)),
            Ok(arguments) if whole.is_some() => Ok(arguments),
            Ok(_) => Err(format!("Invalid arguments: {}", bounded(&reason(&plain)))),
        }
    })
}

fn explain<E: std::fmt::Display>(error: &serde_path_to_error::Error<E>) -> String {
    let path = error.path();
    let reason = reason(error.inner());
    let reason = bounded(&reason);
    match path.iter().next() {
        None => format!("Invalid arguments: {reason}"),
        Some(_) => format!("Invalid arguments: `{}`: {reason}", bounded(&path.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Inner {
        count: u8,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Outer {
        list: Vec<Inner>,
        name: String,
    }

    fn json(text: &'static str) -> Arguments {
        Arguments::Json(Some(RawJson::trusted(text)))
    }

    #[test]
    fn errors_name_the_path_not_the_position() {
        let wrong = json(r#"{"name":"a","list":[{"count":1},{"count":"x"}]}"#).read::<Outer>().unwrap_err();
        assert_eq!(
            wrong,
            "Invalid arguments: `list[1].count`: invalid type: string \"x\", expected an integer from 0 to 255"
        );
        let missing = json(r#"{"list":[]}"#).read::<Outer>().unwrap_err();
        assert_eq!(missing, "Invalid arguments: missing field `name`");
    }

    #[test]
    fn an_error_never_repeats_a_long_text() {
        let text = format!(r#"{{"name":"a","list":"{}"}}"#, "ü".repeat(10_000));
        let arguments = Arguments::Json(Some(RawJson::trusted(text)));
        assert!(arguments.read::<Outer>().unwrap_err().len() < 400);
    }

    #[test]
    fn absent_arguments_are_the_empty_object() {
        assert_eq!(Arguments::Json(None).read::<BTreeMap<String, u8>>(), Ok(BTreeMap::new()));
    }
}
