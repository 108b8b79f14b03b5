//! The body of a webhook: Standard Webhooks 1.0, `{"type":…,"timestamp":…,"data":{…}}`, or the same as a CloudEvent.
//!
//! `data` is the [`Alert`] itself with its `severity`. The specification asks for less than 20 KB; what does not fit is
//! left out whole and counted: first long values and places of one entry (`before_omitted_bytes`,
//! `after_omitted_bytes`, `changes_omitted`), then entries (`omitted`), sections (`sections_omitted`) and notices
//! (`notices_omitted`).

use serde_json::{Map, Value, json};

use super::event_types::event_type;
use super::{Alert, Message};
use crate::clock::written;

/// Bytes of a body.
const LIMIT: usize = 20_000;
/// Bytes of one value in a body that would be too long.
const LONGEST_VALUE: usize = 500;
/// Characters of one text in a body that would be too long.
const LONGEST_TEXT: usize = 300;
/// Changes of one entry in a body that would be too long.
const MOST_CHANGES: usize = 10;
/// Bytes kept for the counts of what was left out.
const COUNTS: usize = 60;
/// Bytes around `data` in its envelope.
const FRAME: usize = 16;

/// The event of Standard Webhooks: `type`, `timestamp`, `data`; under 20 KB.
///
/// # Errors
/// The alert has no JSON form, which its types do not allow.
///
/// # Security
/// Text is exact, not made safe for display: JSON escapes control characters, and a receiver that shows the text has
/// to make it safe itself.
pub fn event(alert: &Alert) -> Result<Value, serde_json::Error> {
    let envelope = json!({ "type": event_type(alert), "timestamp": written(alert.at) });
    with_data(envelope, alert)
}

/// The same as a CloudEvent 1.0: `id` is the message's, `subject` the instance; under 20 KB.
///
/// # Errors
/// As [`event`].
pub fn cloud_event(message: &Message) -> Result<Value, serde_json::Error> {
    let alert = &message.alert;
    let mut envelope = json!({
        "specversion": "1.0",
        "id": message.id,
        "source": "/authdrift",
        "type": format!("authdrift.{}", event_type(alert)),
        "time": written(alert.at),
        "datacontenttype": "application/json",
    });
    if let (Some(instance), Some(envelope)) = (&alert.instance, envelope.as_object_mut()) {
        envelope.insert("subject".to_owned(), json!(instance));
    }
    with_data(envelope, alert)
}

fn with_data(mut envelope: Value, alert: &Alert) -> Result<Value, serde_json::Error> {
    let room = LIMIT.saturating_sub(serde_json::to_vec(&envelope)?.len() + FRAME);
    let mut data = serde_json::to_value(alert)?;
    if let Some(data) = data.as_object_mut() {
        data.insert("severity".to_owned(), json!(alert.severity()));
        if serde_json::to_vec(data)?.len() > room {
            shrink(data, room)?;
        }
    }
    if let Some(envelope) = envelope.as_object_mut() {
        envelope.insert("data".to_owned(), data);
    }
    Ok(envelope)
}

/// Leaves out of `data` what makes a body too long.
fn shrink(data: &mut Map<String, Value>, room: usize) -> Result<(), serde_json::Error> {
    let entries = taken(data, "entries");
    let (sections, notices) = (taken(data, "sections"), taken(data, "notices"));
    for value in data.values_mut() {
        cut_texts(value);
    }
    let mut room = room.saturating_sub(3 * COUNTS + serde_json::to_vec(data)?.len());
    // Sections and notices come first, so that many small changes cannot push them out.
    for (name, count, items) in [("sections", "sections_omitted", sections), ("notices", "notices_omitted", notices)] {
        let mut kept = Vec::new();
        let mut omitted = 0;
        for mut item in items {
            cut_texts(&mut item);
            keep(item, &mut kept, &mut room, &mut omitted)?;
        }
        data.insert(name.to_owned(), Value::Array(kept));
        if omitted > 0 {
            data.insert(count.to_owned(), json!(omitted));
        }
    }
    let mut kept = Vec::new();
    let mut omitted = 0;
    for mut entry in entries {
        shrink_entry(&mut entry)?;
        keep(entry, &mut kept, &mut room, &mut omitted)?;
    }
    data.insert("entries".to_owned(), Value::Array(kept));
    if omitted > 0 {
        data.insert("omitted".to_owned(), json!(omitted));
    }
    Ok(())
}

fn taken(data: &mut Map<String, Value>, name: &str) -> Vec<Value> {
    match data.get_mut(name).map(Value::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

fn keep(item: Value, kept: &mut Vec<Value>, room: &mut usize, omitted: &mut usize) -> Result<(), serde_json::Error> {
    let size = serde_json::to_vec(&item)?.len() + 1;
    if size <= *room {
        *room -= size;
        kept.push(item);
    } else {
        *omitted += 1;
    }
    Ok(())
}

fn shrink_entry(entry: &mut Value) -> Result<(), serde_json::Error> {
    let mut changes = entry.as_object_mut().map(|entry| taken(entry, "changes")).unwrap_or_default();
    let omitted = changes.len().saturating_sub(MOST_CHANGES);
    changes.truncate(MOST_CHANGES);
    for change in &mut changes {
        let Some(change) = change.as_object_mut() else {
            continue;
        };
        for side in ["before", "after"] {
            let Some(value) = change.get_mut(side) else {
                continue;
            };
            let size = serde_json::to_vec(value)?.len();
            if size > LONGEST_VALUE {
                *value = Value::Null;
                change.insert(format!("{side}_omitted_bytes"), json!(size));
            }
        }
        if let Some(path) = change.get_mut("path") {
            cut_texts(path);
        }
    }
    cut_texts(entry);
    if let Some(entry) = entry.as_object_mut() {
        entry.insert("changes".to_owned(), Value::Array(changes));
        if omitted > 0 {
            entry.insert("changes_omitted".to_owned(), json!(omitted));
        }
    }
    Ok(())
}

/// Shortens every long text in `value`, with a mark that says how much is missing.
fn cut_texts(value: &mut Value) {
    match value {
        Value::String(text) => {
            let missing = text.chars().count().saturating_sub(LONGEST_TEXT);
            let mark = format!("… ({missing} more characters)");
            if missing > mark.chars().count() {
                let kept: String = text.chars().take(LONGEST_TEXT).collect();
                *text = kept + &mark;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(cut_texts),
        Value::Object(fields) => fields.values_mut().for_each(cut_texts),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    fn parsed(alert: &Alert) -> Value {
        let text = event(alert).unwrap().to_string();
        assert!(text.len() < LIMIT, "{} bytes", text.len());
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_body_is_the_alert() {
        let body = parsed(&samples::drift());
        assert_eq!(body["type"], "drift.opened");
        assert_eq!(body["timestamp"], "2026-11-22T04:00:36Z");
        assert_eq!(body["data"]["severity"], "critical");
        assert_eq!(body["data"]["entries"][1]["changes"][0]["after"], 86400);
        assert_eq!(serde_json::from_value::<Alert>(body["data"].clone()).unwrap(), samples::drift());
    }

    #[test]
    fn too_much_is_left_out_whole_and_counted() {
        let body = parsed(&samples::many());
        let kept = body["data"]["entries"].as_array().unwrap().len();
        assert!(kept > 5, "{kept}");
        assert_eq!(body["data"]["omitted"], 200 - kept);
        assert_eq!(body["data"]["entries"][0]["title"], "MFA required at sign-up");

        let body = parsed(&samples::enormous());
        let kept = body["data"]["entries"].as_array().unwrap();
        assert!(!kept.is_empty());
        assert!(kept.iter().any(|entry| entry["changes_omitted"] == 20));
        let change = &kept.last().unwrap()["changes"][0];
        assert_eq!(change["after"], Value::Null);
        assert!(change["after_omitted_bytes"].as_u64().unwrap() > 1000);
    }

    #[test]
    fn hostile_text_is_escaped_and_exact() {
        let text = event(&samples::hostile()).unwrap().to_string();
        assert!(!text.bytes().any(|byte| byte.is_ascii_control()));
        let body: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(body["data"]["entries"][0]["why"], samples::EVIL);
    }

    #[test]
    fn a_cloud_event_has_what_the_specification_requires() {
        for alert in [samples::drift(), samples::many(), samples::enormous()] {
            let message = samples::message(alert);
            let event = cloud_event(&message).unwrap();
            assert!(event.to_string().len() < LIMIT);
            assert_eq!(event["specversion"], "1.0");
            assert_eq!(event["id"], message.id.as_str());
            assert_eq!(event["source"], "/authdrift");
            assert_eq!(event["type"], "authdrift.drift.opened");
            assert_eq!(event["subject"], "clerk:prod");
            assert_eq!(event["time"], "2026-11-22T04:00:36Z");
            assert_eq!(event["datacontenttype"], "application/json");
            assert_eq!(event["data"]["severity"], message.alert.severity().as_str());
        }
    }
}
