//! A certificate authority for a test, and the certificates it issues.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub(crate) struct Papers {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut about = CertificateParams::default();
        about.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(about, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// Issues a certificate for a name or an address.
    pub(crate) fn papers(&self, name: &str) -> Papers {
        let key = KeyPair::generate().unwrap();
        let mut about = CertificateParams::new([name.to_owned()]).unwrap();
        // The subject must differ from the issuer: equal names would make the certificate look
        // self-signed.
        about.distinguished_name.push(DnType::CommonName, name);
        Papers { certificate: about.signed_by(&key, &self.0).unwrap().pem(), key: key.serialize_pem() }
    }
}
