//! JSON Schemas of types: of a call's arguments, of its structured result, of a form for the user.
//!
//! The dialect is 2020-12, the protocol's default. The schema does not name it, because validators
//! for older dialects reject the name but read the schema well.

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

mod flat;
mod form;
mod walk;

pub(crate) use form::form;
#[cfg(feature = "rmcp")]
pub(crate) use walk::plain_schemas;
pub(crate) use walk::without_booleans;

/// Returns the schema of what a type deserializes from.
pub(crate) fn input<T: JsonSchema>() -> Schema {
    let mut schema = settings().for_deserialize().into_generator().into_root_schema_for::<T>();
    drop_generated_title::<T>(&mut schema);
    schema
}

/// Returns the schema of what a type serializes to; `None` if it has no constraints.
pub(crate) fn output<T: JsonSchema>() -> Option<Value> {
    let mut schema = settings().for_serialize().into_generator().into_root_schema_for::<T>();
    drop_generated_title::<T>(&mut schema);
    let mut schema = schema.to_value();
    if schema.as_object()?.keys().all(|keyword| matches!(keyword.as_str(), "title" | "description")) {
        return None;
    }
    if takes_objects_only(&schema)
        && let Value::Object(members) = &mut schema
    {
        members.entry("type").or_insert_with(|| "object".into());
    }
    without_booleans(&mut schema);
    Some(schema)
}

/// Returns the schema of `{"result": ..}`, whose member has the given schema. Clients of the
/// session revisions, whose structured results are objects, receive it in place of other schemas.
pub(crate) fn wrapped(mut schema: Value) -> Value {
    // References within a schema that has an `$id` start from that, at any depth.
    let mut wrapper = json!({ "type": "object", "properties": {}, "required": ["result"] });
    if let Value::Object(members) = &mut schema
        && !members.contains_key("$id")
    {
        for keyword in ["$schema", "$defs", "definitions"] {
            if let Some(shared) = members.shift_remove(keyword) {
                wrapper[keyword] = shared;
            }
        }
        let moved = |reference: &str| {
            let rest = reference.strip_prefix('#')?;
            let shared = rest.starts_with("/$defs/") || rest.starts_with("/definitions/");
            let moves = rest.is_empty() || (rest.starts_with('/') && !shared);
            moves.then(|| format!("#/properties/result{rest}"))
        };
        walk::each_reference(&mut schema, &moved);
        walk::each_reference(&mut wrapper, &moved);
    }
    wrapper["properties"] = json!({ "result": schema });
    wrapper
}

/// Returns `true` if a schema, as lists write it, allows objects only.
pub(crate) fn takes_objects_only(schema: &Value) -> bool {
    let none = Map::new();
    schema
        .as_object()
        .is_some_and(|schema| is_object(schema, schema.get("$defs").and_then(Value::as_object).unwrap_or(&none), 0))
}

/// Returns `true` if any value within the schema is a number that may have a fraction.
pub(crate) fn has_number(schema: &Value) -> bool {
    let is_number = |kind: &Value| kind == "number";
    match schema {
        Value::Object(members) => {
            let own = members.get("type").is_some_and(|kind| {
                is_number(kind) || kind.as_array().is_some_and(|kinds| kinds.iter().any(is_number))
            });
            own || members.values().any(has_number)
        }
        Value::Array(list) => list.iter().any(has_number),
        _ => false,
    }
}

/// Returns the input schema of a tool. A tool without arguments takes an empty object.
///
/// # Errors
///
/// If the type of the arguments can never be an object.
pub(crate) fn of_tool(arguments: Option<Schema>) -> Result<Value, &'static str> {
    match arguments {
        None => Ok(json!({ "type": "object", "additionalProperties": false })),
        Some(schema) => as_object(schema.to_value()),
    }
}

/// Returns an object schema, with the `type` that the protocol requires, and without combinations
/// of schemas at its root.
pub(crate) fn as_object(schema: Value) -> Result<Value, &'static str> {
    let mut schema = match schema {
        Value::Bool(true) => Some(json!({ "type": "object" })),
        Value::Object(schema) => flat::flat(schema).map(Value::Object),
        _ => None,
    }
    .ok_or(
        "the arguments are not an object: `T` in `Args<T>` must be a struct with named fields, a map, or an enum of such",
    )?;
    without_booleans(&mut schema);
    Ok(schema)
}

fn settings() -> SchemaSettings {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(drop_number_format));
    settings.with(|settings| settings.meta_schema = None)
}

/// Drops formats of numbers (`uint32`), which are not part of JSON Schema. They are useless to a
/// model, and validators warn about unknown formats.
fn drop_number_format(schema: &mut Schema) {
    let numeric = |kind: &Value| kind == "integer" || kind == "number";
    let is_number = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(numeric),
        Some(kind) => numeric(kind),
        None => false,
    };
    if is_number {
        schema.remove("format");
    }
}

/// Drops the name of the Rust type, which is useless to a model. An explicit title stays.
fn drop_generated_title<T: JsonSchema>(schema: &mut Schema) {
    if schema.get("title").and_then(Value::as_str) == Some(&*T::schema_name()) {
        schema.remove("title");
    }
}

/// Returns `true` if the schema matches objects only.
fn is_object(schema: &Map<String, Value>, defs: &Map<String, Value>, depth: usize) -> bool {
    /// How many levels of alternatives and references are followed.
    const DEPTH: usize = 8;
    if let Some(kind) = schema.get("type") {
        return kind == "object";
    }
    let below = |branch: &Value| branch.as_object().is_some_and(|branch| is_object(branch, defs, depth + 1));
    let list = |keyword: &str| schema.get(keyword).and_then(Value::as_array);
    if depth == DEPTH {
        return false;
    }
    let target = schema.get("$ref").and_then(|reference| flat::resolve(reference.as_str()?, defs));
    target.is_some_and(|target| is_object(target, defs, depth + 1))
        || list("allOf").is_some_and(|all| all.iter().any(below))
        || ["oneOf", "anyOf"].into_iter().filter_map(list).any(|any| !any.is_empty() && any.iter().all(below))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(JsonSchema)]
    #[allow(dead_code, reason = "only its schema is used")]
    struct Add {
        /// The first.
        x: i64,
        y: Option<i64>,
    }

    #[derive(JsonSchema)]
    #[serde(tag = "kind", rename_all = "lowercase")]
    #[allow(dead_code, reason = "only its schema is used")]
    enum Shape {
        Circle { radius: f64 },
        Square { side: f64 },
    }

    #[test]
    fn input_schemas_have_no_rust_type_names() {
        assert_eq!(
            of_tool(Some(input::<Add>())),
            Ok(json!({
                "type": "object",
                "properties": {
                    "x": {"type": "integer", "description": "The first."},
                    "y": {"type": ["integer", "null"]},
                },
                "required": ["x"],
            }))
        );
        assert_eq!(of_tool(None).unwrap()["type"], "object");
    }

    #[test]
    fn enums_are_objects_and_strings_are_rejected() {
        assert_eq!(of_tool(Some(input::<Shape>())).unwrap()["type"], "object");
        assert!(of_tool(Some(input::<String>())).is_err());
    }

    #[test]
    fn output_schemas_distinguish_objects() {
        assert!(output::<Add>().is_some_and(|schema| takes_objects_only(&schema)));
        assert_eq!(output::<Shape>().unwrap()["type"], "object");
        assert!(!takes_objects_only(&output::<Vec<Add>>().unwrap()));
        assert!(!takes_objects_only(&output::<Option<Add>>().unwrap()));
        assert_eq!(output::<Value>(), None);
    }

    #[test]
    fn references_in_a_wrapped_schema_still_resolve() {
        let list = json!({"type": "array", "items": {"anyOf": [{"$ref": "#"}, {"$ref": "#/$defs/A"}]},
            "$defs": {"A": {"items": {"$ref": "#/items"}}}});
        assert_eq!(
            wrapped(list),
            json!({
                "type": "object",
                "properties": {"result": {"type": "array",
                    "items": {"anyOf": [{"$ref": "#/properties/result"}, {"$ref": "#/$defs/A"}]}}},
                "required": ["result"],
                "$defs": {"A": {"items": {"$ref": "#/properties/result/items"}}},
            })
        );
    }
}
