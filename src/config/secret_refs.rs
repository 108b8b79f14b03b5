//! Every secret that a configuration refers to, and what it is for.

use super::{
    Auth0Credential, Config, HookUrl, Instance, Proxy, ProxyAddress, Receiver, ReceiverKind, SecretRef, Source,
};

/// A secret that is kept somewhere.
#[derive(Debug, Clone, Copy)]
pub struct SecretUse<'a> {
    /// The key of the configuration that says where.
    pub key: &'static str,
    /// Where.
    pub place: &'a SecretRef,
}

impl std::fmt::Display for SecretRef {
    /// Where to look for it: the path of the file, or the name of the credential or variable.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Credential(name) => write!(f, "credential {name}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Env(name) => write!(f, "${name}"),
        }
    }
}

impl Instance {
    /// The credentials it is read with.
    pub fn secrets(&self) -> Vec<SecretUse<'_>> {
        let kept = |key, place| SecretUse { key, place };
        match &self.source {
            Source::Clerk(clerk) => {
                let key = clerk.secret_key.as_ref().map(|place| kept("secret_key", place));
                let token = clerk.platform.as_ref().map(|platform| kept("platform_token", &platform.token));
                key.into_iter().chain(token).collect()
            }
            Source::Auth0(auth0) => vec![match &auth0.credential {
                Auth0Credential::ClientSecret { secret, .. } => kept("client_secret", secret),
                Auth0Credential::PrivateKey { key, .. } => kept("private_key", key),
                Auth0Credential::Token(token) => kept("token", token),
            }],
        }
    }
}

impl Receiver {
    /// The secrets that messages to it are sent with.
    pub fn secrets(&self) -> Vec<SecretUse<'_>> {
        let kept = |key, place| SecretUse { key, place };
        match &self.kind {
            ReceiverKind::Email(email) => email.login.iter().map(|(_, password)| kept("password", password)).collect(),
            ReceiverKind::Webhook(hook) => {
                let url = match &hook.url {
                    HookUrl::Secret(place) => Some(kept("url", place)),
                    HookUrl::Written(_) => None,
                };
                let secrets = hook.secrets.iter().map(|secret| kept("secret", secret));
                url.into_iter()
                    .chain(secrets)
                    .chain(hook.headers.iter().map(|(_, place)| kept("headers", place)))
                    .collect()
            }
            ReceiverKind::Slack(chat) | ReceiverKind::Teams(chat) | ReceiverKind::Discord(chat) => {
                vec![kept("url", &chat.url)]
            }
            ReceiverKind::PagerDuty(pager) => vec![kept("routing_key", &pager.routing_key)],
        }
    }
}

impl Config {
    /// All of them, each with the name of its instance or receiver.
    pub fn secrets(&self) -> Vec<(String, SecretUse<'_>)> {
        let mut all = Vec::new();
        for instance in &self.instances {
            all.extend(instance.secrets().into_iter().map(|kept| (instance.id.to_string(), kept)));
        }
        for receiver in &self.receivers {
            all.extend(receiver.secrets().into_iter().map(|kept| (receiver.name.clone(), kept)));
        }
        let beat = self
            .heartbeat
            .iter()
            .map(|heartbeat| ("heartbeat".to_owned(), SecretUse { key: "url", place: &heartbeat.url }));
        all.extend(beat);
        if let Proxy::Named { at: ProxyAddress::Secret(place), .. } = &self.proxy {
            all.push(("network".to_owned(), SecretUse { key: "proxy", place }));
        }
        all
    }
}
