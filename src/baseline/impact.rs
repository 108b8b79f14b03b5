//! What a baseline changes against another one: how severe it is, and whose doing.

use std::collections::BTreeSet;

use crate::canonical::Document;
use crate::classify::{Catalogue, ChangeContext, Finding, FindingSet};
use crate::diff::compare::{Side, compare_to_approve};
use crate::model::{Digest, Pointer, Severity, State};
use crate::snapshot::SectionMark;
use crate::trust::{Expiry, Impact, Subject};

/// Compares baselines by their documents, which are believed as far as the digests in what was signed name them.
pub struct DocumentImpact<'a> {
    /// What changes mean.
    pub catalogue: &'a Catalogue,
    /// Finds a document. One that is missing makes the change critical: what cannot be told may be anything.
    pub document: &'a dyn Fn(&Digest) -> Option<Document>,
}

impl Impact for DocumentImpact<'_> {
    fn severity(&self, base: Option<&Subject>, subject: &Subject) -> Severity {
        match base.and_then(|base| self.drifts(base, subject)) {
            Some(drifts) => drifts.iter().map(|drift| drift.meaning.severity).max().unwrap_or(Severity::Info),
            None => Severity::Critical,
        }
    }

    /// Nobody is known as the author of a change: no vendor's log is read. What one says comes in here, by the changes
    /// of [`DocumentImpact::drifts`].
    fn authors(&self, _: Option<&Subject>, _: &Subject) -> BTreeSet<String> {
        BTreeSet::new()
    }

    fn knows_authors(&self) -> bool {
        false
    }
}

impl DocumentImpact<'_> {
    /// Every change that `subject` approves beyond `base`, weaker and stronger alike: who may turn a setting off has to
    /// be who may turn it on. Nothing if a change cannot be told: a document is missing, a section was not held before or
    /// is not any more, or it is another instance.
    pub fn drifts(&self, base: &Subject, subject: &Subject) -> Option<Vec<Finding>> {
        let table = self.catalogue.table();
        let (mut changes, mut before, mut after) = (Vec::new(), Vec::new(), Vec::new());
        // What is approved for longer, or for good, shows nowhere else.
        if base.resource != subject.resource || !self.prolonged(base, subject).is_empty() {
            return None;
        }
        let names: BTreeSet<&String> = base.sections.keys().chain(subject.sections.keys()).collect();
        for section in names {
            let (old, new) = (base.sections.get(section), subject.sections.get(section));
            let is_held = |mark: Option<&SectionMark>| mark.is_some_and(|mark| mark.state.is_comparable());
            match (is_held(old), is_held(new)) {
                (true, true) if old != new => {}
                (was, is) if was == is => continue,
                _ => return None,
            }
            before.push((section.as_str(), self.read(old?)?));
            after.push((section.as_str(), self.read(new?)?));
        }
        for ((section, old), (_, new)) in before.iter().zip(&after) {
            compare_to_approve(table, section, side(old), side(new), &mut changes);
        }
        let context = ChangeContext::new(table, values(&before), values(&after), &changes, []);
        Some(FindingSet::new(self.catalogue, context, changes).into_vec())
    }

    fn prolonged<'s>(&self, base: &'s Subject, subject: &Subject) -> Vec<(&'s Pointer, Expiry)> {
        let value = |subject: &Subject, path: &Pointer| {
            let digest = subject.sections.get(path.section())?.digest.as_ref()?;
            path.find_in_section((self.document)(digest)?.value()).cloned()
        };
        subject.prolonged(base, &value)
    }

    fn read(&self, mark: &SectionMark) -> Option<Held> {
        match &mark.digest {
            Some(digest) => (self.document)(digest).map(Held::Value),
            None => Some(Held::Without(mark.state)),
        }
    }
}

/// One side of a section that a baseline holds.
enum Held {
    Value(Document),
    Without(State),
}

fn side(held: &Held) -> Side<'_> {
    match held {
        Held::Value(document) => Side::Value(document.value()),
        Held::Without(state) => Side::Without(*state),
    }
}

fn values<'a>(sections: &'a [(&'a str, Held)]) -> impl Iterator<Item = (&'a str, &'a serde_json::Value)> {
    sections.iter().filter_map(|(section, held)| match held {
        Held::Value(document) => Some((*section, document.value())),
        Held::Without(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::*;
    use crate::model::{HistoryMark, InstanceId, Provider};
    use crate::snapshot::{Manifest, digest_of};

    #[derive(Default)]
    struct Store(BTreeMap<Digest, Document>);

    impl Store {
        fn subject(&mut self, sections: &[(&str, Value)]) -> Subject {
            let mut manifest = Manifest::new();
            for (name, value) in sections {
                let mark = match value.as_str().map(|state| serde_json::from_value(json!(state)).unwrap()) {
                    Some(state) => SectionMark { digest: None, state },
                    None => {
                        let document = Document::new(value);
                        let digest = Some(document.digest().clone());
                        self.0.insert(document.digest().clone(), document);
                        SectionMark { digest, state: State::Value }
                    }
                };
                manifest.insert((*name).to_owned(), mark);
            }
            let instance: InstanceId = "auth0:acme".parse().unwrap();
            Subject {
                until: BTreeMap::new(),
                log: HistoryMark { size: 1, head: Digest::of(b"") },
                previous: None,
                proposer: "carol".to_owned(),
                resource: "acme".to_owned(),
                snapshot: digest_of(&instance, "acme", &manifest),
                instance,
                sections: manifest,
                sequence: 1,
            }
        }

        fn severity(&self, base: Option<&Subject>, subject: &Subject) -> Severity {
            let catalogue = Catalogue::of(Provider::Auth0, None).unwrap();
            DocumentImpact { catalogue: &catalogue, document: &|digest| self.0.get(digest).cloned() }
                .severity(base, subject)
        }
    }

    #[test]
    fn the_worst_change_decides_whichever_way_it_goes() {
        let mut store = Store::default();
        let with =
            |mfa: Value, name: &str| [("guardian.policies", mfa), ("tenants.settings", json!({ "unheard_of": name }))];
        let strict = store.subject(&with(json!(["all-applications"]), "a"));
        let renamed = store.subject(&with(json!(["all-applications"]), "b"));
        let lax = store.subject(&with(json!([]), "b"));
        assert_eq!(store.severity(Some(&strict), &strict), Severity::Info, "nothing changed");
        assert_eq!(store.severity(Some(&strict), &renamed), Severity::Medium, "nobody knows the setting");
        assert_eq!(store.severity(Some(&strict), &lax), Severity::Critical);
        assert_eq!(store.severity(Some(&lax), &strict), Severity::Critical, "and back");
    }

    /// Else one person could make for good what two approved for a day.
    #[test]
    fn to_approve_for_longer_is_critical() {
        let mut store = Store::default();
        let until = |subject: &Subject, end: Option<&str>| {
            let end = end.map(|end| ("/tenants.settings/unheard_of".parse().unwrap(), Expiry(end.parse().unwrap())));
            Subject { until: end.into_iter().collect(), ..subject.clone() }
        };
        let subject = store.subject(&[("tenants.settings", json!({ "unheard_of": 1 }))]);
        let other = store.subject(&[("tenants.settings", json!({ "unheard_of": 2 }))]);
        let (may, june) = ("2026-05-01T00:00:00Z", "2026-06-01T00:00:00Z");
        let limited = until(&subject, Some(may));
        assert_eq!(store.severity(Some(&limited), &until(&subject, None)), Severity::Critical);
        assert_eq!(store.severity(Some(&limited), &until(&subject, Some(june))), Severity::Critical);
        assert_eq!(store.severity(Some(&limited), &limited), Severity::Info);
        assert_eq!(store.severity(Some(&until(&subject, Some(june))), &limited), Severity::Info);
        assert_eq!(store.severity(Some(&limited), &until(&other, None)), Severity::Medium, "it shows by itself");
    }

    #[test]
    fn what_cannot_be_told_is_critical() {
        let mut store = Store::default();
        let old = store.subject(&[("tenants.settings", json!({ "unheard_of": 1 }))]);
        let new = store.subject(&[("tenants.settings", json!({ "unheard_of": 2 }))]);
        let more = store.subject(&[("tenants.settings", json!({ "unheard_of": 1 })), ("roles", json!({}))]);
        let blind = store.subject(&[("tenants.settings", json!({ "unheard_of": 1 })), ("roles", json!("unreachable"))]);
        let mut elsewhere = new.clone();
        elsewhere.resource = "other".to_owned();
        assert_eq!(store.severity(Some(&old), &new), Severity::Medium);
        assert_eq!(store.severity(Some(&old), &blind), Severity::Info, "it is held no more than before");
        assert_eq!(store.severity(None, &new), Severity::Critical, "a first baseline");
        assert_eq!(store.severity(Some(&old), &more), Severity::Critical, "a section is held for the first time");
        assert_eq!(store.severity(Some(&more), &old), Severity::Critical, "a section is not held any more");
        assert_eq!(store.severity(Some(&old), &elsewhere), Severity::Critical, "another instance");
        store.0.remove(old.sections["tenants.settings"].digest.as_ref().unwrap());
        assert_eq!(store.severity(Some(&old), &new), Severity::Critical, "a document is missing");
    }
}
