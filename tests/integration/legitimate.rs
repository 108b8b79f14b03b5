//! What looks like tampering from close by and is none: the baseline stays trusted.

use std::time::Duration;

use authdrift::simulator::fault::Fault;
use serde_json::json;

use crate::common::Sandbox;

const ROLES: &str = "/api/v2/roles";

#[tokio::test(flavor = "multi_thread")]
async fn a_section_that_is_hard_to_believe_and_then_unreadable_is_no_tampering() {
    let sandbox = Sandbox::approved().await;
    let roles = sandbox.auth0.get(ROLES).unwrap();
    sandbox.auth0.set(ROLES, json!([]));
    sandbox.check_one("acme", 11).await;
    sandbox.auth0.fail(ROLES, Fault::status(403, json!({})));
    for _ in 0..3 {
        let report = sandbox.check_one("acme", 11).await;
        assert_eq!(report["verdict"], "blind", "{report}");
    }
    sandbox.run(&["verify"]).await.expect(0);
    sandbox.auth0.heal_all();
    sandbox.auth0.set(ROLES, roles);
    sandbox.check_one("acme", 0).await;
    sandbox.run(&["verify"]).await.expect(0);
    assert_eq!(sandbox.events("baseline.untrusted"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approver_who_is_let_in_and_approves_while_a_cycle_waits_is_trusted_by_it() {
    let sandbox = Sandbox::clerk_approved().await;
    sandbox.edit_configuration("100ms", "3s");
    sandbox.set_lifetime(3600);
    sandbox.check().await.expect(10);
    sandbox.set_lifetime(7200);
    let (waiting, approved) = tokio::join!(sandbox.check(), async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        sandbox.make_key("bob");
        let read = |name: &str| std::fs::read_to_string(sandbox.path(name)).unwrap();
        let (signers, public) = (read("allowed_signers"), read("bob.pub"));
        let line = format!("bob@example.test namespaces=\"baseline.v1@authdrift\" {public}");
        sandbox.write("allowed_signers", &format!("{signers}{line}"));
        let key = sandbox.path("bob").display().to_string();
        let flags = ["--reason", "test", "--all", "--accept-weaker", "--key", &key];
        sandbox.run(&[&["approve", "prod"][..], &flags].concat()).await
    });
    approved.expect(0);
    assert_eq!(waiting.code, 10, "{waiting:?}");
    assert_eq!(sandbox.events("baseline.untrusted"), 0);
}
