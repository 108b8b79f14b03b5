//! Slack's incoming webhooks: blocks.
//!
//! Our own words are bold, everything foreign is in a code span or in a `plain_text` object; `& < >` are escaped in both,
//! so that nothing becomes a mention or a link.

use serde_json::{Value, json};

use super::Alert;
use super::card::{Card, CardItem, cut, length, more_words, without_backticks};

/// Characters of a header.
const HEADER: usize = 150;
/// Characters of the text of one block.
const SECTION: usize = 3_000;
/// Blocks of a message; those around the items are fewer than ten.
const ITEMS: usize = 40;
/// Characters of all blocks: Slack refuses messages near 13,000, whatever it says about single blocks.
const TOTAL: usize = 12_000;

/// The message.
pub(super) fn message(alert: &Alert) -> Value {
    let card = Card::of(alert);
    let title = format!("{} {}", card.label, card.about);
    let mut blocks = vec![
        json!({ "type": "header", "text": plain(&cut_escaped(&title, HEADER)) }),
        json!({ "type": "section", "text": plain(&cut_escaped(&card.headline, SECTION)) }),
    ];
    let facts: Vec<String> = card.facts.iter().map(|(label, text)| format!("{label}: {text}")).collect();
    if !facts.is_empty() {
        blocks.push(json!({ "type": "section", "text": plain(&cut_escaped(&facts.join("\n"), SECTION)) }));
    }
    let mut end = Vec::new();
    if let Some(who) = &card.who {
        end.push(json!({ "type": "context", "elements": [plain(&cut_escaped(who, SECTION))] }));
    }
    let steps: Vec<String> =
        card.steps.iter().map(|step| format!("{} {}", step.question, code(&step.command))).collect();
    if !steps.is_empty() {
        end.push(json!({ "type": "section", "text": markup(&steps.join("\n")) }));
    }
    end.push(json!({ "type": "context", "elements": [plain(&cut_escaped(&card.footer, SECTION))] }));

    let size = |blocks: &[Value]| length(&Value::from(blocks).to_string());
    let mut room = TOTAL.saturating_sub(size(&blocks) + size(&end) + 100 + length(&card.headline) * 2);
    let mut items = Vec::new();
    let more = card.whole_items(|item| {
        let block = json!({ "type": "section", "text": markup(&item.within(SECTION, layout)) });
        let cost = length(&block.to_string()) + 1;
        let fits = items.len() < ITEMS && cost <= room;
        if fits {
            room -= cost;
            items.push(block);
        }
        fits
    });
    blocks.extend(items);
    if more > 0 {
        blocks.push(json!({ "type": "section", "text": plain(&more_words(more)) }));
    }
    blocks.extend(end);
    json!({ "text": cut_escaped(&format!("{}: {}", card.label, card.headline), SECTION), "blocks": blocks })
}

fn layout(item: &CardItem) -> String {
    let title = format!("*{}* {}", item.label, code(&item.title));
    if item.lines.is_empty() && item.notes.is_empty() {
        return title;
    }
    let lines: Vec<&str> = item.lines.iter().chain(&item.notes).map(String::as_str).collect();
    format!("{title}\n```\n{}\n```", escaped(&without_backticks(&lines.join("\n"))))
}

fn plain(text: &str) -> Value {
    json!({ "type": "plain_text", "text": text, "emoji": false })
}

/// `verbatim`: addresses and names in it do not become links.
fn markup(text: &str) -> Value {
    json!({ "type": "mrkdwn", "text": text, "verbatim": true })
}

fn code(text: &str) -> String {
    format!("`{}`", escaped(&without_backticks(text)))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Escapes, and shortens before that until it fits: an escape is never cut.
fn cut_escaped(text: &str, longest: usize) -> String {
    let mut keep = longest;
    loop {
        let safe = escaped(&cut(text, keep));
        if length(&safe) <= longest {
            return safe;
        }
        keep = keep.saturating_sub(1 + (length(&safe) - longest) / 5);
    }
}
