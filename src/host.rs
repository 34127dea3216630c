//! The host that a request names. A web page can point a name of its own at 127.0.0.1 (DNS rebinding), and then a browser's request
//! to it looks like one of this machine's: what listens there has to look at the name.

use std::net::IpAddr;

/// The name or address in a `Host` header or an authority, without port, brackets and the dot at its end. `None`: it is none.
pub(crate) fn name(host: &str) -> Option<&str> {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let port = if port.is_empty() { port } else { port.strip_prefix(':')? };
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte));
    (is_name && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(name)
}

/// Whether a name can only mean this machine.
pub(crate) fn is_loopback(name: &str) -> bool {
    let address = |ip: IpAddr| ip.to_canonical().is_loopback();
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for host in [
            "localhost",
            "LocalHost:8000",
            "localhost.",
            "localhost.:80",
            "127.0.0.1",
            "127.0.0.1:8000",
            "127.9.9.9",
            "[::1]",
            "[::1]:8000",
            "[::ffff:127.0.0.1]:80",
        ] {
            assert!(name(host).is_some_and(is_loopback), "{host}");
        }
        for host in [
            "",
            ".",
            ":8000",
            "evil.example",
            "evil.example:8000",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "evil-localhost",
            "localhost:8000@evil.example",
            "evil.example@localhost",
            "localhost:evil.example",
            "localhost, evil.example",
            "localhost/evil.example",
            "0.0.0.0:8000",
            "[::]:8000",
            "10.0.0.1",
            "2130706433",
            "0x7f.1",
            "127.1",
            "::1",
            "[::1",
            "[::1]evil.example",
            "[::1]:x",
            " localhost",
        ] {
            assert!(!name(host).is_some_and(is_loopback), "{host}");
        }
    }
}
