//! Folder: reads skills from folders, whole, within their limits, and without following links.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;

use super::error::SkillError;
use super::names::{SKILL_MD, check_path};
use super::{Skill, front_matter};

/// The deepest folder below the one that is read. Deeper trees are mistakes.
const MAX_DEPTH: usize = 32;

/// The most files and folders that one call reads: 512 files each of some hundred skills.
const MAX_ENTRIES: usize = 100_000;

/// The most bytes that one call reads, because all of them stay in memory: sixteen of the largest
/// skills, or thousands of usual ones.
const MAX_BYTES: u64 = 256 << 20;

/// How often a file that changes while it is read is read again.
const ATTEMPTS: usize = 3;

const TOO_LARGE: &str =
    "it is too large: a skill has at most 16 MiB (`Skill::MAX_BYTES`), and all skills that are read at once 256 MiB";

/// The files below a folder, by their paths there. Paths of skills are sections of these.
type Files = BTreeMap<String, Bytes>;

impl Skill {
    /// Reads a skill from its folder, which has its name and contains a `SKILL.md` with YAML front
    /// matter. Everything below belongs to it, further skills included.
    ///
    /// The files are read whole now and stay in memory. Changes on disk show when the skill is read
    /// and registered again, see [`Catalog::set_skills`](crate::server::Catalog::set_skills).
    /// Entries that begin with a dot are skipped. Links are not followed: one is an error, as is
    /// anything else that is not a file or a folder.
    ///
    /// This blocks. From async code call it in `tokio::task::spawn_blocking`.
    ///
    /// # Errors
    ///
    /// If something cannot be read, the skill breaks a rule of Agent Skills, or it exceeds
    /// [`Skill::MAX_FILES`] or [`Skill::MAX_BYTES`].
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self, SkillError> {
        let folder = folder.as_ref();
        // The name of `.` and of a link is that of the folder it leads to.
        let whole = fs::canonicalize(folder).map_err(|error| SkillError::io(folder, error))?;
        let mut reading = Reading::new(folder, true);
        reading.folder(folder, "", 0)?;
        let Some(name) = whole.file_name().and_then(OsStr::to_str) else {
            return Err(SkillError::invalid(folder, "its name is not UTF-8"));
        };
        skill(folder, "", name, &reading.files)
    }

    /// Reads all skills below a folder, which itself is none. A skill in a sub-folder has that as
    /// its [`prefix`](Skill::prefix): `acme/refunds/SKILL.md` becomes
    /// `skill://acme/refunds/SKILL.md`. A skill within another one is a skill of its own, and its
    /// files belong to both.
    ///
    /// The rest is as for [`Skill::from_folder`]. All skills together may have 100,000 entries and
    /// 256 MiB, because they stay in memory. Files outside of skills are not read.
    ///
    /// ```no_run
    /// use mcp_http::McpServer;
    /// use mcp_http::server::{Skill, SkillError};
    ///
    /// # fn main() -> Result<(), SkillError> {
    /// let server: McpServer =
    ///     McpServer::new("docs", "1.0.0").with_skills(Skill::all_in("skills")?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The same as [`Skill::from_folder`]. The error names every skill with a problem.
    pub fn all_in(folder: impl AsRef<Path>) -> Result<Vec<Self>, SkillError> {
        let folder = folder.as_ref();
        let mut reading = Reading::new(folder, false);
        reading.folder(folder, "", 0)?;
        if reading.files.contains_key(SKILL_MD) {
            return Err(SkillError::invalid(folder, "it is a skill, not a folder of skills: use `Skill::from_folder`"));
        }
        let roots = reading.files.keys().filter_map(|path| path.strip_suffix(SKILL_MD)?.strip_suffix('/'));
        let mut failed: Option<SkillError> = None;
        let mut skills = Vec::new();
        for root in roots {
            let (prefix, name) = root.rsplit_once('/').map_or((None, root), |(prefix, name)| (Some(prefix), name));
            match skill(&folder.join(root), &format!("{root}/"), name, &reading.files) {
                Ok(skill) => skills.push(prefix.into_iter().fold(skill, Self::prefix)),
                Err(error) => {
                    failed = Some(match failed {
                        Some(failed) => failed.and(error),
                        None => error,
                    });
                }
            }
        }
        failed.map_or(Ok(skills), Err)
    }
}

/// Makes the skill of the files whose paths begin with `root`, which is empty or ends with `/`.
fn skill(folder: &Path, root: &str, name: &str, files: &Files) -> Result<Skill, SkillError> {
    let own = files.range(root.to_owned()..).take_while(|(path, _)| path.starts_with(root));
    let own = own.filter_map(|(path, contents)| Some((path.strip_prefix(root)?, contents)));
    let path = folder.join(SKILL_MD);
    let Some(skill_md) = files.get(&format!("{root}{SKILL_MD}")) else {
        return Err(SkillError::invalid(folder, "it has no SKILL.md"));
    };
    let fields = front_matter::read(skill_md).map_err(|why| SkillError::invalid(&path, why))?;
    let skill = Skill::of_read(fields, skill_md.clone());
    if skill.name() != name {
        let why = format!("its name is {:?}, and that of its folder {name:?}: they must be equal", skill.name());
        return Err(SkillError::invalid(&path, why));
    }
    let skill = own
        .filter(|(path, _)| *path != SKILL_MD)
        .fold(skill, |skill, (path, contents)| skill.file(path, contents.clone()));
    super::entry::check(&skill).map_err(|why| SkillError::invalid(folder, why))?;
    Ok(skill)
}

/// Reads the files of a tree.
struct Reading {
    /// Also reads files outside of skills, because the root is one.
    is_skill: bool,
    files: Files,
    entries: usize,
    bytes: u64,
    root: Rc<Path>,
}

impl Reading {
    fn new(root: &Path, is_skill: bool) -> Self {
        Self { is_skill, files: BTreeMap::new(), entries: 0, bytes: 0, root: Rc::from(root) }
    }

    fn folder(&mut self, folder: &Path, path: &str, depth: usize) -> Result<(), SkillError> {
        if depth > MAX_DEPTH {
            return Err(SkillError::invalid(folder, format!("it is more than {MAX_DEPTH} folders deep")));
        }
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder).map_err(|error| SkillError::io(folder, error))? {
            let name = entry.map_err(|error| SkillError::io(folder, error))?.file_name();
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            self.entries += 1;
            if self.entries > MAX_ENTRIES {
                return Err(SkillError::invalid(
                    &self.root,
                    format!("it has more than {MAX_ENTRIES} files and folders"),
                ));
            }
            entries.push(name);
        }
        // A skill is read whole, and so is what is below it.
        let outside = !self.is_skill;
        self.is_skill |= entries.iter().any(|name| name == SKILL_MD);
        for name in entries {
            let place = folder.join(&name);
            let Some(name) = name.to_str() else {
                return Err(SkillError::invalid(&place, "its name is not UTF-8"));
            };
            let path = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
            self.entry(&place, path, depth)?;
        }
        self.is_skill &= !outside;
        Ok(())
    }

    fn entry(&mut self, place: &Path, path: String, depth: usize) -> Result<(), SkillError> {
        let metadata = fs::symlink_metadata(place).map_err(|error| SkillError::io(place, error))?;
        if metadata.is_dir() {
            return self.folder(place, &path, depth + 1);
        }
        if !self.is_skill {
            return Ok(());
        }
        check_path(&path).map_err(|why| SkillError::invalid(place, why))?;
        let contents = self.file(place)?;
        self.bytes += contents.len() as u64;
        self.files.insert(path, contents);
        Ok(())
    }

    fn file(&self, place: &Path) -> Result<Bytes, SkillError> {
        for _ in 0..ATTEMPTS {
            if let Some(contents) = self.attempt(place)? {
                return Ok(contents);
            }
        }
        Err(SkillError::invalid(place, "it changes while it is read: load the skills again when it is complete"))
    }

    /// Reads a file once. Returns `None` if it changed meanwhile.
    fn attempt(&self, place: &Path) -> Result<Option<Bytes>, SkillError> {
        let failed = |error| SkillError::io(place, error);
        let seen = fs::symlink_metadata(place).map_err(failed)?;
        if seen.is_symlink() {
            return Err(SkillError::invalid(
                place,
                "it is a link, and links are not followed: put the file itself there",
            ));
        }
        if !seen.is_file() {
            return Err(SkillError::invalid(place, "it is neither a file nor a folder"));
        }
        let file = File::open(place).map_err(failed)?;
        let before = file.metadata().map_err(failed)?;
        // Otherwise another file, or a link to one, took its place after the check.
        if !same_file(&seen, &before) {
            return Ok(None);
        }
        let limit = MAX_BYTES.saturating_sub(self.bytes).min(Skill::MAX_BYTES as u64);
        let mut contents = Vec::with_capacity(usize::try_from(before.len().min(limit)).unwrap_or_default());
        // One byte more than allowed shows that there is more.
        Read::by_ref(&mut &file).take(limit + 1).read_to_end(&mut contents).map_err(failed)?;
        if contents.len() as u64 > limit {
            return Err(SkillError::invalid(place, TOO_LARGE));
        }
        let after = file.metadata().map_err(failed)?;
        let is_same = after.len() == contents.len() as u64 && after.modified().ok() == before.modified().ok();
        Ok(is_same.then(|| contents.into()))
    }
}

/// Returns `true` if both describe one file, so that no link took its place between the check and
/// the opening.
#[cfg(unix)]
fn same_file(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

#[cfg(not(unix))]
fn same_file(_: &Metadata, _: &Metadata) -> bool {
    true
}
