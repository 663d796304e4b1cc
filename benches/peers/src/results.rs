//! The results of all runs, and the figures computed from them: the median of the repetitions, and
//! the median of the ratios to the floor in the same repetition.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::modes::{MODES, Sample};
use crate::servers::Server;

type Outcome = std::result::Result<Sample, String>;

/// All runs so far.
#[derive(Default)]
pub(crate) struct Results {
    /// By mode and server, in the order of the repetitions.
    runs: BTreeMap<(&'static str, &'static str), Vec<Outcome>>,
}

/// The file with all runs.
#[derive(Serialize, Deserialize)]
struct Saved<'a, Name, Runs> {
    /// The revision of this crate.
    revision: &'a str,
    runs: Vec<(Name, Name, Runs)>,
}

impl Results {
    pub(crate) fn add(&mut self, mode: &'static str, server: &'static str, outcome: Outcome) {
        self.runs.entry((mode, server)).or_default().push(outcome);
    }

    /// Returns the reason why a server does not support a mode.
    pub(crate) fn refusal(&self, mode: &str, server: &str) -> Option<&str> {
        self.of(mode, server).iter().find_map(|run| run.as_ref().err()).map(String::as_str)
    }

    /// Returns `true` if the mode was tried with the server.
    pub(crate) fn has(&self, mode: &str, server: &str) -> bool {
        !self.of(mode, server).is_empty()
    }

    pub(crate) fn median(&self, mode: &str, server: &str, figure: &str) -> Option<f64> {
        if self.refusal(mode, server).is_some() {
            return None;
        }
        median(self.of(mode, server).iter().flatten().filter_map(|sample| sample.get(figure).copied()))
    }

    /// Returns the smallest value of all repetitions.
    pub(crate) fn least(&self, mode: &str, server: &str, figure: &str) -> Option<f64> {
        self.of(mode, server).iter().flatten().filter_map(|sample| sample.get(figure).copied()).reduce(f64::min)
    }

    /// Returns the sum of all repetitions.
    pub(crate) fn sum(&self, mode: &str, server: &str, figure: &str) -> f64 {
        self.of(mode, server).iter().flatten().filter_map(|sample| sample.get(figure)).sum()
    }

    /// Returns the ratio to the floor.
    pub(crate) fn ratio(&self, mode: &str, server: &str, figure: &str) -> Option<f64> {
        let floor = MODES.iter().find(|(name, ..)| *name == mode)?.2?;
        if self.refusal(mode, server).is_some() {
            return None;
        }
        let both = self.of(mode, server).iter().flatten().zip(self.of(mode, floor).iter().flatten());
        median(both.filter_map(|(own, floor)| Some(own.get(figure)? / floor.get(figure)?)))
    }

    /// Removes the runs of a server, or of a mode.
    pub(crate) fn forget(&mut self, which: impl Fn(&str, &str) -> bool) {
        self.runs.retain(|(mode, server), _| !which(mode, server));
    }

    /// Saves all runs, for inspection and for `--resume`.
    pub(crate) fn save(&self, file: &Path, revision: &str) -> Result<()> {
        let runs = self.runs.iter().map(|((mode, server), runs)| (mode, server, runs)).collect();
        Ok(fs::write(file, serde_json::to_string(&Saved { revision, runs })?)?)
    }

    /// Loads the saved runs of modes and servers that still exist. Runs of this crate count only if
    /// they measured the same revision.
    pub(crate) fn load(file: &Path, revision: &str) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let saved: Saved<'_, String, Vec<Outcome>> = serde_json::from_str(&text)?;
        let mut results = Self::default();
        for (mode, server, runs) in saved.runs {
            let mode = MODES.iter().find(|(name, ..)| *name == mode).map(|(name, ..)| *name);
            let server = Server::find(&server).filter(|server| !server.is_own() || saved.revision == revision);
            if let (Some(mode), Some(server)) = (mode, server) {
                results.runs.insert((mode, server.name), runs);
            }
        }
        Ok(results)
    }

    fn of(&self, mode: &str, server: &str) -> &[Outcome] {
        let found = self.runs.iter().find(|((m, s), _)| *m == mode && *s == server);
        found.map_or(&[], |(_, runs)| runs)
    }
}

fn median(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(figures[middle]),
        _ => Some(f64::midpoint(figures[middle - 1], figures[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(cpu: f64) -> Outcome {
        Ok(Sample::from([("cpu".to_owned(), cpu)]))
    }

    #[test]
    fn ratios_are_within_a_repetition() {
        let mut results = Results::default();
        // The machine was twice as slow in the second repetition, and three times as slow in the
        // third.
        for (own, floor) in [(20.0, 10.0), (40.0, 20.0), (66.0, 30.0)] {
            results.add("call", "mcp-http", sample(own));
            results.add("call", "floor-json", sample(floor));
        }
        assert_eq!(results.ratio("call", "mcp-http", "cpu"), Some(2.0));
        assert_eq!(results.median("call", "mcp-http", "cpu"), Some(40.0));
    }

    #[test]
    fn one_failed_run_fails_the_operation() {
        let mut results = Results::default();
        results.add("call", "mcp-http", sample(1.0));
        results.add("call", "mcp-http", Err("an answer was lost".to_owned()));
        assert_eq!(results.median("call", "mcp-http", "cpu"), None);
        assert_eq!(results.refusal("call", "mcp-http"), Some("an answer was lost"));
    }

    #[test]
    fn saved_results_of_the_same_revision_are_reused() {
        let file = std::env::temp_dir().join(format!("mcp-http-peers-{}-saved", std::process::id()));
        let mut results = Results::default();
        results.add("call", "mcp-http", sample(1.0));
        results.add("call", "rmcp", Err("no".to_owned()));
        results.save(&file, "abc").unwrap();
        let same = Results::load(&file, "abc").unwrap();
        assert_eq!(same.median("call", "mcp-http", "cpu"), Some(1.0));
        assert_eq!(same.refusal("call", "rmcp"), Some("no"));
        let newer = Results::load(&file, "def").unwrap();
        assert!(!newer.has("call", "mcp-http") && newer.has("call", "rmcp"));
        fs::remove_file(file).unwrap();
    }

    #[test]
    fn the_median_of_two_is_in_the_middle() {
        assert_eq!(median([4.0, 2.0].into_iter()), Some(3.0));
        assert_eq!(median(std::iter::empty()), None);
    }
}
