//! Options: the settings of a Redis engine, and the errors that keep it from connecting.

use std::fmt;
use std::time::Duration;

#[cfg(feature = "redis-tls")]
use super::tls::{self, Tls};

/// How an engine uses its Redis server. All nodes that share sessions must have the same namespace,
/// secret and lease.
///
/// ```
/// use std::time::Duration;
/// use mcp_http::store::RedisOptions;
///
/// let options = RedisOptions::new().namespace("billing").secret(b"at least 32 bytes of randomness!");
/// let hasty = options.retry_timeout(Duration::from_secs(5));
/// ```
#[derive(Clone)]
#[must_use]
pub struct RedisOptions {
    pub(super) namespace: String,
    pub(super) secret: Option<Vec<u8>>,
    pub(super) seal_messages: bool,
    pub(super) lease: Duration,
    pub(super) timeout: Duration,
    pub(super) retry_timeout: Duration,
    #[cfg(feature = "redis-tls")]
    pub(super) tls: Tls,
}

impl RedisOptions {
    /// The default prefix of all keys and channels.
    pub const DEFAULT_NAMESPACE: &str = "mcp";

    /// The default time without a heartbeat after which a node counts as dead. Fifteen seconds is
    /// longer than a pause of a virtual machine, and shorter than users wait for an answer.
    pub const DEFAULT_LEASE: Duration = Duration::from_secs(15);

    /// The default time in which the server must answer. Two seconds is a thousand times what it
    /// usually takes.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);

    /// The default time for which a message for a client is held while the server is unreachable.
    /// Half a minute is enough for a failover, or for a restart that reads the append-only file.
    pub const DEFAULT_RETRY_TIMEOUT: Duration = Duration::from_secs(30);

    /// The minimum length of a [`secret`](Self::secret) in bytes. An attacker who has the data that
    /// it hides can try secrets offline at any speed; 32 random bytes are out of reach of any
    /// number of machines.
    pub const MIN_SECRET_LEN: usize = 32;

    /// Returns the default options.
    pub fn new() -> Self {
        Self {
            namespace: Self::DEFAULT_NAMESPACE.to_owned(),
            secret: None,
            seal_messages: false,
            lease: Self::DEFAULT_LEASE,
            timeout: Self::DEFAULT_TIMEOUT,
            retry_timeout: Self::DEFAULT_RETRY_TIMEOUT,
            #[cfg(feature = "redis-tls")]
            tls: Tls::default(),
        }
    }

    /// Sets the prefix of all keys and channels; a colon follows it. Services with different
    /// namespaces do not see each other. Default [`DEFAULT_NAMESPACE`](Self::DEFAULT_NAMESPACE).
    ///
    /// Braces are removed, because a cluster gives them a meaning.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self.namespace.retain(|c| c != '{' && c != '}');
        self
    }

    /// Sets the secret that hides session ids, task ids, principals and the facts about clients.
    /// Without the secret, the server's memory, files and traffic reveal none of them.
    ///
    /// It needs at least 32 random bytes ([`MIN_SECRET_LEN`](Self::MIN_SECRET_LEN)); with fewer an
    /// engine does not connect. Every node needs the same secret. Data stored under another secret
    /// cannot be used.
    ///
    /// By default the first node generates a secret and stores it in the server. A complete dump of
    /// the server then reveals everything.
    pub fn secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        self.secret = Some(secret.as_ref().to_vec());
        self
    }

    /// Also encrypts what clients and handlers send: events, answers, the application's state and
    /// the documents of tasks. This protects them only together with a [`secret`](Self::secret) of
    /// your own.
    ///
    /// Nodes need not agree on this setting, so it can be enabled node by node. Default `false`:
    /// encryption costs a few microseconds and 41 bytes for each message.
    ///
    /// A reader of the server's data still sees the length of each message, and which messages of
    /// one session are equal.
    pub fn seal_messages(mut self, encryption: bool) -> Self {
        self.seal_messages = encryption;
        self
    }

    /// Sets the time without a heartbeat after which a node counts as dead. Its calls then end with
    /// an error, and its tasks are orphaned. At least 100 ms. Default
    /// [`DEFAULT_LEASE`](Self::DEFAULT_LEASE).
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(Duration::from_millis(100));
        self
    }

    /// Sets the time in which the server must answer. Default
    /// [`DEFAULT_TIMEOUT`](Self::DEFAULT_TIMEOUT).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets how long a message for a client is held while the server is unreachable. Its handler
    /// waits as well; after this time the message is lost. An operation that a client waits for
    /// fails after [`timeout`](Self::timeout) instead. Default
    /// [`DEFAULT_RETRY_TIMEOUT`](Self::DEFAULT_RETRY_TIMEOUT).
    pub fn retry_timeout(mut self, patience: Duration) -> Self {
        self.retry_timeout = patience;
        self
    }

    /// Sets the certificate authorities that may vouch for the server of a `rediss://` URL, in PEM,
    /// any number of them (feature `redis-tls`). By default they are those that the machine trusts:
    /// the files of its operating system, or those that `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
    ///
    /// With this set, the authorities of the machine are not used, and a URL without TLS is
    /// rejected.
    #[cfg(feature = "redis-tls")]
    pub fn tls_authorities(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.authorities = Some(pem.into());
        self
    }

    /// Sets the client certificate, with its chain, and its key, both in PEM (feature `redis-tls`).
    /// A server asks for one unless its `tls-auth-clients` says otherwise. Default: none.
    ///
    /// With this set, a URL without TLS is rejected.
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
            .field("patience", &self.retry_timeout)
            .finish()
    }
}

/// The reason why a Redis server cannot be used.
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

    /// Returns `true` if the server holds sessions that were stored under another secret.
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
                write!(f, "the secret is shorter than {} bytes, and could be guessed", RedisOptions::MIN_SECRET_LEN)
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
