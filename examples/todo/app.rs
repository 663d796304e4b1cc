//! The application: the todos of each user in memory, and one method for each change. REST routes and MCP tools
//! call the same methods, so that MCP clients are notified of every change.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mcp_http::{McpHandle, Principal};
use schemars::JsonSchema;
use serde::Serialize;

use crate::error::AppError;

/// Maximum number of todos of one user.
const MAX_TODOS: usize = 1_000;

/// A todo.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Todo {
    pub(crate) id: u64,
    pub(crate) title: String,
    pub(crate) done: bool,
}

/// The state of the routes and the tools.
#[derive(Clone)]
pub(crate) struct App {
    store: Arc<Mutex<Store>>,
    mcp: McpHandle,
}

#[derive(Default)]
struct Store {
    last_id: u64,
    todos: BTreeMap<(Principal, u64), Todo>,
}

impl Store {
    fn of<'a>(&'a self, owner: &Principal) -> impl Iterator<Item = &'a Todo> {
        let range = (owner.clone(), 0)..=(owner.clone(), u64::MAX);
        self.todos.range(range).map(|(_, todo)| todo)
    }
}

impl App {
    pub(crate) fn new(mcp: McpHandle) -> Self {
        Self { store: Arc::default(), mcp }
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn list(&self, owner: &Principal) -> Vec<Todo> {
        self.store().of(owner).cloned().collect()
    }

    pub(crate) fn get(&self, owner: &Principal, id: u64) -> Option<Todo> {
        self.store().todos.get(&(owner.clone(), id)).cloned()
    }

    pub(crate) fn add(&self, owner: &Principal, title: &str) -> Result<Todo, AppError> {
        let title = title.trim();
        if title.is_empty() {
            return Err(AppError::EmptyTitle);
        }
        let mut store = self.store();
        if store.of(owner).count() >= MAX_TODOS {
            return Err(AppError::TooMany(MAX_TODOS));
        }
        store.last_id += 1;
        let todo = Todo { id: store.last_id, title: title.to_owned(), done: false };
        store.todos.insert((owner.clone(), todo.id), todo.clone());
        self.mcp.resources_changed();
        Ok(todo)
    }

    pub(crate) fn complete(&self, owner: &Principal, id: u64) -> Result<Todo, AppError> {
        let mut store = self.store();
        let todo = store.todos.get_mut(&(owner.clone(), id)).ok_or(AppError::NotFound(id))?;
        todo.done = true;
        self.mcp.resource_updated(uri(id));
        Ok(todo.clone())
    }

    pub(crate) fn remove(&self, owner: &Principal, id: u64) -> Result<Todo, AppError> {
        let removed = self.store().todos.remove(&(owner.clone(), id)).ok_or(AppError::NotFound(id))?;
        self.mcp.resources_changed();
        Ok(removed)
    }

    /// Removes all completed todos. Returns how many there were.
    pub(crate) fn clear_done(&self, owner: &Principal) -> usize {
        let removed = self.store().todos.extract_if(.., |(of, _), todo| of == owner && todo.done).count();
        self.mcp.resources_changed();
        removed
    }
}

/// Returns the URI of a todo as an MCP resource.
fn uri(id: u64) -> String {
    format!("todo://{id}")
}
