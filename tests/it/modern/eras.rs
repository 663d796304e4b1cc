//! Eras: which era a request belongs to, and what a service with each set of revisions answers.

use axum::body::Bytes;
use axum::http::{Method, Request};
use mcp_http::message::{Era, ProtocolVersion};
use mcp_http::{Sessions, era_of};
use serde_json::{Value, json};

use crate::support::{
    App, CAPABILITIES_KEY, MODERN, Reply, RequestExt, VERSION_KEY, call, envelope, initialize, meta, modern,
    modern_call, ping, request, text_of,
};
use crate::table::{read, seen, sent};

const VERSION: &str = "mcp-protocol-version";

/// Values of the version header.
const HEADERS: [Option<&str>; 7] =
    [None, Some("2025-03-26"), Some("2025-06-18"), Some("2025-11-25"), Some(MODERN), Some("v9"), Some("v8")];

/// The version claim in a body.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Claim {
    None,
    Whole,
    Half,
    Session,
    Unknown,
    Malformed,
}

/// The kind of message in a body.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Request,
    Initialize,
    Notification,
    Answer,
    Batch,
}

const CLAIMS: [Claim; 6] = [Claim::None, Claim::Whole, Claim::Half, Claim::Session, Claim::Unknown, Claim::Malformed];
const KINDS: [Kind; 5] = [Kind::Request, Kind::Initialize, Kind::Notification, Kind::Answer, Kind::Batch];

impl Claim {
    fn meta(self) -> Value {
        let says = |version: Value| json!({VERSION_KEY: version, CAPABILITIES_KEY: {}});
        match self {
            Self::None => json!({"progressToken": "t"}),
            Self::Whole => says(MODERN.into()),
            Self::Half => json!({VERSION_KEY: MODERN}),
            Self::Session => says("2025-11-25".into()),
            Self::Unknown => says("v9".into()),
            Self::Malformed => says(7.into()),
        }
    }

    fn stated(self) -> Option<&'static str> {
        match self {
            Self::Whole | Self::Half => Some(MODERN),
            Self::Session => Some("2025-11-25"),
            Self::Unknown => Some("v9"),
            Self::None | Self::Malformed => None,
        }
    }
}

impl Kind {
    fn body(self, claim: Claim) -> Value {
        let request =
            |method: &str| json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"_meta": claim.meta()}});
        match self {
            Self::Request => request("tools/list"),
            Self::Initialize => {
                let mut message = initialize("2025-11-25", json!({}));
                message["id"] = 1.into();
                message["params"]["_meta"] = claim.meta();
                message
            }
            Self::Notification => {
                json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed", "params": {"_meta": claim.meta()}})
            }
            Self::Answer => json!({"jsonrpc": "2.0", "id": 1, "result": {"_meta": claim.meta()}}),
            Self::Batch => json!([request("tools/list")]),
        }
    }

    fn method(self) -> &'static str {
        match self {
            Self::Request => "tools/list",
            Self::Initialize => "initialize",
            Self::Notification => "notifications/roots/list_changed",
            Self::Answer | Self::Batch => "",
        }
    }
}

/// Returns the era of a cell, derived from the rules and not from the code.
fn era(header: Option<&str>, claim: Claim, kind: Kind) -> Option<Era> {
    let claims = match kind {
        Kind::Request | Kind::Notification => {
            matches!(claim, Claim::Whole | Claim::Half | Claim::Unknown | Claim::Malformed)
        }
        // Half of a claim leaves a handshake a handshake.
        Kind::Initialize => matches!(claim, Claim::Whole | Claim::Unknown),
        Kind::Answer | Kind::Batch => false,
    };
    match header {
        Some(MODERN) => Some(Era::Modern),
        _ if claims => Some(Era::Modern),
        Some("v8" | "v9") => None,
        _ => Some(Era::Legacy),
    }
}

/// Returns the status and the error code that a service without an open session answers with.
fn answer(header: Option<&str>, claim: Claim, kind: Kind) -> (u16, i64) {
    match (era(header, claim, kind), kind) {
        (None, _) => (400, -32022),
        (Some(Era::Legacy), Kind::Initialize) => (200, 0),
        // There is no session.
        (Some(Era::Legacy), _) | (Some(Era::Modern), Kind::Answer | Kind::Batch) => (400, -32600),
        (Some(Era::Modern), _) if claim == Claim::Malformed => (400, -32602),
        (Some(Era::Modern), _) => match (claim.stated(), header, kind) {
            (None, _, Kind::Notification) => (202, 0),
            (None, _, Kind::Initialize) => (400, -32020),
            (None, _, _) => (400, -32602),
            (Some(stated), header, _) if Some(stated) != header => (400, -32020),
            (Some("v9"), _, _) => (400, -32022),
            (_, _, Kind::Notification) => (202, 0),
            _ if claim == Claim::Half => (400, -32602),
            (_, _, Kind::Initialize) => (404, -32601),
            _ => (200, 0),
        },
    }
}

/// Each combination of header, claim and kind of message is answered by its rule, and `era_of`
/// agrees.
///
/// Acceptance 1, 4, 5, 6, 7, 8, 9, 15, 17, 18, 19, 20, 21, 22, 80, 166.
#[tokio::test(start_paused = true)]
async fn the_era_table_holds_and_matches_era_of() {
    let app = App::new();
    for header in HEADERS {
        for claim in CLAIMS {
            for kind in KINDS {
                let cell = format!("{header:?} {claim:?} {kind:?}");
                let body = Bytes::from(kind.body(claim).to_string());
                let mut request = request(Method::POST).header("content-type", "application/json");
                if let Some(version) = header {
                    request = request.header(VERSION, version);
                }
                if !kind.method().is_empty() {
                    request = request.header("mcp-method", kind.method());
                }
                let expected = era(header, claim, kind);
                assert_eq!(era_of(request.headers(), &body), expected, "{cell}");

                let reply = app.send(request.raw(body)).await;
                assert!(comes_from(expected, &reply), "{cell}: {} {:?}", reply.status, reply.rejection);
                let (status, code) = answer(header, claim, kind);
                let id = (status != 202 && matches!(kind, Kind::Request | Kind::Initialize)).then_some("1");
                let opened = reply.header("mcp-session-id").is_some();
                assert_eq!(opened, status == 200 && kind == Kind::Initialize, "{cell}");
                assert_eq!(read(reply).await, seen(status, code, id), "{cell}");
            }
        }
    }
}

/// Returns `true` if the answer is one of the era's. Unknown versions are rejected in the same way
/// in both eras.
fn comes_from(era: Option<Era>, reply: &Reply) -> bool {
    match reply.rejection.as_ref().map(mcp_http::error::Rejection::kind) {
        Some("session_required") => era == Some(Era::Legacy),
        Some("header_mismatch" | "invalid_meta" | "method_not_found" | "batch_not_served" | "not_a_message") => {
            era == Some(Era::Modern)
        }
        Some("unsupported_version") => era != Some(Era::Legacy),
        Some(other) => panic!("{other}"),
        None if reply.header("mcp-session-id").is_some() => era == Some(Era::Legacy),
        None => era == Some(Era::Modern),
    }
}

/// A request that the edge rejects belongs to no era.
///
/// Acceptance 22.
#[test]
fn requests_the_edge_rejects_have_no_era() {
    let whole = Bytes::from(envelope("tools/list", json!({})).to_string());
    let headers = modern("tools/list", json!({})).headers().clone();
    assert_eq!(era_of(&headers, &whole), Some(Era::Modern));
    for body in ["", "{", "[]", "7", r#"{"jsonrpc":"1.0","id":1,"method":"a"}"#] {
        assert_eq!(era_of(&headers, &Bytes::from(body)), None, "{body}");
    }
    for name in [VERSION, "mcp-session-id", "mcp-method", "mcp-name", "mcp-param-a", "last-event-id"] {
        let twice = Request::new(axum::body::Body::empty()).header(name, MODERN).and_header(name, MODERN);
        assert_eq!(era_of(twice.headers(), &whole), None, "{name}");
    }
}

/// Unrelated `_meta` keys do not change the era of a request in a session.
///
/// Acceptance 15.
#[tokio::test(start_paused = true)]
async fn unrelated_meta_keys_do_not_change_the_era() {
    let app = App::new();
    let client = app.open().await;
    for stray in [
        json!({"progressToken": 1}),
        json!({"io.modelcontextprotocol/clientInfo": {"name": "a", "version": "1"}}),
        json!({CAPABILITIES_KEY: {}}),
        json!({"io.modelcontextprotocol/logLevel": "debug"}),
        json!({VERSION_KEY: "2025-11-25", CAPABILITIES_KEY: {}}),
        json!({"com.example/protocolVersion": MODERN}),
        json!({}),
        json!(null),
        json!(7),
    ] {
        let mut message = call(1, "echo", json!({"message": "x", VERSION_KEY: MODERN}));
        message["params"]["_meta"] = stray.clone();
        for request in [client.request(Method::POST), client.request(Method::POST).without(VERSION)] {
            let reply = app.send(request.message(message.clone())).await;
            let body = reply.json().await;
            assert_eq!(body["result"]["content"][0]["text"], "x", "{stray}: {body}");
            assert_eq!(body["result"].get("resultType"), None, "{stray}");
        }
    }
}

/// One service serves clients of both eras at the same time.
///
/// Acceptance 1, 2, 3, 4, 11, 46, 152.
#[tokio::test(start_paused = true)]
async fn both_eras_are_served_at_once() {
    let app = App::new();
    let client = app.open_principal("ann").await;
    for round in 1..=20 {
        let (one, two) = tokio::join!(
            client.text_of("count", json!({})),
            app.send(modern_call("whoami", json!({})).principal("ann"))
        );
        assert_eq!(one, round.to_string());
        assert_eq!(two.header("mcp-session-id"), None);
        assert_eq!(text_of(two).await, "ann test 2026-07-28");
    }
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let old = client.post(list).await.json().await["result"].clone();
    let mut new = app.request("tools/list", json!({})).await.json().await["result"].clone();
    assert_eq!(new["resultType"], "complete");
    for word in ["resultType", "ttlMs", "cacheScope", "_meta"] {
        assert_eq!(old.get(word), None, "{word} in an answer of a session");
        assert!(new.as_object_mut().unwrap().shift_remove(word).is_some(), "{word}");
    }
    assert_eq!(old, new, "otherwise they are the same");
    app.request("server/discover", json!({})).await;
    let statistics = app.handle.statistics().await;
    assert_eq!((statistics.sessions, statistics.opened), (Some(1), 1));
}

/// A session id has no effect on a request of 2026-07-28.
///
/// Acceptance 2, 167.
#[tokio::test(start_paused = true)]
async fn session_ids_are_ignored() {
    let app = App::new();
    let (client, gone) = (app.open_principal("ann").await, app.open().await);
    assert_eq!(gone.delete().await.status, 200);
    let before = app.handle.sessions().await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    for session in [&*client.session, &*gone.session, "unknown", "a b", "", "\u{e9}", &"x".repeat(5_000)] {
        for (method, params) in [
            ("tools/call", json!({"name": "count"})),
            ("tools/call", json!({"name": "progress", "arguments": {"steps": 1}, "_meta": {"progressToken": 1}})),
            ("server/discover", json!({})),
        ] {
            let request = modern(method, params).header("mcp-session-id", session).header("last-event-id", "1.0.0");
            let reply = app.send(request).await;
            assert_eq!((reply.status.as_u16(), reply.header("mcp-session-id")), (200, None), "{session:?}");
            let text = reply.text().await;
            assert!(!text.contains("\nid: ") && !text.starts_with("id: ") && !text.contains("retry: "), "{text}");
        }
        let counted = app.send(modern("tools/call", json!({"name": "count"})).header("mcp-session-id", session)).await;
        assert_eq!(text_of(counted).await, "no session");
    }
    let after = app.handle.sessions().await.unwrap();
    assert_eq!(format!("{:?}", before[0].info), format!("{:?}", after[0].info));
    assert_eq!((after.len(), after[0].calls, after[0].bytes), (1, 0, 0));
    assert!(after[0].idle >= std::time::Duration::from_secs(60), "the session was not used");
}

/// `server/discover` returns the description of the server.
///
/// Acceptance 11, 12.
#[tokio::test(start_paused = true)]
async fn discovery_describes_the_server() {
    let app = App::new();
    let body = app.request("server/discover", json!({})).await.json().await;
    let result = &body["result"];
    assert_eq!(result["supportedVersions"], json!(["2025-03-26", "2025-06-18", "2025-11-25", MODERN]));
    assert_eq!(result["resultType"], "complete");
    assert!(result["capabilities"]["tools"].is_object() && result["capabilities"]["prompts"].is_object(), "{result}");
    let info = json!({"name": "test-server", "version": "1.0.0"});
    assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"], info);
    assert!(result["ttlMs"].is_u64() && result["cacheScope"].is_string(), "{result}");
    assert_eq!(result.get("serverInfo"), None);
    let client = app.open().await;
    let old = client.post(json!({"jsonrpc": "2.0", "id": 1, "method": "server/discover"})).await.text().await;
    assert_eq!(
        old,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found: server/discover"}}"#
    );
}

fn subsets() -> impl Iterator<Item = Vec<ProtocolVersion>> {
    (1..1_u32 << ProtocolVersion::ALL.len()).map(|bits| {
        let all = ProtocolVersion::ALL.into_iter().enumerate();
        all.filter(|(at, _)| bits & (1 << at) != 0).map(|(_, version)| version).collect()
    })
}

/// Returns the status of a rejection and its statement about versions.
async fn unsupported(reply: Reply) -> (u16, Value) {
    let status = reply.status.as_u16();
    let body = reply.json().await;
    let error = &body["error"];
    assert!(error["message"].as_str().unwrap().contains("Unsupported protocol version"), "{body}");
    (status, json!({"code": error["code"], "message": error["message"], "data": error["data"]}))
}

/// Returns the rejection of a version. A service without 2026-07-28 uses no error code of that
/// revision.
fn version_rejection(served: &[ProtocolVersion], requested: &str) -> (u16, Value) {
    if served.contains(&ProtocolVersion::V2026_07_28) {
        let message = "Unsupported protocol version; `data.supported` lists those served";
        return (
            400,
            json!({"code": -32022, "message": message, "data": {"requested": requested, "supported": served}}),
        );
    }
    let supported: Vec<_> = served.iter().map(|version| version.as_str()).collect();
    let supported = supported.join(", ");
    let message = format!("Bad Request: Unsupported protocol version: {requested} (supported versions: {supported})");
    (400, json!({"code": -32000, "message": message, "data": null}))
}

/// A service serves each revision of its set, and names them when it rejects another one.
///
/// Acceptance 3, 8, 9, 10, 12, 19, 23, 24, 183.
#[tokio::test(start_paused = true)]
async fn each_revision_set_is_served_and_named() {
    for served in subsets() {
        let app = App::with(|service| service.versions(served.iter().copied().rev()));
        let newest = served.iter().rev().find(|version| version.era() == Era::Legacy).copied();
        let is_modern = served.contains(&ProtocolVersion::V2026_07_28);
        let rejected = |requested: &str| version_rejection(&served, requested);

        // A request of 2026-07-28.
        let reply = app.request("server/discover", json!({})).await;
        if is_modern {
            assert_eq!(reply.json().await["result"]["supportedVersions"], json!(served));
        } else {
            assert_eq!(unsupported(reply).await, rejected(MODERN), "{served:?}");
            let half = request(Method::POST).header(VERSION, MODERN).message(ping(1));
            assert_eq!(unsupported(app.send(half).await).await, rejected(MODERN), "{served:?}");
            let note = json!({"jsonrpc": "2.0", "method": "notifications/cancelled"});
            let note = request(Method::POST).header(VERSION, MODERN).message(note);
            assert_eq!(unsupported(app.send(note).await).await, rejected(MODERN), "{served:?}");
        }
        // A handshake, without and with its header.
        for asked in ["2025-03-26", "2025-06-18", "2025-11-25", MODERN, "1999-01-01"] {
            let reply = app.post(initialize(asked, json!({}))).await;
            let Some(newest) = newest else {
                assert_eq!(unsupported(reply).await, rejected(asked));
                continue;
            };
            let expected = served.iter().find(|version| version.as_str() == asked && version.era() == Era::Legacy);
            let given = reply.json().await["result"]["protocolVersion"].clone();
            assert_eq!(given, expected.unwrap_or(&newest).as_str(), "{served:?} {asked}");
        }
        for version in ProtocolVersion::SESSION_ERA {
            let opening = request(Method::POST).message(initialize(version.as_str(), json!({})));
            let reply = app.send(opening.header(VERSION, version.as_str())).await;
            if served.contains(&version) {
                assert!(reply.header("mcp-session-id").is_some(), "{served:?} {version}");
            } else {
                assert_eq!(unsupported(reply).await, rejected(version.as_str()), "{served:?}");
            }
        }
        without_any_version(&app, newest.is_some(), &served).await;
        get_and_delete(&app, newest.is_some(), &served).await;
    }
}

/// Checks requests without header and claim.
async fn without_any_version(app: &App, has_sessions: bool, served: &[ProtocolVersion]) {
    let code = if has_sessions { -32600 } else { -32020 };
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    assert_eq!(sent(app, request(Method::POST).message(list)).await, seen(400, code, Some("1")), "{served:?}");
    let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let expected = if has_sessions { seen(400, -32600, None) } else { seen(202, 0, None) };
    assert_eq!(sent(app, request(Method::POST).message(note)).await, expected, "{served:?}");
    let answer = json!({"jsonrpc": "2.0", "id": 1, "result": {}});
    assert_eq!(sent(app, request(Method::POST).message(answer)).await, seen(400, code, None), "{served:?}");
    assert_eq!(sent(app, request(Method::POST).message(json!([ping(1)]))).await, seen(400, code, None), "{served:?}");
}

async fn get_and_delete(app: &App, has_sessions: bool, served: &[ProtocolVersion]) {
    for method in [Method::GET, Method::DELETE] {
        for session in [None, Some("a"), Some("c9d7e2c0-38e2-4f35-9b1e-2bd6e53ad3f4")] {
            let plain = match session {
                Some(session) => request(method.clone()).header("mcp-session-id", session),
                None => request(method.clone()),
            };
            let newer = app.send(plain.header(VERSION, MODERN)).await;
            if has_sessions && !served.contains(&ProtocolVersion::V2026_07_28) {
                assert_eq!(newer.rejection.as_ref().unwrap().kind(), "unsupported_version", "{served:?}");
            } else {
                assert_eq!((newer.status.as_u16(), newer.header("allow")), (405, Some("POST")), "{served:?}");
            }
        }
        let reply = app.send(request(method)).await;
        let expected = if has_sessions { (400, None) } else { (405, Some("POST")) };
        assert_eq!((reply.status.as_u16(), reply.header("allow")), expected, "{served:?}");
    }
}

/// GET and DELETE work for sessions, and are rejected for 2026-07-28 in the same service.
///
/// Acceptance 24.
#[tokio::test(start_paused = true)]
async fn get_and_delete_work_only_for_sessions() {
    let app = App::new();
    let client = app.open().await;
    for method in [Method::GET, Method::DELETE] {
        let reply = app.send(client.request(method.clone()).header(VERSION, MODERN)).await;
        assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, Some("POST")), "{method}");
        assert_eq!(reply.header("mcp-session-id"), None);
    }
    let mut stream = client.listen_primed().await;
    app.handle.tools_changed();
    assert_eq!(stream.message().await.unwrap().json()["method"], "notifications/tools/list_changed");
    assert_eq!(client.delete().await.status, 200);
}

/// A service without sessions serves both eras.
///
/// Acceptance 1, 24, 125, 126.
#[tokio::test(start_paused = true)]
async fn a_service_without_sessions_serves_both_eras() {
    let app = App::with(|service| service.sessions(Sessions::new().stateless(true)));
    assert_eq!(text_of(app.call_tool("whoami", json!({})).await).await, "nobody test 2026-07-28");
    let old = request(Method::POST).header(VERSION, "2025-06-18").message(call(1, "whoami", json!({})));
    assert_eq!(text_of(app.send(old).await).await, "nobody ? 2025-06-18");
    for header in HEADERS {
        for claim in CLAIMS {
            let mut list = request(Method::POST).header("mcp-method", "tools/list").message(Kind::Request.body(claim));
            if let Some(version) = header {
                list = list.header(VERSION, version);
            }
            let expected = match era(header, claim, Kind::Request) {
                Some(Era::Legacy) => (200, 0),
                _ => answer(header, claim, Kind::Request),
            };
            let reply = app.send(list).await;
            let served_as_modern = reply.status == 200 && expected.1 == 0 && header == Some(MODERN);
            let text = reply.text().await;
            let body: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(body["error"]["code"].as_i64().unwrap_or_default(), expected.1, "{header:?} {claim:?}");
            assert_eq!(text.contains("resultType"), served_as_modern, "{header:?} {claim:?} {text}");
        }
    }
    for method in [Method::GET, Method::DELETE] {
        let reply = app.send(request(method.clone()).header(VERSION, MODERN)).await;
        assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, Some("POST")), "{method}");
    }
    let statistics = app.handle.statistics().await;
    assert_eq!((statistics.sessions, statistics.opened), (Some(0), 0));
}

/// A notification of 2026-07-28 is accepted and has no effect.
///
/// Acceptance 19, 20, 74.
#[tokio::test(start_paused = true)]
async fn notifications_are_accepted_without_effect() {
    let app = App::new();
    let mut held = app.call_tool("note_and_hold", json!({"label": "a"})).await.sse();
    assert!(held.message().await.is_some());
    for method in ["notifications/cancelled", "notifications/initialized", "notifications/none", "tools/call", ""] {
        for meta in [Some(meta()), Some(json!({VERSION_KEY: MODERN})), Some(json!({})), None] {
            let mut note = json!({"jsonrpc": "2.0", "method": method, "params": {"requestId": 1, "name": "boom"}});
            if let Some(meta) = meta {
                note["params"]["_meta"] = meta;
            }
            let reply = app.send(request(Method::POST).header(VERSION, MODERN).message(note.clone())).await;
            assert_eq!((reply.status.as_u16(), reply.header("content-type")), (202, None), "{note}");
            assert_eq!(reply.text().await, "", "{note}");
        }
    }
    assert!(held.is_silent().await);
    assert_eq!(app.probe.state("a"), Some("running"), "only leaving cancels");
    for (meta, code) in [(json!({VERSION_KEY: "v9"}), -32020), (json!({VERSION_KEY: []}), -32602)] {
        let note = json!({"jsonrpc": "2.0", "method": "notifications/a", "params": {"_meta": meta}});
        let note = request(Method::POST).header(VERSION, MODERN).message(note);
        assert_eq!(sent(&app, note).await, seen(400, code, None));
    }
}
