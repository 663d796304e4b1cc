//! Capacity: how many operations one server executes in a second, and the load its nodes cause when
//! idle.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join_all;
use mcp_http::store::engine::SessionStore as _;

use crate::engine::{Direct, Lane};
use crate::server::{ADVISED, Facts, Server};

/// The number of streams written concurrently, enough to keep the server busy.
const LANES: usize = 128;
/// The number of events a stream keeps by default.
const KEPT: usize = 1_024;

pub(crate) struct Throughput {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// Events, or operations, in a second.
    pub(crate) rate: f64,
    /// The share of its core that the server used.
    pub(crate) busy: f64,
    /// Microseconds of the server for each event or operation.
    pub(crate) cost: f64,
}

pub(crate) async fn measure() -> Result<Vec<Throughput>> {
    let server = Server::start(ADVISED).await?;
    let direct = Direct::connect(&server.url(), "capacity").await?;
    let mut measured = Vec::new();

    let mut lanes = try_join_all((0..LANES).map(|_| direct.lane())).await?;
    append(&direct, &mut lanes, 100, 1).await?;
    let (count, before) = (400, server.facts().await?);
    append(&direct, &mut lanes, count, 1).await?;
    let what = "events of 1 KB appended, each a step";
    measured.push(throughput("append", what, before, server.facts().await?, LANES * count));

    let (count, before) = (30, server.facts().await?);
    append(&direct, &mut lanes, count, 16).await?;
    let what = "events of 1 KB appended, 16 in a step";
    measured.push(throughput("append_16", what, before, server.facts().await?, LANES * count * 16));

    // By now each stream lacks less than one operation of its full size.
    append(&direct, &mut lanes, 1 + (KEPT - 980) / 16, 16).await?;
    let (count, before) = (200, server.facts().await?);
    append(&direct, &mut lanes, count, 1).await?;
    let what = "the same, each a step, where a stream is full and drops the oldest";
    measured.push(throughput("append_full", what, before, server.facts().await?, LANES * count));

    let other = Direct::connect(&server.url(), "capacity").await?;
    let mut lanes = try_join_all((0..LANES).map(|_| direct.lane())).await?;
    let readers = try_join_all(lanes.iter().map(|lane| other.attach(lane.session, lane.stream))).await?;
    let (count, before) = (300, server.facts().await?);
    try_join_all(lanes.iter_mut().zip(readers).map(async |(lane, reader)| {
        for event in 0..count {
            direct.append(lane, 1, false).await?;
            other.read_after(lane.session, lane.stream, reader, event as u64).await?;
        }
        anyhow::Ok(())
    }))
    .await?;
    let what = "events of 1 KB appended by one node and read by another, each two steps";
    measured.push(throughput("append_read", what, before, server.facts().await?, LANES * count));

    let (count, before) = (4_000, server.facts().await?);
    for _ in 0..count / 100 {
        try_join_all((0..100).map(async |_| direct.engine.expire(direct.node).await)).await?;
    }
    let what = "looks for what has expired, one for each node and second";
    measured.push(throughput("expire", what, before, server.facts().await?, count));
    measured.extend(beats().await?);
    Ok(measured)
}

async fn append(direct: &Direct, lanes: &mut [Lane], times: usize, events: usize) -> Result<()> {
    try_join_all(lanes.iter_mut().map(async |lane| {
        for _ in 0..times {
            direct.append(lane, events, false).await?;
        }
        anyhow::Ok(())
    }))
    .await?;
    Ok(())
}

/// Measures heartbeats with few processes and with many.
async fn beats() -> Result<Vec<Throughput>> {
    const LEASE: Duration = Duration::from_millis(300);
    let mut measured = Vec::new();
    for (name, what, nodes) in
        [("beat_of_8", "signs of life, of 8 nodes", 8), ("beat_of_64", "signs of life, of 64 nodes", 64)]
    {
        let server = Server::start(ADVISED).await?;
        let (url, alone) = (server.url(), server.alone().await?);
        let _nodes = try_join_all((0..nodes).map(|_| Direct::with_lease(&url, "beats", LEASE))).await?;
        tokio::time::sleep(LEASE * 3).await;
        let before = server.facts().await?;
        tokio::time::sleep(Duration::from_secs(4)).await;
        let mut after = server.facts().await?;
        after.cpu -= alone * (after.at - before.at).as_secs_f64();
        measured.push(throughput(name, what, before, after, (after.scripts - before.scripts) as usize));
    }
    Ok(measured)
}

fn throughput(name: &'static str, what: &'static str, before: Facts, after: Facts, count: usize) -> Throughput {
    let (seconds, count) = ((after.at - before.at).as_secs_f64(), count as f64);
    let cpu = after.cpu - before.cpu;
    Throughput { name, what, rate: count / seconds, busy: cpu / seconds, cost: cpu / count * 1e6 }
}
