//! Connecting: checks that a server can be used, and starts the engine's background tasks.

use std::sync::{Arc, OnceLock};

use redis::{FromRedisValue, Value, cmd};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::agreement::agree;
use super::client::Client;
use super::connection::SharedConnection;
use super::heartbeat::{self, Departures};
use super::options::{ConnectError, Reason, RedisOptions};
use super::server::{Connection, Server};
use super::signals::Signals;
use super::subscriber::Subscriber;
use super::{Inner, RedisEngine, undo};
use crate::store::Policy;

impl RedisEngine {
    /// Connects to a server by a URL such as `redis://:password@host:6379/`, with the
    /// [default options](RedisOptions::new). With the feature `redis-tls` the URL may begin with
    /// `rediss://`.
    ///
    /// The server should keep its data across restarts and evict nothing (`appendonly yes`,
    /// `maxmemory-policy noeviction`).
    ///
    /// # Errors
    ///
    /// If the URL is invalid, or the secret is too short. If the server cannot be reached, cannot
    /// be trusted or is too old, or holds sessions that this engine cannot use. Also outside a
    /// tokio runtime, which the engine's background tasks need.
    pub async fn connect(url: impl AsRef<str>) -> Result<Self, ConnectError> {
        Self::connect_with(url, RedisOptions::new()).await
    }

    /// Connects to a server with options, as [`connect`](Self::connect) does.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_with(url: impl AsRef<str>, options: RedisOptions) -> Result<Self, ConnectError> {
        let server = Server::one(url.as_ref(), &options)?;
        Self::open(server, &options).await
    }

    /// Connects to a Redis Cluster by the URLs of some of its nodes (feature `redis-cluster`). A
    /// cluster adds failover but no capacity: all keys of one [namespace](RedisOptions::namespace)
    /// are in one slot.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    #[cfg(feature = "redis-cluster")]
    pub async fn connect_cluster(
        urls: impl IntoIterator<Item = impl Into<String>>,
        options: RedisOptions,
    ) -> Result<Self, ConnectError> {
        let urls: Vec<String> = urls.into_iter().map(Into::into).collect();
        let server = Server::cluster(&urls, &options)?;
        Self::open(server, &options).await
    }

    async fn open(server: Server, options: &RedisOptions) -> Result<Self, ConnectError> {
        if options.secret.as_ref().is_some_and(|secret| secret.len() < RedisOptions::MIN_SECRET_LEN) {
            return Err(ConnectError::new(Reason::ShortSecret));
        }
        let runtime = Handle::try_current().map_err(|_| ConnectError::new(Reason::NoRuntime))?;
        let mut connection = server.connect().await.map_err(ConnectError::server)?;
        look_at(&mut connection).await?;
        let pseudonyms = agree(&mut connection, options, None).await?;
        let signals = Arc::new(Signals::new());
        let client = Arc::new(Client::new(SharedConnection::new(server.clone()), signals, pseudonyms, options));
        let hearing = Subscriber::new(server, Arc::clone(&client), options);
        let hearing = hearing.start().await.map_err(ConnectError::server)?;
        heartbeat::begin(&client).await;

        let stop = CancellationToken::new();
        runtime.spawn(stop.clone().run_until_cancelled_owned(hearing));
        runtime.spawn(stop.clone().run_until_cancelled_owned(heartbeat::beat(Arc::clone(&client), options.lease)));
        runtime.spawn(stop.clone().run_until_cancelled_owned(heartbeat::settle_doubts(Arc::clone(&client))));
        let (undo_queue, owed) = undo::undo_queue();
        runtime.spawn(stop.clone().run_until_cancelled_owned(undo::settle(Arc::clone(&client), owed)));
        let inner = Inner {
            client,
            leaving: Departures::new(),
            undo_queue,
            policy: OnceLock::new(),
            default_policy: Policy::default(),
            runtime,
            _stop: stop.drop_guard(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

/// Rejects a server that is too old, and warns of settings that an operator should change.
async fn look_at(connection: &mut Connection) -> Result<(), ConnectError> {
    // Without permission for INFO the server is accepted unchecked.
    let Ok(facts) = cmd("INFO").query_async::<Value>(connection).await else { return Ok(()) };
    let of_each_node = match facts {
        Value::Map(nodes) => nodes.into_iter().map(|(_, facts)| facts).collect(),
        facts => vec![facts],
    };
    let texts = of_each_node.into_iter().filter_map(|facts| String::from_redis_value(facts).ok());
    texts.into_iter().try_for_each(|facts| judge(&facts))
}

fn judge(facts: &str) -> Result<(), ConnectError> {
    let fact = |name: &str| facts.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    if let Some(version) = fact("redis_version") {
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_some_and(|major| major < 7) {
            return Err(ConnectError::new(Reason::TooOld(version.to_owned())));
        }
    }
    if let Some(policy) = fact("maxmemory_policy").filter(|policy| *policy != "noeviction") {
        tracing::warn!(policy, "the Redis server may evict parts of sessions; set maxmemory-policy to noeviction");
    }
    if fact("aof_enabled") == Some("0") {
        tracing::warn!("the Redis server forgets sessions when it restarts; set appendonly to yes");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn short_secrets_are_rejected_before_connecting() {
        for (length, rejected) in [(0, true), (31, true), (32, false)] {
            let options = RedisOptions::new().secret(vec![7; length]);
            let error = RedisEngine::connect_with("redis://127.0.0.1:1/", options).await.unwrap_err();
            let short = error.to_string() == "the secret is shorter than 32 bytes, and could be guessed";
            assert_eq!(short, rejected, "{length}: {error}");
        }
    }
}
