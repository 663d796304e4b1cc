//! A skill: a folder of files, read as resources, that tells a model how to do something. Those
//! of rmcp show that a handler may have methods that the transport does not know.

use rmcp::ErrorData;
use rmcp::model::{DIRECTORY_MIME_TYPE, Resource, Skill, SkillFrontmatter, SkillResource, SkillResources};

const MARKDOWN: &str = "text/markdown";

const NAME: &str = "greeting";
const DESCRIPTION: &str = "Greets people in the tone they like";
const URI: &str = "skill://greeting/SKILL.md";

/// The files by their URIs.
const FILES: [(&str, &str); 3] = [
    (
        URI,
        "---\nname: greeting\ndescription: Greets people in the tone they like\n---\n\n# Greeting\n\n\
         Choose a tone from `tones/`.\n",
    ),
    ("skill://greeting/tones/formal.md", "# Formal\n\nGood day.\n"),
    ("skill://greeting/tones/warm.md", "# Warm\n\nHello, dear!\n"),
];

pub(crate) fn list() -> Vec<Skill> {
    let files = FILES.map(|(uri, text)| SkillResource::from_bytes(uri, text.as_bytes()));
    vec![Skill::new(URI, SkillFrontmatter::new(NAME, DESCRIPTION), SkillResources::Files(files.to_vec()))]
}

pub(crate) fn get(uri: &str) -> Result<Skill, ErrorData> {
    let skill = list().into_iter().find(|skill| skill.uri == uri);
    skill.ok_or_else(|| ErrorData::invalid_params("Unknown skill", None))
}

/// Returns the text of a file.
pub(crate) fn text(uri: &str) -> Option<&'static str> {
    FILES.iter().find(|(known, _)| *known == uri).map(|(_, text)| *text)
}

/// Returns the main file of the skill as a resource.
pub(crate) fn entry() -> Resource {
    Resource::new(URI, NAME).with_description(DESCRIPTION).with_mime_type(MARKDOWN)
}

/// Returns the contents of a folder.
pub(crate) fn folder(uri: &str) -> Result<Vec<Resource>, ErrorData> {
    let mut found: Vec<Resource> = Vec::new();
    for (file, _) in FILES {
        let Some(path) = file.strip_prefix(uri).and_then(|rest| rest.strip_prefix('/')) else { continue };
        let entry = match path.split_once('/') {
            None if file == URI => entry(),
            None => Resource::new(file, path).with_mime_type(MARKDOWN),
            Some((folder, _)) => Resource::new(format!("{uri}/{folder}"), folder).with_mime_type(DIRECTORY_MIME_TYPE),
        };
        if found.iter().all(|known| known.uri != entry.uri) {
            found.push(entry);
        }
    }
    if found.is_empty() {
        return Err(ErrorData::invalid_params("Not a folder", None));
    }
    Ok(found)
}
