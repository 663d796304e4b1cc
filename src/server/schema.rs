//! Decides which JSON Schema describes a type: of the arguments of a call, of its structured
//! result, of a form for the user.
//!
//! The dialect is 2020-12, which is the protocol's default; it is not named in the schema, because
//! validators that know only older dialects refuse the name and read the schema well.

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

/// The schema of what a type reads.
pub(crate) fn input<T: JsonSchema>() -> Schema {
    let mut schema = settings().for_deserialize().into_generator().into_root_schema_for::<T>();
    drop_generated_title::<T>(&mut schema);
    schema
}

/// The schema of what a type writes, when that is an object.
pub(crate) fn output<T: JsonSchema>() -> Option<Value> {
    let mut schema = settings().for_serialize().into_generator().into_root_schema_for::<T>();
    drop_generated_title::<T>(&mut schema);
    let mut schema = schema.to_value();
    let object = schema.as_object_mut()?;
    if !is_object(object) {
        return None;
    }
    object.entry("type").or_insert_with(|| "object".into());
    Some(schema)
}

/// The input schema of a tool. A tool without arguments takes an empty object.
///
/// # Errors
///
/// When the type of the arguments can be no object.
pub(crate) fn of_tool(arguments: Option<Schema>) -> Result<Value, &'static str> {
    match arguments {
        None => Ok(json!({ "type": "object", "additionalProperties": false })),
        Some(schema) => as_object(schema.to_value()),
    }
}

/// A schema that is an object's, with the `type` the protocol wants to see written.
pub(crate) fn as_object(schema: Value) -> Result<Value, &'static str> {
    const WHY: &str = "the arguments are no object: `T` in `Args<T>` must be a struct with named fields, a map, or an enum \
                       of such";
    let mut schema = match schema {
        Value::Bool(true) => Map::new(),
        Value::Object(schema) => schema,
        _ => return Err(WHY),
    };
    match schema.get("type") {
        None => drop(schema.insert("type".into(), "object".into())),
        Some(Value::String(name)) if name == "object" => {}
        Some(_) => return Err(WHY),
    }
    Ok(Value::Object(schema))
}

/// The schema of a form for the user: flat, each field a text, number, boolean or choice
/// (2025-11-25, "Requested schema").
///
/// # Errors
///
/// Names the field that is not so.
pub(crate) fn form<T: JsonSchema>() -> Result<Value, String> {
    let settings = settings().for_deserialize().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    let fields = match &schema["properties"] {
        Value::Object(fields) => fields.iter(),
        _ => return Err("a form must be a struct with named fields".into()),
    };
    let fields: Map<String, Value> = fields
        .map(|(name, field)| {
            let primitive = field.as_object().cloned().and_then(primitive);
            let primitive = primitive.ok_or_else(|| {
                format!("the field `{name}` of a form must be a text, a number, a boolean, or a choice of texts")
            })?;
            Ok((name.clone(), Value::Object(primitive)))
        })
        .collect::<Result<_, String>>()?;
    let mut form = json!({ "type": "object", "properties": fields });
    if let (Some(form), Some(required)) = (form.as_object_mut(), schema.get("required")) {
        form.insert("required".into(), required.clone());
    }
    Ok(form)
}

/// One field of a form, in the protocol's own words; `None` where it has none.
fn primitive(mut field: Map<String, Value>) -> Option<Map<String, Value>> {
    unwrap_optional(&mut field)?;
    if let Some(Value::Array(choices)) = field.remove("oneOf") {
        field.insert("type".into(), "string".into());
        field.insert("oneOf".into(), titled(&choices)?);
    }
    match field.get("type")?.as_str()? {
        "boolean" | "integer" | "number" => {}
        "string" => {
            let known = ["email", "uri", "date", "date-time"];
            if field.get("format").is_some_and(|format| !known.iter().any(|known| format == known)) {
                field.remove("format");
            }
        }
        "array" => {
            let mut items = field.remove("items")?.as_object().cloned()?;
            if let Some(Value::Array(choices)) = items.remove("oneOf") {
                items = Map::from_iter([("anyOf".to_owned(), titled(&choices)?)]);
            } else if !items.contains_key("enum") {
                return None;
            }
            field.insert("items".into(), Value::Object(items));
        }
        _ => return None,
    }
    Some(field)
}

/// Takes the `null` of an `Option` away: a field of a form that may be empty is one that is not
/// required.
fn unwrap_optional(field: &mut Map<String, Value>) -> Option<()> {
    if let Some(Value::Array(branches)) = field.remove("anyOf") {
        let [Value::Object(inner), Value::Object(_null)] = &branches[..] else { return None };
        field.extend(inner.clone());
    }
    if let Some(Value::Array(types)) = field.get("type") {
        let kind = types.iter().find(|kind| *kind != "null")?.clone();
        field.insert("type".into(), kind);
    }
    if let Some(Value::Array(choices)) = field.get_mut("enum") {
        choices.retain(|choice| !choice.is_null());
    }
    if field.get("default").is_some_and(Value::is_null) {
        field.remove("default");
    }
    Some(())
}

/// Choices with a text for people: the documentation of a variant, or its name. Variants without
/// documentation come in one branch together.
fn titled(choices: &[Value]) -> Option<Value> {
    let mut titled = Vec::new();
    for choice in choices {
        if choice["type"] == "null" {
            continue;
        }
        let title = choice.get("title").or_else(|| choice.get("description")).and_then(Value::as_str);
        let values = choice.get("const").map(std::slice::from_ref).or_else(|| Some(choice.get("enum")?.as_array()?))?;
        for value in values {
            let value = value.as_str()?;
            titled.push(json!({ "const": value, "title": title.unwrap_or(value) }));
        }
    }
    Some(Value::Array(titled))
}

fn settings() -> SchemaSettings {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(drop_number_format));
    settings.with(|settings| settings.meta_schema = None)
}

/// Formats of numbers (`uint32`) are no part of JSON Schema: they tell a model nothing, and
/// validators warn of those they do not know.
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

/// The name of a Rust type says nothing to a model; a title somebody wrote stays.
fn drop_generated_title<T: JsonSchema>(schema: &mut Schema) {
    if schema.get("title").and_then(Value::as_str) == Some(&*T::schema_name()) {
        schema.remove("title");
    }
}

/// Whether everything that fits the schema is an object.
fn is_object(schema: &Map<String, Value>) -> bool {
    if let Some(kind) = schema.get("type") {
        return kind == "object";
    }
    let branches = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array);
    branches.is_some_and(|branches| {
        !branches.is_empty() && branches.iter().all(|branch| branch.as_object().is_some_and(is_object))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(JsonSchema)]
    #[allow(dead_code, reason = "only its schema is looked at")]
    struct Add {
        /// The first.
        x: i64,
        y: Option<i64>,
    }

    #[derive(JsonSchema)]
    #[serde(tag = "kind", rename_all = "lowercase")]
    #[allow(dead_code, reason = "only its schema is looked at")]
    enum Shape {
        Circle { radius: f64 },
        Square { side: f64 },
    }

    #[derive(JsonSchema)]
    #[serde(rename_all = "lowercase")]
    #[allow(dead_code, reason = "only its schema is looked at")]
    enum Plain {
        Red,
        Green,
    }

    #[derive(JsonSchema)]
    #[serde(rename_all = "lowercase")]
    #[allow(dead_code, reason = "only its schema is looked at")]
    enum Told {
        /// A day like today.
        Now,
        Later,
    }

    #[derive(JsonSchema)]
    #[allow(dead_code, reason = "only its schema is looked at")]
    struct Form {
        name: String,
        age: Option<u8>,
        colour: Plain,
        when: Option<Told>,
        many: Vec<Plain>,
    }

    #[test]
    fn the_schema_of_arguments_has_no_names_of_rust_types() {
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
    fn arguments_that_are_an_enum_of_objects_are_an_object_and_texts_are_not() {
        assert_eq!(of_tool(Some(input::<Shape>())).unwrap()["type"], "object");
        assert!(of_tool(Some(input::<String>())).is_err());
    }

    #[test]
    fn only_objects_have_an_output_schema() {
        assert!(output::<Add>().is_some());
        assert_eq!(output::<Shape>().unwrap()["type"], "object");
        assert_eq!(output::<Vec<Add>>(), None);
        assert_eq!(output::<Option<Add>>(), None);
        assert_eq!(output::<Value>(), None);
    }

    #[test]
    fn a_form_is_flat_and_says_choices_in_the_words_of_the_protocol() {
        let form = form::<Form>().unwrap();
        assert_eq!(form["required"], json!(["name", "colour", "many"]));
        assert_eq!(form["properties"]["age"], json!({"type": "integer", "minimum": 0, "maximum": 255}));
        assert_eq!(form["properties"]["colour"], json!({"type": "string", "enum": ["red", "green"]}));
        let choices = json!([{"const": "later", "title": "later"}, {"const": "now", "title": "A day like today."}]);
        assert_eq!(form["properties"]["when"], json!({"type": "string", "oneOf": choices}));
        assert_eq!(form["properties"]["many"]["items"], json!({"type": "string", "enum": ["red", "green"]}));
    }

    #[test]
    fn a_form_with_a_nested_object_is_refused_by_the_name_of_the_field() {
        #[derive(JsonSchema)]
        #[allow(dead_code, reason = "only its schema is looked at")]
        struct Nested {
            inner: Add,
        }
        assert!(form::<Nested>().unwrap_err().contains("`inner`"));
        assert!(form::<String>().is_err());
    }
}
