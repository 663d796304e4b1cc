//! The stateless revision, 2026-07-28: every request says who asks and asks for itself. (The
//! specification calls it modern.) It shares the hall with the session revisions, and nothing else.
//!
//! ```text
//!  POST -> post: admit -> round -> run -> answer: JSON, or a stream of what the handler sends
//!                  +----> discover
//!                  +----> listen: a stream of what changes <- listening <- bell
//! ```
//!
//! The words:
//!
//! | | is |
//! |---|---|
//! | [`node`] | one service's share of it |
//! | [`admit`] | whether a request is well-formed, in the order the checks are made |
//! | [`call`] | who answers a call, and what it knows of earlier rounds |
//! | [`mirror`] | whether its headers repeat its body |
//! | [`round`] | one POST of a call: who is asked, whether it is a task, when it is over |
//! | [`channel`] | what its handler's `Context` stands on |
//! | [`input`] | what the handler of a round is answered, and what its client is asked in the end |
//! | [`names`] | what its questions and steps are called |
//! | [`seal`], [`canonical`] | how a client carries something, and to what it is bound |
//! | [`handler`], [`run`] | the handler while it is polled, and the form its answer takes |
//! | [`task`] | calls that became tasks: their clients poll |
//! | [`stamp`] | what every result says besides what the server answered |
//! | [`listen`] | a subscription: the request, and the stream that answers it |
//! | [`filter`] | what a client is told of |
//! | [`listening`] | everybody who listens, and how a change reaches them |
//! | [`waiting`] | what one of them was not told yet |
//! | [`bell`] | what is heard of other nodes |

mod admit;
mod bell;
mod call;
mod canonical;
mod channel;
mod discover;
mod filter;
mod handler;
mod input;
mod listen;
mod listening;
mod mirror;
mod names;
mod node;
mod post;
mod round;
mod run;
mod stamp;
mod task;
mod waiting;

pub(crate) use node::Node;
pub(crate) use post::{Incoming, post};
