//! Skills: folders of instructions and files for a model (extension
//! `io.modelcontextprotocol/skills`), served as resources with a manifest.
//!
//! 1. A skill is a snapshot: what `resources/read` returns always matches the digests and sizes of
//!    its entry. Files that change on disk show when the application loads them again.
//! 2. A file is found by its whole URI. No part of a request ever becomes a path.
//! 3. The limits of the extension hold for every skill, and are checked when it is registered.

mod apply;
mod definition;
mod entry;
#[cfg(feature = "skills")]
mod error;
#[cfg(feature = "skills")]
mod folder;
#[cfg(feature = "skills")]
mod front_matter;
mod media;
mod names;
mod table;

pub use definition::Skill;
#[cfg(feature = "skills")]
pub use error::SkillError;

pub(crate) use entry::{SkillEntry, SkillFile};
pub(crate) use table::{Child, SkillChange, SkillEdit, Skills};
