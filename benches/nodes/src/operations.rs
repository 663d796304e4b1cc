//! The operations that are counted, from a client's request at a node to the commands sent to the
//! server.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::bench::{Bench, Cost, emit};
use crate::client::Client;

/// The pause between events that must be separate operations.
const PAUSE_US: u64 = 4_000;
/// The lengths of streams. The cost of an event is the difference between a stream of many events
/// and one of few.
const FEW: usize = 1;
const MANY: usize = 41;
/// The number of events that a client missed before it resumes.
const MISSED: usize = 20;

pub(crate) struct Operation {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) cost: Cost,
}

/// Counts all operations.
pub(crate) async fn count(bench: &Bench) -> Result<Vec<Operation>> {
    let mut counted = Vec::new();
    let mut keep = |name, what, cost| counted.push(Operation { name, what, cost });

    let call = bench.cost(4_000, async |client| client.call("echo", &json!({})).await).await?;
    keep("json_call", "a call that answers without streaming", call);
    keep("session", "a session opened and ended", bench.cost(1_600, session).await?);

    let few = bench.cost(800, async |client| stream(client, FEW, PAUSE_US).await).await?;
    let many = bench.cost(160, async |client| stream(client, MANY, PAUSE_US).await).await?;
    let event = many.minus(few).times(1.0 / (MANY - FEW) as f64);
    keep("call_event", "an event in a call's stream, read at the same node", event);
    keep("sse_call", "a call that streams, without its events", few.minus(event.times(FEW as f64)));
    let burst = bench.cost(800, async |client| stream(client, MANY, 0).await).await?;
    keep("burst_event", "the same, sent as quickly as it can be", burst.minus(few).times(1.0 / (MANY - FEW) as f64));

    let away = bench.cost(80, async |client| session_events(bench, client).await).await?;
    keep("get_event", "an event in a GET stream held at the other node", away.minus(call).times(1.0 / MANY as f64));
    let resumed = bench.cost(80, async |client| resumed(bench, client).await).await?;
    let call_alone = few.minus(event.times(FEW as f64));
    keep(
        "resumed_event",
        "an event in a call's stream that was resumed at the other node",
        resumed.minus(call_alone).times(1.0 / MANY as f64),
    );
    let back = bench.cost(400, async |client| come_back(bench, client).await).await?;
    let before = bench.cost(400, async |client| stream(client, MISSED, 0).await).await?;
    keep("resume", "a client that comes back to the other node for 20 events", back.minus(before));
    let asked = bench.cost(400, async |client| ask(bench, client).await).await?;
    keep("client_request", "a request to the client, answered at the other node", asked.minus(call_alone));
    keep("idle_node", "a node without clients, for a second", bench.idle_node());
    Ok(counted)
}

async fn session(client: &mut Client) -> Result<()> {
    Client::open(client.node).await?.end().await
}

async fn stream(client: &mut Client, events: usize, pause: u64) -> Result<()> {
    let received = client.stream("emit", &emit(events, pause, false)).await?.drain().await?;
    ensure!(received == events + 1, "{received} events of {events}");
    Ok(())
}

async fn session_events(bench: &Bench, client: &mut Client) -> Result<()> {
    let mut get = client.listen(bench.b.address, None).await?;
    get.first_id().await?;
    client.call("emit", &emit(MANY, PAUSE_US, true)).await?;
    for _ in 0..MANY {
        get.next().await?.context("the stream ended")?;
    }
    Ok(())
}

async fn resumed(bench: &Bench, client: &mut Client) -> Result<()> {
    let mut first = client.stream("emit", &emit(MANY, PAUSE_US, false)).await?;
    let last = first.first_id().await?;
    drop(first);
    let received = client.listen(bench.b.address, Some(&last)).await?.drain().await?;
    ensure!(received == MANY + 1, "{received} events of {MANY}");
    Ok(())
}

async fn come_back(bench: &Bench, client: &mut Client) -> Result<()> {
    let mut first = client.stream("emit", &emit(MISSED, 0, false)).await?;
    let last = first.first_id().await?;
    first.drain().await?;
    let received = client.listen(bench.b.address, Some(&last)).await?.drain().await?;
    ensure!(received == MISSED + 1, "{received} events of {MISSED}");
    Ok(())
}

async fn ask(bench: &Bench, client: &mut Client) -> Result<()> {
    let mut stream = client.stream("ask", &json!({})).await?;
    let request: Value = serde_json::from_str(stream.next().await?.context("no client request")?)?;
    let answer = json!({"jsonrpc": "2.0", "id": request["id"], "result": {"action": "accept", "content": {}}});
    client.post_to(bench.b.address, &answer).await?;
    let received = stream.drain().await?;
    ensure!(received == 1, "{received} answers");
    Ok(())
}
