//! Change notifications: sends each change to all sessions and to the subscriptions that requested
//! it. The tools announce a change without changing anything.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::ResourceUpdatedNotificationParam;
use rmcp::schemars::{self, JsonSchema};
use rmcp::service::{Peer, ServiceError, SubscriptionContext, SubscriptionSendError};
use rmcp::{RoleServer, tool, tool_router};
use serde::Deserialize;
use tokio::sync::broadcast;

use crate::handler::Everything;

/// Changes buffered for a slow subscription. A slower one misses some.
const MAX_BUFFERED: usize = 64;

/// The URIs of the resources a session subscribes to.
pub(crate) type Subscribed = Arc<Mutex<HashSet<String>>>;

#[derive(Debug, Clone)]
pub(crate) enum Change {
    Tools,
    Prompts,
    Resources,
    Resource(String),
}

/// All receivers of changes.
pub(crate) struct Hub {
    members: Mutex<Vec<Member>>,
    subscriptions: broadcast::Sender<Change>,
}

impl Default for Hub {
    fn default() -> Self {
        Self { members: Mutex::default(), subscriptions: broadcast::Sender::new(MAX_BUFFERED) }
    }
}

#[derive(Clone)]
struct Member {
    peer: Peer<RoleServer>,
    subscribed: Subscribed,
}

impl Hub {
    /// Adds a session. It receives changes until it ends.
    pub(crate) fn join(&self, peer: Peer<RoleServer>, subscribed: &Subscribed) {
        self.live_members().push(Member { peer, subscribed: Arc::clone(subscribed) });
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.subscriptions.subscribe()
    }

    async fn announce(&self, change: &Change) {
        // This fails if there is no subscription.
        let _ = self.subscriptions.send(change.clone());
        let members = self.live_members().clone();
        for member in members {
            if let Err(error) = member.notify(change).await {
                tracing::debug!(%error, "cannot notify a session of a change");
            }
        }
    }

    fn live_members(&self) -> std::sync::MutexGuard<'_, Vec<Member>> {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.retain(|member| !member.peer.is_transport_closed());
        members
    }
}

impl Member {
    async fn notify(&self, change: &Change) -> Result<(), ServiceError> {
        match change {
            Change::Tools => self.peer.notify_tool_list_changed().await,
            Change::Prompts => self.peer.notify_prompt_list_changed().await,
            Change::Resources => self.peer.notify_resource_list_changed().await,
            Change::Resource(uri) if self.is_subscribed(uri) => {
                self.peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(uri)).await
            }
            Change::Resource(_) => Ok(()),
        }
    }

    fn is_subscribed(&self, uri: &str) -> bool {
        self.subscribed.lock().unwrap_or_else(PoisonError::into_inner).contains(uri)
    }
}

/// Sends changes to a subscription until it ends.
pub(crate) async fn forward(subscription: &SubscriptionContext, mut changes: broadcast::Receiver<Change>) {
    use broadcast::error::RecvError;
    let sink = subscription.sink();
    loop {
        let change = tokio::select! {
            () = subscription.cancelled() => return,
            change = changes.recv() => change,
        };
        let sent = match change {
            Ok(Change::Tools) => sink.notify_tool_list_changed().await,
            Ok(Change::Prompts) => sink.notify_prompt_list_changed().await,
            Ok(Change::Resources) => sink.notify_resource_list_changed().await,
            Ok(Change::Resource(uri)) => sink.notify_resource_updated(uri).await,
            Err(RecvError::Lagged(_)) => Ok(()),
            Err(RecvError::Closed) => return,
        };
        match sent {
            Ok(()) | Err(SubscriptionSendError::NotificationNotAccepted(_)) => {}
            Err(error) => return tracing::debug!(%error, "a subscription ended"),
        }
    }
}

#[derive(Deserialize, JsonSchema)]
pub(crate) struct Which {
    /// The URI of the resource.
    #[serde(default = "watched_resource")]
    uri: String,
}

fn watched_resource() -> String {
    "test://watched-resource".to_owned()
}

#[tool_router(router = changes, vis = "pub(crate)")]
impl Everything {
    /// Announces that the list of tools changed.
    #[tool]
    async fn test_trigger_tool_change(&self) -> String {
        self.shared.hub.announce(&Change::Tools).await;
        "announced".to_owned()
    }

    /// Announces that the list of prompts changed.
    #[tool]
    async fn test_trigger_prompt_change(&self) -> String {
        self.shared.hub.announce(&Change::Prompts).await;
        "announced".to_owned()
    }

    /// Announces that the list of resources changed.
    #[tool]
    async fn test_trigger_resource_change(&self) -> String {
        self.shared.hub.announce(&Change::Resources).await;
        "announced".to_owned()
    }

    /// Announces that what a resource holds changed.
    #[tool]
    async fn test_trigger_resource_update(&self, Parameters(Which { uri }): Parameters<Which>) -> String {
        self.shared.hub.announce(&Change::Resource(uri.clone())).await;
        format!("announced {uri}")
    }
}
