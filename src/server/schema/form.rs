//! The schema of a form for the user: flat, in the words that the protocol has for fields.

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::settings;

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

#[cfg(test)]
mod tests {
    use super::*;

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
        struct Inner {
            x: u8,
        }
        #[derive(JsonSchema)]
        #[allow(dead_code, reason = "only its schema is looked at")]
        struct Nested {
            inner: Inner,
        }
        assert!(form::<Nested>().unwrap_err().contains("`inner`"));
        assert!(form::<String>().is_err());
    }
}
