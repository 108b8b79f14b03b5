//! One section: every object and every page of it, checked for completeness and shape.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tokio::task::JoinSet;
use url::Url;

use super::addresses::{Address, Addresses};
use super::http::{Http, Limits, RequestError, Stopwatch, VendorResponse};
use super::{ReadSession, RequestRecord, SectionRefusal, quoted};
use crate::canonical::{self, MemoryBudget, Numbered, weight};
use crate::model::{Digest, State};
use crate::sections::{Api, Paging, Section, Shape, Table};

/// Pages of one list at most: a list that never ends is the reader's fault or the vendor's.
const MOST_PAGES: usize = 200;

/// Objects of one section that are asked for at once; the others wait, so that other sections get their turns.
const MOST_AT_ONCE: usize = 4;

/// The longest cursor that is sent back.
const LONGEST_CURSOR: usize = 4 << 10;

/// Refusals of single objects, before any object was answered, that are one of the section: the others are not asked for.
const ENOUGH_REFUSALS: usize = 10;

/// Scopes that a refusal may name.
const MOST_SCOPES: usize = 20;

/// What all that is read of an instance may take.
pub(super) struct ReadBudget {
    bodies: Arc<MemoryBudget>,
    memory: Arc<MemoryBudget>,
}

impl ReadBudget {
    pub(super) fn of(limits: &Limits) -> Self {
        Self { bodies: Arc::new(MemoryBudget::of(limits.bodies)), memory: Arc::new(MemoryBudget::of(limits.memory)) }
    }
}

/// What the answer at one address may take.
struct Allowance {
    stopwatch: Stopwatch,
    bodies: MemoryBudget,
    memory: MemoryBudget,
}

/// Everything that reading one section needs.
pub(super) struct SectionReader {
    pub(super) rooms: Arc<ReadBudget>,
    pub(super) http: Arc<Http>,
    pub(super) table: &'static Table,
    pub(super) section: &'static Section,
    pub(super) session: Arc<ReadSession>,
    pub(super) now: DateTime<Utc>,
}

enum PageError {
    /// The answer cannot be used: nothing is said about other answers of the section.
    Refused(SectionRefusal),
    /// There is no answer, or the vendor answers nothing to anybody now.
    Failed(SectionRefusal),
    /// The pages do not fit together.
    Moved(String),
}

impl From<SectionRefusal> for PageError {
    fn from(refusal: SectionRefusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Why there is no answer of one address.
struct AddressError {
    refusal: SectionRefusal,
    /// It says nothing about other addresses of the section.
    is_of_address: bool,
}

impl AddressError {
    fn of_section(self) -> SectionRefusal {
        self.refusal
    }
}

/// The refusal of a section because of the object with these keys.
fn of_object(keys: &[String], refusal: SectionRefusal) -> SectionRefusal {
    let reason = format!("of '{}': {}", keys.join(" "), refusal.reason);
    SectionRefusal { reason: crate::model::display_safe(&reason), ..refusal }
}

/// One page of a list.
struct ListPage {
    items: Vec<Value>,
    total: Option<usize>,
    next: Option<String>,
}

impl SectionReader {
    /// Reads the section whole, or says why it could not: what is read of a part is never taken for the whole.
    pub(super) async fn read(self, addresses: Addresses) -> Result<Value, SectionRefusal> {
        let Addresses { asked: addresses, unusable } = addresses;
        // Objects that are read one by one are as large together as two that are.
        let most = match (self.section.each.is_empty(), self.section.shape) {
            (true, Shape::List) => self.http.limits().list,
            (true, _) => self.http.limits().object,
            (false, _) => 2 * self.http.limits().object,
        };
        let memory = Arc::new(MemoryBudget::within(&self.rooms.memory, most));
        let reader = Arc::new(self);
        if reader.section.each.is_empty() {
            let Some(address) = addresses.first() else { return Ok(Value::Null) };
            return reader.answer(address, &memory).await.map_err(AddressError::of_section);
        }
        let mut addresses = addresses.into_iter();
        let mut tasks = JoinSet::new();
        let ask_next = |tasks: &mut JoinSet<_>, address: Address| {
            let (reader, memory) = (Arc::clone(&reader), Arc::clone(&memory));
            tasks.spawn(async move {
                let answer = reader.answer(&address, &memory).await;
                (address.keys, answer)
            });
        };
        addresses.by_ref().take(MOST_AT_ONCE).for_each(|address| ask_next(&mut tasks, address));
        let mut objects = Map::new();
        let mut refused: BTreeMap<Vec<String>, SectionRefusal> = BTreeMap::new();
        let (mut off, mut answered) = (None, 0_usize);
        while let Some(finished) = tasks.join_next().await {
            let (keys, answer) = finished.map_err(|error| SectionRefusal::unreachable(error.to_string()))?;
            addresses.by_ref().take(1).for_each(|address| ask_next(&mut tasks, address));
            match answer {
                Ok(value) => {
                    answered += 1;
                    insert(&mut objects, &keys, value);
                }
                Err(AddressError { refusal, .. }) if refusal.state == State::Off => {
                    reader.session.leave_out(reader.section, keys);
                    off = off.or(Some(refusal).filter(|refusal| !refusal.is_of_object));
                }
                Err(AddressError { refusal, is_of_address: true }) => {
                    refused.insert(keys, refusal);
                    if answered == 0 && refused.len() >= ENOUGH_REFUSALS {
                        break;
                    }
                }
                Err(AddressError { refusal, .. }) => return Err(of_object(&keys, refusal)),
            }
        }
        // What is said of every object is said of the section.
        if answered == 0
            && let Some((keys, refusal)) = refused.pop_first()
        {
            return Err(of_object(&keys, refusal));
        }
        // Of one object nothing is known then, and the others are as they are.
        for (keys, refusal) in refused {
            insert(&mut objects, &keys, canonical::unusable(&refusal.reason, Map::new()));
        }
        match off {
            // What is off for every object is off.
            Some(refusal) if answered == 0 => Err(refusal),
            _ => {
                for (keys, reason) in unusable {
                    insert(&mut objects, &keys, canonical::unusable(&reason, Map::new()));
                }
                Ok(Value::Object(objects))
            }
        }
    }

    /// The whole answer at one address.
    async fn answer(&self, address: &Address, memory: &Arc<MemoryBudget>) -> Result<Value, AddressError> {
        let limits = self.http.limits();
        let allowance = Allowance {
            stopwatch: Stopwatch::new(limits.address),
            bodies: MemoryBudget::within(&self.rooms.bodies, limits.body),
            memory: MemoryBudget::within(
                memory,
                if self.section.each.is_empty() { limits.list } else { limits.object },
            ),
        };
        let value = match self.once(address, &allowance).await {
            // A list that moved while it was read is not what it was: once more, from the beginning.
            Err(PageError::Moved(_)) => {
                allowance.bodies.give_back();
                allowance.memory.give_back();
                self.once(address, &allowance).await
            }
            outcome => outcome,
        };
        value.map_err(|trouble| {
            // Where all answers together are too large, this one is no worse than the others.
            let is_one_too_many = memory.is_over();
            // What could not be read takes nothing from what can.
            allowance.bodies.give_back();
            allowance.memory.give_back();
            let (refusal, is_of_address) = match trouble {
                PageError::Refused(refusal) => (refusal, true),
                PageError::Failed(refusal) => (refusal, false),
                PageError::Moved(reason) => (SectionRefusal::unreachable(reason), true),
            };
            AddressError { refusal, is_of_address: is_of_address && !is_one_too_many }
        })
    }

    async fn once(&self, address: &Address, allowance: &Allowance) -> Result<Value, PageError> {
        let value = match self.section.items {
            Some(_) => Value::Array(self.items(address, allowance).await?),
            None => self.get(address, 0, &[], allowance).await?,
        };
        self.check_shape(&value)?;
        self.check_size(&value)?;
        Ok(value)
    }

    /// No object of a list is larger than one that is read alone may be.
    fn check_size(&self, value: &Value) -> Result<(), SectionRefusal> {
        let most = self.http.limits().object;
        match value.as_array().into_iter().flatten().any(|item| weight(item) > most) {
            true => Err(SectionRefusal::unreachable(format!("an object of it is larger than {} MiB", most >> 20))),
            false => Ok(()),
        }
    }

    /// The items of all pages.
    async fn items(&self, address: &Address, allowance: &Allowance) -> Result<Vec<Value>, PageError> {
        let mut items = Vec::new();
        let mut cursors: Vec<String> = Vec::new();
        let mut first_total = None;
        for page in 0..MOST_PAGES {
            let query = self.page_query(page, items.len(), cursors.last());
            let answer = self.get(address, page, &query, allowance).await?;
            let ListPage { items: mut found, total, next } = self.unwrap(answer)?;
            let found_here = found.len();
            items.append(&mut found);
            if let (Some(first), Some(total)) = (*first_total.get_or_insert(total), total)
                && first != total
            {
                return Err(PageError::Moved(format!("the list moved while it was read: {first} items, then {total}")));
            }
            let is_last = match self.section.paging {
                Paging::None => true,
                Paging::Checkpoint => next.is_none(),
                Paging::Offset | Paging::Page => match total {
                    Some(total) => items.len() >= total || found_here == 0,
                    // Auth0 leaves the total out of an empty list only.
                    None if self.section.paging == Paging::Page && found_here > 0 => {
                        return Err(self.unexpected("it does not say how many items there are").into());
                    }
                    // Without a total only a page that is not full ends the list.
                    None => found_here < self.page_size(),
                },
            };
            if is_last {
                self.check_complete(&items, total, page + 1)?;
                return Ok(items);
            }
            if let Some(next) = next {
                if next.len() > LONGEST_CURSOR {
                    return Err(self.unexpected("its cursor is too long").into());
                }
                if cursors.contains(&next) {
                    return Err(PageError::Moved("the vendor gave the same cursor twice".to_owned()));
                }
                cursors.push(next);
            }
        }
        Err(SectionRefusal::unreachable(format!("the list has more than {MOST_PAGES} pages")).into())
    }

    /// As many items as the vendor counts, and none twice: a list that moves while it is paged shows an item on two pages
    /// and hides another.
    fn check_complete(&self, items: &[Value], total: Option<usize>, pages: usize) -> Result<(), PageError> {
        if let Some(total) = total.filter(|total| *total != items.len()) {
            let read = items.len();
            let reason = format!("the list is not complete: the vendor counts {total}, {read} were read");
            return Err(PageError::Moved(reason));
        }
        // An ordered list has no key, and may have ids.
        let ids = self.section.requires.iter().find(|field| *field == "id").map(std::slice::from_ref);
        let Some(fields) = self.section.key_at(&self.root()).or(ids) else { return Ok(()) };
        let has_names = self.section.key_at(&self.root()).is_some();
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
                return Err(PageError::Moved(format!("two items have the {} '{name}'", fields.join(" and "))));
            }
        }
        Ok(())
    }

    /// Where the items of the section are in it.
    fn root(&self) -> Vec<String> {
        vec!["*".to_owned(); self.section.each.len()]
    }

    fn page_size(&self) -> usize {
        match self.section.paging {
            Paging::Offset => 500,
            Paging::None | Paging::Page | Paging::Checkpoint => 100,
        }
    }

    fn page_query(&self, page: usize, offset: usize, cursor: Option<&String>) -> Vec<(&'static str, String)> {
        let size = self.page_size().to_string();
        match self.section.paging {
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

    /// Items, total and cursor of one page, whether it comes in an envelope or bare.
    fn unwrap(&self, answer: Value) -> Result<ListPage, SectionRefusal> {
        let mut envelope = match answer {
            // A bare list says neither how many there are nor where the next page is.
            Value::Array(_) if matches!(self.section.paging, Paging::Checkpoint | Paging::Page) => {
                return Err(self.unexpected("it is a bare list, of which nobody knows whether it is complete"));
            }
            Value::Array(items) => return Ok(ListPage { items, total: None, next: None }),
            Value::Object(envelope) => envelope,
            other => return Err(self.unexpected(&format!("it is {}", kind_of(&other)))),
        };
        let name = self.section.items.as_deref().unwrap_or_default();
        let Some(Value::Array(items)) = envelope.remove(name) else {
            return Err(self.unexpected(&format!("there is no list '{name}'")));
        };
        let total = ["total", "total_count"].iter().find_map(|name| envelope.get(*name));
        let total = total.and_then(Value::as_u64).and_then(|total| usize::try_from(total).ok());
        let next = envelope.get("next").and_then(Value::as_str).filter(|next| !next.is_empty()).map(str::to_owned);
        let next = next.filter(|_| self.section.paging == Paging::Checkpoint);
        Ok(ListPage { items, total, next })
    }

    /// One answer, with one new token if the vendor wants one.
    async fn get(
        &self,
        address: &Address,
        page: usize,
        query: &[(&'static str, String)],
        allowance: &Allowance,
    ) -> Result<Value, PageError> {
        let url = with_query(&address.url, self.section, query);
        let headers = self.session.headers(self.section);
        let mut is_renewed = false;
        loop {
            // Once the credential is known to be dead, every other answer would only say it again.
            let refused = || self.session.refused(self.section.api);
            let bearer = || async {
                match refused() {
                    None => Some(self.session.bearer(self.section).await),
                    Some(_) => None,
                }
            };
            let answer = match self.http.get(&url, bearer, headers, &allowance.stopwatch, &allowance.bodies).await {
                Ok(answer) => answer,
                Err(RequestError::Unwanted) => {
                    let unwanted = || SectionRefusal::unreachable(RequestError::Unwanted.to_string());
                    return Err(PageError::Failed(refused().unwrap_or_else(unwanted)));
                }
                Err(request_error) => {
                    self.http.record(RequestRecord::failed(url.path(), page, &request_error));
                    let refusal = SectionRefusal::unreachable(request_error.to_string());
                    return Err(match request_error {
                        RequestError::Broken(_) | RequestError::TooLarge(_) => PageError::Refused(refusal),
                        _ => PageError::Failed(refusal),
                    });
                }
            };
            if matches!(answer.status, 200..=399 | 403 | 404) {
                self.session.accept(self.section.api);
            }
            if answer.status == 401
                && !is_renewed
                && self.session.renew(&self.http, answer.sent.as_ref(), self.now).await.map_err(PageError::Failed)?
            {
                is_renewed = true;
                continue;
            }
            let value = match answer.status {
                200 => self.parse(&answer, &allowance.memory).map_err(PageError::Refused),
                401 | 429 => Err(PageError::Failed(self.refusal(url.path(), &answer))),
                _ => Err(PageError::Refused(self.refusal(url.path(), &answer))),
            };
            self.http.record(RequestRecord {
                method: "GET",
                path: url.path().to_owned(),
                page,
                status: Some(answer.status),
                date: answer.date,
                items: value.as_ref().ok().and_then(|value| self.count(value)),
                digest: Some(Digest::of(&answer.body)),
                error: None,
            });
            return value;
        }
    }

    /// How many items a page has; none for an answer that is no list.
    fn count(&self, value: &Value) -> Option<usize> {
        let list = self.section.items.as_ref().and_then(|items| value.get(items)).unwrap_or(value);
        list.as_array().map(Vec::len)
    }

    fn parse(&self, answer: &VendorResponse, room: &MemoryBudget) -> Result<Value, SectionRefusal> {
        let kind = &answer.content_type;
        if !kind.is_empty() && !kind.ends_with("json") {
            let kind = crate::model::display_safe(kind);
            let text = format!("the answer is {kind}, not JSON: a proxy or a login in between?");
            return Err(SectionRefusal::unreachable(text));
        }
        let numbered = Numbered::of(&answer.body);
        let taken = room.taken();
        let value = canonical::parse_within(numbered.bytes(), room).or_else(|error| {
            // Of a list whose items have names a few may be odd: they are unknown then, and the others are read.
            if self.section.shape != Shape::List || self.section.key_at(&self.root()).is_none() || room.is_over() {
                return Err(error);
            }
            room.give_back_to(taken);
            canonical::parse_items(numbered.bytes(), self.section.items.as_deref(), room).map_err(|_| error)
        });
        value.map(|value| numbered.kept(value)).map_err(|error| SectionRefusal::unreachable(error.to_string()))
    }

    /// What an answer other than 200 says about the section, and about the credential.
    fn refusal(&self, path: &str, answer: &VendorResponse) -> SectionRefusal {
        let (status, sent) = (answer.status, answer.sent.as_ref());
        let body = canonical::parse(&answer.body).unwrap_or_default();
        // Clerk: {"errors":[{"code","long_message","meta"}]}; Auth0: {"errorCode","message"}.
        let first = body.pointer("/errors/0");
        let text = |pointer: &str| first.and_then(|first| first.pointer(pointer)).and_then(Value::as_str);
        let plain = |name: &str| body.get(name).and_then(Value::as_str);
        let code = text("/code").or_else(|| plain("errorCode")).unwrap_or_default();
        let message =
            text("/long_message").or_else(|| text("/message")).or_else(|| plain("message")).unwrap_or_default();
        let scopes = first.and_then(|first| first.pointer("/meta/scopes")).and_then(Value::as_array);

        let mut reason = format!("{status}");
        if !code.is_empty() {
            reason = format!("{reason}, {}", quoted(code, sent));
        }
        if !message.is_empty() {
            reason = format!("{reason}: {}", quoted(message, sent));
        }
        if let Some(scopes) = scopes {
            let names: Vec<_> =
                scopes.iter().filter_map(Value::as_str).take(MOST_SCOPES).map(|scope| quoted(scope, sent)).collect();
            reason = format!("{reason} (needs {})", names.join(", "));
        }
        let meaning = self.table.meaning_of(self.section, status, code, message);
        // The APIs say what is off or not in the plan in JSON: a page of a proxy with the same status says nothing.
        let is_vendors = body.is_object() || status == 204 || self.section.api == Api::Frontend;
        if meaning.state.is_comparable() && !is_vendors {
            return SectionRefusal::unreachable(format!("{reason}, and not in the words of the vendor"));
        }
        let is_of_object = meaning.is_of_object;
        let refusal = SectionRefusal { state: meaning.state, reason, is_credential: status == 401, is_of_object };
        if meaning.is_credential {
            self.session.refuse_at(self.section.api, path, refusal.clone());
        }
        refusal
    }

    /// An answer of another kind than the section has is no reading of it.
    fn check_shape(&self, value: &Value) -> Result<(), SectionRefusal> {
        match (self.section.shape, value) {
            (Shape::Object, Value::Object(_)) => self.check_fields(value, "the answer"),
            (Shape::List, Value::Array(items)) => {
                let mut troubles = items.iter().map(|item| match item.is_object() {
                    true => self.check_fields(item, "an item"),
                    false => Err(self.unexpected(&format!("an item is {}", kind_of(item)))),
                });
                let trouble = troubles.by_ref().find(Result::is_err);
                // Of a list whose items have names a few may be odd: they are unknown then, and the others are read.
                let has_names = self.section.key_at(&self.root()).is_some();
                match trouble {
                    Some(trouble) if !has_names || items.iter().all(|item| self.section.missing_in(item).is_some()) => {
                        trouble
                    }
                    _ => Ok(()),
                }
            }
            (Shape::Set, Value::Array(items)) => match items.iter().find(|item| item.is_object() || item.is_array()) {
                Some(item) => Err(self.unexpected(&format!("a member is {}", kind_of(item)))),
                None => Ok(()),
            },
            (_, other) => Err(self.unexpected(&format!("it is {}", kind_of(other)))),
        }
    }

    fn check_fields(&self, object: &Value, what: &str) -> Result<(), SectionRefusal> {
        if let Some(field) = self.section.requires.iter().find(|field| object.get(field.as_str()).is_none()) {
            return Err(self.unexpected(&format!("{what} has no '{field}'")));
        }
        match &self.section.scoped_field {
            Some(scoped) if object.get(&scoped.field).is_none() => {
                let reason = format!("{what} has no '{}': the credential needs {}", scoped.field, scoped.scope);
                Err(SectionRefusal::of(State::NotPermitted, reason))
            }
            _ => Ok(()),
        }
    }

    fn unexpected(&self, what: &str) -> SectionRefusal {
        SectionRefusal::unreachable(format!("not an answer of section {}: {what}", self.section.name))
    }
}

fn with_query(url: &Url, section: &Section, page: &[(&'static str, String)]) -> Url {
    // What the row fixes is fixed: some lists have a smaller page than the others.
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

/// Puts `value` at `keys`, one object within the other.
fn insert(objects: &mut Map<String, Value>, keys: &[String], value: Value) {
    match keys {
        [] => {}
        [key] => _ = objects.insert(key.clone(), value),
        [key, rest @ ..] => {
            let inner = objects.entry(key).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
