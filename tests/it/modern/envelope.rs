//! The envelope of a request: the members that each request must carry, and the errors for missing
//! or wrong ones.

use axum::body::Body;
use axum::http::{Method, Request};
use mcp_http::message::ErrorObject;
use mcp_http::server::ToolError;
use mcp_http::{Context, McpServer, ResponseMode, Streams};
use serde_json::{Value, json};

use crate::support::{
    App, CAPABILITIES_KEY, CLIENT_KEY, LOG_KEY, MODERN, RequestExt, VERSION_KEY, envelope, meta, mirrored, modern,
    modern_call, request, text_of,
};
use crate::table::{Seen, seen, sent};

/// A `tools/list` request with the given parameters and all headers.
fn list(params: Value) -> Request<Body> {
    let mut message = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    if !params.is_null() {
        message["params"] = params;
    }
    mirrored(message)
}

/// A request with the given body and the headers of `tools/list`.
fn raw(body: impl Into<Body>) -> Request<Body> {
    modern("tools/list", json!({})).raw(body)
}

/// The error of a request without a required member names that member.
///
/// Acceptance 7, 16.
#[tokio::test(start_paused = true)]
async fn errors_name_the_missing_member() {
    let app = App::new();
    let version = "`io.modelcontextprotocol/protocolVersion`";
    let capabilities = "`io.modelcontextprotocol/clientCapabilities`";
    for (params, named) in [
        (Value::Null, version),
        (json!({}), version),
        (json!([]), version),
        (json!([meta()]), version),
        (json!({"_meta": null}), version),
        (json!({"_meta": 7}), version),
        (json!({"_meta": []}), version),
        (json!({"_meta": [meta()]}), version),
        (json!({"_meta": {}}), version),
        (json!({"_meta": {CAPABILITIES_KEY: {}, CLIENT_KEY: {"name": "a", "version": "1"}}}), version),
        (json!({"_meta": {VERSION_KEY: null, CAPABILITIES_KEY: {}}}), version),
        (json!({"_meta": {VERSION_KEY: 20260728, CAPABILITIES_KEY: {}}}), version),
        (json!({"_meta": {VERSION_KEY: [MODERN], CAPABILITIES_KEY: {}}}), version),
        (json!({"_meta": {VERSION_KEY: MODERN}}), capabilities),
        (json!({"_meta": {VERSION_KEY: MODERN, CAPABILITIES_KEY: null}}), capabilities),
        (json!({"_meta": {VERSION_KEY: MODERN, CAPABILITIES_KEY: []}}), capabilities),
        (json!({"_meta": {VERSION_KEY: MODERN, CAPABILITIES_KEY: "roots"}}), capabilities),
        (json!({"_meta": {VERSION_KEY: MODERN, CAPABILITIES_KEY: true}}), capabilities),
    ] {
        let reply = app.send(list(params.clone())).await;
        assert_eq!(reply.status, 400, "{params}");
        let body = reply.json().await;
        assert_eq!((&body["id"], &body["error"]["code"]), (&json!(1), &json!(-32602)), "{params}");
        assert!(body["error"]["message"].as_str().unwrap().contains(named), "{params}: {body}");
    }
}

/// A version that is unknown in header and body is rejected, and the error lists the versions
/// served.
///
/// Acceptance 8.
#[tokio::test(start_paused = true)]
async fn unknown_versions_are_rejected_with_the_supported() {
    let app = App::new();
    for version in ["2026-07-29", "1900-01-01", "v9", "DRAFT-2026-v1", &"9".repeat(64)] {
        let message = envelope("tools/list", json!({"_meta": {VERSION_KEY: version}}));
        let reply = app.send(mirrored(message).header("mcp-protocol-version", version)).await;
        assert_eq!(reply.status, 400, "{version}");
        let body = reply.json().await;
        let supported = json!(["2025-03-26", "2025-06-18", "2025-11-25", MODERN]);
        let expected = json!({"jsonrpc": "2.0", "id": 1, "error": {
            "code": -32022,
            "message": "Unsupported protocol version; `data.supported` lists those served",
            "data": {"requested": version, "supported": supported},
        }});
        assert_eq!(body, expected);
    }
    // A version is repeated in the error up to a bounded length.
    let version = "9".repeat(60_000);
    let message = envelope("tools/list", json!({"_meta": {VERSION_KEY: version}}));
    let reply = app.send(mirrored(message).header("mcp-protocol-version", &version)).await;
    assert_eq!((reply.status.as_u16(), reply.text().await.len() < 1_000), (400, true));
}

/// The name that a client gives itself reaches the handler, and changes nothing else.
///
/// Acceptance 16.
#[tokio::test(start_paused = true)]
async fn client_info_is_for_display_only() {
    let app = App::new();
    for (client, shown) in [
        (Value::Null, "?"),
        (json!({}), ""),
        (json!([]), ""),
        (json!("curl"), "?"),
        (json!(7), "?"),
        (json!({"name": 7}), "?"),
        (json!({"name": "a"}), "a"),
        (json!({"name": "b", "version": "1", "icons": [{}], "x": 1}), "b"),
    ] {
        let params = json!({"name": "whoami", "_meta": {CLIENT_KEY: client}});
        let text = text_of(app.request("tools/call", params).await).await;
        assert_eq!(text, format!("nobody {shown} {MODERN}"), "{client}");
    }
    let mut without = envelope("tools/call", json!({"name": "whoami"}));
    without["params"]["_meta"].as_object_mut().unwrap().remove(CLIENT_KEY).unwrap();
    assert_eq!(text_of(app.send(mirrored(without)).await).await, format!("nobody ? {MODERN}"));
    // Capabilities of an invalid form declare nothing.
    let odd =
        json!({"name": "echo", "arguments": {"message": "x"}, "_meta": {CAPABILITIES_KEY: {"roots": 7, "x": []}}});
    assert_eq!(text_of(app.request("tools/call", odd).await).await, "x");
}

/// An unknown method is answered with 404 and the error code for unknown methods.
///
/// Acceptance 13, 14.
#[tokio::test(start_paused = true)]
async fn unknown_methods_get_404_and_their_code() {
    let app = App::new();
    for method in [
        "ping",
        "initialize",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "notifications/initialized",
        "notifications/cancelled",
        "roots/list",
        "sampling/createMessage",
        "elicitation/create",
        "tools/none",
        "tools",
        "tools/call/",
        "Tools/call",
        "prompts/",
        "no/such",
        "rpc.discover",
        "",
    ] {
        let params = json!({"level": "debug", "uri": "test://fixed", "protocolVersion": "2025-11-25"});
        let reply = app.request(method, params).await;
        let rejected = reply.rejection.clone().map(|rejection| rejection.kind());
        assert_eq!((reply.status.as_u16(), rejected), (404, Some("method_not_found")), "{method}");
        assert_eq!(reply.header("mcp-session-id"), None);
        let error = json!({"code": -32601, "message": format!("Method not found: {method}")});
        assert_eq!(reply.json().await, json!({"jsonrpc": "2.0", "id": 1, "error": error}));
    }
    let long = "é".repeat(500);
    let message = mirrored(envelope("a", json!({}))).header("mcp-method", "a");
    let reply = app.send(message.message(envelope(&long, json!({})))).await;
    assert_eq!(reply.error().await.0, -32020, "such a method cannot be repeated in a header");
    let long = "a".repeat(100_000);
    assert!(app.request(&long, json!({})).await.text().await.len() < 400);
    // A server without tools does not have the methods of tools, and so on.
    let bare = App::with(|_| mcp_http::McpService::builder(McpServer::<()>::new("bare", "1")));
    for method in
        ["tools/list", "tools/call", "prompts/list", "resources/list", "resources/read", "completion/complete"]
    {
        assert_eq!(sent(&bare, modern(method, json!({"name": "a", "uri": "a:b"}))).await, seen(404, -32601, Some("1")));
    }
    assert_eq!(bare.request("server/discover", json!({})).await.status, 200);
}

/// An `initialize` request belongs to the session revisions unless it carries all members of
/// 2026-07-28.
///
/// Acceptance 17, 18.
#[tokio::test(start_paused = true)]
async fn initialize_is_legacy_unless_complete() {
    let app = App::new();
    let handshake = |meta: Value| {
        let mut message = crate::support::initialize("2025-11-25", json!({}));
        message["params"]["_meta"] = meta;
        message
    };
    let broken = [
        json!({VERSION_KEY: MODERN}),
        json!({VERSION_KEY: MODERN, CAPABILITIES_KEY: 7}),
        json!({VERSION_KEY: 7, CAPABILITIES_KEY: {}}),
        json!([]),
        json!({}),
    ];
    for meta in &broken {
        let reply = app.post(handshake(meta.clone())).await;
        assert!(reply.header("mcp-session-id").is_some(), "{meta}");
        assert_eq!(reply.json().await["result"]["protocolVersion"], "2025-11-25");
    }
    for (meta, code) in broken.into_iter().zip([-32602, -32602, -32602, -32020, -32020]) {
        let request = mirrored(handshake(meta.clone()));
        assert_eq!(sent(&app, request).await, seen(400, code, Some("0")), "{meta}");
    }
    assert_eq!(sent(&app, mirrored(handshake(meta()))).await, seen(404, -32601, Some("0")));
    let without = request(Method::POST).message(handshake(meta()));
    assert_eq!(sent(&app, without).await, seen(400, -32020, Some("0")), "the header is missing");
    assert_eq!(app.handle.statistics().await.opened, 5);
}

/// A request with several faults is answered with the error of the first check that fails.
///
/// Acceptance 6, 7, 80.
#[tokio::test(start_paused = true)]
async fn the_first_failed_check_is_reported() {
    let app = App::new();
    let whole = || envelope("tools/call", json!({"name": "echo", "arguments": {}}));
    let change = |key: &str, value: Value| {
        let mut message = whole();
        message["params"]["_meta"][key] = value;
        message
    };
    let bare = |message: Value| request(Method::POST).message(message);
    // Each row has all faults of the rows below it, and one more.
    let rows: [(Request<Body>, u16, i64, &str); 7] = [
        (bare(json!([whole()])).header("mcp-protocol-version", MODERN), 400, -32600, "batches"),
        (bare(change(VERSION_KEY, json!(7))), 400, -32602, "must be a string"),
        (bare(change(CAPABILITIES_KEY, json!(7))), 400, -32020, "MCP-Protocol-Version is required"),
        (
            bare(change(CAPABILITIES_KEY, json!(7))).header("mcp-protocol-version", MODERN),
            400,
            -32602,
            "clientCapabilities",
        ),
        (bare(whole()).header("mcp-protocol-version", MODERN), 400, -32020, "Mcp-Method is required"),
        (
            bare(whole()).header("mcp-protocol-version", MODERN).header("mcp-method", "tools/call"),
            400,
            -32020,
            "Mcp-Name",
        ),
        (mirrored(whole()), 200, -32602, "message"),
    ];
    for (request, status, code, word) in rows {
        let reply = app.send(request).await;
        assert_eq!(reply.status, status, "{word}");
        let body = reply.json().await;
        let error = if body["error"].is_object() {
            body["error"].clone()
        } else {
            json!({"message": body["result"].to_string(), "code": code})
        };
        assert_eq!(error["code"], code, "{body}");
        assert!(error["message"].as_str().unwrap().contains(word), "{word}: {body}");
    }
}

/// An unknown log level is rejected. Without a log level, no log messages are sent.
///
/// Acceptance 16.
#[tokio::test(start_paused = true)]
async fn unknown_log_levels_are_rejected() {
    let app = App::new();
    for (level, heard) in [
        (json!(null), Some(&[][..])),
        (json!("emergency"), Some(&[])),
        (json!("warning"), Some(&["warning", "error"])),
        (json!("debug"), Some(&["debug", "info", "warning", "error"])),
        (json!("DEBUG"), None),
        (json!("trace"), None),
        (json!(7), None),
        (json!({}), None),
    ] {
        let reply = app.request("tools/call", json!({"name": "log", "_meta": {LOG_KEY: level}})).await;
        let Some(heard) = heard else {
            assert_eq!(reply.status, 400, "{level}");
            let body = reply.json().await;
            assert_eq!((&body["id"], &body["error"]["code"]), (&json!(1), &json!(-32602)), "{level}");
            assert!(body["error"]["message"].as_str().unwrap().contains("io.modelcontextprotocol/logLevel"), "{body}");
            continue;
        };
        assert_eq!(reply.is_sse(), !heard.is_empty(), "{level}");
        if reply.is_sse() {
            let events = reply.sse().rest().await;
            let levels: Vec<_> =
                events[..events.len() - 1].iter().map(|event| event.json()["params"]["level"].clone()).collect();
            assert_eq!(levels, heard, "{level}");
        }
    }
    // The log level applies to its own request only.
    assert!(!app.request("tools/call", json!({"name": "log"})).await.is_sse());
}

fn needy(server: McpServer) -> McpServer {
    async fn raised(cx: Context) -> Result<&'static str, ErrorObject> {
        let capabilities = cx.client_capabilities().cloned().unwrap_or_default();
        match capabilities.sampling {
            Some(_) => Ok("sampled"),
            None => Err(ErrorObject::missing_capability(&json!({"sampling": {}}))),
        }
    }
    async fn late(cx: Context) -> Result<&'static str, ToolError> {
        cx.progress(1, None).await;
        Ok(raised(cx).await?)
    }
    server.tool("needs", "Needs sampling.", raised).tool("late", "Finds out late.", late)
}

/// A missing capability has its own error code. The status shows it, too, if nothing of the
/// response has been sent.
///
/// Acceptance 25, 136, 137.
#[tokio::test(start_paused = true)]
async fn missing_capabilities_have_their_code_and_status() {
    let error = json!({
        "code": -32021,
        "message": "Missing required client capability",
        "data": {"requiredCapabilities": {"sampling": {}}},
    });
    let declared = json!({CAPABILITIES_KEY: {"sampling": {}}});
    for mode in [ResponseMode::Auto, ResponseMode::Sse, ResponseMode::Json] {
        let app = App::serving(needy, |service| service.streams(Streams::new().response_mode(mode)));
        let reply = app.request("tools/call", json!({"name": "needs"})).await;
        assert_eq!(reply.status, 400, "{mode:?}");
        assert_eq!(reply.rejection.as_ref().unwrap().kind(), "missing_capability");
        assert_eq!(reply.json().await, json!({"jsonrpc": "2.0", "id": 1, "error": error}), "{mode:?}");
        let reply = app.request("tools/call", json!({"name": "needs", "_meta": declared})).await;
        assert_eq!((reply.status.as_u16(), text_of(reply).await.as_str()), (200, "sampled"), "{mode:?}");
        // A capability that another request declared does not count.
        assert_eq!(app.request("tools/call", json!({"name": "needs"})).await.status, 400, "{mode:?}");

        let reply = app.send(modern_call("late", json!({}))).await;
        let expected = if mode == ResponseMode::Json { 400 } else { 200 };
        assert_eq!(reply.status, expected, "{mode:?}: what has begun as a stream stays one");
        assert_eq!(reply.message().await["error"], error, "{mode:?}");
    }
}

/// An invalid body is rejected under any headers.
///
/// Acceptance 67, 68, 69, 80.
#[tokio::test(start_paused = true)]
async fn invalid_bodies_are_rejected_under_any_headers() {
    let app = App::new();
    let bad = |code: i64, id: Option<&str>| seen(400, code, id);
    let rows: [(&str, Seen); 22] = [
        ("", bad(-32700, None)),
        (" ", bad(-32700, None)),
        ("{", bad(-32700, None)),
        ("nope", bad(-32700, None)),
        ("{}{}", bad(-32700, None)),
        ("\u{feff}{}", bad(-32600, None)),
        (r#"{"jsonrpc":"2.0","id":NaN,"method":"tools/list"}"#, bad(-32700, None)),
        (r#"{"jsonrpc":"2.0","id":1,"method":"\ud800"}"#, bad(-32700, None)),
        ("7", bad(-32600, None)),
        ("null", bad(-32600, None)),
        ("{}", bad(-32600, None)),
        (r#"{"id":1,"method":"tools/list"}"#, bad(-32600, Some("1"))),
        (r#"{"jsonrpc":"1.0","id":1,"method":"tools/list"}"#, bad(-32600, Some("1"))),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, bad(-32600, Some("1"))),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":7}"#, bad(-32600, Some("1"))),
        (r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","result":{}}"#, bad(-32600, Some("1"))),
        (r#"{"jsonrpc":"2.0","id":null,"method":"tools/list"}"#, bad(-32600, None)),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"tools/list"}"#, bad(-32600, None)),
        (r#"{"jsonrpc":"2.0","id":1e3,"method":"tools/list"}"#, bad(-32600, None)),
        (r#"{"jsonrpc":"2.0","id":{},"method":"tools/list"}"#, bad(-32600, None)),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}"#, bad(-32600, None)),
        ("[]", bad(-32600, None)),
    ];
    for (body, expected) in rows {
        assert_eq!(sent(&app, raw(body)).await, expected, "{body}");
    }
    let long = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"tools/list"}}"#, "a".repeat(1 << 20));
    assert_eq!(sent(&app, raw(long)).await, bad(-32600, None), "an id of a megabyte is none");
}

/// The answer repeats the id of the request byte for byte.
///
/// Acceptance 69, 70, 80.
#[tokio::test(start_paused = true)]
async fn ids_keep_the_clients_spelling() {
    let app = App::new();
    let with_id = |message: Value, id: &str| message.to_string().replacen(r#""id":1"#, &format!(r#""id": {id} "#), 1);
    for id in [
        "0",
        "-0",
        "-1",
        "9007199254740993",
        "-170141183460469231731687303715884105729",
        r#""""#,
        r#""é""#,
        r#""\u00E9\u0000\ud83d\ude00\/""#,
        r#""null""#,
    ] {
        let echo = json!({"name": "echo", "arguments": {"message": "x"}});
        let steps = json!({"name": "progress", "arguments": {"steps": 1}, "_meta": {"progressToken": 1}});
        for (method, params, status, code) in [
            ("tools/call", echo, 200, 0),
            ("tools/call", steps, 200, 0),
            ("tools/call", json!({"name": "nobody"}), 200, -32602),
            ("server/discover", json!({}), 200, 0),
            ("no/such", json!({}), 404, -32601),
            ("tools/list", json!({"_meta": {CAPABILITIES_KEY: 7}}), 400, -32602),
        ] {
            let request = modern(method, params.clone());
            let body = with_id(envelope(method, params), id);
            assert_eq!(sent(&app, request.raw(body)).await, seen(status, code, Some(id)), "{method} {id}");
        }
        let body = with_id(envelope("tools/list", json!({})), id);
        let unnamed = request(Method::POST).header("content-type", "application/json").raw(body);
        assert_eq!(sent(&app, unnamed).await, seen(400, -32020, Some(id)), "{id}");
    }
}

/// Deep nesting gets an answer at every depth and in every member.
///
/// Acceptance 71, 80.
#[tokio::test(start_paused = true)]
async fn nesting_is_answered_at_every_depth() {
    let app = App::new();
    for depth in [1, 100, 120, 122, 123, 124, 125, 126, 127, 128, 1_000, 100_000] {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let value = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            // (member that holds the value, number of brackets around it)
            for (place, around) in
                [("x", 1), ("params", 2), ("arguments", 3), ("_meta", 3), ("capabilities", 4), ("client", 4)]
            {
                let mut message = envelope("tools/call", json!({"name": "echo", "arguments": {"message": "m"}}));
                let params = &mut message["params"];
                match place {
                    "x" => message["x"] = "VALUE".into(),
                    "params" => params["x"] = "VALUE".into(),
                    "arguments" => params["arguments"]["x"] = "VALUE".into(),
                    "_meta" => params["_meta"]["x"] = "VALUE".into(),
                    "capabilities" => params["_meta"][CAPABILITIES_KEY]["experimental"] = "VALUE".into(),
                    _ => params["_meta"][CLIENT_KEY]["x"] = "VALUE".into(),
                }
                let request = mirrored(message.clone()).raw(message.to_string().replacen("\"VALUE\"", &value, 1));
                let expected = if depth + around <= 127 { seen(200, 0, Some("1")) } else { seen(400, -32700, None) };
                assert_eq!(sent(&app, request).await, expected, "{depth} {open} in {place}");
            }
        }
    }
}

/// A batch is rejected whatever it contains.
///
/// Acceptance 21, 72, 73, 166.
#[tokio::test(start_paused = true)]
async fn any_batch_is_rejected() {
    let app = App::new();
    let echo = envelope("tools/call", json!({"name": "echo", "arguments": {"message": "x"}}));
    let note = json!({"jsonrpc": "2.0", "method": "notifications/a"});
    for batch in [
        json!([]),
        json!([1]),
        json!([echo]),
        json!([echo, echo]),
        json!([note]),
        json!([note, note]),
        json!([{"jsonrpc": "2.0", "id": 1, "result": {}}]),
        json!(vec![echo.clone(); 101]),
    ] {
        let request = mirrored(echo.clone()).message(batch.clone());
        assert_eq!(sent(&app, request).await, seen(400, -32600, None), "{batch}");
    }
    assert_eq!(app.handle.statistics().await.opened, 0);
}

/// The error carries no id: a client that matches errors by id would take it for the error of one
/// of its own requests.
///
/// Acceptance 21, 80.
#[tokio::test(start_paused = true)]
async fn posted_responses_are_rejected_without_an_id() {
    let app = App::new();
    for answer in [
        json!({"jsonrpc": "2.0", "id": 1, "result": {}}),
        json!({"jsonrpc": "2.0", "id": "s1-0", "error": {"code": 1, "message": "no"}}),
    ] {
        let request = request(Method::POST).header("mcp-protocol-version", MODERN).message(answer);
        assert_eq!(sent(&app, request).await, seen(400, -32600, None));
    }
}
