//! Which addresses of the network a receiver may have.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use url::{Host, Url};

/// The class of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AddressClass {
    /// Anywhere on the internet.
    Public,
    /// In a private network, or on this machine.
    Private,
    /// Link-local, multicast or unspecified, and the metadata addresses of clouds, which hand out a machine's credentials.
    Forbidden,
}

impl AddressClass {
    /// Of one address. One that carries an IPv4 address inside is judged by that one.
    fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => match embedded(address) {
                Some(inner) => of_v4(inner),
                None => of_v6(address),
            },
        }
    }
}

/// Why nothing is sent to the host of `url` as it is written, if so. A name says nothing yet: its addresses do.
///
/// # Security
/// A receiver's address must not turn the program, which stands inside the network, against what stands there (T8). What
/// is written as this machine is meant.
pub fn refused(url: &Url, may_be_private: bool) -> Option<String> {
    let address = match url.host()? {
        Host::Domain(_) => return None,
        Host::Ipv4(address) => IpAddr::V4(address),
        Host::Ipv6(address) => IpAddr::V6(address),
    };
    if address.is_loopback() { None } else { refused_address(address, may_be_private) }
}

/// Why nothing is sent to `address`, if so.
pub fn refused_address(address: IpAddr, may_be_private: bool) -> Option<String> {
    match AddressClass::of(address) {
        AddressClass::Public => None,
        AddressClass::Private if may_be_private => None,
        AddressClass::Private => Some(format!("{address} is a private address, and 'allow_private' is not set")),
        AddressClass::Forbidden => Some(format!("{address} is link-local, multicast or no address of one machine")),
    }
}

/// The addresses of `found` that something may be sent to.
pub fn allowed(name: &str, found: Vec<SocketAddr>, may_be_private: bool) -> Result<Vec<SocketAddr>, String> {
    let mut reasons = Vec::new();
    let mut taken = Vec::new();
    for address in found {
        let is_itself = name.eq_ignore_ascii_case("localhost") && address.ip().is_loopback();
        match refused_address(address.ip(), may_be_private).filter(|_| !is_itself) {
            Some(reason) => reasons.push(reason),
            None => taken.push(address),
        }
    }
    if taken.is_empty() && !reasons.is_empty() {
        return Err(format!("nothing was sent to '{name}': {}", reasons.join("; ")));
    }
    Ok(taken)
}

/// Where clouds hand out the credentials of a machine outside of link-local addresses: Azure, Alibaba, Oracle.
const METADATA: [Ipv4Addr; 3] =
    [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];

fn of_v4(address: Ipv4Addr) -> AddressClass {
    let [a, b, ..] = address.octets();
    if address.is_link_local() || address.is_multicast() || a == 0 || a >= 240 || METADATA.contains(&address) {
        return AddressClass::Forbidden;
    }
    // The last two: addresses that providers share among customers (RFC 6598), and networks under test (RFC 2544).
    let is_shared = a == 100 && (64..128).contains(&b);
    let is_under_test = a == 198 && (b == 18 || b == 19);
    if address.is_private() || address.is_loopback() || is_shared || is_under_test {
        return AddressClass::Private;
    }
    AddressClass::Public
}

fn of_v6(address: Ipv6Addr) -> AddressClass {
    let [first, second, ..] = address.segments();
    // AWS hands out credentials there; fec0::/10 was site-local once.
    let is_metadata = address == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    let is_old = first & 0xffc0 == 0xfec0;
    if address.is_unicast_link_local() || address.is_multicast() || address.is_unspecified() || is_metadata || is_old {
        return AddressClass::Forbidden;
    }
    // Tunnels (Teredo) and translation inside of a network lead to addresses that cannot be seen.
    if (first, second) == (0x2001, 0) || (first, second, address.segments()[2]) == (0x64, 0xff9b, 1) {
        return AddressClass::Forbidden;
    }
    if address.is_unique_local() || address.is_loopback() { AddressClass::Private } else { AddressClass::Public }
}

/// The IPv4 address that an IPv6 address stands for: mapped (RFC 4291), translated (RFC 6052) or tunnelled (RFC 3056).
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return Some(mapped);
    }
    let inner = |high: u16, low: u16| Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        // Compatible and translated forms of old.
        [0, 0, 0, 0, 0 | 0xffff, 0, high, low] if (high, low) != (0, 0) && (high, low) != (0, 1) => {
            Some(inner(high, low))
        }
        [0, 0, 0, 0, 0xffff, 0, high, low] => Some(inner(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => Some(inner(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_public_private_or_never_meant() {
        let table = [
            ("93.184.216.34", AddressClass::Public),
            ("2606:2800:220:1::1", AddressClass::Public),
            ("10.1.2.3", AddressClass::Private),
            ("172.16.0.1", AddressClass::Private),
            ("172.32.0.1", AddressClass::Public),
            ("192.168.1.1", AddressClass::Private),
            ("100.64.0.1", AddressClass::Private),
            ("100.128.0.1", AddressClass::Public),
            ("198.18.0.1", AddressClass::Private),
            ("127.0.0.1", AddressClass::Private),
            ("::1", AddressClass::Private),
            ("fd00:ec2::254", AddressClass::Forbidden),
            ("fec0::1", AddressClass::Forbidden),
            ("::169.254.169.254", AddressClass::Forbidden),
            ("::ffff:0:169.254.169.254", AddressClass::Forbidden),
            ("64:ff9b:1::a9fe:a9fe", AddressClass::Forbidden),
            ("2001:0:1::1", AddressClass::Forbidden),
            ("168.63.129.16", AddressClass::Forbidden),
            ("100.100.100.200", AddressClass::Forbidden),
            ("169.254.169.254", AddressClass::Forbidden),
            ("fe80::1", AddressClass::Forbidden),
            ("0.0.0.0", AddressClass::Forbidden),
            ("0.1.2.3", AddressClass::Forbidden),
            ("::", AddressClass::Forbidden),
            ("224.0.0.1", AddressClass::Forbidden),
            ("ff02::1", AddressClass::Forbidden),
            ("255.255.255.255", AddressClass::Forbidden),
            ("::ffff:169.254.169.254", AddressClass::Forbidden),
            ("::ffff:10.0.0.1", AddressClass::Private),
            ("64:ff9b::a9fe:a9fe", AddressClass::Forbidden),
            ("2002:a9fe:a9fe::1", AddressClass::Forbidden),
            ("2002:0a00:0001::", AddressClass::Private),
            ("64:ff9b::5db8:d822", AddressClass::Public),
        ];
        for (text, expected) in table {
            assert_eq!(AddressClass::of(text.parse().unwrap()), expected, "{text}");
        }
    }

    #[test]
    fn t8_what_is_written_is_refused_unless_it_is_meant() {
        let table = [
            ("https://hooks.example.com/", false, true),
            ("http://127.0.0.1:1/", false, true),
            ("http://[::1]:1/", false, true),
            ("https://93.184.216.34/", false, true),
            ("https://10.0.0.1/", false, false),
            ("https://10.0.0.1/", true, true),
            ("https://169.254.169.254/", true, false),
            // The old ways to write an address.
            ("https://0xa9fea9fe/", true, false),
            ("https://2852039166/", true, false),
            ("https://[::ffff:169.254.169.254]/", true, false),
        ];
        for (url, may_be_private, is_taken) in table {
            let found = refused(&Url::parse(url).unwrap(), may_be_private);
            assert_eq!(found.is_none(), is_taken, "{url} {may_be_private}: {found:?}");
        }
    }

    #[test]
    fn t8_a_name_leads_only_to_addresses_that_are_meant() {
        let addresses =
            |texts: &[&str]| texts.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 0)).collect::<Vec<_>>();
        let (public, private, metadata) = ("93.184.216.34", "10.0.0.1", "169.254.169.254");
        assert_eq!(
            allowed("a.example", addresses(&[private, public]), false).unwrap(),
            addresses(&[public]),
            "the one that is allowed"
        );
        assert_eq!(allowed("a.example", addresses(&[private, metadata]), true).unwrap(), addresses(&[private]));
        assert_eq!(allowed("localhost", addresses(&["127.0.0.1", "::1"]), false).unwrap().len(), 2);
        for (found, may_be_private, why) in [
            (private, false, "nothing was sent to 'a.example': 10.0.0.1 is a private address"),
            ("127.0.0.1", false, "127.0.0.1 is a private address"),
            (metadata, true, "169.254.169.254 is link-local"),
        ] {
            let error = allowed("a.example", addresses(&[found]), may_be_private).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        assert!(allowed("localhost", addresses(&[private]), false).is_err(), "a name that was bent");
    }
}
