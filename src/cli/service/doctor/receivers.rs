//! Receivers: can each be reached, and would it accept a message?

use super::secret;
use crate::cli::Context;
use crate::cli::alerts::receivers::send_sample;
use crate::config::{HookUrl, Receiver, ReceiverKind, SecretRef, SecretUse, Tls, secret_url};
use crate::connect::{AllowedPeers, Endpoint};
use crate::diagnosis::{self, Check, CheckResult};
use crate::exit::Exit;
use crate::message::sample::SampleKind;
use crate::receiver::heartbeat::{Heartbeat, HeartbeatSignal};
use crate::receiver::{Attempt, Sender, signature};
use crate::secrets;

/// Checks one receiver. With `send` it gets a sample.
pub(super) async fn check(context: &Context, receiver: &Receiver, send: bool) -> Vec<CheckResult> {
    let secret::Secrets { mut findings, are_there } = secret::check(&receiver.secrets(), context);
    let host = match host(receiver).await {
        Ok(host) => host,
        Err(finding) => {
            findings.push(finding);
            return findings;
        }
    };
    let is_reached = host.as_ref().is_some_and(|host| !host.is_failure());
    findings.extend(host);
    if !are_there || !is_reached {
        let why = if are_there { "not tried, because it cannot be reached" } else { "not tried without its secret" };
        findings.push(Check::Receiver.skipped(&receiver.name, why));
        return findings;
    }
    let sender = match Sender::new(receiver) {
        Ok(sender) => sender,
        Err(error) => {
            let help = "see `from` and `to` in the configuration, and the CA certificates of this system";
            findings.push(Check::Receiver.failure(&receiver.name, error, help, Exit::Configuration));
            return findings;
        }
    };
    match &receiver.kind {
        ReceiverKind::Email(email) => {
            let on = format!("{}:{}", email.host, email.port);
            findings.push(match sender.check().await {
                Ok(()) => {
                    let how = match (email.tls, &email.login) {
                        (Tls::None, _) => "greeted",
                        (Tls::Implicit, None) => "greeted over TLS",
                        (Tls::Starttls, None) => "greeted, and STARTTLS done",
                        (Tls::Implicit, Some(_)) => "greeted over TLS, and signed in",
                        (Tls::Starttls, Some(_)) => "greeted, STARTTLS done, and signed in",
                    };
                    Check::Mail.ok(on, format!("{how}; nothing was sent"))
                }
                Err(refused) if refused.is_login => {
                    let help = "check `username` and `password`; many relays want an application password";
                    Check::Mail.failure(on, refused.reason, help, Exit::Credentials)
                }
                Err(refused) => {
                    let help = "check `host`, `port` and `tls`: 465 goes with implicit, 587 with starttls";
                    Check::Mail.failure(on, refused.reason, help, Exit::Io)
                }
            });
        }
        ReceiverKind::Webhook(hook) => {
            findings.extend(hook.secrets.iter().filter_map(|place| can_sign(&receiver.name, place)));
        }
        ReceiverKind::Slack(_) | ReceiverKind::Teams(_) | ReceiverKind::Discord(_) | ReceiverKind::PagerDuty(_) => {}
    }
    if send {
        findings.push(sample(context, receiver).await);
    } else {
        let why = "not sent without --send: whether messages are taken is not known";
        findings.push(Check::Sample.skipped(&receiver.name, why));
    }
    findings
}

/// Checks the host; an error is about a secret address.
async fn host(receiver: &Receiver) -> Result<Option<CheckResult>, CheckResult> {
    let (url, who) = match &receiver.kind {
        ReceiverKind::Email(email) => {
            let (host, is_tls) = (email.host.clone(), email.tls == Tls::Implicit);
            let endpoint = Endpoint { host, port: email.port, is_tls, who: AllowedPeers::Anybody };
            return Ok(Some(diagnosis::endpoint(&endpoint, Exit::Io).await));
        }
        ReceiverKind::Webhook(hook) => {
            let url = match &hook.url {
                HookUrl::Written(url) => url.clone(),
                HookUrl::Secret(place) => of_secret(place, &receiver.name)?,
            };
            (url, who(hook.may_be_private))
        }
        ReceiverKind::PagerDuty(pager) => (pager.url.clone(), AllowedPeers::Public),
        ReceiverKind::Slack(chat) | ReceiverKind::Teams(chat) | ReceiverKind::Discord(chat) => {
            (of_secret(&chat.url, &receiver.name)?, who(chat.may_be_private))
        }
    };
    Ok(diagnosis::host(&url, who, &receiver.proxy, Exit::Io).await)
}

fn who(may_be_private: bool) -> AllowedPeers {
    if may_be_private { AllowedPeers::Private } else { AllowedPeers::Public }
}

/// The secret address at `place`. An error does not repeat it.
fn of_secret(place: &SecretRef, name: &str) -> Result<url::Url, CheckResult> {
    use secrecy::ExposeSecret;
    let text = secrets::read(place).map_err(|error| error.to_string());
    text.and_then(|text| secret_url(text.expose_secret().trim())).map_err(|reason| {
        let help = "write the whole address there, as it is shown where it was made";
        Check::Receiver.failure(name, reason, help, Exit::Configuration)
    })
}

/// Reports a secret that cannot sign. Otherwise the first message would fail.
fn can_sign(name: &str, place: &SecretRef) -> Option<CheckResult> {
    let secret = secrets::read(place).map_err(|error| error.to_string());
    let signed = secret.and_then(|secret| signature(&secret, "msg", 0, b"").map_err(|error| error.to_string()));
    let help = "docs/receivers.md says what a webhook's secret looks like";
    signed.err().map(|reason| Check::Receiver.failure(name, reason, help, Exit::Configuration))
}

async fn sample(context: &Context, receiver: &Receiver) -> CheckResult {
    let name = &receiver.name;
    let help = |why: &str| format!("{why}; `authdrift receivers test {name}` tries it again");
    match send_sample(context, receiver, SampleKind::Drift).await {
        Ok((id, Attempt::Delivered(answer))) => Check::Sample.ok(name, format!("took {id}: {answer}")),
        Ok((
            _,
            Attempt::Transient(reason, _) | Attempt::RateLimited(reason, _) | Attempt::PartiallyDelivered(reason, _),
        )) => Check::Sample.failure(name, reason, help("an alert would be tried again for three days"), Exit::Io),
        Ok((_, Attempt::Permanent(reason))) => {
            Check::Sample.failure(name, reason, help("an alert would be given up"), Exit::Io)
        }
        Ok((_, Attempt::Disabled(reason))) => {
            let help = help("nothing would be sent any more: make a new address there");
            Check::Sample.failure(name, reason, help, Exit::Io)
        }
        Err(error) => Check::Sample.failure(name, error.message, error.help.unwrap_or_default(), error.exit),
    }
}

/// Whether a heartbeat service is configured and can be reached.
pub(super) async fn heartbeat(context: &Context, send: bool) -> Vec<CheckResult> {
    let Some(place) = &context.config.heartbeat else {
        let why = "none is configured: if this machine dies, no alert is sent";
        let help = "add [heartbeat] with the address of a service that misses signs of life; docs/alerts.md";
        return vec![Check::Heartbeat.warning("heartbeat", why, help)];
    };
    let secret::Secrets { mut findings, are_there } =
        secret::check(&[SecretUse { key: "url", place: &place.url }], context);
    if !are_there {
        return findings;
    }
    let url = match of_secret(&place.url, "heartbeat") {
        Ok(url) => url,
        Err(finding) => {
            findings.push(finding);
            return findings;
        }
    };
    let host = Endpoint::of(&url, AllowedPeers::Public).map_or_else(String::new, |endpoint| endpoint.host);
    if !send {
        let why = format!("{host} is configured, and not asked without --send: asking is a sign of life");
        findings.push(Check::Heartbeat.skipped("heartbeat", why));
        return findings;
    }
    let sent = match Heartbeat::new(place, &context.config.proxy) {
        Ok(heartbeat) => {
            heartbeat.send(&HeartbeatSignal::Success, "authdrift doctor: somebody tries whether this arrives").await
        }
        Err(error) => Err(error.to_string()),
    };
    findings.push(match sent {
        Ok(()) => Check::Heartbeat.ok("heartbeat", format!("{host} took a sign of life")),
        Err(reason) => {
            let help = "check the address there, and that this machine may connect to it";
            Check::Heartbeat.failure(host, reason, help, Exit::Io)
        }
    });
    findings
}
