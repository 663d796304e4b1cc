//! Names of extensions and methods: their form, and which ones are reserved.

use crate::message::TASKS;

/// The longest name, in bytes. Names travel in headers and logs, and the longest official one has
/// 46.
const MAX_NAME_BYTES: usize = 256;

/// The vendor prefix of official extensions.
const OFFICIAL: &str = "io.modelcontextprotocol/";

/// The extension for skills.
pub(crate) const SKILLS: &str = "io.modelcontextprotocol/skills";

/// The first segments of methods in the specification and its final extensions, in any revision.
const RESERVED: &[&str] = &[
    "completion",
    "elicitation",
    "initialize",
    "logging",
    "notifications",
    "ping",
    "prompts",
    "resources",
    "roots",
    "sampling",
    "server",
    "skills",
    "subscriptions",
    "tasks",
    "tools",
    "ui",
];

/// Checks the identifier of an extension: a key of `_meta` with a prefix (2026-07-28, Versioning,
/// "Extension Negotiation").
pub(super) fn check_extension(id: &str) -> Result<(), String> {
    let problem = |why: &str| Err(format!("{id:?} cannot name an extension: {why}"));
    let Some((prefix, name)) = id.split_once('/') else {
        return problem("write a domain of yours and a name, such as `com.example/weather`");
    };
    if id.len() > MAX_NAME_BYTES || !is_prefix(prefix) || !is_meta_name(name) {
        return problem("its form is that of a `_meta` key, such as `com.example/weather`");
    }
    match id {
        TASKS => problem("register a tool that may become a task, and it is declared"),
        SKILLS => problem("register a `Skill` (feature `skills`), and it is declared"),
        _ if is_reserved_prefix(prefix) && !id.starts_with(OFFICIAL) => {
            problem("its prefix is reserved by the specification")
        }
        _ => Ok(()),
    }
}

/// Checks the name of a method or notification of the server's own.
pub(super) fn check_method(name: &str) -> Result<(), String> {
    let problem = |why: &str| Err(format!("{name:?} cannot name a method: {why}"));
    // Notifications may have the prefix that those of the specification have.
    let own = name.strip_prefix("notifications/").unwrap_or(name);
    let Some((vendor, rest)) = own.split_once('/') else {
        return problem("write a domain of yours and a name, such as `com.example/forecast`");
    };
    let is_plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_graphic());
    if name.len() > MAX_NAME_BYTES || vendor.is_empty() || rest.is_empty() || !is_plain(own) {
        return problem("it is visible ASCII, such as `com.example/forecast`");
    }
    if RESERVED.contains(&vendor) || vendor.starts_with("rpc.") || is_reserved_prefix(vendor) {
        return problem("its first part is reserved by the specification");
    }
    Ok(())
}

/// Labels with dots between them. Each starts with a letter and ends with a letter or digit.
fn is_prefix(prefix: &str) -> bool {
    prefix.split('.').all(|label| {
        label.starts_with(|first: char| first.is_ascii_alphabetic())
            && label.ends_with(|last: char| last.is_ascii_alphanumeric())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
}

fn is_meta_name(name: &str) -> bool {
    let is_end = |end: Option<char>| end.is_some_and(|end| end.is_ascii_alphanumeric());
    is_end(name.chars().next())
        && is_end(name.chars().next_back())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// Returns `true` if the second label is `modelcontextprotocol` or `mcp`.
fn is_reserved_prefix(prefix: &str) -> bool {
    matches!(prefix.split('.').nth(1), Some("modelcontextprotocol" | "mcp"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extension_is_named_by_a_meta_key_with_a_prefix() {
        for good in ["com.example/weather", "com.example.mcp/a_b.c-1", "io.modelcontextprotocol/ui", "a/b"] {
            assert_eq!(check_extension(good), Ok(()));
        }
        for bad in [
            "weather",
            "/weather",
            "com.example/",
            "com.example/a/b",
            "com..example/a",
            "com.1example/a",
            "com.example-/a",
            "com.example/_a",
            "com.example/a.",
            "com.exämple/a",
            "dev.mcp/a",
            "org.modelcontextprotocol.api/a",
            TASKS,
            SKILLS,
        ] {
            assert!(check_extension(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_method_has_a_vendor_that_is_not_reserved() {
        for good in ["com.example/forecast", "vendor/a/b", "notifications/com.example/moved"] {
            assert_eq!(check_method(good), Ok(()));
        }
        for bad in [
            "forecast",
            "ping",
            "/forecast",
            "vendor/",
            "vendor/a b",
            "vendor/ä",
            "tools/forecast",
            "resources/directory/read",
            "skills/list",
            "rpc.discover/a",
            "notifications/initialized",
            "notifications/tools/list_changed",
            "notifications/notifications/a",
            "io.modelcontextprotocol/a",
        ] {
            assert!(check_method(bad).is_err(), "{bad}");
        }
        assert!(check_method(&format!("vendor/{}", "a".repeat(MAX_NAME_BYTES))).is_err());
    }
}
