//! A day of five-minute cycles with everything that goes wrong in a year: vendors away, a full disk, receivers away, a clock
//! that is set, kills and reloads. In the end all is told once, and the process is as small as it was.
//!
//! The daemon is a process of its own, this test program once more, so that it can be killed, signalled and weighed; it is
//! the whole daemon but for its clock, which the day moves. The day has a small file system of its own where root can make one.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::io::{BufRead, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use authdrift::cli::context::Context;
use authdrift::clock::{Clock, FakeClock, SystemClock};
use authdrift::daemon::Daemon;
use authdrift::daemon::reload::{ConfigSource, Fresh, Loaded};
use authdrift::model::{Digest, Provider};
use authdrift::provider::Limits;
use authdrift::sections::Table;
use authdrift::simulator::fault::Fault;
use authdrift::simulator::smtp::Stage;
use authdrift::simulator::webhook::{Signature, Webhook};
use chrono::{DurationRound, TimeDelta};
use serde_json::{Value, json};

use crate::common::Sandbox;
use crate::common::daemon::eventually;
use crate::common::sandbox::WEBHOOK_SECRET;
use crate::crash::Dice;

/// Cycles of a day, and minutes between two.
const CYCLES: i64 = 288;
const EVERY: i64 = 5;
/// Until then the daemon is killed now and then; afterwards it is the same process until the end.
const KILLED_UNTIL: i64 = 60;
/// When every fault has been met once, and the process is weighed for the first time.
const WARM: i64 = 168;

/// What is read of both, so that a day takes half a minute. With `LONG` in the environment everything is.
const FEW: [&str; 6] =
    ["instance", "jwt_templates", "frontend.environment", "tenants.settings", "guardian.factors", "connections"];

/// What goes wrong, and for which cycles: twice each, once before the process is weighed and once after.
const STORY: &[(std::ops::Range<i64>, Trouble)] = &[
    (64..70, Trouble::VendorsAway),
    (74..80, Trouble::MailAway),
    (84..90, Trouble::WebhookAway),
    (96..100, Trouble::DiskFull),
    (110..111, Trouble::ClockBack),
    (116..117, Trouble::ClockForward),
    (120..126, Trouble::Garbled),
    (130..140, Trouble::Reloads),
    (180..188, Trouble::VendorsAway),
    (194..202, Trouble::MailAway),
    (206..214, Trouble::WebhookAway),
    (220..226, Trouble::DiskFull),
    (236..237, Trouble::ClockBack),
    (242..243, Trouble::ClockForward),
    (246..252, Trouble::Garbled),
    (256..266, Trouble::Reloads),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    VendorsAway,
    MailAway,
    WebhookAway,
    DiskFull,
    ClockBack,
    ClockForward,
    Garbled,
    Reloads,
}

/// The daemon of the day, by hand.
struct Hand {
    child: Child,
}

impl Hand {
    fn start(sandbox: &Sandbox, clock: &FakeClock) -> Self {
        let child = again("soak::hand", &mut Command::new(env::current_exe().unwrap()))
            .env("SOAK_CONFIG", sandbox.path("config.toml"))
            .env("SOAK_TIME", clock.now().to_rfc3339())
            // As in the unit.
            .env("MALLOC_ARENA_MAX", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        Self { child: child.unwrap() }
    }

    fn move_clock(&mut self, by: TimeDelta) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{}", by.num_milliseconds()).unwrap();
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// All of its memory, and what of it is its own, in KiB. The rest is the program's file, which is there once.
    fn weight(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let field = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        (field("VmRSS:"), field("RssAnon:"))
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs one test of this program again, though it is ignored.
fn again<'a>(test: &str, command: &'a mut Command) -> &'a mut Command {
    command.args([test, "--exact", "--ignored", "--nocapture"])
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the daemon of the day below, which moves its clock"]
async fn hand() {
    let Some(file) = env::var_os("SOAK_CONFIG").map(PathBuf::from) else { return };
    let clock = Arc::new(FakeClock::at(env::var("SOAK_TIME").unwrap().parse().unwrap()));
    let load = move || {
        let text = fs::read_to_string(&file).unwrap();
        let context = Context::of_text(file.clone(), &text).map_err(|error| error.message);
        (Digest::of(text.as_bytes()), context)
    };
    let (digest, context) = load();
    let context = context.unwrap();
    let catalogue = |provider| Arc::clone(context.catalogues.of(provider));
    let pause = Duration::from_millis(1);
    let limits = Limits { tries: 1, busy_tries: 1, pause, longest_pause: pause, ..Limits::default() };
    let now: Arc<dyn Clock> = clock.clone();
    let mut daemon = Daemon::start(Arc::clone(&context.config), catalogue, now, limits).unwrap();
    let ticks = daemon.tick_sender();
    tokio::spawn(async move {
        while ticks.send(()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    });
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            clock.advance(TimeDelta::milliseconds(line.unwrap().parse().unwrap()));
        }
    });
    let load = Box::new(move || {
        let (digest, context) = load();
        let outcome = context.map(|context| {
            let catalogue = move |provider| Arc::clone(context.catalogues.of(provider));
            Fresh { config: context.config, catalogue: Box::new(catalogue) }
        });
        Loaded { digest: Some(digest), outcome }
    });
    daemon.reloading_from(ConfigSource { digest, load }).run().await.unwrap();
}

/// A day and all that is in it.
struct Day {
    sandbox: Sandbox,
    clock: Arc<FakeClock>,
    daemon: Hand,
    kills: usize,
}

impl Day {
    async fn begin() -> Self {
        let mut sandbox = Sandbox::new().await;
        sandbox.auth0.set_rate_limit(100_000, 100_000.0);
        let minute = SystemClock.now().duration_trunc(TimeDelta::minutes(EVERY)).unwrap();
        let clock = Arc::new(FakeClock::at(minute + TimeDelta::minutes(EVERY + 2)));
        let now: Arc<dyn Clock> = clock.clone();
        sandbox.webhook = Webhook::start_at(WEBHOOK_SECRET, now).await.unwrap();
        let configuration = sandbox.configuration().replace("* * * * *", "*/5 * * * *").replace("100ms", "1ms");
        sandbox.write("config.toml", &configuration);
        if env::var_os("LONG").is_none() {
            for (provider, name) in [(Provider::Clerk, "prod"), (Provider::Auth0, "acme")] {
                let sections = Table::of(provider).sections().iter().map(|section| section.name.as_str());
                let others: Vec<&str> = sections.filter(|name| !FEW.contains(name)).collect();
                let name = format!("name = \"{name}\"\n");
                sandbox.edit_configuration(&name, &format!("{name}leave_out = {others:?}\n"));
            }
        }
        sandbox.check().await.expect(13);
        sandbox.approve("prod").await;
        sandbox.approve("acme").await;
        sandbox.make_due();
        let daemon = Hand::start(&sandbox, &clock);
        Self { sandbox, clock, daemon, kills: 0 }
    }

    fn move_clock(&mut self, by: TimeDelta) {
        // What the receiver takes for the time is never behind the sender.
        self.clock.advance(by);
        self.daemon.move_clock(by);
    }

    /// One cycle of both vendors, and whatever it has to say delivered as far as that is possible now.
    async fn cycle(&mut self, is_kept: bool) {
        let before = self.sandbox.cycles();
        self.move_clock(TimeDelta::minutes(EVERY));
        if !is_kept {
            tokio::time::sleep(Duration::from_millis(250)).await;
            return;
        }
        let what = format!("a cycle of both at {}, after {before}", self.clock.now());
        eventually(&what, || self.sandbox.cycles() >= before + 2).await;
        let now = self.clock.now().timestamp_millis();
        let due = format!("SELECT count(*) FROM outbox WHERE state = 'waiting' AND next_at <= {now}");
        let begun = Instant::now();
        while self.sandbox.count(&due) > 0 && begun.elapsed() < Duration::from_millis(400) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A setting of each vendor that nobody approved: another one for each number, none without one.
    fn click(&self, number: Option<i64>) {
        let url = number.map(|number| json!(format!("https://o{number}.evil.example")));
        self.sandbox.clerk.edit("/v1/instance", |instance| {
            let known = ["chrome-extension://hjdoplcnikgiamejbnhfagkdlohpmcen", "tauri://localhost"];
            instance["allowed_origins"] = known.into_iter().map(Value::from).chain(url.clone()).collect();
        });
        self.sandbox.auth0.edit("/api/v2/tenants/settings", |settings| {
            let known = ["https://shop.lantern-books.example/goodbye", "https://lantern-books.example"];
            settings["allowed_logout_urls"] = known.into_iter().map(Value::from).chain(url.clone()).collect();
        });
    }

    fn begin_trouble(&mut self, trouble: Trouble) {
        let sandbox = &self.sandbox;
        match trouble {
            Trouble::VendorsAway => {
                sandbox.clerk.fail_all(Fault::status(503, json!({})));
                sandbox.auth0.fail_all(Fault::status(503, json!({})));
            }
            Trouble::Garbled => {
                sandbox.clerk.fail_all(Fault::Html);
                sandbox.auth0.fail_all(Fault::Truncated);
            }
            Trouble::MailAway => sandbox.smtp.refuse(Stage::Connect, 421, "4.3.2 shutting down", 10_000),
            Trouble::WebhookAway => sandbox.webhook.fail_all(Webhook::reply(503)),
            Trouble::DiskFull => fill(sandbox),
            Trouble::ClockBack => self.move_clock(-TimeDelta::minutes(90)),
            Trouble::ClockForward => self.move_clock(TimeDelta::minutes(90)),
            Trouble::Reloads => {}
        }
    }

    fn end_trouble(&self, trouble: Trouble) {
        match trouble {
            Trouble::VendorsAway | Trouble::Garbled => {
                self.sandbox.clerk.heal_all();
                self.sandbox.auth0.heal_all();
            }
            Trouble::MailAway => self.sandbox.smtp.heal(),
            Trouble::WebhookAway => self.sandbox.webhook.heal_all(),
            Trouble::DiskFull => fs::remove_file(ballast(&self.sandbox)).unwrap(),
            Trouble::ClockBack | Trouble::ClockForward | Trouble::Reloads => {}
        }
    }

    /// A configuration that is good, or one that is not, and the daemon's word that it has seen it.
    async fn reload(&self, cycle: i64) {
        let good = fs::read_to_string(self.sandbox.path("config.toml")).unwrap();
        let is_good = cycle % 2 == 0;
        let (text, kind) = if is_good {
            (format!("# {cycle}\n{good}"), "config.reloaded")
        } else {
            (good.replace("[schedule]", "[schedule]\nnonsense = 1"), "config.refused")
        };
        let before = self.sandbox.events(kind);
        self.sandbox.write("config.toml", &text);
        self.daemon.signal("HUP");
        eventually(kind, || self.sandbox.events(kind) == before + 1).await;
        if !is_good {
            self.sandbox.write("config.toml", &good);
        }
    }

    /// As a power cut would, somewhere in a cycle.
    async fn kill(&mut self, dice: &mut Dice) {
        self.move_clock(TimeDelta::minutes(EVERY));
        tokio::time::sleep(Duration::from_millis(dice.roll(150))).await;
        self.daemon = Hand::start_after_kill(&mut self.daemon, &self.sandbox, &self.clock);
        self.kills += 1;
    }
}

impl Hand {
    fn start_after_kill(killed: &mut Self, sandbox: &Sandbox, clock: &FakeClock) -> Self {
        killed.child.kill().unwrap();
        killed.child.wait().unwrap();
        Self::start(sandbox, clock)
    }
}

fn ballast(sandbox: &Sandbox) -> PathBuf {
    sandbox.path("ballast")
}

/// Takes every byte that is left.
fn fill(sandbox: &Sandbox) {
    let found = rustix::fs::statvfs(sandbox.folder.path()).unwrap();
    let size = (found.f_bavail * found.f_frsize).to_string();
    assert!(Command::new("fallocate").args(["-l", &size]).arg(ballast(sandbox)).status().unwrap().success());
}

/// What came, by its type and its name; drift by drift in which messages its beginning and its end were told.
fn assert_all_told_once(day: &Day) {
    let sandbox = &day.sandbox;
    let in_outbox = |receiver: &str| -> BTreeSet<String> {
        let connection = sandbox.sql();
        let mut query =
            connection.prepare("SELECT id FROM outbox WHERE receiver = ?1 AND state = 'delivered'").unwrap();
        query.query_map([receiver], |row| row.get(0)).unwrap().flatten().collect()
    };
    assert_eq!(sandbox.count("SELECT count(*) FROM outbox WHERE state NOT IN ('delivered', 'folded')"), 0);

    // What says that the disk is full goes out past the database.
    let mut called: Vec<String> = Vec::new();
    let mut told: BTreeMap<(String, &str), BTreeSet<String>> = BTreeMap::new();
    let mut stale = 0;
    for call in sandbox.webhook.deliveries() {
        // The day moves the clock while a message may be on its way.
        match call.signature {
            Signature::Stale => stale += 1,
            signature => assert_eq!(signature, Signature::Valid),
        }
        let message = call.json();
        if call.request.status != Some(204) || message["type"] == "storage.full" {
            continue;
        }
        let id = call.id().unwrap().to_owned();
        for entry in message["data"]["entries"].as_array().into_iter().flatten() {
            let ends: &[&str] = match entry["news"].as_str().unwrap() {
                "opened" => &["begin"],
                "reverted" => &["end"],
                "passed" => &["begin", "end"],
                _ => continue,
            };
            for change in entry["changes"].as_array().unwrap() {
                for end in ends {
                    let drift = change["id"].as_str().unwrap().to_owned();
                    told.entry((drift, end)).or_default().insert(id.clone());
                }
            }
        }
        called.push(id);
    }
    assert!(stale <= 5, "{stale} messages came too late");
    let mailed: Vec<String> = {
        let is_kept =
            |mail: &authdrift::simulator::smtp::Mail| !mail.header("Subject").unwrap().contains("disk is full");
        let id = |header: String| header.trim_matches(['<', '>']).split('@').next().unwrap().to_owned();
        sandbox
            .smtp
            .mails()
            .iter()
            .filter(|mail| is_kept(mail))
            .map(|mail| id(mail.header("Message-ID").unwrap()))
            .collect()
    };
    for (receiver, came) in [("siem", &called), ("security", &mailed)] {
        let distinct: BTreeSet<String> = came.iter().cloned().collect();
        assert_eq!(distinct, in_outbox(receiver), "{receiver}");
        let twice = came.len() - distinct.len();
        assert!(twice <= day.kills, "{receiver}: {twice} came twice, and there were {} kills", day.kills);
    }

    let connection = sandbox.sql();
    let mut query = connection.prepare("SELECT id, status FROM drifts").unwrap();
    let drifts: Vec<(String, String)> =
        query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().flatten().collect();
    for (drift, status) in &drifts {
        let times = |end| told.get(&(drift.clone(), end)).map_or(0, BTreeSet::len);
        assert_eq!(times("begin"), 1, "drift {drift} was told to begin in so many messages");
        assert_eq!(times("end"), usize::from(status != "open"), "drift {drift}, {status}, was told to end");
    }
    assert!(drifts.len() > 40, "enough happened: {}", drifts.len());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the day of the test below, on a file system of its own"]
async fn the_day() {
    if env::var_os("SOAK_DAY").is_none() {
        return;
    }
    let begun = Instant::now();
    let mut day = Day::begin().await;
    // `SOAK_DAYS=7` goes on without further troubles, and weighs as late in it as in one day.
    let days: i64 = env::var("SOAK_DAYS").ok().map_or(1, |days| days.parse().unwrap());
    let (mut dice, mut weights) = (Dice(24), Vec::new());
    for cycle in 0..CYCLES * days {
        let troubles =
            || STORY.iter().filter(|(_, trouble)| *trouble != Trouble::DiskFull || env::var_os("SOAK_DISK").is_some());
        for (_, trouble) in troubles().filter(|(range, _)| range.end == cycle) {
            day.end_trouble(*trouble);
        }
        for (_, trouble) in troubles().filter(|(range, _)| range.start == cycle) {
            day.begin_trouble(*trouble);
        }
        let now: Vec<Trouble> =
            troubles().filter(|(range, _)| range.contains(&cycle)).map(|(_, trouble)| *trouble).collect();
        match cycle % 8 {
            2 => day.click(Some(cycle)),
            6 => day.click(None),
            _ => {}
        }
        if cycle < KILLED_UNTIL && cycle % 5 == 4 {
            day.kill(&mut dice).await;
        }
        day.cycle(!now.contains(&Trouble::DiskFull)).await;
        if now.contains(&Trouble::Reloads) {
            day.reload(cycle).await;
        }
        if cycle >= WARM * days && cycle % 24 == 0 {
            weights.push(day.daemon.weight());
            eprintln!("after {cycle} cycles {:?} KiB", weights[weights.len() - 1]);
        }
    }
    // Whatever still waits is due in some hours at most.
    day.click(None);
    day.sandbox.auth0.edit("/api/v2/tenants/settings", |settings| settings["session_lifetime"] = json!(720));
    for _ in 0..48 {
        day.cycle(true).await;
        if day.sandbox.waiting() == 0 && day.sandbox.events("drift.opened") > 0 {
            break;
        }
    }
    eventually("everything delivered", || day.sandbox.waiting() == 0).await;
    weights.push(day.daemon.weight());
    day.daemon.signal("TERM");
    assert!(day.daemon.child.wait().unwrap().success());

    let sandbox = &day.sandbox;
    let verdict = |instance: &str| -> String {
        let query = "SELECT cycles.verdict FROM cycles JOIN instances ON instances.id = cycles.instance_id
                     WHERE instances.name = ?1 ORDER BY cycles.id DESC LIMIT 1";
        sandbox.sql().query_row(query, [instance], |row| row.get(0)).unwrap()
    };
    eprintln!("weights {weights:?}; {} cycles in {:?}", sandbox.cycles(), begun.elapsed());
    assert_all_told_once(&day);
    assert_eq!((verdict("clerk:prod"), verdict("auth0:acme")), ("in_sync".to_owned(), "drift".to_owned()));
    sandbox.assert_database_is_sound();
    sandbox.run(&["verify"]).await.expect(0);
    assert_eq!(sandbox.count("SELECT count(*) FROM drifts WHERE status = 'open'"), 1);
    assert_eq!(sandbox.events("clock.set_back"), 2);
    assert_eq!((sandbox.events("config.reloaded"), sandbox.events("config.refused")), (10, 10));
    if env::var_os("SOAK_DISK").is_some() {
        let full = sandbox.webhook.deliveries().into_iter().filter(|call| call.json()["type"] == "storage.full");
        assert_eq!(full.count(), 2, "the disk was full twice");
    }
    let (first, last) = (weights[0], *weights.last().unwrap());
    for (what, before, after) in [("memory", first.0, last.0), ("own memory", first.1, last.1)] {
        assert!(after * 10 <= before * 11, "{what} grew from {before} KiB to {after} KiB: {weights:?}");
    }
    eprintln!("SOAKED");
}

#[test]
fn a_day_of_faults_ends_right_loses_nothing_and_leaves_the_process_as_small_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut own_disk = Command::new("unshare");
    own_disk.args(["-m", "sh", "-c", "mount -t tmpfs -o size=600m none \"$0\" && exec \"$@\""]).arg(folder.path());
    let can_mount = own_disk.arg("true").stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    let program = env::current_exe().unwrap();
    let mut command = if can_mount {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", "mount -t tmpfs -o size=600m none \"$0\" && exec \"$@\""]);
        command.arg(folder.path()).arg(program).env("SOAK_DISK", "full");
        command
    } else {
        eprintln!("SKIPPED: no file system of its own can be mounted here, so no disk was full in this day; root can");
        Command::new(program)
    };
    let output =
        again("soak::the_day", &mut command).env("SOAK_DAY", "").env("TMPDIR", folder.path()).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("SOAKED"), "{said}");
    eprintln!("{said}");
}
