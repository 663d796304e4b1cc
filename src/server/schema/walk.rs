//! Schema traversal: the keywords that hold schemas, references, and boolean schemas as objects.

use serde_json::{Map, Value, json};

/// How a keyword holds schemas.
enum Holds {
    /// One schema, or a list of schemas, which older dialects allow for `items`.
    Some,
    /// Schemas by name.
    Named,
}

fn holds(keyword: &str) -> Option<Holds> {
    Some(match keyword {
        "additionalItems"
        | "additionalProperties"
        | "allOf"
        | "anyOf"
        | "contains"
        | "contentSchema"
        | "else"
        | "if"
        | "items"
        | "not"
        | "oneOf"
        | "prefixItems"
        | "propertyNames"
        | "then"
        | "unevaluatedItems"
        | "unevaluatedProperties" => Holds::Some,
        "$defs" | "definitions" | "dependencies" | "dependentSchemas" | "patternProperties" | "properties" => {
            Holds::Named
        }
        _ => return None,
    })
}

/// Visits each direct subschema, with the keyword that holds it.
pub(super) fn each_below(schema: &mut Map<String, Value>, visit: &mut dyn FnMut(&str, &mut Value)) {
    for (keyword, value) in schema {
        match (holds(keyword), value) {
            (Some(Holds::Named), Value::Object(named)) => named.values_mut().for_each(|one| visit(keyword, one)),
            (Some(Holds::Some), Value::Array(list)) => list.iter_mut().for_each(|one| visit(keyword, one)),
            (Some(Holds::Some), one) => visit(keyword, one),
            _ => {}
        }
    }
}

/// Writes boolean schemas as objects, at any depth. Released clients of the session revisions
/// reject a whole list of tools for one boolean among the `properties`.
///
/// `additionalProperties: false` and similar keywords stay. No revision requires an object there,
/// strict clients require exactly this boolean, and some parse it into a boolean. At the root of a
/// schema `additionalProperties: true`, which has no effect, is omitted for those.
pub(crate) fn without_booleans(schema: &mut Value) {
    if let Value::Object(root) = schema
        && root.get("additionalProperties").is_some_and(|any| *any == true)
    {
        root.shift_remove("additionalProperties");
    }
    replace_booleans(schema);
}

/// Does the same for each tool of a list that another framework wrote.
#[cfg(feature = "rmcp")]
pub(crate) fn plain_schemas(list: &mut Value) {
    for tool in list.get_mut("tools").and_then(Value::as_array_mut).into_iter().flatten() {
        for schema in ["inputSchema", "outputSchema"] {
            tool.get_mut(schema).into_iter().for_each(without_booleans);
        }
    }
}

fn replace_booleans(schema: &mut Value) {
    match schema {
        Value::Bool(true) => *schema = json!({}),
        Value::Bool(false) => *schema = json!({ "not": {} }),
        Value::Object(members) => each_below(members, &mut |keyword, below| {
            let closes = keyword.starts_with("additional") || keyword.starts_with("unevaluated");
            if !(closes && *below == false) {
                replace_booleans(below);
            }
        }),
        _ => {}
    }
}

/// Rewrites each reference within the schema.
pub(super) fn each_reference(schema: &mut Value, rewrite: &dyn Fn(&str) -> Option<String>) {
    let Value::Object(members) = schema else { return };
    if let Some(Value::String(reference)) = members.get_mut("$ref")
        && let Some(other) = rewrite(reference)
    {
        *reference = other;
    }
    each_below(members, &mut |_, below| each_reference(below, rewrite));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boolean_schemas_become_objects() {
        let mut schema = json!({
            "type": "object",
            "additionalProperties": true,
            "properties": {"any": true, "none": false, "list": {"items": true, "prefixItems": [true, {"not": true}]}},
            "patternProperties": {"^x": true},
            "$defs": {"a": {"anyOf": [true, {"additionalProperties": true}], "contains": false}},
            "dependencies": {"a": ["b"], "b": true},
            "if": true,
        });
        without_booleans(&mut schema);
        let none = json!({"not": {}});
        assert_eq!(
            schema,
            json!({
                "type": "object",
                "properties": {"any": {}, "none": none, "list": {"items": {}, "prefixItems": [{}, {"not": {}}]}},
                "patternProperties": {"^x": {}},
                "$defs": {"a": {"anyOf": [{}, {"additionalProperties": {}}], "contains": none}},
                "dependencies": {"a": ["b"], "b": {}},
                "if": {},
            })
        );
    }

    #[test]
    fn booleans_outside_of_schemas_stay() {
        let schema = json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {"properties": {"type": "boolean", "default": true, "const": true, "enum": [true],
                "examples": [false], "uniqueItems": true, "deprecated": true, "x-own": {"items": true}}},
            "unevaluatedProperties": false,
        });
        let mut plain = schema.clone();
        without_booleans(&mut plain);
        assert_eq!(plain, schema);
    }
}
