//! The MCP server: tools, the resources `todo://{id}` and a prompt. Handlers take the same
//! extractor as the REST routes, and axum's `State` and `Extension` work as well.

use axum::Json;
use mcp_http::server::{CompletionRequest, Elicited, Form, Prompt, ResourceTemplate, Tool, ToolAnnotations, ToolError};
use mcp_http::{Args, Context, McpServer};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::app::{App, Todo, Todos};
use crate::error::AppError;

pub(crate) fn server() -> McpServer<App> {
    let read_only = ToolAnnotations::new().read_only(true);
    let destructive = ToolAnnotations::new().destructive(true);
    let list_todos = Tool::new("list_todos", "Lists the user's todos.", list).annotations(read_only);
    let remove_todo = Tool::new("remove_todo", "Removes a todo.", remove).annotations(destructive.clone());
    let clear_done = Tool::new("clear_done", "Removes all completed todos, if the user confirms it.", clear_done);
    let todo = ResourceTemplate::new("todo://{id}", "todo", read)
        .description("One of the user's todos.")
        .mime_type("application/json")
        .complete("id", complete_id);
    let plan = Prompt::new("plan_day", "Plans the day around the open todos.", plan_day).title("Plan my day");
    McpServer::new("todo", env!("CARGO_PKG_VERSION"))
        .title("Todos")
        .instructions("Manages the user's todos. Each todo is also a resource, todo://{id}.")
        .tool("add_todo", "Adds a todo.", add)
        .tool("complete_todo", "Marks a todo as done.", complete)
        .tool("import_todos", "Adds several todos and reports progress.", import)
        .with_tool(list_todos)
        .with_tool(remove_todo)
        .with_tool(clear_done.annotations(destructive))
        .with_resource_template(todo)
        .with_prompt(plan)
}

#[derive(Deserialize, JsonSchema)]
struct NewTodo {
    /// What there is to do.
    title: String,
}

async fn add(todos: Todos, Args(new): Args<NewTodo>) -> Result<Json<Todo>, AppError> {
    todos.add(&new.title).map(Json)
}

#[derive(Deserialize, JsonSchema)]
struct Filter {
    /// Lists only completed todos (true) or only open ones (false).
    done: Option<bool>,
}

async fn list(todos: Todos, Args(filter): Args<Filter>) -> Json<Vec<Todo>> {
    let mut list = todos.list();
    list.retain(|todo| filter.done.is_none_or(|done| todo.done == done));
    Json(list)
}

// Arguments of the tools for one todo, and the variable of the resource template.
#[derive(Deserialize, JsonSchema)]
struct ById {
    /// The id of the todo.
    id: u64,
}

async fn complete(todos: Todos, Args(ById { id }): Args<ById>) -> Result<Json<Todo>, AppError> {
    todos.complete(id).map(Json)
}

async fn remove(todos: Todos, Args(ById { id }): Args<ById>) -> Result<String, AppError> {
    let todo = todos.remove(id)?;
    Ok(format!("Removed \"{}\".", todo.title))
}

#[derive(Deserialize, JsonSchema)]
struct Import {
    /// One title for each todo.
    titles: Vec<String>,
}

/// Stops at the first title that is not valid. If the client cancels the call, this future is
/// dropped.
async fn import(todos: Todos, cx: Context, Args(Import { titles }): Args<Import>) -> Result<String, AppError> {
    for (index, title) in titles.iter().enumerate() {
        todos.add(title)?;
        cx.progress_message(index + 1, titles.len(), Some(title)).await;
    }
    Ok(format!("Imported {} todos.", titles.len()))
}

#[derive(Deserialize, JsonSchema)]
struct Confirm {
    /// Remove them?
    sure: bool,
}

/// In revision 2026-07-28 the client calls again with the answer, and this function runs from its
/// start.
async fn clear_done(todos: Todos, confirm: Form<Confirm>) -> Result<String, ToolError> {
    let done = todos.list().iter().filter(|todo| todo.done).count();
    if done == 0 {
        return Ok("There is no completed todo.".to_owned());
    }
    let answer = confirm.elicit(format!("This removes {done} completed todos.")).key("confirm").await?;
    Ok(match answer {
        Elicited::Accept(Confirm { sure: true }) => format!("Removed {} todos.", todos.clear_done()),
        _ => "No todo was removed.".to_owned(),
    })
}

/// Reads a resource. `None` is the protocol's error for a resource that does not exist.
async fn read(todos: Todos, Args(ById { id }): Args<ById>) -> Option<Json<Todo>> {
    todos.get(id).map(Json)
}

async fn complete_id(todos: Todos, typed: CompletionRequest) -> Vec<String> {
    let ids = todos.list().into_iter().map(|todo| todo.id.to_string());
    ids.filter(|id| id.starts_with(&typed.value)).collect()
}

#[derive(Deserialize, JsonSchema)]
struct Day {
    /// The hours available.
    hours: Option<u32>,
}

async fn plan_day(todos: Todos, Args(Day { hours }): Args<Day>) -> String {
    let open = todos.list().into_iter().filter(|todo| !todo.done);
    let titles: String = open.map(|todo| format!("\n- {}", todo.title)).collect();
    format!("Plan a day of {} hours around these todos:{titles}", hours.unwrap_or(8))
}
