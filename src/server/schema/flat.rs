//! Flattening: turns a schema of alternatives into one object schema with the fields of all.
//!
//! A schema with `oneOf`, `anyOf`, `allOf` or `$ref` at its root is legal, but a large model
//! provider rejects each request that carries a tool with one. The flat object allows everything
//! that the schema allows, and more. Its description says which fields belong together. The
//! handler's type still checks the arguments.

use std::cell::RefCell;

use serde_json::{Map, Value, json};

use super::walk::each_reference;
use crate::server::resource::decoded;

type Object = Map<String, Value>;

/// How many levels of alternatives are followed. Deeper ones are described as any object, because
/// recursive types have no end.
const DEPTH: usize = 8;

/// The keywords that a large provider rejects at the root.
const COMBINATIONS: [&str; 4] = ["$ref", "allOf", "anyOf", "oneOf"];

/// Returns the schema as one object schema; `None` if it matches no object.
pub(super) fn flat(root: Object) -> Option<Object> {
    let is_flat = root.get("type").is_some_and(|kind| kind == "object");
    if is_flat && !COMBINATIONS.iter().any(|keyword| root.contains_key(*keyword)) {
        return Some(root);
    }
    let root = self_contained(root);
    let defs = root.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut flat = object(&root, &defs, 0)?;
    let mut used = Object::new();
    let mut open = references(&flat.clone().into());
    while let Some(name) = open.pop() {
        let Some(definition) = defs.get(&name).filter(|_| !used.contains_key(&name)) else { continue };
        open.extend(references(definition));
        used.insert(name, definition.clone());
    }
    if !used.is_empty() {
        flat.insert("$defs".into(), used.into());
    }
    Some(flat)
}

/// Returns the names of the definitions that a schema refers to.
fn references(schema: &Value) -> Vec<String> {
    let found = RefCell::new(Vec::new());
    each_reference(&mut schema.clone(), &|reference| {
        found.borrow_mut().extend(definition(reference));
        None
    });
    found.into_inner()
}

/// Gives a recursive schema a name for its references to itself, so that its root may change.
fn self_contained(root: Object) -> Object {
    const NAME: &str = "arguments";
    let mut named = Value::Object(root.clone());
    each_reference(&mut named, &|reference| (reference == "#").then(|| format!("#/$defs/{NAME}")));
    let Value::Object(mut named) = named else { return root };
    if named == root {
        return root;
    }
    let mut defs = named.get("$defs").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut own = named.clone();
    own.shift_remove("$defs");
    defs.insert(NAME.into(), own.into());
    named.insert("$defs".into(), defs.into());
    named
}

/// Returns the object part of a schema, without combinations at its root.
fn object(schema: &Object, defs: &Object, depth: usize) -> Option<Object> {
    let may_be_object = match schema.get("type") {
        None => !schema.contains_key("const") && !schema.contains_key("enum"),
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        Some(kind) => kind == "object",
    };
    if !may_be_object {
        return None;
    }
    let mut flat = Object::from_iter([("type".to_owned(), json!("object"))]);
    let own = schema.iter().filter(|(keyword, _)| *keyword != "$defs" && *keyword != "type");
    flat.extend(own.filter(|(keyword, _)| !COMBINATIONS.contains(&keyword.as_str())).map(cloned));
    if depth == DEPTH {
        return Some(flat);
    }
    if let Some(target) = schema.get("$ref").and_then(|reference| resolve(reference.as_str()?, defs)) {
        intersect(&mut flat, object(target, defs, depth + 1)?);
    }
    let branches = |keyword: &str| Some(schema.get(keyword)?.as_array()?.iter().map(whole));
    for all in branches("allOf").into_iter().flatten() {
        intersect(&mut flat, object(&all, defs, depth + 1)?);
    }
    for keyword in ["oneOf", "anyOf"] {
        let Some(branches) = branches(keyword) else { continue };
        let objects: Vec<_> = branches.filter_map(|branch| object(&branch, defs, depth + 1)).collect();
        intersect(&mut flat, union(objects)?);
    }
    Some(flat)
}

fn cloned((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

/// Returns a branch, which may be a boolean, as an object.
fn whole(branch: &Value) -> Object {
    match branch {
        Value::Object(branch) => branch.clone(),
        Value::Bool(false) => Object::from_iter([("type".to_owned(), json!("null"))]),
        _ => Object::new(),
    }
}

pub(super) fn resolve<'a>(reference: &str, defs: &'a Object) -> Option<&'a Object> {
    defs.get(&definition(reference)?)?.as_object()
}

/// Returns the name of the definition that a reference names.
fn definition(reference: &str) -> Option<String> {
    let name = decoded(reference.strip_prefix("#/$defs/")?)?;
    Some(name.split('/').next()?.replace("~1", "/").replace("~0", "~"))
}

/// Adds the constraints of another object.
fn intersect(flat: &mut Object, other: Object) {
    let had_fields = flat.contains_key("properties");
    for (keyword, value) in other {
        match (&*keyword, flat.get_mut(&keyword), value) {
            ("properties", Some(Value::Object(known)), Value::Object(more)) => {
                more.into_iter().for_each(|(name, schema)| both(known, name, schema));
            }
            ("required", Some(Value::Array(known)), Value::Array(more)) => {
                let new: Vec<_> = more.into_iter().filter(|name| !known.contains(name)).collect();
                known.extend(new);
            }
            ("description", Some(Value::String(known)), Value::String(more)) => {
                known.push('\n');
                known.push_str(&more);
            }
            // A schema closed to its own fields does not exclude the fields that were there before.
            ("additionalProperties", None, Value::Bool(false)) if had_fields => {}
            ("additionalProperties", Some(known), value) if *known != value => {
                flat.shift_remove("additionalProperties");
            }
            (_, Some(_), _) => {}
            (_, None, value) => drop(flat.insert(keyword, value)),
        }
    }
}

/// Adds a field that both may have.
fn both(fields: &mut Object, name: String, schema: Value) {
    match fields.get_mut(&name) {
        Some(same) if *same == schema => {}
        Some(known) => *known = json!({ "allOf": [known.take(), schema] }),
        None => drop(fields.insert(name, schema)),
    }
}

/// Returns one object schema that allows what any branch allows; `None` if there are no branches.
fn union(mut branches: Vec<Object>) -> Option<Object> {
    if branches.len() < 2 {
        return branches.pop();
    }
    let mut flat = Object::from_iter([("type".to_owned(), json!("object"))]);
    flat.insert("description".into(), sets(&branches).into());
    let mut fields: Map<String, Value> = Map::new();
    for (name, schema) in branches.iter().flat_map(properties) {
        let Some(Value::Array(schemas)) = fields.get_mut(name) else {
            fields.insert(name.clone(), json!([schema]));
            continue;
        };
        if !schemas.contains(schema) {
            schemas.push(schema.clone());
        }
    }
    let fields: Map<_, _> = fields.into_iter().map(|(name, schemas)| (name, one_of(schemas))).collect();
    flat.insert("properties".into(), fields.into());
    let first = branches.first()?;
    let shared =
        required(first).filter(|name| branches.iter().all(|branch| required(branch).any(|other| other == *name)));
    let shared: Vec<_> = shared.cloned().collect();
    if !shared.is_empty() {
        flat.insert("required".into(), shared.into());
    }
    let rest = first.get("additionalProperties");
    if let Some(rest) =
        rest.filter(|rest| branches.iter().all(|branch| branch.get("additionalProperties") == Some(rest)))
    {
        flat.insert("additionalProperties".into(), rest.clone());
    }
    Some(flat)
}

fn properties(branch: &Object) -> impl Iterator<Item = (&String, &Value)> {
    branch.get("properties").and_then(Value::as_object).into_iter().flatten()
}

fn required(branch: &Object) -> impl Iterator<Item = &Value> {
    branch.get("required").and_then(Value::as_array).into_iter().flatten()
}

/// Returns the schema of a field that differs between branches.
fn one_of(schemas: Value) -> Value {
    let Value::Array(mut schemas) = schemas else { return schemas };
    if schemas.len() == 1 {
        return schemas.pop().unwrap_or_default();
    }
    // The tag of an enum.
    let tags: Option<Vec<_>> = schemas.iter().map(tag).collect();
    match tags {
        Some(tags) => json!({ "type": "string", "enum": tags }),
        None => json!({ "anyOf": schemas }),
    }
}

fn tag(field: &Value) -> Option<&str> {
    field.get("const")?.as_str()
}

/// Describes the sets of fields that belong together, for the model.
fn sets(branches: &[Object]) -> String {
    let mut text = String::from("One of these sets of fields:");
    for branch in branches {
        let fields = properties(branch).map(|(name, schema)| match tag(schema) {
            Some(tag) => format!("{name}: {tag:?}"),
            None if required(branch).any(|needed| needed == name) => name.clone(),
            None => format!("{name} (optional)"),
        });
        let fields: Vec<_> = fields.collect();
        text.push_str("\n- ");
        text.push_str(if fields.is_empty() { "none".into() } else { fields.join(", ") }.as_str());
        if let Some(what) = branch.get("description").and_then(Value::as_str) {
            text.push_str(". ");
            text.push_str(&what.replace('\n', " "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;

    use super::*;
    use crate::server::schema::{input, of_tool};

    #[derive(JsonSchema)]
    #[allow(dead_code, reason = "only its schema is used")]
    struct Circle {
        radius: f64,
    }

    #[derive(JsonSchema)]
    #[serde(tag = "kind", rename_all = "lowercase")]
    #[allow(dead_code, reason = "only its schema is used")]
    enum Tagged {
        /// Round.
        Circle(Circle),
        Square {
            side: f64,
            label: Option<String>,
        },
        Empty,
    }

    #[derive(JsonSchema)]
    #[allow(dead_code, reason = "only its schema is used")]
    enum External {
        Circle(Circle),
        Square { side: f64 },
        Never,
    }

    #[derive(JsonSchema)]
    #[serde(untagged)]
    #[allow(dead_code, reason = "only its schema is used")]
    enum Untagged {
        Circle(Circle),
        Text { radius: String },
        Never(String),
    }

    #[derive(JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only its schema is used")]
    struct Flattened {
        colour: String,
        #[serde(flatten)]
        shape: Tagged,
    }

    #[derive(JsonSchema)]
    #[serde(tag = "op", rename_all = "lowercase")]
    #[allow(dead_code, reason = "only its schema is used")]
    enum Expression {
        Number { value: f64 },
        Sum { left: Box<Self>, right: Box<Self> },
    }

    fn tool<T: JsonSchema>() -> Value {
        let schema = of_tool(Some(input::<T>())).unwrap();
        assert_eq!(schema["type"], "object", "{schema}");
        for keyword in COMBINATIONS {
            assert!(schema.get(keyword).is_none(), "{keyword}: {schema}");
        }
        schema
    }

    #[test]
    fn tagged_enums_become_one_object() {
        assert_eq!(
            tool::<Tagged>(),
            json!({
                "type": "object",
                "description": "One of these sets of fields:\n- kind: \"circle\", radius. Round.\n- kind: \"square\", side, \
                                label (optional)\n- kind: \"empty\"",
                "properties": {
                    "radius": {"type": "number"},
                    "kind": {"type": "string", "enum": ["circle", "square", "empty"]},
                    "side": {"type": "number"},
                    "label": {"type": ["string", "null"]},
                },
                "required": ["kind"],
            })
        );
    }

    #[test]
    fn variants_without_an_object_are_dropped() {
        let schema = tool::<External>();
        assert_eq!(schema["properties"].as_object().unwrap().keys().collect::<Vec<_>>(), ["Circle", "Square"]);
        assert_eq!((&schema["additionalProperties"], schema.get("required")), (&json!(false), None));
        assert_eq!(schema["$defs"]["Circle"]["properties"]["radius"]["type"], "number");
        assert!(of_tool(Some(input::<Option<String>>())).is_err());
    }

    #[test]
    fn two_schemas_of_a_field_are_combined() {
        let schema = tool::<Untagged>();
        assert_eq!(schema["properties"]["radius"], json!({"anyOf": [{"type": "number"}, {"type": "string"}]}));
        assert_eq!(schema["required"], json!(["radius"]));
    }

    #[test]
    fn a_flattened_enum_adds_its_fields() {
        let schema = tool::<Flattened>();
        assert_eq!(schema["properties"]["colour"], json!({"type": "string"}));
        assert_eq!(schema["properties"]["kind"]["enum"], json!(["circle", "square", "empty"]));
        assert_eq!(schema["required"], json!(["colour", "kind"]));
    }

    #[test]
    fn an_optional_struct_is_that_struct() {
        assert_eq!(tool::<Option<Circle>>(), tool::<Circle>());
    }

    #[test]
    fn recursive_arguments_get_a_definition() {
        let schema = tool::<Expression>();
        assert_eq!(schema["properties"]["left"], json!({"$ref": "#/$defs/arguments"}));
        assert_eq!(schema["$defs"]["arguments"]["oneOf"][1]["properties"]["right"], schema["properties"]["left"]);
    }
}
