//! Reads `[network]`: through which proxy requests to vendors and receivers go.

use url::Url;

use super::SecretRef;
use super::address::host;
use super::toml_reader::{Problem, TomlReader};
use crate::model::display_safe;

/// Through which proxy requests go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Proxy {
    /// The one of `HTTPS_PROXY`, except to the hosts of `NO_PROXY`.
    #[default]
    Environment,
    /// None, whatever the environment says.
    None,
    /// This one, whatever the environment says.
    Named {
        /// Where it is.
        at: ProxyAddress,
        /// Hosts and networks that are asked directly.
        except: Vec<String>,
    },
}

/// Where a proxy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProxyAddress {
    /// As it is written, without user name and password.
    Written(Url),
    /// A secret that holds the whole address, which may have both.
    Secret(SecretRef),
}

/// Why an address is no proxy's; the text continues what it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadProxyUrl {
    /// It cannot be read.
    #[error("is not the address of a proxy such as 'http://proxy.example.com:3128'")]
    NotAUrl,
    /// SOCKS, for example.
    #[error("has to begin with 'http://' or 'https://': other kinds of proxies are not supported")]
    Scheme,
    /// It has a path, a query or a fragment.
    #[error("must not have anything after host and port")]
    Rest,
    /// It holds a password where none may be.
    #[error("must not hold a user name or password here")]
    Login,
}

/// Reads the address of a proxy, `http://` if it does not say. It may hold a user name and a password.
///
/// # Errors
/// Why it is none; nothing of it is repeated.
pub fn proxy_url(text: &str) -> Result<Url, BadProxyUrl> {
    let text = text.trim();
    if text.contains(|sign: char| sign.is_whitespace() || sign.is_control()) {
        return Err(BadProxyUrl::NotAUrl);
    }
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&whole).map_err(|_| BadProxyUrl::NotAUrl)?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(BadProxyUrl::Scheme);
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(BadProxyUrl::Rest);
    }
    if url.host_str().is_none_or(|name| host(name.trim_matches(['[', ']'])).is_none()) {
        return Err(BadProxyUrl::NotAUrl);
    }
    Ok(url)
}

/// Reads the table. Without it the environment decides.
pub(super) fn proxy(file: &mut TomlReader<'_>) -> Proxy {
    let Some(mut section) = file.table("network") else { return Proxy::default() };
    let except = section.strings("no_proxy").map(|texts| texts.value).unwrap_or_default();
    for host in except.iter().filter(|host| !is_exception(&host.value)) {
        let message =
            format!("'{}' in 'no_proxy' is not a host, a domain, an address or a network", display_safe(&host.value));
        section.report(Problem::at(host.span.clone(), message).help("for example internal.example.com or 10.0.0.0/8"));
    }
    let is_written = section.is_text("proxy");
    let at = if is_written { written(&mut section) } else { secret(&mut section) };
    if section.has("no_proxy") && !matches!(at, Some(Some(_))) && !(section.has("proxy") && at.is_none()) {
        let problem = Problem::at(section.key_place("no_proxy"), "'no_proxy' is used only with a 'proxy'");
        section.report(problem.help("without one, the variable NO_PROXY says it").up_to_place());
    }
    section.finish();
    match at {
        Some(Some(at)) => Proxy::Named { at, except: except.into_iter().map(|host| host.value).collect() },
        Some(None) => Proxy::None,
        None => Proxy::Environment,
    }
}

/// The address as it stands there, or that there is none.
fn written(section: &mut TomlReader<'_>) -> Option<Option<ProxyAddress>> {
    let text = section.string("proxy")?;
    if text.value == "none" {
        return Some(None);
    }
    let url = proxy_url(&text.value).and_then(|url| match url.username().is_empty() && url.password().is_none() {
        true => Ok(url),
        false => Err(BadProxyUrl::Login),
    });
    let url = section.accept(url.map_err(|bad| {
        let help = match bad {
            BadProxyUrl::Login => {
                "put the whole address in a file and write { file = \"…\" } or { credential = \"…\" }"
            }
            _ => "write http://HOST:PORT, a secret that holds it, or \"none\"",
        };
        // It may hold a password, wherever that stands in it.
        Problem::at(text.span, format!("'proxy' {bad}")).help(help).without_source()
    }))?;
    Some(Some(ProxyAddress::Written(url)))
}

fn secret(section: &mut TomlReader<'_>) -> Option<Option<ProxyAddress>> {
    Some(Some(ProxyAddress::Secret(section.secret("proxy")?.value)))
}

/// Whether it names hosts as `NO_PROXY` does: all, a name with those below it, an address, or a network.
fn is_exception(text: &str) -> bool {
    let is_network = || {
        let (address, length) = text.split_once('/')?;
        let most = if address.parse::<std::net::IpAddr>().ok()?.is_ipv4() { 32 } else { 128 };
        Some(length.parse::<u8>().ok()? <= most)
    };
    text == "*" || host(text.trim_start_matches('.')).is_some() || is_network() == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_a_host_and_a_port_and_nothing_more() {
        for (text, expected) in [
            ("http://proxy.example.com:3128", Ok("http://proxy.example.com:3128/")),
            ("https://proxy.example.com", Ok("https://proxy.example.com/")),
            ("proxy:3128", Ok("http://proxy:3128/")),
            ("10.0.0.1:3128", Ok("http://10.0.0.1:3128/")),
            ("http://[fd00::1]:3128/", Ok("http://[fd00::1]:3128/")),
            ("http://me:p%40ss@proxy:3128", Ok("http://me:p%40ss@proxy:3128/")),
            (" http://proxy:1\n", Ok("http://proxy:1/")),
            ("socks5://proxy:1080", Err(BadProxyUrl::Scheme)),
            ("http://proxy/path", Err(BadProxyUrl::Rest)),
            ("http://proxy?x", Err(BadProxyUrl::Rest)),
            ("http://", Err(BadProxyUrl::NotAUrl)),
            ("http://pro xy", Err(BadProxyUrl::NotAUrl)),
            ("proxy:port", Err(BadProxyUrl::NotAUrl)),
            ("", Err(BadProxyUrl::NotAUrl)),
        ] {
            assert_eq!(proxy_url(text).as_ref().map(Url::as_str), expected.as_ref().map(|text| *text), "{text}");
        }
    }

    #[test]
    fn exceptions_are_those_of_no_proxy() {
        for text in ["*", "example.com", ".example.com", "localhost", "10.0.0.1", "10.0.0.0/8", "fd00::/8", "::1"] {
            assert!(is_exception(text), "{text}");
        }
        for text in ["", "a b", "https://a.example", "*.example.com", "10.0.0.0/33", "fd00::/129", "10.0.0.0/x", "a,b"]
        {
            assert!(!is_exception(text), "{text}");
        }
    }
}
