//! Log throttles of a service, one for each kind of line that clients can cause.

use crate::throttle::Throttle;

/// A kind of log line. Failures that the application's handlers log are not included. Each of those
/// lines is about another failure, and only the application knows which it can omit.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LogLine {
    /// A handler panicked.
    Panicked,
    /// An answer was larger than the limit.
    TooLarge,
    /// There was no capacity to keep an answer.
    NotKept,
    /// Answers were removed to make room for others.
    AnswersLost,
    /// A reader was too slow.
    SlowReader,
    /// A request used the session of another principal.
    OtherPrincipal,
    /// A request failed because the engine is unreachable.
    OutOfReach,
    /// A request failed because the engine failed.
    EngineFailed,
    /// The engine failed in a background operation.
    Background,
    /// A call was abandoned.
    GivenUp,
    /// Messages of a call wait for the engine.
    NotWrittenYet,
    /// Messages of a call were lost.
    MessagesLost,
    /// Events that a client has, or requests that no client had answered, were removed.
    Forgotten,
    /// A task could not be stored, observed or ended.
    Task,
    /// The server agreed to a revision that is not served.
    Revision,
}

/// The number of kinds.
const KINDS: usize = LogLine::Revision as usize + 1;

#[derive(Debug, Default)]
pub(crate) struct LogLines([Throttle; KINDS]);

impl LogLines {
    /// Returns how many lines of this kind were left out before this one, or `None` if this one is
    /// to be left out too.
    pub(crate) fn line(&self, kind: LogLine) -> Option<u64> {
        self.0.get(kind as usize)?.line()
    }
}
