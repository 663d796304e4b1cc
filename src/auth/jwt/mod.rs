//! JSON Web Tokens: verifies access tokens by the published keys of their authorization server (RFC
//! 7519, RFC 9068).

mod builder;
pub(super) mod claims;
mod discovery;
mod keys;
mod source;
mod verifier;

pub use self::builder::{JwtAlgorithm, JwtVerifierBuilder};
pub use self::verifier::{DiscoveryError, JwtVerifier};
