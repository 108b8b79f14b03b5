//! One call after the other fails that changes the disk, alone or with everything after it: the command says so and ends
//! with 74, and nothing is broken or lost.

use std::fs;

use serde_json::json;

use super::{Kept, on_the_disk, run, shim};
use crate::common::{Ran, Sandbox};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// A failing call: which, how, and whether everything after it fails too.
#[derive(Debug, Clone, Copy)]
struct Fault {
    at: u32,
    number: i32,
    is_sticky: bool,
}

/// Runs `arguments` on a disk with `fault`; answers what came of it and the calls that failed.
async fn with(sandbox: &Sandbox, fault: Fault, arguments: &[&str]) -> (Ran, String) {
    let failed = sandbox.path("failed");
    let _ = fs::remove_file(&failed);
    let mut command = sandbox.command();
    command.args(arguments);
    on_the_disk(sandbox, &mut command);
    command
        .env("DISK_FAIL_AT", fault.at.to_string())
        .env("DISK_ERRNO", fault.number.to_string())
        .env("DISK_FAILED", &failed);
    if fault.is_sticky {
        command.env("DISK_STICKY", "1");
    }
    let ran = run(command).await;
    (ran, fs::read_to_string(&failed).unwrap_or_default())
}

/// Lets `arguments` meet every fault; `look` sees what is left each time, after `verify` found it sound.
async fn every_fault(
    what: &str,
    sandbox: &Sandbox,
    arguments: &[&str],
    good: i32,
    look: impl AsyncFn(&Sandbox, &Ran, &str),
) {
    shim(sandbox);
    let kept = Kept::of(sandbox);
    // Four ways to fail. `EVERY_CALL=1` lets every call fail in each of them, which takes long;
    // otherwise every twenty-third call fails in one of them, and neighbours differ.
    let is_thorough = std::env::var_os("EVERY_CALL").is_some();
    let ways = [(EIO, false), (ENOSPC, true), (ENOSPC, false), (EIO, true)];
    let (mut harmless, mut refused, mut calls) = (0, 0, 0);
    for pass in 0..(if is_thorough { ways.len() } else { 1 }) {
        for at in (1..).step_by(if is_thorough { 1 } else { 23 }) {
            let (number, is_sticky) = ways[(pass + at as usize) % ways.len()];
            kept.put_back(sandbox);
            let fault = Fault { at, number, is_sticky };
            let (ran, failed) = with(sandbox, fault, arguments).await;
            let context = format!("{what}, {fault:?}, {failed}{ran:?}");
            assert!([good, 74].contains(&ran.code), "{context}");
            assert!(!ran.err.contains("panicked"), "{context}");
            if failed.is_empty() {
                assert_eq!(ran.code, good, "{context}");
                calls = at - 1;
                break;
            }
            if ran.code == 74 {
                assert!(ran.err.contains("error[") || ran.err.contains("warning["), "{context}");
                refused += 1;
            } else {
                harmless += 1;
            }
            look(sandbox, &ran, &context).await;
        }
    }
    eprintln!("{what}: about {calls} calls, {refused} faults refused, {harmless} harmless");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_meets_a_failing_disk_says_so_and_the_next_one_goes_on() {
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.set_lifetime(3600);
    sandbox.edit_configuration("confirm_after = \"100ms\"", "confirm_after = \"1ms\"");
    let cycles = sandbox.cycles();
    every_fault("check", &sandbox, &["check", "--json"], 10, async |sandbox, ran, context| {
        let verified = sandbox.run(&["verify"]).await;
        assert_eq!(verified.code, 0, "{context}\n{verified:?}");
        if ran.code == 10 {
            assert_eq!(sandbox.cycles(), cycles + 1, "{context}");
            assert_eq!(sandbox.events("drift.opened"), 1, "{context}");
        }
        sandbox.let_claims_expire();
        let next = sandbox.check().await;
        assert_eq!(next.code, 10, "{context}\n{next:?}");
        assert_eq!(sandbox.events("drift.opened"), 1, "{context}");
        assert_eq!(sandbox.waiting(), 0, "{context}");
        let last = sandbox.webhook_ids().pop().unwrap();
        let kept = sandbox.count(&format!("SELECT count(*) FROM outbox WHERE id = '{last}' AND state = 'delivered'"));
        assert_eq!(kept, 1, "what was sent is what was kept: {context}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_check_that_meets_a_failing_disk_can_be_run_again() {
    let sandbox = Sandbox::new().await;
    sandbox.write("config.toml", &sandbox.configuration_of_clerk());
    every_fault("first check", &sandbox, &["check", "--json"], 13, async |sandbox, _, context| {
        let next = sandbox.check().await;
        assert_eq!(next.code, 13, "{context}\n{next:?}");
        let verified = sandbox.run(&["verify"]).await;
        assert_eq!(verified.code, 0, "{context}\n{verified:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_meets_a_failing_disk_is_there_whole_or_not_at_all() {
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.clerk.edit("/v1/instance", |instance| instance["allowed_origins"] = json!(["app://one"]));
    sandbox.check().await.expect(10);
    let key = sandbox.path("alice").display().to_string();
    let approve = ["approve", "prod", "--reason", "x", "--all", "--accept-weaker", "--key", &key];
    every_fault("approve", &sandbox, &approve, 0, async |sandbox, ran, context| {
        let verified = sandbox.run(&["verify"]).await;
        assert_eq!(verified.code, 0, "{context}\n{verified:?}");
        let statements = sandbox.count("SELECT count(*) FROM statements");
        // An error is one that left nothing behind, and a warning comes after the result.
        let is_said = ran.code == 0 || ran.err.contains("warning[");
        assert_eq!(statements, if is_said { 2 } else { 1 }, "{context}");
        assert_eq!(ran.out.contains("is approved by"), is_said, "{context}");
        if statements == 1 {
            let again = sandbox.run(&approve).await;
            assert_eq!(again.code, 0, "{context}\n{again:?}");
        }
        let next = sandbox.check().await;
        assert_eq!(next.code, 0, "{context}\n{next:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_meets_a_failing_disk_can_be_run_again() {
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.clerk.edit("/v1/instance", |instance| instance["allowed_origins"] = json!(["app://one"]));
    sandbox.check().await.expect(10);
    let (file, key) =
        (sandbox.path("proposal.json").display().to_string(), sandbox.path("alice").display().to_string());
    sandbox.run(&["propose", "prod", "-o", &file, "--reason", "x"]).await.expect(0);
    sandbox.run(&["sign", &file, "--key", &key, "--accept-weaker"]).await.expect(0);
    every_fault("import", &sandbox, &["import", &file], 0, async |sandbox, _, context| {
        let verified = sandbox.run(&["verify"]).await;
        assert_eq!(verified.code, 0, "{context}\n{verified:?}");
        let again = sandbox.run(&["import", &file]).await;
        assert_eq!(again.code, 0, "{context}\n{again:?}");
        assert_eq!(sandbox.events("baseline.approved"), 2, "{context}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_meets_a_failing_disk_is_whole_or_not_there() {
    let sandbox = Sandbox::clerk_approved().await;
    let copy = sandbox.path("authdrift.backup.db");
    let to = copy.display().to_string();
    every_fault("backup", &sandbox, &["backup", &to], 0, async |sandbox, ran, context| {
        assert!(ran.code != 0 || copy.exists() && copy.with_extension("key").exists(), "{context}");
        if copy.exists() {
            let check: String = rusqlite::Connection::open(&copy)
                .unwrap()
                .query_row("PRAGMA integrity_check", [], |row| row.get(0))
                .unwrap();
            assert_eq!(check, "ok", "{context}");
        }
        let verified = sandbox.run(&["verify"]).await;
        assert_eq!(verified.code, 0, "{context}\n{verified:?}");
    })
    .await;
}
