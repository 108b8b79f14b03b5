//! Sections that are blind or unknown to the baseline.

use std::collections::BTreeMap;

use rusqlite::Transaction;

use super::instances::InstanceRow;
use super::{Stored, from_millis, to_millis};
use crate::incident::{SectionIncident, SectionKind};

/// Everything remembered about the sections of the instance.
///
/// # Errors
/// The database cannot be read.
pub fn known(tx: &Transaction<'_>, instance: InstanceRow) -> Stored<BTreeMap<String, SectionIncident>> {
    let mut query =
        tx.prepare_cached("SELECT section, news, since, cycles, is_told FROM section_news WHERE instance_id = ?1")?;
    let rows = query.query_map([instance.0], |row| {
        let kind = if row.get::<_, String>(1)? == "blind" { SectionKind::Blind } else { SectionKind::Unbaselined };
        let since = from_millis(row.get(2)?);
        Ok((row.get(0)?, SectionIncident { kind, since, cycles: row.get(3)?, is_told: row.get(4)? }))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Remembers something about a section.
///
/// # Errors
/// The database cannot be written.
pub fn keep(tx: &Transaction<'_>, instance: InstanceRow, section: &str, incident: &SectionIncident) -> Stored<()> {
    let news = match incident.kind {
        SectionKind::Blind => "blind",
        SectionKind::Unbaselined => "unbaselined",
    };
    tx.prepare_cached(
        "INSERT OR REPLACE INTO section_news (instance_id, section, news, since, cycles, is_told)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute((instance.0, section, news, to_millis(incident.since), incident.cycles, incident.is_told))?;
    Ok(())
}

/// Forgets a section.
///
/// # Errors
/// The database cannot be written.
pub fn forget(tx: &Transaction<'_>, instance: InstanceRow, section: &str) -> Stored<()> {
    tx.execute("DELETE FROM section_news WHERE instance_id = ?1 AND section = ?2", (instance.0, section))?;
    Ok(())
}
