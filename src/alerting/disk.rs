//! Notices about the room that is left for the database.

use chrono::{DateTime, Utc};

use super::tell;
use crate::config::Config;
use crate::history::data::FreeSpace;
use crate::history::{Event, Record};
use crate::incident::IncidentSubject;
use crate::message::{Notice, NoticeKind};
use crate::store::space::Space;
use crate::store::{StoreError, UnitOfWork};

/// Bytes from which on there is enough space again: more than [`crate::store::space::LOW`], or every file that comes and goes
/// would cause a notice.
const ENOUGH: u64 = 288 << 20;

/// Notes how much room is left, tells everybody once when it is little and when it is enough again, and answers whether
/// a snapshot may be kept.
///
/// A full disk is not reported here, because the outbox may find no room either.
///
/// # Errors
/// The database cannot be written.
pub fn has_room(
    unit: &mut UnitOfWork,
    config: &Config,
    at: DateTime<Utc>,
    free: Option<u64>,
) -> Result<bool, StoreError> {
    let Some(free) = free else { return Ok(true) };
    if let Some(kind @ (NoticeKind::StorageLow | NoticeKind::StorageRecovered)) = record_step(unit, at, free)? {
        let path = config.store.display().to_string();
        tell(unit, config, None, &[Notice::of_storage(kind, &path, Some(free), "")], None, at)?;
    }
    Ok(Space::of(free) != Space::Full)
}

/// Records in the history that the free space became too little or enough; answers the notice that is due.
fn record_step(unit: &mut UnitOfWork, at: DateTime<Utc>, free: u64) -> Result<Option<NoticeKind>, StoreError> {
    let replay = unit.history()?;
    let space = FreeSpace { free: Some(free), told: None };
    let low = || (NoticeKind::StorageLow, Event::StorageLow(space.clone()));
    let problem = match Space::of(free) {
        Space::Full => Some((NoticeKind::StorageFull, Event::StorageFull(space.clone()))),
        Space::Low => Some(low()),
        // It is over when there is enough space, and does not begin before there is too little.
        Space::Ample => (free < ENOUGH && replay.state.incidents.get(&IncidentSubject::Disk).is_some()).then(low),
    };
    let state = problem.as_ref().map(|(_, event)| event.kind());
    if replay.state.incidents.step(&IncidentSubject::Disk, state, at).is_none() {
        return Ok(None);
    }
    let (kind, event) = problem.unwrap_or((NoticeKind::StorageRecovered, Event::StorageRecovered(space)));
    unit.append(at, None, &event)?;
    Ok(Some(kind))
}

/// Records in the history that receivers were notified past it, at `told`, that the disk is full, so that the end is notified
/// too.
///
/// # Errors
/// The database cannot be written.
pub fn record_full_disk(unit: &mut UnitOfWork, told: DateTime<Utc>, at: DateTime<Utc>) -> Result<(), StoreError> {
    let is_of_space =
        |event: &Event| matches!(event, Event::StorageFull(_) | Event::StorageLow(_) | Event::StorageRecovered(_));
    let is_over = |record: &Record| matches!(record.event, Event::StorageRecovered(_)) && record.at.0 < told;
    if unit.history()?.state.newest(None, is_of_space).is_none_or(is_over) {
        let space = FreeSpace { free: None, told: Some(told.into()) };
        unit.append(at, None, &Event::StorageFull(space))?;
    }
    Ok(())
}

/// The newest record about the free space.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn each_step_is_news_once_and_the_edge_is_wide() {
        let store = Store::temporary().unwrap();
        let mib = |mib: u64| mib << 20;
        let note = |free| store.decide(|unit| record_step(unit, DateTime::default(), mib(free))).unwrap();
        let steps = [
            (300, None),
            (255, Some(NoticeKind::StorageLow)),
            (100, None),
            (270, None),
            (63, Some(NoticeKind::StorageFull)),
            (10, None),
            (70, Some(NoticeKind::StorageLow)),
            (287, None),
            (288, Some(NoticeKind::StorageRecovered)),
            (288, None),
            (1, Some(NoticeKind::StorageFull)),
            (260, Some(NoticeKind::StorageLow)),
            (900, Some(NoticeKind::StorageRecovered)),
        ];
        for (free, expected) in steps {
            assert_eq!(note(free), expected, "{free} MiB");
        }
    }
}
