//! A handler that uses everything rmcp lets a handler do to its client.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_http::Context;
use rmcp::handler::server::tool::{Extension, InputResponses};
use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{
    CallToolResponse, CallToolResult, ContentBlock, CreateMessageRequestParams, CreateTaskResult, ElicitRequest,
    ElicitRequestParams, ElicitResult, ElicitationSchema, GetTaskParams, GetTaskResult, InputRequest, InputRequests,
    InputRequiredResult, LoggingLevel, LoggingMessageNotificationParam, ProgressNotificationParam,
    ResourceUpdatedNotificationParam, SamplingMessage, ServerCapabilities, ServerConfig, SetLevelRequestParams,
    SubscribeRequestParams, UnsubscribeRequestParams,
};
use rmcp::service::RequestContext;
use rmcp::task_manager::{TaskManager, TaskOptions};
use rmcp::{ErrorData, RoleServer, ServerHandler, elicit_safe, schemars, tool, tool_handler, tool_router};
use serde::Deserialize;
use serde_json::json;
use tokio::time::sleep;

/// The state that all handlers share.
#[derive(Default)]
pub(super) struct Shared {
    tasks: TaskManager,
    alive: AtomicUsize,
    /// How the calls of `wait` ended.
    waited: Mutex<Vec<&'static str>>,
}

impl Shared {
    pub(super) fn alive(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }

    pub(super) fn waited(&self) -> Vec<&'static str> {
        self.waited.lock().unwrap().clone()
    }
}

pub(super) struct Handler(Arc<Shared>);

impl Handler {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        shared.alive.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(shared))
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.0.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Steps {
    steps: u32,
    ms: u64,
}

#[derive(Deserialize, schemars::JsonSchema)]
struct Name {
    name: String,
}

elicit_safe!(Name);

#[tool_router]
impl Handler {
    /// Walks, and reports progress.
    #[tool]
    async fn walk(
        &self,
        Parameters(Steps { steps, ms }): Parameters<Steps>,
        context: RequestContext<RoleServer>,
    ) -> String {
        let token = context.meta.get_progress_token().unwrap();
        for step in 1..=steps {
            let told = ProgressNotificationParam::new(token.clone(), f64::from(step)).with_total(f64::from(steps));
            context.peer.notify_progress(told).await.unwrap();
            sleep(Duration::from_millis(ms)).await;
        }
        format!("{steps} steps")
    }

    /// Asks the user and the model, and lists the roots, while the client waits.
    #[tool]
    async fn ask(&self, context: RequestContext<RoleServer>) -> String {
        let peer = context.peer;
        let Name { name } = peer.elicit("Who are you?").await.unwrap().unwrap();
        let request = vec![SamplingMessage::user_text("Six times seven?")];
        let said = peer.create_message(CreateMessageRequestParams::new(request, 100)).await.unwrap();
        let roots = peer.list_roots().await.unwrap().roots;
        format!("{name}, {}, {}", said.message.content.first().unwrap().as_text().unwrap().text, roots[0].uri)
    }

    /// Asks the user in a second round.
    #[tool]
    fn greet(&self, InputResponses(answers): InputResponses) -> CallToolResponse {
        let answer = answers.and_then(|mut answers| answers.remove("name"));
        if let Some(answer) = answer.and_then(|answer| serde_json::from_value::<ElicitResult>(answer).ok()) {
            return done(format!("Hello, {}!", answer.content.unwrap()["name"].as_str().unwrap()));
        }
        let request = ElicitRequest::new(ElicitRequestParams::FormElicitationParams {
            meta: None,
            message: "Who are you?".into(),
            requested_schema: ElicitationSchema::from_type::<Name>().unwrap(),
        });
        let requests = InputRequests::from([("name".into(), InputRequest::Elicitation(request))]);
        InputRequiredResult::from_input_requests(requests).into()
    }

    /// Logs one message that matters, and one that does not.
    #[tool]
    async fn say(&self, context: RequestContext<RoleServer>) -> String {
        for level in [LoggingLevel::Debug, LoggingLevel::Warning] {
            let message = LoggingMessageNotificationParam::new(level, json!("so it is"));
            context.peer.notify_logging_message(message).await.unwrap();
        }
        "said".into()
    }

    /// Announces that a resource and the list of tools changed.
    #[tool]
    async fn touch(&self, context: RequestContext<RoleServer>) -> String {
        context.peer.notify_resource_updated(ResourceUpdatedNotificationParam::new("a:b")).await.unwrap();
        context.peer.notify_tool_list_changed().await.unwrap();
        "touched".into()
    }

    /// Waits until it is cancelled.
    #[tool]
    async fn wait(&self, context: RequestContext<RoleServer>) -> String {
        self.0.waited.lock().unwrap().push("waits");
        context.ct.cancelled().await;
        self.0.waited.lock().unwrap().push("cancelled");
        "too late".into()
    }

    /// Closes the stream of its answer, and answers on the one that resumes it.
    #[tool]
    async fn cut(&self, Extension(context): Extension<Context>) -> String {
        context.close_sse_stream(Duration::from_millis(20));
        sleep(Duration::from_millis(100)).await;
        "resumed".into()
    }

    /// Answers with a task.
    #[tool]
    fn later(&self) -> CallToolResponse {
        let task = self.0.tasks.spawn(TaskOptions::new(), |_| {
            Box::pin(async {
                sleep(Duration::from_millis(50)).await;
                Ok(CallToolResult::success(vec![ContentBlock::text("at last")]))
            })
        });
        CreateTaskResult::new(task).into()
    }
}

fn done(text: String) -> CallToolResponse {
    CallToolResult::success(vec![ContentBlock::text(text)]).into()
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
            .enable_tasks()
            .build();
        ServerConfig::new(capabilities)
    }

    async fn set_level(&self, _: SetLevelRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn subscribe(&self, _: SubscribeRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn unsubscribe(&self, _: UnsubscribeRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        self.0.tasks.get_task(&request.task_id).map(GetTaskResult::new)
    }
}
