//! Decides when this process hears its bells, and what it does when it may have missed some.
//!
//! The connection that listens is our own to keep: a subscription can die without a word. The
//! heartbeat rings this process over the wire; who has heard nothing for a lease makes a new
//! connection, subscribes, and then has everybody look again. So does who is told by a heartbeat, as a
//! cluster's do, of more bells than were heard: what is published there goes from node to node without a
//! promise. What was announced meanwhile each node asks for, from the number it heard last.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, RedisError, Value};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::link::Link;
use super::options::RedisOptions;
use super::server::Server;
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
    count: Count,
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
        Self { server, link, own, everybody, options: options.clone(), turn: 0, count: Count::default() }
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
            self.look_again();
        }
    }

    /// Some bells were missed.
    fn look_again(&self) {
        self.link.bells.ring_all(&Ring::Resync);
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
        self.count = Count::default();
        Ok(Line { pushes, _connection: connection })
    }

    fn hear(&mut self, push: PushInfo) {
        let (PushKind::Message, Ok([channel, said])) = (push.kind, <[Value; 2]>::try_from(push.data)) else { return };
        let (Value::BulkString(channel), Value::BulkString(said)) = (channel, said) else { return };
        let (bells, names) = (&self.link.bells, &self.link.names());
        if channel != self.own.as_bytes() {
            self.count.everybodys += 1;
            bells.ring_everybody(names, &said);
        } else if let Some(sign) = said.strip_prefix(b"P") {
            let mut sign = str::from_utf8(sign).unwrap_or_default().split(' ').map(str::parse::<u64>);
            let mut next = || sign.next().and_then(Result::ok);
            // First the moment of the server, which nothing here counts by.
            next();
            if self.count.misses(next().zip(next())) {
                tracing::debug!("bells of the session engine were lost");
                self.look_again();
            }
        } else {
            self.count.own += 1;
            bells.ring(names, &said);
        }
    }
}

/// How many bells rang since the last of our own signs of life.
#[derive(Debug, Default)]
struct Count {
    own: u64,
    everybodys: u64,
    /// How many there had been then, where the server counts them: our own, and everybody's.
    before: Option<(u64, u64)>,
}

impl Count {
    /// Begins anew with a sign of life that says how many there were; whether that is not how many were heard.
    fn misses(&mut self, now: Option<(u64, u64)>) -> bool {
        let heard = std::mem::replace(self, Self { before: now, ..Self::default() });
        let expected = heard.before.map(|(own, everybodys)| (own + heard.own, everybodys + heard.everybodys));
        now.zip(expected).is_some_and(|(now, expected)| now != expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_that_was_counted_and_not_heard_is_missed_once() {
        let mut count = Count::default();
        assert!(!count.misses(Some((5, 7))), "nobody knows what was before");
        (count.own, count.everybodys) = (1, 2);
        assert!(!count.misses(Some((6, 9))), "all of them were heard");
        count.own = 1;
        assert!(count.misses(Some((8, 9))), "one of our own was not");
        assert!(!count.misses(Some((8, 9))));
        assert!(count.misses(Some((8, 10))), "one of everybody's was not");
        assert!(count.misses(Some((0, 0))), "the server forgot some");
        assert!(!count.misses(None) && !count.misses(Some((3, 3))), "a server that does not count");
    }
}
