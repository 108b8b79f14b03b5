//! What prepares text for people: foreign values, and our own sentences with foreign values in them.

use std::fmt::Write as _;

use super::look_alike;

/// Characters kept of one foreign value; what follows is cut and counted.
const LONGEST: usize = 200;
/// Characters of a sentence of our own. No sentence is that long: this only bounds what a fault could make of one.
const LONGEST_SENTENCE: usize = 4_000;

/// Makes one foreign value safe to show on a terminal, in a log, a mail or a page.
///
/// Control characters, bidirectional overrides, line separators and every character that is drawn as nothing become a
/// visible `\u{..}`, and so does what looks like something else ([`look_alike`]); a value far over 200 characters is cut with a mark that says how much is missing. HTML is escaped
/// by the templates, not here.
///
/// # Security
/// Without this, a JWT template named with an escape sequence could rewrite the operator's terminal, and a
/// line break in a name could forge a log line or a mail header.
pub fn display_safe(text: &str) -> String {
    display_safe_to(text, LONGEST)
}

/// As [`display_safe`], for a sentence of our own: it is never cut. The values in it are cut where it is written.
pub fn display_safe_sentence(text: &str) -> String {
    display_safe_to(text, LONGEST_SENTENCE)
}

/// As [`display_safe`], with `longest` instead of 200. What is shorter than the mark that would stand for it is kept.
pub fn display_safe_to(text: &str, longest: usize) -> String {
    let mut safe = String::with_capacity(text.len().min(4 * longest));
    let missing = text.chars().skip(longest).count();
    let mark = format!("… ({missing} more characters)");
    let is_cut = missing > mark.chars().count();
    let kept = if is_cut { longest } else { longest + missing };
    let marked = look_alike::marked(text, kept);
    for (place, character) in text.chars().take(kept).enumerate() {
        if is_deceptive(character) || marked.get(place) == Some(&true) {
            let _ = write!(safe, "\\u{{{:x}}}", character as u32);
        } else {
            safe.push(character);
        }
    }
    if is_cut {
        safe.push_str(&mark);
    }
    safe
}

/// Makes JSON safe to show: characters that a terminal would obey or hide are written as `\u…`. It stays the same value.
pub fn json_safe(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for character in json.chars() {
        // Below are only spaces between values: in texts they are escaped already.
        if character >= '\u{7f}' && is_deceptive(character) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(safe, "\\u{unit:04x}");
            }
        } else {
            safe.push(character);
        }
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
    }

    #[test]
    fn a_cut_saves_more_than_it_costs_and_says_of_what() {
        let x = |count| "x".repeat(count);
        assert_eq!(display_safe(&x(300)), x(200) + "… (100 more characters)");
        assert_eq!(display_safe(&x(202)), x(202));
        for count in 190..400 {
            let shown = display_safe(&x(count));
            assert!(shown == x(count) || shown.chars().count() < count, "{count}: {shown}");
        }
        assert_eq!(display_safe_sentence(&x(3_000)), x(3_000));
        assert!(display_safe_sentence(&x(9_000)).chars().count() < 4_100);
        assert_eq!(display_safe_sentence("a\r\nb"), "a\\u{d}\\u{a}b");
    }

    #[test]
    fn nothing_that_is_drawn_as_nothing_stays() {
        let ignorable = regex::Regex::new(r"[\p{Default_Ignorable_Code_Point}\p{Bidi_Control}\p{Zl}\p{Zp}]").unwrap();
        let all = ('\0'..=char::MAX).filter(|character| ignorable.is_match(character.encode_utf8(&mut [0; 4])));
        let shown: Vec<char> = all.filter(|character| !is_deceptive(*character)).collect();
        assert!(shown.is_empty(), "{shown:x?}");
    }

    #[test]
    fn json_that_is_shown_is_the_same_value() {
        let value =
            serde_json::json!({ "a\u{9b}31m": ["\u{7f}", "\u{202e}x", "\u{e0041}", "\u{1b}[0m", "ü 漢 😀", "\n"] });
        for json in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let shown = json_safe(&json);
            assert!(!shown.chars().any(|shown| shown != '\n' && is_deceptive(shown)), "{shown}");
            assert!(
                shown.contains("\\u009b31m") && shown.contains("\\udb40\\udc41") && shown.contains("ü 漢 😀"),
                "{shown}"
            );
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
    }

    proptest! {
        #[test]
        fn json_keeps_its_value(text in ".*") {
            let json = serde_json::Value::from(text.as_str()).to_string();
            prop_assert_eq!(serde_json::from_str::<String>(&json_safe(&json)).unwrap(), text);
        }

        #[test]
        fn no_deceptive_character_survives(text in "\\PC*|.*") {
            prop_assert!(!display_safe(&text).chars().any(is_deceptive));
        }
    }
}
