//! Latency of an event, from the handler at one node to the client at the other.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;

use crate::bench::{Bench, emit};
use crate::client::Client;
use crate::node::now;

pub(crate) struct Latency {
    pub(crate) what: String,
    pub(crate) rate: f64,
    pub(crate) median: f64,
    pub(crate) p99: f64,
    pub(crate) most: f64,
}

/// A run: its clients, the events for each of them, and the microseconds between two events. The
/// events come in the GET stream or in the stream of a resumed call.
struct Run {
    what: &'static str,
    clients: usize,
    events: usize,
    pause: u64,
    get: bool,
}

const RUNS: [Run; 5] = [
    Run { what: "GET stream, 10 clients", clients: 10, events: 400, pause: 10_000, get: true },
    Run { what: "GET stream, 200 clients", clients: 200, events: 50, pause: 100_000, get: true },
    Run { what: "resumed call, 10 clients", clients: 10, events: 400, pause: 10_000, get: false },
    Run { what: "resumed call, 200 clients", clients: 200, events: 50, pause: 100_000, get: false },
    Run { what: "resumed call, 32 clients, as quickly as it goes", clients: 32, events: 4_000, pause: 0, get: false },
];

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Latency>> {
    let mut measured = Vec::new();
    for run in &RUNS {
        let (a, b) = (bench.a.address, bench.b.address);
        let clients = try_join_all((0..run.clients).map(|_| Client::open(a))).await?;
        let begun = Instant::now();
        let followed = clients.into_iter().enumerate().map(|(number, client)| {
            // The clients do not start at the same moment.
            let begin = Duration::from_micros(run.pause) * number as u32 / run.clients as u32;
            tokio::spawn(async move {
                tokio::time::sleep(begin).await;
                follow(client, b, run).await
            })
        });
        let mut times: Vec<Duration> = Vec::new();
        for client in try_join_all(followed).await? {
            times.extend(client?);
        }
        let rate = (run.clients * run.events) as f64 / begun.elapsed().as_secs_f64();
        times.sort();
        let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e3;
        measured.push(Latency { what: run.what.into(), rate, median: at(50), p99: at(99), most: at(100) });
    }
    Ok(measured)
}

/// Returns the latency of each event that was sent after its reader had attached.
async fn follow(client: Client, b: std::net::SocketAddr, run: &Run) -> Result<Vec<Duration>> {
    let arguments = emit(run.events, run.pause, run.get);
    let mut times = Vec::with_capacity(run.events);
    let mut stream = if run.get {
        let mut stream = client.listen(b, None).await?;
        stream.first_id().await?;
        stream
    } else {
        let mut first = client.stream("emit", &arguments).await?;
        let last = first.first_id().await?;
        drop(first);
        client.listen(b, Some(&last)).await?
    };
    let since = now();
    let sent = run.get.then(|| tokio::spawn(async move { client.stream("emit", &arguments).await?.drain().await }));
    let mut received = 0;
    while received < run.events {
        let data = stream.next().await?.context("the stream ended")?;
        let Some((_, at)) = data.split_once("\"at\":") else { continue };
        let at: u64 = at.split([',', '}']).next().unwrap_or_default().parse()?;
        received += 1;
        if at > since {
            times.push(Duration::from_nanos(now().saturating_sub(at)));
        }
    }
    if let Some(sent) = sent {
        sent.await??;
    }
    ensure!(times.len() * 2 > run.events, "most events were sent before there was a reader");
    Ok(times)
}
