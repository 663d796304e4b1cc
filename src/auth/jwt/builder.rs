//! The builder of a JWT verifier: the settings, and the algorithms that it can allow.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use jsonwebtoken::crypto::{CryptoProvider, aws_lc};

use super::source::{KeySource, Pace};
use super::verifier::{DiscoveryError, JwtVerifier};
use crate::auth::fetch::Fetcher;
use crate::auth::resource::secure;
use crate::error::ConfigError;

/// A signature algorithm of JSON Web Tokens (RFC 7518, RFC 8037). All are asymmetric: with a shared
/// secret, every resource server could issue tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are those of the registry of algorithms")]
pub enum JwtAlgorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl JwtAlgorithm {
    const ALL: [Self; 9] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::EdDSA,
    ];

    fn to_library(self) -> Algorithm {
        match self {
            Self::RS256 => Algorithm::RS256,
            Self::RS384 => Algorithm::RS384,
            Self::RS512 => Algorithm::RS512,
            Self::PS256 => Algorithm::PS256,
            Self::PS384 => Algorithm::PS384,
            Self::PS512 => Algorithm::PS512,
            Self::ES256 => Algorithm::ES256,
            Self::ES384 => Algorithm::ES384,
            Self::EdDSA => Algorithm::EdDSA,
        }
    }
}

/// The default of `leeway`: clocks of servers seldom differ by more.
const LEEWAY: Duration = Duration::from_secs(30);

/// The most that `leeway` may be: RFC 7519, 4.1.4 wants no more than a few minutes.
const MAX_LEEWAY: Duration = Duration::from_secs(300);

/// The default of `timeout`: a client still waits for the response after that.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The default of `min_refresh_interval`: a new key is accepted that soon, and a flood of unknown
/// keys costs the authorization server a request in that time.
const MIN_REFRESH_INTERVAL: Duration = Duration::from_secs(10);

/// The default of `max_key_age`: a withdrawn key is not accepted for longer than that.
const MAX_KEY_AGE: Duration = Duration::from_secs(60 * 60);

/// The settings of a [`JwtVerifier`], from [`JwtVerifier::builder`].
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct JwtVerifierBuilder {
    issuer: String,
    jwks_url: Option<String>,
    algorithms: Vec<JwtAlgorithm>,
    leeway: Duration,
    requires_at_jwt: bool,
    timeout: Duration,
    min_refresh_interval: Duration,
    max_key_age: Duration,
}

impl JwtVerifier {
    /// Returns a builder. `issuer` is the issuer identifier of the authorization server, exactly as
    /// its tokens have it, with or without a trailing slash.
    pub fn builder(issuer: impl Into<String>) -> JwtVerifierBuilder {
        JwtVerifierBuilder::new(issuer.into())
    }

    /// Makes a verifier with the default settings, and fetches the keys. Use a
    /// [builder](Self::builder) if the service must start without the authorization server.
    ///
    /// # Errors
    ///
    /// If the issuer is not a URL, or the authorization server cannot be used.
    ///
    /// # Cancel safety
    ///
    /// This method is cancel safe: it changes nothing.
    pub async fn discover(issuer: impl Into<String>) -> Result<Self, DiscoveryError> {
        let issuer = issuer.into();
        let verifier = Self::builder(issuer.clone()).build();
        let verifier = verifier.map_err(|error| DiscoveryError { issuer, why: error.to_string() })?;
        verifier.refresh().await?;
        Ok(verifier)
    }
}

impl JwtVerifierBuilder {
    fn new(issuer: String) -> Self {
        Self {
            issuer,
            jwks_url: None,
            algorithms: JwtAlgorithm::ALL.to_vec(),
            leeway: LEEWAY,
            requires_at_jwt: false,
            timeout: TIMEOUT,
            min_refresh_interval: MIN_REFRESH_INTERVAL,
            max_key_age: MAX_KEY_AGE,
        }
    }

    /// Sets the URL of the keys, for authorization servers without metadata. Default: the
    /// `jwks_uri` of the metadata (RFC 8414, OpenID Connect Discovery).
    pub fn jwks_url(mut self, url: impl Into<String>) -> Self {
        self.jwks_url = Some(url.into());
        self
    }

    /// Sets the allowed algorithms. Default: all of [`JwtAlgorithm`].
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = JwtAlgorithm>) -> Self {
        self.algorithms = algorithms.into_iter().collect();
        self
    }

    /// Sets by how much clocks may differ, in whole seconds, at most five minutes. Default: 30
    /// seconds.
    pub fn leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// Accepts only tokens of the type `at+jwt` (RFC 9068), for authorization servers that write it.
    /// It keeps other JWTs of the same issuer out, whatever their audience. Default: `false`,
    /// because many servers write `JWT`.
    pub fn require_at_jwt(mut self, required: bool) -> Self {
        self.requires_at_jwt = required;
        self
    }

    /// Sets how long a request to the authorization server may take. Default: 5 seconds.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the shortest time between two requests for keys, whatever tokens arrive. Default: 10
    /// seconds.
    pub fn min_refresh_interval(mut self, interval: Duration) -> Self {
        self.min_refresh_interval = interval;
        self
    }

    /// Sets the age at which known keys are fetched again, before the next token is verified. They
    /// stay valid while the authorization server does not respond. Default: one hour.
    pub fn max_key_age(mut self, age: Duration) -> Self {
        self.max_key_age = age;
        self
    }

    /// Checks the settings and makes the verifier. It fetches nothing yet.
    ///
    /// # Errors
    ///
    /// If the issuer or the URL of the keys is not `https` (or `http` on a loopback name), no
    /// algorithm is allowed, the leeway is too long or the timeout is 0.
    pub fn build(self) -> Result<JwtVerifier, ConfigError> {
        let mut problems = ConfigError::none();
        let issuer = secure(&self.issuer);
        if let Err(why) = &issuer {
            problems.report("JwtVerifier::issuer", why);
        }
        if let Some(Err(why)) = self.jwks_url.as_deref().map(secure) {
            problems.report("JwtVerifier::jwks_url", why);
        }
        if self.algorithms.is_empty() {
            problems.report("JwtVerifier::algorithms", "at least one must be allowed");
        }
        if self.leeway > MAX_LEEWAY {
            problems.report("JwtVerifier::leeway", "must be at most five minutes");
        }
        if self.timeout.is_zero() {
            problems.report("JwtVerifier::timeout", "must not be 0");
        }
        let is_loopback = issuer.is_ok_and(|uri| uri.scheme_str() == Some("http"));
        let fetcher = match Fetcher::new(self.timeout, is_loopback) {
            Ok(fetcher) => fetcher,
            Err(why) => {
                problems.report("JwtVerifier::timeout", why);
                return Err(problems);
            }
        };
        problems.into_result()?;
        // The application may have chosen a provider. If it has not, and another crate switched a
        // second one on, the library could not choose either.
        if CryptoProvider::try_get_default().is_none() {
            let _chosen_meanwhile = aws_lc::DEFAULT_PROVIDER.install_default();
        }
        let pace = Pace { min_interval: self.min_refresh_interval, max_age: self.max_key_age };
        Ok(JwtVerifier {
            source: Arc::new(KeySource::new(self.issuer.clone(), self.jwks_url, fetcher, pace)),
            issuer: self.issuer,
            algorithms: self.algorithms.into_iter().map(JwtAlgorithm::to_library).collect(),
            leeway: Duration::from_secs(self.leeway.as_secs()),
            requires_at_jwt: self.requires_at_jwt,
        })
    }
}
