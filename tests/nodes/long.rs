//! Clients that call all the time while nodes, and now and then the server, are killed and
//! restarted: how many messages arrived, how often, and how late.

use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Arrived, Call, NODE_LOST};
use crate::everything::{ACCEPT, Server};
use crate::redis_server::RedisServer;
use crate::{mortal, mortal_at};

const NODES: usize = 3;
const CLIENTS: usize = 24;
const STEPS: usize = 200;

/// Bytes in each message, and bytes in the answer. A chatty call sends nearly as much as its stream
/// keeps for a client that is away, and five of them send more than their session keeps.
const CHATTY: (usize, usize) = (22 << 10, 0);
const LARGE: (usize, usize) = (0, 3_000_000);

/// The server is killed after this many nodes.
const TURNS: usize = 5;

#[derive(Debug, Default)]
struct Sums {
    took: Duration,
    events: usize,
    lost: usize,
    doubled: usize,
    calls: usize,
    cut_short: usize,
    gone: usize,
    /// Complete calls with answers of megabytes, and complete chatty calls.
    large: usize,
    chatty: usize,
    resumed: usize,
    killed: (usize, usize),
    delays: Vec<u64>,
}

impl Sums {
    fn add(&mut self, call: Call) {
        let newest = call.seen.iter().copied().max().unwrap_or_default();
        let mut known = vec![false; newest + 1];
        for step in &call.seen {
            self.doubled += usize::from(std::mem::replace(&mut known[*step], true));
        }
        let answer = call.answer.as_deref().unwrap_or_default();
        let (is_lost, is_done) = (answer == NODE_LOST, answer.contains(r#""result""#));
        assert!(is_lost || is_done || call.is_gone || call.is_expired, "{answer}");
        self.lost += usize::from(is_done && !call.answer_is_whole());
        self.large += usize::from(is_done && !call.answers.is_empty());
        self.chatty += usize::from(is_done && !call.says.is_empty());
        let said = if is_done { call.steps } else { newest };
        self.lost += said - known.iter().filter(|known| **known).count();
        self.events += call.seen.len() + usize::from(!answer.is_empty());
        self.calls += 1;
        self.cut_short += usize::from(is_lost);
        self.gone += usize::from(call.is_gone || call.is_expired);
        self.resumed += call.resumed;
        self.delays.extend(call.delays);
    }

    /// Returns the latency, in milliseconds, that `of_a_thousand` messages of a thousand did not
    /// exceed.
    #[allow(clippy::cast_precision_loss, reason = "nobody is a century late")]
    fn delay(&self, of_a_thousand: usize) -> f64 {
        self.delays[(self.delays.len() - 1) * of_a_thousand / 1_000] as f64 / 1_000.0
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { took, events, lost, doubled, calls, cut_short, gone, large, chatty, resumed, killed, .. } = self;
        write!(
            f,
            "{events} events in {:.0} s: {lost} lost, {doubled} doubled\n\
             {calls} calls, {cut_short} of them ended with their node; {gone} sessions or streams lost\n\
             {large} large answers, {chatty} calls of sessions that said more than is kept\n\
             nodes killed {} times, the server {} times; clients came back {resumed} times\n\
             from handler to client: p50 {:.1} ms, p99 {:.1} ms, p99.9 {:.1} ms",
            took.as_secs_f64(),
            killed.0,
            killed.1,
            self.delay(500),
            self.delay(990),
            self.delay(999),
        )
    }
}

/// Opens a session. Returns `None` if the node cannot be reached.
fn open(address: &str) -> Option<String> {
    let body = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}"#;
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\n{ACCEPT}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    response.lines().find_map(|line| line.strip_prefix("mcp-session-id: ")).map(|id| id.trim().to_owned())
}

/// What the clients and the test share during the run.
#[derive(Debug, Default)]
struct Progress {
    arrived: Arrived,
    /// How often the server was killed.
    killed: AtomicUsize,
    sums: Mutex<Sums>,
}

/// Runs one client, whose calls begin and resume at any node, with a new session every few calls.
/// It stops once enough messages have arrived and the server was killed, too.
fn client(number: usize, addresses: &[String], enough: usize, progress: &Progress) {
    let Progress { arrived, killed, sums } = progress;
    let mut turn = number;
    let mut session = None;
    let is_over = || {
        let sums = sums.lock().unwrap();
        arrived.messages() >= enough && killed.load(Ordering::Relaxed) > 0 && sums.large > 0 && sums.chatty > 0
    };
    while !is_over() {
        turn += 1;
        let Some(id) = session.take().or_else(|| open(&addresses[turn % NODES])) else {
            thread::sleep(Duration::from_millis(20));
            continue;
        };
        // Four clients send more than their session keeps, and four receive large answers. These
        // calls have fewer steps, because a node does not live longer for them.
        let (steps, sizes) = match number % 6 {
            1 => (STEPS / 5, CHATTY),
            4 => (STEPS / 5, LARGE),
            _ => (STEPS, (0, 0)),
        };
        let call = Call { turn, ..Call::sized(id, steps, 2, addresses, sizes) }.follow(arrived);
        session = (!turn.is_multiple_of(8) && call.answer.is_some()).then(|| call.session.clone());
        sums.lock().unwrap().add(call);
    }
}

/// Kills nodes in turn, and sometimes the server, until the clients have received enough.
fn kill(
    redis: &mut RedisServer,
    mut nodes: Vec<Server>,
    servers: &AtomicUsize,
    is_enough: impl Fn() -> bool,
) -> (usize, usize) {
    let mut killed = (0, 0);
    while !is_enough() {
        thread::sleep(Duration::from_millis(1_000));
        if killed.0 / TURNS > killed.1 {
            redis.kill();
            thread::sleep(Duration::from_millis(200));
            redis.start_again();
            killed.1 += 1;
            servers.store(killed.1, Ordering::Relaxed);
            continue;
        }
        let doomed = nodes.remove(0);
        let address = doomed.address.clone();
        doomed.kill();
        thread::sleep(Duration::from_millis(300));
        nodes.push(mortal_at(&address, redis));
        killed.0 += 1;
    }
    killed
}

fn run(enough: usize) {
    let mut redis = RedisServer::start();
    let nodes: Vec<Server> = (0..NODES).map(|_| mortal(&redis)).collect();
    let addresses: Vec<String> = nodes.iter().map(|node| node.address.clone()).collect();
    let progress = Progress::default();
    let start = Instant::now();
    let killed = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (addresses, progress) = (&addresses, &progress);
                scope.spawn(move || client(number, addresses, enough, progress))
            })
            .collect();
        kill(&mut redis, nodes, &progress.killed, || clients.iter().all(thread::ScopedJoinHandle::is_finished))
    });
    let mut sums: Sums = progress.sums.into_inner().unwrap();
    (sums.killed, sums.took) = (killed, start.elapsed());
    sums.delays.sort_unstable();
    println!("{sums}");
    assert_eq!((sums.lost, sums.doubled, sums.gone), (0, 0, 0), "{sums}");
    assert!(sums.events >= enough && sums.killed.0 > 2 && sums.killed.1 > 0, "{sums}");
}

#[test]
fn kills_neither_lose_nor_double_messages() {
    run(30_000);
}

#[test]
#[ignore = "it takes minutes: tests/run nightly"]
fn a_quarter_million_messages_arrive_once() {
    run(250_000);
}
