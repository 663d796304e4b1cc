//! JSON Web Tokens: what is accepted from a real authorization server, and every known attack.

use std::time::Duration;

use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use mcp_http::auth::{JwtAlgorithm, JwtVerifier, JwtVerifierBuilder, ResourceServer};
use serde_json::{Value, json};

use super::authorization_server::{AuthorizationServer, Key, Mood, SLOW_MACHINE, TIMEOUT, seconds};
use super::{RESOURCE, bearer, protected, resource_server};
use crate::support::{App, Logs, RequestExt, initialize, ping, request};

const HOUR: Duration = Duration::from_secs(60 * 60);

/// A protected application whose verifier has settings of the test's own.
fn app(server: &AuthorizationServer, change: impl FnOnce(JwtVerifierBuilder) -> JwtVerifierBuilder) -> App {
    let builder = JwtVerifier::builder(&server.issuer).leeway(Duration::ZERO).timeout(SLOW_MACHINE);
    protected(&resource_server(change(builder).build().unwrap(), |auth| auth.max_remembered(0)), |service| service)
}

async fn status(app: &App, token: &str) -> u16 {
    let opening = request(Method::POST).message(initialize("2025-11-25", json!({})));
    app.send(bearer(opening, token)).await.status.as_u16()
}

/// Returns claims with some of them replaced; `null` removes one.
fn with(mut claims: Value, changes: Value) -> Value {
    let Value::Object(changes) = changes else { panic!("not an object") };
    for (name, value) in changes {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(&name);
        } else {
            claims[&name] = value;
        }
    }
    claims
}

/// Every algorithm of the list is accepted, and the token's claims arrive.
#[tokio::test]
async fn a_token_of_each_algorithm_is_accepted() {
    let keys = [
        Key::ec("ec"),
        Key::ed25519("ed"),
        Key::rsa("rs", Algorithm::RS256),
        Key::rsa("ps", Algorithm::PS256),
        Key::rsa("rs512", Algorithm::RS512),
    ];
    let server = AuthorizationServer::new(&keys.each_ref()).await;
    let app = app(&server, |jwt| jwt);
    for key in &keys {
        assert_eq!(status(&app, &key.sign(&server.claims(RESOURCE))).await, 200, "{:?}", key.algorithm);
        let without_id = Header { kid: None, ..key.header() };
        let token = key.sign_as(&without_id, &server.claims(RESOURCE));
        // Without an id, all keys of the algorithm are tried.
        assert_eq!(status(&app, &token).await, 200, "{:?}", key.algorithm);
    }
    assert_eq!((server.count("/jwks"), server.count("/.well-known/oauth-authorization-server")), (1, 1));
}

/// What a signature does not make good.
#[tokio::test]
async fn claims_for_other_resources_are_rejected() {
    let key = Key::ec("a");
    let server = AuthorizationServer::new(&[&key]).await;
    let app = app(&server, |jwt| jwt);
    let good = server.claims(RESOURCE);
    let rows = [
        ("as it is", json!({}), 200),
        ("audience list", json!({"aud": ["https://a.example", RESOURCE]}), 200),
        ("not before now", json!({"nbf": seconds(-5)}), 200),
        ("other audience", json!({"aud": "https://a.example/mcp"}), 401),
        ("audience list without us", json!({"aud": ["https://a.example", "https://b.example"]}), 401),
        ("audience by prefix", json!({"aud": "https://mcp.example.com"}), 401),
        ("audience with a slash", json!({"aud": format!("{RESOURCE}/")}), 401),
        ("no audience", json!({"aud": null}), 401),
        ("empty audience", json!({"aud": []}), 401),
        ("other issuer", json!({"iss": "https://login.example.org"}), 401),
        ("issuer with a slash", json!({"iss": format!("{}/", server.issuer)}), 401),
        ("issuer list", json!({"iss": [server.issuer, "https://evil.example"]}), 401),
        ("no issuer", json!({"iss": null}), 401),
        ("expired", json!({"exp": seconds(-5)}), 401),
        ("no expiry", json!({"exp": null}), 401),
        ("expiry as text", json!({"exp": "9999999999"}), 401),
        ("not yet valid", json!({"nbf": seconds(120)}), 401),
        ("no subject", json!({"sub": null}), 401),
        ("bound to a key", json!({"cnf": {"jkt": "x"}}), 401),
    ];
    for (what, changes, expected) in rows {
        let token = key.sign(&with(good.clone(), changes));
        assert_eq!(status(&app, &token).await, expected, "{what}");
    }
    let expired = key.sign(&with(good, json!({"exp": seconds(-5)})));
    let reply = app.send(bearer(request(Method::POST).message(ping(1)), &expired)).await;
    let challenge = reply.header("www-authenticate").unwrap();
    assert!(challenge.contains("error=\"invalid_token\"") && challenge.contains("has expired"), "{challenge}");
}

/// A clock may differ by the leeway.
#[tokio::test]
async fn the_leeway_applies_to_both_ends() {
    let key = Key::ec("a");
    let server = AuthorizationServer::new(&[&key]).await;
    let app = app(&server, |jwt| jwt.leeway(Duration::from_secs(60)));
    for (changes, expected) in [
        (json!({"exp": seconds(-30)}), 200),
        (json!({"nbf": seconds(30)}), 200),
        (json!({"exp": seconds(-90)}), 401),
        (json!({"nbf": seconds(90)}), 401),
    ] {
        let token = key.sign(&with(server.claims(RESOURCE), changes.clone()));
        assert_eq!(status(&app, &token).await, expected, "{changes}");
    }
}

fn unsigned(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

/// Signatures that only a careless verifier takes.
#[tokio::test]
async fn forged_signatures_are_rejected() {
    let (ec, rsa, mallory) = (Key::ec("ec"), Key::rsa("rsa", Algorithm::RS256), Key::ec("ec"));
    let server = AuthorizationServer::new(&[&ec, &rsa]).await;
    let app = app(&server, |jwt| jwt);
    let claims = server.claims(RESOURCE);
    let good = ec.sign(&claims);
    let parts: Vec<_> = good.split('.').collect();
    let hmac = |id: &str, secret: &[u8]| {
        let header = Header { kid: Some(id.to_owned()), ..Header::new(Algorithm::HS256) };
        encode(&header, &claims, &EncodingKey::from_secret(secret).unwrap()).unwrap()
    };
    let other = with(claims.clone(), json!({"sub": "admin"}));
    let swapped = [parts[0], &URL_SAFE_NO_PAD.encode(other.to_string()), parts[2]].join(".");
    let mut own_key = mallory.header();
    own_key.jwk = serde_json::from_value(mallory.public.clone()).unwrap();
    own_key.jku = Some(format!("{}/evil", server.issuer));
    own_key.x5u = Some(format!("{}/evil", server.issuer));
    let another_type = Header { kid: Some("rsa".to_owned()), ..ec.header() };
    let critical = unsigned(&json!({"alg": "ES256", "kid": "ec", "crit": ["x"], "x": 1}), &claims, parts[2]);
    let rows = [
        ("alg none", unsigned(&json!({"alg": "none", "kid": "ec"}), &claims, "")),
        ("alg NONE", unsigned(&json!({"alg": "NONE"}), &claims, "AA")),
        ("no alg", unsigned(&json!({"kid": "ec"}), &claims, parts[2])),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{good}.AA")),
        ("HS256 by the modulus", hmac("rsa", super::rsa_key::MODULUS.as_bytes())),
        ("HS256 by the point", hmac("ec", ec.public["x"].as_str().unwrap().as_bytes())),
        ("HS256 by the JWK", hmac("ec", ec.public.to_string().as_bytes())),
        ("other claims", swapped),
        ("another key of the same id", mallory.sign(&claims)),
        ("a key in the header", mallory.sign_as(&own_key, &claims)),
        ("the id of a key of another type", ec.sign_as(&another_type, &claims)),
        (
            "RS256 under the id of an EC key",
            rsa.sign_as(&Header { kid: Some("ec".to_owned()), ..rsa.header() }, &claims),
        ),
        ("critical header", critical),
        ("of another type", ec.sign_as(&Header { typ: Some("dpop+jwt".to_owned()), ..ec.header() }, &claims)),
        ("an ID token by type", ec.sign_as(&Header { typ: Some("id_token+jwt".to_owned()), ..ec.header() }, &claims)),
        ("not base64", "a.b.c".to_owned()),
        ("not a JWT", "opaque".to_owned()),
    ];
    assert_eq!(status(&app, &good).await, 200);
    for (what, token) in rows {
        assert_eq!(status(&app, &token).await, 401, "{what}");
    }
    assert!(!server.paths().iter().any(|path| path.contains("evil")), "{:?}", server.paths());
}

/// The allow-list and the type can be narrowed.
#[tokio::test]
async fn algorithms_and_types_can_be_narrowed() {
    let (ec, rsa) = (Key::ec("ec"), Key::rsa("rsa", Algorithm::RS256));
    let server = AuthorizationServer::new(&[&ec, &rsa]).await;
    let app = app(&server, |jwt| jwt.algorithms([JwtAlgorithm::ES256]).require_at_jwt(true));
    let claims = server.claims(RESOURCE);
    for (typ, expected) in [(Some("at+jwt"), 200), (Some("application/AT+JWT"), 200), (Some("JWT"), 401), (None, 401)] {
        let header = Header { typ: typ.map(ToOwned::to_owned), ..ec.header() };
        assert_eq!(status(&app, &ec.sign_as(&header, &claims)).await, expected, "{typ:?}");
    }
    let header = Header { typ: Some("at+jwt".to_owned()), ..rsa.header() };
    assert_eq!(status(&app, &rsa.sign_as(&header, &claims)).await, 401);
}

/// A key id is only compared. A flood of unknown ones costs the authorization server one request.
#[tokio::test]
async fn many_unknown_key_ids_cause_one_fetch() {
    let key = Key::ec("a");
    let server = AuthorizationServer::new(&[&key]).await;
    let app = app(&server, |jwt| jwt.min_refresh_interval(HOUR));
    let claims = server.claims(RESOURCE);
    let ids = (0..100).map(|number| format!("unknown-{number}"));
    let evil = format!("{}/evil", server.issuer);
    let odd = ["../../etc/passwd", "/dev/null", "' OR 1=1 --", "a\0", "", &evil, "https://evil.example/jwks"];
    let tokens =
        ids.chain(odd.map(ToOwned::to_owned)).map(|id| key.sign_as(&Header { kid: Some(id), ..key.header() }, &claims));
    let tokens: Vec<_> = tokens.collect();
    let rejected = futures_util::future::join_all(tokens.iter().map(|token| status(&app, token))).await;
    assert!(rejected.iter().all(|status| *status == 401), "{rejected:?}");
    assert_eq!(status(&app, &key.sign(&claims)).await, 200);
    assert_eq!(server.paths(), ["/.well-known/oauth-authorization-server", "/jwks"]);
    assert_eq!(server.count("/jwks"), 1);
    // Tokens of other issuers cause none at all.
    let foreign = key.sign(&with(claims, json!({"iss": "https://evil.example"})));
    assert_eq!(status(&app, &foreign).await, 401);
    assert_eq!(server.count("/jwks"), 1);
}

/// A new key is found by its id, and a withdrawn key is forgotten.
#[tokio::test]
async fn keys_can_be_rotated() {
    let (old, new) = (Key::ec("old"), Key::ed25519("new"));
    let server = AuthorizationServer::new(&[&old]).await;
    let app = app(&server, |jwt| jwt.min_refresh_interval(Duration::ZERO));
    let claims = server.claims(RESOURCE);
    assert_eq!(status(&app, &old.sign(&claims)).await, 200);
    server.publish(&[&old, &new]);
    assert_eq!(status(&app, &new.sign(&claims)).await, 200);
    assert_eq!(status(&app, &old.sign(&claims)).await, 200);
    assert_eq!(server.count("/jwks"), 2);
    server.publish(&[&new]);
    // Any unknown id shows that the old key is gone.
    assert_eq!(status(&app, &new.sign_as(&Header { kid: Some("x".to_owned()), ..new.header() }, &claims)).await, 401);
    assert_eq!(status(&app, &old.sign(&claims)).await, 401);
}

/// Tokens without a key id: a signature that no known key fits causes a fetch.
#[tokio::test]
async fn keys_without_ids_can_be_rotated() {
    let (old, new) = (Key::ec("old"), Key::ec("new"));
    let server = AuthorizationServer::new(&[&old]).await;
    let app = app(&server, |jwt| jwt.min_refresh_interval(Duration::ZERO));
    let claims = server.claims(RESOURCE);
    let nameless = |key: &Key| key.sign_as(&Header { kid: None, ..key.header() }, &claims);
    assert_eq!(status(&app, &nameless(&old)).await, 200);
    server.publish(&[&new]);
    assert_eq!(status(&app, &nameless(&new)).await, 200);
    // The remembered token of the withdrawn key is verified again.
    assert_eq!(status(&app, &nameless(&old)).await, 401);
}

/// A key that was withdrawn while no token arrived is not accepted afterwards.
#[tokio::test]
async fn old_keys_are_fetched_before_they_are_used() {
    let (old, new) = (Key::ec("old"), Key::ec("new"));
    let server = AuthorizationServer::new(&[&old]).await;
    let verifier = |jwt: JwtVerifierBuilder| jwt.min_refresh_interval(Duration::ZERO).max_key_age(Duration::ZERO);
    let app = app(&server, verifier);
    let claims = server.claims(RESOURCE);
    assert_eq!(status(&app, &old.sign(&claims)).await, 200);
    server.publish(&[&new]);
    let later = with(claims, json!({"jti": "another"}));
    assert_eq!(status(&app, &old.sign(&later)).await, 401);
}

/// While the authorization server is away, known keys are used, and all else is unavailable.
#[tokio::test]
async fn known_keys_outlive_their_server() {
    let (known, unknown) = (Key::ec("known"), Key::ec("unknown"));
    let mut server = AuthorizationServer::new(&[&known]).await;
    // Old keys are fetched in the background: each use tries it.
    let app = app(&server, |jwt| jwt.min_refresh_interval(Duration::ZERO).max_key_age(Duration::ZERO));
    let claims = server.claims(RESOURCE);
    let (good, other) = (known.sign(&claims), unknown.sign(&claims));
    server.stop().await;
    assert_eq!(status(&app, &good).await, 503, "nothing is known yet");
    server.start().await;
    assert_eq!(status(&app, &good).await, 200);
    server.stop().await;
    for _ in 0..3 {
        assert_eq!(status(&app, &good).await, 200);
        assert_eq!(status(&app, &other).await, 503);
    }
    let reply = app.send(bearer(request(Method::POST).message(ping(1)), &other)).await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (503, Some("10")));
    server.start().await;
    server.publish(&[&known, &unknown]);
    assert_eq!(status(&app, &other).await, 200);
}

/// An authorization server that misbehaves costs a bounded time and nothing else.
#[tokio::test]
async fn misbehaving_servers_count_as_unavailable() {
    let key = Key::ec("a");
    for mood in [Mood::Impostor, Mood::Redirects, Mood::Slow, Mood::Huge, Mood::HugeUntold, Mood::Fails, Mood::NotJson]
    {
        let server = AuthorizationServer::new(&[&key]).await;
        server.set_mood(mood);
        let app = app(&server, |jwt| jwt.min_refresh_interval(Duration::ZERO).timeout(TIMEOUT));
        let logs = Logs::capture();
        let token = key.sign(&server.claims(RESOURCE));
        let (first, second) = tokio::join!(status(&app, &token), status(&app, &token));
        assert_eq!((first, second), (503, 503), "{mood:?}");
        assert_eq!(server.count("/jwks"), 0, "{mood:?}: redirects are not followed");
        assert!(server.count("/.well-known/oauth-authorization-server") <= 2, "{mood:?}");
        assert!(!logs.text().contains(&token), "{mood:?}");
        server.set_mood(Mood::Good);
        assert_eq!(status(&app, &token).await, 200, "{mood:?}");
    }
}

/// Metadata is found in each of its places, and compared with the issuer as text.
#[tokio::test]
async fn metadata_is_found_at_each_url() {
    let key = Key::ec("a");
    for path in ["", "/", "/tenant1"] {
        for oidc_only in [false, true] {
            let server = AuthorizationServer::at(path, &[&key]).await;
            if oidc_only {
                server.set_oidc_only();
            }
            let verifier = JwtVerifier::discover(&server.issuer).await.unwrap();
            let app = protected(&resource_server(verifier, |auth| auth), |service| service);
            assert_eq!(status(&app, &key.sign(&server.claims(RESOURCE))).await, 200, "{path} {oidc_only}");
            assert_eq!(server.count("/jwks"), 1);
        }
    }
    let server = AuthorizationServer::new(&[&key]).await;
    let wrong = JwtVerifier::discover(format!("{}/", server.issuer)).await.unwrap_err();
    assert!(wrong.to_string().contains("its metadata is of the issuer"), "{wrong}");
    server.set_mood(Mood::Fails);
    assert!(JwtVerifier::discover(&server.issuer).await.is_err());
    assert!(JwtVerifier::discover("http://login.example.com").await.is_err());
    server.set_mood(Mood::Good);
    let builder = JwtVerifier::builder(&server.issuer).jwks_url(format!("{}/jwks", server.issuer));
    let before = server.paths().len();
    builder.build().unwrap().refresh().await.unwrap();
    assert_eq!(server.paths().len(), before + 1, "no metadata is needed");
}

/// A remembered token is used until it expires, without its authorization server.
#[tokio::test]
async fn a_verified_token_is_remembered_until_it_expires() {
    let key = Key::ec("a");
    let mut server = AuthorizationServer::new(&[&key]).await;
    let verifier = JwtVerifier::builder(&server.issuer).leeway(Duration::ZERO).build().unwrap();
    let auth: ResourceServer = resource_server(verifier, |auth| auth);
    let app = protected(&auth, |service| service);
    let token = key.sign(&with(server.claims(RESOURCE), json!({"exp": seconds(5)})));
    assert_eq!(status(&app, &token).await, 200);
    server.stop().await;
    assert_eq!(status(&app, &token).await, 200);
    let altered = format!("{}A", &token[..token.len() - 1]);
    assert_eq!(status(&app, &altered).await, if altered == token { 200 } else { 401 });
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(status(&app, &token).await, 401);
}

/// Settings of the verifier are checked together.
#[test]
fn settings_are_checked_together() {
    let error = JwtVerifier::builder("http://login.example.com")
        .jwks_url("ftp://x")
        .algorithms([])
        .leeway(Duration::from_secs(301))
        .timeout(Duration::ZERO)
        .build()
        .unwrap_err();
    let expected = ["issuer", "jwks_url", "algorithms", "leeway", "timeout"].map(|name| format!("JwtVerifier::{name}"));
    assert_eq!(error.settings().collect::<Vec<_>>(), expected);
}
