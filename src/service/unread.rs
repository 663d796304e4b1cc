//! The accounting of unread answers: counts a long answer, or rejects it if there is no capacity.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Shared;
use crate::core::LogLine;
use crate::encode::SHORT;
use crate::error::Rejection;
use crate::identity::Account;
use crate::message::RequestId;
use crate::outcome::{Outcome, Reply};

impl<S> Shared<S> {
    /// Sets the account of a response. A long answer counts as a call of its account until it has
    /// been written. It becomes an error if unread answers hold all the bytes they may, unless it
    /// opens a session.
    pub(super) fn bound_unread(&self, reply: &mut Reply, account: Option<Account>, opens: bool) {
        let Some(answer) = reply.outcome.answer().filter(|answer| answer.len() > SHORT) else {
            reply.account = account;
            return;
        };
        let size = answer.len();
        // A session that was just opened has its limits already, and must not be left without its id.
        let made = if opens { Ok(()) } else { self.watch.make_room(account.as_ref(), size) };
        if let Err(limit) = made {
            let id = id_of(answer);
            self.core.counters.answer_rejected();
            if let Some(left_out) = self.core.log_line(LogLine::NotKept) {
                tracing::error!(
                    size,
                    limit,
                    left_out,
                    "answers that clients have not read hold too much; `Limits::max_unread_response_bytes` raises the limit"
                );
            }
            reply.outcome = Outcome::Rejected(Rejection::TooManyAnswersUnread { limit }, id);
            return;
        }
        reply.held = Some(Box::new(self.core.still_answers(account.clone())));
        reply.account = account;
    }
}

/// Returns the id of the answered request; `None` for a batch.
fn id_of(answer: &Bytes) -> Option<RequestId> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
    }
    // Serde would read an array into the struct, member by position.
    let one = answer.first() == Some(&b'{');
    one.then(|| serde_json::from_slice::<Answer<'_>>(answer).ok()?.id.get().parse().ok()).flatten()
}
