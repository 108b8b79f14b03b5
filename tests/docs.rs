//! What the documents say, against what the program does.
//!
//! Parts between `<!-- generated: NAME -->` and `<!-- end -->` are written by `UPDATE_DOCS=1 cargo test --test docs`.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{env, fs};

use authdrift::approval::{Proposal, SigningKey, sign};
use authdrift::backoff::DELIVERY_PAUSES;
use authdrift::canonical::{self, Document};
use authdrift::classify::Catalogue;
use authdrift::config::{self, Sources};
use authdrift::diagnosis::Check;
use authdrift::history::EVENT_KINDS;
use authdrift::message::event_types::EVENT_TYPES;
use authdrift::model::{Digest, HistoryMark, InstanceId, Pattern, Provider, State};
use authdrift::sections::{Depth, Table};
use authdrift::snapshot::{Manifest, SectionMark, digest_of};
use authdrift::telemetry::{OBSERVABLES, message_id, metrics};
use authdrift::trust::statement::Subject;
use clap::CommandFactory;
use serde_json::json;

#[path = "integration/faults/rules.rs"]
#[allow(dead_code, unreachable_pub, reason = "the test of all faults uses the rest")]
mod rules;

#[path = "docs/errors.rs"]
mod errors;
#[path = "docs/knowledge.rs"]
mod knowledge;
#[path = "docs/samples.rs"]
mod samples;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Compares a generated part of a document, or writes it.
fn check_generated(file: &str, name: &str, expected: &str) {
    static ONE_WRITER: Mutex<()> = Mutex::new(());
    let _guard = ONE_WRITER.lock().unwrap_or_else(PoisonError::into_inner);
    let document = read(file);
    let begin = format!("<!-- generated: {name} -->\n");
    let (before, rest) = document.split_once(&begin).unwrap_or_else(|| panic!("{file} has no part '{name}'"));
    let (found, after) = rest.split_once("<!-- end -->").unwrap();
    let expected = format!("\n{expected}\n");
    if found != expected && env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path(file), format!("{before}{begin}{expected}<!-- end -->{after}")).unwrap();
        return;
    }
    assert_eq!(found, expected, "{file} is out of date: UPDATE_DOCS=1 cargo test --test docs");
}

#[test]
fn what_each_fault_leads_to_is_listed() {
    let mut table = "| What the vendor answers | State | What is told | Exit code |\n|---|---|---|---|\n".to_owned();
    for (fault, outcome) in rules::RULES {
        let exit = match outcome {
            rules::Outcome::Refused => "11, or 77 when nothing else can be read".to_owned(),
            outcome => outcome.exit().to_string(),
        };
        writeln!(table, "| {fault} | `{}` | {} | {exit} |", outcome.state(), outcome.told()).unwrap();
    }
    check_generated("docs/coverage.md", "faults", &table);
}

#[test]
fn the_sections_that_are_read_are_listed() {
    for (provider, needs) in [(Provider::Clerk, "Credential"), (Provider::Auth0, "Permission")] {
        let mut table = format!("| Section | What it holds | {needs} | Read |\n|---|---|---|---|\n");
        for section in Table::of(provider).sections() {
            let scope = match section.scope.as_str() {
                "secret key" | "publishable key" => section.scope.clone(),
                scope if provider == Provider::Clerk => format!("Platform API key, `{scope}`"),
                scope => format!("`{}`", scope.replace(' ', "` `")),
            };
            let often = match (section.depth, section.every) {
                (Depth::Everything, _) => "only with `depth = \"everything\"`".to_owned(),
                (Depth::Security, Some(every)) => format!("every {}", humantime::format_duration(every)),
                (Depth::Security, None) => "in every cycle".to_owned(),
            };
            writeln!(table, "| `{}` | {} | {scope} | {often} |", section.name, section.holds).unwrap();
        }
        check_generated("docs/coverage.md", &format!("{provider}-sections"), &table);
    }
}

#[test]
fn every_check_of_doctor_is_explained_in_the_order_of_its_words() {
    let page = read("docs/doctor.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let listed: Vec<&str> = rows.map(|(word, _)| word).filter(|word| *word != "check").collect();
    assert_eq!(listed, Check::ALL.map(Check::as_str));
}

#[test]
fn the_events_and_the_pauses_of_receivers_are_listed() {
    let mut table = "| `type` | What happened |\n|---|---|\n".to_owned();
    for (name, meaning) in EVENT_TYPES.iter() {
        writeln!(table, "| `{name}` | {meaning} |").unwrap();
    }
    check_generated("docs/receivers.md", "events", &table);
    let pauses = DELIVERY_PAUSES.map(|seconds| humantime::format_duration(Duration::from_secs(seconds)).to_string());
    check_generated("docs/receivers.md", "pauses", &format!("```text\n{}\n```\n", pauses.join(", ")));
}

#[test]
fn the_metrics_and_the_events_of_the_log_are_listed() {
    let mut table = "| Metric | Type | Labels | What it is |\n|---|---|---|---|\n".to_owned();
    for metric in metrics::all() {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let cells = [metric.kind.as_str().to_owned(), labels.join(" "), metric.help.to_owned()];
        writeln!(table, "| `{}` | {} |", metric.sample(), cells.join(" | ")).unwrap();
    }
    check_generated("docs/monitoring.md", "metrics", &table);

    let mut table = "| Event | `MESSAGE_ID` | Level | What happened |\n|---|---|---|---|\n".to_owned();
    for kind in EVENT_KINDS {
        let level = kind.level.map_or("below".to_owned(), |level| level.to_string());
        writeln!(table, "| `{}` | `{}` | {level} | {} |", kind.name, message_id(kind.name), kind.meaning).unwrap();
    }
    check_generated("docs/monitoring.md", "history-events", &table);

    let mut table = "| Event | `MESSAGE_ID` | What happened |\n|---|---|---|\n".to_owned();
    for (name, meaning) in OBSERVABLES {
        writeln!(table, "| `{name}` | `{}` | {meaning} |", message_id(name)).unwrap();
    }
    check_generated("docs/monitoring.md", "log-events", &table);

    let document = read("docs/monitoring.md");
    let script = document.split("<!-- tried -->\n```sh\n").nth(1).unwrap().split_once("\n```").unwrap().0;
    let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), message_id("drift.opened"));
}

/// Every name in `text` that begins as ours do.
fn metric_names(text: &str) -> BTreeSet<&str> {
    let is_sign = |sign: char| !(sign.is_ascii_lowercase() || sign == '_');
    text.split(is_sign).filter(|word| word.starts_with("authdrift_")).collect()
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_and_labels_that_exist() {
    let known: BTreeMap<String, metrics::Metric> =
        metrics::all().into_iter().map(|metric| (metric.sample(), metric)).collect();
    let dashboard: serde_json::Value = serde_json::from_str(&read("docs/grafana-dashboard.json")).unwrap();
    let mut queries = vec![read("docs/alerts.rules.yml"), read("docs/alerts.test.yml")];
    for panel in dashboard["panels"].as_array().unwrap() {
        queries.extend(panel["targets"].as_array().unwrap().iter().map(|target| target["expr"].to_string()));
    }
    queries.push(dashboard["templating"].to_string());
    let mut asked = BTreeSet::new();
    for query in &queries {
        for name in metric_names(query) {
            let metric = known.get(name).unwrap_or_else(|| panic!("there is no metric '{name}', asked for by {query}"));
            asked.insert(name.to_owned());
            // What is chosen by a label has it.
            let begin = format!("{name}{{");
            let chosen = query.split(&begin).skip(1).map(|rest| rest.split_once('}').unwrap().0);
            for label in chosen.flat_map(|chosen| chosen.split(',')).filter_map(|part| part.split(['=', '!']).next()) {
                let label = label.trim();
                assert!(metric.labels.contains(&label) || label == "instance", "{name} has no label '{label}'");
            }
        }
    }
    assert!(asked.len() > 15, "{asked:?}");
}

#[test]
fn the_alerts_fire_when_they_should() {
    let promtool = |arguments: &[&str]| Command::new("promtool").args(arguments).current_dir(path("docs")).output();
    if promtool(&["--version"]).is_err() {
        // The harness shows this also when the test passes.
        let _ = writeln!(std::io::stderr(), "SKIPPED: the check of docs/alerts.rules.yml needs promtool of Prometheus");
        return;
    }
    for arguments in [["check", "rules", "alerts.rules.yml"], ["test", "rules", "alerts.test.yml"]] {
        let output = promtool(&arguments).unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    }
}

#[test]
fn the_signatures_of_webhooks_can_be_checked_in_a_shell() {
    let has = |program: &str| Command::new(program).arg("--help").output().is_ok();
    if !(has("openssl") && has("base64") && has("od")) {
        // The harness shows this also when the test passes.
        let _ = writeln!(std::io::stderr(), "SKIPPED: the check of a webhook's signature needs openssl, base64 and od");
        return;
    }
    let document = read("docs/receivers.md");
    let scripts: Vec<&str> =
        document.split("<!-- tried -->\n```sh\n").skip(1).map(|rest| rest.split_once("\n```").unwrap().0).collect();
    let folder = tempfile::tempdir().unwrap();
    let body = r#"{"type":"drift.opened","timestamp":"2026-01-01T00:00:00Z","data":{"instance":"auth0:acme","incident":"inc_1","severity":"high"}}"#;
    let run = |script: &str, body: &str| {
        fs::write(folder.path().join("body"), body).unwrap();
        let output = Command::new("sh").arg("-c").arg(script).current_dir(folder.path()).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let expected = (true, "wjrvZ8rCMxY2rJNSFMr/BiDzvgDkTd6MhKq8swJdJbM=\n".to_owned());
    assert_eq!(run(scripts[0], body), expected);
    assert_ne!(run(scripts[0], "{}"), expected);
    assert!(run(scripts[1], body).0, "{:?}", run(scripts[1], body));
    assert!(!run(scripts[1], "{}").0);
}

#[test]
fn the_readme_lists_the_permissions_auth0_has_to_grant() {
    let mut scopes: Vec<&str> = Vec::new();
    for scope in Table::of(Provider::Auth0).sections().iter().flat_map(|section| section.scope.split(' ')) {
        assert!(scope.starts_with("read:"), "{scope}");
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    check_generated("README.md", "auth0-scopes", &format!("```text\n{}\n```\n", scopes.join("\n")));
}

#[test]
fn what_is_not_compared_is_listed() {
    for provider in Provider::ALL {
        let mut table = "| Section | What | Why |\n|---|---|---|\n".to_owned();
        for section in Table::of(provider).sections() {
            let listed = |patterns: &[Pattern]| {
                let names: Vec<String> = patterns.iter().map(|pattern| format!("`{pattern}`")).collect();
                names.join(" ")
            };
            let mut rows: Vec<(String, String)> =
                section.volatile().iter().map(|volatile| (listed(&volatile.paths), volatile.why.clone())).collect();
            if !section.inert().is_empty() {
                rows.push((listed(section.inert()), "nothing while `enabled` is off".to_owned()));
            }
            let defaults = section.defaults().iter();
            rows.extend(defaults.map(|(pattern, value)| {
                (format!("`{pattern}` when it comes or goes as `{value}`"), "absent is the same".to_owned())
            }));
            for (what, why) in rows {
                writeln!(table, "| `{}` | {what} | {why} |", section.name).unwrap();
            }
        }
        check_generated("docs/coverage.md", &format!("{provider}-not-compared"), &table);
    }
}

#[test]
fn the_readme_and_the_help_list_the_exit_codes() {
    let source = read("src/exit.rs");
    let help = authdrift::cli::args::Arguments::command().get_after_help().unwrap().to_string();
    let mut table = "| Code | Meaning |\n|---|---|\n".to_owned();
    let mut meaning = "";
    for line in source.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            meaning = text.trim_end_matches('.');
        } else if let Some((_, code)) = line.strip_suffix(',').and_then(|line| line.split_once(" = ")) {
            writeln!(table, "| {code} | {} |", meaning.replace("`check`", "`authdrift check`")).unwrap();
            assert!(help.contains(&format!("{code} ")), "--help does not name exit code {code}");
        }
    }
    assert!(table.lines().count() > 10, "src/exit.rs is not written as this test reads it");
    check_generated("README.md", "exit-codes", &table);
}

#[test]
fn complete_configurations_load() {
    let readme = read("README.md");
    let blocks: Vec<&str> =
        readme.split("<!-- config -->\n```toml\n").skip(1).map(|rest| rest.split_once("\n```").unwrap().0).collect();
    assert_eq!(blocks.len(), readme.matches("```toml").count(), "every TOML block is marked <!-- config -->");
    assert!(blocks.len() >= 2);
    for text in blocks.into_iter().chain([read("config.example.toml").as_str()]) {
        let sources = Sources {
            file: "/etc/authdrift/config.toml",
            text,
            state_directory: None,
            xdg_state: None,
            now: "2026-11-22T04:00:00Z".parse().unwrap(),
        };
        let config = config::parse(&sources).unwrap_or_else(|problems| panic!("{problems}\nin\n{text}"));
        assert!(config.instances.len() >= 2);
    }
}

#[test]
fn the_readme_and_ci_call_the_same_tests() {
    let readme = read("README.md");
    let command = readme.lines().find(|line| line.starts_with("cargo test")).unwrap();
    let command = command.split('#').next().unwrap().trim();
    assert!(read(".ci/run").lines().any(|line| line == format!("step 'tests' {command}")), "{command}");
}

#[test]
fn links_lead_somewhere() {
    for document in documents() {
        for link in links(&fs::read_to_string(&document).unwrap()) {
            let is_there = document.parent().unwrap().join(&link).exists();
            assert!(is_there, "{}: '{link}' leads nowhere", document.display());
        }
    }
}

/// Every page for people.
fn documents() -> Vec<PathBuf> {
    let documents = fs::read_dir(path("docs")).unwrap().chain(fs::read_dir(path("docs/decisions")).unwrap());
    let mut documents: Vec<PathBuf> = documents.map(|entry| entry.unwrap().path()).collect();
    documents.extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"].map(path));
    documents.retain(|document| document.extension().is_some_and(|name| name == "md"));
    documents
}

/// The files that a page links.
fn links(text: &str) -> Vec<String> {
    let links = text.split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap());
    links.filter(|link| !link.is_empty() && !link.contains("://")).map(str::to_owned).collect()
}

/// Whoever installs the package reads them without the repository.
#[test]
fn what_the_packaged_documents_link_is_packaged_too() {
    let manifest: toml::Value = toml::from_str(&read("Cargo.toml")).unwrap();
    let assets = manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap();
    let is_document = |asset: &&toml::Value| asset[1].as_str().unwrap().starts_with("usr/share/doc/authdrift/");
    let packaged: Vec<&str> = assets.iter().filter(is_document).map(|asset| asset[0].as_str().unwrap()).collect();
    // An asset is a file, or a folder with a star and perhaps an ending.
    let is_packaged = |file: &str| {
        packaged.iter().any(|asset| match asset.split_once('*') {
            None => *asset == file,
            Some((folder, end)) => {
                let name = file.strip_prefix(folder).and_then(|rest| rest.strip_suffix(end));
                name.is_some_and(|name| !name.contains('/')) || folder.trim_end_matches('/') == file
            }
        })
    };
    let root = path("").canonicalize().unwrap();
    for document in documents() {
        let name = document.strip_prefix(path("")).unwrap().to_str().unwrap();
        assert!(is_packaged(name), "{name} is not in the package");
        for link in links(&fs::read_to_string(&document).unwrap()) {
            let file = document.parent().unwrap().join(&link).canonicalize().unwrap();
            let file = file.strip_prefix(&root).unwrap().to_str().unwrap();
            // The source is for those who have it.
            assert!(file.starts_with("src/") || is_packaged(file), "{name}: '{file}' is not in the package");
        }
    }
}

#[test]
fn the_readme_checks_a_proposal_with_openssh_alone() {
    if !has_programs() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let run = check_script;
    let identity = signed_proposal(folder.path());
    let file = folder.path().join("prod.json");

    let printed = run(folder.path());
    assert!(printed.starts_with("Good \"baseline.v1@authdrift\" signature for alice@example.test"), "{printed}");
    let rest = "canonical\nas signed: guardian.policies\nas signed: tenants.settings\nsnapshot as signed\n";
    assert!(printed.ends_with(&format!("{rest}{identity}\n")), "{printed}");

    // Another setting, another reason, another place in the chain.
    let good = fs::read_to_string(&file).unwrap();
    for (from, to, complaint) in [
        ("all-applications", "never", "NOT AS SIGNED: guardian.policies"),
        ("CHG-7 für alle", "CHG-8 für alle", "incorrect signature"),
        ("\\\"sequence\\\":1", "\\\"sequence\\\":2", "incorrect signature"),
    ] {
        assert!(good.contains(from), "{from}");
        fs::write(&file, good.replace(from, to)).unwrap();
        let printed = run(folder.path());
        assert!(printed.contains(complaint), "{from}: {printed}");
    }
}

/// Whether there is what the README's check needs.
fn has_programs() -> bool {
    let has = |program: &str| Command::new(program).arg("--help").output().is_ok();
    let has_all = has("ssh-keygen") && has("jq") && has("sha256sum");
    if !has_all {
        // Past the capture of the test harness: what was skipped must not look like what has passed.
        let _ = writeln!(std::io::stderr(), "SKIPPED: the README's check needs ssh-keygen, jq and sha256sum");
    }
    has_all
}

/// What the README's check prints about `prod.json` in a folder.
fn check_script(folder: &Path) -> String {
    let readme = read("README.md");
    let script = readme.split("<!-- tried -->\n```sh\n").nth(1).unwrap().split_once("\n```").unwrap().0;
    let output = Command::new("sh").arg("-c").arg(script).current_dir(folder).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Writes `prod.json`, signed, and `allowed_signers`; answers the identity of the baseline.
fn signed_proposal(folder: &Path) -> Digest {
    let key = folder.join("key");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status().unwrap();
    assert!(made.success());
    let public = fs::read_to_string(key.with_extension("pub")).unwrap();
    let signers = format!("alice@example.test namespaces=\"baseline.v1@authdrift\" {public}");
    fs::write(folder.join("allowed_signers"), signers).unwrap();

    let instance: InstanceId = "auth0:prod".parse().unwrap();
    let resource = "acme.eu.auth0.com".to_owned();
    let mut sections = Manifest::new();
    let mut documents = BTreeMap::new();
    for (section, value) in [
        ("guardian.policies", json!(["all-applications"])),
        ("tenants.settings", json!({ "friendly_name": "Bücher\u{1}\\ \"Laterne\" 📚", "session_lifetime": 168 })),
    ] {
        let bytes = canonical::to_bytes(&value);
        let digest = Digest::of(&bytes);
        documents.insert(digest.clone(), Document::from_canonical(bytes, &digest).unwrap());
        sections.insert(section.to_owned(), SectionMark { digest: Some(digest), state: State::Value });
    }
    sections.insert("organizations".to_owned(), SectionMark { digest: None, state: State::NotOnPlan });
    let subject = Subject {
        until: Default::default(),
        log: HistoryMark { size: 3, head: Digest::of(b"event") },
        previous: None,
        proposer: "carol@example.test".to_owned(),
        snapshot: digest_of(&instance, &resource, &sections),
        sequence: 1,
        instance,
        resource,
        sections,
    };
    let identity = subject.identity();
    let catalogue = Catalogue::of(Provider::Auth0, None).unwrap();
    let mut proposal = Proposal::new(subject, None, &documents, &catalogue);
    let signer = SigningKey::of_key(&key, None, Some("alice@example.test")).unwrap();
    sign(&mut proposal, &signer, "CHG-7 für alle", "2026-11-22T04:00:00Z".parse().unwrap()).unwrap();
    proposal.write(&folder.join("prod.json")).unwrap();
    identity
}
