//! Which message stands where: logs that can be read again, queues that cannot, and the ids
//! clients come back with. No I/O; the time is an argument.

mod event_id;
mod frame;
mod log;
mod queue;

pub(crate) use event_id::EventId;
pub(crate) use frame::{Frame, Frames, Source};
pub(crate) use log::{Bounds, StreamLog};
pub(crate) use queue::{HIGH_WATER, Queue, QueueReader};
