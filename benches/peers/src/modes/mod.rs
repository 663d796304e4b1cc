//! Decides what is measured: the modes, and for each the operation, the floor and the figures.

mod crowd;
mod deep;
mod memory;
mod timed;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;

use crate::client::Era;
use crate::operation::Operation;
use crate::servers::{Places, Server};

/// What one run of one mode found, by the name of the figure.
pub(crate) type Sample = BTreeMap<&'static str, f64>;

/// How much of everything.
#[derive(Debug, Clone)]
pub(crate) struct Scale {
    pub(crate) repetitions: usize,
    /// How long each repetition measures, and before that warms up.
    pub(crate) measured: Duration,
    pub(crate) warm_up: Duration,
    /// Idle sessions whose memory is measured.
    pub(crate) sessions: usize,
    /// Idle streams whose memory is measured.
    pub(crate) streams: usize,
    /// Idle sessions in whose presence calls are measured, and how long may be spent on opening them.
    pub(crate) crowd: usize,
    pub(crate) crowd_within: Duration,
}

impl Scale {
    pub(crate) fn full() -> Self {
        Self {
            repetitions: 7,
            measured: Duration::from_millis(500),
            warm_up: Duration::from_millis(300),
            sessions: 10_000,
            streams: 4_000,
            crowd: 100_000,
            crowd_within: Duration::from_secs(90),
        }
    }

    /// Enough to see that everything works, and the order of magnitude.
    pub(crate) fn quick() -> Self {
        Self {
            repetitions: 2,
            measured: Duration::from_millis(300),
            warm_up: Duration::from_millis(100),
            sessions: 1_000,
            streams: 500,
            crowd: 10_000,
            crowd_within: Duration::from_secs(10),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// An operation on so many connections, as often as it goes.
    Timed(Operation, usize),
    /// The memory of idle sessions.
    Sessions,
    /// The memory of idle streams.
    Streams,
    /// Calls among idle sessions.
    Crowd,
    /// User instructions of an operation.
    Instructions(Operation),
    /// Allocations of an operation.
    Allocations(Operation),
    /// System calls of an operation.
    Syscalls(Operation),
}

pub(crate) const SMALL: usize = 32;
const LARGE: usize = 16 << 10;

pub(crate) const CALL: Operation = Operation::Echo { era: Era::Legacy, bytes: SMALL };
const CALL_16K: Operation = Operation::Echo { era: Era::Legacy, bytes: LARGE };
const MODERN_CALL: Operation = Operation::Echo { era: Era::Modern, bytes: SMALL };
const BURST: Operation = Operation::Burst { era: Era::Legacy };
const MODERN_BURST: Operation = Operation::Burst { era: Era::Modern };

/// Each mode with its name and the floor it is compared with; first what does not mind a busy
/// machine.
pub(crate) const MODES: &[(&str, Mode, Option<&str>)] = &[
    ("instructions-call", Mode::Instructions(CALL), Some("floor-json")),
    ("instructions-modern-call", Mode::Instructions(MODERN_CALL), Some("floor-json")),
    ("instructions-burst", Mode::Instructions(BURST), Some("floor-sse")),
    ("instructions-cycle", Mode::Instructions(Operation::Cycle), Some("floor-session")),
    ("allocations-call", Mode::Allocations(CALL), Some("floor-json")),
    ("allocations-modern-call", Mode::Allocations(MODERN_CALL), Some("floor-json")),
    ("allocations-burst", Mode::Allocations(BURST), Some("floor-sse")),
    ("allocations-cycle", Mode::Allocations(Operation::Cycle), Some("floor-session")),
    ("syscalls-call", Mode::Syscalls(CALL), Some("floor-json")),
    ("syscalls-modern-call", Mode::Syscalls(MODERN_CALL), Some("floor-json")),
    ("syscalls-burst", Mode::Syscalls(BURST), Some("floor-sse")),
    ("syscalls-cycle", Mode::Syscalls(Operation::Cycle), Some("floor-session")),
    ("sessions", Mode::Sessions, None),
    ("streams", Mode::Streams, None),
    ("crowd", Mode::Crowd, None),
    ("call", Mode::Timed(CALL, 32), Some("floor-json")),
    ("call-1", Mode::Timed(CALL, 1), Some("floor-json")),
    ("call-16k", Mode::Timed(CALL_16K, 32), Some("floor-json")),
    ("call-16k-1", Mode::Timed(CALL_16K, 1), Some("floor-json")),
    ("burst", Mode::Timed(BURST, 32), Some("floor-sse")),
    ("cycle", Mode::Timed(Operation::Cycle, 32), Some("floor-session")),
    ("modern-call", Mode::Timed(MODERN_CALL, 32), Some("floor-json")),
    ("modern-burst", Mode::Timed(MODERN_BURST, 32), Some("floor-sse")),
    ("resume-live", Mode::Timed(Operation::Resume { late: false }, 32), None),
    ("resume-late", Mode::Timed(Operation::Resume { late: true }, 32), None),
];

impl Mode {
    /// How often it is run: what is counted is the same each time.
    pub(crate) fn repetitions(self, scale: &Scale) -> usize {
        match self {
            Self::Timed(..) => scale.repetitions,
            Self::Sessions | Self::Streams => scale.repetitions.div_ceil(2),
            Self::Crowd => scale.repetitions.div_ceil(3),
            Self::Instructions(_) | Self::Allocations(_) | Self::Syscalls(_) => 1,
        }
    }

    /// Runs it once, against a process of its own.
    ///
    /// # Errors
    /// When the server cannot do it; the error says why.
    pub(crate) async fn run(self, server: &Server, places: &Places, scale: &Scale) -> Result<Sample> {
        match self {
            Self::Timed(operation, connections) => timed::run(operation, connections, server, places, scale).await,
            Self::Sessions => memory::sessions(server, places, scale).await,
            Self::Streams => memory::streams(server, places, scale).await,
            Self::Crowd => crowd::run(server, places, scale).await,
            Self::Instructions(operation) => deep::instructions(operation, server, places).await,
            Self::Allocations(operation) => deep::allocations(operation, server, places).await,
            Self::Syscalls(operation) => deep::syscalls(operation, server, places).await,
        }
    }
}
