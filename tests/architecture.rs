//! Layers and fences of the source tree, read from the source itself.
//!
//! A module of `src` uses modules of lower layers, and of its own layer only the neighbours named here. Some packages,
//! calls and texts belong to one place each. Test code (`#[cfg(test)]`) is exempt.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use authdrift::telemetry::HISTORY;

/// The layers, lowest first, as the comments in `src/lib.rs` say.
const LAYERS: [&[&str]; 5] = [
    &["clock", "exit", "model"],
    &[
        "backoff",
        "canonical",
        "classify",
        "config",
        "diff",
        "incident",
        "message",
        "schedule",
        "sections",
        "snapshot",
        "suspicion",
        "trust",
    ],
    &["provider", "reach", "receiver", "secrets", "store", "telemetry", "trust_files"],
    &["approval", "cycle", "daemon", "delivery"],
    &["cli", "demo", "logging", "monitoring", "simulator"],
];

/// Who may use whom within a layer, and why. Below layer 4 these lead round in no circle.
const NEIGHBOURS: &[(&str, &str, &str)] = &[
    ("canonical", "sections", "the table says what is volatile, secret, code or ordered"),
    ("snapshot", "canonical", "a snapshot holds documents and is digested in the same form"),
    ("diff", "canonical", "values are equal when their canonical bytes are"),
    ("diff", "sections", "the table says which lists are ordered"),
    ("diff", "snapshot", "one side of the comparison"),
    ("classify", "diff", "judges changes"),
    ("classify", "sections", "the table says which field names an object, and what an absent field means"),
    ("incident", "canonical", "names a drift by a digest"),
    ("incident", "diff", "follows changes over time"),
    ("incident", "snapshot", "follows sections over time"),
    ("suspicion", "sections", "the table says what the objects of a section are"),
    ("message", "diff", "says what kind of change it was"),
    ("trust", "canonical", "signed bytes are canonical"),
    ("trust", "snapshot", "a subject names a snapshot"),
    ("config", "schedule", "a schedule is checked when it is read"),
    ("config", "sections", "what is configured decides which sections are read"),
    ("provider", "secrets", "reads its credential for every cycle, so that a new one counts at once"),
    ("receiver", "reach", "mail trusts whom every other connection trusts"),
    ("receiver", "secrets", "reads its credential for every message, so that a new one counts at once"),
    ("provider", "telemetry", "says what was answered"),
    ("secrets", "telemetry", "says whose file others could read"),
    ("trust_files", "store", "one place knows the errors that say nothing of a file"),
    ("store", "telemetry", "says what was recorded, when it is certain"),
    ("approval", "cycle", "what is approved is compared, verified and announced as a cycle does it"),
    ("daemon", "cycle", "starts it"),
    ("daemon", "delivery", "starts it"),
    ("cli", "demo", "one of the commands"),
    ("cli", "logging", "an option says what lines look like"),
    ("cli", "monitoring", "starts it beside the daemon"),
    ("demo", "cli", "plays the person at the keyboard"),
    ("demo", "simulator", "plays the vendors"),
];

/// What a fence looks for.
enum Of {
    /// A path that begins with this package or this standard module.
    Path(&'static str),
    /// A call or name in the code, outside of texts.
    Code(&'static str),
    /// A piece of a text.
    Text(&'static str),
}

/// Where something may be.
enum Only {
    /// In these files and the folders (with `/` at the end).
    In(&'static [&'static str]),
    /// In this layer and above.
    FromLayer(usize),
}

use Of::{Code, Path as Package, Text};
use Only::{FromLayer, In};

const FENCES: &[(Of, Only, &str)] = &[
    (Package("tokio"), FromLayer(2), "decisions do not wait"),
    (
        Package("tracing"),
        In(&["telemetry/", "logging.rs", "logging/"]),
        "what happens is one type, which writes the line and moves the metric",
    ),
    (Package("tracing_subscriber"), In(&["logging.rs"]), "one place decides where lines go"),
    (Package("prometheus_client"), In(&["telemetry/metrics.rs"]), "one list of metrics"),
    (Package("std::fs"), FromLayer(2), "decisions touch nothing"),
    (Package("std::env"), FromLayer(2), "decisions touch nothing"),
    (
        Package("std::process::Command"),
        In(&["approval/sign.rs", "cli/init/public_key.rs"]),
        "only making a key and signing start a program",
    ),
    (Package("rusqlite"), In(&["store.rs", "store/", "demo/attacker.rs"]), "all SQL is in the store"),
    (
        Package("rustix"),
        In(&["store/space.rs", "cli/reload.rs"]),
        "one place asks how full the disk is, one sends a signal",
    ),
    (Package("zstd"), In(&["store/documents.rs"]), "documents are digested before they are compressed"),
    (Package("reqwest"), In(&["provider/http.rs", "receiver/post.rs"]), "two clients, both with every limit set"),
    (Package("jsonwebtoken"), In(&["provider/auth0.rs"]), "one place makes assertions"),
    (
        Package("rustls"),
        In(&["reach.rs", "receiver/mail/wire.rs"]),
        "one place shakes hands and says nothing, one for mail",
    ),
    (
        Package("tokio_rustls"),
        In(&["reach.rs", "receiver/mail/wire.rs"]),
        "one place shakes hands and says nothing, one for mail",
    ),
    (Package("rustls_platform_verifier"), In(&["reach.rs"]), "one place says whom a connection trusts"),
    (Package("lettre"), In(&["receiver/mail.rs"]), "one place sends mail"),
    (Package("ssh_key"), In(&["trust/sshsig.rs"]), "one place verifies signatures"),
    (
        Package("aws_lc_rs"),
        In(&["trust/sshsig.rs", "trust/revoked.rs", "receiver/signing.rs"]),
        "what the other packages do not have: RSA, SHA-1, signing with ed25519",
    ),
    (Package("serde_json_canonicalizer"), In(&["canonical.rs"]), "one canonical form"),
    (Package("json_patch"), In(&["diff/patch.rs"]), "its comparison of lists is not ours"),
    (Package("croner"), In(&["schedule.rs"]), "one reader of schedules"),
    (Package("tokio_cron_scheduler"), In(&["daemon.rs"]), "it is the metronome and nothing more"),
    (Package("sd_notify"), In(&["daemon/systemd.rs"]), "only the service talks to systemd"),
    (Package("clap"), In(&["main.rs", "cli.rs", "cli/", "demo.rs"]), "words are parsed at the edge"),
    (Package("dialoguer"), In(&["cli/"]), "only commands ask"),
    (Package("comfy_table"), In(&["cli/"]), "only commands draw tables"),
    (
        Package("axum"),
        In(&["monitoring.rs", "monitoring/", "simulator.rs", "simulator/"]),
        "the product listens in one place, and only to this machine",
    ),
    (Package("hyper"), In(&["monitoring/listener.rs"]), "one place bounds connections"),
    (Package("hyper_util"), In(&["monitoring/listener.rs"]), "one place bounds connections"),
    (Code("Utc::now"), In(&["clock.rs"]), "one reader of the clock"),
    (Code("Local::now"), In(&["clock.rs"]), "one reader of the clock"),
    (Code("SystemTime"), In(&["clock.rs"]), "one reader of the clock"),
    (Code("println!"), In(&[]), "output goes where the caller says"),
    (Code("print!"), In(&[]), "output goes where the caller says"),
    (Code("eprintln!"), In(&[]), "output goes where the caller says"),
    (Code("eprint!"), In(&[]), "output goes where the caller says"),
    (Code("dbg!"), In(&[]), "output goes where the caller says"),
    // Never a write to a vendor: what is sent is a GET, a token request or a message to a receiver.
    (Code(".post("), In(&["provider/http.rs", "receiver/post.rs"]), "nothing is written to a vendor"),
    (Code(".put("), In(&[]), "nothing is written to a vendor"),
    (Code(".patch("), In(&[]), "nothing is written to a vendor"),
    (Code(".delete("), In(&[]), "nothing is written to a vendor"),
    (Code("Method::"), In(&["simulator/"]), "nothing is written to a vendor"),
    // The tables in sections/*.toml name the endpoints.
    (Text("/v1/"), In(&["simulator/", "demo.rs"]), "endpoints are in sections/*.toml"),
    // The audience of a token ends like an endpoint.
    (Text("/api/v2"), In(&["simulator/", "provider/auth0.rs"]), "endpoints are in sections/*.toml"),
    (Text("/oauth/token"), In(&["simulator/", "provider/auth0.rs"]), "one place asks for tokens"),
];

#[test]
fn modules_use_only_lower_layers_and_listed_neighbours() {
    let problems: Vec<String> = files().iter().flat_map(layer_problems).collect();
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn fences_hold() {
    let problems: Vec<String> = files().iter().flat_map(fence_problems).collect();
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn every_module_has_one_layer_and_every_neighbour_is_real() {
    let files = files();
    let modules: BTreeSet<&str> = files.iter().map(|file| file.module()).filter(|name| !is_root(name)).collect();
    let listed: Vec<&str> = LAYERS.iter().flat_map(|layer| layer.iter().copied()).collect();
    assert_eq!(listed.iter().copied().collect::<BTreeSet<_>>(), modules);
    assert_eq!(listed.len(), modules.len(), "a module is in two layers");

    let used: BTreeSet<(&str, String)> =
        files.iter().flat_map(|file| file.uses().into_iter().map(|used| (file.module(), used))).collect();
    for (user, neighbour, _) in NEIGHBOURS {
        assert_eq!(layer_of(user), layer_of(neighbour), "{user} and {neighbour} are not neighbours");
        assert!(
            used.contains(&(*user, (*neighbour).to_owned())),
            "{user} does not use {neighbour}: take it off the list"
        );
    }
}

#[test]
fn below_the_edge_no_circle() {
    let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (user, neighbour, _) in NEIGHBOURS.iter().filter(|(user, ..)| layer_of(user) < Some(4)) {
        edges.entry(user).or_default().push(neighbour);
    }
    for start in edges.keys() {
        let mut reached = BTreeSet::new();
        let mut next = edges[start].clone();
        while let Some(module) = next.pop() {
            assert_ne!(module, *start, "{start} leads back to itself");
            if reached.insert(module) {
                next.extend(edges.get(module).into_iter().flatten());
            }
        }
    }
}

#[test]
fn lib_rs_lists_the_same_layers() {
    let lib = fs::read_to_string(source_folder().join("lib.rs")).unwrap();
    let mut layers: Vec<Vec<&str>> = Vec::new();
    for line in lib.lines() {
        if line.starts_with("// Layer ") {
            assert!(line.starts_with(&format!("// Layer {}:", layers.len())), "{line}");
            layers.push(Vec::new());
        } else if let Some(name) = line.strip_prefix("pub mod ") {
            layers.last_mut().unwrap().push(name.trim_end_matches(';'));
        }
    }
    assert_eq!(layers, LAYERS);
}

#[test]
fn every_kind_of_event_of_the_history_has_a_line_in_the_log() {
    let groups: BTreeSet<&str> = HISTORY.iter().filter_map(|kind| kind.name.split('.').next()).collect();
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let is_kind = |text: &str| {
        let mut words = text.split('.');
        matches!((words.next(), words.next(), words.next()), (Some(group), Some(word), None)
            if groups.contains(group) && is_word(word))
    };
    let recorders = ["approval", "cycle", "daemon", "delivery", "store"];
    let files = files();
    let texts = files.iter().filter(|file| recorders.contains(&file.module())).flat_map(|file| &file.texts);
    let kinds: BTreeSet<&String> = texts.filter(|text| is_kind(text)).collect();
    assert!(kinds.len() > 30, "they are not written as this test reads them");
    for kind in kinds {
        assert!(HISTORY.iter().any(|known| known.name == kind), "{kind} is not in src/telemetry/history.rs");
    }
}

#[test]
fn every_dependency_is_used() {
    let manifest: toml::Table =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap().parse().unwrap();
    let paths: BTreeSet<String> = files().iter().flat_map(|file| file.paths()).map(|path| path[0].clone()).collect();
    for name in manifest["dependencies"].as_table().unwrap().keys() {
        assert!(paths.contains(&name.replace('-', "_")), "nothing in src uses {name}: take it out of Cargo.toml");
    }
}

// How a file is read.

/// One source file: where it is below `src`, its code without comments, texts and tests, and the texts.
struct File {
    path: String,
    tokens: Vec<String>,
    texts: Vec<String>,
}

impl File {
    fn new(path: &str, source: &str) -> Self {
        let (code, texts) = without_tests(source);
        Self { path: path.to_owned(), tokens: tokens(&code), texts }
    }

    /// The code in one spelling: no spaces but between two names.
    fn code(&self) -> String {
        let mut code = String::new();
        for (at, token) in self.tokens.iter().enumerate() {
            if at > 0 && is_name(token) && is_name(&self.tokens[at - 1]) {
                code.push(' ');
            }
            code.push_str(token);
        }
        code
    }

    /// The module of the first level: `store` for `store.rs` and `store/open.rs`.
    fn module(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// Every path in the code, with those in braces written out: `use a::{b, c::d}` is `a::b` and `a::c::d`.
    fn paths(&self) -> Vec<Vec<String>> {
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
    fn uses(&self) -> BTreeSet<String> {
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

fn is_name(token: &str) -> bool {
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
fn files() -> Vec<File> {
    let mut sources = BTreeMap::new();
    read_folder(&source_folder(), &mut sources);
    let tests: BTreeSet<String> = sources.iter().flat_map(|(path, source)| test_modules(path, source)).collect();
    let is_test =
        |path: &str| tests.iter().any(|test| path == format!("{test}.rs") || path.starts_with(&format!("{test}/")));
    sources.iter().filter(|(path, _)| !is_test(path)).map(|(path, source)| File::new(path, source)).collect()
}

/// The modules in files of their own that `source` declares for tests.
fn test_modules(path: &str, source: &str) -> Vec<String> {
    let folder = path.trim_end_matches(".rs");
    let declared = source.split("#[cfg(test)]").skip(1).filter_map(|after| {
        let (name, _) = after.trim_start().strip_prefix("mod ")?.split_once(';')?;
        Some(format!("{folder}/{name}"))
    });
    declared.filter(|path| is_name(path) && !path.contains(' ')).collect()
}

fn source_folder() -> PathBuf {
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

// What is checked.

fn is_root(module: &str) -> bool {
    matches!(module, "lib" | "main")
}

fn layer_of(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn layer_problems(file: &File) -> Vec<String> {
    let (path, module) = (&file.path, file.module());
    if is_root(module) {
        return Vec::new();
    }
    let Some(layer) = layer_of(module) else { return vec![format!("src/{path}: {module} is in no layer")] };
    let problem = |used: &String| match layer_of(used) {
        Some(other) if other > layer => Some(format!("src/{path}: layer {layer} may not use {used}")),
        Some(other) if other == layer => {
            let is_listed =
                NEIGHBOURS.iter().any(|(user, neighbour, _)| (*user, *neighbour) == (module, used.as_str()));
            (!is_listed).then(|| format!("src/{path}: {module} may not use its neighbour {used}"))
        }
        _ => None,
    };
    file.uses().iter().filter_map(problem).collect()
}

fn fence_problems(file: &File) -> Vec<String> {
    let path = &file.path;
    let (code, paths) = (file.code(), file.paths());
    let mut problems = Vec::new();
    for (of, only, why) in FENCES {
        let (what, is_there) = match of {
            Package(what) => (what, paths.iter().any(|path| begins(path, what))),
            Code(what) => (what, has_code(&code, what)),
            Text(what) => (what, file.texts.iter().any(|text| text.contains(what))),
        };
        let is_allowed = match only {
            In(places) => places.iter().any(|place| path == place || (place.ends_with('/') && path.starts_with(place))),
            FromLayer(layer) => is_root(file.module()) || layer_of(file.module()) >= Some(*layer),
        };
        if is_there && !is_allowed {
            problems.push(format!("src/{path}: may not have {what} ({why})"));
        }
    }
    problems
}

fn begins(path: &[String], with: &str) -> bool {
    let wanted: Vec<&str> = with.split("::").collect();
    path.len() >= wanted.len() && path.iter().zip(wanted).all(|(name, wanted)| name == wanted)
}

/// Whether `what` is in the code, not as the end of a longer name.
fn has_code(code: &str, what: &str) -> bool {
    code.match_indices(what).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !is_name(what) || !before.is_some_and(|sign| sign.is_alphanumeric() || sign == '_')
    })
}

/// The checks on files that are made up.
mod bites {
    use super::*;

    fn layers(path: &str, source: &str) -> String {
        layer_problems(&File::new(path, source)).join("; ")
    }

    fn fences(path: &str, source: &str) -> Vec<String> {
        fence_problems(&File::new(path, source))
    }

    #[test]
    fn a_layer_may_not_look_up() {
        let expected = "src/diff/x.rs: layer 1 may not use store";
        for source in [
            "use crate::store::Store;",
            "use crate::{model::Digest, store::{self, drifts}};",
            "fn f() { crate::store::open(); }",
            "fn f(store: crate :: store::Store) {}",
            "pub use crate::store as s;",
            "use crate::{model as m, store as s};",
            "fn f(x: u8) { x as crate::store::Id }",
            "use super::super::store::Store;",
            "use super::super::{model, store};",
            "const QUOTE: char = '\"'; use crate::store::Store; const OTHER: char = '\"';",
            "fn f<'a>(x: &'a str) { crate::store::g(x) }",
            "/* \" */ use crate::store::Store; // \"",
            "const RAW: &str = r#\"a \" b\"#; use crate::store::Store;",
            "#[cfg(test)]\nmod tests { fn f() { \"}\"; } }\nuse crate::store::Store;",
            "#[cfg(test)]\nuse crate::model::Digest;\nuse crate::store::Store;",
        ] {
            assert_eq!(layers("diff/x.rs", source), expected, "{source}");
        }
        assert_eq!(layers("diff.rs", "use super::store::Store;"), "src/diff.rs: layer 1 may not use store");
    }

    #[test]
    fn a_neighbour_has_to_be_listed() {
        let expected = "src/schedule.rs: schedule may not use its neighbour config";
        assert_eq!(layers("schedule.rs", "use crate::config::Config;"), expected);
        assert_eq!(layers("config/load.rs", "use crate::schedule::Cron;"), "");
        assert_eq!(layers("new.rs", ""), "src/new.rs: new is in no layer");
    }

    #[test]
    fn what_is_no_use_is_no_problem() {
        for source in [
            "// use crate::store::Store;",
            "/// [`crate::store::Store`]\nfn f() {}",
            "const TEXT: &str = \"use crate::store::Store;\";",
            "const RAW: &str = r#\"use crate::store::Store; \"quoted\" \"#;",
            "#[cfg(test)]\nmod tests { use crate::store::Store; fn f() { let x = \"}\"; } }",
            "#[cfg(test)]\nuse crate::store::Store;",
            "use crate::model::Digest; use super::compare; mod store;",
            "fn f(store: u8) { store.len(); other::store::x(); }",
        ] {
            assert_eq!(layers("diff/x.rs", source), "", "{source}");
        }
        assert_eq!(test_modules("a/b.rs", "#[cfg(test)]\nmod tests;\n#[cfg(test)]\nmod x {\n mod y; }"), ["a/b/tests"]);
    }

    #[test]
    fn every_fence_bites() {
        for (of, only, _) in FENCES {
            let (what, source) = match of {
                Package(what) => (what, format!("use {what}::Thing;")),
                Code(what) => (what, format!("fn f() {{ x; {what}(1) }}")),
                Text(what) => (what, format!("const X: &str = \"a{what}b\";")),
            };
            let bites = |path: &str| {
                let problem = format!("src/{path}: may not have {what} (");
                fences(path, &source).iter().any(|found| found.starts_with(&problem))
            };
            // A decision may have none of them.
            assert!(bites("backoff.rs"), "{what}");
            match only {
                In(places) => {
                    for place in *places {
                        let file = if place.ends_with('/') { format!("{place}y.rs") } else { (*place).to_owned() };
                        assert!(!bites(&file), "{what} in {place}");
                    }
                }
                FromLayer(_) => assert!(!bites("store.rs") && !bites("cli/check.rs"), "{what}"),
            }
        }
    }

    #[test]
    fn a_fence_is_about_code_that_runs() {
        assert!(
            fences("backoff.rs", "// println!\n/// tokio::spawn\nfn f() { tokio_like::x(); writeln!(out); }")
                .is_empty()
        );
        assert!(
            fences("backoff.rs", "#[cfg(test)]\nmod tests { const X: &str = \"/v1/x\"; fn f() { println!(); } }")
                .is_empty()
        );
        assert_eq!(fences("backoff.rs", "fn f() { request\n    .post (1); a.delete(2); }").len(), 2);
        assert_eq!(fences("backoff.rs", "fn f() { tokio::time::sleep(x); }").len(), 1);
        assert_eq!(fences("backoff.rs", "use ::rusqlite::Connection;").len(), 1);
        assert!(fences("backoff.rs", "fn f() { stdio.eprintln(); outprintln!(); }").is_empty());
    }
}
