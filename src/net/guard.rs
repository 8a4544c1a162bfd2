//! Which addresses are connected to: not this machine under another name, not the link, not where clouds
//! keep their credentials. Private networks are fine, identity providers live there.
//!
//! Asked with the very addresses that a name resolved to for one connection, so that no second look-up
//! stands between the check and its use.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use ipnet::IpNet;
use tower_service::Service;

/// The only name that may be this machine: whoever configured it knew.
pub(super) const LOCALHOST: &str = "localhost";

/// Where clouds keep their credentials, outside the link-local block.
const METADATA: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe)),
];

/// Whether an address is of a kind that is never connected to, and not among the exceptions.
pub(super) fn refused(address: IpAddr, allow: &[IpNet]) -> bool {
    let special = |address: IpAddr| {
        METADATA.contains(&address)
            || match address {
                IpAddr::V4(v4) => special_v4(v4),
                IpAddr::V6(v6) => special_v6(v6),
            }
    };
    let inner = match address {
        IpAddr::V6(v6) => embedded(v6).map(|inner| inner.map(IpAddr::V4)),
        IpAddr::V4(_) => [None; 2],
    };
    let inner = || inner.into_iter().flatten();
    let allowed = |address: IpAddr| allow.iter().any(|prefix| prefix.contains(&address));
    let bad_inside = inner().any(|inner| special(inner) && !allowed(inner));
    !allowed(address) && (bad_inside || (special(address) && !inner().any(allowed)))
}

fn special_v4(v4: Ipv4Addr) -> bool {
    let [first, ..] = v4.octets();
    // `0.0.0.0/8` is this host on this network (RFC 1122 §3.2.1.3).
    first == 0 || v4.is_loopback() || v4.is_link_local() || v4.is_multicast() || v4.is_broadcast()
}

fn special_v6(v6: Ipv6Addr) -> bool {
    let block = match v6.segments() {
        // Of AWS, whose services for instances are all in it.
        [0xfd00, 0xec2, ..] => true,
        // Local translation (RFC 8215): where in an address the IPv4 one stands is the network's own affair.
        [0x64, 0xff9b, 1, ..] => true,
        // Site-local, which some systems still route on the link (RFC 3879).
        [first, ..] => first & 0xffc0 == 0xfec0,
    };
    block
        || v6.is_loopback()
        || v6.is_unspecified()
        || v6.is_multicast()
        || v6.is_unicast_link_local()
}

/// The IPv4 addresses that an IPv6 one stands for: mapped and compatible ones (RFC 4291 §2.5.5), those of
/// translators (RFC 6052, RFC 8215, RFC 7915), 6to4 (RFC 3056), ISATAP (RFC 5214 §6.1), and Teredo, which has
/// that of its server and, inverted, its own (RFC 4380 §4).
fn embedded(v6: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match v6.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0, 0, 0, 0, 0xffff, 0, high, low] => {
            [Some(v4(high, low)), None]
        }
        [0x64, 0xff9b, 0, .., high, low]
        | [0x2002, high, low, ..]
        | [.., 0 | 0x200, 0x5efe, high, low] => [Some(v4(high, low)), None],
        [0x2001, 0, high, low, .., own_high, own_low] => {
            [Some(v4(high, low)), Some(v4(!own_high, !own_low))]
        }
        _ => [None; 2],
    }
}

/// An address was refused.
#[derive(Debug, thiserror::Error)]
#[error("the address is not one that may be connected to")]
pub(super) struct Refused;

/// Resolves a name, and keeps of what it resolves to what may be connected to.
#[derive(Clone)]
pub(super) struct Guard {
    system: GaiResolver,
    allow: Arc<[IpNet]>,
}

impl Guard {
    pub(super) fn new(allow: &[IpNet]) -> Self {
        Self {
            system: GaiResolver::new(),
            allow: allow.into(),
        }
    }
}

impl Service<Name> for Guard {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.system.poll_ready(context)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let allow = Arc::clone(&self.allow);
        let host = name.as_str().to_owned();
        let found = self.system.call(name);
        Box::pin(async move { kept(&host, found.await?, &allow).map(Vec::into_iter) })
    }
}

fn kept(
    host: &str,
    found: impl Iterator<Item = SocketAddr>,
    allow: &[IpNet],
) -> io::Result<Vec<SocketAddr>> {
    let good = |address: &SocketAddr| {
        let ip = address.ip();
        !refused(ip, allow) || (host == LOCALHOST && ip.is_loopback())
    };
    let kept: Vec<SocketAddr> = found.filter(good).collect();
    match kept.is_empty() {
        true => Err(io::Error::new(io::ErrorKind::PermissionDenied, Refused)),
        false => Ok(kept),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_addresses() {
        for bad in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "239.255.255.255",
            "255.255.255.255",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "::1",
            "::",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd00:ec2:1::1",
            "fec0::1",
            "feff::1",
            "64:ff9b:1:7f00:0:100::",
            "64:ff9b:1::10.0.0.1",
            "2001:0:7f00:1::f5ff:fffe",
            "2001:0:a00:1:0:0:8080:8080",
            "2001:0:a00:1:0:0:5601:5601",
            "2001:db8::5efe:127.0.0.1",
            "fd12::200:5efe:169.254.169.254",
            "fd20:ce::254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "::ffff:0:127.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::127.0.0.1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
            "::ffff:100.100.100.200",
        ] {
            assert!(refused(bad.parse().unwrap(), &[]), "{bad}");
        }
        for good in [
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "1.1.1.1",
            "2606:4700::1111",
            "fc00::1",
            "fd00:ec3::1",
            "2001:db8::5efe:10.0.0.1",
            "2001:0:a00:1:0:0:f5ff:fffe",
            "2001:1::7f00:1",
            "fd12:3456::1",
            "::ffff:10.0.0.1",
            "64:ff9b::1.1.1.1",
            "2002:0a00:1::",
        ] {
            assert!(!refused(good.parse().unwrap(), &[]), "{good}");
        }
    }

    #[test]
    fn exceptions_hold_for_every_spelling() {
        let allow = ["169.254.0.0/16".parse().unwrap()];
        for good in ["169.254.1.1", "::ffff:169.254.1.1"] {
            assert!(!refused(good.parse().unwrap(), &allow), "{good}");
        }
        assert!(refused("127.0.0.1".parse().unwrap(), &allow));
    }

    #[test]
    fn of_what_a_name_resolves_to_only_the_good_ones_are_left() {
        let found = |list: &[&str]| -> Vec<SocketAddr> {
            list.iter().map(|text| text.parse().unwrap()).collect()
        };
        let kept = |host: &str, list: &[&str]| kept(host, found(list).into_iter(), &[]).ok();
        let mixed = ["127.0.0.1:0", "10.0.0.1:0", "[::1]:0"];
        assert_eq!(
            kept("idp.example.com", &mixed),
            Some(found(&["10.0.0.1:0"]))
        );
        assert_eq!(
            kept("rebound.example.com", &["127.0.0.1:0", "[fe80::1]:0"]),
            None
        );
        assert_eq!(kept("x.localhost", &["127.0.0.1:0"]), None);
        assert_eq!(
            kept("localhost", &["127.0.0.1:0", "169.254.1.1:0"]),
            Some(found(&["127.0.0.1:0"]))
        );
    }
}
