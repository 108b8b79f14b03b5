//! A database that cannot be asked.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::Request;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;

use super::*;
use crate::classify::Catalogue;
use crate::clock::SystemClock;
use crate::config::{Sources, parse};
use crate::model::Provider;
use crate::status::Statuses;
use crate::store::StoreError;
use crate::telemetry::record_tick;

const CONFIG: &str = "[store]\npath = \"/nowhere.db\"\n[[clerk]]\nname = \"prod\"\n\
                      publishable_key = \"pk_live_Y2xlcmsubm9ydGh3aW5kLWxlZGdlci5leGFtcGxlJA\"\n";

fn site(store: &Store) -> Arc<MonitoringState> {
    let now = SystemClock.now();
    let sources = Sources { file: "config.toml", text: CONFIG, state_directory: None, xdg_state: None, now };
    let config = Arc::new(parse(&sources).unwrap());
    let catalogue = Arc::new(Catalogue::of(Provider::Clerk, None).unwrap());
    let statuses = Arc::new(Statuses::new(config, BTreeMap::from([(Provider::Clerk, catalogue)])));
    let (_, watched) = watch::channel(LiveConfig { statuses, receivers: vec!["siem".to_owned()] });
    Arc::new(MonitoringState::new(watched, store.clone(), Arc::new(SystemClock)))
}

async fn get(site: &Arc<MonitoringState>, path: &str) -> (StatusCode, String) {
    let pages = TowerToHyperService::new(pages(Arc::clone(site)));
    let answer = pages.call(Request::get(path).header("host", "localhost").body(Body::empty()).unwrap()).await.unwrap();
    let status = answer.status();
    let body = axum::body::to_bytes(answer.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_answer_is_said_and_what_was_counted_is_still_told() {
    let store = Store::temporary().unwrap();
    record_tick(SystemClock.now());
    assert_eq!(get(&site(&store), "/readyz").await.0, StatusCode::OK);
    store
        .write(|tx| {
            Ok::<_, StoreError>(
                tx.unguarded()
                    .execute_batch("DROP TABLE statements; INSERT INTO instances (name) VALUES ('clerk:prod')")?,
            )
        })
        .unwrap();
    let site = site(&store);
    let (status, body) = get(&site, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains("cannot work on the database: no such table: statements"), "{body}");
    assert_eq!(get(&site, "/healthz").await.0, StatusCode::OK);
    let (status, body) = get(&site, "/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(body.contains("authdrift_store_readable 0.0\n") && body.contains("authdrift_build_info{"), "{body}");
    assert!(!body.contains("authdrift_history_length"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_at_once_get_one_answer_of_the_database() {
    let store = Store::temporary().unwrap();
    let site = site(&store);
    let first = site.overview().await;
    for _ in 0..10 {
        assert!(Arc::ptr_eq(&first, &site.overview().await));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_takes_nothing_is_said_until_it_takes_something() {
    let store = Store::temporary().unwrap();
    record_tick(SystemClock.now());
    let site = site(&store);
    let write = |sql: &str| store.write(|tx| Ok::<_, StoreError>(tx.unguarded().execute_batch(sql)?));
    write("CREATE TRIGGER no BEFORE INSERT ON meta BEGIN SELECT raise(ABORT, 'no'); END").unwrap();
    write("INSERT INTO meta VALUES ('x', 'y')").unwrap_err();
    // One that had nothing to write says nothing.
    write("SELECT 1").unwrap();
    let (status, body) = get(&site, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.contains("the last write to the database failed"), "{body}");
    write("INSERT INTO instances (name) VALUES ('clerk:prod')").unwrap();
    assert_eq!(get(&site, "/readyz").await.0, StatusCode::OK);
}
