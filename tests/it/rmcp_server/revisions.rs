//! Which revision a session speaks: what the client is told, what the handler knows, and what the transport holds
//! its requests to are one.

use mcp_http::message::ProtocolVersion;
use rmcp::ServerHandler;
use rmcp::model::{ProtocolVersion as Theirs, ServerCapabilities, ServerConfig};

use super::*;

fn serving(shared: &Shared, versions: &[ProtocolVersion], sessions: Sessions) -> App {
    with(shared, |service| service.versions(versions.iter().copied()).unwrap().sessions(sessions).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_client_is_told_the_revision_that_its_session_speaks() {
    let served = [ProtocolVersion::V2025_06_18];
    for (versions, asked, told) in [
        (&served[..], "2025-11-25", "2025-06-18"),
        (&served[..], "2025-06-18", "2025-06-18"),
        (&ProtocolVersion::ALL[..], "2024-11-05", "2025-11-25"),
        (&ProtocolVersion::ALL[..], "2026-07-28", "2025-11-25"),
        (&ProtocolVersion::ALL[..], "2025-03-26", "2025-03-26"),
    ] {
        let shared = Shared::default();
        let app = serving(&shared, versions, Sessions::new());
        let reply = app.post(initialize(asked, json!({}))).await;
        let session = reply.header("mcp-session-id").unwrap().to_owned();
        assert_eq!(reply.json().await["result"]["protocolVersion"], told, "{asked}");
        assert_eq!(app.handle.sessions().await.unwrap()[0].info.version.as_str(), told);
        let client = Client { app, session, version: told.to_owned(), principal: None };
        let who = text(client.call(7, "who", json!({})).await).await;
        assert_eq!(who, format!("None None {told} test 7"));
        let stateless = serving(&shared, versions, Sessions::new().stateless(true));
        let reply = stateless.post(initialize(asked, json!({}))).await;
        assert_eq!(reply.json().await["result"]["protocolVersion"], told, "{asked}, without a session");
    }
}

/// A handler that speaks an older revision than this transport.
struct Old;

impl ServerHandler for Old {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::default()).with_protocol_version(Theirs::V_2024_11_05)
    }

    fn supported_protocol_versions(&self) -> std::borrow::Cow<'static, [Theirs]> {
        std::borrow::Cow::Borrowed(&[Theirs::V_2024_11_05])
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_whose_revision_is_not_served_opens_no_session() {
    for stateless in [false, true] {
        let service = McpService::new(RmcpServer::new(|| Old));
        let app = App::of(service.sessions(Sessions::new().stateless(stateless)).unwrap());
        let reply = app.post(initialize("2025-11-25", json!({}))).await;
        assert_eq!(reply.header("mcp-session-id"), None);
        assert_eq!(
            reply.text().await,
            r#"{"jsonrpc":"2.0","id":0,"error":{"code":-32603,"message":"The server speaks a protocol revision that is not served here","data":{"version":"2024-11-05"}}}"#
        );
        assert!(app.handle.sessions().await.unwrap().is_empty());
    }
}
