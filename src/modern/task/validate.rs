//! Validation of answers: checks that an answer fits its client request. The method sets the shape
//! of the answer, and an elicitation also has the schema of its form.
//!
//! If an answer does not fit, the task keeps waiting, so that the client can answer again. The type
//! that a handler parses may still require more than a form can state.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::message::{RawJson, reason};
use crate::server::{Root, SamplingResult};

/// Checks an answer. The error is for the client.
pub(super) fn check(method: &str, params: &RawJson, answer: &RawJson) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Roots {
        #[serde(rename = "roots")]
        _roots: Vec<Root>,
    }
    // Read as a struct, an array would be the members by position.
    if !answer.as_str().starts_with('{') {
        return Err("an answer is an object".into());
    }
    match method {
        "elicitation/create" => elicited(params, answer),
        "sampling/createMessage" => answer.read::<SamplingResult>().map(drop).map_err(|error| reason(&error)),
        "roots/list" => answer.read::<Roots>().map(drop).map_err(|error| reason(&error)),
        _ => Ok(()),
    }
}

fn elicited(params: &RawJson, answer: &RawJson) -> Result<(), String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct RequestShape {
        #[serde(default)]
        requested_schema: Option<Value>,
    }
    #[derive(Deserialize)]
    struct Elicited {
        action: String,
        #[serde(default)]
        content: Option<Map<String, Value>>,
    }
    let Elicited { action, content } = answer.read().map_err(|error| reason(&error))?;
    match &*action {
        "accept" => {}
        "decline" | "cancel" => return Ok(()),
        _ => return Err("`action` is none of `accept`, `decline`, `cancel`".into()),
    }
    let request: RequestShape = params.read().unwrap_or(RequestShape { requested_schema: None });
    match request.requested_schema {
        Some(schema) => form(&schema, &content.unwrap_or_default()),
        // URL mode: there is no form.
        None => Ok(()),
    }
}

fn form(schema: &Value, content: &Map<String, Value>) -> Result<(), String> {
    let there = |name: &str| content.get(name).filter(|value| !value.is_null());
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if let Some(missing) = required.into_iter().find(|name| there(name).is_none()) {
        return Err(format!("missing field `{missing}`"));
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        if let Some(value) = there(name)
            && let Some(expected) = misses(field, value)
        {
            return Err(format!("`{name}` is not {expected}"));
        }
    }
    Ok(())
}

/// Returns the expected kind of value, or `None` if the value fits the field.
fn misses(field: &Value, value: &Value) -> Option<&'static str> {
    let (fits, expected) = match field["type"].as_str()? {
        "string" => (value.is_string(), "a string"),
        "boolean" => (value.is_boolean(), "a boolean"),
        "number" => (value.is_number(), "a number"),
        "integer" => (value.as_f64().is_some_and(|number| number.fract() == 0.0), "an integer"),
        "array" => {
            let items = value.as_array().is_some_and(|items| items.iter().all(|item| is_choice(&field["items"], item)));
            (items, "an array of its choices")
        }
        _ => return None,
    };
    if !fits {
        return Some(expected);
    }
    if !is_choice(field, value) {
        return Some("one of its choices");
    }
    let beyond = |bound: &str, is_beyond: fn(f64, f64) -> bool| {
        field[bound].as_f64().zip(value.as_f64()).is_some_and(|(bound, value)| is_beyond(value, bound))
    };
    (beyond("minimum", |value, least| value < least) || beyond("maximum", |value, most| value > most))
        .then_some("in its range")
}

/// Returns `true` if a value is one of the choices, or if there are none.
fn is_choice(field: &Value, value: &Value) -> bool {
    if let Some(choices) = field["enum"].as_array() {
        return choices.contains(value);
    }
    let titled = field["oneOf"].as_array().or_else(|| field["anyOf"].as_array());
    titled.is_none_or(|choices| choices.iter().any(|choice| choice.get("const").is_none_or(|only| only == value)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(method: &str, params: &Value, answer: &Value) -> Result<(), String> {
        check(method, &RawJson::from_value(params).unwrap(), &RawJson::from_value(answer).unwrap())
    }

    #[test]
    fn accepted_forms_match_their_schema() {
        let form = json!({"requestedSchema": {"type": "object", "required": ["name", "age"], "properties": {
            "name": {"type": "string"},
            "age": {"type": "integer", "minimum": 0, "maximum": 255},
            "colour": {"type": "string", "enum": ["red", "green"]},
            "when": {"type": "string", "oneOf": [{"const": "now", "title": "Now"}]},
            "many": {"type": "array", "items": {"anyOf": [{"const": "a"}, {"const": "b"}]}},
        }}});
        let accept =
            |content: Value| checked("elicitation/create", &form, &json!({"action": "accept", "content": content}));
        for good in [
            json!({"name": "a", "age": 7}),
            json!({"name": "a", "age": 7.0, "colour": null, "more": true}),
            json!({"name": "a", "age": 7, "colour": "red", "when": "now", "many": ["a", "b"]}),
        ] {
            assert_eq!(accept(good.clone()), Ok(()), "{good}");
        }
        for (bad, why) in [
            (json!({"name": "a"}), "missing field `age`"),
            (json!({"name": null, "age": 7}), "missing field `name`"),
            (json!({"name": 7, "age": 7}), "`name` is not a string"),
            (json!({"name": "a", "age": 7.5}), "`age` is not an integer"),
            (json!({"name": "a", "age": 256}), "`age` is not in its range"),
            (json!({"name": "a", "age": 7, "colour": "blue"}), "`colour` is not one of its choices"),
            (json!({"name": "a", "age": 7, "when": "later"}), "`when` is not one of its choices"),
            (json!({"name": "a", "age": 7, "many": ["c"]}), "`many` is not an array of its choices"),
        ] {
            assert_eq!(accept(bad).unwrap_err(), why);
        }
    }

    #[test]
    fn each_method_has_its_own_form_of_answer() {
        for (method, answer, fits) in [
            ("elicitation/create", json!({"action": "decline"}), true),
            ("elicitation/create", json!({"action": "accept"}), true),
            ("elicitation/create", json!({"action": "perhaps"}), false),
            ("elicitation/create", json!({"content": {}}), false),
            ("elicitation/create", json!([]), false),
            ("roots/list", json!({"roots": [{"uri": "file:///a", "name": null}]}), true),
            ("roots/list", json!({"roots": [{}]}), false),
            ("roots/list", json!({}), false),
            (
                "sampling/createMessage",
                json!({"role": "assistant", "model": "m", "content": {"type": "text", "text": "a"}}),
                true,
            ),
            ("sampling/createMessage", json!({"role": "assistant"}), false),
            ("other", json!({}), true),
        ] {
            assert_eq!(checked(method, &json!({}), &answer).is_ok(), fits, "{method} {answer}");
        }
    }
}
