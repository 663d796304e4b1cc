//! Decides whom an engine believes when it talks to its server over TLS, and what it shows a server
//! that asks who it is.
//!
//! 1. It believes whom the machine believes, so that an authority an operator installs there counts
//!    without a word here; or only those that are named, and then nobody else.
//! 2. Who named one does not want to be without: a URL that is not `rediss://` is refused then.
//! 3. The process decides about cryptography. Where it has not, what rustls would take is taken.

use std::error::Error;
use std::io;
use std::sync::Arc;

use redis::{Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, RedisError, TlsCertificates};
use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// What is known of the other end, and of this one, in PEM.
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

    /// What is to be said of each connection that is made; nothing where nothing was set.
    pub(super) fn certificates(&self) -> Option<TlsCertificates> {
        if self.authorities.is_none() && self.identity.is_none() {
            return None;
        }
        let client_tls =
            self.identity.clone().map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        Some(TlsCertificates { client_tls, root_cert: self.authorities.clone() })
    }
}

/// Without a choice the client of Redis would panic wherever another dependency of the process brings a
/// second provider in, because rustls then takes none by itself.
fn choose_cryptography() {
    if CryptoProvider::get_default().is_none() {
        // Somebody else may have been faster; then theirs counts.
        let _ = aws_lc_rs::default_provider().install_default();
    }
}

/// Whether a server was turned away for its certificate.
pub(super) fn is_distrust(error: &RedisError) -> bool {
    type Shared = Arc<dyn Error + Send + Sync>;
    let cause = error.source().and_then(<dyn Error>::downcast_ref::<Shared>);
    let cause = cause.and_then(|cause| cause.downcast_ref::<io::Error>()).and_then(io::Error::get_ref);
    matches!(cause.and_then(|cause| cause.downcast_ref()), Some(rustls::Error::InvalidCertificate(_)))
}
