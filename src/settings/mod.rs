//! Everything that can be set, in groups; each default with its reason.

mod inputs;
mod limits;
mod sessions;
mod streams;
mod tasks;

pub use inputs::{Inputs, SealingKey};
pub use limits::Limits;
pub use sessions::Sessions;
pub use streams::{ResponseMode, Streams};
pub use tasks::Tasks;

use crate::error::ConfigError;
use crate::store::Policy;

/// A duration that must be longer than nothing.
fn positive(setting: &'static str, duration: std::time::Duration) -> Result<(), ConfigError> {
    if duration.is_zero() { Err(ConfigError::new(setting, "must be longer than zero")) } else { Ok(()) }
}

/// A count that must be at least one.
fn at_least_one(setting: &'static str, count: usize) -> Result<(), ConfigError> {
    if count == 0 { Err(ConfigError::new(setting, "must be at least 1")) } else { Ok(()) }
}

/// All groups together, as a service uses them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    pub(crate) sessions: Sessions,
    pub(crate) streams: Streams,
    pub(crate) limits: Limits,
    pub(crate) inputs: Inputs,
    pub(crate) tasks: Tasks,
}

impl Settings {
    /// What one group alone cannot know. Groups check themselves when they are handed over.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.sessions.check()?;
        self.streams.check()?;
        self.limits.check()?;
        self.inputs.check()?;
        self.tasks.check()?;
        if let (Some(idle), Some(retry)) = (self.sessions.idle_timeout, self.streams.retry_interval)
            && idle <= retry
        {
            let why = format!(
                "{idle:?} must be longer than the retry interval, {retry:?}: a client that waits to come back would find its session gone"
            );
            return Err(ConfigError::new("idle_timeout", why));
        }
        Ok(())
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
    fn a_service_with_nothing_set_asks_of_an_engine_what_it_does_by_itself() {
        assert_eq!(Settings::default().policy(), Policy::default());
    }
}
