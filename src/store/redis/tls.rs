//! TLS: which certificates an engine trusts, and which one it presents to the server.
//!
//! 1. An engine trusts what the machine trusts, so an authority that an operator installs there
//!    needs no setting here. If authorities are configured, it trusts only those.
//! 2. Options for TLS imply that TLS is required: a URL other than `rediss://` is rejected then.
//! 3. The process chooses the cryptography provider. If it has not, the default of rustls is
//!    installed.

use std::error::Error;
use std::io;
use std::sync::Arc;

use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, RedisError, TlsCertificates};
use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// The authorities that vouch for the server, and the client's own certificate and key, in PEM.
#[derive(Clone, Default)]
pub(super) struct Tls {
    pub(super) authorities: Option<Vec<u8>>,
    pub(super) identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Tls {
    pub(super) fn client(&self, info: ConnectionInfo) -> Result<Client, RedisError> {
        if matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            choose_cryptography();
        }
        match self.certificates() {
            Some(certificates) => Client::build_with_tls(info, certificates),
            None => Client::open(info),
        }
    }

    /// Returns the certificates for new connections, or `None` if none are configured.
    pub(super) fn certificates(&self) -> Option<TlsCertificates> {
        if self.authorities.is_none() && self.identity.is_none() {
            return None;
        }
        let client_tls =
            self.identity.clone().map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        Some(TlsCertificates { client_tls, root_cert: self.authorities.clone() })
    }
}

/// Without this choice the Redis client would panic if another dependency of the process adds a
/// second provider, because rustls then picks none by itself.
fn choose_cryptography() {
    if CryptoProvider::get_default().is_none() {
        // Another thread may have installed one first; that one is used.
        let _ = aws_lc_rs::default_provider().install_default();
    }
}

/// Returns `true` if the certificate of the server was rejected.
pub(super) fn is_distrust(error: &RedisError) -> bool {
    type Shared = Arc<dyn Error + Send + Sync>;
    let cause = error.source().and_then(<dyn Error>::downcast_ref::<Shared>);
    let cause = cause.and_then(|cause| cause.downcast_ref::<io::Error>()).and_then(io::Error::get_ref);
    matches!(cause.and_then(|cause| cause.downcast_ref()), Some(rustls::Error::InvalidCertificate(_)))
}
