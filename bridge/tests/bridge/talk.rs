//! What is said on one side arrives on the other, and where it belongs.

use serde_json::{Value, json};

use crate::support::{Bridge, all, event, last, signal, soon, started, text, tools_call, under_way};

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("{text}"))
}

#[test]
fn initialize_passes_in_both_directions_as_it_was_written() {
    let bridge = Bridge::start(&[], &[]);
    let body = r#"{"jsonrpc":"2.0","id":"one","method":"initialize","params":{"protocolVersion":"2025-06-18",
        "capabilities":{"tasks":{"list":{}},"roots":{"listChanged":true}},"clientInfo":{"name":"t","version":"1","icons":[]},"_meta":{"x":1}}}"#;
    let (status, head, answer) = bridge.all("POST /mcp HTTP/1.1\r\nX-Test: 1", body);
    assert_eq!(status, 200);
    assert_eq!(
        answer,
        r#"{"jsonrpc":"2.0","id":"one","result":{ "protocolVersion":"2025-06-18", "capabilities":{"tools" : {"listChanged":true},"logging":{},"resources":{"subscribe":true},"experimental":{"a":1.50}},"serverInfo":{"name":"child","version":"1","icons":[]},"instructions":"Mind the child." }}"#
    );
    let id = head.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).unwrap().trim();
    let head = format!("POST /mcp HTTP/1.1\r\nMcp-Session-Id: {id}");
    let heard = format!(r#"{{"jsonrpc":"2.0",{}}}"#, tools_call("1", "heard", "{}", "{}"));
    let (_, _, answer) = bridge.all(&head, &heard);
    let heard: Vec<(String, Value)> = serde_json::from_str(&text(&last(&answer))).unwrap();
    let wanted = value(body)["params"].clone();
    assert_eq!(heard, [("initialize".to_owned(), wanted)]);
}

#[test]
fn a_child_may_agree_to_an_older_revision_and_the_session_speaks_it() {
    let bridge = Bridge::start(&[], &["version=2025-03-26"]);
    let (_, head, body) = bridge.initialize();
    assert!(body.contains(r#""protocolVersion":"2025-03-26""#), "{body}");
    let id = head.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).unwrap().trim();
    let head = format!("POST /mcp HTTP/1.1\r\nMcp-Session-Id: {id}\r\nMCP-Protocol-Version: 2025-03-26");
    // Only that revision has batches.
    let batch = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"tools/list"}]"#;
    let (status, _, body) = bridge.all(&head, batch);
    assert_eq!(status, 200, "{body}");
    assert!(body.contains(r#"{"did": "ping"}"#) && body.contains(r#"{"did": "tools/list"}"#), "{body}");
}

#[test]
fn results_and_errors_come_back_as_the_child_wrote_them() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let answer = last(&all(session.begin(r#""a""#, "exact", "{}")).2);
    assert_eq!(
        answer,
        r#"{"jsonrpc":"2.0","id":"a","result":{ "content" : [ ] ,"n":1.50,"big":12345678901234567890}}"#
    );
    let answer = last(&all(session.begin("9007199254740993", "fail", "{}")).2);
    assert_eq!(
        answer,
        r#"{"jsonrpc":"2.0","id":9007199254740993,"error":{"code":-7,"message":"no","data":{ "x" : 1.0 }}}"#
    );
    assert_eq!(
        last(&all(session.begin("2", "hollow", "{}")).2),
        r#"{"jsonrpc":"2.0","id":2,"error":{"code":-32603,"message":"The server answered with neither a result nor an error that can be read"}}"#
    );
}

#[test]
fn parameters_over_several_lines_are_one_line_to_the_child() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let answer = session.text("echo", "{\n  \"text\"\r\n:\n \"a\\nb\"\n}");
    assert_eq!(answer, "a\nb");
}

#[test]
fn parameters_that_are_no_object_are_refused_and_never_reach_the_child() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let (_, _, answer) = all(session.send(r#""id":1,"method":"x","params":{"_meta":7}"#));
    assert!(answer.contains(r#""code":-32602"#), "{answer}");
    assert!(!session.heard().iter().any(|(method, _)| method == "x"));
}

#[test]
fn calls_whose_ids_look_alike_get_each_its_own_answer_in_any_order() {
    let bridge = Bridge::start(&[], &[]);
    let (one, other) = (bridge.open(), bridge.open());
    let number = one.hold("7", "number", "{}");
    let string = one.hold(r#""7""#, "string", "{}");
    let elsewhere = other.hold("7", "elsewhere", "{}");
    assert_eq!(one.text("release", r#"{"these":["string","number"]}"#), "released");
    assert_eq!(other.text("release", r#"{"these":["elsewhere"]}"#), "released");
    for (response, id, was) in [(number, "7", "number"), (string, r#""7""#, "string"), (elsewhere, "7", "elsewhere")] {
        let answer = last(&all(response).2);
        assert_eq!(answer, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content": [], "was": "{was}"}}}}"#));
    }
}

#[test]
fn progress_goes_to_the_call_that_asked_for_it_although_tokens_are_the_same() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let mut first = session.hold("10", "first", r#"{"progressToken":"t","x":1}"#);
    let mut second = session.hold("11", "second", r#"{"progressToken":"t"}"#);
    let told = session.text("progress", r#"{"of":[["second",0.5],["first",1],["second",2]]}"#);
    assert_eq!(told, "told");
    let progress = |figure: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken": "t", "progress": {figure}}}}}"#
        )
    };
    assert_eq!(event(&mut first), progress("1"));
    assert_eq!(event(&mut second), progress("0.5"));
    assert_eq!(event(&mut second), progress("2"));
    session.text("release", r#"{"these":["first","second"]}"#);
    assert!(event(&mut first).contains(r#""was": "first""#));
    assert!(event(&mut second).contains(r#""was": "second""#));
}

#[test]
fn a_question_goes_in_the_one_call_that_runs_and_its_answer_to_the_child() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let _listening = session.listen();
    for (answer, wanted) in [
        (r#""result":{"role":"assistant"}"#, json!({"role": "assistant"})),
        (r#""error":{"code":-1,"message":"I will not"}"#, json!({"code": -1, "message": "I will not"})),
    ] {
        let mut call = session.begin("1", "ask", r#"{"id":"q","method":"sampling/createMessage"}"#);
        let question = value(&event(&mut call));
        assert_eq!(question["method"], "sampling/createMessage");
        assert_eq!(question["params"], json!({"message": "q"}));
        session.notify(&format!(r#""id":{},{answer}"#, question["id"]));
        assert_eq!(value(&text(&event(&mut call))), wanted);
    }
}

#[test]
fn a_question_outside_of_calls_goes_on_the_standalone_stream_or_fails() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let ask = |id: &str, method: &str| {
        session.notify(&format!(r#""method":"notifications/ask","params":{{"id":"{id}","method":"{method}"}}"#));
    };
    // A call to look at what it heard would be a call that runs.
    let answered = |what: &str| soon(what, || bridge.log().contains(what).then_some(()));
    // Nobody listens: the child hears that, and to its ping that there is somebody.
    ask("early", "roots/list");
    answered("answered early -32000");
    ask("there", "ping");
    answered("answered there {}");

    let mut listening = session.listen();
    ask("later", "roots/list");
    let question = value(&event(&mut listening));
    assert_eq!(question["method"], "roots/list");
    session.notify(&format!(r#""id":{},"result":{{"roots":[]}}"#, question["id"]));
    answered("answered later {'roots': []}");
    // What the bridge has never heard of is the client's to refuse.
    ask("odd", "no/such");
    let question = value(&event(&mut listening));
    assert_eq!(question["method"], "no/such");
    session.notify(&format!(r#""id":{},"error":{{"code":-32601,"message":"no"}}"#, question["id"]));
    answered("answered odd -32601");
}

#[test]
fn a_question_while_several_calls_run_goes_on_the_standalone_stream_or_in_the_newest() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let _held = session.hold("5", "held", "{}");
    let mut call = session.begin("6", "ask", r#"{"id":"q","method":"roots/list"}"#);
    let question = value(&event(&mut call));
    session.notify(&format!(r#""id":{},"result":{{"roots":[1]}}"#, question["id"]));
    assert_eq!(text(&event(&mut call)), r#"{"roots": [1]}"#);

    let mut listening = session.listen();
    let call = session.begin("7", "ask", r#"{"id":"r","method":"roots/list"}"#);
    let question = value(&event(&mut listening));
    session.notify(&format!(r#""id":{},"result":{{"roots":[2]}}"#, question["id"]));
    assert_eq!(text(&last(&all(call).2)), r#"{"roots": [2]}"#);
}

#[test]
fn a_question_that_the_child_takes_back_is_taken_back_from_the_client() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let mut call = session.begin("1", "ask", r#"{"id":"q","method":"roots/list"}"#);
    let question = value(&event(&mut call));
    assert_eq!(question["method"], "roots/list");
    session.notify(r#""method":"notifications/regret","params":{"id":"q"}"#);
    let cancelled = value(&event(&mut call));
    assert_eq!(cancelled["method"], "notifications/cancelled");
    assert_eq!(cancelled["params"]["requestId"], question["id"]);
    assert_eq!(text(&event(&mut call)), "never mind");
    // Too late, and no fault of the client's.
    session.notify(&format!(r#""id":{},"result":{{"roots":[]}}"#, question["id"]));
    assert_eq!(session.text("echo", r#"{"text":"still here"}"#), "still here");
    assert!(!session.heard().iter().any(|(what, _)| what == "answer"), "{:?}", session.heard());
}

#[test]
fn news_goes_on_the_standalone_stream_and_a_log_message_in_the_one_call() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let mut listening = session.listen();
    session.text("news", "{}");
    assert_eq!(event(&mut listening), r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{}}"#);
    assert_eq!(
        event(&mut listening),
        r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri": "x://1"}}"#
    );
    let mut call = session.begin("1", "log", "{}");
    assert_eq!(
        event(&mut call),
        r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level": "info", "data": "a word"}}"#
    );
    assert_eq!(text(&event(&mut call)), "logged");
    let _held = session.hold("5", "held", "{}");
    assert_eq!(session.text("log", "{}"), "logged");
    assert!(event(&mut listening).contains("a word"));
}

#[test]
fn a_cancelled_call_is_cancelled_for_the_child_under_its_own_number() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    let held = session.hold(r#""mine""#, "held", "{}");
    session.notify(r#""method":"notifications/cancelled","params":{"requestId":"mine"}"#);
    assert!(!all(held).2.contains("result"));
    let cancelled = soon("the child hears of it", || {
        session.heard().into_iter().find(|(method, _)| method == "notifications/cancelled")
    });
    assert!(cancelled.1["requestId"].is_u64(), "{cancelled:?}");
    // Its answer comes too late for anybody.
    assert_eq!(session.text("release", r#"{"these":["held"]}"#), "released");
    assert_eq!(session.text("echo", r#"{"text":"next"}"#), "next");
}

#[test]
fn notifications_of_the_client_reach_the_child_in_order() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    session.notify(r#""method":"notifications/roots/list_changed""#);
    session.notify(r#""method":"notifications/progress","params":{"progressToken":"q","progress":1}"#);
    let heard: Vec<String> = session.heard().into_iter().map(|(method, _)| method).collect();
    assert_eq!(
        heard,
        ["initialize", "notifications/initialized", "notifications/roots/list_changed", "notifications/progress"]
    );
}

#[test]
fn notifications_that_come_while_the_child_is_busy_reach_it_all() {
    let bridge = Bridge::start(&[], &[]);
    let session = bridge.open();
    assert_eq!(session.text("echo", r#"{"text":"ready"}"#), "ready");
    signal(started(&bridge), "STOP");
    // More than its pipe takes, and than may wait besides.
    let large = format!(r#"{{"text":"{}"}}"#, "x".repeat(100_000));
    let calls: Vec<_> = (10..22).map(|id| session.begin(&id.to_string(), "echo", &large)).collect();
    let calls: Vec<_> = calls.into_iter().map(under_way).collect();
    for n in 0..30 {
        session.notify(&format!(r#""method":"notifications/x","params":{{"n":{n}}}"#));
    }
    signal(started(&bridge), "CONT");
    for call in calls {
        drop(call);
    }
    let heard = soon("the child hears of everything", || {
        let heard = session.heard().into_iter().filter(|(method, _)| method == "notifications/x");
        Some(heard.map(|(_, params)| params["n"].clone()).collect::<Vec<_>>()).filter(|heard| heard.len() == 30)
    });
    assert_eq!(heard, (0..30).map(Value::from).collect::<Vec<_>>());
}
