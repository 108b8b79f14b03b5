//! Two hundred kills, daemon and commands writing side by side: whatever somebody was told is there afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::Value;

use crate::common::Sandbox;
use crate::common::daemon::{Running, eventually, eventually_within};
use crate::crash::Dice;

const ROUNDS: u64 = 200;

/// What people were told, to be looked for in the end.
#[derive(Default)]
struct Acknowledged {
    /// Drifts that a check showed.
    drifts: BTreeSet<String>,
    /// Baselines that were approved.
    approvals: BTreeSet<u64>,
    /// Where the history stood when somebody looked.
    history: BTreeMap<i64, String>,
    backups: usize,
    checks: usize,
}

impl Acknowledged {
    /// A command said that it did its work.
    fn by(&mut self, sandbox: &Sandbox, name: &str, code: i32) {
        let out = fs::read_to_string(sandbox.path("command.out")).unwrap();
        match (name, code) {
            ("check", 0 | 10) => {
                let report: Value = serde_json::from_str(&out).unwrap();
                let drifts = report["instances"][0]["drifts"].as_array().unwrap();
                self.drifts.extend(drifts.iter().map(|drift| drift["id"].as_str().unwrap().to_owned()));
                self.checks += 1;
            }
            ("approve", 0) => {
                // Without a difference there is nothing to approve.
                let sequence = out.split("Baseline ").nth(1).and_then(|rest| rest.split(' ').next());
                self.approvals.extend(sequence.map(|sequence| sequence.parse::<u64>().unwrap()));
            }
            ("backup", 0) => {
                let copy = Connection::open(sandbox.path("copy.db")).unwrap();
                let check: String = copy.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
                assert_eq!(check, "ok");
                self.backups += 1;
            }
            // Somebody else may have approved the same, or it is reverted: there is nothing to approve.
            ("approve", 2 | 12) => {}
            _ => panic!("{name} ended with {code}: {out}\n{}", errors(sandbox)),
        }
    }

    fn look_at(&mut self, sandbox: &Sandbox) {
        let newest = "SELECT seq, digest FROM events ORDER BY seq DESC LIMIT 1";
        let (seq, digest) = sandbox.sql().query_row(newest, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        self.history.insert(seq, digest);
    }

    fn assert_all_there(&self, sandbox: &Sandbox) {
        for id in &self.drifts {
            assert_eq!(sandbox.count(&format!("SELECT count(*) FROM drifts WHERE id = '{id}'")), 1, "drift {id}");
        }
        for sequence in &self.approvals {
            let query = format!("SELECT count(*) FROM statements WHERE sequence = {sequence}");
            assert_eq!(sandbox.count(&query), 1, "baseline {sequence}");
        }
        for (seq, digest) in &self.history {
            let query = format!("SELECT count(*) FROM events WHERE seq = {seq} AND digest = '{digest}'");
            assert_eq!(sandbox.count(&query), 1, "event {seq}");
        }
    }
}

fn errors(sandbox: &Sandbox) -> String {
    fs::read_to_string(sandbox.path("command.err")).unwrap_or_default()
}

/// Begins a command that writes.
fn begin(sandbox: &Sandbox, name: &str) -> Child {
    let (copy, key) = (sandbox.path("copy.db").display().to_string(), sandbox.path("alice").display().to_string());
    for left in ["copy.db", "copy.db.part", "copy.key"] {
        let _ = fs::remove_file(sandbox.path(left));
    }
    let mut command = sandbox.command();
    match name {
        "check" => command.args(["check", "--json"]),
        "backup" => command.args(["backup", &copy]),
        _ => command.args(["approve", "prod", "--reason", "x", "--all", "--accept-weaker", "--replace-signed"]),
    };
    if name == "approve" {
        command.args(["--key", &key]);
    }
    command.stdout(File::create(sandbox.path("command.out")).unwrap());
    command.stderr(File::create(sandbox.path("command.err")).unwrap()).stdin(Stdio::null()).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_kills_of_daemon_and_commands_side_by_side_lose_and_repeat_nothing() {
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.edit_configuration("confirm_after = \"100ms\"", "confirm_after = \"20ms\"");
    let (mut dice, mut told) = (Dice(200), Acknowledged::default());
    let mut daemon: Option<Running> = None;
    let (mut daemons, mut commands, begun) = (0, 0, Instant::now());
    for round in 0..ROUNDS {
        sandbox.turn_something(&mut dice);
        sandbox.make_due();
        let running = daemon.take().unwrap_or_else(|| sandbox.start());
        let name = ["check", "check", "approve", "backup"][dice.roll(4) as usize];
        let mut command = begin(&sandbox, name);
        let wait = Duration::from_millis(dice.roll(350));
        // The daemon, the command, or both.
        let (is_daemon, is_command) =
            [(true, false), (false, true), (false, true), (true, true)][dice.roll(4) as usize];
        tokio::time::sleep(wait).await;
        if is_command {
            // It may have ended before.
            let _ = command.kill();
            commands += 1;
        }
        if is_daemon {
            running.kill();
            daemons += 1;
        } else {
            daemon = Some(running);
        }
        let ended = tokio::task::spawn_blocking(move || command.wait().unwrap()).await.unwrap();
        if let Some(code) = ended.code() {
            told.by(&sandbox, name, code);
        }
        sandbox.let_claims_expire();
        if round % 20 == 0 {
            told.look_at(&sandbox);
            sandbox.run(&["verify"]).await.expect(0);
        }
    }
    drop(daemon.take());
    let took = begun.elapsed();
    sandbox.let_claims_expire();
    let daemon = sandbox.start();
    let cycles = sandbox.cycles();
    sandbox.make_due();
    eventually("a whole cycle", || sandbox.cycles() > cycles).await;
    assert_eq!(daemon.stop().await, Some(0));
    if sandbox.check().await.code == 10 {
        let mut command = begin(&sandbox, "approve");
        assert!(command.wait().unwrap().success(), "{}", errors(&sandbox));
    }
    sandbox.let_claims_expire();
    sandbox.check().await.expect(0);
    eventually_within(Duration::from_secs(10), "everything delivered", || sandbox.waiting() == 0).await;
    told.assert_all_there(&sandbox);
    sandbox.assert_database_is_sound();
    sandbox.assert_nothing_lost_or_invented();
    sandbox.assert_stories_are_whole();
    sandbox.run(&["verify"]).await.expect(0);
    let ids = sandbox.webhook_ids();
    let distinct = ids.iter().collect::<BTreeSet<_>>().len();
    eprintln!(
        "{ROUNDS} rounds in {} s: {daemons} daemons and {commands} commands killed; acknowledged and found: {} checks, \
         {} drifts, {} approvals, {} backups; {distinct} messages, {} came twice with the same id; {} events",
        took.as_secs(),
        told.checks,
        told.drifts.len(),
        told.approvals.len(),
        told.backups,
        ids.len() - distinct,
        sandbox.count("SELECT max(seq) FROM events"),
    );
    assert!(told.checks > 10 && told.approvals.len() > 3 && told.backups > 5 && distinct > 20, "enough happened");
}
