//! Reads where a secret is. The secret itself is refused, and never repeated.

use toml::Spanned;
use toml::de::DeValue;

use super::problem::looks_like_secret;
use super::{At, Problem, TomlReader};
use crate::config::SecretRef;

const ONE_OF: &str = "{ credential = \"NAME\" }, { file = \"PATH\" } or { env = \"NAME\" }";

/// Signatures of one message: two during a change, and one more of the other kind.
const MOST_SECRETS: usize = 4;

impl<'a> TomlReader<'a> {
    /// A reference to a secret: an inline table with exactly one of `credential`, `file` and `env`.
    ///
    /// # Security
    /// A secret written inline is refused, so that configuration files can be shown, copied and backed up freely;
    /// the message does not show the line it is in.
    pub(crate) fn secret(&mut self, key: &'static str) -> Option<At<SecretRef>> {
        let value = self.value(key)?;
        Some(At { value: self.secret_of(key, value)?, span: value.span() })
    }

    /// One reference to a secret or a list of some, while a new one replaces an old one.
    pub(crate) fn secrets(&mut self, key: &'static str) -> Option<Vec<SecretRef>> {
        let value = self.value(key)?;
        let Some(array) = value.get_ref().as_array() else {
            return Some(vec![self.secret_of(key, value)?]);
        };
        if array.is_empty() || array.len() > MOST_SECRETS {
            let message = format!("'{key}' has {} secrets: it takes 1 to {MOST_SECRETS}", array.len());
            self.report(Problem::at(value.span(), message).without_source());
            return None;
        }
        Some(array.iter().filter_map(|item| self.secret_of(key, item)).collect())
    }

    /// A table of references to secrets under names of the user's own. What is wrong with one is recorded.
    pub(crate) fn named_secrets(&mut self, key: &'static str) -> Vec<(At<String>, Option<SecretRef>)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let Some(table) = value.get_ref().as_table() else {
            let problem = Problem::at(value.span(), format!("'{key}' has to be a table of names and secrets"));
            self.report(problem.help("write { \"X-Api-Key\" = { credential = \"…\" } }").without_source());
            return Vec::new();
        };
        let named = table.iter().map(|(name, value)| {
            let place = self.secret_of(name.get_ref(), value);
            (At { value: name.get_ref().to_string(), span: name.span() }, place)
        });
        named.collect()
    }

    fn secret_of(&self, key: &str, value: &'a Spanned<DeValue<'a>>) -> Option<SecretRef> {
        let Some(mut inner) = self.value_table(value, "a secret") else {
            let problem = Problem::at(value.span(), format!("'{key}' has to say where the secret is, not what it is"));
            self.report(problem.help("put it in a file and write { file = \"…\" }").without_source());
            return None;
        };
        let credential = inner.place_name("credential").map(SecretRef::Credential);
        let file = inner.secret_file();
        let env = inner.place_name("env").map(SecretRef::Env);
        let given = ["credential", "file", "env"].iter().filter(|name| inner.has(name)).count();
        if given != 1 {
            let what = if given == 0 { "none" } else { "more than one" };
            let message = format!("'{key}' has {what} of 'credential', 'file' and 'env'");
            inner.report(Problem::at(value.span(), message).help(format!("write one of {ONE_OF}")).without_source());
        }
        inner.finish();
        credential.or(file).or(env)
    }

    /// The path of a file.
    fn secret_file(&mut self) -> Option<SecretRef> {
        let text = self.string("file")?;
        if self.is_secret_itself("file", &text) {
            return None;
        }
        self.path("file").map(|path| SecretRef::File(path.value))
    }

    /// Whether the secret itself was written in the place of a reference; then it is refused.
    fn is_secret_itself(&self, key: &str, text: &At<String>) -> bool {
        // The address of a chat's webhook is a secret too, and no path.
        let is_secret = (looks_like_secret(&text.value) && !text.value.starts_with('/')) || text.value.contains("://");
        if is_secret {
            let message = format!("'{key}' has to say where the secret is, and this looks like the secret itself");
            let problem = Problem::at(text.span.clone(), message);
            self.report(problem.help("put it in a file and write { file = \"…\" }").without_source());
        }
        is_secret
    }

    /// The name of a credential or of an environment variable.
    fn place_name(&mut self, key: &'static str) -> Option<String> {
        let text = self.string(key)?;
        if self.is_secret_itself(key, &text) {
            return None;
        }
        let is_credential = key == "credential";
        let is_allowed =
            |c: char| c.is_ascii_alphanumeric() || c == '_' || (is_credential && matches!(c, '.' | '-' | '@' | ':'));
        let is_good = text.value.chars().all(is_allowed)
            && !matches!(text.value.as_str(), "." | "..")
            && (is_credential || !text.value.starts_with(|c: char| c.is_ascii_digit()));
        if !is_good {
            let of = if is_credential { "a systemd credential" } else { "an environment variable" };
            // The value is not repeated: it is in a place where people put secrets.
            self.report(Problem::at(text.span, format!("'{key}' is not the name of {of}")).without_source());
            return None;
        }
        Some(text.value)
    }
}
