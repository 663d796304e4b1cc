//! Decides what the transport learns from calls that a handler has answered: which log messages a
//! session wants, and which resources it subscribes to. So what is announced from elsewhere
//! ([`McpHandle::resource_updated`](crate::McpHandle::resource_updated)) reaches it too.

use serde::Deserialize;

use crate::message::RawJson;
use crate::server::{Call, Context, LogLevel, Session};

/// Something to remember once its call has succeeded.
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
                    tracing::warn!(error = &error as &dyn std::error::Error, "a log level is not remembered");
                }
            }
            Self::Subscription { uri, wanted } => {
                if let Err(error) = session.subscribe(&uri, wanted).await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "a subscription is not remembered");
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
