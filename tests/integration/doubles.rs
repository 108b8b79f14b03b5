//! Killed between sending and recording: the message comes again, with the same name, and none is lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::common::Sandbox;
use crate::common::daemon::eventually_within;

/// Daemons that are killed side by side, each on a database of its own.
const WORKERS: usize = 10;
/// Kills of each; `EVERY_KILL=1` makes 500 in all, in minutes.
fn kills() -> usize {
    if std::env::var_os("EVERY_KILL").is_some() { 50 } else { 10 }
}

/// Kills for each message.
const PER_MESSAGE: usize = 5;
const BUSY: Duration = Duration::from_secs(60);

/// Answers how often each message came.
async fn worker() -> BTreeMap<String, usize> {
    let sandbox = Sandbox::clerk_approved().await;
    for kill in 0..kills() {
        if kill % PER_MESSAGE == 0 {
            // Another drift each time: one that moves so often would be told once and then not.
            let origins: Vec<String> = (0..=kill).map(|number| format!("https://{number}.evil.example")).collect();
            sandbox.clerk.edit("/v1/instance", |instance| instance["allowed_origins"] = origins.into());
            sandbox.make_due();
        }
        // It takes the message and never says so.
        sandbox.webhook.set_latency(Duration::from_secs(600));
        let came = sandbox.webhook.requests().len();
        let daemon = sandbox.start();
        eventually_within(BUSY, "the message", || sandbox.webhook.requests().len() > came).await;
        daemon.kill();
        sandbox.webhook.set_latency(Duration::ZERO);
        sandbox.let_claims_expire();
        if kill % PER_MESSAGE == PER_MESSAGE - 1 {
            let daemon = sandbox.start();
            eventually_within(BUSY, "everything delivered", || sandbox.waiting() == 0).await;
            assert_eq!(daemon.stop().await, Some(0));
        }
    }
    sandbox.assert_database_is_sound();
    sandbox.run(&["verify"]).await.expect(0);
    let mut came: BTreeMap<String, usize> = BTreeMap::new();
    for id in sandbox.webhook_ids() {
        *came.entry(id).or_default() += 1;
    }
    let connection = sandbox.sql();
    let mut query = connection.prepare("SELECT id FROM outbox WHERE receiver = 'siem'").unwrap();
    let kept: BTreeSet<String> = query.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(came.keys().cloned().collect::<BTreeSet<_>>(), kept, "every message came, and nothing that is none");
    came
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_between_send_and_record_lose_nothing_and_repeat_only_the_same_name() {
    let begun = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(worker());
    }
    let (mut messages, mut times) = (0, 0);
    for came in workers.join_all().await {
        messages += came.len();
        times += came.values().sum::<usize>();
    }
    assert!(messages >= WORKERS * kills() / PER_MESSAGE, "{messages}");
    assert!(times >= messages + WORKERS * kills(), "each kill is one time more: {times} for {messages}");
    let took = begun.elapsed();
    let _ =
        writeln!(std::io::stderr(), "{} kills: {messages} messages came {times} times, {took:?}", WORKERS * kills());
}
