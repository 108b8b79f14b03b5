//! One section: every object and every page of it, checked for completeness and shape.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tokio::task::JoinSet;

use super::addresses::{Address, Addresses};
use super::http::{Http, RequestError, VendorResponse};
use super::limits::{Limits, Stopwatch};
use super::paging::{ListPage, check_complete, count, page_query, page_size, unwrap, with_query};
use super::shape::{check_shape, root, unexpected};
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

/// The memory that a reading of an instance may take.
pub(super) struct ReadBudget {
    bodies: Arc<MemoryBudget>,
    memory: Arc<MemoryBudget>,
}

impl ReadBudget {
    pub(super) fn of(limits: &Limits) -> Self {
        Self { bodies: Arc::new(MemoryBudget::of(limits.bodies)), memory: Arc::new(MemoryBudget::of(limits.memory)) }
    }
}

/// The time and memory that the answer at one address may take.
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
    /// There is no response, or the vendor is out of service.
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
        // A refusal of every object is a refusal of the section.
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
            // A section that is off for every object is off.
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
        check_shape(self.section, &value)?;
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
            let query = page_query(self.section, page, items.len(), cursors.last());
            let answer = self.get(address, page, &query, allowance).await?;
            let ListPage { items: mut found, total, next } = unwrap(self.section, answer)?;
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
                        return Err(unexpected(self.section, "it does not say how many items there are").into());
                    }
                    // Without a total only a page that is not full ends the list.
                    None => found_here < page_size(self.section),
                },
            };
            if is_last {
                check_complete(self.section, &items, total, page + 1).map_err(PageError::Moved)?;
                return Ok(items);
            }
            if let Some(next) = next {
                if next.len() > LONGEST_CURSOR {
                    return Err(unexpected(self.section, "its cursor is too long").into());
                }
                if cursors.contains(&next) {
                    return Err(PageError::Moved("the vendor gave the same cursor twice".to_owned()));
                }
                cursors.push(next);
            }
        }
        Err(SectionRefusal::unreachable(format!("the list has more than {MOST_PAGES} pages")).into())
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
                items: value.as_ref().ok().and_then(|value| count(self.section, value)),
                digest: Some(Digest::of(&answer.body)),
                error: None,
            });
            return value;
        }
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
            if self.section.shape != Shape::List || self.section.key_at(&root(self.section)).is_none() || room.is_over()
            {
                return Err(error);
            }
            room.give_back_to(taken);
            canonical::parse_items(numbered.bytes(), self.section.items.as_deref(), room).map_err(|_| error)
        });
        value.map(|value| numbered.kept(value)).map_err(|error| SectionRefusal::unreachable(error.to_string()))
    }

    /// The meaning of a response other than 200 for the section and for the credential.
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
