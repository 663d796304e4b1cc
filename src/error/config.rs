//! Configuration errors: the invalid settings, and why each is invalid.

use std::fmt;

/// The invalid settings of a service, each with its name and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Not empty in any error that a user receives.
    problems: Vec<Problem>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Problem {
    setting: &'static str,
    why: String,
}

impl ConfigError {
    pub(crate) fn new(setting: &'static str, why: impl Into<String>) -> Self {
        Self { problems: vec![Problem { setting, why: why.into() }] }
    }

    /// Returns an error without problems, to be filled.
    pub(crate) fn none() -> Self {
        Self { problems: Vec::new() }
    }

    pub(crate) fn report(&mut self, setting: &'static str, why: impl Into<String>) {
        self.problems.push(Problem { setting, why: why.into() });
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.problems.extend(other.problems);
    }

    pub(crate) fn into_result(self) -> Result<(), Self> {
        if self.problems.is_empty() { Ok(()) } else { Err(self) }
    }

    /// Returns the name of the first invalid setting.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        self.problems.first().map_or("", |problem| problem.setting)
    }

    /// Returns the names of all invalid settings.
    pub fn settings(&self) -> impl Iterator<Item = &'static str> {
        self.problems.iter().map(|problem| problem.setting)
    }
}

/// Writes one line for each setting.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Problem { setting, why }) in self.problems.iter().enumerate() {
            let line = if at == 0 { "" } else { "\n" };
            write!(f, "{line}setting `{setting}`: {why}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
