//! The application: the todos of each user in memory, and one method for each change. REST routes
//! and MCP tools call the same methods, so that MCP clients are notified of every change.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
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

/// The state of the router.
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

impl App {
    pub(crate) fn new(mcp: McpHandle) -> Self {
        Self { store: Arc::default(), mcp }
    }
}

/// The todos of the user who sent the request: an extractor for REST routes and MCP handlers.
pub(crate) struct Todos {
    app: App,
    user: Principal,
}

impl FromRequestParts<App> for Todos {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, StatusCode> {
        let user = parts.extensions.get().cloned().ok_or(StatusCode::UNAUTHORIZED)?;
        Ok(Self { app: app.clone(), user })
    }
}

impl Todos {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.app.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(&self, id: u64) -> (Principal, u64) {
        (self.user.clone(), id)
    }

    pub(crate) fn list(&self) -> Vec<Todo> {
        self.store().todos.range(self.key(0)..=self.key(u64::MAX)).map(|(_, todo)| todo.clone()).collect()
    }

    pub(crate) fn get(&self, id: u64) -> Option<Todo> {
        self.store().todos.get(&self.key(id)).cloned()
    }

    pub(crate) fn add(&self, title: &str) -> Result<Todo, AppError> {
        let title = title.trim().to_owned();
        if title.is_empty() {
            return Err(AppError::EmptyTitle);
        }
        let mut store = self.store();
        if store.todos.range(self.key(0)..=self.key(u64::MAX)).count() >= MAX_TODOS {
            return Err(AppError::TooMany(MAX_TODOS));
        }
        store.last_id += 1;
        let todo = Todo { id: store.last_id, title, done: false };
        store.todos.insert(self.key(todo.id), todo.clone());
        self.app.mcp.resources_changed();
        Ok(todo)
    }

    pub(crate) fn complete(&self, id: u64) -> Result<Todo, AppError> {
        let mut store = self.store();
        let todo = store.todos.get_mut(&self.key(id)).ok_or(AppError::NotFound(id))?;
        todo.done = true;
        self.app.mcp.resource_updated(format!("todo://{id}"));
        Ok(todo.clone())
    }

    pub(crate) fn remove(&self, id: u64) -> Result<Todo, AppError> {
        let removed = self.store().todos.remove(&self.key(id)).ok_or(AppError::NotFound(id))?;
        self.app.mcp.resources_changed();
        Ok(removed)
    }

    /// Removes all completed todos. Returns how many there were.
    pub(crate) fn clear_done(&self) -> usize {
        let range = self.key(0)..=self.key(u64::MAX);
        let removed = self.store().todos.extract_if(range, |_, todo| todo.done).count();
        self.app.mcp.resources_changed();
        removed
    }
}
