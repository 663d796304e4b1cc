//! The signal handler of the stateless revision. It has no sessions, so it receives signals of
//! announcements and of its tasks, and ignores others. After lost signals it queries the
//! announcements that it missed, so that each subscription stream receives each of them once.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Node;
use super::listening::Listening;
use crate::error::StoreErrorKind;
use crate::hall::Missed;
use crate::identity::TaskId;
use crate::server::channel::EVERYTHING;
use crate::store::{Doorbell, Ring};

/// Receives signals for the service. Its references are weak, so that an engine that outlives the
/// service does not keep the service alive.
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
            Ring::Topic { topic, number } => {
                let is_new = self.node.upgrade().is_none_or(|node| node.heard.hear(number));
                if is_new {
                    self.tell(|listening| tell(listening, &topic));
                }
            }
            Ring::Task { task } => {
                if let Some(node) = self.node.upgrade() {
                    look_at(&node, task);
                }
            }
            Ring::Resync => {
                if let Some(node) = self.node.upgrade() {
                    look_again(&node);
                    let running: Vec<TaskId> = node.tasks.iter().map(|task| *task.key()).collect();
                    running.into_iter().for_each(|task| look_at(&node, task));
                }
            }
            _ => {}
        }
    }
}

/// Passes an announcement to the subscriptions.
fn tell(listening: &Listening, topic: &str) {
    match serde_json::from_str(topic) {
        Ok(change) => listening.tell(&change),
        Err(_) if topic == EVERYTHING => listening.tell_everything(),
        Err(_) => {}
    }
}

/// The pause between two queries of missed announcements.
const PAUSE: Duration = Duration::from_secs(1);

/// Queries and passes on missed announcements. If that runs already, it runs once more afterwards.
fn look_again(node: &Arc<Node>) {
    let me = Arc::downgrade(node);
    node.looks_owed.check(&node.hall, move || catch_up(Weak::clone(&me)));
}

/// Retries until the engine answers or the service is gone.
async fn catch_up(node: Weak<Node>) -> Option<()> {
    loop {
        let (after, asked) = {
            let present = node.upgrade()?;
            let after = present.heard.low();
            (after, present.ask(after))
        };
        let announced = asked.await;
        let present = node.upgrade()?;
        match announced.map(|announced| present.heard.missed(after, announced)) {
            Ok(Missed::Topics(topics)) => topics.iter().for_each(|(_, topic)| tell(&present.listening, topic)),
            Err(error) if error.kind() == StoreErrorKind::Unavailable => {
                drop(present);
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            Ok(Missed::Anything { .. }) | Err(_) => present.listening.tell_everything(),
        }
        return Some(());
    }
}

/// Re-checks a task that runs here.
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
    fn what_is_announced_is_told_to_who_asked_for_it() {
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
        let topic = |topic: &str| Ring::Topic { topic: topic.into(), number: 1 };
        let updated = Change::resource("a:1");
        assert_eq!(told(topic("\"Tools\"")), [Change::Tools]);
        assert_eq!(told(topic(&serde_json::to_string(&updated).unwrap())), std::slice::from_ref(&updated));
        for other in ["", "Tools", "\"Prompts\"", r#"{"Resource":"a:2"}"#, r#"{"session":1}"#] {
            assert_eq!(told(topic(other)), [], "{other}");
        }
        assert_eq!(told(topic(EVERYTHING)), [Change::Tools, updated]);
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
