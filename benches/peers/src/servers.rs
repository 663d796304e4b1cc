//! The servers of the comparison, and the command that starts each of them.

use std::path::{Path, PathBuf};

/// A server of the comparison.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Server {
    /// Its name on the command line and in the results.
    pub(crate) name: &'static str,
    /// Its label in the tables, after the name and the version of its package.
    label: &'static str,
    pub(crate) kind: Kind,
    package: Package,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A server without a protocol, which the others are compared with.
    Floor(Binary),
    Rust(Binary),
    Python(&'static str),
    TypeScript(&'static str),
}

/// A binary of this package, and its argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Binary(&'static str, &'static str);

/// The package that is compared, as named in the lock file that pins it.
#[derive(Debug, Clone, Copy)]
enum Package {
    Floor,
    /// The name, and the beginning of the version if several versions take part.
    Crate(&'static str, &'static str),
    Pip(&'static str),
    Npm(&'static str),
}

pub(crate) const SERVERS: &[Server] = &[
    floor("floor-json", "axum, JSON", "json"),
    floor("floor-session", "axum, JSON, sessions", "session"),
    floor("floor-sse", "axum's `Sse`", "sse"),
    floor("floor-bytes", "axum, events in one buffer", "bytes"),
    rust("mcp-http", "`Auto`, the default", "mcp-http", "auto"),
    rust("mcp-http-sse", "`Sse`", "mcp-http", "sse"),
    rust("mcp-http-rmcp", "rmcp's handler, `Auto`", "mcp-http-rmcp", "auto").of("mcp-http", ""),
    rust("mcp-http-rmcp-sse", "rmcp's handler, `Sse`", "mcp-http-rmcp", "sse").of("mcp-http", ""),
    rust("mcp-http-rmcp-macros", "rmcp's handler by macros, `Auto`", "mcp-http-rmcp", "macros").of("mcp-http", ""),
    rust("rmcp", "default: SSE", "rmcp", "default"),
    rust("rmcp-macros", "default, tools by macros", "rmcp", "macros"),
    rust("rmcp-json", "stateless, JSON", "rmcp", "json"),
    rust("tower-mcp", "default: JSON", "tower-mcp", "json"),
    rust("tower-mcp-sse", "SSE", "tower-mcp", "sse"),
    rust("pmcp", "default, concurrent", "pmcp", "default"),
    rust("pmcp-json", "JSON, concurrent", "pmcp", "json"),
    rust("rust-mcp-sdk-1", "default: SSE", "rust-mcp-sdk-1", "sse").of("rust-mcp-sdk", "1."),
    rust("rust-mcp-sdk-1-events", "SSE, event store", "rust-mcp-sdk-1", "events").of("rust-mcp-sdk", "1."),
    rust("rust-mcp-sdk", "default: SSE", "rust-mcp-sdk", "sse").of("rust-mcp-sdk", "2."),
    rust("rust-mcp-sdk-json", "JSON", "rust-mcp-sdk", "json").of("rust-mcp-sdk", "2."),
    rust("turbomcp", "default", "turbomcp", "default"),
    Server { name: "python", label: "Python, uvicorn", kind: Kind::Python("default"), package: Package::Pip("mcp") },
    Server {
        name: "typescript",
        label: "TypeScript, node:http",
        kind: Kind::TypeScript("default"),
        package: Package::Npm("@modelcontextprotocol/server"),
    },
];

const fn floor(name: &'static str, label: &'static str, variant: &'static str) -> Server {
    Server { name, label, kind: Kind::Floor(Binary("floor", variant)), package: Package::Floor }
}

const fn rust(name: &'static str, label: &'static str, package: &'static str, variant: &'static str) -> Server {
    Server { name, label, kind: Kind::Rust(Binary(package, variant)), package: Package::Crate(package, "") }
}

impl Server {
    /// Sets the name and the major version of the package, for binaries with another name.
    const fn of(self, package: &'static str, major: &'static str) -> Self {
        Self { package: Package::Crate(package, major), ..self }
    }
}

/// The folders that servers are started from.
#[derive(Debug)]
pub(crate) struct Places {
    /// The folder of the binaries. The binaries that count allocations are in the folder of the
    /// same name with `-counted` appended.
    pub(crate) binaries: PathBuf,
    /// The folder that `tests/install` installed into.
    pub(crate) installed: PathBuf,
    /// The folder with the sources of the servers in other languages.
    pub(crate) foreign: PathBuf,
}

impl Server {
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        SERVERS.iter().find(|server| server.name == name)
    }

    /// Returns its title in the tables, with the version that was built.
    pub(crate) fn title(&self) -> String {
        let label = self.label;
        match self.package {
            Package::Floor => format!("floor: {label}"),
            Package::Crate("mcp-http", _) => format!("**mcp-http** ({label})"),
            Package::Crate(name, _) | Package::Pip(name) | Package::Npm(name) => {
                format!("{name} {} ({label})", self.package.version().unwrap_or("of unknown version"))
            }
        }
    }

    /// Returns the title of its package in the plot.
    pub(crate) fn package_title(&self) -> String {
        let version = self.package.version().unwrap_or("of unknown version");
        match self.package {
            Package::Floor => self.label.replace('`', ""),
            Package::Crate("mcp-http", _) => "mcp-http".to_owned(),
            Package::Crate(name, _) => format!("{name} {version}"),
            Package::Pip(_) => format!("Python SDK {version}"),
            Package::Npm(_) => format!("TypeScript SDK {version}"),
        }
    }

    pub(crate) fn is_floor(&self) -> bool {
        matches!(self.kind, Kind::Floor(_))
    }

    /// Returns `true` for this crate.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.package, Package::Crate("mcp-http", _))
    }

    /// Returns `true` if the server has the tool `chat`, which only the soak calls.
    pub(crate) fn chats(&self) -> bool {
        matches!(self.kind, Kind::Rust(Binary("mcp-http", _)))
    }

    /// Returns `true` if its code is compiled ahead of time, and is therefore fast from the first
    /// call.
    pub(crate) fn is_native(&self) -> bool {
        matches!(self.kind, Kind::Floor(_) | Kind::Rust(_))
    }

    pub(crate) fn command(&self, places: &Places) -> Vec<String> {
        self.program(places, &places.binaries)
    }

    /// Like [`command`](Self::command), for the build that counts its allocations, if there is one.
    pub(crate) fn counted(&self, places: &Places) -> Option<Vec<String>> {
        let mut name = places.binaries.as_os_str().to_owned();
        name.push("-counted");
        self.is_native().then(|| self.program(places, Path::new(&name)))
    }

    fn program(&self, places: &Places, binaries: &Path) -> Vec<String> {
        let text = |path: PathBuf| path.display().to_string();
        match self.kind {
            Kind::Floor(Binary(name, variant)) | Kind::Rust(Binary(name, variant)) => {
                vec![text(binaries.join(format!("server-{name}"))), variant.to_owned()]
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

const CARGO: &str = include_str!("../Cargo.lock");
const PIP: &str = include_str!("../../../tests/interop/python/requirements.txt");
const NPM: &str = include_str!("../foreign/typescript/package-lock.json");

impl Package {
    fn version(self) -> Option<&'static str> {
        let (text, before, major) = match self {
            Self::Floor => return None,
            Self::Crate(name, major) => (CARGO, format!("name = \"{name}\"\nversion = \""), major),
            Self::Pip(name) => (PIP, format!("\n{name}=="), ""),
            Self::Npm(name) => (NPM, format!("\"node_modules/{name}\": {{\n      \"version\": \""), ""),
        };
        let mut versions = text.split(&before).skip(1).filter_map(|behind| behind.split(['"', ' ']).next());
        versions.find(|version| version.starts_with(major))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_has_the_version_that_is_locked() {
        for server in SERVERS.iter().filter(|server| !server.is_floor()) {
            let version = server.package.version().unwrap_or_default();
            assert!(version.starts_with(|first: char| first.is_ascii_digit()), "{}: {version:?}", server.name);
        }
    }

    #[test]
    fn no_two_servers_have_the_same_name() {
        for server in SERVERS {
            assert_eq!(SERVERS.iter().filter(|other| other.name == server.name).count(), 1, "{}", server.name);
        }
    }
}
