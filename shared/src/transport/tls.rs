//! Whom to trust. The system's roots are read once and shared: parsing them is most of a cold start's time.

use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider, pki_types::CertificateDer};
use rustls_pki_types::pem::PemObject;

/// The system's trust, read when it is first needed.
#[derive(Debug, Default)]
pub(super) struct Trust {
    system: OnceLock<RootCertStore>,
    provider: OnceLock<Arc<CryptoProvider>>,
}

impl Trust {
    /// A TLS configuration that trusts the system's roots (or those of `SSL_CERT_FILE`) and `extra` (PEM).
    ///
    /// # Errors
    /// A text that holds no certificate.
    pub(super) fn client_config(&self, extra: Option<&str>) -> Result<ClientConfig, String> {
        let mut roots = self.system.get_or_init(system_roots).clone();
        if let Some(pem) = extra {
            for certificate in certificates(pem)? {
                roots.add(certificate).map_err(|error| error.to_string())?;
            }
        }
        let provider = self.provider.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
        let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// Checks that a PEM text holds certificates that can be used.
///
/// # Errors
/// None in it, or one that does not parse.
pub fn check_pem(pem: &str) -> Result<(), String> {
    certificates(pem).map(drop)
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if found.is_empty() => Err("it holds no certificate (-----BEGIN CERTIFICATE-----)".to_owned()),
        Ok(found) => Ok(found),
        Err(error) => Err(error.to_string()),
    }
}

fn system_roots() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(error = %error, "a system certificate can't be read");
    }
    let mut roots = RootCertStore::empty();
    let (_, ignored) = roots.add_parsable_certificates(found.certs);
    if ignored > 0 {
        tracing::debug!(ignored, "system certificates that don't parse");
    }
    roots
}
