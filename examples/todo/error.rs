//! Errors of the application, as a response of a REST route and as the error of an MCP tool.

use std::fmt;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mcp_http::server::ToolError;
use serde_json::json;

#[derive(Debug)]
pub(crate) enum AppError {
    NotFound(u64),
    EmptyTitle,
    TooMany(usize),
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound(id) => write!(f, "There is no todo {id}."),
            Self::EmptyTitle => f.write_str("The title must not be empty."),
            Self::TooMany(max) => write!(f, "There are already {max} todos. Remove some first."),
        }
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::EmptyTitle => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooMany(_) => StatusCode::CONFLICT,
        };
        (status, Json(json!({ "error": self.to_string() }))).into_response()
    }
}

/// The model reads the text and can act on it.
impl From<AppError> for ToolError {
    fn from(error: AppError) -> Self {
        Self::new(error)
    }
}
