//! Offset and checkpoint pages, and the choice of fields.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::super::vendor::{Answer, Request};

/// How a list is paged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageStyle {
    Offset,
    Checkpoint,
    /// Offset, or checkpoint when asked with `take`.
    Both,
    /// Offset, always in a wrapper, which leaves out `page` and `total` when they are 0.
    Actions,
}

/// The lists: last part of the path, key of the wrapper, style. Any other array is served whole.
const LISTS: &[(&str, &str, PageStyle)] = &[
    ("clients", "clients", PageStyle::Offset),
    ("resource-servers", "resource_servers", PageStyle::Offset),
    ("roles", "roles", PageStyle::Offset),
    ("permissions", "permissions", PageStyle::Offset),
    ("rules", "rules", PageStyle::Offset),
    ("hooks", "hooks", PageStyle::Offset),
    ("network-acls", "network_acls", PageStyle::Offset),
    ("self-service-profiles", "self_service_profiles", PageStyle::Offset),
    ("flows", "flows", PageStyle::Offset),
    ("forms", "forms", PageStyle::Offset),
    ("encryption", "keys", PageStyle::Offset),
    ("rendering", "configs", PageStyle::Offset),
    ("client-grants", "client_grants", PageStyle::Both),
    ("connections", "connections", PageStyle::Both),
    ("organizations", "organizations", PageStyle::Both),
    ("custom-domains", "custom_domains", PageStyle::Both),
    ("event-streams", "eventStreams", PageStyle::Checkpoint),
    ("token-exchange-profiles", "token_exchange_profiles", PageStyle::Checkpoint),
    ("rate-limit-policies", "rate_limit_policies", PageStyle::Checkpoint),
    ("connection-profiles", "connection_profiles", PageStyle::Checkpoint),
    ("user-attribute-profiles", "user_attribute_profiles", PageStyle::Checkpoint),
    ("connections-scim-configurations", "scim_configurations", PageStyle::Checkpoint),
    ("connections-directory-provisionings", "directory_provisionings", PageStyle::Checkpoint),
    ("discovery-domains", "domains", PageStyle::Checkpoint),
    ("groups", "groups", PageStyle::Checkpoint),
    ("actions", "actions", PageStyle::Actions),
    ("modules", "modules", PageStyle::Actions),
    ("bindings", "bindings", PageStyle::Actions),
];

/// The requested part of a document.
pub(super) fn serve(request: &Request, document: &Value, max_page_size: usize) -> Result<Answer, String> {
    let Some(items) = document.as_array() else { return Ok(Answer::json(200, &choose(request, document))) };
    let Some((name, style)) = list(&request.path) else { return Ok(Answer::json(200, document)) };
    let items: Vec<&Value> = items.iter().filter(|item| is_wanted(request, item)).collect();
    let checkpoint = request.parameter("take").is_some() || request.parameter("from").is_some();
    match (style, checkpoint) {
        (PageStyle::Offset | PageStyle::Actions, true) => Err("'Additional properties not allowed: take'".to_owned()),
        (PageStyle::Offset | PageStyle::Both, false) => offset_page(request, name, &items, max_page_size),
        (PageStyle::Actions, false) => actions_page(request, name, &items, max_page_size),
        (PageStyle::Checkpoint, _) | (PageStyle::Both, true) => checkpoint_page(request, name, &items, max_page_size),
    }
}

/// `connections/{id}/clients` is a checkpoint list, unlike `clients`.
pub(super) fn list(path: &str) -> Option<(&'static str, PageStyle)> {
    let (parent, last) = path.rsplit_once('/')?;
    let (_, name, style) = LISTS.iter().find(|(segment, ..)| *segment == last)?;
    let nested = parent != "/api/v2" && last == "clients";
    Some((name, if nested { PageStyle::Checkpoint } else { *style }))
}

fn is_wanted(request: &Request, item: &Value) -> bool {
    match request.parameter("is_global").as_deref() {
        Some(wanted) => item.get("global").and_then(Value::as_bool).unwrap_or_default() == (wanted == "true"),
        None => true,
    }
}

/// `fields` names what to keep, or what to leave out with `include_fields=false`.
fn choose(request: &Request, item: &Value) -> Value {
    let (Some(fields), Value::Object(members)) = (request.parameter("fields"), item) else { return item.clone() };
    let keep = request.parameter("include_fields").as_deref() != Some("false");
    let named = |key: &str| fields.split(',').any(|field| field.trim() == key);
    let chosen: Map<String, Value> =
        members.iter().filter(|(key, _)| named(key) == keep).map(|(key, value)| (key.clone(), value.clone())).collect();
    Value::Object(chosen)
}

/// One page of `items`, with the fields that were asked for.
fn chosen(request: &Request, items: &[&Value], start: usize, limit: usize) -> Vec<Value> {
    items.iter().skip(start).take(limit).map(|item| choose(request, item)).collect()
}

fn offset_page(request: &Request, name: &str, items: &[&Value], max: usize) -> Result<Answer, String> {
    let page = number(request, "page", 0, 0, usize::MAX)?;
    let asked = number(request, "per_page", 50, 1, 100)?;
    if matches!(name, "connections" | "organizations") && page.saturating_add(1).saturating_mul(asked) > 1000 {
        return Err("'You can only page through the first 1000 records'".to_owned());
    }
    let limit = asked.min(max);
    let start = page.saturating_mul(limit);
    let shown = chosen(request, items, start, limit);
    if request.parameter("include_totals").as_deref() != Some("true") {
        return Ok(Answer::json(200, &json!(shown)));
    }
    Ok(Answer::json(200, &json!({ "start": start, "limit": limit, "total": items.len(), name: shown })))
}

fn actions_page(request: &Request, name: &str, items: &[&Value], max: usize) -> Result<Answer, String> {
    let page = number(request, "page", 0, 0, usize::MAX)?;
    let limit = number(request, "per_page", 20, 1, 100)?.min(max);
    let shown = chosen(request, items, page.saturating_mul(limit), limit);
    let mut answer = Map::from_iter([(name.to_owned(), json!(shown)), ("per_page".to_owned(), json!(limit))]);
    let unless_zero = [("page", page), ("total", items.len())].into_iter().filter(|(_, number)| *number > 0);
    answer.extend(unless_zero.map(|(name, number)| (name.to_owned(), json!(number))));
    Ok(Answer::json(200, &Value::Object(answer)))
}

fn checkpoint_page(request: &Request, name: &str, items: &[&Value], max: usize) -> Result<Answer, String> {
    let most = match name {
        "clients" => 1000,
        "connection_profiles" | "user_attribute_profiles" => 10,
        _ => 100,
    };
    let limit = number(request, "take", 50.min(most), 1, most)?.min(max);
    let start = match request.parameter("from").filter(|from| !from.is_empty()) {
        Some(cursor) => read_cursor(&cursor).ok_or("'Invalid cursor' on property from")?,
        None => 0,
    };
    let shown = chosen(request, items, start, limit);
    let end = start.saturating_add(shown.len());
    if end == items.len() || shown.is_empty() {
        return Ok(Answer::json(200, &json!({ name: shown })));
    }
    let next = URL_SAFE_NO_PAD.encode(format!("after:{end}"));
    Ok(Answer::json(200, &json!({ name: shown, "next": next })))
}

fn read_cursor(cursor: &str) -> Option<usize> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    text.strip_prefix("after:")?.parse().ok()
}

fn number(request: &Request, name: &str, default: usize, least: usize, most: usize) -> Result<usize, String> {
    let Some(text) = request.parameter(name) else { return Ok(default) };
    let number: usize = text.parse().map_err(|_| format!("'Expected type integer but found type string' on {name}"))?;
    if (least..=most).contains(&number) {
        return Ok(number);
    }
    Err(format!("'Value {number} is not between {least} and {most}' on property {name}"))
}
