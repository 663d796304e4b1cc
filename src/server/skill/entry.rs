//! Entry: a skill as clients see it, with the digests and sizes of its files.

use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::Skill;
use super::media::{media_type, text};
use super::names::{SKILL_MD, check_description, check_name, file_uri, root_uri};
use crate::error::ConfigError;
use crate::identity::Scopes;
use crate::message::RawJson;
use crate::server::catalog::{Item, Rendered};
use crate::server::{CacheHint, Resource, ResourceContents};

/// A registered skill. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct SkillEntry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The URI of its `SKILL.md`.
    uri: String,
    name: String,
    description: String,
    json: RawJson,
    skill_md: SkillFile,
    /// All files by their URIs, `SKILL.md` first.
    files: Vec<(String, SkillFile)>,
    cache: CacheHint,
    /// Skills need none; the list asks for them.
    scopes: Scopes,
}

/// A file of a skill.
#[derive(Debug, Clone)]
pub(crate) struct SkillFile {
    pub(crate) contents: Bytes,
    pub(crate) media_type: &'static str,
    pub(crate) cache: CacheHint,
    pub(crate) digest: [u8; 32],
    /// Skills need none; reading a resource asks for them.
    pub(crate) scopes: Scopes,
}

/// The entry of a skill, as the extension writes it.
#[derive(Serialize)]
struct Entry<'a> {
    uri: &'a str,
    frontmatter: &'a Map<String, Value>,
    resources: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    uri: &'a str,
    digest: String,
    size: usize,
}

impl SkillEntry {
    /// Checks a skill and computes its digests.
    pub(crate) fn of(skill: &Skill) -> Result<Self, ConfigError> {
        let invalid = |why: String| ConfigError::new("skill", format!("{:?}: {why}", skill.name()));
        check(skill).map_err(invalid)?;
        let root = root_uri(skill.prefix.as_deref(), skill.name());
        let uri = file_uri(&root, SKILL_MD);
        let skill_md = SkillFile::of(SKILL_MD, &skill.skill_md(), skill.cache);
        let others = skill
            .files
            .iter()
            .map(|(path, contents)| (file_uri(&root, path), SkillFile::of(path, contents, skill.cache)));
        let files: Vec<_> = std::iter::once((uri.clone(), skill_md.clone())).chain(others).collect();
        let resources = files.iter().map(|(uri, file)| file.row(uri)).collect();
        let entry = Entry { uri: &uri, frontmatter: &skill.front_matter, resources };
        let json = RawJson::from_value(&entry).map_err(|error| invalid(error.to_string()))?;
        let (name, description) = (skill.name().to_owned(), skill.description().to_owned());
        Ok(Self(Arc::new(Inner {
            uri,
            name,
            description,
            json,
            skill_md,
            files,
            cache: skill.cache,
            scopes: Scopes::default(),
        })))
    }

    /// Returns the URI of its `SKILL.md`.
    pub(crate) fn uri(&self) -> &str {
        &self.0.uri
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    pub(crate) fn description(&self) -> &str {
        &self.0.description
    }

    /// Returns its `SKILL.md` as a resource, which lists show.
    pub(super) fn resource<S: Send + Sync + 'static>(&self) -> Resource<S> {
        let file = self.0.skill_md.clone();
        let (media_type, size) = (file.media_type, file.contents.len() as u64);
        let read = move || {
            let file = file.clone();
            async move { file.read() }
        };
        Resource::new(self.uri(), self.name(), read)
            .description(self.description())
            .mime_type(media_type)
            .size(size)
            .cache(self.0.cache)
    }

    pub(crate) fn json(&self) -> &RawJson {
        &self.0.json
    }

    pub(crate) fn cache(&self) -> CacheHint {
        self.0.cache
    }

    /// Returns its files by their URIs, `SKILL.md` first.
    pub(crate) fn files(&self) -> &[(String, SkillFile)] {
        &self.0.files
    }
}

impl PartialEq for SkillEntry {
    /// Compares what clients see: the digests stand for the contents.
    fn eq(&self, other: &Self) -> bool {
        self.0.json == other.0.json && self.0.cache == other.0.cache
    }
}

impl SkillFile {
    fn of(path: &str, contents: &Bytes, cache: CacheHint) -> Self {
        Self {
            contents: contents.clone(),
            media_type: media_type(path, contents),
            cache,
            digest: Sha256::digest(contents).into(),
            scopes: Scopes::default(),
        }
    }

    fn row<'a>(&self, uri: &'a str) -> Row<'a> {
        Row { uri, digest: digest_text(&self.digest), size: self.contents.len() }
    }

    pub(crate) fn read(&self) -> ResourceContents {
        match text(&self.contents) {
            Some(text) => ResourceContents::text(text),
            None => ResourceContents::blob(&self.contents),
        }
        .mime_type(self.media_type)
    }
}

impl Item for SkillEntry {
    const LIST: &'static str = "skills";

    /// An entry may have 512 files, some 100 KiB of JSON. A page of them stays about this size.
    const MAX_PAGE_BYTES: usize = 1 << 20;

    fn key(&self) -> &str {
        self.uri()
    }

    fn scopes(&self) -> &Scopes {
        &self.0.scopes
    }

    fn check(&self) -> Result<Rendered, ConfigError> {
        Ok(self.json().clone().into())
    }
}

pub(super) fn check(skill: &Skill) -> Result<(), String> {
    if let Some(problem) = &skill.problem {
        return Err(problem.clone());
    }
    check_name(skill.name())?;
    check_description(skill.description())?;
    let count = skill.files.len() + 1;
    if count > Skill::MAX_FILES {
        return Err(format!(
            "it has {count} files, and hosts need not load more than {} (`Skill::MAX_FILES`)",
            Skill::MAX_FILES
        ));
    }
    let bytes = skill.skill_md().len() + skill.files.values().map(Bytes::len).sum::<usize>();
    if bytes > Skill::MAX_BYTES {
        return Err(format!(
            "it has {bytes} bytes, and hosts need not load more than {} (`Skill::MAX_BYTES`)",
            Skill::MAX_BYTES
        ));
    }
    Ok(())
}

fn digest_text(digest: &[u8]) -> String {
    digest.iter().fold(String::from("sha256:"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
