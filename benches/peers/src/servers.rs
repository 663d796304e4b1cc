//! Decides who takes part, and how each is started.

use std::path::{Path, PathBuf};

/// A server of the comparison.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Server {
    /// As it is named on the command line and in the results.
    pub(crate) name: &'static str,
    /// As it is named in the tables, behind the name of its package.
    label: &'static str,
    pub(crate) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No protocol: what the others are measured against.
    Floor(Binary),
    Rust(Binary),
    Python(&'static str),
    TypeScript(&'static str),
}

/// A binary of this package and its argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Binary(&'static str, &'static str);

pub(crate) const SERVERS: &[Server] = &[
    floor("floor-json", "floor: axum, JSON", "json"),
    floor("floor-session", "floor: the same, with sessions", "session"),
    floor("floor-sse", "floor: axum's `Sse`", "sse"),
    floor("floor-bytes", "floor: events in one buffer", "bytes"),
    rust("mcp-http", "**mcp-http** (default: `Auto`)", "server-mcp-http", "auto"),
    rust("mcp-http-sse", "**mcp-http** (`Sse`)", "server-mcp-http", "sse"),
];

const fn floor(name: &'static str, label: &'static str, variant: &'static str) -> Server {
    Server { name, label, kind: Kind::Floor(Binary("server-floor", variant)) }
}

const fn rust(name: &'static str, label: &'static str, binary: &'static str, variant: &'static str) -> Server {
    Server { name, label, kind: Kind::Rust(Binary(binary, variant)) }
}

/// Where everything is that a server is started from.
#[derive(Debug)]
pub(crate) struct Places {
    /// The folder of the binaries; beside it, with `-counted` at its end, those that count.
    pub(crate) binaries: PathBuf,
    /// What `tests/install` installed.
    pub(crate) installed: PathBuf,
    /// The sources of the servers in other languages.
    pub(crate) foreign: PathBuf,
}

impl Server {
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        SERVERS.iter().find(|server| server.name == name)
    }

    /// As it is named in the tables.
    pub(crate) fn title(&self) -> String {
        self.label.to_owned()
    }

    pub(crate) fn is_floor(&self) -> bool {
        matches!(self.kind, Kind::Floor(_))
    }

    /// Whether its code is compiled before it runs, and thus fast from the first call.
    pub(crate) fn is_native(&self) -> bool {
        matches!(self.kind, Kind::Floor(_) | Kind::Rust(_))
    }

    pub(crate) fn command(&self, places: &Places) -> Vec<String> {
        self.program(places, &places.binaries)
    }

    /// As [`command`](Self::command), of the build that counts its allocations, if it has one.
    pub(crate) fn counted(&self, places: &Places) -> Option<Vec<String>> {
        let mut name = places.binaries.as_os_str().to_owned();
        name.push("-counted");
        self.is_native().then(|| self.program(places, Path::new(&name)))
    }

    fn program(&self, places: &Places, binaries: &Path) -> Vec<String> {
        let text = |path: PathBuf| path.display().to_string();
        match self.kind {
            Kind::Floor(Binary(name, variant)) | Kind::Rust(Binary(name, variant)) => {
                vec![text(binaries.join(name)), variant.to_owned()]
            }
            Kind::Python(variant) => vec![
                text(places.installed.join("python/bin/python")),
                text(places.foreign.join("python/server.py")),
                variant.to_owned(),
            ],
            Kind::TypeScript(variant) => vec![
                text(places.installed.join("node/bin/node")),
                text(places.foreign.join("typescript/server.mjs")),
                variant.to_owned(),
            ],
        }
    }
}
