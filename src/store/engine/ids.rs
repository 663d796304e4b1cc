//! The numbers of nodes and streams.

/// One service that uses an engine. A number is never reused, so a restarted node is a new node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId(pub u64);

/// The number of a stream in its session: [`STANDALONE`] for the GET stream, then one for each
/// POST.
pub type StreamNo = u32;

/// The standalone stream, which belongs to no request.
pub const STANDALONE: StreamNo = 0;
