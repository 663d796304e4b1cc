//! Expiry: ends the response of a request whose access token expires while it streams.

use std::time::{Duration, SystemTime};

use http::Extensions;

use crate::identity::AccessToken;
use crate::outcome::{Outcome, Reply};
use crate::streams::Expiring;

/// Returns when the token of a request expires; `None` for a request without one.
pub(crate) fn of(extensions: &Extensions) -> Option<SystemTime> {
    extensions.get::<AccessToken>()?.expires_at()
}

/// Makes a stream end when the token of its request expires.
pub(crate) fn apply(
    reply: Reply,
    expires_at: Option<SystemTime>,
    now: impl FnOnce() -> SystemTime,
    grace: Duration,
) -> Reply {
    let Some(expires_at) = expires_at else { return reply };
    match reply.outcome {
        Outcome::Stream { prelude, source } => {
            let valid = expires_at.duration_since(now()).unwrap_or_default();
            let source = Box::new(Expiring::new(source, valid, grace));
            Reply { outcome: Outcome::Stream { prelude, source }, ..reply }
        }
        outcome => Reply { outcome, ..reply },
    }
}
