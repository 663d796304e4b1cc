//! Settings: one group per concern. Each default is documented with its reason.

mod group;
mod inputs;
mod limits;
mod sessions;
mod streams;
mod tasks;

pub use inputs::{InputRequests, SealingKey};
pub use limits::Limits;
pub use sessions::Sessions;
pub use streams::{ResponseMode, Streams};
pub use tasks::Tasks;

use std::time::Duration;

use crate::error::ConfigError;
use crate::store::Policy;

/// Reports a duration that is zero.
fn positive(error: &mut ConfigError, setting: &'static str, duration: Duration) {
    if duration.is_zero() {
        error.report(setting, "must be longer than zero");
    }
}

/// Reports a duration that is set to zero.
fn positive_if_set(error: &mut ConfigError, setting: &'static str, duration: Option<Duration>) {
    duration.into_iter().for_each(|duration| positive(error, setting, duration));
}

/// Reports a count of zero.
fn at_least_one<T: Copy + Default + PartialEq>(error: &mut ConfigError, setting: &'static str, count: T) {
    if count == T::default() {
        error.report(setting, "must be at least 1");
    }
}

/// Reports a count that is set to zero.
fn at_least_one_if_set(error: &mut ConfigError, setting: &'static str, count: Option<usize>) {
    count.into_iter().for_each(|count| at_least_one(error, setting, count));
}

/// Accepts every value.
fn anything<T: Copy>(_: &mut ConfigError, _: &'static str, _: T) {}

/// All groups together, as a service uses them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    pub(crate) sessions: Sessions,
    pub(crate) streams: Streams,
    pub(crate) limits: Limits,
    pub(crate) inputs: InputRequests,
    pub(crate) tasks: Tasks,
}

impl Settings {
    /// Reports every invalid setting, including combinations that contradict each other.
    pub(crate) fn check(&self, error: &mut ConfigError) {
        self.sessions.check(error);
        self.streams.check(error);
        self.limits.check(error);
        self.inputs.check(error);
        self.tasks.check(error);
        if let (Some(idle), Some(retry)) = (self.sessions.idle_timeout, self.streams.retry_interval)
            && idle <= retry
        {
            let why = format!(
                "{idle:?} must be longer than `Streams::retry_interval`, {retry:?}: otherwise a client that waits to reconnect finds its session expired"
            );
            error.report("Sessions::idle_timeout", why);
        }
    }

    pub(crate) fn policy(&self) -> Policy {
        let mut policy = Policy::default();
        self.sessions.apply(&mut policy);
        self.streams.apply(&mut policy);
        self.limits.apply(&mut policy);
        self.tasks.apply(&mut policy);
        policy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_settings_make_the_default_policy() {
        assert_eq!(Settings::default().policy(), Policy::default());
    }
}
