//! A plain HTTP client for looking at registries from outside, on the one TLS stack.

use std::sync::Once;

use reqwest::{Certificate, Client};

/// A client that trusts this authority (PEM) and no other, or the system's without one.
pub fn client(authority: Option<&str>) -> Client {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // It is installed already where a test runs the transfer crate in its own process.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
    let mut builder = Client::builder();
    if let Some(pem) = authority {
        let certificate = Certificate::from_pem(pem.as_bytes()).expect("the authority is PEM");
        builder = builder.tls_certs_only([certificate]);
    }
    builder.build().expect("a client can be built")
}
