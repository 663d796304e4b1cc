//! Decides when this process hears its bells, and what it does when it may have missed some.
//!
//! The connection that listens is our own to keep: a subscription can die without a word. The
//! heartbeat rings this process over the wire; who has heard nothing for a lease makes a new
//! connection, subscribes, and then has everybody look again. What was announced meanwhile is told
//! as if it had been heard.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, RedisError, Value};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::link::Link;
use super::options::RedisOptions;
use super::scripts;
use super::server::Server;
use crate::error::StoreError;
use crate::store::Ring;

/// What is needed to hear.
pub(super) struct Hearing {
    server: Server,
    link: Arc<Link>,
    own: String,
    everybody: String,
    options: RedisOptions,
    /// How often it was tried to subscribe.
    turn: usize,
    /// A moment of the server's up to which everything was heard.
    heard: u64,
}

/// A subscription that stands.
struct Line {
    pushes: UnboundedReceiver<PushInfo>,
    /// The line lives as long as it does.
    _connection: MultiplexedConnection,
}

/// Between two attempts to subscribe.
const PAUSE: Duration = Duration::from_millis(200);

impl Hearing {
    pub(super) fn new(server: Server, link: Arc<Link>, options: &RedisOptions) -> Self {
        let (own, everybody) =
            (format!("{}bell:{}", link.prefix, link.bells.process()), format!("{}bells", link.prefix));
        Self { server, link, own, everybody, options: options.clone(), turn: 0, heard: 0 }
    }

    /// Subscribes, and listens from then on in a future that never ends.
    pub(super) async fn start(mut self) -> Result<impl Future<Output = ()>, RedisError> {
        let line = self.subscribe().await?;
        Ok(self.listen(line))
    }

    async fn listen(mut self, mut line: Line) {
        loop {
            while let Ok(Some(push)) = tokio::time::timeout(self.options.lease, line.pushes.recv()).await {
                if push.kind == PushKind::Disconnection {
                    break;
                }
                self.hear(push);
            }
            tracing::debug!("the bells of the session engine fell silent");
            line = self.subscribe_again().await;
            self.link.bells.ring_all(&Ring::Resync);
            if let Err(error) = self.catch_up().await {
                tracing::warn!(error = &error as &dyn std::error::Error, "what was announced may have been missed");
            }
        }
    }

    /// Tells what was announced while nobody listened.
    async fn catch_up(&self) -> Result<(), StoreError> {
        let mut reply = self.link.take(self.link.call(&scripts::TOPICS).silent().arg(self.heard).patient()).await?;
        for topic in reply.list()? {
            if let Value::BulkString(topic) = topic
                && let Ok(topic) = str::from_utf8(&topic)
            {
                self.link.bells.ring_all(&Ring::Topic { topic: topic.into() });
            }
        }
        Ok(())
    }

    async fn subscribe_again(&mut self) -> Line {
        loop {
            match self.subscribe().await {
                Ok(line) => return line,
                Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "no bells yet"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn subscribe(&mut self) -> Result<Line, RedisError> {
        let (sender, pushes) = unbounded_channel();
        self.turn = self.turn.wrapping_add(1);
        let mut connection = self.server.listen(self.turn, sender).await?;
        connection.subscribe(&[&self.own, &self.everybody]).await?;
        Ok(Line { pushes, _connection: connection })
    }

    fn hear(&mut self, push: PushInfo) {
        let (PushKind::Message, Ok([channel, said])) = (push.kind, <[Value; 2]>::try_from(push.data)) else { return };
        let (Value::BulkString(channel), Value::BulkString(said)) = (channel, said) else { return };
        let (bells, names) = (&self.link.bells, &self.link.names());
        if channel != self.own.as_bytes() {
            bells.ring_everybody(names, &said);
        } else if let Some(moment) = said.strip_prefix(b"P") {
            // Our own sign of life, and when it was given.
            let moment = str::from_utf8(moment).ok().and_then(|moment| moment.parse().ok());
            self.heard = moment.unwrap_or(self.heard);
        } else {
            bells.ring(names, &said);
        }
    }
}
