//! What every connection out of here has in common: the certificates that it trusts, and words for what went wrong.

use std::error::Error as _;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, ring};

/// The innermost cause: the layers above only report that something below them failed.
pub(crate) fn innermost_cause(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    let mut text = String::new();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    plain(text.split(" (os error").next().unwrap_or_default())
}

/// Text from outside, fit for a terminal and a log: one line, no control or invisible characters, of bounded length.
pub(crate) fn plain(text: &str) -> String {
    const LONGEST: usize = 200;
    let visible = |c: char| match c {
        // Bidirectional controls, zero-width characters and other invisible marks can make a line read as another.
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' => ' ',
        '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}' => ' ',
        c if c.is_control() => ' ',
        c => c,
    };
    let line: String = text.chars().take(4 * LONGEST).map(visible).collect();
    let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().nth(LONGEST).is_none() {
        return line;
    }
    line.chars().take(LONGEST).chain(['…']).collect()
}

/// The platform's certificates where it has any (companies add their own), else the public ones compiled in. None are
/// loaded where there is no TLS.
pub(crate) fn tls(wanted: bool) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    if wanted && let Ok(verifier) = rustls_platform_verifier::Verifier::new(Arc::clone(&provider)) {
        let builder = config(provider)?.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        return Ok(builder.with_no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    if wanted {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Ok(config(provider)?.with_root_certificates(roots).with_no_client_auth())
}

fn config(
    provider: Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, rustls::Error> {
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}
