//! Two years in one database: what is old and needed by nobody goes, and nothing else does.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use authdrift::classify::Catalogue;
use authdrift::clock::{Clock, FakeClock, SystemClock};
use authdrift::config::{self, Sources};
use authdrift::cycle::{Monitor, RunMode};
use authdrift::history::Event;
use authdrift::history::data::CheckedStore;
use authdrift::provider::Limits;
use authdrift::simulator::clerk;
use authdrift::store::events;
use authdrift::store::retention::Retention;
use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::OptionalExtension;
use serde_json::json;

use crate::common::Sandbox;
use crate::crash::Dice;

const KEEP: TimeDelta = TimeDelta::days(400);
const PAUSE: TimeDelta = TimeDelta::days(9);
/// And a little: what was recorded so long ago lets a clock be believed.
const A_DAY: TimeDelta = TimeDelta::hours(25);
/// Cycles of two years.
const CYCLES: usize = 81;
/// Cycles between two changes.
const CALM: usize = 4;
/// When somebody opens the sign-up, for good.
const OPENED: usize = 15;
/// When the name of that time is approved.
const APPROVED: usize = 23;

/// One instance with a few sections, read by a clock that is moved on.
struct Years {
    sandbox: Sandbox,
    clock: Arc<FakeClock>,
    watch: Monitor,
}

impl Years {
    /// Two years with a change every few cycles, one drift that stays, and two baselines.
    async fn lived() -> Self {
        let sandbox = Sandbox::new().await;
        let table = format!(
            "[[clerk]]\nname = \"prod\"\npublishable_key = \"{}\"\nfrontend_api_url = \"{}\"\n",
            clerk::PUBLISHABLE_KEY,
            sandbox.clerk.url()
        );
        let head = sandbox.head().replace("* * * * *", "0 0 1 1 *").replace("100ms", "1ms");
        sandbox.write("config.toml", &format!("{head}{table}"));
        let years = PAUSE * i32::try_from(CYCLES).unwrap();
        let clock = Arc::new(FakeClock::at(SystemClock.now() - years - A_DAY));
        let file = sandbox.path("config.toml").display().to_string();
        let text = fs::read_to_string(&file).unwrap();
        let sources = Sources { file: &file, text: &text, state_directory: None, xdg_state: None, now: clock.now() };
        let config = Arc::new(config::parse(&sources).unwrap_or_else(|problems| panic!("{problems}")));
        let instance = config.instance("prod").unwrap().clone();
        let catalogue = Arc::new(Catalogue::of(instance.id.provider, None).unwrap());
        sandbox.check().await.expect(13);
        sandbox.approve("prod").await;
        let now: Arc<dyn Clock> = Arc::<FakeClock>::clone(&clock);
        let watch = Monitor::new(config, &instance, catalogue, sandbox.store(), now, Limits::default()).unwrap();
        let years = Self { sandbox, clock, watch };
        for cycle in 0..CYCLES {
            if cycle % CALM == 1 {
                years.call_it(&format!("Lantern Books {cycle}"));
            }
            if cycle == OPENED {
                years.sandbox.clerk.edit("/v1/environment", |environment| {
                    environment["user_settings"]["sign_up"]["mode"] = json!("public");
                });
            }
            years.cycle().await;
            if cycle + 1 == CYCLES {
                years.record();
            }
            if cycle == APPROVED {
                let key = years.sandbox.path("alice").display().to_string();
                let path = "/frontend.environment/display_config/application_name";
                let words = ["approve", "prod", "--reason", "renamed", "--only", path, "--key", &key];
                years.sandbox.run(&words).await.expect(0);
            }
        }
        years
    }

    fn call_it(&self, name: &str) {
        self.sandbox.clerk.edit("/v1/environment", |environment| {
            environment["display_config"]["application_name"] = json!(name);
        });
    }

    async fn cycle(&self) {
        self.clock.advance(PAUSE);
        self.watch.cycle(RunMode::Commit).await.unwrap();
    }

    /// What the daemon does every day.
    fn record(&self) {
        let at = self.clock.now();
        self.sandbox
            .store()
            .write(|tx| events::append(tx, at, None, &Event::StoreChecked(CheckedStore { sound: true })))
            .unwrap();
    }

    /// A few minutes of the daemon a day later, as far as this is concerned.
    fn prune(&self) {
        self.prune_at(self.clock.now() + A_DAY);
    }

    fn prune_at(&self, now: DateTime<Utc>) {
        let (store, mut retention) = (self.sandbox.store(), Retention::default());
        for _ in 0..5 {
            retention.step(&store, KEEP, now).unwrap();
        }
    }

    fn count(&self, table: &str) -> i64 {
        self.sandbox.count(&format!("SELECT count(*) FROM {table}"))
    }

    /// What commands say that look at anything but the size of the history.
    async fn said(&self, folder: &str) -> Vec<String> {
        let mut said = Vec::new();
        let drifts: Vec<String> = {
            let sql = self.sandbox.sql();
            let mut query = sql.prepare("SELECT id FROM drifts ORDER BY id").unwrap();
            query.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
        };
        assert!(drifts.len() > 1, "{drifts:?}");
        let shows = drifts.iter().map(|drift| vec!["show", drift.as_str(), "--json"]);
        for words in [vec!["diff", "prod"], vec!["diff", "prod", "--format", "revert"]].into_iter().chain(shows) {
            let ran = self.sandbox.run(&words).await;
            assert!(matches!(ran.code, 0 | 10), "{words:?}: {ran:?}");
            said.push(ran.out);
        }
        let to = self.sandbox.path(folder);
        self.sandbox.run(&["export", "prod", to.to_str().unwrap()]).await.expect(0);
        said.extend(files_in(&to).into_iter().map(|(name, content)| format!("{name}: {content}")));
        said
    }
}

fn files_in(folder: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        match entry.path().is_dir() {
            true => {
                files.extend(files_in(&entry.path()).into_iter().map(|(inner, text)| (format!("{name}/{inner}"), text)))
            }
            false => drop(files.insert(name, fs::read_to_string(entry.path()).unwrap())),
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn after_two_years_what_nobody_needs_is_gone_and_every_command_works_as_before() {
    let years = Years::lived().await;
    let (sandbox, said) = (&years.sandbox, years.said("before").await);
    let (documents, cycles, snapshots) = (years.count("documents"), years.count("cycles"), years.count("snapshots"));
    sandbox.run(&["verify"]).await.expect(0);
    // A clock that went forward removes nothing, not even what is old enough without it.
    for days in [60, 400, 9_000] {
        years.prune_at(years.clock.now() + TimeDelta::days(days));
    }
    assert_eq!((years.count("documents"), years.count("cycles")), (documents, cycles));
    years.prune();
    sandbox.run(&["verify"]).await.expect(0);
    assert_eq!(years.said("after").await, said);

    // Four hundred days of seven hundred and thirty stay, and of those before: baselines, the open drift, the newest.
    let left = years.count("documents");
    assert!(left < documents - 4 && left > documents / 2, "{left} of {documents}");
    assert_eq!(years.count("snapshots"), snapshots, "digests stay");
    assert_eq!(sandbox.events("store.pruned"), 1);
    let thinned = cycles - years.count("cycles");
    // Of those in a row, and not only of those that are older than four hundred days.
    assert!(thinned > 30, "{thinned} of {cycles}");
    let opened = "SELECT count(*) FROM drifts d JOIN cycles c ON c.at = d.first_seen
                  JOIN collections o ON o.snapshot_id = c.snapshot_id WHERE d.path LIKE '%/mode'";
    assert_eq!(sandbox.count(opened), 1, "how the open drift was first seen");
    // Once is enough.
    years.prune();
    assert_eq!((sandbox.events("store.pruned"), sandbox.events("store.thinned")), (1, 1));

    // A backup of it is as good.
    sandbox.run(&["backup", sandbox.path("copy.db").to_str().unwrap()]).await.expect(0);
    for name in ["authdrift.db-wal", "authdrift.db-shm"] {
        let _ = fs::remove_file(sandbox.path(name));
    }
    drop(years.watch);
    fs::rename(sandbox.path("copy.db"), sandbox.database()).unwrap();
    sandbox.run(&["verify"]).await.expect(0);
    sandbox.approve("prod").await;
    sandbox.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_removes_is_missing_and_what_comes_back_is_kept_again() {
    let years = Years::lived().await;
    let sandbox = &years.sandbox;
    years.prune();
    // The very first name but one, which was not approved.
    let documents = years.count("documents");
    sandbox.clerk.edit("/v1/environment", |environment| {
        environment["user_settings"]["sign_up"]["mode"] = json!("restricted");
    });
    years.call_it("Lantern Books 5");
    years.cycle().await;
    assert_eq!(sandbox.events("store.kept_again"), 1);
    assert_eq!(years.count("documents"), documents + 1);
    sandbox.run(&["verify"]).await.expect(0);
    sandbox.run(&["diff", "prod"]).await.expect(10);

    years.call_it("Lantern Books x");
    years.cycle().await;
    // Anything that is there is needed by somebody.
    let digests: Vec<String> = {
        let sql = sandbox.sql();
        let mut query = sql.prepare("SELECT digest FROM documents ORDER BY random() LIMIT 5").unwrap();
        query.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    for digest in digests {
        let body: Vec<u8> = {
            let sql = sandbox.sql();
            let body = sql.query_row("SELECT body FROM documents WHERE digest = ?1", [&digest], |row| row.get(0));
            body.optional().unwrap().unwrap()
        };
        sandbox.tamper("DELETE FROM documents WHERE digest = ?1", [&digest]);
        let ran = sandbox.run(&["verify"]).await.expect(12);
        assert!(ran.out.contains("document"), "{ran:?}");
        sandbox.tamper("INSERT INTO documents VALUES (?1, ?2)", (&digest, body));
    }
    sandbox.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_in_the_middle_loses_nothing() {
    let years = Years::lived().await;
    let (sandbox, mut dice) = (&years.sandbox, Dice(7));
    let documents = years.count("documents");
    let said = years.said("before").await;
    let mut rounds = 0;
    while sandbox.events("store.pruned") == 0 || rounds < 3 {
        let daemon = sandbox.start();
        tokio::time::sleep(Duration::from_millis(200 + dice.roll(1_500))).await;
        daemon.kill();
        sandbox.run(&["verify"]).await.expect(0);
        rounds += 1;
        assert!(rounds < 20, "nothing is pruned");
    }
    assert!(years.count("documents") < documents);
    let after = years.said("after").await;
    assert_eq!(after.last(), said.last());
}
