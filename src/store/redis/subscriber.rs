//! The subscriber: receives the signals for this process, and starts a re-check when some may have
//! been lost.
//!
//! 1. The engine owns the subscribed connection, because a subscription can die silently.
//! 2. The heartbeat signals its own process over the wire. A process that receives nothing for a
//!    lease reconnects and subscribes again. Then all its nodes re-check their state.
//! 3. In a cluster, published messages pass between its nodes without any guarantee. A heartbeat
//!    there says how many signals were published. If this process received another number, its
//!    nodes re-check their state too.
//! 4. Each node then requests the announcements after the last number that it received.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, RedisError, Value};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::client::Client;
use super::options::RedisOptions;
use super::server::Server;
use crate::store::{Backoff, Signal};

/// The state of the subscriber.
pub(super) struct Subscriber {
    server: Server,
    client: Arc<Client>,
    own: String,
    all: String,
    options: RedisOptions,
    /// The number of attempts to subscribe.
    turn: usize,
    count: Count,
}

/// An active subscription.
struct Subscription {
    pushes: UnboundedReceiver<PushInfo>,
    /// Kept because the subscription ends with it.
    _connection: MultiplexedConnection,
}

impl Subscriber {
    pub(super) fn new(server: Server, client: Arc<Client>, options: &RedisOptions) -> Self {
        let (own, all) =
            (format!("{}bell:{}", client.prefix, client.signals.process()), format!("{}bells", client.prefix));
        Self { server, client, own, all, options: options.clone(), turn: 0, count: Count::default() }
    }

    /// Subscribes, and returns a future that receives signals and never ends.
    pub(super) async fn start(mut self) -> Result<impl Future<Output = ()>, RedisError> {
        let line = self.subscribe().await?;
        Ok(self.listen(line))
    }

    async fn listen(mut self, mut line: Subscription) {
        loop {
            while let Ok(Some(push)) = tokio::time::timeout(self.options.lease, line.pushes.recv()).await {
                if push.kind == PushKind::Disconnection {
                    break;
                }
                self.receive(push);
            }
            tracing::debug!("the session engine receives no signals");
            line = self.subscribe_again().await;
            self.recheck();
        }
    }

    /// Makes every node re-check its state, because signals may have been lost.
    fn recheck(&self) {
        self.client.signals.signal_all(&Signal::Resync);
    }

    async fn subscribe_again(&mut self) -> Subscription {
        let mut backoff = Backoff::waiting();
        loop {
            match self.subscribe().await {
                Ok(line) => return line,
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "the session engine cannot subscribe yet")
                }
            }
            backoff.pause().await;
        }
    }

    async fn subscribe(&mut self) -> Result<Subscription, RedisError> {
        let (sender, pushes) = unbounded_channel();
        self.turn = self.turn.wrapping_add(1);
        let mut connection = self.server.listen(self.turn, sender).await?;
        connection.subscribe(&[&self.own, &self.all]).await?;
        self.count = Count::default();
        Ok(Subscription { pushes, _connection: connection })
    }

    fn receive(&mut self, push: PushInfo) {
        let (PushKind::Message, Ok([channel, said])) = (push.kind, <[Value; 2]>::try_from(push.data)) else { return };
        let (Value::BulkString(channel), Value::BulkString(said)) = (channel, said) else { return };
        let (signals, pseudonyms) = (&self.client.signals, &self.client.names());
        if channel != self.own.as_bytes() {
            self.count.broadcasts += 1;
            signals.receive_broadcast(pseudonyms, &said);
        } else if let Some(sign) = said.strip_prefix(b"P") {
            let mut sign = str::from_utf8(sign).unwrap_or_default().split(' ').map(str::parse::<u64>);
            let mut next = || sign.next().and_then(Result::ok);
            // The first number is the server's time, which is not used here.
            next();
            if self.count.misses(next().zip(next())) {
                tracing::debug!("signals of the session engine were lost");
                self.recheck();
            }
        } else {
            self.count.own += 1;
            signals.receive(pseudonyms, &said);
        }
    }
}

/// The number of signals received since the last heartbeat of this process.
#[derive(Debug, Default)]
struct Count {
    own: u64,
    broadcasts: u64,
    /// The totals at that heartbeat, if the server counts them: signals for this process, and for
    /// all.
    before: Option<(u64, u64)>,
}

impl Count {
    /// Starts a new count at a heartbeat with these totals. Returns `true` if the totals differ
    /// from what was received.
    fn misses(&mut self, now: Option<(u64, u64)>) -> bool {
        let counted = std::mem::replace(self, Self { before: now, ..Self::default() });
        let expected = counted.before.map(|(own, broadcasts)| (own + counted.own, broadcasts + counted.broadcasts));
        now.zip(expected).is_some_and(|(now, expected)| now != expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counted_signals_are_missed_once() {
        let mut count = Count::default();
        assert!(!count.misses(Some((5, 7))), "the totals before are unknown");
        (count.own, count.broadcasts) = (1, 2);
        assert!(!count.misses(Some((6, 9))), "all of them arrived");
        count.own = 1;
        assert!(count.misses(Some((8, 9))), "one of our own was not");
        assert!(!count.misses(Some((8, 9))));
        assert!(count.misses(Some((8, 10))), "one for all was not");
        assert!(count.misses(Some((0, 0))), "the server forgot some");
        assert!(!count.misses(None) && !count.misses(Some((3, 3))), "a server that does not count");
    }
}
