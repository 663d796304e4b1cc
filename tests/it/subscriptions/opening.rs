//! Opening a subscription: filters, acknowledgements and rejections.

use std::sync::Arc;
use std::time::Duration;

use mcp_http::server::Tool;
use mcp_http::{Limits, McpServer, McpService, ResponseMode, Sessions, Streams};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{ALL, EVERYTHING, Foreign, acknowledged, bytes, listen, listening, listens, method, opened, worded};
use crate::support::{App, RequestExt};
use crate::table::{seen, sent};

/// The subscription id is the request's id as the client wrote it, for numbers and strings of any
/// form.
///
/// Acceptance 138, 142.
#[tokio::test(start_paused = true)]
async fn every_message_carries_the_subscription_id() {
    let app = App::new();
    for id in ["1", r#""listen-1""#, "9007199254740993", "123456789012345678901234567890", r#""\u00e9\"\n\/""#, "-1"] {
        let reply = app.send(listening(id, ALL)).await;
        assert_eq!(reply.header("cache-control"), Some("no-cache, no-transform"));
        assert_eq!((reply.header("x-accel-buffering"), reply.header("mcp-session-id")), (Some("no"), None));
        let mut stream = opened(reply);
        app.handle.resources_changed();
        app.handle.tools_changed();
        app.handle.prompts_changed();
        app.handle.resource_updated("test://b");
        let meta = format!(r#""_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}}"#);
        let expected = [
            format!(r#""notifications/subscriptions/acknowledged","params":{{{meta},"notifications":{ALL}}}"#),
            format!(r#""notifications/resources/list_changed","params":{{{meta}}}"#),
            format!(r#""notifications/tools/list_changed","params":{{{meta}}}"#),
            format!(r#""notifications/prompts/list_changed","params":{{{meta}}}"#),
            format!(r#""notifications/resources/updated","params":{{{meta},"uri":"test://b"}}"#),
        ];
        for expected in &expected {
            assert_eq!(bytes(&mut stream).await, format!(r#"{{"jsonrpc":"2.0","method":{expected}}}"#));
        }
        assert!(stream.is_silent().await);
        let start = format!("event: message\ndata: {{\"jsonrpc\":\"2.0\",\"method\":{}}}", expected[0]);
        assert!(stream.chunks[0].starts_with(&format!("{start}\n\n")), "{:?}", stream.chunks);
    }
}

/// A filter with `taskIds` is rejected with -32021 unless the client declares the tasks extension.
///
/// Acceptance 187.
#[tokio::test(start_paused = true)]
async fn task_ids_need_the_tasks_extension() {
    let app = App::new();
    let asked = |capabilities: Value, notifications: Value| {
        let meta = json!({"io.modelcontextprotocol/clientCapabilities": capabilities});
        app.request("subscriptions/listen", json!({"notifications": notifications, "_meta": meta}))
    };
    let tasks = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
    for (capabilities, notifications) in [
        (json!({}), json!({"taskIds": ["a"]})),
        (json!({}), json!({"taskIds": [], "toolsListChanged": true})),
        (json!({"extensions": {"other": {}}}), json!({"taskIds": ["a"]})),
    ] {
        let reply = asked(capabilities, notifications).await;
        assert_eq!(reply.status, 400);
        let error = reply.json().await["error"].clone();
        assert_eq!((&error["code"], &error["data"]), (&json!(-32021), &json!({"requiredCapabilities": tasks})));
    }
    assert_eq!(listens(&app).await, 0);
    for (capabilities, notifications) in [(tasks, json!({"taskIds": ["a"]})), (json!({}), json!({"taskIds": null}))] {
        opened(asked(capabilities, notifications).await);
    }
}

/// The acknowledgement and the notifications are limited to the server's capabilities.
///
/// Acceptance 143.
#[tokio::test(start_paused = true)]
async fn subscriptions_are_limited_to_the_capabilities() {
    for (capabilities, honoured, told) in [
        ("{}", "{}", vec![]),
        (r#"{"tools":{"listChanged":true},"prompts":{}}"#, r#"{"toolsListChanged":true}"#, vec!["tools"]),
        (r#"{"prompts":{"listChanged":true}}"#, r#"{"promptsListChanged":true}"#, vec!["prompts"]),
        (r#"{"resources":{"listChanged":true}}"#, r#"{"resourcesListChanged":true}"#, vec!["resources"]),
        (
            r#"{"resources":{"subscribe":true}}"#,
            r#"{"resourceSubscriptions":["test://a","test://b"]}"#,
            vec!["resources/updated test://a"],
        ),
    ] {
        let app = Foreign::new(capabilities).app(|service| service);
        let mut stream = listen(&app, ALL).await;
        let acknowledgement = bytes(&mut stream).await;
        assert!(acknowledgement.ends_with(&format!(r#""notifications":{honoured}}}}}"#)), "{acknowledgement}");
        app.handle.tools_changed();
        app.handle.prompts_changed();
        app.handle.resources_changed();
        app.handle.resource_updated("test://a");
        for told in told {
            assert_eq!(method(&mut stream).await, told);
        }
        assert!(stream.is_silent().await, "{capabilities}");
    }
}

/// A typed server acknowledges the lists that it has, or may have later.
///
/// Acceptance 143.
#[tokio::test(start_paused = true)]
async fn typed_servers_acknowledge_their_lists() {
    let app = App::of(McpService::builder(McpServer::new("a", "1").tool("t", "T.", async || "t")));
    let mut stream = listen(&app, ALL).await;
    assert!(bytes(&mut stream).await.ends_with(r#""notifications":{"toolsListChanged":true}}}"#));
    // With a catalog, the server may get all of them later.
    let server: McpServer = McpServer::new("a", "1");
    let catalog = server.catalog();
    let app = App::of(McpService::builder(server));
    let mut stream = listen(&app, ALL).await;
    assert!(bytes(&mut stream).await.ends_with(&format!(r#""notifications":{ALL}}}}}"#)));
    catalog.insert_tool(Tool::new("hello", "Says hello.", async || "hello")).unwrap();
    assert_eq!(method(&mut stream).await, "tools");
    assert!(catalog.remove_tool("hello") && !catalog.remove_tool("hello"));
    assert_eq!(method(&mut stream).await, "tools");
    assert!(stream.is_silent().await);
}

/// An empty filter is valid. The stream carries comments only.
///
/// Acceptance 99, 143.
#[tokio::test(start_paused = true)]
async fn empty_filters_are_valid() {
    let app = App::new();
    for filter in ["{}", r#"{"toolsListChanged":false,"resourceSubscriptions":[]}"#, r#"{"toolsListChanged":null}"#] {
        let mut stream = listen(&app, filter).await;
        assert!(bytes(&mut stream).await.ends_with(r#","notifications":{}}}"#));
        assert!(stream.is_silent().await);
        for _ in 0..240 {
            assert!(stream.next_any().await.unwrap().comment, "an hour of comments");
        }
        assert_eq!(listens(&app).await, 1);
    }
}

/// Invalid and oversized filters are rejected with -32602, and use no capacity.
///
/// Acceptance 143.
#[tokio::test(start_paused = true)]
async fn invalid_filters_are_rejected_and_use_nothing() {
    let app = App::with(|service| service.limits(Limits::new().max_listen_streams(1)));
    let many = |count: usize| json!({"resourceSubscriptions": vec!["a:b"; count]}).to_string();
    let (too_many, too_long) =
        (many(Limits::MAX_LISTEN_RESOURCES + 1), format!(r#"["{}"]"#, "x".repeat(Limits::MAX_LISTEN_BYTES)));
    let too_long = format!(r#"{{"resourceSubscriptions":{too_long}}}"#);
    for malformed in [
        "null",
        "[]",
        "[true]",
        "1",
        "\"tools\"",
        "true",
        r#"{"toolsListChanged":1}"#,
        r#"{"promptsListChanged":"true"}"#,
        r#"{"resourcesListChanged":{}}"#,
        r#"{"resourceSubscriptions":"a:b"}"#,
        r#"{"resourceSubscriptions":{"a":"b"}}"#,
        r#"{"resourceSubscriptions":[1]}"#,
        r#"{"resourceSubscriptions":["a:b",null]}"#,
        r#"{"toolsListChanged":true,"toolsListChanged":true}"#,
        &too_many,
        &too_long,
    ] {
        assert_eq!(sent(&app, listening("5", malformed)).await, seen(400, -32602, Some("5")), "{malformed:.200}");
    }
    for params in ["{}", r#"{"notification":{}}"#, r#"{"notifications":{},"notifications":{}}"#] {
        let row = seen(400, -32602, Some("5"));
        assert_eq!(sent(&app, worded("5", "subscriptions/listen", params)).await, row, "{params}");
    }
    assert_eq!(listens(&app).await, 0);
    assert_eq!(app.handle.statistics().await.rejected["invalid_params"], 19);
    acknowledged(&app, &many(Limits::MAX_LISTEN_RESOURCES)).await;
}

/// Any JSON as a filter, or as one of its members, is either acknowledged or rejected, and leaves
/// nothing behind.
///
/// Acceptance 143.
#[test]
fn any_filter_is_acknowledged_or_rejected() {
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};

    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(3, 24, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((".{0,8}", inner), 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    const NAMES: [&str; 5] =
        ["toolsListChanged", "promptsListChanged", "resourcesListChanged", "resourceSubscriptions", "other"];
    let members = prop::collection::vec((prop::sample::select(NAMES.as_slice()), value.clone()), 0..5);
    let filters =
        members.prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    let filters = prop_oneof![value, filters.prop_map(Value::Object)];

    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let app = App::new();
    let mut runner = TestRunner::new(Config { cases: 500, failure_persistence: None, ..Config::default() });
    let check = |filter: Value| {
        runtime.block_on(async {
            let reply = app.send(listening("3", &filter.to_string())).await;
            if reply.status == 200 {
                let acknowledgement = opened(reply).next().await.unwrap().json();
                let honoured = acknowledgement["params"]["notifications"].as_object().unwrap();
                for (name, value) in honoured {
                    match value.as_array() {
                        // Each URI appears once, and only URIs of the filter appear.
                        Some(uris) => assert!(uris.iter().all(|uri| filter[name].as_array().unwrap().contains(uri))),
                        None => assert_eq!((value, &filter[name]), (&json!(true), &json!(true))),
                    }
                }
            } else {
                assert_eq!((reply.status.as_u16(), reply.error().await), (400, (-32602, Some(json!(3)))));
            }
            assert_eq!(listens(&app).await, 0);
        });
        Ok(())
    };
    runner.run(&filters, check).unwrap();
}

/// The acknowledgement is the first message, and no change is lost in the meantime.
///
/// Acceptance 145.
#[tokio::test(start_paused = true)]
async fn changes_before_the_acknowledgement_follow_it() {
    let gate = Arc::new(Notify::new());
    let server = Foreign::new(EVERYTHING).behind(&gate);
    let app = server.app(|service| service);
    let request = tokio::spawn({
        let app = app.clone();
        async move { opened(app.send(listening("1", ALL)).await) }
    });
    server.asked.notified().await;
    app.handle.resource_updated("test://b");
    app.handle.tools_changed();
    app.handle.resource_updated("test://b");
    gate.notify_one();
    let mut stream = request.await.unwrap();
    // The acknowledgement is sent, but the client has not read it yet.
    app.handle.prompts_changed();
    app.handle.tools_changed();
    for expected in ["acknowledged", "resources/updated test://b", "tools", "prompts"] {
        assert_eq!(method(&mut stream).await, expected);
    }
    assert!(stream.is_silent().await);
}

/// A client that accepts only JSON gets status 406.
///
/// Acceptance 64, 147.
#[tokio::test(start_paused = true)]
async fn subscriptions_stream_in_every_mode() {
    for mode in [ResponseMode::Auto, ResponseMode::Sse, ResponseMode::Json] {
        for stateless in [false, true] {
            let app = App::with(|service| {
                let service = service.sessions(Sessions::new().stateless(stateless));
                service.streams(Streams::new().response_mode(mode))
            });
            let mut stream = acknowledged(&app, ALL).await;
            app.handle.prompts_changed();
            assert_eq!(method(&mut stream).await, "prompts");
            let json_only = app.send(listening("1", ALL).header("accept", "application/json")).await;
            assert_eq!(json_only.status, 406, "{mode:?}");
            assert_eq!(json_only.error().await.0, -32600);
            let anything = app.send(listening("1", ALL).without("accept")).await;
            assert!(anything.is_sse());
            assert_eq!(listens(&app).await, 2);
        }
    }
}

/// `server/discover` fails or panics, so the subscription is rejected and nothing remains of it.
///
/// Acceptance 83, 144, 169.
#[tokio::test(start_paused = true)]
async fn failed_discovery_rejects_the_subscription() {
    for (says, status, code, message) in [
        ("panic", 200, -32603, "Internal error"),
        ("error", 200, -32050, "not today"),
        ("none", 404, -32601, "Method not found: subscriptions/listen"),
    ] {
        for mode in [ResponseMode::Auto, ResponseMode::Json, ResponseMode::Sse] {
            let streams = Streams::new().response_mode(mode);
            let app = Foreign::new(says).app(|service| service.streams(streams));
            let reply = app.send(listening("1", ALL)).await;
            assert_eq!(reply.status, status, "{says}");
            let expected = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": code, "message": message}});
            assert_eq!(reply.message().await, expected);
            assert_eq!(listens(&app).await, 0);
            assert_eq!(app.handle.drain(Duration::ZERO).await.calls, 0);
        }
    }
}
