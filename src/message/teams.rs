//! Microsoft Teams' workflows: one adaptive card.
//!
//! A `TextBlock` reads markup, so it holds our own words only; everything foreign is a `TextRun`, which reads none.

use serde_json::{Value, json};

use super::Alert;
use super::card::{Card, CardItem, Tone, more_words};

/// Bytes of a message; Teams takes 28 KB.
const TOTAL: usize = 24_000;
/// Characters of the lines of one item.
const ITEM: usize = 3_000;

/// The message.
pub(super) fn message(alert: &Alert) -> Value {
    let card = Card::of(alert);
    let mut body = vec![
        json!({
            "type": "TextBlock", "text": format!("authdrift: {}", card.label), "weight": "Bolder", "size": "Medium",
            "wrap": true, "color": colour(card.tone),
        }),
        text(&[run(&card.headline)]),
    ];
    body.extend(card.facts.iter().map(|(label, fact)| text(&[bold(&format!("{label}: ")), run(fact)])));
    let mut end = Vec::new();
    end.extend(card.who.as_ref().map(|who| text(&[run(who)])));
    end.extend(card.steps.iter().map(|step| text(&[bold(&format!("{} ", step.question)), code(&step.command)])));
    end.push(text(&[subtle(&card.footer)]));

    let size = |blocks: &[Value]| Value::from(blocks).to_string().len();
    let mut room = TOTAL.saturating_sub(size(&body) + size(&end) + 600);
    let mut items = Vec::new();
    let more = card.whole_items(|item| {
        let block = container(item);
        let cost = block.to_string().len() + 1;
        let fits = cost <= room;
        if fits {
            room -= cost;
            items.push(block);
        }
        fits
    });
    body.extend(items);
    if more > 0 {
        body.push(text(&[run(&more_words(more))]));
    }
    body.extend(end);
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "body": body,
                "msteams": { "width": "full" },
            },
        }],
    })
}

fn container(item: &CardItem) -> Value {
    let lines = item.within(ITEM, |item| [&item.lines[..], &item.notes[..]].concat().join("\n"));
    let mut items = vec![
        json!({
            "type": "TextBlock", "text": item.label, "weight": "Bolder", "wrap": true, "color": colour(item.tone),
        }),
        text(&[bold(&item.title)]),
    ];
    items.extend(lines.lines().map(|line| text(&[code(line)])));
    json!({ "type": "Container", "separator": true, "items": items })
}

fn text(runs: &[Value]) -> Value {
    json!({ "type": "RichTextBlock", "inlines": runs })
}

fn run(text: &str) -> Value {
    json!({ "type": "TextRun", "text": text })
}

fn bold(text: &str) -> Value {
    json!({ "type": "TextRun", "text": text, "weight": "Bolder" })
}

fn code(text: &str) -> Value {
    json!({ "type": "TextRun", "text": text, "fontType": "Monospace" })
}

fn subtle(text: &str) -> Value {
    json!({ "type": "TextRun", "text": text, "isSubtle": true, "size": "Small" })
}

fn colour(tone: Tone) -> &'static str {
    match tone {
        Tone::Bad => "Attention",
        Tone::Warning => "Warning",
        Tone::Good => "Good",
        Tone::Plain => "Default",
    }
}
