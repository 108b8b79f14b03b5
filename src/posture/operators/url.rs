//! `url`: addresses that are safe to send people or tokens to.

use std::net::Ipv4Addr;
use std::sync::Arc;

use serde_json::Value;
use url::{Host, Url};

use super::super::judgement::{Gap, Holds, Judgement, Seen, UnknownReason};
use super::super::number::Profile;
use super::super::reader::{Fields, Node, text};
use super::super::source::{Scope, ValueSource};
use super::{Condition, ConditionReader, Operator, Uses, judged};

#[derive(Debug)]
struct SafeUrls {
    of: Arc<ValueSource>,
    is: UrlKind,
    /// Applications for which an address of a native application is safe too.
    native: Option<Condition>,
}

/// What an address is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UrlKind {
    /// A page: `https`, no wildcard, not this machine.
    Web,
    /// A native application: schemes of its own, and `http` to a loopback address.
    Native,
    /// An origin: no wildcard, no `http`, and only the schemes of embedded browsers may name this machine.
    Origin,
}

/// Schemes that run, read or show something else than an application.
const DANGEROUS: [&str; 7] = ["about", "blob", "data", "file", "javascript", "vbscript", "view-source"];

/// What a vendor fills in by itself.
const PLACEHOLDERS: [&str; 2] = ["{organization_name}", "{organization_id}"];

/// `url = { of, is }`: `of` is one address or a set of them, `is` is `web`, `native` or `origin`; `native` is a condition
/// under which an address of a native application is safe too.
pub(super) fn url<'a>(reader: &ConditionReader<'_, 'a>, node: Node<'a>) -> Option<Condition> {
    let fields = Fields::of_node(node, reader.mistakes)?;
    let of = fields.get("of").and_then(|of| reader.operand(of));
    let native = fields.get("native").map(|native| reader.condition(native));
    let is = fields.get("is").and_then(|is| match text(is, reader.mistakes)?.as_str() {
        "web" => Some(UrlKind::Web),
        "native" => Some(UrlKind::Native),
        "origin" => Some(UrlKind::Origin),
        other => reader.wrong(is.span(), format!("'{other}' is none of web, native, origin")),
    });
    fields.finish();
    let native = match native {
        Some(native) => Some(native?),
        None => None,
    };
    Some(Box::new(SafeUrls { of: of?, is: is?, native }))
}

/// Whether the address is safe for that purpose.
fn is_safe(address: &str, kind: UrlKind) -> bool {
    let filled = PLACEHOLDERS.iter().fold(address.to_owned(), |text, name| text.replace(name, "organization"));
    let Ok(url) = Url::parse(&filled) else { return false };
    let (scheme, place) = (url.scheme(), filled.split(['?', '#']).next().unwrap_or_default());
    if place.contains('*') || DANGEROUS.contains(&scheme) {
        return false;
    }
    match kind {
        UrlKind::Web => scheme == "https" && !is_this_machine(&url),
        UrlKind::Native => match scheme {
            "https" => !is_this_machine(&url),
            "http" => is_loopback_address(&url),
            _ => true,
        },
        UrlKind::Origin => match scheme {
            "https" => !is_this_machine(&url),
            "http" => false,
            _ => true,
        },
    }
}

fn is_loopback_address(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        _ => false,
    }
}

fn is_this_machine(url: &Url) -> bool {
    let name = url.host_str().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
    let is_mapped = matches!(url.host(), Some(Host::Ipv6(address))
        if address.to_ipv4_mapped().is_some_and(|inner| inner.is_loopback()) || address.is_unspecified());
    let is_any = matches!(url.host(), Some(Host::Ipv4(Ipv4Addr::UNSPECIFIED)));
    is_loopback_address(url) || is_mapped || is_any || name == "localhost" || name.ends_with(".localhost")
}

impl SafeUrls {
    fn holds<'a>(&'a self, scope: &Scope<'a>) -> Result<Judgement<'a>, Gap> {
        let known = self.of.read(scope)?;
        let one;
        let (addresses, is_set) = match known.plain()? {
            Value::String(text) if text.is_empty() => (&[][..], true),
            Value::String(text) => {
                one = [Value::String(text.clone())];
                (&one[..], false)
            }
            _ => (known.members()?, true),
        };
        let observation = |address: &Value| match is_set {
            true => known.member(address),
            false => known.seen(),
        };
        let (mut unsafe_ones, mut doubtful): (Vec<Seen<'a>>, Option<Gap>) = (Vec::new(), None);
        for address in addresses {
            let Some(text) = address.as_str() else {
                doubtful.get_or_insert(known.gap(UnknownReason::Ambiguous));
                continue;
            };
            if is_safe(text, self.is) {
                continue;
            }
            // Which kind of application it is need not be known unless it matters.
            let native = self.native.as_ref().filter(|_| is_safe(text, UrlKind::Native));
            match native.map(|native| native.judge(scope).holds) {
                Some(Holds::Yes) => {}
                Some(Holds::Unknown(gap)) => {
                    doubtful.get_or_insert(gap);
                }
                _ => unsafe_ones.push(observation(address)),
            }
        }
        match (unsafe_ones.is_empty(), doubtful) {
            (false, _) => Ok(Judgement::of(false, unsafe_ones)),
            (true, Some(gap)) => Err(gap),
            (true, None) => Ok(Judgement::of(true, vec![known.seen()])),
        }
    }
}

impl Operator for SafeUrls {
    fn judge<'a>(&'a self, scope: &Scope<'a>) -> Judgement<'a> {
        judged(self.holds(scope))
    }

    fn expected(&self, _: Profile) -> String {
        let native = "no wildcard, https, an own scheme, or http to a loopback address";
        match self.is {
            UrlKind::Web if self.native.is_some() => {
                format!("https, no wildcard, not localhost (native applications: {native})")
            }
            UrlKind::Web => "https, no wildcard, not localhost".to_owned(),
            UrlKind::Native => native.to_owned(),
            UrlKind::Origin => "no wildcard, no http, no https to localhost".to_owned(),
        }
    }

    fn uses(&self, base: &[String], uses: &mut Uses) {
        uses.source(&self.of, base);
        if let Some(native) = &self.native {
            native.uses(base, uses);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed_and_not_searched() {
        // The address, and whether it is safe for a page, a native application and as an origin.
        let table = [
            ("https://app.example/cb", true, true, true),
            ("https://localhost.example/cb", true, true, true),
            ("https://app.example/cb?next=http://localhost", true, true, true),
            ("https://{organization_name}.app.example/cb", true, true, true),
            ("https://*.app.example/cb", false, false, false),
            ("https://app.example/*", false, false, false),
            ("*", false, false, false),
            ("http://app.example/cb", false, false, false),
            ("http://localhost:3000", false, false, false),
            ("https://localhost:3000", false, false, false),
            ("https://LOCALHOST./", false, false, false),
            ("https://dev.localhost/", false, false, false),
            ("https://127.0.0.2/", false, false, false),
            ("https://0x7f.1/", false, false, false),
            ("https://[::ffff:127.0.0.1]/", false, false, false),
            ("https://0.0.0.0/", false, false, false),
            ("http://127.0.0.1:8000/cb", false, true, false),
            ("http://[::1]/cb", false, true, false),
            ("myapp://signed-in", false, true, true),
            ("com.example.app:/cb", false, true, true),
            ("capacitor://localhost", false, true, true),
            ("chrome-extension://abcdef", false, true, true),
            ("javascript:alert(1)", false, false, false),
            ("file:///etc/passwd", false, false, false),
            ("data:text/html,x", false, false, false),
            ("app.example", false, false, false),
            ("", false, false, false),
        ];
        for (address, web, native, origin) in table {
            let found = [UrlKind::Web, UrlKind::Native, UrlKind::Origin].map(|kind| is_safe(address, kind));
            assert_eq!(found, [web, native, origin], "{address}");
        }
    }
}
