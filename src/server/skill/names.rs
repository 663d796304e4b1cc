//! Names of skills and paths of their files: which are allowed, and how they become URIs.

/// The longest name (Agent Skills, "name field").
const MAX_NAME_CHARS: usize = 64;

/// The longest description (Agent Skills, "description field").
const MAX_DESCRIPTION_CHARS: usize = 1024;

/// The longest path of a file or prefix, in bytes: that of common file systems.
const MAX_PATH_BYTES: usize = 1024;

/// The name of the file with the instructions.
pub(crate) const SKILL_MD: &str = "SKILL.md";

/// The scheme of the URIs.
pub(super) const SCHEME: &str = "skill://";

/// Checks the name of a skill.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if (1..=MAX_NAME_CHARS).contains(&name.len())
        && name.bytes().all(is_allowed)
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--")
    {
        return Ok(());
    }
    Err(format!(
        "{name:?} cannot name a skill: a name has 1 to 64 lower-case letters, digits and single hyphens between them"
    ))
}

/// Checks the description of a skill.
pub(super) fn check_description(description: &str) -> Result<(), String> {
    let count = description.chars().count();
    if description.trim().is_empty() || count > MAX_DESCRIPTION_CHARS {
        return Err(format!("a description has 1 to 1,024 characters, not {count}"));
    }
    Ok(())
}

/// Checks a relative path with `/` between its parts, of a file or a prefix.
pub(super) fn check_path(path: &str) -> Result<(), String> {
    let is_allowed = |part: &str| !matches!(part, "" | "." | "..");
    if path.len() > MAX_PATH_BYTES
        || !path.split('/').all(is_allowed)
        || path.contains(|any: char| any == '\\' || any.is_control())
    {
        return Err(format!(
            "{path:?} is no path: it is relative, has `/` between its parts, no part `.` or `..`, and no backslash"
        ));
    }
    Ok(())
}

/// Returns the URI of the root folder of a skill.
pub(super) fn root_uri(prefix: Option<&str>, name: &str) -> String {
    let mut uri = String::from(SCHEME);
    if let Some(prefix) = prefix {
        push_path(&mut uri, prefix);
        uri.push('/');
    }
    uri.push_str(name);
    uri
}

/// Returns the URI of a file of a skill.
pub(super) fn file_uri(root: &str, path: &str) -> String {
    let mut uri = format!("{root}/");
    push_path(&mut uri, path);
    uri
}

/// Percent-encodes what a segment of a path cannot hold (RFC 3986, section 3.3).
fn push_path(uri: &mut String, path: &str) {
    for byte in path.bytes() {
        match byte {
            b'/' | b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => uri.push(char::from(byte)),
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => {
                uri.push(char::from(byte));
            }
            _ => {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                uri.push('%');
                uri.push(char::from(HEX[usize::from(byte >> 4)]));
                uri.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_agent_skills() {
        for good in ["a", "git-workflow", "a1-b2", &"a".repeat(64)] {
            assert_eq!(check_name(good), Ok(()));
        }
        for bad in ["", "A", "a_b", "-a", "a-", "a--b", "ä", "a b", "a/b", "..", &"a".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_description(" ").is_err());
        assert_eq!(check_description(&"ü".repeat(1024)), Ok(()));
        assert!(check_description(&"ü".repeat(1025)).is_err());
    }

    #[test]
    fn a_path_never_leaves_its_folder() {
        for good in ["a", "a/b.md", ".a", "a..b", "ü/ x"] {
            assert_eq!(check_path(good), Ok(()));
        }
        for bad in ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a\\b", "a\0", "a\nb", &"a/".repeat(1000)] {
            assert!(check_path(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn uris_are_percent_encoded() {
        let root = root_uri(Some("acme/über uns"), "refunds");
        assert_eq!(root, "skill://acme/%C3%BCber%20uns/refunds");
        assert_eq!(file_uri(&root, "a#b?c%d[e]:@.md"), format!("{root}/a%23b%3Fc%25d%5Be%5D%3A%40.md"));
    }
}
