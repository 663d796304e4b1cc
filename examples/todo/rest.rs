//! The REST API: `GET` and `POST /todos`, `POST /todos/{id}/complete`, `DELETE /todos/{id}`.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Deserialize;

use crate::app::{App, Todo, Todos};
use crate::error::AppError;

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/todos", get(list).post(add))
        .route("/todos/{id}/complete", post(complete))
        .route("/todos/{id}", delete(remove))
}

#[derive(Deserialize)]
struct NewTodo {
    title: String,
}

async fn list(todos: Todos) -> Json<Vec<Todo>> {
    Json(todos.list())
}

async fn add(todos: Todos, Json(new): Json<NewTodo>) -> Result<(StatusCode, Json<Todo>), AppError> {
    Ok((StatusCode::CREATED, Json(todos.add(&new.title)?)))
}

async fn complete(todos: Todos, Path(id): Path<u64>) -> Result<Json<Todo>, AppError> {
    todos.complete(id).map(Json)
}

async fn remove(todos: Todos, Path(id): Path<u64>) -> Result<StatusCode, AppError> {
    todos.remove(id).map(|_| StatusCode::NO_CONTENT)
}
