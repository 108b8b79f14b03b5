//! What a reading costs: requests, time, processor, memory, bytes in the database.
//!
//! `cargo bench --bench reading` prints a table; with `UPDATE_DOCS=1` it also writes it into `docs/performance.md`. A
//! word after `--` limits it to tenants with that word in their name.
//!
//! The vendor and the reader are processes of their own, both this program with other arguments, so that nothing of
//! the simulator is counted. A Watch is what the daemon keeps; `check` is a fresh process.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "it may panic, as a test may")]

#[path = "../tests/support/large.rs"]
#[allow(dead_code, unreachable_pub, reason = "tests use more of it")]
mod large;
mod surroundings;

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use authdrift::classify::Catalogue;
use authdrift::cli::{self, args::Arguments};
use authdrift::clock::{Clock, SystemClock};
use authdrift::config::{self, Sources};
use authdrift::cycle::{Monitor, RunMode};
use authdrift::model::Verdict;
use authdrift::provider::Limits;
use authdrift::simulator::vendor::Vendor;
use authdrift::simulator::{auth0, clerk};
use authdrift::store::Store;
use clap::Parser;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use large::Size;
use surroundings::{Outcome, machine, megabytes, memory, recorded, say};

const PROGRAM: &str = env!("CARGO_BIN_EXE_authdrift");
const APPROVER: &str = "bench@example.test";
const LARGE: Size = Size::LARGE;
const LARGER: Size = Size { clients: LARGE.clients + 1_000, ..LARGE };

/// What is read, in milliseconds of latency and by name.
const TENANTS: [(&str, u64); 6] = [
    ("clerk, built in", 0),
    ("auth0, built in", 0),
    ("auth0, recorded", 50),
    ("auth0, large", 0),
    ("auth0, large and 1,000 clients more", 0),
    ("auth0, large, with latency", 50),
];

const DAEMON: &str = "daemon";
const INSTANCES: i64 = 20;

/// What one step cost the process that did it.
#[derive(Debug, Serialize, Deserialize)]
struct Cost {
    step: String,
    requests: u64,
    wall: Duration,
    cpu: Duration,
    /// Bytes of memory in use at once, at most.
    peak: u64,
    /// Bytes of documents in the database, and of everything else.
    documents: i64,
    rest: i64,
}

fn main() -> Outcome<()> {
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve", name, latency] => serve(name, Duration::from_millis(latency.parse()?)),
        ["watch", name, folder] => watch(name, Path::new(folder)),
        ["check", folder] => check(Path::new(folder)),
        rest => measure_all(rest.first().copied().unwrap_or_default()),
    }
}

/// Runs every tenant and shows what it cost.
fn measure_all(wanted: &str) -> Outcome<()> {
    let mut rows = Vec::new();
    for (name, latency) in TENANTS.into_iter().filter(|(name, _)| name.contains(wanted)) {
        if name == "auth0, recorded" && recorded().is_none() {
            say(&format!("SKIPPED: {name}: no ../shared and no $AUTHDRIFT_SHARED with fixtures"))?;
            continue;
        }
        let costs = measure(name, latency)?;
        rows.extend(costs.into_iter().map(|cost| cells(name, latency, &cost)));
    }
    let mut said = aligned(&rows);
    if DAEMON.contains(wanted) {
        writeln!(
            said,
            "\nA daemon with {INSTANCES} instances of the built-in Auth0 tenant holds {} between its cycles.",
            daemon()?
        )?;
    }
    say(&said)?;
    if env::var_os("UPDATE_DOCS").is_some() {
        write_into_docs(&said)?;
    }
    Ok(())
}

/// The resident memory of a daemon whose instances have all been read.
fn daemon() -> Outcome<String> {
    let vendor = Process::start(&["serve", "auth0, built in", "0"])?;
    let folder = tempfile::tempdir()?;
    prepare(folder.path(), "auth0", &vendor.first_line)?;
    let file = folder.path().join("config.toml");
    let text = fs::read_to_string(&file)?;
    let (head, instance) = text.split_once("[[auth0]]").ok_or("no instance")?;
    let instances =
        (0..INSTANCES).map(|number| format!("[[auth0]]{}", instance.replace("bench", &format!("bench-{number}"))));
    fs::write(&file, format!("{head}{}", instances.collect::<String>()))?;
    let log = fs::File::create(folder.path().join("log"))?;
    let mut command = Command::new(PROGRAM);
    command.arg("--config").arg(&file).arg("run").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let mut child = command.spawn()?;
    let database = folder.path().join("authdrift.db");
    let read = || -> Outcome<i64> {
        let query = "SELECT count(DISTINCT instance_id) FROM cycles";
        Ok(rusqlite::Connection::open(&database)?.query_row(query, [], |row| row.get(0))?)
    };
    let start = Instant::now();
    while read().unwrap_or_default() < INSTANCES && start.elapsed() < Duration::from_secs(180) {
        std::thread::sleep(Duration::from_millis(200));
    }
    std::thread::sleep(Duration::from_secs(3));
    let resident = memory(child.id(), "VmRSS:");
    child.kill()?;
    child.wait()?;
    if read()? < INSTANCES {
        return Err(fs::read_to_string(folder.path().join("log"))?.into());
    }
    Ok(megabytes(resident?))
}

const HEAD: [&str; 9] =
    ["Tenant", "Latency", "What", "Requests", "Wall", "CPU", "Peak memory", "Documents", "Rest of the database"];

fn cells(name: &str, latency: u64, cost: &Cost) -> [String; 9] {
    let millis = |duration: Duration| format!("{} ms", duration.as_millis());
    [
        name.to_owned(),
        format!("{latency} ms"),
        cost.step.clone(),
        cost.requests.to_string(),
        millis(cost.wall),
        millis(cost.cpu),
        megabytes(cost.peak),
        format!("{} B", cost.documents),
        format!("{} B", cost.rest),
    ]
}

/// A Markdown table that is also one for the eye; numbers stand to the right.
fn aligned(rows: &[[String; 9]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).chain([HEAD[column].len()]).max().unwrap();
    let mut table = String::new();
    let mut line = |cell: &dyn Fn(usize) -> String| {
        let cells: Vec<_> = (0..HEAD.len()).map(cell).collect();
        writeln!(table, "| {} |", cells.join(" | ")).unwrap();
    };
    let pad = |column: usize, text: &str| match column {
        0 | 2 => format!("{text:<0$}", width(column)),
        _ => format!("{text:>0$}", width(column)),
    };
    line(&|column| pad(column, HEAD[column]));
    line(&|column| match column {
        0 | 2 => "-".repeat(width(column)),
        _ => format!("{}:", "-".repeat(width(column) - 1)),
    });
    rows.iter().for_each(|row| line(&|column| pad(column, &row[column])));
    table
}

/// Replaces the generated part of the document.
fn write_into_docs(table: &str) -> Outcome<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/performance.md");
    let text = fs::read_to_string(&path)?;
    let begin = "<!-- generated: measured -->\n";
    let (before, rest) = text.split_once(begin).ok_or("docs/performance.md has no generated part")?;
    let (_, after) = rest.split_once("<!-- end -->").ok_or("the generated part has no end")?;
    let date = SystemClock.now().format("%Y-%m-%d");
    let size = megabytes(fs::metadata(PROGRAM)?.len());
    let said = format!("Measured on {date} on {}. The program has {size}.", machine()?);
    fs::write(&path, format!("{before}{begin}\n{said}\n\n{table}\n<!-- end -->{after}"))?;
    Ok(())
}

/// One tenant, from the first reading on.
fn measure(name: &str, latency: u64) -> Outcome<Vec<Cost>> {
    let vendor = Process::start(&["serve", name, &latency.to_string()])?;
    let folder = tempfile::tempdir()?;
    prepare(folder.path(), name, &vendor.first_line)?;
    let place = folder.path().display().to_string();
    let mut costs: Vec<Cost> = Vec::new();
    for words in [vec!["watch", name, &place], vec!["check", &place]] {
        let reader = Process::start(&words)?;
        costs.append(&mut serde_json::from_str(&reader.first_line)?);
    }
    Ok(costs)
}

/// This program in another role. It ends when nobody listens any more.
struct Process {
    child: Child,
    first_line: String,
}

impl Process {
    fn start(arguments: &[&str]) -> Outcome<Self> {
        let mut command = Command::new(env::current_exe()?);
        let mut child = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut first_line = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut first_line)?;
        Ok(Self { child, first_line: first_line.trim().to_owned() })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Configuration, credentials and the key of an approver.
fn prepare(folder: &Path, name: &str, url: &str) -> Outcome<()> {
    let key = folder.join("key");
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", APPROVER, "-f"]).arg(&key);
    if !keygen.status()?.success() {
        return Err("this needs ssh-keygen".into());
    }
    let public = fs::read_to_string(key.with_extension("pub"))?;
    fs::write(folder.join("allowed_signers"), format!("{APPROVER} namespaces=\"baseline.v1@authdrift\" {public}"))?;
    for (file, secret) in [
        ("clerk-key", clerk::SECRET_KEY),
        ("clerk-token", clerk::PLATFORM_TOKEN),
        ("auth0-secret", auth0::CLIENT_SECRET),
    ] {
        fs::write(folder.join(file), secret)?;
        fs::set_permissions(folder.join(file), fs::Permissions::from_mode(0o600))?;
    }
    let instance = match name.starts_with("clerk") {
        true => format!(
            "[[clerk]]\nname = \"bench\"\npublishable_key = \"{}\"\nsecret_key = {{ file = \"clerk-key\" }}\n\
             platform_token = {{ file = \"clerk-token\" }}\napplication_id = \"{}\"\n\
             backend_api_url = \"{url}\"\nplatform_api_url = \"{url}\"\nfrontend_api_url = \"{url}\"\n",
            clerk::PUBLISHABLE_KEY,
            clerk::APPLICATION_ID,
        ),
        false => format!(
            "[[auth0]]\nname = \"bench\"\ndomain = \"{}\"\nclient_id = \"{}\"\n\
             client_secret = {{ file = \"auth0-secret\" }}\napi_url = \"{url}\"\n",
            auth0::DOMAIN,
            auth0::CLIENT_ID,
        ),
    };
    let head = "[store]\npath = \"authdrift.db\"\n[approval]\nallowed_signers = \"allowed_signers\"\n\
                [schedule]\ncron = \"* * * * *\"\nconfirm_after = \"1s\"\n";
    Ok(fs::write(folder.join("config.toml"), format!("{head}{instance}"))?)
}

/// The vendor, until the input ends.
fn serve(name: &str, latency: Duration) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let vendor: Vendor = if name.starts_with("clerk") {
            Vendor::clone(&*clerk::Clerk::lantern_books().await?)
        } else {
            let tenant = auth0::Auth0::empty().await?;
            tenant.load(match name {
                "auth0, built in" => auth0::lantern_books(),
                "auth0, recorded" => recorded().ok_or("nothing recorded")?,
                "auth0, large and 1,000 clients more" => large::tenant(LARGER),
                _ => large::tenant(LARGE),
            });
            Vendor::clone(&tenant)
        };
        vendor.set_latency(latency);
        say(&vendor.url())?;
        tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
        Ok(())
    })
}

/// What the daemon does with one instance: reads it, reads it again after it was approved, and once more.
fn watch(name: &str, folder: &Path) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let file = folder.join("config.toml").display().to_string();
    let text = fs::read_to_string(&file)?;
    let sources = Sources { file: &file, text: &text, state_directory: None, xdg_state: None, now: SystemClock.now() };
    let config = Arc::new(config::parse(&sources).map_err(|problems| problems.to_string())?);
    let instance = config.instance("bench")?.clone();
    let catalogue = Arc::new(Catalogue::of(instance.id.provider, None)?);
    let store = Store::open(&config.store)?;
    let watch = Monitor::new(config, &instance, catalogue, store, Arc::new(SystemClock), Limits::default())?;
    let mut costs = Vec::new();
    for (step, expected) in [("first reading", Verdict::NoBaseline), ("unchanged", Verdict::InSync)] {
        let cost = cost(folder, step, || {
            let report = runtime.block_on(watch.cycle(RunMode::Commit))?;
            if report.verdict != expected {
                return Err(format!("{name}: {:?} {:?}", report.verdict, report.sections).into());
            }
            Ok(report.requests)
        })?;
        costs.push(cost);
        if expected == Verdict::NoBaseline {
            approve(folder)?;
            // Everything is compared and known once before an ordinary cycle is measured.
            runtime.block_on(watch.cycle(RunMode::Commit))?;
        }
    }
    say(&serde_json::to_string(&costs)?)
}

fn approve(folder: &Path) -> Outcome<()> {
    let mut command = Command::new(PROGRAM);
    command.arg("--config").arg(folder.join("config.toml")).args(["approve", "bench", "--reason", "bench", "--all"]);
    let output = command.arg("--key").arg(folder.join("key")).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(())
}

/// `authdrift check`, with everything a process has to do first.
fn check(folder: &Path) -> Outcome<()> {
    let cost = cost(folder, "check", || {
        let file = folder.join("config.toml").display().to_string();
        let arguments = Arguments::try_parse_from(["authdrift", "--config", &file, "check", "--json"])?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let mut out = Vec::new();
        runtime.block_on(cli::run(&arguments, &mut out)).map_err(|error| error.message)?;
        let report: Value = serde_json::from_slice(&out)?;
        Ok(report["instances"][0]["requests"].as_u64().unwrap_or_default())
    })?;
    say(&serde_json::to_string(&[cost])?)
}

/// What `work` costs this process; it answers how many requests it sent.
fn cost(folder: &Path, step: &str, work: impl FnOnce() -> Outcome<u64>) -> Outcome<Cost> {
    let database = folder.join("authdrift.db");
    let before = stored(&database)?;
    // From here on the peak is counted anew.
    fs::write("/proc/self/clear_refs", "5")?;
    let (start, cpu) = (Instant::now(), cpu());
    let requests = work()?;
    let (wall, cpu) = (start.elapsed(), self::cpu() - cpu);
    let peak = memory("self", "VmHWM:")?;
    let after = stored(&database)?;
    let (documents, rest) = (after.0 - before.0, after.1 - before.1);
    Ok(Cost { step: step.to_owned(), requests, wall, cpu, peak, documents, rest })
}

fn cpu() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(spent.tv_sec).unwrap(), u32::try_from(spent.tv_nsec).unwrap())
}

/// Bytes in use in the database: of documents, and of everything else.
fn stored(database: &Path) -> Outcome<(i64, i64)> {
    if !database.exists() {
        return Ok((0, 0));
    }
    let connection = rusqlite::Connection::open(database)?;
    let sum = |which: &str| {
        let query = format!("SELECT coalesce(sum(pgsize - unused), 0) FROM dbstat WHERE name {which} 'documents'");
        connection.query_row(&query, [], |row| row.get(0))
    };
    Ok((sum("=")?, sum("<>")?))
}
