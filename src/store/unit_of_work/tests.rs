use std::cell::Cell;
use std::collections::BTreeSet;

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::history::data::{BaselineApproval, RestoredSnapshot};
use crate::trust::SignedStatement;

fn instance() -> InstanceId {
    "clerk:prod".parse().unwrap()
}

/// Two handles of one database, as two programs have them.
fn two_programs() -> (tempfile::TempDir, Store, Store) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let (one, other) = (Store::open(&path).unwrap(), Store::open(&path).unwrap());
    (folder, one, other)
}

fn event() -> Event {
    Event::StoreKeptAgain(RestoredSnapshot { snapshot: Digest::of(b"x") })
}

/// What an import writes.
fn approve(store: &Store, sequence: u64) {
    let now = SystemClock.now();
    let write = |tx: &Transaction<'_>| {
        let row = instances::row(tx, &instance())?;
        let signed = SignedStatement { statement: sequence.to_string().into_bytes(), signature: "x".to_owned() };
        baselines::insert(tx, row, sequence, &signed, now)?;
        let approved = BaselineApproval {
            sequence,
            statements: Vec::new(),
            identity: Digest::of(b"identity"),
            snapshot: Digest::of(b"snapshot"),
            approvers: BTreeSet::new(),
            proposer: String::new(),
            reason: None,
            until: BTreeMap::new(),
        };
        events::append(tx, now, Some(&instance()), &Event::BaselineApproved(approved)).map(drop)
    };
    store.write(write).unwrap();
}

fn statements(tx: &Transaction<'_>) -> Stored<usize> {
    let Some(row) = instances::find(tx, &instance())? else { return Ok(0) };
    Ok(baselines::statements(tx, row)?.len())
}

fn view(tx: &Transaction<'_>) -> Stored<(UnitOfWork, usize)> {
    Ok((UnitOfWork::of_instance(tx, &instance(), None, &[])?, statements(tx)?))
}

#[test]
fn an_approval_between_view_and_apply_is_seen() {
    let (_folder, one, other) = two_programs();
    let decisions = Cell::new(0);
    let seen = one.view_and_decide(view, |unit, statements| {
        decisions.set(decisions.get() + 1);
        if decisions.get() == 1 {
            approve(&other, 1);
        }
        unit.append(SystemClock.now(), Some(&instance()), &event())?;
        Ok::<_, StoreError>((statements, unit.history()?.state.approved.get(&instance()).copied()))
    });
    assert_eq!((seen.unwrap(), decisions.get()), ((1, Some(1)), 2));
    let recorded = one.read(|tx| events::all::<crate::history::Record>(tx, None)).unwrap();
    let kinds: Vec<&str> = recorded.iter().map(|event| event.event.kind()).collect();
    assert_eq!(kinds, ["baseline.approved", "store.kept_again"], "and what was decided before it is not recorded");
}

#[test]
fn others_who_write_all_the_time_hold_no_decision_up() {
    let (_folder, one, other) = two_programs();
    let decisions = Cell::new(0);
    let seen = one.view_and_decide(view, |unit, statements| {
        decisions.set(decisions.get() + 1);
        // Under the lock nobody else can write.
        if decisions.get() <= OPTIMISTIC {
            approve(&other, decisions.get() as u64);
        }
        unit.append(SystemClock.now(), None, &event())?;
        Ok::<_, StoreError>(statements)
    });
    assert_eq!((seen.unwrap(), decisions.get()), (OPTIMISTIC, OPTIMISTIC + 1));
    one.read(|tx| tx.whole_history().map(drop)).unwrap();
}

#[test]
fn what_is_added_is_read_back_and_recorded_whole_or_not_at_all() {
    let (_folder, one, other) = two_programs();
    let mut unit = one.read(UnitOfWork::of_program).unwrap();
    for _ in 0..3 {
        unit.append(SystemClock.now(), None, &event()).unwrap();
    }
    assert_eq!(unit.history().unwrap().mark.as_ref().unwrap().size, 3);
    let stale = unit.clone();
    assert!(one.apply(unit.clone()).unwrap());
    assert!(!one.apply(stale.clone()).unwrap() && !other.apply(stale).unwrap(), "it was made over another state");
    let history = other.read(|tx| tx.history()).unwrap();
    assert_eq!(history.mark, unit.history().unwrap().mark, "the events are the ones that were computed");
}
