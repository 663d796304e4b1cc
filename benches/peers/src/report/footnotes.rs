//! Footnotes: the reason for each `no`, given once below the tables and referenced by number.

use std::fmt::Write;

#[derive(Default)]
pub(super) struct Footnotes {
    reasons: Vec<String>,
}

impl Footnotes {
    /// Returns the mark of a reason.
    pub(super) fn mark(&mut self, reason: &str) -> String {
        let at = self.reasons.iter().position(|known| known == reason).unwrap_or_else(|| {
            self.reasons.push(reason.to_owned());
            self.reasons.len() - 1
        });
        format!("[^{}]", at + 1)
    }

    pub(super) fn write(&self, text: &mut String) {
        for (at, reason) in self.reasons.iter().enumerate() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "[^{}]: {reason}", at + 1);
        }
    }
}
