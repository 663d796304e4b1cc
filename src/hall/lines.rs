//! The throttles of one service's log, one for each kind of line that clients can cause.

use super::Hall;
use crate::throttle::Throttle;

/// A kind of line. What the application's own handlers say of their failures is not among them: each of those lines
/// is about another failure, and only the application knows which of them it can do without.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LogLine {
    /// A handler panicked.
    Panicked,
    /// An answer was larger than the limit.
    TooLarge,
    /// There was no room for an answer.
    NotKept,
    /// Answers were forgotten to make room for others.
    AnswersLost,
    /// A reader was too slow.
    SlowReader,
    /// Somebody used the session of another principal.
    OtherPrincipal,
    /// A request could not be served: the engine is out of reach.
    OutOfReach,
    /// A request could not be served: the engine failed.
    EngineFailed,
    /// Something that no request waits for failed in the engine.
    Background,
    /// A call was given up.
    GivenUp,
    /// Messages of a call wait for the engine.
    NotWrittenYet,
    /// Messages of a call were lost.
    MessagesLost,
    /// What a client has, or was asked, was forgotten.
    Forgotten,
    /// A task could not be kept, heard or ended.
    Task,
    /// The server agreed to a revision that is not served.
    Revision,
}

/// As many as there are kinds.
const KINDS: usize = LogLine::Revision as usize + 1;

#[derive(Debug, Default)]
pub(crate) struct LogLines([Throttle; KINDS]);

impl LogLines {
    /// Returns how many lines of this kind were left out before this one, or `None` where this one is left out too.
    pub(crate) fn line(&self, kind: LogLine) -> Option<u64> {
        self.0.get(kind as usize)?.line()
    }
}

impl Hall {
    /// As [`LogLines::line`].
    pub(crate) fn log_line(&self, kind: LogLine) -> Option<u64> {
        self.lines.line(kind)
    }
}
