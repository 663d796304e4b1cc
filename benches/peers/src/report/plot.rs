//! The plot: a panel for each of the main operations, with a bar for each package in its fastest
//! variant, and for this crate in its default one. Bar lengths are proportional to the times. Bars
//! of servers slower than every Rust server are cut off. The colours are readable on light and dark
//! pages.

use std::collections::BTreeMap;

use crate::client::BURST;
use crate::modes::MODES;
use crate::results::Results;
use crate::servers::{SERVERS, Server};

/// A panel: its title, its mode, and the number of events that share the processor time.
const PANELS: [(&str, &str, f64); 4] = [
    ("A call in a session", "call", 1.0),
    ("A call of 2026-07-28", "modern-call", 1.0),
    ("An event of a burst of 51", "burst", BURST as f64 + 1.0),
    ("A session opened and ended", "cycle", 1.0),
];
const COLUMNS: usize = 2;

const WIDTH: usize = 920;
const PANEL: usize = WIDTH / COLUMNS;
const TOP: usize = 26;
const TITLE: usize = 30;
const ROW: usize = 21;
const BAR: usize = 14;
/// The ends of the labels, and the beginning and the maximum end of the bars, in a panel.
const LABEL: usize = 150;
const LEFT: usize = 158;
const RIGHT: usize = 352;

const TEXT: &str = "#757d88";
const OWN: &str = "#c2610c";
const PEER: &str = "#6f8fb3";
const FLOOR: &str = "#9aa4ae";

pub(super) fn draw(results: &Results) -> String {
    let panels = PANELS.map(|(title, mode, each)| (title, bars(mode, each, results)));
    let mut body = String::new();
    let mut top = TOP;
    for line in panels.chunks(COLUMNS) {
        for (column, (title, bars)) in line.iter().enumerate() {
            body += &panel(column * PANEL, top, title, bars);
        }
        let most = line.iter().map(|(_, bars)| bars.len()).max().unwrap_or_default();
        top += TITLE + most * ROW + ROW / 2;
    }
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" width="{WIDTH}" height="{top}" font-family="system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif" font-size="12" fill="{TEXT}">
<text x="8" y="16">Microseconds of the server's processor time, and how many times the floor's (grey: bare axum routes, no protocol). Shorter is better.</text>
{body}</svg>
"#
    )
}

struct Bar {
    label: String,
    colour: &'static str,
    micros: f64,
    ratio: Option<f64>,
    native: bool,
}

/// Returns the fastest variant of each package, the fastest package first.
fn bars(mode: &str, each: f64, results: &Results) -> Vec<Bar> {
    let floor = MODES.iter().find(|(name, ..)| *name == mode).and_then(|(.., floor)| *floor);
    let mut fastest: BTreeMap<String, Bar> = BTreeMap::new();
    for server in SERVERS {
        let shown =
            if server.is_floor() { floor == Some(server.name) } else { !server.is_own() || server.name == "mcp-http" };
        let Some(micros) = results.median(mode, server.name, "cpu").filter(|_| shown) else { continue };
        let ratio = results.ratio(mode, server.name, "cpu").filter(|_| !server.is_floor());
        let bar = Bar {
            label: server.package_title(),
            colour: colour(server),
            micros: micros / each,
            ratio,
            native: server.is_native(),
        };
        let known = fastest.get(&bar.label).is_some_and(|known| known.micros <= bar.micros);
        if !known {
            fastest.insert(bar.label.clone(), bar);
        }
    }
    let mut bars: Vec<Bar> = fastest.into_values().collect();
    bars.sort_by(|one, other| one.micros.total_cmp(&other.micros));
    bars
}

fn colour(server: &Server) -> &'static str {
    match server {
        own if own.is_own() => OWN,
        floor if floor.is_floor() => FLOOR,
        _ => PEER,
    }
}

fn panel(left: usize, top: usize, title: &str, bars: &[Bar]) -> String {
    let longest = bars.iter().filter(|bar| bar.native).map(|bar| bar.micros).fold(0.0, f64::max);
    let rows = bars.iter().enumerate().map(|(at, bar)| row(left, top + TITLE + at * ROW, bar, longest));
    let title = format!(
        r#"<text x="{}" y="{}" font-size="13" font-weight="600">{title}</text>
"#,
        left + LEFT,
        top + 18
    );
    title + &rows.collect::<String>()
}

fn row(left: usize, top: usize, bar: &Bar, longest: f64) -> String {
    let Bar { label, colour, micros, ratio, .. } = bar;
    let (own, cut) = (*colour == OWN, *micros > longest);
    let room = (RIGHT - LEFT) as f64;
    let length = if cut { room } else { (room * micros / longest).max(1.0) };
    let weight = if own { 600 } else { 400 };
    let text = if own { OWN } else { TEXT };
    let ratio = ratio.map(|ratio| format!(" ({}×)", digits(ratio))).unwrap_or_default();
    let (from, base) = (left + LEFT, top + BAR - 3);
    // A bar that is too long has a gap near its end.
    let (first, rest) = if cut { (length - 16.0, Some(from as f64 + length - 10.0)) } else { (length, None) };
    let rest = rest.map(|x| format!(r#"<rect x="{x:.1}" y="{top}" width="10" height="{BAR}" fill="{colour}"/>"#));
    format!(
        r#"<text x="{}" y="{base}" text-anchor="end" fill="{text}" font-weight="{weight}">{label}</text><rect x="{from}" y="{top}" width="{first:.1}" height="{BAR}" fill="{colour}"/>{}<text x="{:.1}" y="{base}" fill="{text}" font-weight="{weight}">{}{ratio}</text>
"#,
        left + LABEL,
        rest.unwrap_or_default(),
        from as f64 + length + 6.0,
        digits(*micros),
    )
}

/// Returns a number with its significant digits.
fn digits(value: f64) -> String {
    match value {
        large if large >= 100.0 => format!("{large:.0}"),
        middle if middle >= 10.0 => format!("{middle:.1}"),
        small => format!("{small:.2}"),
    }
}
