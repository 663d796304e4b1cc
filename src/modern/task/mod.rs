//! Tasks: calls whose client polls for the answer instead of waiting for it (the extension
//! `io.modelcontextprotocol/tasks`, SEP-2663).
//!
//! A task is a document that the engine stores. A node that changes it stores the next version, or
//! retries if another node was faster. The handler runs on the node that received the call.
//!
//! | module | contents |
//! |---|---|
//! | [`document`] | the document of a task, and its allowed changes |
//! | [`update`] | changes to a stored task, retried on conflict |
//! | [`running`] | a task that runs here: its start, its stop and its end |
//! | [`talk`] | what its handler says: requests to the client and status messages |
//! | [`requests`] | the requests, answers and status messages of a running task |
//! | [`serve`](mod@serve) | the answers to a client that polls |

mod document;
mod requests;
mod running;
mod serve;
mod talk;
mod update;
mod validate;

pub(super) use running::{TaskMap, TaskRun};
pub(super) use serve::serve;
