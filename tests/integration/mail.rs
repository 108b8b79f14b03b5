//! Mails as a server and a reader see them that nobody here wrote: aiosmtpd with real TLS, and Python's `email`.

use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use crate::common::Sandbox;
use crate::common::sandbox::Ran;

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

fn make_certificates(sandbox: &Sandbox) {
    let run = |arguments: &str| {
        let folder = sandbox.path("");
        let made =
            Command::new("openssl").args(arguments.split(' ')).current_dir(folder).stderr(Stdio::null()).status();
        assert!(made.expect("these tests need openssl").success(), "openssl {arguments}");
    };
    let new = "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    run(&format!(
        "{new} -x509 -days 2 -subj /CN=Test-CA -keyout ca.key -out ca.pem -addext keyUsage=critical,keyCertSign"
    ));
    run(&format!("{new} -subj /CN=localhost -keyout server.key -out server.csr"));
    sandbox
        .write("extensions", "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n");
    run(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out server.pem",
    );
}

/// Mails go to `server`, with a login.
fn configure(sandbox: &Sandbox, server: &Server, tls: &str) {
    sandbox.write("smtp-password", "relay-password");
    let receiver = format!(
        "[[email]]\nname = \"security\"\nhost = \"localhost\"\nport = {}\ntls = \"{tls}\"\nusername = \"authdrift\"\n\
         password = {{ file = \"smtp-password\" }}\nfrom = \"authdrift <authdrift@example.test>\"\n\
         to = [\"Ann Example <ann@example.test>\", \"security@example.test\"]\nmin_severity = \"info\"\n",
        server.port
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
    configure(&sandbox, &server, tls);
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
    assert!(opened["html"].as_str().unwrap().contains("/jwt_templates/supabase/lifetime"));
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
    configure(&sandbox, &server, "starttls");
    sandbox.set_lifetime(3600);
    run(&sandbox, "ca.pem", &["check"]).await.expect(10);
    assert!(server.said.recv_timeout(Duration::from_millis(500)).is_err(), "no login, no sender, no mail");
    let status = run(&sandbox, "ca.pem", &["status"]).await.expect(0);
    assert!(status.out.contains("STARTTLS is not supported"), "{}", status.out);

    for tls in ["starttls", "implicit"] {
        let sandbox = Sandbox::clerk_approved().await;
        let strange = Server::start(&sandbox, tls).unwrap();
        configure(&sandbox, &strange, tls);
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
        configure(&sandbox, &server, mode);
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
        assert!(why.contains("signed by nobody") || why.contains("UnknownIssuer"), "{why}");
        assert!(server.said.try_iter().all(|said| said.get("headers").is_none()), "a mail was sent");
    }
}
