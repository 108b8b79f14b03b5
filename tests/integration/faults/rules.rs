//! What each fault of an answer leads to, written down from what the vendors say their answers mean.
//!
//! The test of every section with every fault holds the program to this table, and `docs/coverage.md` shows it.

/// What is known of a section after a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Off,
    NotOnPlan,
    NotPermitted,
    Unreachable,
    Suspect,
    /// Single objects of it cannot be used; if none can, it is unreachable.
    Partly,
    /// One object of it cannot be used, and the others can.
    PartlyValue,
    /// The credential is refused, and with it every section that it reads.
    Refused,
}

impl Outcome {
    /// The state of the section, in the words of a report.
    pub fn state(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::NotOnPlan => "not_on_plan",
            Self::NotPermitted => "not_permitted",
            Self::Unreachable | Self::Refused => "unreachable",
            Self::Suspect => "suspect",
            Self::Partly | Self::PartlyValue => "value",
        }
    }

    /// Whether it is a fact about the vendor, to be compared.
    pub fn is_comparable(self) -> bool {
        matches!(self, Self::Off | Self::NotOnPlan)
    }

    /// What people are told.
    pub fn told(self) -> &'static str {
        match self {
            Self::Off | Self::NotOnPlan => "one drift, of the section's state",
            Self::NotPermitted | Self::Unreachable | Self::Partly | Self::PartlyValue => {
                "`section.blind`, when the next cycle cannot read it either"
            }
            Self::Suspect => "`section.suspect`, at once; believed when the next cycle reads the very same",
            Self::Refused => "`credential.refused`, at once and once for all its sections",
        }
    }

    /// What `authdrift check` answers.
    pub fn exit(self) -> i32 {
        if self.is_comparable() { 10 } else { 11 }
    }
}

use Outcome::{NotOnPlan, NotPermitted, Off, Partly, Refused, Suspect, Unreachable};

pub const CREDENTIAL: &str = "401 that refuses the credential, or no token for it";
pub const UNAUTHORIZED: &str = "401 of one address";
pub const PAYMENT: &str = "402";
pub const FORBIDDEN: &str = "403";
pub const SCOPE: &str = "403 that names a missing scope";
pub const PLAN: &str = "403 that says the plan lacks it";
pub const FEATURE: &str = "403 that says the feature is off";
pub const NONE: &str = "400, 404 or 204 by which the vendor says that there is none";
pub const NO_OBJECT: &str = "the same for a single object that another section lists";
pub const NOT_FOUND: &str = "404 elsewhere";
pub const STATUS: &str = "400, 204 or a redirect elsewhere";
pub const BUSY: &str = "429 for ever";
pub const SERVER: &str = "500";
pub const SILENT: &str = "no answer";
pub const TRUNCATED: &str = "an answer that breaks off";
pub const HTML: &str = "a page of HTML";
pub const NO_JSON: &str = "no JSON, or more than one";
pub const TYPE: &str = "another type";
pub const EMPTY_OBJECT: &str = "an empty object, where fields are always there";
pub const EMPTIED: &str = "an empty object, of two fields or more";
pub const EMPTY: &str = "an empty list, of two objects or more";
pub const HALF: &str = "half the pages";
pub const LOW: &str = "a total that is too low";
pub const HIGH: &str = "a total that is too high";
pub const CIRCLE: &str = "a cursor that comes again";
pub const IDENTITY: &str = "an object without identity, or two with the same";
pub const FIELD: &str = "a field that is gone from every object, of three or more";
pub const SCOPED: &str = "a field that is missing for want of a scope";
pub const CAP: &str = "a body over the cap";
pub const DEEP: &str = "nesting 200 deep";
pub const TWICE: &str = "duplicate keys";

/// Every fault, and what it leads to.
pub const RULES: &[(&str, Outcome)] = &[
    (CREDENTIAL, Refused),
    (UNAUTHORIZED, Unreachable),
    (PAYMENT, NotOnPlan),
    (FORBIDDEN, NotPermitted),
    (SCOPE, NotPermitted),
    (PLAN, NotOnPlan),
    (FEATURE, Off),
    (NONE, Off),
    (NO_OBJECT, Suspect),
    (NOT_FOUND, Unreachable),
    (STATUS, Unreachable),
    (BUSY, Unreachable),
    (SERVER, Unreachable),
    (SILENT, Unreachable),
    (TRUNCATED, Unreachable),
    (HTML, Unreachable),
    (NO_JSON, Unreachable),
    (TYPE, Unreachable),
    (EMPTY_OBJECT, Unreachable),
    (EMPTIED, Suspect),
    (EMPTY, Suspect),
    (HALF, Unreachable),
    (LOW, Unreachable),
    (HIGH, Unreachable),
    (CIRCLE, Unreachable),
    (IDENTITY, Partly),
    (FIELD, Suspect),
    (SCOPED, NotPermitted),
    (CAP, Unreachable),
    (DEEP, Unreachable),
    (TWICE, Unreachable),
];

/// What the fault of that name leads to.
pub fn outcome_of(fault: &str) -> Outcome {
    RULES.iter().find(|(name, _)| *name == fault).unwrap_or_else(|| panic!("no rule for '{fault}'")).1
}

/// What a refusal says is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// What the section is about.
    All,
    /// One object of it.
    Object,
}

/// Refusals by which a vendor says that there is nothing: section, status, error code, what is missing. From the
/// documents of the vendors and from recorded answers, not from the tables of the program.
const NONE_THERE: &[(&str, u16, &str, Missing)] = &[
    ("instance.organization_settings", 404, "resource_not_found", Missing::All),
    ("directories.group_role_mappings", 404, "resource_not_found", Missing::Object),
    ("frontend.account_portal", 404, "", Missing::All),
    ("frontend.oauth-authorization-server", 404, "", Missing::All),
    ("frontend.openid-configuration", 404, "", Missing::All),
    ("frontend.webauthn", 404, "", Missing::All),
    ("frontend.assetlinks", 404, "", Missing::All),
    ("frontend.apple-app-site-association", 404, "", Missing::All),
    ("guardian.factors", 404, "", Missing::All),
    ("guardian.policies", 404, "", Missing::All),
    ("guardian.factors.phone.message-types", 404, "", Missing::All),
    ("guardian.factors.phone.selected-provider", 404, "", Missing::All),
    ("guardian.factors.phone.providers.twilio", 404, "", Missing::All),
    ("guardian.factors.phone.templates", 404, "", Missing::All),
    ("guardian.factors.phone.templates", 204, "", Missing::All),
    ("guardian.factors.sms.providers.twilio", 404, "", Missing::All),
    ("guardian.factors.sms.templates", 404, "", Missing::All),
    ("guardian.factors.sms.templates", 204, "", Missing::All),
    ("guardian.factors.webauthn-roaming.settings", 404, "", Missing::All),
    ("guardian.factors.webauthn-platform.settings", 404, "", Missing::All),
    ("attack-protection.phone-provider-protection", 404, "", Missing::All),
    ("risk-assessments.settings", 404, "", Missing::All),
    ("risk-assessments.settings.new-device", 404, "", Missing::All),
    ("supplemental-signals", 404, "", Missing::All),
    ("rate-limit-policies", 404, "", Missing::All),
    ("branding.templates.universal-login", 404, "inexistent_templates_universal_login", Missing::All),
    ("branding.themes.default", 404, "theme_not_found", Missing::All),
    ("branding.themes.default", 400, "", Missing::All),
    ("connections.keys", 404, "", Missing::Object),
    ("connections.keys", 400, "", Missing::Object),
    ("connections.scim-configuration.tokens", 404, "", Missing::Object),
    ("self-service-profiles", 404, "", Missing::All),
    ("self-service-profiles.custom-text", 404, "", Missing::Object),
    ("connection-profiles", 404, "", Missing::All),
    ("user-attribute-profiles", 404, "", Missing::All),
    ("roles", 404, "", Missing::All),
    ("groups", 404, "", Missing::All),
    ("organizations", 404, "", Missing::All),
    ("organizations.clients", 404, "", Missing::All),
    ("token-exchange-profiles", 404, "", Missing::All),
    ("custom-domains.default", 404, "", Missing::All),
    ("network-acls", 404, "", Missing::All),
    ("keys.custom-signing", 404, "", Missing::All),
    ("actions.actions", 404, "", Missing::All),
    ("actions.modules", 404, "", Missing::All),
    ("rules", 404, "", Missing::All),
    ("rules-configs", 404, "", Missing::All),
    ("hooks", 404, "", Missing::All),
    ("event-streams", 404, "", Missing::All),
    ("emails.provider", 404, "inexistent_email_provider", Missing::All),
    ("email-templates", 404, "inexistent_email_template", Missing::Object),
];

/// The refusals of a section by which the vendor says that there is nothing.
pub fn none_there(section: &str) -> impl Iterator<Item = (u16, &'static str, Missing)> {
    let of_section = NONE_THERE.iter().filter(move |(name, ..)| *name == section);
    of_section.map(|(_, status, code, missing)| (*status, *code, *missing))
}
