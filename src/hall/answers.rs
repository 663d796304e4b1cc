//! How large an answer may be: what is larger becomes an error that names the limit.

use super::{Hall, LogLine};
use crate::error::Rejection;
use crate::message::{ErrorObject, RawJson};

/// What a handler answered.
type Answer = Result<RawJson, ErrorObject>;

impl Hall {
    /// Returns the answer as it may be sent, and `true` if it was too large. To be called within the span of the
    /// call, so that the log says whose it was.
    pub(crate) fn bound(&self, answer: Answer) -> (Answer, bool) {
        let limit = self.settings.limits.answer;
        let size = match &answer {
            Ok(result) => result.as_bytes().len(),
            Err(error) => error.message.len() + error.data.as_ref().map_or(0, |data| data.as_bytes().len()),
        };
        if size <= limit {
            return (answer, false);
        }
        self.counters.answer_refused();
        if let Some(left_out) = self.log_line(LogLine::TooLarge) {
            tracing::error!(size, limit, left_out, "an answer was too large; `Limits::answer` raises the limit");
        }
        (Err(self.too_large().to_error()), true)
    }

    pub(crate) fn too_large(&self) -> Rejection {
        Rejection::AnswerTooLarge { limit: self.settings.limits.answer }
    }
}
