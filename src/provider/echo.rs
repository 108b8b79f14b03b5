//! A vendor's words without the credential that it was sent, however they repeat it.

use base64::Engine as _;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

use crate::canonical::HIDDEN;

/// The shortest part of a secret, encoded in base64, that gives it away.
const TELLING: usize = 8;

/// `words` without `secret` as it is, escaped as in JSON, encoded with percent signs as in addresses and forms, in
/// hexadecimal digits, or in base64, alone or with other text around it.
pub(super) fn without(words: &str, secret: &str) -> String {
    let mut words = words.replace(secret, HIDDEN);
    let json = serde_json::Value::from(secret).to_string();
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![json.trim_matches('"').to_owned(), json.trim_matches('"').replace('/', "\\/")];
    forms.extend([STANDARD, URL_SAFE].iter().flat_map(|alphabet| base64(secret, alphabet)));
    forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    for form in forms.iter().filter(|form| form.len() >= TELLING) {
        words = words.replace(form.as_str(), HIDDEN);
    }
    words = replaced(&words, &hex, |_, _| None);
    replaced(&words, secret, unescaped)
}

/// What `secret` is in base64 whatever stands before and after it: of each of the three places in which it can begin, the
/// characters that depend on nothing else.
fn base64(secret: &str, alphabet: &Alphabet) -> Vec<String> {
    let engine = GeneralPurpose::new(alphabet, GeneralPurposeConfig::new().with_encode_padding(false));
    let shifted = |before: usize| {
        let padded = [vec![0; before], secret.as_bytes().to_vec()].concat();
        let text = engine.encode(&padded);
        // The first characters hold bits of what stands before, the last one bits of what follows.
        let from = (before * 8).div_ceil(6);
        let to = padded.len() * 8 / 6;
        text.get(from..to).unwrap_or_default().to_owned()
    };
    (0..3).map(shifted).collect()
}

/// Reads one encoded byte of a text at a place, and says how long its encoding is; nothing if none stands there.
type Decode = fn(&[u8], usize) -> Option<(u8, usize)>;

/// `words` with every place replaced at which `secret` stands, letters in either case where they are hexadecimal, each
/// byte as it is or as `decode` reads it.
fn replaced(words: &str, secret: &str, decode: Decode) -> String {
    let (bytes, secret) = (words.as_bytes(), secret.as_bytes());
    let is_decoding = decode(b"%41", 0).is_some();
    let end_of = |start: usize| {
        let mut at = start;
        for wanted in secret {
            let (byte, length) = decode(bytes, at).unwrap_or((*bytes.get(at)?, 1));
            let is_same = if is_decoding { byte == *wanted } else { byte.eq_ignore_ascii_case(wanted) };
            at = is_same.then_some(at + length)?;
        }
        Some(at)
    };
    let (mut text, mut at) = (String::with_capacity(words.len()), 0);
    while let Some(rest) = words.get(at..) {
        let Some(first) = rest.chars().next() else { break };
        match end_of(at).filter(|end| words.is_char_boundary(*end) && !secret.is_empty()) {
            Some(end) => {
                text.push_str(HIDDEN);
                at = end;
            }
            None => {
                text.push(first);
                at += first.len_utf8();
            }
        }
    }
    text
}

/// The byte that `%41` or `+` at that place stands for.
fn unescaped(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    match bytes.get(at)? {
        b'+' => Some((b' ', 1)),
        b'%' => {
            let digits = std::str::from_utf8(bytes.get(at + 1..at + 3)?).ok()?;
            Some((u8::from_str_radix(digits, 16).ok()?, 3))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD as PLAIN, STANDARD_NO_PAD, URL_SAFE};

    use super::*;

    const SECRET: &str = "CANARY/\u{e4}+\"secret\" ~1&=?";

    #[test]
    fn a_secret_is_hidden_however_it_is_repeated() {
        let form: String = url::form_urlencoded::byte_serialize(SECRET.as_bytes()).collect();
        let all: String = SECRET.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let hex: String = SECRET.bytes().map(|byte| format!("{byte:02X}")).collect();
        let json = serde_json::Value::from(SECRET).to_string();
        for encoded in [
            SECRET.to_owned(),
            form.clone(),
            form.replace('+', "%20"),
            form.to_lowercase().replace("canary", "CANARY"),
            all.to_uppercase(),
            all,
            hex.to_lowercase(),
            hex,
            json.trim_matches('"').to_owned(),
            json.trim_matches('"').replace('/', "\\/"),
        ] {
            assert_eq!(without(&format!("a {encoded} b"), SECRET), "a (secret) b", "{encoded}");
        }
        for around in ["", "i", "id", "client:", "client_id:"] {
            let text = format!("{around}{SECRET}{around}");
            for encoded in [PLAIN.encode(&text), STANDARD_NO_PAD.encode(&text), URL_SAFE.encode(&text)] {
                let hidden = without(&format!("Basic {encoded}."), SECRET);
                assert!(hidden.starts_with("Basic ") && hidden.contains(HIDDEN), "{hidden}");
                let left = hidden.replace(HIDDEN, "");
                assert!(left.len() < encoded.len() / 2 + 12, "{around}: {left}");
            }
        }
    }

    #[test]
    fn other_words_stay() {
        for words in ["100% sure + more %zz %", "Unauthorized", "\u{e4}%C3%A4"] {
            assert_eq!(without(words, SECRET), words);
        }
    }
}
