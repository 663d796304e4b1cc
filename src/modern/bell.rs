//! Decides what the stateless revision does when the engine's bell rings: it has no sessions, so it
//! hears of what was announced, of its tasks, and of nothing else.

use std::sync::{Arc, Weak};

use super::Node;
use super::listening::Listening;
use crate::identity::TaskId;
use crate::store::{Doorbell, Ring};

/// The node's ear. Weak, so that an engine that outlives the service does not keep it alive.
#[derive(Debug)]
pub(super) struct Bell {
    listening: Weak<Listening>,
    node: Weak<Node>,
}

impl Bell {
    pub(super) fn new(listening: &Arc<Listening>, node: Weak<Node>) -> Self {
        Self { listening: Arc::downgrade(listening), node }
    }

    fn tell(&self, news: impl FnOnce(&Listening)) {
        if let Some(listening) = self.listening.upgrade() {
            news(&listening);
        }
    }
}

impl Doorbell for Bell {
    fn ring(&self, ring: Ring) {
        match ring {
            Ring::Topic { topic } => {
                if let Ok(change) = serde_json::from_str(&topic) {
                    self.tell(|listening| listening.tell(&change));
                }
            }
            Ring::Task { task } => {
                if let Some(node) = self.node.upgrade() {
                    look_at(&node, task);
                }
            }
            Ring::Resync => {
                self.tell(Listening::tell_everything);
                if let Some(node) = self.node.upgrade() {
                    let running: Vec<TaskId> = node.tasks.iter().map(|task| *task.key()).collect();
                    running.into_iter().for_each(|task| look_at(&node, task));
                }
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

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;
    use crate::message::RawJson;
    use crate::modern::filter::Filter;
    use crate::server::channel::Change;
    use crate::settings::Limits;

    #[test]
    fn an_announced_change_is_told_and_after_lost_rings_everything_is() {
        let listening = Listening::new(&Limits::new());
        let bell = Bell::new(&listening, Weak::new());
        let asked = RawJson::trusted(r#"{"notifications":{"toolsListChanged":true,"resourceSubscriptions":["a:1"]}}"#);
        let seat = listening.join(Filter::read(Some(&asked), || false).unwrap(), None).unwrap();
        let told = |ring: Ring| {
            bell.ring(ring);
            let mut told = Vec::new();
            seat.take(&mut Context::from_waker(Waker::noop()), |change| told.push(change.clone()));
            told
        };
        let topic = |topic: &str| Ring::Topic { topic: topic.into() };
        let updated = Change::resource("a:1");
        assert_eq!(told(topic("\"Tools\"")), [Change::Tools]);
        assert_eq!(told(topic(&serde_json::to_string(&updated).unwrap())), std::slice::from_ref(&updated));
        for other in ["", "Tools", "\"Prompts\"", r#"{"Resource":"a:2"}"#, r#"{"session":1}"#] {
            assert_eq!(told(topic(other)), [], "{other}");
        }
        assert_eq!(told(Ring::Resync), [Change::Tools, updated]);
    }

    #[test]
    fn a_bell_of_a_service_that_is_gone_rings_for_nobody() {
        let listening = Listening::new(&Limits::new());
        let bell = Bell::new(&listening, Weak::new());
        drop(listening);
        assert!(bell.listening.upgrade().is_none(), "and kept nothing of it");
        bell.ring(Ring::Resync);
    }
}
