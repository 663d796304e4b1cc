//! Unsent answers: replaces answers above the size limit by an error, and counts those removed
//! before a client fetched them.

use super::{Core, LogLine};
use crate::error::{Rejection, StoreError};
use crate::identity::SessionId;
use crate::message::{ErrorObject, RawJson};
use crate::store::Appended;

/// The answer of a handler.
pub(crate) type Answer = Result<RawJson, ErrorObject>;

impl Core {
    /// Returns the answer to send, and `true` if the original was too large. Must be called within
    /// the span of the call, so that the log identifies the call.
    pub(crate) fn bound(&self, answer: Answer) -> (Answer, bool) {
        let limit = self.settings.limits.max_response_bytes;
        let size = match &answer {
            Ok(result) => result.as_bytes().len(),
            Err(error) => error.message.len() + error.data.as_ref().map_or(0, |data| data.as_bytes().len()),
        };
        if size <= limit {
            return (answer, false);
        }
        self.counters.answer_rejected();
        if let Some(left_out) = self.log_line(LogLine::TooLarge) {
            tracing::error!(
                size,
                limit,
                left_out,
                "an answer was too large; `Limits::max_response_bytes` raises the limit"
            );
        }
        (Err(self.too_large().to_error()), true)
    }

    /// Counts the answers, of this session or of others, that were removed to make room for a write
    /// to this session. The write itself may have failed.
    pub(crate) fn count_lost(&self, session: SessionId, written: &Result<Appended, StoreError>) {
        self.count_lost_answers(
            session,
            written.as_ref().map_or_else(StoreError::answers_lost, |written| written.lost),
        );
    }

    pub(crate) fn count_lost_answers(&self, session: SessionId, answers: usize) {
        if answers > 0 {
            self.counters.answers_lost(answers);
            if let Some(left_out) = self.log_line(LogLine::AnswersLost) {
                tracing::warn!(
                    answers,
                    ?session,
                    left_out,
                    "answers that no client had fetched were removed to free capacity"
                );
            }
        }
    }

    pub(crate) fn too_large(&self) -> Rejection {
        Rejection::AnswerTooLarge { limit: self.settings.limits.max_response_bytes }
    }
}
