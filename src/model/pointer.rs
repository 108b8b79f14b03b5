//! Where a value sits: RFC 6901 pointers, and patterns over them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::word::as_text;

/// A JSON Pointer (RFC 6901). In changes and drifts the first token is the section.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pointer(Vec<String>);

impl Pointer {
    /// The value at this path, in the value of its section.
    pub fn find_in_section<'a>(&self, section: &'a Value) -> Option<&'a Value> {
        self.0.get(1..).unwrap_or_default().iter().try_fold(section, |place, token| place.get(token.as_str()))
    }

    /// The pointer of a whole section.
    pub fn of_section(section: &str) -> Self {
        Self(vec![section.to_owned()])
    }

    /// This place, one step down.
    pub fn child(&self, token: &str) -> Self {
        let mut tokens = self.0.clone();
        tokens.push(token.to_owned());
        Self(tokens)
    }

    /// The unescaped tokens.
    pub fn tokens(&self) -> &[String] {
        &self.0
    }

    /// The section the pointer leads into; empty for the empty pointer.
    pub fn section(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// The last token; empty for the empty pointer.
    pub fn last(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }

    /// Whether `other` is this place or lies under it.
    pub fn contains(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_tokens(&self.0, f)
    }
}

fn write_tokens(tokens: &[String], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    tokens.iter().try_for_each(|token| write!(f, "/{}", token.replace('~', "~0").replace('/', "~1")))
}

/// A text that is not a JSON Pointer.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not a path: it has to begin with '/'")]
pub struct NotAPointer(String);

impl FromStr for Pointer {
    type Err = NotAPointer;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err(NotAPointer(crate::model::display_safe(text)));
        };
        let unescape = |token: &str| token.replace("~1", "/").replace("~0", "~");
        Ok(Self(rest.split('/').map(unescape).collect()))
    }
}

as_text!(Pointer);

/// A pattern over pointers: `*` stands for one token, `**` for any number, none included; a token that
/// ends in `*` stands for every token that begins with the rest, and one that begins with `*` for every token that ends
/// with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pattern {
    tokens: Vec<String>,
    /// It has a `**`, so what it describes may have any depth.
    is_deep: bool,
}

impl Pattern {
    /// Whether the pattern describes exactly these tokens.
    pub fn matches<T: AsRef<str>>(&self, tokens: &[T]) -> bool {
        if self.is_deep {
            return matches(&self.tokens, tokens);
        }
        // This is asked of every value that is read, about every pattern of its section: most are ruled out by their
        // depth, and most of the others by their last token.
        let mut pairs = self.tokens.iter().zip(tokens).rev();
        self.tokens.len() == tokens.len() && pairs.all(|(wanted, token)| fits(wanted, token.as_ref()))
    }

    /// Every value of `value` at a place that the pattern describes; `*` stands for every field and every item.
    pub fn find<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![value];
        for wanted in &self.tokens {
            let step = |value: &'a Value| -> Vec<&'a Value> {
                match value {
                    Value::Object(fields) if wanted == "*" => fields.values().collect(),
                    Value::Array(items) if wanted == "*" => items.iter().collect(),
                    other => other.get(wanted).into_iter().collect(),
                }
            };
            found = found.into_iter().flat_map(step).collect();
        }
        found
    }

    /// Whether the pattern can describe a place below that of `tokens`.
    pub fn may_be_below<T: AsRef<str>>(&self, tokens: &[T]) -> bool {
        may_be_below(&self.tokens, tokens)
    }

    /// Whether the pattern can describe anything in the section of that name.
    pub fn is_in(&self, section: &str) -> bool {
        self.tokens.first().is_some_and(|wanted| wanted == "**" || fits(wanted, section))
    }
}

fn matches<T: AsRef<str>>(pattern: &[String], tokens: &[T]) -> bool {
    let Some((wanted, rest)) = pattern.split_first() else {
        return tokens.is_empty();
    };
    if wanted == "**" {
        return (0..=tokens.len()).any(|skip| tokens.get(skip..).is_some_and(|tail| matches(rest, tail)));
    }
    let Some((token, tail)) = tokens.split_first() else {
        return false;
    };
    fits(wanted, token.as_ref()) && matches(rest, tail)
}

fn may_be_below<T: AsRef<str>>(pattern: &[String], tokens: &[T]) -> bool {
    match (pattern.split_first(), tokens.split_first()) {
        (None, _) => false,
        (Some(_), None) => true,
        (Some((wanted, rest)), Some((token, tail))) => {
            wanted == "**" || fits(wanted, token.as_ref()) && may_be_below(rest, tail)
        }
    }
}

fn fits(wanted: &str, token: &str) -> bool {
    match wanted.as_bytes() {
        [prefix @ .., b'*'] => token.as_bytes().starts_with(prefix),
        [b'*', suffix @ ..] => token.as_bytes().ends_with(suffix),
        exact => token.as_bytes() == exact,
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_tokens(&self.tokens, f)
    }
}

impl FromStr for Pattern {
    type Err = NotAPointer;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Pointer(tokens) = text.parse()?;
        let is_deep = tokens.iter().any(|token| token == "**");
        Ok(Self { tokens, is_deep })
    }
}

as_text!(Pattern);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_escape_and_read_back() {
        let pointer = Pointer::of_section("clients").child("a/b~c").child("");
        assert_eq!(pointer.to_string(), "/clients/a~1b~0c/");
        assert_eq!("/clients/a~1b~0c/".parse::<Pointer>().unwrap(), pointer);
        assert!("clients".parse::<Pointer>().is_err());
    }

    #[test]
    fn patterns_match_tokens() {
        let table = [
            ("/a/*/c", "/a/b/c", true),
            ("/a/*/c", "/a/c", false),
            ("/a/**", "/a", true),
            ("/a/**", "/a/b/c", true),
            ("/a/**/z", "/a/b/c/z", true),
            ("/a/**/z", "/a/b/c", false),
            ("/**/id", "/id", true),
            ("/a/oauth_*/x", "/a/oauth_google/x", true),
            ("/a/oauth_*/x", "/a/saml/x", false),
            ("/a/*_html/x", "/a/page_html/x", true),
            ("/a/*_html/x", "/a/page_html", false),
            ("/a/*_html/x", "/a/page/x", false),
            ("/a/b", "/a/b/c", false),
            ("", "", true),
        ];
        for (pattern, pointer, expected) in table {
            let tokens = pointer.parse::<Pointer>().unwrap();
            assert_eq!(pattern.parse::<Pattern>().unwrap().matches(tokens.tokens()), expected, "{pattern} {pointer}");
        }
    }

    #[test]
    fn a_pattern_knows_its_section() {
        let table =
            [("/a/b", "a", true), ("/a/b", "b", false), ("/a*/b", "ab", true), ("/**/b", "a", true), ("", "a", false)];
        for (pattern, section, expected) in table {
            assert_eq!(pattern.parse::<Pattern>().unwrap().is_in(section), expected, "{pattern} {section}");
        }
    }
}
