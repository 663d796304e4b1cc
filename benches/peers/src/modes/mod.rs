//! The modes: what is measured, and for each mode the operation, the floor and the figures.

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

/// The result of one run of a mode, by the name of the figure.
pub(crate) type Sample = BTreeMap<String, f64>;

fn sample<const N: usize>(figures: [(&str, f64); N]) -> Sample {
    figures.into_iter().map(|(name, figure)| (name.to_owned(), figure)).collect()
}

/// The size of a run.
#[derive(Debug, Clone)]
pub(crate) struct Scale {
    /// How often timed modes are repeated.
    pub(crate) repetitions: usize,
    /// The same for interpreted servers, which are measured for context only.
    pub(crate) foreign_repetitions: usize,
    /// How long each repetition measures, and how long it warms up before.
    pub(crate) measured: Duration,
    pub(crate) warm_up: Duration,
    /// The number of idle sessions whose memory is measured.
    pub(crate) sessions: usize,
    /// The number of idle streams whose memory is measured.
    pub(crate) streams: usize,
    /// The number of idle sessions beside which calls are measured.
    pub(crate) crowd: usize,
    /// The number of sessions that are opened and ended.
    pub(crate) churn: usize,
    /// The time limit for opening any of them.
    pub(crate) opened_within: Duration,
}

impl Scale {
    pub(crate) fn full() -> Self {
        Self {
            repetitions: 5,
            foreign_repetitions: 3,
            measured: Duration::from_millis(500),
            warm_up: Duration::from_millis(200),
            sessions: 10_000,
            streams: 4_000,
            crowd: 100_000,
            churn: 120_000,
            opened_within: Duration::from_secs(30),
        }
    }

    /// Enough to see that everything works, and to see the order of magnitude.
    pub(crate) fn quick() -> Self {
        Self {
            repetitions: 2,
            foreign_repetitions: 1,
            measured: Duration::from_millis(200),
            warm_up: Duration::from_millis(100),
            sessions: 1_000,
            streams: 500,
            crowd: 5_000,
            churn: 5_000,
            opened_within: Duration::from_secs(5),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// An operation on this many connections, repeated without a pause.
    Timed(Operation, usize),
    /// The memory of idle sessions.
    Sessions,
    /// The memory of idle streams.
    Streams,
    /// Calls beside idle sessions.
    Crowd,
    /// The memory after sessions were opened and ended.
    Churn,
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

/// Each mode with its name and its floor. Modes that do not depend on the load of the machine come
/// first.
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
    ("churn", Mode::Churn, None),
    ("crowd", Mode::Crowd, None),
    ("call", Mode::Timed(CALL, 32), Some("floor-json")),
    ("call-1", Mode::Timed(CALL, 1), Some("floor-json")),
    ("call-16k", Mode::Timed(CALL_16K, 32), Some("floor-json")),
    ("call-16k-1", Mode::Timed(CALL_16K, 1), Some("floor-json")),
    ("burst", Mode::Timed(BURST, 32), Some("floor-sse")),
    ("cycle", Mode::Timed(Operation::Cycle, 32), Some("floor-session")),
    ("modern-call", Mode::Timed(MODERN_CALL, 32), Some("floor-json")),
    ("modern-burst", Mode::Timed(MODERN_BURST, 32), Some("floor-sse")),
    ("resume-live", Mode::Timed(Operation::Resume { late: false }, 32), Some("floor-bytes")),
    ("resume-late", Mode::Timed(Operation::Resume { late: true }, 32), Some("floor-bytes")),
];

impl Mode {
    /// Returns how often the mode is repeated.
    pub(crate) fn repetitions(self, server: &Server, scale: &Scale) -> usize {
        match self {
            Self::Timed(..) if server.is_native() => scale.repetitions,
            Self::Timed(..) => scale.foreign_repetitions,
            Self::Sessions | Self::Streams | Self::Crowd if server.is_native() => scale.repetitions.min(2),
            _ => 1,
        }
    }

    /// Returns `true` if the mode counts something that neither a busy machine nor a separate run
    /// changes.
    pub(crate) fn counts(self) -> bool {
        matches!(self, Self::Instructions(_) | Self::Allocations(_) | Self::Syscalls(_))
    }

    /// Runs the mode once, against a new process.
    ///
    /// # Errors
    ///
    /// If the server does not support the operation. The error gives the reason.
    pub(crate) async fn run(self, server: &Server, places: &Places, scale: &Scale) -> Result<Sample> {
        match self {
            Self::Timed(operation, connections) => timed::run(operation, connections, server, places, scale).await,
            Self::Sessions => memory::sessions(server, places, scale).await,
            Self::Streams => memory::streams(server, places, scale).await,
            Self::Crowd => crowd::run(server, places, scale).await,
            Self::Churn => memory::churn(server, places, scale).await,
            Self::Instructions(operation) => deep::instructions(operation, server, places).await,
            Self::Allocations(operation) => deep::allocations(operation, server, places).await,
            Self::Syscalls(operation) => deep::syscalls(operation, server, places).await,
        }
    }
}
