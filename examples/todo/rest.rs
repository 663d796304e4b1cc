//! The REST API: `GET` and `POST /todos`, `POST /todos/{id}/complete`, `DELETE /todos/{id}`.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Extension, Json, Router};
use mcp_http::Principal;
use serde::Deserialize;

use crate::app::{App, Todo};
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

async fn list(State(app): State<App>, Extension(user): Extension<Principal>) -> Json<Vec<Todo>> {
    Json(app.list(&user))
}

async fn add(
    State(app): State<App>,
    Extension(user): Extension<Principal>,
    Json(new): Json<NewTodo>,
) -> Result<(StatusCode, Json<Todo>), AppError> {
    Ok((StatusCode::CREATED, Json(app.add(&user, &new.title)?)))
}

async fn complete(
    State(app): State<App>,
    Extension(user): Extension<Principal>,
    Path(id): Path<u64>,
) -> Result<Json<Todo>, AppError> {
    app.complete(&user, id).map(Json)
}

async fn remove(
    State(app): State<App>,
    Extension(user): Extension<Principal>,
    Path(id): Path<u64>,
) -> Result<StatusCode, AppError> {
    app.remove(&user, id).map(|_| StatusCode::NO_CONTENT)
}
