//! Every command on the pages of the documents is typed: here where it says `<!-- typed -->`, elsewhere as it says.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use authdrift::simulator::{auth0, clerk};

use crate::common::pages::{Block, as_told, blocks, shell};
use crate::common::sandbox::WEBHOOK_SECRET;
use crate::common::{Ran, Sandbox};

/// Pages that have a test of their own, which types all of their commands.
const OWN_TEST: [&str; 2] = ["docs/keys.md", "docs/check-an-export.md"];

/// What a command may need that a test does not have, or has elsewhere.
const NEEDS: [&str; 7] = [
    "needs systemd",
    "needs podman",
    "needs a running daemon",
    "needs a journal",
    "needs an hour",
    "needs sqlite3 and a digest of your own",
    "needs a security key",
];

#[test]
fn every_command_on_the_pages_is_typed_or_says_what_it_needs() {
    let typed_here = [
        "docs/alerts.md",
        "docs/catalogue.md",
        "docs/doctor.md",
        "docs/operations.md",
        "docs/receivers.md",
        "docs/setup-auth0.md",
        "docs/setup-clerk.md",
        "docs/trust-model.md",
    ];
    let mut typed = BTreeSet::new();
    let mut skipped = BTreeSet::new();
    for entry in fs::read_dir("docs").unwrap() {
        let page = entry.unwrap().path().display().to_string();
        let is_page = Path::new(&page).extension().is_some_and(|name| name == "md");
        if !is_page || OWN_TEST.contains(&page.as_str()) || !fs::read_to_string(&page).unwrap().contains("```sh\n") {
            continue;
        }
        for block in blocks(&page, "sh") {
            match block.needs.as_deref() {
                Some("typed" | "typed on another machine") => _ = typed.insert(page.clone()),
                // By the tests of the documents.
                Some("tried") => {}
                Some(needs) if NEEDS.contains(&needs) => _ = skipped.insert(format!("{page} {needs}")),
                other => panic!("{page}: nobody types this ({other:?}):\n{}", block.text),
            }
        }
    }
    assert_eq!(typed.iter().map(String::as_str).collect::<Vec<_>>(), typed_here, "these pages are typed below");
    for page in skipped {
        // Past the capture of the test harness: what was skipped must not look like what has passed.
        let _ = writeln!(std::io::stderr(), "SKIPPED: some commands of {page}");
    }
}

/// Types what a page tells to type, in its order and one shell. `before` is done before the block that has a text.
async fn typed(sandbox: &Sandbox, page: &str, before: &[(&str, &str)]) -> String {
    let is_typed = |block: &Block| block.needs.as_deref().is_some_and(|needs| needs.starts_with("typed"));
    let mut script = String::from("set -eu\n");
    for block in blocks(page, "sh").into_iter().filter(is_typed) {
        for (_, lines) in before.iter().filter(|(text, _)| block.text.contains(text)) {
            script.push_str(&format!("{lines}\n"));
        }
        for line in block.text.lines() {
            script.push_str(&format!("{}\n", as_told(line)));
        }
    }
    let mut command = shell(sandbox, &script);
    let ran: Ran = tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap();
    assert_eq!(ran.code, 0, "{page}\n{}\n{}", ran.out, ran.err);
    ran.out
}

/// A sandbox with the configuration of a page, what there is to paste, and the addresses of the simulators.
async fn set_up(page: &str, replaced: &[(&str, &str)], urls: impl Fn(&Sandbox) -> String) -> Sandbox {
    let sandbox = Sandbox::new().await;
    fs::create_dir(sandbox.path("pasted")).unwrap();
    for (name, secret) in [
        ("clerk-secret-key", clerk::SECRET_KEY),
        ("clerk-platform-token", clerk::PLATFORM_TOKEN),
        ("auth0-client-secret", auth0::CLIENT_SECRET),
        ("webhook-secret", WEBHOOK_SECRET),
    ] {
        fs::remove_file(sandbox.path(name)).unwrap();
        sandbox.write(&format!("pasted/{name}"), secret);
    }
    let mut config = blocks(page, "toml")[0].text.clone();
    for (old, new) in replaced {
        assert!(config.contains(old), "{page}: {old}");
        config = config.replace(old, new);
    }
    sandbox.write("config.toml", &format!("{config}{}", urls(&sandbox)));
    sandbox
}

#[tokio::test(flavor = "multi_thread")]
async fn clerk_is_set_up_by_its_page() {
    let replaced = [
        ("pk_live_Y2xlcmsuZXhhbXBsZS5jb20k", clerk::PUBLISHABLE_KEY),
        ("app_2aBcDeFgHiJkLmNoPqRsTuVwXyZ", clerk::APPLICATION_ID),
    ];
    let urls = |sandbox: &Sandbox| {
        let url = sandbox.clerk.url();
        format!("backend_api_url = \"{url}\"\nplatform_api_url = \"{url}\"\nfrontend_api_url = \"{url}\"\n")
    };
    let sandbox = set_up("docs/setup-clerk.md", &replaced, urls).await;
    typed(&sandbox, "docs/setup-clerk.md", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn auth0_is_set_up_by_its_page() {
    let replaced = [
        ("acme.eu.auth0.com", auth0::DOMAIN),
        ("aBcDeFgHiJkLmNoPqRsTuVwXyZ012345", auth0::CLIENT_ID),
        // The pace of a free tenant takes minutes.
        ("rate = \"free\"", "#"),
    ];
    let urls = |sandbox: &Sandbox| format!("api_url = \"{}\"\n", sandbox.auth0.url());
    let sandbox = set_up("docs/setup-auth0.md", &replaced, urls).await;
    typed(&sandbox, "docs/setup-auth0.md", &[]).await;
}

/// One instance that is approved, by a key where `approve` looks for it.
async fn at_home() -> Sandbox {
    let sandbox = Sandbox::clerk_approved().await;
    fs::create_dir(sandbox.path(".ssh")).unwrap();
    for (from, to) in [("alice", ".ssh/id_ed25519"), ("alice.pub", ".ssh/id_ed25519.pub")] {
        fs::rename(sandbox.path(from), sandbox.path(to)).unwrap();
    }
    sandbox
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_about_operations_does_what_it_says() {
    let sandbox = at_home().await;
    let since = "authdrift silence add --match clerk:prod --until 1h --reason 'after the backup'";
    let another = "rm authdrift.*; cp kept.toml config.toml";
    let before = [("rm -f authdrift.db-wal", since), ("install -m 600 moved.db", another)];
    fs::copy(sandbox.path("config.toml"), sandbox.path("kept.toml")).unwrap();
    let said = typed(&sandbox, "docs/operations.md", &before).await;
    for why in ["the history had", "the high-water file beside the database is missing"] {
        assert!(said.contains(&format!("the database was rolled back: {why}")), "{said}");
    }
    let baselines = sandbox.run(&["verify", "--json"]).await.expect(0).json()["instances"][0]["baselines"].clone();
    assert_eq!(baselines.as_array().map(Vec::len), Some(3), "{baselines}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_pages_do_what_they_say() {
    let sandbox = at_home().await;
    let found = typed(&sandbox, "docs/catalogue.md", &[]).await;
    assert!(found.contains("session-lifetime"), "{found}");
    typed(&sandbox, "docs/trust-model.md", &[]).await;
    let secrets = typed(&sandbox, "docs/receivers.md", &[]).await;
    assert!(secrets.starts_with("whsec_") && secrets.contains("\nwhsk_"), "{secrets}");
    let said = typed(&sandbox, "docs/alerts.md", &[]).await;
    assert!(said.contains("is ended"), "{said}");
    typed(&sandbox, "docs/doctor.md", &[("--new-fingerprint-key", "rm authdrift.key")]).await;
}
