//! Whether a host can be reached: its name, a connection, its certificate.

use url::Url;

use super::{Check, CheckResult};
use crate::config::{self, refused};
use crate::connect::{ActiveProxy, AllowedPeers, ConnectError, Endpoint};
use crate::exit::Exit;

/// Checks name, connection and certificate of the host of `url`, or of its proxy.
pub async fn host(url: &Url, who: AllowedPeers, proxy: &config::Proxy, exit: Exit) -> Option<CheckResult> {
    let host = Endpoint::of(url, who)?;
    let on = format!("{}:{}", host.host, host.port);
    let proxy = match ActiveProxy::find(proxy) {
        Ok(proxy) => proxy.filter(|proxy| proxy.is_for(url)),
        Err(error) => return Some(Check::Host.failure(on, error, PROXY, Exit::Configuration)),
    };
    let Some(proxy) = proxy else { return Some(endpoint(&host, exit).await) };
    if let Some(reason) = refused(url, who != AllowedPeers::Public).filter(|_| who != AllowedPeers::Anybody) {
        return Some(Check::Host.failure(on, reason, ALLOW, exit));
    }
    let reached = Endpoint::of(&proxy.address(), AllowedPeers::Anybody)?.reach().await;
    Some(match reached {
        Ok(addresses) => Check::Host.ok(on, format!("asked through the proxy {proxy} ({addresses}), connected")),
        Err(error) => Check::Host.failure(on, format!("asked through the proxy {proxy}: {error}"), PROXY, exit),
    })
}

const PROXY: &str =
    "`proxy` in [network] names it, or the variable HTTPS_PROXY; check that this machine may connect to it";

/// The help for a receiver in a private network.
const ALLOW: &str = "set `allow_private = true` there, if it is yours";

/// Checks name, connection and certificate of a host without a proxy.
pub async fn endpoint(endpoint: &Endpoint, exit: Exit) -> CheckResult {
    let on = format!("{}:{}", endpoint.host, endpoint.port);
    match endpoint.reach().await {
        Ok(addresses) if endpoint.is_tls => {
            Check::Host.ok(on, format!("{addresses}, connected, its certificate is trusted"))
        }
        Ok(addresses) => Check::Host.ok(on, format!("{addresses}, connected")),
        Err(error) => {
            let help = match &error {
                ConnectError::Name(_) => "check the name in the configuration, and /etc/resolv.conf",
                ConnectError::Forbidden(_) => ALLOW,
                ConnectError::Connection { .. } => {
                    "check host and port, the firewall, and IPAddressAllow= of the unit; `proxy` in [network] or HTTPS_PROXY \
                     names a proxy"
                }
                ConnectError::Certificate { .. } => {
                    "check who answers; a private authority belongs into the trust store of this machine, or into a file \
                     that SSL_CERT_FILE names"
                }
                ConnectError::Tls { .. } => "check host and port: is it this service that listens there?",
            };
            Check::Host.failure(on, error, help, exit)
        }
    }
}
