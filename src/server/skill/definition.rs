//! Skill: the definition of a skill, from values or from a folder.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use bytes::Bytes;
use serde_json::{Map, Value};

use super::names::{SKILL_MD, check_path};
use crate::server::CacheHint;

/// A skill: instructions for a model, with the files that belong to them (extension
/// `io.modelcontextprotocol/skills`, [Agent Skills](https://agentskills.io/specification)).
///
/// A server with skills declares the extension, answers `skills/list`, `skills/get` and
/// `resources/directory/read`, and serves each file as a resource under `skill://`. Each `SKILL.md`
/// is also in the list of resources.
///
/// With the feature `skills` a skill is read from a folder (`Skill::from_folder`,
/// `Skill::all_in`). This makes one from values:
///
/// ```
/// use mcp_http::McpServer;
/// use mcp_http::server::Skill;
///
/// let greeting = Skill::new("greeting", "Greets people in their tone.", "Choose from `tones/`.")
///     .file("tones/formal.md", "Good day.")
///     .file("tones/warm.md", "Hello, dear!");
/// let server: McpServer = McpServer::new("manners", "1.0.0").with_skill(greeting);
/// ```
#[derive(Clone)]
pub struct Skill {
    pub(super) front_matter: Map<String, Value>,
    pub(super) prefix: Option<String>,
    pub(super) contents: Contents,
    /// The other files, by their paths.
    pub(super) files: BTreeMap<String, Bytes>,
    pub(super) cache: CacheHint,
    /// The reason why it cannot be registered.
    pub(super) problem: Option<String>,
}

/// The contents of `SKILL.md`.
#[derive(Clone)]
pub(super) enum Contents {
    /// The file as it was read.
    #[cfg(feature = "skills")]
    Read(Bytes),
    /// The text behind the front matter.
    Body(String),
}

impl Skill {
    /// The most files of a skill, `SKILL.md` included. Hosts need not load larger skills
    /// (extension, "Limits").
    pub const MAX_FILES: usize = 512;

    /// The most bytes of all files of a skill, 16 MiB. Hosts need not load larger skills
    /// (extension, "Limits").
    pub const MAX_BYTES: usize = 16 << 20;

    /// Makes a skill of its name, its description, which tells a model when to use it, and its
    /// instructions in Markdown. Registering it fails if the name or the description breaks the
    /// rules of Agent Skills: a name has 1 to 64 lower-case letters, digits and single hyphens, and
    /// a description 1 to 1,024 characters.
    #[must_use]
    pub fn new(name: impl Into<String>, description: impl Into<String>, instructions: impl Into<String>) -> Self {
        let front_matter = Map::from_iter([
            ("name".to_owned(), Value::String(name.into())),
            ("description".to_owned(), Value::String(description.into())),
        ]);
        Self {
            front_matter,
            prefix: None,
            contents: Contents::Body(instructions.into()),
            files: BTreeMap::new(),
            cache: CacheHint::default(),
            problem: None,
        }
    }

    #[cfg(feature = "skills")]
    pub(super) fn of_read(front_matter: Map<String, Value>, contents: Bytes) -> Self {
        Self { front_matter, contents: Contents::Read(contents), ..Self::new("", "", "") }
    }

    /// Sets another field of the front matter, such as `license` or `metadata`. Registering a skill
    /// whose `SKILL.md` was read from a file fails: the file says what its front matter is.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        let name = name.into();
        if !matches!(self.contents, Contents::Body(_)) {
            self.reject(format!("the field {name:?} belongs into its SKILL.md"));
        }
        self.front_matter.insert(name, value.into());
        self
    }

    /// Adds a file by its path in the folder of the skill, such as `references/forms.md`.
    /// Registering fails if the path leaves the folder, or names a file twice.
    #[must_use]
    pub fn file(mut self, path: impl Into<String>, contents: impl Into<Bytes>) -> Self {
        let path = path.into();
        if let Err(problem) = check_path(&path) {
            self.reject(problem);
        }
        if path == SKILL_MD || self.files.insert(path.clone(), contents.into()).is_some() {
            self.reject(format!("the file {path:?} exists twice"));
        }
        self
    }

    /// Sets the folders above the skill in its URIs, such as `acme/billing`. Default: none, so that
    /// the URIs begin with `skill://NAME/`.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        let prefix = prefix.into();
        if let Err(problem) = check_path(&prefix) {
            self.reject(problem);
        }
        self.prefix = Some(prefix);
        self
    }

    /// Sets how long clients of 2026-07-28 may cache its entry and its files, and who may share
    /// them. Default: not cached. Hosts compare each file with the digest in the entry, so a stale
    /// one is never used.
    #[must_use]
    pub fn cache(mut self, hint: CacheHint) -> Self {
        self.cache = hint;
        self
    }

    /// Returns its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text("name")
    }

    /// Returns its description.
    #[must_use]
    pub fn description(&self) -> &str {
        self.text("description")
    }

    fn text(&self, field: &str) -> &str {
        self.front_matter.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    fn reject(&mut self, problem: String) {
        self.problem.get_or_insert(problem);
    }

    /// Returns the bytes of its `SKILL.md`.
    pub(super) fn skill_md(&self) -> Bytes {
        match &self.contents {
            #[cfg(feature = "skills")]
            Contents::Read(bytes) => bytes.clone(),
            Contents::Body(body) => {
                // YAML 1.2 contains JSON, so every value is written as JSON.
                let mut out = String::from("---\n");
                for (name, value) in &self.front_matter {
                    let _ = writeln!(out, "{}: {value}", Value::from(name.as_str()));
                }
                out.push_str("---\n\n");
                out.push_str(body);
                if !body.ends_with('\n') {
                    out.push('\n');
                }
                out.into()
            }
        }
    }
}

impl fmt::Debug for Skill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Skill").field("name", &self.name()).field("files", &self.files.len()).finish_non_exhaustive()
    }
}
