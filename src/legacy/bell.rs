//! The signal handler of a node: finds and wakes the tasks that a signal concerns.

use std::sync::{Arc, Weak};

use super::Node;
use super::session::LiveSession;
use crate::identity::SessionId;
use crate::store::{Doorbell, Ring};

/// The handler that the engine calls. It refers to the node weakly, so that an engine that outlives
/// the service does not keep it alive.
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
        let here = |id: SessionId| node.sessions.get(&id).map(|session| Arc::clone(&session));
        match ring {
            Ring::Stream { session, stream } => {
                if let Some(session) = here(session) {
                    session.wake_reader(stream);
                }
            }
            Ring::Detach { session, stream, generation, retry } => {
                if let Some(session) = here(session) {
                    session.release_reader(stream, generation, retry);
                }
            }
            Ring::Drained { session, stream } => {
                if let Some(session) = here(session) {
                    session.reader_took(stream);
                }
            }
            Ring::Cancel { session, stream, id } => {
                if let Some(session) = here(session) {
                    session.cancel(stream, &id);
                }
            }
            Ring::Answer { session, question } => {
                if let Some(session) = here(session) {
                    take_answer(&node, &session, &question);
                }
            }
            Ring::Ended { session, .. } => node.forget(session),
            Ring::Topic { topic, number } => node.tell(&topic, number),
            Ring::News { session, news } => node.hear(session, news),
            // Sessions have no tasks.
            Ring::Task { .. } => {}
            Ring::Resync => node.look_again(),
        }
    }
}

/// Fetches an answer, if a task on this node waits for it.
fn take_answer(node: &Node, session: &Arc<LiveSession>, question: &str) {
    let Some(look) = session.begin_look(question) else { return };
    match node.engine.take(session.info.id, question).now() {
        Ok(taken) => look.found(taken),
        Err(step) => drop(node.tasks.spawn(async move { look.found(step.await) })),
    }
}
