//! The model for loads beyond one machine: how much of each resource is needed, which resource is
//! exhausted first, and how many namespaces are needed.
//!
//! Every figure is computed from `units.tsv` and the constants below. Nothing is measured here.

use anyhow::Result;

use crate::units::Units;

/// The expected load.
struct Load {
    sessions: f64,
    /// The lifetime of a session, in seconds.
    life: f64,
    /// The number of open GET streams.
    streams: f64,
    /// Events of 1 KB in a second, in all streams.
    events: f64,
    /// Requests in a second; the share answered by a stream; the events of such a stream, and its
    /// duration in seconds.
    posts: f64,
    streaming: f64,
    call_events: f64,
    call_seconds: f64,
    /// The share of those streams that break and are resumed at another node, and the share that
    /// send a request to the client.
    broken: f64,
    asking: f64,
    nodes: f64,
}

const LOAD: Load = Load {
    sessions: 1e6,
    life: 3_600.0,
    streams: 1e5,
    events: 5e4,
    posts: 1e4,
    streaming: 0.2,
    call_events: 6.0,
    call_seconds: 5.0,
    broken: 0.05,
    asking: 0.02,
    nodes: 8.0,
};

/// The capacity of each resource, and the share of it that may be used.
const CORE: (f64, f64) = (1e6, 0.5);
/// A server that rewrites its file may need twice its memory.
const MEMORY: (f64, f64) = (64e9, 0.5);
const NETWORK: (f64, f64) = (10e9 / 8.0, 0.5);
const NODE_CORES: (f64, f64) = (8.0 * 1e6, 0.5);
const NODE_MEMORY: (f64, f64) = (16e9, 0.5);
/// Bytes in a second that a disk writes: the growth of the server's file between two rewrites.
const DISK: (f64, f64) = (500e6, 0.5);

/// Seconds between two heartbeats of a node.
const BEAT: f64 = 5.0;
/// How long a finished stream is kept.
const FINISHED: f64 = 60.0;
/// The events a stream keeps by default, and the number proposed for such a load.
const KEPT: [f64; 2] = [1_024.0, 32.0];
/// How long messages wait for an unreachable server.
const PATIENCE: f64 = 30.0;

/// An operation and its rate.
struct Flow {
    what: &'static str,
    unit: &'static str,
    rate: f64,
}

fn flows(load: &Load) -> Vec<Flow> {
    let calls = load.posts * load.streaming;
    let in_calls = calls * load.call_events;
    let flow = |what, unit, rate| Flow { what, unit, rate };
    vec![
        flow("calls answered as JSON", "json_call", load.posts - calls),
        flow("calls that stream", "sse_call", calls),
        flow("their events, read at the same node", "call_event", in_calls * (1.0 - load.broken)),
        flow("their events, resumed at another", "resumed_event", in_calls * load.broken),
        flow("clients that come back", "resume", calls * load.broken),
        flow("client requests", "client_request", calls * load.asking),
        flow("events in GET streams held elsewhere", "get_event", load.events - in_calls),
        flow("sessions opened and ended", "session", load.sessions / load.life),
        flow("nodes that are there", "idle_node", load.nodes),
    ]
}

/// Returns how much of one resource all flows together use in a second.
fn sum(units: &Units, load: &Load, kind: &str) -> Result<f64> {
    flows(load).iter().map(|flow| Ok(flow.rate * units.get(&format!("{}.{kind}", flow.unit))?.max(0.0))).sum()
}

/// Returns the microseconds in a second that a busy server uses. A busy server reads many events
/// from its connections at once.
fn busy(units: &Units, load: &Load) -> Result<f64> {
    let event = units.get("append_read.us")?;
    let cost = |flow: &Flow| {
        let alone = units.get(&format!("{}.us", flow.unit))?;
        Ok(flow.rate * if flow.unit.ends_with("_event") { event } else { alone })
    };
    flows(load).iter().map(cost).sum()
}

/// Returns the server's memory in bytes if an open stream keeps `kept` events.
fn memory(units: &Units, load: &Load, kept: f64) -> Result<Vec<(&'static str, f64)>> {
    let room = |name: &str| units.get(&format!("room.{name}"));
    let calls = load.posts * load.streaming;
    // Old streams are full, because events are kept after they were read.
    let per_stream = (load.events - calls * load.call_events) / load.streams;
    let full = kept.min(per_stream * load.life);
    Ok(vec![
        ("sessions at rest", load.sessions * room("session")?),
        ("GET streams", load.streams * (room("get_stream")? + full * room("event_of_64")?)),
        ("calls that stream", calls * load.call_seconds * (room("call")? + load.call_events * room("event_of_16")?)),
        ("streams that ended within a minute", calls * FINISHED * room("finished_of_6")?),
    ])
}

/// A resource that can be exhausted.
struct Bound {
    what: &'static str,
    needed: f64,
    has: (f64, f64),
    scale: f64,
    unit: &'static str,
}

impl Bound {
    /// Returns how many of them are needed.
    fn share(&self) -> f64 {
        self.needed / (self.has.0 * self.has.1)
    }
}

fn bounds(units: &Units, load: &Load) -> Result<Vec<Bound>> {
    let total = |kept| Ok::<_, anyhow::Error>(memory(units, load, kept)?.iter().map(|(_, bytes)| bytes).sum::<f64>());
    let held = (load.streams + load.posts * load.streaming * load.call_seconds) / load.nodes;
    let bound = |what, needed, has, scale, unit| Bound { what, needed, has, scale, unit };
    let mut bounds = vec![
        bound("core of the server", sum(units, load, "us")?, CORE, 1e-6, "cores"),
        bound("memory of the server, `Streams::replay_buffer` as it is", total(KEPT[0])?, MEMORY, 1e-9, "GB"),
        bound("the same with 32 events kept", total(KEPT[1])?, MEMORY, 1e-9, "GB"),
        bound("network into the server", sum(units, load, "input")?, NETWORK, 8e-9, "Gbit/s"),
        bound("network out of it, without a replica", sum(units, load, "output")?, NETWORK, 8e-9, "Gbit/s"),
        bound("its file", sum(units, load, "file")?, DISK, 1e-6, "MB/s"),
        bound("cores of a node", sum(units, load, "node_us")? / load.nodes, NODE_CORES, 1e-6, "cores"),
        bound("memory of a node", held * units.get("room.connection")?, NODE_MEMORY, 1e-9, "GB"),
    ];
    bounds.sort_by(|a, b| b.share().total_cmp(&a.share()));
    Ok(bounds)
}

pub(crate) fn print(units: &Units) -> Result<()> {
    let load = &LOAD;
    println!(
        "{:.0} sessions that live for an hour, {:.0} GET streams, {:.0} events of 1 KB in a second, {:.0} requests of which {:.0} % \
         stream, {:.0} nodes.\n",
        load.sessions,
        load.streams,
        load.events,
        load.posts,
        load.streaming * 100.0,
        load.nodes
    );
    println!("| in a second | how many | scripts | of the server's core |\n|---|---:|---:|---:|");
    for flow in flows(load) {
        let scripts = flow.rate * units.get(&format!("{}.scripts", flow.unit))?;
        let core = flow.rate * units.get(&format!("{}.us", flow.unit))? / CORE.0;
        println!("| {} | {:.0} | {scripts:.0} | {core:.2} |", flow.what, flow.rate);
    }
    println!("| all | | {:.0} | {:.2} |", sum(units, load, "scripts")?, sum(units, load, "us")? / CORE.0);
    println!("| all, by a server that is busy | | | {:.2} |", busy(units, load)? / CORE.0);

    println!("\n| in the server's memory | `kept(1_024, ..)`, as it is | `kept(32, ..)` |\n|---|---:|---:|");
    for ((what, default), (_, less)) in memory(units, load, KEPT[0])?.iter().zip(memory(units, load, KEPT[1])?) {
        println!("| {what} | {:.1} GB | {:.1} GB |", default / 1e9, less / 1e9);
    }

    println!("\n| gives out first | needed | planned with | enough for this much of the load |\n|---|---:|---:|---:|");
    for bound in bounds(units, load)? {
        let (needed, planned) = (bound.needed * bound.scale, bound.has.0 * bound.has.1 * bound.scale);
        let unit = bound.unit;
        println!("| {} | {needed:.1} {unit} | {planned:.1} {unit} | {:.0} % |", bound.what, 100.0 / bound.share());
    }
    print_namespaces(units, load)?;
    print_moments(units, load)
}

/// Prints the capacity of one namespace, and the cost of several.
fn print_namespaces(units: &Units, load: &Load) -> Result<()> {
    let per_second = |unit: &str| Ok::<_, anyhow::Error>(CORE.0 * CORE.1 / units.get(&format!("{unit}.us"))?);
    println!("\nHalf of a core, which is half of what one namespace can have, does in a second one of these:");
    for (what, unit) in [
        ("calls answered as JSON", "json_call"),
        ("events in a call's stream, each a step", "call_event"),
        ("events in a GET stream held elsewhere", "get_event"),
        ("the same, where the server is busy and takes many at a time from its connections", "append_read"),
        ("events in bursts", "burst_event"),
        ("sessions opened and ended", "session"),
    ] {
        println!("- {:.0} {what}", per_second(unit)?);
    }
    let needed = sum(units, load, "us")? / (CORE.0 * CORE.1);
    println!(
        "\n| namespaces, each with a server | each core is used | nodes that are there, of each core | connections of a node |\n|---:|---:|---:|---:|"
    );
    let idle = load.nodes * units.get("idle_node.us")?;
    let least = needed.ceil();
    for count in [1.0, least, least * 2.0] {
        let used = (sum(units, load, "us")? - idle) / count + idle;
        println!(
            "| {count:.0} | {:.0} % | {:.2} % | {:.0} |",
            used / CORE.0 * 100.0,
            idle / CORE.0 * 100.0,
            count * 2.0
        );
    }
    println!("\n| nodes on one namespace | of its core, only for being there |\n|---:|---:|");
    for (nodes, beat) in [(8.0, "beat_of_8"), (64.0, "beat_of_64"), (512.0, "beat_of_64")] {
        let core = nodes * (units.get(&format!("{beat}.us"))? / BEAT + units.get("expire.us")?) / CORE.0;
        println!("| {nodes:.0} | {:.2} % |", core * 100.0);
    }
    Ok(())
}

/// Prints the load right after a node or a server has died.
fn print_moments(units: &Units, load: &Load) -> Result<()> {
    let streams = load.streams / load.nodes;
    let storm = streams * units.get("resume.us")? / CORE.0;
    let bytes: f64 = memory(units, load, KEPT[1])?.iter().map(|(_, bytes)| bytes).sum();
    let load_time = bytes * units.get("load.ns")? / 1e9;
    let least = (sum(units, load, "us")? / (CORE.0 * CORE.1)).ceil();
    let anew = bytes / sum(units, load, "file")?;
    println!(
        "\nA node dies: {streams:.0} streams come back, {storm:.1} s of one core, {:.1} s of {least:.0}.\n\
         A server dies and reads its file: {load_time:.0} s with everything in one ({PATIENCE:.0} s is what messages wait), {:.0} s with \
         {least:.0}.\n\
         A file doubles, and is written anew, every {anew:.0} s.",
        storm / least,
        load_time / least
    );
    Ok(())
}
