//! Sealing for clients of rmcp servers: binds task ids and request states to a principal.
//!
//! rmcp knows no principals: a task or a state belongs to every client that knows its text. A
//! client with a principal therefore never receives that text. It receives a sealed one, which
//! opens only for the same principal at the same service:
//!
//! 1. An id that does not open reaches the handler as an id that no task has. The handler then
//!    answers as for any unknown id.
//! 2. A request state that does not open is rejected.
//! 3. A notification or a list names only the tasks that its client received.
//!
//! For this, only the last ids of a session are stored. Clients without a principal receive the ids
//! and states of rmcp unchanged.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use rmcp::ErrorData;
use rmcp::model::{ClientRequest, CustomResult, ServerNotification, ServerResult};
use serde_json::Value;

use super::convert;
use super::pending::Answer;
use crate::message::ErrorObject;
use crate::seal::Sealer;
use crate::server::Context;
use crate::{Principal, SealingKey, TaskId};

/// The sealer of one server.
pub(super) struct Owners {
    sealer: Sealer,
    /// The name of the server, queried on first use.
    service: OnceLock<String>,
    name: Box<dyn Fn() -> String + Send + Sync>,
}

/// One principal at one server.
pub(super) struct Owner {
    owners: Arc<Owners>,
    principal: Principal,
}

/// The sealed values of a principal's request, and the context for sealing its answer.
pub(super) struct Carried {
    owner: Owner,
    known: Arc<Known>,
    /// The method and its subject, for a request that may be answered with a state.
    about: Option<(&'static str, String)>,
    /// The task of the request: the handler's id, and the one that the client sent.
    task: Option<(String, String)>,
    lists: bool,
}

/// The tasks of a session that its notifications can name: more than a client follows at a time.
const KNOWN: usize = 64;

/// The last tasks that the client received: the handler's id, and the client's.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<VecDeque<(String, String)>>);

impl Known {
    fn tasks(&self) -> MutexGuard<'_, VecDeque<(String, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, id: &str, given: &str) {
        let mut tasks = self.tasks();
        if tasks.iter().any(|(known, _)| known == id) {
            return;
        }
        tasks.truncate(KNOWN - 1);
        tasks.push_front((id.to_owned(), given.to_owned()));
    }

    /// Returns the client's id for a task of the handler, or `None` if the client received none.
    fn given(&self, id: &str) -> Option<String> {
        self.tasks().iter().find(|(known, _)| known == id).map(|(_, given)| given.clone())
    }

    /// Replaces the task id of a notification by the client's. Returns `false` for a task that the
    /// client did not receive.
    pub(super) fn rename(&self, notification: &mut ServerNotification) -> bool {
        match notification {
            ServerNotification::TaskStatusNotification(status) => {
                let id = &mut status.params.task.task.task_id;
                self.given(id).map(|given| *id = given).is_some()
            }
            ServerNotification::CustomNotification(custom) if custom.method.starts_with("notifications/tasks") => {
                match custom.params.as_mut().and_then(|params| params.get_mut("taskId")) {
                    Some(id) => self.rename_value(id),
                    None => true,
                }
            }
            _ => true,
        }
    }

    fn rename_value(&self, id: &mut Value) -> bool {
        let given = id.as_str().and_then(|id| self.given(id));
        given.map(|given| *id = given.into()).is_some()
    }
}

impl Owners {
    pub(super) fn new(keys: &[SealingKey], name: impl Fn() -> String + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { sealer: Sealer::new(keys), service: OnceLock::new(), name: Box::new(name) })
    }

    /// Returns the owner of a request, or `None` without a principal.
    pub(super) fn of(self: &Arc<Self>, context: &Context) -> Option<Owner> {
        let principal = context.principal()?.clone();
        Some(Owner { owners: Arc::clone(self), principal })
    }
}

impl Owner {
    /// Opens the sealed values of a request.
    pub(super) fn open(self, request: &mut ClientRequest, known: &Arc<Known>) -> Result<Box<Carried>, ErrorObject> {
        let known = Arc::clone(known);
        let mut carried = Box::new(Carried { owner: self, known, about: None, task: None, lists: false });
        match request {
            ClientRequest::GetTaskRequest(get) => carried.open_task(&mut get.params.task_id),
            ClientRequest::UpdateTaskRequest(update) => carried.open_task(&mut update.params.task_id),
            ClientRequest::CancelTaskRequest(cancel) => carried.open_task(&mut cancel.params.task_id),
            ClientRequest::CallToolRequest(call) => {
                carried.open_state("tools/call", &call.params.name, &mut call.params.request_state)?;
            }
            ClientRequest::GetPromptRequest(get) => {
                carried.open_state("prompts/get", &get.params.name, &mut get.params.request_state)?;
            }
            ClientRequest::ReadResourceRequest(read) => {
                carried.open_state("resources/read", &read.params.uri, &mut read.params.request_state)?;
            }
            // Task methods that rmcp leaves to handlers: `tasks/list`, `tasks/result`.
            ClientRequest::CustomRequest(custom) if custom.method.starts_with("tasks/") => {
                carried.lists = custom.method == "tasks/list";
                if let Some(id) = custom.params.as_mut().and_then(|params| params.get_mut("taskId"))
                    && let Value::String(id) = id
                {
                    carried.open_task(id);
                }
            }
            _ => {}
        }
        Ok(carried)
    }

    fn purpose(&self, about: &[&str]) -> Vec<u8> {
        let service = self.owners.service.get_or_init(|| (self.owners.name)());
        // A JSON array, so that no two purposes share a text.
        serde_json::to_vec(&("rmcp", service, self.principal.as_str(), about)).unwrap_or_default()
    }

    fn seal(&self, text: &str, about: &[&str]) -> Result<String, ErrorObject> {
        let sealed = self.owners.sealer.seal(text.as_bytes(), &self.purpose(about));
        sealed.ok_or_else(|| {
            tracing::error!("the operating system gave no random bytes to seal with");
            ErrorObject::internal()
        })
    }

    fn unseal(&self, text: &str, about: &[&str]) -> Option<String> {
        String::from_utf8(self.owners.sealer.open(text, &self.purpose(about))?).ok()
    }
}

const TASK: &[&str] = &["task"];

impl Carried {
    fn open_task(&mut self, id: &mut String) {
        let given = std::mem::take(id);
        let opened = self.owner.unseal(&given, TASK);
        if let Some(opened) = &opened {
            self.known.add(opened, &given);
        }
        *id = opened.unwrap_or_else(|| TaskId::random().to_string());
        self.task = Some((id.clone(), given));
    }

    fn open_state(&mut self, method: &'static str, about: &str, state: &mut Option<String>) -> Result<(), ErrorObject> {
        if let Some(state) = state {
            let opened = self.owner.unseal(state, &["state", method, about]);
            *state =
                opened.ok_or_else(|| ErrorObject::invalid_params("Invalid params: `requestState` cannot be used"))?;
        }
        self.about = Some((method, about.to_owned()));
        Ok(())
    }

    fn seal(&self, result: &mut ServerResult) -> Result<(), ErrorObject> {
        match result {
            ServerResult::CreateTaskResult(created) => {
                let id = &mut created.task.task_id;
                let given = self.owner.seal(id, TASK)?;
                self.known.add(id, &given);
                *id = given;
            }
            ServerResult::GetTaskResult(got) => {
                if let Some((_, given)) = &self.task {
                    got.task.task.task_id.clone_from(given);
                }
            }
            ServerResult::InputRequiredResult(asks) => {
                if let (Some(state), Some((method, about))) = (&mut asks.request_state, &self.about) {
                    *state = self.owner.seal(state, &["state", method, about])?;
                }
            }
            ServerResult::CustomResult(CustomResult(value)) => self.rename(value),
            _ => {}
        }
        Ok(())
    }

    /// Replaces task ids by the client's in the result of a custom method.
    fn rename(&self, value: &mut Value) {
        if self.lists
            && let Some(Value::Array(tasks)) = value.get_mut("tasks")
        {
            tasks.retain_mut(|task| task.get_mut("taskId").is_some_and(|id| self.known.rename_value(id)));
        }
        let Some((id, given)) = &self.task else { return };
        for place in ["/taskId", "/_meta/io.modelcontextprotocol~1related-task/taskId"] {
            if let Some(named) = value.pointer_mut(place).filter(|named| named.as_str() == Some(id)) {
                *named = given.clone().into();
            }
        }
    }
}

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Carried").field("about", &self.about).finish_non_exhaustive()
    }
}

/// Builds the answer to a client, and seals the ids and states in it.
pub(super) fn answer(carried: Option<&Carried>, result: Result<ServerResult, ErrorData>) -> Answer {
    match result {
        Ok(mut result) => {
            if let Some(carried) = carried {
                carried.seal(&mut result)?;
            }
            convert::result(&result)
        }
        Err(mut error) => {
            // Errors name the id that the handler knows.
            if let Some((id, given)) = carried.and_then(|carried| carried.task.as_ref()) {
                error.message = error.message.replace(id, given).into();
            }
            Err(convert::error(error))
        }
    }
}
