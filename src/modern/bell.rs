//! Decides what the stateless revision does when the engine's bell rings: it has no sessions, so it
//! hears of its tasks, and of nothing else.

use std::sync::{Arc, Weak};

use super::Node;
use crate::identity::TaskId;
use crate::store::{Doorbell, Ring};

/// The node's ear. Weak, so that an engine that outlives the service does not keep it alive.
#[derive(Debug)]
pub(super) struct Bell(Weak<Node>);

impl Bell {
    pub(super) fn new(node: Weak<Node>) -> Self {
        Self(node)
    }
}

impl Doorbell for Bell {
    fn ring(&self, ring: Ring) {
        let Some(node) = self.0.upgrade() else { return };
        match ring {
            Ring::Task { task } => look_at(&node, task),
            Ring::Resync => {
                let running: Vec<TaskId> = node.tasks.iter().map(|task| *task.key()).collect();
                running.into_iter().for_each(|task| look_at(&node, task));
            }
            _ => {}
        }
    }
}

/// Whoever runs the task here looks what has become of it.
fn look_at(node: &Node, task: TaskId) {
    let run = node.tasks.get(&task).map(|run| Arc::clone(&run));
    if let Some(run) = run {
        node.hall.in_background(Box::pin(async move { run.look().await }));
    }
}
