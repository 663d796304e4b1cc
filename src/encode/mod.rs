//! The encoder: turns outcomes into responses. No other module makes the bytes of an outcome.

mod ceiling;
mod line;
mod relief;
mod respond;
mod signal;
mod sse;
mod unread;
mod watch;

pub(crate) use ceiling::SHORT;
pub(crate) use respond::respond;
pub(crate) use unread::{BodyHead, Drains, take_along};
pub(crate) use watch::Watch;
