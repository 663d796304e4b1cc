//! Skills: the methods of [`McpServer`] that register them, and the answers of the skills extension.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::McpServer;
use super::dispatch::{ByUri, CallResult, Params, write};
use crate::message::{ErrorObject, RawJson, bounded};
use crate::server::catalog::Edit;
use crate::server::skill::{Child, SkillChange, SkillEdit, Skills};
use crate::server::{CacheHint, Context, Skill};

/// The media type of a folder.
const FOLDER: &str = "inode/directory";

impl<S: Send + Sync + 'static> McpServer<S> {
    /// Registers a [`Skill`].
    ///
    /// # Panics
    ///
    /// If it is already registered, breaks a rule of Agent Skills, or exceeds a limit of the
    /// extension, see [`Skill::new`].
    #[must_use]
    #[track_caller]
    pub fn with_skill(self, skill: Skill) -> Self {
        self.with_skills([skill])
    }

    /// Registers skills. Even without any the server declares the extension, for skills that come
    /// later ([`Catalog::set_skills`](crate::server::Catalog::set_skills)).
    ///
    /// # Panics
    ///
    /// The same as [`McpServer::with_skill`].
    #[must_use]
    #[track_caller]
    pub fn with_skills(self, skills: impl IntoIterator<Item = Skill>) -> Self {
        let result =
            SkillEdit::of(skills, SkillChange::Add).and_then(|edit| self.store.edit(Edit::Skills(edit)).map(drop));
        self.registered(result)
    }

    /// Answers `skills/list`, or an unknown method if there are no skills.
    pub(super) fn list_skills(&self, params: &Params, context: &Context) -> CallResult {
        self.skills("skills/list")?;
        self.list(params, context, self.facts.caching.skills(), |tables| &tables.skills.entries, |_| false)
    }

    /// Answers `skills/get`.
    pub(super) fn get_skill(&self, params: &Params, context: &Context) -> CallResult {
        #[derive(Serialize)]
        struct GetSkillResult<'a> {
            #[serde(flatten)]
            hint: Option<CacheHint>,
            skill: &'a RawJson,
        }
        let skills = self.skills("skills/get")?;
        let ByUri { uri } = params.read()?;
        let Some(skill) = skills.get(&uri) else {
            return Err(ErrorObject::invalid_params(format!("No skill is served at {}", bounded(&uri))));
        };
        write(&GetSkillResult { hint: skill.cache().known_to(context), skill: skill.json() })
    }

    /// Answers `resources/directory/read`.
    pub(super) fn read_directory(&self, params: &Params) -> CallResult {
        #[derive(Deserialize)]
        struct Read<'a> {
            #[serde(borrow)]
            uri: Cow<'a, str>,
            #[serde(borrow, default)]
            cursor: Option<Cow<'a, str>>,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct ReadResult<'a> {
            resources: Vec<Listed<'a>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            next_cursor: Option<String>,
        }
        let skills = self.skills("resources/directory/read")?;
        let Read { uri, cursor } = params.read()?;
        let Some(children) = skills.children(&uri) else {
            return Err(ErrorObject::invalid_params(format!("No directory is served at {}", bounded(&uri))));
        };
        let from = match cursor {
            None => 0,
            Some(cursor) => {
                let last = child_of(&cursor).ok_or_else(|| ErrorObject::invalid_params("Invalid cursor"))?;
                children.partition_point(|child| child.uri() <= &*last)
            }
        };
        let page = &children[from..(from + self.facts.page_size).min(children.len())];
        let has_more = from + page.len() < children.len();
        let next_cursor = page.last().filter(|_| has_more).map(|last| cursor_after(last.uri()));
        write(&ReadResult { resources: page.iter().map(|child| Listed::of(child, &skills)).collect(), next_cursor })
    }

    fn skills(&self, method: &str) -> Result<Skills, ErrorObject> {
        let skills = self.store.tables().skills.clone();
        if skills.is_served { Ok(skills) } else { Err(ErrorObject::method_not_found(method)) }
    }
}

/// A child of a folder, as a `Resource` of the protocol.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    uri: &'a str,
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    mime_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<usize>,
}

impl<'a> Listed<'a> {
    fn of(child: &'a Child, skills: &'a Skills) -> Self {
        let uri = child.uri();
        let file = skills.file(uri).filter(|_| matches!(child, Child::File(_)));
        let skill = skills.get(uri);
        Self {
            uri,
            name: skill.map_or_else(|| last_segment(uri), |skill| skill.name().into()),
            description: skill.map(|skill| skill.description()),
            mime_type: file.map_or(FOLDER, |file| file.media_type),
            size: file.map(|file| file.contents.len()),
        }
    }
}

/// Returns the name of a file or folder, decoded.
fn last_segment(uri: &str) -> Cow<'_, str> {
    let segment = uri.rsplit('/').next().unwrap_or(uri);
    crate::server::resource::decoded(segment).map_or(Cow::Borrowed(segment), Cow::Owned)
}

/// The tag of the cursors of directories.
const CURSOR: &str = "directory:";

fn cursor_after(uri: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{CURSOR}{uri}"))
}

/// Returns the last child of the previous page.
fn child_of(cursor: &str) -> Option<String> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    text.strip_prefix(CURSOR).map(str::to_owned)
}
