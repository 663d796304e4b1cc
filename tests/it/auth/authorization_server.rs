//! An authorization server on a real socket: metadata, keys and introspection, with every way to
//! misbehave.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::rsa_key;

/// A key that signs, and its public part.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) algorithm: Algorithm,
    key: EncodingKey,
    pub(super) public: Value,
}

impl Key {
    pub(super) fn ec(id: &str) -> Self {
        let pair = KeyPair::generate().unwrap();
        let point = pair.public_key_raw();
        let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        let public = json!({"kty": "EC", "crv": "P-256", "kid": id, "use": "sig", "x": part(1..33), "y": part(33..65)});
        let key = EncodingKey::from_ec_der(&pair.serialize_der());
        Self { id: id.to_owned(), algorithm: Algorithm::ES256, key, public }
    }

    pub(super) fn ed25519(id: &str) -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let public =
            json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": URL_SAFE_NO_PAD.encode(pair.public_key_raw())});
        let key = EncodingKey::from_ed_der(&pair.serialize_der());
        Self { id: id.to_owned(), algorithm: Algorithm::EdDSA, key, public }
    }

    pub(super) fn rsa(id: &str, algorithm: Algorithm) -> Self {
        let key = EncodingKey::from_rsa_der(&STANDARD.decode(rsa_key::PRIVATE).unwrap());
        let public = json!({"kty": "RSA", "kid": id, "n": rsa_key::MODULUS, "e": rsa_key::EXPONENT});
        Self { id: id.to_owned(), algorithm, key, public }
    }

    pub(super) fn header(&self) -> Header {
        Header { kid: Some(self.id.clone()), ..Header::new(self.algorithm) }
    }

    /// Signs claims.
    pub(super) fn sign(&self, claims: &Value) -> String {
        self.sign_as(&self.header(), claims)
    }

    /// Signs claims under a header of the test's own.
    pub(super) fn sign_as(&self, header: &Header, claims: &Value) -> String {
        encode(header, claims, &self.key).unwrap()
    }
}

/// Returns the time of day in seconds, moved by an offset.
pub(super) fn seconds(offset: i64) -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap() + offset
}

/// How the server behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Good,
    /// Sends the metadata of another issuer.
    Impostor,
    Redirects,
    /// Sends the head of a response, and the body never.
    Slow,
    /// Sends 100 MB, with or without saying so before.
    Huge,
    HugeUntold,
    Fails,
    NotJson,
}

struct Inner {
    issuer: String,
    mood: Mood,
    keys: Vec<Value>,
    /// The claims of each token that introspection knows.
    tokens: HashMap<String, Value>,
    /// How often each path was asked for.
    counts: HashMap<String, usize>,
    forms: Vec<(String, String)>,
    oidc_only: bool,
}

/// An authorization server. It ends when this value is dropped.
pub(super) struct AuthorizationServer {
    addr: SocketAddr,
    pub(super) issuer: String,
    inner: Arc<Mutex<Inner>>,
    task: Option<JoinHandle<()>>,
}

impl AuthorizationServer {
    pub(super) async fn new(keys: &[&Key]) -> Self {
        Self::at("", keys).await
    }

    /// Starts a server whose issuer has a path.
    pub(super) async fn at(path: &str, keys: &[&Key]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let issuer = format!("http://{addr}{path}");
        let inner = Inner {
            issuer: issuer.clone(),
            mood: Mood::Good,
            keys: keys.iter().map(|key| key.public.clone()).collect(),
            tokens: HashMap::new(),
            counts: HashMap::new(),
            forms: Vec::new(),
            oidc_only: false,
        };
        let mut server = Self { addr, issuer, inner: Arc::new(Mutex::new(inner)), task: None };
        server.serve(listener);
        server
    }

    fn serve(&mut self, listener: TcpListener) {
        let app = Router::new().fallback(answer).with_state(Arc::clone(&self.inner));
        self.task = Some(tokio::spawn(async move { axum::serve(listener, app).await.unwrap() }));
    }

    /// Ends the server. Its port stays free for `start`.
    pub(super) async fn stop(&mut self) {
        let task = self.task.take().unwrap();
        task.abort();
        let _cancelled = task.await;
    }

    pub(super) async fn start(&mut self) {
        let listener = TcpListener::bind(self.addr).await.unwrap();
        self.serve(listener);
    }

    pub(super) fn publish(&self, keys: &[&Key]) {
        self.inner.lock().unwrap().keys = keys.iter().map(|key| key.public.clone()).collect();
    }

    pub(super) fn set_mood(&self, mood: Mood) {
        self.inner.lock().unwrap().mood = mood;
    }

    pub(super) fn set_oidc_only(&self) {
        self.inner.lock().unwrap().oidc_only = true;
    }

    /// Makes introspection know a token.
    pub(super) fn issue(&self, token: &str, claims: Value) {
        self.inner.lock().unwrap().tokens.insert(token.to_owned(), claims);
    }

    /// Returns how often a path was asked for.
    pub(super) fn count(&self, path: &str) -> usize {
        self.inner.lock().unwrap().counts.get(path).copied().unwrap_or_default()
    }

    /// Returns all paths that were asked for.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths: Vec<_> = self.inner.lock().unwrap().counts.keys().cloned().collect();
        paths.sort();
        paths
    }

    /// Returns the Authorization header and the form of each introspection.
    pub(super) fn forms(&self) -> Vec<(String, String)> {
        self.inner.lock().unwrap().forms.clone()
    }

    /// Returns good claims of a token for this resource.
    pub(super) fn claims(&self, resource: &str) -> Value {
        json!({
            "iss": self.issuer, "sub": "alice", "aud": resource, "client_id": "cli", "scope": "files:read",
            "iat": seconds(0), "exp": seconds(300), "jti": "1",
        })
    }
}

impl Drop for AuthorizationServer {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn answer(State(inner): State<Arc<Mutex<Inner>>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let form = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let mut inner = inner.lock().unwrap();
    *inner.counts.entry(path.clone()).or_default() += 1;
    match inner.mood {
        Mood::Good | Mood::Impostor => {}
        Mood::Redirects => return (StatusCode::FOUND, [(header::LOCATION, "/jwks")]).into_response(),
        Mood::Slow => {
            return Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, String>>()).into_response();
        }
        Mood::Huge => return vec![b' '; 100 << 20].into_response(),
        Mood::HugeUntold => {
            let chunks = futures_util::stream::repeat_with(|| Ok::<_, String>(vec![b' '; 64 << 10]));
            return Body::from_stream(futures_util::StreamExt::take(chunks, 1600)).into_response();
        }
        Mood::Fails => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Mood::NotJson => return "<html>sign in</html>".into_response(),
    }
    let origin = inner.issuer.split('/').take(3).collect::<Vec<_>>().join("/");
    let tenant = inner.issuer[origin.len()..].trim_end_matches('/').to_owned();
    let issuer = if inner.mood == Mood::Impostor { format!("{}/", inner.issuer) } else { inner.issuer.clone() };
    let metadata = json!({"issuer": issuer, "jwks_uri": format!("{origin}/jwks")});
    let oauth = format!("/.well-known/oauth-authorization-server{tenant}");
    let oidc = format!("{tenant}/.well-known/openid-configuration");
    let document = match &*path {
        "/jwks" => json!({ "keys": inner.keys }),
        "/introspect" => {
            let authorization = parts.headers[header::AUTHORIZATION].to_str().unwrap().to_owned();
            let form = String::from_utf8(form.to_vec()).unwrap();
            let token = form.split('&').find_map(|pair| pair.strip_prefix("token=")).unwrap().to_owned();
            inner.forms.push((authorization, form));
            inner.tokens.get(&token).cloned().unwrap_or(json!({"active": false}))
        }
        path if path == oauth && !inner.oidc_only => metadata,
        path if path == oidc => metadata,
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    axum::Json(document).into_response()
}

/// How long a verifier waits in tests in which the server responds, however busy the machine is.
pub(super) const SLOW_MACHINE: Duration = Duration::from_secs(60);

/// How long a verifier waits in tests in which the server does not respond.
pub(super) const TIMEOUT: Duration = Duration::from_secs(2);
