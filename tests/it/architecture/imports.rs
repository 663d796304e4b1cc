//! The import graph of the sources: which file uses which, and the circles in it.
//!
//! 1. A path counts from the file in which it is written to the file that defines the item.
//!    Re-exports are followed: `super::Node` is `node.rs`, not `mod.rs`.
//! 2. A re-export by itself uses nothing. It counts if the file uses the name as well.
//! 3. Only files that belong to a build without tests are in the graph, and of them only the code.
//! 4. Calls of methods are no paths, so a method is known only by the type that is named with it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::code;

/// A module's path from the crate, without `crate`.
type Module = Vec<String>;

/// The import graph.
#[derive(Debug, Default)]
pub(super) struct Imports {
    /// Each file, relative to `src`, and the files that it uses.
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Imports {
    /// Reads the graph of the sources below `src`.
    pub(super) fn of(src: &Path, sources: &[(PathBuf, String)]) -> Self {
        let texts: BTreeMap<String, Vec<Token>> = sources
            .iter()
            .map(|(path, text)| (path.strip_prefix(src).unwrap().to_str().unwrap().to_owned(), tokens(text)))
            .collect();
        let mut crate_ = Crate::default();
        crate_.add(&[], "lib.rs", &texts);
        let mut imports = Self::default();
        for (module, file) in &crate_.files {
            let used = crate_.uses(module, &texts[file]);
            imports.edges.entry(file.clone()).or_default().extend(used.into_iter().filter(|used| used != file));
        }
        imports
    }

    /// Returns the circles: the largest sets of files in which each uses each other one, directly or
    /// through others.
    pub(super) fn circles(&self) -> Vec<Vec<&str>> {
        let reach: BTreeMap<&str, BTreeSet<&str>> =
            self.edges.keys().map(|file| (&**file, self.reachable(file))).collect();
        let mut circles = BTreeSet::new();
        for (file, reached) in &reach {
            let circle: Vec<&str> = reached.iter().filter(|other| reach[**other].contains(file)).copied().collect();
            if circle.len() > 1 {
                circles.insert(circle);
            }
        }
        circles.into_iter().collect()
    }

    fn reachable<'a>(&'a self, from: &'a str) -> BTreeSet<&'a str> {
        let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(file) = open.pop() {
            open.extend(self.edges[file].iter().map(|used| &**used).filter(|used| reached.insert(*used)));
        }
        reached
    }

    /// Returns the imports inside a circle, for the message of the test.
    pub(super) fn inside<'a>(&'a self, circle: &'a [&str]) -> Vec<String> {
        let edges = circle.iter().flat_map(|from| self.edges[*from].iter().map(move |to| (*from, &**to)));
        edges.filter(|(_, to)| circle.contains(to)).map(|(from, to)| format!("{from} -> {to}")).collect()
    }
}

/// The modules of the crate.
#[derive(Debug, Default)]
struct Crate {
    files: BTreeMap<Module, String>,
    /// What each module re-exports: the name, and the path that it stands for.
    exports: BTreeMap<(Module, String), Vec<String>>,
}

impl Crate {
    /// Adds a module and all below it.
    fn add(&mut self, module: &[String], file: &str, texts: &BTreeMap<String, Vec<Token>>) {
        let text = &texts[file];
        self.files.insert(module.to_vec(), file.to_owned());
        for Use { path, name, exported } in paths(text) {
            if exported && let Some(name) = name {
                self.exports.insert((module.to_vec(), name), path);
            }
        }
        let folder = match file {
            "lib.rs" => String::new(),
            _ => format!("{}/", file.strip_suffix("/mod.rs").or(file.strip_suffix(".rs")).unwrap()),
        };
        for three in text.windows(3) {
            if let [Token::Name(word), Token::Name(child), Token::Other(';')] = three
                && word == "mod"
            {
                let found = [format!("{folder}{child}.rs"), format!("{folder}{child}/mod.rs")];
                let file = found.into_iter().find(|file| texts.contains_key(file)).unwrap();
                self.add(&[module, std::slice::from_ref(child)].concat(), &file, texts);
            }
        }
    }

    /// Returns the files that a module uses.
    fn uses(&self, module: &Module, text: &[Token]) -> BTreeSet<String> {
        let paths = paths(text);
        let mut modules = BTreeMap::new();
        for Use { path, name, .. } in &paths {
            if let (Some(name), Some(target)) = (name, self.module(module, path)) {
                modules.insert(name.clone(), target);
            }
        }
        let mut used = BTreeSet::new();
        for Use { path, name, exported } in &paths {
            let is_mentioned = |name: &String| paths.iter().any(|other| other.name.is_none() && other.path[0] == *name);
            if *exported && name.as_ref().is_some_and(|name| !is_mentioned(name)) {
                continue;
            }
            let path = match modules.get(&path[0]) {
                Some(target) if name.is_none() => [&["crate".to_owned()], &**target, &path[1..]].concat(),
                _ => path.clone(),
            };
            used.extend(self.file(module, &path));
        }
        used
    }

    /// Returns the module that a path names.
    fn module(&self, from: &Module, path: &[String]) -> Option<Module> {
        let (module, rest) = self.walk(from, path)?;
        rest.is_empty().then_some(module)
    }

    /// Returns the file that defines what a path names; `None` for another crate.
    fn file(&self, from: &Module, path: &[String]) -> Option<String> {
        let (module, rest) = self.walk(from, path)?;
        if let Some(item) = rest.first()
            && let Some(path) = self.exports.get(&(module.clone(), item.clone()))
            && let Some(file) = self.file(&module, path)
        {
            return Some(file);
        }
        self.files.get(&module).cloned()
    }

    /// Follows a path through the modules. Returns the last module, and the rest of the path.
    fn walk<'a>(&self, from: &Module, path: &'a [String]) -> Option<(Module, &'a [String])> {
        let (mut module, mut rest) = (from.clone(), path);
        match &*path[0] {
            "crate" => (module, rest) = (Vec::new(), &path[1..]),
            "self" => rest = &path[1..],
            "super" => {}
            first if self.files.contains_key(&[&**from, &[first.to_owned()]].concat()) => {}
            _ => return None,
        }
        while let Some((next, others)) = rest.split_first() {
            if next == "super" {
                module.pop();
            } else if self.files.contains_key(&[&*module, std::slice::from_ref(next)].concat()) {
                module.push(next.clone());
            } else {
                break;
            }
            rest = others;
        }
        Some((module, rest))
    }
}

/// A path in the code.
#[derive(Debug)]
struct Use {
    path: Vec<String>,
    /// The name that an import gives it; `None` for a path elsewhere, and for `*`.
    name: Option<String>,
    exported: bool,
}

/// Returns the paths of a file: those of its imports, and those elsewhere, even of one name.
fn paths(text: &[Token]) -> Vec<Use> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < text.len() {
        match &text[at] {
            // Not the `use<..>` of a returned `impl Trait`.
            Token::Name(word) if word == "use" && text[at + 1] != Token::Other('<') => {
                let exported = at > 0 && matches!(&text[at - 1], Token::Name(it) if it == "pub")
                    || matches!(text[..at], [.., Token::Name(_), Token::Other(')')]);
                at = tree(text, at + 1, &[], exported, &mut found);
            }
            // `pub(super)` says who may use an item, and uses nothing.
            Token::Name(word) if word == "pub" && text[at + 1] == Token::Other('(') => {
                at += text[at..].iter().take_while(|token| **token != Token::Other(')')).count();
            }
            Token::Name(first) => {
                let mut path = vec![first.clone()];
                while let (Some(Token::Path), Some(Token::Name(next))) = (text.get(at + 1), text.get(at + 2)) {
                    path.push(next.clone());
                    at += 2;
                }
                if !is_declaration(&text[..at]) {
                    found.push(Use { path, name: None, exported: false });
                }
                at += 1;
            }
            Token::Path | Token::Other(_) => at += 1,
        }
    }
    found
}

/// Returns `true` if the next name is that of a module, which the file declares.
fn is_declaration(before: &[Token]) -> bool {
    matches!(before.last(), Some(Token::Name(word)) if word == "mod")
}

/// Reads one tree of an import, up to its end. Returns the place behind it.
fn tree(text: &[Token], mut at: usize, before: &[String], exported: bool, found: &mut Vec<Use>) -> usize {
    let mut path = before.to_vec();
    loop {
        match &text[at] {
            Token::Name(word) if word == "as" => {
                let Token::Name(name) = &text[at + 1] else { panic!("a name after `as`") };
                found.push(Use { path, name: Some(name.clone()), exported });
                return at + 2;
            }
            Token::Name(word) if word == "self" && !path.is_empty() => {
                found.push(Use { name: path.last().cloned(), path, exported });
                return at + 1;
            }
            Token::Name(word) => path.push(word.clone()),
            Token::Path => {}
            Token::Other('{') => {
                while text[at] != Token::Other('}') {
                    at += 1;
                    if text[at] != Token::Other('}') {
                        at = tree(text, at, &path, exported, found);
                    }
                }
                return at + 1;
            }
            Token::Other('*') => {
                found.push(Use { path, name: None, exported });
                return at + 1;
            }
            Token::Other(_) => {
                found.push(Use { name: path.last().cloned(), path, exported });
                return at;
            }
        }
        at += 1;
    }
}

/// A word of the code.
#[derive(Debug, Clone, PartialEq)]
enum Token {
    Name(String),
    /// `::`
    Path,
    Other(char),
}

/// Returns the words of a file's code, without comments and literals.
fn tokens(text: &str) -> Vec<Token> {
    let code: Vec<&str> = code(text).map(|(_, line)| line).collect();
    let code: Vec<char> = code.join("\n").chars().collect();
    let (mut tokens, mut at) = (Vec::new(), 0);
    while at < code.len() {
        let next = |by: usize| code.get(at + by).copied().unwrap_or(' ');
        at = match code[at] {
            '/' if next(1) == '/' => end(&code, at, |rest| rest[0] == '\n'),
            'r' if next(1) == '"' || (next(1) == '#' && matches!(next(2), '"' | '#')) => {
                let hashes = code[at + 1..].iter().take_while(|c| **c == '#').count();
                end(&code, at + hashes + 2, |rest| {
                    rest[0] == '"' && rest[1..].iter().take_while(|c| **c == '#').count() >= hashes
                }) + hashes
            }
            '"' => end_of_text(&code, at + 1),
            '\'' if next(1) == '\\' => end_of_text(&code, at + 1),
            '\'' if next(2) == '\'' => at + 3,
            ':' if next(1) == ':' => {
                tokens.push(Token::Path);
                at + 2
            }
            c if c.is_alphabetic() || c == '_' => {
                let end = end(&code, at, |rest| !rest[0].is_alphanumeric() && rest[0] != '_') - 1;
                tokens.push(Token::Name(code[at..end].iter().collect()));
                end
            }
            c => {
                if !c.is_whitespace() {
                    tokens.push(Token::Other(c));
                }
                at + 1
            }
        };
    }
    tokens
}

/// Returns the place behind the first one at which the rest of the code fits.
fn end(code: &[char], from: usize, fits: impl Fn(&[char]) -> bool) -> usize {
    (from..code.len()).find(|at| fits(&code[*at..])).unwrap_or(code.len()) + 1
}

/// Returns the place behind the end of a literal, whose quotation mark stands before `from`.
fn end_of_text(code: &[char], mut from: usize) -> usize {
    let mark = code[from - 1];
    while from < code.len() && code[from] != mark {
        from += if code[from] == '\\' { 2 } else { 1 };
    }
    from + 1
}
