//! Sections that are blind, suspect or unknown to the baseline, and credentials that are refused.

use std::collections::BTreeMap;

use super::instances::InstanceRow;
use super::{StoreError, Stored, Transaction, from_millis, to_millis};
use crate::incident::{SectionIncident, SectionKind};
use crate::model::{Digest, State, display_safe};

/// Everything remembered about the sections of the instance.
///
/// # Errors
/// The database cannot be read.
pub fn load(tx: &Transaction<'_>, instance: InstanceRow) -> Stored<BTreeMap<String, SectionIncident>> {
    let mut query = tx.sql.prepare_cached(
        "SELECT section, news, since, cycles, is_told, suspected, cause FROM section_news WHERE instance_id = ?1",
    )?;
    let mut rows = query.query([instance.0])?;
    let mut known = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let word: String = row.get(1)?;
        let kind = SectionKind::from_word(&word);
        let incident = SectionIncident {
            kind: kind.ok_or_else(|| StoreError::Damaged(format!("a section cannot be '{}'", display_safe(&word))))?,
            since: from_millis(row.get(2)?),
            cycles: row.get(3)?,
            is_told: row.get(4)?,
            suspected: row.get::<_, Option<String>>(5)?.and_then(|text| text.parse().ok()),
            cause: row.get::<_, Option<String>>(6)?.and_then(|word| State::from_word(&word)),
        };
        known.insert(row.get(0)?, incident);
    }
    Ok(known)
}

/// Remembers something about a section.
///
/// # Errors
/// The database cannot be written.
pub(super) fn save(
    tx: &Transaction<'_>,
    instance: InstanceRow,
    section: &str,
    incident: &SectionIncident,
) -> Stored<()> {
    let suspected = incident.suspected.as_ref().map(Digest::as_str);
    tx.sql
        .prepare_cached(
            "INSERT OR REPLACE INTO section_news (instance_id, section, news, since, cycles, is_told, suspected, cause)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute((
            instance.0,
            section,
            incident.kind.as_str(),
            to_millis(incident.since),
            incident.cycles,
            incident.is_told,
            suspected,
            incident.cause.map(State::as_str),
        ))?;
    Ok(())
}

/// Forgets a section.
///
/// # Errors
/// The database cannot be written.
pub(super) fn delete(tx: &Transaction<'_>, instance: InstanceRow, section: &str) -> Stored<()> {
    tx.sql.execute("DELETE FROM section_news WHERE instance_id = ?1 AND section = ?2", (instance.0, section))?;
    Ok(())
}
