//! Results of tools and how they are written: content, structured content, errors.

use std::borrow::Cow;
use std::error::Error;

use axum::Json;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{IntoToolError, ResultForm, finite};
use crate::message::{ErrorObject, ProtocolVersion, RawJson, write};
use crate::server::{Content, schema};

/// The full result of a tool: content for the model, structured content for programs, and whether
/// it is an error.
///
/// Most tools return something simpler, see [`IntoToolResult`].
///
/// ```
/// use mcp_http::server::{CallToolResult, Content};
///
/// async fn both() -> CallToolResult {
///     CallToolResult::new([Content::text("12 °C")]).structured(serde_json::json!({"celsius": 12}))
/// }
/// # let _ = mcp_http::McpServer::<()>::new("doc", "1").tool("both", "Measures the air.", both);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallToolResult {
    content: Vec<Content>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    structured_content: Option<Value>,
    #[serde(default, skip_serializing_if = "is_false")]
    is_error: bool,
    #[serde(default, rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<Map<String, Value>>,
}

impl CallToolResult {
    /// Makes a result of content blocks.
    #[must_use]
    pub fn new(content: impl IntoIterator<Item = Content>) -> Self {
        Self { content: content.into_iter().collect(), ..Self::default() }
    }

    /// Makes a failure, with a text for the model.
    #[must_use]
    pub fn error(text: impl Into<Cow<'static, str>>) -> Self {
        Self { content: vec![Content::text(text)], is_error: true, ..Self::default() }
    }

    /// Adds a content block.
    #[must_use]
    pub fn content(mut self, content: impl Into<Content>) -> Self {
        self.content.push(content.into());
        self
    }

    /// Sets the structured content: any JSON value. Clients of the session revisions, which only
    /// support objects, receive anything else as `{"result": ..}`.
    #[doc(alias = "structuredContent")]
    #[must_use]
    pub fn structured(mut self, value: Value) -> Self {
        self.structured_content = Some(value);
        self
    }

    /// Sets whether the result is a failure.
    #[must_use]
    pub fn is_error(mut self, is_error: bool) -> Self {
        self.is_error = is_error;
        self
    }

    /// Sets the `_meta` member.
    #[must_use]
    pub fn meta(mut self, meta: Map<String, Value>) -> Self {
        self.meta = Some(meta);
        self
    }
}

/// The return type of a tool handler.
///
/// | result | becomes |
/// |---|---|
/// | `()` | no content |
/// | `String`, `&'static str` | one text |
/// | [`Content`], `Vec<Content>` | these blocks |
/// | [`axum::Json<T>`](Json) | structured content with an output schema, and the same JSON as a text |
/// | [`CallToolResult`] | itself |
/// | `Result<T, E>` | `T`, or an error, see [`IntoToolError`] |
///
/// [`Json`] of a value other than an object (a list, a number, an `Option`) is structured content
/// of that form since 2026-07-28. Clients of the session revisions, which only support objects,
/// receive `{"result": ..}`, with a corresponding output schema. A type whose schema has no
/// constraints, such as [`Value`], has no output schema.
///
/// JSON has neither NaN nor infinities, and `null` does not match `number`. A result with one of
/// these becomes a failed call (-32603); the log has the reason.
///
/// ```compile_fail,E0277
/// async fn count() -> u32 {
///     7
/// }
/// let server: mcp_http::McpServer =
///     mcp_http::McpServer::new("doc", "1").tool("count", "Counts.", count);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of an MCP tool",
    label = "not a result of a tool",
    note = "return `()`, `String`, `&'static str`, `Content`, `Vec<Content>`, `axum::Json<T>` with `T: Serialize + \
            JsonSchema`, `CallToolResult`, or a `Result` of these with an error that is `ToolError`, `String`, \
            `&'static str` or `ErrorObject`"
)]
pub trait IntoToolResult: Sized {
    /// Converts the value into the result.
    ///
    /// # Errors
    ///
    /// A JSON-RPC error in place of a result. A tool that failed returns a result that is marked as
    /// an error.
    fn into_tool_result(self) -> Result<CallToolResult, ErrorObject>;

    /// Serializes the result as JSON for the client's revision. The default calls
    /// [`IntoToolResult::into_tool_result`]; some types override it to serialize directly.
    ///
    /// # Errors
    ///
    /// The same as [`IntoToolResult::into_tool_result`].
    fn into_raw_result(self, form: ResultForm) -> Result<RawJson, ErrorObject> {
        let mut result = self.into_tool_result()?;
        for content in &mut result.content {
            content.fit(form.version());
        }
        result.structured_content = result.structured_content.map(|value| form.fit(value));
        written(RawJson::from_value(&result))
    }

    /// Returns the schema of the structured content, if every result has some.
    #[must_use]
    fn output_schema() -> Option<Value> {
        None
    }
}

impl IntoToolResult for CallToolResult {
    fn into_tool_result(self) -> Result<CallToolResult, ErrorObject> {
        Ok(self)
    }
}

impl IntoToolResult for () {
    fn into_tool_result(self) -> Result<CallToolResult, ErrorObject> {
        Ok(CallToolResult::default())
    }
}

impl IntoToolResult for String {
    fn into_tool_result(self) -> Result<CallToolResult, ErrorObject> {
        Ok(CallToolResult::new([Content::text(self)]))
    }

    fn into_raw_result(self, _: ResultForm) -> Result<RawJson, ErrorObject> {
        Ok(one_text(&self))
    }
}

impl IntoToolResult for &'static str {
    fn into_tool_result(self) -> Result<CallToolResult, ErrorObject> {
        Ok(CallToolResult::new([Content::text(self)]))
    }

    fn into_raw_result(self, _: ResultForm) -> Result<RawJson, ErrorObject> {
        Ok(one_text(self))
    }
}

impl IntoToolResult for Content {
    fn into_tool_result(self) -> Result<CallToolResult, ErrorObject> {
        Ok(CallToolResult::new([self]))
    }
}

impl IntoToolResult for Vec<Content> {
    fn into_tool_result(self) -> Result<CallToolResult, ErrorObject> {
        Ok(CallToolResult { content: self, ..CallToolResult::default() })
    }
}

impl<T: Serialize + JsonSchema> IntoToolResult for Json<T> {
    fn into_tool_result(self) -> Result<CallToolResult, ErrorObject> {
        let value = written(serde_json::to_value(&self.0))?;
        Ok(CallToolResult::new([Content::text(value.to_string())]).structured(value))
    }

    fn into_raw_result(self, form: ResultForm) -> Result<RawJson, ErrorObject> {
        structured(&self.0, form)
    }

    fn output_schema() -> Option<Value> {
        schema::output::<T>()
    }
}

impl<T: IntoToolResult, E: IntoToolError> IntoToolResult for Result<T, E> {
    fn into_tool_result(self) -> Result<CallToolResult, ErrorObject> {
        match self {
            Ok(result) => result.into_tool_result(),
            Err(error) => error.into_tool_error().publish(ProtocolVersion::NEWEST_SESSION).map(CallToolResult::error),
        }
    }

    fn into_raw_result(self, form: ResultForm) -> Result<RawJson, ErrorObject> {
        match self {
            Ok(result) => result.into_raw_result(form),
            Err(error) => {
                error.into_tool_error().publish(form.version()).map(CallToolResult::error)?.into_raw_result(form)
            }
        }
    }

    fn output_schema() -> Option<Value> {
        T::output_schema()
    }
}

/// A value that does not serialize is a bug of the server.
fn written<T, E: Error + 'static>(result: Result<T, E>) -> Result<T, ErrorObject> {
    result.map_err(|error| {
        tracing::error!(error = &error as &dyn Error, "the result of a tool cannot be written");
        ErrorObject::internal()
    })
}

const BEFORE_TEXT: &str = r#"{"content":[{"type":"text","text":"#;

fn one_text(text: &str) -> RawJson {
    // Prose has few escapes; a few spare bytes avoid a second allocation.
    let mut out = String::with_capacity(BEFORE_TEXT.len() + text.len() + text.len() / 8 + 8);
    out.push_str(BEFORE_TEXT);
    write::string_in(text, &mut out);
    out.push_str("}]}");
    RawJson::trusted(out)
}

/// Writes `{"structuredContent":X,"content":[{"type":"text","text":"X"}]}`, serializing X once.
fn structured<T: Serialize>(value: &T, form: ResultForm) -> Result<RawJson, ErrorObject> {
    const BETWEEN: &str = r#","content":[{"type":"text","text":"#;
    let text = written(serde_json::to_string(value))?;
    if form.has_numbers() && memchr::memmem::find(text.as_bytes(), b"null").is_some() {
        written(finite::check(value))?;
    }
    let (before, after) = match form.wraps(text.starts_with('{')) {
        false => (r#"{"structuredContent":"#, ""),
        true => (r#"{"structuredContent":{"result":"#, "}"),
    };
    let mut out = String::with_capacity(before.len() + after.len() + BETWEEN.len() + text.len() * 9 / 4 + 8);
    out.push_str(before);
    out.push_str(&text);
    out.push_str(after);
    out.push_str(BETWEEN);
    write::string_in(&text, &mut out);
    out.push_str("}]}");
    Ok(RawJson::trusted(out))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::server::ResourceLink;
    use crate::server::tool::form::Output;

    fn form<T: IntoToolResult>(version: ProtocolVersion) -> ResultForm {
        ResultForm::new(version, Output::of(T::output_schema().as_ref()))
    }

    fn raw<T: IntoToolResult>(result: T) -> Value {
        result.into_raw_result(form::<T>(ProtocolVersion::NEWEST_SESSION)).unwrap().read().unwrap()
    }

    #[derive(Serialize, JsonSchema)]
    struct Sum {
        total: i64,
        note: String,
    }

    #[test]
    fn a_structured_result_holds_the_same_json_twice() {
        let sum = || Json(Sum { total: 3, note: "a \"b\" \\ \n\u{1} ü".into() });
        let result = raw(sum());
        assert_eq!(result["structuredContent"], json!({"total": 3, "note": "a \"b\" \\ \n\u{1} ü"}));
        let text = result["content"][0]["text"].as_str().unwrap();
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), result["structuredContent"]);
        let slow = serde_json::to_value(sum().into_tool_result().unwrap()).unwrap();
        assert_eq!(slow["structuredContent"], result["structuredContent"]);
    }

    #[test]
    fn non_finite_numbers_fail_the_call() {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for version in ProtocolVersion::ALL {
                let result = Json(vec![Some(1.0), Some(bad)]);
                let error = result.into_raw_result(form::<Json<Vec<Option<f64>>>>(version)).unwrap_err();
                assert_eq!(error.code, ErrorObject::INTERNAL_ERROR);
            }
        }
        assert_eq!(raw(Json(vec![None, Some(0.5)]))["structuredContent"], json!({"result": [null, 0.5]}));
    }

    #[test]
    fn both_ways_to_write_a_text_agree() {
        for text in ["", "plain", "quote \" and \u{7} bell", "ü"] {
            let long = serde_json::to_value(text.into_tool_result().unwrap()).unwrap();
            assert_eq!(raw(text), long);
            assert_eq!(raw(text.to_owned()), long);
        }
    }

    #[test]
    fn error_texts_become_error_results() {
        assert_eq!(raw(Err::<(), _>("no")), json!({"content": [{"type": "text", "text": "no"}], "isError": true}));
        let error = Err::<(), _>(ErrorObject::invalid_params("no"))
            .into_raw_result(form::<()>(ProtocolVersion::NEWEST_SESSION))
            .unwrap_err();
        assert_eq!(error.code, ErrorObject::INVALID_PARAMS);
    }

    #[test]
    fn old_clients_get_only_their_kinds_of_content() {
        let link = Content::link(ResourceLink::new("a:b", "b"));
        let result: Value =
            link.into_raw_result(form::<Content>(ProtocolVersion::V2025_03_26)).unwrap().read().unwrap();
        assert_eq!(result["content"][0]["type"], "text");
    }
}
