//! What waits for a receiver that takes some and not others, that asks for time, or that is back: in which order it comes, how
//! often it is tried, and what becomes one message.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use authdrift::clock::{Clock, FakeClock, SystemClock};
use authdrift::delivery::{coalesce, enable, target};
use authdrift::simulator::smtp::{Smtp, Stage};
use authdrift::simulator::vendor::{Answer, Vendor};
use authdrift::simulator::webhook::Webhook;
use authdrift::store::outbox::Claimed;
use authdrift::store::{backlog, outbox};
use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use crate::common::sandbox::WEBHOOK_SECRET;
use crate::receivers::{Line, webhooks};

/// Says what is refused.
const REFUSED: &str = "{\"refused\":true}";

/// A webhook that takes everything but what says that it is refused, which it answers 503.
async fn particular() -> Vendor {
    let answer = |body: &[u8]| if body == REFUSED.as_bytes() { 503 } else { 204 };
    Vendor::start(Arc::new(SystemClock), move |request, _| Answer::text(answer(&request.body), "")).await.unwrap()
}

/// Which requests it took: their ids.
fn taken(hook: &Vendor) -> Vec<String> {
    let taken = hook.requests().into_iter().filter(|request| request.status == Some(204));
    taken.map(|request| request.header("webhook-id").unwrap().to_owned()).collect()
}

fn tries_of_refused(hook: &Vendor) -> usize {
    hook.requests().iter().filter(|request| request.body == REFUSED.as_bytes()).count()
}

impl Line {
    /// The messages: states, tries and the last answers, in the order they were made.
    fn kept(&self) -> Vec<backlog::QueuedMessage> {
        self.store.read(|tx| backlog::list(tx, true)).unwrap()
    }

    fn states(&self) -> Vec<String> {
        self.kept().into_iter().map(|kept| kept.state).collect()
    }

    fn failing(&self) -> Option<authdrift::history::outgoing::Failing> {
        self.store.read(|tx| outbox::failing(tx, "siem")).unwrap()
    }

    async fn deliver_after(&self, pause: TimeDelta) {
        self.clock.advance(pause);
        self.deliver().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_takes_one_a_second_gets_all_that_waits_and_nothing_is_given_up() {
    let clock: Arc<Mutex<Option<Arc<FakeClock>>>> = Arc::default();
    let (seconds, last) = (Arc::clone(&clock), Mutex::new(0));
    let hook = Vendor::start(Arc::new(SystemClock), move |_, _| {
        let now = seconds.lock().unwrap().as_ref().unwrap().now().timestamp();
        let mut last = last.lock().unwrap();
        if *last == now {
            return Answer::text(429, "").with_header("retry-after", 1);
        }
        *last = now;
        Answer::text(204, "")
    })
    .await
    .unwrap();
    let line = Line::new(&[("siem", hook.url())]);
    let delivery = line.delivery();
    *clock.lock().unwrap() = Some(Arc::clone(&line.clock));
    for number in 0..20 {
        line.keep("siem", number, None);
    }
    for second in 0..20 {
        assert_eq!(taken(&hook).len(), second);
        delivery.deliver().await.unwrap();
        delivery.deliver().await.unwrap();
        line.clock.advance(TimeDelta::seconds(1));
    }
    assert_eq!(taken(&hook).into_iter().collect::<BTreeSet<_>>().len(), 20, "all of them");
    assert_eq!(hook.requests().len(), 20 + 19, "one refusal for each second, and no more");
    assert!(line.kept().iter().all(|kept| kept.state == "delivered" && kept.attempts == 1), "no try was lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_asks_for_time_for_ever_is_noticed_and_its_messages_are_given_up_after_three_days() {
    let hook = Webhook::start(WEBHOOK_SECRET).await.unwrap();
    let line = Line::new(&[("siem", hook.hook_url())]);
    let delivery = line.delivery();
    hook.fail_all(Webhook::reply(429).with_header("retry-after", "1"));
    line.keep("siem", 1, None);
    line.keep("siem", 1, None);
    delivery.deliver().await.unwrap();
    let began = line.clock.now();
    for hour in 1..=74 {
        line.clock.advance(TimeDelta::hours(1));
        delivery.deliver().await.unwrap();
        assert_eq!(line.states(), ["waiting", "waiting"], "after {hour} hours");
    }
    assert!(line.failing().unwrap().since - began < TimeDelta::seconds(1), "people are told");
    assert!(line.health(0).breaker.failures > 50 && line.kept()[0].attempts == 0);
    line.clock.advance(TimeDelta::hours(2));
    delivery.deliver().await.unwrap();
    assert_eq!(line.states(), ["dead", "waiting"]);
    assert!(line.kept()[0].last_outcome.starts_with("given up after 75 hours: 429"), "{:?}", line.kept()[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_keeps_its_schedule_while_others_are_taken_and_lets_its_successors_go_first() {
    let hook = particular().await;
    let line = Line::new(&[("siem", hook.url())]);
    let delivery = line.delivery();
    line.keep("siem", 0, Some(REFUSED));
    line.keep("siem", 0, None);
    let mut hours_of_tries = vec![0];
    for minute in 0..25 {
        line.keep("siem", minute + 1, None);
        delivery.deliver().await.unwrap();
        line.clock.advance(TimeDelta::minutes(1));
        delivery.deliver().await.unwrap();
        assert!(line.health(0).breaker.failures < 2, "it evidently answers");
        let expected = if minute < 4 { 2 } else { 3 };
        assert!(tries_of_refused(&hook) <= expected, "minute {minute}");
        if minute < 3 {
            assert_eq!(line.states()[1], "waiting", "in order as long as that may work");
        }
    }
    assert_eq!((tries_of_refused(&hook), line.states()[1].as_str()), (3, "delivered"));
    for hour in 1..=110 {
        line.keep("siem", 100 + hour, None);
        line.clock.advance(TimeDelta::hours(1));
        delivery.deliver().await.unwrap();
        delivery.deliver().await.unwrap();
        if tries_of_refused(&hook) + 1 > hours_of_tries.len() + 3 {
            hours_of_tries.push(hour);
        }
    }
    assert_eq!((tries_of_refused(&hook), line.states()[0].as_str()), (10, "dead"));
    assert!(*hours_of_tries.last().unwrap() >= 55, "ten tries in three days: {hours_of_tries:?}");
    assert_eq!(line.state("siem").waiting, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_passes_while_a_receiver_is_away_and_everything_is_due_when_it_takes_anything_again() {
    let hook = Webhook::start(WEBHOOK_SECRET).await.unwrap();
    let line = Line::new(&[("siem", hook.hook_url())]);
    let delivery = line.delivery();
    hook.fail_all(Webhook::reply(503));
    line.keep("siem", 1, None);
    line.keep("siem", 1, None);
    while hook.requests().len() < 6 {
        line.clock.advance(TimeDelta::minutes(30));
        delivery.deliver().await.unwrap();
    }
    let kept = line.kept();
    assert_eq!(kept[1].attempts, 0);
    assert!(kept[0].next_at > line.clock.now() + TimeDelta::hours(1), "its next try is far away");
    hook.heal_all();
    line.keep("siem", 2, None);
    line.deliver_after(TimeDelta::minutes(15)).await;
    let ids: Vec<String> =
        hook.deliveries().into_iter().rev().take(3).map(|one| one.id().unwrap().to_owned()).collect();
    let made: Vec<String> = line.kept().into_iter().map(|kept| kept.id.to_string()).collect();
    assert_eq!(ids, [made[1].as_str(), &made[0], &made[2]], "the newest proved it, and the others came in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_mailbox_holds_up_nobody_else_and_does_not_make_the_relay_one_that_is_away() {
    let smtp = Smtp::start().await.unwrap();
    let line = Line::with(&format!(
        "[[email]]\nname = \"siem\"\nhost = \"{}\"\nport = {}\ntls = \"none\"\nfrom = \"authdrift@example.test\"\n\
         to = [\"full@example.test\", \"other@example.test\"]\n",
        smtp.host(),
        smtp.port()
    ));
    for _ in 0..7 {
        line.keep("siem", 1, None);
    }
    // The one for whom the mailbox is full is asked for first of all that do not have the mail yet.
    let delivery = line.delivery();
    for second in [0, 1, 6, 360] {
        line.clock.advance(TimeDelta::seconds(second));
        smtp.heal();
        smtp.refuse(Stage::Rcpt, 452, "4.2.2 mailbox full", 1);
        delivery.deliver().await.unwrap();
    }
    let kept = line.kept();
    assert_eq!((smtp.mails().len(), kept[0].attempts), (1, 3));
    assert!(kept[0].last_outcome.contains("not yet to full@example.test: "), "{}", kept[0].last_outcome);
    assert!(line.failing().is_none() && line.health(0).breaker.failures == 0);
    // The mailbox has room again: what comes later is taken whole, and the first waits for its next try.
    smtp.heal();
    delivery.deliver().await.unwrap();
    assert_eq!(line.state("siem").waiting, 1);
    line.clock.advance(TimeDelta::hours(1));
    delivery.deliver().await.unwrap();
    assert_eq!((line.state("siem").waiting, smtp.mails().len()), (0, 14), "each of them once to each");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_never_got_comes_as_one_message_on_every_way_back() {
    let hook = Webhook::start(WEBHOOK_SECRET).await.unwrap();
    let siem = |path: &str| webhooks(&[("siem", format!("{}{path}", hook.hook_url()))]);
    let mut line = Line::with(&siem(""));
    let came = || hook.requests().len();
    let five = |line: &Line| (0..5).for_each(|_| line.keep("siem", 1, None));
    five(&line);
    line.deliver().await;
    assert_eq!(came(), 5, "what was only just made comes one by one");

    // Somebody says that it wants to hear again.
    hook.script(&[410]);
    line.keep("siem", 1, None);
    five(&line);
    line.deliver().await;
    line.store.write(|tx| enable(tx, "siem", line.clock.now())).unwrap();
    line.deliver().await;
    assert_eq!((came(), line.state("siem").waiting), (5 + 2, 0), "enabled");

    // Its table changes.
    hook.script(&[410]);
    line.keep("siem", 1, None);
    five(&line);
    line.deliver().await;
    line.configure(&siem("/anew"));
    line.deliver_after(TimeDelta::minutes(11)).await;
    assert_eq!((came(), line.state("siem").waiting), (7 + 2, 0), "configured anew");

    // It is put back.
    line.configure(&webhooks(&[("other", hook.hook_url())]));
    five(&line);
    line.deliver().await;
    line.configure(&siem("/anew"));
    line.deliver_after(TimeDelta::minutes(11)).await;
    assert_eq!((came(), line.state("siem").waiting), (9 + 1, 0), "put back");

    // It asked for time.
    hook.fail_all(Webhook::reply(429).with_header("retry-after", "3600").times(1));
    line.keep("siem", 1, None);
    five(&line);
    line.deliver().await;
    line.deliver_after(TimeDelta::minutes(59)).await;
    assert_eq!(came(), 10 + 1);
    line.deliver_after(TimeDelta::minutes(1)).await;
    assert_eq!((came(), line.state("siem").waiting), (11 + 2, 0), "what it answered as it was, and one for the rest");
    assert_eq!(line.states().iter().filter(|state| *state == "folded").count(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_began_to_send_is_never_folded() {
    let hook = Webhook::start(WEBHOOK_SECRET).await.unwrap();
    let line = Line::new(&[("siem", hook.hook_url())]);
    (0..5).for_each(|_| line.keep("siem", 1, None));
    let (now, minute) = (line.clock.now(), Duration::from_secs(60));
    let to = target(&line.config.receivers[0]);
    let claimed = line.store.write(|tx| outbox::claim(tx, "siem", &to, now, minute)).unwrap();
    let Claimed::Message(begun) = claimed else { panic!("{claimed:?}") };
    let begun = begun.id.to_string();
    // Whoever began it was killed, and another process hears that the receiver is there again.
    line.clock.advance(TimeDelta::seconds(70));
    line.store.write(|tx| coalesce::after_outage(tx, "siem", line.clock.now())).unwrap();
    assert_eq!(line.states(), ["waiting", "folded", "folded", "folded", "folded", "waiting"]);
    line.deliver().await;
    assert_eq!((hook.requests().len(), line.state("siem").waiting), (2, 0));
    assert!(taken(&hook).contains(&begun), "with the id that it may have arrived with");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_begun_after_a_stop() {
    let stop = CancellationToken::new();
    let token = stop.clone();
    let hook = Vendor::start(Arc::new(SystemClock), move |_, _| {
        token.cancel();
        Answer::text(204, "")
    })
    .await
    .unwrap();
    let line = Line::new(&[("siem", hook.url())]);
    (0..3).for_each(|number| line.keep("siem", number, None));
    line.delivery().workers()[0].deliver(&stop).await.unwrap();
    assert_eq!(line.states(), ["delivered", "waiting", "waiting"], "what was begun is finished");
}
