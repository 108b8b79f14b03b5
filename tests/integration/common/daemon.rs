//! The daemon as a child process, and what it leaves in its database.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Params};

use super::Sandbox;

/// Everything is on this machine, but it may be a busy one.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running daemon. Dropping it kills it.
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// As a power cut would: nothing is finished.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// Waits for its end and answers its exit code.
    pub async fn ended(&mut self) -> Option<i32> {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(40) {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the daemon does not end:\n{}", self.log());
    }

    /// Asks it to stop, as systemd does, and answers its exit code.
    pub async fn stop(mut self) -> Option<i32> {
        self.signal("TERM");
        self.ended().await
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sandbox {
    /// Starts `authdrift run`.
    pub fn start(&self) -> Running {
        self.start_with(&[])
    }

    /// Starts a daemon by other words than `run`.
    pub fn start_as(&self, arguments: &[&str]) -> Running {
        self.spawn(self.command().args(arguments))
    }

    /// Starts `authdrift run` with more in its environment.
    pub fn start_with(&self, environment: &[(&str, &str)]) -> Running {
        self.spawn(self.command().arg("run").envs(environment.iter().copied()))
    }

    /// Starts `authdrift run` with so many open files at most.
    pub fn start_with_files(&self, most: u32) -> Running {
        let inner = self.command();
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {most} && exec \"$0\" \"$@\"")]);
        command.arg(inner.get_program()).args(inner.get_args()).arg("run").env_clear();
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        self.spawn(command.stdin(Stdio::null()))
    }

    fn spawn(&self, command: &mut Command) -> Running {
        let log = self.path("daemon.log");
        let file = File::options().create(true).append(true).open(&log).unwrap();
        Running { child: command.stdout(Stdio::null()).stderr(file).spawn().unwrap(), log }
    }

    /// The database, as anybody could open it.
    pub fn sql(&self) -> Connection {
        let connection = Connection::open(self.database()).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        connection
    }

    /// One number out of the database.
    pub fn count(&self, query: &str) -> i64 {
        self.sql().query_row(query, [], |row| row.get(0)).unwrap()
    }

    /// Changes the database behind the program's back.
    pub fn tamper(&self, statement: &str, parameters: impl Params) {
        let changed = self.sql().execute(statement, parameters).unwrap();
        assert!(changed > 0, "nothing to change by {statement}");
    }

    /// How many events of a kind the history holds.
    pub fn events(&self, kind: &str) -> i64 {
        let query = "SELECT count(*) FROM events WHERE json_extract(CAST(body AS TEXT), '$.kind') = ?1";
        self.sql().query_row(query, [kind], |row| row.get(0)).unwrap()
    }

    /// Lets a minute pass for messages that a dead process was sending: nobody else may try them for so long.
    pub fn let_claims_expire(&self) {
        self.sql().execute("UPDATE outbox SET claimed_to = 0 WHERE state = 'waiting'", []).unwrap();
    }
}

/// Waits until `condition` holds; fails with `what` when it takes too long.
pub async fn eventually(what: &str, condition: impl FnMut() -> bool) {
    eventually_within(PATIENCE, what, condition).await;
}

/// As [`eventually`], with its own patience.
pub async fn eventually_within(patience: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < patience, "after {patience:?} still not: {what}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}
