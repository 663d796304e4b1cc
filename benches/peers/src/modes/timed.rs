//! Timed modes: a closed loop on each connection, all at once. The loops warm up first. The
//! measurement begins and ends at moments when no operation is in flight.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use tokio::sync::Barrier;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::sleep;

use super::{Sample, Scale};
use crate::cut_off::Tally;
use crate::operation::Operation;
use crate::process::{Process, Under};
use crate::servers::{Places, Server};

/// The factor of the warm-up of servers with a just-in-time compiler.
const COLD: u32 = 5;

pub(super) async fn run(
    operation: Operation,
    connections: usize,
    server: &Server,
    places: &Places,
    scale: &Scale,
) -> Result<Sample> {
    let process = Process::start(&server.command(places), Under::Nothing)?;
    let sample = closed_loop(operation, connections, &process, warm_up(server, scale), scale.measured).await?;
    process.stop()?;
    Ok(sample)
}

/// Returns how long a server is warmed up.
pub(super) fn warm_up(server: &Server, scale: &Scale) -> Duration {
    if server.is_native() { scale.warm_up } else { scale.warm_up * COLD }
}

/// What the loops share.
struct Shared {
    operation: Operation,
    address: SocketAddr,
    /// Where all loops wait for each other: ready, warm, measured.
    barrier: Barrier,
    going: Cell<bool>,
    /// The number of the next operation.
    next: Cell<u64>,
}

/// What one loop did while it was measured.
struct Done {
    times: Histogram<u64>,
    tally: Tally,
}

pub(super) async fn closed_loop(
    operation: Operation,
    connections: usize,
    process: &Process,
    warm_up: Duration,
    measured: Duration,
) -> Result<Sample> {
    // One client first, so that an unsupported operation fails before all connections try it.
    let mut client = operation.client(process.address).await?;
    operation.perform(&mut client, &mut String::new(), 0).await?;
    drop(client);

    let shared = Rc::new(Shared {
        operation,
        address: process.address,
        barrier: Barrier::new(connections + 1),
        going: Cell::new(true),
        next: Cell::new(1),
    });
    let local = LocalSet::new();
    let mut loops = JoinSet::new();
    for _ in 0..connections {
        loops.spawn_local_on(connection(Rc::clone(&shared)), &local);
    }
    let conducted = local.run_until(async {
        tokio::select! {
            // All loops end at the same time at the end, which is not a failure.
            biased;
            conducted = conduct(&shared, process, warm_up, measured) => conducted,
            // A loop that ends earlier than the others has failed.
            Some(failed) = loops.join_next() => Err(failed?.err().context("a loop ended early")?),
        }
    });
    let (cpu, time) = conducted.await?;
    let mut times = histogram();
    let mut tally = Tally::default();
    local
        .run_until(async {
            while let Some(done) = loops.join_next().await {
                let done = done??;
                times.add(&done.times)?;
                tally.lost += done.tally.lost;
                tally.duplicated += done.tally.duplicated;
            }
            anyhow::Ok(())
        })
        .await?;
    ensure!(!times.is_empty(), "not one operation ended in {measured:?}");
    Ok(sample(&times, tally, cpu, time))
}

fn histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are a good precision")
}

/// Starts and stops the loops. Returns the processor time and the time that was measured.
async fn conduct(
    shared: &Shared,
    process: &Process,
    warm_up: Duration,
    measured: Duration,
) -> Result<(Duration, Duration)> {
    shared.barrier.wait().await;
    sleep(warm_up).await;
    shared.going.set(false);
    shared.barrier.wait().await;
    shared.going.set(true);
    let (cpu, begin) = (process.cpu()?, Instant::now());
    shared.barrier.wait().await;
    sleep(measured).await;
    shared.going.set(false);
    shared.barrier.wait().await;
    Ok((process.cpu()? - cpu, begin.elapsed()))
}

async fn connection(shared: Rc<Shared>) -> Result<Done> {
    let operation = shared.operation;
    let mut client = operation.client(shared.address).await?;
    let (mut text, mut done) = (String::new(), Done { times: histogram(), tally: Tally::default() });
    for phase in ["warm", "measured"] {
        shared.barrier.wait().await;
        if phase == "measured" {
            done = Done { times: histogram(), tally: Tally::default() };
        }
        while shared.going.get() {
            let begin = Instant::now();
            let tally = operation.perform(&mut client, &mut text, shared.next.replace(shared.next.get() + 1)).await?;
            done.times.record(u64::try_from(begin.elapsed().as_nanos())?)?;
            done.tally.lost += tally.lost;
            done.tally.duplicated += tally.duplicated;
        }
        shared.barrier.wait().await;
    }
    Ok(done)
}

fn sample(times: &Histogram<u64>, tally: Tally, cpu: Duration, time: Duration) -> Sample {
    let operations = times.len() as f64;
    let micros = |nanos: u64| nanos as f64 / 1e3;
    super::sample([
        ("operations", operations),
        ("cpu", cpu.as_secs_f64() * 1e6 / operations),
        ("rate", operations / time.as_secs_f64()),
        ("p50", micros(times.value_at_quantile(0.5))),
        ("p99", micros(times.value_at_quantile(0.99))),
        ("p999", micros(times.value_at_quantile(0.999))),
        ("lost", tally.lost as f64),
        ("duplicated", tally.duplicated as f64),
    ])
}
