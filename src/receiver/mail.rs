//! Mail. The only user of `lettre`.

mod accepted;
mod wire;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use chrono::{DateTime, Utc};
use lettre::Message as Mail;
use lettre::address::Envelope;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Response;
use secrecy::ExposeSecret;
use tokio::time::{Instant, timeout_at};

use super::Attempt;
use crate::config::{self, Email, Tls, is_domain};
use crate::host::hostname;
use crate::message::{Alert, Message, html, text};
use crate::model::{MessageId, Severity, display_safe, display_safe_sentence};
use crate::secrets;
use accepted::AcceptedRecipients;
use wire::{Bounded, Handshake, NoTls, Replies, SmtpRefusal, Wire};

/// A relay that does not finish a conversation within this time is tried again later.
const TIMEOUT: Duration = Duration::from_secs(20);
/// No conversation begins later in a try than this: with the longest one after it, a try takes less than a message belongs
/// to this process.
const LAST_BEGINNING: Duration = Duration::from_secs(25);
/// The time for the end of a conversation.
const PARTING: Duration = Duration::from_secs(2);

/// Sends mail for one receiver.
pub(super) struct Mailer {
    email: Email,
    from: Mailbox,
    to: Vec<Mailbox>,
    domain: String,
    accepted: AcceptedRecipients,
}

/// How to get to the relay, for one try.
struct Relay<'a> {
    email: &'a Email,
    protection: Protection,
    login: Option<Credentials>,
}

enum Protection {
    Implicit(Handshake),
    Starttls(Handshake),
    /// The configuration allows this for loopback only.
    None,
}

/// Why a conversation came to nothing.
enum SmtpFailure {
    Connection(io::Error),
    Conversation(smtp::Error),
    /// Before the mail library took over.
    SmtpRefusal(SmtpRefusal),
    Late,
}

impl Mailer {
    pub(super) fn new(email: &Email) -> Result<Self, String> {
        let domain = email.from.address.rsplit('@').next().unwrap_or("localhost").to_ascii_lowercase();
        let to = email.to.iter().map(mailbox).collect::<Result<_, _>>()?;
        Ok(Self {
            email: email.clone(),
            from: mailbox(&email.from)?,
            to,
            domain,
            accepted: AcceptedRecipients::default(),
        })
    }

    pub(super) async fn send(&self, message: &Message, now: DateTime<Utc>) -> Attempt {
        // One mail that cannot be rendered must not stop the others: the mail library is known to panic on line breaks
        // in names.
        let mail = match catch_unwind(AssertUnwindSafe(|| self.compose(message, now))) {
            Ok(Ok(mail)) => mail.formatted(),
            Ok(Err(reason)) => return Attempt::Permanent(format!("the mail cannot be made: {reason}")),
            Err(_) => return Attempt::Permanent("the mail cannot be made: the renderer failed".to_owned()),
        };
        let relay = match self.relay() {
            Ok(relay) => relay,
            Err(reason) => return Attempt::Transient(reason, None),
        };
        let began = Instant::now();
        let (mut attempts, mut is_heard) = (Vec::new(), false);
        for (place, to) in self.in_turn(message.attempts) {
            let attempt = match self.accepted.by(&message.id, place) {
                Some(answer) => Attempt::Delivered(answer),
                None if began.elapsed() >= LAST_BEGINNING => {
                    let reason = format!("the relay was too slow with the others for {} in this try", to.email);
                    Attempt::Transient(display_safe_sentence(&reason), None)
                }
                None => {
                    let attempt = self.send_to(&relay, &mail, to).await;
                    if let Attempt::Delivered(answer) = &attempt {
                        self.accepted.note(&message.id, place, answer);
                        is_heard = true;
                    }
                    attempt
                }
            };
            attempts.push((to, attempt));
        }
        all_recipients(attempts, is_heard)
    }

    /// The recipients with their places. Every try begins with another, so that the same slow ones do not keep the mail
    /// from the same others each time.
    fn in_turn(&self, tries: u32) -> impl Iterator<Item = (usize, &Mailbox)> {
        let first = usize::try_from(tries).unwrap_or_default() % self.to.len().max(1);
        self.to.iter().enumerate().cycle().skip(first).take(self.to.len())
    }

    /// Greets the relay and signs in, as before a mail, and takes leave. The error says whether it is about signing in.
    pub(super) async fn check(&self) -> Result<(), (bool, String)> {
        let relay = self.relay().map_err(|reason| (true, reason))?;
        match relay.check().await {
            Ok(true) => Ok(()),
            Ok(false) => Err((false, "the relay takes no commands".to_owned())),
            Err(failure) => Err((failure.is_about_login(), failure.words())),
        }
    }

    /// One conversation for one recipient: a mailbox that is gone must not take the mail from the others.
    async fn send_to(&self, relay: &Relay<'_>, mail: &[u8], to: &Mailbox) -> Attempt {
        let envelope = match Envelope::new(Some(self.from.email.clone()), vec![to.email.clone()]) {
            Ok(envelope) => envelope,
            Err(error) => return Attempt::Permanent(chain(&error)),
        };
        match relay.send(&envelope, mail).await {
            Ok(response) => {
                let words: Vec<&str> = response.message().collect();
                Attempt::Delivered(display_safe(&format!("{} {}", response.code(), words.join(" "))))
            }
            // A password and a name can be mended, so a refused one is no reason to lose the mail.
            Err(failure) if failure.is_permanent() && !failure.is_about_login() && !failure.is_about_greeting() => {
                Attempt::Permanent(failure.words())
            }
            // "Connection refused" is neither transient nor permanent to the library: whatever is not final is tried again.
            Err(failure) => Attempt::Transient(failure.words(), None),
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
        // The end of an incident is not urgent, whatever its severity was.
        if alert.severity() == Severity::Critical && !alert.is_all_clear() {
            headers.push(("Importance", "high".to_owned()));
        }
        headers
    }

    /// The same on every try, so that a mail store recognises a repetition.
    fn message_id(&self, id: &MessageId) -> String {
        format!("<{id}@{}>", self.domain)
    }

    fn relay(&self) -> Result<Relay<'_>, String> {
        let protection = match self.email.tls {
            Tls::Implicit => Protection::Implicit(Handshake::prepare()?),
            Tls::Starttls => Protection::Starttls(Handshake::prepare()?),
            Tls::None => Protection::None,
        };
        let login = match &self.email.login {
            Some((name, password)) => {
                let password = secrets::read(password).map_err(|error| error.to_string())?;
                Some(Credentials::new(name.clone(), password.expose_secret().to_owned()))
            }
            None => None,
        };
        Ok(Relay { email: &self.email, protection, login })
    }
}

impl Relay<'_> {
    async fn send(&self, envelope: &Envelope, mail: &[u8]) -> Result<Response, SmtpFailure> {
        self.converse(async |conversation| Ok(conversation.send(envelope, mail).await?)).await
    }

    /// Whether it takes commands.
    async fn check(&self) -> Result<bool, SmtpFailure> {
        self.converse(async |conversation| Ok(conversation.test_connected().await)).await
    }

    /// The mail library's own time-out would not end a conversation in which the relay never speaks.
    async fn converse<T>(
        &self,
        matter: impl AsyncFnOnce(&mut AsyncSmtpConnection) -> Result<T, SmtpFailure>,
    ) -> Result<T, SmtpFailure> {
        let end = Instant::now() + TIMEOUT;
        let talk = async {
            let mut conversation = self.open().await?;
            let answer = matter(&mut conversation).await?;
            Ok((conversation, answer))
        };
        let (mut conversation, answer) = timeout_at(end, talk).await.unwrap_or(Err(SmtpFailure::Late))?;
        // It took what it was told: how it parts changes nothing.
        let _ = timeout_at(end.min(Instant::now() + PARTING), conversation.abort()).await;
        Ok(answer)
    }

    /// Connects, protects the connection and signs in. Without the protection that is asked for, nothing is said.
    async fn open(&self) -> Result<AsyncSmtpConnection, SmtpFailure> {
        let Email { host, port, tls, helo, .. } = self.email;
        let mut stream = Bounded::connect(host, *port, *tls).await.map_err(SmtpFailure::Connection)?;
        let own = stream.own_address().map_err(SmtpFailure::Connection)?;
        let hello = ClientId::Domain(greeting_name(helo.as_deref(), &hostname(), own.ip()));
        let replies = match &self.protection {
            Protection::Implicit(handshake) => {
                Replies::new(handshake.shake(host, stream).await.map_err(SmtpFailure::Connection)?)
            }
            Protection::Starttls(handshake) => {
                stream.starttls(&hello.to_string()).await?;
                Replies::after_greeting(handshake.shake(host, stream).await.map_err(SmtpFailure::Connection)?)
            }
            Protection::None => Replies::new(Wire::Open(stream)),
        };
        let mut conversation = AsyncSmtpConnection::connect_with_transport(Box::new(replies), &hello).await?;
        if let Some(login) = &self.login {
            conversation.auth(DEFAULT_MECHANISMS, login).await?;
        }
        Ok(conversation)
    }
}

impl AsyncTokioStream for Replies {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.address()
    }
}

impl From<smtp::Error> for SmtpFailure {
    fn from(error: smtp::Error) -> Self {
        Self::Conversation(error)
    }
}

impl From<NoTls> for SmtpFailure {
    fn from(error: NoTls) -> Self {
        match error {
            NoTls::Broken(error) => Self::Connection(error),
            NoTls::SmtpRefusal(refused) => Self::SmtpRefusal(refused),
        }
    }
}

impl SmtpFailure {
    /// The code of the reply, if there was one.
    fn code(&self) -> Option<u16> {
        match self {
            Self::Conversation(error) => error.status().map(u16::from),
            Self::SmtpRefusal(SmtpRefusal(code, _)) => Some(*code),
            Self::Connection(_) | Self::Late => None,
        }
    }

    fn is_permanent(&self) -> bool {
        self.code().is_some_and(|code| (500..600).contains(&code))
    }

    /// Replies about authentication: 530, 534, 535, 538.
    fn is_about_login(&self) -> bool {
        matches!(self.code(), Some(530 | 534 | 535 | 538))
    }

    /// Replies about the name in EHLO. Relays give them at any step, most with the first recipient.
    fn is_about_greeting(&self) -> bool {
        self.code().is_some_and(|code| is_about_greeting(code, &self.said()))
    }

    fn words(&self) -> String {
        let said = self.said();
        match self.is_about_greeting() {
            true => {
                format!(
                    "{said}; the relay does not accept the name in EHLO: set `helo` in [[email]] to one that it accepts"
                )
            }
            false => said,
        }
    }

    fn said(&self) -> String {
        match self {
            Self::Connection(error) => display_safe_sentence(&format!("Connection error: {}", chain(error))),
            Self::Conversation(error) => display_safe_sentence(&chain(error)),
            Self::SmtpRefusal(SmtpRefusal(code, text)) => format!("{code} {}", display_safe(text)),
            Self::Late => format!("the relay did not finish within {} s", TIMEOUT.as_secs()),
        }
    }
}

/// Whether a refusal is about the name in EHLO: 504, or one that says so outside of addresses.
fn is_about_greeting(code: u16, said: &str) -> bool {
    let says_so = |word: &str| {
        let word = word.to_ascii_lowercase();
        !word.contains('@') && (word.contains("helo") || word.contains("ehlo"))
    };
    code == 504 || (400..600).contains(&code) && said.split_whitespace().any(says_so)
}

/// The name to greet with: the configured one, or that of this machine if it has a dot, or its address: many relays refuse
/// a name without a dot, and a container has no other.
fn greeting_name(configured: Option<&str>, hostname: &str, own: IpAddr) -> String {
    match (configured, own.to_canonical()) {
        (Some(name), _) => name.to_owned(),
        (None, _) if is_domain(&hostname.to_ascii_lowercase()) => hostname.to_owned(),
        (None, IpAddr::V4(own)) => format!("[{own}]"),
        (None, IpAddr::V6(own)) => format!("[IPv6:{own}]"),
    }
}

/// The outcome of a mail to several recipients: retried while one of them may still get it, delivered when one of them has it,
/// given up only when none ever will. `is_heard` says that a recipient accepted it in this try.
fn all_recipients(attempts: Vec<(&Mailbox, Attempt)>, is_heard: bool) -> Attempt {
    let (mut delivered, mut later) = (None, None);
    let mut refused = Vec::new();
    for (to, attempt) in attempts {
        match attempt {
            Attempt::Permanent(reason) | Attempt::Disabled(reason) => refused.push(format!("{}: {reason}", to.email)),
            Attempt::Delivered(answer) => delivered = Some(answer),
            Attempt::Transient(reason, _)
            | Attempt::RateLimited(reason, _)
            | Attempt::PartiallyDelivered(reason, _) => {
                later.get_or_insert((to, reason));
            }
        }
    }
    let refused = display_safe_sentence(&refused.join("; "));
    match (later, delivered) {
        (Some((to, reason)), Some(_)) => {
            Attempt::PartiallyDelivered(display_safe_sentence(&format!("not yet to {}: {reason}", to.email)), is_heard)
        }
        (Some((_, reason)), None) => Attempt::Transient(reason, None),
        (None, Some(answer)) if refused.is_empty() => Attempt::Delivered(answer),
        (None, Some(answer)) => Attempt::Delivered(format!("{answer}, but not to {refused}")),
        (None, None) => Attempt::Permanent(refused),
    }
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
    fn a_relay_is_greeted_with_a_name_that_has_a_dot() {
        let table = [
            (Some("mail.example.test"), "vm", "192.0.2.1", "mail.example.test"),
            (None, "host.example.test", "192.0.2.1", "host.example.test"),
            (None, "a1b2c3d4e5f6", "192.0.2.1", "[192.0.2.1]"),
            (None, "a_b", "::ffff:192.0.2.1", "[192.0.2.1]"),
            (None, "", "2001:db8::1", "[IPv6:2001:db8::1]"),
            (None, "127.1", "192.0.2.1", "[192.0.2.1]"),
        ];
        for (configured, hostname, own, expected) in table {
            assert_eq!(greeting_name(configured, hostname, own.parse().unwrap()), expected, "{hostname}");
        }
    }

    #[test]
    fn a_refused_name_in_the_greeting_is_told_from_other_refusals() {
        let table = [
            (504, "5.5.2 <a1b2c3>: Helo command rejected: need fully-qualified hostname", true),
            (550, "5.7.1 <vm>: Helo command rejected: Host not found", true),
            (501, "Syntactically invalid HELO argument(s)", true),
            (550, "Access denied - Invalid HELO name (See RFC2821 4.1.1.1)", true),
            (554, "5.7.1 EHLO/HELO refused", true),
            (450, "4.7.1 <vm>: Helo command rejected: Host not found", true),
            (550, "5.1.1 <helo@example.test>: Recipient address rejected", false),
            (554, "5.7.1 Relay access denied", false),
            (250, "helo", false),
        ];
        for (code, said, expected) in table {
            assert_eq!(is_about_greeting(code, said), expected, "{code} {said}");
        }
    }

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
            (delivered(), transient(), Attempt::PartiallyDelivered("not yet to b@example.test: 450".to_owned(), true)),
            (permanent(), permanent(), Attempt::Permanent("a@example.test: 550; b@example.test: 550".to_owned())),
        ];
        for (first, second, expected) in table {
            assert_eq!(all_recipients(vec![(&one, first), (&other, second)], true), expected);
        }
    }
}
