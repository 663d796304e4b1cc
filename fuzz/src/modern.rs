//! Fuzz target `modern`: requests of 2026-07-28 and requests close to them, with any members in
//! `_meta` and with headers that mirror the body or do not.

use std::borrow::Cow;
use std::time::Duration;

use arbitrary::Arbitrary;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::BodyExt;
use mcp_http::message::Era;
use mcp_http::{ResponseMode, Streams, era_of};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::app::{App, Reply};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    mode: u8,
    asked: Vec<Asked<'a>>,
}

#[derive(Debug, Arbitrary)]
struct Asked<'a> {
    kind: Kind,
    id: Id<'a>,
    method: Text<'a>,
    /// The tool that is called, unless the parameters name another one.
    tool: u8,
    params: Vec<(Text<'a>, Worth<'a>)>,
    meta: Vec<(Text<'a>, Worth<'a>)>,
    /// Values that replace those of the mirroring headers.
    headers: Vec<(u8, Worth<'a>)>,
    append: bool,
    /// Bytes that are inserted into the body, and their position.
    spliced: Option<(u16, &'a [u8])>,
}

#[derive(Debug, Arbitrary)]
enum Kind {
    Request,
    Notification,
    Answer,
    Batch,
}

#[derive(Debug, Arbitrary)]
enum Id<'a> {
    Number(i64),
    Text(&'a str),
}

#[derive(Debug, Arbitrary)]
enum Text<'a> {
    Known(u8),
    Other(&'a str),
}

#[derive(Debug, Arbitrary)]
enum Worth<'a> {
    Absent,
    Known(u8),
    Text(&'a str),
    /// A text in the encoding for header values.
    Coded(&'a str),
    Number(i64),
    Float(f64),
    List,
    /// JSON that parsers read differently.
    Odd(u8),
}

const LISTEN: &str = "subscriptions/listen";

const METHODS: [&str; 13] = [
    "tools/call",
    "tools/list",
    "server/discover",
    "prompts/get",
    "resources/read",
    "initialize",
    "ping",
    "logging/setLevel",
    "tasks/get",
    "completion/complete",
    "notifications/cancelled",
    "no/such",
    LISTEN,
];

const TOOLS: [&str; 5] = ["route", "ask", "progress", "log", "echo"];

const PARAMS: [&str; 12] = [
    "name",
    "region",
    "count",
    "uri",
    "cursor",
    "taskId",
    "steps",
    "message",
    "zone",
    "requestState",
    "inputResponses",
    "notifications",
];

const META: [&str; 6] = [
    "io.modelcontextprotocol/protocolVersion",
    "io.modelcontextprotocol/clientCapabilities",
    "io.modelcontextprotocol/clientInfo",
    "io.modelcontextprotocol/logLevel",
    "progressToken",
    "protocolVersion",
];

const HEADERS: [&str; 9] = [
    "mcp-protocol-version",
    "mcp-method",
    "mcp-name",
    "mcp-param-region",
    "mcp-param-count",
    "mcp-param-zone",
    "mcp-session-id",
    "last-event-id",
    "accept",
];

const VALUES: [&str; 17] = [
    "2026-07-28",
    "2025-11-25",
    "2025-03-26",
    "v9",
    "route",
    "echo",
    "progress",
    "log",
    "ask",
    "nobody",
    "tools/call",
    "debug",
    "eu",
    "",
    "42",
    "true",
    "null",
];

const ODD: [&str; 9] = [
    "1e999",
    r#""\ud800""#,
    "-0",
    "42.0",
    "9007199254740993",
    r#"{},"arguments":{}"#,
    r#"{"elicitation":{}}"#,
    r#"{"toolsListChanged":true}"#,
    r#"{"input-1":{"action":"accept","content":{"message":"m"}}}"#,
];

/// The service never panics and never answers 5xx for a client's fault. It answers each request
/// with JSON-RPC under its id, agrees with `era_of`, serves no request whose headers differ from
/// its body, and leaves nothing behind.
pub fn modern(data: &[u8]) {
    crate::run(data, check);
}

async fn check(mut input: Input<'_>) {
    const MOST: usize = 6;
    input.asked.truncate(MOST);
    let mode = [ResponseMode::Auto, ResponseMode::Sse, ResponseMode::Json][usize::from(input.mode) % 3];
    let app = App::new(|service| service.streams(Streams::new().response_mode(mode)));
    let mut opened = 0;
    for asked in &input.asked {
        let Some((headers, body)) = asked.write() else { continue };
        let mut request = Request::new(Body::from(body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = "/mcp".parse().expect("a path");
        *request.headers_mut() = headers.clone();
        let reply = app.send(request).await;
        opened += usize::from(reply.headers.contains_key("mcp-session-id"));
        fits(asked, &headers, &body, reply).await;
    }
    assert_eq!(app.handle.statistics().await.sessions, Some(opened), "{input:?}");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(app.handle.drain(Duration::ZERO).await.calls, 0, "{input:?}");
}

/// Checks that the answer is one that this request may have.
async fn fits(asked: &Asked<'_>, headers: &HeaderMap, body: &Bytes, reply: Reply) {
    let (status, sse) = (reply.status, reply.is_stream());
    let has_session = reply.headers.contains_key("mcp-session-id");
    let era = era_of(headers, body);
    let what = format!("{status} {era:?} to {asked:?}, {}", String::from_utf8_lossy(body));
    assert!(status.as_u16() < 500, "{what}");
    let (text, ended) = read(reply).await;
    if status == StatusCode::ACCEPTED {
        assert!(text.is_empty() && era == Some(Era::Modern), "{what}: {text}");
        return;
    }
    let messages: Vec<&str> = match sse {
        true => text.split("\n\n").filter_map(|event| event.strip_prefix("event: message\ndata: ")).collect(),
        false => vec![&text],
    };
    if !ended {
        assert!(sse && messages[0].contains("notifications/subscriptions/acknowledged"), "{what}: {text}");
        messages.into_iter().for_each(|note| is_note(note, &what));
        return;
    }
    let (answer, notes) = messages.split_last().expect("an answer");
    notes.iter().for_each(|note| is_note(note, &what));
    is_answer(answer, &what);
    let value: Value = serde_json::from_str(answer).expect("JSON");
    let code = value["error"]["code"].as_i64().unwrap_or_default();
    match era {
        Some(Era::Modern) => {
            assert!(!has_session, "{what}: {text}");
            let result = &value["result"];
            let asks = result["resultType"] == "input_required" && result["inputRequests"].is_object();
            assert!(result.is_null() || result["resultType"] == "complete" || asks, "{what}: {text}");
            assert!(code != -32002 && code != -32042 && !(-32019..=-32000).contains(&code), "{what}: {text}");
        }
        Some(Era::Legacy) => {
            assert!(!text.contains("resultType") && code != -32020 && code != -32021, "{what}: {text}");
        }
        // The head or the bytes of the request are rejected.
        None => assert!(status.is_client_error(), "{what}: {text}"),
    }
    echoes_the_id(body, answer, &what);
    if let Some(said) = value["result"]["content"][0]["text"].as_str().and_then(|text| text.strip_prefix("route "))
        && era == Some(Era::Modern)
    {
        let route: Value = serde_json::from_str(said).expect("JSON");
        repeats(headers, &route, &what);
    }
}

/// Reads the body as far as it arrives. A subscription stays open and is dropped.
async fn read(reply: Reply) -> (String, bool) {
    let (mut body, mut bytes) = (reply.body, Vec::new());
    let ended = loop {
        match tokio::time::timeout(Duration::from_secs(1), body.frame()).await {
            Ok(Some(frame)) => bytes.extend_from_slice(frame.expect("a whole body").data_ref().expect("data")),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    (String::from_utf8(bytes).expect("text"), ended)
}

fn is_note(text: &str, what: &str) {
    let note: Value = serde_json::from_str(text).expect("JSON");
    assert!(note["jsonrpc"] == "2.0" && note["method"].is_string() && note.get("id").is_none(), "{what}: {note}");
}

/// Checks that a text is one JSON-RPC response with a result or an error, and with no `null` id.
fn is_answer(text: &str, what: &str) {
    let answer: Map<String, Value> = serde_json::from_str(text).expect("an object");
    assert_eq!(answer["jsonrpc"], "2.0", "{what}: {text}");
    assert!(answer.get("id").is_none_or(|id| id.is_string() || id.is_number()), "{what}: {text}");
    match (answer.get("result"), answer.get("error")) {
        (Some(result), None) => assert!(result.is_object() && answer.contains_key("id"), "{what}: {text}"),
        (None, Some(error)) => {
            assert!(error["code"].is_i64() && error["message"].is_string(), "{what}: {text}");
        }
        _ => panic!("{what}: {text}"),
    }
}

/// Checks that the answer repeats the id of a readable request byte for byte.
fn echoes_the_id(body: &[u8], answer: &str, what: &str) {
    #[derive(serde::Deserialize)]
    struct WithId<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
    }
    let (Ok(asked), Ok(answered)) =
        (serde_json::from_slice::<WithId<'_>>(body), serde_json::from_str::<WithId<'_>>(answer))
    else {
        return;
    };
    assert_eq!(answered.id.get(), asked.id.get(), "{what}: {answer}");
}

/// Checks that the headers mirror the arguments a tool received. Decodes them independently of the
/// crate.
fn repeats(headers: &HeaderMap, route: &Value, what: &str) {
    for (argument, header) in [("region", "mcp-param-region"), ("count", "mcp-param-count")] {
        let stated = headers.get(header).map(|value| {
            let text = std::str::from_utf8(value.as_bytes()).expect("text").trim_matches([' ', '\t']);
            let coded = text.strip_prefix("=?base64?").and_then(|text| text.strip_suffix("?="));
            coded.map_or_else(
                || text.to_owned(),
                |coded| String::from_utf8(STANDARD.decode(coded).expect("base64")).expect("text"),
            )
        });
        match &route[argument] {
            Value::Null => assert_eq!(stated, None, "{what}: {argument}"),
            Value::String(text) => assert_eq!(stated.as_ref(), Some(text), "{what}: {argument}"),
            number => {
                let stated = stated.and_then(|stated| stated.parse::<f64>().ok());
                assert_eq!(stated, number.as_f64(), "{what}: {argument}");
            }
        }
    }
}

impl Asked<'_> {
    /// Returns the headers and the body of the request, or `None` if HTTP does not allow them.
    fn write(&self) -> Option<(HeaderMap, Bytes)> {
        let method = self.method.of(&METHODS);
        let mut params = self.params();
        let mut meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
        });
        for (key, worth) in &self.meta {
            change(&mut meta, key.of(&META), worth);
        }
        params["_meta"] = meta;
        let id = match self.id {
            Id::Number(number) => json!(number),
            Id::Text(text) => json!(text),
        };
        let message = match self.kind {
            Kind::Request => json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}),
            Kind::Notification => json!({"jsonrpc": "2.0", "method": method, "params": params}),
            Kind::Answer => json!({"jsonrpc": "2.0", "id": id, "result": params}),
            Kind::Batch => json!([{"jsonrpc": "2.0", "id": id, "method": method, "params": params}]),
        };
        let mut body = message.to_string();
        for (at, odd) in ODD.iter().enumerate() {
            body = body.replace(&format!("\"{}\"", stand_in(at)), odd);
        }
        let mut body = body.into_bytes();
        if let Some((at, bytes)) = self.spliced {
            let at = usize::from(at) % (body.len() + 1);
            body.splice(at..at, bytes.iter().copied());
        }
        Some((self.headers(&method, &params)?, body.into()))
    }

    fn params(&self) -> Value {
        let tool = TOOLS[usize::from(self.tool) % TOOLS.len()];
        let mut params = json!({"name": tool, "arguments": {}});
        for (key, worth) in &self.params {
            match key.of(&PARAMS) {
                key if matches!(&*key, "region" | "count" | "steps" | "message" | "zone") => {
                    change(&mut params["arguments"], key, worth);
                }
                key => change(&mut params, key, worth),
            }
        }
        params
    }

    /// Returns the mirroring headers, some of them replaced.
    fn headers(&self, method: &str, params: &Value) -> Option<HeaderMap> {
        let mut headers = crate::app::request(Method::POST, None, "").headers().clone();
        headers.insert("mcp-protocol-version", HeaderValue::from_static("2026-07-28"));
        headers.insert("mcp-method", HeaderValue::from_str(method).ok()?);
        let about = if method == "resources/read" { &params["uri"] } else { &params["name"] };
        let arguments = &params["arguments"];
        for (name, value) in
            [("mcp-name", about), ("mcp-param-region", &arguments["region"]), ("mcp-param-count", &arguments["count"])]
        {
            let text = match value {
                Value::String(text) => coded_if_need_be(text),
                Value::Null => continue,
                other => other.to_string(),
            };
            headers.insert(name, HeaderValue::from_str(&text).ok()?);
        }
        for (name, worth) in &self.headers {
            let name = HeaderName::from_static(HEADERS[usize::from(*name) % HEADERS.len()]);
            let value = match worth {
                Worth::Absent => {
                    headers.remove(name);
                    continue;
                }
                Worth::List => "=?base64?".to_owned(),
                worth => worth.text(),
            };
            let value = HeaderValue::from_bytes(value.as_bytes()).ok()?;
            if self.append {
                headers.append(name, value);
            } else {
                headers.insert(name, value);
            }
        }
        Some(headers)
    }
}

fn change(object: &mut Value, key: Cow<'_, str>, worth: &Worth<'_>) {
    let Some(members) = object.as_object_mut() else { return };
    let value = match worth {
        Worth::Absent => {
            members.remove(&*key);
            return;
        }
        Worth::Number(number) => json!(number),
        Worth::Float(number) => json!(number),
        Worth::List => json!([{}]),
        Worth::Odd(at) => stand_in(usize::from(*at) % ODD.len()).into(),
        Worth::Known(at) if *at > 250 => json!({"a": 1}),
        worth => worth.text().into(),
    };
    members.insert(key.into_owned(), value);
}

/// Returns the placeholder of odd JSON in a message that is not yet written.
fn stand_in(at: usize) -> String {
    format!("@odd{at}@")
}

fn coded_if_need_be(text: &str) -> String {
    let plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~')) && text.trim() == text;
    if plain && !text.starts_with("=?base64?") {
        text.to_owned()
    } else {
        format!("=?base64?{}?=", STANDARD.encode(text))
    }
}

impl Text<'_> {
    fn of(&self, known: &[&'static str]) -> Cow<'_, str> {
        match self {
            Self::Known(at) => known[usize::from(*at) % known.len()].into(),
            Self::Other(text) => (*text).into(),
        }
    }
}

impl Worth<'_> {
    fn text(&self) -> String {
        match self {
            Self::Absent | Self::List => String::new(),
            Self::Odd(at) => ODD[usize::from(*at) % ODD.len()].to_owned(),
            Self::Known(at) => VALUES[usize::from(*at) % VALUES.len()].to_owned(),
            Self::Text(text) => (*text).to_owned(),
            Self::Coded(text) => format!("=?base64?{}?=", STANDARD.encode(text)),
            Self::Number(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
        }
    }
}
