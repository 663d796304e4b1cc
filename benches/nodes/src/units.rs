//! The unit costs that the model uses, the file they are kept in, and the check that the file is
//! still right.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// The cost of each operation by name: `operation.scripts`, `.commands`, `.us` (of the server),
/// `.node_us`, `.input`, `.output`, `.file` (bytes), `room.*` (bytes).
#[derive(Default)]
pub(crate) struct Units(BTreeMap<String, f64>);

/// Returns the factor by which a figure may differ when it is measured again, and the absolute
/// difference that does not matter.
fn tolerance(name: &str) -> (f64, f64) {
    match name.rsplit('.').next() {
        // In a second the server does more work for itself than for an idle node.
        _ if name.starts_with("idle_node") => (2.0, 500.0),
        Some("scripts" | "commands") => (1.1, 0.3),
        Some("input" | "output" | "file") => (1.25, 100.0),
        Some("node_us") => (2.0, 100.0),
        Some("us" | "ns") => (2.0, 5.0),
        _ => (1.25, 50.0),
    }
}

impl Units {
    fn file() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("units.tsv")
    }

    pub(crate) fn set(&mut self, name: &str, value: f64) {
        self.0.insert(name.to_owned(), value);
    }

    pub(crate) fn get(&self, name: &str) -> Result<f64> {
        self.0.get(name).copied().with_context(|| format!("units.tsv has no {name}"))
    }

    pub(crate) fn kept() -> Result<Self> {
        let text = std::fs::read_to_string(Self::file()).context("units.tsv: measure first")?;
        let rows = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (name, value) = line.split_once('\t').with_context(|| format!("units.tsv: {line}"))?;
            Ok((name.to_owned(), value.parse()?))
        });
        Ok(Self(rows.collect::<Result<_>>()?))
    }

    pub(crate) fn keep(&self, head: &str) -> Result<()> {
        let mut text: String = head.lines().map(|line| format!("# {line}\n")).collect();
        for (name, value) in &self.0 {
            text += &format!("{name}\t{value:.3}\n");
        }
        Ok(std::fs::write(Self::file(), text)?)
    }

    /// Prints both figures of each name. Returns the number of figures that differ too much.
    pub(crate) fn compare(&self, kept: &Self) -> usize {
        let mut red = 0;
        let names: std::collections::BTreeSet<_> = self.0.keys().chain(kept.0.keys()).collect();
        for name in names {
            let (new, old) = (self.0.get(name), kept.0.get(name));
            let wrong = match (new, old) {
                (Some(new), Some(old)) => {
                    let (factor, little) = tolerance(name);
                    (new - old).abs() > little && !(old / factor..=old * factor).contains(new)
                }
                _ => true,
            };
            red += usize::from(wrong);
            let show = |value: Option<&f64>| value.map_or("nothing".to_owned(), |value| format!("{value:.1}"));
            println!("{} {name:24} {:>12}, kept {:>12}", if wrong { "RED" } else { "ok " }, show(new), show(old));
        }
        red
    }
}
