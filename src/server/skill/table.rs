//! Table: the skills of a server, with their files by URI and the folders between them.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::names::SCHEME;
use super::{Skill, SkillEntry, SkillFile};
use crate::error::ConfigError;
use crate::message::canonical;
use crate::server::Resource;
use crate::server::catalog::Entries;

/// The skills of a server. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Skills {
    /// Set once skills were registered, even none.
    pub(crate) is_served: bool,
    pub(crate) entries: Arc<Entries<SkillEntry>>,
    /// The files by their canonical URIs.
    files: Arc<BTreeMap<String, SkillFile>>,
}

/// A change of the skills. Each skill comes with the resource of its `SKILL.md`.
pub(crate) struct SkillEdit<S> {
    pub(crate) change: SkillChange,
    pub(crate) skills: Vec<(SkillEntry, Resource<S>)>,
}

/// What becomes of the skills that are registered already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SkillChange {
    /// They stay, and none may be registered twice.
    Add,
    /// They stay, or are replaced.
    Put,
    /// Only those stay that are given again.
    Set,
}

/// What is in a folder, by its URI.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Child {
    File(String),
    Folder(String),
}

impl Skills {
    /// Returns the skills after a change.
    pub(crate) fn changed<S>(&self, edit: &SkillEdit<S>) -> Result<Self, ConfigError> {
        let mut given = HashSet::new();
        for (skill, _) in &edit.skills {
            let is_known = edit.change == SkillChange::Add && self.entries.get(skill.uri()).is_some();
            if is_known || !given.insert(skill.uri()) {
                return Err(ConfigError::new("skill", format!("{:?} is registered twice", skill.uri())));
            }
        }
        // Those that stay keep their position.
        let mut entries = (*self.entries).clone();
        if edit.change == SkillChange::Set {
            for gone in self.entries.items().filter(|known| !given.contains(known.uri())) {
                entries.remove(gone.uri());
            }
        }
        for (skill, _) in &edit.skills {
            entries.put(skill.clone())?;
        }
        Self::of(entries)
    }

    /// Returns the skills without one; `None` if it does not exist.
    pub(crate) fn without(&self, uri: &str) -> Option<Self> {
        let mut entries = (*self.entries).clone();
        entries.remove(uri)?;
        Self::of(entries).ok()
    }

    fn of(entries: Entries<SkillEntry>) -> Result<Self, ConfigError> {
        let mut files: BTreeMap<String, SkillFile> = BTreeMap::new();
        for (uri, file) in entries.items().flat_map(SkillEntry::files) {
            let other = files.insert(canonical(uri).into_owned(), file.clone());
            if other.is_some_and(|other| other.digest != file.digest) {
                return Err(ConfigError::new("skill", format!("two skills have different files at {uri:?}")));
            }
        }
        Ok(Self { is_served: true, entries: Arc::new(entries), files: Arc::new(files) })
    }

    /// Returns `true` if clients see no difference.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.is_served == other.is_served && self.entries.ordered() == other.entries.ordered()
    }

    /// Returns the URIs of the files that others have replaced.
    pub(crate) fn updated(&self, next: &Self) -> Vec<String> {
        if Arc::ptr_eq(&self.files, &next.files) {
            return Vec::new();
        }
        let is_updated =
            |(uri, file): &(&String, &SkillFile)| next.files.get(*uri).is_some_and(|other| other.digest != file.digest);
        self.files.iter().filter(is_updated).map(|(uri, _)| uri.clone()).collect()
    }

    /// Returns a skill by the URI of its `SKILL.md`.
    pub(crate) fn get(&self, uri: &str) -> Option<&Arc<SkillEntry>> {
        self.entries.get(&canonical(uri))
    }

    /// Returns a file by its canonical URI.
    pub(crate) fn file(&self, canonical: &str) -> Option<&SkillFile> {
        self.files.get(canonical)
    }

    /// Returns what is directly in a folder, in the order of the URIs; `None` if there is no such
    /// folder.
    pub(crate) fn children(&self, folder: &str) -> Option<Vec<Child>> {
        let folder = canonical(folder);
        folder.strip_prefix(SCHEME).filter(|path| !path.is_empty())?;
        let start = format!("{folder}/");
        let mut children: Vec<Child> = Vec::new();
        for uri in self.files.range(start.clone()..).map(|(uri, _)| uri).take_while(|uri| uri.starts_with(&start)) {
            let child = match uri[start.len()..].find('/') {
                None => Child::File(uri.clone()),
                Some(end) => Child::Folder(uri[..start.len() + end].to_owned()),
            };
            // The files of a folder follow each other.
            if children.last() != Some(&child) {
                children.push(child);
            }
        }
        children.sort_unstable_by(|one, other| one.uri().cmp(other.uri()));
        (!children.is_empty()).then_some(children)
    }
}

impl Child {
    pub(crate) fn uri(&self) -> &str {
        let (Self::File(uri) | Self::Folder(uri)) = self;
        uri
    }
}

impl<S: Send + Sync + 'static> SkillEdit<S> {
    /// Checks skills and computes their digests.
    pub(crate) fn of(skills: impl IntoIterator<Item = Skill>, change: SkillChange) -> Result<Self, ConfigError> {
        let offered = |skill: Skill| {
            let entry = SkillEntry::of(&skill)?;
            let resource = entry.resource();
            Ok((entry, resource))
        };
        Ok(Self { change, skills: skills.into_iter().map(offered).collect::<Result<_, ConfigError>>()? })
    }
}

impl<S: Clone + Send + Sync + 'static> SkillEdit<S> {
    pub(crate) fn with_state<S2: 'static>(&self, state: &S) -> SkillEdit<S2> {
        let skills = self.skills.iter().map(|(entry, resource)| (entry.clone(), resource.with_state(state))).collect();
        // What is new there is new here, too.
        let change = if self.change == SkillChange::Add { SkillChange::Put } else { self.change };
        SkillEdit { change, skills }
    }
}
