//! Decides when everything is accounted for: each thing that was asked for came, once, and right.

use std::fmt;

use crate::cut_off::Tally;

/// What came of what was asked for.
#[derive(Debug, Default, Clone)]
pub(super) struct Account {
    pub(super) right: u64,
    pub(super) wrong: u64,
    pub(super) lost: u64,
    pub(super) twice: u64,
    /// Why the first was wrong.
    pub(super) why: Option<String>,
}

impl Account {
    pub(super) fn right(&mut self, count: u64) {
        self.right += count;
    }

    pub(super) fn wrong(&mut self, why: &str) {
        self.wrong += 1;
        self.why.get_or_insert_with(|| why.to_owned());
    }

    /// Events of a call that was cut off, of so many.
    pub(super) fn tally(&mut self, tally: Tally, of: u64) {
        self.right += of - tally.lost;
        self.lost += tally.lost;
        self.twice += tally.duplicated;
    }

    pub(super) fn is_settled(&self) -> bool {
        self.wrong == 0 && self.lost == 0 && self.twice == 0
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { right, wrong, lost, twice, why } = self;
        if *right == 0 && self.is_settled() {
            return f.write_str("none");
        }
        write!(f, "{right} right")?;
        if !self.is_settled() {
            write!(f, ", {wrong} wrong, {lost} lost, {twice} twice")?;
        }
        why.as_ref().map_or(Ok(()), |why| write!(f, " ({why})"))
    }
}
