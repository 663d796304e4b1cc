//! The server: opens connections to a single server, or to a cluster that looks like one.

use redis::aio::{ConnectionLike, MultiplexedConnection};
#[cfg(feature = "redis-cluster")]
use redis::cluster::ClusterClient;
#[cfg(feature = "redis-cluster")]
use redis::cluster_async::ClusterConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, IntoConnectionInfo, Pipeline, ProtocolVersion, RedisError,
    RedisFuture, Value,
};

#[cfg(not(feature = "redis-tls"))]
use super::options::Reason;
use super::options::{ConnectError, RedisOptions};

/// The address of the server.
#[derive(Clone)]
pub(super) struct Server {
    /// Nodes to subscribe at. Any of them will do: a cluster forwards what is published at one node
    /// to all.
    nodes: Vec<Client>,
    config: AsyncConnectionConfig,
    #[cfg(feature = "redis-cluster")]
    cluster: Option<ClusterClient>,
}

/// A connection that carries operations.
#[derive(Clone)]
pub(super) enum Connection {
    One(MultiplexedConnection),
    #[cfg(feature = "redis-cluster")]
    Cluster(ClusterConnection),
}

impl Server {
    pub(super) fn one(url: &str, options: &RedisOptions) -> Result<Self, ConnectError> {
        Ok(Self {
            nodes: vec![client(info(url)?, options)?],
            config: config(options),
            #[cfg(feature = "redis-cluster")]
            cluster: None,
        })
    }

    #[cfg(feature = "redis-cluster")]
    pub(super) fn cluster(urls: &[String], options: &RedisOptions) -> Result<Self, ConnectError> {
        let infos = urls.iter().map(|url| info(url)).collect::<Result<Vec<_>, _>>()?;
        let nodes = infos.iter().map(|info| client(info.clone(), options)).collect::<Result<_, _>>()?;
        let cluster = ClusterClient::builder(infos)
            .connection_timeout(options.timeout)
            .response_timeout(options.timeout)
            .overall_response_timeout(Some(options.timeout * 2))
            .use_protocol(ProtocolVersion::RESP3)
            .retries(1);
        #[cfg(feature = "redis-tls")]
        let cluster = match options.tls.certificates() {
            Some(certificates) => cluster.certs(certificates),
            None => cluster,
        };
        let cluster = cluster.build().map_err(ConnectError::server)?;
        Ok(Self { nodes, config: config(options), cluster: Some(cluster) })
    }

    pub(super) fn is_cluster(&self) -> bool {
        #[cfg(feature = "redis-cluster")]
        return self.cluster.is_some();
        #[cfg(not(feature = "redis-cluster"))]
        false
    }

    pub(super) async fn connect(&self) -> Result<Connection, RedisError> {
        #[cfg(feature = "redis-cluster")]
        if let Some(cluster) = &self.cluster {
            return cluster.get_async_connection().await.map(Connection::Cluster);
        }
        self.connect_to(0, self.config.clone()).await.map(Connection::One)
    }

    /// Opens a connection for subscribing, to the next node with each turn.
    pub(super) async fn listen(
        &self,
        turn: usize,
        pushes: impl redis::aio::AsyncPushSender,
    ) -> Result<MultiplexedConnection, RedisError> {
        self.connect_to(turn, self.config.clone().set_push_sender(pushes)).await
    }

    async fn connect_to(
        &self,
        turn: usize,
        config: AsyncConnectionConfig,
    ) -> Result<MultiplexedConnection, RedisError> {
        let node = &self.nodes[turn % self.nodes.len()];
        node.get_multiplexed_async_connection_with_config(&config).await
    }
}

fn info(url: &str) -> Result<ConnectionInfo, ConnectError> {
    #[cfg(not(feature = "redis-tls"))]
    if let Some((scheme, _)) = url.split_once(':')
        && ["rediss", "valkeys"].iter().any(|tls| scheme.eq_ignore_ascii_case(tls))
    {
        return Err(ConnectError::new(Reason::NoTls));
    }
    let info = url.into_connection_info().map_err(ConnectError::server)?;
    // Signals arrive as push messages, which RESP2 lacks.
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Ok(info.set_redis_settings(settings))
}

fn client(info: ConnectionInfo, options: &RedisOptions) -> Result<Client, ConnectError> {
    #[cfg(feature = "redis-tls")]
    let client = options.tls.client(info);
    #[cfg(not(feature = "redis-tls"))]
    let client = {
        let _ = options;
        Client::open(info)
    };
    client.map_err(ConnectError::server)
}

fn config(options: &RedisOptions) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(options.timeout))
        .set_response_timeout(Some(options.timeout))
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(cmd),
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(connection) => connection.req_packed_commands(pipeline, offset, count),
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(connection) => connection.get_db(),
            #[cfg(feature = "redis-cluster")]
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}
