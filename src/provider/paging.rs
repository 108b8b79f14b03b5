//! The pages of a list: what is asked for, what a page holds, and whether all of them make the whole list.

use std::collections::BTreeMap;

use serde_json::Value;
use url::Url;

use super::SectionRefusal;
use super::shape::{kind_of, root, unexpected};
use crate::sections::{Paging, Section};

/// One page of a list.
pub(super) struct ListPage {
    pub(super) items: Vec<Value>,
    pub(super) total: Option<usize>,
    pub(super) next: Option<String>,
}

pub(super) fn page_size(section: &Section) -> usize {
    match section.paging {
        Paging::Offset => 500,
        Paging::None | Paging::Page | Paging::Checkpoint => 100,
    }
}

pub(super) fn page_query(
    section: &Section,
    page: usize,
    offset: usize,
    cursor: Option<&String>,
) -> Vec<(&'static str, String)> {
    let size = page_size(section).to_string();
    match section.paging {
        Paging::None => Vec::new(),
        Paging::Offset => vec![("limit", size), ("offset", offset.to_string())],
        Paging::Page => {
            vec![("page", page.to_string()), ("per_page", size), ("include_totals", "true".to_owned())]
        }
        Paging::Checkpoint => {
            let mut query = vec![("take", size)];
            if let Some(cursor) = cursor {
                query.push(("from", cursor.clone()));
            }
            query
        }
    }
}

pub(super) fn with_query(url: &Url, section: &Section, page: &[(&'static str, String)]) -> Url {
    // The row decides: some lists have a smaller page than the others.
    let paging = page.iter().filter(|(name, _)| !section.query.contains_key(*name));
    let paging = paging.map(|(name, value)| (*name, value.as_str()));
    let fixed = section.query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let mut pairs = fixed.chain(paging).peekable();
    let mut url = url.clone();
    if pairs.peek().is_some() {
        url.query_pairs_mut().extend_pairs(pairs);
    }
    url
}

/// Items, total and cursor of one page, whether it comes in an envelope or bare.
pub(super) fn unwrap(section: &Section, answer: Value) -> Result<ListPage, SectionRefusal> {
    let mut envelope = match answer {
        // A bare list says neither how many there are nor where the next page is.
        Value::Array(_) if matches!(section.paging, Paging::Checkpoint | Paging::Page) => {
            return Err(unexpected(section, "it is a bare list, which may be incomplete"));
        }
        Value::Array(items) => return Ok(ListPage { items, total: None, next: None }),
        Value::Object(envelope) => envelope,
        other => return Err(unexpected(section, &format!("it is {}", kind_of(&other)))),
    };
    let name = section.items.as_deref().unwrap_or_default();
    let Some(Value::Array(items)) = envelope.remove(name) else {
        return Err(unexpected(section, &format!("there is no list '{name}'")));
    };
    let total = ["total", "total_count"].iter().find_map(|name| envelope.get(*name));
    let total = total.and_then(Value::as_u64).and_then(|total| usize::try_from(total).ok());
    let next = envelope.get("next").and_then(Value::as_str).filter(|next| !next.is_empty()).map(str::to_owned);
    let next = next.filter(|_| section.paging == Paging::Checkpoint);
    Ok(ListPage { items, total, next })
}

/// How many items a page has; none for an answer that is no list.
pub(super) fn count(section: &Section, value: &Value) -> Option<usize> {
    let list = section.items.as_ref().and_then(|items| value.get(items)).unwrap_or(value);
    list.as_array().map(Vec::len)
}

/// As many items as the vendor counts, and none twice: a list that moves while it is paged shows an item on two pages
/// and hides another.
pub(super) fn check_complete(
    section: &Section,
    items: &[Value],
    total: Option<usize>,
    pages: usize,
) -> Result<(), String> {
    if let Some(total) = total.filter(|total| *total != items.len()) {
        let read = items.len();
        let reason = format!("the list is not complete: the vendor counts {total}, {read} were read");
        return Err(reason);
    }
    // An ordered list has no key, and may have ids.
    let ids = section.requires.iter().find(|field| *field == "id").map(std::slice::from_ref);
    let Some(fields) = section.key_at(&root(section)).or(ids) else { return Ok(()) };
    let has_names = section.key_at(&root(section)).is_some();
    let mut known: BTreeMap<Vec<&str>, &Value> = BTreeMap::new();
    for item in items {
        let identity: Vec<&str> =
            fields.iter().filter_map(|field| item.pointer(&format!("/{field}"))?.as_str()).collect();
        if identity.is_empty() {
            continue;
        }
        let name = crate::model::display_safe(&identity.join(" "));
        // Two objects of one name are the vendor's; one object twice on several pages is a list that moved.
        let is_moved = |other: &Value| !has_names || pages > 1 && other.get("id") == item.get("id");
        if known.insert(identity, item).is_some_and(is_moved) {
            return Err(format!("two items have the {} '{name}'", fields.join(" and ")));
        }
    }
    Ok(())
}
