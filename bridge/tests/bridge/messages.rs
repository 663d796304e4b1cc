//! Messages: what each side sends arrives unchanged, at the right call or stream.

use serde_json::{Value, json};

use crate::support::{
    Bridge, final_message, last_started_pid, next_event, read_response, response_started, signal, text, tools_call,
    wait_for,
};

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("{text}"))
}

#[test]
fn initialize_passes_unchanged_in_both_directions() {
    let bridge = Bridge::start(&[], &[]);
    let body = r#"{"jsonrpc":"2.0","id":"one","method":"initialize","params":{"protocolVersion":"2025-06-18",
        "capabilities":{"tasks":{"list":{}},"roots":{"listChanged":true}},"clientInfo":{"name":"t","version":"1","icons":[]},"_meta":{"x":1}}}"#;
    let (status, head, answer) = bridge.request("POST /mcp HTTP/1.1\r\nX-Test: 1", body);
    assert_eq!(status, 200);
    assert_eq!(
        answer,
        r#"{"jsonrpc":"2.0","id":"one","result":{ "protocolVersion":"2025-06-18", "capabilities":{"tools" : {"listChanged":true},"logging":{},"resources":{"subscribe":true},"experimental":{"a":1.50}},"serverInfo":{"name":"test-server","version":"1","icons":[]},"instructions":"Use with care." }}"#
    );
    let id = head.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).unwrap().trim();
    let head = format!("POST /mcp HTTP/1.1\r\nMcp-Session-Id: {id}");
    let received = format!(r#"{{"jsonrpc":"2.0",{}}}"#, tools_call("1", "received", "{}", "{}"));
    let (_, _, answer) = bridge.request(&head, &received);
    let received: Vec<(String, Value)> = serde_json::from_str(&text(&final_message(&answer))).unwrap();
    let wanted = value(body)["params"].clone();
    assert_eq!(received, [("initialize".to_owned(), wanted)]);
}

#[test]
fn a_process_may_negotiate_an_older_revision() {
    let bridge = Bridge::start(&[], &["version=2025-03-26"]);
    let (_, head, body) = bridge.initialize();
    assert!(body.contains(r#""protocolVersion":"2025-03-26""#), "{body}");
    let id = head.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).unwrap().trim();
    let head = format!("POST /mcp HTTP/1.1\r\nMcp-Session-Id: {id}\r\nMCP-Protocol-Version: 2025-03-26");
    // Only this revision has batches.
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"tools/list"}]"#;
    let (status, _, body) = bridge.request(&head, batch);
    assert_eq!(status, 200, "{body}");
    assert!(body.contains(r#"{"did": "ping"}"#) && body.contains(r#"{"did": "tools/list"}"#), "{body}");
}

#[test]
fn results_and_errors_pass_byte_for_byte() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let answer = final_message(&read_response(session.send_call(r#""a""#, "exact", "{}")).2);
    assert_eq!(
        answer,
        r#"{"jsonrpc":"2.0","id":"a","result":{ "content" : [ ] ,"n":1.50,"big":12345678901234567890}}"#
    );
    let answer = final_message(&read_response(session.send_call("9007199254740993", "fail", "{}")).2);
    assert_eq!(
        answer,
        r#"{"jsonrpc":"2.0","id":9007199254740993,"error":{"code":-7,"message":"no","data":{ "x" : 1.0 }}}"#
    );
    assert_eq!(
        final_message(&read_response(session.send_call("2", "empty_response", "{}")).2),
        r#"{"jsonrpc":"2.0","id":2,"error":{"code":-32603,"message":"The server answered with neither a result nor an error that can be read"}}"#
    );
}

#[test]
fn parameters_with_line_breaks_become_one_line() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let answer = session.text("echo", "{\n  \"text\"\r\n:\n \"a\\nb\"\n}");
    assert_eq!(answer, "a\nb");
}

#[test]
fn parameters_that_are_no_object_are_rejected() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let (_, _, answer) = read_response(session.send(r#""id":1,"method":"x","params":{"_meta":7}"#));
    assert!(answer.contains(r#""code":-32602"#), "{answer}");
    assert!(!session.received().iter().any(|(method, _)| method == "x"));
}

#[test]
fn equal_ids_get_their_own_answers() {
    let bridge = Bridge::start(&[], &[]);
    let (one, other) = (bridge.open(), bridge.open());
    let number = one.hold_call("7", "number", "{}");
    let string = one.hold_call(r#""7""#, "string", "{}");
    let elsewhere = other.hold_call("7", "elsewhere", "{}");
    assert_eq!(one.text("release", r#"{"these":["string","number"]}"#), "released");
    assert_eq!(other.text("release", r#"{"these":["elsewhere"]}"#), "released");
    for (response, id, was) in [(number, "7", "number"), (string, r#""7""#, "string"), (elsewhere, "7", "elsewhere")] {
        let answer = final_message(&read_response(response).2);
        assert_eq!(answer, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content": [], "was": "{was}"}}}}"#));
    }
}

#[test]
fn equal_progress_tokens_reach_their_own_calls() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let mut first = session.hold_call("10", "first", r#"{"progressToken":"t","x":1}"#);
    let mut second = session.hold_call("11", "second", r#"{"progressToken":"t"}"#);
    let sent = session.text("progress", r#"{"of":[["second",0.5],["first",1],["second",2]]}"#);
    assert_eq!(sent, "sent");
    let progress = |figure: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken": "t", "progress": {figure}}}}}"#
        )
    };
    assert_eq!(next_event(&mut first), progress("1"));
    assert_eq!(next_event(&mut second), progress("0.5"));
    assert_eq!(next_event(&mut second), progress("2"));
    session.text("release", r#"{"these":["first","second"]}"#);
    assert!(next_event(&mut first).contains(r#""was": "first""#));
    assert!(next_event(&mut second).contains(r#""was": "second""#));
}

#[test]
fn a_client_request_goes_into_the_only_call() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let _listening = session.open_stream();
    for (answer, wanted) in [
        (r#""result":{"role":"assistant"}"#, json!({"role": "assistant"})),
        (r#""error":{"code":-1,"message":"I will not"}"#, json!({"code": -1, "message": "I will not"})),
    ] {
        let mut call = session.send_call("1", "request_client", r#"{"id":"q","method":"sampling/createMessage"}"#);
        let request = value(&next_event(&mut call));
        assert_eq!(request["method"], "sampling/createMessage");
        assert_eq!(request["params"], json!({"message": "q"}));
        session.notify(&format!(r#""id":{},{answer}"#, request["id"]));
        assert_eq!(value(&text(&next_event(&mut call))), wanted);
    }
}

#[test]
fn client_requests_without_a_call_need_the_stream() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let ask = |id: &str, method: &str| {
        session
            .notify(&format!(r#""method":"notifications/send_request","params":{{"id":"{id}","method":"{method}"}}"#));
    };
    // The log is read instead of calling `received`, which would be a running call.
    let answered = |what: &str| wait_for(what, || bridge.log().contains(what).then_some(()));
    // Without a stream the request fails, and the bridge itself answers a ping.
    ask("early", "roots/list");
    answered("answered early -32000");
    ask("there", "ping");
    answered("answered there {}");

    let mut stream = session.open_stream();
    ask("later", "roots/list");
    let request = value(&next_event(&mut stream));
    assert_eq!(request["method"], "roots/list");
    session.notify(&format!(r#""id":{},"result":{{"roots":[]}}"#, request["id"]));
    answered("answered later {'roots': []}");
    // A method unknown to the bridge is forwarded, and the client rejects it.
    ask("odd", "no/such");
    let request = value(&next_event(&mut stream));
    assert_eq!(request["method"], "no/such");
    session.notify(&format!(r#""id":{},"error":{{"code":-32601,"message":"no"}}"#, request["id"]));
    answered("answered odd -32601");
}

#[test]
fn client_requests_of_several_calls_use_the_stream() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let _held = session.hold_call("5", "held", "{}");
    let mut call = session.send_call("6", "request_client", r#"{"id":"q","method":"roots/list"}"#);
    let request = value(&next_event(&mut call));
    session.notify(&format!(r#""id":{},"result":{{"roots":[1]}}"#, request["id"]));
    assert_eq!(text(&next_event(&mut call)), r#"{"roots": [1]}"#);

    let mut stream = session.open_stream();
    let call = session.send_call("7", "request_client", r#"{"id":"r","method":"roots/list"}"#);
    let request = value(&next_event(&mut stream));
    session.notify(&format!(r#""id":{},"result":{{"roots":[2]}}"#, request["id"]));
    assert_eq!(text(&final_message(&read_response(call).2)), r#"{"roots": [2]}"#);
}

#[test]
fn client_requests_are_cancelled_at_the_client() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let mut call = session.send_call("1", "request_client", r#"{"id":"q","method":"roots/list"}"#);
    let request = value(&next_event(&mut call));
    assert_eq!(request["method"], "roots/list");
    session.notify(r#""method":"notifications/cancel_request","params":{"id":"q"}"#);
    let cancelled = value(&next_event(&mut call));
    assert_eq!(cancelled["method"], "notifications/cancelled");
    assert_eq!(cancelled["params"]["requestId"], request["id"]);
    assert_eq!(text(&next_event(&mut call)), "cancelled");
    // The answer arrives after the cancellation, which is no error of the client.
    session.notify(&format!(r#""id":{},"result":{{"roots":[]}}"#, request["id"]));
    assert_eq!(session.text("echo", r#"{"text":"still here"}"#), "still here");
    assert!(!session.received().iter().any(|(what, _)| what == "answer"), "{:?}", session.received());
}

#[test]
fn changes_and_logs_go_to_their_streams() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let mut stream = session.open_stream();
    session.text("list_changed", "{}");
    assert_eq!(next_event(&mut stream), r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{}}"#);
    assert_eq!(
        next_event(&mut stream),
        r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri": "x://1"}}"#
    );
    let mut call = session.send_call("1", "log", "{}");
    assert_eq!(
        next_event(&mut call),
        r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level": "info", "data": "a line"}}"#
    );
    assert_eq!(text(&next_event(&mut call)), "logged");
    let _held = session.hold_call("5", "held", "{}");
    assert_eq!(session.text("log", "{}"), "logged");
    assert!(next_event(&mut stream).contains("a line"));
}

#[test]
fn calls_are_cancelled_by_their_new_id() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let held = session.hold_call(r#""mine""#, "held", "{}");
    session.notify(r#""method":"notifications/cancelled","params":{"requestId":"mine"}"#);
    assert!(!read_response(held).2.contains("result"));
    let cancelled = wait_for("the process receives the cancellation", || {
        session.received().into_iter().find(|(method, _)| method == "notifications/cancelled")
    });
    assert!(cancelled.1["requestId"].is_u64(), "{cancelled:?}");
    // Its answer comes after the cancellation and is dropped.
    assert_eq!(session.text("release", r#"{"these":["held"]}"#), "released");
    assert_eq!(session.text("echo", r#"{"text":"next"}"#), "next");
}

#[test]
fn client_notifications_arrive_in_order() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    session.notify(r#""method":"notifications/roots/list_changed""#);
    session.notify(r#""method":"notifications/progress","params":{"progressToken":"q","progress":1}"#);
    let received: Vec<String> = session.received().into_iter().map(|(method, _)| method).collect();
    assert_eq!(
        received,
        ["initialize", "notifications/initialized", "notifications/roots/list_changed", "notifications/progress"]
    );
}

#[test]
fn notifications_to_a_busy_process_all_arrive() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    assert_eq!(session.text("echo", r#"{"text":"ready"}"#), "ready");
    signal(last_started_pid(&bridge), "STOP");
    // More than the pipe and the queue take.
    let large = format!(r#"{{"text":"{}"}}"#, "x".repeat(100_000));
    let calls: Vec<_> = (10..22).map(|id| session.send_call(&id.to_string(), "echo", &large)).collect();
    let calls: Vec<_> = calls.into_iter().map(response_started).collect();
    for n in 0..30 {
        session.notify(&format!(r#""method":"notifications/x","params":{{"n":{n}}}"#));
    }
    signal(last_started_pid(&bridge), "CONT");
    for call in calls {
        drop(call);
    }
    let received = wait_for("the process receives everything", || {
        let received = session.received().into_iter().filter(|(method, _)| method == "notifications/x");
        Some(received.map(|(_, params)| params["n"].clone()).collect::<Vec<_>>())
            .filter(|received| received.len() == 30)
    });
    assert_eq!(received, (0..30).map(Value::from).collect::<Vec<_>>());
}
