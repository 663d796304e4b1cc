//! A handler written with rmcp's macros, and the records that the tests read.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_http::Context;
use rmcp::handler::server::tool::{InputResponses, RequestState};
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{
    CallToolResponse, CallToolResult, CancelledNotificationParam, ClientResult, ContentBlock, CustomNotification,
    CustomRequest, CustomResult, Implementation, InitializeRequestParams, InitializeResult, InputRequest,
    InputRequests, InputRequiredResult, ListRootsRequest, LoggingLevel, LoggingMessageNotificationParam,
    ProgressNotificationParam, ResourceUpdatedNotificationParam, ServerCapabilities, ServerConfig, ServerRequest,
    SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter, UnsubscribeRequestParams,
};
use rmcp::service::{NotificationContext, Peer, PeerRequestOptions, RequestContext, ServiceError, SubscriptionContext};
use rmcp::{ErrorData, RoleServer, ServerHandler, schemars, tool, tool_handler, tool_router};

/// The state that tests and handlers share.
#[derive(Clone, Default)]
pub(crate) struct Shared {
    /// The events, in order.
    pub(crate) seen: Arc<Mutex<Vec<String>>>,
    /// A peer that a handler kept.
    pub(crate) kept: Arc<Mutex<Option<Peer<RoleServer>>>>,
    /// The number of handlers that exist.
    pub(crate) handlers: Arc<AtomicU32>,
    /// Whether the handler serves subscriptions itself.
    pub(crate) listens: bool,
    /// What a handler does when its client is ready.
    pub(crate) begins: Begins,
    /// A context that a handler kept.
    pub(crate) context: Arc<Mutex<Option<RequestContext<RoleServer>>>>,
}

/// What a handler does in `on_initialized`.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Begins {
    #[default]
    Quietly,
    Asking,
    Telling,
}

impl Shared {
    pub(crate) fn saw(&self, what: impl Into<String>) {
        self.seen.lock().unwrap().push(what.into());
    }

    /// Takes the events since the last call of this method.
    pub(crate) fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }

    pub(crate) fn kept(&self) -> Peer<RoleServer> {
        self.kept.lock().unwrap().clone().unwrap()
    }

    pub(crate) fn handlers(&self) -> u32 {
        self.handlers.load(Ordering::SeqCst)
    }
}

/// One handler, of a session or of a request.
pub(crate) struct Handler {
    shared: Shared,
    calls: AtomicU32,
}

impl Handler {
    pub(crate) fn new(shared: &Shared) -> Self {
        shared.handlers.fetch_add(1, Ordering::SeqCst);
        Self { shared: shared.clone(), calls: AtomicU32::new(0) }
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.shared.handlers.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Text {
    text: String,
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Times {
    times: usize,
}

async fn roots(peer: &Peer<RoleServer>, options: PeerRequestOptions) -> Result<usize, ServiceError> {
    let request = ServerRequest::ListRootsRequest(ListRootsRequest::default());
    match peer.send_request_with_option(request, options).await?.await_response().await? {
        ClientResult::ListRootsResult(roots) => Ok(roots.roots.len()),
        _ => Err(ServiceError::UnexpectedResponse),
    }
}

fn outcome_text(roots: Result<usize, ServiceError>) -> String {
    roots.map_or_else(|error| format!("error: {error}"), |count| format!("{count} roots"))
}

#[tool_router]
impl Handler {
    /// Counts its calls.
    #[tool]
    fn count(&self) -> String {
        (self.calls.fetch_add(1, Ordering::SeqCst) + 1).to_string()
    }

    /// Says who calls.
    #[tool]
    #[expect(clippy::needless_pass_by_value, reason = "what rmcp hands to a tool")]
    fn who(&self, context: RequestContext<RoleServer>) -> String {
        let parts = context.extensions.get::<http::request::Parts>().unwrap();
        let cx = context.extensions.get::<Context>().unwrap();
        format!(
            "{:?} {:?} {} {} {}",
            parts.headers.get("x-who"),
            cx.principal().map(ToString::to_string),
            context.protocol_version().unwrap(),
            context.client_info().unwrap().name,
            context.id,
        )
    }

    /// Reports progress, and logs.
    #[tool]
    async fn steps(&self, context: RequestContext<RoleServer>) -> String {
        let token = context.meta.get_progress_token().unwrap();
        for step in 1..=3 {
            let told = ProgressNotificationParam::new(token.clone(), f64::from(step)).with_total(3.0);
            context.peer.notify_progress(told).await.unwrap();
        }
        "walked".into()
    }

    /// Logs.
    #[tool]
    async fn say(&self, context: RequestContext<RoleServer>) -> String {
        for level in [LoggingLevel::Debug, LoggingLevel::Warning] {
            let message = LoggingMessageNotificationParam::new(level, "so it is".into());
            context.peer.notify_logging_message(message).await.unwrap();
        }
        "said".into()
    }

    /// Lists the roots of the client.
    #[tool]
    async fn ask(&self, context: RequestContext<RoleServer>) -> String {
        outcome_text(roots(&context.peer, PeerRequestOptions::no_options()).await)
    }

    /// Lists the roots, with a short timeout.
    #[tool]
    async fn ask_briefly(&self, context: RequestContext<RoleServer>) -> String {
        outcome_text(roots(&context.peer, PeerRequestOptions::with_timeout(Duration::from_secs(5))).await)
    }

    /// Lists the roots several times, and does not wait for the answers.
    #[tool]
    async fn ask_impatiently(
        &self,
        context: RequestContext<RoleServer>,
        Parameters(Times { times }): Parameters<Times>,
    ) {
        let peer = context.peer;
        tokio::spawn(async move {
            for _ in 0..times {
                let _ = tokio::time::timeout(Duration::from_secs(1), peer.list_roots()).await;
            }
        });
    }

    /// Lists the roots, and cancels the request.
    #[tool]
    async fn ask_not(&self, context: RequestContext<RoleServer>) -> String {
        let request = ServerRequest::ListRootsRequest(ListRootsRequest::default());
        let asked = context.peer.send_request_with_option(request, PeerRequestOptions::no_options()).await.unwrap();
        asked.cancel(None).await.unwrap();
        "never mind".into()
    }

    /// Lists the roots once the call is cancelled.
    #[tool]
    async fn ask_late(&self, context: RequestContext<RoleServer>) -> String {
        context.ct.cancelled().await;
        let text = outcome_text(roots(&context.peer, PeerRequestOptions::no_options()).await);
        self.shared.saw(text);
        "too late".into()
    }

    /// Starts a task that ends with its request.
    #[tool]
    fn leave_a_task(&self, context: RequestContext<RoleServer>) -> String {
        let shared = self.shared.clone();
        tokio::spawn(async move {
            context.ct.cancelled().await;
            shared.saw("the task has ended");
        });
        "left".into()
    }

    /// Keeps its context.
    #[tool]
    fn keep_context(&self, context: RequestContext<RoleServer>) -> String {
        *self.shared.context.lock().unwrap() = Some(context);
        "kept".into()
    }

    /// Lists the roots in a task, where rmcp does not know the call.
    #[tool]
    async fn ask_aside(&self, context: RequestContext<RoleServer>) -> String {
        let peer = context.peer;
        outcome_text(tokio::spawn(async move { roots(&peer, PeerRequestOptions::no_options()).await }).await.unwrap())
    }

    /// Waits until it is cancelled, and cleans up.
    #[tool]
    async fn wait(&self, context: RequestContext<RoleServer>) -> String {
        self.shared.saw("waits");
        context.ct.cancelled().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.shared.saw("cleaned up");
        "too late".into()
    }

    /// Fails.
    #[tool]
    fn fail(&self) -> Result<String, ErrorData> {
        Err(ErrorData::invalid_params("not like this", Some(serde_json::json!({"why": 7}))))
    }

    /// Panics.
    #[tool]
    fn panic(&self) -> String {
        panic!("secret")
    }

    /// Keeps its peer.
    #[tool]
    fn keep(&self, context: RequestContext<RoleServer>) -> String {
        *self.shared.kept.lock().unwrap() = Some(context.peer);
        "kept".into()
    }

    /// Announces changes.
    #[tool]
    async fn change(&self, context: RequestContext<RoleServer>) -> String {
        context.peer.notify_tool_list_changed().await.unwrap();
        context.peer.notify_resource_updated(ResourceUpdatedNotificationParam::new("a:b")).await.unwrap();
        "changed".into()
    }

    /// Asks in rounds, as a handler of 2026-07-28 does.
    #[tool]
    fn rounds(&self, RequestState(state): RequestState, InputResponses(answers): InputResponses) -> CallToolResponse {
        if let Some(state) = state {
            let answers = serde_json::to_string(&answers).unwrap();
            return CallToolResult::success(vec![ContentBlock::text(format!("{state} {answers}"))]).into();
        }
        let roots = InputRequest::ListRoots(ListRootsRequest::default());
        InputRequiredResult::new(Some(InputRequests::from([("r".into(), roots)])), Some("mine".into())).into()
    }

    /// Repeats a text.
    #[tool]
    fn echo(&self, Parameters(Text { text }): Parameters<Text>) -> String {
        text
    }
}

#[tool_handler]
impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_logging()
            .build();
        // The name is the handler's own: the default is rmcp's, with the version of rmcp in this
        // build.
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("handler", "1.0.0"))
            .with_instructions("Be kind.")
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        let parts = context.extensions.get::<http::request::Parts>().unwrap();
        let cx = context.extensions.get::<Context>().unwrap();
        assert_eq!(cx.protocol_version().as_str(), request.protocol_version.as_str());
        self.shared.saw(format!("initialize by {} at {}", request.client_info.name, parts.uri.path()));
        if request.client_info.name == "stranger" {
            return Err(ErrorData::invalid_request("not you", None));
        }
        context.peer.set_peer_info(request.clone());
        self.negotiate_initialize(&request)
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        self.shared.saw("initialized");
        match self.shared.begins {
            Begins::Quietly => {}
            Begins::Asking => {
                self.shared.saw(outcome_text(roots(&context.peer, PeerRequestOptions::no_options()).await))
            }
            Begins::Telling => {
                for text in ["one", "two"] {
                    let message = LoggingMessageNotificationParam::new(LoggingLevel::Warning, text.into());
                    context.peer.notify_logging_message(message).await.unwrap();
                }
                context.peer.notify_tool_list_changed().await.unwrap();
                self.shared.saw("told");
            }
        }
    }

    async fn on_cancelled(&self, cancelled: CancelledNotificationParam, context: NotificationContext<RoleServer>) {
        assert!(context.extensions.get::<http::request::Parts>().is_some());
        assert!(context.extensions.get::<Context>().is_some());
        let reason = cancelled.reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        self.shared.saw(format!("cancelled {}{reason}", cancelled.request_id.unwrap()));
    }

    async fn on_custom_notification(&self, notification: CustomNotification, _: NotificationContext<RoleServer>) {
        assert_ne!(notification.method, "notifications/panic", "secret");
        self.shared.saw(notification.method);
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        Ok(CustomResult::new(serde_json::json!({"method": request.method, "params": request.params})))
    }

    async fn set_level(&self, _: SetLevelRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn subscribe(&self, wanted: SubscribeRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        self.shared.saw(format!("subscribes to {}", wanted.uri));
        if wanted.uri == "not:this" { Err(ErrorData::invalid_params("not this", None)) } else { Ok(()) }
    }

    async fn unsubscribe(&self, _: UnsubscribeRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        Ok(())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        self.shared.listens.then(|| requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        context.sink().notify_tool_list_changed().await.unwrap();
        context.cancelled().await;
        self.shared.saw("listened");
        Ok(())
    }
}
