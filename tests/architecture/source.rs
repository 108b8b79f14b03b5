//! How a source file is read: its code without comments, texts and tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// One source file: where it is below `src`, its code without comments, texts and tests, and the texts.
pub(crate) struct File {
    pub(crate) path: String,
    tokens: Vec<String>,
    pub(crate) texts: Vec<String>,
}

impl File {
    pub(crate) fn new(path: &str, source: &str) -> Self {
        let (code, texts) = without_tests(source);
        Self { path: path.to_owned(), tokens: tokens(&code), texts }
    }

    /// The code in one spelling: no spaces but between two names.
    pub(crate) fn code(&self) -> String {
        let mut code = String::new();
        for (at, token) in self.tokens.iter().enumerate() {
            if at > 0 && is_name(token) && is_name(&self.tokens[at - 1]) {
                code.push(' ');
            }
            code.push_str(token);
        }
        code
    }

    /// The path of the module: `["store", "open"]` for `store/open.rs`, nothing for the root of the crate.
    pub(crate) fn module_path(&self) -> Vec<String> {
        let names = self.path.trim_end_matches(".rs").split('/').map(str::to_owned);
        names.filter(|name| name != "lib").collect()
    }

    /// The names of the types that the file defines.
    pub(crate) fn types(&self) -> Vec<String> {
        let defined =
            self.tokens.windows(2).filter(|two| matches!(two[0].as_str(), "struct" | "enum" | "trait" | "union"));
        defined.map(|two| two[1].clone()).filter(|name| name.chars().next().is_some_and(char::is_uppercase)).collect()
    }

    /// Every name that a `use` brings in.
    pub(crate) fn imports(&self) -> Vec<Import> {
        let tokens = &self.tokens;
        let mut imports = Vec::new();
        for at in (0..tokens.len()).filter(|at| tokens[*at] == "use") {
            let is_public = at > 0 && matches!(tokens[at - 1].as_str(), "pub" | ")");
            read_import(tokens, at + 1, &mut Vec::new(), is_public, &mut imports);
        }
        imports
    }

    /// Every path in the code that is not part of a `use`.
    pub(crate) fn paths_in_code(&self) -> Vec<Vec<String>> {
        let mut paths = Vec::new();
        let tokens = &self.tokens;
        let mut at = 0;
        while at < tokens.len() {
            if tokens[at] == "use" {
                at += tokens[at..].iter().take_while(|token| *token != ";").count();
            } else if at > 0 && tokens[at - 1] == "." {
                at += 1;
            } else if is_name(&tokens[at]) {
                at = read_path(tokens, at, &mut Vec::new(), &mut paths);
            } else {
                at += 1;
            }
        }
        paths
    }

    /// The module of the first level: `store` for `store.rs` and `store/open.rs`.
    pub(crate) fn module(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// Every path in the code, with those in braces written out: `use a::{b, c::d}` is `a::b` and `a::c::d`.
    pub(crate) fn paths(&self) -> Vec<Vec<String>> {
        let mut paths = Vec::new();
        let tokens = &self.tokens;
        let mut at = 0;
        while at < tokens.len() {
            if is_name(&tokens[at]) && tokens[at] != "use" {
                at = read_path(tokens, at, &mut Vec::new(), &mut paths);
            } else {
                at += 1;
            }
        }
        // `mod inner { … }` would need its own depth; there is none outside of tests.
        paths
    }

    /// The modules of the first level that this file uses, its own left out.
    pub(crate) fn uses(&self) -> BTreeSet<String> {
        let depth = self.path.split('/').count();
        let mut used = BTreeSet::new();
        for path in self.paths() {
            let supers = path.iter().take_while(|name| *name == "super").count();
            let name = match path[0].as_str() {
                "crate" | "authdrift" => path.get(1),
                "super" if supers == depth => path.get(supers),
                _ => None,
            };
            used.extend(name.filter(|name| *name != self.module()).cloned());
        }
        used
    }
}

/// A name that a `use` brings in, and the path behind it.
pub(crate) struct Import {
    pub(crate) path: Vec<String>,
    pub(crate) name: String,
    pub(crate) is_public: bool,
}

/// Reads the tree of a `use` that begins at `at`, and answers where it ends.
fn read_import(
    tokens: &[String],
    mut at: usize,
    before: &mut Vec<String>,
    is_public: bool,
    imports: &mut Vec<Import>,
) -> usize {
    let length = before.len();
    while let Some(token) = tokens.get(at) {
        match token.as_str() {
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    at = read_import(tokens, at, before, is_public, imports);
                    at += usize::from(tokens.get(at).is_some_and(|token| token == ","));
                }
                before.truncate(length);
                return at + 1;
            }
            "::" => at += 1,
            name if is_name(name) && name != "as" => {
                if name != "self" || before.is_empty() {
                    before.push(name.to_owned());
                }
                at += 1;
            }
            _ => break,
        }
    }
    let alias = tokens.get(at).filter(|token| *token == "as").and_then(|_| tokens.get(at + 1));
    if let Some(name) = alias.or(before.last()) {
        imports.push(Import { path: before.clone(), name: name.clone(), is_public });
    }
    before.truncate(length);
    if alias.is_some() { at + 2 } else { at }
}

/// Reads the path that begins at `at`, adds it or its branches to `paths` and answers where it ends.
fn read_path(tokens: &[String], mut at: usize, before: &mut Vec<String>, paths: &mut Vec<Vec<String>>) -> usize {
    let length = before.len();
    loop {
        match tokens.get(at).map(String::as_str) {
            Some(name) if is_name(name) || name == "*" => {
                before.push(name.to_owned());
                at += 1;
            }
            Some("{") => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    // In `a as b` the second name is ours.
                    let next = if tokens[at] == "as" { at + 2 } else { read_path(tokens, at, before, paths) };
                    // Skips commas, and whatever else is not part of a path.
                    at = if next == at { at + 1 } else { next };
                }
                at += 1;
                break;
            }
            _ => break,
        }
        if tokens.get(at).is_none_or(|token| token != "::") {
            paths.push(before.clone());
            break;
        }
        at += 1;
    }
    before.truncate(length);
    at
}

pub(crate) fn is_name(token: &str) -> bool {
    token.chars().next().is_some_and(|first| first.is_alphabetic() || first == '_')
}

/// Names, `::` and single signs.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first.is_alphanumeric() || first == '_' {
            rest.find(|sign: char| !sign.is_alphanumeric() && sign != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        tokens.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    tokens
}

/// The code without comments, texts and what `#[cfg(test)]` stands before, and the texts that are left.
fn without_tests(source: &str) -> (String, Vec<String>) {
    const TEST: &str = "#[cfg(test)]";
    let (code, texts) = without_texts(source);
    let mut kept = String::new();
    let mut kept_texts = Vec::new();
    let mut at = 0;
    while at < code.len() {
        let begin = code[at..].find(TEST).map_or(code.len(), |found| at + found);
        kept.push_str(&code[at..begin]);
        kept_texts.extend(texts.iter().filter(|(place, _)| (at..begin).contains(place)).map(|(_, text)| text.clone()));
        at = begin + item_length(&code[begin..]);
    }
    (kept, kept_texts)
}

/// How long the item at the beginning of `code` is: to its `;`, or to the brace that closes it.
fn item_length(code: &str) -> usize {
    let mut depth = 0_usize;
    for (at, sign) in code.char_indices() {
        match sign {
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// The code with comments and texts cut out, and each text with its place in that code.
fn without_texts(source: &str) -> (String, Vec<(usize, String)>) {
    let mut code = String::new();
    let mut texts = Vec::new();
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let after_name = code.ends_with(|sign: char| sign.is_alphanumeric() || sign == '_');
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some((length, text)) = raw_text(rest).filter(|_| !after_name) {
            texts.push((code.len(), text));
            code.push_str("\"\"");
            length
        } else if first == '"' {
            let length = 2 + end_of_text(&rest[1..]);
            texts.push((code.len(), rest[1..length - 1].to_owned()));
            code.push_str("\"\"");
            length
        } else if first == '\''
            && let Some(length) = character(rest)
        {
            length
        } else {
            code.push(first);
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    (code, texts)
}

/// The length and the inside of a raw text at the beginning of `rest`.
fn raw_text(rest: &str) -> Option<(usize, String)> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let inside = after[hashes..].strip_prefix('"')?;
    let end = inside.find(&format!("\"{}", "#".repeat(hashes)))?;
    Some((rest.len() - inside.len() + end + 1 + hashes, inside[..end].to_owned()))
}

fn end_of_text(inside: &str) -> usize {
    let mut is_escaped = false;
    for (at, sign) in inside.char_indices() {
        match sign {
            '"' if !is_escaped => return at,
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    inside.len()
}

/// The length of a character such as `'"'` or `'\n'`; none for a lifetime.
fn character(rest: &str) -> Option<usize> {
    let inside = &rest[1..];
    let first = inside.chars().next()?;
    let end = if first == '\\' { 2 + inside[2..].find('\'')? } else { first.len_utf8() };
    inside[end..].starts_with('\'').then_some(end + 2)
}

/// Every file of `src` that is compiled into the product.
pub(crate) fn files() -> Vec<File> {
    let mut sources = BTreeMap::new();
    read_folder(&source_folder(), &mut sources);
    let tests: BTreeSet<String> = sources.iter().flat_map(|(path, source)| test_modules(path, source)).collect();
    let is_test =
        |path: &str| tests.iter().any(|test| path == format!("{test}.rs") || path.starts_with(&format!("{test}/")));
    sources.iter().filter(|(path, _)| !is_test(path)).map(|(path, source)| File::new(path, source)).collect()
}

/// The modules in files of their own that `source` declares for tests.
pub(crate) fn test_modules(path: &str, source: &str) -> Vec<String> {
    let folder = path.trim_end_matches(".rs");
    let declared = source.split("#[cfg(test)]").skip(1).filter_map(|after| {
        let (name, _) = after.trim_start().strip_prefix("mod ")?.split_once(';')?;
        Some(format!("{folder}/{name}"))
    });
    declared.filter(|path| is_name(path) && !path.contains(' ')).collect()
}

pub(crate) fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn read_folder(folder: &Path, sources: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_folder(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(source_folder()).unwrap().to_str().unwrap().to_owned();
            sources.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}
