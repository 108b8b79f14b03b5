//! The HTML part of a mail: the same content as the text part, from the same view.
//!
//! One table of at most 600 pixels, styles on the elements, system fonts, no image, no link, nothing remote, no
//! script. The only style sheet is for dark mode, and nothing depends on it. Every colour repeats a word.

use askama::Template;

use super::Alert;
use super::values::ValueLine;
use super::view::View;

#[derive(Template)]
#[template(path = "alert.html")]
struct HtmlPage {
    view: View,
}

/// Renders an alert as a page of under 100 KB, which is where Gmail begins to clip.
///
/// # Errors
/// The template could not be written, which text in memory does not refuse.
///
/// # Security
/// Everything foreign is shown by `display_safe` and escaped by the template; no address in it is a link (T9).
pub fn render(alert: &Alert) -> Result<String, askama::Error> {
    HtmlPage { view: View::of(alert) }.render()
}

impl HtmlPage {
    /// A path in parts that end with a slash: a line breaks there and not within a name.
    fn parts<'a>(&self, path: &'a str) -> impl Iterator<Item = &'a str> {
        path.split_inclusive('/')
    }

    /// The colour of a label; the word says the same.
    fn colour(&self, label: &str) -> &'static str {
        match label {
            "CRITICAL" => "#b42318",
            "HIGH" => "#b54708",
            "MEDIUM" => "#854a0e",
            "LOW" => "#175cd3",
            "RESOLVED" | "REVERTED" | "APPROVED" => "#067647",
            _ => "#475467",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{samples, text};
    use super::*;
    use crate::message::values::ValueLine;

    fn escaped(text: &str) -> String {
        let mut page = String::new();
        for character in text.chars() {
            match character {
                '&' | '<' | '>' | '"' | '\'' => page.push_str(&format!("&#{};", character as u32)),
                _ => page.push(character),
            }
        }
        page
    }

    #[test]
    fn everything_in_the_text_is_in_the_page() {
        let extremes = [samples::hostile(), samples::many(), samples::enormous()];
        for alert in samples::ordinary().map(|(_, alert)| alert).into_iter().chain(extremes) {
            let (page, text) = (render(&alert).unwrap().replace("<wbr>", ""), text::render(&alert).unwrap());
            let view = View::of(&alert);
            let mut pieces: Vec<String> = vec![view.summary.footer];
            for block in view.settings.iter().flat_map(|list| &list.blocks) {
                pieces.extend(block.summary.facts.iter().flat_map(|fact| fact.lines.clone()));
                for group in &block.groups {
                    pieces.extend(group.paths.clone());
                    for line in &group.lines {
                        match line {
                            ValueLine::Step { before, after } => pieces.extend([before.clone(), after.clone()]),
                            ValueLine::Single(text) => pieces.push(text.clone()),
                        }
                    }
                }
            }
            for fact in view.summary.facts {
                pieces.extend(fact.lines);
            }
            for row in view.sections.into_iter().flat_map(|group| group.rows) {
                pieces.extend([row.name, row.story]);
            }
            pieces.extend(view.summary.steps.into_iter().map(|step| step.command));
            pieces.extend(view.untrusted);
            pieces.extend(view.notices.into_iter().flat_map(|notice| [notice.title, notice.text]));
            let flowing = text.split_whitespace().collect::<Vec<_>>().join(" ");
            for piece in pieces {
                let words = piece.split_whitespace().collect::<Vec<_>>().join(" ");
                assert!(flowing.contains(&words), "not in the text: {piece}");
                assert!(page.contains(&escaped(&piece)), "not in the page: {piece}");
            }
        }
    }

    #[test]
    fn t9_hostile_text_is_inert() {
        for alert in [samples::hostile(), samples::enormous()] {
            let page = render(&alert).unwrap();
            for forbidden in
                ["<img", "<script", "<a ", "href", "src=\"", "url(", "http-equiv=\"refresh", "\u{1b}", "\u{202e}"]
            {
                assert!(!page.contains(forbidden), "{forbidden}");
            }
            assert!(page.contains("&#60;"));
        }
    }

    #[test]
    fn no_alert_is_clipped() {
        for alert in [samples::many(), samples::scattered(), samples::enormous(), samples::hostile()] {
            let page = render(&alert).unwrap();
            assert!(page.len() < 100_000, "{} bytes", page.len());
        }
        assert!(render(&samples::many()).unwrap().contains("150 more settings"));
    }

    #[test]
    fn pages_read_as_agreed() {
        for (name, alert) in samples::ordinary() {
            let path = format!("{}/tests/golden/{name}.html", env!("CARGO_MANIFEST_DIR"));
            let page = render(&alert).unwrap();
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                std::fs::write(&path, &page).unwrap();
            }
            let expected = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(page == expected, "{path} differs; UPDATE_GOLDEN=1 rewrites it");
        }
    }

    /// `LOOK_AT=/tmp/pages cargo test --lib message::html` writes the pages, to be opened in a browser.
    #[test]
    fn pages_can_be_looked_at() {
        let Some(folder) = std::env::var_os("LOOK_AT") else {
            return;
        };
        for (name, alert) in samples::ordinary().into_iter().chain([("hostile", samples::hostile())]) {
            let path = std::path::Path::new(&folder).join(format!("{name}.html"));
            std::fs::write(path, render(&alert).unwrap()).unwrap();
        }
    }
}
