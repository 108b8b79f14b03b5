//! The bounds of the design, each measured on the real program and held against what it should be.
//!
//! `cargo bench --bench limits` prints one table, with `UPDATE_DOCS=1` also into `docs/performance.md`. A word after `--`
//! limits it to the parts with that word in their name: `size`, `reading`, `more`, `daemon`, `year`, `many`.
//! `AUTHDRIFT_PROGRAM` measures another program than the one that was built with it. It takes about a quarter of an hour, most
//! of it waiting for the schedule of the thousand.
//!
//! The vendors are part of this process and the program is another one, so that nothing of them is counted.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "it may panic, as a test may")]

#[path = "../tests/support/large.rs"]
#[allow(dead_code, unreachable_pub, reason = "tests use more of it")]
mod large;
mod surroundings;

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use authdrift::clock::{Clock, SystemClock};
use authdrift::schedule::{Cron, spread};
use authdrift::simulator::auth0::{self, Auth0};
use authdrift::store::{Store, cycles, instances};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use large::Size;
use surroundings::{Outcome, machine, megabytes, memory, recorded, say};

const APPROVER: &str = "bench@example.test";
const FEW: usize = 20;
const MANY: usize = 1_000;
/// Of the many, those whose vendor takes connections and never answers.
const DEAD: usize = 500;
/// Open files that the unit allows.
const FILES: u32 = 16_384;
/// Changes of a year, and cycles.
const CHANGES: i64 = 20;
const YEAR: i64 = 365 * 24 * 12;
/// A free tenant may ask so often.
const FREE: (u32, f64) = (2, 2.0);

/// One line of the table.
struct Line {
    what: String,
    bound: String,
    measured: String,
    holds: Option<bool>,
}

fn line(what: &str, bound: &str, measured: impl ToString, holds: impl Into<Option<bool>>) -> Line {
    Line { what: what.to_owned(), bound: bound.to_owned(), measured: measured.to_string(), holds: holds.into() }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let wanted = env::args().skip(1).find(|argument| argument != "--bench").unwrap_or_default();
    let mut lines = Vec::new();
    for name in ["size", "reading", "more", "daemon", "year", "many"].into_iter().filter(|name| name.contains(&wanted))
    {
        say(&format!("measuring: {name}"))?;
        let measured = match name {
            "size" => size()?,
            "reading" => reading().await?,
            "more" => more().await?,
            "daemon" => daemon().await?,
            "year" => year().await?,
            _ => many().await?,
        };
        // At once: the parts after it take long.
        say(&table(&measured))?;
        lines.extend(measured);
    }
    let said = table(&lines);
    say(&said)?;
    if env::var_os("UPDATE_DOCS").is_some() {
        write_into_docs(&said)?;
    }
    Ok(())
}

fn program() -> PathBuf {
    env::var_os("AUTHDRIFT_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_authdrift").into(), PathBuf::from)
}

fn size() -> Outcome<Vec<Line>> {
    let bytes = fs::metadata(program())?.len();
    Ok(vec![line("binary", "16 MB", megabytes(bytes), bytes <= 16_000_000)])
}

/// One tenant of the recorded size, at a distance and at a free tenant's limit.
async fn reading() -> Outcome<Vec<Line>> {
    let (name, documents) = match recorded() {
        Some(documents) => ("recorded", documents),
        None => ("built in (nothing recorded here)", auth0::lantern_books()),
    };
    let mut lines = Vec::new();
    for rate in ["", "rate = \"free\"\n"] {
        let tenant = Auth0::empty().await?;
        tenant.load(documents.clone());
        tenant.set_latency(Duration::from_millis(50));
        if !rate.is_empty() {
            tenant.set_rate_limit(FREE.0, FREE.1);
        }
        let place = Place::new(&[auth0_table("bench", &tenant.url(), rate)], "0 0 1 1 *")?;
        let checked = place.check("bench").await?;
        let refused = tenant.requests().iter().filter(|request| request.status == Some(429)).count();
        let what = format!("Auth0 tenant, {name}, 50 ms latency");
        if rate.is_empty() {
            let seconds = checked.wall.as_secs_f64();
            lines.push(line(&what, "2 s", format!("{seconds:.1} s"), seconds < 2.0));
            lines.push(line("its requests", "80", checked.requests, checked.requests <= 80));
        } else {
            let measured = format!("{refused} of {} in {} s", checked.requests, checked.wall.as_secs());
            lines.push(line("answered 429 at a free tenant's limit, rate = \"free\"", "0", measured, refused == 0));
        }
    }
    Ok(lines)
}

/// A large tenant, and the same with a thousand applications more.
async fn more() -> Outcome<Vec<Line>> {
    let mut found = Vec::new();
    for size in [Size::LARGE, Size { clients: Size::LARGE.clients + 1_000, ..Size::LARGE }] {
        let tenant = Auth0::empty().await?;
        tenant.load(large::tenant(size));
        let place = Place::new(&[auth0_table("bench", &tenant.url(), "")], "0 0 1 1 *")?;
        found.push(place.check("bench").await?);
    }
    let requests = found[1].requests - found[0].requests;
    let of = |checked: &Checked| format!("{:.1} s, {}", checked.wall.as_secs_f64(), megabytes(checked.peak));
    Ok(vec![
        line("1,000 clients more: requests", "10 more", format!("{requests} more"), requests == 10),
        line(
            "time and peak memory of 2,500 and of 3,500 clients",
            "in proportion",
            format!("{}; {}", of(&found[0]), of(&found[1])),
            None,
        ),
    ])
}

/// A daemon with a few instances that are approved and do not change.
async fn daemon() -> Outcome<Vec<Line>> {
    let tenant = built_in().await?;
    let tables: Vec<String> = (0..FEW).map(|at| auth0_table(&format!("t{at}"), &tenant.url(), "")).collect();
    let place = Place::new(&tables, "* * * * *")?;
    place.approve_all(FEW).await?;
    let run = place.run()?;
    run.until(&place, "all were read twice", |place| place.cycles() >= (FEW * 3) as i64).await?;
    let (cycles, cpu, stored) = (place.cycles(), run.cpu()?, place.stored()?);
    tokio::time::sleep(Duration::from_secs(180)).await;
    let cycles = place.cycles() - cycles;
    let (cpu, after, resident) = (run.cpu()? - cpu, place.stored()?, run.memory("VmRSS:")?);
    let (documents, rest) = (after.0 - stored.0, (after.1 - stored.1) / cycles);
    let per_cycle = cpu / u32::try_from(cycles)?;
    Ok(vec![
        line("memory of the daemon, 20 instances, at rest", "25 MB", megabytes(resident), resident <= 25_000_000),
        line(
            "CPU of one unchanged cycle, everything around it included",
            "50 ms",
            format!("{} ms", per_cycle.as_millis()),
            per_cycle < Duration::from_millis(50),
        ),
        line("documents added by unchanged cycles", "0 B", format!("{documents} B in {cycles}"), documents == 0),
        line("one unchanged cycle in the database", "200 B", format!("{rest} B"), rest < 200),
    ])
}

/// A year of cycles every five minutes. The changes are made by the program; what is between them is written as it writes it.
async fn year() -> Outcome<Vec<Line>> {
    let tenant = built_in().await?;
    let place = Place::new(&[auth0_table("bench", &tenant.url(), "")], "*/5 * * * *")?;
    place.approve_all(1).await?;
    let before = place.stored()?;
    let mut at = SystemClock.now();
    let id = "auth0:bench".parse()?;
    for change in 0..CHANGES {
        tenant.edit("/api/v2/tenants/settings", |settings| settings["session_lifetime"] = json!(100 + change));
        place.check("bench").await?;
        let store = Store::open(&place.database())?;
        for _ in 0..YEAR / CHANGES / 288 + 1 {
            store.write(|tx| -> Result<(), authdrift::store::StoreError> {
                let row = instances::row(tx, &id)?;
                let Some((snapshot, _)) = cycles::latest_snapshot(tx, row, &id)? else { return Ok(()) };
                for _ in 0..288 {
                    at += TimeDelta::minutes(5);
                    let cycle = cycles::Cycle {
                        at,
                        duration: Duration::from_millis(1_234),
                        requests: 43,
                        verdict: "drift".to_owned(),
                        collection: String::new(),
                    };
                    cycles::insert(tx, row, Some(&snapshot), &cycle, false)?;
                }
                Ok(())
            })?;
        }
        store.checkpoint()?;
    }
    let (cycles, after, file) = (place.cycles(), place.stored()?, fs::metadata(place.database())?.len());
    let per_cycle = (after.1 - before.1) as f64 / cycles as f64;
    Ok(vec![
        line(
            "a year of one instance: the file",
            "20 MB",
            format!("{} after {cycles} cycles, {CHANGES} changes", megabytes(file)),
            file < 20_000_000,
        ),
        line("of that, for each cycle", "200 B", format!("{per_cycle:.0} B"), per_cycle < 200.0),
    ])
}

/// A thousand instances every five minutes, some of a vendor that is dead.
async fn many() -> Outcome<Vec<Line>> {
    let tenant = built_in().await?;
    let dead = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let nobody = format!("http://{}", dead.local_addr()?);
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = dead.accept().await {
            held.push(connection);
        }
    });
    let url = |at: usize| if at < DEAD { nobody.clone() } else { tenant.url() };
    let tables: Vec<String> = (0..MANY).map(|at| auth0_table(&format!("t{at}"), &url(at), "")).collect();
    let place = Place::new(&tables, "*/5 * * * *")?;
    let start = Instant::now();
    let run = place.run()?;
    run.until(&place, "it started", |place| place.one("SELECT count(*) FROM events") > 0).await?;
    let started = start.elapsed();
    let alive = (MANY - DEAD) as i64;
    let all = "SELECT count(*) FROM instances WHERE id IN (SELECT instance_id FROM cycles WHERE snapshot_id > 0)";
    run.until(&place, "all that answer were read", |place| place.one(all) >= alive).await?;
    let first = start.elapsed();
    let peak = run.memory("VmHWM:")?;
    // One whole period, from the middle of one to the middle of the next.
    tenant.forget_requests();
    let (from, cpu, timer) = (SystemClock.now(), run.cpu()?, Instant::now());
    tokio::time::sleep(Duration::from_secs(300)).await;
    let share = (run.cpu()? - cpu).as_secs_f64() / timer.elapsed().as_secs_f64();
    let resident = run.memory("VmRSS:")?;
    let lags = place.lags(from)?;
    let (read, most) = (lags.len(), lags.last().copied().unwrap_or_default());
    let median = lags.get(read / 2).copied().unwrap_or_default();
    Ok(vec![
        line(
            "1,000 instances: until it watches",
            "2 s",
            format!("{:.1} s", started.as_secs_f64()),
            started < Duration::from_secs(2),
        ),
        line(
            &format!("until the {alive} that answer were read for the first time"),
            "",
            format!("{} s", first.as_secs()),
            None,
        ),
        line("CPU over five minutes", "2 cores", format!("{share:.2} cores"), share < 2.0),
        line(
            "memory: at rest, and at most in the first readings",
            "",
            format!("{}, {}", megabytes(resident), megabytes(peak)),
            None,
        ),
        line(
            &format!("lag of a cycle behind its time, {DEAD} of 1,000 dead: median, most"),
            "",
            format!("{} ms, {} ms of {read} cycles", median, most),
            None,
        ),
    ])
}

/// The built-in tenant. What it was asked is not kept for long.
async fn built_in() -> Outcome<Auth0> {
    let tenant = Auth0::empty().await?;
    tenant.load(auth0::lantern_books());
    let vendor = tenant.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(10)).await;
            vendor.forget_requests();
        }
    });
    Ok(tenant)
}

fn auth0_table(name: &str, url: &str, more: &str) -> String {
    let (domain, client) = (auth0::DOMAIN, auth0::CLIENT_ID);
    format!(
        "[[auth0]]\nname = \"{name}\"\ndomain = \"{domain}\"\nclient_id = \"{client}\"\n\
         client_secret = {{ file = \"secret\" }}\napi_url = \"{url}\"\n{more}"
    )
}

/// A folder with a configuration, and the program in it.
struct Place(tempfile::TempDir);

/// What one `check` took.
struct Checked {
    requests: i64,
    wall: Duration,
    peak: u64,
}

impl Place {
    fn new(tables: &[String], cron: &str) -> Outcome<Self> {
        let place = Self(tempfile::tempdir()?);
        let folder = place.0.path();
        let key = folder.join("key");
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", APPROVER, "-f"]).arg(&key);
        if !keygen.status()?.success() {
            return Err("this needs ssh-keygen".into());
        }
        let public = fs::read_to_string(key.with_extension("pub"))?;
        fs::write(folder.join("allowed_signers"), format!("{APPROVER} namespaces=\"baseline.v1@authdrift\" {public}"))?;
        fs::write(folder.join("secret"), auth0::CLIENT_SECRET)?;
        fs::set_permissions(folder.join("secret"), fs::Permissions::from_mode(0o600))?;
        let head = format!(
            "[store]\npath = \"authdrift.db\"\n[approval]\nallowed_signers = \"allowed_signers\"\n\
             [schedule]\ncron = \"{cron}\"\nconfirm_after = \"0s\"\n"
        );
        fs::write(folder.join("config.toml"), head + &tables.concat())?;
        Ok(place)
    }

    fn database(&self) -> PathBuf {
        self.0.path().join("authdrift.db")
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg("--config").arg(self.0.path().join("config.toml")).args(words).stdin(Stdio::null());
        // As in the unit.
        command.env("MALLOC_ARENA_MAX", "1");
        // What is signed is remembered at home.
        command.env("HOME", self.0.path()).env_remove("XDG_STATE_HOME");
        command
    }

    async fn check(&self, name: &str) -> Outcome<Checked> {
        let out = fs::File::create(self.0.path().join("out"))?;
        let start = Instant::now();
        let mut child = self.command(&["check", name, "--json"]).stdout(out).spawn()?;
        let mut peak = 0;
        while child.try_wait()?.is_none() {
            peak = memory(child.id(), "VmHWM:").unwrap_or_default().max(peak);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let wall = start.elapsed();
        let report: Value = serde_json::from_slice(&fs::read(self.0.path().join("out"))?)?;
        let requests = report["instances"][0]["requests"].as_i64().ok_or("no report")?;
        Ok(Checked { requests, wall, peak })
    }

    /// Reads everything once and approves it.
    async fn approve_all(&self, count: usize) -> Outcome<()> {
        let key = self.0.path().join("key").display().to_string();
        let names: Vec<String> = match count {
            1 => vec!["bench".to_owned()],
            _ => (0..count).map(|at| format!("t{at}")).collect(),
        };
        for name in names {
            self.check(&name).await?;
            let words = ["approve", &name, "--reason", "bench", "--all", "--key", &key];
            let output = self.command(&words).output()?;
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
            }
        }
        Ok(())
    }

    /// Runs the daemon with as many open files as its unit allows.
    fn run(&self) -> Outcome<Run> {
        let log = fs::File::create(self.0.path().join("log"))?;
        let daemon = self.command(&["run"]);
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {FILES} && exec \"$0\" \"$@\"")]);
        command
            .arg(daemon.get_program())
            .args(daemon.get_args())
            .env("HOME", self.0.path())
            .env_remove("XDG_STATE_HOME");
        Ok(Run(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?))
    }

    /// One number out of the database; nothing while there is none.
    fn one(&self, query: &str) -> i64 {
        let ask = || -> Outcome<i64> {
            let connection =
                rusqlite::Connection::open_with_flags(self.database(), rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            Ok(connection.query_row(query, [], |row| row.get(0))?)
        };
        ask().unwrap_or_default()
    }

    fn cycles(&self) -> i64 {
        self.one("SELECT count(*) FROM cycles")
    }

    /// Bytes in use in the database: of documents, and of everything else.
    fn stored(&self) -> Outcome<(i64, i64)> {
        let sum = |which: &str| {
            self.one(&format!("SELECT coalesce(sum(pgsize - unused), 0) FROM dbstat WHERE name {which} 'documents'"))
        };
        Ok((sum("="), sum("<>")))
    }

    /// How many milliseconds after its time every cycle of a living vendor began since `from`, in order.
    fn lags(&self, from: DateTime<Utc>) -> Outcome<Vec<i64>> {
        let cron = Cron::parse("*/5 * * * *", authdrift::schedule::Zone::utc(), from)?;
        let connection = rusqlite::Connection::open(self.database())?;
        let mut query = connection.prepare(
            "SELECT i.name, c.at - c.duration FROM cycles c JOIN instances i ON i.id = c.instance_id
             WHERE c.snapshot_id > 0 AND c.at - c.duration >= ?1",
        )?;
        let mut lags = Vec::new();
        let rows =
            query.query_map([from.timestamp_millis()], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
        for row in rows {
            let (name, began) = row?;
            let began = DateTime::from_timestamp_millis(began).ok_or("no time")?;
            let period = 300_000;
            let time = began.timestamp_millis().div_euclid(period) * period;
            lags.push(began.timestamp_millis() - time - spread(&name, &cron, began).num_milliseconds());
        }
        lags.sort_unstable();
        Ok(lags)
    }
}

/// The daemon. Dropping it ends it.
struct Run(Child);

impl Run {
    async fn until(&self, place: &Place, what: &str, is_so: impl Fn(&Place) -> bool) -> Outcome<()> {
        let start = Instant::now();
        while !is_so(place) {
            if start.elapsed() > Duration::from_secs(400) {
                let log = fs::read_to_string(place.0.path().join("log"))?;
                return Err(format!("it is not so that {what}: {}", log.get(..4_000).unwrap_or(&log)).into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn memory(&self, name: &str) -> Outcome<u64> {
        memory(self.0.id(), name)
    }

    /// What all its threads have used of the processor.
    fn cpu(&self) -> Outcome<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id()))?;
        let (_, rest) = stat.rsplit_once(") ").ok_or("no name")?;
        let ticks: u64 = rest.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        // A tick is a hundredth of a second wherever this runs.
        Ok(Duration::from_millis(ticks * 10))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn table(lines: &[Line]) -> String {
    let mut table = "| What | Bound | Measured | |\n|---|---|---|---|\n".to_owned();
    for Line { what, bound, measured, holds } in lines {
        let holds = holds.map_or("", |holds| if holds { "holds" } else { "**does not hold**" });
        writeln!(table, "| {what} | {bound} | {measured} | {holds} |").unwrap();
    }
    table
}

/// Replaces the generated part of the document.
fn write_into_docs(table: &str) -> Outcome<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md");
    let text = fs::read_to_string(&path)?;
    let begin = "<!-- generated: limits -->\n";
    let (before, rest) = text.split_once(begin).ok_or("docs/performance.md has no generated part")?;
    let (_, after) = rest.split_once("<!-- end -->").ok_or("the generated part has no end")?;
    let date = SystemClock.now().format("%Y-%m-%d");
    let said = format!("Measured on {date} on {}.", machine()?);
    fs::write(&path, format!("{before}{begin}\n{said}\n\n{table}\n<!-- end -->{after}"))?;
    Ok(())
}
