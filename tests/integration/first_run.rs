//! From nothing to an approved baseline.

use crate::common::sandbox::command;
use crate::common::{Ran, Sandbox};

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

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_tells_its_story_to_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = command(&folder.path().join("none.toml"), folder.path());
    command.arg("demo").arg(folder.path().join("demo"));
    let ran: Ran = tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap();
    let ran = ran.expect(0);
    for code in [13, 0, 10, 12] {
        assert!(ran.out.contains(&format!("(exit code {code})")), "{}", ran.out);
    }
    for phrase in ["RESOLVED", "signature   valid", "UNTRUSTED", "In-Reply-To", "Look around", " init`"] {
        assert!(ran.out.contains(phrase), "'{phrase}' is missing in {}", ran.out);
    }
    // What a setting is called in the first mail it is called in the last one.
    let mail = |number: &str| std::fs::read_to_string(folder.path().join(format!("demo/mails/{number}.html"))).unwrap();
    let ids = |text: &str| -> std::collections::BTreeSet<String> {
        text.split("drf_").skip(1).map(|rest| rest.chars().take_while(char::is_ascii_hexdigit).collect()).collect()
    };
    let last = std::fs::read_dir(folder.path().join("demo/mails")).unwrap().count() / 2;
    let (opening, closing) = (ids(&mail("1")), ids(&mail(&last.to_string())));
    assert!(!closing.is_empty() && closing.is_subset(&opening), "{opening:?} {closing:?}");
    assert!(folder.path().join("demo/mails/1.html").exists() && folder.path().join("demo/webhooks/1.json").exists());
}
