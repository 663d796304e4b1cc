//! Benchmark of the file engine against alternative stores: the same work, acknowledged when it is
//! durable. See `../README.md`.
//!
//! ```text
//! durable [--seconds N] [--folder PATH]   measures everything and prints the tables
//! durable --fill STORE FOLDER             fills a folder, prints `full`, and waits to be killed
//! durable --reopen STORE FOLDER           reopens the folder and prints how long that took
//! ```

mod databases;
mod group;
mod stores;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use stores::{Kind, Store};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// The size of an event: about that of a tool's result.
const EVENT: usize = 1024;

/// The numbers of concurrent producers, each with its own call.
const PRODUCERS: [usize; 3] = [1, 16, 128];

/// Each figure is the median of this many rounds.
const ROUNDS: usize = 5;

/// The folder that is reopened holds this many sessions with this many events each.
const SESSIONS: usize = 2_000;
const EVENTS: usize = 10;

/// This many sessions, with as many events each, ended before.
const HISTORY: usize = 8_000;

/// How long an idle store may take to give space back.
const REST: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("durable: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let (mut seconds, mut folder) = (1.0, PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"));
    while let Some(argument) = arguments.next() {
        let mut next = || arguments.next().ok_or("something is missing at the end");
        match &*argument {
            "--fill" => return fill(Kind::named(&next()?)?, Path::new(&next()?)).await,
            "--reopen" => return reopen(Kind::named(&next()?)?, Path::new(&next()?)).await,
            "--seconds" => seconds = next()?.parse()?,
            "--folder" => folder = next()?.into(),
            other => return Err(format!("{other}: what is that?").into()),
        }
    }
    throughput(&folder, Duration::from_secs_f64(seconds)).await?;
    after_a_kill(&folder)?;
    after_the_end(&folder).await
}

/// The result of one run.
#[derive(Clone, Copy)]
struct Figure {
    per_second: f64,
    median: Duration,
    late: Duration,
}

async fn throughput(folder: &Path, time: Duration) -> Result<(), Error> {
    println!(
        "| survives | producers | store | events/s | of the bare file | median | 99 % |\n|---|---:|---|---:|---:|---:|---:|"
    );
    for sync in [false, true] {
        for producers in PRODUCERS {
            let kinds: Vec<_> =
                Kind::ALL.into_iter().filter(|kind| sync || kind.survives_a_process_without_sync()).collect();
            let mut figures = vec![Vec::new(); kinds.len()];
            for _ in 0..ROUNDS {
                // The stores take turns, so that other load of the machine affects all of them.
                for (kind, figures) in kinds.iter().zip(&mut figures) {
                    let place = tempfile::TempDir::new_in(folder)?;
                    let store = Store::open(*kind, place.path(), sync)?;
                    figures.push(produce(&store, producers, time).await?);
                }
            }
            let middle = figures.into_iter().map(|mut figures| {
                figures.sort_by(|a: &Figure, b| a.per_second.total_cmp(&b.per_second));
                figures[ROUNDS / 2]
            });
            let middle: Vec<Figure> = middle.collect();
            for (kind, figure) in kinds.iter().zip(&middle) {
                let survives = if sync { "a loss of power" } else { "`kill -9`" };
                println!(
                    "| {survives} | {producers} | {} | {:.0} | {:.2} | {:.2} ms | {:.2} ms |",
                    kind.name(),
                    figure.per_second,
                    figure.per_second / middle[0].per_second,
                    figure.median.as_secs_f64() * 1e3,
                    figure.late.as_secs_f64() * 1e3,
                );
            }
        }
    }
    Ok(())
}

async fn produce(store: &Store, producers: usize, time: Duration) -> Result<Figure, Error> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for _ in 0..producers {
        let (mut lane, stop) = (store.lane().await?, Arc::clone(&stop));
        tasks.push(tokio::spawn(async move {
            let mut took = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let begun = Instant::now();
                lane.append(event()).await?;
                took.push(begun.elapsed());
            }
            Ok::<_, Error>(took)
        }));
    }
    let begun = Instant::now();
    tokio::time::sleep(time).await;
    stop.store(true, Ordering::Relaxed);
    let mut took = Vec::new();
    for task in tasks {
        took.append(&mut task.await??);
    }
    let per_second = took.len() as f64 / begun.elapsed().as_secs_f64();
    took.sort_unstable();
    Ok(Figure { per_second, median: took[took.len() / 2], late: took[took.len() * 99 / 100] })
}

/// Returns one of a few thousand different events, so that no store gains by compressing equal
/// ones.
fn event() -> Bytes {
    use std::hash::{BuildHasher, RandomState};
    static TEXTS: std::sync::OnceLock<Vec<Bytes>> = std::sync::OnceLock::new();
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
    let make = |text: usize| {
        let random = RandomState::new();
        let words = (0..EVENT / 16).map(|word| format!("{:016x}", random.hash_one((text, word))));
        Bytes::from(format!("\"{}\"", &words.collect::<String>()[..EVENT - 2]))
    };
    let texts = TEXTS.get_or_init(|| (0..4096).map(make).collect());
    texts[NEXT.fetch_add(1, Ordering::Relaxed) % texts.len()].clone()
}

/// Fills a store with sessions that stay and with sessions that end.
async fn fill_up(store: &Store) -> Result<Vec<stores::Lane>, Error> {
    let mut lanes = Vec::new();
    for number in 0..HISTORY + SESSIONS {
        let mut lane = store.lane().await?;
        let mut events = Vec::new();
        for _ in 0..EVENTS {
            events.push(lane.give(event()));
        }
        for event in events {
            event.await?;
        }
        if number < HISTORY { lane.end().await? } else { lanes.push(lane) }
    }
    Ok(lanes)
}

async fn fill(kind: Kind, folder: &Path) -> Result<(), Error> {
    let store = Store::open(kind, folder, kind.needs_sync())?;
    let _lanes = fill_up(&store).await?;
    println!("full");
    std::io::stdout().flush()?;
    std::future::pending().await
}

async fn reopen(kind: Kind, folder: &Path) -> Result<(), Error> {
    let begun = Instant::now();
    let store = Store::open(kind, folder, kind.needs_sync())?;
    let opened = begun.elapsed();
    let (sessions, bytes) = store.read_all().await?;
    let read = begun.elapsed();
    if (sessions, bytes) != (SESSIONS, SESSIONS * EVENTS * EVENT) {
        return Err(format!("{sessions} sessions with {bytes} bytes").into());
    }
    println!("{} {}", opened.as_secs_f64() * 1e3, read.as_secs_f64() * 1e3);
    // The end of the process is not measured.
    std::process::exit(0)
}

fn after_a_kill(folder: &Path) -> Result<(), Error> {
    println!(
        "\n| store | in the folder when it was killed | opened again | and all of it read |\n|---|---:|---:|---:|"
    );
    for kind in Kind::ENGINES {
        let place = tempfile::TempDir::new_in(folder)?;
        let this = std::env::current_exe()?;
        let run = |what: &str| {
            let mut command = Command::new(&this);
            command.arg(what).arg(kind.name()).arg(place.path()).stdout(Stdio::piped());
            command
        };
        let mut filling = run("--fill").spawn()?;
        let mut said = String::new();
        BufReader::new(filling.stdout.take().ok_or("it says nothing")?).read_line(&mut said)?;
        filling.kill()?;
        filling.wait()?;
        if said != "full\n" {
            return Err(format!("{}: it was not filled", kind.name()).into());
        }
        let size = megabytes(place.path())?;
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let output = run("--reopen").stderr(Stdio::inherit()).output()?;
            let text = String::from_utf8(output.stdout)?;
            let (opened, read) = text.trim().split_once(' ').ok_or("it was not opened")?;
            times.push((read.parse::<f64>()?, opened.parse::<f64>()?));
        }
        times.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (read, opened) = times[ROUNDS / 2];
        println!("| {} | {size:.0} MB | {opened:.0} ms | {read:.0} ms |", kind.name());
    }
    Ok(())
}

async fn after_the_end(folder: &Path) -> Result<(), Error> {
    println!(
        "\n| store | with all sessions | all ended, {} s later | the same, opened again |\n|---|---:|---:|---:|",
        REST.as_secs()
    );
    for kind in Kind::ENGINES {
        let place = tempfile::TempDir::new_in(folder)?;
        let store = Store::open(kind, place.path(), kind.needs_sync())?;
        let lanes = fill_up(&store).await?;
        let full = megabytes(place.path())?;
        for lane in lanes {
            lane.end().await?;
        }
        tokio::time::sleep(REST).await;
        let rested = megabytes(place.path())?;
        drop(store);
        let store = Store::open(kind, place.path(), kind.needs_sync())?;
        tokio::time::sleep(REST).await;
        let again = megabytes(place.path())?;
        drop(store);
        println!("| {} | {full:.0} MB | {rested:.0} MB | {again:.0} MB |", kind.name());
    }
    Ok(())
}

/// Returns the disk space of a folder. Space that is reserved but not written does not count.
fn megabytes(folder: &Path) -> Result<f64, Error> {
    use std::os::unix::fs::MetadataExt;
    let mut bytes = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            match entry.metadata() {
                Ok(data) if data.is_dir() => folders.push(entry.path()),
                Ok(data) => bytes += data.blocks() * 512,
                // The file was deleted in the meantime.
                Err(_) => {}
            }
        }
    }
    Ok(bytes as f64 / 1e6)
}
