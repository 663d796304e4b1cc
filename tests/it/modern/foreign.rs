//! Servers below `McpServer`: the service adds the members they leave out, and repeats the others
//! unchanged.

use std::sync::Arc;

use mcp_http::message::{ErrorObject, RawJson};
use mcp_http::server::{Call, Initialize, MirroredArguments, Server};
use mcp_http::{McpService, ResponseMode, Streams};
use serde_json::{Value, json};

use crate::support::{App, CAPABILITIES_KEY, Reply, RequestExt, envelope, mirrored, modern};
use crate::table::{read, seen, sent};

/// Answers each call with its parameter `answer`, unchanged, or with its parameter `error`.
#[derive(Debug, Default)]
struct Parrot {
    info: Option<&'static str>,
}

impl<S: Send + Sync> Server<S> for Parrot {
    async fn initialize(&self, request: Initialize, _: &S) -> Result<RawJson, ErrorObject> {
        let Initialize { params, context, .. } = request;
        assert_eq!(params.protocol_version, context.protocol_version().as_str());
        if params.capabilities.sampling.is_some() {
            panic!("secret");
        }
        Ok(RawJson::parse(r#"{"protocolVersion":"2025-11-25","capabilities":{"x":{"y":1}},"serverInfo":{"name":"p","version":"1"},"instructions":"Say it."}"#).unwrap())
    }

    async fn call(&self, call: Call, _: &S) -> Result<RawJson, ErrorObject> {
        let params: Value = call.params.unwrap().read().unwrap();
        if let Some(error) = params.get("error") {
            return Err(serde_json::from_value(error.clone()).unwrap());
        }
        assert!(params.get("panic").is_none(), "secret");
        if params.get("stream").is_some() {
            call.context.notify("notifications/x", &RawJson::empty_object()).await;
        }
        Ok(RawJson::parse(params["answer"].as_str().unwrap().to_owned()).unwrap())
    }

    fn info(&self) -> Option<RawJson> {
        self.info.map(|info| RawJson::parse(info).unwrap())
    }

    fn mirrored_arguments(&self, tool: &str) -> Option<Arc<MirroredArguments>> {
        let schema = json!({"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}});
        (tool == "route").then(|| Arc::new(MirroredArguments::of(&schema).unwrap()))
    }
}

fn parrot(mode: ResponseMode) -> App {
    App::of(McpService::builder(Parrot::default()).streams(Streams::new().response_mode(mode)))
}

const MODES: [ResponseMode; 3] = [ResponseMode::Auto, ResponseMode::Sse, ResponseMode::Json];

async fn answer_text(reply: Reply) -> String {
    let sse = reply.is_sse();
    let text = reply.text().await;
    if sse { text.rsplit("data: ").next().unwrap().trim_end().to_owned() } else { text }
}

/// Every result carries `resultType`, with or without the server's help.
///
/// Acceptance 1.
#[tokio::test(start_paused = true)]
async fn every_result_has_a_type() {
    for mode in MODES {
        let app = parrot(mode);
        for (method, answer, expected) in [
            ("a/b", "{}", r#"{"resultType":"complete"}"#),
            ("a/b", "{ \"a\" :\r\n[1,\n2] }", r#"{"resultType":"complete", "a" :  [1, 2] }"#),
            (
                "a/b",
                r#"{"resultType":"input_required","requestState":"x"}"#,
                r#"{"resultType":"input_required","requestState":"x"}"#,
            ),
            ("a/b", r#"{"resultType":"com.example/odd"}"#, r#"{"resultType":"com.example/odd"}"#),
            ("a/b", r#"{"a":{"resultType":"complete"}}"#, r#"{"resultType":"complete","a":{"resultType":"complete"}}"#),
            ("a/b", r#"{"_meta":null,"a":1}"#, r#"{"resultType":"complete","_meta":null,"a":1}"#),
            (
                "a/b",
                r#"{"_meta":{"n":18446744073709551617,"e":1e400},"a":1}"#,
                r#"{"resultType":"complete","_meta":{"n":18446744073709551617,"e":1e400},"a":1}"#,
            ),
            (
                "tools/list",
                r#"{"tools":[]}"#,
                r#"{"resultType":"complete","ttlMs":0,"cacheScope":"private","tools":[]}"#,
            ),
            (
                "tools/list",
                r#"{"tools":[],"ttlMs":5}"#,
                r#"{"resultType":"complete","cacheScope":"private","tools":[],"ttlMs":5}"#,
            ),
            ("resources/read", r#"{"resultType":"input_required"}"#, r#"{"resultType":"input_required"}"#),
        ] {
            let mut request = modern(method, json!({"answer": answer, "uri": "a:b"}));
            if method == "resources/read" {
                request = request.header("mcp-name", "a:b");
            }
            let text = answer_text(app.send(request).await).await;
            assert_eq!(text, format!(r#"{{"jsonrpc":"2.0","id":1,"result":{expected}}}"#), "{mode:?} {answer}");
        }
    }
}

/// A server without its own discovery is described by its answer to `initialize`.
///
/// Acceptance 11.
#[tokio::test(start_paused = true)]
async fn discovery_falls_back_to_initialize() {
    let app = parrot(ResponseMode::Auto);
    let result = app.request("server/discover", json!({})).await.json().await["result"].clone();
    assert_eq!(
        result,
        json!({
            "resultType": "complete",
            "ttlMs": 0,
            "cacheScope": "private",
            "supportedVersions": ["2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"],
            "capabilities": {"x": {"y": 1}},
            "instructions": "Say it.",
        })
    );
    for mode in MODES {
        let app = parrot(mode);
        let reply = app.request("server/discover", json!({"_meta": {CAPABILITIES_KEY: {"sampling": {}}}})).await;
        let text = answer_text(reply).await;
        assert_eq!(text, r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"Internal error"}}"#, "{mode:?}");
    }
}

/// Only the errors for a missing method and for a missing capability have an HTTP status of their
/// own.
///
/// Acceptance 14, 136, 137.
#[tokio::test(start_paused = true)]
async fn only_two_errors_have_an_error_status() {
    for mode in MODES {
        let app = parrot(mode);
        for (method, code, status) in [
            ("a/b", -32601, 404),
            ("tools/list", -32601, 404),
            // This code comes from the handler itself.
            ("tools/call", -32601, 200),
            ("prompts/get", -32601, 200),
            ("a/b", -32602, 200),
            ("a/b", -32600, 200),
            ("a/b", -32020, 200),
            ("a/b", -32022, 200),
            ("a/b", -32000, 200),
            ("a/b", 7, 200),
            ("a/b", -32021, 400),
            ("tools/call", -32021, 400),
        ] {
            let error = json!({"code": code, "message": "many\nlines", "data": {"a": "b"}});
            let request = modern(method, json!({"name": "x", "error": error}));
            assert_eq!(sent(&app, request).await, seen(status, code, Some("1")), "{mode:?} {method} {code}");
        }
        // The data about a missing capability reaches the client.
        let error = json!({"code": -32021, "message": "x", "data": {"requiredCapabilities": {"roots": {}}}});
        let body = app.request("a/b", json!({"error": error})).await.json().await;
        assert_eq!(body["error"]["data"], json!({"requiredCapabilities": {"roots": {}}}));
    }
}

/// The error repeats an unknown method up to a bounded length.
///
/// Acceptance 14, 71.
#[tokio::test(start_paused = true)]
async fn errors_repeat_long_methods_within_bounds() {
    let app = parrot(ResponseMode::Auto);
    let long = "a".repeat(1_024);
    let error = json!({"code": -32601, "message": "x"});
    let reply = app.request(&long, json!({"error": error})).await;
    assert_eq!(reply.status, 404);
    let text = reply.text().await;
    assert!(text.len() < 400, "{} bytes of echo", text.len());
}

/// A panic in a server ends only its own call.
///
/// Acceptance 83, 169.
#[tokio::test(start_paused = true)]
async fn a_server_that_panics_ends_its_own_call() {
    for mode in MODES {
        let app = parrot(mode);
        for _ in 0..3 {
            for method in ["a/b", "tools/call"] {
                let reply = app.request(method, json!({"name": "x", "panic": true})).await;
                assert_eq!(reply.status, 200, "{mode:?}");
                let text = answer_text(reply).await;
                assert_eq!(text, r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"Internal error"}}"#);
            }
        }
        assert_eq!(app.request("a/b", json!({"answer": "{}"})).await.status, 200);
        assert_eq!(app.handle.drain(std::time::Duration::ZERO).await.calls, 0, "{mode:?}");
    }
}

/// A result with line breaks is written as one `data:` line.
///
/// Acceptance 91.
#[tokio::test(start_paused = true)]
async fn results_with_line_breaks_stay_one_line() {
    let app = parrot(ResponseMode::Auto);
    let reply = app.request("a/b", json!({"stream": 1, "answer": "{\n\"a\":\r\n1\n}"})).await;
    assert_eq!(
        reply.text().await,
        "event: message\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\",\"params\":{}}\n\n\
         event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"resultType\":\"complete\", \"a\":  1 }}\n\n"
    );
}

/// The server information is also written as one line. Information in the result itself takes
/// precedence.
///
/// Acceptance 1, 91.
#[tokio::test(start_paused = true)]
async fn own_server_info_takes_precedence() {
    let named = Parrot { info: Some("{\n\"name\": \"p\"\r\n}") };
    let service = McpService::builder(named).streams(Streams::new().response_mode(ResponseMode::Sse));
    let app = App::of(service);
    let key = "io.modelcontextprotocol/serverInfo";
    for (answer, expected) in [
        ("{}".to_owned(), format!(r#"{{"resultType":"complete","_meta":{{"{key}":{{ "name": "p"  }}}}}}"#)),
        (
            r#"{"_meta":{ },"a":1}"#.to_owned(),
            format!(r#"{{"resultType":"complete","_meta":{{ "{key}":{{ "name": "p"  }}}},"a":1}}"#),
        ),
        (
            r#"{"_meta":{"n":1.00 },"a":1}"#.to_owned(),
            format!(r#"{{"resultType":"complete","_meta":{{"n":1.00 ,"{key}":{{ "name": "p"  }}}},"a":1}}"#),
        ),
        (format!(r#"{{"_meta":{{"{key}":7}}}}"#), format!(r#"{{"resultType":"complete","_meta":{{"{key}":7}}}}"#)),
        (r#"{"_meta":7}"#.to_owned(), r#"{"resultType":"complete","_meta":7}"#.to_owned()),
    ] {
        let text = app.request("a/b", json!({"answer": answer})).await.text().await;
        assert_eq!(
            text,
            format!("event: message\ndata: {{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{expected}}}\n\n"),
            "{answer}"
        );
    }
}

/// A server may read arguments less strictly than the check of the headers. Such arguments must not
/// reach it unchecked.
///
/// Acceptance 132.
#[tokio::test(start_paused = true)]
async fn duplicate_arguments_are_rejected() {
    let app = parrot(ResponseMode::Auto);
    for arguments in [r#"{},"arguments":{"region":"eu"}"#, r#"{"region":"eu"},"arguments":{}"#] {
        let message = envelope("tools/call", json!({"name": "route", "answer": "{}", "arguments": "ARGUMENTS"}));
        let request = mirrored(message.clone()).raw(message.to_string().replacen("\"ARGUMENTS\"", arguments, 1));
        assert_eq!(read(app.send(request).await).await, seen(400, -32602, Some("1")), "{arguments}");
    }
}
