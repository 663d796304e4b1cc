//! Decides what this process does to count as alive, what it does for those that no longer do, and
//! how its own nodes leave.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::link::{Call, Link};
use super::{bells, scripts};
use crate::error::StoreError;
use crate::message::{RequestId, write};
use crate::store::lost::node_lost;
use crate::store::{NodeId, Ring};

/// How many sessions of a node that is gone are given up in one step.
const AT_ONCE: usize = 64;

/// The text of the error of a lost call, before and after its id.
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
        call.arg(&self.head).arg(&self.tail).arg(AT_ONCE)
    }
}

/// Says for the first time that this process is alive, before anybody else can know of it. Where that
/// fails it is said later.
pub(super) async fn begin(link: &Link) {
    let _ = one_beat(link, &LostCall::new(), "").await;
}

/// Says again and again that this process is alive.
pub(super) async fn beat(link: Arc<Link>, lease: Duration) {
    let lost = LostCall::new();
    // When this process was last told that it had been away. The first time it is only new.
    let mut told: Option<String> = None;
    loop {
        let mut pause = lease / 3;
        match one_beat(&link, &lost, told.as_deref().unwrap_or_default()).await {
            Ok(Beat { away, dead, emptied }) => {
                let was_given_up = !away.is_empty() && told.as_ref().is_some_and(|told| *told != away);
                if emptied {
                    // Before anybody looks again.
                    agree_again(&link).await;
                } else if was_given_up {
                    tracing::warn!("this process was away for so long that its calls were given up");
                }
                if emptied || was_given_up {
                    link.bells.ring_all(&Ring::Resync);
                }
                told = Some(away);
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

/// Of what was agreed on nothing is left, or others have agreed already.
async fn agree_again(link: &Link) {
    tracing::warn!("the Redis server was emptied; its sessions are gone");
    if let Err(error) = link.agree_again().await {
        tracing::error!(error = &error as &dyn std::error::Error, "this node may not find what others keep");
    }
}

/// What the server says to a sign of life.
struct Beat {
    /// Since when this process is known again that was not before, until it said it heard so.
    away: String,
    /// Something dead is left.
    dead: bool,
    /// The server remembers nothing of what was agreed on.
    emptied: bool,
}

async fn one_beat(link: &Link, lost: &LostCall, told: &str) -> Result<Beat, StoreError> {
    let mut reply = link.take(lost.on(link.call(&scripts::BEAT)).arg(told)).await?;
    let (away, dead) = (reply.text()?, reply.flag()?);
    Ok(Beat { away, dead, emptied: reply.bytes()? != link.names().born.as_bytes() })
}

/// Has everybody look again after doubts, at most once in a second.
pub(super) async fn settle_doubts(link: Arc<Link>) {
    loop {
        link.bells.doubts.notified().await;
        link.bells.ring_all(&Ring::Resync);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Nodes that are about to leave. What is asked of the engine after that waits for it.
#[derive(Debug)]
pub(super) struct Leaving(watch::Sender<usize>);

/// One of them.
struct One(Arc<Leaving>);

impl Leaving {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(0)))
    }

    /// Gives up what a node has, in a task. Nobody waits for longer than one attempt; what a process
    /// cannot give up before it ends, others do when its lease is over.
    pub(super) fn leave(self: &Arc<Self>, link: &Arc<Link>, runtime: &Handle, node: NodeId) {
        self.0.send_modify(|count| *count += 1);
        let (one, link) = (One(Arc::clone(self)), Arc::clone(link));
        runtime.spawn(async move {
            let Err(error) = take_leave(&link, node).await else { return };
            drop(one);
            tracing::warn!(error = &error as &dyn std::error::Error, "a node cannot take its leave yet");
            while take_leave(&link, node).await.is_err() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
    }

    /// Waits until nobody is about to leave.
    pub(super) async fn done(&self) {
        if *self.0.borrow() > 0 {
            let mut count = self.0.subscribe();
            let _ = count.wait_for(|count| *count == 0).await;
        }
    }
}

/// Gives up all that a node has.
async fn take_leave(link: &Link, node: NodeId) -> Result<(), StoreError> {
    let lost = LostCall::new();
    loop {
        let call = link.call(&scripts::LEFT).arg(bells::text(node));
        if link.take(lost.on(call)).await?.flag()? {
            return Ok(());
        }
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}
