//! How much memory values from outside may take, counted while they are read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;

/// A bound of memory, shared by all that is read within it.
#[derive(Debug)]
pub struct MemoryBudget {
    most: usize,
    taken: AtomicUsize,
    /// The budget that this one is a part of: bytes taken here are taken there as well.
    outer: Option<Arc<MemoryBudget>>,
}

/// There is not so much room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is larger than {0} MiB")]
pub struct OverBudget(usize);

impl MemoryBudget {
    /// Room for that many bytes.
    pub fn of(most: usize) -> Self {
        Self { most, taken: AtomicUsize::new(0), outer: None }
    }

    /// Room for that many bytes, which are taken of `outer` too.
    pub fn within(outer: &Arc<Self>, most: usize) -> Self {
        Self { most, taken: AtomicUsize::new(0), outer: Some(Arc::clone(outer)) }
    }

    /// Takes that many bytes.
    ///
    /// # Errors
    /// There are fewer left here or further out.
    pub fn take(&self, bytes: usize) -> Result<(), OverBudget> {
        let taken = self.taken.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        self.outer.as_ref().map_or(Ok(()), |outer| outer.take(bytes))?;
        if taken > self.most { Err(OverBudget(self.most >> 20)) } else { Ok(()) }
    }

    /// Gives back all that was taken here: what took it is not kept.
    pub fn give_back(&self) {
        let taken = self.taken.swap(0, Ordering::Relaxed);
        self.outer.iter().for_each(|outer| outer.lose(taken));
    }

    fn lose(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
        self.outer.iter().for_each(|outer| outer.lose(bytes));
    }

    /// Gives back what was taken here beyond `taken`.
    pub fn give_back_to(&self, taken: usize) {
        self.lose(self.taken().saturating_sub(taken));
    }

    /// Whether more was asked for than there is, here or further out.
    pub fn is_over(&self) -> bool {
        self.taken() > self.most || self.outer.as_ref().is_some_and(|outer| outer.is_over())
    }

    /// Bytes taken so far.
    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }
}

/// Bytes that a text takes beside its characters, as allocators round.
const OF_TEXT: usize = 24;

/// An item of a list: a list grows by doubling, and is sorted.
pub(super) const OF_ITEM: usize = 80;

/// A node of the tree that an object is, with room for eleven entries, of which six are filled when keys come in order.
const OF_NODE: usize = 648;
const ENTRIES_OF_NODE: usize = 6;

pub(super) fn of_text(text: &str) -> usize {
    if text.is_empty() { 0 } else { text.len() + OF_TEXT }
}

/// One more entry of an object that has so many.
pub(super) fn of_entry(entries: usize) -> usize {
    if entries.is_multiple_of(ENTRIES_OF_NODE) { OF_NODE } else { 0 }
}

/// What `value` takes, as [`super::parse_within`] counts it.
pub fn weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => of_text(text),
        Value::Array(items) => items.iter().map(|item| OF_ITEM + weight(item)).sum(),
        Value::Object(entries) => {
            let entries = entries.iter().enumerate();
            entries.map(|(place, (key, value))| of_entry(place) + of_text(key) + weight(value)).sum()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_within;
    use super::*;

    #[test]
    fn what_is_read_takes_what_it_weighs_here_and_further_out() {
        let text = r#"{"a":[1,"x",{"":0},[]],"b":"yy","c":null,"d":1,"e":1,"f":1,"g":1}"#;
        let outer = Arc::new(MemoryBudget::of(1 << 20));
        let inner = MemoryBudget::within(&outer, 1 << 20);
        let value = parse_within(text.as_bytes(), &inner).unwrap();
        assert_eq!((inner.taken(), outer.taken()), (weight(&value), weight(&value)));
        assert!(weight(&value) > 3 * OF_NODE);
        inner.give_back();
        assert_eq!((inner.taken(), outer.taken()), (0, 0));
    }

    #[test]
    fn a_bound_anywhere_is_a_bound() {
        let outer = Arc::new(MemoryBudget::of(10));
        let (one, other) = (MemoryBudget::within(&outer, 8), MemoryBudget::within(&outer, 8));
        assert!(one.take(8).is_ok() && one.take(1).is_err());
        one.give_back();
        assert!(other.take(6).is_ok() && one.take(4).is_ok() && one.take(1).is_err());
    }
}
