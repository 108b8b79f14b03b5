//! Many instances in one configuration, and a vendor that never answers.

use std::net::TcpListener;
use std::thread;

use authdrift::simulator::clerk;

use crate::common::Sandbox;
use crate::common::daemon::eventually;

const INSTANCES: usize = 60;
/// Of them, those whose vendor takes connections and says nothing.
const DEAD: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn sixty_are_read_and_those_that_never_answer_hold_up_nobody() {
    let sandbox = Sandbox::new().await;
    let dead = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", dead.local_addr().unwrap());
    // Connections are held, or the other side would notice.
    thread::spawn(move || dead.incoming().collect::<Vec<_>>());
    let table = |number: usize| {
        let url = if number < DEAD { nobody.clone() } else { sandbox.clerk.url() };
        let key = clerk::PUBLISHABLE_KEY;
        format!("[[clerk]]\nname = \"i{number:02}\"\npublishable_key = \"{key}\"\nfrontend_api_url = \"{url}\"\n")
    };
    let tables: String = (0..INSTANCES).map(table).collect();
    // Once, so that nothing but the first reading is seen.
    sandbox.write("config.toml", &format!("{}{tables}", sandbox.head().replace("* * * * *", "0 0 1 1 *")));
    let daemon = sandbox.start();
    let read = "SELECT count(DISTINCT instance_id) FROM cycles WHERE snapshot_id IS NOT NULL";
    let count = |query: &str| sandbox.sql().query_row(query, [], |row| row.get::<_, i64>(0)).unwrap_or_default();
    eventually("all that answer are read", || count(read) == i64::try_from(INSTANCES - DEAD).unwrap()).await;
    assert_eq!(count("SELECT count(*) FROM cycles WHERE snapshot_id IS NULL"), 0, "nobody waited for the dead");
    assert_eq!(daemon.stop().await, Some(0));
}
