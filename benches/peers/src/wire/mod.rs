//! The HTTP client of the load generator. It is written by hand for one kept-alive connection, so
//! that it costs less than the servers it measures, and so that it can stop in the middle of a
//! response.

mod connection;
mod events;

pub(crate) use connection::{Connection, Head, Media};
pub(crate) use events::Events;
