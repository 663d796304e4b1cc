//! The messages of a body: JSON or not, a JSON-RPC message or not, and ids in their own notation.

use axum::body::{Body, Bytes};
use axum::http::Method;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::support::{App, Client, RequestExt, call, envelope, initialize, mirrored, request, service, text_of};
use crate::table::{Seen, read, seen, sent};

async fn posted(client: &Client, body: impl Into<Body>) -> Seen {
    sent(&client.app, client.raw(body)).await
}

/// Acceptance 67.
#[tokio::test(start_paused = true)]
async fn invalid_json_is_a_parse_error_without_id() {
    let client = App::new().open().await;
    let bodies: [&[u8]; 26] = [
        b"",
        b" ",
        b"{",
        b"nope",
        b"{}{}",
        br#"{"jsonrpc":"2.0","id":1,"method":"ping""#,
        br#"{"jsonrpc":"2.0","id":1,"method":"ping"},"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"ping",}"#,
        br#"[{"jsonrpc":"2.0","id":1,"method":"ping"},]"#,
        br#"{'jsonrpc':'2.0','id':1,'method':'ping'}"#,
        br#"{jsonrpc:"2.0",id:1,method:"ping"}"#,
        // Numbers and literals of other languages.
        br#"{"jsonrpc":"2.0","id":NaN,"method":"ping"}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":Infinity}}"#,
        br#"{"jsonrpc":"2.0","id":01,"method":"ping"}"#,
        br#"{"jsonrpc":"2.0","id":+1,"method":"ping"}"#,
        br#"{"jsonrpc":"2.0","id":0x1,"method":"ping"}"#,
        br#"{"jsonrpc":"2.0","id":undefined,"method":"ping"}"#,
        b"{\"jsonrpc\":\"2.0\",/* c */\"id\":1,\"method\":\"ping\"}",
        // A byte order mark that is repeated or not at the beginning; NUL, a line break in a
        // string, bad escapes, invalid UTF-8.
        b" \xef\xbb\xbf{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}",
        b"\xef\xbb\xbf\xef\xbb\xbf{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}",
        b"\xef\xbb\xbf",
        b"\0",
        b"{\"jsonrpc\":\"2.0\",\"id\":\"a\nb\",\"method\":\"ping\"}",
        br#"{"jsonrpc":"2.0","id":"\x","method":"ping"}"#,
        br#"{"jsonrpc":"2.0","id":1,"method":"\ud800"}"#,
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{\"a\":\"\xff\"}}",
    ];
    for body in bodies {
        let got = posted(&client, Bytes::copy_from_slice(body)).await;
        assert_eq!(got, seen(400, -32700, None), "{}", body.escape_ascii());
    }
}

/// In both eras, one byte order mark is skipped at the start of a body, and nowhere else.
///
/// Acceptance 198.
#[tokio::test(start_paused = true)]
async fn a_byte_order_mark_is_ignored() {
    let client = App::new().open().await;
    let marked = |message: Value| format!("\u{feff}{message}");
    let call = call("\u{feff}1", "echo", json!({"message": "\u{feff}x"}));
    let answer = client.app.send(client.raw(marked(call))).await.json().await;
    assert_eq!((&answer["id"], &answer["result"]["content"][0]["text"]), (&json!("\u{feff}1"), &json!("\u{feff}x")));
    let message = envelope("tools/call", json!({"name": "echo", "arguments": {"message": "y"}}));
    let reply = client.app.send(mirrored(message.clone()).raw(marked(message))).await;
    assert_eq!(text_of(reply).await, "y");
}

/// JSON that is no valid message gets an "Invalid request" error, with the id if it can be read.
///
/// Acceptance 68, 69, 80.
#[tokio::test(start_paused = true)]
async fn invalid_messages_echo_a_readable_id() {
    let client = App::new().open().await;
    let rows: [(&str, Option<&str>); 25] = [
        // Values other than objects.
        ("7", None),
        ("null", None),
        ("true", None),
        (r#""ping""#, None),
        ("{}", None),
        // Messages of another version than JSON-RPC 2.0.
        (r#"{"id":1,"method":"ping"}"#, Some("1")),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, Some("1")),
        (r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, Some("1")),
        (r#"{"jsonrpc":null,"id":"a","method":"ping"}"#, Some(r#""a""#)),
        // Invalid methods and invalid parameters.
        (r#"{"jsonrpc":"2.0","id":1}"#, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"method":null}"#, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"method":["ping"]}"#, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":7}"#, Some("1")),
        // Messages that are neither a request nor a response, or both.
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#, Some("1")),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"a"}}"#, Some("1")),
        (r#"{"jsonrpc":"2.0","result":{}}"#, None),
        // Invalid ids, and two ids.
        (r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, None),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, None),
        (r#"{"jsonrpc":"2.0","id":1.0,"method":"ping"}"#, None),
        (r#"{"jsonrpc":"2.0","id":1e3,"method":"ping"}"#, None),
        (r#"{"jsonrpc":"2.0","id":true,"method":"ping"}"#, None),
        (r#"{"jsonrpc":"2.0","id":[1],"method":"ping"}"#, None),
        (r#"{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}"#, None),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#, None),
    ];
    for (body, id) in rows {
        assert_eq!(posted(&client, body).await, seen(400, -32600, id), "{body}");
    }
    let long = format!(r#"{{"jsonrpc":"2.0","id":"{}","method":"ping"}}"#, "a".repeat(1 << 20));
    assert_eq!(posted(&client, long).await, seen(400, -32600, None), "an id of a megabyte is none");
}

/// Acceptance 70, 80.
#[tokio::test(start_paused = true)]
async fn ids_keep_the_clients_spelling() {
    let client = App::new().open().await;
    for id in [
        "0",
        "-0",
        "-1",
        "9007199254740993",
        "18446744073709551616",
        "-170141183460469231731687303715884105729",
        r#""""#,
        r#""1""#,
        r#"" ""#,
        r#""é""#,
        r#""\u00e9""#,
        r#""\u00E9""#,
        r#""\u0000""#,
        r#""\ud83d\ude00""#,
        r#""\/\"\\""#,
        r#""null""#,
    ] {
        let ping = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        assert_eq!(posted(&client, ping).await, seen(200, 0, Some(id)));
        let unknown = format!(r#"{{"jsonrpc":"2.0","id": {id} ,"method":"no/such"}}"#);
        assert_eq!(posted(&client, unknown).await, seen(200, -32601, Some(id)));
        let streamed = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"progress","arguments":{{"steps":1}},"_meta":{{"progressToken":1}}}}}}"#
        );
        assert_eq!(posted(&client, streamed).await, seen(200, 0, Some(id)));
        let rejected = request(Method::POST)
            .header("content-type", "application/json")
            .raw(format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#));
        assert_eq!(sent(&client.app, rejected).await, seen(400, -32600, Some(id)));
    }
}

/// Acceptance 71.
#[tokio::test(start_paused = true)]
async fn nesting_is_answered_at_every_depth() {
    let client = App::new().open().await;
    for depth in [1, 60, 120, 123, 124, 125, 126, 127, 128, 129, 1_000, 100_000] {
        for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
            let value = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            // Each row: the body, the brackets around the value, the status and code below the
            // limit.
            let rows = [
                (value.clone(), 0, None),
                (format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","x":{value}}}"#), 1, Some((200, 0))),
                (format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"x":{value}}}}}"#), 2, Some((200, 0))),
                (
                    format!(
                        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{{"message":"m","x":{value}}}}}}}"#
                    ),
                    3,
                    Some((200, 0)),
                ),
                (
                    format!(
                        r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"echo","arguments":{{"message":{value}}}}}}}"#
                    ),
                    3,
                    // The typed tool names the wrong argument in a result with `isError`.
                    Some((200, 0)),
                ),
                (
                    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{{"level":{value}}}}}"#),
                    2,
                    Some((200, -32602)),
                ),
            ];
            for (body, around, below) in rows {
                let got = posted(&client, body).await;
                if depth + around > 127 {
                    assert_eq!(got, seen(400, -32700, None), "{open} {depth} {around}");
                } else if let Some((status, code)) = below {
                    assert_eq!(got, seen(status, code, Some("1")), "{open} {depth} {around}");
                } else {
                    assert_eq!(got.status, 400, "{open} {depth}: no message");
                }
            }
        }
    }
}

/// Acceptance 71.
#[tokio::test(start_paused = true)]
async fn numbers_beyond_every_type_are_answered() {
    let client = App::new().open().await;
    let digits = "9".repeat(10_000);
    for number in ["18446744073709551616", "-9223372036854775809", "1e999", "-1e-999", "1e400", &digits] {
        // A member that the server does not read may hold any JSON.
        let ignored = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"x":{number}}}}}"#);
        assert_eq!(posted(&client, ignored).await, seen(200, 0, Some("1")), "{number}");
        let steps = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"progress","arguments":{{"steps":{number}}}}}}}"#
        );
        let reply = client.app.send(client.raw(steps)).await;
        assert_eq!(reply.status, 200, "{number}");
        let answer = reply.json().await;
        assert_eq!(answer["result"]["isError"], true, "{number}: {answer}");
    }
    let opening = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"experimental":{"x":1e999}},"clientInfo":{"name":"a","version":"1"}}}"#;
    let request = request(Method::POST).header("content-type", "application/json").raw(opening);
    // A capability that the server does not read is stored as it was sent.
    assert_eq!(sent(&client.app, request).await, seen(200, 0, Some("1")));
    assert_eq!(client.app.handle.statistics().await.sessions, Some(2));
}

/// Notifications and responses, even unknown or malformed ones, get 202 and an empty body.
///
/// Acceptance 74.
#[tokio::test(start_paused = true)]
async fn notifications_and_responses_get_202() {
    let client = App::new().open().await;
    for message in [
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "method": "notifications/no/such", "params": {"a": 1}}),
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled"}),
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": {"a": []}}}),
        json!({"jsonrpc": "2.0", "method": "ping"}),
        json!({"jsonrpc": "2.0", "id": "s1-0", "result": {}}),
        json!({"jsonrpc": "2.0", "id": 17, "result": null}),
        json!({"jsonrpc": "2.0", "id": "x", "error": {"code": 1, "message": "no"}}),
        json!({"jsonrpc": "2.0", "id": "x", "error": 7}),
    ] {
        let reply = client.post(message.clone()).await;
        assert_eq!((reply.status.as_u16(), reply.header("content-type")), (202, None), "{message}");
        assert_eq!(reply.text().await, "", "{message}");
    }
}

/// The service accepts other body types, for middleware that has already read the body.
///
/// Acceptance 82.
#[tokio::test(start_paused = true)]
async fn other_body_types_are_accepted() {
    let (mcp, _probe) = service();
    let opening = initialize("2025-11-25", json!({})).to_string();
    let request = request(Method::POST).message(json!(0)).map(|_| Full::new(Bytes::from(opening)));
    let answer = mcp.build().unwrap().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let answer: Value = serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!(answer["result"]["protocolVersion"], "2025-11-25");
}

/// Acceptance 84, 162.
#[tokio::test(start_paused = true)]
async fn equal_ids_get_their_own_answers() {
    let client = App::new().open().await;
    let first = client.call(1, "slow", json!({"ms": 5000, "label": "a"})).await;
    let second = client.call(1, "hold", json!({"label": "b"})).await;
    let third = client.call(1, "echo", json!({"message": "now"})).await;
    assert_eq!(third.message().await["result"]["content"][0]["text"], "now");
    client.app.probe.release("b");
    assert_eq!(second.message().await["result"]["content"][0]["text"], "released");
    assert_eq!(first.message().await["result"]["content"][0]["text"], "slept");
}

/// MCP has parameters by name only, so arrays are rejected as invalid parameters.
///
/// Acceptance 80.
#[tokio::test(start_paused = true)]
async fn positional_parameters_are_rejected() {
    let client = App::new().open().await;
    for (method, params) in [
        ("tools/call", json!(["echo", {"message": "x"}])),
        ("tools/list", json!([])),
        ("resources/read", json!(["test://fixed"])),
        ("logging/setLevel", json!(["debug"])),
        ("prompts/get", json!(["greet", {"name": "x"}])),
    ] {
        let reply = client.post(json!({"jsonrpc": "2.0", "id": 4, "method": method, "params": params})).await;
        assert_eq!(read(reply).await, seen(200, -32602, Some("4")), "{method}");
    }
    let opening = json!({"jsonrpc": "2.0", "id": 4, "method": "initialize", "params": ["2025-11-25", {}, {}]});
    let reply = client.app.post(opening).await;
    assert_eq!(reply.header("mcp-session-id"), None);
    assert_eq!(read(reply).await, seen(200, -32602, Some("4")));
    let named = client.post(call(4, "echo", json!({"message": "x"}))).await;
    assert_eq!(read(named).await, seen(200, 0, Some("4")));
}
