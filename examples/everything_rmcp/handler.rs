//! The handler: answers each method of the protocol, with state of its own and state that all
//! handlers share.
#![expect(deprecated, reason = "clients of the session revisions can still be logged to")]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::handler::server::router::prompt::PromptRouter;
use rmcp::handler::server::router::tool::ToolRouter;
use rmcp::model::{
    CacheScope, CancelTaskParams, CompleteRequestParams, CompleteResult, DiscoverResult, GetPromptRequestParams,
    GetPromptResponse, GetSkillRequestParams, GetSkillResult, GetTaskParams, GetTaskResult, Implementation,
    ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListSkillsResult, ListToolsResult,
    PaginatedRequestParams, ReadResourceDirectoryRequestParams, ReadResourceDirectoryResult, ReadResourceRequestParams,
    ReadResourceResponse, RequestStateCodec, RequestStateError, ServerCapabilities, ServerConfig,
    SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter, UnsubscribeRequestParams, UpdateTaskParams,
};
use rmcp::service::{NotificationContext, RequestContext, SubscriptionContext};
use rmcp::task_manager::{TaskManager, TaskOptions};
use rmcp::{ErrorData, RoleServer, ServerHandler, tool_handler};
use tokio::sync::broadcast;
use uuid::Uuid;

use crate::changes::{self, Change, Hub, Subscribed};
use crate::cli::Cli;
use crate::owners::Owners;
use crate::slow::Calls;
use crate::{prompts, resources, skills};

/// State that all handlers share.
pub(crate) struct Shared {
    pub(crate) tools: ToolRouter<Everything>,
    pub(crate) prompts: PromptRouter<Everything>,
    pub(crate) hub: Hub,
    pub(crate) calls: Calls,
    pub(crate) tasks: TaskManager,
    pub(crate) owners: Owners,
    /// Seals the state that clients carry between the rounds of a call.
    pub(crate) seal: RequestStateCodec,
    /// How long a client may take to answer an input request.
    pub(crate) seal_lifetime: Duration,
    pub(crate) task_options: TaskOptions,
    page_size: usize,
    /// Milliseconds clients may cache lists.
    ttl: u64,
}

impl Shared {
    pub(crate) fn new(cli: &Cli) -> Result<Self, RequestStateError> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let task_options = TaskOptions::new()
            .with_ttl_ms(cli.task_ttl().map(millis))
            .with_poll_interval_ms(millis(cli.task_poll_interval()));
        let secret = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
        Ok(Self {
            tools: Everything::content()
                + Everything::running()
                + Everything::elicitation()
                + Everything::rounds()
                + Everything::changes()
                + Everything::slow()
                + Everything::jobs(),
            prompts: Everything::prompt_router(),
            hub: Hub::default(),
            calls: Calls::default(),
            tasks: TaskManager::new(),
            owners: Owners::default(),
            seal: RequestStateCodec::try_new(secret)?,
            seal_lifetime: cli.input_lifetime(),
            task_options,
            page_size: cli.page_size,
            ttl: millis(cli.cache()),
        })
    }

    /// Returns one page of a list, and the cursor of the next.
    fn page<T>(
        &self,
        items: Vec<T>,
        request: Option<PaginatedRequestParams>,
    ) -> Result<(Vec<T>, Option<String>), ErrorData> {
        let cursor = request.and_then(|request| request.cursor);
        let begin = match &cursor {
            Some(cursor) => cursor.parse().ok().filter(|begin| *begin < items.len()),
            None => Some(0),
        };
        let begin = begin.ok_or_else(|| ErrorData::invalid_params("Unknown cursor", None))?;
        let end = begin.saturating_add(self.page_size);
        let next = (end < items.len()).then(|| end.to_string());
        Ok((items.into_iter().skip(begin).take(self.page_size).collect(), next))
    }
}

/// The handler of one session, or of one request without a session.
pub(crate) struct Everything {
    pub(crate) shared: Arc<Shared>,
    subscribed: Subscribed,
    /// Subscribed from the start, so that no change is missed between the acknowledgement and
    /// `listen`.
    changes: Mutex<Option<broadcast::Receiver<Change>>>,
}

impl Everything {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        let changes = Mutex::new(Some(shared.hub.subscribe()));
        Self { shared: Arc::clone(shared), subscribed: Subscribed::default(), changes }
    }
}

// `#[prompt_handler]` is not used: its `get_prompt` does not pass the answers of earlier rounds to
// prompts.
#[tool_handler(router = self.shared.tools)]
impl ServerHandler for Everything {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_resources()
            .enable_resources_list_changed()
            .enable_resources_subscribe()
            .enable_completions()
            .enable_logging()
            .enable_tasks()
            .enable_skills_with_directory_read()
            .build();
        ServerConfig::new(capabilities)
            .with_server_info(
                Implementation::new("everything-rmcp", env!("CARGO_PKG_VERSION")).with_title("Everything"),
            )
            .with_instructions("A server to try clients on. Every tool can be called as its schema says.")
    }

    async fn discover(&self, _: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        let versions = ServerHandler::supported_protocol_versions(self).into_owned();
        let result = DiscoverResult::from_server_info(versions, self.get_info());
        Ok(result.with_ttl_ms(self.shared.ttl).with_cache_scope(CacheScope::Private))
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let (tools, next_cursor) = self.shared.page(self.shared.tools.list_all(), request)?;
        let list = ListToolsResult { next_cursor, ..ListToolsResult::with_all_items(tools) };
        Ok(list.with_ttl_ms(self.shared.ttl).with_cache_scope(CacheScope::Private))
    }

    async fn list_prompts(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let (prompts, next_cursor) = self.shared.page(self.every_prompt(), request)?;
        let list = ListPromptsResult { next_cursor, ..ListPromptsResult::with_all_items(prompts) };
        Ok(list.with_ttl_ms(self.shared.ttl).with_cache_scope(CacheScope::Private))
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let (resources, next_cursor) = self.shared.page(resources::list(), request)?;
        let list = ListResourcesResult { next_cursor, ..ListResourcesResult::with_all_items(resources) };
        Ok(list.with_ttl_ms(self.shared.ttl).with_cache_scope(CacheScope::Private))
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let (templates, next_cursor) = self.shared.page(resources::templates(), request)?;
        let list =
            ListResourceTemplatesResult { next_cursor, ..ListResourceTemplatesResult::with_all_items(templates) };
        Ok(list.with_ttl_ms(self.shared.ttl).with_cache_scope(CacheScope::Private))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        self.prompt(request, context).await
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        resources::read(&request.uri).map(ReadResourceResponse::from)
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        prompts::complete(&request)
    }

    async fn set_level(&self, _: SetLevelRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        // The transport stores the level and drops messages below it.
        Ok(())
    }

    async fn subscribe(&self, request: SubscribeRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        self.subscribed.lock().unwrap_or_else(PoisonError::into_inner).insert(request.uri);
        Ok(())
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.subscribed.lock().unwrap_or_else(PoisonError::into_inner).remove(&request.uri);
        Ok(())
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        self.shared.hub.join(context.peer, &self.subscribed);
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        let changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner).take();
        changes::forward(&subscription, changes.unwrap_or_else(|| self.shared.hub.subscribe())).await;
        Ok(())
    }

    async fn list_skills(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListSkillsResult, ErrorData> {
        let (skills, next_cursor) = self.shared.page(skills::list(), request)?;
        let list = ListSkillsResult { next_cursor, ..ListSkillsResult::with_all_items(skills) };
        Ok(list.with_ttl_ms(self.shared.ttl).with_cache_scope(CacheScope::Private))
    }

    async fn get_skill(
        &self,
        request: GetSkillRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<GetSkillResult, ErrorData> {
        let result = skills::get(&request.uri).map(GetSkillResult::new)?;
        Ok(result.with_ttl_ms(self.shared.ttl).with_cache_scope(CacheScope::Private))
    }

    async fn read_resource_directory(
        &self,
        request: ReadResourceDirectoryRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceDirectoryResult, ErrorData> {
        let cursor = PaginatedRequestParams::default().with_cursor(request.cursor);
        let (resources, next_cursor) = self.shared.page(skills::folder(&request.uri)?, Some(cursor))?;
        let list = ListResourcesResult { next_cursor, ..ListResourcesResult::with_all_items(resources) };
        Ok(list.with_ttl_ms(self.shared.ttl).with_cache_scope(CacheScope::Private))
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        self.shared.owners.check(&request.task_id, &context)?;
        self.shared.tasks.get_task(&request.task_id).map(GetTaskResult::new)
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.shared.owners.check(&request.task_id, &context)?;
        self.shared.tasks.update_task(&request.task_id, request.input_responses)
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.shared.owners.check(&request.task_id, &context)?;
        self.shared.tasks.cancel_task(&request.task_id)
    }
}
