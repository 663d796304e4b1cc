//! Advisories on parsing: texts that two readers understand differently, and texts that one reader
//! never finishes.

use axum::http::Method;
use serde_json::{Value, json};

use super::servers;
use crate::support::{App, RequestExt, ping};

/// Posts a text in a session. Returns the status and the code of the answer, or 0 if it has none.
async fn posted(client: &crate::support::Client, text: &str) -> (u16, i64) {
    let reply = client
        .app
        .send(client.request(Method::POST).header("content-type", "application/json").raw(text.to_owned()))
        .await;
    let status = reply.status.as_u16();
    let answer: Value = serde_json::from_str(&reply.text().await).unwrap_or_default();
    (status, answer["error"]["code"].as_i64().unwrap_or_default())
}

/// CVE-2026-27896 (GO-2026-4569): the names of members were matched in any case, so that a proxy
/// and the server read one message differently.
#[tokio::test(start_paused = true)]
async fn cve_2026_27896_members_have_one_spelling() {
    for (server, app) in servers() {
        let client = app.open().await;
        for (text, expected) in [
            (r#"{"jsonrpc":"2.0","id":1,"Method":"ping"}"#, (400, -32600)),
            (r#"{"JSONRPC":"2.0","id":1,"method":"ping"}"#, (400, -32600)),
            // A notification that does not exist.
            (r#"{"jsonrpc":"2.0","ID":1,"method":"ping"}"#, (202, 0)),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","Params":{"name":"echo","arguments":{"message":"x"}}}"#,
                (200, -32602),
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"Name":"echo","arguments":{"message":"x"}}}"#,
                (200, -32602),
            ),
            (r#"{"jsonrpc":"2.0","id":1,"method":"Ping"}"#, (200, -32601)),
        ] {
            let got = posted(&client, text).await;
            // rmcp itself answers methods that it does not know, with the same code.
            assert_eq!(got, expected, "{server} {text}");
        }
        let text =
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","Arguments":{"message":"x"}}}"#;
        let reply =
            client.app.send(client.request(Method::POST).header("content-type", "application/json").raw(text)).await;
        let answer = reply.message().await;
        assert!(answer["error"].is_object() || answer["result"]["isError"] == true, "{server} {answer}");
    }
}

/// GO-2026-4770: the name of a member with a NUL at its end was read as the name without it.
#[tokio::test(start_paused = true)]
async fn go_2026_4770_names_with_a_nul_differ() {
    for (server, app) in servers() {
        let client = app.open().await;
        for (text, expected) in [
            (r#"{"jsonrpc":"2.0","id":1,"method\u0000":"ping"}"#, (400, -32600)),
            (r#"{"jsonrpc\u0000":"2.0","id":1,"method":"ping"}"#, (400, -32600)),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping\u0000"}"#, (200, -32601)),
            ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\0\":\"ping\"}", (400, -32700)),
        ] {
            assert_eq!(posted(&client, text).await, expected, "{server} {text:?}");
        }
        assert_eq!(client.post(ping(1)).await.status, 200);
    }
}

/// CVE-2026-0621: a URI could make the matching of a template run without end. Templates here are
/// matched without backtracking.
#[tokio::test(start_paused = true)]
async fn cve_2026_0621_uris_match_without_backtracking() {
    let client = App::new().open().await;
    for part in
        ["a".repeat(1_000_000), "a/".repeat(400_000), "%2F".repeat(300_000), "{id}".repeat(200_000), "!".repeat(50_000)]
    {
        let read = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/read",
                          "params": {"uri": format!("test://item/{part}")}});
        let answer = client.post(read).await.message().await;
        let read = answer["result"]["contents"][0]["text"].is_string();
        assert!(read || answer["error"]["code"].is_i64(), "{}", &answer.to_string()[..200]);
    }
}
