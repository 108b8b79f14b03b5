//! Rereads implausible sections at once, and holds them back if they stay implausible.

use std::collections::BTreeMap;

use super::{Monitor, ReadResult, verified_baseline};
use crate::incident::SectionKind;
use crate::model::{Digest, State};
use crate::plausibility;
use crate::provider::Wanted;
use crate::snapshot::Reading;
use crate::store::{self, StoreError, cycles, documents, instances, section_incidents};
use crate::telemetry::{Observable, Reread};
use crate::trust_files::TrustFiles;

/// Cycles for which a section is held back at most, so that a change in each of them cannot hide the rest for ever.
const MOST_CYCLES: u32 = 3;

/// The reason why each section is implausible, and the digest of its reading.
type Implausible = BTreeMap<String, (String, Option<Digest>)>;

impl Monitor {
    /// Reads implausible sections a second time. One that stays implausible becomes [`State::Suspect`], unless the cycle before
    /// read the identical value: then the vendor says so. A section that no baseline holds is accepted after the second
    /// reading, because it is compared with nothing.
    pub(super) async fn reread_implausible(&self, read: &mut ReadResult, trust: &TrustFiles) -> Result<(), StoreError> {
        let implausible = self.implausible(read)?;
        if implausible.is_empty() {
            return Ok(());
        }
        let only: Vec<String> = implausible.keys().cloned().collect();
        Reread { instance: &self.instance.id, sections: &only, is_doubtful: true }.observe();
        let mut again = self.read_vendor(Wanted { only: Some(&only), ..Wanted::default() }).await;
        read.requests += again.requests;
        read.collection.append(&mut again.collection);
        for section in only {
            let unread = || Reading::without(State::Unreachable, "it could not be read a second time");
            let reading = again.snapshot.sections.remove(&section).unwrap_or_else(unread);
            read.replace_left_out(&section, &mut again.left_out);
            read.snapshot.sections.insert(section, reading);
        }
        let baseline =
            self.store.read(|tx| verified_baseline(tx, &read.snapshot, trust, &self.catalogue, self.clock.now()))?;
        let is_held = |section: &String| match &baseline {
            Ok(baseline) => baseline.as_ref().is_some_and(|baseline| {
                baseline.approved.subject.sections.get(section).is_some_and(|mark| mark.state.is_comparable())
            }),
            // Without a trusted baseline every section may be held.
            Err(_) => true,
        };
        let implausible = self.implausible(read)?;
        for (section, (reason, digest)) in implausible.into_iter().filter(|(section, _)| is_held(section)) {
            if let Some(digest) = digest {
                read.suspected.insert(section.clone(), digest);
            }
            read.snapshot.sections.insert(section, Reading::without(State::Suspect, reason));
        }
        Ok(())
    }

    /// The sections that are implausible after the readings before. A stored document that cannot be read is not compared.
    fn implausible(&self, read: &mut ReadResult) -> Result<Implausible, StoreError> {
        let ReadResult { snapshot, left_out, unusable, .. } = read;
        let table = self.instance.table();
        self.store.read(|tx| {
            let (mut implausible, mut of_implausible) = (Implausible::new(), Implausible::new());
            let Some(row) = instances::find(tx, &self.instance.id)? else { return Ok(implausible) };
            let known = section_incidents::load(tx, row)?;
            let latest = cycles::latest_manifest(tx, row)?.unwrap_or_default();
            for (name, reading) in &snapshot.sections {
                let (Some(section), Some(document)) = (table.section(name), reading.document()) else { continue };
                if latest.get(name).is_some_and(|mark| mark.digest.as_ref() == Some(document.digest())) {
                    continue;
                }
                let incident = known.get(name).filter(|incident| incident.kind == SectionKind::Suspect);
                if incident.is_some_and(|incident| incident.cycles >= MOST_CYCLES) {
                    continue;
                }
                let suspected = incident.and_then(|incident| incident.suspected.as_ref());
                let before = cycles::last_value_of(tx, row, name)?.filter(|before| before != document.digest());
                let Some(before) = before.filter(|_| suspected != Some(document.digest())) else { continue };
                let before = match documents::load(tx, &before) {
                    Err(StoreError::Damaged(reason)) => {
                        unusable.get_or_insert(reason);
                        continue;
                    }
                    before => before?,
                };
                let doubt = plausibility::implausible(section, &before, document);
                if let Some(reason) = doubt.or_else(|| plausibility::refused(&before.read(), left_out.get(name)?)) {
                    implausible.insert(name.clone(), (reason, Some(document.digest().clone())));
                }
            }
            // If a list is suspect, so are the sections read per item of it.
            for section in table.sections().iter().filter(|section| !implausible.contains_key(&section.name)) {
                let reading = snapshot.sections.get(&section.name).filter(|reading| reading.state().is_comparable());
                let Some(reading) = reading.filter(|reading| latest.get(&section.name) != Some(&reading.mark())) else {
                    continue;
                };
                if let Some(parent) = section.parents().find(|parent| implausible.contains_key(*parent)) {
                    let digest = reading.document().map(|document| document.digest().clone());
                    of_implausible.insert(section.name.clone(), (format!("{parent} is hard to believe"), digest));
                }
            }
            implausible.append(&mut of_implausible);
            Ok::<_, store::StoreError>(implausible)
        })
    }
}
