//! Tasks: calls whose client polls for the answer instead of waiting for it (the extension
//! `io.modelcontextprotocol/tasks`, SEP-2663).
//!
//! A task is a document that the engine keeps; whoever changes it, on whichever node, makes the next
//! version of it or tries again. The handler runs where the call came in.
//!
//! | | decides |
//! |---|---|
//! | [`document`] | what a task is, and how it may change |
//! | [`keep`] | how a change is made where others make theirs at the same time |
//! | [`run`] | how a task begins here, what stops it, and that it ends |
//! | [`talk`] | what it and its client say to each other meanwhile |
//! | [`serve`] | what a client that polls is answered |

mod document;
mod fits;
mod keep;
mod run;
mod serve;
mod talk;

pub(super) use run::{TaskMap, TaskRun};
pub(super) use serve::serve;
