//! Benchmark of nodes that share a Redis server: the cost at the server and at the nodes, and a
//! model for more nodes than one machine holds. See `README.md`.
//!
//! ```text
//! nodes            measures, prints tables, and writes the costs to units.tsv
//! nodes check      measures again, and fails if units.tsv is too far off
//! nodes model      prints the load at scale, computed from units.tsv
//! nodes --node URL serves as a node until it is killed
//! ```

mod bench;
mod capacity;
mod client;
mod engine;
mod latency;
mod model;
mod node;
mod operations;
mod room;
mod server;
mod units;

use std::process::Command;

use anyhow::{Result, bail};

use bench::Bench;
use capacity::Throughput;
use operations::Operation;
use room::Room;
use units::Units;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {
            let bench = Bench::start(server::ADVISED).await?;
            let head = head(&bench.server.version().await?);
            println!("{head}\n");
            print_latency(&latency::measure(&bench).await?);
            drop(bench);
            units().await?.keep(&head)
        }
        ["check"] => {
            let kept = Units::kept()?;
            match units().await?.compare(&kept) {
                0 => Ok(()),
                red => bail!("{red} figures of units.tsv are not what this machine measures"),
            }
        }
        ["model"] => model::print(&Units::kept()?),
        ["--node", url] => node::serve(url).await,
        _ => bail!("usage: nodes [check | model]"),
    }
}

/// Returns a description of the measurement.
fn head(redis: &str) -> String {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let processor = processor.trim_start_matches([' ', '\t', ':']);
    let (date, rustc) = (said("date", &["-u", "+%F"]), said("rustc", &["--version"]));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!(
        "benches/nodes/run, {date}\n{processor}, {cores} of its processors for the server, two nodes and all clients; Redis {redis}; {rustc}"
    )
}

async fn units() -> Result<Units> {
    let mut units = Units::default();
    let bench = Bench::start(server::ADVISED).await?;
    let operations = operations::count(&bench).await?;
    drop(bench);
    print_operations(&operations);
    for Operation { name, cost, .. } in &operations {
        for (kind, value) in [
            ("scripts", cost.scripts),
            ("commands", cost.commands),
            ("us", cost.server),
            ("node_us", cost.nodes),
            ("input", cost.input),
            ("output", cost.output),
            ("file", cost.file),
        ] {
            units.set(&format!("{name}.{kind}"), value);
        }
    }
    let throughputs = capacity::measure().await?;
    print_throughputs(&throughputs);
    for Throughput { name, cost, .. } in &throughputs {
        units.set(&format!("{name}.us"), *cost);
    }
    let rooms = [room::measure(server::ADVISED).await?, room::measure(server::DEFAULT).await?];
    print_rooms(&rooms);
    for (name, value) in rows(&rooms[0]) {
        units.set(&format!("room.{name}"), value);
    }
    units.set("load.ns", rooms[0].load * 1e9);
    Ok(units)
}

fn print_latency(measured: &[latency::Latency]) {
    println!(
        "| from the handler at A to the client at B | events/s | median | 99 % | most |\n|---|---:|---:|---:|---:|"
    );
    for latency::Latency { what, rate, median, p99, most } in measured {
        println!("| {what} | {rate:.0} | {median:.2} ms | {p99:.2} ms | {most:.1} ms |");
    }
}

fn print_operations(operations: &[Operation]) {
    println!(
        "\n| | scripts | commands in them | server | nodes | to the server | from it | its file |\n|---|---:|---:|---:|---:|---:|---:|---:|"
    );
    for Operation { what, cost, .. } in operations {
        println!(
            "| {what} | {:.1} | {:.0} | {:.0} µs | {:.0} µs | {:.0} B | {:.0} B | {:.0} B |",
            cost.scripts.max(0.0),
            cost.commands,
            cost.server,
            cost.nodes,
            cost.input,
            cost.output,
            cost.file
        );
    }
}

fn print_throughputs(throughputs: &[Throughput]) {
    println!("\n| | in a second | of the server's core | each | with all of the core |\n|---|---:|---:|---:|---:|");
    for Throughput { what, rate, busy, cost, .. } in throughputs {
        println!("| {what} | {rate:.0} | {:.0} % | {cost:.1} µs | {:.0} |", busy * 100.0, 1e6 / cost);
    }
}

fn rows(room: &Room) -> [(&'static str, f64); 8] {
    [
        ("session", room.session),
        ("get_stream", room.get_stream),
        ("call", room.call),
        ("event_of_16", room.event_of_16),
        ("event_of_64", room.event_of_64),
        ("finished_of_1", room.finished_of_1),
        ("finished_of_6", room.finished_of_6),
        ("connection", room.connection),
    ]
}

fn print_rooms(rooms: &[Room; 2]) {
    let what = [
        "a session at rest",
        "its GET stream, held",
        "a call in flight",
        "an event of 1 KB, in a stream of 16",
        "the same, in a stream of 64",
        "a stream that ended with one event of 1 KB",
        "a stream that ended with its sixth",
        "in a node: an idle GET stream and its connection",
    ];
    println!(
        "\n| bytes | `stream-node-max-bytes` {} | {} (the server's default) |\n|---|---:|---:|",
        server::ADVISED,
        server::DEFAULT
    );
    for ((what, (_, advised)), (_, default)) in what.iter().zip(rows(&rooms[0])).zip(rows(&rooms[1])) {
        println!("| {what} | {advised:.0} | {default:.0} |");
    }
    println!("\nA killed server reads its file at {:.0} MB/s.", 1e-6 / rooms[0].load);
}
