//! Characters that look like others: what makes two different texts look the same to a person.
//!
//! Text of one script is left as it is, whatever the script. Marked are letters of another script among Latin ones, words
//! that look Latin and are not, punctuation that looks like ASCII, blanks that are not the space, and a spelling that is not
//! the composed one (NFC) where the two look the same.

use std::iter;

use unicode_normalization::char::canonical_combining_class;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc, is_nfc_quick};
use unicode_script::{Script, UnicodeScript};
use unicode_security::skeleton;

/// For each of the first `most` characters of `text`, whether it has to be shown by its number. Empty if none has to.
pub(super) fn marked(text: &str, most: usize) -> Vec<bool> {
    let characters: Vec<char> = text.chars().take(most).collect();
    if characters.iter().all(char::is_ascii) {
        return Vec::new();
    }
    let mut marked = vec![false; characters.len()];
    let is_composed = is_nfc(&characters.iter().collect::<String>());
    for (place, (mark, character)) in marked.iter_mut().zip(&characters).enumerate() {
        let before = place.checked_sub(1).and_then(|before| characters.get(before)).copied();
        let neighbours = [before, characters.get(place + 1).copied()];
        *mark = (!is_composed && changes_when_composed(*character))
            || (!character.is_ascii() && character.is_whitespace())
            || (!is_in_word(*character) && is_odd_sign(*character, neighbours));
    }
    let mut start = 0;
    for word in characters.chunk_by(|one, other| is_in_word(*one) == is_in_word(*other)) {
        let end = start + word.len();
        if word.first().copied().is_some_and(is_in_word)
            && let Some(marks) = marked.get_mut(start..end)
        {
            mark_word(word, marks);
        }
        start = end;
    }
    marked
}

/// `text` with everything outside ASCII by its number.
pub fn spelled_out(text: &str) -> String {
    let one = |character: char| {
        let number = (!character.is_ascii()).then(|| character.escape_unicode());
        number.into_iter().flatten().chain(character.is_ascii().then_some(character))
    };
    text.chars().flat_map(one).collect()
}

/// Whether two different texts look the same to a person.
pub fn look_alike(one: &str, other: &str) -> bool {
    one != other && skeleton(one).eq(skeleton(other))
}

fn is_in_word(character: char) -> bool {
    character.is_alphanumeric() || canonical_combining_class(character) != 0
}

/// A character that has another spelling, or is part of one.
fn changes_when_composed(character: char) -> bool {
    canonical_combining_class(character) != 0 || is_nfc_quick(iter::once(character)) != IsNormalized::Yes
}

fn mark_word(word: &[char], marks: &mut [bool]) {
    if word.iter().all(char::is_ascii) {
        return;
    }
    let is_latin = |character: &char| character.script() == Script::Latin;
    let is_mixed = word.iter().any(is_latin);
    let looks_latin = word.iter().all(|character| looks_like_ascii(*character));
    for (mark, character) in marks.iter_mut().zip(word).filter(|(_, character)| !character.is_ascii()) {
        *mark |= match character.script() {
            Script::Latin | Script::Common | Script::Inherited => looks_like_ascii(*character),
            script if is_east_asian(script) => is_mixed && looks_like_ascii(*character),
            _ => is_mixed || looks_latin,
        };
    }
}

/// Punctuation and other signs that look like ASCII, where they do not belong.
fn is_odd_sign(character: char, neighbours: [Option<char>; 2]) -> bool {
    if character.is_ascii() || !looks_like_ascii(character) {
        return false;
    }
    let are = |test: fn(char) -> bool| neighbours.iter().all(|one| one.is_some_and(test));
    let is_east_asian_text = neighbours.iter().flatten().any(|one| is_east_asian(one.script()))
        && !neighbours.iter().flatten().any(char::is_ascii_alphanumeric);
    match character {
        // The apostrophe of a word, the dash of a sentence.
        '\u{2019}' => !are(char::is_alphabetic),
        '\u{2013}' => !are(|one| one == ' '),
        _ => !is_east_asian_text,
    }
}

fn looks_like_ascii(character: char) -> bool {
    let is_one =
        |mut looks: std::str::Chars<'_>| looks.next().is_some_and(|first| first.is_ascii()) && looks.next().is_none();
    let text = character.to_string();
    let plain: String = character.nfkc().collect();
    is_one(skeleton(&text).collect::<String>().chars())
        || is_one(plain.chars())
        // A ligature. Other signs for several letters, like that of a trademark, look like themselves.
        || (character.is_alphabetic() && plain.is_ascii())
}

fn is_east_asian(script: Script) -> bool {
    matches!(script, Script::Han | Script::Hiragana | Script::Katakana | Script::Hangul | Script::Bopomofo)
}

#[cfg(test)]
mod tests {
    use super::super::{display_safe, display_safe_whole};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_looks_like_something_else_is_marked() {
        let table = [
            ("https://\u{430}pp.example", "https://\\u{430}pp.example"),
            ("p\u{430}yp\u{430}l", "p\\u{430}yp\\u{430}l"),
            ("\u{441}\u{43e}\u{440}", "\\u{441}\\u{43e}\\u{440}"),
            ("https://app\u{2024}example", "https://app\\u{2024}example"),
            ("https:/\u{2044}app", "https:/\\u{2044}app"),
            ("https://app.example\u{2215}x", "https://app.example\\u{2215}x"),
            ("app\u{ff0e}example", "app\\u{ff0e}example"),
            ("\u{ff41}pp", "\\u{ff41}pp"),
            ("e\u{301}", "e\\u{301}"),
            ("\u{212a}elvin", "\\u{212a}elvin"),
            ("\u{1112}\u{1161}\u{11ab}", "\u{1112}\\u{1161}\\u{11ab}"),
            ("https://app.example\u{a0}", "https://app.example\\u{a0}"),
            ("https://app.example\u{3000}", "https://app.example\\u{3000}"),
            ("a\u{2003}b", "a\\u{2003}b"),
            ("\u{fb01}le", "\\u{fb01}le"),
            ("app\u{2010}x", "app\\u{2010}x"),
            ("app\u{2013}x", "app\\u{2013}x"),
            ("example\u{30ce}path", "example\\u{30ce}path"),
        ];
        for (text, expected) in table {
            assert_eq!(display_safe(text), expected, "{text}");
        }
    }

    #[test]
    fn ordinary_text_of_any_script_is_left_alone() {
        for text in [
            "Zoë Müller, Straße 5, Ærø, Łódź, naïve café",
            "Приложение для клиентов",
            "Εφαρμογή πελατών",
            "漢字とカタカナのテスト（本番）：オン",
            "한국어 앱",
            "Tシャツ shop",
            "تطبيق العملاء",
            "customer\u{2019}s app \u{2013} live",
            "10 \u{20ac} \u{2014} \u{201c}quoted\u{201d}\u{2026} \u{2122} \u{1f600}",
        ] {
            assert_eq!(display_safe(text), text);
        }
    }

    proptest! {
        /// The two spellings of one text are never shown the same.
        #[test]
        fn canonically_equal_texts_are_told_apart(text in "\\PC{1,12}") {
            let (composed, split): (String, String) = (text.nfc().collect(), text.nfd().collect());
            if composed != split {
                prop_assert_ne!(display_safe_whole(&composed), display_safe_whole(&split));
            }
        }

        #[test]
        fn spelled_out_is_ascii(text in ".*") {
            prop_assert!(spelled_out(&text).is_ascii());
        }
    }
}
