//! All silences and change windows.

use super::{Stored, Transaction, events};
use crate::history::silences::Silences;
use crate::incident::Silence;

/// Every silence there ever was, oldest first.
///
/// # Errors
/// The database cannot be read.
pub fn all(tx: &Transaction<'_>) -> Stored<Vec<Silence>> {
    let mut silences = Silences::default();
    events::after(tx, 0)?.iter().for_each(|record| silences.apply(record));
    Ok(silences.all().collect())
}
