//! Every engine of this crate keeps the contract of engines.

use std::sync::Arc;
use std::time::Duration;

use mcp_http::store::contract::{Backend, Nodes, RULES, Rule};
use mcp_http::store::{MemoryEngine, SessionEngine, Step};
use tokio::runtime::{Builder, Runtime};

/// Follows the paused clock where there is one; elsewhere the timed rules are skipped.
#[derive(Clone, Copy)]
struct Memory {
    timed: bool,
}

impl Backend for Memory {
    fn fresh(&self) -> Step<[Arc<dyn SessionEngine>; 2]> {
        let engine = MemoryEngine::new();
        Step::ready([Arc::new(engine.clone()), Arc::new(engine)])
    }

    fn tick(&self) -> Option<Duration> {
        self.timed.then_some(Duration::from_secs(1))
    }
}

/// Runs every rule, then says which ones are broken.
fn keeps_every_rule(runtime: &Runtime, backend: &(impl Backend + Clone + Send + 'static), nodes: Nodes) {
    let broken: Vec<String> = RULES.iter().filter_map(|rule| broken(runtime, backend.clone(), nodes, rule)).collect();
    assert!(broken.is_empty(), "{} of {} rules:\n{}", broken.len(), RULES.len(), broken.join("\n"));
}

fn broken(
    runtime: &Runtime,
    backend: impl Backend + Send + 'static,
    nodes: Nodes,
    rule: &'static Rule,
) -> Option<String> {
    let check = runtime.spawn(async move {
        let checked = rule.check(&backend, nodes);
        tokio::time::timeout(Duration::from_secs(3600), checked).await
    });
    match runtime.block_on(check) {
        Ok(Ok(())) => None,
        Ok(Err(_)) => Some(format!("{rule}: does not end")),
        Err(error) => {
            let panic = error.into_panic();
            Some(panic.downcast_ref::<String>().cloned().unwrap_or_else(|| rule.to_string()))
        }
    }
}

fn paused() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

fn threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
}

#[test]
fn one_node_keeps_the_contract() {
    keeps_every_rule(&paused(), &Memory { timed: true }, Nodes::One);
}

#[test]
fn two_nodes_keep_the_contract() {
    keeps_every_rule(&paused(), &Memory { timed: true }, Nodes::Two);
}

#[test]
fn one_node_keeps_the_contract_under_threads() {
    keeps_every_rule(&threads(), &Memory { timed: false }, Nodes::One);
}

#[test]
fn two_nodes_keep_the_contract_under_threads() {
    let runtime = threads();
    for _ in 0..5 {
        keeps_every_rule(&runtime, &Memory { timed: false }, Nodes::Two);
    }
}

#[cfg(feature = "file")]
mod file {
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};

    use mcp_http::store::{Durability, FileEngine};
    use tempfile::TempDir;

    use super::*;

    /// The engine's writer is a thread, which a paused clock does not wait for: when everybody waits
    /// for the writer, it would go on to the next deadline. While a blocking task runs it stands
    /// still, and moves only where a rule lets time pass.
    #[derive(Clone)]
    struct Files {
        durability: Durability,
        timed: bool,
        folders: Arc<Mutex<Vec<TempDir>>>,
        stands_still: Arc<Mutex<Option<Sender<()>>>>,
    }

    /// A rule that takes longer has met a ring that never comes: then its deadline counts.
    const WATCHDOG: Duration = Duration::from_secs(60);

    impl Files {
        fn new(durability: Durability, timed: bool) -> Self {
            Self { durability, timed, folders: Arc::default(), stands_still: Arc::default() }
        }
    }

    impl Backend for Files {
        fn fresh(&self) -> Step<[Arc<dyn SessionEngine>; 2]> {
            let folder = TempDir::new().unwrap();
            let engine = FileEngine::open(folder.path(), self.durability).unwrap();
            self.folders.lock().unwrap().push(folder);
            if self.timed {
                let (moves, stopped) = channel();
                tokio::task::spawn_blocking(move || stopped.recv_timeout(WATCHDOG));
                *self.stands_still.lock().unwrap() = Some(moves);
            }
            Step::ready([Arc::new(engine.clone()), Arc::new(engine)])
        }

        fn tick(&self) -> Option<Duration> {
            self.timed.then_some(Duration::from_secs(1))
        }

        fn pass(&self, time: Duration) -> Step<()> {
            Step::later(tokio::time::advance(time))
        }
    }

    #[test]
    fn one_node_keeps_the_contract_in_files() {
        keeps_every_rule(&paused(), &Files::new(Durability::ProcessCrash, true), Nodes::One);
    }

    #[test]
    fn two_nodes_keep_the_contract_in_files() {
        keeps_every_rule(&paused(), &Files::new(Durability::ProcessCrash, true), Nodes::Two);
    }

    #[test]
    fn two_nodes_keep_the_contract_under_threads_where_each_step_reaches_the_disk() {
        keeps_every_rule(&threads(), &Files::new(Durability::PowerLoss, false), Nodes::Two);
    }
}

/// In Redis there is the clock of the server only, and each handle is a process of its own as far as
/// the server can tell.
#[cfg(feature = "redis")]
#[path = "support/redis.rs"]
mod redis_server;

#[cfg(feature = "redis-tls")]
#[path = "support/authority.rs"]
mod authority;

#[cfg(feature = "redis")]
mod redis {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use mcp_http::store::{RedisEngine, RedisOptions};

    use std::sync::Mutex;

    use super::redis_server::{RedisServer, Wire};
    use super::*;

    /// Short, so that the rules about it do not take a minute; long enough for a machine so busy that
    /// one of two processes gets no turn for seconds.
    const LEASE: Duration = Duration::from_secs(5);

    #[derive(Clone)]
    struct Redis {
        server: Arc<RedisServer>,
        engines: Arc<AtomicUsize>,
        options: RedisOptions,
        /// What the second handle of the newest engine is connected by.
        wire: Arc<Mutex<Option<Wire>>>,
    }

    impl Redis {
        fn new(server: RedisServer, options: RedisOptions) -> Self {
            Self { server: Arc::new(server), engines: Arc::default(), options, wire: Arc::default() }
        }

        fn plain() -> Self {
            Self::new(RedisServer::start(), RedisOptions::new())
        }
    }

    impl Backend for Redis {
        fn fresh(&self) -> Step<[Arc<dyn SessionEngine>; 2]> {
            let number = self.engines.fetch_add(1, Ordering::Relaxed);
            let (server, newest) = (Arc::clone(&self.server), Arc::clone(&self.wire));
            let options = self.options.clone().namespace(format!("rule{number}")).lease(LEASE);
            Step::later(async move {
                let wire = Wire::to(&server).await;
                let first = RedisEngine::connect_with(server.url(), options.clone()).await.unwrap();
                let second = RedisEngine::connect_with(wire.url(), options).await.unwrap();
                *newest.lock().unwrap() = Some(wire);
                [Arc::new(first) as _, Arc::new(second) as _]
            })
        }

        fn tick(&self) -> Option<Duration> {
            Some(Duration::from_millis(100))
        }

        fn part(&self) -> Step<bool> {
            self.wire.lock().unwrap().as_ref().unwrap().block(true);
            // The lease, two beats of the other process, and some more.
            Step::later(async {
                tokio::time::sleep(LEASE * 2).await;
                true
            })
        }

        fn rejoin(&self) {
            self.wire.lock().unwrap().as_ref().unwrap().block(false);
        }
    }

    #[test]
    fn one_node_keeps_the_contract_in_redis() {
        keeps_every_rule(&threads(), &Redis::plain(), Nodes::One);
    }

    #[test]
    fn two_nodes_keep_the_contract_in_redis() {
        let runtime = threads();
        let redis = Redis::plain();
        for _ in 0..2 {
            keeps_every_rule(&runtime, &redis, Nodes::Two);
        }
    }

    #[test]
    fn two_nodes_keep_the_contract_in_redis_where_messages_are_sealed() {
        let redis = Redis::new(RedisServer::start(), RedisOptions::new().seal_messages(true));
        keeps_every_rule(&threads(), &redis, Nodes::Two);
    }

    #[cfg(feature = "redis-tls")]
    #[test]
    fn two_nodes_keep_the_contract_in_redis_over_tls() {
        let authority = authority::Authority::new();
        let (server, client) = (authority.papers("127.0.0.1"), authority.papers("a client"));
        let server = RedisServer::start_over_tls(&authority.pem(), &server.certificate, &server.key);
        let options = RedisOptions::new().tls_authorities(authority.pem()).tls_identity(client.certificate, client.key);
        keeps_every_rule(&threads(), &Redis::new(server, options), Nodes::Two);
    }
}
