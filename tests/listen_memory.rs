//! The memory of an open subscription stream, read or unread: at most a multiple of its filter. The
//! allocator counts it, in a separate process.

use std::alloc::System;

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use mcp_http::{McpHandle, McpServer, McpService};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::ServiceExt;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Returns the bytes allocated and not freed since the region began.
fn held(region: &Region<'_, System>) -> isize {
    let change = region.change();
    change.bytes_allocated.cast_signed() - change.bytes_deallocated.cast_signed()
}

fn service() -> (Router, McpHandle) {
    let server: McpServer = McpServer::new("memory", "1").resource("a:b", "a", async || "a");
    // With a catalog, a client can subscribe to every kind of change.
    let _catalog = server.catalog();
    let service = McpService::new(server);
    let handle = service.handle();
    (Router::new().nest("/mcp", service.into_router()), handle)
}

/// Opens a stream. The body of the request is much larger than its filter. Nothing is sent until
/// the response is read.
async fn listen(app: &Router, filter: &str, padding: usize) -> Body {
    let meta =
        r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let padding = "x".repeat(padding);
    let body = format!(
        r#"{{"jsonrpc":"2.0","id":"a","method":"subscriptions/listen","params":{{"_meta":{meta},"notifications":{filter},"padding":"{padding}"}}}}"#
    );
    let request = Request::post("/mcp")
        .header("host", "localhost")
        .header("accept", "application/json, text/event-stream")
        .header("content-type", "application/json")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", "subscriptions/listen")
        .body(Body::from(body))
        .unwrap();
    let reply = app.clone().oneshot(request).await.unwrap();
    assert_eq!(reply.status(), StatusCode::OK);
    reply.into_body()
}

async fn chunk(body: &mut Body) -> String {
    let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
    String::from_utf8(data.to_vec()).unwrap()
}

const LISTS: &str = r#"{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true}"#;

/// Acceptance 144, 163, 170.
#[tokio::test(start_paused = true)]
async fn subscriptions_cost_their_filter_and_leave_nothing() {
    let (app, handle) = service();
    // The first stream allocates everything that is allocated only once.
    drop(listen(&app, LISTS, 0).await);

    let uris: Vec<String> = (0..1_000).map(|n| format!("test://some/resource/{n:04}")).collect();
    let filter = format!(r#"{{"toolsListChanged":true,"resourceSubscriptions":["{}"]}}"#, uris.join(r#"",""#));
    // The engine keeps at most 1,024 announced changes for clients that come back.
    for uri in &uris {
        handle.resource_updated(uri.as_str());
    }
    let before = Region::new(ALLOCATOR);
    let mut body = listen(&app, &filter, 3 << 20).await;
    let open = held(&before);
    assert!(open < 6 * filter.len().cast_signed(), "{open} bytes for a filter of {}", filter.len());
    assert!(chunk(&mut body).await.contains("acknowledged"));

    // The stream is not read.
    let (first, kept) = (Region::new(ALLOCATOR), held(&before));
    for uri in &uris {
        handle.resource_updated(uri.as_str());
    }
    let waiting = held(&first);
    assert!(waiting < filter.len().cast_signed(), "{waiting} bytes for everything once");
    let again = Region::new(ALLOCATOR);
    for n in 0..10_000 {
        handle.resource_updated(uris[n % uris.len()].as_str());
        handle.tools_changed();
    }
    assert!(held(&again) < 1024, "{} bytes for the same again", held(&again));
    assert!(held(&before) < kept + filter.len().cast_signed());
    let mut told = 0;
    while told <= uris.len() {
        told += chunk(&mut body).await.matches("data: ").count();
    }
    drop(body);
    assert!(held(&before) < 4096, "{} bytes are left of it", held(&before));

    // Many small streams.
    let many = Region::new(ALLOCATOR);
    let mut streams = Vec::with_capacity(1_000);
    for _ in 0..1_000 {
        streams.push(listen(&app, LISTS, 100_000).await);
    }
    let each = held(&many) / 1_000;
    assert!(each < 2_048, "{each} bytes for each small one");
    println!("{open} bytes for 1,000 resources, {waiting} more while all wait, {each} for three lists");
    assert_eq!(handle.statistics().await.listens, 1_000);
    drop(streams);
    assert_eq!(handle.statistics().await.listens, 0);
    // The task that watches over responses runs from time to time.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(held(&many) < 4096, "{} bytes are left of them", held(&many));
}
