//! The signature on Twilio's callbacks (`X-Twilio-Signature`): made by the sandbox, checked by the receiver of callbacks.
//!
//! The signer is not consistent about the URL that it signs: the port may or may not be there, and the query may be
//! percent-encoded once more. So a signature is good if it fits any of the four forms of the URL as it was received.

use base16ct::lower::encode_string;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What came with the signed request.
#[derive(Clone, Copy)]
pub enum Payload<'a> {
    /// The parameters of a form, decoded, as often as they came. A GET has none.
    Form(&'a [(String, String)]),
    /// Any other body (JSON), byte for byte. Its SHA-256 is in the URL as `bodySHA256`.
    Raw(&'a [u8]),
}

/// The signature of a form post to `url`: base64 of HMAC-SHA1 under the account's primary Auth Token. The URL's fragment
/// tunes Twilio's retries and is not signed.
pub fn sign(token: &str, url: &str, params: &[(String, String)]) -> String {
    STANDARD.encode(tag(token, without_fragment(url), params))
}

/// Whether `signature` belongs to this request. `url` is the public URL that Twilio was given, never the `Host` header's.
pub fn verify(token: &str, url: &str, payload: Payload<'_>, signature: &str) -> bool {
    let (params, body_fits): (&[(String, String)], bool) = match payload {
        Payload::Form(params) => (params, true),
        Payload::Raw(body) => (&[], body_hash_fits(url, body)),
    };
    // Every form is tried, and none of the comparisons ends early: the time reveals nothing about the signature.
    let fits = forms(url).iter().fold(subtle::Choice::from(0), |fits, form| {
        fits | STANDARD.encode(tag(token, form, params)).as_bytes().ct_eq(signature.as_bytes())
    });
    body_fits && bool::from(fits)
}

fn tag(token: &str, url: &str, params: &[(String, String)]) -> [u8; 20] {
    let mut sorted: Vec<(&str, &str)> = params.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    sorted.sort_unstable();
    sorted.dedup();
    // HMAC takes keys of any length; the error arm cannot be reached, and an all-zero tag would match nothing.
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(token.as_bytes()) else { return [0; 20] };
    mac.update(url.as_bytes());
    for (key, value) in sorted {
        mac.update(key.as_bytes());
        mac.update(value.as_bytes());
    }
    mac.finalize().into_bytes().into()
}

fn body_hash_fits(url: &str, body: &[u8]) -> bool {
    let Some((_, query)) = without_fragment(url).split_once('?') else { return false };
    let Some(claimed) = query.split('&').find_map(|pair| pair.strip_prefix("bodySHA256=")) else { return false };
    let actual = encode_string(&Sha256::digest(body));
    actual.as_bytes().ct_eq(claimed.to_ascii_lowercase().as_bytes()).into()
}

fn without_fragment(url: &str) -> &str {
    url.split_once('#').map_or(url, |(before, _)| before)
}

/// The URL with and without its port, each with the query as received and percent-encoded as browsers do it.
fn forms(url: &str) -> [String; 4] {
    let url = without_fragment(url);
    let bare = with_port(url, false);
    let ported = with_port(url, true);
    [encode_query(&bare), encode_query(&ported), bare, ported]
}

/// Rewrites the authority only: the rest of the URL must stay byte for byte what was signed.
fn with_port(url: &str, wanted: bool) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (user, host) = authority.rfind('@').map_or(("", authority), |at| authority.split_at(at + 1));
    let after_address = host.rfind(']').unwrap_or(0);
    let (name, port) = match host[after_address..].rfind(':') {
        Some(colon) => host.split_at(after_address + colon),
        None => (host, ""),
    };
    let default = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    let port = match (wanted, port) {
        (false, _) => "",
        (true, "") => default,
        (true, given) => given,
    };
    format!("{scheme}://{user}{name}{port}{tail}")
}

/// Percent-encodes what the URL standard encodes in a query (`'` becomes `%27`), leaving what is encoded already.
fn encode_query(url: &str) -> String {
    let Some((before, query)) = url.split_once('?') else { return url.to_owned() };
    let mut out = format!("{before}?");
    for byte in query.bytes() {
        match byte {
            0..=0x20 | b'"' | b'<' | b'>' | b'\'' | 0x7f.. => out.push_str(&format!("%{byte:02X}")),
            plain => out.push(char::from(plain)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "12345";
    const URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn call() -> Vec<(String, String)> {
        pairs(&[
            ("To", "+18005551212"),
            ("From", "+14158675309"),
            ("Digits", "1234"),
            ("Caller", "+14158675309"),
            ("CallSid", "CA1234567890ABCDE"),
        ])
    }

    #[test]
    fn known_form_posts_are_recognised_in_every_form_of_the_url() {
        let known = [
            (URL, "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
            ("https://mycompany.com:1234/myapp.php?foo=1&bar=2", "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
            (URL, "kvajT1Ptam85bY51eRf/AJRuM3w="),
            ("http://mycompany.com/myapp.php?foo=1&bar=2", "0ZXoZLH/DfblKGATFgpif+LLRf4="),
            ("http://mycompany.com:1234/myapp.php?foo=1&bar=2", "Zmvh+3yNM1Phv2jhDCwEM3q5ebU="),
            ("https://user:pass@mycompany.com/myapp.php?foo=1&bar=2", "CukzLTc1tT5dXEDIHm/tKBanW10="),
            ("https://user@mycompany.com/myapp.php?foo=1&bar=2", "2YRLlVAflCqxaNicjMpJcSTgzSs="),
            ("https://user:pass@mycompany.com/myapp.php?foo=1&bar=2", "ZQFR1PTIZXF2MXB8ZnKCvnnA+rI="),
            ("https://mycompany.com/myapp.php?foo=1&bar=2&Body=It's+amazing", "TfZzewPq8wqrGlMfyAud8+/IvJ0="),
        ];
        for (url, signature) in known {
            assert!(verify(TOKEN, url, Payload::Form(&call()), signature), "{url} {signature}");
        }
    }

    #[test]
    fn what_we_sign_is_what_twilio_signs() {
        assert_eq!(sign(TOKEN, URL, &call()), "RSOYDt4T1cUTdK1PDd93/VVr8B8=");
        assert_eq!(sign(TOKEN, &format!("{URL}#rc=2&rp=all"), &call()), "RSOYDt4T1cUTdK1PDd93/VVr8B8=");
    }

    #[test]
    fn repeated_parameters_are_signed_once_each_in_order() {
        let repeated = pairs(&[
            ("Sid", "CA123"),
            ("SidAccount", "AC123"),
            ("Digits", "5678"),
            ("Digits", "1234"),
            ("Digits", "1234"),
        ]);
        assert_eq!(sign(TOKEN, URL, &repeated), "IK+Dwps556ElfBT0I3Rgjkr1wJU=");
        let bindings =
            pairs(&[("MessagingBinding.Address", "+1415xxxxxxx"), ("MessagingBinding.Address", "+1325xxxxxxx")]);
        assert_eq!(sign(TOKEN, URL, &bindings), "83O6e2vORAoJHUNzJjDWN1jz+BA=");
    }

    #[test]
    fn json_bodies_are_held_by_the_hash_in_the_url() {
        let body = br#"{"property": "value", "boolean": true}"#;
        let hash = "0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620";
        let url = format!("{URL}&bodySHA256={hash}");
        assert!(verify(TOKEN, &url, Payload::Raw(body), "a9nBmqA0ju/hNViExpshrM61xv4="));
        assert!(!verify(TOKEN, &url, Payload::Raw(br#"{"property": "other"}"#), "a9nBmqA0ju/hNViExpshrM61xv4="));
        let only = format!("https://mycompany.com/myapp.php?bodySHA256={hash}");
        assert!(verify(TOKEN, &only, Payload::Raw(body), "y77kIzt2vzLz71DgmJGsen2scGs="));
        let empty = format!("{URL}&bodySHA256=44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
        assert!(verify(TOKEN, &empty, Payload::Raw(b"{}"), "Ldidvp12m26NI7eqEvxnEpkd9Hc="));
        assert!(!verify(TOKEN, URL, Payload::Raw(body), &sign(TOKEN, URL, &[])), "a body without its hash in the URL");
    }

    #[test]
    fn forgeries_fail() {
        let good = sign(TOKEN, URL, &call());
        for bad in ["", "=", &good.to_lowercase(), &good[1..], &format!("{good}="), &format!(" {good}")] {
            assert!(!verify(TOKEN, URL, Payload::Form(&call()), bad), "{bad:?}");
        }
        assert!(!verify("12346", URL, Payload::Form(&call()), &good));
        assert!(!verify(TOKEN, &URL.replace("https", "http"), Payload::Form(&call()), &good));
        assert!(!verify(TOKEN, &URL.replace("myapp.php", "myapp.php/"), Payload::Form(&call()), &good));
        let mut more = call();
        more.push(("Extra".to_owned(), String::new()));
        assert!(!verify(TOKEN, URL, Payload::Form(&more), &good));
        assert!(!verify(TOKEN, URL, Payload::Form(&call()[1..]), &good));
    }

    proptest::proptest! {
        #[test]
        fn any_url_survives_and_its_own_signature_fits(url in "\\PC{0,60}", key in "\\PC{0,8}", value in "\\PC{0,8}") {
            let params = vec![(key, value)];
            let _ = verify(TOKEN, &url, Payload::Form(&params), "x");
            let plain = format!("https://example.com/{}", url.replace(['#', '?'], ""));
            proptest::prop_assert!(verify(TOKEN, &plain, Payload::Form(&params), &sign(TOKEN, &plain, &params)));
        }
    }
}
