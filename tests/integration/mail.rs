//! Mails as a server and a reader see them that nobody here wrote: aiosmtpd with real TLS, and Python's `email`.

mod relay;

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use authdrift::clock::{Clock, SystemClock};
use authdrift::config::{self, Sources};
use authdrift::message::sample::{SampleKind, sample};
use authdrift::message::{Alert, Item, Message};
use authdrift::model::{Digest, HistoryMark, Severity};
use authdrift::receiver::{Attempt, Sender};
use authdrift::simulator::smtp::{Manner, Stage};
use serde_json::Value;

use crate::common::Sandbox;
use crate::common::certificates::make_certificates;
use crate::common::sandbox::Ran;
use relay::{Harm, Relay};

const PATIENCE: Duration = Duration::from_secs(20);

/// A server that runs until it is dropped, and what it says.
struct Server {
    child: Child,
    port: u16,
    said: Receiver<Value>,
}

impl Server {
    /// Starts one with a certificate for `localhost` of an authority of its own, `ca.pem` in the sandbox. Nothing if this
    /// machine has no aiosmtpd: `.ci/run` installs it.
    fn start(sandbox: &Sandbox, mode: &str) -> Option<Self> {
        let python = ["python3", "/usr/bin/python3"].into_iter().find(|python| {
            let tried = Command::new(python).args(["-c", "import aiosmtpd"]).stderr(Stdio::null()).status();
            tried.is_ok_and(|status| status.success())
        });
        let Some(python) = python else {
            let _ =
                writeln!(std::io::stderr(), "SKIPPED: no python3 with aiosmtpd, so no mail server of somebody else");
            return None;
        };
        make_certificates(sandbox);
        let mut child = Command::new(python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/mail/server.py"))
            .arg(mode)
            .args([sandbox.path("server.pem"), sandbox.path("server.key")])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let port = first.strip_prefix("port ").unwrap().parse().unwrap();
        let (sender, said) = channel();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap());
            }
        });
        Some(Self { child, port, said })
    }

    /// The next mail; commands that came before it are left out.
    fn mail(&self) -> Value {
        loop {
            let said = self.said.recv_timeout(PATIENCE).expect("a mail");
            if said.get("headers").is_some() {
                return said;
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Mails go to the server at `port`, with a login.
fn configure(sandbox: &Sandbox, port: u16, tls: &str) {
    sandbox.write("smtp-password", "relay-password");
    let receiver = format!(
        "[[email]]\nname = \"security\"\nhost = \"localhost\"\nport = {port}\ntls = \"{tls}\"\nusername = \"authdrift\"\n\
         password = {{ file = \"smtp-password\" }}\nfrom = \"authdrift <authdrift@example.test>\"\n\
         to = [\"Ann Example <ann@example.test>\", \"security@example.test\"]\nmin_severity = \"info\"\n"
    );
    sandbox.write("config.toml", &format!("{}{}{receiver}", sandbox.head(), sandbox.clerk_table()));
}

/// Runs the program, which trusts the authority named in `authority`.
async fn run(sandbox: &Sandbox, authority: &str, arguments: &[&str]) -> Ran {
    let mut command = sandbox.command();
    command.env("SSL_CERT_FILE", sandbox.path(authority)).args(arguments);
    tokio::task::spawn_blocking(move || command.output().unwrap().into()).await.unwrap()
}

fn header<'a>(mail: &'a Value, name: &str) -> Vec<&'a str> {
    let headers = mail["headers"].as_array().unwrap().iter();
    headers.filter(|header| header[0] == name).map(|header| header[1].as_str().unwrap()).collect()
}

/// Everything a drift and its end bring, read by somebody else.
async fn tell_a_story(tls: &str) {
    let sandbox = Sandbox::clerk_approved().await;
    let Some(server) = Server::start(&sandbox, tls) else { return };
    configure(&sandbox, server.port, tls);
    sandbox.set_lifetime(3600);
    run(&sandbox, "ca.pem", &["check"]).await.expect(10);
    let copies = [server.mail(), server.mail()];
    sandbox.set_lifetime(60);
    run(&sandbox, "ca.pem", &["check"]).await.expect(0);
    let (opened, closed) = (&copies[0], &server.mail());
    for mail in [opened, &copies[1], closed] {
        assert_eq!((&mail["tls"], &mail["login"]), (&true.into(), &true.into()), "TLS and login");
        assert_eq!(mail["defects"], serde_json::json!([]));
        assert_eq!(mail["order"], serde_json::json!(["multipart/alternative", "text/plain", "text/html"]));
        assert!(mail["longest_line"].as_u64().unwrap() <= 998, "RFC 5322");
        for once in ["From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "List-Id", "Auto-Submitted"] {
            assert_eq!(header(mail, once).len(), 1, "{once}");
        }
        assert!(header(mail, "Bcc").is_empty());
    }
    assert!(opened["text"].as_str().unwrap().contains("/jwt_templates/supabase/lifetime"));
    assert!(opened["html"].as_str().unwrap().replace("<wbr>", "").contains("/jwt_templates/supabase/lifetime"));
    let root = header(opened, "Message-ID");
    assert_eq!(root, header(&copies[1], "Message-ID"), "both recipients have the same mail");
    assert_eq!(header(closed, "In-Reply-To"), root);
    assert_eq!(header(closed, "References"), root);
    assert_eq!(header(closed, "Subject")[0], format!("Re: {}", header(opened, "Subject")[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_somebody_else_takes_mails_over_starttls_and_finds_the_thread() {
    tell_a_story("starttls").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_somebody_else_takes_mails_over_tls_from_the_first_byte() {
    tell_a_story("implicit").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t7_a_server_without_starttls_or_with_a_strange_certificate_gets_nothing() {
    let sandbox = Sandbox::clerk_approved().await;
    let Some(server) = Server::start(&sandbox, "stripped") else { return };
    configure(&sandbox, server.port, "starttls");
    sandbox.set_lifetime(3600);
    run(&sandbox, "ca.pem", &["check"]).await.expect(10);
    assert!(server.said.recv_timeout(Duration::from_millis(500)).is_err(), "no login, no sender, no mail");
    let status = run(&sandbox, "ca.pem", &["status"]).await.expect(0);
    assert!(status.out.contains("STARTTLS is not supported"), "{}", status.out);

    for tls in ["starttls", "implicit"] {
        let sandbox = Sandbox::clerk_approved().await;
        let strange = Server::start(&sandbox, tls).unwrap();
        configure(&sandbox, strange.port, tls);
        // The machine trusts another authority.
        let other = Sandbox::new().await;
        make_certificates(&other);
        std::fs::copy(other.path("ca.pem"), sandbox.path("other.pem")).unwrap();
        sandbox.set_lifetime(3600);
        run(&sandbox, "other.pem", &["check"]).await.expect(10);
        assert!(strange.said.recv_timeout(Duration::from_millis(500)).is_err(), "{tls}: nothing is said");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_greets_and_signs_in_and_names_what_is_wrong_with_certificate_or_password() {
    for (mode, how) in [("implicit", "greeted over TLS, and signed in"), ("starttls", "STARTTLS done, and signed in")] {
        let sandbox = Sandbox::new().await;
        let Some(server) = Server::start(&sandbox, mode) else { return };
        configure(&sandbox, server.port, mode);
        let found = |ran: &Ran, check: &str| {
            let findings = ran.json()["findings"].as_array().unwrap().clone();
            let of_it = |found: &&Value| found["check"] == check && found["group"] == "receiver security";
            findings.iter().find(of_it).cloned().unwrap_or_default()
        };
        let ran = run(&sandbox, "ca.pem", &["doctor", "--json"]).await.expect(0);
        assert!(found(&ran, "mail")["why"].as_str().unwrap().contains(how), "{}", ran.out);

        sandbox.write("smtp-password", "another-password");
        let ran = run(&sandbox, "ca.pem", &["doctor", "--json"]).await.expect(77);
        assert!(found(&ran, "mail")["help"].as_str().unwrap().contains("`password`"), "{}", ran.out);
        assert!(!ran.out.contains("another-password"));

        // Somebody stands in between.
        let ran = run(&sandbox, "server.pem", &["doctor", "--json"]).await.expect(74);
        let refused = if mode == "implicit" { found(&ran, "host") } else { found(&ran, "mail") };
        let why = refused["why"].as_str().unwrap();
        assert!(
            why.contains("an authority that this machine does not trust") || why.contains("UnknownIssuer"),
            "{why}"
        );
        assert!(server.said.try_iter().all(|said| said.get("headers").is_none()), "a mail was sent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_without_end_is_cut_off_before_it_fills_the_memory() {
    for (harm, tls) in [
        (Harm::EndlessGreeting, "starttls"),
        (Harm::EndlessAfterStarttls, "starttls"),
        (Harm::EndlessOverTls, "implicit"),
    ] {
        let sandbox = Sandbox::new().await;
        make_certificates(&sandbox);
        let relay = Relay::start(&sandbox, harm);
        configure(&sandbox, relay.port, tls);
        let began = Instant::now();
        let ran = run(&sandbox, "ca.pem", &["receivers", "test", "security"]).await.expect(74);
        assert!(ran.err.contains("more than 1 MiB"), "{harm:?}: {}", ran.err);
        assert!(began.elapsed() < PATIENCE, "{harm:?}: {:?}", began.elapsed());
        let said = relay.said().await;
        assert!(!said.is_empty() && said.iter().all(|count| *count < 4 << 20), "{harm:?}: {said:?} bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_before_the_handshake_is_no_word_of_the_relay() {
    let sandbox = Sandbox::new().await;
    make_certificates(&sandbox);
    let relay = Relay::start(&sandbox, Harm::TakesItBeforehand);
    configure(&sandbox, relay.port, "starttls");
    let ran = run(&sandbox, "ca.pem", &["receivers", "test", "security"]).await.expect(74);
    assert!(ran.err.contains("Connection error"), "the handshake fails: {}", ran.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_says_only_codes_is_understood_after_starttls() {
    let sandbox = Sandbox::new().await;
    make_certificates(&sandbox);
    for login in ["PLAIN", "LOGIN"] {
        let relay = Relay::start(&sandbox, Harm::BareCodes(login));
        configure(&sandbox, relay.port, "starttls");
        run(&sandbox, "ca.pem", &["receivers", "test", "security"]).await.expect(0);
        let said = relay.said().await;
        assert!(said.len() == 2 && said.iter().all(|lines| *lines > 10), "a mail for each recipient: {login} {said:?}");
    }
}

/// What sends mail to the sandbox's server, with `more` in its table.
fn sender_of(sandbox: &Sandbox, more: &str) -> Sender {
    sandbox.edit_configuration("tls = \"none\"", &format!("tls = \"none\"\n{more}"));
    let text = std::fs::read_to_string(sandbox.path("config.toml")).unwrap();
    let file = sandbox.path("config.toml").display().to_string();
    let sources = Sources { file: &file, text: &text, state_directory: None, xdg_state: None, now: SystemClock.now() };
    let config = config::parse(&sources).unwrap_or_else(|problems| panic!("{problems}"));
    Sender::new(&config.receivers[0]).unwrap()
}

fn drifted(title: &str) -> Message {
    let now = SystemClock.now();
    let event = HistoryMark { size: 0, head: Digest::of(b"") };
    let mut alert = sample(Alert::of_watch(Vec::new(), now, event, "test".to_owned()), SampleKind::Drift);
    let Some(Item::Setting(entry)) = alert.items.first_mut() else { panic!("{alert:?}") };
    entry.meaning.title = title.to_owned();
    Message::new("security", alert, now)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bare_code_after_the_mail_means_that_it_is_delivered() {
    let sandbox = Sandbox::new().await;
    let sender = sender_of(&sandbox, "");
    sandbox.smtp.speak(Manner::BareCodes);
    let sent = sender.send(&drifted("x"), SystemClock.now()).await;
    assert_eq!(sent, Attempt::Delivered("250 no text".to_owned()));
    assert_eq!(sandbox.smtp.mails().len(), 1);
    // A refusal without a text is one all the same.
    sandbox.smtp.refuse(Stage::Rcpt, 550, "", 1);
    let Attempt::Permanent(reason) = sender.send(&drifted("x"), SystemClock.now()).await else { panic!("refused") };
    assert!(reason.contains("550"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_end_with_lf_alone_are_said_to_be_wrong() {
    let sandbox = Sandbox::new().await;
    let sender = sender_of(&sandbox, "");
    sandbox.smtp.speak(Manner::LfAlone);
    let sent = sender.send(&drifted("x"), SystemClock.now()).await;
    let Attempt::Transient(reason, None) = sent else { panic!("{sent:?}") };
    assert!(reason.contains("ends a line with LF alone"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_name_in_the_greeting_is_tried_again_and_says_which_key_mends_it() {
    let sandbox = Sandbox::new().await;
    for (more, is_expected) in [
        ("", &(|name: &str| name.contains('.')) as &dyn Fn(&str) -> bool),
        ("helo = \"mon.example.test\"", &|name| name == "mon.example.test"),
    ] {
        let sender = sender_of(&sandbox, more);
        sandbox.smtp.refuse(Stage::Rcpt, 504, "5.5.2 <vm>: Helo command rejected: need fully-qualified hostname", 1);
        let sent = sender.send(&drifted("x"), SystemClock.now()).await;
        let Attempt::Transient(reason, None) = sent else { panic!("{sent:?}") };
        assert!(reason.contains("504") && reason.contains("set `helo` in [[email]]"), "{reason}");
        let names = sandbox.smtp.greeted_as();
        assert!(is_expected(names.last().unwrap()), "{names:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_of_any_script_arrive_in_the_subject_and_in_domains() {
    let sandbox = Sandbox::new().await;
    sandbox.edit_configuration("[\"security@example.test\"]", "[\"Büro <security@büro.example>\"]");
    let sender = sender_of(&sandbox, "");
    for title in
        ["Allowed callback URLs (Büro)", "設定が東京のオフィスで変更されました、確認してください", "a\u{202e}b é"]
    {
        let sent = sender.send(&drifted(title), SystemClock.now()).await;
        assert!(matches!(sent, Attempt::Delivered(_)), "{sent:?}");
        let mail = sandbox.smtp.mails().pop().unwrap();
        let subject = mail.header("Subject").unwrap();
        assert!(subject.contains(&title.replace('\u{202e}', "\\u{202e}")), "{subject}");
        assert_eq!(mail.to, ["security@xn--bro-hoa.example"]);
        assert!(mail.raw.is_ascii(), "every relay takes it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_took_a_mail_does_not_get_it_again_while_others_are_tried_again() {
    let sandbox = Sandbox::new().await;
    sandbox.edit_configuration(
        "[\"security@example.test\"]",
        "[\"a@example.test\", \"b@example.test\", \"c@example.test\"]",
    );
    let text = std::fs::read_to_string(sandbox.path("config.toml")).unwrap();
    let file = sandbox.path("config.toml").display().to_string();
    let now = SystemClock.now();
    let sources = Sources { file: &file, text: &text, state_directory: None, xdg_state: None, now };
    let config = config::parse(&sources).unwrap_or_else(|problems| panic!("{problems}"));
    let sender = Sender::new(&config.receivers[0]).unwrap();
    let message = |kind| {
        let event = HistoryMark { size: 0, head: Digest::of(b"") };
        let frame = Alert {
            instance: Some("clerk:prod".parse().unwrap()),
            ..Alert::of_watch(Vec::new(), now, event, "test".to_owned())
        };
        let mut alert = sample(frame, kind);
        for item in &mut alert.items {
            let Item::Setting(entry) = item else { continue };
            entry.meaning.severity = Severity::Critical;
        }
        Message::new("security", alert, now)
    };
    let recipients = || -> Vec<String> {
        sandbox.smtp.mails().into_iter().map(|mail| mail.to[0].chars().take(1).collect()).collect()
    };

    let mut opened = message(SampleKind::Drift);
    sandbox.smtp.refuse(Stage::Rcpt, 452, "4.2.2 mailbox full", 1);
    let Attempt::PartiallyDelivered(reason, true) = sender.send(&opened, now).await else { panic!("one is missing") };
    assert!(reason.starts_with("not yet to a@example.test: ") && reason.contains("452"), "{reason}");
    assert_eq!(recipients(), ["b", "c"]);
    // Another message in between is not taken for it.
    let closed = message(SampleKind::Reverted);
    assert!(matches!(sender.send(&closed, now).await, Attempt::Delivered(_)));
    assert_eq!(recipients(), ["b", "c", "a", "b", "c"]);
    for tries in [1, 2] {
        opened.attempts = tries;
        assert!(matches!(sender.send(&opened, now).await, Attempt::Delivered(_)));
        assert_eq!(recipients(), ["b", "c", "a", "b", "c", "a"]);
    }
    let hurry = sandbox.smtp.mails().iter().map(|mail| mail.header("Importance")).collect::<Vec<_>>();
    let high = Some("high".to_owned());
    assert_eq!(hurry, [high.clone(), high.clone(), None, None, None, high], "what is over hurries nobody");
}
