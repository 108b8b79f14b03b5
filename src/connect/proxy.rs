//! Through which proxy a request goes, if it goes through one.

use std::ffi::OsString;
use std::fmt;

use hyper_util::client::proxy::matcher::Matcher;
use secrecy::ExposeSecret;
use url::{Host, Url};

use crate::config::{self, ProxyAddress, is_loopback, proxy_url};
use crate::secrets;

/// Where the environment names a proxy, as curl and others look for it.
const PROXY: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];

/// Where it names the hosts that are asked directly.
const EXCEPT: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// A proxy that is asked to connect (`CONNECT`). Its user name and password are not shown.
#[derive(Clone)]
pub struct ActiveProxy {
    url: Url,
    except: String,
    matcher: std::sync::Arc<Matcher>,
}

/// Why the proxy cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadProxy(String);

impl ActiveProxy {
    /// The proxy that is `configured` or that the environment names, if any. A secret address is read.
    ///
    /// # Errors
    /// The secret cannot be read, or the address is none of a proxy. Nothing of the address is repeated.
    pub fn find(configured: &config::Proxy) -> Result<Option<Self>, BadProxy> {
        Self::find_with(configured, |name| std::env::var_os(name))
    }

    fn find_with(
        configured: &config::Proxy,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Option<Self>, BadProxy> {
        match configured {
            config::Proxy::None => Ok(None),
            config::Proxy::Named { at: ProxyAddress::Written(url), except } => {
                Ok(Some(Self::new(url.clone(), except.join(","))))
            }
            config::Proxy::Named { at: ProxyAddress::Secret(place), except } => {
                let text = secrets::read(place).map_err(|error| BadProxy(format!("cannot use the proxy: {error}")))?;
                let url = proxy_url(text.expose_secret()).map_err(|bad| {
                    BadProxy(format!("cannot use the proxy: the address in '{place}', which `proxy` names, {bad}"))
                })?;
                Ok(Some(Self::new(url, except.join(","))))
            }
            config::Proxy::Environment => {
                let set = |names: [&'static str; 2]| {
                    let values = names.into_iter().filter_map(|name| Some((name, variable(name)?)));
                    values.into_iter().find(|(_, value)| !value.is_empty())
                };
                let Some((name, value)) = set(PROXY) else { return Ok(None) };
                let url = proxy_url(&value.to_string_lossy())
                    .map_err(|bad| BadProxy(format!("cannot use the proxy: the value of the variable {name} {bad}")))?;
                let except = set(EXCEPT).map(|(_, value)| value.to_string_lossy().into_owned()).unwrap_or_default();
                Ok(Some(Self::new(url, except)))
            }
        }
    }

    fn new(url: Url, except: String) -> Self {
        let matcher = Matcher::builder().https(url.as_str()).no(except.as_str()).build();
        Self { url, except, matcher: matcher.into() }
    }

    /// Whether what goes to `url` goes through it: everything but plain HTTP, which only stays on this machine, and the
    /// exceptions.
    pub fn is_for(&self, url: &Url) -> bool {
        let intercepted = || Some(self.matcher.intercept(&url.as_str().parse().ok()?).is_some());
        url.scheme() == "https" && !is_loopback(url) && intercepted() == Some(true)
    }

    /// Whether `name` is the host of the proxy itself.
    pub fn is_host(&self, name: &str) -> bool {
        matches!(self.url.host(), Some(Host::Domain(host)) if host.eq_ignore_ascii_case(name))
    }

    /// Where it is, without user name and password.
    pub fn address(&self) -> Url {
        let mut url = self.url.clone();
        // Neither can fail: the address has a host.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url
    }

    /// The same for a client of requests.
    pub fn for_requests(&self) -> reqwest::Proxy {
        let proxy = self.clone();
        reqwest::Proxy::custom(move |url| proxy.is_for(url).then(|| proxy.url.clone()))
    }
}

impl PartialEq for ActiveProxy {
    fn eq(&self, other: &Self) -> bool {
        (&self.url, &self.except) == (&other.url, &other.except)
    }
}

impl fmt::Display for ActiveProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.address().as_str().trim_end_matches('/'))
    }
}

impl fmt::Debug for ActiveProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Proxy as Configured, SecretRef};

    fn found(configured: &Configured, variables: &[(&str, &str)]) -> Result<Option<ActiveProxy>, BadProxy> {
        let value = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).into());
        ActiveProxy::find_with(configured, value)
    }

    #[test]
    fn the_configuration_wins_over_the_environment() {
        let named = |url: &str| Configured::Named {
            at: ProxyAddress::Written(url.parse().unwrap()),
            except: vec!["direct.example".to_owned()],
        };
        let environment = [("HTTPS_PROXY", "env:1"), ("https_proxy", "lower:2"), ("NO_PROXY", "a.example")];
        for (configured, variables, expected) in [
            (Configured::Environment, &[][..], None),
            (Configured::Environment, &environment[..], Some("http://env:1")),
            (Configured::Environment, &environment[1..], Some("http://lower:2")),
            (Configured::Environment, &[("HTTPS_PROXY", ""), ("https_proxy", "lower:2")], Some("http://lower:2")),
            (Configured::Environment, &[("HTTPS_PROXY", "me:CANARY@env:1")], Some("http://env:1")),
            (Configured::None, &environment, None),
            (named("https://configured:3"), &environment, Some("https://configured:3")),
        ] {
            let found = found(&configured, variables).unwrap();
            assert_eq!(found.map(|proxy| proxy.to_string()).as_deref(), expected, "{configured:?} {variables:?}");
        }
        let configured = found(&named("http://c:3"), &environment).unwrap().unwrap();
        assert!(configured.is_for(&"https://a.example".parse().unwrap()), "NO_PROXY goes with HTTPS_PROXY");
        assert!(!configured.is_for(&"https://direct.example".parse().unwrap()));
    }

    #[test]
    fn what_is_excepted_and_what_stays_on_this_machine_is_asked_directly() {
        let variables = [("https_proxy", "p:1"), ("no_proxy", "corp.example, .dot.example,10.0.0.0/8, 192.0.2.7")];
        let proxy = found(&Configured::Environment, &variables).unwrap().unwrap();
        for (url, expected) in [
            ("https://api.clerk.com/v1", true),
            ("https://notcorp.example/", true),
            ("https://192.0.2.8/", true),
            ("https://corp.example/", false),
            ("https://a.corp.example:8443/x", false),
            ("https://a.dot.example/", false),
            ("https://10.1.2.3/", false),
            ("https://192.0.2.7/", false),
            ("https://127.0.0.1:1/", false),
            ("https://[::1]:1/", false),
            ("https://localhost/", false),
            ("http://127.0.0.1:1/", false),
        ] {
            assert_eq!(proxy.is_for(&url.parse().unwrap()), expected, "{url}");
        }
        let all = found(&Configured::Environment, &[("https_proxy", "p:1"), ("NO_PROXY", "*")]).unwrap().unwrap();
        assert!(!all.is_for(&"https://api.clerk.com".parse().unwrap()));
    }

    #[test]
    fn nothing_of_a_bad_address_is_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("proxy");
        let secret = Configured::Named { at: ProxyAddress::Secret(SecretRef::File(file.clone())), except: Vec::new() };
        std::fs::write(&file, "socks5://me:CANARY@proxy:1080\n").unwrap();
        let errors = [
            found(&secret, &[]).unwrap_err(),
            found(&Configured::Environment, &[("HTTPS_PROXY", "http://me:CANARY@proxy:1/path")]).unwrap_err(),
        ];
        assert!(errors[0].to_string().contains("has to begin with 'http://'"), "{}", errors[0]);
        assert!(errors[1].to_string().contains("HTTPS_PROXY"), "{}", errors[1]);
        std::fs::write(&file, "http://me:CANARY@proxy:3128\n").unwrap();
        let good = found(&secret, &[]).unwrap().unwrap();
        for text in [errors[0].to_string(), errors[1].to_string(), format!("{good:?}"), good.to_string()] {
            assert!(!text.contains("CANARY"), "{text}");
        }
    }
}
