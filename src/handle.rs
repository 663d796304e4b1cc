//! Decides what an application can see and do from outside: announce changes, look at sessions,
//! end them, drain.

use std::sync::Arc;

use crate::server::channel::{Broadcast, Change};

/// The application's hand on a mounted service. Cheap to clone; it does not keep the service
/// running.
#[derive(Debug, Clone)]
pub struct McpHandle {
    broadcast: Arc<dyn Broadcast>,
}

impl McpHandle {
    /// Tells every client that the list of tools changed.
    pub fn tools_changed(&self) {
        self.broadcast.publish(&Change::Tools);
    }

    /// Tells every client that the list of prompts changed.
    pub fn prompts_changed(&self) {
        self.broadcast.publish(&Change::Prompts);
    }

    /// Tells every client that the list of resources changed.
    pub fn resources_changed(&self) {
        self.broadcast.publish(&Change::Resources);
    }

    /// Tells every client that subscribed to a resource that it changed.
    pub fn resource_updated(&self, uri: impl Into<String>) {
        self.broadcast.publish(&Change::Resource(uri.into()));
    }
}
