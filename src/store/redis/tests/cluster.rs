//! Tests of what only a cluster does: it moves keys between its nodes, and it loses signals.

use super::redis_server::RedisCluster;
use super::*;

/// A node of the cluster, with the commands of an operator.
struct Master {
    id: String,
    port: String,
}

impl Master {
    fn ask(&self, command: &[&str]) -> String {
        let output = Command::new("redis-cli").args(["-p", &self.port]).args(command).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn keys(&self, slot: &str) -> Vec<String> {
        self.ask(&["cluster", "getkeysinslot", slot, "1000"]).lines().map(str::to_owned).collect()
    }

    fn give(&self, other: &Self, keys: &[&str]) {
        let command = ["migrate", "127.0.0.1", &other.port, "", "0", "5000", "keys"];
        assert_eq!(self.ask(&[&command[..], keys].concat()), "OK");
    }
}

/// Returns the slot of the engine and all masters, the owner of the slot first.
fn masters(cluster: &RedisCluster) -> (String, Vec<Master>) {
    let urls = cluster.urls();
    let port = urls[0].trim_end_matches('/').rsplit(':').next().unwrap();
    let any = Master { id: String::new(), port: port.to_owned() };
    let slot = any.ask(&["cluster", "keyslot", &key("about")]);
    let number: u32 = slot.parse().unwrap();
    let nodes = any.ask(&["cluster", "nodes"]);
    let mut masters: Vec<(bool, Master)> = nodes
        .lines()
        .filter(|line| line.contains("master"))
        .map(|line| {
            let mut words = line.split(' ');
            let (id, address) = (words.next().unwrap().to_owned(), words.next().unwrap());
            let port = address.split('@').next().unwrap().rsplit(':').next().unwrap().to_owned();
            let mut ranges = words.skip(6).filter_map(|range| range.split_once('-'));
            let is_ours = ranges.any(|(from, to)| (from.parse().unwrap()..=to.parse().unwrap()).contains(&number));
            (!is_ours, Master { id, port })
        })
        .collect();
    masters.sort_by_key(|(others, _)| *others);
    (slot, masters.into_iter().map(|(_, master)| master).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn moving_slots_reject_operations_and_lose_nothing() {
    let cluster = RedisCluster::start();
    let (slot, masters) = masters(&cluster);
    let [from, to, ..] = &masters[..] else { panic!("{} masters", masters.len()) };
    let join =
        async |options: RedisOptions| Node::on(RedisEngine::connect_cluster(cluster.urls(), options).await.unwrap());
    let (node, hasty) = (join(options()).await, join(options().timeout(Duration::from_millis(500))).await);
    let session = node.session().await;
    node.begin(session, 1).await.unwrap();
    let nothing_happens = async |when: &str| {
        for step in [hasty.engine.load(session, None).await.map(drop), hasty.begin(session, 2).await.map(drop)] {
            assert_eq!(step.unwrap_err().kind(), StoreErrorKind::Unavailable, "{when}");
        }
        let create = hasty.engine.create(opening(None)).await;
        assert_eq!(create.unwrap_err().kind(), StoreErrorKind::Unavailable, "{when}");
    };
    to.ask(&["cluster", "setslot", &slot, "importing", &from.id]);
    from.ask(&["cluster", "setslot", &slot, "migrating", &to.id]);
    nothing_happens("before a key moved").await;
    let about = key("about");
    let others: Vec<String> = from.keys(&slot).into_iter().filter(|key| *key != about).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    let (some, rest) = others.split_at(others.len() / 2);
    from.give(to, some);
    nothing_happens("with half of the keys on either side").await;
    from.give(to, &[&about]);
    nothing_happens("after what all agree on").await;
    from.give(to, rest);
    nothing_happens("before it is said who has them").await;
    assert_eq!((from.keys(&slot).len(), to.keys(&slot).len()), (0, others.len() + 1), "somebody wrote");
    for master in [to, from, &masters[2]] {
        master.ask(&["cluster", "setslot", &slot, "node", &to.id]);
    }
    node.begin(session, 3).await.unwrap();
    assert_eq!(node.in_use().await, (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_reveal_lost_signals() {
    let cluster = RedisCluster::start();
    let (_, masters) = masters(&cluster);
    let join = async || Node::on(RedisEngine::connect_cluster(cluster.urls(), options()).await.unwrap());
    let (here, there) = (join().await, join().await);
    let session = here.session().await;
    here.attach(session, STANDALONE).await.unwrap();
    here.ear.clear();
    for (id, topic) in ["a", "b", "c"].into_iter().enumerate() {
        there.engine.announce(topic, id as u64).await.unwrap();
        let note = Event { kind: EventKind::Notification, payload: topic.into() };
        there.engine.publish(session, there.id, note).await.unwrap();
        heartbeat::begin(&here.engine.inner.client).await;
    }
    for name in [format!("bell:{}", here.engine.inner.client.signals.process()), "bells".to_owned()] {
        let looked = here.ear.received.lock().unwrap().iter().filter(|signal| **signal == Signal::Resync).count();
        assert_eq!(looked, 0, "all of them had been heard");
        masters[0].ask(&["hincrby", &key("rung"), &name, "1"]);
        heartbeat::begin(&here.engine.inner.client).await;
        here.ear.receives(&Signal::Resync).await;
        here.ear.clear();
    }
}
