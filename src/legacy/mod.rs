//! The session revisions, 2025-03-26 to 2025-11-25: `initialize`, sessions, GET streams,
//! resumption. (The specification calls them legacy since 2026-07-28.)
//!
//! ```text
//!  POST -> post -+-> initialize            GET -> get -> reader <----+
//!                +-> exchange: work -> outbox -> engine (log) -> bell -+
//!                +-> notification, answer, cancellation -> engine -> bell -> ticket
//! ```
//!
//! The words:
//!
//! | | is |
//! |---|---|
//! | [`node`] | one service's share of it all |
//! | [`session`] | a session as it is used on this node; the engine has what must survive |
//! | [`exchange`] | one POST with requests, and the stream it may become |
//! | [`ticket`] | one request of an exchange: what its handler's `Context` stands on |
//! | [`standalone`] | what a handler's `Context` stands on that has no request to answer |
//! | [`work`] | the handlers of an exchange while they are polled, inline or in a task |
//! | [`writer`] | how what they say comes into the stream |
//! | [`answer`] | whether the result leaves as JSON, or the exchange streams |
//! | [`outbox`] | what of an exchange waits to be written |
//! | [`pace`] | whether its handlers wait for its reader |
//! | [`news`], [`resync`] | what nodes tell each other of a session; looking again when bells were lost |
//! | [`reader`] | a cursor on a log: where a response that streams comes from |
//! | [`familiar`] | what sessions of the same program share |

mod answer;
mod batch;
mod bell;
mod changes;
mod drain;
mod exchange;
mod familiar;
mod get;
mod initialize;
mod input;
mod news;
mod node;
mod outbox;
mod pace;
mod post;
mod reader;
mod resync;
mod session;
mod standalone;
mod stateless;
mod ticket;
mod work;
mod writer;

pub(crate) use get::{delete, get};
pub(crate) use node::Node;
pub(crate) use post::{Incoming, named_session, post};
