//! Resource URIs with characters outside of ASCII, wherever a server names a resource.

use mcp_http::McpServer;
use mcp_http::server::{Content, PromptMessage, ResourceContents, ResourceLink};
use serde_json::{Value, json};

use crate::support::{App, modern, modern_call};

const WRITTEN: &str = "docs://über/日本";
const SENT: &str = "docs://%C3%BCber/%E6%97%A5%E6%9C%AC";

fn blocks() -> Vec<Content> {
    let link = ResourceLink::new(WRITTEN, "link");
    vec![Content::link(link), Content::resource(ResourceContents::text("x").uri(WRITTEN))]
}

/// Returns the content blocks as they are sent. A client without links gets the first one as a
/// text.
fn sent(links: bool) -> [Value; 2] {
    let link = match links {
        true => json!({"type": "resource_link", "uri": SENT, "name": "link"}),
        false => json!({"type": "text", "text": format!("link: {SENT}")}),
    };
    [link, json!({"type": "resource", "resource": {"uri": SENT, "text": "x"}})]
}

fn app() -> App {
    let messages = async || blocks().into_iter().map(PromptMessage::user).collect::<Vec<_>>();
    let server: McpServer = McpServer::new("uris", "1")
        .tool("find", "Finds.", async || blocks())
        .prompt("find", "Finds.", messages)
        .resource(WRITTEN, "here", async || {
            vec![ResourceContents::text("x").uri(WRITTEN), ResourceContents::text("y")]
        });
    App::of(mcp_http::McpService::builder(server))
}

/// URIs in the content of tools and prompts are percent-encoded, in every revision.
///
/// Acceptance 186.
#[tokio::test(start_paused = true)]
async fn resources_in_content_have_uris_of_ascii() {
    let app = app();
    for version in ["2025-03-26", "2025-06-18", "2025-11-25"] {
        let client = app.open_version(version).await;
        let expected = sent(version != "2025-03-26");
        let tool = client.call(1, "find", json!({})).await.message().await;
        assert_eq!(tool["result"]["content"], json!(expected), "{version}");
        let get = json!({"jsonrpc": "2.0", "id": 2, "method": "prompts/get", "params": {"name": "find"}});
        let prompt = client.post(get).await.message().await;
        let content: Vec<_> =
            prompt["result"]["messages"].as_array().unwrap().iter().map(|message| &message["content"]).collect();
        assert_eq!(json!(content), json!(expected), "{version}");
    }
    let tool = app.send(modern_call("find", json!({}))).await.message().await;
    assert_eq!(tool["result"]["content"], json!(sent(true)));
    let prompt = app.send(modern("prompts/get", json!({"name": "find"}))).await.message().await;
    assert_eq!(prompt["result"]["messages"][0]["content"], sent(true)[0]);
}

/// The contents of a resource carry the URI as the client wrote it. Other URIs are percent-encoded.
///
/// Acceptance 186.
#[tokio::test(start_paused = true)]
async fn contents_have_ascii_uris_or_the_clients() {
    let app = app();
    let client = app.open().await;
    for uri in [WRITTEN, SENT] {
        let read = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": {"uri": uri}});
        let read = client.post(read).await.message().await;
        let contents = &read["result"]["contents"];
        assert_eq!((&contents[0]["uri"], &contents[1]["uri"]), (&json!(SENT), &json!(uri)));
    }
    let read = app.send(modern("resources/read", json!({"uri": SENT}))).await.message().await;
    assert_eq!(read["result"]["contents"][1]["uri"], SENT);
}
