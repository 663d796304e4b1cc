//! Ownership of tasks and request states, for handlers that know no principals.

use std::sync::{Arc, Mutex};

use mcp_http::{McpService, Principal, RmcpServer, SealingKey};
use rmcp::handler::server::tool::{InputResponses, RequestState};
use rmcp::model::{
    CallToolResponse, CallToolResult, CancelTaskParams, ContentBlock, CreateTaskResult, CustomRequest, CustomResult,
    DetailedTask, GetTaskParams, GetTaskResult, Implementation, InputRequest, InputRequests, InputRequiredResult,
    ListRootsRequest, ServerCapabilities, ServerConfig, Task, TaskPayload, TaskStatus, TaskStatusNotification,
    TaskStatusNotificationParams, UpdateTaskParams,
};
use rmcp::service::RequestContext;
use rmcp::task_manager::{TaskManager, TaskOptions};
use rmcp::{ErrorData, RoleServer, ServerHandler, tool, tool_handler, tool_router};
use serde_json::{Value, json};

use crate::support::{App, modern};

const UNUSABLE: &str = "Invalid params: `requestState` cannot be used";

/// A handler that shares its tasks with all other handlers, as rmcp's manager does.
#[derive(Clone)]
struct Tasks {
    name: &'static str,
    manager: TaskManager,
    begun: Arc<Mutex<Vec<String>>>,
}

impl Tasks {
    fn new(name: &'static str) -> Self {
        Self { name, manager: TaskManager::new(), begun: Arc::default() }
    }

    fn spawn(&self) -> Task {
        let task = self.manager.spawn(TaskOptions::new(), |task| {
            Box::pin(async move {
                task.cancelled().await;
                Ok(CallToolResult::success(vec![ContentBlock::text("the secret")]))
            })
        });
        self.begun.lock().unwrap().push(task.task_id.clone());
        task
    }
}

#[tool_router]
impl Tasks {
    /// Begins a task.
    #[tool]
    fn begin(&self) -> CallToolResponse {
        CreateTaskResult::new(self.spawn()).into()
    }

    /// Reports the status of every task.
    #[tool]
    async fn tell(&self, context: RequestContext<RoleServer>) -> String {
        let begun = self.begun.lock().unwrap().clone();
        for id in begun {
            let status = DetailedTask::new(Task::new(id, TaskStatus::Working, "t", "t"), TaskPayload::Working);
            let status = TaskStatusNotification::new(TaskStatusNotificationParams::new(status));
            context.peer.send_notification(status.into()).await.unwrap();
        }
        "told".into()
    }

    /// Asks in rounds, and accepts every state as its own.
    #[tool]
    fn rounds(&self, RequestState(state): RequestState, InputResponses(_): InputResponses) -> CallToolResponse {
        if let Some(state) = state {
            return CallToolResult::success(vec![ContentBlock::text(state)]).into();
        }
        let roots = InputRequest::ListRoots(ListRootsRequest::default());
        InputRequiredResult::new(Some(InputRequests::from([("r".into(), roots)])), Some("mine".into())).into()
    }
}

#[tool_handler]
impl ServerHandler for Tasks {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().enable_tasks().build())
            .with_server_info(Implementation::new(self.name, "1.0.0"))
    }

    async fn get_task(&self, get: GetTaskParams, _: RequestContext<RoleServer>) -> Result<GetTaskResult, ErrorData> {
        self.manager.get_task(&get.task_id).map(GetTaskResult::new)
    }

    async fn update_task(&self, update: UpdateTaskParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        self.manager.update_task(&update.task_id, update.input_responses)
    }

    async fn cancel_task(&self, cancel: CancelTaskParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        self.manager.cancel_task(&cancel.task_id)
    }

    /// The methods of tasks that rmcp no longer has.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        let id = request.params.as_ref().and_then(|params| params["taskId"].as_str()).unwrap_or_default().to_owned();
        Ok(CustomResult::new(match &*request.method {
            "tasks/list" => {
                let ids = self.begun.lock().unwrap().clone();
                json!({"tasks": ids.iter().map(|id| json!({"taskId": id})).collect::<Vec<_>>()})
            }
            _ => {
                self.manager.get_task(&id)?;
                json!({"taskId": id, "_meta": {"io.modelcontextprotocol/related-task": {"taskId": id}}})
            }
        }))
    }
}

fn node(name: &'static str, keys: &[SealingKey]) -> App {
    let tasks = Tasks::new(name);
    let server = RmcpServer::new(move || tasks.clone()).keys(keys.to_vec());
    App::of(McpService::builder(server))
}

/// Sends a request of a client that supports tasks. Returns its answer.
async fn send_as(app: &App, principal: Option<&str>, method: &str, mut params: Value) -> Value {
    let capabilities = json!({"roots": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}});
    params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = capabilities;
    let mut request = modern(method, params);
    if let Some(principal) = principal {
        request.extensions_mut().insert(Principal::new(principal));
    }
    app.send(request).await.message().await
}

async fn begin(app: &App, principal: Option<&str>) -> String {
    let begun = send_as(app, principal, "tools/call", json!({"name": "begin", "arguments": {}})).await;
    assert_eq!(begun["result"]["resultType"], "task", "{begun}");
    begun["result"]["taskId"].as_str().unwrap().to_owned()
}

fn unknown(id: &str) -> Value {
    json!({"code": -32602, "message": format!("unknown task: {id}")})
}

#[tokio::test(start_paused = true)]
async fn tasks_belong_to_their_principal() {
    let app = node("tasks", &[]);
    let id = begin(&app, Some("ada")).await;
    for principal in [Some("bob"), None] {
        for method in ["tasks/get", "tasks/update", "tasks/cancel", "tasks/result"] {
            let answer = send_as(&app, principal, method, json!({"taskId": id, "inputResponses": {}})).await;
            assert_eq!(answer["error"], unknown(&id), "{principal:?} {method}");
        }
    }
    let got = send_as(&app, Some("ada"), "tasks/get", json!({"taskId": id})).await["result"].clone();
    assert_eq!((&got["taskId"], &got["status"]), (&json!(id), &json!("working")), "no other client has cancelled it");
    let related = send_as(&app, Some("ada"), "tasks/result", json!({"taskId": id})).await["result"].clone();
    assert_eq!(related["taskId"], json!(id));
    assert_eq!(related["_meta"]["io.modelcontextprotocol/related-task"], json!({"taskId": id}));
    for method in ["tasks/update", "tasks/cancel"] {
        let answer = send_as(&app, Some("ada"), method, json!({"taskId": id, "inputResponses": {}})).await;
        assert!(answer["result"].is_object(), "{method} {answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn plain_task_ids_open_nothing_for_principals() {
    let app = node("tasks", &[]);
    let id = begin(&app, None).await;
    assert_eq!(id.len(), 36, "without a principal an id is rmcp's: {id}");
    assert_eq!(send_as(&app, None, "tasks/get", json!({"taskId": id})).await["result"]["status"], "working");
    assert_eq!(send_as(&app, Some("bob"), "tasks/get", json!({"taskId": id})).await["error"], unknown(&id));
    for wrong in ["", "nonsense", &"x".repeat(10_000)] {
        assert_eq!(send_as(&app, Some("bob"), "tasks/get", json!({"taskId": wrong})).await["error"], unknown(wrong));
    }
}

#[tokio::test(start_paused = true)]
async fn request_state_belongs_to_its_principal() {
    let app = node("tasks", &[]);
    let rounds = |state: Option<&str>| match state {
        Some(state) => json!({"name": "rounds", "arguments": {}, "requestState": state, "inputResponses": {}}),
        None => json!({"name": "rounds", "arguments": {}}),
    };
    let asked = send_as(&app, Some("ada"), "tools/call", rounds(None)).await;
    let state = asked["result"]["requestState"].as_str().unwrap_or_else(|| panic!("{asked}"));
    assert!(!state.contains("mine"), "{state}");
    for (principal, state) in [("bob", state), ("bob", "mine"), ("ada", "mine"), ("ada", ""), ("ada", &state[1..])] {
        let rejected = send_as(&app, Some(principal), "tools/call", rounds(Some(state))).await;
        assert_eq!(rejected["error"], json!({"code": -32602, "message": UNUSABLE}), "{principal} {state}");
    }
    let again = send_as(&app, Some("ada"), "tools/call", rounds(Some(state))).await;
    assert_eq!(again["result"]["content"][0]["text"], "mine");
    // Without a principal, a request state is any text the client sends. The handler gets the
    // sealed text, not ada's.
    let other = send_as(&app, None, "tools/call", rounds(Some(state))).await;
    assert_eq!(other["result"]["content"][0]["text"], state);
}

#[tokio::test(start_paused = true)]
async fn request_state_needs_key_and_server_name() {
    let key = |n: u8| SealingKey::from_bytes([n; 32]);
    let call = |state: &Value| json!({"name": "rounds", "arguments": {}, "requestState": state});
    let asked = send_as(&node("tasks", &[key(1)]), Some("ada"), "tools/call", json!({"name": "rounds"})).await;
    let state = &asked["result"]["requestState"];
    for (node, opens) in [
        (node("tasks", &[key(1)]), true),
        (node("tasks", &[key(2), key(1)]), true),
        (node("others", &[key(1)]), false),
        (node("tasks", &[key(2)]), false),
        (node("tasks", &[]), false),
    ] {
        let answer = send_as(&node, Some("ada"), "tools/call", call(state)).await;
        assert_eq!(answer["result"]["content"][0]["text"] == "mine", opens, "{answer}");
        assert_eq!(answer["error"]["message"] == UNUSABLE, !opens, "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_see_their_own_tasks_only() {
    let app = node("tasks", &[]);
    let capabilities = json!({"extensions": {"io.modelcontextprotocol/tasks": {}}});
    let ada = app.open_as("2025-11-25", capabilities, Some(Principal::new("ada"))).await;
    begin(&app, Some("bob")).await;
    let id = begin(&app, Some("ada")).await;
    let get = json!({"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": {"taskId": id}});
    assert_eq!(ada.post(get).await.message().await["result"]["taskId"], json!(id), "in either era");
    let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tasks/list"});
    assert_eq!(ada.post(list).await.message().await["result"], json!({"tasks": [{"taskId": id}]}));
    let tell = json!({"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "tell", "arguments": {}}});
    let told = super::messages(ada.post(tell).await).await;
    assert_eq!(told.len(), 2, "of her own task, and the answer: {told:?}");
    assert!(told[0].contains(&format!(r#""taskId":"{id}""#)), "{told:?}");
}
