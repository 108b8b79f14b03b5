//! Somebody else notices that the daemon is dead, and says so without it.

use authdrift::clock::{Clock, SystemClock};
use chrono::TimeDelta;

use crate::common::Sandbox;
use crate::common::daemon::PATIENCE;
use crate::common::sandbox::Ran;

impl Sandbox {
    /// Looks, without waiting long for a second look.
    async fn stale(&self, arguments: &[&str]) -> Ran {
        let all = [&["stale", "--again-after", "10ms"], arguments].concat();
        self.run(&all).await
    }

    /// As if the last cycle was so long ago.
    fn age_cycles(&self, by: TimeDelta) {
        self.tamper("UPDATE cycles SET at = at - ?1", [by.num_milliseconds()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_hear_once_that_nothing_is_watched_and_once_that_it_is_again() {
    let sandbox = Sandbox::clerk_approved().await;
    let ran = sandbox.stale(&["--tell"]).await.expect(0);
    assert_eq!(ran.out, "Every instance was looked at in time.\n");

    // One that the daemon does not know yet is nobody's business, and one of two that is late is not everything.
    sandbox.write("config.toml", &sandbox.configuration());
    let ran = sandbox.stale(&["--tell"]).await.expect(0);
    let said = "auth0:acme is not watched yet: `authdrift reload`\nEvery other instance was looked at in time.\n";
    assert_eq!((ran.out.as_str(), sandbox.webhook.deliveries().len()), (said, 0));
    sandbox.run(&["check", "acme"]).await.expect(13);
    let ago = TimeDelta::hours(1).num_milliseconds();
    sandbox.tamper("UPDATE cycles SET at = at - ?1 WHERE instance_id = 2", [ago]);
    let ran = sandbox.stale(&[]).await.expect(69);
    let said = "1 of 2 instances is not looked at: no daemon is running, and `systemctl status authdrift` says why; auth0:acme";
    assert!(ran.out.starts_with(said), "{ran:?}");
    sandbox.write("config.toml", &sandbox.configuration_of_clerk());

    // Every minute, three missing, and what they may take: four minutes are in time, six are not.
    sandbox.age_cycles(TimeDelta::seconds(230));
    sandbox.stale(&[]).await.expect(0);
    sandbox.stale(&["--after", "3m"]).await.expect(69);
    sandbox.age_cycles(TimeDelta::seconds(160));
    sandbox.stale(&["--after", "20m"]).await.expect(0);
    let ran = sandbox.stale(&[]).await.expect(69);
    assert!(
        ran.out.starts_with("Nothing is watched: no daemon is running")
            && ran.out.contains("clerk:prod was last looked at"),
        "{ran:?}"
    );
    assert_eq!(sandbox.webhook.deliveries().len(), 0, "nobody was to be told");

    for round in 0..3 {
        let ran = sandbox.stale(&["--tell"]).await.expect(69);
        assert_eq!(ran.out.contains("Told 2 of 2 receivers."), round == 0, "{ran:?}");
    }
    sandbox.webhook.wait_for(1, PATIENCE).await.expect("a webhook");
    let told = sandbox.webhook.deliveries()[0].json();
    assert_eq!(told["type"], "instance.unread");
    assert!(told.to_string().contains("no daemon is running"), "{told}");
    assert_eq!((sandbox.webhook.deliveries().len(), sandbox.smtp.mails().len()), (1, 1));

    // A day later, and then it is over.
    sandbox.write("authdrift.stale", &(SystemClock.now() - TimeDelta::hours(25)).to_rfc3339());
    sandbox.stale(&["--tell"]).await.expect(69);
    sandbox.run(&["check"]).await.expect(0);
    let ran = sandbox.stale(&["--tell"]).await.expect(0);
    assert!(ran.out.contains("Told 2 of 2 receivers."), "{ran:?}");
    sandbox.stale(&["--tell"]).await.expect(0);
    let kinds: Vec<_> = sandbox.webhook.deliveries().iter().map(|told| told.json()["type"].clone()).collect();
    assert_eq!(kinds, ["instance.unread", "instance.unread", "instance.read_again"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_that_nobody_took_is_said_again_and_a_database_that_is_gone_is_told_too() {
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.age_cycles(TimeDelta::hours(1));
    let good = sandbox.configuration_of_clerk();
    let deaf = sandbox.head() + &sandbox.clerk_table();
    sandbox.write("config.toml", &deaf);
    let ran = sandbox.stale(&["--tell"]).await.expect(74);
    assert!(ran.err.contains("no receiver"), "{ran:?}");
    sandbox.write("config.toml", &good.replace(&sandbox.webhook.hook_url(), "http://127.0.0.1:9/"));
    sandbox.edit_configuration(&format!("port = {}", sandbox.smtp.port()), "port = 9");
    let ran = sandbox.stale(&["--tell"]).await.expect(74);
    assert!(ran.err.contains("nobody could be told"), "{ran:?}");
    assert!(!sandbox.path("authdrift.stale").exists());

    sandbox.write("config.toml", &good.replace("authdrift.db", "gone.db"));
    let ran = sandbox.stale(&["--tell"]).await.expect(69);
    assert!(ran.out.contains("there is no database at") && ran.out.contains("Told 2 of 2"), "{ran:?}");
}
