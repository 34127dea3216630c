//! Whose request it is: the client's address, as the connection or a trusted proxy names it.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

/// Headers by which a client may try to pass for another one.
const FORWARDING: [&str; 5] = ["x-forwarded-for", "forwarded", "x-real-ip", "true-client-ip", "x-client-ip"];

/// The networks of proxies that are believed about their clients' addresses.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// The client, if its address is known and means anything: limits count it. `None` on this machine.
    pub ip: Option<IpAddr>,
    /// An untrusted peer claimed to speak for someone else.
    pub forged: bool,
    /// The peer is a process on this machine and forwards for nobody.
    pub local: bool,
}

impl TrustedProxies {
    /// These networks.
    pub fn new(networks: Vec<IpNet>) -> TrustedProxies {
        TrustedProxies(networks)
    }

    /// Whether a peer is one of them.
    pub(super) fn trusts(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|network| network.contains(&ip))
    }

    /// The address of a peer whose connections are counted: that of anybody but this machine and trusted proxies.
    pub(super) fn counted_address(&self, peer: SocketAddr) -> Option<IpAddr> {
        let ip = peer.ip().to_canonical();
        Some(ip).filter(|ip| !ip.is_loopback() && !self.trusts(*ip))
    }

    /// The client of a request: the peer, or, behind trusted proxies, the right-most hop that is none of them. What stands to
    /// the left of it was written by the client.
    pub(super) fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> Client {
        let peer = peer.ip().to_canonical();
        let forwarded = FORWARDING.iter().any(|name| headers.contains_key(*name));
        if !self.trusts(peer) {
            let ip = Some(peer).filter(|ip| !ip.is_loopback());
            return Client { ip, forged: forwarded, local: peer.is_loopback() && !forwarded };
        }
        let lines = headers.get_all("x-forwarded-for").iter();
        let hops: Vec<&str> = lines.flat_map(|line| line.to_str().unwrap_or("?").split(',')).map(str::trim).collect();
        for hop in hops.iter().rev() {
            match address(hop) {
                Some(ip) if self.trusts(ip) => {}
                // The proxy itself wrote this one: an address, or something that means "unknown".
                ip => return Client { ip: ip.filter(|ip| !ip.is_loopback()), forged: false, local: false },
            }
        }
        Client { ip: None, forged: false, local: peer.is_loopback() && !forwarded }
    }
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`.
fn address(hop: &str) -> Option<IpAddr> {
    let ip = hop.parse().ok();
    let ip = ip.or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()));
    ip.or_else(|| hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok()).map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &[&str], peer: &str, forwarded: &[&str]) -> Client {
        let proxies = TrustedProxies::new(trusted.iter().map(|network| network.parse().unwrap()).collect());
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", line.parse().unwrap());
        }
        proxies.client(peer.parse().unwrap(), &headers)
    }

    #[test]
    fn the_client_is_the_right_most_hop_that_is_no_trusted_proxy() {
        let ip = |text: &str| Some(text.parse().unwrap());
        let trusted = ["127.0.0.0/8", "10.0.0.0/8"];
        for (peer, forwarded, expected) in [
            ("203.0.113.9:1", &["198.51.100.1"][..], ip("203.0.113.9")),
            ("10.0.0.1:1", &["198.51.100.1"], ip("198.51.100.1")),
            ("10.0.0.1:1", &["1.2.3.4, 198.51.100.1"], ip("198.51.100.1")),
            ("10.0.0.1:1", &["1.2.3.4", "198.51.100.1, 10.0.0.2"], ip("198.51.100.1")),
            ("10.0.0.1:1", &["198.51.100.1:4711"], ip("198.51.100.1")),
            ("10.0.0.1:1", &["[2001:db8::1]:4711"], ip("2001:db8::1")),
            ("10.0.0.1:1", &["1.2.3.4, unknown"], None),
            ("10.0.0.1:1", &["10.0.0.2"], None),
            ("10.0.0.1:1", &[], None),
            ("[::ffff:10.0.0.1]:1", &["::ffff:198.51.100.1"], ip("198.51.100.1")),
        ] {
            assert_eq!(client(&trusted, peer, forwarded).ip, expected, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn connections_are_counted_by_address_unless_they_are_of_this_machine_or_a_trusted_proxy() {
        let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().unwrap()]);
        for (peer, counted) in [
            ("203.0.113.9:1", Some("203.0.113.9")),
            ("[::ffff:203.0.113.9]:1", Some("203.0.113.9")),
            ("10.0.0.1:1", None),
            ("[::ffff:10.0.0.1]:1", None),
            ("127.0.0.1:1", None),
            ("[::1]:1", None),
        ] {
            let counted = counted.map(|ip| ip.parse().unwrap());
            assert_eq!(proxies.counted_address(peer.parse().unwrap()), counted, "{peer}");
        }
    }

    #[test]
    fn an_untrusted_peer_that_claims_to_forward_is_noticed_and_not_believed() {
        let found = client(&[], "203.0.113.9:1", &["127.0.0.1"]);

        assert_eq!(found, Client { ip: Some("203.0.113.9".parse().unwrap()), forged: true, local: false });
        assert!(client(&[], "127.0.0.1:1", &[]).local);
        assert!(!client(&[], "127.0.0.1:1", &["10.0.0.1"]).local, "something on this machine forwards");
    }
}
