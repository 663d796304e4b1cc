//! The `--store` option: opens the engine for sessions and tasks, in memory, in a folder or in a
//! Redis server.

use std::error::Error;
use std::path::PathBuf;
use std::str::FromStr;

use mcp_http::McpServiceBuilder;

use crate::cli::Cli;

/// Values of `--store`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Store {
    Memory,
    File(PathBuf),
    Redis(String),
}

impl Store {
    /// Returns `true` if other nodes have the same sessions.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self, Self::Redis(_))
    }
}

impl FromStr for Store {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("file", folder)) if !folder.is_empty() => Ok(Self::File(folder.into())),
            Some(("redis" | "rediss", rest)) if rest.starts_with("//") => Ok(Self::Redis(text.to_owned())),
            _ => Err("expected `memory`, `file:FOLDER` or `redis://HOST:PORT/`".to_owned()),
        }
    }
}

impl Cli {
    /// Sets the engine of a service.
    pub(crate) async fn open_store(&self, service: McpServiceBuilder) -> Result<McpServiceBuilder, Box<dyn Error>> {
        match &self.store {
            Store::Memory => Ok(service),
            Store::File(folder) => self.open_file(service, folder),
            Store::Redis(url) => self.open_redis(service, url).await,
        }
    }

    #[cfg(feature = "file")]
    fn open_file(
        &self,
        service: McpServiceBuilder,
        folder: &std::path::Path,
    ) -> Result<McpServiceBuilder, Box<dyn Error>> {
        use mcp_http::store::{Durability, FileEngine};

        let durability = if self.sync { Durability::PowerLoss } else { Durability::ProcessCrash };
        Ok(service.engine(FileEngine::open(folder, durability).map_err(|error| error.to_string())?))
    }

    #[cfg(not(feature = "file"))]
    fn open_file(&self, _: McpServiceBuilder, _: &std::path::Path) -> Result<McpServiceBuilder, Box<dyn Error>> {
        Err("--store file:FOLDER needs `cargo run --features file --example everything`".into())
    }

    #[cfg(feature = "redis")]
    async fn open_redis(&self, service: McpServiceBuilder, url: &str) -> Result<McpServiceBuilder, Box<dyn Error>> {
        use mcp_http::store::{RedisEngine, RedisOptions};

        let options = RedisOptions::new().lease(std::time::Duration::from_secs(self.lease));
        Ok(service.engine(RedisEngine::connect_with(url, options).await?))
    }

    #[cfg(not(feature = "redis"))]
    async fn open_redis(&self, _: McpServiceBuilder, _: &str) -> Result<McpServiceBuilder, Box<dyn Error>> {
        Err("--store redis://.. needs `cargo run --features redis --example everything`".into())
    }
}
