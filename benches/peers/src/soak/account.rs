//! The account of a soak: whether each requested message arrived, once and with the right content.

use std::fmt;

use crate::cut_off::Tally;

/// The numbers of requested messages and of those that arrived.
#[derive(Debug, Default, Clone)]
pub(super) struct Account {
    pub(super) asked: u64,
    pub(super) right: u64,
    pub(super) wrong: u64,
    pub(super) lost: u64,
    pub(super) twice: u64,
    /// The error of the first wrong one.
    pub(super) why: Option<String>,
}

impl Account {
    pub(super) fn wrong(&mut self, why: &str) {
        self.wrong += 1;
        self.why.get_or_insert_with(|| why.to_owned());
    }

    /// Adds the `of` messages of a call that was cut off.
    pub(super) fn tally(&mut self, tally: Tally, of: u64) {
        self.asked += of;
        self.right += of - tally.lost;
        self.lost += tally.lost;
        self.twice += tally.duplicated;
    }

    pub(super) fn add(&mut self, other: Self) {
        self.asked += other.asked;
        self.right += other.right;
        self.wrong += other.wrong;
        self.lost += other.lost;
        self.twice += other.twice;
        self.why = self.why.take().or(other.why);
    }

    pub(super) fn is_settled(&self) -> bool {
        self.asked == self.right && self.wrong == 0 && self.lost == 0 && self.twice == 0
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, right, wrong, lost, twice, why } = self;
        if *asked == 0 && self.is_settled() {
            return f.write_str("none");
        }
        write!(f, "{right} of {asked} right")?;
        if !self.is_settled() {
            write!(f, ", {wrong} wrong, {lost} lost, {twice} twice")?;
        }
        why.as_ref().map_or(Ok(()), |why| write!(f, " ({why})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_wrong_or_doubled_answers_unsettle_an_account() {
        let settled = Account { asked: 13, right: 13, ..Account::default() };
        assert!(settled.is_settled());
        let with = |change: fn(&mut Account)| {
            let mut account = settled.clone();
            change(&mut account);
            account.is_settled()
        };
        assert!(!with(|account| account.asked += 1), "no answer came");
        assert!(!with(|account| account.wrong("another text")));
        assert!(!with(|account| account.tally(Tally { lost: 1, duplicated: 0 }, 13)));
        assert!(!with(|account| account.tally(Tally { lost: 0, duplicated: 1 }, 13)));
        assert!(with(|account| account.tally(Tally::default(), 13)));
    }
}
