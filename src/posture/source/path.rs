//! Where a rule reads: a pointer, of which a token may be given by another value.

use std::sync::Arc;

use super::super::judgement::Gap;
use super::{Scope, ValueSource};
use crate::model::Pointer;

/// A path as a rule has it: absolute, or relative to the object that is judged. `{key}` is the key of the object, `{name}`
/// what the read of that name found, `{name|x}` the same without the `x` it begins with.
#[derive(Debug, Clone)]
pub(crate) struct ReadPath {
    is_absolute: bool,
    tokens: Vec<PathToken>,
    /// All tokens, if no other value gives one.
    fixed: Option<Arc<[String]>>,
}

#[derive(Debug, Clone)]
enum PathToken {
    Name(String),
    Key { without: String },
    Of { source: Arc<ValueSource>, without: String },
}

impl ReadPath {
    /// Reads the text of a path; `named` knows the reads of the rule.
    pub(crate) fn parse(text: &str, mut named: impl FnMut(&str) -> Option<Arc<ValueSource>>) -> Result<Self, String> {
        let is_absolute = text.starts_with('/');
        let slashed = if is_absolute || text.is_empty() { text.to_owned() } else { format!("/{text}") };
        let pointer: Pointer = slashed.parse().map_err(|error| format!("{error}"))?;
        let token = |token: &String| match token.strip_prefix('{').and_then(|token| token.strip_suffix('}')) {
            None => Ok(PathToken::Name(token.clone())),
            Some(inner) => {
                let (name, without) = inner.split_once('|').unwrap_or((inner, ""));
                let without = without.to_owned();
                match name {
                    "key" => Ok(PathToken::Key { without }),
                    name => named(name)
                        .map(|source| PathToken::Of { source, without })
                        .ok_or_else(|| format!("no read is called '{name}'")),
                }
            }
        };
        let tokens = pointer.tokens().iter().map(token).collect::<Result<Vec<_>, _>>()?;
        let is_fixed = tokens.iter().all(|token| matches!(token, PathToken::Name(_)));
        Ok(Self { is_absolute, fixed: is_fixed.then(|| pointer.tokens().into()), tokens })
    }

    pub(crate) fn is_absolute(&self) -> bool {
        self.is_absolute
    }

    /// The tokens in that scope, without those of the object that a relative path begins at.
    pub(crate) fn resolve<'a>(&'a self, scope: &Scope<'a>) -> Result<Arc<[String]>, Gap> {
        if let Some(fixed) = &self.fixed {
            return Ok(Arc::clone(fixed));
        }
        let resolve = |token: &'a PathToken| {
            let (text, without) = match token {
                PathToken::Name(name) => return Ok(name.clone()),
                PathToken::Key { without } => (scope.key().to_owned(), without),
                PathToken::Of { source, without } => (source.read(scope)?.text()?.into_owned(), without),
            };
            Ok(text.strip_prefix(without.as_str()).map_or(text.clone(), str::to_owned))
        };
        self.tokens.iter().map(resolve).collect()
    }

    /// The tokens for any object: `*` for what another value gives, below those of `base` if it is relative.
    pub(crate) fn pattern(&self, base: &[String]) -> Vec<String> {
        let token = |token: &PathToken| match token {
            PathToken::Name(name) => name.clone(),
            PathToken::Key { .. } | PathToken::Of { .. } => "*".to_owned(),
        };
        let own = self.tokens.iter().map(token);
        if self.is_absolute { own.collect() } else { base.iter().cloned().chain(own).collect() }
    }

    /// The values that give tokens.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &ValueSource> {
        self.tokens.iter().filter_map(|token| match token {
            PathToken::Of { source, .. } => Some(source.as_ref()),
            _ => None,
        })
    }
}
