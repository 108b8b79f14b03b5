//! From nothing to an approved baseline.

use crate::common::Sandbox;

#[tokio::test(flavor = "multi_thread")]
async fn no_baseline_then_approved_then_in_sync() {
    let sandbox = Sandbox::new().await;
    let report = sandbox.check().await.expect(13).json();
    assert_eq!(report["instances"][0]["verdict"], "no_baseline");
    sandbox.approve("prod").await;
    sandbox.approve("acme").await;
    let report = sandbox.check().await.expect(0).json();
    assert_eq!(report["instances"][0]["verdict"], "in_sync");
    assert_eq!(report["instances"][1]["baseline"]["approvers"][0], "alice@example.test");
    assert!(sandbox.smtp.mails().is_empty() && sandbox.webhook.deliveries().is_empty());
}
