//! No noise: however a vendor orders and writes the same settings, and whatever it counts, nothing is reported.

use std::collections::BTreeSet;

use authdrift::canonical::{self, Document, FingerprintKey, Redaction};
use authdrift::cycle::RunMode;
use authdrift::diff::compare::{Side, compare_section};
use authdrift::model::Verdict;
use authdrift::model::{Pattern, Provider};
use authdrift::sections::{Section, Table};
use authdrift::simulator::vendor::Vendor;
use fastrand::Rng;
use serde_json::{Value, json};

use crate::common::Sandbox;
use crate::support::fixtures::{self, Answer, Tenant};

/// How often each tenant is read again: with the recorded ones that makes a thousand.
const REPLAYS: u64 = 200;

fn document(section: &Section, bytes: &[u8]) -> Document {
    let redaction = Redaction { key: FingerprintKey::new([7; 32]), keep_code: false };
    let value = canonical::parse(bytes).unwrap_or_else(|error| panic!("{}: {error}", section.name));
    canonical::document(section, value, &redaction).unwrap_or_else(|error| panic!("{}: {error}", section.name))
}

/// The same settings as somebody else would answer them.
struct Noise<'a> {
    section: &'a Section,
    rng: Rng,
    /// Where the ids are that lead to other answers: they stay.
    ids: Vec<Pattern>,
}

impl Noise<'_> {
    /// Lists in another order and volatile values others, at every depth.
    fn stir(&mut self, value: &mut Value, path: &mut Vec<String>) {
        if path.split_first().is_some_and(|(_, rest)| self.ids.iter().any(|id| id.matches(rest) || id.matches(path))) {
            return;
        }
        if self.section.is_volatile(path) {
            *value = self.any();
            return;
        }
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    path.push(name.clone());
                    self.stir(field, path);
                    path.pop();
                }
            }
            Value::Array(items) => {
                let key = self.section.key_at(path).map(<[String]>::to_vec);
                for item in &mut *items {
                    let identity = key.as_ref().map(|fields| identity(item, fields));
                    path.push(identity.unwrap_or_else(|| "*".to_owned()));
                    let kept = key
                        .iter()
                        .flatten()
                        .filter_map(|field| Some((format!("/{field}"), item.pointer(&format!("/{field}"))?.clone())));
                    let kept: Vec<_> = kept.collect();
                    self.stir(item, path);
                    // What identifies an item is no noise, even where it is left out of the document.
                    for (place, value) in kept {
                        *item.pointer_mut(&place).unwrap() = value;
                    }
                    path.pop();
                }
                if !self.section.is_sequence(path) {
                    if key.is_none() && !items.is_empty() && self.rng.u8(..) < 16 {
                        items.push(items[self.rng.usize(..items.len())].clone());
                    }
                    self.rng.shuffle(items);
                }
            }
            _ => {}
        }
    }

    fn any(&mut self) -> Value {
        match self.rng.u8(..5) {
            0 => Value::Null,
            1 => json!(self.rng.u32(..)),
            2 => json!(self.rng.bool()),
            3 => json!([{ "name": self.rng.u32(..).to_string() }]),
            _ => json!(self.rng.u64(..).to_string()),
        }
    }

    /// JSON with the keys of every object in another order, and numbers and letters written in another way.
    fn write(&mut self, value: &Value, out: &mut Vec<u8>) {
        match value {
            Value::Object(fields) => {
                let mut fields: Vec<_> = fields.iter().collect();
                self.rng.shuffle(&mut fields);
                out.push(b'{');
                for (place, (name, field)) in fields.into_iter().enumerate() {
                    out.extend_from_slice(if place > 0 { b", " } else { b"" });
                    self.write(&json!(name), out);
                    out.extend_from_slice(b" : ");
                    self.write(field, out);
                }
                out.push(b'}');
            }
            Value::Array(items) => {
                out.push(b'[');
                for (place, item) in items.iter().enumerate() {
                    out.extend_from_slice(if place > 0 { b",\n" } else { b"" });
                    self.write(item, out);
                }
                out.push(b']');
            }
            Value::String(text) if text.starts_with(|first: char| first.is_ascii_alphanumeric()) && self.rng.bool() => {
                let (first, rest) = text.split_at(1);
                let rest = serde_json::to_string(rest).unwrap();
                out.extend_from_slice(format!("\"\\u{:04x}{}", first.as_bytes()[0], &rest[1..]).as_bytes());
            }
            Value::Number(number) if number.is_i64() && self.rng.bool() => {
                out.extend_from_slice(format!("{number}.0").as_bytes());
            }
            other => out.extend_from_slice(other.to_string().as_bytes()),
        }
    }
}

fn identity(item: &Value, fields: &[String]) -> String {
    let parts: Vec<_> = fields.iter().filter_map(|field| item.pointer(&format!("/{field}"))?.as_str()).collect();
    parts.join(" ")
}

/// Compares every section of `tenant` with itself, read `replays` times; answers how many bytes were other ones.
fn replay_in_memory(tenant: &Tenant, seeds: std::ops::Range<u64>) -> usize {
    let table = Table::of(tenant.provider);
    let mut moved = 0;
    for (name, value) in &tenant.sections {
        let section = table.section(name).unwrap();
        let plain = value.to_string();
        let before = document(section, plain.as_bytes());
        for seed in seeds.clone() {
            let mut noise = Noise { section, rng: Rng::with_seed(seed), ids: Vec::new() };
            let (mut stirred, mut bytes) = (value.clone(), Vec::new());
            noise.stir(&mut stirred, &mut Vec::new());
            noise.write(&stirred, &mut bytes);
            moved += usize::from(bytes != plain.as_bytes());
            let after = document(section, &bytes);
            let mut changes = Vec::new();
            compare_section(table, name, Side::Value(before.value()), Side::Value(after.value()), &mut changes);
            let paths: Vec<_> = changes.iter().map(|change| format!("{} {}", change.kind, change.path)).collect();
            assert!(paths.is_empty(), "{}, seed {seed}: {paths:#?}", tenant.name);
            // Not even another document: nothing is stored, and nothing shows in a digest.
            assert_eq!(before.digest(), after.digest(), "{}: {name}, seed {seed}", tenant.name);
        }
    }
    moved
}

#[test]
fn a_thousand_replays_give_no_change() {
    for tenant in &fixtures::tenants() {
        let halves = [0..REPLAYS / 2, REPLAYS / 2..REPLAYS];
        let moved: usize = std::thread::scope(|scope| {
            let halves = halves.map(|seeds| scope.spawn(|| replay_in_memory(tenant, seeds)));
            halves.into_iter().map(|half| half.join().unwrap()).sum()
        });
        let rounds = usize::try_from(REPLAYS).unwrap() * tenant.sections.len();
        assert!(moved * 2 > rounds, "{}: only {moved} of {rounds} answers were any different", tenant.name);
    }
}

/// Stirs every document that `vendor` serves, but not the ids that lead to other documents.
fn stir_all(vendor: &Vendor, provider: Provider, seed: u64) -> usize {
    let mut stirred = 0;
    let paths: BTreeSet<String> = vendor.requests().into_iter().map(|request| request.path).collect();
    for (path, before) in paths.into_iter().filter_map(|path| Some((path.clone(), vendor.get(&path)?))) {
        let answer = Answer::of(provider, path.clone(), before.clone());
        let Some(found) = answer.matches().into_iter().next() else { continue };
        let each = Table::of(provider).sections().iter().flat_map(|section| &section.each);
        let each = each.filter(|each| each.of.as_ref() == Some(&found.section.name));
        // The simulator filters by this one.
        let ids = each.filter_map(|each| each.id.clone()).chain(["/global".parse().unwrap()]).collect();
        let mut noise = Noise { section: found.section, rng: Rng::with_seed(seed), ids };
        let mut at: Vec<String> = found.section.each.iter().map(|each| found.names[&each.name].clone()).collect();
        vendor.edit(&path, |document| {
            let items = found.section.items.as_ref().filter(|items| document.get(items).is_some());
            let value = match items {
                Some(items) => &mut document[items],
                None => document,
            };
            noise.stir(value, &mut at);
        });
        stirred += usize::from(vendor.get(&path) != Some(before));
    }
    stirred
}

async fn read_again_and_again(sandbox: &Sandbox) {
    sandbox.check().await;
    sandbox.approve("prod").await;
    sandbox.approve("acme").await;
    for (name, vendor, provider) in
        [("prod", &*sandbox.clerk, Provider::Clerk), ("acme", &*sandbox.auth0, Provider::Auth0)]
    {
        let watch = sandbox.watch(name);
        for seed in 0..3 {
            assert!(stir_all(vendor, provider, seed) >= 3, "{name}: nothing is any different");
            let report = watch.cycle(RunMode::Commit).await.unwrap();
            let drifts: Vec<_> = report.drifts.iter().map(|drift| drift.drift.change.path.to_string()).collect();
            assert_eq!((report.verdict, drifts), (Verdict::InSync, Vec::new()), "{name}, seed {seed}");
        }
    }
    assert_eq!(sandbox.webhook.deliveries().len(), 0, "somebody was told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_few_replays_over_http_tell_nobody_anything() {
    read_again_and_again(&Sandbox::new().await).await;
    if let Some(folder) = fixtures::folder() {
        read_again_and_again(&Sandbox::recorded(&folder).await).await;
    }
}
