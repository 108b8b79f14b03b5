//! A power cut at every moment: what was synchronised is there, and of the rest some sectors, in any mixture.
//!
//! The shim writes down what the program does to its disk; from that the files are built as a cut would have left them,
//! and the real program has to find them sound, with everything that was acknowledged before.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use authdrift::simulator::fault::Fault;
use rusqlite::Connection;
use serde_json::json;

use super::{on_the_disk, run, shim};
use crate::common::daemon::eventually;
use crate::common::{Ran, Sandbox};
use crate::crash::Dice;

/// What a disk writes at once.
const SECTOR: usize = 512;
/// Cuts that are tried; which ones, the dice say. `EVERY_CUT=1` tries more, in minutes.
fn cuts() -> u64 {
    if std::env::var_os("EVERY_CUT").is_some() { 120 } else { 40 }
}

#[derive(Debug)]
enum Op {
    Create(String, u64),
    Write(u64, usize, Vec<u8>),
    Truncate(u64, usize),
    Sync(u64),
    SyncFolder,
    Rename(String, String),
    Unlink(String),
}

/// Reads the journal of the shim; with each call, how many bytes of the journal it ends at.
fn journal(bytes: &[u8]) -> Vec<(Op, usize)> {
    let number = |from: usize, size: usize| {
        bytes[from..from + size].iter().rev().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte))
    };
    let mut ops = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let (path, size) = (number(at + 2, 2) as usize, number(at + 4, 4) as usize);
        let (inode, offset) = (number(at + 8, 8), number(at + 16, 8) as usize);
        let begin = at + 24;
        let name = |text: &str| Path::new(text).file_name().unwrap().to_str().unwrap().to_owned();
        let text = std::str::from_utf8(&bytes[begin..begin + path]).unwrap();
        let data = bytes[begin + path..begin + path + size].to_vec();
        let op = match bytes[at] {
            b'c' => Op::Create(name(text), inode),
            b'w' => Op::Write(inode, offset, data),
            b't' => Op::Truncate(inode, offset),
            b's' => Op::Sync(inode),
            b'd' => Op::SyncFolder,
            b'r' => {
                let (from, to) = text.split_once('\n').unwrap();
                Op::Rename(name(from), name(to))
            }
            b'u' => Op::Unlink(name(text)),
            other => panic!("{other} in the journal at {at}"),
        };
        at = begin + path + size;
        ops.push((op, at));
    }
    ops
}

/// A file: what is surely on the disk, and what was asked for since.
#[derive(Default, Clone)]
struct File {
    durable: Vec<u8>,
    pending: Vec<(usize, Option<Vec<u8>>)>,
}

fn put(bytes: &mut Vec<u8>, at: usize, data: &[u8]) {
    if bytes.len() < at + data.len() {
        bytes.resize(at + data.len(), 0);
    }
    bytes[at..at + data.len()].copy_from_slice(data);
}

impl File {
    /// The file when every sector of a pending write that `survives` is there.
    fn with(&self, mut survives: impl FnMut() -> bool) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for (at, change) in &self.pending {
            match change {
                None if survives() => bytes.resize(*at, 0),
                None => {}
                Some(data) => {
                    let mut from = 0;
                    while from < data.len() {
                        let to = data.len().min(from + SECTOR - (at + from) % SECTOR);
                        if survives() {
                            put(&mut bytes, at + from, &data[from..to]);
                        }
                        from = to;
                    }
                }
            }
        }
        bytes
    }
}

/// The disk after some of the journal.
#[derive(Default)]
struct Disk {
    /// Every file there ever was, and which one has an inode's number now.
    files: Vec<File>,
    inodes: BTreeMap<u64, usize>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// The names after each change of a name that is not synchronised.
    pending_names: Vec<BTreeMap<String, usize>>,
}

impl Disk {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Create(name, inode) => {
                self.files.push(File::default());
                self.inodes.insert(*inode, self.files.len() - 1);
                self.names.insert(name.clone(), self.files.len() - 1);
                self.pending_names.push(self.names.clone());
            }
            Op::Write(inode, at, data) => self.file(*inode).pending.push((*at, Some(data.clone()))),
            Op::Truncate(inode, size) => self.file(*inode).pending.push((*size, None)),
            Op::Sync(inode) => {
                let file = self.file(*inode);
                file.durable = file.with(|| true);
                file.pending.clear();
            }
            Op::SyncFolder => {
                self.durable_names = self.names.clone();
                self.pending_names.clear();
            }
            Op::Rename(from, to) => {
                let file = self.names.remove(from).unwrap();
                self.names.insert(to.clone(), file);
                self.pending_names.push(self.names.clone());
            }
            Op::Unlink(name) => {
                self.names.remove(name);
                self.pending_names.push(self.names.clone());
            }
        }
    }

    fn file(&mut self, inode: u64) -> &mut File {
        &mut self.files[self.inodes[&inode]]
    }

    /// The files as a cut leaves them: names in the order they were made, up to some point; sectors at random.
    fn cut(&self, dice: &mut Dice) -> BTreeMap<String, Vec<u8>> {
        let kept = dice.roll(self.pending_names.len() as u64 + 1) as usize;
        let names = if kept == 0 { &self.durable_names } else { &self.pending_names[kept - 1] };
        // From nothing at all to everything, and mixtures.
        let chance = [0, 20, 50, 80, 100][dice.roll(5) as usize];
        names.iter().map(|(name, file)| (name.clone(), self.files[*file].with(|| dice.roll(100) < chance))).collect()
    }

    fn whole(&self) -> BTreeMap<String, Vec<u8>> {
        self.names.iter().map(|(name, file)| (name.clone(), self.files[*file].with(|| true))).collect()
    }
}

/// What somebody was told, and where the journal was then.
struct Acknowledged {
    at: usize,
    query: String,
}

/// A run of the program whose disk is written down.
struct Recorded {
    sandbox: Sandbox,
    told: Vec<Acknowledged>,
}

impl Recorded {
    fn at(&self) -> usize {
        fs::metadata(self.sandbox.path("journal")).map_or(0, |found| found.len() as usize)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.sandbox.command();
        command.args(arguments);
        on_the_disk(&self.sandbox, &mut command);
        command.env("DISK_JOURNAL", self.sandbox.path("journal"));
        let prefix = self.sandbox.path("authdrift.").display().to_string();
        command.env("DISK_PREFIXES", prefix);
        command
    }

    async fn run(&self, arguments: &[&str], code: i32) -> Ran {
        run(self.command(arguments)).await.expect(code)
    }

    /// From now on, `query` has to count at least one.
    fn acknowledge(&mut self, query: String) {
        self.told.push(Acknowledged { at: self.at(), query });
    }

    fn acknowledge_messages(&mut self, known: usize) {
        for id in self.sandbox.webhook_ids().split_off(known) {
            self.acknowledge(format!("SELECT count(*) FROM outbox WHERE id = '{id}'"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_at_any_moment_leaves_a_sound_database_with_everything_that_was_acknowledged() {
    let sandbox = Sandbox::new().await;
    sandbox.write("config.toml", &sandbox.configuration_of_clerk());
    shim(&sandbox);
    let mut recorded = Recorded { sandbox, told: Vec::new() };
    let key = recorded.sandbox.path("alice").display().to_string();
    recorded.run(&["check"], 13).await;
    recorded.acknowledge("SELECT count(*) FROM snapshots".to_owned());
    let approve = ["approve", "prod", "--reason", "x", "--all", "--accept-weaker", "--key", &key];
    recorded.run(&approve, 0).await;
    recorded.acknowledge("SELECT count(*) FROM statements WHERE sequence = 1".to_owned());
    for (round, lifetime) in [(1, 3600), (2, 7200)] {
        recorded.sandbox.set_lifetime(lifetime);
        let known = recorded.sandbox.webhook_ids().len();
        recorded.run(&["check"], 10).await;
        recorded
            .acknowledge(format!("SELECT count(*) FROM events WHERE CAST(body AS TEXT) LIKE '%\"after\":{lifetime}%'"));
        recorded.acknowledge_messages(known);
        recorded.run(&approve, 0).await;
        recorded.acknowledge(format!("SELECT count(*) FROM statements WHERE sequence = {}", round + 1));
    }
    // The daemon reads an instance that was never read at once, and delivers what could not be delivered.
    recorded.sandbox.clerk.edit("/v1/instance", |instance| instance["allowed_origins"] = json!(["app://one"]));
    recorded.sandbox.webhook.fail_all(Fault::status(503, json!({})));
    recorded.run(&["check"], 10).await;
    recorded.sandbox.webhook.heal_all();
    let known = recorded.sandbox.webhook_ids().len();
    recorded.sandbox.write("config.toml", &recorded.sandbox.configuration());
    recorded.sandbox.auth0.forget_requests();
    let mut daemon = recorded.command(&["run"]).stderr(std::process::Stdio::null()).spawn().unwrap();
    eventually("an alert", || recorded.sandbox.webhook_ids().len() > known).await;
    recorded.acknowledge_messages(known);
    tokio::time::sleep(Duration::from_millis(500)).await;
    daemon.kill().unwrap();
    daemon.wait().unwrap();

    let bytes = fs::read(recorded.sandbox.path("journal")).unwrap();
    let ops = journal(&bytes);
    look_at_cuts(&recorded, &ops).await;
}

async fn look_at_cuts(recorded: &Recorded, ops: &[(Op, usize)]) {
    let sandbox = &recorded.sandbox;
    let syncs: Vec<usize> = ops
        .iter()
        .enumerate()
        .filter(|(_, (op, _))| matches!(op, Op::Sync(_) | Op::SyncFolder))
        .map(|(place, _)| place)
        .collect();
    let mut dice = Dice(20_261_122);
    // After each sync point, somewhere before the next; all of them, if there are not too many.
    let share = (cuts() * 100 / syncs.len() as u64).clamp(1, 100);
    let mut places = Vec::new();
    for (at, place) in syncs.iter().enumerate() {
        let next = syncs.get(at + 1).copied().unwrap_or(ops.len());
        if dice.roll(100) < share {
            places.push(place + dice.roll((next - place) as u64) as usize);
        }
    }
    fs::create_dir(sandbox.path("cut")).unwrap();
    let text = fs::read_to_string(sandbox.path("config.toml")).unwrap();
    sandbox.write("cut.toml", &text.replace("\"authdrift.db\"", "\"cut/authdrift.db\""));

    let mut disk = Disk::default();
    let (mut done, mut checked, mut torn) = (0, 0, 0);
    for place in &places {
        for (op, _) in &ops[done..=*place] {
            disk.apply(op);
        }
        done = place + 1;
        let end = ops[*place].1;
        let files = disk.cut(&mut dice);
        torn += usize::from(files != disk.whole());
        lay_out(sandbox, &files);
        let context = format!("cut after call {place}, {:?}", ops[*place].0);
        let context = &context[..context.len().min(200)];
        let told: Vec<_> = recorded.told.iter().filter(|told| told.at <= end).collect();
        let mut command = crate::common::sandbox::command(&sandbox.path("cut.toml"), sandbox.folder.path());
        command.arg("verify");
        let ran = run(command).await;
        if told.is_empty() {
            // Nobody was told of anything: there may be no database yet, and then one can be begun.
            let mut command = crate::common::sandbox::command(&sandbox.path("cut.toml"), sandbox.folder.path());
            command.args(["check", "--no-store"]);
            assert!([0, 74].contains(&ran.code) && !ran.err.contains("damaged"), "{context}: {ran:?}");
            let ran = run(command).await;
            assert_eq!(ran.code, 13, "{context}: {ran:?}");
            continue;
        }
        assert_eq!(ran.code, 0, "{context}: {ran:?}");
        let connection = Connection::open(sandbox.path("cut/authdrift.db")).unwrap();
        for told in told {
            let count: i64 = connection.query_row(&told.query, [], |row| row.get(0)).unwrap();
            assert!(count > 0, "{context}: lost: {}", told.query);
            checked += 1;
        }
    }
    for (op, _) in &ops[done..] {
        disk.apply(op);
    }
    // The journal is complete: what it makes is what is there.
    for (name, bytes) in disk.whole() {
        assert!(fs::read(sandbox.path(&name)).unwrap() == bytes, "{name} is not what the journal makes of it");
    }
    eprintln!(
        "{} calls, {} sync points, {} cuts, {torn} of them torn; {checked} acknowledged things looked for and found",
        ops.len(),
        syncs.len(),
        places.len()
    );
    assert!(torn > places.len() / 3, "enough was not synchronised to be lost");
}

/// Lays the files out as a start after the cut would find them; shared memory is gone.
fn lay_out(sandbox: &Sandbox, files: &BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(sandbox.path("cut")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for (name, bytes) in files {
        fs::write(sandbox.path("cut").join(name), bytes).unwrap();
    }
}
