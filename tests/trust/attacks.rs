//! The attackers of the threat model, each refused by name: T4 (writes the database), T10 (approves their own change) and
//! T12 (turns the clock).

use authdrift::trust::{NAMESPACE, SignedStatement};

use crate::keys::skipped;
use crate::software::{Software, TOUCHED};
use crate::world::{WHEN, World, statement, subject_after};

/// Alice's second key is on a security key, in software.
fn with_security_key(world: &mut World) -> Software {
    let key = Software::new("ed25519-sk");
    world.signers = format!("{}alice namespaces=\"{NAMESPACE}\" {}\n", world.signers, key.public());
    world.rules.threshold = 1;
    key
}

#[test]
fn t10_the_actor_approves_their_own_change() {
    let Some(mut world) = World::new() else { return skipped() };
    world.rules.threshold = 1;
    world.authors.insert(4, "alice");
    let next = subject_after(world.subjects.last());
    let own = world.signed(&next, "alice", "alice");
    let error = world.accept(std::slice::from_ref(&own), WHEN).unwrap_err();
    assert_eq!(error.code(), "own-change");
    assert!(error.to_string().contains("'alice' made one of the changes that baseline 4 approves"), "{error}");
    // Neither with another key nor under another name of the same person.
    assert_eq!(world.accept(&[world.signed(&next, "alice", "alice2")], WHEN).unwrap_err().code(), "own-change");
    let signers = world.signers.clone();
    world.signers = format!("{signers}alice,root {}\n", world.keys.public("alice"));
    assert_eq!(world.accept(&[world.signed(&next, "root", "alice")], WHEN).unwrap_err().code(), "own-change");
    // Somebody else may; the author's signature beside it does not count.
    let accepted = world.accept(&[own.clone(), world.signed(&next, "bob", "bob")], WHEN).unwrap();
    assert_eq!(accepted.approvals.iter().map(|one| one.approver.as_str()).collect::<Vec<_>>(), ["bob"]);
    world.rules.threshold = 2;
    let both = [own, world.signed(&next, "bob", "bob")];
    assert_eq!(world.accept(&both, WHEN).unwrap_err().code(), "own-change");
}

#[test]
fn t10_the_actor_hides_their_change_below_another_baseline() {
    let Some(mut world) = World::new() else { return skipped() };
    // Written around the import: 4 is alice's own change, signed by herself, and 5 is somebody else's.
    world.rules.threshold = 1;
    world.authors.insert(4, "alice");
    let own = subject_after(world.subjects.last());
    let next = subject_after(Some(&own));
    world.statements.push(world.signed(&own, "alice", "alice"));
    world.statements.push(world.signed(&next, "alice", "alice"));
    world.approved_sequence = 5;
    assert_eq!(world.baseline().unwrap_err().code(), "own-change");
}

#[test]
fn t10_two_keys_of_one_principal_count_once() {
    let Some(world) = World::new() else { return skipped() };
    let next = subject_after(world.subjects.last());
    let twice = [world.signed(&next, "alice", "alice"), world.signed(&next, "alice", "alice2")];
    assert_eq!(world.accept(&twice, WHEN).unwrap_err().code(), "too-few-approvers");
}

#[test]
fn t12_a_post_dated_statement_is_refused_beyond_ten_minutes() {
    let Some(world) = World::new() else { return skipped() };
    let next = subject_after(world.subjects.last());
    let both = [world.signed(&next, "alice", "alice"), world.signed(&next, "bob", "bob")];
    assert_eq!(world.accept(&both, "2026-05-04T09:49:59Z").unwrap_err().code(), "from-the-future");
    assert!(world.accept(&both, "2026-05-04T09:50:00Z").is_ok());
}

#[test]
fn t12_a_back_dated_statement_is_refused_beyond_ten_minutes() {
    let Some(mut world) = World::new() else { return skipped() };
    let next = subject_after(world.subjects.last());
    let both = [world.signed(&next, "alice", "alice"), world.signed(&next, "bob", "bob")];
    world.recorded = "2026-05-04T10:10:01Z";
    let error = world.accept(&both, "2026-05-04T11:00:00Z").unwrap_err();
    assert_eq!(error.code(), "back-dated");
    assert!(error.to_string().contains("proposed after 2026-05-04T10:10:01Z"), "{error}");
    world.recorded = "2026-05-04T10:10:00Z";
    assert!(world.accept(&both, "2026-05-04T11:00:00Z").is_ok());
    // It takes time to collect signatures: an approval may wait for the others.
    assert!(world.accept(&both, "2026-05-11T10:00:00Z").is_ok());
}

#[test]
fn t12_a_proposal_cannot_choose_an_older_history_to_date_back() {
    let Some(world) = World::new() else { return skipped() };
    let mut next = subject_after(world.subjects.last());
    next.log = world.subjects[0].log.clone();
    let both = [world.signed(&next, "alice", "alice"), world.signed(&next, "bob", "bob")];
    let mut late = world.clone();
    late.recorded = "2026-05-04T10:10:01Z";
    assert_eq!(late.accept(&both, "2026-05-04T11:00:00Z").unwrap_err().code(), "back-dated");
    next.log.size = 99;
    let both = [world.signed(&next, "alice", "alice"), world.signed(&next, "bob", "bob")];
    assert_eq!(world.accept(&both, WHEN).unwrap_err().code(), "history-cut", "an event that never was");
}

#[test]
fn t12_a_key_that_has_ended_cannot_be_dated_back() {
    let Some(mut world) = World::new() else { return skipped() };
    let next = subject_after(world.subjects.last());
    let both = [world.signed(&next, "alice", "alice"), world.signed(&next, "bob", "bob")];
    world.limit_alice("valid-before=\"20260601Z\"");
    assert!(world.accept(&both, "2026-05-31T23:59:59Z").is_ok());
    assert_eq!(world.accept(&both, "2026-06-01T00:00:01Z").unwrap_err().code(), "key-not-valid-now");
    // What it signed in time stays good.
    assert!(world.baseline().is_ok());
}

#[test]
fn t4_a_signature_for_another_namespace_is_refused() {
    let Some(world) = World::new() else { return skipped() };
    let next = subject_after(world.subjects.last());
    let signed = world.keys.signed("alice", "file", statement(&next, "alice", WHEN));
    assert_eq!(world.accept(&[signed], WHEN).unwrap_err().code(), "wrong-namespace");
}

#[test]
fn t4_a_key_that_a_krl_revokes_is_refused() {
    let Some(whole) = World::new() else { return skipped() };
    let bob = whole.keys.public("bob");
    for specification in [bob.clone(), format!("key: {bob}"), format!("sha1: {bob}"), format!("sha256: {bob}")] {
        let mut world = whole.clone();
        world.revoked = world.keys.krl(&specification);
        assert_eq!(world.baseline().unwrap_err().code(), "revoked-key", "{specification}");
        let next = subject_after(world.subjects.last());
        let both = [world.signed(&next, "alice", "alice"), world.signed(&next, "bob", "bob")];
        assert_eq!(world.accept(&both, WHEN).unwrap_err().code(), "revoked-key", "{specification}");
    }
}

#[test]
fn t4_a_signature_without_touch_is_refused_where_touch_is_required() {
    let Some(mut world) = World::new() else { return skipped() };
    let key = with_security_key(&mut world);
    let next = subject_after(world.subjects.last());
    let bytes = statement(&next, "alice", WHEN);
    let signed =
        |flags| SignedStatement { statement: bytes.clone(), signature: key.signature(NAMESPACE, &bytes, flags) };
    assert!(world.accept(&[signed(0)], WHEN).is_ok(), "nobody asked for touch");
    world.rules.require_touch = true;
    assert_eq!(world.accept(&[signed(0)], WHEN).unwrap_err().code(), "not-touched");
    assert_eq!(world.accept(&[signed(4)], WHEN).unwrap_err().code(), "not-touched", "a PIN is not a touch");
    assert!(world.accept(&[signed(TOUCHED)], WHEN).is_ok());
    assert_eq!(world.accept(&[world.signed(&next, "bob", "bob")], WHEN).unwrap_err().code(), "no-security-key");
    // What was approved before touch was required has to be approved again; see `rules.rs` for how.
    assert_eq!(world.baseline().unwrap_err().code(), "no-security-key");
}

#[test]
fn t4_a_severe_change_planted_below_a_harmless_one_is_found() {
    use authdrift::model::Severity;
    let Some(mut world) = World::new() else { return skipped() };
    world.rules.threshold = 1;
    world.rules.by_severity.insert(Severity::Critical, 2);
    world.severities.insert(4, Severity::Critical);
    // Alice alone, writing to the database around the import: 4 turns something off, 5 is harmless.
    let planted = subject_after(world.subjects.last());
    let next = subject_after(Some(&planted));
    world.statements.push(world.signed(&planted, "alice", "alice"));
    world.approved_sequence = 4;
    assert_eq!(world.baseline().unwrap_err().code(), "too-few-approvers");
    world.statements.push(world.signed(&next, "alice", "alice"));
    world.approved_sequence = 5;
    assert_eq!(world.baseline().unwrap_err().code(), "too-few-approvers", "5 approves what 4 did, too");
    // Planted together with somebody who may, it is a baseline.
    world.statements.push(world.signed(&planted, "bob", "bob"));
    assert!(world.baseline().is_ok());
}

#[test]
fn t4_what_the_history_says_was_verified_counts_only_if_it_was_signed() {
    let Some(mut world) = World::new() else { return skipped() };
    let approved = world.baseline().unwrap();
    // Somebody else's signature under the bytes of an older baseline.
    let forged = SignedStatement {
        signature: world.statements[world.row(3, "bob")].signature.clone(),
        ..world.statements[world.row(1, "bob")].clone()
    };
    let row = world.row(1, "bob");
    world.statements[row] = forged.clone();
    assert_eq!(world.baseline().unwrap_err().code(), "bad-signature");
    // A planted event comes after the history that the newest baseline signs, which has three.
    for planted in [4, 10, u64::MAX] {
        world.vouched.insert(forged.digest(), planted);
        assert_eq!(world.baseline().unwrap_err().code(), "bad-signature", "{planted}");
    }
    // An event within it would make the history another one than was signed.
    world.vouched.insert(forged.digest(), 2);
    let events = std::mem::replace(&mut world.events, 2);
    assert_eq!(world.baseline().unwrap_err().code(), "bad-signature");
    world.events = events;
    // Where the signers of the newest baseline did sign it, only what verifies all of it says more.
    assert_eq!(world.baseline().unwrap(), approved);
    assert_eq!(world.chain().unwrap_err().code(), "bad-signature");
}

#[test]
fn what_was_verified_before_is_still_asked_of_the_rules_of_today() {
    let Some(mut world) = World::new() else { return skipped() };
    assert!(world.baseline().unwrap().is_some());
    let signers = world.signers.clone();
    world.signers = signers.lines().filter(|line| !line.starts_with("bob")).map(|line| format!("{line}\n")).collect();
    assert_eq!(world.baseline().unwrap_err().code(), "unknown-signer");
    world.signers = signers;
    world.limit_alice("valid-after=\"20270101Z\"");
    assert_eq!(world.baseline().unwrap_err().code(), "key-not-valid");
}
