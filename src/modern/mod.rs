//! The stateless revision, 2026-07-28: every request names its client and carries all it needs.
//! (The specification calls it modern.) It imports nothing of the session revisions; what
//! both share is in the core and the modules below it.
//!
//! ```text
//!  POST -> post: admit -> call -> round -> run -> answer: JSON, or a stream of what the handler sends
//!                  +----> listen: a stream of what changes <- subscriptions <- signal
//! ```
//!
//! The modules:
//!
//! | module | contents |
//! |---|---|
//! | [`node`] | the part of a service that serves this revision |
//! | [`member`] | the service as a member of its engine, for tasks |
//! | [`request`] | what the edge admitted |
//! | [`post`](mod@post), [`discover`](mod@discover) | POST, and the result of `server/discover` |
//! | [`admit`] | the checks of a request's metadata, in their order |
//! | [`call`] | calls: routed to the server, with the values of earlier rounds |
//! | [`mirror`] | the headers that must repeat the body |
//! | [`round`] | one POST of a call: its client requests, its task, its end |
//! | [`channel`] | the channel behind a handler's `Context` |
//! | [`input`] | the answers that a round's handler receives, and the requests sent to its client |
//! | [`request_keys`] | the keys of its client requests and steps |
//! | [`seal`](crate::seal), [`canonical`] | the sealed state that a client carries, and the call to which it is bound |
//! | [`handler`], [`run`] | the handler while it is polled, and the form of its answer |
//! | [`task`] | calls that became tasks, whose clients poll |
//! | [`result_fields`] | the members added to every result |
//! | [`listen`] | a subscription: the request, and the stream that answers it |
//! | [`filter`] | the changes that a client subscribes to |
//! | [`subscriptions`] | the table of subscriptions, and how a change reaches them |
//! | [`pending`] | the changes that one subscription has not sent yet |
//! | [`signals`] | the handler of signals from other nodes |

mod admit;
mod call;
mod canonical;
mod channel;
mod discover;
mod filter;
mod handler;
mod input;
mod listen;
mod member;
mod mirror;
mod node;
mod pending;
mod post;
mod request;
mod request_keys;
mod result_fields;
mod round;
mod run;
mod signals;
mod subscriptions;
mod task;

pub(crate) use node::Node;
pub(crate) use post::post;
pub(crate) use request::Incoming;
