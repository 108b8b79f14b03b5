//! Slack, Microsoft Teams, Discord and PagerDuty, as strict as their documentation: what they would refuse is refused.

use std::io;
use std::ops::Deref;
use std::sync::Arc;

use serde_json::{Value, json};

use authdrift::clock::SystemClock;
use authdrift::simulator::vendor::{Answer, Request, Vendor};

/// The secret part of the addresses that the simulators of the chats have.
pub const SECRET_PATH: &str = "T0CANARY0/B0CANARY0/CANARYtokenOfAWebhook";

/// The routing key that the simulator of PagerDuty knows.
pub const ROUTING_KEY: &str = "CANARY0routing0key0of0pagerduty0";

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chat {
    /// An incoming webhook.
    Slack,
    /// A workflow.
    Teams,
    /// A webhook.
    Discord,
    /// The Events API v2.
    PagerDuty,
}

/// A running receiver. Everything of [`Vendor`] can be called on it.
#[derive(Debug, Clone)]
pub struct Receiver {
    vendor: Vendor,
}

impl Receiver {
    /// Starts one.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(chat: Chat) -> io::Result<Self> {
        let vendor = Vendor::start(Arc::new(SystemClock), move |request, _| answer(chat, request)).await?;
        Ok(Self { vendor })
    }

    /// The address to configure.
    pub fn hook_url(&self) -> String {
        format!("{}/services/{SECRET_PATH}", self.vendor.url())
    }

    /// Every body that was taken, in order.
    pub fn taken(&self) -> Vec<Value> {
        let requests = self.vendor.requests();
        let taken = requests.iter().filter(|request| request.status.is_some_and(|status| status < 300));
        taken.map(|request| serde_json::from_slice(&request.body).unwrap_or_default()).collect()
    }

    /// PagerDuty: the keys of the alerts that were begun and not ended, in the order in which they began.
    pub fn open_alerts(&self) -> Vec<String> {
        let mut open: Vec<String> = Vec::new();
        for event in self.taken() {
            let key = at(&event, "/dedup_key").as_str().unwrap_or_default().to_owned();
            open.retain(|known| *known != key);
            if *at(&event, "/event_action") == "trigger" {
                open.push(key);
            }
        }
        open
    }
}

impl Deref for Receiver {
    type Target = Vendor;

    fn deref(&self) -> &Vendor {
        &self.vendor
    }
}

fn answer(chat: Chat, request: &Request) -> Answer {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let is_json = request.header("content-type").is_some_and(|kind| kind.starts_with("application/json"));
    let problem = match chat {
        _ if request.method != "POST" => Some("only POST"),
        _ if !is_json || !body.is_object() => Some("no JSON"),
        Chat::Slack => slack(&body, request.body.len()),
        Chat::Teams => teams(&body, request.body.len()),
        Chat::Discord => discord(&body),
        Chat::PagerDuty => pagerduty(&body, request.body.len()),
    };
    match (chat, problem) {
        (Chat::PagerDuty, Some(problem)) => Answer::json(
            400,
            &json!({ "status": "invalid event", "message": "Event object is invalid", "errors": [problem] }),
        ),
        (_, Some(problem)) => Answer::text(400, problem),
        (Chat::Slack, None) => Answer::text(200, "ok"),
        (Chat::Teams, None) => Answer::text(202, ""),
        (Chat::Discord, None) => Answer::text(204, ""),
        (Chat::PagerDuty, None) => Answer::json(
            202,
            &json!({ "status": "success", "message": "Event processed", "dedup_key": at(&body, "/dedup_key") }),
        ),
    }
}

/// What is at `pointer`; null when there is nothing.
fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

/// Whether the value is a text of 1 to `most` characters.
fn is_text(value: &Value, most: usize) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty() && text.encode_utf16().count() <= most)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn slack(body: &Value, size: usize) -> Option<&'static str> {
    let is_object = |text: &Value, most| match at(text, "/type").as_str() {
        Some("plain_text" | "mrkdwn") => is_text(at(text, "/text"), most),
        _ => false,
    };
    let is_block = |block: &Value| match at(block, "/type").as_str() {
        Some("header") => *at(block, "/text/type") == "plain_text" && is_object(at(block, "/text"), 150),
        Some("section") => is_object(at(block, "/text"), 3_000),
        Some("context") => {
            (1..=10).contains(&list(at(block, "/elements")).len())
                && list(at(block, "/elements")).iter().all(|text| is_object(text, 3_000))
        }
        _ => false,
    };
    let blocks = list(at(body, "/blocks"));
    match () {
        () if size > 13_000 * 2 || body.to_string().encode_utf16().count() > 13_000 => Some("msg_blocks_too_long"),
        () if !is_text(at(body, "/text"), 40_000) => Some("no_text"),
        () if blocks.len() > 50 || !blocks.iter().all(is_block) => Some("invalid_blocks"),
        () => None,
    }
}

fn teams(body: &Value, size: usize) -> Option<&'static str> {
    fn is_element(element: &Value) -> bool {
        match at(element, "/type").as_str() {
            Some("TextBlock") => at(element, "/text").is_string(),
            Some("RichTextBlock") => {
                let inlines = list(at(element, "/inlines"));
                !inlines.is_empty()
                    && inlines.iter().all(|run| *at(run, "/type") == "TextRun" && at(run, "/text").is_string())
            }
            Some("Container") => {
                !list(at(element, "/items")).is_empty() && list(at(element, "/items")).iter().all(is_element)
            }
            _ => false,
        }
    }
    let [attachment] = list(at(body, "/attachments")) else { return Some("one attachment") };
    let card = at(attachment, "/content");
    match () {
        () if size > 28 * 1024 => Some("too large"),
        () if *at(body, "/type") != "message" => Some("not a message"),
        () if *at(attachment, "/contentType") != "application/vnd.microsoft.card.adaptive" => Some("not a card"),
        () if *at(card, "/type") != "AdaptiveCard" || !at(card, "/version").is_string() => Some("not an adaptive card"),
        () if list(at(card, "/body")).is_empty() || !list(at(card, "/body")).iter().all(is_element) => {
            Some("bad element")
        }
        () => None,
    }
}

fn discord(body: &Value) -> Option<&'static str> {
    let embeds = list(at(body, "/embeds"));
    let length = |value: &Value| value.as_str().map_or(0, |text| text.encode_utf16().count());
    let is_embed = |embed: &Value| {
        is_text(at(embed, "/title"), 256)
            && is_text(at(embed, "/description"), 4_096)
            && is_text(at(embed, "/footer/text"), 2_048)
            && at(embed, "/color").as_u64().is_some_and(|colour| colour <= 0xFF_FF_FF)
    };
    let all: usize = embeds
        .iter()
        .map(|embed| {
            length(at(embed, "/title")) + length(at(embed, "/description")) + length(at(embed, "/footer/text"))
        })
        .sum();
    match () {
        () if length(at(body, "/content")) > 2_000 => Some("content is too long"),
        () if !(1..=10).contains(&embeds.len()) || !embeds.iter().all(is_embed) => Some("bad embed"),
        () if all > 6_000 => Some("embeds are too long"),
        () => None,
    }
}

fn pagerduty(body: &Value, size: usize) -> Option<&'static str> {
    if size > 512 * 1024 {
        return Some("too large");
    }
    if *at(body, "/routing_key") != ROUTING_KEY {
        return Some("'routing_key' is invalid (must be 32 characters of a known integration)");
    }
    if !is_text(at(body, "/dedup_key"), 255) {
        return Some("'dedup_key' is invalid");
    }
    if *at(body, "/event_action") == "resolve" {
        return None;
    }
    let payload = at(body, "/payload");
    let severities = ["critical", "error", "warning", "info"];
    match () {
        () if *at(body, "/event_action") != "trigger" => Some("'event_action' is invalid"),
        () if !is_text(at(payload, "/summary"), 1_024) => Some("'payload.summary' is invalid"),
        () if !is_text(at(payload, "/source"), 1_024) => Some("'payload.source' is missing or blank"),
        () if !at(payload, "/severity").as_str().is_some_and(|word| severities.contains(&word)) => {
            Some("'payload.severity' is invalid")
        }
        () => None,
    }
}
