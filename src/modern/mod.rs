//! The stateless revision, 2026-07-28: every request says who asks and asks for itself. (The
//! specification calls it modern.) It shares the hall with the session revisions, and nothing else.
//!
//! ```text
//!  POST -> post: admit -> round -> run -> answer: JSON, or a stream of what the handler sends
//!                  +----> discover
//! ```
//!
//! The words:
//!
//! | | is |
//! |---|---|
//! | [`node`] | one service's share of it |
//! | [`admit`] | whether a request is well-formed, in the order the checks are made |
//! | [`mirror`] | whether its headers repeat its body |
//! | [`round`] | one POST of a call: what its handler's `Context` stands on |
//! | [`input`] | what the handler of a round is answered, and what its client is asked in the end |
//! | [`seal`], [`canonical`] | how a client carries something, and to what it is bound |
//! | [`run`] | the handler while it is polled, and the form its answer takes |
//! | [`stamp`] | what every result says besides what the server answered |
//! | [`quota`] | how much one principal may have at a time |

mod admit;
mod canonical;
mod discover;
mod input;
mod mirror;
mod node;
mod post;
mod quota;
mod round;
mod run;
mod seal;
mod stamp;

pub(crate) use node::Node;
pub(crate) use post::{Incoming, post};
