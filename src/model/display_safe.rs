//! The only function that prepares foreign text for people.

use std::fmt::Write as _;

use super::look_alike;

/// Characters kept of one text; what follows is cut and counted.
const LONGEST: usize = 200;

/// Makes text from outside safe to show on a terminal, in a log, a mail or a page.
///
/// Control characters, bidirectional overrides, line separators and every character that is drawn as nothing become a
/// visible `\u{..}`, and so do those that look like others ([`look_alike`]); text over 200 characters is cut with a mark that says how much is missing. HTML is escaped by
/// the templates, not here.
///
/// # Security
/// Without this, a JWT template named with an escape sequence could rewrite the operator's terminal, and a
/// line break in a name could forge a log line or a mail header.
pub fn display_safe(text: &str) -> String {
    display_safe_to(text, LONGEST)
}

/// As [`display_safe`], of a text that may be longer: `longest` characters are kept.
pub fn display_safe_to(text: &str, longest: usize) -> String {
    let mut safe = String::with_capacity(text.len().min(4 * longest));
    let marked = look_alike::marked(text, longest);
    let mut characters = text.chars();
    for (place, character) in characters.by_ref().take(longest).enumerate() {
        if is_deceptive(character) || marked.get(place) == Some(&true) {
            let _ = write!(safe, "\\u{{{:x}}}", character as u32);
        } else {
            safe.push(character);
        }
    }
    let missing = characters.count();
    if missing > 0 {
        let _ = write!(safe, "… ({missing} more)");
    }
    safe
}

/// As [`display_safe`], of the whole text.
pub fn display_safe_whole(text: &str) -> String {
    display_safe_to(text, text.len())
}

/// What Unicode calls `Default_Ignorable_Code_Point`, and what else is drawn as nothing or moves what follows.
fn is_deceptive(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hostile_text_becomes_visible() {
        let table = [
            ("plain ü 漢", "plain ü 漢"),
            ("a\r\nb", "a\\u{d}\\u{a}b"),
            ("\u{1b}[31mred", "\\u{1b}[31mred"),
            ("\u{202e}evil", "\\u{202e}evil"),
        ];
        for (text, expected) in table {
            assert_eq!(display_safe(text), expected);
        }
        assert!(display_safe(&"x".repeat(300)).ends_with("… (100 more)"));
    }

    #[test]
    fn nothing_that_is_drawn_as_nothing_stays() {
        let ignorable = regex::Regex::new(r"[\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\p{Zl}\p{Zp}]").unwrap();
        let all = ('\0'..=char::MAX).filter(|character| ignorable.is_match(character.encode_utf8(&mut [0; 4])));
        let shown: Vec<char> = all.filter(|character| !is_deceptive(*character)).collect();
        assert!(shown.is_empty(), "{shown:x?}");
    }

    proptest! {
        #[test]
        fn no_deceptive_character_survives(text in "\\PC*|.*") {
            prop_assert!(!display_safe(&text).chars().any(is_deceptive));
        }
    }
}
