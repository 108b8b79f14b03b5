//! The vendor's own identity of an instance.

/// Everything the vendor was heard to call one instance in one cycle: `ins_…`, `app_…`, a host name.
///
/// A baseline names one of them. An instance that was deleted and made again keeps the name in the configuration
/// but not this identity: it is another instance, not a drift.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resource {
    /// The identifiers, the most telling one first.
    pub known: Vec<String>,
}

#[derive(PartialEq)]
enum IdentifierKind {
    Instance,
    Application,
    Host,
}

impl Resource {
    /// Takes the identifiers, the most telling one first.
    pub fn new(known: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { known: known.into_iter().map(Into::into).collect() }
    }

    /// The identifier that goes into a snapshot.
    pub fn primary(&self) -> Option<&str> {
        self.known.first().map(String::as_str)
    }

    /// Whether `named` may be this instance: only an identifier of the same kind can say no.
    ///
    /// A cycle with a smaller credential hears fewer identifiers (the host but not the `ins_…`), and that is not
    /// another instance.
    pub fn may_be(&self, named: &str) -> bool {
        let mut same_kind = self.known.iter().filter(|known| kind(known) == kind(named)).peekable();
        same_kind.peek().is_none() || same_kind.any(|known| known == named)
    }
}

fn kind(identifier: &str) -> IdentifierKind {
    if identifier.starts_with("ins_") {
        IdentifierKind::Instance
    } else if identifier.starts_with("app_") {
        IdentifierKind::Application
    } else {
        IdentifierKind::Host
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_kind_can_say_no() {
        let table: [(&str, &[&str], &str, bool); 7] = [
            ("same instance", &["ins_1", "app_1"], "ins_1", true),
            ("recreated instance", &["ins_2", "app_1"], "ins_1", false),
            ("the instance was not heard", &["app_1"], "ins_1", true),
            ("nothing was heard", &[], "ins_1", true),
            ("same tenant", &["acme.eu.auth0.com"], "acme.eu.auth0.com", true),
            ("other tenant", &["acme.us.auth0.com"], "acme.eu.auth0.com", false),
            ("one of two hosts", &["clerk.acme.test", "acme.test"], "acme.test", true),
        ];
        for (name, known, named, expected) in table {
            assert_eq!(Resource::new(known.iter().copied()).may_be(named), expected, "{name}");
        }
    }

    #[test]
    fn the_first_is_primary() {
        assert_eq!(Resource::new(["ins_1", "app_1"]).primary(), Some("ins_1"));
        assert_eq!(Resource::default().primary(), None);
    }
}
