//! Form schemas: the flat schemas that the protocol allows for forms.

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::settings;

/// Returns the schema of a form for the user: flat, each field a string, number, boolean or choice
/// (2025-11-25, "Requested schema").
///
/// # Errors
///
/// Names a field that is of another kind.
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

/// Converts one field to the protocol's own form; `None` if it has none.
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

/// Removes the `null` of an `Option`: in a form, a field that may be empty is one that is not
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

/// Converts choices to titled ones: the title is the documentation of a variant, or its name.
/// Variants without documentation share one branch.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(JsonSchema)]
    #[serde(rename_all = "lowercase")]
    #[allow(dead_code, reason = "only its schema is used")]
    enum Plain {
        Red,
        Green,
    }

    #[derive(JsonSchema)]
    #[serde(rename_all = "lowercase")]
    #[allow(dead_code, reason = "only its schema is used")]
    enum Documented {
        /// A day like today.
        Now,
        Later,
    }

    #[derive(JsonSchema)]
    #[allow(dead_code, reason = "only its schema is used")]
    struct Form {
        name: String,
        age: Option<u8>,
        colour: Plain,
        when: Option<Documented>,
        many: Vec<Plain>,
    }

    #[test]
    fn a_form_is_flat_with_titled_choices() {
        let form = form::<Form>().unwrap();
        assert_eq!(form["required"], json!(["name", "colour", "many"]));
        assert_eq!(form["properties"]["age"], json!({"type": "integer", "minimum": 0, "maximum": 255}));
        assert_eq!(form["properties"]["colour"], json!({"type": "string", "enum": ["red", "green"]}));
        let choices = json!([{"const": "later", "title": "later"}, {"const": "now", "title": "A day like today."}]);
        assert_eq!(form["properties"]["when"], json!({"type": "string", "oneOf": choices}));
        assert_eq!(form["properties"]["many"]["items"], json!({"type": "string", "enum": ["red", "green"]}));
    }

    #[test]
    fn a_nested_field_is_rejected_by_name() {
        #[derive(JsonSchema)]
        #[allow(dead_code, reason = "only its schema is used")]
        struct Inner {
            x: u8,
        }
        #[derive(JsonSchema)]
        #[allow(dead_code, reason = "only its schema is used")]
        struct Nested {
            inner: Inner,
        }
        assert!(form::<Nested>().unwrap_err().contains("`inner`"));
        assert!(form::<String>().is_err());
    }
}
