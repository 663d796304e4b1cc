//! Session state taken from answered calls: the log level that a session wants, and the resources
//! it subscribes to. With it, announcements from elsewhere
//! ([`McpHandle::resource_updated`](crate::McpHandle::resource_updated)) reach the session too.

use serde::Deserialize;

use crate::message::RawJson;
use crate::server::{Call, Context, LogLevel, Session};

/// A change to apply once its call has succeeded.
pub(super) enum Remember {
    LogLevel(Context, LogLevel),
    Subscription { uri: String, wanted: bool },
}

impl Remember {
    pub(super) fn of(call: &Call) -> Option<Self> {
        #[derive(Deserialize)]
        struct Level {
            level: LogLevel,
        }
        let params = call.params.as_ref();
        match &*call.method {
            "logging/setLevel" => {
                let Level { level } = params?.read().ok()?;
                Some(Self::LogLevel(call.context.clone(), level))
            }
            "resources/subscribe" => subscription(params, true),
            "resources/unsubscribe" => subscription(params, false),
            _ => None,
        }
    }

    pub(super) async fn apply(self, session: &Session) {
        match self {
            Self::LogLevel(context, level) => {
                if let Err(error) = context.set_log_level(level).await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a log level could not be stored");
                }
            }
            Self::Subscription { uri, wanted } => {
                let changed = if wanted { session.subscribe(&uri).await } else { session.unsubscribe(&uri).await };
                if let Err(error) = changed {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a subscription could not be stored");
                }
            }
        }
    }
}

fn subscription(params: Option<&RawJson>, wanted: bool) -> Option<Remember> {
    #[derive(Deserialize)]
    struct Resource {
        uri: String,
    }
    let Resource { uri } = params?.read().ok()?;
    Some(Remember::Subscription { uri, wanted })
}
