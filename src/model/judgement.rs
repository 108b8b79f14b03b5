//! How bad, which way, and what kind: the three judgements the catalogue makes about a change.

use super::word::word;

word!(
    /// How much a change of this setting matters, from least to most.
    Severity {
        /// Worth recording; no action is needed.
        Info = "info",
        /// To look at when there is time.
        Low = "low",
        /// To look at this week. Also the severity of unclassified settings.
        Medium = "medium",
        /// To look at today.
        High = "high",
        /// To look at now.
        Critical = "critical",
    }
);

word!(
    /// Which way a change goes.
    Direction {
        /// The setting protects less than the approved one.
        Weaker = "weaker",
        /// The setting protects more.
        Stronger = "stronger",
        /// Neither.
        Neutral = "neutral",
        /// The values alone do not tell.
        Unknown = "unknown",
    }
);

impl Direction {
    /// Whether it protects less than `other`, as far as is known.
    pub fn is_worse_than(self, other: Self) -> bool {
        let rank = |direction| match direction {
            Self::Weaker => 3,
            Self::Unknown => 2,
            Self::Neutral => 1,
            Self::Stronger => 0,
        };
        rank(self) > rank(other)
    }
}

word!(
    /// What part of sign-in a setting belongs to.
    Category {
        /// How long a session or token lives.
        Timeouts = "timeouts",
        /// Second factors and their enforcement.
        Mfa = "mfa",
        /// Which sites and apps may take part: origins, callbacks, redirect and logout URLs, domains.
        Origins = "origins",
        /// The content of issued tokens.
        JwtTemplates = "jwt-templates",
        /// Password rules.
        Passwords = "passwords",
        /// Lockout, bots, breached passwords, throttling.
        AttackProtection = "attack-protection",
        /// Who may create an account and how.
        SignUp = "sign-up",
        /// Ways in: social, enterprise and database connections.
        Connections = "connections",
        /// Organizations, roles and permissions.
        Organizations = "organizations",
        /// Grants, APIs, clients and how they authenticate.
        Tokens = "tokens",
        /// Signing keys and secrets.
        Keys = "keys",
        /// Customer code that runs at sign-in.
        Code = "code",
        /// Mails, texts and pages people see.
        Messages = "messages",
        /// Looks and texts without an effect on security.
        Cosmetic = "cosmetic",
        /// No entry of the catalogue knows the path.
        Unclassified = "unclassified",
    }
);

word!(
    /// How a number is meant.
    Unit {
        Milliseconds = "milliseconds",
        Seconds = "seconds",
        Minutes = "minutes",
        /// Hours, possibly with a fraction.
        Hours = "hours",
        Days = "days",
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn severities_are_ordered_and_words_read_back() {
        assert!(Severity::Critical > Severity::High && Severity::Low > Severity::Info);
        for severity in Severity::ALL {
            assert_eq!(Severity::from_word(severity.as_str()), Some(severity));
        }
        assert_eq!(Direction::from_word("sideways"), None);
        assert_eq!(serde_json::to_string(&Category::JwtTemplates).unwrap(), "\"jwt-templates\"");
    }
}
