//! How much answers hold that clients have not read: a long one is counted, or refused where there is no room.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::Shared;
use crate::encode::SHORT;
use crate::error::Rejection;
use crate::hall::LogLine;
use crate::identity::Account;
use crate::message::RequestId;
use crate::outcome::{Outcome, Reply};

impl<S> Shared<S> {
    /// Says whose a response is. A long answer counts as a call of its account until it has been written, and becomes an
    /// error where unread answers hold all that they may.
    pub(super) fn bound_unread(&self, reply: &mut Reply, account: Option<Account>) {
        let Some(answer) = reply.outcome.answer().filter(|answer| answer.len() > SHORT) else {
            reply.account = account;
            return;
        };
        let size = answer.len();
        if let Err(limit) = self.watch.make_room(account.as_ref(), size) {
            let id = id_of(answer);
            self.hall.counters.answer_refused();
            if let Some(left_out) = self.hall.log_line(LogLine::NotKept) {
                tracing::error!(
                    size,
                    limit,
                    left_out,
                    "answers that clients have not read hold too much; `Limits::answers_unread` raises the limit"
                );
            }
            reply.outcome = Outcome::Rejected(Rejection::TooManyAnswersUnread { limit }, id);
            return;
        }
        reply.held = Some(Box::new(self.hall.still_answers(account.clone())));
        reply.account = account;
    }
}

/// The id of the request that is answered; `None` for a batch.
fn id_of(answer: &Bytes) -> Option<RequestId> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
    }
    // Read as a struct, an array would be the members by position.
    let one = answer.first() == Some(&b'{');
    one.then(|| serde_json::from_slice::<Answer<'_>>(answer).ok()?.id.get().parse().ok()).flatten()
}
