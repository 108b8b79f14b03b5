//! Conversations: typed by hand, and as lettre has them.

use super::*;
use lettre::message::MultiPart;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

const SECOND: Duration = Duration::from_secs(1);

fn message(subject: &str) -> lettre::Message {
    lettre::Message::builder()
        .from("authdrift <watch@lantern-books.example>".parse().unwrap())
        .to("security@lantern-books.example".parse().unwrap())
        .subject(subject)
        .multipart(MultiPart::alternative_plain_html(
            "Zwölf Änderungen\r\n.hidden\r\n".to_owned(),
            "<p>Zwölf</p>".to_owned(),
        ))
        .unwrap()
}

fn sender(server: &Smtp) -> AsyncSmtpTransport<Tokio1Executor> {
    builder(server).build()
}

fn builder(server: &Smtp) -> lettre::transport::smtp::AsyncSmtpTransportBuilder {
    AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(server.host()).port(server.port()).timeout(Some(SECOND * 5))
}

/// Sends the lines and returns the codes of the answers.
async fn talk(server: &Smtp, lines: &str) -> Vec<String> {
    let mut stream = TcpStream::connect((server.host(), server.port())).await.unwrap();
    stream.write_all(lines.replace('\n', "\r\n").as_bytes()).await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    answers.lines().filter(|line| line.get(3..4) == Some(" ")).map(|line| line[..3].to_owned()).collect()
}

#[tokio::test]
async fn mail_of_lettre_is_kept_and_decoded() {
    let server = Smtp::start().await.unwrap();
    sender(&server).send(message("Übersicht: 2 drifts in auth0:acme")).await.unwrap();
    let mails = server.wait_for(1, SECOND).await.unwrap();
    assert_eq!(mails[0].from, "watch@lantern-books.example");
    assert_eq!(mails[0].to, ["security@lantern-books.example"]);
    assert_eq!(mails[0].header("Subject").unwrap(), "Übersicht: 2 drifts in auth0:acme");
    assert_eq!(mails[0].header("From").unwrap(), "authdrift <watch@lantern-books.example>");
    assert!(mails[0].text().unwrap().contains("Zwölf Änderungen"));
    assert!(mails[0].text().unwrap().contains("\n.hidden"), "dots are unstuffed");
    assert_eq!(mails[0].html().unwrap().trim(), "<p>Zwölf</p>");
    assert_eq!(mails[0].header("X-Nothing"), None);
    assert!(server.wait_for(2, Duration::from_millis(10)).await.is_none());
}

#[tokio::test]
async fn conversation_by_hand() {
    let server = Smtp::start().await.unwrap();
    let lines = "HELO me\nDATA\nMAIL FROM:<a@x.example> SIZE=9\nRCPT TO:<b@x.example>\nRSET\nRCPT TO:<b@x.example>\n\
                 mail from:<a@x.example>\nrcpt to:<b@x.example>\nrcpt to:<c@x.example>\nNOOP\nDATA\n\
                 Subject: dots\n\n..one\n.\nWHAT\nQUIT\n";
    let codes = talk(&server, lines).await;
    let expected =
        ["220", "250", "503", "250", "250", "250", "503", "250", "250", "250", "250", "354", "250", "500", "221"];
    assert_eq!(codes, expected);
    let mails = server.mails();
    assert_eq!(mails[0].to, ["b@x.example", "c@x.example"]);
    assert_eq!(mails[0].raw, b"Subject: dots\r\n\r\n.one\r\n");
    assert_eq!(mails[0].html(), None);
}

#[tokio::test]
async fn login_is_checked() {
    let server = Smtp::start().await.unwrap();
    server.require_login("watch", "CANARY-smtp-password");
    assert!(sender(&server).send(message("no login")).await.unwrap_err().is_permanent());
    for mechanism in [Mechanism::Plain, Mechanism::Login] {
        let login = |password: &str| {
            let credentials = Credentials::new("watch".into(), password.into());
            builder(&server).credentials(credentials).authentication(vec![mechanism]).build()
        };
        assert!(login("wrong").send(message("wrong")).await.unwrap_err().is_permanent());
        login("CANARY-smtp-password").send(message("right")).await.unwrap();
    }
    assert_eq!(server.mails().len(), 2);
}

#[tokio::test]
async fn refusals_come_where_they_are_scripted() {
    let server = Smtp::start().await.unwrap();
    server.refuse(Stage::Rcpt, 550, "5.1.1 No such mailbox", 1);
    let error = sender(&server).send(message("one")).await.unwrap_err();
    assert_eq!(error.status().unwrap().to_string(), "550");
    for stage in [Stage::Connect, Stage::Mail, Stage::Data] {
        server.refuse(stage, 451, "4.3.0 Try again later", 1);
        assert!(sender(&server).send(message("two")).await.unwrap_err().is_transient(), "{stage:?}");
    }
    assert!(server.mails().is_empty());
    sender(&server).send(message("three")).await.unwrap();
    assert_eq!(server.mails().len(), 1);
}

#[tokio::test]
async fn connection_cut_after_the_mail_keeps_it() {
    let server = Smtp::start().await.unwrap();
    server.cut(Stage::Data);
    let error = sender(&server).send(message("once or twice")).await.unwrap_err();
    assert!(error.status().is_none(), "no answer: {error}");
    assert_eq!(server.mails().len(), 1);
    sender(&server).send(message("once or twice")).await.unwrap();
    assert_eq!(server.mails().len(), 2);
}

#[tokio::test]
async fn hanging_server_says_nothing() {
    let server = Smtp::start().await.unwrap();
    server.hang(Stage::Mail);
    // lettre's own time-out ends with the connection being made: the caller has to set one.
    let sent = tokio::time::timeout(Duration::from_millis(200), sender(&server).send(message("wait"))).await;
    assert!(sent.is_err());
}

#[tokio::test]
async fn stopped_server_is_gone() {
    let server = Smtp::start().await.unwrap();
    server.stop();
    tokio::time::timeout(SECOND * 5, async {
        while TcpStream::connect((server.host(), server.port())).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("the port refuses");
}
