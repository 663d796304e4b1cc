//! The in-memory engine keeps the contract of engines.

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
fn keeps_every_rule(runtime: &Runtime, timed: bool, nodes: Nodes) {
    let broken: Vec<String> = RULES.iter().filter_map(|rule| broken(runtime, timed, nodes, rule)).collect();
    assert!(broken.is_empty(), "{} of {} rules:\n{}", broken.len(), RULES.len(), broken.join("\n"));
}

fn broken(runtime: &Runtime, timed: bool, nodes: Nodes, rule: &'static Rule) -> Option<String> {
    let check = runtime.spawn(async move {
        let memory = Memory { timed };
        let checked = rule.check(&memory, nodes);
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
    Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap()
}

#[test]
fn one_node_keeps_the_contract() {
    keeps_every_rule(&paused(), true, Nodes::One);
}

#[test]
fn two_nodes_keep_the_contract() {
    keeps_every_rule(&paused(), true, Nodes::Two);
}

#[test]
fn one_node_keeps_the_contract_under_threads() {
    keeps_every_rule(&threads(), false, Nodes::One);
}

#[test]
fn two_nodes_keep_the_contract_under_threads() {
    let runtime = threads();
    for _ in 0..5 {
        keeps_every_rule(&runtime, false, Nodes::Two);
    }
}
