//! Mail. The only user of `lettre`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use chrono::{DateTime, Utc};
use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message as Mail, Tokio1Executor};
use secrecy::ExposeSecret;

use super::Attempt;
use crate::config::{self, Email, Tls};
use crate::message::{Alert, Message, html, text};
use crate::model::{MessageId, Severity, display_safe};
use crate::secrets;

/// A relay that does not answer for this long is tried again later.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Sends mail for one receiver.
pub(super) struct Mailer {
    email: Email,
    from: Mailbox,
    to: Vec<Mailbox>,
    domain: String,
}

impl Mailer {
    pub(super) fn new(email: &Email) -> Result<Self, String> {
        let domain = email.from.address.rsplit('@').next().unwrap_or("localhost").to_ascii_lowercase();
        let to = email.to.iter().map(mailbox).collect::<Result<_, _>>()?;
        Ok(Self { email: email.clone(), from: mailbox(&email.from)?, to, domain })
    }

    pub(super) async fn send(&self, message: &Message, now: DateTime<Utc>) -> Attempt {
        // One mail that cannot be rendered must not stop the others: the mail library is known to panic on line breaks
        // in names.
        let mail = match catch_unwind(AssertUnwindSafe(|| self.compose(message, now))) {
            Ok(Ok(mail)) => mail,
            Ok(Err(reason)) => return Attempt::Permanent(format!("the mail cannot be made: {reason}")),
            Err(_) => return Attempt::Permanent("the mail cannot be made: the renderer failed".to_owned()),
        };
        let transport = match self.transport() {
            Ok(transport) => transport,
            Err(reason) => return Attempt::Transient(reason, None),
        };
        let mut attempts = Vec::new();
        for to in &self.to {
            attempts.push((to, self.send_to(&transport, &mail, to).await));
        }
        all_recipients(attempts)
    }

    /// Greets the relay and signs in, as before a mail, and takes leave. The error says whether it is about signing in.
    pub(super) async fn greet(&self) -> Result<(), (bool, String)> {
        let transport = self.transport().map_err(|reason| (true, reason))?;
        match tokio::time::timeout(TIMEOUT, transport.test_connection()).await {
            Err(_) => Err((false, format!("the relay did not finish within {} s", TIMEOUT.as_secs()))),
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err((false, "the relay takes no commands".to_owned())),
            Ok(Err(error)) => Err((is_about_login(&error), display_safe(&chain(&error)))),
        }
    }

    /// One conversation for one recipient: a mailbox that is gone must not take the mail from the others.
    async fn send_to(&self, transport: &AsyncSmtpTransport<Tokio1Executor>, mail: &Mail, to: &Mailbox) -> Attempt {
        let envelope = match Envelope::new(Some(self.from.email.clone()), vec![to.email.clone()]) {
            Ok(envelope) => envelope,
            Err(error) => return Attempt::Permanent(chain(&error)),
        };
        let raw = mail.formatted();
        // The library's own time-out does not end a conversation in which the relay never speaks.
        let sent = match tokio::time::timeout(TIMEOUT, transport.send_raw(&envelope, &raw)).await {
            Ok(sent) => sent,
            Err(_) => {
                let reason = format!("the relay did not finish within {} s", TIMEOUT.as_secs());
                return Attempt::Transient(reason, None);
            }
        };
        match sent {
            Ok(response) => {
                let words: Vec<&str> = response.message().collect();
                Attempt::Delivered(display_safe(&format!("{} {}", response.code(), words.join(" "))))
            }
            // A password can be mended, so a refused one is no reason to lose the mail.
            Err(error) if error.is_permanent() && !is_about_login(&error) => {
                Attempt::Permanent(display_safe(&chain(&error)))
            }
            // "Connection refused" is neither transient nor permanent to the library: whatever is not final is tried again.
            Err(error) => Attempt::Transient(display_safe(&chain(&error)), None),
        }
    }

    fn compose(&self, message: &Message, now: DateTime<Utc>) -> Result<Mail, String> {
        let alert = &message.alert;
        let text = text::render(alert).map_err(|error| error.to_string())?;
        let html = html::render(alert).map_err(|error| error.to_string())?;
        let mut builder = Mail::builder()
            .message_id(Some(self.message_id(&message.id)))
            .date(now.into())
            .from(self.from.clone())
            .subject(&message.subject);
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        if let Some(thread) = &message.thread {
            builder = builder.in_reply_to(self.message_id(thread)).references(self.message_id(thread));
        }
        let mut mail =
            builder.multipart(MultiPart::alternative_plain_html(text, html)).map_err(|error| error.to_string())?;
        for (name, value) in self.headers(alert) {
            mail.headers_mut().insert_raw(HeaderValue::new(HeaderName::new_from_ascii_str(name), value));
        }
        Ok(mail)
    }

    /// Headers for filters and against loops: ASCII tokens of our own making only.
    fn headers(&self, alert: &Alert) -> Vec<(&'static str, String)> {
        let mut headers = vec![
            ("Auto-Submitted", "auto-generated".to_owned()),
            ("X-Auto-Response-Suppress", "All".to_owned()),
            ("List-Id", format!("<authdrift.{}>", self.domain)),
            ("X-Authdrift-Instance", alert.instance.as_ref().map_or("none".to_owned(), ToString::to_string)),
            ("X-Authdrift-Event", alert.event.size.to_string()),
            ("X-Authdrift-History", alert.event.head.to_string()),
        ];
        if alert.severity() == Severity::Critical {
            headers.push(("Importance", "high".to_owned()));
        }
        headers
    }

    /// The same on every try, so that a mail store recognises a repetition.
    fn message_id(&self, id: &MessageId) -> String {
        format!("<{id}@{}>", self.domain)
    }

    fn transport(&self) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
        let host = &self.email.host;
        let builder = match self.email.tls {
            Tls::Implicit => AsyncSmtpTransport::<Tokio1Executor>::relay(host).map_err(|error| chain(&error))?,
            Tls::Starttls => {
                AsyncSmtpTransport::<Tokio1Executor>::starttls_relay(host).map_err(|error| chain(&error))?
            }
            // The configuration allows this for loopback only.
            Tls::None => AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host),
        };
        let mut builder = builder.port(self.email.port).timeout(Some(TIMEOUT));
        if let Some((name, password)) = &self.email.login {
            let password = secrets::read(password).map_err(|error| error.to_string())?;
            builder = builder.credentials(Credentials::new(name.clone(), password.expose_secret().to_owned()));
        }
        Ok(builder.build())
    }
}

/// What became of a mail to several people: tried again while anyone may still get it (the others recognise the
/// repetition by its Message-ID), delivered when somebody has it, given up only when nobody ever will.
fn all_recipients(attempts: Vec<(&Mailbox, Attempt)>) -> Attempt {
    let mut delivered = None;
    let mut refused = Vec::new();
    for (to, attempt) in attempts {
        match attempt {
            Attempt::Transient(..) => return attempt,
            Attempt::Permanent(reason) | Attempt::Gone(reason) => refused.push(format!("{}: {reason}", to.email)),
            Attempt::Delivered(answer) => delivered = Some(answer),
        }
    }
    let refused = display_safe(&refused.join("; "));
    match delivered {
        Some(answer) if refused.is_empty() => Attempt::Delivered(answer),
        Some(answer) => Attempt::Delivered(format!("{answer}, but not to {refused}")),
        None => Attempt::Permanent(refused),
    }
}

/// Replies about authentication: 530, 534, 535, 538.
fn is_about_login(error: &lettre::transport::smtp::Error) -> bool {
    error.status().is_some_and(|code| matches!(u16::from(code), 530 | 534 | 535 | 538))
}

fn mailbox(mailbox: &config::Mailbox) -> Result<Mailbox, String> {
    let address = mailbox.address.parse().map_err(|error| format!("'{}': {error}", display_safe(&mailbox.address)))?;
    Ok(Mailbox::new(mailbox.name.as_deref().map(display_safe), address))
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let words = source.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mailbox_that_is_gone_does_not_take_the_mail_from_the_others() {
        let (one, other): (Mailbox, Mailbox) = ("a@example.test".parse().unwrap(), "b@example.test".parse().unwrap());
        let delivered = || Attempt::Delivered("250".to_owned());
        let transient = || Attempt::Transient("450".to_owned(), None);
        let permanent = || Attempt::Permanent("550".to_owned());
        let table = [
            (delivered(), delivered(), delivered()),
            (permanent(), delivered(), Attempt::Delivered("250, but not to a@example.test: 550".to_owned())),
            (permanent(), transient(), transient()),
            (delivered(), transient(), transient()),
            (permanent(), permanent(), Attempt::Permanent("a@example.test: 550; b@example.test: 550".to_owned())),
        ];
        for (first, second, expected) in table {
            assert_eq!(all_recipients(vec![(&one, first), (&other, second)]), expected);
        }
    }
}
