//! Mirrored arguments: the arguments of a tool that its clients repeat as headers, according to the
//! tool's schema (2026-07-28, Streamable HTTP, "Custom Headers from Tool Parameters").
//!
//! A property of the input schema that has `x-mcp-header: "Region"` is repeated as
//! `Mcp-Param-Region`, so that proxies can route without parsing the body. The rules for such a
//! name are in the specification's "Schema Extension". Clients ignore a tool that breaks one, so
//! the rules are checked when the tool is registered.

use http::HeaderName;
use serde_json::{Map, Value};

use crate::error::ConfigError;
use crate::header::PARAM_PREFIX;

/// The annotation in a schema.
const KEY: &str = "x-mcp-header";

/// The arguments of a tool that its clients repeat as headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MirroredArguments(Vec<Mirrored>);

/// One mirrored argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mirrored {
    pub(crate) header: HeaderName,
    /// The property names that lead to it in the arguments.
    pub(crate) path: Vec<Box<str>>,
}

impl MirroredArguments {
    /// Reads the annotations of an input schema.
    ///
    /// # Errors
    ///
    /// If an annotation is invalid for clients. It may be a duplicate or not a header name. Its
    /// property may be something other than a string, integer or boolean, or not reachable through
    /// `properties` alone.
    pub fn of(input_schema: &Value) -> Result<Self, ConfigError> {
        let mut found = Vec::new();
        collect(input_schema, &mut Vec::new(), &mut found)?;
        if count(input_schema) != found.len() {
            return Err(wrong("is in a place that is not reachable through `properties` alone"));
        }
        for (at, mirrored) in found.iter().enumerate() {
            if found[..at].iter().any(|other| other.header == mirrored.header) {
                return Err(wrong(format!("names the header {} twice", mirrored.header)));
            }
        }
        Ok(Self(found))
    }

    /// Returns `true` if the tool has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Mirrored> {
        self.0.iter()
    }
}

fn wrong(why: impl std::fmt::Display) -> ConfigError {
    ConfigError::new("input_schema", format!("`{KEY}` {why}"))
}

fn collect(schema: &Value, path: &mut Vec<Box<str>>, found: &mut Vec<Mirrored>) -> Result<(), ConfigError> {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return Ok(()) };
    for (name, property) in properties {
        path.push(name.as_str().into());
        if let Some(annotation) = property.get(KEY) {
            found.push(Mirrored { header: header(annotation, property)?, path: path.clone() });
        }
        collect(property, path, found)?;
        path.pop();
    }
    Ok(())
}

fn header(annotation: &Value, property: &Value) -> Result<HeaderName, ConfigError> {
    let primitive = |kind: &Value| matches!(kind.as_str(), Some("string" | "integer" | "boolean" | "null"));
    let typed = match property.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().all(primitive),
        Some(kind) => primitive(kind),
        None => false,
    };
    if !typed {
        return Err(wrong("is for strings, integers and booleans only"));
    }
    let name = annotation.as_str().filter(|name| !name.is_empty()).ok_or_else(|| wrong("is not a string"))?;
    HeaderName::try_from(format!("{PARAM_PREFIX}{name}")).map_err(|_| wrong(format!("is not a header name: {name:?}")))
}

/// Counts the annotations in a whole schema. Values that a schema only quotes are skipped.
fn count(schema: &Value) -> usize {
    match schema {
        Value::Object(members) => usize::from(is_annotated(members)) + members.iter().map(below).sum::<usize>(),
        Value::Array(elements) => elements.iter().map(count).sum(),
        _ => 0,
    }
}

fn is_annotated(members: &Map<String, Value>) -> bool {
    members.get(KEY).is_some_and(|annotation| !annotation.is_object())
}

fn below((keyword, value): (&String, &Value)) -> usize {
    match keyword.as_str() {
        "const" | "enum" | "default" | "examples" => 0,
        _ => count(value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn headers(properties: &Value) -> Result<Vec<(String, String)>, ConfigError> {
        let found = MirroredArguments::of(&json!({"type": "object", "properties": properties}))?;
        Ok(found.iter().map(|one| (one.header.to_string(), one.path.join("."))).collect())
    }

    #[test]
    fn annotations_are_found_along_properties() {
        let found = headers(&json!({
            "region": {"type": "string", "x-mcp-header": "Region"},
            "deep": {"type": "object", "properties": {"count": {"type": ["integer", "null"], "x-mcp-header": "Count"}}},
            "plain": {"type": "string", "default": {"x-mcp-header": "Quoted"}},
        }));
        let expected = [("mcp-param-region", "region"), ("mcp-param-count", "deep.count")];
        assert_eq!(found.unwrap(), expected.map(|(header, path)| (header.to_owned(), path.to_owned())));
        assert!(MirroredArguments::of(&json!({"type": "object"})).unwrap().is_empty());
    }

    #[test]
    fn invalid_annotations_are_rejected() {
        for properties in [
            json!({"a": {"type": "string", "x-mcp-header": ""}}),
            json!({"a": {"type": "string", "x-mcp-header": "a b"}}),
            json!({"a": {"type": "string", "x-mcp-header": 7}}),
            json!({"a": {"type": "number", "x-mcp-header": "A"}}),
            json!({"a": {"type": "object", "x-mcp-header": "A"}}),
            json!({"a": {"x-mcp-header": "A"}}),
            json!({"a": {"type": "string", "x-mcp-header": "A"}, "b": {"type": "string", "x-mcp-header": "a"}}),
            json!({"a": {"type": "array", "items": {"type": "string", "x-mcp-header": "A"}}}),
            json!({"a": {"anyOf": [{"type": "string", "x-mcp-header": "A"}]}}),
        ] {
            assert_eq!(headers(&properties).unwrap_err().setting(), "input_schema", "{properties}");
        }
    }
}
