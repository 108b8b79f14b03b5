//! "Did you mean": the known word that is most like a mistyped one.

/// Longer words are not compared, because the comparison takes time.
const LONGEST: usize = 100;

/// The candidate most like `word`, if one is so similar that it may be meant.
pub fn closest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.is_empty() || word.len() > LONGEST {
        return None;
    }
    let word = word.to_lowercase();
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let lower = candidate.to_lowercase();
        let is_beginning = word.len() >= 4 && (lower.starts_with(&word) || word.starts_with(&lower));
        let is_last_part = word.len() >= 4 && lower.rsplit('/').next() == Some(word.as_str());
        let mut distance = strsim::damerau_levenshtein(&word, &lower);
        if is_beginning || is_last_part {
            distance = distance.min(allowed);
        }
        if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_words_are_found_and_others_are_not() {
        let words = ["publishable_key", "secret_key", "name", "cron", "Europe/Zurich"];
        let table = [
            ("publishable_kee", Some("publishable_key")),
            ("secret", Some("secret_key")),
            ("nmae", Some("name")),
            ("corn", Some("cron")),
            ("europe/zurich", Some("Europe/Zurich")),
            ("zurich", Some("Europe/Zurich")),
            ("colour", None),
            ("", None),
        ];
        for (word, expected) in table {
            assert_eq!(closest(word, words.into_iter()), expected, "{word}");
        }
    }
}
