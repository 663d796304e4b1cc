//! Advisories on resource limits: endless bodies, unlimited sessions, and frames without data.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Method;
use futures_util::{StreamExt, stream};
use mcp_http::{Limits, Sessions};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use super::servers;
use crate::support::{App, RequestExt, Served, initialize, opening, ping, request};

/// CVE-2026-108395, CVE-2026-108859, CVE-2026-109527: the whole body was read, however long it was.
#[tokio::test(start_paused = true)]
async fn cve_2026_108395_a_body_has_a_limit() {
    for (server, app) in servers() {
        let taken = Arc::new(AtomicUsize::new(0));
        let chunks = {
            let taken = Arc::clone(&taken);
            stream::repeat_with(move || {
                taken.fetch_add(1 << 16, Ordering::Relaxed);
                Ok::<_, std::io::Error>(Bytes::from_static(&[b' '; 1 << 16]))
            })
            // The body has an end, so that a server without a limit fails this test instead of
            // hanging it.
            .take(4_096)
        };
        let endless = request(Method::POST).header("content-type", "application/json").raw(Body::from_stream(chunks));
        assert_eq!(app.send(endless).await.status, 413, "{server}");
        // After a rejection the rest of the body is read and discarded, up to 64 MiB, so that the
        // client can read the response.
        sleep(Duration::from_secs(60)).await;
        let taken = taken.load(Ordering::Relaxed);
        assert!(taken <= 65 * (1 << 20) + 2 * Limits::DEFAULT_MAX_BODY_BYTES, "{server} took {taken} bytes");
        let claimed = opening().header("content-length", &(1_u64 << 40).to_string());
        assert_eq!(app.send(claimed).await.status, 413, "{server}");
        assert_eq!(app.send(opening()).await.status, 200, "{server}");
    }
}

/// CVE-2026-63128 (GHSA-9pj6-vhgr-3mwh): a first request left a session behind if it was not
/// `initialize` or its version header was not supported.
#[tokio::test(start_paused = true)]
async fn cve_2026_63128_a_rejected_request_opens_no_session() {
    for (server, app) in servers() {
        for _ in 0..50 {
            for request in [
                request(Method::POST).message(ping(1)),
                request(Method::POST).message(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})),
                opening().header("mcp-protocol-version", "1999-01-01"),
                opening().header("accept", "text/html"),
                request(Method::POST).message(json!({"jsonrpc": "2.0", "id": 0, "method": "initialize"})),
                request(Method::POST).message(json!([initialize("2025-11-25", json!({}))])),
            ] {
                let reply = app.send(request).await;
                assert!(!reply.status.is_server_error(), "{server} {}", reply.status);
                assert_eq!(reply.header("mcp-session-id"), None, "{server}");
            }
        }
        assert_eq!(app.handle.sessions().await.unwrap().len(), 0, "{server}");
    }
}

/// CVE-2026-67430, CVE-2026-59951: each `initialize` opened a session, without a limit and without
/// an expiry.
#[tokio::test(start_paused = true)]
async fn cve_2026_59951_sessions_are_counted_and_expire() {
    let app = App::with(|service| service.sessions(Sessions::new().max_sessions(5)));
    for _ in 0..50 {
        let status = app.send(opening()).await.status;
        assert!(status == 200 || status == 503, "{status}");
    }
    assert_eq!(app.handle.sessions().await.unwrap().len(), 5);
    sleep(Sessions::DEFAULT_IDLE_TIMEOUT * 2).await;
    assert_eq!(app.handle.sessions().await.unwrap().len(), 0);
}

/// RUSTSEC-2026-0258: HTTP/2 frames without data were accepted without a limit. `h2`, which axum
/// uses, counts them.
#[tokio::test]
async fn rustsec_2026_0258_empty_frames_end_the_connection() {
    const FRAMES: usize = 1_000_000;
    const GOAWAY: u8 = 7;
    let served = Served::new().await;
    let (mut from, mut to) = served.connect().await.into_split();
    let host = served.addr.to_string();
    let literal = |name: &[u8], value: &str| [name, &[u8::try_from(value.len()).unwrap()], value.as_bytes()].concat();
    // POST and http by the static table, then path, authority and content-type by its names.
    let head = [
        vec![0x83, 0x86],
        literal(&[0x04], "/mcp"),
        literal(&[0x01], &host),
        literal(&[0x0f, 0x10], "application/json"),
    ]
    .concat();
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
    };
    let beginning = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &[]), frame(1, 4, 1, &head)].concat();
    to.write_all(&beginning).await.unwrap();
    let empty = frame(0, 0, 1, &[]).repeat(1_000);
    let flood = tokio::spawn(async move {
        for sent in 0..FRAMES / 1_000 {
            if to.write_all(&empty).await.is_err() {
                return sent * 1_000;
            }
        }
        FRAMES
    });
    let mut got = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(60), from.read_to_end(&mut got)).await;
    assert!(ended.is_ok(), "the connection is still open");
    flood.await.unwrap();
    let mut rest = &got[..];
    let mut kinds = Vec::new();
    while let [a, b, c, kind, _, _, _, _, _, tail @ ..] = rest {
        kinds.push(*kind);
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        rest = tail.get(length..).unwrap_or_default();
    }
    // The peer continues to write, so it may be reset before it has read the last frame.
    assert!(kinds.contains(&GOAWAY) || matches!(ended, Ok(Err(_))), "{kinds:?}");
    assert_eq!(served.open().await.len(), 36, "others are served");
}
