//! Each fault as an HTTP client meets it.

use super::*;
use reqwest::Client;
use serde_json::json;

async fn vendor() -> Vendor {
    let vendor = Vendor::empty().await.unwrap();
    vendor.set("/thing", json!({ "value": "a body that is long enough to be cut" }));
    vendor
}

async fn status(vendor: &Vendor, path: &str) -> u16 {
    reqwest::get(format!("{}{path}", vendor.url())).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn documents_are_served_and_changed() {
    let vendor = vendor().await;
    vendor.edit("/thing", |thing| thing["value"] = json!(7));
    assert_eq!(vendor.get("/thing"), Some(json!({ "value": 7 })));
    let response = reqwest::get(format!("{}/thing?b=%20x&a=1", vendor.url())).await.unwrap();
    assert_eq!(response.json::<Value>().await.unwrap(), json!({ "value": 7 }));
    vendor.remove("/thing");
    assert_eq!(status(&vendor, "/thing").await, 404);
    let requests = vendor.requests();
    assert_eq!((requests[0].method.as_str(), requests[0].path.as_str()), ("GET", "/thing"));
    assert_eq!((requests[0].query.as_str(), requests[0].parameter("b").unwrap().as_str()), ("b=%20x&a=1", " x"));
    assert_eq!(requests.iter().map(|request| request.status).collect::<Vec<_>>(), [Some(200), Some(404)]);
    vendor.forget_requests();
    assert!(vendor.requests().is_empty());
}

#[tokio::test]
#[should_panic(expected = "no document at '/wrong'")]
async fn editing_what_is_not_there_is_a_fault_of_the_script() {
    vendor().await.edit("/wrong", |_| {});
}

#[tokio::test]
async fn status_faults_come_and_go() {
    let vendor = vendor().await;
    vendor.fail("/thing", Fault::status(503, json!({ "down": true })).with_header("retry-after", "7").times(1));
    let response = reqwest::get(format!("{}/thing", vendor.url())).await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()), (503, "7"));
    assert_eq!(response.json::<Value>().await.unwrap(), json!({ "down": true }));
    assert_eq!(status(&vendor, "/thing").await, 200);
    vendor.fail_all(Fault::status(500, json!({})));
    assert_eq!(status(&vendor, "/thing").await, 500);
    assert_eq!(status(&vendor, "/other").await, 500);
    vendor.fail("/th*", Fault::status(502, json!({})));
    assert_eq!(status(&vendor, "/thing").await, 502);
    vendor.heal("/th*");
    assert_eq!(status(&vendor, "/thing").await, 500);
    vendor.heal_all();
    assert_eq!(status(&vendor, "/thing").await, 200);
}

#[tokio::test]
async fn bodies_are_broken_in_each_way() {
    let vendor = vendor().await;
    let url = format!("{}/thing", vendor.url());

    vendor.fail("/thing", Fault::Truncated);
    let response = reqwest::get(&url).await.unwrap();
    assert_eq!(response.status(), 200);
    let promised: usize = response.headers()["content-length"].to_str().unwrap().parse().unwrap();
    assert_eq!(promised, vendor.get("/thing").unwrap().to_string().len());
    assert!(response.bytes().await.is_err(), "the body ends early");

    vendor.fail("/thing", Fault::Html);
    let response = reqwest::get(&url).await.unwrap();
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/html"));

    vendor.fail("/thing", Fault::NotJson);
    assert!(reqwest::get(&url).await.unwrap().json::<Value>().await.unwrap_err().is_decode());

    vendor.fail("/thing", Fault::Body(br#"{"a":1,"a":2}"#.to_vec()));
    assert_eq!(reqwest::get(&url).await.unwrap().text().await.unwrap(), r#"{"a":1,"a":2}"#);

    vendor.fail("/thing", Fault::Endless);
    let mut response = reqwest::get(&url).await.unwrap();
    let mut seen = 0;
    while seen < 1_000_000 {
        seen += response.chunk().await.unwrap().expect("it never ends").len();
    }
}

#[tokio::test]
async fn hanging_answer_is_still_in_the_log() {
    let vendor = vendor().await;
    vendor.fail("/thing", Fault::Hang);
    let client = Client::builder().timeout(Duration::from_millis(100)).build().unwrap();
    let error = client.get(format!("{}/thing", vendor.url())).send().await.unwrap_err();
    assert!(error.is_timeout());
    assert!(vendor.wait_for_requests(1, Duration::from_secs(5)).await);
    assert_eq!(vendor.requests()[0].status, None);
    assert!(!vendor.wait_for_requests(2, Duration::from_millis(10)).await);
}

#[tokio::test]
async fn open_requests_are_counted() {
    let vendor = vendor().await;
    vendor.set_latency(Duration::from_millis(50));
    let (first, second) = tokio::join!(status(&vendor, "/thing"), status(&vendor, "/thing"));
    assert_eq!((first, second), (200, 200));
    assert_eq!(vendor.most_in_flight(), 2);
}

#[tokio::test]
async fn stopped_vendor_breaks_even_kept_connections() {
    let vendor = vendor().await;
    let client = Client::new();
    let url = format!("{}/thing", vendor.url());
    client.get(&url).send().await.unwrap().bytes().await.unwrap();
    vendor.stop();
    assert!(client.get(&url).send().await.is_err());
}

#[tokio::test]
async fn last_handle_ends_the_server() {
    let vendor = vendor().await;
    let url = format!("{}/thing", vendor.url());
    let other = vendor.clone();
    drop(vendor);
    assert_eq!(status(&other, "/thing").await, 200);
    drop(other);
    assert!(reqwest::get(&url).await.is_err());
}
