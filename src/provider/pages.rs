//! One section: every page of it, checked for completeness and shape.

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::Value;
use url::Url;

use super::http::Http;
use super::{Refusal, Session, quoted};
use crate::canonical;
use crate::model::State;
use crate::sections::{Paging, Section, Shape, Table};

/// Pages of one section at most: a list that never ends is the reader's fault or the vendor's.
const MOST_PAGES: usize = 200;

/// Reads `section` whole, or says why it could not.
pub(super) async fn read(
    http: &Http,
    table: &Table,
    section: &Section,
    session: &Session,
    now: DateTime<Utc>,
) -> Result<Value, Refusal> {
    let reader = SectionReader { http, table, section, session, now };
    let value = match reader.once().await {
        // A list that moved while it was read is not what it was: once more, from the beginning.
        Err(Trouble::Moved(_)) => reader.once().await,
        outcome => outcome,
    };
    value.map_err(|trouble| match trouble {
        Trouble::Refused(refusal) => refusal,
        Trouble::Moved(reason) => Refusal::unreachable(reason),
    })
}

enum Trouble {
    Refused(Refusal),
    /// The pages do not fit together.
    Moved(String),
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// One page of a list.
struct Page {
    items: Vec<Value>,
    total: Option<usize>,
    next: Option<String>,
}

struct SectionReader<'a> {
    http: &'a Http,
    table: &'a Table,
    section: &'a Section,
    session: &'a Session,
    now: DateTime<Utc>,
}

impl SectionReader<'_> {
    async fn once(&self) -> Result<Value, Trouble> {
        let value = match self.section.items {
            Some(_) => Value::Array(self.items().await?),
            None => self.get(&[]).await?,
        };
        self.check_shape(&value)?;
        Ok(value)
    }

    /// The items of all pages.
    async fn items(&self) -> Result<Vec<Value>, Trouble> {
        let mut items = Vec::new();
        let mut cursors: Vec<String> = Vec::new();
        for page in 0..MOST_PAGES {
            let answer = self.get(&self.page_query(page, items.len(), cursors.last())).await?;
            let Page { items: mut found, total, next } = self.unwrap(answer)?;
            let found_here = found.len();
            items.append(&mut found);
            let is_last = match self.section.paging {
                Paging::None => true,
                Paging::Checkpoint => next.is_none(),
                Paging::Offset | Paging::Page => match total {
                    Some(total) => items.len() >= total || found_here == 0,
                    // Without a total only a page that is not full ends the list.
                    None => found_here < self.page_size(),
                },
            };
            if is_last {
                return match total {
                    Some(total) if total != items.len() => Err(Trouble::Moved(format!(
                        "the list is not complete: the vendor counts {total}, {} were read",
                        items.len()
                    ))),
                    _ => Ok(items),
                };
            }
            if let Some(next) = next {
                if cursors.contains(&next) {
                    return Err(Trouble::Moved("the vendor gave the same cursor twice".to_owned()));
                }
                cursors.push(next);
            }
        }
        Err(Refusal::unreachable(format!("the list has more than {MOST_PAGES} pages")).into())
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
    fn unwrap(&self, answer: Value) -> Result<Page, Refusal> {
        let mut envelope = match answer {
            // A bare list says neither how many there are nor where the next page is.
            Value::Array(_) if matches!(self.section.paging, Paging::Checkpoint | Paging::Page) => {
                return Err(self.unexpected("it is a bare list, of which nobody knows whether it is complete"));
            }
            Value::Array(items) => return Ok(Page { items, total: None, next: None }),
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
        Ok(Page { items, total, next })
    }

    /// One answer, with one new token if the vendor wants one.
    async fn get(&self, page: &[(&'static str, String)]) -> Result<Value, Refusal> {
        let mut is_renewed = false;
        loop {
            let target = self.session.target(self.section);
            let url = with_query(target.url, self.section, page);
            let bearer = self.session.bearer(self.section).await;
            let answer = self
                .http
                .get(&url, bearer.as_ref(), target.headers)
                .await
                .map_err(|no_answer| Refusal::unreachable(no_answer.to_string()))?;
            if answer.status == 401 && !is_renewed && self.session.renew(self.http, bearer.as_ref(), self.now).await? {
                is_renewed = true;
                continue;
            }
            if answer.status == 200 {
                if answer.body.trim_ascii_start().starts_with(b"<") {
                    return Err(Refusal::unreachable("the answer is a page, not JSON: a proxy or a login in between?"));
                }
                return canonical::parse(&answer.body).map_err(|error| Refusal::unreachable(error.to_string()));
            }
            return Err(self.refusal(answer.status, &answer.body, bearer.as_ref()));
        }
    }

    /// What an answer other than 200 says about the section.
    fn refusal(&self, status: u16, body: &[u8], sent: Option<&SecretString>) -> Refusal {
        let body = serde_json::from_slice::<Value>(body).unwrap_or_default();
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
            let names: Vec<_> = scopes.iter().filter_map(Value::as_str).map(|scope| quoted(scope, sent)).collect();
            reason = format!("{reason} (needs {})", names.join(", "));
        }
        let state = self.table.meaning_of(self.section, status, code, message).unwrap_or(State::Unreachable);
        Refusal { state, reason, is_credential: status == 401 }
    }

    /// An answer of another kind than the section has is no reading of it.
    fn check_shape(&self, value: &Value) -> Result<(), Refusal> {
        match (self.section.shape, value) {
            (Shape::Object, Value::Object(_)) => self.check_fields(value, "the answer"),
            (Shape::List, Value::Array(items)) => {
                for item in items {
                    if !item.is_object() {
                        return Err(self.unexpected(&format!("an item is {}", kind_of(item))));
                    }
                    self.check_fields(item, "an item")?;
                }
                Ok(())
            }
            (Shape::Set, Value::Array(items)) => match items.iter().find(|item| item.is_object() || item.is_array()) {
                Some(item) => Err(self.unexpected(&format!("a member is {}", kind_of(item)))),
                None => Ok(()),
            },
            (_, other) => Err(self.unexpected(&format!("it is {}", kind_of(other)))),
        }
    }

    fn check_fields(&self, object: &Value, what: &str) -> Result<(), Refusal> {
        if let Some(field) = self.section.requires.iter().find(|field| object.get(field.as_str()).is_none()) {
            return Err(self.unexpected(&format!("{what} has no '{field}'")));
        }
        match &self.section.scoped_field {
            Some(scoped) if object.get(&scoped.field).is_none() => Err(Refusal {
                state: State::NotPermitted,
                reason: format!("{what} has no '{}': the credential needs {}", scoped.field, scoped.scope),
                is_credential: false,
            }),
            _ => Ok(()),
        }
    }

    fn unexpected(&self, what: &str) -> Refusal {
        Refusal::unreachable(format!("not an answer of section {}: {what}", self.section.name))
    }
}

fn with_query(mut url: Url, section: &Section, page: &[(&'static str, String)]) -> Url {
    let fixed = section.query.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let paging = page.iter().map(|(name, value)| (*name, value.as_str()));
    let mut pairs = fixed.chain(paging).peekable();
    if pairs.peek().is_some() {
        url.query_pairs_mut().extend_pairs(pairs);
    }
    url
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
