//! The session revisions, 2025-03-26 to 2025-11-25: `initialize`, sessions, GET streams,
//! resumption. (The specification calls them legacy since 2026-07-28.)
//!
//! ```text
//!  POST -> post -+-> initialize            GET -> get -> reader <----+
//!                +-> exchange: work -> outbox -> engine (log) -> bell -+
//!                +-> notification, answer, cancellation -> engine -> bell -> ticket
//! ```
//!
//! One POST with requests is an [`exchange`]: its handlers are polled inline by [`work`], and
//! [`answer`] decides whether the result leaves as JSON or the exchange becomes a stream. What an
//! exchange streams goes into its log in the engine; a [`reader`] is a cursor on a log. The
//! [`node`] is one service's share of it all.

mod answer;
mod aside;
mod bell;
mod drain;
mod exchange;
mod get;
mod initialize;
mod input;
mod news;
mod node;
mod post;
mod reader;
mod reaper;
mod session;
mod stateless;
mod work;

pub(crate) use get::{delete, get};
pub(crate) use node::Node;
pub(crate) use post::{Incoming, post};
