//! Owners of tasks and request states. rmcp has no principals, so a handler with several users
//! binds both to the user itself, as rmcp's documentation advises. `RmcpServer` seals them as well.
//! rmcp's own transport has no other protection.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use mcp_http::{Context, Principal};
use rmcp::model::Extensions;
use rmcp::service::RequestContext;
use rmcp::task_manager::TaskManager;
use rmcp::{ErrorData, RoleServer};

/// Returns the principal of a request.
pub(crate) fn principal(extensions: &Extensions) -> Option<&Principal> {
    extensions.get::<Context>()?.principal()
}

/// The principal that started each task.
#[derive(Default)]
pub(crate) struct Owners(Mutex<HashMap<String, Option<Principal>>>);

impl Owners {
    /// Records the owner of a task, and removes tasks that the manager has dropped.
    pub(crate) fn add(&self, tasks: &TaskManager, task: &str, principal: Option<&Principal>) {
        let mut owners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        owners.retain(|task, _| tasks.get_task(task).is_ok());
        owners.insert(task.to_owned(), principal.cloned());
    }

    /// Rejects a task of another principal, with rmcp's error for a task that does not exist.
    pub(crate) fn check(&self, task: &str, context: &RequestContext<RoleServer>) -> Result<(), ErrorData> {
        let owners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if owners.get(task).is_some_and(|owner| owner.as_ref() == principal(&context.extensions)) {
            return Ok(());
        }
        Err(ErrorData::invalid_params(format!("unknown task: {task}"), None))
    }
}
