//! Which sections an instance can be read with what its configuration gives.

use super::{Instance, Selection, Source};
use crate::sections::{Api, Section};

/// Why a section is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotRead {
    /// `leave_out` names it.
    #[error("'leave_out' names it")]
    LeftOut,
    /// `depth` excludes it.
    #[error("it is read only with depth = \"everything\"")]
    TooDeep,
    /// The key that would name the credential is not in the instance's table.
    #[error("it has no '{0}'")]
    NoCredential(&'static str),
    /// The section is of another vendor's API.
    #[error("it is of the other vendor")]
    OtherVendor,
}

impl Selection {
    /// Whether `section` is wanted.
    pub fn has(&self, section: &Section) -> Result<(), NotRead> {
        if self.leave_out.contains(&section.name) {
            return Err(NotRead::LeftOut);
        }
        if section.depth > self.depth { Err(NotRead::TooDeep) } else { Ok(()) }
    }
}

impl Instance {
    /// Whether `section` is read, as far as the configuration decides that.
    pub fn reads(&self, section: &Section) -> Result<(), NotRead> {
        let (key, is_there) = match (&self.source, section.api) {
            (Source::Clerk(clerk), Api::Backend) => ("secret_key", clerk.secret_key.is_some()),
            (Source::Clerk(clerk), Api::Platform) => ("platform_token", clerk.platform.is_some()),
            (Source::Clerk(clerk), Api::Frontend) => ("publishable_key", clerk.frontend_api_url.is_some()),
            // No tenant is without a credential.
            (Source::Auth0(_), Api::Management) => ("domain", true),
            (Source::Clerk(_), Api::Management) | (Source::Auth0(_), _) => return Err(NotRead::OtherVendor),
        };
        if is_there { self.selection.has(section) } else { Err(NotRead::NoCredential(key)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Sources};
    use crate::model::Provider;
    use crate::sections::{Depth, Table};

    #[test]
    fn what_somebody_chose_not_to_read_is_not_read() {
        let text = TEXT.replace("token = {", "leave_out = ['clients']\ntoken = {");
        let now = "2026-11-22T04:00:00Z".parse().unwrap();
        let sources = Sources { file: "/c.toml", text: &text, state_directory: None, xdg_state: None, now };
        let config = config::parse(&sources).unwrap_or_else(|problems| panic!("{problems}"));
        let acme = config.instance("acme").unwrap();
        let table = Table::of(Provider::Auth0);
        assert_eq!(acme.reads(table.section("clients").unwrap()), Err(NotRead::LeftOut));
        for section in table.sections().iter().filter(|section| section.name != "clients") {
            let expected = if section.depth == Depth::Everything { Err(NotRead::TooDeep) } else { Ok(()) };
            assert_eq!(acme.reads(section), expected, "{}", section.name);
        }
    }

    const TEXT: &str = "[store]\npath = 'a.db'\n[approval]\nallowed_signers = 'signers'\n\
        [[clerk]]\nname = 'public'\npublishable_key = 'pk_test_Y2xlcmsuZXhhbXBsZS5jb20k'\n\
        [[clerk]]\nname = 'secret'\nsecret_key = { file = 'key' }\n\
        [[auth0]]\nname = 'acme'\ndomain = 'acme.eu.auth0.com'\ntoken = { file = 'token' }\n";

    #[test]
    fn a_credential_opens_its_own_api_and_no_other() {
        let now = "2026-11-22T04:00:00Z".parse().unwrap();
        let sources = Sources { file: "/c.toml", text: TEXT, state_directory: None, xdg_state: None, now };
        let config = config::parse(&sources).unwrap_or_else(|problems| panic!("{problems}"));
        let missing = NotRead::NoCredential;
        let table = [
            ("public", Provider::Clerk, "frontend.environment", Ok(())),
            ("public", Provider::Clerk, "instance", Err(missing("secret_key"))),
            ("public", Provider::Clerk, "platform.config", Err(missing("platform_token"))),
            ("secret", Provider::Clerk, "instance", Ok(())),
            ("secret", Provider::Clerk, "frontend.environment", Err(missing("publishable_key"))),
            ("acme", Provider::Auth0, "clients", Ok(())),
            ("acme", Provider::Clerk, "instance", Err(NotRead::OtherVendor)),
            ("public", Provider::Auth0, "clients", Err(NotRead::OtherVendor)),
        ];
        for (instance, provider, section, expected) in table {
            let section = Table::of(provider).section(section).unwrap();
            assert_eq!(config.instance(instance).unwrap().reads(section), expected, "{instance} {}", section.name);
        }
    }
}
