//! `sections`, `settings` and `explain`.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::model::{Category, Provider, Severity};

/// `sections`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift sections             both vendors
  authdrift sections auth0       one
  authdrift sections clerk:prod  as far as one instance is concerned

It needs no configuration; with one it says what each instance reads, and why not the rest.")]
pub struct SectionsOptions {
    /// A vendor, clerk or auth0, or an instance [default: all]
    #[arg(value_name = "PROVIDER|INSTANCE")]
    pub of: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `settings`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift settings mfa sign-up              what has both words
  authdrift settings --severity critical      what matters most
  authdrift settings /tenants.settings/flags  what lies under a path
  authdrift settings --provider clerk --category mfa

Words are looked for in the id, the title, the reason why it matters and the paths. Entries of your own catalogue are \
included when the configuration names one.")]
pub struct SettingsOptions {
    /// Words a setting has to have, every one of them [default: all settings]
    #[arg(value_name = "WORD")]
    pub words: Vec<String>,
    /// Only of this vendor
    #[arg(long, value_name = "PROVIDER", value_parser = word(&Provider::ALL, Provider::as_str))]
    pub provider: Option<Provider>,
    /// Only of this category
    #[arg(long, value_name = "CATEGORY", value_parser = word(&Category::ALL, Category::as_str))]
    pub category: Option<Category>,
    /// Only of this severity
    #[arg(long, value_name = "SEVERITY", value_parser = word(&Severity::ALL, Severity::as_str))]
    pub severity: Option<Severity>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `explain`
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  authdrift explain /tenants.settings/session_lifetime  as alerts print it
  authdrift explain /jwt_templates/supabase/lifetime
  authdrift explain session-lifetime                    the id of a setting")]
pub struct ExplainOptions {
    /// A path, beginning with '/', or the id of a setting
    #[arg(value_name = "PATH|SETTING")]
    pub what: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Takes one of the words that `name_of` gives to `values`.
fn word<T>(values: &'static [T], name_of: fn(T) -> &'static str) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    PossibleValuesParser::new(values.iter().map(|value| name_of(*value))).try_map(move |word| {
        values.iter().copied().find(|value| name_of(*value) == word).ok_or("is not a word that is known here")
    })
}
