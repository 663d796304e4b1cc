//! The contract of engines, run against each engine of this crate.

use std::sync::Arc;
use std::time::Duration;

use mcp_http::store::MemoryEngine;
use mcp_http::store::contract::{Backend, Nodes, RULES, Rule};
use mcp_http::store::engine::{EngineFuture, SessionEngine};
use tokio::runtime::{Builder, Runtime};

/// Follows the paused clock if there is one. Without it, the timed rules are skipped.
#[derive(Clone, Copy)]
struct Memory {
    timed: bool,
}

impl Backend for Memory {
    fn fresh(&self) -> EngineFuture<[Arc<dyn SessionEngine>; 2]> {
        let engine = MemoryEngine::new();
        EngineFuture::ready([Arc::new(engine.clone()), Arc::new(engine)])
    }

    fn tick(&self) -> Option<Duration> {
        self.timed.then_some(Duration::from_secs(1))
    }
}

/// Runs every rule and then reports the broken ones.
fn keeps_every_rule(runtime: &Runtime, backend: &(impl Backend + Clone + Send + 'static), nodes: Nodes) {
    every_rule_is_kept(|rule| broken(runtime, backend.clone(), nodes, rule));
}

fn every_rule_is_kept(broken: impl Fn(&'static Rule) -> Option<String>) {
    let broken: Vec<String> = RULES.iter().filter_map(broken).collect();
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
fn one_node_keeps_the_contract_on_threads() {
    keeps_every_rule(&threads(), &Memory { timed: false }, Nodes::One);
}

#[test]
fn two_nodes_keep_the_contract_on_threads() {
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

    /// The engine writes in a thread, and a paused clock does not wait for threads: while all tasks
    /// wait for the writer, the clock would jump to the next deadline. A running blocking task
    /// stops the clock, which then moves only where a rule lets time pass.
    #[derive(Clone)]
    struct Files {
        durability: Durability,
        timed: bool,
        folders: Arc<Mutex<Vec<TempDir>>>,
        stands_still: Arc<Mutex<Option<Sender<()>>>>,
    }

    /// A rule that takes longer waits for a signal that never comes. The clock is then released, so
    /// that the rule's own deadline fails it.
    const WATCHDOG: Duration = Duration::from_secs(60);

    impl Files {
        fn new(durability: Durability, timed: bool) -> Self {
            Self { durability, timed, folders: Arc::default(), stands_still: Arc::default() }
        }
    }

    impl Backend for Files {
        fn fresh(&self) -> EngineFuture<[Arc<dyn SessionEngine>; 2]> {
            let folder = TempDir::new().unwrap();
            let engine = FileEngine::open(folder.path(), self.durability).unwrap();
            self.folders.lock().unwrap().push(folder);
            if self.timed {
                let (moves, stopped) = channel();
                tokio::task::spawn_blocking(move || stopped.recv_timeout(WATCHDOG));
                *self.stands_still.lock().unwrap() = Some(moves);
            }
            EngineFuture::ready([Arc::new(engine.clone()), Arc::new(engine)])
        }

        fn tick(&self) -> Option<Duration> {
            self.timed.then_some(Duration::from_secs(1))
        }

        fn pass(&self, time: Duration) -> EngineFuture<()> {
            EngineFuture::later(tokio::time::advance(time))
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
    fn synced_files_keep_the_contract_on_threads() {
        keeps_every_rule(&threads(), &Files::new(Durability::PowerLoss, false), Nodes::Two);
    }
}

/// With Redis there is only the clock of the server, and to the server each handle looks like a
/// separate process.
#[cfg(feature = "redis")]
#[path = "support/redis.rs"]
mod redis_server;

#[cfg(feature = "redis-tls")]
#[path = "support/authority.rs"]
mod authority;

#[cfg(feature = "redis")]
mod redis {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use mcp_http::store::{RedisEngine, RedisOptions};

    use std::sync::Mutex;
    use std::time::Instant;

    use super::redis_server::{RedisServer, Wire};
    use super::*;

    /// Short, so that the rules about leases take less than a minute. Long enough for a busy
    /// machine on which one of two processes does not run for seconds.
    const LEASE: Duration = Duration::from_secs(5);

    /// The ticks of timed rules. A busy machine can be too slow for a short tick, so a failed rule
    /// runs again with a longer one. It is broken only if it fails with each of them.
    const TICKS: [Duration; 3] = [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(5)];

    #[derive(Clone)]
    struct Redis {
        server: Arc<RedisServer>,
        engines: Arc<AtomicUsize>,
        options: RedisOptions,
        tick: Duration,
        /// A rule asked for the tick.
        is_timed: Arc<AtomicBool>,
        /// The connection of the newest engine's second handle.
        wire: Arc<Mutex<Option<Wire>>>,
    }

    impl Redis {
        fn new(server: RedisServer, options: RedisOptions) -> Self {
            Self {
                server: Arc::new(server),
                engines: Arc::default(),
                options,
                tick: TICKS[0],
                is_timed: Arc::default(),
                wire: Arc::default(),
            }
        }

        fn plain() -> Self {
            Self::new(RedisServer::start(), RedisOptions::new())
        }

        fn keeps_every_rule(&self, runtime: &Runtime, nodes: Nodes) {
            every_rule_is_kept(|rule| {
                let mut said = Vec::new();
                for tick in TICKS {
                    let trial = Self { tick, is_timed: Arc::default(), ..self.clone() };
                    said.push(broken(runtime, trial.clone(), nodes, rule)?);
                    if !trial.is_timed.load(Ordering::Relaxed) {
                        break;
                    }
                }
                Some(said.join("\n"))
            });
        }

        /// Returns the namespace of the newest engine.
        fn namespace(&self) -> String {
            format!("rule{}", self.engines.load(Ordering::Relaxed))
        }
    }

    impl Backend for Redis {
        fn fresh(&self) -> EngineFuture<[Arc<dyn SessionEngine>; 2]> {
            self.engines.fetch_add(1, Ordering::Relaxed);
            let (server, newest) = (Arc::clone(&self.server), Arc::clone(&self.wire));
            let options =
                self.options.clone().namespace(self.namespace()).lease(LEASE).timeout(Duration::from_secs(20));
            EngineFuture::later(async move {
                let wire = Wire::to(&server).await;
                let first = RedisEngine::connect_with(server.url(), options.clone()).await.unwrap();
                let second = RedisEngine::connect_with(wire.url(), options).await.unwrap();
                *newest.lock().unwrap() = Some(wire);
                [Arc::new(first) as _, Arc::new(second) as _]
            })
        }

        fn tick(&self) -> Option<Duration> {
            self.is_timed.store(true, Ordering::Relaxed);
            Some(self.tick)
        }

        fn part(&self) -> EngineFuture<bool> {
            self.wire.lock().unwrap().as_ref().unwrap().block(true);
            // Waits until only the other process holds a lease, and nothing of this one waits to be
            // given up.
            let (server, prefix) = (Arc::clone(&self.server), format!("{}:{{0}}:", self.namespace()));
            EngineFuture::later(async move {
                let count = |command, of| server.command(&[command, &format!("{prefix}{of}")]).trim().to_owned();
                let start = Instant::now();
                while (count("zcard", "leases"), count("scard", "dying")) != ("1".to_owned(), "0".to_owned()) {
                    assert!(start.elapsed() < Duration::from_secs(60), "the lease does not expire");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                true
            })
        }

        fn rejoin(&self) {
            self.wire.lock().unwrap().as_ref().unwrap().block(false);
        }
    }

    #[test]
    fn one_node_keeps_the_contract_in_redis() {
        Redis::plain().keeps_every_rule(&threads(), Nodes::One);
    }

    #[test]
    fn two_nodes_keep_the_contract_in_redis() {
        let runtime = threads();
        let redis = Redis::plain();
        for _ in 0..2 {
            redis.keeps_every_rule(&runtime, Nodes::Two);
        }
    }

    #[test]
    fn encrypted_redis_keeps_the_contract() {
        let redis = Redis::new(RedisServer::start(), RedisOptions::new().seal_messages(true));
        redis.keeps_every_rule(&threads(), Nodes::Two);
    }

    #[cfg(feature = "redis-tls")]
    #[test]
    fn redis_over_tls_keeps_the_contract() {
        let authority = authority::Authority::new();
        let (server, client) = (authority.papers("127.0.0.1"), authority.papers("a client"));
        let server = RedisServer::start_over_tls(&authority.pem(), &server.certificate, &server.key);
        let options = RedisOptions::new().tls_authorities(authority.pem()).tls_identity(client.certificate, client.key);
        Redis::new(server, options).keeps_every_rule(&threads(), Nodes::Two);
    }
}
