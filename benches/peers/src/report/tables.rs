//! The tables of the report, column by column.

use std::fmt::Write;

use super::Machine;
use super::footnotes::Footnotes;
use crate::client::BURST;
use crate::modes::{SMALL, Scale};
use crate::results::Results;
use crate::servers::{SERVERS, Server};

/// Formats what a server did in a mode as a cell.
type Cell = fn(&Run<'_>) -> Option<String>;

struct Table {
    title: &'static str,
    text: &'static str,
    columns: &'static [(&'static str, &'static str, Cell)],
}

/// One server in one mode.
struct Run<'a> {
    results: &'a Results,
    mode: &'static str,
    server: &'static str,
}

impl Run<'_> {
    fn median(&self, figure: &str) -> Option<f64> {
        self.results.median(self.mode, self.server, figure)
    }

    /// Formats a time or a count, divided by `each`, and its ratio to the floor's.
    fn against_floor(&self, figure: &str, each: f64, unit: &str) -> Option<String> {
        let own = number(self.median(figure)? / each);
        let ratio = self.results.ratio(self.mode, self.server, figure);
        Some(ratio.map_or_else(|| format!("{own}{unit}"), |ratio| format!("{own}{unit}, x {ratio:.2}")))
    }
}

const TABLES: &[Table] = &[
    Table {
        title: "Processor time of the server for each operation",
        text: "User and system time of all threads; x: divided by the floor's in the same repetition. `burst` is given for each of its 51 events.",
        columns: &[
            ("call", "call", |run| run.against_floor("cpu", 1.0, " us")),
            ("call, 16 KiB", "call-16k", |run| run.against_floor("cpu", 1.0, " us")),
            ("burst, an event", "burst", |run| run.against_floor("cpu", f64::from(BURST) + 1.0, " us")),
            ("open and end a session", "cycle", |run| run.against_floor("cpu", 1.0, " us")),
            ("2026-07-28: call", "modern-call", |run| run.against_floor("cpu", 1.0, " us")),
            ("2026-07-28: burst, an event", "modern-burst", |run| {
                run.against_floor("cpu", f64::from(BURST) + 1.0, " us")
            }),
        ],
    },
    Table {
        title: "Calls: how many, how long",
        text: "In a second; p50 / p99 / p99.9 in microseconds, as the client saw them.",
        columns: &[
            ("32 connections", "call", latency),
            ("1 connection", "call-1", latency),
            ("16 KiB, 32 connections", "call-16k", latency),
            ("16 KiB, 1 connection", "call-16k-1", latency),
        ],
    },
    Table {
        title: "Streams, sessions and 2026-07-28: how many, how long",
        text: "On 32 connections: whole streams of 51 events, whole sessions, calls. In a second; p50 / p99 / p99.9 in microseconds, as the client saw them.",
        columns: &[
            ("burst", "burst", latency),
            ("open and end a session", "cycle", latency),
            ("2026-07-28: call", "modern-call", latency),
            ("2026-07-28: burst", "modern-burst", latency),
        ],
    },
    Table {
        title: "A call that is cut off and resumed",
        text: "After 3 of 12 steps the client drops the connection and comes back with `Last-Event-ID`: at once, or when the tool has ended. Events lost and events that came twice, of 13 for each call; processor time of the whole.",
        columns: &[
            ("back at once", "resume-live", resumed),
            ("its processor time", "resume-live", |run| run.against_floor("cpu", 1.0, " us")),
            ("back after the end", "resume-late", resumed),
            ("its processor time", "resume-late", |run| run.against_floor("cpu", 1.0, " us")),
        ],
    },
    Table {
        title: "Memory",
        text: "Growth of the server's anonymous resident memory. A connection is one of 4,000 (of Python and TypeScript 500) that opened a session and is idle; a stream is what a GET on it adds. The last columns: sessions that were opened and ended, the memory after a twelfth of them and after all, and what that is for each session in between.",
        columns: &[
            ("an idle session", "sessions", |run| bytes(run, "bytes")),
            ("an idle connection", "streams", |run| bytes(run, "connection")),
            ("an idle GET stream beyond it", "streams", |run| bytes(run, "bytes")),
            ("came and went", "churn", |run| run.median("ended").map(number)),
            ("memory early / late", "churn", |run| {
                let mebibytes = |figure| run.median(figure).map(|bytes| number(bytes / f64::from(1 << 20)));
                Some(format!("{} / {} MiB", mebibytes("early")?, mebibytes("late")?))
            }),
            ("left by each", "churn", |run| bytes(run, "bytes")),
        ],
    },
    Table {
        title: "Calls among idle sessions",
        text: "In one process: processor time of a call before there were idle sessions, and among them.",
        columns: &[
            ("idle sessions", "crowd", |run| {
                run.results.least(run.mode, run.server, "opened").filter(|_| run.median("cpu").is_some()).map(number)
            }),
            ("a call alone", "crowd", |run| run.against_floor("alone", 1.0, " us")),
            ("among them", "crowd", |run| {
                Some(format!("{} us, x {:.2}", number(run.median("cpu")?), run.median("growth")?))
            }),
            ("memory", "crowd", |run| Some(format!("{} MiB", number(run.median("memory")? / f64::from(1 << 20))))),
            ("p99 among them", "crowd", |run| run.median("p99").map(|p99| format!("{} us", number(p99)))),
        ],
    },
    Table {
        title: "User instructions",
        text: "Of the server process, under callgrind; the kernel's do not count.",
        columns: &[
            ("call", "instructions-call", count),
            ("burst", "instructions-burst", count),
            ("open and end a session", "instructions-cycle", count),
            ("2026-07-28: call", "instructions-modern-call", count),
        ],
    },
    Table {
        title: "Allocations",
        text: "Of the whole server process, HTTP included.",
        columns: &[
            ("call", "allocations-call", count),
            ("burst", "allocations-burst", count),
            ("open and end a session", "allocations-cycle", count),
            ("2026-07-28: call", "allocations-modern-call", count),
        ],
    },
    Table {
        title: "System calls",
        text: "On 32 connections, counted by strace.",
        columns: &[
            ("call", "syscalls-call", count),
            ("burst", "syscalls-burst", count),
            ("open and end a session", "syscalls-cycle", count),
            ("2026-07-28: call", "syscalls-modern-call", count),
        ],
    },
];

fn latency(run: &Run<'_>) -> Option<String> {
    /// With fewer calls there is no slowest thousandth.
    const ENOUGH: f64 = 1_000.0;
    let of = |figure| run.median(figure).map(number);
    let slowest = if run.results.least(run.mode, run.server, "operations")? < ENOUGH { None } else { of("p999") };
    let slowest = slowest.unwrap_or_else(|| "too few".to_owned());
    Some(format!("{}/s; {} / {} / {slowest}", of("rate")?, of("p50")?, of("p99")?))
}

fn resumed(run: &Run<'_>) -> Option<String> {
    run.median("cpu")?;
    let sum = |figure| run.results.sum(run.mode, run.server, figure);
    let (lost, twice) = (sum("lost"), sum("duplicated"));
    Some(format!("{} lost, {} twice in {} calls", number(lost), number(twice), number(sum("operations"))))
}

fn bytes(run: &Run<'_>, figure: &str) -> Option<String> {
    run.median(figure).map(|bytes| format!("{} B", number(bytes.round())))
}

fn count(run: &Run<'_>) -> Option<String> {
    run.against_floor("count", 1.0, "")
}

/// Formats a number with its significant digits and separated thousands.
fn number(value: f64) -> String {
    let decimals = match value.abs() {
        small if small == 0.0 || small >= 100.0 || (small >= 10.0 && small.fract() == 0.0) => 0,
        middle if middle >= 10.0 || middle.fract() == 0.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    let text = if decimals > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    fraction.map_or(grouped.clone(), |fraction| format!("{grouped}.{fraction}"))
}

/// Returns all tables that have at least one measured figure.
pub(super) fn markdown(results: &Results, machine: &Machine, scale: &Scale) -> String {
    let mut text = String::from("# The peers, side by side\n\n");
    let mut footnotes = Footnotes::default();
    let written = head(&mut text, machine, scale).and_then(|()| {
        let has =
            |server: &&Server, table: &Table| table.columns.iter().any(|(_, mode, _)| results.has(mode, server.name));
        TABLES.iter().try_for_each(|table| {
            let servers: Vec<&Server> = SERVERS.iter().filter(|server| has(server, table)).collect();
            write_table(&mut text, table, results, &servers, &mut footnotes)
        })
    });
    debug_assert!(written.is_ok(), "a string takes everything");
    footnotes.write(&mut text);
    text
}

fn head(text: &mut String, machine: &Machine, scale: &Scale) -> std::fmt::Result {
    writeln!(text, "{}\n", machine.describe())?;
    writeln!(
        text,
        "What is timed: medians of {} repetitions of {:?} each, of Python and TypeScript {}, interleaved; every server with \
         one worker thread on one processor, the load on another. Memory and calls among idle sessions: of {}, of Python and \
         TypeScript 1. A text of {SMALL} bytes unless 16 KiB are named. What a server cannot do is a `no`, with what it said \
         when it was tried.\n",
        scale.repetitions,
        scale.measured,
        scale.foreign_repetitions,
        scale.repetitions.min(2),
    )
}

fn write_table(
    text: &mut String,
    table: &Table,
    results: &Results,
    servers: &[&Server],
    footnotes: &mut Footnotes,
) -> std::fmt::Result {
    if servers.is_empty() {
        return Ok(());
    }
    writeln!(text, "## {}\n\n{}\n", table.title, table.text)?;
    let titles: Vec<&str> = table.columns.iter().map(|(title, ..)| *title).collect();
    writeln!(text, "| | {} |\n|---|{}", titles.join(" | "), "---:|".repeat(titles.len()))?;
    for server in servers {
        let cells: Vec<String> = table.columns.iter().map(|column| cell(column, results, server, footnotes)).collect();
        // A floor is listed only if other servers are compared with it.
        if !server.is_floor() || cells.iter().any(|cell| cell.starts_with(|first: char| first.is_ascii_digit())) {
            writeln!(text, "| {} | {} |", server.title(), cells.join(" | "))?;
        }
    }
    writeln!(text)
}

fn cell(column: &(&str, &'static str, Cell), results: &Results, server: &Server, footnotes: &mut Footnotes) -> String {
    let (_, mode, make) = column;
    if let Some(why) = results.refusal(mode, server.name) {
        let why = if server.is_floor() { "A floor answers one kind of request and has nothing else." } else { why };
        return format!("no{}", footnotes.mark(why));
    }
    let run = Run { results, mode, server: server.name };
    make(&run).unwrap_or_else(|| "not run".to_owned())
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_formatted_by_their_size() {
        for (value, shown) in [
            (0.0, "0"),
            (0.434, "0.43"),
            (2.0, "2"),
            (2.104, "2.1"),
            (36.0, "36"),
            (14.66, "14.7"),
            (747.4, "747"),
            (29_912.3, "29,912"),
            (-1_234.0, "-1,234"),
            (1_234_567.0, "1,234,567"),
            (100_000.0, "100,000"),
        ] {
            assert_eq!(number(value), shown);
        }
    }
}
