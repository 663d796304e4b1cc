//! Decides how the generator speaks HTTP: by hand over one kept-alive connection, so that it costs
//! less than the servers it measures, and so that it can stop in the middle of an answer.

mod connection;
mod events;

pub(crate) use connection::{Connection, Head, Media};
pub(crate) use events::Events;
