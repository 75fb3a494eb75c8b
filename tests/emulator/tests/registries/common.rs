//! A client that does what it is told, and registries to tell it about.

use emulator::{Authority, Builder, Personality, Registry, digest::sha256, image};
use reqwest::{Client, Method, RequestBuilder, Response, redirect::Policy};

/// A registry and a client for it.
pub(crate) struct World {
    pub(crate) registry: Registry,
    pub(crate) client: Client,
    authorization: Option<String>,
}

impl World {
    pub(crate) async fn new(personality: Personality) -> Self {
        Self::with(Registry::builder(personality)).await
    }

    pub(crate) async fn with(builder: Builder) -> Self {
        Self::over(builder, client()).await
    }

    pub(crate) async fn over(builder: Builder, client: Client) -> Self {
        let registry = builder.start().await;
        let ecr = registry.personality() == Personality::Ecr;
        let authorization = ecr.then(|| registry.ecr_authorization());
        Self { registry, client, authorization }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.registry.url()) };
        let request = self.client.request(method, url);
        match &self.authorization {
            Some(header) => request.header("authorization", header),
            None => request,
        }
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub(crate) fn head(&self, path: &str) -> RequestBuilder {
        self.request(Method::HEAD, path)
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    pub(crate) fn put(&self, path: &str) -> RequestBuilder {
        self.request(Method::PUT, path)
    }

    pub(crate) fn patch(&self, path: &str) -> RequestBuilder {
        self.request(Method::PATCH, path).header("content-type", "application/octet-stream")
    }

    pub(crate) fn delete(&self, path: &str) -> RequestBuilder {
        self.request(Method::DELETE, path)
    }

    /// Begins an upload; returns its location.
    pub(crate) async fn begin(&self, repository: &str) -> String {
        let answer = self.post(&format!("/v2/{repository}/blobs/uploads/")).send().await.unwrap();
        assert_eq!(answer.status(), 202);
        header(&answer, "location")
    }

    /// Ends an upload.
    pub(crate) async fn finish(&self, location: &str, digest: &str, body: Vec<u8>) -> Response {
        let join = if location.contains('?') { '&' } else { '?' };
        self.put(&format!("{location}{join}digest={digest}")).body(body).send().await.unwrap()
    }

    /// Uploads a blob in one PUT; returns its digest.
    pub(crate) async fn upload(&self, repository: &str, bytes: &[u8]) -> String {
        let location = self.begin(repository).await;
        let digest = sha256(bytes);
        assert_eq!(self.finish(&location, &digest, bytes.to_vec()).await.status(), 201);
        digest
    }

    pub(crate) async fn put_manifest(
        &self,
        repository: &str,
        reference: &str,
        media_type: &str,
        body: &[u8],
    ) -> Response {
        let request = self.put(&format!("/v2/{repository}/manifests/{reference}"));
        request.header("content-type", media_type).body(body.to_vec()).send().await.unwrap()
    }

    /// Uploads an image whole.
    pub(crate) async fn push(&self, image: &image::Image, repository: &str, reference: &str) -> Response {
        self.upload(repository, &image.config).await;
        for layer in &image.layers {
            if let Some(bytes) = layer.bytes() {
                self.upload(repository, &bytes).await;
            }
        }
        self.put_manifest(repository, reference, &image.media_type, &image.manifest).await
    }
}

/// A client that follows no redirect.
pub(crate) fn client() -> Client {
    provider();
    Client::builder().redirect(Policy::none()).no_proxy().build().unwrap()
}

/// A client that trusts an authority.
pub(crate) fn trusting(authority: &Authority) -> Client {
    provider();
    let certificate = reqwest::Certificate::from_pem(authority.pem().as_bytes()).unwrap();
    Client::builder().redirect(Policy::none()).no_proxy().tls_certs_only([certificate]).build().unwrap()
}

fn provider() {
    // A second test of the process finds it installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

pub(crate) fn header(answer: &Response, name: &str) -> String {
    answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

/// Status, code and message of an error answer.
pub(crate) async fn error(answer: Response) -> (u16, String, String) {
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let first = &json["errors"][0];
    let part = |key: &str| first[key].as_str().unwrap_or_default().to_owned();
    (status, part("code"), part("message"))
}

pub(crate) fn noise(seed: u64, size: usize) -> Vec<u8> {
    image::raw_layer(seed, size).bytes().unwrap().to_vec()
}
