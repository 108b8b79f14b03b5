//! Many instances of a vendor that takes connections and never answers, and one of another vendor among them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use authdrift::simulator::clerk;
use tokio::net::TcpListener;

use crate::common::Sandbox;
use crate::common::daemon::eventually;

/// Four requests of each would be more than either limit below.
const DEAD: usize = 120;

/// A vendor that hangs: its address, and how often it was connected to.
async fn hanging() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            held.push(connection);
        }
    });
    (url, count)
}

/// Clerk is approved, and the dead come before it.
async fn crowd() -> (Sandbox, Arc<AtomicUsize>) {
    let sandbox = Sandbox::clerk_approved().await;
    let (url, count) = hanging().await;
    let dead = |at: usize| {
        format!(
            "[[clerk]]\nname = \"dead{at}\"\npublishable_key = \"{}\"\nsecret_key = {{ file = \"clerk-secret-key\" }}\n\
             backend_api_url = \"{url}\"\nfrontend_api_url = \"{url}\"\n",
            clerk::PUBLISHABLE_KEY
        )
    };
    let dead: String = (0..DEAD).map(dead).collect();
    sandbox.write(
        "config.toml",
        &format!("{}{dead}{}{}", sandbox.head(), sandbox.clerk_table(), sandbox.receiver_tables()),
    );
    (sandbox, count)
}

#[tokio::test(flavor = "multi_thread")]
async fn those_that_are_answered_are_read_in_time_and_the_files_suffice() {
    let (sandbox, connections) = crowd().await;
    let daemon = sandbox.start_with_files(256);
    // Every one of the dead was asked once, and some of them more.
    eventually("all are asked", || connections.load(Ordering::Relaxed) > DEAD).await;
    sandbox.set_lifetime(3600);
    sandbox.make_due();
    eventually("a drift of the living", || sandbox.events("drift.opened") == 1).await;
    let log = daemon.log();
    assert!(!log.contains("open files") && !log.contains("unable to open"), "{log}");
    assert_eq!(daemon.stop().await, Some(0));
    sandbox.run(&["verify"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_files_end_neither_the_daemon_nor_the_trust() {
    let (sandbox, connections) = crowd().await;
    let daemon = sandbox.start_with_files(64);
    eventually("the files are used up", || {
        sandbox.make_due();
        connections.load(Ordering::Relaxed) > 30 && daemon.log().contains("open files")
    })
    .await;
    assert_eq!(daemon.stop().await, Some(0));
    assert_eq!(sandbox.events("baseline.untrusted"), 0);
    assert_eq!(sandbox.events("daemon.stopped"), 1);
    sandbox.run(&["verify"]).await.expect(0);
}
