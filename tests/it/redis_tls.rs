//! A Redis server behind TLS: two services that use it, and connections that fail.

use std::error::Error;
use std::time::Duration;

use mcp_http::store::{ConnectError, RedisEngine, RedisOptions};
use serde_json::json;
use tokio::time::timeout;

use crate::authority::{Authority, Papers};
use crate::moving_clients;
#[cfg(feature = "redis-cluster")]
use crate::redis_server::RedisCluster;
use crate::redis_server::RedisServer;
use crate::support::{App, text_of};
use crate::tasks;

const HOST: &str = "127.0.0.1";

/// A server that requires client certificates, and the authority that signed both certificates.
struct Behind {
    authority: Authority,
    client: Papers,
    server: RedisServer,
}

impl Behind {
    fn tls_of(host: &str) -> Self {
        let authority = Authority::new();
        let own = authority.papers(host);
        let server = RedisServer::start_over_tls(&authority.pem(), &own.certificate, &own.key);
        Self { client: authority.papers("a client"), authority, server }
    }

    fn options(&self) -> RedisOptions {
        lenient_options()
            .tls_authorities(self.authority.pem())
            .tls_identity(&*self.client.certificate, &*self.client.key)
    }

    async fn engine(&self) -> RedisEngine {
        RedisEngine::connect_with(self.server.url(), self.options()).await.unwrap()
    }

    async fn node(&self) -> App {
        let engine = self.engine().await;
        App::with(|service| service.engine(engine))
    }

    async fn connect_error(&self, options: RedisOptions) -> ConnectError {
        rejected(&self.server.url(), options).await
    }
}

/// The time limit of a test: much longer than the test takes.
const LONG: Duration = Duration::from_secs(60);

/// Options with which no node counts as lost, however busy the machine is.
fn lenient_options() -> RedisOptions {
    RedisOptions::new().lease(Duration::from_secs(30)).timeout(Duration::from_secs(10))
}

async fn rejected(url: &str, options: RedisOptions) -> ConnectError {
    let options = options.timeout(Duration::from_secs(5));
    let connected = timeout(LONG, RedisEngine::connect_with(url, options)).await;
    connected.expect("it gives up").expect_err("it is rejected")
}

/// Returns the text of an error with its sources.
fn whole(error: &ConnectError) -> String {
    let (mut text, mut reason) = (error.to_string(), error.source());
    while let Some(error) = reason {
        text += &format!(": {error}");
        reason = error.source();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_work_over_tls() {
    let behind = Behind::tls_of(HOST);
    let (a, b) = (behind.node().await, behind.node().await);
    let talk = async {
        moving_clients::running_calls_resume_at_the_other_node(&a, &b).await;
        moving_clients::live_streams_move_between_nodes(&a, &b).await;
        moving_clients::client_requests_are_answered_at_either_node(&a, &b).await;
        moving_clients::calls_are_cancelled_at_either_node(&a, &b).await;
        moving_clients::moved_clients_get_each_announcement_once(&a, &b).await;
        moving_clients::sessions_end_at_both_nodes(&a, &b).await;
        tasks::tasks_are_served_by_either_node(behind.engine().await, behind.engine().await).await;
    };
    timeout(LONG * 3, talk).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn restarted_tls_servers_are_used_again() {
    let mut behind = Behind::tls_of(HOST);
    let (a, b) = (behind.node().await, behind.node().await);
    let here = a.open().await;
    let there = here.at(&b);
    let mut get = there.listen_primed().await;
    assert_eq!(here.text_of("count", json!({})).await, "1");
    behind.server.kill();
    behind.server.start_again();
    let back = async {
        loop {
            let reply = here.call(1, "count", json!({})).await;
            match reply.status.as_u16() {
                200 => return text_of(reply).await,
                503 => tokio::time::sleep(Duration::from_millis(50)).await,
                other => panic!("{other}: {:?}", reply.rejection),
            }
        }
    };
    assert_eq!(timeout(LONG, back).await.unwrap(), "2");
    a.handle.tools_changed();
    let told = timeout(LONG, get.message()).await.expect("signals arrive again").unwrap();
    assert_eq!(told.json()["method"], moving_clients::TOOLS);
}

#[tokio::test]
async fn servers_with_unknown_authorities_are_rejected() {
    const SAID: &str = "the certificate of the Redis server does not count: it is for another host or another time, or of \
                        an authority that is unknown here (`RedisOptions::tls_authorities` names others)";
    let behind = Behind::tls_of(HOST);
    for options in [lenient_options(), lenient_options().tls_authorities(Authority::new().pem())] {
        let error = behind.connect_error(options).await;
        assert_eq!(error.to_string(), SAID);
        assert!(whole(&error).contains(": invalid peer certificate: "), "{}", whole(&error));
    }
    let behind = Behind::tls_of("redis.example.com");
    let error = behind.connect_error(behind.options()).await;
    assert_eq!(error.to_string(), SAID);
    assert!(whole(&error).contains("redis.example.com"), "{}", whole(&error));
}

#[tokio::test]
async fn missing_client_certificates_are_reported() {
    let behind = Behind::tls_of(HOST);
    let error = behind.connect_error(lenient_options().tls_authorities(behind.authority.pem())).await;
    assert!(whole(&error).contains("CertificateRequired"), "{}", whole(&error));
}

#[tokio::test]
async fn tls_urls_never_connect_in_plain() {
    let (plain, behind) = (RedisServer::start(), Behind::tls_of(HOST));
    let error = rejected(&plain.url(), behind.options()).await;
    assert!(whole(&error).contains("rediss://"), "{}", whole(&error));
    let error = rejected(&plain.url().replace("redis", "rediss"), behind.options()).await;
    assert_eq!(error.to_string(), "the Redis server cannot be used");
    let error = rejected(&format!("{}#insecure", behind.server.url()), lenient_options()).await;
    assert_eq!(error.to_string(), "the Redis server cannot be used");
    let error = rejected(&behind.server.url().replace("rediss", "redis"), lenient_options()).await;
    assert_eq!(error.to_string(), "the Redis server cannot be used");
}

#[tokio::test]
async fn invalid_certificates_are_rejected_at_start() {
    let behind = Behind::tls_of(HOST);
    for options in [
        lenient_options().tls_authorities("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        behind.options().tls_identity(&*behind.client.certificate, "no key"),
    ] {
        let error = behind.connect_error(options).await;
        assert!(error.source().is_some(), "{}", whole(&error));
    }
}

#[cfg(feature = "redis-cluster")]
#[tokio::test(flavor = "multi_thread")]
async fn clusters_work_over_tls() {
    let authority = Authority::new();
    let (own, client) = (authority.papers(HOST), authority.papers("a client"));
    let cluster = RedisCluster::start_over_tls(&authority.pem(), &own.certificate, &own.key);
    let options = lenient_options().tls_authorities(authority.pem()).tls_identity(client.certificate, client.key);
    let node = async || {
        let engine = RedisEngine::connect_cluster(cluster.urls(), options.clone()).await.unwrap();
        App::with(|service| service.engine(engine))
    };
    let (a, b) = (node().await, node().await);
    let talk = async {
        moving_clients::running_calls_resume_at_the_other_node(&a, &b).await;
        moving_clients::client_requests_are_answered_at_either_node(&a, &b).await;
        moving_clients::moved_clients_get_each_announcement_once(&a, &b).await;
    };
    timeout(LONG * 3, talk).await.unwrap();
    let distrusting = RedisOptions::new().timeout(Duration::from_secs(1));
    assert!(RedisEngine::connect_cluster(cluster.urls(), distrusting).await.is_err(), "no authority is trusted");
}
