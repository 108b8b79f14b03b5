//! Who is told: every kind of receiver, what happens when one fails, and the commands about them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::chat::{Chat, ROUTING_KEY, Receiver, SECRET_PATH};
use authdrift::clock::{Clock, FakeClock, SystemClock};
use authdrift::config::{self, Config, Sources};
use authdrift::delivery::{Delivery, target};
use authdrift::message::sample::{SampleKind, sample};
use authdrift::message::{Alert, Body, Format, Message};
use authdrift::model::{Digest, HistoryMark, MessageId};
use authdrift::simulator::fault::Fault;
use authdrift::simulator::webhook::{Signature, Webhook};
use authdrift::store::{Store, StoreError, outbox, receivers};
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::common::Sandbox;
use crate::common::sandbox::WEBHOOK_SECRET;

const NEXT_SECRET: &str = "whsec_Q0FOQVJZIHRoZSBuZXh0IHdlYmhvb2sgc2VjcmV0IQ==";
const KEY_PAIR: &str = "whsk_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const PUBLIC_KEY: &str = "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg=";

/// One of each kind beside the two that every sandbox has.
struct Receivers {
    slack: Receiver,
    teams: Receiver,
    discord: Receiver,
    pager: Receiver,
    events: Webhook,
}

impl Receivers {
    async fn start(sandbox: &Sandbox) -> Self {
        let receivers = Self {
            slack: Receiver::start(Chat::Slack).await.unwrap(),
            teams: Receiver::start(Chat::Teams).await.unwrap(),
            discord: Receiver::start(Chat::Discord).await.unwrap(),
            pager: Receiver::start(Chat::PagerDuty).await.unwrap(),
            events: Webhook::start(NEXT_SECRET).await.unwrap(),
        };
        let mut tables = String::new();
        for (kind, receiver) in
            [("slack", &receivers.slack), ("teams", &receivers.teams), ("discord", &receivers.discord)]
        {
            sandbox.write(&format!("{kind}-url"), &format!("{}\n", receiver.hook_url()));
            tables.push_str(&format!(
                "[[{kind}]]\nname = \"{kind}\"\nurl = {{ file = \"{kind}-url\" }}\nmin_severity = \"info\"\n"
            ));
        }
        for (name, secret) in [("routing-key", ROUTING_KEY), ("next-secret", NEXT_SECRET), ("key-pair", KEY_PAIR)] {
            sandbox.write(name, secret);
        }
        tables.push_str(&format!(
            "[[pagerduty]]\nname = \"pager\"\nurl = \"{}\"\nrouting_key = {{ file = \"routing-key\" }}\n\
             min_severity = \"info\"\n[[webhook]]\nname = \"events\"\nurl = \"{}\"\nformat = \"cloudevents\"\n\
             secret = [{{ file = \"webhook-secret\" }}, {{ file = \"next-secret\" }}, {{ file = \"key-pair\" }}]\n\
             min_severity = \"info\"\n",
            receivers.pager.hook_url(),
            receivers.events.hook_url(),
        ));
        sandbox.write("config.toml", &(sandbox.configuration() + &tables));
        receivers
    }

    fn chats(&self) -> [(&'static str, &Receiver); 4] {
        [("slack", &self.slack), ("teams", &self.teams), ("discord", &self.discord), ("pager", &self.pager)]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_receiver_hears_the_story_and_shows_no_secret() {
    let sandbox = Sandbox::approved().await;
    let receivers = Receivers::start(&sandbox).await;
    let origins = |list: Value| sandbox.clerk.edit("/v1/instance", |instance| instance["allowed_origins"] = list);
    let before = sandbox.clerk.get("/v1/instance").unwrap()["allowed_origins"].clone();
    origins(json!(["https://evil.example"]));
    let drifted = sandbox.run(&["-vv", "check", "prod"]).await.expect(10);
    for (name, receiver) in receivers.chats() {
        assert!(!receiver.taken().is_empty(), "{name}");
        assert_eq!(receiver.taken().len(), receiver.requests().len(), "{name}: {:?}", receiver.requests());
    }
    assert!(receivers.slack.taken()[0]["text"].as_str().unwrap().contains("drifted from the approved state"));
    let open = receivers.pager.open_alerts();
    assert!(!open.is_empty());

    let delivery = &receivers.events.deliveries()[0];
    assert_eq!(delivery.signature, Signature::Valid, "the new secret signs too");
    let header = delivery.request.header("webhook-signature").unwrap();
    assert_eq!(header.split(' ').map(|one| one.split(',').next().unwrap()).collect::<Vec<_>>(), ["v1", "v1", "v1a"]);
    let event = delivery.json();
    assert_eq!(event["id"], delivery.id().unwrap());
    assert_eq!(event["type"], "authdrift.drift.opened");
    assert_eq!(delivery.request.header("content-type"), Some("application/cloudevents+json; charset=utf-8"));

    origins(before);
    let reverted = sandbox.run(&["-vv", "check", "prod"]).await.expect(0);
    assert_eq!(receivers.pager.open_alerts(), [""; 0], "everything that began has ended");
    let colour = receivers.discord.taken()[1]["embeds"][0]["color"].as_u64();
    assert_eq!(colour, Some(0x1F_8B_4C));

    // A chat that is gone, and one that repeats the address it was asked at.
    let echo = json!({ "no such hook": receivers.slack.hook_url() });
    receivers.slack.fail_all(Fault::status(404, echo.clone()));
    receivers.teams.fail_all(Fault::status(500, echo));
    origins(json!(["https://worse.example"]));
    let failed = sandbox.run(&["-vv", "check", "prod"]).await.expect(10);
    let status = sandbox.run(&["status"]).await.expect(0);
    let listed = sandbox.run(&["receivers", "list"]).await.expect(0);
    let as_json = sandbox.run(&["receivers", "list", "--json"]).await.expect(0);
    let checked = sandbox.run(&["config", "check"]).await.expect(0);
    assert!(status.out.contains("disabled") && listed.out.contains("404 Not Found"), "{}{}", status.out, listed.out);
    assert!(listed.out.contains(&format!("events signs with the private half of {PUBLIC_KEY}")), "{}", listed.out);
    let rows = as_json.json()["receivers"].as_array().unwrap().clone();
    assert_eq!(rows.len(), 7);
    let row = |name: &str| rows.iter().find(|row| row["receiver"] == name).unwrap();
    assert_eq!(row("events")["public_keys"], json!([PUBLIC_KEY]));
    assert_eq!(row("slack")["disabled"]["reason"], "404 Not Found");
    assert_eq!(row("teams")["failures_in_a_row"], 1);
    assert_eq!(row("discord")["disabled"], Value::Null);
    let mut said = String::new();
    for ran in [&drifted, &reverted, &failed, &status, &listed, &as_json, &checked] {
        said.push_str(&format!("{}{}", ran.out, ran.err));
    }
    let store = sandbox.store();
    let everything: Vec<String> = store
        .read(|tx| -> Result<_, StoreError> {
            Ok(authdrift::store::events::all::<Value>(tx, None)?
                .iter()
                .map(|event| event["data"].to_string())
                .collect())
        })
        .unwrap();
    said.push_str(&everything.concat());
    let sql = sandbox.sql();
    let mut rows = sql.prepare("SELECT alert || coalesce(body, '') || last_outcome FROM outbox").unwrap();
    said.extend(rows.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap));
    for secret in SECRET_PATH.split('/').chain([ROUTING_KEY, NEXT_SECRET, KEY_PAIR, WEBHOOK_SECRET]) {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_can_be_tried_out_and_nothing_of_it_is_kept() {
    let sandbox = Sandbox::new().await;
    let receivers = Receivers::start(&sandbox).await;
    for name in ["security", "siem", "slack", "teams", "discord", "pager", "events"] {
        let ran = sandbox.run(&["receivers", "test", name]).await.expect(0);
        assert!(ran.out.starts_with(&format!("'{name}' took the sample msg_")), "{}", ran.out);
    }
    assert!(!sandbox.database().exists(), "a sample needs no database and makes none");
    assert!(sandbox.smtp.mails()[0].header("Subject").unwrap().contains("SAMPLE"));
    let body = sandbox.webhook.deliveries()[0].json();
    assert_eq!((&body["data"]["sample"], &body["type"]), (&json!(true), &json!("drift.opened")));
    assert!(receivers.slack.taken()[0]["text"].as_str().unwrap().contains("sample"));
    assert_eq!(receivers.pager.taken()[0]["payload"]["severity"], "info");
    assert_eq!(receivers.pager.open_alerts().len(), 2);
    sandbox.run(&["receivers", "test", "pager", "--kind", "reverted"]).await.expect(0);
    assert_eq!(receivers.pager.open_alerts(), [""; 0]);
    sandbox.run(&["receivers", "test", "siem", "--kind", "blind"]).await.expect(0);
    assert_eq!(sandbox.webhook.deliveries()[1].json()["type"], "section.blind");

    receivers.discord.fail_all(Fault::status(400, json!({ "embeds": ["0"] })));
    let ran = sandbox.run(&["receivers", "test", "discord"]).await.expect(74);
    assert!(ran.err.contains("did not take the sample: 400 Bad Request: {\"embeds\":[\"0\"]}"), "{}", ran.err);
    let ran = sandbox.run(&["receivers", "test", "discrod"]).await.expect(2);
    assert!(ran.err.contains("no receiver is called 'discrod'; did you mean 'discord'?"), "{}", ran.err);
}

/// A store with webhook receivers, and a clock that moves when it is told to.
pub struct Line {
    pub store: Store,
    pub config: Config,
    pub clock: Arc<FakeClock>,
    folder: tempfile::TempDir,
}

impl Line {
    pub fn new(urls: &[(&str, String)]) -> Self {
        Self::with(&webhooks(urls))
    }

    /// The receivers of these tables; the file `secret` holds that of the webhooks, `key` that of PagerDuty.
    pub fn with(tables: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), WEBHOOK_SECRET).unwrap();
        std::fs::write(folder.path().join("key"), ROUTING_KEY).unwrap();
        let clock = Arc::new(FakeClock::at(SystemClock.now()));
        let store = Store::open(&folder.path().join("authdrift.db")).unwrap();
        let config = configuration(&folder, tables);
        Self { store, config, clock, folder }
    }

    /// Another configuration of receivers.
    pub fn configure(&mut self, tables: &str) {
        self.config = configuration(&self.folder, tables);
    }

    pub fn delivery(&self) -> Delivery {
        let clock: Arc<dyn Clock> = self.clock.clone();
        Delivery::new(&self.store, &clock, &self.config.receivers).unwrap()
    }

    pub async fn deliver(&self) {
        self.delivery().deliver().await.unwrap();
    }

    /// Keeps a message about the instance of that number; those about others do not wait for it.
    pub fn keep(&self, receiver: &str, number: usize, body: Option<&str>) {
        let now = self.clock.now();
        let event = HistoryMark { size: 0, head: Digest::of(b"") };
        let frame = Alert {
            instance: Some(format!("clerk:i{number}").parse().unwrap()),
            ..Alert::of_watch(Vec::new(), now, event, "test".to_owned())
        };
        let mut alert = sample(frame, SampleKind::Drift);
        alert.sample = false;
        let message = Message {
            id: MessageId::new(),
            receiver: receiver.to_owned(),
            alert,
            thread: None,
            subject: "test".to_owned(),
            body: body.map(|text| Body { format: Format::Standard, text: text.to_owned() }),
            created_at: now,
            attempts: 0,
        };
        self.store.write(|tx| outbox::enqueue(tx, &message)).unwrap();
    }

    pub fn state(&self, receiver: &str) -> outbox::ReceiverState {
        self.store.read(|tx| outbox::receiver_state(tx, receiver)).unwrap()
    }

    pub fn health(&self, index: usize) -> authdrift::history::outgoing::ReceiverHealth {
        let receiver = &self.config.receivers[index];
        self.store.read(|tx| receivers::health(tx, &receiver.name, &target(receiver))).unwrap()
    }
}

pub fn webhooks(urls: &[(&str, String)]) -> String {
    let table = |(name, url): &(&str, String)| {
        format!("[[webhook]]\nname = \"{name}\"\nurl = \"{url}\"\nsecret = {{ file = \"secret\" }}\n")
    };
    urls.iter().map(table).collect()
}

fn configuration(folder: &tempfile::TempDir, tables: &str) -> Config {
    let file = folder.path().join("config.toml").display().to_string();
    let text = format!(
        "[store]\npath = \"authdrift.db\"\n[[clerk]]\nname = \"x\"\n\
         publishable_key = \"pk_test_bGl2ZWx5LW90dGVyLTEyLmNsZXJrLmFjY291bnRzLmRldiQ\"\n{tables}"
    );
    let sources = Sources { file: &file, text: &text, state_directory: None, xdg_state: None, now: SystemClock.now() };
    config::parse(&sources).unwrap_or_else(|problems| panic!("{problems}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_try_sends_the_bytes_that_were_kept() {
    let hook = Webhook::start(WEBHOOK_SECRET).await.unwrap();
    let line = Line::new(&[("siem", hook.hook_url())]);
    // A program of another version would have written something else.
    let kept = "{\"type\":\"drift.opened\",  \"data\":{\"by\":\"another version\"}}";
    line.keep("siem", 1, Some(kept));
    hook.script(&[500, 503, 404]);
    for minutes in [0, 1, 10, 60] {
        line.clock.advance(TimeDelta::minutes(minutes));
        line.deliver().await;
    }
    let deliveries = hook.deliveries();
    assert_eq!(deliveries.len(), 4);
    let ids: std::collections::BTreeSet<_> = deliveries.iter().map(|delivery| delivery.id().unwrap()).collect();
    assert_eq!(ids.len(), 1);
    assert!(deliveries.iter().all(|delivery| delivery.request.body == kept.as_bytes()));
    assert_eq!((line.state("siem").waiting, line.state("siem").dead), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_wants_nothing_more_gets_nothing_until_somebody_says_so() {
    let hook = Webhook::start(WEBHOOK_SECRET).await.unwrap();
    let mut line = Line::new(&[("siem", hook.hook_url())]);
    hook.script(&[410]);
    for number in 0..3 {
        line.keep("siem", number, None);
    }
    for _ in 0..3 {
        line.deliver().await;
        line.clock.advance(TimeDelta::days(2));
    }
    assert_eq!(hook.deliveries().len(), 1);
    assert_eq!((line.state("siem").waiting, line.state("siem").dead), (2, 1), "what comes later waits");
    assert_eq!(line.health(0).disabled.unwrap().1, "410 Gone");

    // Somebody says so.
    assert!(line.store.write(|tx| receivers::enable(tx, "siem", line.clock.now())).unwrap());
    hook.script(&[204, 410]);
    line.deliver().await;
    assert_eq!((line.state("siem").waiting, line.state("siem").dead), (0, 2));

    // The configuration changes.
    line.keep("siem", 7, None);
    line.deliver().await;
    assert_eq!(line.state("siem").waiting, 1);
    line.configure(&webhooks(&[("siem", format!("{}/anew", hook.hook_url()))]));
    line.deliver().await;
    assert_eq!(line.state("siem").waiting, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_again_and_again_is_left_alone_for_a_while() {
    let hook = Webhook::start(WEBHOOK_SECRET).await.unwrap();
    let line = Line::new(&[("siem", hook.hook_url())]);
    hook.fail_all(Webhook::reply(503));
    for number in 0..20 {
        line.keep("siem", number, None);
    }
    let tries = || hook.requests().len();
    for _ in 0..30 {
        line.deliver().await;
    }
    assert_eq!(tries(), 5, "the sixth waits with all others");
    for (seconds, expected) in [(59, 5), (1, 6), (119, 6), (1, 7), (239, 7), (1, 8)] {
        line.clock.advance(TimeDelta::seconds(seconds));
        line.deliver().await;
        line.deliver().await;
        assert_eq!(tries(), expected, "after {seconds} s more");
    }
    assert_eq!(line.health(0).breaker.failures, 8);
    hook.heal_all();
    line.clock.advance(TimeDelta::minutes(15));
    line.deliver().await;
    assert_eq!((line.state("siem").waiting, line.health(0).breaker.failures), (0, 0), "all at once");
    assert_eq!(tries(), 28);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_receiver_delays_another() {
    let mut hooks = Vec::new();
    for fault in [Some(Fault::Hang), Some(Fault::Endless), Some(Fault::Drip), Some(Webhook::reply(302)), None] {
        let hook = Webhook::start(WEBHOOK_SECRET).await.unwrap();
        if let Some(fault) = fault {
            hook.fail_all(fault);
        }
        hooks.push(hook);
    }
    let mut urls: Vec<(&str, String)> = ["hangs", "floods", "drips", "leads-away", "good"]
        .into_iter()
        .zip(hooks.iter().map(Webhook::hook_url))
        .collect();
    urls.push(("refuses", "http://127.0.0.1:9/".to_owned()));
    let line = Line::new(&urls);
    for (name, _) in &urls {
        for number in 0..3 {
            line.keep(name, number, None);
        }
    }
    let began = Instant::now();
    let good = &hooks[4];
    let (_, arrived) = tokio::join!(line.deliver(), async {
        good.wait_for(3, Duration::from_secs(10)).await.map(|_| began.elapsed())
    });
    assert!(arrived.unwrap() < Duration::from_secs(5));
    assert!(began.elapsed() < Duration::from_secs(25), "{:?}", began.elapsed());
    let waiting = |name: &str| line.state(name).waiting;
    assert_eq!((waiting("good"), waiting("floods"), waiting("drips")), (0, 0, 0), "taken is taken");
    assert_eq!((waiting("hangs"), waiting("refuses")), (3, 3));
    assert_eq!(line.state("leads-away").dead, 3);
    assert!(hooks[3].requests().iter().all(|request| request.path == "/hooks/authdrift"), "a redirect was followed");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_one_page_and_so_is_one_click_at_two_paths() {
    let sandbox = Sandbox::clerk_approved().await;
    let pager = Receiver::start(Chat::PagerDuty).await.unwrap();
    sandbox.write("routing-key", ROUTING_KEY);
    sandbox.write(
        "config.toml",
        &format!(
            "{}{}[[pagerduty]]\nname = \"pager\"\nurl = \"{}\"\nrouting_key = {{ file = \"routing-key\" }}\n\
             min_severity = \"info\"\n",
            sandbox.head(),
            sandbox.clerk_table(),
            pager.hook_url()
        ),
    );
    sandbox.clerk.fail("/*", Fault::status(503, json!({})));
    sandbox.run(&["check"]).await;
    sandbox.run(&["check"]).await;
    let taken = pager.taken();
    assert_eq!(taken.len(), 1, "{taken:#?}");
    let payload = &taken[0]["payload"];
    let summary = payload["summary"].as_str().unwrap();
    assert!(summary.contains(" sections: no usable answer, 503"), "{summary}");
    assert!(payload["component"].as_str().unwrap().starts_with("ins_"), "named as always: {payload}");
    // One section stays away, and then it is back too.
    sandbox.clerk.heal("/*");
    sandbox.clerk.fail("/v1/redirect_urls", Fault::status(503, json!({})));
    sandbox.run(&["check"]).await;
    assert_eq!(pager.taken().len(), 1, "what goes on is not over");
    sandbox.clerk.heal("/v1/redirect_urls");
    sandbox.run(&["check"]).await.expect(0);
    assert_eq!((pager.taken().len(), pager.open_alerts().len()), (2, 0));

    // One click that two APIs show, taken back in two steps.
    let config = "/v1/platform/applications/app_2vLanternBooksApplication01/instances/production/config";
    let in_platform = |skip: bool| {
        sandbox.clerk.edit(config, |config| config["auth_password"]["disable_hibp"] = json!(skip));
    };
    let in_frontend = |skip: bool| {
        sandbox.clerk.edit("/v1/environment", |environment| {
            environment["user_settings"]["password_settings"]["disable_hibp"] = json!(skip);
        });
    };
    in_platform(true);
    in_frontend(true);
    sandbox.run(&["check"]).await.expect(10);
    assert_eq!((pager.taken().len(), pager.open_alerts().len()), (3, 1), "{:#?}", pager.taken());
    in_platform(false);
    sandbox.run(&["check"]).await.expect(10);
    assert_eq!((pager.taken().len(), pager.open_alerts().len()), (3, 1), "half of it is open");
    in_frontend(false);
    sandbox.run(&["check"]).await.expect(0);
    assert_eq!((pager.taken().len(), pager.open_alerts().len()), (4, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_several_events_goes_on_where_it_was_held_up() {
    let pager = Receiver::start(Chat::PagerDuty).await.unwrap();
    let line = Line::with(&format!(
        "[[pagerduty]]\nname = \"pager\"\nurl = \"{}\"\nrouting_key = {{ file = \"key\" }}\n",
        pager.hook_url()
    ));
    line.keep("pager", 1, None);
    pager.fail_all(Fault::Sequence(vec![Fault::status(429, json!({})).after(1)]));
    let delivery = line.delivery();
    delivery.deliver().await.unwrap();
    assert_eq!((pager.requests().len(), line.state("pager").waiting), (2, 1));
    line.clock.advance(TimeDelta::seconds(119));
    delivery.deliver().await.unwrap();
    assert_eq!(pager.requests().len(), 2, "it asked for more time than that");
    line.clock.advance(TimeDelta::seconds(60));
    delivery.deliver().await.unwrap();
    assert_eq!((pager.requests().len(), line.state("pager").waiting), (3, 0));
    assert_eq!(pager.open_alerts().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn t8_no_receiver_makes_the_daemon_look_around_in_its_own_network() {
    let sandbox = Sandbox::approved().await;
    sandbox.write("chat", "https://[::ffff:169.254.169.254]/latest");
    sandbox.write("wiki", "https://10.1.2.3/hook");
    let chats = "[[slack]]\nname = \"chat\"\nurl = { file = \"chat\" }\nallow_private = true\n\
                 [[discord]]\nname = \"wiki\"\nurl = { file = \"wiki\" }\n";
    let text = std::fs::read_to_string(sandbox.path("config.toml")).unwrap();
    sandbox.write("config.toml", &format!("{text}{chats}"));
    for (name, reason) in [
        ("chat", "169.254.169.254 is link-local, multicast or no address of one machine"),
        ("wiki", "10.1.2.3 is a private address, and 'allow_private' is not set"),
    ] {
        let tried = sandbox.run(&["receivers", "test", name]).await.expect(74);
        assert!(tried.err.contains(reason), "{}", tried.err);
        assert!(!tried.err.contains("latest") && !tried.err.contains("hook"), "{}", tried.err);
    }
    // What is written as an address is refused before anything runs.
    for (url, code) in [("https://192.168.0.1/", 78), ("https://169.254.169.254/", 78), ("https://203.0.113.7/", 0)] {
        let hook = format!("[[webhook]]\nname = \"new\"\nurl = \"{url}\"\nsecret = {{ file = \"secret\" }}\n");
        sandbox.write("config.toml", &format!("{text}{hook}"));
        let checked = sandbox.run(&["config", "check"]).await.expect(code);
        assert!(code == 0 || checked.err.contains("'url' cannot be used"), "{}", checked.err);
    }
    let hook = "[[webhook]]\nname = \"new\"\nurl = \"https://192.168.0.1/\"\nsecret = { file = \"secret\" }\n";
    sandbox.write("config.toml", &format!("{text}{hook}allow_private = true\n"));
    sandbox.run(&["config", "check"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_gets_its_key_in_a_header_or_in_the_address_and_nobody_else_sees_it() {
    let sandbox = Sandbox::approved().await;
    let address = format!("{}?key=CANARY-query&x=1", sandbox.webhook.hook_url());
    let keys = [("siem-url", address.as_str()), ("siem-key", "CANARY-header"), ("siem-token", "Bearer CANARY-token\n")];
    for (name, value) in keys {
        sandbox.write(name, value);
    }
    let place = format!("url = \"{}\"", sandbox.webhook.hook_url());
    let headers = "headers = { \"X-Api-Key\" = { file = \"siem-key\" }, Authorization = { file = \"siem-token\" } }";
    sandbox.edit_configuration(&place, &format!("url = {{ file = \"siem-url\" }}\n{headers}"));
    sandbox.clerk.edit("/v1/instance", |instance| instance["allowed_origins"] = json!(["https://evil.example"]));
    sandbox.webhook.script(&[503]);
    let mut said = String::new();
    for (arguments, code) in [
        (&["config", "check"][..], 0),
        (&["-vv", "check", "prod"], 10),
        (&["outbox", "retry", "--receiver", "siem"], 0),
        (&["-vv", "receivers", "test", "siem"], 0),
        (&["receivers", "list", "--json"], 0),
        (&["outbox", "list", "--json"], 0),
        (&["history", "prod", "--json"], 0),
    ] {
        let ran = sandbox.run(arguments).await.expect(code);
        said.push_str(&(ran.out + &ran.err));
    }
    let deliveries = sandbox.webhook.deliveries();
    assert!(deliveries.len() >= 3);
    for delivery in deliveries {
        let request = delivery.request;
        assert_eq!((request.query.as_str(), delivery.signature), ("key=CANARY-query&x=1", Signature::Valid));
        assert_eq!(request.header("x-api-key"), Some("CANARY-header"));
        assert_eq!(request.authorization.as_deref(), Some("Bearer CANARY-token"));
    }
    // What cannot be a header is said without repeating it.
    sandbox.write("siem-key", "CANARY\rtwo");
    let refused = sandbox.run(&["receivers", "test", "siem"]).await.expect(74);
    assert!(refused.err.contains("siem-key' has a line break"), "{}", refused.err);
    said.push_str(&refused.err);
    let database = std::fs::read(sandbox.database()).unwrap();
    for canary in ["CANARY-query", "CANARY-header", "CANARY-token", "CANARY\r", "CANARYtwo"] {
        assert!(!said.contains(canary), "{canary}: {said}");
        assert!(!database.windows(canary.len()).any(|bytes| bytes == canary.as_bytes()), "{canary} is in the database");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_refused_again_and_again_lets_the_next_one_go_first() {
    let hook = Webhook::start(WEBHOOK_SECRET).await.unwrap();
    let line = Line::new(&[("siem", hook.hook_url())]);
    line.keep("siem", 1, Some("{\"refused\":true}"));
    line.keep("siem", 1, None);
    hook.script(&[403, 403, 403]);
    for minutes in [0, 1, 10, 1, 60] {
        line.clock.advance(TimeDelta::minutes(minutes));
        line.deliver().await;
    }
    let bodies: Vec<bool> = hook.deliveries().iter().map(|one| one.request.body.starts_with(b"{\"refused")).collect();
    assert_eq!(bodies, [true, true, true, false, true], "in order as long as that may work, and not for ever");
    assert_eq!(line.state("siem").waiting, 0);
}
