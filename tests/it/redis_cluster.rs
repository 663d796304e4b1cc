//! Two services on a real Redis Cluster of three masters, each with a replica.

use std::time::Duration;

use mcp_http::store::{RedisEngine, RedisOptions};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::moving_clients;
use crate::redis_server::RedisCluster;
use crate::support::App;

/// The time limit of a test: much longer than the test takes.
const LONG: Duration = Duration::from_secs(60);

async fn node(cluster: &RedisCluster) -> App {
    let options = RedisOptions::new().lease(Duration::from_secs(30)).timeout(Duration::from_secs(10));
    let engine = RedisEngine::connect_cluster(cluster.urls(), options).await.unwrap();
    App::with(|service| service.engine(engine))
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_serve_two_nodes_and_survive_failover() {
    let mut cluster = RedisCluster::start();
    let (a, b) = (node(&cluster).await, node(&cluster).await);
    let talk = async {
        moving_clients::running_calls_resume_at_the_other_node(&a, &b).await;
        moving_clients::live_streams_move_between_nodes(&a, &b).await;
        moving_clients::client_requests_are_answered_at_either_node(&a, &b).await;
        moving_clients::moved_clients_get_each_announcement_once(&a, &b).await;
        moving_clients::session_state_is_shared_by_both_nodes(&a, &b).await;
    };
    timeout(LONG * 3, talk).await.unwrap();

    let here = a.open().await;
    let there = here.at(&b);
    assert_eq!(here.text_of("count", json!({})).await, "1");
    cluster.kill_master_of("mcp:{0}:about");
    for client in [&there, &here] {
        let back = async {
            loop {
                let reply = client.call(1, "echo", json!({"message": "x"})).await;
                match reply.status.as_u16() {
                    200 => return,
                    503 => sleep(Duration::from_millis(50)).await,
                    other => panic!("{other}: {:?}", reply.rejection),
                }
            }
        };
        timeout(LONG * 2, back).await.expect("the replica takes over");
    }
    assert_eq!(there.text_of("count", json!({})).await, "2");
    let mut get = there.listen_primed().await;
    // While the nodes still reconnect to each other, a published message reaches only some of them.
    let announcing = async {
        loop {
            a.handle.tools_changed();
            sleep(Duration::from_secs(1)).await;
        }
    };
    let told = tokio::select! {
        told = timeout(LONG, get.message()) => told.expect("signals arrive after the failover"),
        () = announcing => unreachable!(),
    };
    assert_eq!(told.unwrap().json()["method"], moving_clients::TOOLS);
}
