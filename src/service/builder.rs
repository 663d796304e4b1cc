//! The builder of a service: collects the settings, checks all of them at once, and starts the
//! service.

use std::fmt;
use std::sync::{Arc, Weak};

use super::{McpService, RejectionHook, Shared};
use crate::clock::WallClock;
use crate::core::Core;
use crate::edge::{self, Allow, Budget, Gate, Needs, Security};
use crate::encode::{Drains, Watch};
use crate::error::{ConfigError, Rejection};
use crate::handle::McpHandle;
use crate::legacy;
use crate::message::{Era, ProtocolVersion};
use crate::modern;
use crate::server::server_trait::{ErasedServer, Server};
use crate::settings::{InputRequests, Limits, ResponseMode, Sessions, Settings, Streams, Tasks};
use crate::store::{MemoryEngine, SessionEngine};

/// The settings of a service that has not started yet. [`McpService::builder`] makes one.
///
/// The order of the setters does not matter, and none of them fails.
/// [`build`](McpServiceBuilder::build) checks every setting, alone and in combination with the
/// others.
#[must_use = "a builder serves nothing before `build`"]
pub struct McpServiceBuilder<S = ()> {
    server: Arc<dyn ErasedServer<S>>,
    settings: Settings,
    security: Security,
    versions: Vec<ProtocolVersion>,
    engine: Option<Arc<dyn SessionEngine>>,
    on_rejection: Option<RejectionHook>,
}

impl<S: Clone + Send + Sync + 'static> McpService<S> {
    /// Starts a service with the default settings.
    pub fn new(server: impl Server<S>) -> Self {
        McpServiceBuilder::new(server).start()
    }

    /// Returns a builder, to change the settings.
    pub fn builder(server: impl Server<S>) -> McpServiceBuilder<S> {
        McpServiceBuilder::new(server)
    }
}

impl<S: Clone + Send + Sync + 'static> McpServiceBuilder<S> {
    pub(super) fn new(server: impl Server<S>) -> Self {
        Self {
            server: Arc::new(server),
            settings: Settings::default(),
            security: Security::default(),
            versions: ProtocolVersion::ALL.to_vec(),
            engine: None,
            on_rejection: None,
        }
    }

    /// Sets how many sessions may exist, and how long they live.
    pub fn sessions(mut self, sessions: Sessions) -> Self {
        self.settings.sessions = sessions;
        self
    }

    /// Sets how responses are streamed, and how long streams wait for their clients.
    pub fn streams(mut self, streams: Streams) -> Self {
        self.settings.streams = streams;
        self
    }

    /// Sets how much clients may use at once.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// Sets how input is requested from clients of 2026-07-28.
    pub fn input_requests(mut self, inputs: InputRequests) -> Self {
        self.settings.inputs = inputs;
        self
    }

    /// Sets how many tasks are kept, and how long (clients of 2026-07-28).
    pub fn tasks(mut self, tasks: Tasks) -> Self {
        self.settings.tasks = tasks;
        self
    }

    /// Sets which hosts and origins are allowed. Default: loopback names.
    pub fn security(mut self, security: Security) -> Self {
        self.security = security;
        self
    }

    /// Sets which protocol revisions are served, among those that the server
    /// [supports](crate::server::Server::versions). Default: [all of them](ProtocolVersion::ALL).
    /// To switch an era off, list none of its revisions.
    pub fn versions(mut self, versions: impl IntoIterator<Item = ProtocolVersion>) -> Self {
        self.versions = versions.into_iter().collect();
        self.versions.sort_unstable();
        self.versions.dedup();
        self
    }

    /// Sets the engine that keeps the sessions. Default: a [`MemoryEngine`] of its own.
    pub fn engine(mut self, engine: impl SessionEngine) -> Self {
        self.engine = Some(Arc::new(engine));
        self
    }

    /// Sets a function that is called once for each rejected request, before the response is sent.
    /// It is meant for logs, metrics and alerts, and must not block. Default: none. The
    /// [statistics](McpHandle::statistics) count rejections in any case.
    pub fn on_rejection(mut self, hook: impl Fn(&Rejection) + Send + Sync + 'static) -> Self {
        self.on_rejection = Some(Arc::new(hook));
        self
    }

    /// Checks the settings and starts the service.
    ///
    /// # Errors
    ///
    /// Returns an error that names every invalid setting, and every invalid combination of
    /// settings.
    pub fn build(self) -> Result<McpService<S>, ConfigError> {
        let mut error = ConfigError::none();
        self.settings.check(&mut error);
        self.security.problems().for_each(|problem| error.add(problem.clone()));
        if self.versions.is_empty() {
            error.report("McpServiceBuilder::versions", "at least one protocol version must be served");
        }
        error.into_result()?;
        Ok(self.start())
    }

    /// Starts the service. The settings have been checked, or are the defaults.
    pub(super) fn start(self) -> McpService<S> {
        let versions = self.served_versions();
        let engine = self.engine.unwrap_or_else(|| Arc::new(MemoryEngine::new()));
        let sessions = !self.settings.sessions.stateless && edge::serves(&versions, Era::Legacy);
        let gate = Gate {
            security: self.security,
            allow: if sessions { Allow::Sessions } else { Allow::PostOnly },
            post_needs: match self.settings.streams.response_mode {
                ResponseMode::Json => Needs::Json,
                ResponseMode::Auto | ResponseMode::Sse => Needs::Both,
            },
            bodies: Budget::new(self.settings.limits.max_total_body_bytes, self.settings.limits.max_body_bytes),
        };
        let (server, on_rejection) = (self.server, self.on_rejection);
        let shared = Arc::new_cyclic(|me: &Weak<Shared<S>>| {
            let handle = McpHandle::new(Weak::clone(me) as _);
            let core = Core::new(engine, self.settings, versions, handle);
            let (legacy, modern) = (legacy::Node::join(&core), modern::Node::join(&core));
            let (clock, watch, drains) = (WallClock::new(), watch(&core), Drains::new(&core.tasks));
            Shared { server, core, legacy, modern, gate, clock, watch, drains, on_rejection }
        });
        shared.server.on_mount(&shared.core.handle);
        McpService(shared)
    }

    /// Returns the revisions to serve, among those that the server supports.
    fn served_versions(&self) -> Vec<ProtocolVersion> {
        let spoken = self.server.versions();
        let versions: Vec<_> = self.versions.iter().copied().filter(|version| spoken.contains(version)).collect();
        if versions.is_empty() {
            tracing::error!(
                ?spoken,
                "the server supports no protocol revision that is served: every client is rejected"
            );
        }
        versions
    }
}

/// Returns the watch over responses that their clients do not read.
fn watch(core: &Arc<Core>) -> Arc<Watch> {
    let (timeout, unread) = (core.settings.streams.write_timeout, core.settings.limits.max_unread_response_bytes);
    let counting = Arc::downgrade(core);
    Watch::new(timeout, unread, move || {
        if let Some(core) = counting.upgrade() {
            core.counters.slow_reader();
        }
    })
}

impl<S> fmt::Debug for McpServiceBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("McpServiceBuilder")
            .field("server", &self.server)
            .field("settings", &self.settings)
            .field("security", &self.security)
            .finish_non_exhaustive()
    }
}
