//! Signed baselines against the real `ssh-keygen`: every attack is refused for its own reason, told by its code, and the
//! native verifier agrees with `ssh-keygen -Y verify`. Skips loudly where `ssh-keygen` is missing.
//!
//! `trust/attacks.rs` has the attackers of the threat model, `trust/rules.rs` the ways forward, `trust/agreement.rs` the
//! comparison with OpenSSH.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "clippy knows test functions, not their helpers"
)]

#[path = "trust/agreement.rs"]
mod agreement;
#[path = "trust/attacks.rs"]
mod attacks;
#[path = "trust/keys.rs"]
mod keys;
#[path = "trust/rules.rs"]
mod rules;
#[path = "trust/software.rs"]
mod software;
#[path = "trust/world.rs"]
mod world;

use authdrift::model::{Digest, Resource};
use authdrift::snapshot::digest_of;
use authdrift::trust::{NAMESPACE, SignedStatement, Subject, Untrusted};

use keys::skipped;
use world::{DOCUMENT, WHEN, World, subject_after};

#[test]
fn an_untouched_chain_is_trusted() {
    let Some(world) = World::new() else { return skipped() };
    let verified = world.baseline().unwrap().unwrap();
    assert_eq!(verified.approved.subject, world.subjects[2]);
    assert_eq!(verified.approved.identity, world.subjects[2].identity());
    let approvers: Vec<_> = verified.approved.approvals.iter().map(|approval| approval.approver.as_str()).collect();
    assert_eq!(approvers, ["alice", "bob"]);
    assert_eq!(verified.documents["instance.auth"].bytes(), DOCUMENT);
    assert_eq!(verified.documents.len(), 1);
}

#[test]
fn nothing_is_only_nothing_when_the_history_agrees() {
    let Some(mut world) = World::new() else { return skipped() };
    world.statements.clear();
    assert_eq!(world.baseline().unwrap_err(), Untrusted::MissingBaseline { approved: 3, held: 0 });
    world.approved_sequence = 0;
    assert_eq!(world.baseline(), Ok(None));
}

type Attack = fn(&mut World);

fn refuse_all(table: &[(&str, &str, Attack)]) {
    let Some(whole) = World::new() else { return skipped() };
    assert!(whole.baseline().unwrap().is_some());
    for (name, expected, attack) in table {
        let mut world = whole.clone();
        attack(&mut world);
        let error = world.baseline().expect_err(name);
        assert_eq!(error.code(), *expected, "{name}: {error}");
    }
}

#[test]
fn forged_statements_are_refused() {
    refuse_all(&[
        ("reason edited", "bad-signature", |w| edit(w, |text| text.replace("CHG-1", "CHG-2"))),
        ("sequence edited", "bad-signature", |w| edit(w, |text| text.replace("\"sequence\":3", "\"sequence\":4"))),
        ("line break appended", "bad-signature", |w| edit(w, |text| format!("{text}\n"))),
        ("signature deleted", "bad-signature", |w| w.statements[0].signature.clear()),
        ("signature of another statement", "bad-signature", |w| {
            let (from, to) = (w.row(2, "alice"), w.row(3, "alice"));
            w.statements[to].signature = w.statements[from].signature.clone();
        }),
        ("signed with a short RSA key", "bad-signature", |w| {
            w.keys.generate("old", "rsa-2048");
            resign(w, "old", |text| text.to_owned());
        }),
        ("signed for git", "wrong-namespace", |w| {
            let row = w.row(3, "alice");
            w.statements[row] = w.keys.signed("alice", "git", w.statements[row].statement.clone());
        }),
        ("signed in alice's name by bob", "unknown-signer", |w| resign(w, "bob", |text| text.to_owned())),
        ("signed by a stranger", "unknown-signer", |w| resign(w, "mallory", |text| text.to_owned())),
        ("a key for git", "key-not-for-baselines", |w| w.signers = w.signers.replacen(NAMESPACE, "git", 1)),
        ("an expired key", "key-not-valid", |w| w.limit_alice("valid-before=\"20260504Z\"")),
        ("a key from tomorrow", "key-not-valid", |w| w.limit_alice("valid-after=\"20260505Z\"")),
        ("a revoked key", "revoked-key", |w| w.revoked = w.keys.public("bob").into_bytes()),
    ]);
}

#[test]
fn signed_bytes_that_are_no_proper_statement_are_refused() {
    refuse_all(&[
        ("prose", "malformed-statement", |w| resign(w, "alice", |_| "I approve".to_owned())),
        ("another type", "malformed-statement", |w| resign(w, "alice", |text| text.replace("baseline/v1", "other/v1"))),
        ("an unknown field", "malformed-statement", |w| resign(w, "alice", |text| text.replacen('{', "{\"a\":1,", 1))),
        ("a space", "not-canonical", |w| resign(w, "alice", |text| text.replacen("\":", "\": ", 1))),
        ("sections that are not the snapshot", "snapshot-mismatch", |w| {
            resign(w, "alice", |text| text.replace("not_on_plan", "off"));
        }),
    ]);
}

#[test]
fn baselines_out_of_place_are_refused() {
    refuse_all(&[
        ("of another instance", "other-instance", |w| {
            replace_last(w, |subject, _| {
                subject.instance = "clerk:staging".parse().unwrap();
                subject.snapshot = digest_of(&subject.instance, &subject.resource, &subject.sections);
            });
        }),
        ("the instance was recreated", "other-resource", |w| w.resource = Resource::new(["ins_2", "app_1"])),
        ("one in the middle deleted", "wrong-sequence", |w| w.remove(2)),
        ("the first deleted", "wrong-sequence", |w| w.remove(1)),
        ("the predecessor exchanged", "broken-link", |w| {
            replace_last(w, |subject, older| subject.previous = Some(older[0].identity()));
        }),
        ("the chain started over", "broken-link", |w| replace_last(w, |subject, _| subject.previous = None)),
        ("rollback to the one before", "missing-baseline", |w| w.remove(3)),
        ("all deleted", "missing-baseline", |w| w.statements.clear()),
    ]);
}

#[test]
fn too_few_approvers_are_refused() {
    refuse_all(&[
        ("they approved different things", "different-subjects", |w| {
            let mut subject = w.subjects[2].clone();
            subject.proposer = "dave".to_owned();
            let row = w.row(3, "bob");
            w.statements[row] = w.signed(&subject, "bob", "bob");
        }),
        ("an approval deleted", "too-few-approvers", |w| {
            let row = w.row(3, "bob");
            w.statements.remove(row);
        }),
        ("one statement given twice", "too-few-approvers", |w| {
            let (from, to) = (w.row(3, "alice"), w.row(3, "bob"));
            w.statements[to] = w.statements[from].clone();
        }),
        ("one person with two keys", "too-few-approvers", |w| {
            let row = w.row(3, "bob");
            w.statements[row] = w.signed(&w.subjects[2], "alice", "alice2");
        }),
        ("one person with two names", "too-few-approvers", |w| {
            w.signers = format!("alice,root {}\n{}", w.keys.public("alice"), w.signers);
            let row = w.row(3, "bob");
            w.statements[row] = w.signed(&w.subjects[2], "root", "alice");
        }),
    ]);
}

#[test]
fn a_touched_history_or_document_is_refused() {
    refuse_all(&[
        ("approval cut off the history", "unrecorded-baseline", |w| w.approved_sequence = 2),
        ("all approvals cut off the history", "unrecorded-baseline", |w| w.approved_sequence = 0),
        ("history cut", "history-cut", |w| w.events = 2),
        ("history deleted", "history-cut", |w| w.events = 0),
        ("history replaced", "history-cut", |w| {
            replace_last(w, |subject, _| subject.log.head = Digest::of(b"another history"));
        }),
        ("a document deleted", "document-missing", |w| w.documents.clear()),
        ("a document edited", "document-damaged", |w| {
            w.documents.insert(Digest::of(DOCUMENT), b"{\"mfa\":\"never\"}".to_vec());
        }),
    ]);
}

/// Edits alice's third statement and keeps its signature.
fn edit(world: &mut World, edit: fn(&str) -> String) {
    let row = world.row(3, "alice");
    let signed = &mut world.statements[row];
    let edited = edit(std::str::from_utf8(&signed.statement).unwrap()).into_bytes();
    assert_ne!(edited, signed.statement);
    signed.statement = edited;
}

/// Signs alice's third statement again, edited or with another key.
fn resign(world: &mut World, key: &str, edit: fn(&str) -> String) {
    let row = world.row(3, "alice");
    let edited = edit(std::str::from_utf8(&world.statements[row].statement).unwrap()).into_bytes();
    world.statements[row] = world.keys.signed(key, NAMESPACE, edited);
}

/// Lets alice and bob approve an edited subject instead of the third one.
fn replace_last(world: &mut World, edit: fn(&mut Subject, &[Subject])) {
    let mut subject = world.subjects[2].clone();
    edit(&mut subject, &world.subjects);
    world.remove(3);
    for approver in ["alice", "bob"] {
        world.statements.push(world.signed(&subject, approver, approver));
    }
}

#[test]
fn an_expired_key_still_vouches_for_what_it_signed_in_time() {
    let Some(mut world) = World::new() else { return skipped() };
    world.limit_alice("valid-before=\"20260505Z\"");
    assert!(world.baseline().unwrap().is_some());
}

#[test]
fn import_takes_the_next_baseline_and_no_other() {
    let Some(world) = World::new() else { return skipped() };
    let next = subject_after(world.subjects.last());
    let both = [world.signed(&next, "bob", "bob"), world.signed(&next, "alice", "alice")];
    let accepted = world.accept(&both, WHEN).unwrap();
    assert_eq!((accepted.subject.sequence, accepted.approvals.len()), (4, 2));

    let later = subject_after(Some(&next));
    let old = &world.subjects[1];
    let table: [(&str, Vec<SignedStatement>, &str, &str); 7] = [
        ("nothing", vec![], WHEN, "too-few-approvers"),
        ("one of two", vec![both[0].clone()], WHEN, "too-few-approvers"),
        ("played again", vec![world.signed(old, "alice", "alice")], WHEN, "wrong-sequence"),
        ("one too far", vec![world.signed(&later, "alice", "alice")], WHEN, "wrong-sequence"),
        ("one too many", vec![both[0].clone(), world.signed(&later, "alice", "alice")], WHEN, "wrong-sequence"),
        ("from the future", both.to_vec(), "2026-05-04T09:49:59Z", "from-the-future"),
        ("by a stranger", vec![world.signed(&next, "alice", "mallory")], WHEN, "unknown-signer"),
    ];
    for (name, new, now, expected) in table {
        assert_eq!(world.accept(&new, now).expect_err(name).code(), expected, "{name}");
    }
    assert!(world.accept(&both, "2026-05-04T09:50:00Z").is_ok(), "ten minutes ahead are forgiven");
}

#[test]
fn a_threshold_of_zero_is_one() {
    let Some(mut world) = World::new() else { return skipped() };
    world.statements.clear();
    world.rules.threshold = 0;
    let first = subject_after(None);
    assert_eq!(world.accept(&[world.signed(&first, "alice", "alice")], WHEN).unwrap().subject, first);
    assert_eq!(world.accept(&[], WHEN).unwrap_err().code(), "too-few-approvers");
}

#[test]
fn every_refusal_speaks_plainly_and_safely() {
    let Some(mut world) = World::new() else { return skipped() };
    resign(&mut world, "mallory", |text| text.to_owned());
    let error = world.baseline().unwrap_err().to_string();
    assert!(error.ends_with(" is not a key of 'alice' in the allowed signers"), "{error}");
    edit(&mut world, |text| text.replace("CHG-1", "CHG-2"));
    assert_eq!(
        world.baseline().unwrap_err().to_string(),
        "the signature of baseline 3 by 'alice' is refused: it does not match the bytes"
    );
    let hostile = Untrusted::OtherResource { approved: "a\u{1b}[2K".to_owned(), found: "b\nc".to_owned() };
    assert!(!hostile.to_string().contains(char::is_control));
}
