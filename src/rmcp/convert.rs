//! Conversion of messages between this crate, which keeps them as text, and rmcp, which parses them
//! into types. Each message is read once, by the type of its method.

use std::borrow::Cow;

use rmcp::ErrorData;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientNotification, ClientRequest, ErrorCode, NumberOrString, ServerResult,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::message::{ErrorObject, ProtocolVersion, RawJson, RequestId, bounded};
use crate::server;

/// A request or notification that rmcp sends.
#[derive(Debug, Clone)]
pub(super) struct Outgoing {
    pub(super) method: String,
    pub(super) params: RawJson,
}

/// Reads a message by the type of its method. A method without a type becomes a custom message.
macro_rules! read_as {
    ($union:ident, $method:expr, $params:expr, { $($name:literal => $variant:ident,)* } else $custom:ident) => {{
        let text = written($method, $params);
        let read = match $method {
            $($name => serde_json::from_str(&text).map($union::$variant),)*
            _ => serde_json::from_str(&text).map($union::$custom),
        };
        read.map_err(|error| unreadable($method, &error))
    }};
}

/// Reads the request of a client.
pub(super) fn request(method: &str, params: Option<&RawJson>) -> Result<ClientRequest, ErrorObject> {
    if let ("tools/call", Some(params)) = (method, params)
        && params.as_str().starts_with('{')
    {
        return call_tool(params);
    }
    read_as!(ClientRequest, method, params, {
        "completion/complete" => CompleteRequest,
        "initialize" => InitializeRequest,
        "logging/setLevel" => SetLevelRequest,
        "ping" => PingRequest,
        "prompts/get" => GetPromptRequest,
        "prompts/list" => ListPromptsRequest,
        "resources/directory/read" => ReadResourceDirectoryRequest,
        "resources/list" => ListResourcesRequest,
        "resources/read" => ReadResourceRequest,
        "resources/subscribe" => SubscribeRequest,
        "resources/templates/list" => ListResourceTemplatesRequest,
        "resources/unsubscribe" => UnsubscribeRequest,
        "server/discover" => DiscoverRequest,
        "skills/get" => GetSkillRequest,
        "skills/list" => ListSkillsRequest,
        "subscriptions/listen" => SubscriptionsListenRequest,
        "tasks/cancel" => CancelTaskRequest,
        "tasks/get" => GetTaskRequest,
        "tasks/update" => UpdateTaskRequest,
        "tools/call" => CallToolRequest,
        "tools/list" => ListToolsRequest,
    } else CustomRequest)
}

/// Reads the request that opens a service. rmcp agrees to every revision it knows. If the service
/// speaks another revision than the client asks for, the request therefore names that one.
pub(super) fn initialize(params: &RawJson, version: Option<ProtocolVersion>) -> Result<ClientRequest, ErrorObject> {
    let mut request = request("initialize", Some(params))?;
    if let (ClientRequest::InitializeRequest(opening), Some(version)) = (&mut request, version) {
        let version = serde_json::from_value(version.as_str().into());
        opening.params.protocol_version = version.map_err(|error| unreadable("initialize", &error))?;
    }
    Ok(request)
}

/// Reads a tool call as rmcp does, without the copies that rmcp makes to separate parameters from
/// their `_meta`. Tool calls are the most frequent and the largest requests.
fn call_tool(params: &RawJson) -> Result<ClientRequest, ErrorObject> {
    let mut params: CallToolRequestParams = params.read().map_err(|error| unreadable("tools/call", &error))?;
    let meta = params.meta.take();
    let mut request = CallToolRequest::new(params);
    if let Some(meta) = meta {
        request.extensions.insert(meta);
    }
    Ok(ClientRequest::CallToolRequest(request))
}

/// Reads the notification of a client.
pub(super) fn notification(method: &str, params: Option<&RawJson>) -> Result<ClientNotification, ErrorObject> {
    read_as!(ClientNotification, method, params, {
        "notifications/cancelled" => CancelledNotification,
        "notifications/initialized" => InitializedNotification,
        "notifications/progress" => ProgressNotification,
        "notifications/roots/list_changed" => RootsListChangedNotification,
    } else CustomNotification)
}

fn written(method: &str, params: Option<&RawJson>) -> String {
    #[derive(Serialize)]
    struct Message<'a> {
        method: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        params: Option<&'a RawJson>,
    }
    serde_json::to_string(&Message { method, params }).unwrap_or_default()
}

fn unreadable(method: &str, error: &serde_json::Error) -> ErrorObject {
    let text = error.to_string();
    // The position refers to a text that the client did not send.
    let what = text.split(" at line ").next().unwrap_or_default();
    ErrorObject::invalid_params(format!("Invalid params of {}: {}", bounded(method), bounded(what)))
}

/// Writes a message of rmcp as text.
pub(super) fn outgoing<T: Serialize>(message: &T) -> Result<Outgoing, serde_json::Error> {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow)]
        method: Cow<'a, str>,
        #[serde(borrow, default)]
        params: Option<&'a RawValue>,
    }
    let text = RawJson::from_value(message)?;
    let Message { method, params } = text.read_borrowed()?;
    let params = params.map_or_else(|| Ok(RawJson::empty_object()), RawJson::from_value)?;
    Ok(Outgoing { method: method.into_owned(), params })
}

/// Converts the id of a request. An integer too large for rmcp becomes its digits.
pub(super) fn id(id: &RequestId) -> NumberOrString {
    let text = id.as_json();
    match text.parse() {
        Ok(number) => NumberOrString::Number(number),
        Err(_) => NumberOrString::String(serde_json::from_str::<String>(text).as_deref().unwrap_or(text).into()),
    }
}

/// Converts a result of rmcp for the client.
pub(super) fn result(result: &ServerResult) -> Result<RawJson, ErrorObject> {
    let written = match result {
        ServerResult::ListToolsResult(tools) => serde_json::to_value(tools).and_then(|mut list| {
            server::plain_schemas(&mut list);
            RawJson::from_value(&list)
        }),
        other => RawJson::from_value(other),
    };
    written.map_err(|error| {
        tracing::error!(%error, "a result from rmcp cannot be written");
        ErrorObject::internal()
    })
}

/// Converts an error of rmcp for the client.
pub(super) fn error(error: ErrorData) -> ErrorObject {
    let object = ErrorObject::new(error.code.0.into(), error.message);
    match error.data {
        Some(data) => object.with_data(&data),
        None => object,
    }
}

/// Converts an error of the client for rmcp. A code too large for rmcp becomes one of the server's
/// range.
pub(super) fn rejection(error: ErrorObject) -> ErrorData {
    let code = i32::try_from(error.code).unwrap_or(-32000);
    ErrorData::new(ErrorCode(code), error.message, error.data.and_then(|data| data.read().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &'static str) -> RawJson {
        RawJson::parse(text).unwrap()
    }

    #[test]
    fn invalid_params_do_not_make_a_custom_request() {
        let error = request("tools/call", Some(&raw(r#"{"name":7}"#))).unwrap_err();
        assert_eq!(error.code, ErrorObject::INVALID_PARAMS);
        assert_eq!(error.message, "Invalid params of tools/call: invalid type: integer `7`, expected a string");
        let error = request("tools/call", None).unwrap_err();
        assert_eq!(error.message, "Invalid params of tools/call: missing field `params`");
        assert!(matches!(request("tools/calls", None), Ok(ClientRequest::CustomRequest(_))));
    }

    #[test]
    fn tool_calls_parse_as_in_rmcp() {
        let params =
            r#"{"_meta":{"progressToken":"t","x":1},"arguments":{"a":[1.5,null]},"requestState":"s","name":"n\u00e9"}"#;
        let ours = request("tools/call", Some(&raw(params))).unwrap();
        let theirs: ClientRequest =
            serde_json::from_str(&format!(r#"{{"method":"tools/call","params":{params}}}"#)).unwrap();
        let (ClientRequest::CallToolRequest(ours), ClientRequest::CallToolRequest(theirs)) = (ours, theirs) else {
            panic!("read as something else");
        };
        assert_eq!(ours.params, theirs.params);
        let meta = |request: &CallToolRequest| request.extensions.get::<rmcp::model::RequestMetaObject>().cloned();
        assert_eq!(meta(&ours), meta(&theirs));
        assert!(meta(&ours).is_some_and(|meta| meta.get_progress_token().is_some()));
        for params in [r#"["a"]"#, "null", r#"{"_meta":7,"name":"a"}"#, "{}"] {
            assert!(request("tools/call", Some(&raw(params))).is_err(), "{params}");
        }
    }

    #[test]
    fn a_method_is_text_and_cannot_write_json() {
        let Ok(ClientRequest::CustomRequest(custom)) = request(r#"a","params":{"b"#, Some(&raw(r#"{"c":[1]}"#))) else {
            panic!("read as something else");
        };
        assert_eq!((&*custom.method, custom.params), (r#"a","params":{"b"#, Some(serde_json::json!({"c": [1]}))));
    }

    #[test]
    fn lists_of_tools_hold_no_boolean_schemas() {
        let list = r#"{"tools":[{"name":"a","inputSchema":{"type":"object","properties":{"any":true}}}]}"#;
        let list: rmcp::model::ListToolsResult = serde_json::from_str(list).unwrap();
        let written: serde_json::Value = result(&ServerResult::ListToolsResult(list)).unwrap().read().unwrap();
        assert_eq!(written["tools"][0]["inputSchema"]["properties"], serde_json::json!({"any": {}}));
    }

    #[test]
    fn ids_keep_their_type() {
        for (text, expected) in [
            ("7", NumberOrString::Number(7)),
            ("-7", NumberOrString::Number(-7)),
            (r#""7""#, NumberOrString::String("7".into())),
            (r#""\u00e9""#, NumberOrString::String("é".into())),
            ("18446744073709551616", NumberOrString::String("18446744073709551616".into())),
        ] {
            assert_eq!(id(&text.parse().unwrap()), expected, "{text}");
        }
    }
}
