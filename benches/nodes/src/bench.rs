//! Cost of an operation: what the server and both nodes counted while it was repeated, minus their
//! idle cost.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use crate::client::Client;
use crate::node::Node;
use crate::server::{Facts, Server};

/// The number of clients that run an operation concurrently.
const CLIENTS: usize = 8;

/// A server and two nodes on it.
pub(crate) struct Bench {
    pub(crate) server: Server,
    pub(crate) a: Node,
    pub(crate) b: Node,
    /// The cost of a second without any client.
    idle: Cost,
    /// Microseconds that the server uses in a second without any node.
    alone: f64,
}

/// The cost of one operation.
#[derive(Default, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) scripts: f64,
    pub(crate) commands: f64,
    /// Microseconds of the server, and of both nodes.
    pub(crate) server: f64,
    pub(crate) nodes: f64,
    /// Bytes that the server reads from its connections, writes to them, and writes to its file.
    pub(crate) input: f64,
    pub(crate) output: f64,
    pub(crate) file: f64,
}

impl Cost {
    fn with(self, other: Self, combine: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            scripts: combine(self.scripts, other.scripts),
            commands: combine(self.commands, other.commands),
            server: combine(self.server, other.server),
            nodes: combine(self.nodes, other.nodes),
            input: combine(self.input, other.input),
            output: combine(self.output, other.output),
            file: combine(self.file, other.file),
        }
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        self.with(other, |mine, other| mine - other)
    }

    pub(crate) fn times(self, factor: f64) -> Self {
        self.with(self, |mine, _| mine * factor)
    }
}

/// All counters at one moment.
struct Moment {
    server: Facts,
    nodes: f64,
}

impl Bench {
    pub(crate) async fn start(piece: &'static str) -> Result<Self> {
        let server = Server::start(piece).await?;
        let alone = server.alone().await? * 1e6;
        let (a, b) = (Node::start(&server.url())?, Node::start(&server.url())?);
        let mut bench = Self { server, a, b, idle: Cost::default(), alone };
        // A node expires sessions from its first session on, and each script is loaded once.
        for node in [bench.a.address, bench.b.address] {
            let mut client = Client::open(node).await?;
            client.call("echo", &json!({})).await?;
            client.stream("emit", &emit(2, 1_000, false)).await?.drain().await?;
            client.end().await?;
        }
        let before = bench.moment().await?;
        tokio::time::sleep(Duration::from_secs(6)).await;
        let after = bench.moment().await?;
        let seconds = (after.server.at - before.server.at).as_secs_f64();
        bench.idle = difference(&before, &after).times(1.0 / seconds);
        Ok(bench)
    }

    /// Returns the cost of one node in a second without any client.
    pub(crate) fn idle_node(&self) -> Cost {
        Cost { server: self.idle.server - self.alone, ..self.idle }.times(0.5)
    }

    async fn moment(&self) -> Result<Moment> {
        Ok(Moment { server: self.server.facts().await?, nodes: self.a.cpu()? + self.b.cpu()? })
    }

    /// Returns the cost of an operation that clients of node A repeat `times` times. Each client
    /// runs its share sequentially.
    pub(crate) async fn cost(&self, times: usize, operate: impl AsyncFn(&mut Client) -> Result<()>) -> Result<Cost> {
        let mut clients = try_join_all((0..CLIENTS).map(|_| Client::open(self.a.address))).await?;
        let (share, operate) = (times / CLIENTS, &operate);
        let before = self.moment().await?;
        try_join_all(clients.iter_mut().map(async |client| {
            for _ in 0..share {
                operate(client).await?;
            }
            Ok::<_, anyhow::Error>(())
        }))
        .await?;
        let after = self.moment().await?;
        try_join_all(clients.into_iter().map(Client::end)).await?;
        let seconds = (after.server.at - before.server.at).as_secs_f64();
        let all = difference(&before, &after).minus(self.idle.times(seconds));
        Ok(all.times(1.0 / (share * CLIENTS) as f64))
    }
}

fn difference(before: &Moment, after: &Moment) -> Cost {
    let (old, new) = (&before.server, &after.server);
    Cost {
        scripts: new.scripts - old.scripts,
        commands: new.commands - old.commands,
        server: (new.cpu - old.cpu) * 1e6,
        nodes: (after.nodes - before.nodes) * 1e6,
        input: new.input - old.input,
        output: new.output - old.output,
        file: new.file - old.file,
    }
}

/// Returns the arguments of the tool that sends events.
pub(crate) fn emit(events: usize, pause_us: u64, to_session: bool) -> Value {
    json!({"events": events, "pause_us": pause_us, "to_session": to_session})
}
