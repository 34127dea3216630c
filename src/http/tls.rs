//! A certificate chain and its key, read from PEM files.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::error::{Code, Error, Result};

/// A certificate chain and its key, as PEM files.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The chain, the server's own certificate first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

impl Tls {
    /// Reads both.
    ///
    /// # Errors
    /// `CONFIG_INVALID`, which names the file.
    pub(super) fn acceptor(&self) -> Result<TlsAcceptor> {
        let wrong = |path: &PathBuf, what: &str| {
            Error::new(Code::CONFIG_INVALID, format!("{} {what}", path.display()))
                .hint("Give a PEM file with --tls-cert (the chain) and one with --tls-key.")
        };
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect)
            .map_err(|error| wrong(&self.certificate, "cannot be read as certificates").because(error))?;
        if chain.is_empty() {
            return Err(wrong(&self.certificate, "holds no certificate"));
        }
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| wrong(&self.key, "cannot be read as a private key").because(error))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::new(Code::BUG, "no TLS version is left").because(error))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| wrong(&self.certificate, "and its key do not fit").because(error))?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}
