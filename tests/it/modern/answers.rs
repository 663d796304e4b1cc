//! Answers of 2026-07-28: their form (one body or a stream), their exact bytes, and the messages on
//! a stream.

use std::time::Duration;

use axum::http::Method;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use mcp_http::ResponseMode;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tower::ServiceExt;

use crate::support::{
    App, LOG_KEY, MODERN, RequestExt, Served, envelope, exchange, mirrored, modern, modern_call, request, service,
    text_of, whole,
};
use crate::table::{seen, sent};

const MODES: [ResponseMode; 3] = [ResponseMode::Auto, ResponseMode::Sse, ResponseMode::Json];

fn progress(step: u32, of: u32) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":"t","progress":{step},"total":{of}}}}}"#
    )
}

fn result(text: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{"resultType":"complete","_meta":{{"io.modelcontextprotocol/serverInfo":{{"name":"test-server","version":"1.0.0"}}}},"content":[{{"type":"text","text":"{text}"}}]}}}}"#
    )
}

fn events(messages: &[String]) -> String {
    messages.iter().map(|message| format!("event: message\ndata: {message}\n\n")).collect()
}

/// A result has the same exact bytes in each response mode, as a body or as an event.
///
/// Acceptance 1, 91, 92, 95, 135, 138.
#[tokio::test(start_paused = true)]
async fn each_mode_has_its_exact_bodies() {
    for mode in MODES {
        let app = App::in_mode(mode);
        let reply = app.call_tool("echo", json!({"message": "hi"})).await;
        assert_eq!(reply.is_sse(), mode == ResponseMode::Sse);
        let expected = if mode == ResponseMode::Sse { events(&[result("hi")]) } else { result("hi") };
        assert_eq!(reply.text().await, expected, "{mode:?}: a call that only answers");

        let reply = app.call_tool("progress", json!({"steps": 2})).await;
        assert_eq!(reply.is_sse(), mode != ResponseMode::Json);
        let expected = match mode {
            ResponseMode::Json => result("done"),
            _ => events(&[progress(1, 2), progress(2, 2), result("done")]),
        };
        assert_eq!(reply.text().await, expected, "{mode:?}: a call that streams");
        let dropped = app.handle.statistics().await.dropped;
        assert_eq!(dropped, if mode == ResponseMode::Json { 2 } else { 0 }, "{mode:?}");

        // A client that asked for no progress receives none.
        let steps = json!({"name": "progress", "arguments": {"steps": 2}});
        let reply = app.request("tools/call", steps).await;
        assert_eq!(reply.is_sse(), mode == ResponseMode::Sse);
        assert_eq!(reply.message().await["result"]["content"][0]["text"], "done");
    }
}

/// The response to a call without messages begins when the call ends, or as a stream once the
/// stream-after delay is over. In JSON mode it begins only when the call ends.
///
/// Acceptance 135.
#[tokio::test(start_paused = true)]
async fn silent_calls_stream_after_the_delay() {
    for mode in [ResponseMode::Auto, ResponseMode::Sse] {
        for silence in [200, 500, 3_000] {
            let app =
                App::streaming(|streams| streams.response_mode(mode).stream_after(Duration::from_millis(silence)));
            let start = Instant::now();
            let reply = app.call_tool("slow", json!({"ms": 10_000, "label": "a"})).await;
            let after = start.elapsed().as_millis();
            assert!((u128::from(silence)..u128::from(silence) + 5).contains(&after), "{after} ms");
            assert!(reply.is_sse());
            assert_eq!(reply.text().await, format!(":\n\n{}", events(&[result("slept")])), "{mode:?}");
            let start = Instant::now();
            let reply = app.call_tool("slow", json!({"ms": silence - 10, "label": "a"})).await;
            assert_eq!(reply.is_sse(), mode == ResponseMode::Sse);
            assert!(start.elapsed().as_millis() < u128::from(silence));
        }
    }
    let reply = App::in_mode(ResponseMode::Json).call_tool("slow", json!({"ms": 600_000, "label": "a"})).await;
    assert_eq!(reply.text().await, result("slept"), "in JSON it waits as long as it takes");
}

/// Each message leaves when it is sent, also the first one, which starts the stream.
///
/// Acceptance 135.
#[tokio::test(start_paused = true)]
async fn messages_are_streamed_when_sent() {
    let app = App::new();
    let start = Instant::now();
    let mut stream = app.call_tool("progress", json!({"steps": 3, "delay_ms": 100})).await.sse();
    for step in 1_u64..=3 {
        assert_eq!(stream.next_any().await.unwrap().json()["params"]["progress"], step);
        let after = start.elapsed();
        assert!(
            (100 * step..100 * step + 10).contains(&u64::try_from(after.as_millis()).unwrap()),
            "step {step} after {after:?}"
        );
    }
    assert_eq!(stream.rest().await.len(), 1);
    // A burst is sent as one piece.
    let mut stream = app.call_tool("progress", json!({"steps": 50})).await.sse();
    whole(&stream.rest().await, 50);
    assert_eq!(stream.chunks.len(), 1, "{:?}", stream.chunks);
}

/// A quiet stream sends comments in the configured interval, or none if they are disabled.
///
/// Acceptance 98, 99, 100.
#[tokio::test(start_paused = true)]
async fn a_quiet_stream_sends_comments_or_none() {
    let app = App::streaming(|streams| streams.keep_alive(Duration::from_secs(10)));
    let reply = app.call_tool("slow", json!({"ms": 35_000, "label": "a"})).await;
    for (name, value) in [
        ("content-type", Some("text/event-stream")),
        ("cache-control", Some("no-cache, no-transform")),
        ("x-accel-buffering", Some("no")),
        ("content-length", None),
        ("mcp-session-id", None),
    ] {
        assert_eq!(reply.header(name), value);
    }
    assert_eq!(reply.text().await, format!(":\n\n:\n\n:\n\n:\n\n{}", events(&[result("slept")])));
    for every in [Duration::ZERO, Duration::MAX] {
        let app = App::streaming(|streams| streams.keep_alive(every));
        let text = app.call_tool("slow", json!({"ms": 600_000, "label": "a"})).await.text().await;
        assert_eq!(text, format!(":\n\n{}", events(&[result("slept")])), "{every:?}");
    }
}

/// A status reports an error of the protocol. Errors of a handler, and errors after the stream
/// began, are in the body.
///
/// Acceptance 136, 137, 83.
#[tokio::test(start_paused = true)]
async fn only_protocol_errors_have_an_error_status() {
    for mode in MODES {
        let app = App::in_mode(mode);
        for (method, params, status, code) in [
            ("tools/call", json!({"name": "nobody"}), 200, -32602),
            ("tools/call", json!({"name": "echo", "arguments": 7}), 200, -32602),
            ("prompts/get", json!({"name": "nobody"}), 200, -32602),
            ("resources/read", json!({"uri": "test://nothing"}), 200, -32602),
            ("resources/read", json!({"uri": "no uri"}), 200, -32602),
            ("tools/list", json!({"cursor": "nonsense"}), 200, -32602),
            ("tools/call", json!({"name": "boom"}), 200, -32603),
            ("no/such", json!({}), 404, -32601),
            ("tools/none", json!({}), 404, -32601),
            ("ping", json!({}), 404, -32601),
        ] {
            let reply = app.request(method, params.clone()).await;
            assert_eq!(reply.is_sse(), status == 200 && mode == ResponseMode::Sse, "{mode:?} {method} {params}");
            assert_eq!(reply.rejection.is_some(), status != 200, "{mode:?} {method} {params}");
            assert_eq!(crate::table::read(reply).await, seen(status, code, Some("1")), "{mode:?} {method} {params}");
        }
        for tool in ["boom", "leak"] {
            let text = app.call_tool(tool, json!({})).await.text().await;
            assert!(!text.contains("secret"), "{mode:?} {tool}: {text}");
        }
        // The model can correct an unsuitable argument, so the tool reports it in its result.
        let unfit = app.call_tool("echo", json!({"message": 7})).await.message().await;
        assert!(unfit["result"]["isError"] == true || unfit["error"]["code"] == -32602, "{unfit}");
    }
}

/// Messages of a call go to the stream of that call only.
///
/// Acceptance 93, 97.
#[tokio::test(start_paused = true)]
async fn calls_receive_their_own_messages_only() {
    let app = App::new();
    let client = app.open().await;
    let mut get = client.listen_primed().await;
    let mut held = app.call_tool("note_and_hold", json!({"label": "a"})).await.sse();
    assert!(held.message().await.is_some());
    app.handle.tools_changed();
    app.handle.resource_updated("test://fixed");
    assert_eq!(get.message().await.unwrap().json()["method"], "notifications/tools/list_changed");
    assert!(held.is_silent().await, "it belongs to another stream");
    let logged = app.request("tools/call", json!({"name": "log", "_meta": {LOG_KEY: "debug"}})).await;
    let messages = logged.sse().rest().await;
    assert_eq!(messages.len(), 5);
    assert!(messages[..4].iter().all(|event| event.json()["method"] == "notifications/message"));
    assert_eq!(messages[0].json()["params"]["logger"], "tools");
    assert!(held.is_silent().await && get.is_silent().await);
    app.probe.release("a");
    assert_eq!(held.rest().await.len(), 1);
}

/// A hundred concurrent calls receive their own messages and answers only.
///
/// Acceptance 46, 60, 93, 129.
#[tokio::test(start_paused = true)]
async fn a_hundred_concurrent_calls_do_not_mix() {
    let app = App::new();
    let each = (0..100).map(|n| {
        let app = app.clone();
        async move {
            let name = format!("user {n}");
            let steps = json!({"name": "progress", "arguments": {"steps": 3, "delay_ms": 10}, "_meta": {"progressToken": n}});
            let who = json!({"name": "whoami", "_meta": {"io.modelcontextprotocol/clientInfo": {"name": n.to_string(), "version": "1"}}});
            let (steps, who) = tokio::join!(
                app.send(modern("tools/call", steps).principal(&name)),
                app.send(modern("tools/call", who).principal(&name)),
            );
            assert_eq!(text_of(who).await, format!("{name} {n} {MODERN}"));
            let events = steps.sse().rest().await;
            whole(&events, 3);
            assert!(events[..3].iter().all(|event| event.json()["params"]["progressToken"] == n));
        }
    });
    futures_util::future::join_all(each).await;
}

/// Concurrent requests with the same id are answered on their own responses.
///
/// Acceptance 84, 162.
#[tokio::test(start_paused = true)]
async fn equal_ids_get_their_own_answers() {
    for mode in MODES {
        let app = App::in_mode(mode);
        let one = tokio::spawn({
            let app = app.clone();
            async move { text_of(app.call_tool("hold", json!({"label": "one"})).await).await }
        });
        sleep(Duration::from_secs(1)).await;
        assert_eq!(text_of(app.call_tool("echo", json!({"message": "two"})).await).await, "two", "{mode:?}");
        assert_eq!(app.probe.state("one"), Some("running"));
        app.probe.release("one");
        assert_eq!(one.await.unwrap(), "released", "{mode:?}");
    }
}

/// A stream that its client does not read delays no other request.
///
/// Acceptance 102, 163.
#[tokio::test(start_paused = true)]
async fn an_unread_stream_delays_nothing_else() {
    let app = App::new();
    let unread = app.call_tool("progress", json!({"steps": 100_000})).await;
    let start = Instant::now();
    for _ in 0..10 {
        assert_eq!(text_of(app.call_tool("echo", json!({"message": "x"})).await).await, "x");
        whole(&app.call_tool("progress", json!({"steps": 3})).await.sse().rest().await, 3);
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    let client = app.open().await;
    assert_eq!(client.text_of("echo", json!({"message": "x"})).await, "x");
    drop(unread);
}

/// Messages that are sent after the answer are dropped.
///
/// Acceptance 140.
#[tokio::test(start_paused = true)]
async fn messages_after_the_answer_are_dropped() {
    for mode in MODES {
        let app = App::in_mode(mode);
        let reply = app.call_tool("detached", json!({"label": "a"})).await;
        assert_eq!(reply.is_sse(), mode == ResponseMode::Sse);
        let text = reply.text().await;
        assert!(text.contains("answered") && !text.contains("99"), "{mode:?}: {text}");
        app.probe.release("a");
        sleep(Duration::from_secs(1)).await;
        assert_eq!(app.probe.state("a"), Some("finished"), "{mode:?}");
        assert_eq!(app.handle.statistics().await.dropped, 1, "{mode:?}");
    }
}

/// Calls of 2026-07-28 cannot be resumed, so their streams cannot be closed early.
///
/// Acceptance 119, 138.
#[tokio::test(start_paused = true)]
async fn streams_cannot_be_closed_early() {
    for mode in MODES {
        let app = App::in_mode(mode);
        let close = json!({"before_ms": 1_000, "after_ms": 1_000, "retry_ms": 10});
        let text = app.call_tool("close", close).await.text().await;
        assert!(text.contains("closed false") && !text.contains("retry"), "{mode:?}: {text}");
    }
}

/// `Accept` and `Content-Type` are checked by the same rules as in sessions.
///
/// Acceptance 61, 62, 63, 64, 66.
#[tokio::test(start_paused = true)]
async fn media_types_are_checked_as_in_sessions() {
    let (open, json_only) = (App::new(), App::in_mode(ResponseMode::Json));
    let echo = || modern_call("echo", json!({"message": "x"}));
    let rows: [(&[&str], bool, bool); 9] = [
        (&[], true, true),
        (&["application/json, text/event-stream"], true, true),
        (&["application/json", "text/event-stream"], true, true),
        (&["*/*"], true, true),
        (&["application/*;q=0.5, text/*"], true, true),
        (&["application/json"], false, true),
        (&["application/json, text/event-stream;q=0"], false, true),
        (&["text/event-stream"], false, false),
        (&["text/html"], false, false),
    ];
    for (values, in_auto, in_json) in rows {
        for (app, served) in [(&open, in_auto), (&json_only, in_json)] {
            let request =
                values.iter().fold(echo().without("accept"), |request, value| request.and_header("accept", value));
            let expected = if served { seen(200, 0, Some("1")) } else { seen(406, -32600, None) };
            assert_eq!(sent(app, request).await, expected, "{values:?}");
        }
    }
    for (kind, served) in [
        ("application/json", true),
        ("Application/JSON; charset=utf-8", true),
        ("application/json; charset=utf-16", false),
        ("text/plain", false),
        ("application/json, application/json", false),
    ] {
        let expected = if served { seen(200, 0, Some("1")) } else { seen(415, -32600, None) };
        assert_eq!(sent(&open, echo().header("content-type", kind)).await, expected, "{kind}");
    }
    assert_eq!(sent(&open, echo().without("content-type")).await, seen(415, -32600, None));
    assert_eq!(sent(&open, echo().header("content-encoding", "gzip")).await, seen(415, -32600, None));
}

/// A request is served whatever the type of its body is, for example after a layer has read it.
///
/// Acceptance 82.
#[tokio::test(start_paused = true)]
async fn other_body_types_are_accepted() {
    let (mcp, _probe) = service();
    let message = envelope("server/discover", json!({})).to_string();
    let request = modern("server/discover", json!({})).map(|_| Full::new(Bytes::from(message)));
    let answer = mcp.build().unwrap().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let answer: Value = serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap();
    assert_eq!(answer["result"]["resultType"], "complete");
}

/// The response to another method lists the methods that are served in `Allow`.
///
/// Acceptance 78, 168.
#[tokio::test(start_paused = true)]
async fn other_methods_get_405_with_allow() {
    let app = App::new();
    for method in ["HEAD", "OPTIONS", "PUT", "PATCH", "TRACE", "post"] {
        let method: Method = method.parse().unwrap();
        let mut request = modern("tools/list", json!({}));
        *request.method_mut() = method.clone();
        let reply = app.send(request).await;
        assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, Some("GET, POST, DELETE")), "{method}");
    }
    let statistics = app.handle.statistics().await;
    assert_eq!((statistics.opened, statistics.rejected["method_not_allowed"]), (0, 6));
}

/// A JSON answer carries `Content-Length`, and a stream ends with its last chunk. The connection
/// can then be used again.
///
/// Acceptance 168.
#[tokio::test]
async fn json_answers_carry_their_length_and_streams_end() {
    let served = Served::new().await;
    let quiet = Duration::from_millis(300);
    let mut stream = served.connect().await;
    for message in [
        envelope("tools/list", json!({})),
        envelope("tools/call", json!({"name": "echo", "arguments": {"message": "世界"}})),
        envelope("tools/call", json!({"name": "nobody"})),
        envelope("no/such", json!({})),
        envelope("tools/list", json!({"_meta": {"io.modelcontextprotocol/clientCapabilities": 7}})),
    ] {
        let answer = exchange(&mut stream, served.modern_post(&message).as_bytes(), quiet).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        assert_eq!(length.and_then(|length| length.parse().ok()), Some(body.len()), "{answer}");
        assert!(!head.contains("transfer-encoding") && !head.contains("mcp-session-id"), "{head}");
    }
    let steps = json!({"name": "progress", "arguments": {"steps": 2}, "_meta": {"progressToken": 1}});
    let answer = exchange(&mut stream, served.modern_post(&envelope("tools/call", steps)).as_bytes(), quiet).await;
    assert!(answer.contains("transfer-encoding: chunked") && answer.ends_with("\r\n0\r\n\r\n"), "{answer}");
    // The connection stays open, and a request of the other era is served on it.
    let opening = served.post(None, &crate::support::initialize("2025-11-25", json!({})).to_string());
    let answer = exchange(&mut stream, opening.as_bytes(), quiet).await;
    assert!(answer.contains("mcp-session-id: "), "{answer}");
}

/// An accepted notification is answered without a body.
///
/// Acceptance 74.
#[tokio::test(start_paused = true)]
async fn accepted_notifications_have_no_body() {
    let app = App::new();
    let note = json!({"jsonrpc": "2.0", "method": "notifications/a"});
    let reply = app.send(request(Method::POST).header("mcp-protocol-version", MODERN).message(note)).await;
    assert_eq!((reply.status.as_u16(), reply.header("content-type")), (202, None));
    assert_eq!((reply.header("content-length"), reply.headers.len()), (Some("0"), 1));
    assert_eq!(reply.text().await, "");
    let text = mirrored(envelope("server/discover", json!({})));
    assert_eq!(app.send(text).await.header("content-type"), Some("application/json"));
}
