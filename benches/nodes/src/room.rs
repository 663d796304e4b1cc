//! Memory that sessions, streams and events take at the server and at a node.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use mcp_http::SessionId;

use crate::client::Client;
use crate::engine::{Direct, Lane};
use crate::node::Node;
use crate::server::Server;

const SESSIONS: usize = 20_000;
/// The number of sessions with a reader, and of calls of each kind. Smaller numbers are useless: if
/// a table of the server doubles meanwhile, its growth counts as theirs.
const READ: usize = 8_000;
const CALLS: usize = 4_000;
/// The number of connections to a node.
const CONNECTIONS: usize = 2_000;
/// The number of concurrent operations.
const AT_ONCE: usize = 64;

pub(crate) struct Room {
    pub(crate) session: f64,
    pub(crate) get_stream: f64,
    pub(crate) call: f64,
    /// An event of 1 KB in a stream of 16 or 64 events, with its overhead.
    pub(crate) event_of_16: f64,
    pub(crate) event_of_64: f64,
    pub(crate) finished_of_1: f64,
    pub(crate) finished_of_6: f64,
    /// A node's memory for each idle GET stream.
    pub(crate) connection: f64,
    /// How long a killed server takes to read its file, for each byte.
    pub(crate) load: f64,
}

pub(crate) async fn measure(piece: &'static str) -> Result<Room> {
    let mut server = Server::start(piece).await?;
    let direct = Direct::connect(&server.url(), "room").await?;
    // Let the server allocate everything that is allocated only once.
    direct.attach(direct.session().await?, 0).await?;
    let mut lane = direct.lane().await?;
    direct.append(&mut lane, 2, true).await?;

    let (session, sessions) =
        grown(&server, SESSIONS, stream::iter(0..SESSIONS).map(async |_| direct.session().await)).await?;
    let (get_stream, _) =
        grown(&server, READ, stream::iter(&sessions[..READ]).map(async |id| direct.attach(*id, 0).await)).await?;
    let others = &sessions[READ..];
    let (call, mut lanes) =
        grown(&server, CALLS, stream::iter(&others[..CALLS]).map(async |id| direct.call(*id).await)).await?;
    let few = fill(&server, &direct, &mut lanes, 16).await?;
    let more = fill(&server, &direct, &mut lanes, 48).await?;
    let finished_of_1 = finish(&server, &direct, &others[CALLS..2 * CALLS], 1).await?;
    let finished_of_6 = finish(&server, &direct, &others[2 * CALLS..3 * CALLS], 6).await?;

    let file = server.facts().await?.file;
    let load = server.come_back().await?.as_secs_f64() / file;
    Ok(Room {
        session,
        get_stream,
        call,
        event_of_16: few / 16.0,
        event_of_64: (few + more) / 64.0,
        finished_of_1,
        finished_of_6,
        connection: connection(&server).await?,
        load,
    })
}

async fn fill(server: &Server, direct: &Direct, lanes: &mut [Lane], events: usize) -> Result<f64> {
    let fill = stream::iter(lanes).map(async |lane| {
        for _ in 0..events {
            direct.append(lane, 1, false).await?;
        }
        Ok(())
    });
    Ok(grown(server, CALLS, fill).await?.0)
}

/// Measures calls that end with their last event.
async fn finish(server: &Server, direct: &Direct, sessions: &[SessionId], events: usize) -> Result<f64> {
    let calls = stream::iter(sessions).map(async |id| {
        let mut lane = direct.call(*id).await?;
        direct.append(&mut lane, events, true).await
    });
    Ok(grown(server, CALLS, calls).await?.0)
}

/// Returns the bytes that each of `count` operations added.
async fn grown<T, F: Future<Output = Result<T>>>(
    server: &Server,
    count: usize,
    steps: impl StreamExt<Item = F>,
) -> Result<(f64, Vec<T>)> {
    server.forget_answers().await?;
    let before = server.facts().await?.memory;
    let made: Vec<T> = steps.buffer_unordered(AT_ONCE).try_collect().await?;
    ensure!(made.len() == count, "{} of {count}", made.len());
    server.forget_answers().await?;
    Ok(((server.facts().await?.memory - before) / count as f64, made))
}

async fn connection(server: &Server) -> Result<f64> {
    let node = Node::start(&server.url())?;
    let mut warm = Client::open(node.address).await?.listen(node.address, None).await?;
    warm.first_id().await?;
    let before = node.resident()?;
    let streams = stream::iter(0..CONNECTIONS).map(async |_| {
        let client = Client::open(node.address).await?;
        let mut stream = client.listen(node.address, None).await?;
        stream.first_id().await?;
        anyhow::Ok(stream)
    });
    let streams: Vec<_> = streams.buffer_unordered(AT_ONCE).try_collect().await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let grown = node.resident()? - before;
    Ok(grown / streams.len() as f64)
}
