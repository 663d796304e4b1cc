//! The legacy era: the session revisions 2025-03-26 to 2025-11-25.
//!
//! It consists of `initialize`, sessions, GET streams and resumption. (The specification calls
//! these revisions legacy since 2026-07-28.)
//!
//! ```text
//!  POST -> post -+-> initialize               GET -> get -> reader <------+
//!                +-> exchange: in_flight -> outbox -> driver -> writer     |
//!                |                            engine (log) <-+-> signal ---+
//!                +-> answer, cancellation -> engine -> signal -> call in flight
//!                +-> notification -> server
//! ```
//!
//! The modules:
//!
//! | | contains |
//! |---|---|
//! | [`post`](mod@post), [`get`](mod@get), [`initialize`](mod@initialize), [`stateless`](mod@stateless) | the requests of HTTP: POST, GET and DELETE, the opening of a session, and POST without sessions |
//! | [`node`] | the legacy part of one service: finds a session by its id, and checks its owner |
//! | [`member`] | the service as a member of its engine, as sessions know it |
//! | [`request`], [`batch`] | what the edge admitted, and the requests in it |
//! | [`start`] | the start of calls: a handler for each request |
//! | [`session`] | a session in use on this node; the engine stores what must survive |
//! | [`exchange`] | one POST with requests, and the stream it may become |
//! | [`cells`] | the parts of calls and readers that signals reach |
//! | [`in_flight`] | one request of an exchange, on which its handler's `Context` is built |
//! | [`standalone`] | the base of a `Context` whose handler has no request to answer |
//! | [`driver`] | the driver that polls the handlers of an exchange, inline or in a task |
//! | [`writer`] | the writer of their messages to the stream |
//! | [`response`] | the choice between a JSON response and a stream |
//! | [`outbox`] | the messages of an exchange that are not yet written |
//! | [`client_requests`] | requests to the client, and their answers |
//! | [`signals`] | the handler of signals from other nodes |
//! | [`draining`] | clients that are detached when a service ends |
//! | [`backpressure`] | backpressure: when handlers wait for the reader |
//! | [`listeners`], [`delivery`] | the sessions that listen here, and the delivery of changes to them |
//! | [`peers`], [`resync`] | updates about a session between nodes, and the re-check after lost signals |
//! | [`reader`] | a cursor on a log: the source of a streamed response |
//! | [`interner`] | values that sessions of the same program share |

mod backpressure;
mod batch;
mod cells;
mod client_requests;
mod delivery;
mod draining;
mod driver;
mod exchange;
mod get;
mod in_flight;
mod initialize;
mod interner;
mod listeners;
mod member;
mod node;
mod outbox;
mod peers;
mod post;
mod reader;
mod request;
mod response;
mod resync;
mod session;
mod signals;
mod standalone;
mod start;
mod stateless;
mod writer;

pub(crate) use get::{delete, get};
pub(crate) use node::Node;
pub(crate) use post::{named_session, post};
pub(crate) use request::Incoming;
