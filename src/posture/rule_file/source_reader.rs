//! Reads what a rule reads: paths, defaults, switches.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::reader::{Fields, Mistakes, Node, items, text, value};
use super::super::source::{ReadPath, SourceKind, ValueSource};
use crate::model::Unit;

/// Reads the values of one rule; one may refer to another by name.
pub(super) struct SourceReader<'a> {
    pub(super) reads: BTreeMap<String, Node<'a>>,
    /// Nothing while a read is under way: it may not refer to itself.
    pub(super) done: RefCell<BTreeMap<String, Option<Arc<ValueSource>>>>,
    pub(super) mistakes: &'a Mistakes,
}

impl<'a> SourceReader<'a> {
    pub(super) fn named(&self, name: &str) -> Option<Arc<ValueSource>> {
        let node = self.reads.get(name)?;
        if let Some(known) = self.done.borrow().get(name) {
            return known.clone();
        }
        self.done.borrow_mut().insert(name.to_owned(), None);
        let source = self.source(node);
        self.done.borrow_mut().insert(name.to_owned(), source.clone());
        source
    }

    /// A value: the name of a read, a path, or a table.
    pub(super) fn source(&self, node: Node<'a>) -> Option<Arc<ValueSource>> {
        if let Some(text) = node.get_ref().as_str() {
            return match (text, self.named(text)) {
                (_, Some(named)) => Some(named),
                ("it", None) => Some(Arc::new(ValueSource::plain(SourceKind::It))),
                ("{parent}", None) => Some(Arc::new(ValueSource::plain(SourceKind::Parent))),
                ("{key}", None) => Some(Arc::new(ValueSource::plain(SourceKind::Key))),
                (text, None) => {
                    Some(Arc::new(ValueSource::plain(SourceKind::Path(self.path(node, text.trim_start_matches('.'))?))))
                }
            };
        }
        let fields = Fields::of_node(node, self.mistakes)?;
        let from = self.kind(&fields);
        if from.is_none() {
            self.mistakes.add(node.span(), "expected a path, or 'path', 'first', 'switch' or 'value'");
        }
        let map = fields.table("map").map(|map| map.entries().map(|(word, _, node)| (word, value(node))).collect());
        let source = ValueSource {
            from: from?,
            default: fields.value("default"),
            null: fields.value("null"),
            off: fields.value("off"),
            map,
            negate: fields.flag("negate"),
            digits: fields.flag("digits"),
            zero: fields.value("zero"),
            unit: fields.word("unit", Unit::from_word),
        };
        fields.finish();
        Some(Arc::new(source))
    }

    fn kind(&self, fields: &Fields<'a>) -> Option<SourceKind> {
        let (path, first, on, constant) =
            (fields.get("path"), fields.get("first"), fields.get("switch"), fields.value("value"));
        let cases = fields.table("cases");
        match (path, first, on, constant) {
            (Some(node), None, None, None) => {
                let text = text(node, self.mistakes)?;
                Some(SourceKind::Path(self.path(node, text.trim_start_matches('.'))?))
            }
            (None, Some(node), None, None) => {
                let sources = items(node, self.mistakes)?.into_iter().map(|node| self.source(node));
                Some(SourceKind::First(sources.collect::<Option<_>>()?))
            }
            (None, None, Some(on), None) => {
                let cases = cases?.entries().map(|(word, _, node)| Some((word, self.source(node)?)));
                let cases = cases.collect::<Option<_>>()?;
                Some(SourceKind::Switch { on: self.source(on)?, cases })
            }
            (None, None, None, Some(value)) => Some(SourceKind::Constant(value)),
            _ => None,
        }
    }

    fn path(&self, node: Node<'a>, text: &str) -> Option<ReadPath> {
        let path = ReadPath::parse(text, |name| self.named(name));
        path.map_err(|message| self.mistakes.add(node.span(), message)).ok()
    }
}
