//! The page about keys: what it tells to type is typed, in its order, in one shell.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::common::pages::{as_told, blocks, shell};
use crate::common::{Ran, Sandbox};

const PAGE: &str = "docs/keys.md";

#[tokio::test(flavor = "multi_thread")]
async fn the_page_about_keys_does_what_it_says() {
    let sandbox = Sandbox::new().await;
    // What the page takes for given: an instance, no approver yet, and what Bob sent.
    for name in ["bob", "bob-new"] {
        sandbox.make_key(name);
    }
    let approval = &blocks(PAGE, "toml")[0].text;
    let config = format!("{}{}", sandbox.head(), sandbox.clerk_table());
    let (before, after) = config.split_once("[approval]\n").unwrap();
    let after = after.strip_prefix("allowed_signers = \"allowed_signers\"\n").unwrap();
    sandbox.write("config.toml", &format!("{before}{approval}\n{after}"));
    sandbox.write("allowed_signers", "");
    fs::create_dir(sandbox.path(".ssh")).unwrap();
    // Whoever is asked for a passphrase.
    sandbox.write("answer", "#!/bin/sh\necho passphrase\n");
    fs::set_permissions(sandbox.path("answer"), fs::Permissions::from_mode(0o700)).unwrap();

    let (run, left_out): (Vec<_>, Vec<_>) = blocks(PAGE, "sh").into_iter().partition(|block| block.needs.is_none());
    let needs: Vec<_> = left_out.iter().filter_map(|block| block.needs.as_deref()).collect();
    assert_eq!(needs, ["needs a security key"], "no other part of the page is left out");
    assert!(run.len() >= 8);
    let mut script = String::from("set -eu\ntrap 'kill ${SSH_AGENT_PID:-} 2>/dev/null || true' EXIT\n");
    for line in run.iter().flat_map(|block| block.text.lines()) {
        script.push_str(&format!("{}\n", as_told(line)));
    }
    let mut command = shell(&sandbox, &script);
    command.env("SSH_ASKPASS", sandbox.path("answer")).env("SSH_ASKPASS_REQUIRE", "force");
    let ran: Ran = tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap();
    let ran = ran.expect(0);
    assert!(ran.out.contains("approved by alice@example.com, bob@example.com"), "{}", ran.out);

    // The passphrase was one: the key is not readable without it.
    let opened = Command::new("ssh-keygen").args(["-y", "-P", "", "-f"]).arg(sandbox.path(".ssh/authdrift")).output();
    assert!(!opened.unwrap().status.success());
    // And the first baseline is untrusted by today's keys, the second is not.
    let verified = sandbox.run(&["verify", "--json"]).await.expect(0).json();
    assert_eq!(verified["instances"][0]["baselines"].as_array().unwrap().len(), 2);
}
