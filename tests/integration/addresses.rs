//! A name that stands for several addresses, of which the first does not answer.

use std::fs;
use std::process::Command;

use crate::common::Sandbox;

#[tokio::test(flavor = "multi_thread")]
async fn where_the_first_address_of_a_host_is_dead_the_second_is_used() {
    let sandbox = Sandbox::new().await;
    // Everything listens on 127.0.0.1 alone, and ::1 comes first.
    sandbox.write("hosts", "::1 localhost\n127.0.0.1 localhost\n");
    let script = format!("mount --bind '{}' /etc/hosts && exec \"$0\" \"$@\"", sandbox.path("hosts").display());
    let within = |program: &Command, arguments: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", &script]).arg(program.get_program()).args(program.get_args()).args(arguments);
        command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command
    };
    let found = within(&Command::new("getent"), &["ahosts", "localhost"]).output();
    if !found.is_ok_and(|found| found.stdout.starts_with(b"::1")) {
        eprintln!("SKIPPED: this machine has no ::1, or no /etc/hosts can be mounted here; root can");
        return;
    }
    let text = fs::read_to_string(sandbox.path("config.toml")).unwrap();
    sandbox.write("config.toml", &text.replace("127.0.0.1", "localhost"));
    let trials = [(&["check"][..], 13), (&["receivers", "test", "siem"], 0), (&["receivers", "test", "security"], 0)];
    for (arguments, code) in trials {
        let mut command = within(&sandbox.command(), arguments);
        let ran = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert_eq!(ran.status.code(), Some(code), "{arguments:?}: {out}{err}");
        assert!(!out.contains("UNREADABLE"), "{out}");
    }
}
