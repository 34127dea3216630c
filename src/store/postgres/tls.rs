//! How the server's certificate is checked: `sslmode` and `sslrootcert` of the URL, with full checks as the default.

use std::fs;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::{Code, Error, Result};

/// What is checked of a certificate, as in libpq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateCheck {
    /// `verify-full`: a known authority signed it, and for this host.
    Full,
    /// `verify-ca`: a known authority signed it.
    Authority,
    /// `require`: nothing; anybody in between can read and change everything.
    Nothing,
}

/// How a certificate is checked.
#[derive(Clone, Debug)]
pub struct Trust {
    /// What is checked.
    pub check: CertificateCheck,
    /// Authorities instead of the system's.
    roots: Option<Arc<RootCertStore>>,
}

/// Decides by `sslmode` and `sslrootcert`; `local` means that every host is this machine. `None`: no encryption.
pub fn trust(sslmode: Option<&str>, sslrootcert: Option<&str>, local: bool) -> Result<Option<Trust>> {
    let known = "Use verify-full, verify-ca, require (encrypted, not checked) or disable.";
    let check = match sslmode {
        None if local && sslrootcert.is_none() => return Ok(None),
        None | Some("verify-full") => CertificateCheck::Full,
        Some("verify-ca") => CertificateCheck::Authority,
        Some("require") => CertificateCheck::Nothing,
        Some("disable") => return Ok(None),
        // Encryption only if it happens to work promises nothing.
        Some("allow" | "prefer") => {
            let message = "sslmode=prefer and sslmode=allow promise nothing";
            return Err(Error::new(Code::CONFIG_INVALID, message).hint(known));
        }
        Some(_) => {
            return Err(Error::new(Code::CONFIG_INVALID, "the sslmode of the PostgreSQL URL is not known").hint(known));
        }
    };
    let roots = sslrootcert.filter(|path| *path != "system").map(read_roots).transpose()?;
    Ok(Some(Trust { check, roots }))
}

impl Trust {
    /// The TLS connector for tokio-postgres.
    pub fn connector(&self) -> Result<MakeRustlsConnect> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::new(Code::BUG, "TLS cannot be set up").because(error))?;
        let verifier: Arc<dyn ServerCertVerifier> = match (self.check, &self.roots) {
            (CertificateCheck::Nothing, _) => Arc::new(Unchecked { provider, inner: None }),
            (CertificateCheck::Full, None) => Arc::new(system(provider)?),
            (CertificateCheck::Full, Some(roots)) => from_roots(roots, provider)?,
            (CertificateCheck::Authority, None) => {
                let inner: Arc<dyn ServerCertVerifier> = Arc::new(system(Arc::clone(&provider))?);
                Arc::new(Unchecked { provider, inner: Some(inner) })
            }
            (CertificateCheck::Authority, Some(roots)) => {
                let inner = from_roots(roots, Arc::clone(&provider))?;
                Arc::new(Unchecked { provider, inner: Some(inner) })
            }
        };
        Ok(MakeRustlsConnect::new(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()))
    }
}

fn system(provider: Arc<CryptoProvider>) -> Result<rustls_platform_verifier::Verifier> {
    rustls_platform_verifier::Verifier::new(provider).map_err(|error| {
        Error::new(Code::CONFIG_INVALID, "the system's certificate authorities cannot be read")
            .because(error)
            .hint("Install ca-certificates, or name a file in the URL: ?sslrootcert=/path/ca.pem")
    })
}

fn from_roots(roots: &Arc<RootCertStore>, provider: Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>> {
    WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), provider)
        .build()
        .map_err(|error| Error::new(Code::CONFIG_INVALID, "sslrootcert holds no usable authority").because(error))
}

fn read_roots(path: &str) -> Result<Arc<RootCertStore>> {
    let unreadable = || {
        Error::new(Code::CONFIG_INVALID, "the file that sslrootcert names cannot be read")
            .hint("It has to be a PEM file with certificates; `sslrootcert=system` is the system's own list.")
    };
    let pem = fs::read(path).map_err(|_| unreadable())?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        roots.add(certificate.map_err(|_| unreadable())?).map_err(|_| unreadable())?;
    }
    if roots.is_empty() { Err(unreadable()) } else { Ok(Arc::new(roots)) }
}

/// Checks less because the URL says so: the authority without the name, or nothing.
#[derive(Debug)]
struct Unchecked {
    provider: Arc<CryptoProvider>,
    inner: Option<Arc<dyn ServerCertVerifier>>,
}

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        match inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            answer => answer,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
