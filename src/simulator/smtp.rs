//! A mail server that keeps what it gets. Plain text, as authdrift allows that on loopback.
//!
//! It knows the commands of RFC 5321 that a sender needs, `AUTH PLAIN` and `AUTH LOGIN`. Lines end with CR LF, or with
//! LF, as tests type it by hand; a mail is kept with the dots unstuffed.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mail_parser::{HeaderValue, Message, MessageParser, PartType};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::locked;

/// Longer mails are refused.
const MAX_MAIL: usize = 16 << 20;
/// Longer lines end the conversation.
const MAX_LINE: u64 = 1 << 20;

/// A mail as it was handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The address of `MAIL FROM`.
    pub from: String,
    /// The addresses of `RCPT TO`.
    pub to: Vec<String>,
    /// Header and body, dots unstuffed, lines ending with CR LF.
    pub raw: Vec<u8>,
}

impl Mail {
    /// The decoded plain text part; `None` when there is none.
    pub fn text(&self) -> Option<String> {
        match &self.parse()?.text_part(0)?.body {
            PartType::Text(text) => Some(text.to_string()),
            _ => None,
        }
    }

    /// The decoded HTML part; `None` when there is none.
    pub fn html(&self) -> Option<String> {
        match &self.parse()?.html_part(0)?.body {
            PartType::Html(html) => Some(html.to_string()),
            _ => None,
        }
    }

    /// A header: decoded where it is free text, else unfolded as it stands.
    pub fn header(&self, name: &str) -> Option<String> {
        let message = self.parse()?;
        match message.header(name.to_owned())? {
            HeaderValue::Text(text) => Some(text.to_string()),
            _ => {
                let raw = message.header_raw(name.to_owned())?;
                Some(raw.split_whitespace().collect::<Vec<_>>().join(" "))
            }
        }
    }

    fn parse(&self) -> Option<Message<'_>> {
        MessageParser::default().parse(&self.raw)
    }
}

/// Where in a conversation a fault happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Instead of the greeting.
    Connect,
    /// At `MAIL FROM`.
    Mail,
    /// At `RCPT TO`.
    Rcpt,
    /// After the mail itself, where a server says that it takes responsibility.
    Data,
}

#[derive(Debug, Clone)]
enum SmtpFault {
    /// Say this and go on.
    Refuse(u16, String),
    /// Say nothing more.
    Hang,
    /// Keep the mail if there is one, and close the connection.
    Cut,
}

/// How a server writes its replies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// A code and a text.
    Usual,
    /// A code alone, as RFC 5321 allows.
    BareCodes,
    /// Lines end with LF alone, as it does not.
    LfAlone,
}

#[derive(Debug)]
struct SmtpState {
    manner: Mutex<Manner>,
    greeted_as: Mutex<Vec<String>>,
    mails: Mutex<Vec<Mail>>,
    arrived: watch::Sender<usize>,
    script: Mutex<VecDeque<(Stage, SmtpFault)>>,
    login: Mutex<Option<(String, String)>>,
    stop: CancellationToken,
}

/// A running mail server. Clones share it; the last one dropped ends it.
#[derive(Debug, Clone)]
pub struct Smtp {
    core: Arc<SmtpState>,
    address: SocketAddr,
    _last: Arc<DropGuard>,
}

impl Smtp {
    /// Starts a server on a free loopback port. Needs a Tokio runtime.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let core = Arc::new(SmtpState {
            manner: Mutex::new(Manner::Usual),
            greeted_as: Mutex::default(),
            mails: Mutex::default(),
            arrived: watch::Sender::new(0),
            script: Mutex::default(),
            login: Mutex::default(),
            stop: stop.clone(),
        });
        tokio::spawn(accept(listener, Arc::clone(&core)));
        Ok(Self { core, address, _last: Arc::new(stop.drop_guard()) })
    }

    /// `127.0.0.1`.
    pub fn host(&self) -> String {
        self.address.ip().to_string()
    }

    /// The port it listens at.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Ends the server: the port refuses, open conversations break.
    pub fn stop(&self) {
        self.core.stop.cancel();
    }

    /// Takes mail only after a login with this name and password.
    pub fn require_login(&self, user: &str, password: &str) {
        *locked(&self.core.login) = Some((user.to_owned(), password.to_owned()));
    }

    /// Writes its replies in another manner from now on.
    pub fn speak(&self, manner: Manner) {
        *locked(&self.core.manner) = manner;
    }

    /// The names in every EHLO and HELO so far.
    pub fn greeted_as(&self) -> Vec<String> {
        locked(&self.core.greeted_as).clone()
    }

    /// Answers the next `times` commands of that stage with this code and text.
    pub fn refuse(&self, stage: Stage, code: u16, text: &str, times: usize) {
        let one = (stage, SmtpFault::Refuse(code, text.to_owned()));
        locked(&self.core.script).extend(std::iter::repeat_n(one, times));
    }

    /// Says nothing more, the next time that stage is reached.
    pub fn hang(&self, stage: Stage) {
        locked(&self.core.script).push_back((stage, SmtpFault::Hang));
    }

    /// Cuts the connection instead of answering, the next time that stage is reached. At [`Stage::Data`] the mail
    /// is kept: the sender cannot know, and has to send it again.
    pub fn cut(&self, stage: Stage) {
        locked(&self.core.script).push_back((stage, SmtpFault::Cut));
    }

    /// Forgets what is left of the script.
    pub fn heal(&self) {
        locked(&self.core.script).clear();
    }

    /// All mails so far, in the order of arrival.
    pub fn mails(&self) -> Vec<Mail> {
        locked(&self.core.mails).clone()
    }

    /// Waits for `count` mails; `None` when `timeout` comes first.
    pub async fn wait_for(&self, count: usize, timeout: Duration) -> Option<Vec<Mail>> {
        let mut arrived = self.core.arrived.subscribe();
        let enough = arrived.wait_for(|seen| *seen >= count);
        match tokio::time::timeout(timeout, enough).await {
            Ok(Ok(_)) => Some(self.mails()),
            _ => None,
        }
    }
}

async fn accept(listener: TcpListener, core: Arc<SmtpState>) {
    loop {
        tokio::select! {
            () = core.stop.cancelled() => return,
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let core = Arc::clone(&core);
                tokio::spawn(async move {
                    tokio::select! {
                        () = core.stop.cancelled() => {}
                        // A broken connection ends the conversation, and cannot be reported to the client.
                        _ = Conversation::new(stream, &core).run() => {}
                    }
                });
            }
        }
    }
}

/// One connection, from greeting to QUIT.
struct Conversation<'a> {
    stream: BufReader<TcpStream>,
    core: &'a SmtpState,
    known: bool,
    from: Option<String>,
    to: Vec<String>,
}

/// Whether the conversation goes on.
type SmtpStep = io::Result<bool>;

impl<'a> Conversation<'a> {
    fn new(stream: TcpStream, core: &'a SmtpState) -> Self {
        let known = locked(&core.login).is_none();
        Self { stream: BufReader::new(stream), core, known, from: None, to: Vec::new() }
    }

    async fn run(mut self) -> io::Result<()> {
        let mut open = match self.trouble(Stage::Connect) {
            None => self.say("220 simulator.example ESMTP").await?,
            Some(trouble) => {
                self.suffer(trouble).await?;
                false
            }
        };
        while open {
            let Some(line) = self.line().await? else { return Ok(()) };
            open = self.command(line.trim_end()).await?;
        }
        self.stream.shutdown().await
    }

    async fn command(&mut self, line: &str) -> SmtpStep {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "EHLO" => {
                locked(&self.core.greeted_as).push(rest.to_owned());
                self.hello().await
            }
            "HELO" => self.say("250 simulator.example").await,
            "AUTH" => self.auth(rest).await,
            "MAIL" => self.mail(rest).await,
            "RCPT" => self.rcpt(rest).await,
            "DATA" => self.data().await,
            "RSET" => {
                self.reset();
                self.say("250 2.0.0 Ok").await
            }
            "NOOP" => self.say("250 2.0.0 Ok").await,
            "QUIT" => {
                self.say("221 2.0.0 Bye").await?;
                Ok(false)
            }
            _ => self.say("500 5.5.2 Command not known").await,
        }
    }

    async fn hello(&mut self) -> SmtpStep {
        self.reset();
        if locked(&self.core.login).is_some() {
            self.say("250-simulator.example\r\n250-AUTH PLAIN LOGIN").await?;
        } else {
            self.say("250-simulator.example").await?;
        }
        self.say(&format!("250-SIZE {MAX_MAIL}\r\n250-ENHANCEDSTATUSCODES\r\n250 8BITMIME")).await
    }

    async fn auth(&mut self, rest: &str) -> SmtpStep {
        let Some(wanted) = locked(&self.core.login).clone() else {
            return self.say("503 5.5.1 No login needed").await;
        };
        let (mechanism, initial) = rest.split_once(' ').unwrap_or((rest, ""));
        let given = match mechanism.to_ascii_uppercase().as_str() {
            "PLAIN" => {
                let response = if initial.is_empty() { self.challenge("").await? } else { initial.to_owned() };
                let mut parts = decoded(&response)
                    .into_iter()
                    .flat_map(|text| text.split('\0').map(str::to_owned).collect::<Vec<_>>());
                (parts.nth(1), parts.next())
            }
            "LOGIN" => {
                let user = if initial.is_empty() { self.challenge("Username:").await? } else { initial.to_owned() };
                let password = self.challenge("Password:").await?;
                (decoded(&user), decoded(&password))
            }
            _ => return self.say("504 5.5.4 Mechanism not known").await,
        };
        if given == (Some(wanted.0), Some(wanted.1)) {
            self.known = true;
            self.say("235 2.7.0 Welcome").await
        } else {
            self.say("535 5.7.8 Authentication credentials invalid").await
        }
    }

    /// Asks for one more line of a login.
    async fn challenge(&mut self, text: &str) -> io::Result<String> {
        self.say(&format!("334 {}", STANDARD.encode(text))).await?;
        Ok(self.line().await?.unwrap_or_default().trim_end().to_owned())
    }

    async fn mail(&mut self, rest: &str) -> SmtpStep {
        if !self.known {
            return self.say("530 5.7.0 Authentication required").await;
        }
        let Some(from) = path(rest, "FROM:") else { return self.say("501 5.5.4 Syntax: MAIL FROM:<address>").await };
        if let Some(trouble) = self.trouble(Stage::Mail) {
            return self.suffer(trouble).await;
        }
        self.reset();
        self.from = Some(from);
        self.say("250 2.1.0 Ok").await
    }

    async fn rcpt(&mut self, rest: &str) -> SmtpStep {
        if self.from.is_none() {
            return self.say("503 5.5.1 MAIL first").await;
        }
        let Some(to) = path(rest, "TO:") else { return self.say("501 5.5.4 Syntax: RCPT TO:<address>").await };
        if let Some(trouble) = self.trouble(Stage::Rcpt) {
            return self.suffer(trouble).await;
        }
        self.to.push(to);
        self.say("250 2.1.5 Ok").await
    }

    async fn data(&mut self) -> SmtpStep {
        if self.to.is_empty() {
            return self.say("503 5.5.1 RCPT first").await;
        }
        self.say("354 End with <CR><LF>.<CR><LF>").await?;
        let mut raw = Vec::new();
        loop {
            let Some(line) = self.bytes().await? else { return Ok(false) };
            let line = line.strip_suffix(b"\n").unwrap_or(&line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line == b"." {
                break;
            }
            if raw.len() <= MAX_MAIL {
                raw.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
                raw.extend_from_slice(b"\r\n");
            }
        }
        let (from, to) = (self.from.take().unwrap_or_default(), std::mem::take(&mut self.to));
        if raw.len() > MAX_MAIL {
            return self.say("552 5.3.4 Message too big").await;
        }
        let trouble = self.trouble(Stage::Data);
        if matches!(trouble, None | Some(SmtpFault::Cut)) {
            let mut mails = locked(&self.core.mails);
            mails.push(Mail { from, to, raw });
            self.core.arrived.send_replace(mails.len());
        }
        match trouble {
            Some(trouble) => self.suffer(trouble).await,
            None => self.say("250 2.0.0 Ok: kept").await,
        }
    }

    fn reset(&mut self) {
        self.from = None;
        self.to.clear();
    }

    /// The next entry of the script, when it is for this stage.
    fn trouble(&self, stage: Stage) -> Option<SmtpFault> {
        let mut script = locked(&self.core.script);
        let place = script.iter().position(|(at, _)| *at == stage)?;
        script.remove(place).map(|(_, trouble)| trouble)
    }

    async fn suffer(&mut self, trouble: SmtpFault) -> SmtpStep {
        match trouble {
            SmtpFault::Refuse(code, text) => self.say(&format!("{code} {text}")).await,
            SmtpFault::Hang => std::future::pending().await,
            SmtpFault::Cut => Ok(false),
        }
    }

    async fn say(&mut self, line: &str) -> SmtpStep {
        let reply = match *locked(&self.core.manner) {
            Manner::Usual => format!("{line}\r\n"),
            // The extensions and the questions of a login are no mere text.
            Manner::BareCodes if !line.contains('-') && !line.starts_with("334") => {
                format!("{}\r\n", line.get(..3).unwrap_or(line))
            }
            Manner::BareCodes => format!("{line}\r\n"),
            Manner::LfAlone => format!("{line}\n"),
        };
        self.stream.write_all(reply.as_bytes()).await?;
        Ok(true)
    }

    async fn line(&mut self) -> io::Result<Option<String>> {
        Ok(self.bytes().await?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// One line with its end; `None` when the other side has gone.
    async fn bytes(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        (&mut self.stream).take(MAX_LINE).read_until(b'\n', &mut line).await?;
        Ok(line.ends_with(b"\n").then_some(line))
    }
}

/// The address in `FROM:<a@b.example> SIZE=1`.
fn path(rest: &str, keyword: &str) -> Option<String> {
    let start = rest.get(..keyword.len()).filter(|start| start.eq_ignore_ascii_case(keyword))?;
    let (address, _) = rest.get(start.len()..)?.trim_start().strip_prefix('<')?.split_once('>')?;
    Some(address.to_owned())
}

fn decoded(text: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests;
