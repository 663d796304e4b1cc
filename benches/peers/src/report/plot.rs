//! Decides what the plot shows: for each of the main operations a bar for each server, on a
//! logarithmic scale, because the slowest takes a hundred times what the fastest does.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use crate::client::BURST;
use crate::results::Results;
use crate::servers::Server;

/// A panel: its title, its mode, and for how many the processor time is.
const PANELS: [(&str, &str, f64); 4] = [
    ("a call", "call", 1.0),
    ("an event of a burst", "burst", BURST as f64 + 1.0),
    ("opening and ending a session", "cycle", 1.0),
    ("a call, 2026-07-28", "modern-call", 1.0),
];

const WIDTH: u32 = 960;
const BAR: i32 = 18;
const GAP: i32 = 6;
const TITLE: i32 = 34;
/// Where the bars begin and where the longest ends.
const LEFT: i32 = 330;
const RIGHT: i32 = WIDTH as i32 - 90;

const OWN: RGBColor = RGBColor(200, 80, 30);
const PEER: RGBColor = RGBColor(90, 120, 160);
const FLOOR: RGBColor = RGBColor(170, 170, 170);

pub(super) fn draw(file: &Path, results: &Results, servers: &[&Server]) -> Result<()> {
    let panels: Vec<_> = PANELS.iter().map(|panel| (panel.0, bars(panel, results, servers))).collect();
    let height = panels.iter().map(|(_, bars)| TITLE + bars.len() as i32 * (BAR + GAP)).sum::<i32>() + TITLE;
    let area = SVGBackend::new(file, (WIDTH, height.unsigned_abs())).into_drawing_area();
    let mut top = 0;
    let drawn = area.fill(&WHITE).and_then(|()| {
        panels.iter().try_for_each(|(title, bars)| {
            let drawn = panel(&area, top, title, bars);
            top += TITLE + bars.len() as i32 * (BAR + GAP);
            drawn
        })?;
        area.present()
    });
    drawn.map_err(|error| anyhow!("no plot: {error}"))
}

struct Bar {
    label: String,
    colour: RGBColor,
    micros: f64,
}

fn bars(panel: &(&str, &str, f64), results: &Results, servers: &[&Server]) -> Vec<Bar> {
    let bar = |server: &&Server| {
        let micros = results.median(panel.1, server.name, "cpu")? / panel.2;
        let colour = match server.name {
            own if own.starts_with("mcp-http") => OWN,
            _ if server.is_floor() => FLOOR,
            _ => PEER,
        };
        Some(Bar { label: server.title().replace(['*', '`'], ""), colour, micros })
    };
    let mut bars: Vec<Bar> = servers.iter().filter_map(bar).collect();
    bars.sort_by(|one, other| one.micros.total_cmp(&other.micros));
    bars
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Drawn<'a> = Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn panel<'a>(area: &Area<'a>, top: i32, title: &str, bars: &[Bar]) -> Drawn<'a> {
    let title = format!("Processor time of the server for {title}, microseconds (logarithmic)");
    area.draw(&Text::new(title, (10, top + 12), ("sans-serif", 15)))?;
    let most = bars.last().map_or(1.0, |bar| bar.micros);
    let least = bars.first().map_or(1.0, |bar| bar.micros) / 2.0;
    for (at, bar) in bars.iter().enumerate() {
        let y = top + TITLE + at as i32 * (BAR + GAP);
        let share = (bar.micros / least).ln() / (most / least).ln();
        let right = LEFT + (f64::from(RIGHT - LEFT) * share) as i32;
        area.draw(&Text::new(bar.label.clone(), (10, y + 2), ("sans-serif", 13)))?;
        area.draw(&Rectangle::new([(LEFT, y), (right, y + BAR)], bar.colour.filled()))?;
        area.draw(&Text::new(format!("{:.2}", bar.micros), (right + 6, y + 2), ("sans-serif", 13)))?;
    }
    Ok(())
}
