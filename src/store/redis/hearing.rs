//! Decides when this process hears its bells, and what it does when it may have missed some.
//!
//! The connection that listens is our own to keep: a subscription can die without a word. The
//! heartbeat rings this process over the wire; who has heard nothing for a lease makes a new
//! connection, subscribes, and then has everybody look again.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, PushInfo, PushKind, RedisError, Value};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::bells::Bells;
use super::link;
use super::names::Names;
use super::options::RedisOptions;
use crate::store::Ring;

/// What is needed to hear.
pub(super) struct Hearing {
    client: Client,
    bells: Arc<Bells>,
    names: Arc<Names>,
    own: String,
    everybody: String,
    options: RedisOptions,
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
    pub(super) fn new(client: Client, bells: Arc<Bells>, names: Arc<Names>, options: &RedisOptions) -> Self {
        let prefix = link::prefix(options);
        let (own, everybody) = (format!("{prefix}bell:{}", bells.process()), format!("{prefix}bells"));
        Self { client, bells, names, own, everybody, options: options.clone() }
    }

    /// Subscribes, and listens from then on in a future that never ends.
    pub(super) async fn start(self) -> Result<impl Future<Output = ()>, RedisError> {
        let line = self.subscribe().await?;
        Ok(self.listen(line))
    }

    async fn listen(self, mut line: Line) {
        loop {
            while let Ok(Some(push)) = tokio::time::timeout(self.options.lease, line.pushes.recv()).await {
                if push.kind == PushKind::Disconnection {
                    break;
                }
                self.hear(push);
            }
            tracing::debug!("the bells of the session engine fell silent");
            line = self.subscribe_again().await;
            self.bells.ring_all(&Ring::Resync);
        }
    }

    async fn subscribe_again(&self) -> Line {
        loop {
            match self.subscribe().await {
                Ok(line) => return line,
                Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "no bells yet"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn subscribe(&self) -> Result<Line, RedisError> {
        let (sender, pushes) = unbounded_channel();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.options.timeout))
            .set_response_timeout(Some(self.options.timeout))
            .set_push_sender(sender);
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        connection.subscribe(&[&self.own, &self.everybody]).await?;
        Ok(Line { pushes, _connection: connection })
    }

    fn hear(&self, push: PushInfo) {
        let (PushKind::Message, Ok([channel, said])) = (push.kind, <[Value; 2]>::try_from(push.data)) else { return };
        let (Value::BulkString(channel), Value::BulkString(said)) = (channel, said) else { return };
        if channel == self.own.as_bytes() {
            self.bells.ring(&self.names, &said);
        } else {
            self.bells.ring_everybody(&self.names, &said);
        }
    }
}
