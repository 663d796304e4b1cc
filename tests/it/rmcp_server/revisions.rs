//! The revision of a session: the client, the handler and the transport must agree on it.

use mcp_http::message::ProtocolVersion;
use rmcp::ServerHandler;
use rmcp::model::{ProtocolVersion as Theirs, ServerCapabilities, ServerConfig};

use super::*;

fn serving(shared: &Shared, versions: &[ProtocolVersion], sessions: Sessions) -> App {
    with(shared, |service| service.versions(versions.iter().copied()).sessions(sessions))
}

#[tokio::test(start_paused = true)]
async fn initialize_returns_the_agreed_revision() {
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

/// A handler that speaks fewer revisions than this transport.
struct Particular(&'static [Theirs]);

impl ServerHandler for Particular {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::default()).with_protocol_version(self.0[0].clone())
    }

    fn supported_protocol_versions(&self) -> std::borrow::Cow<'static, [Theirs]> {
        std::borrow::Cow::Borrowed(self.0)
    }
}

fn particular(versions: &'static [Theirs]) -> App {
    App::of(McpService::builder(RmcpServer::new(move || Particular(versions))))
}

#[tokio::test(start_paused = true)]
async fn revisions_outside_the_handlers_are_not_served() {
    let app = particular(&[Theirs::V_2025_03_26, Theirs::V_2025_06_18]);
    for method in ["server/discover", "tools/list"] {
        let reply = app.send(modern(method, json!({}))).await;
        assert_eq!(reply.status, 400, "{method}");
        assert_eq!(
            reply.text().await,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"Bad Request: Unsupported protocol version: 2026-07-28 (supported versions: 2025-03-26, 2025-06-18)"}}"#
        );
    }
    let reply = app.post(initialize("2025-11-25", json!({}))).await;
    assert_eq!(reply.json().await["result"]["protocolVersion"], "2025-06-18");

    let app = particular(&[Theirs::V_2026_07_28]);
    let discovered = app.send(modern("server/discover", json!({}))).await.json().await;
    assert_eq!(discovered["result"]["supportedVersions"], json!(["2026-07-28"]));
    assert_eq!(app.post(initialize("2025-11-25", json!({}))).await.status, 400);
}

#[tokio::test(start_paused = true)]
async fn handlers_without_a_served_revision_reject_all() {
    let app = particular(&[Theirs::V_2024_11_05]);
    for reply in [app.post(initialize("2024-11-05", json!({}))).await, app.send(modern("tools/list", json!({}))).await]
    {
        assert_eq!(reply.status, 400);
        assert_eq!(reply.json().await["error"]["data"]["supported"], json!([]));
    }
}
