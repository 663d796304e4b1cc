//! Media types of the files of a skill, by their names and contents.

/// Media types by file extension, for what skills contain.
const BY_EXTENSION: &[(&str, &str)] = &[
    ("md", "text/markdown"),
    ("markdown", "text/markdown"),
    ("txt", "text/plain"),
    ("csv", "text/csv"),
    ("html", "text/html"),
    ("css", "text/css"),
    ("js", "text/javascript"),
    ("mjs", "text/javascript"),
    ("ts", "text/x-typescript"),
    ("py", "text/x-python"),
    ("rs", "text/x-rust"),
    ("sh", "text/x-shellscript"),
    ("sql", "application/sql"),
    ("json", "application/json"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("toml", "application/toml"),
    ("xml", "application/xml"),
    ("pdf", "application/pdf"),
    ("zip", "application/zip"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("webp", "image/webp"),
    ("svg", "image/svg+xml"),
    ("wasm", "application/wasm"),
];

/// Returns the media type of a file.
pub(super) fn media_type(path: &str, contents: &[u8]) -> &'static str {
    let extension = path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map(|(_, extension)| extension);
    let known = extension
        .and_then(|extension| BY_EXTENSION.iter().find(|(known, _)| known.eq_ignore_ascii_case(extension)))
        .map(|(_, media_type)| *media_type);
    let by_contents = || if text(contents).is_some() { "text/plain" } else { "application/octet-stream" };
    known.unwrap_or_else(by_contents)
}

/// Returns the contents as text, if a client gets exactly these bytes back from it.
pub(super) fn text(contents: &[u8]) -> Option<&str> {
    std::str::from_utf8(contents).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides_before_the_contents() {
        for (path, contents, wanted) in [
            ("SKILL.md", &b"x"[..], "text/markdown"),
            ("a.b/LICENSE", b"x", "text/plain"),
            ("a/B.PNG", b"x", "image/png"),
            ("a.unknown", b"\xff", "application/octet-stream"),
            ("a.unknown", b"a\0b", "application/octet-stream"),
        ] {
            assert_eq!(media_type(path, contents), wanted, "{path}");
        }
    }
}
