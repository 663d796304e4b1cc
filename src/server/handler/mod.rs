//! What makes an async function a handler: its arguments are taken from the call, its result is
//! written into the answer.
//!
//! 1. An argument is an axum extractor of the request's parts, or one of this crate's own:
//!    [`Args`], [`Context`](super::Context), [`Session`](super::Session),
//!    [`CompletionRequest`](super::CompletionRequest). Which of the two it is, is a type parameter
//!    of [`FromCall`], so that the two kinds never overlap.
//! 2. Nothing is put into the request for an argument that is not there.
//! 3. An argument that cannot be taken ends the call with a [`Refusal`], which each kind of
//!    handler turns into its own form of error.

mod arguments;
mod extractors;
mod from_call;
mod run;
mod text;

pub use arguments::Args;
pub use extractors::{Form, Meta};
pub use from_call::{CallParts, FromCall, Refusal};
pub use run::Handler;

pub(crate) use from_call::Arguments;
pub(crate) use run::{Erased, Run};
