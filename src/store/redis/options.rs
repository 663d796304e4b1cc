//! Decides what can be set about a Redis server, and what keeps an engine from using one.

use std::fmt;
use std::time::Duration;

#[cfg(feature = "redis-tls")]
use super::tls::{self, Tls};

/// How an engine uses its Redis server. All nodes that share sessions must agree on the namespace,
/// the secret and the lease.
///
/// ```
/// use std::time::Duration;
/// use mcp_http::store::RedisOptions;
///
/// let options = RedisOptions::new().namespace("billing").secret(b"at least 32 bytes of randomness!");
/// let hasty = options.patience(Duration::from_secs(5));
/// ```
#[derive(Clone)]
#[must_use]
pub struct RedisOptions {
    pub(super) namespace: String,
    pub(super) secret: Option<Vec<u8>>,
    pub(super) seal_messages: bool,
    pub(super) lease: Duration,
    pub(super) timeout: Duration,
    pub(super) patience: Duration,
    #[cfg(feature = "redis-tls")]
    pub(super) tls: Tls,
}

impl RedisOptions {
    /// What all keys and channels begin with.
    pub const DEFAULT_NAMESPACE: &str = "mcp";

    /// A node counts as dead when it was not heard of for so long. Fifteen seconds: longer than a
    /// pause of a virtual machine, shorter than people wait for an answer.
    pub const DEFAULT_LEASE: Duration = Duration::from_secs(15);

    /// The server must answer within this. Two seconds: a thousand times what it takes.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);

    /// How long a message for a client is held while the server is away. Half a minute: as long as
    /// a restart that reads its append-only file, or a failover.
    pub const DEFAULT_PATIENCE: Duration = Duration::from_secs(30);

    /// The fewest bytes of a [`secret`](Self::secret). Thirty-two: whoever has what it hides can try secrets as fast
    /// as they like, and no number of machines gets through so many.
    pub const LEAST_SECRET: usize = 32;

    /// The defaults.
    pub fn new() -> Self {
        Self {
            namespace: Self::DEFAULT_NAMESPACE.to_owned(),
            secret: None,
            seal_messages: false,
            lease: Self::DEFAULT_LEASE,
            timeout: Self::DEFAULT_TIMEOUT,
            patience: Self::DEFAULT_PATIENCE,
            #[cfg(feature = "redis-tls")]
            tls: Tls::default(),
        }
    }

    /// What all keys and channels begin with, followed by a colon. Services with different
    /// namespaces know nothing of each other. Default [`DEFAULT_NAMESPACE`](Self::DEFAULT_NAMESPACE).
    ///
    /// Braces, which a cluster reads a meaning into, are left out.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self.namespace.retain(|c| c != '{' && c != '}');
        self
    }

    /// What session ids, task ids, principals and what is known of clients are hidden with, so that
    /// whoever reads the server's memory, files or traffic learns none of them. At least 32 random
    /// bytes ([`LEAST_SECRET`](Self::LEAST_SECRET)): with fewer an engine does not connect. The same on
    /// every node; what was kept under another secret cannot be used.
    ///
    /// Without one the first node makes one up and keeps it in the server: a dump of everything then
    /// gives everything away.
    pub fn secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        self.secret = Some(secret.as_ref().to_vec());
        self
    }

    /// Whether what clients and handlers say is sealed, too: events, answers, the application's state
    /// and the documents of tasks. Only with a [`secret`](Self::secret) of your own is that worth
    /// anything. Nodes need not agree, so that it can be switched on one by one. Default `false`:
    /// it costs a few microseconds for each message, and 41 bytes.
    ///
    /// Who reads the server can still see how long messages are, and which ones of one session are the
    /// same.
    pub fn seal_messages(mut self, seal: bool) -> Self {
        self.seal_messages = seal;
        self
    }

    /// After how much silence a node counts as dead: its calls end with an error, its tasks are
    /// orphans. At least 100 ms. Default [`DEFAULT_LEASE`](Self::DEFAULT_LEASE).
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(Duration::from_millis(100));
        self
    }

    /// Within what time the server must answer. Default
    /// [`DEFAULT_TIMEOUT`](Self::DEFAULT_TIMEOUT).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long a message for a client is held, and its handler with it, while the server is away;
    /// after that it is lost. Everything a client waits for fails after the time of
    /// [`timeout`](Self::timeout) instead. Default [`DEFAULT_PATIENCE`](Self::DEFAULT_PATIENCE).
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Who may vouch for the server of a `rediss://` URL (feature `redis-tls`): certificates of
    /// authorities in PEM, as many as you like. Default: whoever the machine trusts, in the files
    /// of its operating system or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
    ///
    /// With this set nobody else may, and a URL without TLS is refused.
    #[cfg(feature = "redis-tls")]
    pub fn tls_authorities(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.authorities = Some(pem.into());
        self
    }

    /// What this engine shows a server that wants to know its clients by certificates, as one does
    /// unless its `tls-auth-clients` says otherwise (feature `redis-tls`): a certificate with
    /// those that vouch for it, and its key, both in PEM. Default: nothing.
    ///
    /// With this set a URL without TLS is refused.
    #[cfg(feature = "redis-tls")]
    pub fn tls_identity(mut self, certificates: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.tls.identity = Some((certificates.into(), key.into()));
        self
    }
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut options = f.debug_struct("RedisOptions");
        #[cfg(feature = "redis-tls")]
        options
            .field("tls_authorities", &self.tls.authorities.is_some())
            .field("tls_identity", &self.tls.identity.is_some());
        options
            .field("namespace", &self.namespace)
            .field("secret", &self.secret.is_some())
            .field("seal_messages", &self.seal_messages)
            .field("lease", &self.lease)
            .field("timeout", &self.timeout)
            .field("patience", &self.patience)
            .finish()
    }
}

/// Why a Redis server cannot be used.
#[derive(Debug)]
pub struct ConnectError(Reason);

#[derive(Debug)]
pub(super) enum Reason {
    Server(redis::RedisError),
    #[cfg(feature = "redis-tls")]
    Distrust(redis::RedisError),
    #[cfg(not(feature = "redis-tls"))]
    NoTls,
    TooOld(String),
    ShortSecret,
    OtherSecret,
    OtherLayout,
    NoRuntime,
}

impl ConnectError {
    pub(super) fn new(reason: Reason) -> Self {
        Self(reason)
    }

    pub(super) fn server(error: redis::RedisError) -> Self {
        #[cfg(feature = "redis-tls")]
        if tls::is_distrust(&error) {
            return Self(Reason::Distrust(error));
        }
        Self(Reason::Server(error))
    }

    /// Whether the server holds sessions that were kept under another secret.
    #[must_use]
    pub fn is_other_secret(&self) -> bool {
        matches!(self.0, Reason::OtherSecret)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Reason::Server(_) => f.write_str("the Redis server cannot be used"),
            #[cfg(feature = "redis-tls")]
            Reason::Distrust(_) => f.write_str(
                "the certificate of the Redis server does not count: it is for another host or another time, or of an \
                 authority that is unknown here (`RedisOptions::tls_authorities` names others)",
            ),
            #[cfg(not(feature = "redis-tls"))]
            Reason::NoTls => f.write_str("a URL that begins with rediss:// needs the feature redis-tls"),
            Reason::TooOld(version) => write!(f, "the Redis server is of version {version}; 7.0 is needed"),
            Reason::ShortSecret => {
                write!(f, "the secret is shorter than {} bytes, and could be guessed", RedisOptions::LEAST_SECRET)
            }
            Reason::OtherSecret => {
                f.write_str("the Redis server keeps sessions under another secret; use that one, or another namespace")
            }
            Reason::OtherLayout => f.write_str(
                "the Redis server keeps sessions of another version of this crate, laid out in another way; use another \
                 namespace (`RedisOptions::namespace`), or delete the keys of this one",
            ),
            Reason::NoRuntime => f.write_str("a Redis engine needs a tokio runtime"),
        }
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Reason::Server(error) => Some(error),
            #[cfg(feature = "redis-tls")]
            Reason::Distrust(error) => Some(error),
            _ => None,
        }
    }
}
