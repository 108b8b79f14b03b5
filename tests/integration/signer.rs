//! Which key signs: from `~/.ssh`, from a real agent, and why one cannot be used.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::common::{Ran, Sandbox};

/// An agent with one key; it ends with the test.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn agent(socket: &Path, key: Option<&Path>) -> Option<Agent> {
    let mut command = Command::new("ssh-agent");
    let child = command.arg("-D").arg("-a").arg(socket).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
    let agent = Agent(child);
    // It ends with 2 until somebody listens there.
    let is_there = || {
        let mut list = Command::new("ssh-add");
        list.arg("-L").env("SSH_AUTH_SOCK", socket).stdout(Stdio::null()).stderr(Stdio::null());
        list.status().unwrap().code() != Some(2)
    };
    while !is_there() {
        std::thread::sleep(Duration::from_millis(10));
    }
    if let Some(key) = key {
        let added = Command::new("ssh-add").arg("-q").arg(key).env("SSH_AUTH_SOCK", socket).status().unwrap();
        assert!(added.success());
    }
    Some(agent)
}

fn approve(sandbox: &Sandbox, more: &[&str], socket: Option<&Path>) -> Ran {
    let mut command = sandbox.command();
    command.args(["approve", "prod", "--all", "--accept-weaker", "--reason", "x"]).args(more);
    if let Some(socket) = socket {
        command.env("SSH_AUTH_SOCK", socket);
    }
    command.output().unwrap().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_only_the_agent_has_signs() {
    let sandbox = Sandbox::new().await;
    sandbox.write("config.toml", &sandbox.configuration_of_clerk());
    sandbox.check().await.expect(13);
    sandbox.make_key("stranger");
    let (socket, empty) = (sandbox.path("agent"), sandbox.path("empty"));
    let none = approve(&sandbox, &[], None).expect(77);
    none.saying(&["no-key", "0 public keys in ", "/.ssh", "no SSH agent: SSH_AUTH_SOCK is not set", "--key"]);
    approve(&sandbox, &[], Some(&sandbox.path("nowhere"))).expect(77).saying(&["no-key", "no SSH agent: "]);
    let (Some(_empty), Some(_agent)) = (agent(&empty, None), agent(&socket, Some(&sandbox.path("stranger")))) else {
        eprintln!("SKIPPED: ssh-agent is not installed");
        return;
    };
    approve(&sandbox, &[], Some(&empty)).expect(77).saying(&["0 keys of the SSH agent"]);
    approve(&sandbox, &[], Some(&socket)).expect(77).saying(&["1 keys of the SSH agent"]);
    // The key is nowhere but in the agent.
    let added = Command::new("ssh-add").arg("-q").arg(sandbox.path("alice")).env("SSH_AUTH_SOCK", &socket).status();
    assert!(added.unwrap().success());
    for name in ["alice", "alice.pub"] {
        fs::rename(sandbox.path(name), sandbox.path(&format!("away-{name}"))).unwrap();
    }
    approve(&sandbox, &[], Some(&socket))
        .expect(0)
        .saying(&["Baseline 1 of clerk:prod is approved by alice@example.test"]);
    sandbox.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_key_that_others_can_read_is_refused_in_one_sentence() {
    let sandbox = Sandbox::new().await;
    sandbox.write("config.toml", &sandbox.configuration_of_clerk());
    sandbox.check().await.expect(13);
    fs::set_permissions(sandbox.path("alice"), fs::Permissions::from_mode(0o644)).unwrap();
    let key = sandbox.path("alice").display().to_string();
    for with_public in [true, false] {
        if !with_public {
            fs::remove_file(sandbox.path("alice.pub")).unwrap();
        }
        let refused = approve(&sandbox, &["--key", &key], None).expect(77);
        let refused = refused.saying(&["Permissions 0644 for ", "are too open", "This private key will be ignored"]);
        assert!(!refused.err.contains("@@@") && !refused.err.contains("\\u{d}"), "{}", refused.err);
    }
}
