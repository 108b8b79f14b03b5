//! A month of cycles by a clock that is moved on, with changes, a vendor that is away, a receiver that is away and a
//! program that is started again and again: exactly the messages of the table come, in that order and then.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use authdrift::classify::Catalogue;
use authdrift::clock::{Clock, FakeClock, SystemClock};
use authdrift::config::{self, Sources};
use authdrift::cycle::{Monitor, RunMode};
use authdrift::delivery::Delivery;
use authdrift::provider::Limits;
use authdrift::simulator::clerk;
use authdrift::simulator::fault::Fault;
use authdrift::simulator::webhook::Webhook;
use chrono::{DurationRound, TimeDelta};
use serde_json::json;

use crate::common::Sandbox;
use crate::common::sandbox::WEBHOOK_SECRET;

/// Hours of a month.
const HOURS: i64 = 30 * 24;

/// A time: hours since the beginning, and so many intervals.
type Moment = (i64, i64);

/// What happens, and when.
const STORY: &[(Moment, Happening)] = &[
    ((10, 0), Happening::Opens),
    ((50, 0), Happening::GoesBack),
    ((96, 0), Happening::VendorAway),
    ((108, 0), Happening::VendorBack),
    ((160, 0), Happening::ReceiverAway),
    ((161, 0), Happening::Opens),
    ((163, 0), Happening::GoesBack),
    ((164, 0), Happening::Opens),
    ((165, 0), Happening::GoesBack),
    ((166, 0), Happening::Opens),
    ((167, 0), Happening::GoesBack),
    ((170, 0), Happening::ReceiverBack),
    ((240, 0), Happening::Opens),
    ((240, 1), Happening::GoesBack),
    ((240, 2), Happening::Opens),
    ((240, 3), Happening::GoesBack),
    ((240, 4), Happening::Opens),
    ((240, 5), Happening::GoesBack),
    ((301, 0), Happening::Opens),
    ((310, 0), Happening::GoesBack),
    ((400, 0), Happening::SignersChange),
    ((500, 0), Happening::Opens),
    ((700, 0), Happening::GoesBack),
];

/// What the webhook is to hear, and when; no time where it depends on when the receiver is tried again.
const EXPECTED: &[(Option<Moment>, &str)] = &[
    (Some((10, 0)), "drift.opened"),
    (Some((14, 0)), "drift.still_open"),
    (Some((38, 0)), "drift.still_open"),
    (Some((50, 0)), "drift.closed"),
    (Some((96, 1)), "section.blind"),
    (Some((100, 1)), "instance.still_unseen"),
    (Some((108, 0)), "section.seeing_again"),
    // The receiver is away: what was tried comes as it was, the rest as one.
    (None, "drift.opened"),
    (None, "drift.closed"),
    (Some((240, 0)), "drift.opened"),
    (Some((240, 1)), "drift.closed"),
    (Some((240, 2)), "drift.opened"),
    (Some((240, 3)), "drift.closed"),
    (Some((240, 4)), "drift.flapping"),
    (Some((240, 8)), "drift.closed"),
    (Some((301, 0)), "drift.opened"),
    (Some((305, 0)), "drift.still_open"),
    (Some((310, 0)), "drift.closed"),
    (Some((400, 0)), "trust.changed"),
    (Some((500, 0)), "drift.opened"),
    (Some((504, 0)), "drift.still_open"),
    (Some((528, 0)), "drift.still_open"),
    (Some((552, 0)), "drift.still_open"),
    (Some((576, 0)), "drift.still_open"),
    (Some((600, 0)), "drift.still_open"),
    (Some((624, 0)), "drift.still_open"),
    (Some((648, 0)), "drift.still_open"),
    (Some((672, 0)), "drift.still_open"),
    (Some((696, 0)), "drift.still_open"),
    (Some((700, 0)), "drift.closed"),
];

/// Mails more than webhooks: the relay was there all the time.
const MAILS_MORE: usize = 4;

#[derive(Clone, Copy)]
enum Happening {
    Opens,
    GoesBack,
    VendorAway,
    VendorBack,
    ReceiverAway,
    ReceiverBack,
    SignersChange,
}

impl Happening {
    fn happen(self, sandbox: &Sandbox) {
        let mode = |mode: &str| {
            sandbox.clerk.edit("/v1/environment", |environment| {
                environment["user_settings"]["sign_up"]["mode"] = json!(mode);
            });
        };
        match self {
            Self::Opens => mode("public"),
            Self::GoesBack => mode("restricted"),
            Self::VendorAway => sandbox.clerk.fail_all(Fault::status(503, json!({}))),
            Self::VendorBack => sandbox.clerk.heal_all(),
            Self::ReceiverAway => sandbox.webhook.fail_all(Webhook::reply(503)),
            Self::ReceiverBack => sandbox.webhook.heal_all(),
            Self::SignersChange => {
                let signers = fs::read_to_string(sandbox.path("allowed_signers")).unwrap();
                sandbox.write("allowed_signers", &format!("{signers}# looked through\n"));
            }
        }
    }
}

/// The program after a start.
fn start(sandbox: &Sandbox, clock: &Arc<FakeClock>) -> (Monitor, Delivery) {
    let file = sandbox.path("config.toml").display().to_string();
    let text = fs::read_to_string(&file).unwrap();
    let sources = Sources { file: &file, text: &text, state_directory: None, xdg_state: None, now: clock.now() };
    let config = Arc::new(config::parse(&sources).unwrap_or_else(|problems| panic!("{problems}")));
    let instance = config.instance("prod").unwrap().clone();
    let catalogue = Arc::new(Catalogue::of(instance.id.provider, None).unwrap());
    let limits = Limits {
        tries: 1,
        busy_tries: 1,
        pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(1),
        ..Limits::default()
    };
    let now: Arc<dyn Clock> = Arc::<FakeClock>::clone(clock);
    let store = sandbox.store();
    let delivery = Delivery::new(&store, &now, &config.receivers).unwrap();
    (Monitor::new(config, &instance, catalogue, store, now, limits).unwrap(), delivery)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_brings_exactly_the_messages_of_the_table() {
    let mut sandbox = Sandbox::new().await;
    // `EVERY_QUARTER=1` makes thousands of cycles of it, in minutes; the messages are the same.
    let per_hour = if std::env::var_os("EVERY_QUARTER").is_some() { 4 } else { 1 };
    let interval = TimeDelta::minutes(60 / per_hour);
    let begin = SystemClock.now().duration_trunc(interval).unwrap() + interval;
    let clock = Arc::new(FakeClock::at(begin));
    let now: Arc<dyn Clock> = clock.clone();
    sandbox.webhook = Webhook::start_at(WEBHOOK_SECRET, now).await.unwrap();
    let head = sandbox
        .head()
        .replace("* * * * *", if per_hour == 4 { "*/15 * * * *" } else { "0 * * * *" })
        .replace("100ms", "1ms");
    let table = format!(
        "[[clerk]]\nname = \"prod\"\npublishable_key = \"{}\"\nfrontend_api_url = \"{}\"\n",
        clerk::PUBLISHABLE_KEY,
        sandbox.clerk.url()
    );
    sandbox.write("config.toml", &format!("{head}{table}{}", sandbox.receiver_tables()));
    sandbox.check().await.expect(13);
    sandbox.approve("prod").await;

    let (mut watch, mut delivery) = start(&sandbox, &clock);
    let cycle_at = |(hours, intervals): Moment| hours * per_hour + intervals;
    let mut heard: Vec<(i64, String)> = Vec::new();
    let mut story = STORY.iter().peekable();
    for cycle in 0..HOURS * per_hour {
        while let Some((_, happening)) = story.next_if(|(at, _)| cycle_at(*at) <= cycle) {
            happening.happen(&sandbox);
        }
        if (300..324).any(|hour| cycle_at((hour, 0)) == cycle) {
            (watch, delivery) = start(&sandbox, &clock);
        }
        let came = sandbox.webhook.requests().len();
        watch.cycle(RunMode::Commit).await.unwrap();
        delivery.deliver().await.unwrap();
        for one in sandbox.webhook.deliveries().into_iter().skip(came) {
            if one.request.status == Some(204) {
                heard.push((cycle, one.json()["type"].as_str().unwrap().to_owned()));
            }
        }
        clock.advance(interval);
    }
    let expected: Vec<&str> = EXPECTED.iter().map(|(_, kind)| *kind).collect();
    assert_eq!(heard.iter().map(|(_, kind)| kind.as_str()).collect::<Vec<_>>(), expected, "{heard:?}");
    for ((cycle, kind), (then, _)) in heard.iter().zip(EXPECTED) {
        assert!(then.is_none_or(|then| cycle_at(then) == *cycle), "{kind} came in cycle {cycle} and not at {then:?}");
    }
    let ids = sandbox.webhook.deliveries().into_iter().filter(|one| one.request.status == Some(204));
    let mut ids: Vec<String> = ids.map(|one| one.id().unwrap().to_owned()).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), expected.len(), "none came twice");
    assert_eq!(sandbox.smtp.mails().len(), expected.len() + MAILS_MORE);
    assert_eq!(sandbox.waiting(), 0);
    sandbox.run(&["verify"]).await.expect(0);
}
