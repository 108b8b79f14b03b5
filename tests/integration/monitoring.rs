//! What a monitoring system sees of a real daemon: numbers, health, readiness, and lines of JSON.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

use authdrift::history::EVENT_KINDS;
use authdrift::simulator::fault::Fault;
use authdrift::telemetry::{OBSERVABLES, metrics};
use serde_json::{Value, json};

use crate::common::Sandbox;
use crate::common::daemon::{PATIENCE, Running, eventually, eventually_within};

/// One answer.
#[derive(Debug)]
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Sends one request over a connection and reads all that comes back.
fn ask(mut connection: impl Read + Write, request: &str) -> Answer {
    connection.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

impl Sandbox {
    fn socket(&self) -> PathBuf {
        self.path("monitoring.sock")
    }

    /// Clerk alone, approved, and a daemon that answers at a socket and writes JSON.
    async fn monitored() -> (Self, Running) {
        let sandbox = Self::clerk_approved().await;
        sandbox.listen_at(&format!("unix:{}", sandbox.socket().display()));
        let daemon = sandbox.start_as(&["run", "--log-format", "json"]);
        eventually("an answer", || sandbox.socket().exists() && sandbox.get("/readyz").status == 200).await;
        (sandbox, daemon)
    }

    fn listen_at(&self, place: &str) {
        let text = format!("{}[monitoring]\nlisten = \"{place}\"\n", self.configuration_of_clerk());
        self.write("config.toml", &text);
    }

    fn get(&self, path: &str) -> Answer {
        self.method("GET", path)
    }

    fn method(&self, method: &str, path: &str) -> Answer {
        let connection = UnixStream::connect(self.socket()).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        ask(connection, &format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
    }

    fn scrape(&self) -> Scrape {
        let answer = self.get("/metrics");
        assert_eq!(answer.status, 200);
        assert!(!answer.body.contains("CANARY") && !answer.body.contains("Lantern"), "{}", answer.body);
        assert!(answer.head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"));
        Scrape::parse(&answer.body)
    }

    /// Lets a cycle happen, and waits until the numbers say what it found.
    async fn cycle_until(&self, what: &str, is_so: impl Fn(&Scrape) -> bool) -> Scrape {
        self.make_due();
        let mut last = self.scrape();
        // Answers of the database are up to two seconds old.
        eventually_within(PATIENCE + PATIENCE, what, || {
            last = self.scrape();
            is_so(&last)
        })
        .await;
        last
    }
}

/// A strict reading of OpenMetrics text, as far as counters, gauges, histograms and infos go.
#[derive(Debug, Default)]
struct Scrape {
    types: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
}

impl Scrape {
    fn parse(text: &str) -> Self {
        let mut scrape = Self::default();
        let mut family = String::new();
        let body = text.strip_suffix("# EOF\n").expect("the end of the text");
        for line in body.lines() {
            if let Some(rest) = line.strip_prefix("# ") {
                let [word, name, value] = rest.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
                match word {
                    "HELP" => assert!(!value.is_empty() && name == family || scrape.begin(&mut family, name), "{line}"),
                    "TYPE" => {
                        assert!(name == family || scrape.begin(&mut family, name), "{line}");
                        assert!(scrape.types.insert(name.to_owned(), value.to_owned()).is_none(), "{line}");
                    }
                    "UNIT" => assert!(name == family && name.ends_with(&format!("_{value}")), "{line}"),
                    _ => panic!("{line}"),
                }
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            let name = series.split('{').next().unwrap();
            let ends: &[&str] = match scrape.types[&family].as_str() {
                "counter" => &["_total"],
                "info" => &["_info"],
                "histogram" => &["_bucket", "_count", "_sum"],
                _ => &[""],
            };
            assert!(ends.iter().any(|end| name == format!("{family}{end}")), "{line} is not of {family}");
            let labels = series[name.len()..].trim_matches(['{', '}']);
            assert!(labels.is_empty() || labels.split("\",").all(|label| label.contains("=\"")), "{line}");
            assert!(scrape.samples.insert(series.to_owned(), value.parse().unwrap()).is_none(), "{line} twice");
        }
        scrape
    }

    fn begin(&self, family: &mut String, name: &str) -> bool {
        name.clone_into(family);
        !self.types.contains_key(name)
    }

    #[track_caller]
    fn value(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.samples))
    }

    fn sum(&self, beginning: &str) -> f64 {
        self.samples.iter().filter(|(series, _)| series.starts_with(beginning)).map(|(_, value)| value).sum()
    }

    fn verdict(&self) -> &str {
        let is_it =
            |series: &&String| series.starts_with("authdrift_instance_verdict{") && self.samples[*series] == 1.0;
        let found: Vec<&String> = self.samples.keys().filter(is_it).collect();
        assert!(found.len() <= 1, "{found:?}");
        found.first().map_or("", |series| series.split('"').nth(3).unwrap())
    }
}

const PROD: &str = "instance_id=\"clerk:prod\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_says_how_everything_stands() {
    let (sandbox, daemon) = Sandbox::monitored().await;
    let metadata = fs::symlink_metadata(sandbox.socket()).unwrap();
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o660);

    let good = format!("authdrift_cycles_total{{{PROD},verdict=\"in_sync\"}}");
    let at = |now: &Scrape, name: &str| now.value(&format!("authdrift_{name}_timestamp_seconds{{{PROD}}}"));
    let is_read =
        |now: &Scrape| now.samples.contains_key(&good) && at(now, "last_cycle") > at(now, "baseline_accepted");
    let now = sandbox.cycle_until("a good cycle", is_read).await;
    assert_eq!(now.verdict(), "in_sync");
    assert_eq!(now.value(&format!("authdrift_baseline_sequence{{{PROD}}}")), 1.0);
    assert!(now.value(&format!("authdrift_sections{{{PROD},state=\"value\"}}")) > 10.0);
    assert_eq!(now.sum("authdrift_open_drifts{"), 0.0);
    assert_eq!(now.value("authdrift_store_readable"), 1.0);
    assert!(now.value("authdrift_store_size_bytes") > 10_000.0 && now.value("authdrift_store_free_bytes") > 0.0);
    assert!(now.value("authdrift_requests_total{vendor=\"clerk\",status=\"2xx\"}") > 3.0);
    assert_eq!(
        now.value("authdrift_request_duration_seconds_bucket{le=\"+Inf\",vendor=\"clerk\"}"),
        now.sum("authdrift_requests_total{")
    );
    let times = ["last_cycle", "last_success", "baseline_accepted", "next_cycle"];
    let times = times.map(|name| now.value(&format!("authdrift_{name}_timestamp_seconds{{{PROD}}}")));
    let [last, success, accepted, next] = times;
    assert!(last == success && accepted < last && last < next, "{times:?}");
    assert!(now.value("authdrift_last_tick_timestamp_seconds") >= now.value("authdrift_start_timestamp_seconds"));

    // A name that somebody chose to be read by those who watch.
    let hostile = "x\" 1\n# EOF\nPRIORITY=0 \u{1b}[2J\u{202e}";
    sandbox.clerk.edit("/v1/jwt_templates", |templates| {
        templates[0]["name"] = json!(hostile);
        templates[0]["lifetime"] = json!(3600);
    });
    let now = sandbox.cycle_until("a drift", |now| now.verdict() == "drift").await;
    assert!(now.sum("authdrift_open_drifts{") >= 1.0);
    let events = now.value("authdrift_events_total{kind=\"drift.opened\"}");
    assert_eq!(events, now.sum("authdrift_open_drifts{"));
    eventually("everything delivered", || sandbox.waiting() == 0).await;
    for receiver in ["siem", "security"] {
        let series = format!("authdrift_deliveries_total{{receiver=\"{receiver}\",outcome=\"delivered\"}}");
        eventually("that it is counted", || sandbox.scrape().samples.contains_key(&series)).await;
    }

    // The vendor is away: no reason to be unready, and nothing of before is told as if it were so now.
    sandbox.clerk.fail_all(Fault::status(503, json!({})));
    let now = sandbox.cycle_until("trouble", |now| now.verdict() == "error").await;
    assert_eq!(now.value(&format!("authdrift_sections{{{PROD},state=\"value\"}}")), 0.0);
    assert!(now.value(&format!("authdrift_sections{{{PROD},state=\"unreachable\"}}")) > 10.0);
    assert!(now.value("authdrift_requests_total{vendor=\"clerk\",status=\"5xx\"}") > 0.0);
    assert!(now.value(&format!("authdrift_last_success_timestamp_seconds{{{PROD}}}")) > last);
    assert_eq!((sandbox.get("/readyz").status, sandbox.get("/healthz").status), (200, 200));
    sandbox.clerk.heal_all();

    // Somebody was at the database.
    sandbox.tamper("UPDATE statements SET statement = CAST('{}' AS BLOB)", []);
    sandbox.cycle_until("distrust", |now| now.verdict() == "untrusted").await;
    let answer = sandbox.get("/readyz");
    assert_eq!((answer.status, &answer.json()["status"]), (503, &json!("not ready")));
    assert!(answer.body.contains("clerk:prod: the baseline cannot be trusted"), "{answer:?}");
    assert_eq!(sandbox.get("/healthz").json(), json!({ "status": "alive" }));

    assert_eq!(daemon_lines_are_sound(&daemon, hostile), 0);
    assert_eq!(kinds_without_a_line(&sandbox), Vec::<String>::new());
    assert_eq!(daemon.stop().await, Some(0));
    assert!(!sandbox.socket().exists(), "the socket goes with the daemon");
}

/// What changed since the newest cycle counts everywhere at once, and no output waits for the next cycle.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_has_one_status_in_every_output() {
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.listen_at(&format!("unix:{}", sandbox.socket().display()));
    // No cycle of the daemon comes to help.
    sandbox.edit_configuration("* * * * *", "0 0 1 1 *");
    sandbox.check().await.expect(0);
    let name = format!("authdrift-status-{}", sandbox.folder.path().display());
    let systemd = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    systemd.set_nonblocking(true).unwrap();
    let _daemon = sandbox.start_with(&[("NOTIFY_SOCKET", &format!("@{name}"))]);
    eventually("an answer", || sandbox.socket().exists() && sandbox.get("/readyz").status == 200).await;
    let cycles = sandbox.count("SELECT count(*) FROM cycles");
    let line_of_systemd = RefCell::new(String::new());
    let is_everywhere = async |verdict: &'static str, words: &str, ready: u16| {
        let status = sandbox.run(&["status", "--json"]).await.expect(0).json();
        assert_eq!(status["instances"][0]["verdict"], verdict);
        let doctor = sandbox.run(&["doctor", "--json"]).await.json();
        let finding = doctor["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "last-cycle");
        assert!(finding.unwrap()["why"].as_str().unwrap().contains(words), "{finding:?}");
        eventually("the metrics", || sandbox.scrape().verdict() == verdict).await;
        eventually("readiness", || sandbox.get("/readyz").status == ready).await;
        let wanted = format!("STATUS=clerk:prod {words} ");
        // A line is sent when it changed.
        eventually("the line of systemd", || {
            let mut buffer = [0; 4096];
            while let Ok(size) = systemd.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..size]).into_owned();
                if let Some(line) = text.lines().find(|line| line.starts_with("STATUS=")) {
                    line.clone_into(&mut line_of_systemd.borrow_mut());
                }
            }
            line_of_systemd.borrow().starts_with(&wanted)
        })
        .await;
    };
    is_everywhere("in_sync", "in sync", 200).await;
    let signers = fs::read_to_string(sandbox.path("allowed_signers")).unwrap();
    sandbox.write("allowed_signers", "");
    is_everywhere("untrusted", "untrusted", 503).await;
    sandbox.write("allowed_signers", &signers);
    is_everywhere("in_sync", "in sync", 200).await;
    assert_eq!(sandbox.count("SELECT count(*) FROM cycles"), cycles, "no cycle came to help");

    sandbox.set_lifetime(3600);
    sandbox.check().await.expect(10);
    is_everywhere("drift", "drift", 200).await;
    sandbox.approve("clerk:prod").await;
    is_everywhere("in_sync", "in sync", 200).await;
    assert_eq!(sandbox.count("SELECT count(*) FROM cycles"), cycles + 1, "no cycle came to help");
}

/// Every line is an object with a name that is listed; answers how many hold what they should not.
fn daemon_lines_are_sound(daemon: &Running, hostile: &str) -> usize {
    let known: BTreeSet<&str> =
        OBSERVABLES.iter().map(|(name, _)| *name).chain(EVENT_KINDS.iter().map(|kind| kind.name)).collect();
    let log = daemon.log();
    let mut seen = BTreeSet::new();
    for line in log.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let event = line["event"].as_str().unwrap_or_else(|| panic!("no name: {line}"));
        assert!(known.contains(event), "{line}");
        seen.insert(event.to_owned());
        let is_text = |value: &Value| value.as_str().is_none_or(|text| !text.chars().any(char::is_control));
        assert!(line.as_object().unwrap().values().all(is_text), "{line}");
    }
    for event in ["daemon.started", "cycle.ended", "drift.opened", "delivery.done", "baseline.untrusted"] {
        assert!(seen.contains(event), "no line of {event}");
    }
    log.matches(hostile).count() + log.matches("CANARY").count()
}

/// Kinds of events in the history that the table of the log does not know.
fn kinds_without_a_line(sandbox: &Sandbox) -> Vec<String> {
    let connection = sandbox.sql();
    let mut query =
        connection.prepare("SELECT DISTINCT json_extract(CAST(body AS TEXT), '$.kind') FROM events").unwrap();
    let kinds = query.query_map([], |row| row.get::<_, String>(0)).unwrap().flatten();
    kinds.filter(|kind| !EVENT_KINDS.iter().any(|known| known.name == kind)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_printed_is_what_is_listed() {
    let (sandbox, daemon) = Sandbox::monitored().await;
    // A second reading, so that it is counted.
    sandbox.set_lifetime(3600);
    let now = sandbox.cycle_until("a drift", |now| now.sum("authdrift_deliveries_total{") >= 2.0).await;
    let listed: BTreeMap<String, metrics::Metric> =
        metrics::all().into_iter().map(|metric| (metric.family(), metric)).collect();
    for (name, kind) in &now.types {
        assert_eq!(listed.get(name).map(|metric| metric.kind.as_str()), Some(kind.as_str()), "{name}");
    }
    // Nothing failed, and no service elsewhere is configured.
    let quiet = ["authdrift_failed_chores", "authdrift_heartbeats"];
    for (name, metric) in listed.iter().filter(|(name, _)| !quiet.contains(&name.as_str())) {
        assert!(now.types.contains_key(name), "{name} is listed and was not printed");
        let of_it = |series: &&String| series.split('{').next() == Some(&metric.sample());
        for series in now.samples.keys().filter(of_it) {
            let labels = series.split_once('{').map_or("", |(_, labels)| labels);
            let labels: BTreeSet<&str> = labels.split("\",").filter_map(|label| label.split('=').next()).collect();
            let expected: BTreeSet<&str> = metric.labels.iter().copied().collect();
            let found: BTreeSet<&str> = labels.into_iter().filter(|label| !matches!(*label, "" | "le" | "}")).collect();
            assert_eq!(found, expected, "{series}");
        }
    }
    assert_eq!(daemon.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_these_pages_are_there_and_only_to_be_read() {
    let (sandbox, daemon) = Sandbox::monitored().await;
    for path in ["/metrics", "/healthz", "/readyz"] {
        let head = sandbox.method("HEAD", path);
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        assert!(head.head.contains("cache-control: no-store") && head.head.contains("connection: close"), "{head:?}");
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            assert_eq!(sandbox.method(method, path).status, 405, "{method} {path}");
        }
    }
    for path in ["/", "/metrics/", "/status", "/../metrics", "/debug/pprof"] {
        assert_eq!(sandbox.get(path).status, 404, "{path}");
    }
    let long = format!("/metrics?{}", "x".repeat(40_000));
    let connection = UnixStream::connect(sandbox.socket()).unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut refused = String::new();
    let mut connection = connection;
    let _ = connection.write_all(format!("GET {long} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    let _ = connection.read_to_string(&mut refused);
    assert!(!refused.starts_with("HTTP/1.1 200"), "{refused}");

    // No browser connects to a Unix socket, so a client may name any host, or none.
    for head in ["Host: anything.example", "X-No-Host: 1"] {
        let connection = UnixStream::connect(sandbox.socket()).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(ask(connection, &format!("GET /healthz HTTP/1.0\r\n{head}\r\n\r\n")).status, 200, "{head}");
    }

    // Those that connect and say nothing keep out nobody who asks.
    let held: Vec<UnixStream> = (0..200).map(|_| UnixStream::connect(sandbox.socket()).unwrap()).collect();
    assert_eq!(sandbox.get("/healthz").status, 200);
    drop(held);
    assert_eq!(daemon.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn t8_a_page_of_another_site_reads_nothing_over_tcp() {
    let sandbox = Sandbox::clerk_approved().await;
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    sandbox.listen_at(&free.to_string());
    let daemon = sandbox.start_as(&["run"]);
    let connect = || {
        let connection = TcpStream::connect(free)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        Ok::<_, std::io::Error>(connection)
    };
    let ready = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    eventually("an answer", || connect().is_ok_and(|connection| ask(connection, ready).status == 200)).await;
    // Another site's page that leads its name to this machine reads nothing, wherever it asks.
    for (head, status) in [
        ("Host: localhost", 200),
        ("Host: LOCALHOST:9464", 200),
        ("Host: 127.0.0.1:9464", 200),
        ("Host: [::1]:9464", 200),
        ("Host: evil.example", 421),
        ("Host: evil.example:9464", 421),
        ("Host: localhost.evil.example", 421),
        ("Host: localhost@evil.example", 421),
        ("Host: 127.0.0.2", 421),
        ("Host: localhost:x", 421),
        ("Host: ", 421),
        ("X-Forwarded-Host: localhost", 421),
        ("Host: localhost\r\nHost: evil.example", 421),
    ] {
        for path in ["/metrics", "/healthz", "/readyz"] {
            let connection = connect().unwrap();
            let answer = ask(connection, &format!("GET {path} HTTP/1.1\r\n{head}\r\n\r\n"));
            // Two of them are refused before they come to us.
            let is_refused = status == 421 && [400, 421].contains(&answer.status);
            assert!(answer.status == status || is_refused, "{path} {head}: {answer:?}");
            assert!(status == 200 || !answer.body.contains("authdrift_"), "{path} {head}: {answer:?}");
        }
    }
    for (target, status) in [("http://evil.example/metrics", 421), ("/status", 421)] {
        let host = if target.starts_with('/') { "evil.example" } else { "localhost" };
        let connection = connect().unwrap();
        let answer = ask(connection, &format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(answer.status, status, "{target}: {answer:?}");
    }
    assert_eq!(daemon.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_where_nobody_can_listen_ends_the_start() {
    let sandbox = Sandbox::clerk_approved().await;
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = port.local_addr().unwrap().to_string();
    let socket = UnixListener::bind(sandbox.path("taken.sock")).unwrap();
    sandbox.write("file", "");
    let unix = |name: &str| format!("unix:{}", sandbox.path(name).display());
    for (place, reason) in [
        (taken.clone(), "another program listens there; stop it, or choose another place"),
        (unix("taken.sock"), "another program listens there"),
        (unix("file"), "there is a file that is not a socket"),
        (unix("none/x.sock"), "its folder does not exist"),
    ] {
        sandbox.listen_at(&place);
        let ran = sandbox.run(&["run"]).await.expect(74);
        let expected = format!("cannot listen at '{place}', where [monitoring] says to answer: {reason}");
        assert!(ran.err.contains(&expected) && ran.err.contains("help: `listen` in [monitoring]"), "{}", ran.err);
        assert_eq!(sandbox.events("daemon.started"), 0);
    }
    assert!(sandbox.path("file").exists());

    // What a killed process left behind is nobody's, and the port is free now.
    drop(socket);
    assert!(sandbox.path("taken.sock").exists());
    sandbox.listen_at(&unix("taken.sock"));
    let daemon = sandbox.start();
    eventually("an answer", || UnixStream::connect(sandbox.path("taken.sock")).is_ok()).await;
    assert_eq!(daemon.stop().await, Some(0));
    drop(port);
    sandbox.listen_at(&taken);
    let daemon = sandbox.start();
    eventually("an answer", || TcpStream::connect(&taken).is_ok()).await;
    let connection = TcpStream::connect(&taken).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(ask(connection, &format!("GET /metrics HTTP/1.0\r\nHost: {taken}\r\n\r\n")).status, 200);
    assert_eq!(daemon.stop().await, Some(0));
}
