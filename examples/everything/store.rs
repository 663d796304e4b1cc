//! Decides where sessions and tasks are kept: in memory, or in a folder that outlives the process.

use std::path::PathBuf;
use std::str::FromStr;

use mcp_http::McpService;

/// What `--store` says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Store {
    Memory,
    File(PathBuf),
}

impl FromStr for Store {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            Some(("file", folder)) if !folder.is_empty() => Ok(Self::File(folder.into())),
            _ => Err("it is `memory` or `file:FOLDER`".to_owned()),
        }
    }
}

impl Store {
    /// Gives a service its engine. `sync`: each step reaches the disk before it counts.
    #[cfg(feature = "file")]
    pub(crate) fn open(&self, service: McpService, sync: bool) -> Result<McpService, Box<dyn std::error::Error>> {
        use mcp_http::store::{Durability, FileEngine};

        let durability = if sync { Durability::PowerLoss } else { Durability::ProcessCrash };
        match self {
            Self::Memory => Ok(service),
            Self::File(folder) => {
                Ok(service.engine(FileEngine::open(folder, durability).map_err(|error| error.to_string())?)?)
            }
        }
    }

    /// Gives a service its engine.
    #[cfg(not(feature = "file"))]
    pub(crate) fn open(&self, service: McpService, _: bool) -> Result<McpService, Box<dyn std::error::Error>> {
        match self {
            Self::Memory => Ok(service),
            Self::File(_) => Err("--store file:FOLDER needs `cargo run --features file --example everything`".into()),
        }
    }
}
