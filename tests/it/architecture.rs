//! The laws of the sources: which module may import which, how large a file may be, what is made where.
//! They are read from the sources, so that a change that breaks one has to change it here.

mod circles;
mod imports;

use std::fs;
use std::path::{Path, PathBuf};

use self::circles::CIRCLES;
use self::imports::Imports;

/// Each module of `src` and the modules it may import; data flows from the edge inwards.
const MODULES: &[(&str, &[&str])] = &[
    ("auth", &["clock", "encode", "error", "identity", "message"]),
    ("clock", &[]),
    ("cors", &["header"]),
    ("counters", &["error", "store"]),
    ("edge", &["error", "header", "identity", "message", "throttle"]),
    ("encode", &["error", "header", "identity", "message", "outcome", "panics", "streams", "throttle"]),
    ("error", &["message"]),
    ("guide", &[]),
    (
        "core",
        &["counters", "error", "handle", "identity", "message", "panics", "server", "settings", "store", "throttle"],
    ),
    ("handle", &["counters", "error", "identity", "server", "store"]),
    ("header", &[]),
    ("identity", &["message"]),
    ("layer", &["handle", "mount", "service"]),
    (
        "legacy",
        &[
            "edge", "error", "core", "handle", "header", "identity", "message", "outcome", "panics", "seal", "server",
            "settings", "store", "streams",
        ],
    ),
    ("message", &[]),
    (
        "modern",
        &[
            "clock", "edge", "error", "core", "handle", "identity", "message", "outcome", "panics", "seal", "server",
            "settings", "store", "streams",
        ],
    ),
    ("mount", &["server", "service"]),
    ("net", &[]),
    ("outcome", &["error", "identity", "message", "streams"]),
    ("panics", &[]),
    // A framework like any other: it may know what a framework outside of this crate could.
    ("rmcp", &["message", "seal", "server", "service"]),
    ("router", &["service"]),
    ("seal", &["settings"]),
    ("server", &["error", "handle", "header", "identity", "message", "panics"]),
    (
        "service",
        &[
            "clock", "counters", "edge", "encode", "error", "core", "handle", "identity", "legacy", "message",
            "modern", "outcome", "panics", "server", "settings", "store", "streams",
        ],
    ),
    ("settings", &["error", "identity", "message", "server", "store"]),
    ("store", &["clock", "error", "identity", "message"]),
    ("streams", &["store"]),
    ("throttle", &[]),
];

/// The most lines of code (no comments, blanks or tests) a file may have, and a function.
const MAX_FILE: usize = 400;
const MAX_FUNCTION: usize = 60;

fn sources() -> Vec<(PathBuf, String)> {
    fn collect(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 50, "the sources were not found");
    found
}

/// The module a file belongs to: its folder or its own name right below `src`.
fn module(path: &Path) -> String {
    let below = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    below.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

/// The lines of a file that are there without tests, too, by number: all but the items for tests only.
fn tested(text: &str) -> Vec<(usize, &str)> {
    let lines: Vec<&str> = text.lines().collect();
    let (mut kept, mut at) = (Vec::new(), 0);
    while let Some(line) = lines.get(at) {
        if line.trim() != "#[cfg(test)]" {
            kept.push((at + 1, *line));
            at += 1;
            continue;
        }
        at += 1 + lines[at + 1..].iter().take_while(|line| line.trim().starts_with("#[")).count();
        at += length_of_item(&lines[at..]);
    }
    kept
}

/// How many lines an item has, from its first: a field, a declaration, or all up to the brace that closes it.
fn length_of_item(lines: &[&str]) -> usize {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let ends = |(at, line): (usize, &&str)| {
        let last = line.trim_end();
        let is_whole = at == 0 && (last.ends_with([';', ',']) || last.ends_with("{}"));
        is_whole || (at > 0 && indent(line) == indent(lines[0]) && line.trim_start().starts_with('}'))
    };
    lines.iter().enumerate().position(ends).map_or(lines.len(), |at| at + 1)
}

/// The lines of code of a file, its tests left out, without indentation.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = tested(text).into_iter().map(|(number, line)| (number, line.trim()));
    lines.filter(|(_, line)| !line.is_empty() && !line.starts_with("//"))
}

#[test]
fn only_test_code_is_left_out() {
    let text = "use a;\n#[cfg(test)]\nuse b;\nstruct C {\n    #[cfg(test)]\n    d: u8,\n}\nimpl C {\n    #[cfg(test)]\n    \
                #[must_use]\n    fn e(&self) {\n        f();\n    }\n\n    // g\n    fn h(&self) {}\n}\n#[cfg(test)]\nmod \
                i;\nfn j() {}\n#[cfg(test)]\nmod tests {\n    fn k() {}\n}\nfn l() {}\n";
    let code: Vec<_> = code(text).collect();
    let expected = [
        (1, "use a;"),
        (4, "struct C {"),
        (7, "}"),
        (8, "impl C {"),
        (16, "fn h(&self) {}"),
        (17, "}"),
        (20, "fn j() {}"),
        (25, "fn l() {}"),
    ];
    assert_eq!(code, expected);
}

#[test]
fn modules_import_only_listed_modules() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let module = module(&path);
        if module == "lib" {
            continue;
        }
        let row =
            MODULES.iter().find(|(name, _)| *name == module).unwrap_or_else(|| panic!("module {module} has no row"));
        for (line, code) in code(&text) {
            for import in code.split("crate::").skip(1) {
                let name: String = import.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                let known = MODULES.iter().any(|(module, _)| *module == name);
                if known && name != module && !row.1.contains(&&*name) {
                    broken.push(format!("{}:{line}: {module} imports {name}", path.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn circles_of_imports_are_listed() {
    let imports = Imports::of(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &sources());
    let circles = imports.circles();
    let is_listed = |circle: &Vec<&str>| {
        CIRCLES.iter().any(|(files, reason)| !reason.is_empty() && circle.iter().all(|file| files.contains(file)))
    };
    let new: Vec<_> = circles.iter().filter(|circle| !is_listed(circle)).collect();
    let edges: Vec<_> = new.iter().map(|circle| imports.inside(circle)).collect();
    assert!(new.is_empty(), "circles that no row lists: {new:#?}, made of {edges:#?}");
    let is_inside = |file: &&&str| circles.iter().any(|circle| circle.contains(*file));
    let free: Vec<_> = CIRCLES.iter().flat_map(|(files, _)| *files).filter(|file| !is_inside(file)).collect();
    assert!(free.is_empty(), "in no circle any more, so their rows must not name them: {free:#?}");
}

#[test]
fn imports_are_followed_to_their_definitions() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\npub use b::two::Two;\n"),
        (
            "a.rs",
            "use crate::Two as T;\nuse crate::b::{self, Three};\n// crate::b::one::One\nfn f() { b::one::g(\"b::x\") }\n",
        ),
        ("b/mod.rs", "mod one;\npub mod two;\nmod three;\npub use three::Three;\n"),
        ("b/one.rs", "use super::two::Two;\n#[cfg(test)]\nmod tests {\n    use super::super::three;\n}\n"),
        ("b/two.rs", "pub(in crate::a) fn f<'a>(c: char) -> impl Sized + use<'a> { super::one::g('\"') }\n"),
        ("b/three.rs", "use crate::b::two::{Two};\n"),
    ];
    let src = Path::new("src");
    let sources: Vec<_> = files.iter().map(|(file, text)| (src.join(file), (*text).to_owned())).collect();
    let imports = Imports::of(src, &sources);
    assert_eq!(imports.circles(), [["b/one.rs", "b/two.rs"]]);
    assert_eq!(
        imports.inside(&["a.rs", "b/mod.rs", "b/one.rs", "b/three.rs", "b/two.rs"]),
        [
            "a.rs -> b/mod.rs",
            "a.rs -> b/one.rs",
            "a.rs -> b/three.rs",
            "a.rs -> b/two.rs",
            "b/one.rs -> b/two.rs",
            "b/three.rs -> b/two.rs",
            "b/two.rs -> b/one.rs"
        ]
    );
}

#[test]
fn files_and_functions_stay_small() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let lines = code(&text).count();
        if lines > MAX_FILE && !path.ends_with("tests.rs") {
            broken.push(format!("{}: {lines} lines of code", path.display()));
        }
        let mut open: Option<(usize, &str)> = None;
        for (_, line) in tested(&text) {
            let indent = line.len() - line.trim_start().len();
            if let Some((length, name)) = &mut open {
                *length += 1;
                if line.trim() != "}" || indent > 4 {
                    continue;
                }
                if *length > MAX_FUNCTION && !path.ends_with("tests.rs") {
                    broken.push(format!("{}: {length} lines: {name}", path.display()));
                }
                open = None;
            } else if line.contains("fn ") && line.trim_end().ends_with('{') && !line.trim_start().starts_with("//") {
                open = Some((0, line.trim()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn listed_items_are_made_in_one_module() {
    // What, and the modules that may name it.
    let laws: [(&str, &[&str]); 5] = [
        ("Response::new(", &["encode"]),
        ("Response::builder(", &["encode"]),
        ("Instant::now(", &["clock", "encode", "net"]),
        ("Uuid::new_v4(", &["identity"]),
        ("tokio::sync::{Mutex", &[]),
    ];
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let module = module(&path);
        for (line, code) in code(&text) {
            for (what, modules) in laws {
                if code.contains(what) && !modules.contains(&&*module) {
                    broken.push(format!("{}:{line}: {what}..", path.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_file_begins_with_its_purpose() {
    let silent: Vec<_> = sources()
        .into_iter()
        .filter(|(_, text)| {
            let first = text.lines().next().unwrap_or_default();
            !(first.starts_with("//! ") || first.starts_with("#![doc")) || first.starts_with("//! Decides")
        })
        .collect();
    assert!(silent.is_empty(), "{:#?}", silent.iter().map(|(path, _)| path).collect::<Vec<_>>());
}

/// Words that hide the actor, or the verb, of a sentence.
const RIDDLES: [&str; 9] =
    ["whoever", "nobody", "somebody", "for ever", "all the same", "gives back", "is told", "are told", "; whether"];

#[test]
fn comments_are_in_plain_words() {
    let mut broken = Vec::new();
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            let Some(comment) = line.trim_start().strip_prefix("//") else { continue };
            let comment = format!("{} ", comment.to_lowercase());
            let has = |word: &&str| comment.split(*word).skip(1).any(|rest| !rest.starts_with(char::is_alphanumeric));
            broken.extend(RIDDLES.iter().filter(|word| has(word)).map(|word| (path.clone(), number + 1, *word)));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn nothing_in_the_sources_can_panic_by_accident() {
    let words = [".unwrap()", ".expect(", "panic!(", "unreachable!(", "todo!(", "unimplemented!("];
    let mut broken = Vec::new();
    for (path, text) in sources() {
        // The contract suite is made of assertions; models and fakes are tests in files of their own.
        let test_only = ["contract", "tests", "tests.rs", "fake.rs", "model.rs"];
        let below = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
        if below.iter().any(|part| test_only.iter().any(|name| part == *name)) {
            continue;
        }
        for (line, code) in code(&text) {
            if words.iter().any(|word| code.contains(word)) {
                broken.push(format!("{}:{line}: {code}", path.display()));
            }
        }
    }
    // These panic at start-up, at the line that registers or mounts, as axum's router does.
    let at_start = ["server/typed/builder.rs", "src/mount.rs"];
    broken.retain(|found| !at_start.iter().any(|file| found.contains(file)));
    assert!(broken.is_empty(), "{broken:#?}");
}
