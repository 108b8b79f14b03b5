//! What looks like a reader's fault is read again at once, and held back if it stays.

use std::collections::BTreeMap;

use super::{Taken, Watch};
use crate::model::{Digest, State};
use crate::provider::Wanted;
use crate::sections::Table;
use crate::snapshot::{Reading, Snapshot};
use crate::store::{self, StoreError, cycles, documents, instances, news};
use crate::suspicion;

/// Why each doubtful section is hard to believe, and what was read of it.
type Doubts = BTreeMap<String, (String, Digest)>;

impl Watch {
    /// Reads what is hard to believe a second time. What still is becomes [`State::Suspect`], unless the cycle before
    /// read the very same: then it is what the vendor says.
    pub(super) async fn read_doubtful_again(&self, taken: &mut Taken) -> Result<(), StoreError> {
        let doubts = self.doubts(&taken.snapshot)?;
        if doubts.is_empty() {
            return Ok(());
        }
        let only: Vec<String> = doubts.keys().cloned().collect();
        tracing::warn!(instance = %self.instance.id, sections = ?only, "hard to believe, reading again");
        let mut again = self.take(Wanted { only: Some(&only), ..Wanted::default() }).await;
        taken.requests += again.requests;
        taken.collection.append(&mut again.collection);
        for section in only {
            let unread = || Reading::without(State::Unreachable, "it could not be read a second time");
            let reading = again.snapshot.sections.remove(&section).unwrap_or_else(unread);
            taken.snapshot.sections.insert(section, reading);
        }
        for (section, (reason, digest)) in self.doubts(&taken.snapshot)? {
            taken.suspected.insert(section.clone(), digest);
            taken.snapshot.sections.insert(section, Reading::without(State::Suspect, reason));
        }
        Ok(())
    }

    /// The sections of `snapshot` that are hard to believe for somebody who knows the readings before.
    fn doubts(&self, snapshot: &Snapshot) -> Result<Doubts, StoreError> {
        let table = Table::of(self.instance.id.provider);
        self.store.read(|tx| {
            let mut doubts = Doubts::new();
            let Some(row) = instances::find(tx, &self.instance.id)? else { return Ok(doubts) };
            let known = news::known(tx, row)?;
            let latest = cycles::latest_manifest(tx, row)?.unwrap_or_default();
            for (name, reading) in &snapshot.sections {
                let (Some(section), Some(document)) = (table.section(name), reading.document()) else { continue };
                if latest.get(name).is_some_and(|mark| mark.digest.as_ref() == Some(document.digest())) {
                    continue;
                }
                let suspected = known.get(name).and_then(|incident| incident.suspected.as_ref());
                let before = cycles::last_value_of(tx, row, name)?.filter(|before| before != document.digest());
                let Some(before) = before.filter(|_| suspected != Some(document.digest())) else { continue };
                let before = documents::load(tx, &before)?;
                if let Some(reason) = suspicion::doubt(section, before.value(), document.value()) {
                    doubts.insert(name.clone(), (reason, document.digest().clone()));
                }
            }
            Ok::<_, store::StoreError>(doubts)
        })
    }
}
