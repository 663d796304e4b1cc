//! Apply: changes of the skills of a server, together with the resources of their `SKILL.md`.

use super::{SkillEdit, SkillEntry};
use crate::error::ConfigError;
use crate::message::canonical;
use crate::server::catalog::{Item, Tables};

impl<S> Tables<S> {
    /// Makes a change of the skills, whole or not at all. Returns `true` if clients see it.
    pub(crate) fn apply_skills(&mut self, edit: SkillEdit<S>) -> Result<bool, ConfigError> {
        let next = self.skills.changed(&edit)?;
        for (skill, resource) in &edit.skills {
            resource.check()?;
            let is_taken = self.resources.get(resource.key()).is_some() && self.skills.get(skill.uri()).is_none();
            if is_taken {
                return Err(ConfigError::new("skill", format!("{:?} is registered twice", skill.uri())));
            }
        }
        if next.is_same(&self.skills) {
            return Ok(false);
        }
        let is_gone = |skill: &&SkillEntry| next.get(skill.uri()).is_none();
        for gone in self.skills.entries.items().filter(is_gone) {
            self.resources.remove(&canonical(gone.uri()));
        }
        for (_, resource) in edit.skills {
            self.resources.put(resource)?;
        }
        self.skills = next;
        Ok(true)
    }

    /// Removes a skill and the resource of its `SKILL.md`.
    pub(crate) fn remove_skill(&mut self, uri: &str) -> bool {
        let uri = canonical(uri);
        let Some(next) = self.skills.without(&uri) else { return false };
        self.resources.remove(&uri);
        self.skills = next;
        true
    }
}
