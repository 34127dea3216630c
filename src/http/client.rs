//! Whose request it is: the client's address, as the connection or a trusted proxy names it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use ipnet::{IpNet, Ipv4Net};

use crate::error::{Code, Error, Result};

/// Headers by which a client may try to pass for another one. Only the first is read, and only of trusted proxies.
const NAMES_A_CLIENT: [&str; 10] = [
    "x-forwarded-for",
    "forwarded",
    "x-real-ip",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-forwarded-for",
    "cf-connecting-ip",
    "fastly-client-ip",
    "x-envoy-external-address",
];

/// The one address of all clients whose own address is not known although they come through a proxy: they share its limits,
/// so that no client gets out of its limits by making its address unreadable.
const SHARED: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The networks of proxies that are believed about their clients' addresses.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<IpNet>);

/// Where a request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client {
    /// The address that limits count: the client's, or the one that all share whose address is not known. `None` for processes on
    /// this machine alone.
    pub ip: Option<IpAddr>,
    /// How far what was said about it can be believed.
    pub word: Word,
}

/// What a request says about its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Nothing: the peer is the client, or a trusted proxy named it.
    Good,
    /// A peer that is no trusted proxy named another client.
    Forged,
    /// A trusted proxy named no client, or not readably.
    Unreadable,
}

impl TrustedProxies {
    /// These networks; a network of IPv4-mapped addresses (`::ffff:10.0.0.0/104`) is one of IPv4.
    ///
    /// # Errors
    /// `CONFIG_INVALID` where they hold half of all addresses or more, each by itself or together: whoever may connect could
    /// then name any client.
    pub fn new(networks: Vec<IpNet>) -> Result<TrustedProxies> {
        let networks: Vec<IpNet> = networks.into_iter().flat_map(canonical).collect();
        let merged = IpNet::aggregate(&networks);
        for (space, what) in [("0.0.0.0/0", "IPv4"), ("2000::/3", "public IPv6")] {
            let share = |network: &IpNet| share_of(network, space);
            if merged.iter().map(share).sum::<f64>() >= 0.5 {
                let what = format!("the trusted proxies hold half of all {what} addresses or more");
                return Err(Error::new(Code::CONFIG_INVALID, what).hint(
                    "Whoever is trusted can name any client: trust the addresses of the proxies alone, like 10.0.0.7.",
                ));
            }
        }
        Ok(TrustedProxies(networks))
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
    /// the left of it was written by the client. Where the right-most hops are all trusted, or cannot be read, the client is not
    /// known.
    pub(super) fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> Client {
        let peer = peer.ip().to_canonical();
        if self.trusts(peer) {
            let lines: Vec<&[u8]> = headers.get_all(NAMES_A_CLIENT[0]).iter().map(|line| line.as_bytes()).collect();
            let hops = lines.iter().rev().flat_map(|line| line.rsplit(|byte| *byte == b','));
            let known = hops.map(address).find(|ip| ip.is_none_or(|ip| !self.trusts(ip))).flatten();
            let word = if known.is_some() { Word::Good } else { Word::Unreadable };
            return Client { ip: known.or(Some(SHARED)), word };
        }
        let forged = NAMES_A_CLIENT.iter().any(|name| headers.contains_key(*name));
        let word = if forged { Word::Forged } else { Word::Good };
        match (peer.is_loopback(), forged) {
            (false, _) => Client { ip: Some(peer), word },
            // Something on this machine forwards, and is not trusted to say for whom.
            (true, true) => Client { ip: Some(SHARED), word },
            (true, false) => Client { ip: None, word },
        }
    }
}

/// Whether a request came from a process on this machine that forwards for nobody.
pub(super) fn is_local(peer: SocketAddr, headers: &HeaderMap) -> bool {
    let forwards = |name: &HeaderName| {
        let name = name.as_str();
        name == "via" || name.starts_with("x-forwarded") || NAMES_A_CLIENT.contains(&name)
    };
    peer.ip().to_canonical().is_loopback() && !headers.keys().any(forwards)
}

/// A network as the addresses in it are compared: those of IPv4 without `::ffff:`.
fn canonical(network: IpNet) -> Vec<IpNet> {
    const MAPPED: u8 = 96;
    let mapped = |ip: IpAddr| match (ip, ip.to_canonical()) {
        (IpAddr::V6(_), IpAddr::V4(ip)) => Some(ip),
        _ => None,
    };
    let longer = |ip| Ipv4Net::new(ip, network.prefix_len() - MAPPED).ok().map(IpNet::V4);
    match mapped(network.addr()).filter(|_| network.prefix_len() >= MAPPED).and_then(longer) {
        Some(network) => vec![network],
        // A wider one may hold every mapped address.
        None if network.contains(&IpAddr::V6(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped())) => {
            vec![network, IpNet::V4(Ipv4Net::default())]
        }
        None => vec![network],
    }
}

/// Which part of `space` is in a network.
fn share_of(network: &IpNet, space: &str) -> f64 {
    match space.parse::<IpNet>() {
        Ok(space) if network.contains(&space) => 1.0,
        Ok(space) if space.contains(network) => 0.5_f64.powi(i32::from(network.prefix_len() - space.prefix_len())),
        _ => 0.0,
    }
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`. `None` for everything else, and for the
/// address that means none.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop.trim_ascii()).ok()?;
    let ip = hop.parse().ok();
    let ip = ip.or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()));
    let ip: IpAddr = ip.or_else(|| hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok())?;
    Some(ip.to_canonical()).filter(|ip| !ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(trusted: &[&str]) -> Result<TrustedProxies> {
        TrustedProxies::new(trusted.iter().map(|network| network.parse().unwrap()).collect())
    }

    fn client(trusted: &[&str], peer: &str, forwarded: &[&[u8]]) -> Client {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append("x-forwarded-for", (*line).try_into().unwrap());
        }
        proxies(trusted).unwrap().client(peer.parse().unwrap(), &headers)
    }

    #[test]
    fn the_client_is_the_right_most_hop_that_is_no_trusted_proxy() {
        let trusted = ["127.0.0.0/8", "10.0.0.0/8", "fd00::/8"];
        for (peer, forwarded, expected) in [
            ("203.0.113.9:1", &[&b"198.51.100.1"[..]][..], "203.0.113.9"),
            ("10.0.0.1:1", &[b"198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1:1", &[b"1.2.3.4, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1:1", &[b"1.2.3.4,\t198.51.100.1 "], "198.51.100.1"),
            ("10.0.0.1:1", &[b"1.2.3.4", b"198.51.100.1, 10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1:1", &[b"198.51.100.1", b"10.0.0.3,10.0.0.2"], "198.51.100.1"),
            ("10.0.0.1:1", &[b"198.51.100.1:4711"], "198.51.100.1"),
            ("10.0.0.1:1", &[b"[2001:db8::1]:4711"], "2001:db8::1"),
            ("10.0.0.1:1", &[b"[2001:db8::1]"], "2001:db8::1"),
            ("10.0.0.1:1", &[b"2001:db8::1"], "2001:db8::1"),
            ("10.0.0.1:1", &[b"198.51.100.1, [::ffff:10.0.0.2]:80, fd00::7"], "198.51.100.1"),
            ("[::ffff:10.0.0.1]:1", &[b"::ffff:198.51.100.1"], "198.51.100.1"),
            // What the client wrote to the left may be anything.
            ("10.0.0.1:1", &[b"\xff", b"198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1:1", &[b"\xff\xfe, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1:1", &[b", ,unknown, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.1:1", &[b"127.0.0.1, ::1, 198.51.100.1"], "198.51.100.1"),
            // An address of the proxy's own machine is one, where that machine is not trusted.
            ("10.0.0.1:1", &[b"192.168.0.1"], "192.168.0.1"),
        ] {
            assert_eq!(client(&trusted, peer, forwarded).ip, expected.parse().ok(), "{peer} {forwarded:?}");
        }
        assert_eq!(client(&["10.0.0.1/32"], "10.0.0.1:1", &[b"127.0.0.1"]).ip, "127.0.0.1".parse().ok());
    }

    #[test]
    fn clients_that_a_trusted_proxy_does_not_name_readably_share_one_address() {
        let trusted = ["127.0.0.0/8", "10.0.0.0/8"];
        for forwarded in [
            &[][..],
            &[&b""[..]],
            &[b"\xff"],
            &[b"1.2.3.4, \xff"],
            &[b"1.2.3.4", b"\xff\xfe"],
            &[b"1.2.3.4", b""],
            &[b"1.2.3.4, "],
            &[b"1.2.3.4,, 10.0.0.2"],
            &[b"1.2.3.4, unknown"],
            &[b"1.2.3.4, _hidden, 10.0.0.2"],
            &[b"1.2.3.4, for=5.6.7.8"],
            &[b"\"5.6.7.8\""],
            &[b"5.6.7.8:99999"],
            &[b"5.6.7.8:"],
            &[b"5.6.7"],
            &[b"5.6.7.08"],
            &[b"0x05060708"],
            &[b"5.6.7.8 9.9.9.9"],
            &[b"5.6.7.8/32"],
            &[b"[5.6.7.8"],
            &[b"2001:db8::1]"],
            &[b"fe80::1%eth0"],
            &["5.6.7.8\u{a0}".as_bytes()],
            &["５.6.7.8".as_bytes()],
            &[b"unix:"],
            &[b"0.0.0.0"],
            &[b"::"],
            &[b"::ffff:0.0.0.0"],
            // A client inside a trusted network: it can write these itself.
            &[b"10.0.0.2"],
            &[b"10.9.8.7, 10.0.0.2, 127.0.0.1"],
        ] {
            for peer in ["10.0.0.1:1", "127.0.0.1:1"] {
                let expected = Client { ip: Some(SHARED), word: Word::Unreadable };
                assert_eq!(client(&trusted, peer, forwarded), expected, "{peer} {forwarded:?}");
            }
        }
    }

    #[test]
    fn an_untrusted_peer_that_claims_to_forward_is_noticed_and_not_believed() {
        let forged = |ip: &str| Client { ip: ip.parse().ok(), word: Word::Forged };

        assert_eq!(client(&[], "203.0.113.9:1", &[b"127.0.0.1"]), forged("203.0.113.9"));
        assert_eq!(client(&[], "127.0.0.1:1", &[b"198.51.100.1"]), forged("0.0.0.0"), "a proxy that was not named");
        assert_eq!(client(&[], "127.0.0.1:1", &[]), Client { ip: None, word: Word::Good });
        for name in NAMES_A_CLIENT {
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), "198.51.100.1".parse().unwrap())]);
            assert_eq!(TrustedProxies::default().client("127.0.0.1:1".parse().unwrap(), &headers), forged("0.0.0.0"));
        }
    }

    #[test]
    fn only_a_process_on_this_machine_that_forwards_for_nobody_is_local() {
        let local = |peer: &str, name: &str| {
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), "x".parse().unwrap())]);
            is_local(peer.parse().unwrap(), &headers)
        };
        for peer in ["127.0.0.1:1", "127.8.8.8:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(local(peer, "accept"), "{peer}");
        }
        assert!(!local("10.0.0.1:1", "accept"));
        for name in ["via", "forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"] {
            assert!(!local("127.0.0.1:1", name), "{name}");
        }
    }

    #[test]
    fn connections_are_counted_by_address_unless_they_are_of_this_machine_or_a_trusted_proxy() {
        let proxies = proxies(&["10.0.0.0/8"]).unwrap();
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
    fn mapped_networks_are_those_of_ipv4() {
        for (network, ip, trusted) in [
            ("::ffff:127.0.0.1/128", "127.0.0.1", true),
            ("::ffff:127.0.0.1/128", "::ffff:127.0.0.1", true),
            ("::ffff:127.0.0.1/128", "127.0.0.2", false),
            ("::ffff:10.0.0.0/104", "10.9.9.9", true),
            ("::ffff:10.0.0.0/104", "11.0.0.1", false),
            ("::ffff:10.0.0.0/104", "::ffff:10.0.0.1", true),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("fd00::/8", "fd12::1", true),
            ("::1/128", "::1", true),
            ("::1/128", "127.0.0.1", false),
        ] {
            assert_eq!(proxies(&[network]).unwrap().trusts(ip.parse().unwrap()), trusted, "{network} {ip}");
        }
    }

    #[test]
    fn half_of_everybody_is_not_trusted() {
        for networks in [
            &["0.0.0.0/0"][..],
            &["::/0"],
            &["::ffff:0:0/96"],
            &["::ffff:1.2.3.4/96"],
            &["0.0.0.0/1", "128.0.0.0/1"],
            &["::/1", "8000::/1"],
            &["::ffff:0.0.0.0/97", "::ffff:128.0.0.0/97"],
            &["::ffff:0.0.0.0/97", "128.0.0.0/1"],
            &["0.0.0.0/2", "64.0.0.0/2", "128.0.0.0/2", "192.0.0.0/2"],
            &["0.0.0.0/1"],
            &["128.0.0.0/2", "0.0.0.0/2"],
            &["::/80"],
            &["::/8"],
            &["2000::/3"],
            &["2000::/4"],
            &["2000::/5", "3000::/5", "2800::/5"],
            &["127.0.0.1/32", "0.0.0.0/0"],
        ] {
            let error = proxies(networks).unwrap_err();
            assert_eq!(error.code(), Code::CONFIG_INVALID, "{networks:?}");
        }
        for networks in [
            &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "100.64.0.0/10"][..],
            &["fc00::/7", "fe80::/10", "::1/128"],
            &["0.0.0.0/2", "0.0.0.0/2", "10.0.0.0/8"],
            &["2001:db8::/32", "2a00::/12"],
            &[],
        ] {
            proxies(networks).unwrap();
        }
    }
}
