//! Reports of a run: tables, a plot, all samples, and the report of a soak.

mod footnotes;
mod machine;
mod plot;
mod tables;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

pub(crate) use machine::Machine;

use crate::modes::Scale;
use crate::results::Results;

/// Writes `table.md`, `cpu.svg` and `samples.json` into a folder.
pub(crate) fn write(folder: &Path, results: &Results, machine: &Machine, scale: &Scale) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    fs::write(folder.join("table.md"), tables::markdown(results, machine, scale))?;
    results.save(&folder.join("samples.json"), machine.revision())?;
    Ok(fs::write(folder.join("cpu.svg"), plot::draw(results))?)
}

/// Writes `soak.md` into a folder.
pub(crate) fn write_soak(folder: &Path, text: &str, machine: &Machine) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let text = format!("# The soak\n\n{}\n\n{text}", machine.describe());
    Ok(fs::write(folder.join("soak.md"), text)?)
}
