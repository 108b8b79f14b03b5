//! A tenant of any size: many objects of the kinds that Lantern Books has a few of. The same size is the same tenant.

use serde_json::{Value, json};

use authdrift::simulator::auth0::lantern_books;
use authdrift::simulator::vendor::Documents;

/// Applications that use one connection.
const USERS_OF_CONNECTION: usize = 5;
/// Strategies of the connections, in turn: one in ten is a database.
const STRATEGIES: [&str; 10] =
    ["auth0", "samlp", "oidc", "waad", "okta", "google-apps", "samlp", "oidc", "adfs", "google-oauth2"];

/// How many objects a tenant has. Grants and what belongs to single objects come in proportion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Applications.
    pub clients: usize,
    /// Connections.
    pub connections: usize,
    /// Organizations.
    pub organizations: usize,
    /// Actions.
    pub actions: usize,
    /// APIs, and as many roles and machines that may call them.
    pub apis: usize,
}

impl Size {
    /// As large as a tenant should be for comfort.
    pub const LARGE: Self = Self { clients: 2_500, connections: 500, organizations: 200, actions: 100, apis: 50 };

    /// The same in small.
    #[must_use]
    pub fn divided_by(self, divisor: usize) -> Self {
        Self {
            clients: self.clients / divisor,
            connections: self.connections / divisor,
            organizations: self.organizations / divisor,
            actions: self.actions / divisor,
            apis: self.apis / divisor,
        }
    }
}

/// The documents of a tenant of that size, by path.
pub fn tenant(size: Size) -> Documents {
    let mut documents = lantern_books();
    let pattern = |path: &str, place: usize| {
        documents.get(path).and_then(|list| list.get(place)).cloned().unwrap_or_else(|| unreachable!("no {path}"))
    };
    let (client, api) = (pattern("/api/v2/clients", 0), pattern("/api/v2/resource-servers", 1));
    let (database, enterprise) = (pattern("/api/v2/connections", 0), pattern("/api/v2/connections", 2));
    let (organization, action) = (pattern("/api/v2/organizations", 0), pattern("/api/v2/actions/actions", 0));
    let binding = pattern("/api/v2/actions/triggers/post-login/bindings", 0);
    let scim = ["connections-scim-configurations", "connections-directory-provisionings"];
    for path in scim {
        documents.insert(format!("/api/v2/{path}"), json!([]));
    }

    let mut insert = |path: &str, count: usize, item: &dyn Fn(usize) -> Value| {
        documents.insert(format!("/api/v2/{path}"), (0..count).map(item).collect());
    };
    insert("clients", size.clients, &|number| {
        let host = format!("app-{number}.lantern-books.example");
        let changes = json!({
            "client_id": client_id(number), "name": format!("Application {number}"),
            "description": format!("Shop window {number} of the bookshop"),
            "callbacks": [format!("https://{host}/callback"), format!("https://{host}/silent"), "http://localhost:3000/callback"],
            "allowed_logout_urls": [format!("https://{host}/")], "web_origins": [format!("https://{host}")],
            "client_metadata": { "team": format!("team-{}", number % 40), "cost_center": format!("{}", 1000 + number % 90) },
            "logo_uri": format!("https://cdn.lantern-books.example/{number}.svg"),
        });
        changed(&client, changes)
    });
    insert("client-grants", size.apis, &|number| {
        json!({ "id": format!("cgr_{number:016}"), "client_id": client_id(number), "audience": audience(number),
                "scope": scopes(12), "subject_type": "client" })
    });
    insert("resource-servers", size.apis, &|number| {
        let all = scopes(20).into_iter().map(|value| json!({ "value": value, "description": "May do this" }));
        changed(
            &api,
            json!({ "id": format!("{number:024}"), "name": format!("API {number}"), "identifier": audience(number),
                              "scopes": all.collect::<Vec<_>>() }),
        )
    });
    insert(
        "roles",
        size.apis,
        &|number| json!({ "id": role_id(number), "name": format!("role-{number}"), "description": format!("What team {number} does") }),
    );
    for role in 0..size.apis {
        let permissions = scopes(10);
        insert(&format!("roles/{}/permissions", role_id(role)), permissions.len(), &|number| {
            json!({ "permission_name": permissions.get(number), "description": "May do this",
                    "resource_server_name": format!("API {role}"), "resource_server_identifier": audience(role) })
        });
        insert(&format!("roles/{}/groups", role_id(role)), 0, &|_| Value::Null);
    }
    insert("connections", size.connections, &|number| {
        let strategy = strategy(number);
        let pattern = if strategy == "auth0" { &database } else { &enterprise };
        let named =
            json!({ "id": connection_id(number), "name": format!("connection-{number}"), "strategy": strategy });
        let named = changed(pattern, named);
        if strategy == "auth0" { named } else { changed(&named, json!({ "options": { "signingCert": text(1_400) } })) }
    });
    for connection in 0..size.connections {
        let path = format!("connections/{}", connection_id(connection));
        insert(
            &format!("{path}/clients"),
            USERS_OF_CONNECTION.min(size.clients),
            &|number| json!({ "client_id": client_id((connection + number) % size.clients) }),
        );
        if has_keys(connection) {
            insert(&format!("{path}/keys"), 1, &|_| {
                json!({ "kid": format!("kid-{connection}"), "algorithm": "RS256", "key_use": "signing", "cert": text(1_400),
                        "fingerprint": format!("{connection:040}"), "current": true })
            });
        }
    }
    insert("organizations", size.organizations, &|number| {
        changed(
            &organization,
            json!({ "id": organization_id(number), "name": format!("publisher-{number}"),
                                       "display_name": format!("Publisher {number}") }),
        )
    });
    for number in 0..size.organizations {
        let path = format!("organizations/{}", organization_id(number));
        insert(&format!("{path}/connections"), 2.min(size.connections), &|which| {
            let connection = (number * 2 + which) % size.connections;
            json!({ "connection_id": connection_id(connection), "assign_membership_on_login": false, "show_as_button": true,
                    "is_enabled": true, "connection": { "name": format!("connection-{connection}") } })
        });
        insert(&format!("{path}/client-grants"), 1, &|_| {
            json!({ "id": format!("cgr_{number:016}"), "client_id": client_id(number), "audience": audience(number % size.apis),
                    "scope": scopes(4), "organization_usage": "allow" })
        });
        insert(&format!("{path}/discovery-domains"), 2, &|which| {
            json!({ "id": format!("odd_{number}_{which}"), "domain": format!("mail-{which}.publisher-{number}.example"),
                    "status": "verified" })
        });
        insert(
            &format!("{path}/clients"),
            1,
            &|_| json!({ "client_id": client_id(number), "use_for_member_access": true }),
        );
        insert(&format!("{path}/groups"), 0, &|_| Value::Null);
    }
    insert("actions/actions", size.actions, &|number| {
        let code = format!("// {number}\n{}", text(4_000));
        let changes = json!({ "id": format!("act-{number}"), "name": format!("Action {number}"), "code": code,
                              "current_version": { "code": code }, "deployed_version": { "code": code } });
        changed(&action, changes)
    });
    insert("actions/triggers/post-login/bindings", size.actions.min(20), &|number| {
        let name = format!("Action {number}");
        let changes = json!({ "id": format!("bnd-{number}"), "display_name": name,
                              "action": { "id": format!("act-{number}"), "name": name } });
        changed(&binding, changes)
    });
    documents
}

/// Whether that connection of [`tenant`] is of a kind that has keys.
pub fn has_keys(connection: usize) -> bool {
    matches!(strategy(connection), "samlp" | "oidc" | "okta")
}

/// The id of a client of [`tenant`].
pub fn client_id(number: usize) -> String {
    format!("LanternApplication{number:014}")
}

fn strategy(connection: usize) -> &'static str {
    STRATEGIES.get(connection % STRATEGIES.len()).copied().unwrap_or_default()
}

fn connection_id(number: usize) -> String {
    format!("con_{number:016}")
}

fn organization_id(number: usize) -> String {
    format!("org_{number:016}")
}

fn role_id(number: usize) -> String {
    format!("rol_{number:016}")
}

fn audience(number: usize) -> String {
    format!("https://api-{number}.lantern-books.example")
}

fn scopes(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("read:shelf-{number}")).collect()
}

/// Text of about that many bytes.
fn text(length: usize) -> String {
    const LINE: &str = "if (event.user.email_verified) api.accessToken.setCustomClaim('shelf', 'a');\n";
    LINE.repeat(length.div_ceil(LINE.len()))
}

/// `pattern` with other values for some fields, also within objects.
fn changed(pattern: &Value, changes: Value) -> Value {
    let mut value = pattern.clone();
    let (Value::Object(fields), Value::Object(changes)) = (&mut value, &changes) else { return changes };
    for (name, change) in changes {
        let field = fields.entry(name).or_insert(Value::Null);
        *field = changed(field, change.clone());
    }
    value
}
