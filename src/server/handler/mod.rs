//! Handlers: extracts the arguments of an async function from the call and converts its result.
//!
//! 1. An argument is an axum extractor of the request's parts, or one of this crate's own:
//!    [`Args`], [`Context`](super::Context), [`Session`](super::Session),
//!    [`CompletionRequest`](super::CompletionRequest). A type parameter of [`FromCall`] separates
//!    the two kinds, so that they never overlap.
//! 2. The request is not modified for arguments that the function does not have.
//! 3. An argument that cannot be extracted ends the call with a [`ArgumentRejection`], which each kind of
//!    handler turns into its own form of error.

mod arguments;
mod extractors;
mod from_call;
mod run;
mod text;

pub use arguments::Args;
pub use extractors::{Form, Meta};
pub use from_call::FromCall;
pub use run::Handler;

pub(crate) use arguments::Arguments;
pub(crate) use from_call::{ArgumentRejection, CallParts};
pub(crate) use run::Erased;
