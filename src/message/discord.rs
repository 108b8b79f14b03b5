//! Discord's webhooks: one embed.
//!
//! Our own words are bold, everything foreign is in code, where no markup, link or mention is read.

use serde_json::{Value, json};

use super::Alert;
use super::card::{Card, CardItem, Tone, cut, length, more_words, without_backticks};

/// Characters of a description; a title may have 256, and all texts of one message 6000.
const DESCRIPTION: usize = 4_096;
/// Characters of one item.
const ITEM: usize = 1_200;
/// Characters of a footer; 2048 are allowed.
const FOOTER: usize = 600;

/// The message.
pub(super) fn message(alert: &Alert) -> Value {
    let card = Card::of(alert);
    let mut start = span(&cut(&card.headline, 500));
    for (label, text) in &card.facts {
        start.push_str(&format!("\n{label}: {}", span(&cut(text, 200))));
    }
    let mut end = String::new();
    if let Some(who) = &card.who {
        end.push_str(&format!("\n{}", span(&cut(who, 400))));
    }
    for step in &card.steps {
        end.push_str(&format!("\n{} {}", step.question, span(&step.command)));
    }
    let more_room = length(&more_words(usize::MAX)) + 4;
    let mut room = DESCRIPTION.saturating_sub(length(&start) + length(&end) + more_room);
    let mut description = start;
    let more = card.whole_items(|item| {
        let text = format!("\n{}", item.within(ITEM, layout));
        let fits = length(&text) <= room;
        if fits {
            room -= length(&text);
            description.push_str(&text);
        }
        fits
    });
    if more > 0 {
        description.push_str(&format!("\n{}", span(&more_words(more))));
    }
    description.push_str(&end);
    let colour = match card.tone {
        Tone::Bad => 0x99_2D_22,
        Tone::Warning => 0xE6_7E_22,
        Tone::Good => 0x1F_8B_4C,
        Tone::Plain => 0x34_98_DB,
    };
    json!({
        "content": "",
        "embeds": [{
            "title": format!("authdrift: {}", card.label),
            "description": description,
            "color": colour,
            "footer": { "text": cut(&card.footer, FOOTER) },
        }],
        // No text mentions anybody.
        "allowed_mentions": { "parse": [] },
    })
}

fn layout(item: &CardItem) -> String {
    let mut lines = vec![item.title.as_str()];
    lines.extend(item.lines.iter().chain(&item.notes).map(String::as_str));
    let lines: Vec<String> = lines.into_iter().map(without_backticks).collect();
    format!("**{}**\n```\n{}\n```", item.label, lines.join("\n"))
}

fn span(text: &str) -> String {
    format!("`{}`", without_backticks(text))
}
