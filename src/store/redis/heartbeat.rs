//! The heartbeat: keeps this process alive in the server, cleans up after processes that died, and
//! releases what leaving nodes hold.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::client::{Call, Client};
use super::{scripts, signals};
use crate::error::StoreError;
use crate::message::{RequestId, write};
use crate::store::lost::node_lost;
use crate::store::{Backoff, NodeId, Signal};

/// Maximum number of sessions of a lost node that one script cleans up.
const CONCURRENCY: usize = 64;

/// The text of the error that ends a lost call: the parts before and after the request id.
#[derive(Debug)]
pub(super) struct LostCall {
    head: String,
    tail: String,
}

impl LostCall {
    pub(super) fn new() -> Self {
        let id = RequestId::from(0);
        let whole = write::failure(Some(&id), &node_lost());
        let whole = String::from_utf8_lossy(&whole);
        let (head, tail) = whole.split_once(r#""id":0"#).unwrap_or_default();
        Self { head: format!(r#"{head}"id":"#), tail: tail.to_owned() }
    }

    fn on(&self, call: Call) -> Call {
        call.arg(&self.head).arg(&self.tail).arg(CONCURRENCY)
    }
}

/// Sends the first heartbeat, before any other process can know of this one. If it fails, a later
/// heartbeat replaces it.
pub(super) async fn begin(client: &Client) {
    let _ = one_beat(client, &LostCall::new(), "").await;
}

/// Sends heartbeats indefinitely.
pub(super) async fn beat(client: Arc<Client>, lease: Duration) {
    let lost = LostCall::new();
    // The last registration that this process learned of. The first one means only that the process
    // is new.
    let mut known: Option<String> = None;
    loop {
        let mut pause = lease / 3;
        match one_beat(&client, &lost, known.as_deref().unwrap_or_default()).await {
            Ok(Beat { away, dead, emptied }) => {
                let was_given_up = !away.is_empty() && known.as_ref().is_some_and(|known| *known != away);
                if emptied {
                    // Before any node re-checks its state.
                    agree_again(&client).await;
                } else if was_given_up {
                    tracing::warn!("this process was away for so long that its calls were given up");
                }
                if emptied || was_given_up {
                    client.signals.signal_all(&Signal::Resync);
                }
                known = Some(away);
                if dead {
                    pause = Duration::ZERO;
                }
            }
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "no sign of life could be given");
                pause = lease / 15;
            }
        }
        tokio::time::sleep(pause).await;
    }
}

/// Agrees with the other nodes again, after the server lost what they had agreed on. Others may
/// have agreed already.
async fn agree_again(client: &Client) {
    tracing::warn!("the Redis server was emptied; its sessions are gone");
    if let Err(error) = client.agree_again().await {
        tracing::error!(error = &error as &dyn std::error::Error, "this node may not find what others keep");
    }
}

/// The server's answer to a heartbeat.
struct Beat {
    /// The time at which the server registered this process, if it was unknown. Repeated until the
    /// process acknowledges it, empty afterwards.
    away: String,
    /// Some processes are dead and not yet cleaned up.
    dead: bool,
    /// The server lost what the nodes had agreed on.
    emptied: bool,
}

async fn one_beat(client: &Client, lost: &LostCall, known: &str) -> Result<Beat, StoreError> {
    let mut reply = client.take(lost.on(client.call(&scripts::BEAT)).arg(known)).await?;
    let (away, dead) = (reply.text()?, reply.flag()?);
    Ok(Beat { away, dead, emptied: reply.bytes()? != client.names().born.as_bytes() })
}

/// Makes every node re-check its state after doubts, at most once a second.
pub(super) async fn settle_doubts(client: Arc<Client>) {
    loop {
        client.signals.doubts.notified().await;
        client.signals.signal_all(&Signal::Resync);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// The number of nodes that are about to leave. Later operations of the engine wait for them.
#[derive(Debug)]
pub(super) struct Departures(watch::Sender<usize>);

/// A node that is about to leave.
struct One(Arc<Departures>);

impl Departures {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(0)))
    }

    /// Releases what a node holds, in a background task. Other operations wait for one attempt
    /// only. If the process ends first, other processes release the rest after its lease.
    pub(super) fn leave(self: &Arc<Self>, client: &Arc<Client>, runtime: &Handle, node: NodeId) {
        self.0.send_modify(|count| *count += 1);
        let (one, client) = (One(Arc::clone(self)), Arc::clone(client));
        runtime.spawn(async move {
            let Err(error) = announce_departure(&client, node).await else { return };
            drop(one);
            tracing::warn!(error = &error as &dyn std::error::Error, "a node cannot take its leave yet");
            let mut backoff = Backoff::background();
            while announce_departure(&client, node).await.is_err() {
                backoff.pause().await;
            }
        });
    }

    /// Waits until no node is about to leave.
    pub(super) async fn done(&self) {
        if *self.0.borrow() > 0 {
            let mut count = self.0.subscribe();
            let _ = count.wait_for(|count| *count == 0).await;
        }
    }
}

/// Releases everything that a node holds.
async fn announce_departure(client: &Client, node: NodeId) -> Result<(), StoreError> {
    let lost = LostCall::new();
    loop {
        let call = client.call(&scripts::LEFT).arg(signals::text(node));
        if client.take(lost.on(call)).await?.flag()? {
            return Ok(());
        }
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}
