//! A second evaluation of the most intricate rules, written from what they mean and not from how they are kept: plain code
//! over plain values. Both have to say the same of every tenant, and of the tenants with anything changed in them.

use std::collections::BTreeMap;

use authdrift::model::Provider;
use authdrift::posture::{Profile, RuleSet, RuleState, evaluate};
use authdrift::snapshot::Snapshot;
use serde_json::Value;

use super::support::fixtures;
use super::{input, snapshot};

/// Yes, no, or nobody knows.
type Tri = Option<bool>;
/// The state of each object: p, f, u or n. No object is the instance, or a list that was not read.
pub(super) type Says = BTreeMap<Option<String>, char>;

/// A snapshot as plain values.
pub(super) struct World(BTreeMap<String, Value>);

fn all(parts: &[Tri]) -> Tri {
    if parts.contains(&Some(false)) {
        Some(false)
    } else {
        parts.iter().copied().collect::<Option<Vec<_>>>().map(|_| true)
    }
}

fn any(parts: &[Tri]) -> Tri {
    all(&parts.iter().map(|part| part.map(|yes| !yes)).collect::<Vec<_>>()).map(|no| !no)
}

fn letter(is: Tri) -> char {
    is.map_or('u', |yes| if yes { 'p' } else { 'f' })
}

fn only_if(applies: Tri, is: Tri) -> char {
    match applies {
        Some(true) => letter(is),
        Some(false) => 'n',
        None => 'u',
    }
}

fn one(state: char) -> Says {
    Says::from([(None, state)])
}

fn flag(value: Option<&Value>, absent: Tri) -> Tri {
    value.map_or(absent, Value::as_bool)
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

impl World {
    fn get(&self, section: &str, path: &str) -> Option<&Value> {
        self.0.get(section)?.pointer(path)
    }

    /// One state for each object of a list; one in all for a list that is empty or was not read.
    fn each(&self, section: &str, judge: impl Fn(&str, &Value) -> Option<char>) -> Says {
        let Some(objects) = self.0.get(section) else { return one('u') };
        let found: Says = objects
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(key, object)| Some((Some(key.clone()), judge(key, object)?)))
            .collect();
        if found.is_empty() { one('n') } else { found }
    }

    /// Hours that are in force with this cookie.
    fn auth0_hours(&self, persistent: (&str, f64), ephemeral: (&str, f64)) -> Option<f64> {
        let settings = self.0.get("tenants.settings")?;
        let mode = settings.pointer("/session_cookie/mode").map_or(Some("persistent"), Value::as_str);
        let (name, default) = match mode {
            Some("persistent") => persistent,
            Some("non-persistent") => ephemeral,
            _ => return None,
        };
        let hours = settings.get(name).map_or(Some(default), Value::as_f64)?;
        Some(if hours == 0.0 { f64::INFINITY } else { hours })
    }

    fn clerk_seconds(&self, timer: &str) -> Option<f64> {
        let timer = self.get("platform.config", &format!("/session_settings/{timer}"))?;
        if !timer.get("enabled")?.as_bool()? {
            return Some(f64::INFINITY);
        }
        let seconds = timer.get("duration_seconds")?.as_f64()?;
        Some(if seconds == 0.0 { f64::INFINITY } else { seconds })
    }

    /// The Platform API knows best; without it, what every browser is told.
    fn clerk(&self, platform: &str, frontend: &str) -> Option<&Value> {
        self.get("platform.config", platform).or_else(|| self.get("frontend.environment", frontend))
    }
}

fn idle_minutes(profile: Profile) -> f64 {
    match profile {
        Profile::Banking => 10.0,
        Profile::Saas => 60.0,
        Profile::Consumer => 7.0 * 24.0 * 60.0,
    }
}

fn session_idle(world: &World, provider: Provider, profile: Profile) -> Says {
    let limit = idle_minutes(profile);
    one(letter(match provider {
        Provider::Auth0 => {
            let hours = world.auth0_hours(("idle_session_lifetime", 72.0), ("idle_ephemeral_session_lifetime", 24.0));
            hours.map(|hours| hours * 60.0 <= limit)
        }
        Provider::Clerk => any(&["inactivity_timeout", "maximum_lifetime"]
            .map(|timer| world.clerk_seconds(timer).map(|seconds| seconds / 60.0 <= limit))),
    }))
}

fn session_max(world: &World, provider: Provider, profile: Profile) -> Says {
    let (idle, longest) = match provider {
        Provider::Auth0 => (
            world.auth0_hours(("idle_session_lifetime", 72.0), ("idle_ephemeral_session_lifetime", 24.0)),
            world.auth0_hours(("session_lifetime", 168.0), ("ephemeral_session_lifetime", 72.0)),
        ),
        Provider::Clerk => {
            let hours = |timer| world.clerk_seconds(timer).map(|seconds| seconds / 3600.0);
            (hours("inactivity_timeout"), hours("maximum_lifetime"))
        }
    };
    let limit = match profile {
        Profile::Banking => 8.0,
        Profile::Saas => 24.0,
        Profile::Consumer => 720.0,
    };
    let mut ways = vec![longest.map(|hours| hours <= limit)];
    if profile == Profile::Saas {
        ways.push(all(&[longest.map(|hours| hours <= 168.0), idle.map(|hours| hours <= 1.0)]));
    }
    one(letter(any(&ways)))
}

fn mfa_required(world: &World, _: Provider, profile: Profile) -> Says {
    let factors = world.0.get("guardian.factors").and_then(Value::as_object);
    let usable = factors.and_then(|factors| {
        let enabled = factors.values().map(|factor| match factor.get("name")?.as_str()? {
            "recovery-code" => Some(false),
            _ => factor.get("enabled")?.as_bool(),
        });
        any(&enabled.collect::<Vec<_>>())
    });
    // "any" of nothing is a no.
    let usable = if factors.is_some_and(serde_json::Map::is_empty) { Some(false) } else { usable };
    let policies = world.0.get("guardian.policies").map(texts);
    let is_asked = policies.map(|policies| {
        policies.contains(&"all-applications") || profile == Profile::Saas && policies.contains(&"confidence-score")
    });
    let bound = world
        .0
        .get("actions.triggers.bindings")
        .map(|bound| bound.get("post-login").and_then(Value::as_array).is_some_and(|list| !list.is_empty()));
    let rules = world.0.get("rules").and_then(Value::as_object);
    let rules =
        rules.and_then(|rules| any(&rules.values().map(|rule| rule.get("enabled")?.as_bool()).collect::<Vec<_>>()));
    let code = match any(&[bound, rules]) {
        Some(false) => Some(false),
        _ => None,
    };
    one(letter(all(&[usable, any(&[is_asked, code])])))
}

fn password_length(world: &World, _: Provider, profile: Profile) -> Says {
    let limit = match profile {
        Profile::Banking => 14,
        Profile::Saas => 12,
        Profile::Consumer => 8,
    };
    world.each("connections", |_, connection| {
        let strategy = connection.get("strategy").and_then(Value::as_str);
        if strategy.is_some_and(|strategy| strategy != "auth0") {
            return None;
        }
        let (Some(_), Some(options)) = (strategy, connection.get("options")) else { return Some('u') };
        let on = flag(options.pointer("/authentication_methods/password/enabled"), Some(true));
        let new = options.pointer("/password_options/complexity/min_length").map(Value::as_i64);
        let level = options.get("passwordPolicy").map(|level| match level.as_str() {
            Some("none") => Some(1),
            Some("low") => Some(6),
            Some("fair" | "good") => Some(8),
            Some("excellent") => Some(10),
            Some(_) => None,
            None => Some(1),
        });
        let old = options.pointer("/password_complexity_options/min_length").map(Value::as_i64).or(level);
        let is_long = |form: Option<i64>| form.map(|length| length >= limit);
        let verdict = match (new, old) {
            (Some(new), Some(old)) if is_long(new) == is_long(old) => is_long(new),
            (Some(_), Some(_)) => None,
            (Some(form), None) | (None, Some(form)) => is_long(form),
            (None, None) => Some(false),
        };
        Some(only_if(on, verdict))
    })
}

/// What is wrong with an address, by its text.
fn is_web(address: &str) -> bool {
    let Some(rest) = address.strip_prefix("https://") else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    !rest.split(['?', '#']).next().unwrap().contains('*') && !matches!(name, "localhost" | "127.0.0.1" | "[::1]" | "")
}

fn is_native(address: &str) -> bool {
    match address.split_once(':') {
        Some(("https", _)) => is_web(address),
        Some(("http", rest)) => rest.starts_with("//127.0.0.1") || rest.starts_with("//[::1]"),
        Some(("javascript" | "data" | "file", _)) | None => false,
        Some(_) => !address.contains('*'),
    }
}

fn callbacks(world: &World, _: Provider, _: Profile) -> Says {
    world.each("clients", |_, client| {
        if client.get("is_first_party").is_none() {
            return Some('u');
        }
        let native = client.get("app_type").map(|kind| kind == "native");
        let urls = client.get("callbacks").map(texts).unwrap_or_default();
        let is_safe = |url: &&str| {
            if is_web(url) {
                Some(true)
            } else if is_native(url) {
                native
            } else {
                Some(false)
            }
        };
        Some(letter(all(&urls.iter().map(is_safe).collect::<Vec<_>>())))
    })
}

fn grants_fit(world: &World, _: Provider, _: Profile) -> Says {
    world.each("clients", |_, client| {
        if client.get("is_first_party").is_none() {
            return Some('u');
        }
        let allowed: &[&str] = match client.get("app_type").map(|kind| kind.as_str().unwrap()) {
            Some("regular_web") => &["authorization_code", "refresh_token", "client_credentials"],
            Some("spa") => &["authorization_code", "refresh_token"],
            Some("native") => &["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
            Some("non_interactive") => &["client_credentials"],
            Some(_) => return Some('n'),
            None => return Some('u'),
        };
        let grants = client.get("grant_types").map(texts);
        Some(letter(grants.map(|grants| grants.iter().all(|grant| allowed.contains(grant)))))
    })
}

/// Rotation, end, lifetime and idle lifetime of refresh tokens.
fn refresh(world: &World, rule: &str, profile: Profile) -> Says {
    world.each("clients", |_, client| {
        if client.get("is_first_party").is_none() {
            return Some('u');
        }
        let has = client.get("grant_types").map(|grants| texts(grants).contains(&"refresh_token"));
        let token = |name: &str| client.pointer(&format!("/refresh_token/{name}"));
        let ends = Some(token("expiration_type").is_some_and(|kind| kind == "expiring"));
        let infinite = flag(token("infinite_token_lifetime"), Some(true));
        let within = |name: &str, limits: [f64; 3]| {
            let limit = limits[Profile::ALL.iter().position(|one| *one == profile).unwrap()];
            token(name).and_then(Value::as_f64).map(|seconds| seconds > 0.0 && seconds <= limit * 3600.0)
        };
        let (applies, is) = match rule {
            "refresh-token-rotation" => {
                let kind = client.get("app_type").map(|kind| kind == "spa" || kind == "native");
                let method = client.get("token_endpoint_auth_method").map(|method| method == "none");
                let applies = if profile == Profile::Consumer { all(&[has, any(&[kind, method])]) } else { has };
                (applies, Some(token("rotation_type").is_some_and(|kind| kind == "rotating")))
            }
            "refresh-token-expires" => (has, all(&[ends, infinite.map(|yes| !yes)])),
            "refresh-token-lifetime" => {
                (all(&[has, ends, infinite.map(|yes| !yes)]), within("token_lifetime", [24.0, 720.0, 8760.0]))
            }
            _ => {
                let idle = within("idle_token_lifetime", [8.0, 168.0, 720.0]);
                let never = flag(token("infinite_idle_token_lifetime"), Some(true));
                (has, never.and_then(|never| if never { Some(false) } else { idle }))
            }
        };
        Some(only_if(applies, is))
    })
}

fn captcha(world: &World, _: Provider, _: Profile) -> Says {
    let Some(settings) = world.0.get("attack-protection.captcha") else { return one('u') };
    one(match settings.get("active_provider_id").map(|id| id.as_str().unwrap()) {
        Some(id @ ("auth_challenge" | "arkose")) => {
            letter(flag(settings.get(id).and_then(|own| own.get("fail_open")), Some(false)).map(|open| !open))
        }
        Some(_) => 'n',
        None => 'u',
    })
}

fn management_grants(world: &World, _: Provider, _: Profile) -> Says {
    world.each("client-grants", |_, grant| {
        let Some(audience) = grant.get("audience") else { return Some('u') };
        if !audience.as_str().unwrap().ends_with("/api/v2/") {
            return None;
        }
        let every = flag(grant.get("allow_all_scopes"), Some(false)).map(|every| !every);
        let reads = grant.get("scope").map(|scopes| texts(scopes).iter().all(|scope| scope.starts_with("read:")));
        Some(letter(all(&[every, reads])))
    })
}

/// Whether the role can manage the organization, by its permissions.
fn manages(permissions: &Value) -> bool {
    permissions.as_object().unwrap().keys().any(|key| {
        key.strip_prefix("org:sys_").is_some_and(|rest| rest.ends_with(":manage") || rest.ends_with(":delete"))
    })
}

fn role_permissions(world: &World, _: Provider, _: Profile) -> Says {
    if world.0.contains_key("organization_roles") && !world.0.contains_key("instance.organization_settings") {
        return one('u');
    }
    world.each("organization_roles", |key, role| {
        let settings = &world.0["instance.organization_settings"];
        let Some(creator) = settings.get("creator_role") else { return Some('u') };
        if creator == key {
            return None;
        }
        let on = flag(settings.get("enabled"), None);
        Some(only_if(on, role.get("permissions").map(|permissions| !manages(permissions))))
    })
}

fn directory_roles(world: &World, _: Provider, _: Profile) -> Says {
    let Some(directories) = world.0.get("directories.group_role_mappings") else { return one('u') };
    let mut says = Says::new();
    for (directory, mappings) in directories.as_object().unwrap() {
        for (group, mapping) in mappings.as_object().unwrap() {
            let role = mapping.pointer("/role/key").map(|role| role.as_str().unwrap());
            let creator = world.get("instance.organization_settings", "/creator_role");
            let is_creator = role.zip(creator).map(|(role, creator)| creator == role);
            let roles = world.0.get("organization_roles");
            let permissions = role.zip(roles).and_then(|(role, roles)| roles.get(role)?.get("permissions"));
            let is = all(&[is_creator.map(|yes| !yes), permissions.map(|list| !manages(list))]);
            let is_blind =
                role.is_some() && (roles.is_none() || !world.0.contains_key("instance.organization_settings"));
            let object = Some(format!("{directory}/{group}")).filter(|_| is.is_some() || !is_blind);
            says.insert(object, letter(is));
        }
    }
    if says.is_empty() { one('n') } else { says }
}

fn management_acl(world: &World, _: Provider, profile: Profile) -> Says {
    if profile != Profile::Banking {
        return Says::new();
    }
    let Some(acls) = world.0.get("network-acls") else { return one('u') };
    let fits = |acl: &Value| {
        let set = |path: &str| Some(acl.pointer(path).and_then(Value::as_array).is_some_and(|list| !list.is_empty()));
        let does = |action: &str| flag(acl.pointer(&format!("/rule/action/{action}")), Some(false));
        let from =
            |side: &str| any(&[set(&format!("/rule/{side}/ipv4_cidrs")), set(&format!("/rule/{side}/ipv6_cidrs"))]);
        all(&[
            flag(acl.get("active"), None),
            acl.pointer("/rule/scope").map(|scope| scope == "management"),
            any(&[all(&[does("allow"), from("match")]), all(&[does("block"), from("not_match")])]),
        ])
    };
    one(letter(any(&acls.as_object().unwrap().values().map(fits).collect::<Vec<_>>())))
}

fn streams_whole(world: &World, _: Provider, _: Profile) -> Says {
    let Some(streams) = world.0.get("log-streams") else { return one('u') };
    let active = |stream: &Value| stream.get("status").map(|status| status == "active");
    let is_whole =
        |stream: &Value| Some(stream.get("filters").and_then(Value::as_object).is_none_or(serde_json::Map::is_empty));
    let streams: Vec<&Value> = streams.as_object().unwrap().values().collect();
    let applies = any(&streams.iter().map(|stream| active(stream)).collect::<Vec<_>>());
    one(only_if(
        applies,
        any(&streams.iter().map(|stream| all(&[active(stream), is_whole(stream)])).collect::<Vec<_>>()),
    ))
}

fn email_links(world: &World, _: Provider, _: Profile) -> Says {
    let email = "/user_settings/attributes/email_address";
    let uses = |value: Option<&Value>| value.map(|list| texts(list).contains(&"email_link"));
    let used = any(&[
        uses(world.clerk("/auth_email/sign_in_strategies", &format!("{email}/first_factors"))),
        uses(world.clerk("/auth_email/verification_strategies", &format!("{email}/verifications"))),
    ]);
    let same = world.clerk(
        "/auth_attack_protection/email_link_require_same_client",
        "/user_settings/attack_protection/email_link/require_same_client",
    );
    one(only_if(used, flag(same, None)))
}

fn personal_data(world: &World, _: Provider, _: Profile) -> Says {
    fn is_personal(claim: &Value) -> bool {
        match claim {
            Value::Array(items) => items.iter().any(is_personal),
            Value::Object(fields) => fields.values().any(is_personal),
            Value::String(text) => {
                let named = [
                    "email_address",
                    "primary_email_address",
                    "primary_phone_number",
                    "primary_phone_address",
                    "first_name",
                    "last_name",
                    "full_name",
                    "username",
                    "image_url",
                    "external_id",
                    "unsafe_metadata",
                    "private_metadata",
                ];
                let whole = text.match_indices("user.public_metadata").any(|(at, found)| {
                    let rest = text[at + found.len()..].trim_start();
                    !rest.starts_with(|next: char| next == '.' || next == '[' || next == '_' || next.is_alphanumeric())
                });
                whole || named.iter().any(|name| text.contains(&format!("user.{name}")))
            }
            _ => false,
        }
    }
    world.each("jwt_templates", |_, template| Some(letter(template.get("claims").map(|claims| !is_personal(claims)))))
}

fn own_credentials(world: &World, _: Provider, _: Profile) -> Says {
    let Some(config) = world.0.get("platform.config") else { return one('u') };
    let kind = world.get("instance", "/environment_type");
    let kind = kind.or_else(|| world.get("frontend.environment", "/display_config/instance_environment_type"));
    let found: Says = config
        .as_object()
        .unwrap()
        .iter()
        .filter(|(name, _)| name.starts_with("connection_oauth_"))
        .map(|(name, connection)| {
            let provider = name.trim_start_matches("connection_");
            let public = world.get("frontend.environment", &format!("/user_settings/social/{provider}/enabled"));
            let on = flag(connection.get("enabled").or(public), None);
            let own = connection.get("client_id").map(|id| id != "");
            let applies = all(&[kind.map(|kind| kind == "production"), on]);
            // Said once of what was not read, and of each object that lacks something.
            let is_unread = |section: &str| !world.0.contains_key(section);
            let is_blind = match kind {
                None => is_unread("instance") || is_unread("frontend.environment"),
                Some(_) => on.is_none() && is_unread("frontend.environment"),
            };
            (Some(name.clone()).filter(|_| applies.is_some() || !is_blind), only_if(applies, own))
        })
        .collect();
    if found.is_empty() { one('n') } else { found }
}

fn lists(world: &World, _: Provider, _: Profile) -> Says {
    let on = |name: &str| {
        let frontend = format!("/user_settings/restrictions/{name}/enabled");
        flag(world.clerk(&format!("/auth_access_control/{name}_enabled"), &frontend), None)
    };
    let platform = world.get("platform.config", "/auth_access_control/allowlist_blocklist_enforced_on_sign_in");
    let frontend = "/user_settings/restrictions/allowlist_blocklist_disabled_on_sign_in/enabled";
    let enforced = match platform {
        Some(value) => value.as_bool(),
        None => flag(world.get("frontend.environment", frontend), None).map(|off| !off),
    };
    one(only_if(any(&[on("allowlist"), on("blocklist")]), enforced))
}

pub(super) type Second = fn(&World, Provider, Profile) -> Says;

pub(super) const SECOND: &[(&str, &[Provider], Second)] = &[
    ("session-idle-timeout", &[Provider::Clerk, Provider::Auth0], session_idle),
    ("session-max-lifetime", &[Provider::Clerk, Provider::Auth0], session_max),
    ("mfa-required", &[Provider::Auth0], mfa_required),
    ("password-min-length", &[Provider::Auth0], password_length),
    ("client-callbacks-safe", &[Provider::Auth0], callbacks),
    ("client-grants-fit-type", &[Provider::Auth0], grants_fit),
    ("refresh-token-rotation", &[Provider::Auth0], |world, _, profile| {
        refresh(world, "refresh-token-rotation", profile)
    }),
    ("refresh-token-expires", &[Provider::Auth0], |world, _, profile| refresh(world, "refresh-token-expires", profile)),
    ("refresh-token-lifetime", &[Provider::Auth0], |world, _, profile| {
        refresh(world, "refresh-token-lifetime", profile)
    }),
    ("refresh-token-idle", &[Provider::Auth0], |world, _, profile| refresh(world, "refresh-token-idle", profile)),
    ("captcha-fail-closed", &[Provider::Auth0], captcha),
    ("management-api-grants", &[Provider::Auth0], management_grants),
    ("role-no-system-permissions", &[Provider::Clerk], role_permissions),
    ("directory-group-roles", &[Provider::Clerk], directory_roles),
    ("management-api-allowlist", &[Provider::Auth0], management_acl),
    ("log-stream-unfiltered", &[Provider::Auth0], streams_whole),
    ("email-link-same-client", &[Provider::Clerk], email_links),
    ("jwt-template-no-personal-data", &[Provider::Clerk], personal_data),
    ("own-social-credentials", &[Provider::Clerk], own_credentials),
    ("lists-enforced-at-sign-in", &[Provider::Clerk], lists),
];

/// What the rules say, by rule.
pub(super) fn first(snapshot: &Snapshot, profile: Profile) -> BTreeMap<String, Says> {
    let is_wanted = |id: &str| SECOND.iter().any(|(wanted, ..)| *wanted == id);
    let rules = RuleSet::built_in().only(|rule| is_wanted(&rule.id));
    let mut says: BTreeMap<String, Says> = BTreeMap::new();
    for result in evaluate(&rules, snapshot, &input(profile)) {
        let letter = match result.state {
            RuleState::Pass => 'p',
            RuleState::Fail => 'f',
            RuleState::NotApplicable => 'n',
            _ => 'u',
        };
        says.entry(result.rule.id.clone()).or_default().insert(result.object.as_deref().map(str::to_owned), letter);
    }
    says
}

pub(super) fn disagreements(snapshot: &Snapshot, profile: Profile) -> Vec<String> {
    let provider = snapshot.instance.provider;
    let mut first = first(snapshot, profile);
    let world = World(snapshot.values().map(|(section, value)| (section.to_owned(), value)).collect());
    let mut found = Vec::new();
    for (id, _, second) in SECOND.iter().filter(|(_, providers, _)| providers.contains(&provider)) {
        let first = first.remove(*id).unwrap_or_default();
        if RuleSet::built_in().rule(id).unwrap().check_in(provider, profile).is_none() {
            assert!(first.is_empty(), "{id} in {profile}");
            continue;
        }
        let second = second(&world, provider, profile);
        if first != second {
            let differ = first.iter().filter(|entry| second.get(entry.0) != Some(entry.1)).collect::<Vec<_>>();
            found.push(format!("{id} in {profile}: {differ:?}, and not {second:?}"));
        }
    }
    found
}

#[test]
fn two_evaluations_agree_on_every_tenant() {
    for tenant in fixtures::tenants() {
        let snapshot = snapshot(&tenant);
        for profile in Profile::ALL {
            let found = disagreements(&snapshot, profile);
            assert!(found.is_empty(), "{}: {found:#?}", tenant.name);
        }
    }
}
