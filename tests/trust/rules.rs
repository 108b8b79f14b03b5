//! How many people it takes, and the ways forward when it takes more than it did.

use authdrift::model::{Resource, Severity};
use authdrift::snapshot::digest_of;
use authdrift::trust::{NAMESPACE, SignedStatement};

use crate::keys::skipped;
use crate::software::{Software, TOUCHED};
use crate::world::{WHEN, World, statement, subject_after};

/// Three baselines that alice approved alone, and the number raised to two since.
fn raised() -> Option<World> {
    let mut world = World::new()?;
    for sequence in 1..=3 {
        let row = world.row(sequence, "bob");
        world.statements.remove(row);
    }
    world.rules.threshold = 1;
    assert!(world.baseline().is_ok());
    world.rules.threshold = 2;
    Some(world)
}

#[test]
fn a_raised_threshold_is_asked_of_the_newest_baseline() {
    let Some(mut world) = raised() else { return skipped() };
    assert_eq!(world.baseline().unwrap_err().code(), "too-few-approvers");
    // Nothing may be compared with it, but a new one may be put on it.
    let base = world.base().unwrap().unwrap();
    assert_eq!(base.approved.insufficient.unwrap().code(), "too-few-approvers");

    let next = subject_after(world.subjects.last());
    let alone = world.signed(&next, "alice", "alice");
    assert_eq!(world.accept(std::slice::from_ref(&alone), WHEN).unwrap_err().code(), "too-few-approvers");
    world.import(&next, vec![alone, world.signed(&next, "bob", "bob")]);
    assert!(world.baseline().unwrap().is_some());
    let is_short: Vec<bool> = world.chain().unwrap().iter().map(|link| link.insufficient.is_some()).collect();
    assert_eq!(is_short, [true, true, true, false]);
}

#[test]
fn the_approval_that_is_missing_can_be_added_to_the_newest_baseline() {
    let Some(mut world) = raised() else { return skipped() };
    let newest = world.subjects[2].clone();
    let again = world.signed(&newest, "alice", "alice2");
    assert_eq!(world.accept(&[again], WHEN).unwrap_err().code(), "too-few-approvers", "that is alice again");
    let older = world.subjects[1].clone();
    assert_eq!(world.accept(&[world.signed(&older, "bob", "bob")], WHEN).unwrap_err().code(), "wrong-sequence");
    let missing = world.signed(&newest, "bob", "bob");
    world.import(&newest, vec![missing]);
    let approvals = world.baseline().unwrap().unwrap().into_inner().approved.approvals;
    assert_eq!(approvals.iter().map(|one| one.approver.as_str()).collect::<Vec<_>>(), ["alice", "bob"]);
}

#[test]
fn an_older_baseline_still_needs_its_signatures_and_its_place() {
    let Some(mut world) = raised() else { return skipped() };
    let next = subject_after(world.subjects.last());
    world.import(&next, vec![world.signed(&next, "alice", "alice"), world.signed(&next, "bob", "bob")]);
    let mut gone = world.clone();
    gone.remove(2);
    assert_eq!(gone.baseline().unwrap_err().code(), "wrong-sequence");
    let mut forged = world.clone();
    let row = forged.row(2, "alice");
    forged.statements[row] = forged.signed(&forged.subjects[1], "alice", "mallory");
    assert_eq!(forged.baseline().unwrap_err().code(), "unknown-signer");
    let mut other = world.subjects[1].clone();
    other.proposer = "mallory".to_owned();
    world.statements[row] = world.signed(&other, "alice", "alice");
    assert_eq!(world.baseline().unwrap_err().code(), "broken-link", "3 names the one that was there");
}

#[test]
fn a_revoked_key_does_not_end_the_chain() {
    let Some(mut world) = raised() else { return skipped() };
    world.rules.threshold = 1;
    world.revoked = world.keys.public("alice").into_bytes();
    assert_eq!(world.baseline().unwrap_err().code(), "revoked-key");
    let next = subject_after(world.subjects.last());
    assert_eq!(world.accept(&[world.signed(&next, "alice", "alice")], WHEN).unwrap_err().code(), "revoked-key");
    let new_key = world.signed(&next, "alice", "alice2");
    world.import(&next, vec![new_key]);
    assert!(world.baseline().unwrap().is_some());
}

#[test]
fn touch_that_is_required_from_now_on_is_asked_of_the_next_baseline() {
    let Some(mut world) = World::new() else { return skipped() };
    let key = Software::new("ecdsa-sk");
    world.signers = format!("{}alice namespaces=\"{NAMESPACE}\" {}\n", world.signers, key.public());
    world.rules.threshold = 1;
    world.rules.require_touch = true;
    assert_eq!(world.baseline().unwrap_err().code(), "no-security-key");
    let next = subject_after(world.subjects.last());
    let bytes = statement(&next, "alice", WHEN);
    let signature = key.signature(NAMESPACE, &bytes, TOUCHED);
    world.import(&next, vec![SignedStatement { statement: bytes, signature }]);
    assert!(world.baseline().unwrap().is_some());
}

#[test]
fn a_severe_change_needs_more_people() {
    let Some(whole) = World::new() else { return skipped() };
    whole.keys.generate("dave", "ed25519");
    let table = [(Severity::Low, 1), (Severity::Medium, 1), (Severity::High, 2), (Severity::Critical, 3)];
    for (severity, need) in table {
        let mut world = whole.clone();
        world.signers = format!("{}dave {}\n", world.signers, world.keys.public("dave"));
        world.rules.threshold = 1;
        world.rules.by_severity = [(Severity::High, 2), (Severity::Critical, 3)].into();
        let newest = world.subjects[2].clone();
        world.import(&newest, vec![world.signed(&newest, "dave", "dave")]);
        world.severities.insert(4, severity);
        let next = subject_after(Some(&newest));
        let mut signed = Vec::new();
        for (number, who) in ["alice", "bob", "dave"].into_iter().enumerate() {
            signed.push(world.signed(&next, who, who));
            let accepted = world.accept(&signed, WHEN);
            assert_eq!(accepted.is_ok(), number + 1 >= need, "{severity}, {} approvers: {accepted:?}", number + 1);
            if let Err(error) = accepted {
                assert_eq!(error.to_string(), format!("baseline 4 has {} of {need} approvers", number + 1));
            }
        }
    }
}

#[test]
fn a_first_baseline_needs_the_highest_number() {
    let Some(mut world) = World::new() else { return skipped() };
    world.statements.clear();
    world.rules.threshold = 1;
    world.rules.by_severity.insert(Severity::Critical, 2);
    let first = subject_after(None);
    let alone = world.signed(&first, "alice", "alice");
    assert_eq!(world.accept(std::slice::from_ref(&alone), WHEN).unwrap_err().code(), "too-few-approvers");
    assert!(world.accept(&[alone, world.signed(&first, "bob", "bob")], WHEN).is_ok());
}

#[test]
fn an_instance_that_was_recreated_begins_anew_on_top_of_the_old_chain() {
    let Some(mut world) = World::new() else { return skipped() };
    world.resource = Resource::new(["ins_2"]);
    assert_eq!(world.baseline().unwrap_err().code(), "other-resource");
    assert_eq!(world.base().unwrap().unwrap().approved.insufficient.unwrap().code(), "other-resource");
    let mut next = subject_after(world.subjects.last());
    next.resource = "ins_2".to_owned();
    next.snapshot = digest_of(&next.instance, &next.resource, &next.sections);
    world.import(&next, vec![world.signed(&next, "alice", "alice"), world.signed(&next, "bob", "bob")]);
    assert_eq!(world.baseline().unwrap().unwrap().into_inner().approved.subject.resource, "ins_2");
    world.resource = Resource::new(["ins_1", "app_1"]);
    assert_eq!(world.baseline().unwrap_err().code(), "other-resource", "and not back");
}
