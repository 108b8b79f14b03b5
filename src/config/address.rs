//! Hosts, URLs and mailboxes: what the program may connect to and write to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use super::Mailbox;

/// The use of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UrlUse {
    /// Paths are appended to it: a slash at the end is dropped.
    Base,
    /// It is used as it is.
    Whole,
    /// It is used as it is, and a secret with the whole address can stand in its place.
    Secrecy,
}

/// Why a URL is refused; the text continues the name of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadUrl {
    #[error("is not a URL such as 'https://api.example.com'")]
    NotAUrl,
    #[error("has to begin with 'https://' ('http://' is for loopback only)")]
    NotProtected,
    #[error("must not hold a user name or password")]
    Login,
    #[error("must not have a query, the part after '?'")]
    Query,
    #[error("must not have a fragment, the part after '#'")]
    Fragment,
}

impl BadUrl {
    /// What to do instead, where a secret can stand in the place of a URL that is `used_as` this.
    pub(super) fn help(self, used_as: UrlUse) -> Option<&'static str> {
        let is_secret = matches!(self, Self::Login | Self::Query) && used_as == UrlUse::Secrecy;
        is_secret.then_some(match self {
            Self::Query => "put the whole address in a file and write { file = \"…\" } or { credential = \"…\" }",
            _ => "a key or a login goes into a header: headers = { Authorization = { credential = \"…\" } }",
        })
    }

    /// Whether repeating the URL could show a password or token.
    pub(super) fn may_show_secret(self) -> bool {
        matches!(self, Self::Login | Self::Query | Self::Fragment | Self::NotAUrl)
    }
}

/// Reads an https URL, or an http one of this machine, without user name, query and fragment.
///
/// # Security
/// Credentials travel to these addresses, so nothing but TLS or the machine itself will do.
pub(super) fn url(text: &str, used_as: UrlUse) -> Result<Url, BadUrl> {
    if text.contains(char::is_whitespace) {
        return Err(BadUrl::NotAUrl);
    }
    let url = Url::parse(text).map_err(|_| BadUrl::NotAUrl)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(BadUrl::Login);
    }
    if url.query().is_some() {
        return Err(BadUrl::Query);
    }
    let mut url = protected(url)?;
    if used_as == UrlUse::Base {
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
    }
    Ok(url)
}

/// Reads the address of a chat's webhook, which may have a query.
///
/// # Security
/// As [`url`]: the messages sent there tell how a sign-in is protected.
pub(super) fn secret_url(text: &str) -> Result<Url, BadUrl> {
    if text.contains(char::is_whitespace) {
        return Err(BadUrl::NotAUrl);
    }
    protected(Url::parse(text).map_err(|_| BadUrl::NotAUrl)?)
}

fn protected(url: Url) -> Result<Url, BadUrl> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err(BadUrl::Login);
    }
    if url.fragment().is_some() {
        return Err(BadUrl::Fragment);
    }
    match url.scheme() {
        "https" => {}
        "http" if super::is_loopback(&url) => {}
        _ => return Err(BadUrl::NotProtected),
    }
    Ok(url)
}

/// Whether the text is the name of a host, with a dot in it and in lower case: no address, no scheme, port or path.
pub fn is_domain(text: &str) -> bool {
    text.contains('.') && is_host_name(text) && !text.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Reads the name or the IP address of a host: a name in any script, which becomes ASCII, and with the dot at the end that
/// says that it is whole.
pub(super) fn host(text: &str) -> Option<String> {
    if text.parse::<IpAddr>().is_ok() {
        return Some(text.to_owned());
    }
    match text.strip_suffix('.') {
        Some(name) => host_name(name).map(|name| name + "."),
        None => host_name(text),
    }
}

/// Reads what a mail relay is greeted as: the name of a host, or an address in brackets.
pub(super) fn greeting_name(text: &str) -> Option<String> {
    let Some(literal) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else { return host_name(text) };
    let is_address = match literal.strip_prefix("IPv6:") {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => literal.parse::<Ipv4Addr>().is_ok(),
    };
    is_address.then(|| text.to_owned())
}

/// A name in ASCII, if it is one of a host: `büro.example` is `xn--bro-hoa.example`.
fn host_name(text: &str) -> Option<String> {
    if text.is_ascii() {
        return is_host_name(text).then(|| text.to_owned());
    }
    // What `%` stands for is not what is written.
    match Host::parse(text) {
        Ok(Host::Domain(name)) if !text.contains('%') && is_host_name(&name) => Some(name),
        _ => None,
    }
}

/// Whether the host is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // `Host::parse` also knows the old ways to write an IP address, like `127.1`.
    text.len() <= 253 && text.split('.').all(is_label) && matches!(Host::parse(text), Ok(Host::Domain(_)))
}

/// Why a mailbox is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadMailbox {
    #[error("is not a mail address such as 'security@example.com' or 'Name <security@example.com>'")]
    NotAMailbox,
    #[error(
        "has letters outside of ASCII before the '@', which not every relay delivers: use another address of that mailbox"
    )]
    LocalPart,
}

/// Reads `local@domain` or `Name <local@domain>`.
///
/// # Security
/// A line break in a name or address could forge a mail header; neither may hold a control character.
pub(super) fn mailbox(text: &str) -> Result<Mailbox, BadMailbox> {
    let text = text.trim();
    if text.chars().any(char::is_control) {
        return Err(BadMailbox::NotAMailbox);
    }
    let (name, address) = match text.strip_suffix('>') {
        Some(rest) => rest.split_once('<').ok_or(BadMailbox::NotAMailbox)?,
        None => ("", text),
    };
    let name = name.trim();
    let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
    if name.contains(['"', '<', '>']) {
        return Err(BadMailbox::NotAMailbox);
    }
    Ok(Mailbox { name: (!name.is_empty()).then(|| name.to_owned()), address: ascii_address(address)? })
}

/// The address with its domain in ASCII.
fn ascii_address(text: &str) -> Result<String, BadMailbox> {
    let (local, domain) = text.split_once('@').ok_or(BadMailbox::NotAMailbox)?;
    let is_atom = |atom: &str| {
        !atom.is_empty()
            && atom.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte))
    };
    let domain = host_name(domain).ok_or(BadMailbox::NotAMailbox)?;
    match local.len() <= 64 && local.split('.').all(is_atom) {
        true => Ok(format!("{local}@{domain}")),
        false if local.chars().any(|letter| !letter.is_ascii() && letter.is_alphanumeric()) => {
            Err(BadMailbox::LocalPart)
        }
        false => Err(BadMailbox::NotAMailbox),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_protected_or_local() {
        let table = [
            ("https://api.example.com", Ok("https://api.example.com/")),
            ("https://app.example.com/__clerk/", Ok("https://app.example.com/__clerk")),
            ("https://api.example.com:8443/x", Ok("https://api.example.com:8443/x")),
            ("http://127.0.0.1:8080", Ok("http://127.0.0.1:8080/")),
            ("http://127.9.9.9/", Ok("http://127.9.9.9/")),
            ("http://[::1]:1/", Ok("http://[::1]:1/")),
            ("http://localhost:1/v", Ok("http://localhost:1/v")),
            ("http://api.example.com", Err(BadUrl::NotProtected)),
            ("http://localhost.example.com", Err(BadUrl::NotProtected)),
            ("http://128.0.0.1", Err(BadUrl::NotProtected)),
            ("ftp://127.0.0.1", Err(BadUrl::NotProtected)),
            ("file:///etc/passwd", Err(BadUrl::NotProtected)),
            ("https://me@example.com", Err(BadUrl::Login)),
            ("https://me:pw@example.com", Err(BadUrl::Login)),
            ("https://example.com/?a=b", Err(BadUrl::Query)),
            ("https://example.com/?", Err(BadUrl::Query)),
            ("https://example.com/#x", Err(BadUrl::Fragment)),
            ("https://", Err(BadUrl::NotAUrl)),
            ("example.com", Err(BadUrl::NotAUrl)),
            ("https://exam ple.com", Err(BadUrl::NotAUrl)),
        ];
        for (text, expected) in table {
            let found = url(text, UrlUse::Base);
            assert_eq!(found.as_ref().map(Url::as_str), expected.as_ref().map(|text| *text), "{text}");
        }
        assert_eq!(url("https://example.com/hook/", UrlUse::Whole).unwrap().as_str(), "https://example.com/hook/");
    }

    #[test]
    fn domains_are_names_only() {
        for text in ["acme.eu.auth0.com", "login.example.com", "xn--bcher-kva.example"] {
            assert!(is_domain(text), "{text}");
        }
        let bad = [
            "",
            "acme",
            "localhost",
            "https://acme.auth0.com",
            "acme.auth0.com/",
            "acme.auth0.com:443",
            "127.0.0.1",
            "127.1",
            "0x7f.1",
            "::1",
            "a..b",
            "-a.b",
            "a b.c",
            "bücher.example",
            "a.b.",
            "ACME.auth0.com",
        ];
        for text in bad {
            assert!(!is_domain(text), "{text}");
        }
        let hosts = [
            ("::1", Some("::1")),
            ("relay", Some("relay")),
            ("127.0.0.1", Some("127.0.0.1")),
            ("smtp.example.test.", Some("smtp.example.test.")),
            ("smtp.büro.example", Some("smtp.xn--bro-hoa.example")),
            ("smtp.büro.example.", Some("smtp.xn--bro-hoa.example.")),
            ("a:25", None),
            (".", None),
            ("a..", None),
            ("127.1.", None),
            ("b%C3%BCro.example", None),
            ("bü/ro.example", None),
        ];
        for (text, expected) in hosts {
            assert_eq!(host(text).as_deref(), expected, "{text}");
        }
        let names = [
            ("mon.example.com", true),
            ("[192.0.2.1]", true),
            ("[IPv6:2001:db8::1]", true),
            ("vm", true),
            ("192.0.2.1", false),
            ("[mon.example.com]", false),
            ("a b", false),
            ("a\r\nMAIL FROM:<x>", false),
        ];
        for (text, expected) in names {
            assert_eq!(greeting_name(text).is_some(), expected, "{text}");
        }
        assert!(is_loopback("localhost."));
        assert!(is_loopback("127.0.0.5") && is_loopback("LocalHost") && !is_loopback("10.0.0.1"));
    }

    #[test]
    fn mailboxes_are_an_address_with_an_optional_name() {
        let table = [
            ("a@example.com", Some((None, "a@example.com"))),
            ("a.b+c@localhost", Some((None, "a.b+c@localhost"))),
            ("Ann Ä. <a@example.com>", Some((Some("Ann Ä."), "a@example.com"))),
            ("\"Ann, B.\" <a@example.com>", Some((Some("Ann, B."), "a@example.com"))),
            ("<a@example.com>", Some((None, "a@example.com"))),
            ("Büro <a@büro.example>", Some((Some("Büro"), "a@xn--bro-hoa.example"))),
            ("a@例え.テスト", Some((None, "a@xn--r8jz45g.xn--zckzah"))),
            ("ä@example.com", None),
            ("a@b%C3%BC.example", None),
            ("a", None),
            ("a@b@c.example", None),
            ("a b@example.com", None),
            ("@example.com", None),
            ("a@", None),
            ("a..b@example.com", None),
            ("Ann <a@example.com", None),
            ("Ann\r\nBcc: x <a@example.com>", None),
            ("a@example.com, b@example.com", None),
        ];
        for (text, expected) in table {
            let expected =
                expected.map(|(name, address)| Mailbox { name: name.map(str::to_owned), address: address.to_owned() });
            assert_eq!(mailbox(text).ok(), expected, "{text}");
        }
    }
}
