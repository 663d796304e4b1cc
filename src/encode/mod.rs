//! The only maker of responses: outcomes become bytes here and nowhere else.

mod respond;
mod sse;

pub(crate) use respond::respond;
