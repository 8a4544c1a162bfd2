//! Where a request comes from: the peer of the connection, or what trusted proxies say of it.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use ipnet::IpNet;

/// What proxies write the addresses of their clients into.
const HEADER: &str = "x-forwarded-for";

/// A trusted proxy wrote something that is no address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The nearest address that is not one of a trusted proxy, seen from here. Whoever is not trusted may
/// write into the header what it likes: what stands left of the first address that is not trusted is
/// never looked at.
pub(super) fn origin(
    peer: IpAddr,
    headers: &HeaderMap,
    trusted: &[IpNet],
) -> Result<IpAddr, Malformed> {
    let believed = |ip: IpAddr| trusted.iter().any(|prefix| prefix.contains(&ip));
    let mut nearest = peer.to_canonical();
    if !believed(nearest) {
        return Ok(nearest);
    }
    let mut said: Vec<&str> = Vec::new();
    for value in headers.get_all(HEADER) {
        said.extend(value.to_str().map_err(|_| Malformed)?.split(','));
    }
    for hop in said.iter().rev() {
        nearest = address(hop.trim()).ok_or(Malformed)?;
        if !believed(nearest) {
            break;
        }
    }
    Ok(nearest)
}

/// An address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let ip: Option<IpAddr> = text.parse().ok();
    let ip = ip.or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    ip.map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_proxies_are_believed_and_only_as_far_as_they_reach() {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "2001:db8::/32"]
            .iter()
            .map(|prefix| prefix.parse().unwrap())
            .collect();
        // (peer, headers, origin)
        for (peer, said, want) in [
            ("192.0.2.1", &[][..], Some("192.0.2.1")),
            ("192.0.2.1", &["203.0.113.9"], Some("192.0.2.1")),
            ("10.0.0.1", &[], Some("10.0.0.1")),
            ("::ffff:10.0.0.1", &["203.0.113.9"], Some("203.0.113.9")),
            ("10.0.0.1", &["203.0.113.9"], Some("203.0.113.9")),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.9"], Some("203.0.113.9")),
            ("10.0.0.1", &["evil, 203.0.113.9"], Some("203.0.113.9")),
            ("10.0.0.1", &["203.0.113.9, 10.1.1.1"], Some("203.0.113.9")),
            (
                "10.0.0.1",
                &["203.0.113.9", "10.1.1.1"],
                Some("203.0.113.9"),
            ),
            ("10.0.0.1", &["10.2.2.2, 10.1.1.1"], Some("10.2.2.2")),
            ("10.0.0.1", &["203.0.113.9:4711"], Some("203.0.113.9")),
            ("10.0.0.1", &["[2001:db9::1]:4711"], Some("2001:db9::1")),
            ("2001:db8::5", &["::ffff:203.0.113.9"], Some("203.0.113.9")),
            ("10.0.0.1", &["unknown"], None),
            ("10.0.0.1", &["203.0.113.9,"], None),
            ("10.0.0.1", &["evil, 10.1.1.1"], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in said {
                headers.append(HEADER, value.parse().unwrap());
            }
            let got = origin(peer.parse().unwrap(), &headers, &trusted);
            let want = want.map(|ip| ip.parse().unwrap()).ok_or(Malformed);
            assert_eq!(got, want, "{peer} {said:?}");
        }
    }
}
