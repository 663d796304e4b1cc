//! Errors of reading skills from folders: what is wrong with which file.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Skills that cannot be read from a folder, each with its path and the reason.
#[derive(Debug)]
pub struct SkillError {
    problems: Vec<(PathBuf, Problem)>,
}

#[derive(Debug)]
enum Problem {
    Io(io::Error),
    Invalid(String),
}

impl SkillError {
    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        Self { problems: vec![(path.to_owned(), Problem::Io(error))] }
    }

    pub(super) fn invalid(path: &Path, why: impl Into<String>) -> Self {
        Self { problems: vec![(path.to_owned(), Problem::Invalid(why.into()))] }
    }

    /// Returns one error with the problems of both.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.problems.extend(other.problems);
        self
    }

    /// Returns the paths of the files and folders with problems.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.problems.iter().map(|(path, _)| path.as_path())
    }
}

/// Writes one line for each problem.
impl fmt::Display for SkillError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (path, problem)) in self.problems.iter().enumerate() {
            let line = if at == 0 { "" } else { "\n" };
            match problem {
                Problem::Io(error) => write!(f, "{line}{}: {error}", path.display())?,
                Problem::Invalid(why) => write!(f, "{line}{}: {why}", path.display())?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for SkillError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.problems.iter().find_map(|(_, problem)| match problem {
            Problem::Io(error) => Some(error as _),
            Problem::Invalid(_) => None,
        })
    }
}
