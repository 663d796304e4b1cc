//! Headers that mirror the body: a request is rejected if they differ, because a gateway may have
//! routed it by them.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request};
use mcp_http::server::Tool;
use mcp_http::{Args, McpServer, ResponseMode};
use proptest::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::support::{
    App, MODERN, RequestExt, call, encoded, envelope, mirrored, modern, modern_call, request, text_of,
};
use crate::table::{Seen, read, seen, sent};

const MISMATCH: fn() -> Seen = || seen(400, -32020, Some("1"));

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Route {
    region: Option<String>,
    count: Option<i64>,
    dry: Option<bool>,
    deep: Option<Deep>,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct Deep {
    zone: Option<String>,
}

/// Adds a tool `route` that mirrors its arguments in headers, and returns the arguments it
/// received.
fn routed(server: McpServer) -> McpServer {
    let schema = json!({"type": "object", "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "count": {"type": ["integer", "null"], "x-mcp-header": "Count"},
        "dry": {"type": "boolean", "x-mcp-header": "Dry-Run"},
        "deep": {"type": "object", "properties": {"zone": {"type": "string", "x-mcp-header": "zone"}}},
    }});
    let route = |Args(args): Args<Route>| async move { serde_json::to_string(&args).unwrap() };
    server.with_tool(Tool::new("route", "Says where to.", route).input_schema(schema))
}

fn app() -> App {
    App::serving(routed, |service| service)
}

/// Returns a call of `route` with these headers.
fn route(arguments: Value, headers: &[(&str, &str)]) -> Request<Body> {
    let call = modern_call("route", arguments);
    headers.iter().fold(call, |request, (name, value)| request.header(name, value))
}

/// `Mcp-Method` and `Mcp-Name` are required and must match the body.
///
/// Acceptance 130.
#[tokio::test(start_paused = true)]
async fn method_and_name_headers_match_the_body() {
    let app = App::new();
    let echo = || modern_call("echo", json!({"message": "x"}));
    let greet = || modern("prompts/get", json!({"name": "greet", "arguments": {"name": "Bo"}}));
    let fixed = || modern("resources/read", json!({"uri": "test://fixed"}));
    for whole in [echo(), greet(), fixed()] {
        assert_eq!(sent(&app, whole).await, seen(200, 0, Some("1")));
    }
    for make in [&echo as &dyn Fn() -> Request<Body>, &greet, &fixed] {
        for (name, value) in [("mcp-method", "tools/list"), ("mcp-name", "other")] {
            assert_eq!(sent(&app, make().without(name)).await, MISMATCH(), "without {name}");
            assert_eq!(sent(&app, make().header(name, value)).await, MISMATCH(), "{name}: {value}");
            assert_eq!(sent(&app, make().header(name, "")).await, MISMATCH(), "{name}");
            let own = make().headers()[name].to_str().unwrap().to_owned();
            for wrong in [
                own.to_uppercase(),
                format!("{own}x"),
                format!("\"{own}\""),
                format!("{own},{own}"),
                own[1..].to_owned(),
            ] {
                assert_eq!(sent(&app, make().header(name, &wrong)).await, MISMATCH(), "{name}: {wrong}");
            }
            for blank in [format!(" {own}"), format!("{own}\t "), format!("\t{own}")] {
                assert_eq!(sent(&app, make().header(name, &blank)).await, seen(200, 0, Some("1")), "{name}: {blank:?}");
            }
            assert_eq!(sent(&app, make().and_header(name, &own)).await, MISMATCH(), "{name} twice");
        }
    }
    // Without a name in the body, there is no header to mirror it.
    assert_eq!(sent(&app, modern("tools/list", json!({}))).await, seen(200, 0, Some("1")));
    assert_eq!(sent(&app, modern("tools/list", json!({})).header("mcp-name", "x")).await, seen(200, 0, Some("1")));
    for name in [json!(null), json!(7), json!(["echo"]), json!({})] {
        let nameless = || mirrored(envelope("tools/call", json!({"name": name})));
        assert_eq!(sent(&app, nameless()).await, seen(200, -32602, Some("1")), "{name}");
        assert_eq!(sent(&app, nameless().header("mcp-name", "echo")).await, MISMATCH(), "{name}");
    }
}

/// `MCP-Protocol-Version` is required and must match the body.
///
/// Acceptance 130, 5, 6.
#[tokio::test(start_paused = true)]
async fn the_version_header_matches_the_body() {
    let app = App::new();
    let list = || modern("tools/list", json!({}));
    assert_eq!(sent(&app, list().without("mcp-protocol-version")).await, MISMATCH());
    for other in ["2025-11-25", "2025-03-26", "v9", "", "2026-07-28x", "2026-07-28, 2026-07-28", "\u{e9}"] {
        assert_eq!(sent(&app, list().header("mcp-protocol-version", other)).await, MISMATCH(), "{other}");
    }
    assert_eq!(sent(&app, list().and_header("mcp-protocol-version", MODERN)).await, seen(400, -32600, None));
    for stated in ["2025-11-25", "v9", "", "2026-07-28 "] {
        let other = envelope("tools/list", json!({"_meta": {"io.modelcontextprotocol/protocolVersion": stated}}));
        assert_eq!(sent(&app, mirrored(other)).await, MISMATCH(), "{stated}");
    }
}

/// Requests in a session mirror nothing in headers.
///
/// Acceptance 79, 130.
#[tokio::test(start_paused = true)]
async fn sessions_ignore_mirrored_headers() {
    let client = app().open().await;
    let message = call(1, "route", json!({"region": "eu", "count": 1}));
    for (name, value) in [("mcp-method", "tools/list"), ("mcp-name", "echo"), ("mcp-param-region", "us")] {
        let request = client.request(Method::POST).message(message.clone()).header(name, value);
        assert_eq!(sent(&client.app, request).await, seen(200, 0, Some("1")), "{name}");
    }
    assert_eq!(sent(&client.app, client.request(Method::POST).message(message)).await, seen(200, 0, Some("1")));
}

/// An encoded name is decoded strictly.
///
/// Acceptance 131.
#[tokio::test(start_paused = true)]
async fn a_name_that_is_encoded_is_decoded_strictly() {
    let app = App::new();
    let rows: [(&str, &str, bool); 16] = [
        ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?=", true),
        (" padded ", "=?base64?IHBhZGRlZCA=?=", true),
        ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?=", true),
        ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=", true),
        ("greet", "=?base64?Z3JlZXQ=?=", true),
        ("greet", " \t=?base64?Z3JlZXQ=?= ", true),
        ("", "=?base64??=", true),
        // Another text, or invalid encoding.
        ("greet", "=?base64?R3JlZXQ=?=", false),
        ("greet", "=?base64?Z3JlZXQ?=", false),
        ("greet", "=?base64?Z3JlZXR=?=", false),
        ("greet", "=?base64?Z3Jl ZXQ=?=", false),
        ("greet", "=?base64?Z3Jl-XQ_?=", false),
        ("greet", "=?BASE64?Z3JlZXQ=?=", false),
        ("greet", "Z3JlZXQ=", false),
        ("\u{fffd}", "=?base64?/w==?=", false),
        ("Grüße", "Grüße", false),
    ];
    for (name, header, same) in rows {
        let request = modern("prompts/get", json!({"name": name, "arguments": {"name": "Bo"}}));
        let got = sent(&app, request.header("mcp-name", header)).await;
        let expected = match (same, name) {
            (false, _) => MISMATCH(),
            (true, "greet") => seen(200, 0, Some("1")),
            // This prompt does not exist.
            (true, _) => seen(200, -32602, Some("1")),
        };
        assert_eq!(got, expected, "{name:?} {header:?}");
    }
    // The method is never encoded.
    let coded = modern("tools/list", json!({})).header("mcp-method", "=?base64?dG9vbHMvbGlzdA==?=");
    assert_eq!(sent(&app, coded).await, MISMATCH());
}

/// A header mirrors an argument if, and only if, the argument is present.
///
/// Acceptance 132, 133.
#[tokio::test(start_paused = true)]
async fn argument_headers_exist_exactly_with_their_argument() {
    let app = app();
    let region = "mcp-param-region";
    type Row<'a> = (Value, &'a [(&'a str, &'a str)], bool);
    let rows: [Row<'_>; 39] = [
        (json!({}), &[], true),
        (json!({"region": "eu"}), &[(region, "eu")], true),
        (json!({"region": "eu"}), &[("Mcp-PARAM-Region", " eu\t")], true),
        (json!({"region": ""}), &[(region, "")], true),
        (json!({"region": "a, b"}), &[(region, "a, b")], true),
        (json!({"region": "42"}), &[(region, "42")], true),
        (json!({"region": "世界"}), &[(region, "=?base64?5LiW55WM?=")], true),
        (json!({"count": 42}), &[("mcp-param-count", "42")], true),
        (json!({"count": 42}), &[("mcp-param-count", "42.0")], true),
        (json!({"count": 42}), &[("mcp-param-count", "4.2e1")], true),
        (json!({"count": -7}), &[("mcp-param-count", "-7")], true),
        (json!({"count": 0}), &[("mcp-param-count", "-0")], true),
        (json!({"count": 9_007_199_254_740_991_i64}), &[("mcp-param-count", "9007199254740991")], true),
        (json!({"dry": true}), &[("mcp-param-dry-run", "true")], true),
        (json!({"deep": {"zone": "a"}}), &[("mcp-param-zone", "a")], true),
        (
            json!({"region": "eu", "count": 1, "dry": false, "deep": {"zone": "z"}}),
            &[(region, "eu"), ("mcp-param-count", "1"), ("mcp-param-dry-run", "false"), ("mcp-param-zone", "z")],
            true,
        ),
        // These arguments are not annotated.
        (json!({}), &[("mcp-param-other", "x"), ("mcp-param-", "y")], true),
        (json!({"zone": "a"}), &[], true),
        // `null` counts as absent and is not mirrored.
        (json!({"region": null, "count": null, "dry": null, "deep": null}), &[], true),
        (json!({"region": null}), &[(region, "null")], false),
        (json!({"region": null}), &[(region, "")], false),
        (json!({}), &[(region, "eu")], false),
        (json!({"deep": {}}), &[("mcp-param-zone", "a")], false),
        (json!({"deep": null}), &[("mcp-param-zone", "a")], false),
        (json!({"zone": "a"}), &[("mcp-param-zone", "a")], false),
        // The argument is present, the header is missing.
        (json!({"region": "eu"}), &[], false),
        (json!({"region": ""}), &[], false),
        (json!({"dry": false}), &[], false),
        (json!({"deep": {"zone": "a"}}), &[], false),
        (json!({"region": "eu", "count": 1}), &[(region, "eu")], false),
        // The header has another value.
        (json!({"region": "eu"}), &[(region, "EU")], false),
        (json!({"region": "eu"}), &[(region, "us")], false),
        (json!({"region": "42"}), &[(region, "42.0")], false),
        (json!({"region": "=?base64?ZXU=?="}), &[(region, "=?base64?ZXU=?=")], false),
        (json!({"region": "é"}), &[(region, "é")], false),
        (json!({"count": 42}), &[("mcp-param-count", "43")], false),
        (json!({"count": 9_007_199_254_740_993_i64}), &[("mcp-param-count", "9007199254740993")], false),
        (json!({"dry": true}), &[("mcp-param-dry-run", "True")], false),
        (json!({"region": ["eu"]}), &[(region, "eu")], false),
    ];
    for (arguments, headers, same) in rows {
        let what = format!("{arguments} {headers:?}");
        let got = sent(&app, route(arguments, headers)).await;
        assert_eq!(got, if same { seen(200, 0, Some("1")) } else { MISMATCH() }, "{what}");
    }
}

/// A header that occurs twice is rejected.
///
/// Acceptance 200.
#[tokio::test(start_paused = true)]
async fn argument_headers_occur_once() {
    let (app, region) = (app(), "mcp-param-region");
    for second in ["eu", "us", ""] {
        let twice = route(json!({"region": "eu"}), &[(region, "eu")]).and_header(region, second);
        assert_eq!(sent(&app, twice).await, MISMATCH(), "{second:?}");
        let unknown = route(json!({}), &[("mcp-param-other", "eu")]).and_header("mcp-param-other", second);
        assert_eq!(sent(&app, unknown).await, MISMATCH(), "{second:?}");
    }
    for joined in ["eu, eu", "eu,eu", "eu; eu"] {
        assert_eq!(sent(&app, route(json!({"region": "eu"}), &[(region, joined)])).await, MISMATCH(), "{joined}");
    }
    assert_eq!(sent(&app, route(json!({"count": 1}), &[("mcp-param-count", "1, 1")])).await, MISMATCH());
    let one_value = route(json!({"region": "eu, us"}), &[(region, "eu, us")]);
    assert_eq!(sent(&app, one_value).await, seen(200, 0, Some("1")), "a comma is part of a text");
    let note = json!({"jsonrpc": "2.0", "method": "notifications/cancelled"});
    let note = request(Method::POST).header("mcp-protocol-version", MODERN).message(note);
    let note = note.header(region, "eu").and_header(region, "eu");
    assert_eq!(sent(&app, note).await, seen(400, -32020, None));
}

/// The error of a mismatch shows both values.
///
/// Acceptance 201.
#[tokio::test(start_paused = true)]
async fn mismatch_errors_show_both_values() {
    let app = app();
    let call = || route(json!({"region": "eu"}), &[("mcp-param-region", "eu")]);
    let long = "x".repeat(5_000);
    let cut = "x".repeat(64);
    let odd = encoded("a\n\u{202e}世");
    for (request, expected) in [
        (
            call().header("mcp-protocol-version", "2025-11-25"),
            r#"MCP-Protocol-Version is "2025-11-25", but the body says "2026-07-28""#,
        ),
        (
            call().header("mcp-protocol-version", "v9"),
            r#"MCP-Protocol-Version is "v9", but the body says "2026-07-28""#,
        ),
        (call().header("mcp-method", "tools/list"), r#"Mcp-Method is "tools/list", but the body says "tools/call""#),
        (call().header("mcp-name", "other"), r#"Mcp-Name is "other", but the body says "route""#),
        (call().header("mcp-name", &odd), r#"Mcp-Name is "a\n\u{202e}世", but the body says "route""#),
        (call().header("mcp-name", &long), &*format!(r#"Mcp-Name is "{cut}".., but the body says "route""#)),
        (call().header("mcp-param-region", "us"), r#"mcp-param-region is "us", but the body says "eu""#),
        (
            route(json!({"count": 42}), &[("mcp-param-count", "43")]),
            r#"mcp-param-count is "43", but the body says "42""#,
        ),
    ] {
        let error = app.send(request).await.json().await["error"].clone();
        assert_eq!(
            (&error["code"], &error["message"]),
            (&json!(-32020), &json!(format!("Header mismatch: {expected}")))
        );
    }
}

/// Arguments that the check cannot read must not be served: a gateway would have seen a request
/// without a region.
///
/// Acceptance 132.
#[tokio::test(start_paused = true)]
async fn arguments_that_cannot_be_compared_are_not_served() {
    let app = app();
    for arguments in [
        r#"{"region":"eu","junk":1e999}"#,
        r#"{"region":"eu","junk":"\ud800"}"#,
        r#"{"junk":{"a":[-1e999]},"region":"eu"}"#,
        r#"{"region":null,"region":"eu"}"#,
        r#"{"deep":{},"deep":{"zone":"eu"}}"#,
        r#"{"regio\u006e":"eu"}"#,
    ] {
        let message = envelope("tools/call", json!({"name": "route", "arguments": "ARGUMENTS"}));
        let request = mirrored(message.clone()).raw(message.to_string().replacen("\"ARGUMENTS\"", arguments, 1));
        let reply = app.send(request).await;
        let (status, text) = (reply.status, reply.text().await);
        assert_eq!(status, 400, "{arguments}: {text}");
        assert!(text.contains("-32020") && text.contains(r#""id":1"#), "{arguments}: {text}");
    }
    // A member `arguments` that occurs twice makes the parameters invalid.
    for arguments in [r#"{},"arguments":{"region":"eu"}"#, r#"{"region":"eu"},"arguments":{}"#] {
        let message = envelope("tools/call", json!({"name": "route", "arguments": "ARGUMENTS"}));
        let request = mirrored(message.clone()).raw(message.to_string().replacen("\"ARGUMENTS\"", arguments, 1));
        assert_eq!(app.send(request).await.error().await, (-32602, Some(json!(1))), "{arguments}");
    }
    // A header that mirrors one of two values does not change that.
    for (arguments, region) in [(r#"{"region":"eu","region":"us"}"#, "eu"), (r#"{"region":"eu","region":"us"}"#, "us")]
    {
        let message = envelope("tools/call", json!({"name": "route", "arguments": "ARGUMENTS"}));
        let request = mirrored(message.clone()).raw(message.to_string().replacen("\"ARGUMENTS\"", arguments, 1));
        let text = app.send(request.header("mcp-param-region", region)).await.text().await;
        assert!(!text.contains(r#"\"region\":"#), "{arguments} {region}: {text}");
    }
}

/// An unknown tool has no arguments to mirror.
///
/// Acceptance 134.
#[tokio::test(start_paused = true)]
async fn unknown_tools_have_no_argument_headers() {
    let app = app();
    let unknown = modern_call("nobody", json!({"region": "eu"})).header("mcp-param-region", "us");
    let reply = app.send(unknown).await;
    assert_eq!((reply.status.as_u16(), reply.error().await.0), (200, -32602));
    // The same is true of a tool without annotations, and of another method.
    let echo = modern_call("echo", json!({"message": "x"})).header("mcp-param-region", "us");
    assert_eq!(text_of(app.send(echo).await).await, "x");
    let prompt = modern("prompts/get", json!({"name": "greet", "arguments": {"name": "Bo"}}));
    assert_eq!(sent(&app, prompt.header("mcp-param-region", "us")).await, seen(200, 0, Some("1")));
}

/// A mismatch has the same status in every response mode.
///
/// Acceptance 130, 132, 136.
#[tokio::test(start_paused = true)]
async fn a_mismatch_has_its_status_in_every_mode() {
    for mode in [ResponseMode::Auto, ResponseMode::Sse, ResponseMode::Json] {
        let app = App::serving(routed, |service| service.streams(mcp_http::Streams::new().response_mode(mode)));
        let reply = app.send(route(json!({"region": "eu"}), &[])).await;
        assert_eq!(reply.rejection.as_ref().unwrap().kind(), "header_mismatch", "{mode:?}");
        let text = reply.text().await;
        assert_eq!(
            text,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"Header mismatch: mcp-param-region is required"}}"#
        );
        let served = app.send(route(json!({"region": "eu"}), &[("mcp-param-region", "eu")])).await;
        assert!(text_of(served).await.contains(r#""region":"eu""#), "{mode:?}");
    }
    let unnamed = request(Method::POST).header("mcp-protocol-version", MODERN);
    let unnamed = unnamed.message(envelope("tools/list", json!({})));
    let text = App::new().send(unnamed).await.text().await;
    assert_eq!(
        text,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"Header mismatch: Mcp-Method is required"}}"#
    );
}

/// Runs a case on its own runtime, because proptest has no async tests.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(future)
}

/// Calls the tool with this argument and this header. Returns the received argument, or `None` if
/// the call is rejected.
fn served(argument: &str, value: &Value, header: (&str, &HeaderValue)) -> Option<Value> {
    block_on(async {
        let mut request = modern_call("route", json!({argument: value}));
        request.headers_mut().insert(HeaderName::from_bytes(header.0.as_bytes()).unwrap(), header.1.clone());
        let reply = app().send(request).await;
        if reply.status == 200 {
            let called: Value = serde_json::from_str(&text_of(reply).await).unwrap();
            return Some(called[argument].clone());
        }
        assert_eq!(read(reply).await, MISMATCH());
        None
    })
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~\t]{0,20}",
        "[ \t]{0,2}[a-z]{0,3}[ \t]{0,2}",
        r"=\?base64\?[A-Za-z0-9+/=]{0,12}\?=",
        r"=\?(base64|BASE64)\?[ -~]{0,6}(\?=)?",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// Extends the rows above from some texts to any text.
    #[test]
    fn text_arguments_match_only_their_own_header(text in texts(), other in texts()) {
        let header = HeaderValue::from_str(&encoded(&text)).unwrap();
        prop_assert_eq!(served("region", &json!(text), ("mcp-param-region", &header)), Some(json!(text)));
        if other != text {
            let header = HeaderValue::from_str(&encoded(&other)).unwrap();
            prop_assert_eq!(served("region", &json!(text), ("mcp-param-region", &header)), None);
        }
    }

    #[test]
    fn integers_match_any_spelling(number in -9_007_199_254_740_991_i64..=9_007_199_254_740_991) {
        #[allow(clippy::cast_precision_loss)]
        let float = number as f64;
        for spelling in [number.to_string(), format!("{number}.0"), format!("{float:e}"), format!("{float:E}")] {
            let header = HeaderValue::from_str(&spelling).unwrap();
            prop_assert_eq!(served("count", &json!(number), ("mcp-param-count", &header)), Some(json!(number)));
        }
        for other in [number + 1, number - 1, -number].into_iter().filter(|other| *other != number) {
            let header = HeaderValue::from_str(&other.to_string()).unwrap();
            prop_assert_eq!(served("count", &json!(number), ("mcp-param-count", &header)), None);
        }
    }

    #[test]
    fn ambiguous_integers_are_rejected(
        number in prop_oneof![9_007_199_254_740_992..=i64::MAX, i64::MIN..=-9_007_199_254_740_992],
    ) {
        let header = HeaderValue::from(number);
        prop_assert_eq!(served("count", &json!(number), ("mcp-param-count", &header)), None);
    }

    #[test]
    fn header_bytes_match_the_argument_or_fail(
        bytes in proptest::collection::vec(any::<u8>(), 0..40),
        text in texts(),
    ) {
        if let Ok(header) = HeaderValue::from_bytes(&bytes)
            && let Some(called) = served("region", &json!(text), ("mcp-param-region", &header))
        {
            prop_assert_eq!(called, json!(text));
            let plain = String::from_utf8(bytes).unwrap();
            prop_assert!(plain.trim_matches([' ', '\t']) == text || plain.contains("=?base64?"));
        }
    }
}
