//! A client of rmcp's: it answers requests as a user and a model would, and records what it
//! receives.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientCapabilities, ClientConfig, ClientRequest,
    CreateMessageRequestParams, CreateMessageResult, ElicitRequestParams, ElicitResult, ElicitationAction,
    Implementation, ListRootsResult, LoggingMessageNotificationParam, ProgressNotificationParam,
    ResourceUpdatedNotificationParam, Root, SamplingMessage, ServerResult,
};
use rmcp::service::{
    ClientLifecycleMode, NotificationContext, PeerRequestOptions, RequestContext, RequestHandle, RunningService,
    ServiceError,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, ClientServiceExt, ErrorData, RoleClient};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::timeout;

/// What the client received apart from answers.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The progress of all calls, in order.
    pub(super) progress: Vec<f64>,
    pub(super) asked: Vec<&'static str>,
    pub(super) logged: Vec<String>,
    pub(super) updated: Vec<String>,
    pub(super) lists_changed: usize,
}

#[derive(Clone, Default)]
pub(super) struct Person {
    seen: Arc<Mutex<Seen>>,
    more: Arc<Notify>,
}

impl Person {
    fn sees(&self, what: impl FnOnce(&mut Seen)) {
        what(&mut self.seen.lock().unwrap());
        self.more.notify_waiters();
    }
}

impl ClientHandler for Person {
    fn get_info(&self) -> ClientConfig {
        let capabilities =
            ClientCapabilities::builder().enable_elicitation().enable_sampling().enable_roots().enable_tasks().build();
        ClientConfig::new(capabilities, Implementation::new("rmcp-test", "1.0.0"))
    }

    async fn create_elicitation(
        &self,
        _: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        self.sees(|seen| seen.asked.push("user"));
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(json!({"name": "Ada"})))
    }

    async fn create_message(
        &self,
        _: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        self.sees(|seen| seen.asked.push("model"));
        Ok(CreateMessageResult::new(SamplingMessage::assistant_text("forty-two"), "test".into()))
    }

    async fn list_roots(&self, _: RequestContext<RoleClient>) -> Result<ListRootsResult, ErrorData> {
        self.sees(|seen| seen.asked.push("roots"));
        Ok(ListRootsResult::new(vec![Root::new("file:///home/ada")]))
    }

    async fn on_progress(&self, told: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.sees(|seen| seen.progress.push(told.progress));
    }

    async fn on_logging_message(&self, told: LoggingMessageNotificationParam, _: NotificationContext<RoleClient>) {
        self.sees(|seen| seen.logged.push(format!("{:?}: {}", told.level, told.data)));
    }

    async fn on_resource_updated(&self, told: ResourceUpdatedNotificationParam, _: NotificationContext<RoleClient>) {
        self.sees(|seen| seen.updated.push(told.uri));
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.sees(|seen| seen.lists_changed += 1);
    }
}

/// A connected client.
pub(super) struct Client {
    pub(super) service: RunningService<RoleClient, Person>,
}

impl Client {
    pub(super) async fn connect(url: String, lifecycle: ClientLifecycleMode) -> Self {
        let transport = StreamableHttpClientTransport::from_config(StreamableHttpClientTransportConfig::with_uri(url));
        Self { service: Person::default().serve_with_lifecycle(transport, lifecycle).await.unwrap() }
    }

    /// Calls a tool, and returns the text of its answer.
    pub(super) async fn call(&self, tool: &'static str, arguments: Value) -> String {
        let result = self.service.call_tool(params(tool, arguments)).await.unwrap();
        result.content[0].as_text().unwrap().text.clone()
    }

    /// Begins a call.
    pub(super) async fn begin(&self, tool: &'static str) -> RequestHandle<RoleClient> {
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(params(tool, json!({}))));
        self.service.send_request_with_option(request, PeerRequestOptions::no_options()).await.unwrap()
    }

    /// Waits until the records satisfy a condition.
    pub(super) async fn until(&self, enough: impl Fn(&Seen) -> bool) {
        let person = self.service.service();
        let waiting = timeout(Duration::from_secs(20), async {
            loop {
                let more = person.more.notified();
                if enough(&person.seen.lock().unwrap()) {
                    return;
                }
                more.await;
            }
        });
        assert!(waiting.await.is_ok(), "{:?}", person.seen.lock().unwrap());
    }

    /// Takes the records since the last call of this method.
    pub(super) fn seen(&self) -> Seen {
        std::mem::take(&mut *self.service.service().seen.lock().unwrap())
    }
}

/// Returns the result of a call that was begun.
pub(super) async fn ended(call: RequestHandle<RoleClient>) -> Result<ServerResult, ServiceError> {
    call.await_response().await
}

fn params(tool: &'static str, arguments: Value) -> CallToolRequestParams {
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    CallToolRequestParams::new(tool).with_arguments(arguments)
}
